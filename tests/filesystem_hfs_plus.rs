//! HFS+: the used map is what files and trees have, every file comes back from it, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod lab;

use aged::{Image, changed, reading};
use lab::{MIB, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::read;
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};

const HEADER: u64 = 1024;

fn made(size: u64, options: &str) -> Image {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aged/mkfs-hfsplus");
    let command: Vec<&str> = [program].into_iter().chain(options.split_whitespace()).collect();
    Image::made(size, &command)
}

fn number16(bytes: &[u8], at: usize) -> u64 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()).into()
}

/// First block and number of blocks, eight times.
fn extents(bytes: &[u8], at: usize) -> Vec<(u64, u64)> {
    (0..8).map(|index| (number(bytes, at + index * 8), number(bytes, at + index * 8 + 4))).collect()
}

/// Every record of the leaves of a tree whose fork stands at a place of the header.
fn records(disk: &MemoryDisk, header: &[u8], fork: usize) -> Vec<Vec<u8>> {
    let block = number(header, 40);
    let parts = extents(header, fork + 16).into_iter();
    let tree: Vec<u8> = parts
        .flat_map(|(start, count)| read_vec(disk, start * block, (count * block) as usize).unwrap())
        .collect();
    let size = number16(&tree, 14 + 18) as usize;
    let mut node = number(&tree, 14 + 10) as usize;
    let mut all = Vec::new();
    while node != 0 {
        let bytes = &tree[node * size..(node + 1) * size];
        let offset = |record: usize| number16(bytes, size - 2 * (record + 1)) as usize;
        let count = number16(bytes, 10) as usize;
        all.extend((0..count).map(|record| bytes[offset(record)..offset(record + 1)].to_vec()));
        node = number(bytes, 0) as usize;
    }
    all
}

/// What headers, special files, and both forks of all files have: found without the allocation file.
fn in_use(disk: &MemoryDisk) -> RangeSet {
    let header = read_vec(disk, HEADER, 512).unwrap();
    let (block, size) = (number(&header, 40), disk.size_bytes());
    let mut all: Vec<(u64, u64)> =
        [112, 192, 272, 352, 432].iter().flat_map(|fork| extents(&header, fork + 16)).collect();
    for record in records(disk, &header, 192) {
        all.extend(extents(&record, 12));
    }
    for record in records(disk, &header, 272) {
        let data = &record[2 + number16(&record, 0) as usize..];
        if number16(data, 0) == 2 {
            all.extend(extents(data, 88 + 16));
            all.extend(extents(data, 168 + 16));
        }
    }
    let blocks = all.into_iter().filter(|(_, count)| *count > 0);
    let places = blocks.map(|(start, count)| ByteRange::at(start * block, count * block).unwrap());
    let ends = [
        ByteRange::new(0, 1536_u64.next_multiple_of(block)),
        ByteRange::new((size - 1024) / block * block, size),
    ];
    places.chain(ends).collect()
}

#[test]
fn the_map_is_what_files_and_trees_have() {
    let images = [
        (Image::aged("hfsplus"), 4096),
        (Image::aged("hfsplus-pieces"), 512),
        (made(20 * MIB, "--case-sensitive"), 4096),
        (made(30 * MIB + 512, "--block 1024"), 1024),
    ];
    for (image, block) in images {
        let disk = image.memory();
        let found = reading(&disk);
        let file_system = &found.file_system;
        assert_eq!(file_system.findings, Vec::<String>::new());
        let used = found.used.as_ref().unwrap();
        assert_eq!(used, &in_use(&disk), "{block}");
        assert_eq!(file_system.used_bytes, Some(used.total_bytes()));
        assert_eq!((file_system.kind, file_system.block_size_bytes), (FileSystemKind::HfsPlus, block));
        assert_eq!(
            (file_system.size_bytes, file_system.minimum_bytes),
            (image.size_bytes(), image.size_bytes())
        );
        assert_eq!(file_system.label.as_deref(), Some("aged"));
        assert!(run("blkid", &["-p", text(&image.path)]).contains("LABEL=\"aged\""));
    }
}

#[test]
fn every_file_comes_back_from_the_used_blocks_on_noise() {
    for name in ["hfsplus", "hfsplus-pieces"] {
        let image = Image::aged(name);
        let before = image.reading();
        aged::leaves_out(&before, 20 * MIB);
        let restored = image.restored(before.used.as_ref().unwrap());
        assert_eq!(restored.reading(), before);
        // GRUB follows no hard links of HFS+.
        restored.has_files(&aged::recorded(&format!("{name}.sums")), &["./tree/file2", "./tree/with/linked"]);
    }
}

