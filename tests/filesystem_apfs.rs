//! APFS: the used map is what its checker computes, every file comes back from it, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod lab;

use aged::{Image, changed, reading};
use lab::{MIB, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::Reading;
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK: u64 = 4096;

/// A file of a GiB or more, of which little is in memory.
fn sparse(mut source: impl Read) -> MemoryDisk {
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        let mut part = Vec::new();
        let length = source.by_ref().take(MIB).read_to_end(&mut part).unwrap() as u64;
        if part.iter().any(|byte| *byte != 0) {
            parts.push((at, part));
        }
        at += length;
        if length == 0 {
            break;
        }
    }
    let disk = MemoryDisk::new(at);
    parts.iter().for_each(|(at, part)| disk.write_at(*at, part).unwrap());
    disk
}

/// What Linux filled, and left by an unmount or without one.
fn aged(name: &str) -> MemoryDisk {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aged").join(format!("{name}.zst"));
    let mut decoder = zstd::stream::Decoder::new(File::open(path).unwrap()).unwrap();
    decoder.window_log_max(27).unwrap();
    sparse(decoder)
}

fn made(size: u64, options: &[&str]) -> MemoryDisk {
    let image = Image::made(size, &["true"]);
    // The tool writes what it needs, and leaves the noise in the rest.
    run("mkapfs", &[options, &[text(&image.path)]].concat());
    image.memory()
}

/// A disk as a file, with noise where nothing is used.
fn on_noise(disk: &MemoryDisk, used: &RangeSet) -> Image {
    let folder = lab::folder();
    let path = folder.path().join("restored");
    lab::noisy_disk(&path, disk.size_bytes());
    let target = File::options().write(true).open(&path).unwrap();
    for range in used.iter() {
        target
            .write_all_at(&read_vec(disk, range.start(), range.length() as usize).unwrap(), range.start())
            .unwrap();
    }
    Image { folder, path }
}

/// Compares its own map with the bitmaps, block for block, and checks every checksum; says what is odd, too.
fn check(image: &Image) -> String {
    run("apfsck", &["-cuw", text(&image.path)])
}

