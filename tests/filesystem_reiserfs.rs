//! ReiserFS: the used map is what its own tools print, every file comes back from it, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod lab;

use aged::{Image, changed, reading};
use lab::{MIB, run, text};
use remint::blockio::{MemoryDisk, WriteAt, read_vec};
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};

const SUPERBLOCK: u64 = 65536;

/// What `debugreiserfs -m` calls busy, block for block, and the size of a block.
fn busy(image: &Image) -> (RangeSet, u64) {
    let said = run("debugreiserfs", &["-m", text(&image.path)]);
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    let fact = |name: &str| number(said.lines().find_map(|line| line.strip_prefix(name)).unwrap());
    let (block, count) = (fact("Blocksize:"), fact("Count of blocks on the device:"));
    let ranges = said.split("Busy").skip(1).map(|rest| {
        let inside = rest.split(['(', ')']).nth(1).unwrap();
        let (from, to) = inside.split_once('-').unwrap();
        // Of the last bitmap, the bits behind the end are set.
        ByteRange::new(number(from) * block, (number(to) + 1).min(count) * block)
    });
    (ranges.collect(), block)
}

/// Its own checker compares the bitmaps with what is in use, and writes nothing.
fn check(image: &Image) {
    run("reiserfsck", &["--check", "-y", "-q", text(&image.path)]);
}

#[test]
fn the_map_is_what_its_own_tools_print() {
    let make = |size: u64, options: &str| {
        let command: Vec<&str> =
            ["mkreiserfs", "-q", "-ff"].into_iter().chain(options.split_whitespace()).collect();
        Image::made(size, &command)
    };
    for (image, label) in [
        (Image::aged("reiserfs"), Some("aged")),
        (make(40 * MIB, "-l label"), Some("label")),
        (make(300 * MIB + 7 * 512, ""), None),
        (make(60 * MIB, "--format 3.5"), None),
        (make(70 * MIB, "-b 2048 -s 600"), None),
        (make(90 * MIB, "-b 8192 -s 700"), None),
    ] {
        check(&image);
        let reading = image.reading();
        let file_system = &reading.file_system;
        let (expected, block) = busy(&image);
        assert_eq!(file_system.findings, Vec::<String>::new());
        assert_eq!(reading.used.as_ref(), Some(&expected));
        assert_eq!(file_system.used_bytes, Some(expected.total_bytes()));
        assert_eq!((file_system.kind, file_system.block_size_bytes), (FileSystemKind::Reiserfs, block));
        let size = image.size_bytes() / block * block;
        assert_eq!((file_system.size_bytes, file_system.minimum_bytes), (size, size));
        let known = run("blkid", &["-p", "-o", "export", text(&image.path)]);
        let uuid = known.lines().find_map(|line| line.strip_prefix("UUID="));
        assert_eq!(file_system.uuid.as_deref(), uuid);
        assert_eq!(file_system.label.as_deref(), label);
    }
}

#[test]
fn every_file_comes_back_from_the_used_blocks_on_noise() {
    let image = Image::aged("reiserfs");
    let before = image.reading();
    aged::leaves_out(&before, 40 * MIB);
    let restored = image.restored(before.used.as_ref().unwrap());
    assert_eq!(restored.reading(), before);
    check(&restored);
    restored.has_files(&aged::recorded("reiserfs.sums"), &[]);
}

fn number(disk: &MemoryDisk, at: u64) -> u64 {
    u32::from_le_bytes(read_vec(disk, at, 4).unwrap().try_into().unwrap()).into()
}

/// Where the header of the journal stands.
fn journal_header(disk: &MemoryDisk, block: u64) -> u64 {
    (number(disk, SUPERBLOCK + 12) + number(disk, SUPERBLOCK + 20)) * block
}

#[test]
fn what_was_not_unmounted_is_dirty_whatever_the_superblock_says() {
    let disk = Image::aged("reiserfs-crash").memory();
    let file_system = reading(&disk).file_system;
    assert_eq!(file_system.state, State::Dirty);
    assert!(file_system.findings[0].contains("--when-dirty raw"), "{:?}", file_system.findings);
    assert!(file_system.uuid.is_some() && file_system.used_bytes.is_none());
    // As it stands on the disk until the first transaction is written to its place.
    let unmounted = &[(SUPERBLOCK + 50, &[1, 0][..])];
    let (state, finding) = changed(&disk, unmounted);
    assert!(state == State::Dirty && finding.contains("transactions in its journal"), "{state}: {finding}");
    // The header of a journal that was never used before: everything is looked through.
    let header = journal_header(&disk, 4096);
    let (state, finding) = changed(&disk, &[unmounted[0], (header, &[0; 8])]);
    assert!(state == State::Dirty && finding.contains("transactions in its journal"), "{state}: {finding}");
}

