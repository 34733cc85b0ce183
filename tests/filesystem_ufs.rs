//! UFS1 and UFS2: the used map is what groups and files have, every file comes back from it, and no damage is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
mod lab;

use aged::{Image, changed, reading};
use lab::{MIB, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::schema::{FileSystemKind, State};
use remint::units::checksum::crc32c;
use remint::units::{ByteRange, RangeSet};
use std::collections::BTreeSet;
use std::fs;

/// Where makefs puts the superblock of both.
const SUPERBLOCK: u64 = 8192;

/// The contents of the files, by name.
fn files() -> Vec<(String, Vec<u8>)> {
    let numbers = |from: usize, to: usize| {
        (from..to).flat_map(|number| format!("{number}\n").into_bytes()).collect::<Vec<u8>>()
    };
    let mut files: Vec<_> =
        (1..120).map(|n| (format!("tree/file{n}"), numbers(n, n + n * 37 % 900 + 1))).collect();
    files.push(("tree/with/large".to_owned(), numbers(1, 60_000)));
    files
}

fn made(size: &str, options: &str, order: &str) -> Image {
    made_with(&files(), size, options, order)
}

fn made_with(files: &[(String, Vec<u8>)], size: &str, options: &str, order: &str) -> Image {
    let folder = lab::folder();
    let (tree, path) = (folder.path().join("files"), folder.path().join("volume"));
    fs::create_dir(&tree).unwrap();
    for (name, content) in files {
        fs::create_dir_all(tree.join(name).parent().unwrap()).unwrap();
        fs::write(tree.join(name), content).unwrap();
    }
    let arguments = ["-t", "ffs", "-o", options, "-B", order, "-s", size, text(&path), text(&tree)];
    run("makefs", &arguments);
    Image { folder, path }
}

/// Four groups of UFS1 with blocks of 4 KiB.
fn groups() -> Image {
    made("44m", "version=1,bsize=4096,fsize=512", "le")
}

/// First fragments, each with how many there are.
type Runs = Vec<(u64, u64)>;

/// Numbers of a volume in its own byte order.
struct Fields<'a> {
    disk: &'a MemoryDisk,
    is_big: bool,
}

