//! NILFS2: the used map is what Linux calls its segments, every file comes back from it, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod lab;

use aged::{Image, changed, reading};
use lab::{Loop, MIB, run};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::collections::BTreeMap;

/// What `nilfs-tune -l` prints.
fn tune(image: &Image) -> BTreeMap<String, String> {
    let device = Loop::new(&image.path, 0, image.size_bytes(), true);
    let listed = run("nilfs-tune", &["-l", &device.0]);
    let facts = listed.lines().filter_map(|line| line.split_once(':'));
    facts.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

fn number(facts: &BTreeMap<String, String>, name: &str) -> u64 {
    facts[name].split_whitespace().next().unwrap().parse().unwrap()
}

/// The bytes of segments, and what is always in use.
fn map(image: &Image, segments: impl IntoIterator<Item = u64>) -> RangeSet {
    let facts = tune(image);
    let block = number(&facts, "Block size");
    let first = number(&facts, "First data block") * block;
    let segment = number(&facts, "# of blocks per segment") * block;
    let backup = (image.size_bytes() / 4096 - 1) * 4096;
    let segments = segments
        .into_iter()
        .map(|number| ByteRange::new((number * segment).max(first), (number + 1) * segment));
    segments.chain([ByteRange::new(0, first), ByteRange::at(backup, 4096).unwrap()]).collect()
}

#[test]
fn the_map_is_the_segments_that_linux_calls_dirty() {
    let image = Image::aged("nilfs2");
    let lssu = aged::recorded("nilfs2.lssu");
    let dirty: Vec<u64> = lssu
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() == 5 && words[3].contains('d'))
        .map(|words| words[0].parse().unwrap())
        .collect();
    // The cleaner freed the first ones, and the last one is empty: the next to be written.
    assert!(dirty[0] > 10 && dirty.len() >= 4, "{dirty:?}");
    assert!(lssu.lines().rfind(|line| line.contains("ad-")).unwrap().trim_end().ends_with(" 0"));
    let reading = image.reading();
    assert_eq!(reading.file_system.findings, Vec::<String>::new());
    assert_eq!(reading.used.as_ref(), Some(&map(&image, dirty)));
    aged::leaves_out(&reading, 30 * MIB);
}

#[test]
fn fresh_ones_are_known_as_their_tools_know_them() {
    for options in ["-L label", "-b 1024 -B 512", "-b 2048 -B 64", "-B 128 -L longer"] {
        let command: Vec<&str> = ["mkfs.nilfs2", "-q", "-f"].into_iter().chain(options.split(' ')).collect();
        let image = Image::made(160 * MIB + 5 * 1024, &command);
        let file_system = image.reading().file_system;
        let facts = tune(&image);
        assert_eq!(
            (file_system.kind, file_system.state),
            (FileSystemKind::Nilfs2, State::Clean),
            "{options}"
        );
        assert_eq!(file_system.findings, Vec::<String>::new());
        assert_eq!(facts["Filesystem state"], "valid");
        assert_eq!(file_system.uuid.as_ref(), Some(&facts["Filesystem UUID"]));
        assert_eq!(file_system.label.as_deref().unwrap_or("(none)"), facts["Filesystem volume name"]);
        assert_eq!(file_system.block_size_bytes, number(&facts, "Block size"));
        let size = number(&facts, "Device size");
        assert_eq!((file_system.size_bytes, file_system.minimum_bytes), (size, size));
        assert_eq!(size, image.size_bytes());
        // What mkfs.nilfs2 writes, and the segment behind it.
        assert_eq!(image.reading().used, Some(map(&image, [0, 1])), "{options}");
    }
}

#[test]
fn every_file_comes_back_from_the_used_blocks_on_noise() {
    let image = Image::aged("nilfs2");
    let before = image.reading();
    let restored = image.restored(before.used.as_ref().unwrap());
    assert_eq!(restored.reading(), before);
    assert_eq!(tune(&restored), tune(&image));
    // GRUB reads no holes of NILFS2.
    restored.has_files(&aged::recorded("nilfs2.sums"), &["./sparse"]);
}

