//! JFS: the used map is what its own tools count and check, every file comes back from it, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod lab;

use aged::{Image, changed, reading};
use lab::{MIB, run, run_allowing, text};
use remint::blockio::{MemoryDisk, WriteAt, read_vec};
use remint::schema::{FileSystemKind, State};
use remint::units::ByteRange;

const BLOCK: u64 = 4096;
const SUPERBLOCKS: [u64; 2] = [0x8000, 0xF000];
/// The root of the block map's extents, in its inode.
const ROOT: u64 = 0xB000 + 2 * 512 + 224;

/// A number in hexadecimal that `jfs_debugfs` prints behind a name.
fn number(image: &Image, command: &str, name: &str) -> u64 {
    let script = format!("printf '{command}\\nx\\nq\\n' | jfs_debugfs {}", text(&image.path));
    let said = run("sh", &["-c", &script]);
    let words: Vec<&str> = said.split_whitespace().collect();
    let value = words[words.iter().position(|word| *word == name).unwrap() + 1];
    value.strip_prefix("0x").map_or_else(|| value.parse(), |digits| u64::from_str_radix(digits, 16)).unwrap()
}

fn extent(image: &Image, name: &str) -> ByteRange {
    let length = number(image, "su p", &format!("{name}.len:"));
    ByteRange::at(number(image, "su p", &format!("{name}.address:")) * BLOCK, length * BLOCK).unwrap()
}

/// Its own checker reads everything, compares the map with what is in use, and writes nothing.
fn check(image: &Image) {
    run("fsck.jfs", &["-f", "-n", text(&image.path)]);
}

#[test]
fn the_map_has_as_many_blocks_as_its_own_tools_count() {
    let aged = Image::aged("jfs");
    for (image, label) in [
        (aged, Some("aged")),
        (Image::made(24 * MIB, &["mkfs.jfs", "-q", "-L", "sixteen chars ok"]), Some("sixteen chars ok")),
        (Image::made(700 * MIB + 3 * 512, &["mkfs.jfs", "-q", "-O"]), None),
        (Image::made(100 * MIB, &["mkfs.jfs", "-q", "-s", "7"]), None),
    ] {
        check(&image);
        let Image { path, .. } = &image;
        let reading = image.reading();
        let (file_system, used) = (&reading.file_system, reading.used.as_ref().unwrap());
        assert_eq!(file_system.findings, Vec::<String>::new());
        let (log, work_space) = (extent(&image, "s_logpxd"), extent(&image, "s_fsckpxd"));
        assert!(used.contains(log) && used.contains(work_space));
        let (blocks, free) = (number(&image, "dm", "dn_mapsize:"), number(&image, "dm", "dn_nfree:"));
        assert_eq!(used.total_bytes(), (blocks - free) * BLOCK + log.length() + work_space.length());
        assert_eq!(file_system.used_bytes, Some(used.total_bytes()));
        assert_eq!((file_system.kind, file_system.block_size_bytes), (FileSystemKind::Jfs, BLOCK));
        let end = log.end();
        assert!(end <= image.size_bytes() && end + BLOCK > image.size_bytes());
        assert_eq!((file_system.size_bytes, file_system.minimum_bytes), (end, end));
        let known = run("blkid", &["-p", "-o", "export", text(path)]);
        assert!(known.contains(&format!("UUID={}\n", file_system.uuid.as_ref().unwrap())), "{known}");
        assert_eq!(file_system.label.as_deref(), label);
    }
}

#[test]
fn every_file_comes_back_from_the_used_blocks_on_noise() {
    let image = Image::aged("jfs");
    let before = image.reading();
    aged::leaves_out(&before, 10 * MIB);
    let restored = image.restored(before.used.as_ref().unwrap());
    assert_eq!(restored.reading(), before);
    check(&restored);
    // GRUB reads no holes of JFS.
    restored.has_files(&aged::recorded("jfs.sums"), &["./sparse"]);
}