impl Fields<'_> {
    fn of(disk: &MemoryDisk) -> Fields<'_> {
        let magic = read_vec(disk, SUPERBLOCK + 1372, 4).unwrap();
        Fields { disk, is_big: magic[..2] == [0, 1] || magic[0] == 0x19 && magic[1] == 0x54 }
    }

    fn number(&self, at: u64, length: usize) -> u64 {
        let mut bytes = read_vec(self.disk, at, length).unwrap();
        if self.is_big {
            bytes.reverse();
        }
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn short(&self, at: u64) -> u64 {
        self.number(at, 4)
    }

    fn of_superblock(&self, at: u64) -> u64 {
        self.short(SUPERBLOCK + at)
    }

    fn is_ufs2(&self) -> bool {
        self.of_superblock(1372) == 0x1954_0119
    }

    /// Size of a fragment, and fragments in a block.
    fn sizes(&self) -> (u64, u64) {
        (self.of_superblock(52), self.of_superblock(56))
    }

    /// The fragments in which data of an inode are, with how many of them, and those that only say where data are.
    fn blocks_of(&self, inode: u64) -> (u64, Runs, Runs) {
        let (fragment, frag) = self.sizes();
        let (size_at, direct_at, width) = if self.is_ufs2() { (16, 112, 8) } else { (8, 40, 4) };
        let size = self.number(inode + size_at, 8);
        let mut left = size.div_ceil(fragment);
        let (mut data, mut indirect) = (Vec::new(), Vec::new());
        for index in 0..12 {
            let count = left.min(frag);
            left -= count;
            data.push((self.number(inode + direct_at + index * width, width as usize), count));
        }
        let per_block = fragment * frag / width;
        for level in 1..=3 {
            let pointer = self.number(inode + direct_at + (11 + level) * width, width as usize);
            let mut below = vec![pointer];
            for _ in 0..level {
                below.retain(|pointer| *pointer != 0);
                indirect.extend(below.iter().map(|pointer| (*pointer, frag)));
                below = below
                    .iter()
                    .flat_map(|block| (0..per_block).map(move |index| block * fragment + index * width))
                    .map(|at| self.number(at, width as usize))
                    .collect();
            }
            for pointer in below {
                // Behind twelve blocks, all are whole.
                data.push((pointer, frag.min(left)));
                left -= frag.min(left);
                if pointer != 0 {
                    indirect.push((pointer, frag));
                }
            }
        }
        data.retain(|(pointer, count)| *pointer != 0 && *count > 0);
        (size, data, indirect)
    }

    /// Where all inodes in use are.
    fn inodes(&self) -> Vec<u64> {
        let length = if self.is_ufs2() { 256 } else { 128 };
        let (fragment, _) = self.sizes();
        let (groups, per_group) = (self.of_superblock(44), self.of_superblock(184));
        let first = |group| (group * self.of_superblock(188) + self.of_superblock(16)) * fragment;
        let all = (0..groups).flat_map(|group| (0..per_group).map(move |index| (group, index)));
        let all = all.map(|(group, index)| first(group) + index * length);
        all.filter(|at| self.number(*at, 2) != 0).collect()
    }

    /// What groups, summary and inodes have: found without a bitmap. The volume has to end with the file system.
    fn in_use(&self) -> RangeSet {
        let (fragment, _) = self.sizes();
        let place = |(first, count): (u64, u64)| ByteRange::at(first * fragment, count * fragment).unwrap();
        let (own, end) = (self.of_superblock(8), self.of_superblock(20));
        let groups = (0..self.of_superblock(44)).map(|group| match group {
            0 => (0, end),
            group => (group * self.of_superblock(188) + own, end - own),
        });
        let mut used: RangeSet = groups.map(place).collect();
        let summary = self.number(SUPERBLOCK + 1096, 8);
        used.insert(place((summary, self.of_superblock(156).div_ceil(fragment))));
        for inode in self.inodes() {
            let (_, data, indirect) = self.blocks_of(inode);
            data.into_iter().chain(indirect).map(place).for_each(|range| used.insert(range));
        }
        let size = self.disk.size_bytes();
        for at in [0, 8192, 65536, 262_144] {
            used.insert(ByteRange::at(at, 8192).unwrap());
        }
        used.insert(ByteRange::new(size - 4096, size));
        used
    }

    /// What is in all files.
    fn contents(&self) -> BTreeSet<Vec<u8>> {
        let (fragment, _) = self.sizes();
        let read = |inode: u64| {
            let (size, data, _) = self.blocks_of(inode);
            let parts = data.into_iter().flat_map(|(first, count)| {
                read_vec(self.disk, first * fragment, (count * fragment) as usize).unwrap()
            });
            parts.take(size as usize).collect()
        };
        self.inodes().into_iter().map(read).collect()
    }
}

#[test]
fn the_map_is_what_groups_and_files_have() {
    for (size, options, order) in [
        ("24m", "version=1", "le"),
        ("24m", "version=1", "be"),
        ("24m", "version=2", "le"),
        ("24m", "version=2", "be"),
        ("40m", "version=1,bsize=4096,fsize=512", "le"),
        ("40m", "version=2,bsize=8192,fsize=2048", "be"),
        ("90m", "version=2,bsize=4096,fsize=4096", "le"),
        ("48m", "version=2,bsize=65536,fsize=8192", "le"),
    ] {
        let image = made(size, options, order);
        let disk = image.memory();
        let fields = Fields::of(&disk);
        // Who looks for a name finds one in UFS2.
        disk.write_at(SUPERBLOCK + 680, b"aged").unwrap();
        fs::write(&image.path, read_vec(&disk, 0, disk.size_bytes() as usize).unwrap()).unwrap();
        let found = reading(&disk);
        let file_system = &found.file_system;
        assert_eq!(file_system.findings, Vec::<String>::new(), "{options} {order}");
        assert_eq!(found.used.as_ref(), Some(&fields.in_use()), "{options} {order}");
        assert_eq!(file_system.used_bytes, found.used.as_ref().map(RangeSet::total_bytes));
        let block = fields.of_superblock(48);
        assert_eq!((file_system.kind, file_system.block_size_bytes), (FileSystemKind::Ufs, block));
        assert_eq!(
            (file_system.size_bytes, file_system.minimum_bytes),
            (disk.size_bytes(), disk.size_bytes())
        );
        let known = run("blkid", &["-p", "-o", "export", text(&image.path)]);
        let of_blkid = |name: &str| known.lines().find_map(|line| line.strip_prefix(name));
        assert_eq!(file_system.uuid.as_deref(), of_blkid("UUID="));
        assert_eq!(file_system.label.as_deref(), of_blkid("LABEL="));
        assert_eq!(file_system.label.as_deref(), fields.is_ufs2().then_some("aged"));
    }
}

