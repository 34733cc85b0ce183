//! F2FS: the used map is what its own tools count, nothing that was written later is lost, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod lab;

use lab::{MIB, Noise, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::{Reading, read};
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

const BLOCK: u64 = 4096;

/// A file that holds an F2FS with files in it, made on noise.
struct Image {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    fn new(size_bytes: u64, options: &str) -> Self {
        let folder = lab::folder();
        let path = folder.path().join("volume");
        lab::noisy_disk(&path, size_bytes);
        // Nothing is discarded: what is free stays noise.
        let arguments: Vec<&str> = ["-q", "-f", "-t", "0"]
            .into_iter()
            .chain(options.split_whitespace())
            .chain([text(&path)])
            .collect();
        run("mkfs.f2fs", &arguments);
        Self { folder, path }
    }

    fn filled(size_bytes: u64, options: &str) -> Self {
        let image = Self::new(size_bytes, options);
        let files = image.folder.path().join("files");
        lab::real_files(&files, 12 * MIB);
        run("sload.f2fs", &["-f", text(&files), text(&image.path)]);
        image
    }

    fn memory(&self) -> MemoryDisk {
        MemoryDisk::from_bytes(&fs::read(&self.path).unwrap())
    }

    fn reading(&self) -> Reading {
        reading(&self.memory())
    }

    /// The numbers of superblock and checkpoint, by name, as `dump.f2fs` prints them.
    fn numbers(&self) -> BTreeMap<String, u64> {
        let dump = run("dump.f2fs", &["-d", "1", text(&self.path)]);
        let number = |line: &str| {
            let (name, rest) = line.split_once("[0x")?;
            let value = u64::from_str_radix(rest.split(':').next()?.trim(), 16).ok()?;
            Some((name.trim().to_owned(), value))
        };
        dump.lines().filter_map(number).collect()
    }

    /// The valid blocks of the main area and the segments that have some, as `dump.f2fs` sees them.
    fn segments_by_dump(&self, numbers: &BTreeMap<String, u64>) -> (RangeSet, RangeSet) {
        // It writes into the folder where it is started.
        let status = Command::new("dump.f2fs")
            .args(["-s", "0~-1"])
            .arg(&self.path)
            .current_dir(self.folder.path())
            .output();
        assert!(status.unwrap().status.success());
        let dump = fs::read_to_string(self.folder.path().join("dump_sit")).unwrap();
        let (mut blocks, mut summaries) = (Vec::new(), Vec::new());
        let mut block = 0;
        for line in dump.lines() {
            if let Some(rest) = line.strip_prefix("segno:") {
                let segment: u64 = rest.split_whitespace().next().unwrap().parse().unwrap();
                block = numbers["main_blkaddr"] + segment * 512;
                let valid = line.split("vblocks:").nth(1).unwrap().split_whitespace().next().unwrap();
                if valid != "0" {
                    summaries.push(blocks_at(numbers["ssa_blkaddr"] + segment, 1));
                }
            } else if line.starts_with("  ") {
                for byte in line.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()) {
                    let set = (0..8).filter(|bit| byte & 0x80 >> bit != 0);
                    blocks.extend(set.map(|bit| blocks_at(block + bit, 1)));
                    block += 8;
                }
            }
        }
        (blocks.into_iter().collect(), summaries.into_iter().collect())
    }

    fn check(&self) -> Result<(), String> {
        let output = Command::new("fsck.f2fs").args(["--dry-run", "-f", text(&self.path)]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_sound = output.status.success() && !said.contains("[Fail]") && !said.contains("[ASSERT]");
        is_sound.then_some(()).ok_or(said)
    }
}

fn blocks_at(block: u64, count: u64) -> ByteRange {
    ByteRange::at(block * BLOCK, count * BLOCK).unwrap()
}

fn reading(disk: &dyn ReadAt) -> Reading {
    read(disk).unwrap().unwrap()
}

#[test]
fn the_map_of_every_form_is_that_of_its_own_tools() {
    for options in [
        "-l remint",
        "-s 4 -z 2 -O extra_attr,inode_checksum,sb_checksum",
        "-i -O encrypt,quota,verity",
        "-O extra_attr,compression,project_quota,inode_crtime",
    ] {
        let image = Image::filled(200 * MIB, options);
        let reading = image.reading();
        let numbers = image.numbers();
        let (blocks, summaries) = image.segments_by_dump(&numbers);
        let warm_node =
            numbers["main_blkaddr"] + numbers["cur_node_segno[1]"] * 512 + numbers["cur_node_blkoff[1]"];
        let tables = [ByteRange::new(0, numbers["ssa_blkaddr"] * BLOCK), blocks_at(warm_node, 1)];
        let expected: RangeSet = tables.into_iter().chain(blocks.iter()).chain(summaries.iter()).collect();
        let file_system = &reading.file_system;
        assert_eq!(file_system.state, State::Clean, "{options}: {:?}", file_system.findings);
        assert_eq!(reading.used.as_ref(), Some(&expected), "{options}");
        assert_eq!(file_system.used_bytes, Some(expected.total_bytes()));
        assert!(blocks.total_bytes() > 8 * MIB && blocks.total_bytes() < 40 * MIB);

        let known = run("blkid", &["-p", "-o", "export", text(&image.path)]);
        assert!(known.contains(&format!("UUID={}\n", file_system.uuid.as_ref().unwrap())));
        assert_eq!(file_system.label.as_deref(), options.strip_prefix("-l "));
        assert_eq!((file_system.kind, file_system.block_size_bytes), (FileSystemKind::F2fs, BLOCK));
        assert_eq!(file_system.size_bytes, numbers["block_count"] * BLOCK);
    }
}

#[test]
fn what_is_in_use_is_enough_for_a_sound_file_system_on_noise() {
    for options in ["-O extra_attr,inode_checksum", "-s 2 -i"] {
        let image = Image::filled(160 * MIB, options);
        image.check().unwrap();
        let before = (image.reading(), image.numbers());
        let source = File::open(&image.path).unwrap();
        let target = Image { folder: lab::folder(), path: image.folder.path().join("target") };
        lab::noisy_disk(&target.path, 160 * MIB);
        let file = File::options().write(true).open(&target.path).unwrap();
        for range in before.0.used.as_ref().unwrap().iter() {
            let mut bytes = vec![0; range.length() as usize];
            source.read_exact_at(&mut bytes, range.start()).unwrap();
            file.write_all_at(&bytes, range.start()).unwrap();
        }
        target.check().unwrap();
        assert_eq!((target.reading(), target.numbers()), before);
        // Every file is known by its inode, each with a checksum that fsck.f2fs verified.
        let tree = |image: &Image| run("fsck.f2fs", &["--dry-run", "-t", text(&image.path)]);
        let names = |text: String| text.lines().filter(|line| line.contains("|--")).count();
        assert_eq!(names(tree(&target)), names(tree(&image)));
    }
}

/// CRC-32 as F2FS begins and ends it.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xF2F5_2010, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 },
        )
    })
}

