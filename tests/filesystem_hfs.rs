//! HFS: the used map is what files and trees have, every file comes back from it, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod lab;

use aged::{Image, changed, reading};
use lab::{MIB, run, text};
use remint::blockio::{MemoryDisk, ReadAt, read_vec};
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

const MASTER: u64 = 1024;

/// Runs one of hfsutils, which remember what is mounted in a file at home.
fn tool(home: &Path, program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).env("HOME", home).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A volume on noise, and what `sha256sum` says of its files; every third file was removed, and others took their place.
fn filled(size: u64) -> (Image, String) {
    let image = Image::made(size, &["true"]);
    let home = image.folder.path();
    tool(home, "hformat", &["-l", "filled", text(&image.path)]);
    tool(home, "hmount", &[text(&image.path)]);
    let mut sums = String::new();
    let mut noise = lab::Noise::new(size);
    let source = home.join("source");
    let mut copy = |name: &str, length: usize| {
        fs::write(&source, noise.bytes(length)).unwrap();
        tool(home, "hcopy", &["-r", text(&source), &format!(":{name}")]);
        format!("{}  ./{name}\n", lab::hash_of(&source))
    };
    for number in 0..130 {
        let line = copy(&format!("file{number}"), number * 731 % 30_000 + 1);
        if number % 3 > 0 {
            sums += &line;
        }
    }
    for number in (0..130).step_by(3) {
        tool(home, "hdel", &[&format!(":file{number}")]);
    }
    for number in 0..5 {
        sums += &copy(&format!("large{number}"), 190_000 + number);
    }
    tool(home, "humount", &[]);
    (image, sums)
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// First block and number of blocks, three times.
fn extents(bytes: &[u8], at: usize) -> Vec<(u64, u64)> {
    (0..3).map(|index| (number(bytes, at + index * 4, 2), number(bytes, at + index * 4 + 2, 2))).collect()
}

/// Every record of the leaves of a tree, key and data.
fn records(disk: &MemoryDisk, tree: &[(u64, u64)], block: u64, first: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let parts = tree.iter();
    let tree: Vec<u8> = parts
        .flat_map(|(start, count)| read_vec(disk, first + start * block, (count * block) as usize).unwrap())
        .collect();
    let mut node = number(&tree, 24, 4) as usize;
    let mut all = Vec::new();
    while node != 0 {
        let bytes = &tree[node * 512..(node + 1) * 512];
        for record in 0..number(bytes, 10, 2) as usize {
            let offset = |record: usize| number(bytes, 512 - 2 * (record + 1), 2) as usize;
            let record = &bytes[offset(record)..offset(record + 1)];
            let key = usize::from(record[0]);
            all.push((record[..=key].to_vec(), record[(key + 2) / 2 * 2..].to_vec()));
        }
        node = number(bytes, 0, 4) as usize;
    }
    all
}

/// What both trees, and both forks of all files, have: found without the bitmap.
fn in_use(disk: &MemoryDisk) -> RangeSet {
    let master = read_vec(disk, MASTER, 512).unwrap();
    let (block, first) = (number(&master, 20, 4), number(&master, 28, 2) * 512);
    let mut overflow = extents(&master, 134);
    let mut catalog = extents(&master, 150);
    let more = records(disk, &overflow, block, first);
    // The catalog's own pieces, by their position in it.
    let mut of_catalog: Vec<_> = more.iter().filter(|(key, _)| number(key, 2, 4) == 4).collect();
    of_catalog.sort_by_key(|(key, _)| number(key, 6, 2));
    of_catalog.iter().for_each(|(_, data)| catalog.extend(extents(data, 0)));
    let files = records(disk, &catalog, block, first).into_iter().filter(|(_, data)| data[0] == 2);
    let forks = files.flat_map(|(_, data)| [extents(&data, 74), extents(&data, 86)].concat());
    let mut all: Vec<(u64, u64)> = forks.collect();
    all.extend(more.iter().filter(|(key, _)| number(key, 2, 4) != 4).flat_map(|(_, data)| extents(data, 0)));
    all.append(&mut overflow);
    all.append(&mut catalog);
    let size = disk.size_bytes();
    let end = (first + number(&master, 18, 2) * block).min(size / 512 * 512 - 1024);
    let blocks = all.into_iter().filter(|(_, count)| *count > 0);
    let places = blocks.map(|(start, count)| ByteRange::at(first + start * block, count * block).unwrap());
    places.chain([ByteRange::new(0, first), ByteRange::new(end, size)]).collect()
}

#[test]
fn the_map_is_what_files_and_trees_have_and_every_file_comes_back() {
    for size in [12 * MIB, 100 * MIB + 512] {
        let (image, sums) = filled(size);
        let disk = image.memory();
        let found = reading(&disk);
        let file_system = &found.file_system;
        assert_eq!(file_system.findings, Vec::<String>::new());
        let used = found.used.as_ref().unwrap();
        assert_eq!(used, &in_use(&disk));
        assert_eq!(file_system.used_bytes, Some(used.total_bytes()));
        assert_eq!((file_system.kind, file_system.label.as_deref()), (FileSystemKind::Hfs, Some("filled")));
        assert_eq!((file_system.size_bytes, file_system.minimum_bytes), (size, size));
        let known = run("blkid", &["-p", "-o", "export", text(&image.path)]);
        assert!(known.contains("TYPE=hfs\n") && known.contains("LABEL=filled\n"), "{known}");
        aged::leaves_out(&found, 8 * MIB);
        let restored = image.restored(used);
        assert_eq!(restored.reading(), found);
        restored.has_files(&sums, &[]);
    }
}

#[test]
fn states_and_forms_are_told_apart() {
    let (image, _) = filled(12 * MIB);
    let disk = image.memory();
    let field = |at: u64| MASTER + at;
    let bitmap = number(&read_vec(&disk, field(14), 2).unwrap(), 0, 2) * 512;
    let first = read_vec(&disk, bitmap, 1).unwrap()[0];
    for (at, bytes, expected, word) in [
        (field(10), &[0][..], State::Dirty, "not unmounted"),
        (field(10), &[9], State::Dirty, "inconsistent"),
        (field(35), &[0xEE], State::Damaged, "blocks are free"),
        (field(22), &[0xFE], State::Damaged, "do not lie on the volume"),
        (bitmap, &[first & 0x7F], State::Damaged, "blocks are free"),
    ] {
        let (state, finding) = changed(&disk, &[(at, bytes)]);
        assert_eq!(state, expected, "{at:#x} {bytes:x?}: {finding}");
        assert!(finding.contains(word), "{at:#x} {bytes:x?}: {finding}");
    }
    // The first block is the extents file's, and everybody counts it as free.
    let free = number(&read_vec(&disk, field(34), 2).unwrap(), 0, 2) as u16 + 1;
    let (state, finding) = changed(&disk, &[(bitmap, &[first & 0x7F]), (field(34), &free.to_be_bytes())]);
    assert!(state == State::Damaged && finding.contains("where the catalog"), "{finding}");
}

#[test]
fn damage_is_survived_and_a_map_that_counts_otherwise_is_not_believed() {
    let disk = filled(12 * MIB).0.memory();
    let before = reading(&disk).used.unwrap().total_bytes();
    // Where the blocks begin and how large they are decides what the bits mean, and stands nowhere else.
    let geometry = |disk: &MemoryDisk| {
        [read_vec(disk, MASTER + 18, 6).unwrap(), read_vec(disk, MASTER + 28, 2).unwrap()]
    };
    let right = geometry(&disk);
    aged::survives_damage(&disk, |_| {}, |used| geometry(&disk) != right || used.total_bytes() == before);
}