#[test]
fn what_was_not_unmounted_is_dirty_also_where_its_own_tool_says_otherwise() {
    let image = Image::aged("jfs-crash");
    let file_system = image.reading().file_system;
    assert_eq!(file_system.state, State::Dirty);
    let finding = &file_system.findings[0];
    assert!(finding.contains("was not unmounted") && finding.contains("fsck.jfs -f"), "{finding}");
    assert!(file_system.uuid.is_some() && file_system.used_bytes.is_none());
    // It fails to replay this log, and calls the file system clean.
    let said = run("fsck.jfs", &["--replay_journal_only", text(&image.path)]);
    assert!(said.contains("logredo failed") && said.contains("is clean"), "{said}");
    let file_system = image.reading().file_system;
    assert!(file_system.state == State::Dirty && file_system.findings[0].contains("waits for its replay"));
    // The way out.
    run_allowing("fsck.jfs", &["-f", "-y", text(&image.path)], &[0, 1]);
    assert_eq!(image.reading().file_system.state, State::Clean);
}

#[test]
fn states_and_forms_are_told_apart() {
    let image = Image::aged("jfs");
    let disk = image.memory();
    let log = extent(&image, "s_logpxd").start() + BLOCK;
    let field = |at: u64| SUPERBLOCKS[0] + at;
    for (at, bytes, expected, word) in [
        (field(40), &[1][..], State::Dirty, "was not unmounted"),
        (field(40), &[2], State::Dirty, "FM_DIRTY"),
        (field(40), &[4], State::Damaged, "a replay of its log failed"),
        (field(40), &[8], State::Damaged, "a change of its size was interrupted"),
        (field(4), &[3], State::Unsupported, "version 3"),
        (field(37), &[1], State::Unsupported, "another device"),
        (field(38), &[0x10], State::Unsupported, "0x100000"),
        (field(16), &[0, 8, 0, 0, 11], State::Unsupported, "2048 bytes"),
        (field(10), &[1], State::Damaged, "do not go with"),
        (field(72), &[0xFF, 0xFF, 0xFF], State::Damaged, "the volume only"),
        (field(80), &[1], State::Damaged, "another geometry"),
        (SUPERBLOCKS[1] + 8, &[0xFF], State::Damaged, "another geometry"),
        (SUPERBLOCKS[1], &[0], State::Clean, "the second of two superblocks"),
        (log + 28, &[0], State::Dirty, "waits for its replay"),
        (log + 28, &[2], State::Dirty, "waits for its replay"),
        (log, &[0], State::Damaged, "magic number"),
        (ROOT + 16, &[0], State::Damaged, "of a node"),
        (ROOT + 18, &[19], State::Damaged, "19 of 18 slots"),
        (ROOT + 32 + 12, &[0xFF; 4], State::Damaged, "puts byte 0"),
        (0xB000 + 1024 + 8, &[1], State::Damaged, "inode 1"),
    ] {
        let (state, finding) = changed(&disk, &[(at, bytes)]);
        assert_eq!(state, expected, "{at:#x} {bytes:x?}: {finding}");
        assert!(finding.contains(word), "{at:#x} {bytes:x?}: {finding}");
    }
    let bytes = std::fs::read(&image.path).unwrap();
    let cut = reading(&MemoryDisk::from_bytes(&bytes[..(20 * MIB) as usize])).file_system;
    assert!(cut.state == State::Damaged && cut.findings[0].contains("the volume only"), "{:?}", cut.findings);
}

#[test]
fn a_log_on_another_device_is_unsupported() {
    let log = Image::made(16 * MIB, &["mkfs.jfs", "-q", "-J", "journal_dev"]);
    let device = format!("device={}", text(&log.path));
    let file_system = Image::made(32 * MIB, &["mkfs.jfs", "-q", "-J", &device]).reading().file_system;
    assert_eq!(file_system.state, State::Unsupported);
    assert!(file_system.findings[0].contains("another device"), "{:?}", file_system.findings);
}

/// Where the page with the bits of the first 8192 blocks stands.
fn first_page(disk: &MemoryDisk) -> u64 {
    let first = read_vec(disk, ROOT + 32 + 8, 8).unwrap();
    (u64::from(u32::from_le_bytes(first[4..].try_into().unwrap())) + 4) * BLOCK
}