/// Changes the blocks that begin and end the current pack of checkpoints, of a disk with the numbers of its tool.
fn change_checkpoint(disk: &MemoryDisk, numbers: &BTreeMap<String, u64>, change: impl Fn(&mut [u8])) {
    let start = numbers["cp_blkaddr"];
    for block in [start, start + numbers["cp_pack_total_block_count"] - 1] {
        let mut bytes = read_vec(disk, block * BLOCK, 4096).unwrap();
        assert_eq!(
            u64::from(crc(&bytes[..4092])),
            u64::from(u32::from_le_bytes(bytes[4092..].try_into().unwrap()))
        );
        change(&mut bytes);
        let sum = crc(&bytes[..4092]).to_le_bytes();
        bytes[4092..].copy_from_slice(&sum);
        disk.write_at(block * BLOCK, &bytes).unwrap();
    }
}

#[test]
fn a_checkpoint_that_is_not_the_last_word_is_dirty_and_a_broken_one_damaged() {
    let image = Image::new(100 * MIB, "");
    let numbers = image.numbers();
    assert_eq!(numbers["checkpoint_ver"] >> 32, 0);
    let with = |clear: u32, set: u32| {
        let disk = image.memory();
        change_checkpoint(&disk, &numbers, |bytes| {
            let flags = u32::from_le_bytes(bytes[132..136].try_into().unwrap());
            bytes[132..136].copy_from_slice(&(flags & !clear | set).to_le_bytes());
        });
        let Reading { file_system, used } = reading(&disk);
        assert_eq!(used.is_some(), file_system.state == State::Clean);
        (file_system.state, file_system.findings.concat())
    };
    for (clear, set, expected, word) in [
        (0, 0, State::Clean, ""),
        (1, 0, State::Dirty, "was not unmounted"),
        (0, 0x1000, State::Dirty, "checkpoint=disable"),
        (0, 0x0008, State::Damaged, "CP_ERROR_FLAG"),
        (0, 0x0010, State::Damaged, "CP_FSCK_FLAG"),
        (0, 0x4000, State::Damaged, "CP_RESIZEFS_FLAG"),
        (0, 0x0800, State::Clean, "quota"),
    ] {
        let (state, finding) = with(clear, set);
        assert_eq!(state, expected, "{finding}");
        assert!(finding.contains(word), "{finding}");
        assert!(state != State::Dirty || finding.contains("--when-dirty raw"), "{finding}");
    }
}

