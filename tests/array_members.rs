//! Disks that belong to arrays are captured and deployed as members, together and one by one, and never as plain disks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod arrays;
mod lab;

use arrays::{examined, member, unpacked};
use lab::{MIB, Mount, hash_of, remint_ends, text};
use std::fs;
use std::path::{Path, PathBuf};

struct Lab {
    folder: tempfile::TempDir,
    store: String,
}

impl Lab {
    fn new() -> Self {
        let folder = lab::folder();
        let store = text(&folder.path().join("store")).to_owned();
        Self { folder, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A member as a whole disk.
    fn disk(&self, name: &str, position: usize) -> PathBuf {
        let path = self.path(&format!("{name}-{position}"));
        fs::copy(member(name, position).path, &path).unwrap();
        path
    }

    /// A disk of noise of this size.
    fn target(&self, name: &str, size_bytes: u64) -> PathBuf {
        lab::noisy_disk(&self.path(name), size_bytes);
        self.path(name)
    }

    fn capture(&self, code: i32, disks: &[&Path], more: &[&str]) -> String {
        let mut arguments = vec!["capture", "array", "--to", &self.store];
        disks.iter().for_each(|disk| arguments.extend(["--disk", text(disk)]));
        remint_ends(code, &[arguments.as_slice(), more].concat())
    }

    fn deploy(&self, code: i32, disks: &[&str]) -> String {
        let mut arguments = vec!["deploy", "array", "--from", &self.store, "--yes"];
        disks.iter().for_each(|disk| arguments.extend(["--disk", disk]));
        remint_ends(code, &arguments)
    }
}

#[test]
fn both_members_come_back_and_the_second_one_costs_nearly_nothing() {
    for (name, start, length) in arrays::VERSIONS {
        let lab = Lab::new();
        let (one, other) = (lab.disk(name, 0), lab.disk(name, 1));
        let said = lab.capture(0, &[&one], &[]);
        assert!(said.contains("d0-disk is one of 2 members of its array, of which 1 are here"), "{said}");
        let alone = lab::chunk_files(Path::new(&lab.store)).len();
        let said = lab.capture(0, &[&one, &other], &[]);
        assert!(!said.contains("degraded"), "{said}");
        let both = lab::chunk_files(Path::new(&lab.store)).len();
        assert!(both <= alone + 1, "{both} chunks for two members, {alone} for one");
        let targets = [lab.target("a", 16 * MIB), lab.target("b", 16 * MIB)];
        lab.deploy(0, &[&format!("d0={}", text(&targets[0])), &format!("d1={}", text(&targets[1]))]);
        for (target, source) in targets.iter().zip([&one, &other]) {
            assert_eq!(examined(target), examined(source), "{name}");
            let mount = Mount::new(target, start, length, "ext4", true);
            let sums = fs::read_to_string(arrays::beside(&format!("{name}.sums"))).unwrap();
            for (sum, file) in sums.lines().map(|line| line.split_once("  ").unwrap()) {
                assert_eq!(hash_of(&mount.path().join(file)), sum, "{name} {file}");
            }
        }
        // Firmware and kernel count from the end of the disk.
        let larger = lab.target("larger", 17 * MIB);
        let before = hash_of(&larger);
        let said = lab.deploy(1, &[&format!("d0={}", text(&larger)), &format!("d1={}", text(&targets[1]))]);
        assert!(said.contains("needs a disk of exactly its size: it had 16777216 bytes"), "{said}");
        assert_eq!(hash_of(&larger), before);
    }
}

#[test]
fn members_in_partitions_keep_their_size_on_a_larger_disk() {
    for name in ["clean-1.0", "clean-1.2", "clean-0.90"] {
        let lab = Lab::new();
        let disk = lab.path("disk");
        let script = "label: gpt\nsize=16MiB, type=A19D880F-05FC-4D3B-A006-743F0F84911E\nsize=20MiB\n";
        let places = lab::partitioned_disk(&disk, 40 * MIB, 512, script);
        lab::put(&disk, places[0].start, &member(name, 1).path);
        let said = remint_ends(0, &["inspect", text(&disk)]);
        assert!(said.contains("MD array member") && said.contains("member 1 of the MD array"), "{said}");
        lab.capture(0, &[&disk], &[]);
        let target = lab.target("target", 100 * MIB);
        lab.deploy(0, &[text(&target)]);
        let place = lab::partitions(&target, 512)[0];
        assert_eq!(place.length, 16 * MIB);
        let part = lab.path("part");
        fs::write(&part, lab::bytes(&target, place.start, place.length)).unwrap();
        assert_eq!(examined(&part), examined(&member(name, 1).path));
    }
}

#[test]
fn a_member_that_its_array_left_behind_is_refused_by_name() {
    let lab = Lab::new();
    let (current, behind) = (lab.disk("degraded-1.2", 0), lab.disk("degraded-1.2", 1));
    let said = remint_ends(0, &["inspect", text(&current), text(&behind)]);
    assert!(said.contains("d1-disk: the array went on without it: it is at event"), "{said}");
    let said = lab.capture(1, &[&current, &behind], &[]);
    assert!(said.contains("d1-disk (MD array member \"any:lab\") is unsupported"), "{said}");
    assert!(!said.contains("d0-disk (MD"), "{said}");
    let said = lab.capture(0, &[&current, &behind], &["--only", "d0-disk"]);
    assert!(said.contains("d0-disk is one of 2 members of its array, of which 1 are captured"), "{said}");
    lab.capture(0, &[&current, &behind], &["--when-dirty", "raw"]);
    // Whoever chooses it by itself is told too, where the others are named.
    let said = lab.capture(1, &[&current, &behind], &["--only", "d1-disk"]);
    assert!(said.contains("the array went on without it"), "{said}");
    // A copy of a member is not another one.
    let copy = lab.path("copy");
    fs::copy(&current, &copy).unwrap();
    let said = lab.capture(1, &[&current, &copy], &[]);
    assert!(said.contains("it is the same member of its array as d1-disk"), "{said}");
    assert!(said.contains("it is the same member of its array as d0-disk"), "{said}");
    lab.capture(0, &[&current, &copy], &["--only", "d0-disk"]);
}

#[test]
fn one_of_two_members_can_be_chosen_and_starts_degraded() {
    let lab = Lab::new();
    let (one, other) = (lab.disk("clean-1.2", 0), lab.disk("clean-1.2", 1));
    let said = lab.capture(0, &[&one, &other], &["--only", "d1-disk"]);
    let words = "d1-disk is one of 2 members of its array, of which 1 are captured: deployed from these the array is degraded";
    assert!(said.contains(words) && said.contains("--run") && !said.contains("Volume d0-disk"), "{said}");
}

/// Each half of a mirror was started without the other, and written to as often.
#[test]
fn of_members_that_went_on_without_each_other_none_is_believed() {
    let lab = Lab::new();
    let (one, other) = (lab.disk("clean-1.2", 0), lab.disk("clean-1.2", 1));
    for (disk, absent) in [(&one, 1), (&other, 0)] {
        lab::overwrite(disk, 4096 + 256 + 2 * absent, &[0xFE, 0xFF]);
        let sum = arrays::checksum(&lab::bytes(disk, 4096, 4096));
        lab::overwrite(disk, 4096 + 216, &sum.to_le_bytes());
    }
    let said = lab.capture(1, &[&one, &other], &[]);
    for words in ["d0-disk and d1-disk are at the same event", "d1-disk and d0-disk are at the same event"] {
        assert!(said.contains(words), "{said}");
    }
    lab.capture(0, &[&one, &other], &["--only", "d1-disk"]);
    // One of them saw that the other failed just before the end.
    fs::copy(member("clean-1.2", 1).path, &other).unwrap();
    let said = lab.capture(1, &[&one, &other], &[]);
    assert!(said.contains("by d0-disk the array went on without another of them"), "{said}");
}

/// What counts from the end of a member would not be found in a larger place.
#[test]
fn a_place_that_is_there_or_that_a_script_makes_has_the_size_of_the_member() {
    let raid = "A19D880F-05FC-4D3B-A006-743F0F84911E";
    let lab = Lab::new();
    let disk = lab.path("disk");
    let place =
        lab::partitioned_disk(&disk, 24 * MIB, 512, &format!("label: gpt\nsize=16MiB, type={raid}\n"))[0];
    let half = lab.disk("clean-1.0", 1);
    lab::put(&disk, place.start, &half);
    let whole = lab.disk("clean-1.0", 0);
    let target = lab.path("target");
    let script = format!("label: gpt\nsize=20MiB, type={raid}\nsize=16MiB, type={raid}\n");
    let there = lab::partitioned_disk(&target, 60 * MIB, 512, &script);
    let sfdisk = lab.path("script.sh");
    let deploy = |code: i32, options: &[&str]| {
        let arguments = ["deploy", "array", "--from", &lab.store, "--disk", text(&target), "--yes"];
        remint_ends(code, &[arguments.as_slice(), options].concat())
    };
    let made = |code: i32, size: &str, volume: &str| {
        let lines = format!("label: gpt\nsize={size}, type={raid}\n");
        let places = format!("printf '{volume}=1\\n' > \"$REMINT_PLACES\"");
        fs::write(&sfdisk, format!("set -e\nsfdisk \"$REMINT_DISK\" <<END\n{lines}END\n{places}\n")).unwrap();
        deploy(code, &["--layout", "script", "--script", text(&sfdisk)])
    };
    let (firmware, dirty) = (lab.disk("imsm", 0), lab.disk("dirty-1.2", 0));
    let raw: &[&str] = &["--when-dirty", "raw"];
    let cases: [(&Path, &str, &[&str], &Path); 4] = [
        (&disk, "d0-p1", &[], &half),
        (&whole, "d0-disk", &[], &whole),
        (&dirty, "d0-disk", raw, &dirty),
        (&firmware, "d0-disk", raw, &firmware),
    ];
    for (source, volume, options, content) in cases {
        lab.capture(0, &[source], options);
        let before = hash_of(&target);
        let words = format!("bytes, and {volume} is a member of an array");
        let said = deploy(1, &["--keep-table", "--only", &format!("{volume}=1")]);
        assert!(said.contains(&words) && said.contains("needs exactly 16777216"), "{said}");
        let said = made(1, "20MiB", volume);
        assert!(said.contains(&words), "{said}");
        assert_eq!(hash_of(&target), before);
        deploy(0, &["--keep-table", "--only", &format!("{volume}=2")]);
        let part = lab.path("part");
        fs::write(&part, lab::bytes(&target, there[1].start, there[1].length)).unwrap();
        if options.is_empty() {
            assert_eq!(examined(&part), examined(content), "{volume}");
        } else {
            assert_eq!(hash_of(&part), hash_of(content), "{volume}");
        }
    }
    made(0, "16MiB", "d0-disk");
}

#[test]
fn every_block_of_a_member_is_captured_where_that_is_asked_for() {
    let lab = Lab::new();
    for name in ["level-5", "dirty-1.2", "imsm"] {
        let disk = lab.disk(name, 0);
        let said = lab.capture(1, &[&disk], &[]);
        assert!(said.contains("--when-dirty raw"), "{said}");
        lab.capture(0, &[&disk], &["--when-dirty", "raw"]);
        let target = lab.target("target", 16 * MIB);
        lab.deploy(0, &[text(&target)]);
        assert_eq!(hash_of(&target), hash_of(&disk), "{name}");
    }
}

/// A disk with a table that names one partition, at its start.
fn with_table(disk: &Path, label: &str) {
    let table = lab::folder();
    let other = table.path().join("table");
    lab::partitioned_disk(
        &other,
        fs::metadata(disk).unwrap().len(),
        512,
        &format!("label: {label}\nsize=4MiB\n"),
    );
    lab::overwrite(disk, 0, &lab::bytes(&other, 0, 17408));
}

#[test]
fn a_whole_disk_that_an_array_has_is_no_plain_disk_whatever_its_table_says() {
    let lab = Lab::new();
    let ddf = lab.path("ddf");
    fs::copy(unpacked("ddf", 0, None).path, &ddf).unwrap();
    let cases = [
        (lab.disk("imsm", 0), "firmware RAID member", "Intel Matrix Storage"),
        (ddf, "firmware RAID member", "(DDF)"),
        (lab.disk("clean-1.0", 0), "MD array member", "the whole disk is a member of the MD array"),
        (lab.disk("clean-0.90", 0), "MD array member", "the whole disk is a member of the MD array"),
    ];
    for (disk, kind, words) in &cases {
        for label in ["gpt", "dos"] {
            with_table(disk, label);
            let said = remint_ends(0, &["inspect", text(disk)]);
            assert!(
                said.contains(kind) && said.contains(words) && said.contains("No partition table"),
                "{said}"
            );
            let said = lab.capture(1, &[disk], &[]);
            assert!(said.contains(words) && said.contains("--trust gpt"), "{said}");
            // What stays of an array that is history.
            let trust = if label == "gpt" { "gpt" } else { "mbr" };
            let said = lab.capture(0, &[disk], &["--trust", trust]);
            assert!(said.contains(&format!("marks of a {kind}; its table was believed, as asked")), "{said}");
            let said = remint_ends(0, &["images", &lab.store, "show", "array"]);
            assert!(said.contains("d0-p1") || said.contains("4.00 MiB"), "{said}");
        }
    }
}

/// Version 0.90 at the end of the last partition stands where that of the disk would stand.
#[test]
fn the_superblock_of_the_last_partition_is_not_that_of_the_disk() {
    let lab = Lab::new();
    let disk = lab.path("disk");
    let place = lab::partitioned_disk(&disk, 17 * MIB, 512, "label: dos\nstart=1MiB, type=fd\n")[0];
    assert_eq!(place.length, 16 * MIB);
    lab::put(&disk, place.start, &member("clean-0.90", 0).path);
    let said = remint_ends(0, &["inspect", text(&disk)]);
    assert!(
        said.contains("MBR, disk signature") && said.contains("d0-p1: member 0 of the MD array"),
        "{said}"
    );
}

/// Members of a RAID 0 do not say how much of them is used.
#[test]
fn the_superblock_of_a_raid_0_in_the_last_partition_is_not_that_of_the_disk() {
    let lab = Lab::new();
    let half = lab.disk("clean-0.90", 0);
    // Level, size and chunk.
    let at = 16 * MIB - 65536;
    [(7, 0u32), (8, 0), (65, 65536)]
        .iter()
        .for_each(|(word, value)| lab::overwrite(&half, at + word * 4, &value.to_le_bytes()));
    let sum = arrays::checksum_0(&lab::bytes(&half, at, 4096));
    lab::overwrite(&half, at + 38 * 4, &sum.to_le_bytes());
    let disk = lab.path("disk");
    for (start, is_of_the_disk) in [(1, false), (4, true)] {
        // One behind which there is no room for a superblock, and one that ends before it.
        let size = if is_of_the_disk { "size=4MiB, " } else { "" };
        let script = format!("label: dos\nstart={start}MiB, {size}type=fd\n");
        fs::File::create(&disk).unwrap();
        lab::partitioned_disk(&disk, 17 * MIB, 512, &script);
        lab::overwrite(&disk, MIB + at, &lab::bytes(&half, at, 65536));
        let said = remint_ends(0, &["inspect", text(&disk)]);
        assert_eq!(said.contains("MBR, disk signature"), !is_of_the_disk, "{said}");
        assert_eq!(said.contains("the whole disk is a member"), is_of_the_disk, "{said}");
    }
}

/// Be it that a partition stays away or a whole disk; a spare is missed by nobody.
#[test]
fn a_plan_says_which_members_are_left_out() {
    let raid = "A19D880F-05FC-4D3B-A006-743F0F84911E";
    let lab = Lab::new();
    let disk = lab.path("disk");
    let script = format!("label: gpt\nsize=16MiB, type={raid}\nsize=16MiB, type={raid}\n");
    let places = lab::partitioned_disk(&disk, 40 * MIB, 512, &script);
    for (number, place) in places.iter().enumerate() {
        lab::put(&disk, place.start, &member("clean-1.2", number).path);
    }
    let spare = lab.disk("spare-1.2", 0);
    lab::overwrite(&spare, 4096 + 16, &lab::bytes(&disk, places[0].start + 4096 + 16, 16));
    let sum = arrays::checksum(&lab::bytes(&spare, 4096, 4096));
    lab::overwrite(&spare, 4096 + 216, &sum.to_le_bytes());
    lab.capture(0, &[&disk, &spare], &[]);
    let targets = [lab.target("target", 40 * MIB), lab.target("other", 16 * MIB)];
    let plan = |more: &[&str]| {
        let first = format!("d0={}", text(&targets[0]));
        let arguments = ["plan", "array", "--from", &lab.store, "--disk", &first];
        let said = remint_ends(0, &[&arguments[..], more].concat());
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let words = "Of the members of an MD array d0-p1 will be there, without d0-p2: the array is degraded";
    let second = format!("d1={}", text(&targets[1]));
    let said = plan(&["--disk", &second, "--without", "d0-p2"]);
    assert!(said.contains(words), "{said}");
    for more in [&["--disk", &second][..], &["--without", "d1"]] {
        let said = plan(more);
        assert!(!said.contains("degraded"), "{said}");
    }
}

#[test]
fn a_disk_within_a_partition_is_named_and_captured_whole() {
    let lab = Lab::new();
    for (label, words) in [("gpt", "(GPT)"), ("dos", "(MBR)")] {
        let disk = lab.path("disk");
        let place = lab::partitioned_disk(&disk, 24 * MIB, 512, "label: gpt\nsize=16MiB\n")[0];
        let inner = lab.path("inner");
        lab::partitioned_disk(&inner, 16 * MIB, 512, &format!("label: {label}\nsize=4MiB\n"));
        lab::put(&disk, place.start, &inner);
        let said = lab.capture(0, &[&disk], &[]);
        assert!(
            said.contains("Volume d0-p1 is captured whole, with the partitions in it")
                && said.contains(words),
            "{said}"
        );
        let target = lab.target("target", 30 * MIB);
        lab.deploy(0, &[text(&target)]);
        let place = lab::partitions(&target, 512)[0];
        assert!(lab::bytes(&target, place.start, place.length) == fs::read(&inner).unwrap());
    }
}

/// What begins in a partition of a dynamic disk need not be all that is in it.
#[test]
fn a_dynamic_disk_is_no_plain_disk_though_a_file_system_begins_in_its_partition() {
    let ldm_data = "AF9B60A0-1431-4F62-BC68-3311714A69AD";
    let dos = ("dos", "start=1MiB, size=20MiB, type=42");
    let gpt = ("gpt", &*format!("size=20MiB, type={ldm_data}"));
    for (label, script) in [dos, gpt] {
        let lab = Lab::new();
        let disk = lab.path("disk");
        let place = lab::partitioned_disk(&disk, 24 * MIB, 512, &format!("label: {label}\n{script}\n"))[0];
        let part = lab.path("part");
        fs::File::create(&part).unwrap().set_len(8 * MIB).unwrap();
        lab::run("mkntfs", &["-q", "-Q", "-F", "-s", "512", "-p", "0", text(&part)]);
        lab::put(&disk, place.start, &part);
        let said = lab.capture(1, &[&disk], &[]);
        assert!(said.contains("d0-p1 (Windows dynamic disk") && said.contains("--when-dirty raw"), "{said}");
        if label == "dos" {
            // With its database, the disk is one.
            lab::overwrite(&disk, 6 * 512, b"PRIVHEAD\0\0\0\0\0\x02\0\x0c");
            let said = lab.capture(1, &[&disk], &[]);
            assert!(said.contains("d0-disk (Windows dynamic disk"), "{said}");
        }
        lab.capture(0, &[&disk], &["--when-dirty", "raw"]);
        let target = lab.target("target", 24 * MIB);
        lab.deploy(0, &[text(&target)]);
        let content = |disk: &Path| lab::bytes(disk, place.start, place.length);
        assert!(content(&target) == content(&disk), "{label}");
    }
}
