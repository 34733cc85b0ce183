//! Minix: the used map holds every file, every file comes back from it, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod lab;

use aged::{Image, changed, reading};
use lab::{MIB, run, text};
use remint::blockio::{MemoryDisk, WriteAt, read_vec};
use remint::filesystem::read;
use remint::schema::{FileSystemKind, State};
use remint::units::ByteRange;

const KIB: u64 = 1024;
const VERSIONS: [&str; 3] = ["minix1", "minix2", "minix3"];

/// A number in front of some words, as `fsck.minix` prints it.
fn printed(image: &Image, words: &str) -> u64 {
    let said = run("fsck.minix", &["-f", "-s", "-v", text(&image.path)]);
    let line = said.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {said}"));
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
}

/// Its own checker reads every file, compares the bitmaps with what is in use, and writes nothing.
fn check(image: &Image) {
    // Without the path: letters by chance are in that.
    let said = run("fsck.minix", &["-f", "-v", text(&image.path)]).replace(text(&image.path), "");
    assert!(!said.contains("not") && !said.contains("Unused"), "{said}");
}

#[test]
fn the_map_has_as_many_zones_as_its_own_checker_counts() {
    let make = |size: u64, options: &[&str]| Image::made(size, &[&["mkfs.minix"], options].concat());
    let fresh = [
        make(20 * MIB, &["-1"]),
        make(30 * MIB + 700, &["-2", "-n", "14"]),
        make(300 * MIB, &["-3"]),
        make(5 * MIB, &["-3", "-i", "20000"]),
    ];
    for image in VERSIONS.map(Image::aged).into_iter().chain(fresh) {
        check(&image);
        let reading = image.reading();
        let (file_system, used) = (&reading.file_system, reading.used.as_ref().unwrap());
        let zones = image.size_bytes() / KIB;
        assert_eq!(used.total_bytes() / KIB, printed(&image, " zones used"), "{file_system:?}");
        assert_eq!(file_system.used_bytes, Some(used.total_bytes()));
        assert_eq!((file_system.kind, file_system.block_size_bytes), (FileSystemKind::Minix, KIB));
        assert_eq!((file_system.size_bytes, file_system.minimum_bytes), (zones * KIB, zones * KIB));
        let is_third = read_vec(&image.memory(), 1024 + 24, 2).unwrap() == [0x5A, 0x4D];
        assert_eq!(file_system.findings.len(), usize::from(is_third), "{:?}", file_system.findings);
        assert!(run("blkid", &["-p", text(&image.path)]).contains("TYPE=\"minix\""));
    }
}

/// Three fields of the superblock that stand one behind the other, two bytes later in version 3.
fn sizes(disk: &MemoryDisk) -> [u64; 3] {
    let is_third = read_vec(disk, 1024 + 24, 2).unwrap() == [0x5A, 0x4D];
    let at = if is_third { 1024 + 6 } else { 1024 + 4 };
    [0, 2, 4]
        .map(|field| u16::from_le_bytes(read_vec(disk, at + field, 2).unwrap().try_into().unwrap()).into())
}

/// Blocks of the bitmap of inodes and of that of zones.
fn bitmap_blocks(disk: &MemoryDisk) -> (u64, u64) {
    let [imap, zmap, _] = sizes(disk);
    (imap, zmap)
}

fn first_zone(disk: &MemoryDisk) -> u64 {
    sizes(disk)[2]
}

#[test]
fn every_file_comes_back_from_the_used_blocks_on_noise() {
    for name in VERSIONS {
        let image = Image::aged(name);
        let before = image.reading();
        aged::leaves_out(&before, 8 * MIB);
        let restored = image.restored(before.used.as_ref().unwrap());
        assert_eq!(restored.reading(), before);
        check(&restored);
        restored.has_files(&aged::recorded(&format!("{name}.sums")), &[]);
    }
}

