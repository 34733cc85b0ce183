//! Dynamic disks of Windows come back as the group that they were, on disks of the same and of a larger size, and never apart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod lab;
#[path = "ldm/mod.rs"]
mod made;

use lab::{Kind, MIB, remint_ends, text};
use made::{Group, Shown, mixed};
use std::fs;
use std::path::{Path, PathBuf};

const NTFS: Kind = Kind {
    name: "NTFS",
    family: "ntfs",
    make: &["mkntfs", "-q", "-Q", "-F", "-s", "512", "-p", "0", "-L", "inside"],
};
const NAMES: [&str; 5] = ["Simple", "Spanned", "Striped", "Mirror", "Other"];
const SIZE: u64 = 120 * MIB;

struct Lab {
    group: Group,
    store: String,
}

impl Lab {
    fn new(group: Group) -> Self {
        let store = text(&group.folder.path().join("store")).to_owned();
        Self { group, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.group.folder.path().join(name)
    }

    fn target(&self, name: &str, size_bytes: u64) -> PathBuf {
        lab::noisy_disk(&self.path(name), size_bytes);
        self.path(name)
    }

    fn capture(&self, code: i32, disks: &[&Path], more: &[&str]) -> String {
        let mut arguments = vec!["capture", "group", "--to", &self.store];
        disks.iter().for_each(|disk| arguments.extend(["--disk", text(disk)]));
        remint_ends(code, &[arguments.as_slice(), more].concat())
    }

    fn deploy(&self, code: i32, targets: &[&Path], more: &[&str]) -> String {
        let named: Vec<String> =
            (0..).zip(targets).map(|(number, target)| format!("d{number}={}", text(target))).collect();
        let mut arguments = vec!["deploy", "group", "--from", &self.store, "--yes"];
        named.iter().for_each(|target| arguments.extend(["--disk", target]));
        remint_ends(code, &[arguments.as_slice(), more].concat())
    }
}

impl Lab {
    /// What a deploy would do, without its line breaks.
    fn plan(&self, targets: &[&str], more: &[&str]) -> String {
        let mut arguments = vec!["plan", "group", "--from", &self.store];
        targets.iter().for_each(|target| arguments.extend(["--disk", target]));
        let said = remint_ends(0, &[arguments.as_slice(), more].concat());
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A group whose volumes hold files; where those are, each by the name of its volume.
fn filled() -> (Lab, PathBuf) {
    let folder = lab::folder().keep();
    let files = folder.join("files");
    lab::real_files(&files, 6 * MIB);
    let group = mixed(|name, bytes| {
        let path = folder.join(name);
        NTFS.build(&path, bytes, &files);
        Some(path)
    });
    group.make();
    (Lab::new(group), folder)
}

/// Every volume on some disks, as ldmtool says where it is, has the files that it had.
fn has_files(shown: &Shown, from: &Path, scratch: &Path) {
    for name in NAMES {
        for content in shown.content(name) {
            let (volume, bytes) = (scratch.join("volume"), content.len() as u64);
            fs::write(&volume, &content).unwrap();
            NTFS.check(&volume, 0, bytes);
            assert_eq!(NTFS.files(&volume, 0, bytes), NTFS.files(&from.join(name), 0, bytes), "{name}");
        }
    }
}

#[test]
fn a_group_comes_back_on_disks_of_the_same_and_of_a_larger_size() {
    let (lab, from) = filled();
    let (one, other) = (lab.group.disk(1), lab.group.disk(2));
    let said = remint_ends(0, &["inspect", text(&one), text(&other)]);
    for words in [
        "d0-disk",
        "Windows dynamic disk",
        "Striped (striped, 32",
        "Disk2 of the 2 disks of the group \"Lab-Dg0\"",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("unsupported") && !said.contains("same UUID"), "{said}");
    let said = lab.capture(0, &[&one, &other], &[]);
    assert!(!said.contains("missing"), "{said}");
    let stored = lab::stored_bytes(Path::new(&lab.store));
    assert!(stored < 90 * MIB, "{stored}");
    let old = Shown::new(&[&one, &other]);
    for more in [0, MIB / 2, 8 * MIB, 40 * MIB] {
        let targets = [lab.target("a", SIZE + more), lab.target("b", SIZE + more)];
        let said = lab.deploy(0, &[&targets[0], &targets[1]], &[]);
        let new = Shown::new(&[&targets[0], &targets[1]]);
        assert_eq!(new.all(), old.all(), "{more}: {said}");
        // To the byte, apart from where the headers of the MBR disk say that the database is.
        assert!(new.private("Disk2") == old.private("Disk2"));
        let (mut before, mut after) = (old.private("Disk1"), new.private("Disk1"));
        for copy in [1856 * 512, 2047 * 512] {
            for region in [&mut before, &mut after] {
                assert_eq!(
                    made::checksum(&region[copy..copy + 512]).to_be_bytes(),
                    region[copy + 8..copy + 12]
                );
                region[copy + 8..copy + 12].fill(0);
                region[copy + 0x12B..copy + 0x133].fill(0);
            }
        }
        assert!(before == after);
        let start = new.disk("Disk1")["metadata-start"].as_u64().unwrap() * 512;
        assert_eq!(start, SIZE + more - MIB, "the database stands at the end");
        // Of the old place nothing is left.
        let left = lab::bytes(&targets[0], SIZE - MIB, MIB.min(more));
        assert!(left.iter().all(|byte| *byte == 0));
        assert_eq!(lab::partitions(&targets[1], 512), lab::partitions(&other, 512));
        assert_eq!(more > 0, said.contains("stands at the end of the disk"), "{said}");
        has_files(&new, &from, lab.group.folder.path());
    }
    // What was deployed is a group that can be captured.
    let said = lab.capture(0, &[&lab.path("a"), &lab.path("b")], &[]);
    assert!(!said.contains("missing"), "{said}");
    fs::remove_dir_all(from).unwrap();
}

#[test]
fn a_group_is_not_torn_apart() {
    let folder = lab::folder();
    let group = mixed(|name, bytes| {
        let path = folder.path().join(name);
        lab::noisy_disk(&path, bytes);
        lab::run(NTFS.make[0], &[&NTFS.make[1..], &[text(&path)]].concat());
        Some(path)
    });
    group.make();
    let lab = Lab::new(group);
    let (one, other) = (lab.group.disk(1), lab.group.disk(2));
    let said = lab.capture(1, &[&one], &[]);
    assert!(said.contains("d0-disk (Windows dynamic disk \"Lab-Dg0\") is unsupported"), "{said}");
    assert!(
        said.contains("lies on Disk2 too, which is not here") && said.contains("--when-dirty raw"),
        "{said}"
    );
    let said = lab.capture(1, &[&other], &[]);
    assert!(said.contains("d0-p1") && said.contains("d0-p3") && said.contains("lies on Disk1 too"), "{said}");
    // A disk of an older state of its group.
    let mut newer = lab.group.json.clone();
    let current = fs::read(&one).unwrap();
    newer["sequence"] = 40.into();
    let file = lab.path("newer.json");
    fs::write(&file, newer.to_string()).unwrap();
    lab::run(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ldm/mkldm"), &[text(&file)]);
    fs::write(&one, &current).unwrap();
    let said = remint_ends(0, &["inspect", text(&one), text(&other)]);
    assert!(
        said.contains("its group went on without it: its database is at change 39, that of d1 at 40"),
        "{said}"
    );
    lab.group.make();
    lab.capture(0, &[&one, &other], &[]);
    // Too small.
    let small = lab.target("small", SIZE - MIB);
    let good = lab.target("good", SIZE);
    let before = (lab::hash_of(&small), lab::hash_of(&good));
    lab.deploy(1, &[&small, &good], &[]);
    lab.deploy(1, &[&good, &small], &[]);
    assert_eq!((lab::hash_of(&small), lab::hash_of(&good)), before);
    // The identifiers of the group stay, and a disk of it that is left behind is named.
    let targets = [lab.target("a", SIZE), lab.target("b", SIZE + MIB)];
    lab.deploy(3, &[&targets[0], &targets[1]], &["--new-ids"]);
    assert_eq!(Shown::new(&[&targets[0], &targets[1]]).all(), Shown::new(&[&one, &other]).all());
    let named = [format!("d0={}", text(&targets[0])), format!("d1={}", text(&targets[1]))];
    let said = lab.plan(&[&named[0], &named[1]], &["--new-ids"]);
    let words = "keeps its identifiers within the group of Windows dynamic disks \"Lab-Dg0\"";
    assert_eq!(said.matches(words).count(), 2, "{said}");
    let said = lab.plan(&[&named[0]], &["--without", "d1"]);
    assert!(
        said.contains("Disk 1 of the image is of the same group of Windows dynamic disks as disk 0"),
        "{said}"
    );
}

#[test]
fn one_disk_of_a_mirror_is_captured_alone_and_says_so() {
    let mut group = Group::new(&["mbr", "mbr"], 40 * MIB);
    let content = group.folder.path().join("content");
    lab::noisy_disk(&content, 16 * MIB);
    lab::run(NTFS.make[0], &[&NTFS.make[1..], &[text(&content)]].concat());
    group.volume(
        "Mirror",
        "mirrored",
        &[&[("Disk1", 4096, 32768)], &[("Disk2", 20000, 32768)]],
        Some(&content),
    );
    group.make();
    let lab = Lab::new(group);
    let said = lab.capture(0, &[&lab.group.disk(1)], &[]);
    assert!(said.contains("one of 2 disks of the group \"Lab-Dg0\", of which 1 are here"), "{said}");
    let said = lab.capture(0, &[&lab.group.disk(1), &lab.group.disk(2)], &[]);
    assert!(!said.contains("shows the others as missing"), "{said}");
    let said = lab.capture(0, &[&lab.group.disk(1), &lab.group.disk(2)], &["--only", "d1-disk"]);
    assert!(said.contains("Disk d1 is one of 2 disks"), "{said}");
}

/// Places count from the start of the disk, whatever a person asks for.
#[test]
fn a_dynamic_disk_with_a_gpt_stays_where_it_was() {
    let lab = one_simple("gpt");
    // Something beside the group whose size could change.
    let disk = lab.group.disk(1);
    let place = lab::partitions(&disk, 512)[1];
    let part = lab.path("part");
    fs::File::create(&part).unwrap().set_len(place.length).unwrap();
    lab::run("mkfs.ext2", &["-q", "-F", text(&part)]);
    lab::overwrite(&disk, place.start, &fs::read(&part).unwrap());
    lab.capture(0, &[&disk], &[]);
    let target = lab.path("there");
    lab::partitioned_disk(&target, 100 * MIB, 512, "label: gpt\nsize=20MiB\nsize=30MiB\n");
    let before = lab::hash_of(&target);
    let said = lab.deploy(1, &[&target], &["--keep", "1"]);
    assert!(said.contains("whose database counts from the start of the disk, and needs"), "{said}");
    let said = lab.deploy(1, &[&target], &["--layout", "custom", "--partition", "d0-p2=5MiB"]);
    assert!(said.contains("partitions of a Windows dynamic disk keep their places"), "{said}");
    let said = lab.deploy(1, &[&target], &["--keep-table", "--only", "d0-p3=2"]);
    assert!(
        said.contains("it is part of a Windows dynamic disk") && said.contains("deploy the whole disk"),
        "{said}"
    );
    assert_eq!(lab::hash_of(&target), before);
    let said = lab.plan(&[text(&target)], &[]);
    assert!(said.contains("stay at their original places: it is a Windows dynamic disk"), "{said}");
    lab.deploy(0, &[&target], &[]);
    let (old, new) = (Shown::new(&[&lab.group.disk(1)]), Shown::new(&[&target]));
    assert_eq!(new.all(), old.all());
    assert!(new.private("Disk1") == old.private("Disk1"));
}

/// Where the database of the first disk stands, in bytes.
fn database_at(targets: &[&Path]) -> u64 {
    Shown::new(targets).disk("Disk1")["metadata-start"].as_u64().unwrap() * 512
}

/// A group of one disk with one volume.
fn one_simple(table: &str) -> Lab {
    let mut group = Group::new(&[table], 24 * MIB);
    let content = group.folder.path().join("content");
    lab::noisy_disk(&content, 8 * MIB);
    lab::run(NTFS.make[0], &[&NTFS.make[1..], &[text(&content)]].concat());
    group.volume("Only", "simple", &[&[("Disk1", 4096, 16384)]], Some(&content));
    group.make();
    Lab::new(group)
}

/// Whatever layout is asked for: the database of an MBR disk stands at the end, or nothing is written.
#[test]
fn a_dynamic_disk_with_an_mbr_has_all_of_its_target() {
    let lab = one_simple("mbr");
    let disk = lab.group.disk(1);
    let old = Shown::new(&[&disk]).all();
    let size = 32 * MIB;
    for (of_capture, of_deploy) in [
        (&[][..], &["--layout", "original"][..]),
        (&["--fixed", "d0-disk"], &[]),
        (&["--fixed", "d0-disk"], &["--layout", "original"]),
    ] {
        lab.capture(0, &[&disk], of_capture);
        let target = lab.target("there", size);
        let said = lab.deploy(0, &[&target], of_deploy);
        assert_eq!(database_at(&[&target]), size - MIB, "{of_capture:?} {of_deploy:?}: {said}");
        assert_eq!(Shown::new(&[&target]).all(), old);
    }
    lab.capture(0, &[&disk], &[]);
    let target = lab.target("there", size);
    let before = lab::hash_of(&target);
    for wish in ["30MiB", "24MiB", "100%"] {
        let wish = format!("d0-disk={wish}");
        let said = lab.deploy(1, &[&target], &["--layout", "custom", "--partition", &wish]);
        assert!(said.contains("it is a Windows dynamic disk, which has all of its target"), "{wish}: {said}");
    }
    assert_eq!(lab::hash_of(&target), before);
}

#[test]
fn a_group_that_was_captured_raw_keeps_its_rules() {
    let mut group = Group::new(&["mbr", "mbr", "gpt"], 24 * MIB);
    let extents: [made::Extent<'_>; 3] = [("Disk1", 0, 8192), ("Disk2", 0, 8192), ("Disk3", 0, 8192)];
    group.volume("Raid", "raid5", &[&extents], None);
    group.make();
    let lab = Lab::new(group);
    let disks = [lab.group.disk(1), lab.group.disk(2), lab.group.disk(3)];
    let disks = [disks[0].as_path(), &disks[1], &disks[2]];
    lab.capture(0, &disks, &["--when-dirty", "raw"]);
    let size = 24 * MIB;
    let targets = [lab.target("a", size + 4 * MIB), lab.target("b", size), lab.target("c", size + MIB)];
    let targets = [targets[0].as_path(), &targets[1], &targets[2]];
    lab.deploy(0, &targets, &[]);
    assert_eq!(database_at(&targets), size + 3 * MIB);
    assert_eq!(Shown::new(&targets).all(), Shown::new(&disks).all());
    let named = [format!("d0={}", text(targets[0])), format!("d1={}", text(targets[1]))];
    let said = lab.plan(&[&named[0], &named[1]], &["--without", "d2"]);
    assert!(
        said.contains("Disk 2 of the image is of the same group of Windows dynamic disks as disk 0"),
        "{said}"
    );
    // No part of it goes elsewhere.
    lab.capture(0, &[disks[2]], &["--when-dirty", "raw"]);
    let there = lab.path("there");
    lab::partitioned_disk(&there, 100 * MIB, 512, "label: gpt\nsize=20MiB\nsize=30MiB\n");
    let said = lab.deploy(1, &[&there], &["--keep-table", "--only", "d0-p3=2"]);
    assert!(said.contains("it is part of a Windows dynamic disk"), "{said}");
    // Where nothing is known of its header, the database has to stay.
    lab::overwrite(disks[0], size - MIB + 1856 * 512, &[0; 512]);
    lab.capture(0, &[disks[0]], &["--when-dirty", "raw"]);
    let larger = lab.target("larger", size + MIB);
    let before = lab::hash_of(&larger);
    let said = lab.deploy(1, &[&larger], &[]);
    assert!(
        said.contains("private header that could not be read")
            && said.contains("use a disk of 25165824 bytes"),
        "{said}"
    );
    assert_eq!(lab::hash_of(&larger), before);
    let same = lab.target("same", size);
    lab.deploy(0, &[&same], &[]);
    assert_eq!(lab::hash_of(&same), lab::hash_of(disks[0]));
}

#[test]
fn the_partitions_of_a_dynamic_disk_are_captured_together() {
    let lab = one_simple("gpt");
    let disk = lab.group.disk(1);
    for (named, missing) in [("d0-p3", "d0-p1"), ("d0-p1", "d0-p3")] {
        for more in [&[][..], &["--when-dirty", "raw"]] {
            let said = lab.capture(1, &[&disk], &[&["--only", named], more].concat());
            let words = format!("name {missing} with --only too");
            assert!(said.contains(named) && said.contains(&words), "{said}");
        }
    }
    lab.capture(0, &[&disk], &["--only", "d0-p1", "--only", "d0-p3"]);
    lab.capture(0, &[&disk], &["--only", "d0-p2"]);
}
