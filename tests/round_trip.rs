//! A disk with real file systems, filled with real and deleted files, is captured and deployed onto a disk
//! full of noise: every file comes back, every checker is content, and the source is not changed.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::as_conversions)]

mod lab;

use lab::{GIB, Kind, MIB, Place, text};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const fn kind(name: &'static str, family: &'static str, make: &'static [&'static str]) -> Kind {
    Kind { name, family, make }
}

const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const BIOS_BOOT: &str = "21686148-6449-6E6F-744E-656564454649";
const MSR: &str = "E3C9E316-0B5C-4DB8-817D-F92DF00215AE";
const WINDOWS: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const SWAP: &str = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F";

/// Partition number, file system, size of the file system in MiB.
type Filled = (u32, Kind, u64);

/// A disk under test: its file, what is on it, and the folder everything lives in.
struct Source {
    folder: tempfile::TempDir,
    disk: PathBuf,
    sector: u64,
    filled: Vec<Filled>,
}

impl Source {
    fn new(size_bytes: u64, sector: u64, script: &str, filled: Vec<Filled>) -> Self {
        let folder = lab::folder();
        let disk = folder.path().join("source.img");
        let places = lab::partitioned_disk(&disk, size_bytes, sector, script);
        let (many, few) = (folder.path().join("many"), folder.path().join("few"));
        lab::real_files(&many, 12 * MIB);
        fs::create_dir_all(few.join("deep")).unwrap();
        fs::write(few.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
        fs::write(few.join("deep/ünïcode.txt"), "content").unwrap();
        for (number, kind, size) in &filled {
            let part = folder.path().join("part.img");
            let place = place_of(&places, *number);
            assert!(size * MIB <= place.length, "{}", kind.name);
            kind.build(&part, size * MIB, if *size < 40 { &few } else { &many });
            lab::put(&disk, place.start, &part);
            fs::remove_file(part).unwrap();
        }
        Self { folder, disk, sector, filled }
    }

    fn places(&self) -> Vec<Place> {
        lab::partitions(&self.disk, self.sector)
    }

    fn capture(&self, arguments: &[&str]) -> String {
        let (store, sector) = (self.store(), self.sector.to_string());
        let mut all =
            vec!["capture", "lab", "--to", &store, "--disk", text(&self.disk), "--sector-size", &sector];
        all.extend(arguments);
        lab::remint_ends(0, &all)
    }

    fn store(&self) -> String {
        text(&self.folder.path().join("store")).to_owned()
    }

    /// Deploys to a new noisy disk.
    fn deploy(&self, size_bytes: u64, arguments: &[&str]) -> PathBuf {
        let target = self.folder.path().join("target.img");
        lab::noisy_disk(&target, size_bytes);
        let (store, sector) = (self.store(), self.sector.to_string());
        let mut all = vec![
            "deploy",
            "lab",
            "--from",
            &store,
            "--disk",
            text(&target),
            "--yes",
            "--sector-size",
            &sector,
        ];
        all.extend(arguments);
        lab::remint_ends(0, &all);
        target
    }

    /// Checks every file system on `target` and compares every file with the source.
    fn compare(&self, target: &Path) {
        let (here, there) = (self.places(), lab::partitions(target, self.sector));
        assert_eq!(here.len(), there.len());
        for (number, kind, _) in &self.filled {
            let (here, there) = (place_of(&here, *number), place_of(&there, *number));
            kind.check(target, there.start, there.length);
            let expected = kind.files(&self.disk, here.start, here.length);
            assert!(!expected.is_empty(), "{} is empty", kind.name);
            assert_eq!(kind.files(target, there.start, there.length), expected, "{}", kind.name);
        }
    }
}

fn place_of(places: &[Place], number: u32) -> Place {
    *places.iter().find(|place| place.number == number).unwrap()
}

fn bytes(disk: &Path, start: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    fs::File::open(disk).unwrap().read_exact_at(&mut bytes, start).unwrap();
    bytes
}

fn write(disk: &Path, start: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(disk).unwrap().write_all_at(bytes, start).unwrap();
}

fn many_kinds() -> Source {
    let script = format!(
        "label: gpt
        size=64MiB, type={ESP}, name=\"EFI, system partition\"
        size=1MiB, type={BIOS_BOOT}
        size=16MiB, type={MSR}, attrs=\"RequiredPartition,GUID:63\"
        size=150MiB, type={LINUX}, name=root
        size=80MiB, type={LINUX}
        size=150MiB, type={LINUX}
        size=80MiB, type={LINUX}
        size=80MiB, type={LINUX}
        size=120MiB, type={WINDOWS}
        size=120MiB, type={WINDOWS}
        size=320MiB, type={LINUX}
        size=330MiB, type={LINUX}
        size=32MiB, type={WINDOWS}
        size=4MiB, type={WINDOWS}
        size=64MiB, type={SWAP}
        size=90MiB, type={LINUX}
        size=8MiB, type={LINUX}
        size=200MiB, type={LINUX}"
    );
    let source = Source::new(
        2000 * MIB,
        512,
        &script,
        vec![
            (1, kind("FAT32", "fat", &["mkfs.fat", "-F", "32", "-s", "1", "-n", "ESP"]), 64),
            (4, kind("ext4", "ext4", &["mkfs.ext4", "-q", "-F", "-L", "root"]), 150),
            (
                5,
                kind(
                    "ext4 1 KiB, meta_bg",
                    "ext4",
                    &["mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "meta_bg,^resize_inode"],
                ),
                80,
            ),
            (
                6,
                kind("ext4 bigalloc", "ext4", &["mkfs.ext4", "-q", "-F", "-O", "bigalloc", "-C", "65536"]),
                150,
            ),
            (7, kind("ext3", "ext4", &["mkfs.ext3", "-q", "-F"]), 80),
            (8, kind("ext2", "ext4", &["mkfs.ext2", "-q", "-F"]), 80),
            (9, kind("NTFS", "ntfs", &["mkntfs", "-q", "-Q", "-F", "-L", "Windows"]), 120),
            (10, kind("NTFS 64 KiB", "ntfs", &["mkntfs", "-q", "-Q", "-F", "-c", "65536"]), 120),
            (11, kind("XFS", "xfs", &["mkfs.xfs", "-q", "-f", "-d", "agcount=4"]), 320),
            (
                12,
                kind(
                    "XFS 1 KiB, no reflink",
                    "xfs",
                    &["mkfs.xfs", "-q", "-f", "-b", "size=1024", "-m", "reflink=0,rmapbt=0"],
                ),
                330,
            ),
            (18, kind("btrfs", "btrfs", &["mkfs.btrfs", "-q", "-f"]), 200),
            (13, kind("FAT16", "fat", &["mkfs.fat", "-F", "16"]), 32),
            (14, kind("FAT12", "fat", &["mkfs.fat", "-F", "12"]), 4),
            (16, kind("ext4, smaller than its partition", "ext4", &["mkfs.ext4", "-q", "-F"]), 60),
        ],
    );
    let places = source.places();
    let mut noise = lab::Noise::new(7);
    write(&source.disk, place_of(&places, 2).start, &noise.bytes(MIB as usize));
    write(&source.disk, place_of(&places, 17).start + MIB, &noise.bytes(3 * MIB as usize));
    let swap = lab::Loop::new(&source.disk, place_of(&places, 15).start, 64 * MIB, false);
    lab::run("mkswap", &["-L", "swap space", "-U", "c0ffee00-1234-4321-8765-0123456789ab", &swap.0]);
    source
}

#[test]
fn every_file_system_comes_back_on_a_gpt_disk() {
    let source = many_kinds();
    let before = lab::hash_of(&source.disk);
    let said = source.capture(&[]);
    assert!(said.contains("captured lab@"), "{said}");
    assert_eq!(lab::hash_of(&source.disk), before, "the source was changed");

    // The same size, byte for byte the same table.
    let target = source.deploy(2000 * MIB, &["--layout", "original"]);
    source.compare(&target);
    assert!(bytes(&target, 0, MIB) == bytes(&source.disk, 0, MIB), "primary table");
    let end = 2000 * MIB - 33 * 512;
    assert!(bytes(&target, end, 33 * 512) == bytes(&source.disk, end, 33 * 512), "backup table");

    // A larger disk, whose sector count is odd.
    let target = source.deploy(2300 * MIB + 7 * 512, &["--free-space", "keep"]);
    source.compare(&target);
    lab::run("sgdisk", &["--verify", text(&target)]);
    let (here, there) = (source.places(), lab::partitions(&target, 512));
    for number in [2, 17] {
        let (here, there) = (place_of(&here, number), place_of(&there, number));
        assert_eq!(here.length, there.length, "fixed partitions keep their size");
        assert!(
            bytes(&source.disk, here.start, here.length) == bytes(&target, there.start, there.length),
            "raw {number}"
        );
    }
    let swap = place_of(&there, 15);
    let seen = lab::Loop::new(&target, swap.start, swap.length, true);
    let seen = lab::run("blkid", &["-p", "-o", "export", &seen.0]);
    assert!(seen.contains("c0ffee00-1234-4321-8765-0123456789ab") && seen.contains("swap\\ space"), "{seen}");
    let names = lab::run("sgdisk", &["--info=1", text(&target)]);
    assert!(names.contains("EFI, system"), "{names}");
    let attributes = |disk: &Path| {
        lab::run("sgdisk", &["--info=3", text(disk)])
            .lines()
            .filter(|line| line.contains("ttribute") || line.contains("GUID"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(attributes(&source.disk), attributes(&target));
}

#[test]
fn file_systems_grow_on_a_larger_disk() {
    let script = format!(
        "label: gpt
        size=64MiB, type={ESP}
        size=6GiB, type={LINUX}
        size=6GiB, type={WINDOWS}
        size=6GiB, type={LINUX}
        size=64MiB, type={SWAP}"
    );
    let source = Source::new(
        19 * GIB,
        512,
        &script,
        vec![
            (1, kind("FAT32", "fat", &["mkfs.fat", "-F", "32", "-s", "1"]), 64),
            (2, kind("ext4", "ext4", &["mkfs.ext4", "-q", "-F"]), 6144),
            (3, kind("NTFS", "ntfs", &["mkntfs", "-q", "-Q", "-F"]), 6144),
            (4, kind("XFS, 60 groups", "xfs", &["mkfs.xfs", "-q", "-f", "-d", "agcount=60"]), 6144),
        ],
    );
    let swap = lab::Loop::new(&source.disk, place_of(&source.places(), 5).start, 64 * MIB, false);
    lab::run("mkswap", &[&swap.0]);
    drop(swap);
    source.capture(&[]);
    let target = source.deploy(25 * GIB + 512, &[]);
    source.compare(&target);
    let there = lab::partitions(&target, 512);
    for number in 2..=4 {
        let length = place_of(&there, number).length;
        assert!(length > 7900 * MIB, "partition {number} has its share: {length}");
    }
    let ext = lab::Loop::new(&target, place_of(&there, 2).start, place_of(&there, 2).length, true);
    let blocks: u64 = field(&lab::run("dumpe2fs", &["-h", &ext.0]), "Block count:");
    assert!(blocks * 4096 + MIB > place_of(&there, 2).length, "ext4 fills its partition");
    let ntfs = lab::Loop::new(&target, place_of(&there, 3).start, place_of(&there, 3).length, false);
    let size: u64 = field(
        &lab::run("ntfsresize", &["--info", "--force", "--no-progress-bar", &ntfs.0]),
        "Current volume size:",
    );
    assert!(size + MIB > place_of(&there, 3).length, "NTFS fills its partition");
    let xfs = lab::Loop::new(&target, place_of(&there, 4).start, place_of(&there, 4).length, true);
    let blocks: u64 = field(
        &lab::run("xfs_db", &["-r", "-c", "sb 0", "-c", "p dblocks", &xfs.0]).replace(" =", ":"),
        "dblocks:",
    );
    assert!(blocks * 4096 + MIB > place_of(&there, 4).length, "XFS fills its partition");
    drop((ext, ntfs, xfs));

    // The same deploy, told to leave file systems as they are.
    let target = source.deploy(25 * GIB, &["--no-expand"]);
    source.compare(&target);
    let ext = lab::Loop::new(&target, place_of(&there, 2).start, place_of(&there, 2).length, true);
    assert_eq!(field(&lab::run("dumpe2fs", &["-h", &ext.0]), "Block count:"), 6 * GIB / 4096);
}

/// The number behind a name in the output of a tool.
fn field(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(name))
        .unwrap_or_else(|| panic!("{name}: {text}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn an_mbr_disk_with_logical_partitions_comes_back() {
    let script = "label: dos
        label-id: 0xcafebabe
        part1 : start=63, size=204800, type=7, bootable
        part2 : size=600MiB, type=f
        part5 : size=150MiB, type=83
        part6 : size=40MiB, type=6
        part7 : size=64MiB, type=82
        part3 : size=20MiB, type=12";
    let source = Source::new(
        800 * MIB,
        512,
        script,
        vec![
            (1, kind("NTFS", "ntfs", &["mkntfs", "-q", "-Q", "-F"]), 100),
            (5, kind("ext4", "ext4", &["mkfs.ext4", "-q", "-F"]), 140),
            (6, kind("FAT16", "fat", &["mkfs.fat", "-F", "16"]), 40),
        ],
    );
    // Boot code, and a boot loader that fills the gap behind it.
    write(&source.disk, 0, &lab::Noise::new(3).bytes(440));
    write(&source.disk, 512, &lab::Noise::new(4).bytes(62 * 512));
    let places = source.places();
    let swap = lab::Loop::new(&source.disk, place_of(&places, 7).start, place_of(&places, 7).length, false);
    lab::run("mkswap", &[&swap.0]);
    drop(swap);
    source.capture(&[]);
    for (size, layout) in [(800 * MIB, "original"), (1001 * MIB, "dynamic"), (900 * MIB, "original")] {
        let target = source.deploy(size, &["--layout", layout]);
        source.compare(&target);
        assert!(bytes(&target, 0, 446) == bytes(&source.disk, 0, 446), "boot code and signature, {layout}");
        assert!(bytes(&target, 512, 62 * 512) == bytes(&source.disk, 512, 62 * 512), "gap, {layout}");
        lab::run("sfdisk", &["--verify", text(&target)]);
        if size == 800 * MIB {
            for place in source.places() {
                assert!(
                    bytes(&target, place.start - 512, 512) == bytes(&source.disk, place.start - 512, 512)
                        || place.number < 5
                );
            }
        }
    }
}

#[test]
fn a_disk_with_4096_byte_sectors_comes_back() {
    let script = format!(
        "label: gpt
        size=300MiB, type={ESP}
        size=150MiB, type={LINUX}
        size=320MiB, type={LINUX}
        size=120MiB, type={WINDOWS}"
    );
    let source = Source::new(
        1000 * MIB,
        4096,
        &script,
        vec![
            (1, kind("FAT32", "fat", &["mkfs.fat", "-F", "32", "-S", "4096", "-s", "1"]), 300),
            (2, kind("ext4", "ext4", &["mkfs.ext4", "-q", "-F"]), 150),
            (3, kind("XFS", "xfs", &["mkfs.xfs", "-q", "-f", "-s", "size=4096"]), 320),
            (4, kind("NTFS", "ntfs", &["mkntfs", "-q", "-Q", "-F", "-s", "4096"]), 120),
        ],
    );
    source.capture(&["--compress", "fast"]);
    let target = source.deploy(1200 * MIB, &["--free-space", "zero"]);
    source.compare(&target);
    let end = lab::partitions(&target, 4096).iter().map(|place| place.start + place.length).max().unwrap();
    assert!(bytes(&target, end, 10 * MIB).iter().all(|byte| *byte == 0), "free space was to be zeroed");
}

#[test]
fn a_file_system_on_the_whole_disk_comes_back() {
    let folder = lab::folder();
    let disk = folder.path().join("source.img");
    let xfs = kind("XFS", "xfs", &["mkfs.xfs", "-q", "-f"]);
    let files = folder.path().join("files");
    lab::real_files(&files, 8 * MIB);
    xfs.build(&disk, 320 * MIB, &files);
    let store = text(&folder.path().join("store")).to_owned();
    lab::remint_ends(0, &["capture", "stick", "--to", &store, "--disk", text(&disk), "--compress", "none"]);
    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 500 * MIB);
    lab::remint_ends(0, &["deploy", "stick", "--from", &store, "--disk", text(&target), "--yes"]);
    xfs.check(&target, 0, 500 * MIB);
    assert_eq!(xfs.files(&target, 0, 500 * MIB), xfs.files(&disk, 0, 320 * MIB));
}

#[test]
fn an_xfs_of_hundreds_of_groups_comes_back() {
    let script = format!("label: gpt\nsize=4810MiB, type={LINUX}");
    let xfs = kind(
        "XFS, 300 groups",
        "xfs",
        &["mkfs.xfs", "--unsupported", "-q", "-f", "-d", "agcount=300", "-l", "size=10m"],
    );
    let source = Source::new(4820 * MIB, 512, &script, vec![(1, xfs, 4800)]);
    source.capture(&[]);
    source.compare(&source.deploy(5000 * MIB, &["--free-space", "keep"]));
}