#[test]
fn every_file_comes_back_from_the_used_fragments_on_noise() {
    let expected: BTreeSet<Vec<u8>> = files().into_iter().map(|(_, content)| content).collect();
    for (version, order) in [(1, "le"), (1, "be"), (2, "le"), (2, "be")] {
        let image = made("24m", &format!("version={version}"), order);
        let before = image.reading();
        aged::leaves_out(&before, 20 * MIB);
        let restored = image.restored(before.used.as_ref().unwrap());
        assert_eq!(restored.reading(), before);
        let disk = restored.memory();
        let contents = Fields::of(&disk).contents();
        assert!(expected.is_subset(&contents), "{version} {order}");
        if order == "le" {
            let sums = files().into_iter().map(|(name, _)| {
                let file = image.folder.path().join("files").join(&name);
                format!("{}  ./{name}\n", lab::hash_of(&file))
            });
            restored.has_files(&sums.collect::<String>(), &[]);
        }
    }
}

#[test]
fn states_and_forms_are_told_apart() {
    let image = made("24m", "version=2", "le");
    let disk = image.memory();
    let field = |at: u64| SUPERBLOCK + at;
    let (fields, end) = (Fields::of(&disk), disk.size_bytes());
    let group = fields.of_superblock(12) * 1024;
    let map = group + fields.short(group + 96);
    for (at, bytes, expected, word) in [
        (field(209), &[0][..], State::Dirty, "was not unmounted"),
        // NetBSD, while it is mounted.
        (field(209), &[2], State::Dirty, "was not unmounted"),
        (field(1312), &[4], State::Dirty, "needs a check"),
        (field(1312), &[0x40], State::Unsupported, "gjournal"),
        (end - 512, b"GEOM::MIRROR\0", State::Unsupported, "GEOM MIRROR"),
        (end - 4096, b"GEOM::JOURNAL\0", State::Unsupported, "GEOM JOURNAL"),
        (end - 512, b"GEOM::LABEL\0", State::Clean, ""),
        (field(44), &[9], State::Damaged, "do not go with"),
        (field(56), &[3], State::Damaged, "do not go with"),
        (field(188), &[0; 4], State::Damaged, "do not go with"),
        (field(160), &[0xFF; 4], State::Damaged, "do not go with"),
        (field(1080), &[0xFF; 8], State::Damaged, "do not go with"),
        (field(1096), &[0xFF; 8], State::Damaged, "do not go with"),
        (field(20), &[0, 0, 1], State::Damaged, "the inodes of group 0"),
        (field(1016), &[0, 0], State::Damaged, "the superblock counts"),
        (field(1032), &[0, 0], State::Damaged, "the superblock counts"),
        (group + 4, &[0], State::Damaged, "magic number"),
        (group + 12, &[1], State::Damaged, "group 1 of"),
        (group + 20, &[1], State::Damaged, "of 24577 fragments"),
        (group + 96, &[0xFF; 4], State::Damaged, ""),
        (map, &[1], State::Damaged, "counts otherwise"),
        (group + 24, &[0xFF], State::Damaged, "counts otherwise"),
        (fields.number(field(1096), 8) * 1024, &[0xFF], State::Damaged, "counts otherwise"),
    ] {
        let (state, finding) = changed(&disk, &[(at, bytes)]);
        assert_eq!(state, expected, "{at:#x} {bytes:x?}: {finding}");
        assert!(finding.contains(word), "{at:#x} {bytes:x?}: {finding}");
        assert!(state == State::Clean || state == State::Damaged || finding.contains("--when-dirty raw"));
    }
    // FS_DOWAPBL and the version of NetBSD's log: unmounted it lacks the flag. Without the version it is FreeBSD's.
    let (state, finding) = changed(&disk, &[(field(1313), &[1]), (field(864), &[1])]);
    assert!(state == State::Dirty && finding.contains("log of NetBSD"), "{finding}");
    assert_eq!(changed(&disk, &[(field(1313), &[1])]).0, State::Clean);
    // A free fragment among the inodes, and one in the summary, with all counts put right.
    let summary = fields.number(field(1096), 8);
    for (fragment, word) in [(33, "its own places"), (summary, "where it is")] {
        let at = map + fragment / 8;
        let bits = [fields.number(at, 1) as u8 | 1 << (fragment % 8)];
        let more = |at: u64| (fields.short(at) as u32 + 1).to_le_bytes();
        let (state, finding) = changed(
            &disk,
            &[
                (at, &bits),
                (group + 36, &more(group + 36)),
                (summary * 1024 + 12, &more(summary * 1024 + 12)),
                (field(1032), &more(field(1032))),
            ],
        );
        assert!(state == State::Damaged && finding.contains(word), "{finding}");
    }
    let bytes = fs::read(&image.path).unwrap();
    let cut = reading(&MemoryDisk::from_bytes(&bytes[..(20 * MIB) as usize])).file_system;
    assert!(cut.state == State::Damaged && cut.findings[0].contains("the volume only"), "{:?}", cut.findings);
}