#[test]
fn what_was_not_unmounted_is_dirty() {
    let file_system = Image::aged("hfsplus-crash").reading().file_system;
    assert_eq!(file_system.state, State::Dirty);
    let finding = &file_system.findings[0];
    assert!(finding.contains("was not unmounted") && finding.contains("--when-dirty raw"), "{finding}");
    assert_eq!((file_system.label.as_deref(), file_system.used_bytes), (Some("aged"), None));
}

#[test]
fn states_and_forms_are_told_apart() {
    let image = Image::aged("hfsplus");
    let disk = image.memory();
    let header = read_vec(&disk, HEADER, 512).unwrap();
    let bitmap = number(&header, 112 + 16) * 4096;
    let catalog = number(&header, 272 + 16);
    let alternate = image.size_bytes() - 1024;
    let field = |at: u64| HEADER + at;
    let more = |at: usize, add: u64| ((number(&header, at) + add) as u32).to_be_bytes();
    let freed = |block: u64| [read_vec(&disk, bitmap + block / 8, 1).unwrap()[0] & !(0x80 >> (block % 8))];
    let attributes = |set: u16| (number16(&header, 6) as u16 | set).to_be_bytes();
    for (changes, expected, word) in [
        (&[][..], State::Clean, ""),
        (&[(field(6), &[0, 0][..])], State::Dirty, "was not unmounted"),
        (&[(field(6), &attributes(0x800))], State::Dirty, "inconsistent"),
        (&[(field(6), &attributes(0x2000))], State::Damaged, "there is no block 0"),
        (&[(field(44), &[0xFF; 4])], State::Damaged, "the volume only"),
        (&[(field(44), &more(44, 0)), (alternate + 44, &[0; 4])], State::Damaged, "another geometry"),
        (&[(alternate, &[0])], State::Clean, "no alternate volume header"),
        (&[(field(48), &[0; 4])], State::Damaged, "free bytes"),
        (&[(field(48), &[0xFF; 4])], State::Damaged, "do not make a file system"),
        (&[(field(112), &[0; 8])], State::Damaged, "too few"),
        (&[(field(112 + 16), &[0xFF; 4])], State::Damaged, "are outside"),
        (&[(field(112 + 20), &[0; 4])], State::Damaged, "were found"),
        (&[(bitmap, &freed(0))], State::Damaged, "free bytes"),
        (
            &[(bitmap, &freed(0)), (field(48), &more(48, 1))],
            State::Damaged,
            "where the header, a special file",
        ),
        (
            &[(bitmap + catalog / 8, &freed(catalog)), (field(48), &more(48, 1))],
            State::Damaged,
            "where the header, a special file",
        ),
    ] {
        let (state, finding) = changed(&disk, changes);
        assert_eq!(state, expected, "{changes:x?}: {finding}");
        assert!(finding.contains(word), "{changes:x?}: {finding}");
    }
    for (at, bytes) in [(0, &b"BX"[..]), (2, &[0, 9]), (40, &[0, 0, 0, 3])] {
        let other = image.memory();
        other.write_at(field(at), bytes).unwrap();
        assert_eq!(read(&other).unwrap(), None, "{at}");
    }
}

#[test]
fn a_journal_with_transactions_is_dirty_in_either_byte_order() {
    let image = made(24 * MIB, "--journal");
    let disk = image.memory();
    let whole = reading(&disk);
    assert_eq!(whole.file_system.findings, Vec::<String>::new());
    let info = number(&read_vec(&disk, HEADER, 512).unwrap(), 12) * 4096;
    let journal = number(&read_vec(&disk, info, 52).unwrap(), 40);
    let used = whole.used.unwrap();
    assert!(used.contains(ByteRange::at(journal, 1 << 19).unwrap()));
    let big = |end: u64| {
        let words = [0x4A4E_4C78u32.to_be_bytes(), 0x1234_5678u32.to_be_bytes()].concat();
        [words, [512u64, end, 1 << 19].map(u64::to_be_bytes).concat()].concat()
    };
    for (changes, expected, word) in [
        (&[(journal + 16, &[0, 4][..])][..], State::Dirty, "transactions in its journal"),
        (&[(journal, &big(512))], State::Clean, ""),
        (&[(journal, &big(1024))], State::Dirty, "transactions in its journal"),
        (&[(journal, &big(1 << 20))], State::Damaged, "of a journal"),
        (&[(journal, &[0; 4])], State::Damaged, "magic number"),
        (&[(journal, &[0; 4]), (info + 3, &[5])], State::Clean, ""),
        (&[(info + 3, &[2])], State::Unsupported, "another device"),
        (&[(info + 36, &[0xFF; 8])], State::Damaged, "no place for a journal"),
    ] {
        let (state, finding) = changed(&disk, changes);
        assert_eq!(state, expected, "{changes:x?}: {finding}");
        assert!(finding.contains(word), "{finding}");
    }
}