/// Changes both superblocks and puts their sums right.
fn with_superblocks(image: &Image, change: impl Fn(&mut [u8])) -> MemoryDisk {
    let disk = image.memory();
    for at in superblocks(&disk) {
        let mut bytes = read_vec(&disk, at, 1024).unwrap();
        change(&mut bytes);
        disk.write_at(at, &bytes).unwrap();
    }
    seal(&disk);
    disk
}

fn superblocks(disk: &MemoryDisk) -> [u64; 2] {
    [1024, (disk.size_bytes() / 4096 - 1) * 4096]
}

fn seal(disk: &MemoryDisk) {
    for at in superblocks(disk) {
        let mut bytes = read_vec(disk, at, 1024).unwrap();
        let counted = usize::from(u16::from_le_bytes([bytes[8], bytes[9]])).clamp(20, 1024);
        let seed = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
        bytes[16..20].fill(0);
        let sum = aged::crc32(seed, &bytes[..counted]).to_le_bytes();
        bytes[16..20].copy_from_slice(&sum);
        disk.write_at(at, &bytes).unwrap();
    }
}

#[test]
fn what_was_not_unmounted_is_dirty() {
    let file_system = Image::aged("nilfs2-crash").reading().file_system;
    assert_eq!(file_system.state, State::Dirty);
    let finding = &file_system.findings[0];
    assert!(finding.contains("was not unmounted") && finding.contains("--when-dirty raw"), "{finding}");
    assert!(file_system.uuid.is_some() && file_system.used_bytes.is_none());
}

#[test]
fn states_and_forms_are_told_apart() {
    let image = Image::aged("nilfs2");
    let whole = image.size_bytes().to_le_bytes();
    for (at, bytes, expected, word) in [
        (0x74, &[1][..], State::Clean, ""),
        (0x74, &[0], State::Dirty, "was not unmounted"),
        (0x74, &[5], State::Dirty, "change of its size"),
        (0x74, &[3], State::Damaged, "NILFS_ERROR_FS"),
        (0x110, &[1], State::Unsupported, "0x1"),
        (0x00, &[3], State::Unsupported, "revision 3"),
        (0x14, &[7], State::Damaged, "do not make a file system"),
        (0x18, &[0xFF; 8], State::Damaged, "do not make a file system"),
        (0x30, &[8, 0, 0, 0], State::Damaged, "segments of 8 blocks"),
        (0x96, &[0xFF, 0xFF], State::Damaged, "do not make a file system"),
        (0x20, &[0, 0, 0, 0, 1], State::Damaged, "the volume only"),
        (0x20, &whole, State::Clean, ""),
        (0x40, &[0xFF; 8], State::Damaged, "is in no segment"),
        (0x40, &[3], State::Damaged, "magic number"),
        (0x48, &[0xFF], State::Damaged, "sequence number"),
    ] {
        let disk =
            with_superblocks(&image, |superblock| superblock[at..at + bytes.len()].copy_from_slice(bytes));
        let (state, finding) = changed(&disk, &[]);
        assert_eq!(state, expected, "{at:#x}: {finding}");
        assert!(finding.contains(word), "{at:#x}: {finding}");
    }
}

#[test]
fn the_superblock_with_the_newer_checkpoint_counts_and_one_of_two_is_enough() {
    let fresh = Image::made(64 * MIB, &["mkfs.nilfs2", "-q", "-f", "-B", "256"]).memory();
    let [first, backup] = superblocks(&fresh);
    for (at, word) in [(first, "the first of two"), (backup, "the backup of two")] {
        let (state, finding) = changed(&fresh, &[(at + 100, &[0xA5])]);
        assert_eq!(state, State::Clean, "{finding}");
        assert!(finding.contains(word), "{finding}");
    }
    // Linux writes them by turns: here the backup is that of the unmount, and the first one older.
    let disk = Image::aged("nilfs2").memory();
    let [first, backup] = superblocks(&disk);
    assert_eq!(changed(&disk, &[(first + 100, &[0xA5])]).0, State::Clean);
    assert_eq!(changed(&disk, &[(backup + 100, &[0xA5])]).0, State::Dirty);
    // Whichever stands first, the newer checkpoint counts.
    let newer = fresh;
    let [first, backup] = superblocks(&newer);
    let before = reading(&newer);
    newer.write_at(backup + 0x3F, &[1]).unwrap();
    newer.write_at(backup + 0x74, &[0]).unwrap();
    seal(&newer);
    assert_eq!(reading(&newer).file_system.state, State::Dirty);
    newer.write_at(first + 0x3F, &[2]).unwrap();
    seal(&newer);
    assert_eq!(reading(&newer).used, before.used);
    // Left over from another file system.
    newer.write_at(backup + 0x98, &[1]).unwrap();
    seal(&newer);
    let other = reading(&newer).file_system;
    assert!(other.state == State::Damaged && other.findings[0].contains("another"), "{:?}", other.findings);
    // Without a superblock at its beginning, it is not taken for one.
    newer.write_zeros(ByteRange::at(first, 1024).unwrap()).unwrap();
    assert_eq!(remint::filesystem::read(&newer).unwrap(), None);
}

