//! Arrays whose data lie on all their members together come back from these as the arrays that they were, whole, also when members
//! fail afterwards; some of the members alone are refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod arrays;
mod lab;

use aged::Image;
use arrays::{examined, members};
use lab::{MIB, Noise, remint_ends, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::md::{self, Member, Superblock};
use remint::schema::State;
use remint::units::{ByteRange, RangeSet};
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
        let folder = lab::folder();
        let store = text(&folder.path().join("store")).to_owned();
        Self { folder, store, members: members(name) }
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
        targets.iter().for_each(|target| lab::noisy_disk(target, 16 * MIB));
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
        let sums = fs::read_to_string(arrays::beside("whole.sums")).unwrap();
        let files: Vec<(&str, &str)> = sums.lines().map(|line| line.split_once("  ").unwrap()).collect();
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
        if !NOT_READ.contains(&name) {
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
        if name.starts_with("whole-4") || name.starts_with("whole-5") || name == "whole-6-ls6" {
            // Free space is zeros on every member, or new files next to it would have wrong parity.
            let with_parity = if name == "whole-6-ls6" { all.len() - 1 } else { all.len() };
            let rows: Vec<Vec<u8>> = disks[..with_parity].iter().map(|disk| data_of(disk)).collect();
            let wrong = (0..rows[0].len()).filter(|at| rows.iter().fold(0, |sum, row| sum ^ row[*at]) != 0);
            assert_eq!(wrong.count(), 0, "{name}");
        } else if can_fail < 2 {
            assert!(
                left_out > 4 << 20,
                "{name}: of free space nothing is written, and {left_out} bytes differ"
            );
        }
    }
}

/// The rows of a member, by what its superblock says.
fn data_of(disk: &Path) -> Vec<u8> {
    let superblock = md::member(&fs::read(disk).unwrap().as_slice()).unwrap().unwrap();
    let (start, length) = (superblock.data.start(), superblock.data.length());
    lab::bytes(disk, start, length / superblock.chunk_bytes * superblock.chunk_bytes)
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
    let stored: u64 = lab::chunk_files(Path::new(&lab.store)).values().sum();
    assert!(stored < 2 * MIB, "{stored} bytes");
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

fn data_start(disk: &Path) -> u64 {
    md::member(&fs::read(disk).unwrap().as_slice()).unwrap().unwrap().data.start()
}

/// What is left where only what is used was restored, on something else.
struct OnNoise<'a> {
    disk: &'a MemoryDisk,
    used: &'a RangeSet,
}

impl ReadAt for OnNoise<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.disk.read_at(offset, buffer)?;
        let asked = ByteRange::at(offset, buffer.len() as u64).unwrap();
        for free in self.used.gaps(asked).iter() {
            let from = (free.start() - offset) as usize;
            buffer[from..from + free.length() as usize].fill(0xA7);
        }
        Ok(())
    }
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
        for round in 0..1500 {
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
                assert!(reading.used.iter().chain([&member.zeros]).all(|set| set.end() <= 16 * MIB));
                *seen.entry(reading.file_system.state.to_string()).or_default() += 1;
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