#[test]
fn states_are_told_apart_and_what_cannot_be_one_is_not_taken_for_one() {
    let crashed = Image::aged("minix2-crash").reading().file_system;
    assert!(
        crashed.state == State::Dirty && crashed.findings[0].contains("fsck.minix"),
        "{:?}",
        crashed.findings
    );
    for name in ["minix1", "minix2"] {
        let disk = Image::aged(name).memory();
        assert_eq!(changed(&disk, &[(1024 + 18, &[0])]).0, State::Dirty);
        let (state, finding) = changed(&disk, &[(1024 + 18, &[3])]);
        assert!(state == State::Damaged && finding.contains("MINIX_ERROR_FS"), "{finding}");
    }
    let image = Image::aged("minix3");
    let disk = image.memory();
    for (at, bytes) in
        [(0, &[0xFF; 4][..]), (6, &[2]), (8, &[9]), (10, &[0]), (12, &[1]), (20, &[1, 0, 0]), (28, &[1, 1])]
    {
        let old = read_vec(&disk, 1024 + at, bytes.len()).unwrap();
        disk.write_at(1024 + at, bytes).unwrap();
        assert_eq!(read(&disk).unwrap(), None, "{at}");
        disk.write_at(1024 + at, &old).unwrap();
    }
    let bytes = std::fs::read(&image.path).unwrap();
    let cut = reading(&MemoryDisk::from_bytes(&bytes[..bytes.len() / 2])).file_system;
    assert!(cut.state == State::Damaged && cut.findings[0].contains("the volume only"), "{:?}", cut.findings);
}

/// Where the bit of a zone stands, with the byte that clears it.
fn cleared(disk: &MemoryDisk, zmap: u64, zone: u64) -> (u64, [u8; 1]) {
    let bit = zone - (first_zone(disk) - 1);
    let at = zmap + bit / 8;
    (at, [read_vec(disk, at, 1).unwrap()[0] & !(1 << (bit % 8))])
}

/// There is no count and no checksum: what frees a zone is known by the file that has it.
#[test]
fn no_zone_of_a_file_can_be_free() {
    for name in VERSIONS {
        let disk = Image::aged(name).memory();
        let used = reading(&disk).used.unwrap();
        let zmap = (2 + bitmap_blocks(&disk).0) * KIB;
        let mut freed = 0;
        for range in used.iter() {
            for zone in (range.start() / KIB..range.end() / KIB).filter(|zone| *zone >= first_zone(&disk)) {
                let (at, byte) = cleared(&disk, zmap, zone);
                let (state, finding) = changed(&disk, &[(at, &byte)]);
                assert!(
                    state == State::Damaged && finding.contains("which is free"),
                    "{name} {zone}: {finding}"
                );
                freed += 1;
            }
        }
        assert!(freed > 300, "{freed}");
    }
}

#[test]
fn lists_that_go_round_in_a_circle_end() {
    let disk = Image::aged("minix2").memory();
    let used = reading(&disk).used.unwrap();
    let zone = used.end() / KIB - 1;
    // A zone that lists itself everywhere, as the list of lists of lists of the root directory.
    let list: Vec<u8> = (zone as u32).to_le_bytes().repeat(256);
    let (imap, zmap) = bitmap_blocks(&disk);
    let inodes = (2 + imap + zmap) * KIB;
    disk.write_at(zone * KIB, &list).unwrap();
    disk.write_at(inodes + 24 + 36, &(zone as u32).to_le_bytes()).unwrap();
    assert_eq!(reading(&disk).file_system.state, State::Damaged);
    assert!(used.contains(ByteRange::at(zone * KIB, KIB).unwrap()));
}

#[test]
fn damage_is_survived_and_never_takes_a_file_out_of_the_map() {
    for name in VERSIONS {
        let disk = Image::aged(name).memory();
        let before = reading(&disk).used.unwrap();
        aged::survives_damage(&disk, |_| {}, |used| before.iter().all(|range| used.contains(range)));
    }
}