#[test]
fn check_hashes_count_where_they_are_kept() {
    let disk = made("24m", "version=2", "le").memory();
    let fields = Fields::of(&disk);
    let group = fields.of_superblock(12) * 1024;
    let seal = |at: u64, length: u64, field: u64| {
        disk.write_zeros(ByteRange::at(at + field, 4).unwrap()).unwrap();
        let sum = crc32c(!0, &read_vec(&disk, at, length as usize).unwrap());
        disk.write_at(at + field, &sum.to_le_bytes()).unwrap();
    };
    disk.write_at(SUPERBLOCK + 1308, &[7, 0, 0, 0, 0, 2]).unwrap();
    seal(group, fields.of_superblock(160), 132);
    seal(SUPERBLOCK, fields.of_superblock(104), 1304);
    assert_eq!(reading(&disk).file_system.state, State::Clean);
    // The time of the last change, and another one.
    for at in [SUPERBLOCK + 1072, group + 136] {
        let (state, finding) = changed(&disk, &[(at, b"time")]);
        assert!(state == State::Damaged && finding.contains("check hash"), "{finding}");
        // A kernel that does not know them takes the flag away, and leaves them as they are.
        let off: &[(u64, &[u8])] = &[(at, b"time"), (SUPERBLOCK + 1313, &[0])];
        assert_eq!(changed(&disk, off).0, State::Clean, "{at:#x}");
    }
}