#[test]
fn a_map_is_believed_only_where_its_counts_agree() {
    let disk = Image::aged("jfs").memory();
    let page = first_page(&disk);
    let control = page - 4 * BLOCK;
    let count = |at: u64| u64::from(u32::from_le_bytes(read_vec(&disk, at, 4).unwrap().try_into().unwrap()));
    let free = count(page + 4);
    let word = |at: u64| count(page + at) as u32;
    // The first blocks hold the superblocks: freed in both maps, with all counts put right.
    let freed = (word(2048) & 0x7FFF_FFFF).to_le_bytes();
    let all = [
        (page + 2048, &freed[..]),
        (page + 3072, &freed),
        (page + 4, &((free + 1) as u32).to_le_bytes()),
        (control + 8, &((count(control + 8) + 1) as u32).to_le_bytes()),
    ];
    for (changes, said) in [
        (&all[..1], "has bits for"),
        (&all[..3], "it counts"),
        (&all[..], "are free, where its own blocks are"),
        (&[(page + 8, &[1][..])], "from 1 on"),
        (&[(page, &[1])], "of 5633 blocks"),
        (&[(control, &[1])], "it counts"),
    ] {
        let (state, finding) = changed(&disk, changes);
        assert!(state == State::Damaged && finding.contains(said), "{state}: {finding}");
    }
    // A block that only one of the two maps calls used is used.
    let before = reading(&disk).used.unwrap();
    let place = (0..256).find(|number| word(3072 + number * 4) == 0).unwrap();
    disk.write_at(page + 3072 + place * 4, &0x4000_0000u32.to_le_bytes()).unwrap();
    let block = ByteRange::at((place * 32 + 1) * BLOCK, BLOCK).unwrap();
    let after = reading(&disk).used.unwrap();
    assert!(!before.contains(block) && after.contains(block));
    assert_eq!(after.total_bytes(), before.total_bytes() + BLOCK);
}

#[test]
fn extents_of_the_map_may_have_levels_and_pieces() {
    let disk = Image::aged("jfs").memory();
    let before = reading(&disk);
    let used = before.used.as_ref().unwrap();
    // The last page of the map moves to a free block, and the entries to a node in another one.
    let free: Vec<u64> =
        (2000..3000).filter(|block| !used.contains(ByteRange::at(block * BLOCK, BLOCK).unwrap())).collect();
    let (node, moved) = (free[0], free[1]);
    let start = first_page(&disk) / BLOCK - 4;
    let page = read_vec(&disk, (start + 4) * BLOCK, BLOCK as usize).unwrap();
    let slot = |offset: u64, length: u32, block: u64| {
        let mut slot = vec![0; 16];
        slot[4..8].copy_from_slice(&(offset as u32).to_le_bytes());
        slot[8..12].copy_from_slice(&length.to_le_bytes());
        slot[12..].copy_from_slice(&(block as u32).to_le_bytes());
        slot
    };
    let header = |flag: u8, next_index: u8| {
        let mut header = vec![0; 32];
        (header[16], header[18]) = (flag, next_index);
        header
    };
    let leaf = [header(0x02, 4), slot(0, 4, start), slot(4, 1, moved)].concat();
    let root = [header(0x05, 3), slot(0, 1, node)].concat();
    // Their blocks are in use in the map that moved.
    let mut page = page;
    for block in [node, moved] {
        for map in [2048, 3072] {
            let at = map + (block / 32 * 4) as usize;
            let word = u32::from_le_bytes(page[at..at + 4].try_into().unwrap()) | 0x8000_0000 >> (block % 32);
            page[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
    let counted = u32::from_le_bytes(page[4..8].try_into().unwrap()) - 2;
    page[4..8].copy_from_slice(&counted.to_le_bytes());
    for (at, bytes) in [
        (ROOT, &root),
        (node * BLOCK, &leaf),
        (moved * BLOCK, &page),
        (start * BLOCK + 8, &counted.to_le_bytes().to_vec()),
    ] {
        disk.write_at(at, bytes).unwrap();
    }
    disk.write_at((start + 4) * BLOCK, &[0xA5; 4096]).unwrap();
    let after = reading(&disk);
    assert_eq!(after.file_system.findings, Vec::<String>::new());
    assert_eq!(after.used.unwrap().total_bytes(), used.total_bytes() + 2 * BLOCK);
    // A node that points at itself ends.
    disk.write_at(node * BLOCK, &[header(0x04, 3), slot(0, 1, node)].concat()).unwrap();
    assert_eq!(reading(&disk).file_system.state, State::Damaged);
}

#[test]
fn damage_is_survived_and_never_takes_a_used_block_out_of_the_map() {
    let disk = Image::aged("jfs").memory();
    let before = reading(&disk).used.unwrap();
    aged::survives_damage(&disk, |_| {}, |used| before.iter().all(|range| used.contains(range)));
}