fn number(disk: &MemoryDisk, at: u64, length: usize) -> u64 {
    read_vec(disk, at, length).unwrap().iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Fletcher's, as a sum of sums.
fn checksum(object: &[u8]) -> u64 {
    let modulus = u128::from(u32::MAX);
    let words = object[8..].chunks(4).map(|word| u128::from(u32::from_le_bytes(word.try_into().unwrap())));
    let (mut first, mut second) = (0, 0);
    for word in words {
        first += word;
        second += first;
    }
    let low = modulus - (first + second) % modulus;
    let high = modulus - (first + low) % modulus;
    (high << 32 | low) as u64
}

/// The objects that a reader looks at: what has a checksum that is right.
fn objects(disk: &MemoryDisk) -> Vec<ByteRange> {
    let is_object = |place: &ByteRange| {
        let bytes = read_vec(disk, place.start(), place.length() as usize).unwrap();
        place.length().is_multiple_of(BLOCK) && bytes[..8] == checksum(&bytes).to_le_bytes() && bytes[24] != 0
    };
    aged::places(disk).into_iter().filter(is_object).collect()
}

/// Puts the checksums of objects right.
fn seal(disk: &MemoryDisk, objects: &[ByteRange]) {
    for place in objects {
        let bytes = read_vec(disk, place.start(), place.length() as usize).unwrap();
        let sum = checksum(&bytes).to_le_bytes();
        if bytes[..8] != sum {
            disk.write_at(place.start(), &sum).unwrap();
        }
    }
}

/// The object of a type with the newest transaction.
fn newest(disk: &MemoryDisk, kind: u64) -> u64 {
    let all = objects(disk).into_iter().map(ByteRange::start);
    all.filter(|at| *at > 0 && number(disk, at + 24, 2) == kind)
        .max_by_key(|at| number(disk, at + 16, 8))
        .unwrap()
}

#[test]
fn the_map_passes_the_checker_and_names_are_those_of_other_readers() {
    for (disk, label) in [
        (aged("apfs"), "aged"),
        (made(130 * MIB, &["-L", "a label", "-s"]), "a label"),
        (made(600 * MIB + 12345 * 512, &[]), "untitled"),
    ] {
        let found = reading(&disk);
        let file_system = &found.file_system;
        assert_eq!(file_system.findings, Vec::<String>::new());
        assert_eq!((file_system.kind, file_system.block_size_bytes), (FileSystemKind::Apfs, BLOCK));
        let size = disk.size_bytes() / BLOCK * BLOCK;
        assert_eq!((file_system.size_bytes, file_system.minimum_bytes), (size, size));
        let used = found.used.as_ref().unwrap();
        assert_eq!(file_system.used_bytes, Some(used.total_bytes()));
        assert_eq!(file_system.label.as_deref(), Some(label));
        // As many blocks are free as the space manager says.
        let free = number(&disk, newest(&disk, 5) + 72, 8);
        assert_eq!(size - used.total_bytes(), free * BLOCK);
        let image = on_noise(&disk, used);
        assert_eq!(check(&image), "");
        let said = run("fsapfsinfo", &[text(&image.path)]);
        let fact = |name: &str| said.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        assert!(fact("Identifier").contains(file_system.uuid.as_deref().unwrap()), "{said}");
        assert!(fact("Name").ends_with(&format!(": {label}")), "{said}");
        let known = run("blkid", &["-p", "-o", "export", text(&image.path)]);
        assert_eq!(known.lines().find_map(|line| line.strip_prefix("UUID=")), file_system.uuid.as_deref());
    }
}

#[test]
fn every_file_comes_back_from_the_used_blocks_on_noise() {
    let disk = aged("apfs");
    let before = reading(&disk);
    aged::leaves_out(&before, 900 * MIB);
    let image = on_noise(&disk, before.used.as_ref().unwrap());
    assert_eq!(sparse(File::open(&image.path).unwrap()).size_bytes(), disk.size_bytes());
    let mounted = lab::folder();
    run("fsapfsmount", &[text(&image.path), text(mounted.path())]);
    let all = aged::recorded("apfs.sums");
    assert!(all.lines().count() > 80);
    let wrong: Vec<&str> = all
        .lines()
        .filter(|line| {
            let (sum, name) = line.split_once("  ").unwrap();
            lab::hash_of(&mounted.path().join(name)) != sum
        })
        .collect();
    run("fusermount", &["-u", text(mounted.path())]);
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_container_that_was_not_unmounted_is_what_its_newest_checkpoint_says() {
    let disk = aged("apfs-crash");
    let Reading { file_system, used } = reading(&disk);
    assert_eq!(file_system.state, State::Clean);
    assert!(file_system.findings[0].contains("was not unmounted"), "{:?}", file_system.findings);
    let image = on_noise(&disk, &used.unwrap());
    // Without -c and -u, the checker has no word for it.
    assert_eq!(run("apfsck", &[text(&image.path)]), "");
    // What was being written when the power failed is no checkpoint: the one before counts, that of the last unmount.
    let superblock = newest(&disk, 1);
    let (state, finding) = changed(&disk, &[(superblock + 100, &[0xFF])]);
    assert_eq!((state, finding.as_str()), (State::Clean, ""));
    // One whose maps are those of another is not whole.
    let next = number(&disk, superblock + 16, 8) + 1;
    let place = ByteRange::at(superblock, BLOCK).unwrap();
    disk.write_at(superblock + 16, &next.to_le_bytes()).unwrap();
    seal(&disk, &[place]);
    let found = reading(&disk).file_system;
    assert!(
        found.state == State::Damaged && found.findings[0].contains("another checkpoint"),
        "{:?}",
        found.findings
    );
}

#[test]
fn states_and_forms_are_told_apart() {
    let disk = aged("apfs");
    let all = objects(&disk);
    let (superblock, manager) = (newest(&disk, 1), newest(&disk, 5));
    let (chunks, map) = (newest(&disk, 7), newest(&disk, 12));
    let bits = number(&disk, chunks + 40 + 24, 8) * BLOCK;
    for (at, bytes, expected, word) in [
        (superblock + 0x41, &[1][..], State::Unsupported, "Fusion"),
        (superblock + 0x42, &[1], State::Unsupported, "features"),
        (manager + 96, &[1], State::Unsupported, "second device"),
        (0x73 + 4, &[0x80], State::Unsupported, "in pieces"),
        (0x68, &[0xFF, 0xFF, 0xFF, 0], State::Damaged, "not on the volume"),
        (superblock + 0x70, &[9], State::Damaged, "elsewhere"),
        (superblock + 40, &[0xFF; 5], State::Damaged, "but the volume only"),
        (superblock + 0x88, &[0xFF; 4], State::Damaged, "not in a ring"),
        (superblock + 0x98, &[0xFF; 4], State::Damaged, "names the space manager"),
        (superblock + 0x518, &[0xFF; 4], State::Damaged, "do not lie in its"),
        (map + 36, &[0xFF], State::Damaged, "do not fit"),
        (manager + 36, &[1], State::Damaged, "in 8 chunks"),
        (manager + 48, &[1], State::Damaged, "in 8 chunks"),
        (manager + 72, &[1], State::Damaged, "it counts"),
        (manager + 152, &[1, 0], State::Damaged, "should be in its pool"),
        (chunks + 32, &[1], State::Damaged, "should be number 0"),
        (chunks + 36, &[1], State::Damaged, "with 8 chunks"),
        (chunks + 40 + 8, &[1], State::Damaged, "chunk 0 should have"),
        (chunks + 40 + 20, &[1], State::Damaged, "chunk 0 has"),
        (chunks + 40 + 24, &[1, 0], State::Damaged, "should be in its pool"),
        (bits, &[0], State::Damaged, "chunk 0 has"),
    ] {
        let sealed = |bytes: &[u8]| {
            let old = read_vec(&disk, at, bytes.len()).unwrap();
            disk.write_at(at, bytes).unwrap();
            seal(&disk, &all);
            let file_system = reading(&disk).file_system;
            disk.write_at(at, &old).unwrap();
            seal(&disk, &all);
            (file_system.state, file_system.findings.concat())
        };
        let (state, finding) = sealed(bytes);
        assert_eq!(state, expected, "{at:#x} {bytes:x?}: {finding}");
        assert!(finding.contains(word), "{at:#x} {bytes:x?}: {finding}");
        assert!(state == State::Damaged || finding.contains("--when-dirty raw"), "{finding}");
    }
    // Without the right checksum, each is damaged, or another checkpoint counts that is none.
    for place in [0, manager, chunks, map] {
        let (state, finding) = changed(&disk, &[(place + 17, &[0xEE])]);
        assert!(state == State::Damaged && finding.contains("checksum"), "{finding}");
    }
    // The pool is free, and everybody counts so.
    let pool = number(&disk, manager + 176, 8);
    let byte = number(&disk, bits + pool / 8, 1) as u8;
    disk.write_at(bits + pool / 8, &[byte & !(1 << (pool % 8))]).unwrap();
    for (at, length) in [(chunks + 40 + 20, 4), (manager + 72, 8)] {
        let more = number(&disk, at, length) + 1;
        disk.write_at(at, &more.to_le_bytes()[..length]).unwrap();
    }
    seal(&disk, &all);
    let found = reading(&disk).file_system;
    assert!(found.state == State::Damaged && found.findings[0].contains("are free"), "{:?}", found.findings);
    assert_eq!(found.uuid, reading(&aged("apfs")).file_system.uuid);
}

#[test]
fn what_a_checkpoint_names_is_whole_and_may_go_around_the_end_of_its_ring() {
    let disk = aged("apfs");
    let before = reading(&disk);
    let (superblock, map) = (newest(&disk, 1), newest(&disk, 12));
    let entries: Vec<u64> = (0..number(&disk, map + 36, 4)).map(|index| map + 40 + 40 * index).collect();
    // The space manager, two queues of blocks that wait to be free, the reaper.
    assert!(entries.len() >= 4);
    for entry in &entries {
        let object = number(&disk, entry + 32, 8) * BLOCK;
        let (state, finding) = changed(&disk, &[(object + 2000, &[0xEE])]);
        assert!(state == State::Damaged && finding.contains("checksum"), "{finding}");
    }
    // The space manager with a second block, which is the first one of the ring.
    let of = |entry: &u64| number(&disk, entry + 32, 8);
    let manager = newest(&disk, 5);
    let entry = *entries.iter().find(|entry| of(entry) == manager / BLOCK).unwrap();
    let first = number(&disk, superblock + 0x78, 8);
    let last = first + number(&disk, superblock + 0x6C, 4) - 1;
    assert!(!entries.iter().any(|entry| [first, last].contains(&of(entry))));
    let mut long = read_vec(&disk, manager, BLOCK as usize).unwrap();
    long.resize(2 * BLOCK as usize, 0x5A);
    let sum = checksum(&long).to_le_bytes();
    long[..8].copy_from_slice(&sum);
    for (block, bytes) in [(last, &long[..BLOCK as usize]), (first, &long[BLOCK as usize..])] {
        disk.write_at(block * BLOCK, bytes).unwrap();
    }
    disk.write_at(entry + 32, &last.to_le_bytes()).unwrap();
    let maps = [ByteRange::at(map, BLOCK).unwrap()];
    for (blocks, is_there) in [(2, true), (1, false), (last - first + 2, false)] {
        disk.write_at(entry + 8, &((blocks * BLOCK) as u32).to_le_bytes()).unwrap();
        seal(&disk, &maps);
        let found = reading(&disk);
        assert_eq!(found == before, is_there, "{blocks}: {:?}", found.file_system.findings);
    }
}

#[test]
fn large_containers_have_blocks_of_addresses() {
    // No tool makes one that is large enough: a block of the pool that is in no use gets the address.
    let disk = aged("apfs");
    let before = reading(&disk);
    let (manager, chunks) = (newest(&disk, 5), newest(&disk, 7));
    let (pool, count) = (number(&disk, manager + 176, 8), number(&disk, manager + 152, 8));
    let free =
        (pool..pool + count).rev().find(|block| number(&disk, block * BLOCK, 16) == 0).unwrap() * BLOCK;
    let mut block = read_vec(&disk, chunks, BLOCK as usize).unwrap();
    block[8..16].copy_from_slice(&(free / BLOCK).to_le_bytes());
    block[24] = 6;
    block[32..].fill(0);
    block[36] = 1;
    block[40..48].copy_from_slice(&(chunks / BLOCK).to_le_bytes());
    disk.write_at(free, &block).unwrap();
    let addresses = manager + number(&disk, manager + 80, 4);
    disk.write_at(addresses, &(free / BLOCK).to_le_bytes()).unwrap();
    disk.write_at(manager + 68, &[1]).unwrap();
    let mut all = objects(&disk);
    all.extend([manager, free].map(|at| ByteRange::at(at, BLOCK).unwrap()));
    seal(&disk, &all);
    assert_eq!(reading(&disk), before);
    for (at, word) in
        [(free + 36, "with 1 addresses"), (free + 32, "should be number 0"), (free + 41, "pool")]
    {
        let old = read_vec(&disk, at, 1).unwrap();
        disk.write_at(at, &[old[0] ^ 0x7F]).unwrap();
        seal(&disk, &all);
        let found = reading(&disk).file_system;
        assert!(found.state == State::Damaged && found.findings[0].contains(word), "{:?}", found.findings);
        disk.write_at(at, &old).unwrap();
    }
}

#[test]
fn damage_is_survived_and_a_map_that_counts_otherwise_is_not_believed() {
    let disk = aged("apfs");
    let all = objects(&disk);
    let before = reading(&disk).used.unwrap().total_bytes();
    // Places of keys are added to what the bitmaps say.
    aged::survives_damage(&disk, |disk| seal(disk, &all), |used| used.total_bytes() >= before);
}