#[test]
fn a_volume_that_is_larger_than_the_file_system_keeps_its_backup_where_it_is() {
    let with_room = |image: &Image| {
        let mut bytes = std::fs::read(&image.path).unwrap();
        bytes.resize(bytes.len() + 3 * MIB as usize, 0xA5);
        MemoryDisk::from_bytes(&bytes)
    };
    let image = Image::made(64 * MIB, &["mkfs.nilfs2", "-q", "-f", "-B", "256"]);
    let larger = with_room(&image);
    let after = reading(&larger);
    // What stands near the new end is restored too: an older NILFS2 on the target would be believed.
    let mut expected = image.reading().used.unwrap();
    expected.insert(ByteRange::at(superblocks(&larger)[1], 4096).unwrap());
    assert_eq!(after.used, Some(expected), "{:?}", after.file_system.findings);
    assert_eq!(after.file_system.size_bytes, image.size_bytes() + 3 * MIB);
    // The kernel does not look there any more, and so it does not see that this one was unmounted.
    let unseen = reading(&with_room(&Image::aged("nilfs2"))).file_system;
    assert!(
        unseen.state == State::Unsupported && unseen.findings[0].contains("newer"),
        "{:?}",
        unseen.findings
    );
    // What a larger file system left there, the kernel would take for the backup of this one.
    let superblock = read_vec(&larger, 1024, 1024).unwrap();
    larger.write_at(superblocks(&larger)[1], &superblock).unwrap();
    let confused = reading(&larger).file_system;
    assert!(confused.state == State::Unsupported && confused.findings[0].contains("nilfs-resize"));
}

/// Linux would look for the newer superblock near the end of the larger disk, and go back to the older one, or to what another
/// file system left there.
#[test]
fn on_a_larger_disk_the_newer_superblock_is_where_linux_sees_it() {
    let image = Image::aged("nilfs2");
    let old = image.memory();
    let [first, backup] = [1024, superblocks(&old)[1]].map(|at| read_vec(&old, at, 1024).unwrap());
    assert_ne!(first, backup);
    let folder = lab::folder();
    let [store, target] = ["store", "target"].map(|name| folder.path().join(name));
    lab::noisy_disk(&target, 60 * MIB);
    lab::overwrite(&target, 60 * MIB - 4096, &backup);
    let [disk, store, to] = [&image.path, &store, &target].map(|path| lab::text(path));
    lab::remint_ends(0, &["capture", "it", "--to", store, "--disk", disk]);
    lab::remint_ends(0, &["deploy", "it", "--from", store, "--disk", to, "--no-expand", "--yes"]);
    let after = MemoryDisk::from_bytes(&std::fs::read(&target).unwrap());
    assert_eq!(read_vec(&after, 1024, 1024).unwrap(), backup);
    let found = reading(&after).file_system;
    assert_eq!((found.state, found.findings.len()), (State::Clean, 1), "{:?}", found.findings);
    assert!(found.findings[0].contains("backup") && found.findings[0].contains("no harm"));
}

/// No bit of what the reader looks at, but for the superblocks' own, can be flipped so that a segment is left out.
#[test]
fn damage_is_survived_and_never_takes_a_segment_out_of_the_map() {
    let image = Image::aged("nilfs2");
    let disk = image.memory();
    let before = reading(&disk).used.unwrap();
    aged::survives_damage(&disk, seal, |used| before.iter().all(|range| used.contains(range)));
}
