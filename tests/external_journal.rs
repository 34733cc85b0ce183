//! An ext and its journal on another disk are captured together and neither alone; nothing is changed in one on the way.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{Loop, MIB, Place, remint_ends, run, text};
use std::path::{Path, PathBuf};
use std::process::Command;

const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

/// Two disks: an ext4 with files on the first, its journal on the second.
struct Lab {
    folder: tempfile::TempDir,
    data: Place,
    journal: Place,
}

impl Lab {
    fn new(journal_mib: u64) -> Self {
        let folder = lab::folder();
        let script = format!("label: gpt\ntype={LINUX}");
        let disk = |name: &str, mib: u64| {
            let path = folder.path().join(name);
            let place = lab::partitioned_disk(&path, mib * MIB, 512, &script)[0];
            lab::overwrite(
                &path,
                place.start,
                &lab::Noise::new(mib).bytes(usize::try_from(place.length).unwrap()),
            );
            place
        };
        let (data, journal) = (disk("data.img", 64), disk("journal.img", journal_mib));
        let lab = Self { folder, data, journal };
        let (ext, log) = lab.attach("data.img", "journal.img");
        run("mke2fs", &["-q", "-F", "-b", "4096", "-O", "journal_dev", &log.0]);
        run(
            "mke2fs",
            &[
                "-q",
                "-F",
                "-t",
                "ext4",
                "-b",
                "4096",
                "-L",
                "data",
                "-J",
                &format!("device={}", log.0),
                &ext.0,
            ],
        );
        lab.mounted(&ext, &log, |at| lab::real_files(at, 20 * MIB));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> String {
        text(&self.path("store")).to_owned()
    }

    fn attach(&self, data: &str, journal: &str) -> (Loop, Loop) {
        let device = |name: &str, place: Place| Loop::new(&self.path(name), place.start, place.length, false);
        (device(data, self.data), device(journal, self.journal))
    }

    fn mounted<T>(&self, ext: &Loop, log: &Loop, act: impl FnOnce(&Path) -> T) -> T {
        let at = tempfile::tempdir().unwrap();
        let options = format!("journal_path={}", log.0);
        run("mount", &["-t", "ext4", "-o", &options, &ext.0, text(at.path())]);
        let result = act(at.path());
        run("umount", &[text(at.path())]);
        result
    }

    /// True where a volume of the image keeps its size, whatever a layout would give it.
    fn is_fixed(&self, volume: &str) -> bool {
        let images = std::fs::read_dir(self.path("store/images/lab")).unwrap();
        let folder = images.map(|entry| entry.unwrap().path()).find(|path| path.join("image.json").exists());
        let text = std::fs::read_to_string(folder.unwrap().join("image.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        let disks = manifest["disks"].as_array().unwrap();
        let mut volumes = disks.iter().flat_map(|disk| disk["volumes"].as_array().unwrap());
        volumes.find(|found| found["name"] == volume).unwrap()["fixed"] == true
    }

    fn capture(&self, code: i32, more: &[&str]) -> String {
        let (data, journal) = (self.path("data.img"), self.path("journal.img"));
        let store = self.store();
        let mut arguments = vec!["capture", "lab", "--to", &store, "--disk", text(&data)];
        if !more.contains(&"alone") {
            arguments.extend(["--disk", text(&journal)]);
        }
        arguments.extend(more.iter().filter(|word| **word != "alone"));
        remint_ends(code, &arguments)
    }
}

#[test]
fn both_are_captured_and_come_back_together() {
    let lab = Lab::new(24);
    let files = |data: &str, journal: &str| {
        let (ext, log) = lab.attach(data, journal);
        lab.mounted(&ext, &log, lab::tree)
    };
    let before = files("data.img", "journal.img");
    assert!(before.len() > 10);
    let (data, journal) = (lab.path("data.img"), lab.path("journal.img"));
    let said = remint_ends(0, &["inspect", text(&data), text(&journal)]);
    assert!(said.contains("its journal is d1-p1") && said.contains("clean"), "{said}");
    lab.capture(0, &[]);
    assert!(lab.is_fixed("d0-p1") && !lab.is_fixed("d1-p1"));
    for (name, mib) in [("new-data.img", 200), ("new-journal.img", 24)] {
        lab::noisy_disk(&lab.path(name), mib * MIB);
    }
    let (first, second) = (lab.path("new-data.img"), lab.path("new-journal.img"));
    let disks = [format!("d0={}", text(&first)), format!("d1={}", text(&second))];
    remint_ends(
        0,
        &["deploy", "lab", "--from", &lab.store(), "--yes", "--disk", &disks[0], "--disk", &disks[1]],
    );
    // On a larger disk, it keeps its size.
    assert_eq!(lab::partitions(&first, 512)[0].length, lab.data.length);
    {
        let (ext, log) = lab.attach("new-data.img", "new-journal.img");
        run("e2fsck", &["-f", "-n", "-j", &log.0, &ext.0]);
    }
    assert!(files("new-data.img", "new-journal.img") == before);
}

#[test]
fn one_without_the_other_is_refused_by_name() {
    let lab = Lab::new(24);
    let said = lab.capture(1, &["alone"]);
    assert!(said.contains("the journal is on another device") && said.contains("name its disk"), "{said}");
    let said = lab.capture(1, &["--only", "d0-p1"]);
    assert!(said.contains("the journal is on another device"), "{said}");
    lab.capture(0, &["alone", "--when-dirty", "raw"]);
    let (store, journal) = (lab.store(), lab.path("journal.img"));
    let said = remint_ends(1, &["capture", "lab", "--to", &store, "--disk", text(&journal)]);
    assert!(said.contains("capture both in one image"), "{said}");
    // A journal that is not its own.
    let (_, log) = lab.attach("data.img", "journal.img");
    run("mke2fs", &["-q", "-F", "-b", "4096", "-O", "journal_dev", &log.0]);
    drop(log);
    let said = lab.capture(1, &[]);
    assert!(said.contains("the journal is on another device"), "{said}");
}

/// The kernel opens the device of the number that the superblock names: here it is the source's journal.
#[test]
fn nothing_is_changed_in_a_file_system_whose_journal_is_elsewhere_and_the_source_stays_as_it_is() {
    let lab = Lab::new(24);
    lab.capture(0, &[]);
    for (name, mib) in [("new-data.img", 64), ("new-journal.img", 24)] {
        lab::noisy_disk(&lab.path(name), mib * MIB);
    }
    let disks = ["d0=new-data.img", "d1=new-journal.img"].map(|disk| {
        let (number, name) = disk.split_once('=').unwrap();
        format!("{number}={}", text(&lab.path(name)))
    });
    std::fs::write(lab.path("hello"), b"hello").unwrap();
    let copy = format!("{}=d0-p1:/hello", text(&lab.path("hello")));
    let attached = lab.attach("data.img", "journal.img");
    let hashes = || ["data.img", "journal.img"].map(|name| lab::hash_of(&lab.path(name)));
    let before = hashes();
    let store = lab.store();
    let arguments = [
        "deploy", "lab", "--from", &store, "--yes", "--disk", &disks[0], "--disk", &disks[1], "--copy", &copy,
    ];
    let said = remint_ends(1, &arguments);
    assert!(said.contains("its journal is the volume d1-p1"), "{said}");
    let arguments = [&arguments[..9], &["--new-ids", "--computer-name", "pc-07"]].concat();
    let said = remint_ends(3, &arguments);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    // The plan says what is not done, and the identifiers are new.
    assert!(said.contains("d0-p1 (ext4) was not looked into"), "{said}");
    assert!(!said.contains("keeps the identifiers"), "{said}");
    let plan = [&["plan"], &arguments[1..4], &arguments[5..9], &["--new-ids"]].concat();
    let plan = remint_ends(0, &plan);
    let plan = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(plan.contains("is not looked into, because its journal is on another volume"), "{plan}");
    drop(attached);
    assert_eq!(hashes(), before);
}

#[test]
fn a_journal_that_waits_is_refused_and_nothing_is_replayed() {
    let lab = Lab::new(24);
    let (ext, log) = lab.attach("data.img", "journal.img");
    let at = tempfile::tempdir().unwrap();
    run("mount", &["-t", "ext4", "-o", &format!("journal_path={}", log.0), &ext.0, text(at.path())]);
    std::fs::write(at.path().join("unfinished"), b"unfinished").unwrap();
    run("sync", &[]);
    // As after a power cut: what both disks hold at this moment.
    for name in ["data.img", "journal.img"] {
        std::fs::copy(lab.path(name), lab.path(&format!("cut-{name}"))).unwrap();
    }
    run("umount", &[text(at.path())]);
    drop((ext, log));
    for name in ["data.img", "journal.img"] {
        std::fs::rename(lab.path(&format!("cut-{name}")), lab.path(name)).unwrap();
    }
    let hashes = || ["data.img", "journal.img"].map(|name| lab::hash_of(&lab.path(name)));
    let before = hashes();
    let said = lab.capture(1, &[]);
    assert!(said.contains("holds transactions") && said.contains("mount it and unmount it"), "{said}");
    assert_eq!(hashes(), before);
    lab.capture(0, &["--when-dirty", "raw"]);
    // The way out.
    let (ext, log) = lab.attach("data.img", "journal.img");
    let done = Command::new("e2fsck").args(["-f", "-y", "-j", &log.0, &ext.0]).output().unwrap();
    assert!(done.status.code().is_some_and(|code| code <= 1), "{done:?}");
    drop((ext, log));
    lab.capture(0, &[]);
}