/// A clean unmount, a mount, a file that is synced, and the power fails: the checkpoint still says unmounted.
#[test]
fn nodes_synced_after_the_last_checkpoint_are_dirty() {
    let image = Image::new(100 * MIB, "");
    let numbers = image.numbers();
    let version = numbers["checkpoint_ver"];
    let next = numbers["main_blkaddr"] + numbers["cur_node_segno[1]"] * 512 + numbers["cur_node_blkoff[1]"];
    let place = blocks_at(next, 1);
    assert!(
        image.reading().used.unwrap().contains(place),
        "what an older deploy left there would be rolled forward"
    );
    let state = |cp_ver: u64, flags: u32| {
        let disk = image.memory();
        let mut sum = 0;
        change_checkpoint(&disk, &numbers, |bytes| {
            let old = u32::from_le_bytes(bytes[132..136].try_into().unwrap());
            bytes[132..136].copy_from_slice(&(old | flags).to_le_bytes());
        });
        if flags == 0x40 {
            let bytes = read_vec(&disk, numbers["cp_blkaddr"] * BLOCK + 4092, 4).unwrap();
            sum = u32::from_le_bytes(bytes.try_into().unwrap());
        }
        let cp_ver = cp_ver | u64::from(sum) << 32;
        disk.write_at(place.start() + 4084, &cp_ver.to_le_bytes()).unwrap();
        reading(&disk).file_system.state
    };
    for flags in [0, 0x40, 0x200] {
        assert_eq!(state(version, flags), State::Dirty);
        assert_eq!(state(version - 1, flags), State::Clean);
    }
    assert_eq!(state(version | 7 << 32, 0x200), State::Dirty, "the kernel looks at half of it there");
    assert_eq!(state(version | 7 << 32, 0), State::Clean);
}

#[test]
fn the_newer_of_two_whole_packs_counts_and_a_torn_one_is_dirty() {
    let image = Image::new(100 * MIB, "");
    let numbers = image.numbers();
    let pack = |disk: &MemoryDisk, version: u64| {
        let blocks = numbers["cp_pack_total_block_count"];
        let (from, to) = (numbers["cp_blkaddr"], numbers["cp_blkaddr"] + 512);
        let bytes = read_vec(disk, from * BLOCK, (blocks * BLOCK) as usize).unwrap();
        disk.write_at(to * BLOCK, &bytes).unwrap();
        let mut other = numbers.clone();
        other.insert("cp_blkaddr".to_owned(), to);
        change_checkpoint(disk, &other, |bytes| {
            bytes[..8].copy_from_slice(&version.to_le_bytes());
            // Only this pack says that it was not unmounted.
            bytes[132] &= !1;
        });
    };
    let version = numbers["checkpoint_ver"];
    let state = |disk: &MemoryDisk| {
        let file_system = reading(disk).file_system;
        (file_system.state, file_system.findings.concat())
    };
    let disk = image.memory();
    pack(&disk, version + 1);
    assert!(matches!(state(&disk), (State::Dirty, finding) if finding.contains("not unmounted")));
    pack(&disk, version - 1);
    assert_eq!(state(&disk).0, State::Clean);
    // Its last block is that of an older one.
    pack(&disk, version + 1);
    let end = (numbers["cp_blkaddr"] + 512 + numbers["cp_pack_total_block_count"] - 1) * BLOCK;
    disk.write_zeros(ByteRange::at(end, BLOCK).unwrap()).unwrap();
    assert!(matches!(state(&disk), (State::Dirty, finding) if finding.contains("was begun")));
    // Its first block is torn.
    disk.write_at((numbers["cp_blkaddr"] + 512) * BLOCK + 100, &[0xA5; 50]).unwrap();
    assert!(matches!(state(&disk), (State::Dirty, finding) if finding.contains("checksum")));
    // What resize.f2fs leaves.
    disk.write_zeros(ByteRange::at((numbers["cp_blkaddr"] + 512) * BLOCK, BLOCK).unwrap()).unwrap();
    assert_eq!(state(&disk).0, State::Clean);
    // Both are lost.
    disk.write_zeros(ByteRange::at(numbers["cp_blkaddr"] * BLOCK, BLOCK).unwrap()).unwrap();
    assert_eq!(state(&disk).0, State::Damaged);
}