#[test]
fn a_journal_at_rest_has_nothing_that_a_mount_replays() {
    let disk = Image::aged("reiserfs").memory();
    let header = journal_header(&disk, 1024);
    let (first, size) = (number(&disk, SUPERBLOCK + 12), number(&disk, SUPERBLOCK + 20));
    let (last_flushed, unflushed) = (number(&disk, header), number(&disk, header + 4));
    assert!(last_flushed > 0 && unflushed < size);
    let place = |offset: u64| (first + (unflushed + offset) % size) * 1024;
    let transaction = |id: u64, length: u32| [(id as u32).to_le_bytes(), length.to_le_bytes()].concat();
    let state = |described: Vec<u8>, committed: Vec<u8>, magic: &[u8]| {
        changed(&disk, &[(place(0), &described), (place(0) + 1024 - 12, magic), (place(4), &committed)]).0
    };
    let next = || transaction(last_flushed + 1, 3);
    assert_eq!(state(next(), next(), b"ReIsErLB"), State::Dirty);
    assert_eq!(state(next(), transaction(last_flushed + 2, 3), b"ReIsErLB"), State::Clean);
    assert_eq!(state(next(), transaction(last_flushed + 1, 2), b"ReIsErLB"), State::Clean);
    assert_eq!(state(next(), next(), b"ReIsErXX"), State::Clean);
    assert_eq!(state(transaction(last_flushed, 3), transaction(last_flushed, 3), b"ReIsErLB"), State::Clean);
}

#[test]
fn states_and_forms_are_told_apart() {
    let image = Image::aged("reiserfs");
    let disk = image.memory();
    let field = |at: u64| SUPERBLOCK + at;
    let bitmap = 65 * 1024;
    for (at, bytes, expected, word) in [
        (field(50), &[2][..], State::Dirty, "was not unmounted"),
        (field(62), &[1], State::Damaged, "noted errors"),
        (field(72), &[3], State::Unsupported, "version 3"),
        (field(16), &[1, 8], State::Unsupported, "another device"),
        (field(0), &[0xFF; 4], State::Damaged, "do not go with"),
        (field(8), &[0xFF; 4], State::Damaged, "do not go with"),
        (field(20), &[0; 4], State::Damaged, "do not go with"),
        (field(70), &[7], State::Damaged, "7 bitmaps"),
        (field(4), &[0, 0], State::Damaged, "free bytes"),
        (bitmap, &[0xFE], State::Damaged, "free bytes"),
        (bitmap + 8, &[0xFD], State::Damaged, "its own block"),
        (8192 * 1024, &[0xFE], State::Damaged, "its own block"),
    ] {
        let (state, finding) = changed(&disk, &[(at, bytes)]);
        assert_eq!(state, expected, "{at:#x} {bytes:x?}: {finding}");
        assert!(finding.contains(word), "{at:#x} {bytes:x?}: {finding}");
    }
    // A free block in the journal, with the count put right.
    let free = (number(&disk, field(4)) as u32 + 1).to_le_bytes();
    let (state, finding) = changed(&disk, &[(bitmap + 100, &[0xFE]), (field(4), &free)]);
    assert!(state == State::Damaged && finding.contains("where the superblock, the journal"), "{finding}");
    let bytes = std::fs::read(&image.path).unwrap();
    let cut = reading(&MemoryDisk::from_bytes(&bytes[..(40 * MIB) as usize])).file_system;
    assert!(cut.state == State::Damaged && cut.findings[0].contains("the volume only"), "{:?}", cut.findings);
    // The oldest form, at its place.
    let old = Image::made(40 * MIB, &["mkreiserfs", "-q", "-ff", "--format", "3.5"]).memory();
    let superblock = read_vec(&old, SUPERBLOCK, 204).unwrap();
    old.write_at(8192, &superblock).unwrap();
    old.write_zeros(ByteRange::at(SUPERBLOCK, 4096).unwrap()).unwrap();
    let oldest = reading(&old).file_system;
    assert!(
        oldest.state == State::Unsupported && oldest.findings[0].contains("8 KiB"),
        "{:?}",
        oldest.findings
    );
}

#[test]
fn a_journal_on_another_device_is_unsupported() {
    let journal = Image::made(40 * MIB, &["true"]);
    let device = lab::Loop::new(&journal.path, 0, 40 * MIB, false);
    let image = Image::made(40 * MIB, &["mkreiserfs", "-q", "-ff", "-j", &device.0]);
    let file_system = image.reading().file_system;
    assert_eq!(file_system.state, State::Unsupported);
    assert!(file_system.findings[0].contains("another device"), "{:?}", file_system.findings);
}

#[test]
fn damage_is_survived_and_a_map_that_counts_otherwise_is_not_believed() {
    let disk = Image::aged("reiserfs").memory();
    let before = reading(&disk).used.unwrap();
    // Bytes may change without the number of bits in them: nothing but a walk through the tree tells.
    aged::survives_damage(&disk, |_| {}, |used| used.total_bytes() == before.total_bytes());
}