#[test]
fn what_lies_behind_the_file_system_and_where_a_mount_looks_is_captured() {
    let image = groups();
    let file = fs::OpenOptions::new().write(true).open(&image.path).unwrap();
    let end = image.size_bytes();
    file.set_len(end + 3 * MIB + 512).unwrap();
    let found = image.reading();
    let used = found.used.unwrap();
    assert!(used.contains(ByteRange::new(end, end + 3 * MIB + 512)));
    assert_eq!(found.file_system.minimum_bytes, end + 3 * MIB + 512);
    // 256 KiB are in the middle of free space of this one.
    for at in [0, 8192, 65536, 262_144] {
        assert!(used.contains(ByteRange::at(at, 8192).unwrap()), "{at}");
    }
    // An older superblock of UFS2 at its place is believed before one of UFS1.
    let disk = image.memory();
    let other = made("24m", "version=2", "le").memory();
    let older = read_vec(&other, SUPERBLOCK, 8192).unwrap();
    disk.write_at(65536, &older).unwrap();
    assert_eq!(reading(&disk).file_system.state, State::Clean);
    disk.write_at(65536 + 1000, &65536u64.to_le_bytes()).unwrap();
    assert_eq!(reading(&disk).file_system.state, State::Damaged);
}

#[test]
fn the_older_fields_of_ufs1_count_where_a_system_keeps_no_wider_ones() {
    let disk = groups().memory();
    let field = |at: u64| SUPERBLOCK + at;
    let (wider, older) = ((field(1016), &[0xFF; 24][..]), (field(192), &[0xFF; 16][..]));
    let is_old = (field(211), &[0][..]);
    assert_eq!(changed(&disk, &[older]).0, State::Clean);
    assert_eq!(changed(&disk, &[wider]).0, State::Damaged);
    assert_eq!(changed(&disk, &[is_old, wider]).0, State::Clean);
    assert_eq!(changed(&disk, &[is_old, older]).0, State::Damaged);
}

#[test]
fn a_group_may_begin_turns_of_the_disk_later_than_the_one_before() {
    // In the days when surfaces were told apart. Groups behind the first one have nothing in them.
    let disk = made_with(&[], "44m", "version=1,bsize=4096,fsize=512", "le").memory();
    let field = |at: u64| SUPERBLOCK + at;
    let before = reading(&disk);
    let fields = Fields::of(&disk);
    let (per_group, own, last) =
        (fields.of_superblock(188), fields.of_superblock(8), fields.of_superblock(20));
    let blocks = fields.of_superblock(12);
    for group in 1..fields.of_superblock(44) {
        let (base, turn) = (group * per_group, 8 * group);
        let bytes = read_vec(&disk, (base + own) * 512, ((last - own) * 512) as usize).unwrap();
        disk.write_at((base + own + turn) * 512, &bytes).unwrap();
        let at = (base + blocks + turn) * 512;
        let map = at + fields.short(at + 96);
        for fragment in own..last + turn {
            let (place, bit) = (map + fragment / 8, 1 << (fragment % 8));
            let bits = fields.number(place, 1) as u8;
            let is_free = fragment < own + turn;
            disk.write_at(place, &[if is_free { bits | bit } else { bits & !bit }]).unwrap();
        }
    }
    disk.write_at(field(24), &8u32.to_le_bytes()).unwrap();
    disk.write_at(field(28), &(!3u32).to_le_bytes()).unwrap();
    let turned = reading(&disk);
    assert_eq!(turned.file_system, before.file_system);
    let moved = ByteRange::new((per_group + own + 8) * 512, (per_group + last + 8) * 512);
    assert!(turned.used.unwrap().contains(moved) && !before.used.unwrap().contains(moved));
}

#[test]
fn the_form_of_hp_ux_is_captured_whole() {
    let disk = groups().memory();
    disk.write_at(SUPERBLOCK + 1372, &0x0009_5014u32.to_le_bytes()).unwrap();
    let found = reading(&disk);
    assert_eq!(
        (found.file_system.state, found.used.unwrap().total_bytes()),
        (State::Clean, disk.size_bytes())
    );
    assert!(found.file_system.findings[0].contains("HP-UX"));
}

#[test]
fn damage_is_survived_and_a_map_that_counts_otherwise_is_not_believed() {
    let disk = groups().memory();
    let before = reading(&disk).used.unwrap().total_bytes();
    // Bits may change without their number: only a walk through all files tells. Four places of 8 KiB are used in any case.
    aged::survives_damage(&disk, |_| {}, |used| used.total_bytes().abs_diff(before) <= 32 << 10);
}