#[test]
fn superblocks_are_told_apart_and_forms_that_need_more_are_unsupported() {
    let image = Image::new(100 * MIB, "-l two");
    let with = |changes: &[(u64, &[u8])]| {
        let disk = image.memory();
        changes.iter().for_each(|(at, bytes)| disk.write_at(*at, bytes).unwrap());
        let file_system = reading(&disk).file_system;
        (file_system.state, file_system.findings.concat(), file_system.label)
    };
    let both = |at: u64| [1024 + at, 5120 + at];
    for at in both(0) {
        let (state, finding, label) = with(&[(at, &[0; 512])]);
        assert_eq!((state, label.as_deref()), (State::Clean, Some("two")), "{finding}");
        assert!(finding.contains("of two superblocks is damaged"), "{finding}");
    }
    let (state, finding, _) = with(&[(5120 + 0x18, &[2])]);
    assert!(state == State::Damaged && finding.contains("another geometry"), "{finding}");
    for (at, bytes, word) in [
        (0x899, &b"/dev/sdb"[..], "several devices"),
        (0x884, &[2], "zoned"),
        (0x887, &[0x80], "0x80000000"),
        (0x10, &[14], "16384 bytes"),
    ] {
        let [first, second] = both(at);
        let (state, finding, _) = with(&[(first, bytes), (second, bytes)]);
        assert!(state == State::Unsupported && finding.contains(word), "{state}: {finding}");
    }
    let read_only = Image::new(100 * MIB, "-O ro").reading().file_system;
    assert!(read_only.state == State::Unsupported && read_only.findings[0].contains("read-only"));
    let mut bytes = fs::read(&image.path).unwrap();
    bytes.truncate((99 * MIB) as usize);
    let file_system = reading(&MemoryDisk::from_bytes(&bytes)).file_system;
    assert_eq!(file_system.state, State::Damaged);
    assert!(file_system.findings[0].contains("the volume only"), "{:?}", file_system.findings);
}

/// Remembers what is read, so that changes are made where it matters.
struct Recorder<'a>(&'a MemoryDisk, std::sync::Mutex<Vec<ByteRange>>);

impl ReadAt for Recorder<'_> {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.1.lock().unwrap().push(ByteRange::at(offset, buffer.len() as u64).unwrap());
        self.0.read_at(offset, buffer)
    }
}

/// A reading that is called clean has the map that it had before. Single bits: the tables have no checksums, so
/// that two wrongs could make a right.
#[test]
fn a_flipped_bit_is_noticed_or_changes_nothing() {
    let image = Image::filled(100 * MIB, "-O extra_attr,inode_checksum,sb_checksum");
    let disk = image.memory();
    let recorder = Recorder(&disk, std::sync::Mutex::default());
    let before = reading(&recorder);
    let places = recorder.1.into_inner().unwrap();
    let mut random = Noise::new(11);
    let mut noticed = 0;
    for _ in 0..10_000 {
        let place = places[random.below(places.len() as u64) as usize];
        let at = place.start() + random.below(place.length());
        let byte = read_vec(&disk, at, 1).unwrap()[0];
        disk.write_at(at, &[byte ^ 1 << random.below(8)]).unwrap();
        let after = reading(&disk);
        if after.file_system.state == State::Clean {
            assert_eq!(after.used, before.used, "flipped a bit of byte {at}");
        } else {
            noticed += 1;
            assert!(after.used.is_none() && !after.file_system.findings.is_empty());
        }
        disk.write_at(at, &[byte]).unwrap();
    }
    // How many bits of what is read mean something differs with the UUID that every volume has; about a tenth do.
    assert!(noticed > 500, "{noticed} flips were noticed");
}
