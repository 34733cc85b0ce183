//! The btrfs reader against file systems made, filled, damaged and judged by the tools of btrfs and the kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, missing_docs)]

#[path = "filesystem_btrfs/image.rs"]
mod image;
mod lab;

use image::{Image, fill};
use lab::{GIB, MIB, Mount, Noise, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::read;
use remint::schema::{FileSystemKind, State};
use remint::units::ByteRange;
use std::fs;
use std::io;
use std::sync::Mutex;

/// Options of mkfs.btrfs that change where things stand, or how it is known.
const FORMS: [&str; 11] = [
    "-L remint",
    "-n 4096",
    "-n 65536 -m single -d dup",
    "--mixed",
    "--mixed -m dup -d dup -n 4096",
    "-R ^free-space-tree -O ^no-holes",
    "-R ^free-space-tree -O ^skinny-metadata,^extref -m single",
    "-O extref",
    "-R quota",
    "--csum sha256 -n 8192",
    "-d raid0 -m dup",
];

#[test]
fn the_map_of_every_form_is_that_of_the_tool() {
    for form in FORMS {
        let image = Image::new(400 * MIB, form);
        image.assert_map();
        let mount = image.mount();
        fill(mount.path(), 7, 500);
        drop(mount);
        let reading = image.assert_map();
        assert!(reading.used.unwrap().iter().count() > 20, "{form}: what is in use is in pieces");
        let minimum = reading.file_system.minimum_bytes;
        assert!((256 * MIB..=400 * MIB).contains(&minimum), "{form}: {minimum}");
    }
}

#[test]
fn what_is_in_use_is_enough_to_restore_every_file_onto_noise() {
    for form in ["-R free-space-tree", "-R ^free-space-tree -n 4096", "--mixed"] {
        let image = Image::new(300 * MIB, form);
        let mount = image.mount();
        fill(mount.path(), 21, 600);
        let expected = lab::tree(mount.path());
        drop(mount);
        let target = image.on_noise(&image.reading().used.unwrap());
        fs::remove_file(&image.path).unwrap();
        run("btrfs", &["check", "--check-data-csum", text(&target)]);
        let mount = Mount::new(&target, 0, image.bytes, "btrfs", true);
        assert!(lab::tree(mount.path()) == expected, "{form}");
    }
}

#[test]
fn free_space_in_many_pieces_is_read_from_bitmaps() {
    let image = Image::new(300 * MIB, "-R free-space-tree");
    let mount = image.mount();
    let content = Noise::new(3).bytes(4096);
    for number in 0..12_000 {
        fs::write(mount.path().join(format!("{number}")), &content).unwrap();
    }
    run("sync", &["-f", text(mount.path())]);
    (0..12_000)
        .step_by(2)
        .for_each(|number| fs::remove_file(mount.path().join(format!("{number}"))).unwrap());
    drop(mount);
    let dump = run("btrfs", &["inspect-internal", "dump-tree", "-t", "10", text(&image.path)]);
    assert!(dump.contains("FREE_SPACE_BITMAP"), "there are no bitmaps");
    image.assert_map();
}

#[test]
fn identity_is_that_of_the_tools() {
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    let image = Image::new(300 * MIB, &format!("-U {uuid} -L a-label"));
    let file_system = image.reading().file_system;
    assert_eq!(file_system.kind, FileSystemKind::Btrfs);
    assert_eq!(file_system.uuid.as_deref(), Some(uuid));
    assert_eq!(file_system.label.as_deref(), Some("a-label"));
    assert_eq!((file_system.block_size_bytes, file_system.size_bytes), (4096, 300 * MIB));

    // The UUID can be changed while the nodes keep the old one.
    let other = "fedcba98-7654-3210-fedc-ba9876543210";
    run("btrfstune", &["-f", "-M", other, text(&image.path)]);
    assert_eq!(image.assert_map().file_system.uuid.as_deref(), Some(other));
}

#[test]
fn a_log_tree_is_dirty_until_it_is_replayed() {
    let image = Image::new(300 * MIB, "");
    let mount = image.mount();
    run("sync", &["-f", text(mount.path())]);
    fs::write(mount.path().join("kept"), vec![1; 100_000]).unwrap();
    fs::File::open(mount.path().join("kept")).unwrap().sync_all().unwrap();
    // While it is mounted the image is what a snapshot would be.
    let reading = image.reading();
    assert_eq!(reading.file_system.state, State::Dirty);
    assert_eq!((reading.used, reading.file_system.used_bytes), (None, None));
    let finding = &reading.file_system.findings[0];
    assert!(finding.contains("log tree") && finding.contains("--when-dirty replay"), "{finding}");
    drop(mount);
    image.assert_map();
}

#[test]
fn a_volume_of_16_tib_is_read_by_its_metadata_only() {
    let image = Image::new(16 << 40, "");
    let mount = image.mount();
    fill(mount.path(), 9, 300);
    drop(mount);
    let disk = image.disk();
    let recorder = Recorder(&disk, Mutex::default());
    let used = read(&recorder).unwrap().unwrap().used.unwrap();
    assert!(used.contains(ByteRange::at(256 << 30, 4096).unwrap()), "the last superblock");
    assert_eq!(used, image.used_by_the_tool());
    let bytes: u64 = recorder.1.into_inner().unwrap().iter().map(|range| range.length()).sum();
    assert!(bytes < 16 * MIB, "{bytes} bytes were read");
}

/// No tool of this system makes a tree of its own for block groups, so one is made by hand: from a copy of the extent
/// tree, in the place of the tree of UUIDs. What the extent tree says of block groups is wrong then.
#[test]
fn block_groups_are_read_from_their_own_tree() {
    let image = Image::new(300 * MIB, "-R free-space-tree");
    let mount = image.mount();
    (0..20).for_each(|number| fs::write(mount.path().join(number.to_string()), vec![7; 9000]).unwrap());
    drop(mount);
    let expected = image.assert_map();
    let disk = image.in_memory();
    let node_at = |logical: u64| read_vec(&disk, places_of(&image, logical)[0], 16384).unwrap();
    let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let write = |logical: u64, mut node: Vec<u8>| {
        seal(&mut node);
        places_of(&image, logical).iter().for_each(|at| disk.write_at(*at, &node).unwrap());
    };
    // An entry is the key of 17 bytes, then where its data begins behind the header.
    let entry = |index: usize| 101 + index * 25;
    let data_at = |node: &[u8], index: usize| {
        let field = entry(index) + 17;
        101 + usize::try_from(u32::from_le_bytes(node[field..field + 4].try_into().unwrap())).unwrap()
    };

    let root = super_field(&image, "root");
    let mut roots = node_at(root);
    let find = |node: &[u8], tree: u64| (0..20).find(|index| number(node, entry(*index)) == tree).unwrap();
    let (extents, uuids, free) = (find(&roots, 2), find(&roots, 9), find(&roots, 10));
    assert_eq!((roots[100], uuids + 1), (0, free), "a single leaf, and the two trees side by side");
    let extent_item = data_at(&roots, extents);
    let (generation, extent_node) = (number(&roots, extent_item + 160), number(&roots, extent_item + 176));
    let uuid_item = data_at(&roots, uuids);
    let new_node = number(&roots, uuid_item + 176);

    let mut groups = node_at(extent_node);
    assert_eq!(groups[100], 0, "a single leaf");
    let mut wrong = groups.clone();
    let group = (0..50).find(|index| groups[entry(*index) + 8] == 192).unwrap();
    wrong[data_at(&groups, group) + 1] ^= 0x10;
    write(extent_node, wrong);
    groups[0x30..0x38].copy_from_slice(&new_node.to_le_bytes());
    groups[0x58..0x60].copy_from_slice(&11u64.to_le_bytes());
    write(new_node, groups);

    roots[uuid_item + 160..uuid_item + 168].copy_from_slice(&generation.to_le_bytes());
    let mut moved = roots[entry(uuids)..entry(uuids) + 25].to_vec();
    moved[..8].copy_from_slice(&11u64.to_le_bytes());
    roots.copy_within(entry(free)..entry(free) + 25, entry(uuids));
    roots[entry(free)..entry(free) + 25].copy_from_slice(&moved);
    write(root, roots);
    assert_eq!(read(&disk).unwrap().unwrap().file_system.state, State::Damaged, "the extent tree is asked");

    let mut superblock = read_vec(&disk, 65536, 4096).unwrap();
    superblock[0xB4] |= 8;
    seal(&mut superblock);
    disk.write_at(65536, &superblock).unwrap();
    let reading = read(&disk).unwrap().unwrap();
    assert_eq!(reading.file_system.state, State::Clean, "{:?}", reading.file_system.findings);
    assert_eq!(reading.used, expected.used);
}

#[test]
fn several_devices_and_other_forms_are_unsupported_by_name() {
    let image = Image::new(300 * MIB, "");
    let second = image.folder.path().join("second");
    fs::File::create(&second).unwrap().set_len(300 * MIB).unwrap();
    run("mkfs.btrfs", &["-q", "-f", "-d", "single", text(&image.path), text(&second)]);
    let reading = image.reading();
    assert_eq!(reading.file_system.state, State::Unsupported);
    assert_eq!(reading.file_system.kind, FileSystemKind::BtrfsSet);
    assert!(reading.file_system.findings[0].contains("it is one of 2 devices of a btrfs"));
    // As where it is in an encrypted volume or an array.
    assert!(reading.file_system.findings[0].contains("--disk /dev/mapper/A --disk /dev/mapper/B"));
    assert!(reading.file_system.uuid.is_some() && reading.used.is_none());

    for (options, word) in [("--csum xxhash", "xxhash64"), ("--csum blake2", "BLAKE2b")] {
        let file_system = Image::new(300 * MIB, options).reading().file_system;
        assert_eq!(file_system.state, State::Unsupported);
        assert!(file_system.findings[0].contains(word), "{:?}", file_system.findings);
    }
    let seed = Image::new(300 * MIB, "");
    run("btrfstune", &["-f", "-S", "1", text(&seed.path)]);
    let file_system = seed.reading().file_system;
    assert_eq!(file_system.state, State::Unsupported);
    assert!(file_system.findings[0].contains("btrfstune -S 0"), "{:?}", file_system.findings);
}

#[test]
fn one_bad_copy_is_said_and_two_are_damage() {
    let image = Image::new(300 * MIB, "-m dup");
    let mount = image.mount();
    fill(mount.path(), 5, 100);
    drop(mount);
    let before = image.reading();
    let root = super_field(&image, "root");
    let places = places_of(&image, root);
    assert_eq!(places.len(), 2);
    let disk = image.in_memory();
    for (index, at) in places.iter().enumerate() {
        let byte = read_vec(&disk, at + 500, 1).unwrap();
        disk.write_at(at + 500, &[byte[0] ^ 1]).unwrap();
        let reading = read(&disk).unwrap().unwrap();
        let finding = &reading.file_system.findings[0];
        if index == 0 {
            assert_eq!((reading.file_system.state, &reading.used), (State::Clean, &before.used));
            assert!(finding.contains("btrfs scrub"), "{finding}");
        } else {
            assert_eq!((reading.file_system.state, reading.used), (State::Damaged, None));
            assert!(finding.contains("checksum"), "{finding}");
        }
    }
}

#[test]
fn another_copy_of_the_superblock_decides_nothing() {
    let image = Image::new(300 * MIB, "");
    let disk = image.in_memory();
    let before = read(&disk).unwrap().unwrap();
    disk.write_zeros(ByteRange::at(64 << 20, 4096).unwrap()).unwrap();
    let reading = read(&disk).unwrap().unwrap();
    assert_eq!((reading.file_system.state, &reading.used), (State::Clean, &before.used));
    assert!(reading.file_system.findings[0].contains("copies of its superblock"));
    // A mount takes the first one and no other.
    let byte = read_vec(&disk, 65536 + 0x300, 1).unwrap();
    disk.write_at(65536 + 0x300, &[byte[0] ^ 1]).unwrap();
    let reading = read(&disk).unwrap().unwrap();
    assert_eq!((reading.file_system.state, reading.used), (State::Damaged, None));
    // A volume that was cut off.
    let cut = MemoryDisk::new(200 * MIB);
    cut.write_at(0, &read_vec(&image.disk(), 0, 128 << 20).unwrap()).unwrap();
    let reading = read(&cut).unwrap().unwrap();
    assert_eq!(reading.file_system.state, State::Damaged);
    assert!(reading.file_system.findings[0].contains("209715200"), "{:?}", reading.file_system.findings);
}

/// Not only without panic: a reading that is called clean has the map that it had before. Checksums are put right
/// in one half of the cases, so that what is behind them is met.
#[test]
fn ten_thousand_changes_are_noticed_or_change_nothing() {
    for (form, rounds) in [("-m single -n 4096", 5000), ("-R ^free-space-tree -m single -n 4096", 5000)] {
        let image = Image::new(128 * MIB, form);
        let mount = image.mount();
        fill(mount.path(), 11, 150);
        drop(mount);
        let disk = image.in_memory();
        let recorder = Recorder(&disk, Mutex::default());
        let before = read(&recorder).unwrap().unwrap();
        assert_eq!(before.file_system.state, State::Clean);
        let mut reads = recorder.1.into_inner().unwrap();
        // The superblocks and the nodes; the others are looks at other file systems' signatures.
        reads.retain(|place| place.length() == 4096);
        let mut noise = Noise::new(0x5EED);
        let (mut noticed, mut sealed_and_clean) = (0, 0);
        for round in 0..rounds {
            let place = reads[usize::try_from(noise.below(reads.len() as u64)).unwrap()];
            let old = read_vec(&disk, place.start(), usize::try_from(place.length()).unwrap()).unwrap();
            let mut new = old.clone();
            // Half of the changes are in the head and the first items, where numbers are.
            let span = if noise.below(2) == 0 { old.len().min(200) } else { old.len() };
            let at = usize::try_from(noise.below(span as u64)).unwrap();
            new[at] ^= u8::try_from(1 + noise.below(255)).unwrap();
            let is_sealed = round % 2 == 0;
            if is_sealed {
                seal(&mut new);
            }
            disk.write_at(place.start(), &new).unwrap();
            if let Some(after) = read(&disk).unwrap() {
                let file_system = &after.file_system;
                assert!(file_system.minimum_bytes <= file_system.size_bytes);
                if file_system.state != State::Clean {
                    noticed += 1;
                    assert!(after.used.is_none() && !file_system.findings.is_empty());
                } else if is_sealed {
                    sealed_and_clean += 1;
                } else {
                    assert_eq!(after.used, before.used, "{form}: byte {at} of {place}");
                }
            }
            disk.write_at(place.start(), &old).unwrap();
        }
        // Most unsealed ones, and some sealed ones: how many depends on the UUIDs that the tool made.
        assert!(noticed > rounds / 3, "{form}: {noticed} changes were noticed");
        assert!(sealed_and_clean > 0, "{form}: some bytes mean nothing to the map");
    }
}

#[test]
fn other_volumes_are_not_btrfs() {
    assert!(read(&MemoryDisk::new(65536)).unwrap().is_none());
    let cut = MemoryDisk::new(65536 + 4096);
    cut.write_at(65536 + 0x40, b"_BHRfS_M").unwrap();
    let cut = read(&cut).unwrap().unwrap();
    assert_eq!((cut.file_system.kind, cut.file_system.state), (FileSystemKind::Btrfs, State::Damaged));
    assert!(GIB > cut.file_system.size_bytes);
}

/// Remembers what was read.
struct Recorder<'a, D>(&'a D, Mutex<Vec<ByteRange>>);

impl<D: ReadAt> ReadAt for Recorder<'_, D> {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.1.lock().unwrap().push(ByteRange::at(offset, buffer.len() as u64).unwrap());
        self.0.read_at(offset, buffer)
    }
}

/// Puts the checksum of a superblock or a node right.
fn seal(bytes: &mut [u8]) {
    let sum = !remint::units::checksum::crc32c(!0, &bytes[32..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
}

/// A field of the superblock, as the tool prints it.
fn super_field(image: &Image, name: &str) -> u64 {
    let dump = run("btrfs", &["inspect-internal", "dump-super", text(&image.path)]);
    let line = dump.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Where a logical address stands.
fn places_of(image: &Image, logical: u64) -> Vec<u64> {
    let chunks = image.chunks();
    let (start, _, places) = chunks.iter().rfind(|chunk| chunk.0 <= logical).unwrap();
    places.iter().map(|at| at + logical - start).collect()
}
