//! Arrays whose data lie on all their members together come back from these as the arrays that they were, whole, also when members
//! fail afterwards; some of the members alone are refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod arrays;
mod lab;

use aged::{Image, OnNoise};
use arrays::model::{ALTERNATE, ORIGINAL, data_of, data_start, files, wrong_parity, zones_without_files};
use arrays::{examined, members};
use lab::{MIB, Noise, remint_ends, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::md::{self, Member, Superblock};
use remint::schema::State;
use remint::units::ByteRange;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

struct Lab {
    folder: tempfile::TempDir,
    store: String,
    members: Vec<Image>,
}

impl Lab {
    fn new(name: &str) -> Self {
        Self::of(members(name))
    }

    fn of(members: Vec<Image>) -> Self {
        let folder = lab::folder();
        let store = text(&folder.path().join("store")).to_owned();
        Self { folder, store, members }
    }

    fn capture(&self, code: i32, positions: &[usize], more: &[&str]) -> String {
        let mut arguments = vec!["capture", "array", "--to", &self.store];
        positions
            .iter()
            .for_each(|position| arguments.extend(["--disk", text(&self.members[*position].path)]));
        remint_ends(code, &[arguments.as_slice(), more].concat())
    }

    /// Deploys all disks of the image to noise.
    fn deploy(&self, more: &[&str]) -> Vec<PathBuf> {
        let targets: Vec<PathBuf> = (0..self.members.len())
            .map(|number| self.folder.path().join(format!("target{number}")))
            .collect();
        for (target, member) in targets.iter().zip(&self.members) {
            lab::noisy_disk(target, fs::metadata(&member.path).unwrap().len());
        }
        let named: Vec<String> =
            (0..).zip(&targets).map(|(number, target)| format!("d{number}={}", text(target))).collect();
        let mut arguments = vec!["deploy", "array", "--from", &self.store, "--yes"];
        named.iter().for_each(|target| arguments.extend(["--disk", target]));
        remint_ends(0, &[arguments.as_slice(), more].concat());
        targets
    }

    /// All files, or every fifth one, are there by GRUB's drivers, from these disks alone.
    fn has_files(&self, disks: &[&Path], every: usize) {
        let out = self.folder.path().join("file");
        let count = disks.len().to_string();
        let disks: Vec<&str> = disks.iter().map(|disk| text(disk)).collect();
        let grub =
            |command: &[&str]| run("grub-fstest", &[&["-c", &count], disks.as_slice(), command].concat());
        let found = grub(&["ls"]);
        let array = found.split_whitespace().find(|device| device.starts_with("(md/")).unwrap();
        let files = files();
        for (sum, name) in files.iter().step_by(every).chain(files.last()) {
            let _ = fs::remove_file(&out);
            grub(&["cp", &format!("{array}{}", name.strip_prefix('.').unwrap()), text(&out)]);
            assert_eq!(lab::hash_of(&out), *sum, "{name} on {disks:?}");
        }
    }
}

/// What GRUB does not read: a layout that it does not know.
const NOT_READ: [&str; 2] = ["whole-5-first", "whole-6-ls6"];

#[test]
fn each_level_comes_back_with_every_file_and_with_every_row_right() {
    for name in arrays::WHOLE {
        let lab = Lab::new(name);
        let all: Vec<usize> = (0..lab.members.len()).collect();
        let said = lab.capture(0, &all, &[]);
        assert!(!said.contains("degraded"), "{said}");
        let targets = lab.deploy(&["--free-space", "keep"]);
        let mut left_out = 0;
        for (target, source) in targets.iter().zip(&lab.members) {
            assert_eq!(examined(target), examined(&source.path), "{name}");
            let (old, new) = (fs::read(&source.path).unwrap(), fs::read(target).unwrap());
            left_out += old.iter().zip(&new).filter(|(old, new)| old != new).count();
        }
        let disks: Vec<&Path> = targets.iter().map(PathBuf::as_path).collect();
        let can_fail = match name.as_bytes()[6] {
            b'0' => 0,
            b'6' => 2,
            _ => 1,
        };
        if can_fail == 0 {
            let layout = if name.ends_with("original") { ORIGINAL } else { ALTERNATE };
            let wrong = |layout| zones_without_files(&disks, layout);
            assert_eq!(wrong(layout), 0, "{name}");
            assert!(wrong(ORIGINAL + ALTERNATE - layout) > 0, "{name} does not tell the layouts apart");
        } else if !NOT_READ.contains(&name) {
            lab.has_files(&disks, 1);
            for first in 0..all.len() {
                // One behind the other, and for two also the one after that.
                for step in 1..=can_fail {
                    let gone = [first, (first + step) % all.len()];
                    let gone = &gone[..can_fail.min(2)];
                    let left = disks.iter().enumerate().filter(|(at, _)| !gone.contains(at));
                    lab.has_files(&left.map(|(_, disk)| *disk).collect::<Vec<_>>(), 5);
                }
            }
        }
        if matches!(name.as_bytes()[6], b'4'..=b'6') {
            // Free space is zeros on every member, or new files next to it would have wrong parity.
            assert_eq!(wrong_parity(name, &disks), 0, "{name}");
        } else {
            assert!(
                left_out > 4 << 20,
                "{name}: of free space nothing is written, and {left_out} bytes differ"
            );
        }
    }
}

/// Gives a member more bytes, and its data a later place, and makes its superblock say so.
fn lengthen(member: &Image, size_bytes: u64, later_bytes: u64) {
    let start = data_start(&member.path);
    let data = data_of(&member.path);
    fs::File::options().write(true).open(&member.path).unwrap().set_len(size_bytes).unwrap();
    lab::overwrite(&member.path, start, &vec![0; later_bytes as usize]);
    lab::overwrite(&member.path, start + later_bytes, &data);
    change(member, 128, &((start + later_bytes) / 512).to_le_bytes());
}

/// Where the superblocks of other versions would stand, at the end, some members have rows of the array, and others do not.
#[test]
fn rows_are_right_where_members_differ_in_size_and_in_where_their_data_begin() {
    for places in [[(16, 0), (24, 0), (24, 3)], [(20, 0), (20, 2), (20, 4)]] {
        for name in ["whole-5-ls", "whole-4"] {
            let lab = Lab::new(name);
            for (member, (size, later)) in lab.members.iter().zip(places) {
                lengthen(member, size * MIB, later * MIB);
            }
            // The last row is free. What was deleted there has right parity.
            let mut random = Noise::new(7);
            let (one, other) = (random.bytes(64 << 10), random.bytes(64 << 10));
            let parity: Vec<u8> = one.iter().zip(&other).map(|(one, other)| one ^ other).collect();
            for (member, bytes) in lab.members.iter().zip([one, other, parity]) {
                let end = data_start(&member.path) + data_of(&member.path).len() as u64;
                lab::overwrite(&member.path, end - bytes.len() as u64, &bytes);
            }
            let sources: Vec<&Path> = lab.members.iter().map(|member| member.path.as_path()).collect();
            assert_eq!(wrong_parity(name, &sources), 0, "{name}: the sources");
            lab.capture(0, &[0, 1, 2], &[]);
            let targets = lab.deploy(&["--free-space", "keep"]);
            let disks: Vec<&Path> = targets.iter().map(PathBuf::as_path).collect();
            assert_eq!(wrong_parity(name, &disks), 0, "{name} {places:?}");
            lab.has_files(&disks[..2], 5);
            lab.has_files(&disks[1..], 5);
        }
    }
}

#[test]
fn what_is_used_of_members_is_told_and_the_rest_is_not_captured() {
    let lab = Lab::new("whole-5-ls");
    let disks: Vec<&str> = lab.members.iter().map(|member| text(&member.path)).collect();
    let said = remint_ends(0, &[&["inspect"], disks.as_slice()].concat());
    let words = "member 1 of the MD array \"any:lab\" (RAID 5 of 3 disks, superblock 1.2); the array holds ext4 \"inside\"";
    assert!(said.contains(words), "{said}");
    lab.capture(0, &[0, 1, 2], &[]);
    let said = remint_ends(0, &["images", &lab.store, "show", "array"]);
    assert!(said.contains("MD array member"), "{said}");
    // A deploy writes zeros to all that is free: that is in the image, and nearly for nothing.
    let stored = lab::stored_bytes(Path::new(&lab.store));
    assert!(stored < MIB, "{stored} bytes");
    remint_ends(0, &["verify", "array", "--from", &lab.store]);
    let targets = lab.deploy(&[]);
    let named: Vec<String> = (0..2).map(|number| format!("d{number}={}", text(&targets[number]))).collect();
    let arguments = ["plan", "array", "--from", &lab.store, "--without", "d2", "--disk", &named[0]];
    let said = remint_ends(0, &[&arguments[..], &["--disk", &named[1]]].concat());
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = "Of the members of an MD array d0-disk and d1-disk will be there, without d2-disk: the array is degraded";
    assert!(said.contains(words), "{said}");
}

#[test]
fn some_of_the_members_are_refused_with_the_way_to_the_others() {
    let lab = Lab::new("whole-5-ls");
    let said = lab.capture(1, &[0, 2], &[]);
    assert!(
        said.contains("2 of the 3 members of its array are here: name the disks of the others"),
        "{said}"
    );
    let said = lab.capture(1, &[0, 1, 2], &["--only", "d0-disk", "--only", "d2-disk"]);
    assert!(said.contains("d1-disk belong to the same array: name them with --only too"), "{said}");
    assert!(!said.contains("d1-disk (MD"), "{said}");
    // Copies of a member are no others.
    let copy = lab.folder.path().join("copy");
    fs::copy(&lab.members[1].path, &copy).unwrap();
    let said = lab.capture(1, &[0, 1, 2], &["--disk", text(&copy)]);
    assert!(said.contains("it is the same member of its array as d3-disk"), "{said}");
    assert!(said.contains("d0-disk (MD array member \"any:lab\") is unsupported"), "{said}");
    let words = "another member of its array is there twice (d1-disk and d3-disk): leave all but one out";
    assert!(said.contains(words), "{said}");
    assert!(!said.contains("name the disks of all its members"), "{said}");
    let beside = |code: i32, names: &[&'static str]| {
        let only = names.iter().flat_map(|name| ["--only", *name]);
        let more: Vec<&str> = ["--disk", text(&copy)].into_iter().chain(only).collect();
        lab.capture(code, &[0, 1, 2], &more)
    };
    let said = beside(1, &["d0-disk", "d2-disk"]);
    let words = "d1-disk (or d3-disk) belong to the same array: name them with --only too";
    assert!(said.contains(words), "{said}");
    let said = beside(1, &["d0-disk", "d1-disk"]);
    assert!(said.contains("d2-disk belong to the same array"), "{said}");
    beside(0, &["d0-disk", "d2-disk", "d3-disk"]);
    lab.capture(0, &[0, 2], &["--when-dirty", "raw"]);
}

/// Changes a field of a superblock of version 1.2, and puts its checksum right.
fn change(member: &Image, at: u64, bytes: &[u8]) {
    lab::overwrite(&member.path, 4096 + at, bytes);
    let sum = arrays::checksum(&lab::bytes(&member.path, 4096, 4096));
    lab::overwrite(&member.path, 4096 + 216, &sum.to_le_bytes());
}

#[test]
fn members_in_doubt_keep_the_whole_array_from_being_captured() {
    let cases: [(u64, &[u8], &[&str]); 8] = [
        (8, &[9], &["has bad blocks", "one or more cannot be read: d1-disk"]),
        (8, &[1, 4], &["has a journal"]),
        (8, &[5], &["is being reshaped"]),
        (208, &[0; 8], &["is dirty", "was written to when it stopped", "cannot be read: d1-disk"]),
        // The kernel takes one that misses an event; what was written with that it does not have.
        (200, &[16], &["its members are at events of their own"]),
        (200, &[14], &["went on without it"]),
        (76, &[3], &["members that say different things of its size and layout"]),
        (80, &[0, 0x20], &["members that say different things"]),
    ];
    for (field, bytes, words) in cases {
        let lab = Lab::new("whole-5-ls");
        let events = lab::bytes(&lab.members[1].path, 4096 + 200, 1)[0];
        let bytes: Vec<u8> = match (field, bytes) {
            (200, [16]) => vec![events - 1],
            (200, _) => vec![events - 3],
            (_, bytes) => bytes.to_vec(),
        };
        change(&lab.members[1], field, &bytes);
        let said = lab.capture(1, &[0, 1, 2], &[]);
        words.iter().for_each(|word| assert!(said.contains(word), "{field}: {word}: {said}"));
        assert!(said.contains("--when-dirty raw") && !said.contains("name the disks of all"), "{said}");
    }
    // Layouts that Linux reads, and Remint does not.
    for (name, layout, words) in [
        ("whole-6-ls", [8u8, 0, 0], "layout 8 of DDF"),
        ("whole-10-n2", [2, 2, 0], "2 near and 2 far copies"),
    ] {
        let lab = Lab::new(name);
        lab.members.iter().for_each(|member| change(member, 76, &layout));
        let said = lab.capture(1, &(0..lab.members.len()).collect::<Vec<_>>(), &[]);
        assert!(said.contains(words) && said.contains("--disk /dev/md0"), "{said}");
    }
    let lab = Lab::new("whole-0-original");
    lab.members.iter().for_each(|member| change(member, 8, &[0, 0]));
    let said = lab.capture(1, &[0, 1, 2], &[]);
    assert!(said.contains("does not say which of the two layouts it has"), "{said}");
    // What was said of each member alone is not said where all are named.
    assert!(!said.contains("name the disks of all its members"), "{said}");
    let said = lab.capture(1, &[0, 1], &[]);
    assert!(
        said.contains("where it has lost one, its data are gone") && !said.contains("mdadm --add"),
        "{said}"
    );
    lab.members.iter().for_each(|member| change(member, 72, &(-4i32).to_le_bytes()));
    let said = lab.capture(1, &[0, 1, 2], &[]);
    assert!(said.contains("(multipath of 3 disks, superblock 1.2) of a level that is not read"), "{said}");
}

/// What the array holds decides, as on a disk.
#[test]
fn a_file_system_that_is_not_clean_is_to_be_put_right_on_the_array() {
    let lab = Lab::new("whole-10-n2");
    // The copy that is read of the first chunk, with the superblock of ext4.
    lab::overwrite(&lab.members[0].path, data_start(&lab.members[0].path) + 1024 + 0x30, &[0xFF]);
    let said = lab.capture(1, &[0, 1, 2], &[]);
    assert!(said.contains("d2-disk (MD array member \"any:lab\") is damaged"), "{said}");
    assert!(said.contains("its ext4"), "{said}");
    assert!(said.contains("never on a member, or the array falls apart"), "{said}");
}

/// What is used of the rows of a member.
fn in_rows(member: &Member) -> Vec<ByteRange> {
    let start = member.rows.start();
    let moved = |range: ByteRange| ByteRange::new(range.start() - start, range.end() - start);
    member.reading.used.iter().flat_map(|used| used.within(member.rows)).map(moved).collect()
}

fn together(disks: &[&dyn ReadAt]) -> Option<Vec<Member>> {
    let members: Option<Vec<(&str, &dyn ReadAt, Superblock)>> =
        disks.iter().map(|disk| Some(("d0", *disk, md::member(*disk).unwrap()?))).collect();
    members.map(|members| md::read_together(&members).unwrap())
}

/// Thousands of changes of superblocks, every second one with its checksum put right, in one member or in all.
#[test]
fn damage_of_members_is_survived_and_what_is_believed_reads_the_same_from_its_map() {
    for name in ["whole-5-ls", "whole-6-ra", "whole-10-f2", "whole-0-original"] {
        let disks: Vec<MemoryDisk> = members(name).iter().map(Image::memory).collect();
        let sources: Vec<&dyn ReadAt> = disks.iter().map(|disk| -> &dyn ReadAt { disk }).collect();
        let mut random = Noise::new(3);
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for round in 0..2500 {
            // What tells of level, layout and sizes stands in front of the roles.
            let field = if round % 3 == 0 { 72 + random.below(24) } else { random.below(264) };
            let length = [1, 1, 2, 4, 8][random.below(5) as usize];
            let bytes = match random.below(3) {
                0 => vec![0; length],
                1 => vec![random.below(8) as u8; length],
                _ => random.bytes(length),
            };
            let one = random.below(disks.len() as u64) as usize;
            let touched = if round % 4 == 0 { &disks[..] } else { &disks[one..=one] };
            let old: Vec<Vec<u8>> = touched.iter().map(|disk| read_vec(disk, 4096, 4096).unwrap()).collect();
            for disk in touched {
                disk.write_at(4096 + field, &bytes).unwrap();
                if round % 8 != 1 {
                    let sum = arrays::checksum(&read_vec(disk, 4096, 4096).unwrap());
                    disk.write_at(4096 + 216, &sum.to_le_bytes()).unwrap();
                }
            }
            let found = together(&sources);
            for member in found.iter().flatten() {
                let reading = &member.reading;
                assert_eq!(reading.used.is_some(), reading.file_system.state == State::Clean);
                assert!(!reading.file_system.findings.is_empty());
                assert!(reading.used.iter().all(|used| used.end() <= 16 * MIB));
                assert!(member.rows.end() <= 16 * MIB && (member.rows.is_empty() || reading.used.is_some()));
                *seen.entry(reading.file_system.state.to_string()).or_default() += 1;
            }
            for pair in found.iter().flat_map(|found| found.windows(2)) {
                assert_eq!(in_rows(&pair[0]), in_rows(&pair[1]), "{name}: {bytes:x?} at {field}");
            }
            if let Some(found) = found
                && found.iter().all(|member| member.reading.used.is_some())
            {
                let left: Vec<OnNoise<'_>> = disks
                    .iter()
                    .zip(&found)
                    .map(|(disk, member)| OnNoise { disk, used: member.reading.used.as_ref().unwrap() })
                    .collect();
                let left: Vec<&dyn ReadAt> = left.iter().map(|disk| -> &dyn ReadAt { disk }).collect();
                assert_eq!(together(&left), Some(found), "{name}: {bytes:x?} at {field}");
            }
            touched.iter().zip(&old).for_each(|(disk, old)| disk.write_at(4096, old).unwrap());
        }
        for state in ["clean", "unsupported"] {
            assert!(seen.get(state).is_some_and(|count| *count > 50), "{name}: {seen:?}");
        }
    }
}