#[test]
fn extents_that_overflow_are_followed_and_have_to_be_there() {
    let image = Image::aged("hfsplus-pieces");
    let disk = image.memory();
    let header = read_vec(&disk, HEADER, 512).unwrap();
    let in_header: u64 = extents(&header, 112 + 16).iter().map(|(_, count)| count).sum();
    assert!(in_header < number(&header, 112 + 12), "nothing overflows");
    let tree = number(&header, 192 + 16) * 512;
    let size = number16(&read_vec(&disk, tree, 512).unwrap(), 14 + 18);
    let leaf = tree + number(&read_vec(&disk, tree, 512).unwrap(), 14 + 10) * size;
    for (at, bytes, word) in [
        (leaf + 14 + 4, &[0, 0, 0, 7][..], "were found"),
        (leaf + 14 + 8, &[0, 0, 0, 7], "were found"),
        (leaf + 8, &[0], "is no leaf"),
        (leaf + 10, &[0xFF, 0xFF], "is no leaf"),
        (tree + 14 + 10, &[0xFF; 4], "not in the extents"),
        (tree + 14 + 18, &[0, 3], "3 bytes"),
    ] {
        let (state, finding) = changed(&disk, &[(at, bytes)]);
        assert!(state == State::Damaged && finding.contains(word), "{word}: {state}: {finding}");
    }
    // Leaves that follow each other in a circle end.
    let (state, _) = changed(&disk, &[(leaf, &(1u32.to_be_bytes())), (leaf + 14 + 4, &[0, 0, 0, 7])]);
    assert_eq!(state, State::Damaged);
}

#[test]
fn one_inside_a_wrapper_is_read_and_the_wrapper_is_kept() {
    let image = Image::aged("hfsplus");
    let inner = image.reading();
    let (before, behind) = (8192 + 4096, 3 * 4096);
    let mut bytes = vec![0; before];
    bytes[1024..1026].copy_from_slice(b"BD");
    bytes[1024 + 0x14..1024 + 0x18].copy_from_slice(&4096u32.to_be_bytes());
    bytes[1024 + 0x1C..1024 + 0x1E].copy_from_slice(&16u16.to_be_bytes());
    bytes[1024 + 0x7C..1024 + 0x7E].copy_from_slice(b"H+");
    bytes[1024 + 0x7E..1024 + 0x80].copy_from_slice(&1u16.to_be_bytes());
    bytes[1024 + 0x80..1024 + 0x82].copy_from_slice(&((image.size_bytes() / 4096) as u16).to_be_bytes());
    bytes.extend(std::fs::read(&image.path).unwrap());
    bytes.extend(vec![0xA5; behind]);
    let wrapped = MemoryDisk::from_bytes(&bytes);
    let outer = reading(&wrapped);
    let size = wrapped.size_bytes();
    assert_eq!((outer.file_system.state, outer.file_system.size_bytes), (State::Clean, size));
    let moved = inner.used.unwrap();
    let moved =
        moved.iter().map(|range| ByteRange::new(range.start() + before as u64, range.end() + before as u64));
    let around = [ByteRange::new(0, before as u64), ByteRange::new(size - behind as u64, size)];
    assert_eq!(outer.used, Some(moved.chain(around).collect()));
    // A wrapper around more than there is.
    wrapped.write_at(1024 + 0x80, &[0xFF, 0xFF]).unwrap();
    let broken = reading(&wrapped).file_system;
    assert!(broken.state == State::Damaged && broken.findings[0].contains("do not lie on the volume"));
}

#[test]
fn damage_is_survived_and_a_map_that_counts_otherwise_is_not_believed() {
    for name in ["hfsplus", "hfsplus-pieces"] {
        let disk = Image::aged(name).memory();
        let before = reading(&disk).used.unwrap();
        aged::survives_damage(
            &disk,
            |_| {},
            |used| used.total_bytes().abs_diff(before.total_bytes()) <= 2048,
        );
    }
}
