//! Images of several disks, and one image on several disks of a machine: each disk lands where it belongs, and a disk
//! that nothing is meant for is not touched.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{MIB, hash_of, remint_ends, text};
use std::path::PathBuf;

const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

struct Lab {
    folder: tempfile::TempDir,
    store: String,
}

impl Lab {
    /// An image of two disks of noise, 24 and 40 MiB.
    fn new() -> Self {
        let folder = lab::folder();
        let store = text(&folder.path().join("store")).to_owned();
        let lab = Self { folder, store };
        for (name, mib) in [("one.img", 24u64), ("two.img", 40)] {
            let script = format!("label: gpt\ntype={LINUX}");
            let place = lab::partitioned_disk(&lab.path(name), mib * MIB, 512, &script)[0];
            let length = usize::try_from(place.length).unwrap();
            lab::overwrite(&lab.path(name), place.start, &lab::Noise::new(mib).bytes(length));
        }
        let (one, two) = (lab.path("one.img"), lab.path("two.img"));
        remint_ends(0, &["capture", "lab", "--to", &lab.store, "--disk", text(&one), "--disk", text(&two)]);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn target(&self, name: &str, mib: u64) -> String {
        lab::noisy_disk(&self.path(name), mib * MIB);
        text(&self.path(name)).to_owned()
    }

    fn deploy(&self, code: i32, disks: &[&str]) -> String {
        let mut arguments = vec!["deploy", "lab", "--from", &self.store, "--yes", "--layout", "original"];
        disks.iter().for_each(|disk| arguments.extend(["--disk", disk]));
        remint_ends(code, &arguments)
    }

    fn content(&self, name: &str) -> Vec<u8> {
        let place = lab::partitions(&self.path(name), 512)[0];
        lab::bytes(&self.path(name), place.start, place.length)
    }

    fn assert_holds(&self, name: &str, captured: &str) {
        assert!(self.content(name) == self.content(captured), "{name} does not hold {captured}");
    }
}

#[test]
fn disks_find_their_targets_by_exact_size_whatever_their_order() {
    let lab = Lab::new();
    let (large, small) = (lab.target("large.img", 40), lab.target("small.img", 24));
    lab.deploy(0, &[&large, &small]);
    lab.assert_holds("small.img", "one.img");
    lab.assert_holds("large.img", "two.img");
}

#[test]
fn doubt_is_refused_and_what_is_said_is_done() {
    let lab = Lab::new();
    let (a, b, c) = (lab.target("a.img", 48), lab.target("b.img", 50), lab.target("c.img", 52));
    let before = [&a, &b, &c].map(|path| hash_of(path.as_ref()));
    let unchanged = || assert_eq!([&a, &b, &c].map(|path| hash_of(path.as_ref())), before);
    // Three disks for two: which is meant?
    let said = lab.deploy(1, &[&a, &b, &c]);
    assert!(said.contains("not clear which is meant") && said.contains("d0=/dev/sda"), "{said}");
    assert!(lab.deploy(1, &[&a]).contains("disk 1 of the image"));
    assert!(lab.deploy(1, &[&format!("d7={a}"), &b]).contains("no such disk"));
    assert!(lab.deploy(1, &[&format!("d0={a}"), &format!("d1={a}")]).contains("more than one disk"));
    let said = lab.deploy(1, &[&format!("d0={a}"), &format!("d1={b}"), &c]);
    assert!(said.contains("no disk of the image is left for"), "{said}");
    unchanged();
    // One is said, and one is left for the other.
    lab.deploy(0, &[&a, &format!("d0={b}")]);
    lab.assert_holds("b.img", "one.img");
    lab.assert_holds("a.img", "two.img");
    assert_eq!(hash_of(c.as_ref()), before[2], "a disk that was not named");
    // A part of the image goes onto two disks.
    let arguments = ["deploy", "lab", "--from", &lab.store, "--yes", "--without", "d0"];
    let (one, other) = (format!("d1={a}"), format!("d1={c}"));
    remint_ends(0, &[arguments.as_slice(), &["--disk", &one, "--disk", &other]].concat());
    lab.assert_holds("a.img", "two.img");
    lab.assert_holds("c.img", "two.img");
    lab.assert_holds("b.img", "one.img");
}
