//! The ext reader says of every form of ext2, ext3 and ext4 exactly what e2fsprogs says, and never calls a
//! file system clean that is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs
)]

use remint::blockio::ReadAt;
use remint::filesystem::{Reading, read};
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Runs a program; its standard output.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

struct FileDisk(File);

impl ReadAt for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

/// A file system in a sparse file.
struct Image {
    directory: TempDir,
    path: PathBuf,
}

impl Image {
    fn blank(size_bytes: u64) -> Self {
        let directory = tempfile::Builder::new().prefix("remint-ext").tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("image");
        File::create(&path).unwrap().set_len(size_bytes).unwrap();
        Self { directory, path }
    }

    /// Made by mke2fs with options separated by blanks; `filled` puts files in and takes some out again.
    fn new(size_bytes: u64, options: &str, filled: bool) -> Self {
        let image = Self::blank(size_bytes);
        let tree = image.directory.path().join("tree");
        let mut arguments: Vec<&str> = vec!["-q", "-F", "-E", "nodiscard"];
        arguments.extend(options.split_whitespace());
        if filled {
            fill(&tree, size_bytes.min(64 << 20) / 4);
            arguments.extend(["-d", tree.to_str().unwrap()]);
        }
        arguments.push(image.name());
        run("mke2fs", &arguments);
        // debugfs waits eleven seconds before it believes that nobody else holds the file system.
        if filled && !options.contains("mmp") {
            let removals: String = (0..20).step_by(2).map(|n| format!("rm /d{}/f{n}\n", n % 3)).collect();
            image.debugfs(&removals);
        }
        image
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn debugfs(&self, commands: &str) {
        let script = self.directory.path().join("script");
        std::fs::write(&script, commands).unwrap();
        run("debugfs", &["-w", "-f", script.to_str().unwrap(), self.name()]);
    }

    fn disk(&self) -> FileDisk {
        FileDisk(File::open(&self.path).unwrap())
    }

    fn read(&self) -> Reading {
        read(&self.disk()).unwrap().unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    fn flip(&self, byte: u64, mask: u8) {
        let file = File::options().read(true).write(true).open(&self.path).unwrap();
        let mut old = [0];
        file.read_exact_at(&mut old, byte).unwrap();
        file.write_all_at(&[old[0] ^ mask], byte).unwrap();
    }

    /// The used map as dumpe2fs knows it: everything but the free blocks that it lists.
    fn dumped(&self) -> Dump {
        Dump::parse(&run("dumpe2fs", &[self.name()]))
    }
}

fn fill(tree: &Path, total_bytes: u64) {
    for n in 0..20u64 {
        let directory = tree.join(format!("d{}", n % 3));
        std::fs::create_dir_all(&directory).unwrap();
        let length = usize::try_from(total_bytes / 20 * (n % 7 + 1) / 7 + n * 700).unwrap();
        std::fs::write(directory.join(format!("f{n}")), vec![n as u8 + 1; length]).unwrap();
    }
}

struct Dump {
    used: RangeSet,
    block_bytes: u64,
    size_bytes: u64,
    /// First blocks of the block bitmaps.
    bitmaps: Vec<u64>,
}

impl Dump {
    fn parse(text: &str) -> Self {
        let field = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.trim_start_matches(name).trim().parse().unwrap()
        };
        let block_bytes = field("Block size:");
        let size_bytes = field("Block count:") * block_bytes;
        let mut used = RangeSet::of(ByteRange::new(0, size_bytes));
        let free = text.lines().filter_map(|line| line.strip_prefix("  Free blocks: "));
        let unit_bytes = if text.contains("\nCluster size:") { field("Cluster size:") } else { block_bytes };
        for part in free.flat_map(|line| line.split(", ")).filter(|part| !part.trim().is_empty()) {
            let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
            let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
            used.remove(ByteRange::new(first * block_bytes, last * block_bytes + unit_bytes));
        }
        let bitmaps = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Block bitmap at "))
            .map(|rest| rest.split([' ', ',']).next().unwrap().parse().unwrap())
            .collect();
        Self { used, block_bytes, size_bytes, bitmaps }
    }
}

/// Compares everything that another program knows too.
fn assert_as_e2fsprogs_says(image: &Image, what: &str) -> Reading {
    let reading = image.read();
    let file_system = &reading.file_system;
    let dump = image.dumped();
    assert_eq!((file_system.state, &file_system.findings), (State::Clean, &vec![]), "{what}");
    let used = reading.used.as_ref().unwrap();
    let window = ByteRange::new(0, dump.size_bytes);
    let missing = used.gaps(window).iter().find(|gap| dump.used.within(*gap).next().is_some());
    assert_eq!(missing, None, "{what}: used by dumpe2fs but not by us");
    assert_eq!(used, &dump.used, "{what}: used by us but not by dumpe2fs");
    assert_eq!(file_system.used_bytes, Some(used.total_bytes()));
    assert_eq!(file_system.block_size_bytes, dump.block_bytes);
    assert_eq!(file_system.size_bytes, dump.size_bytes);
    let blkid = |tag: &str| {
        let text = run("blkid", &["-p", "-o", "value", "-s", tag, image.name()]);
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    assert_eq!(Some(file_system.kind.name().to_owned()), blkid("TYPE"), "{what}");
    assert_eq!(file_system.uuid, blkid("UUID"), "{what}");
    assert_eq!(file_system.label, blkid("LABEL"), "{what}");
    reading
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every form is read as dumpe2fs reads it, empty and with files of which some are gone again.
fn assert_forms(forms: &[(u64, &str)]) {
    for (size_bytes, options) in forms {
        for filled in [false, true] {
            let image = Image::new(*size_bytes, options, filled);
            assert_as_e2fsprogs_says(&image, &format!("mke2fs {options}, filled: {filled}"));
        }
    }
}

#[test]
fn ext2_and_ext3_maps_are_those_of_dumpe2fs() {
    assert_forms(&[
        (20 * MIB, "-t ext2 -b 1024 -L small"),
        (20 * MIB + 1024 * 333, "-t ext2 -b 1024 -r 0"),
        (70 * MIB, "-t ext2 -b 2048"),
        (300 * MIB, "-t ext2 -b 4096 -O ^sparse_super,^resize_inode"),
        (70 * MIB, "-t ext2 -b 1024 -g 1024 -O ^sparse_super,^resize_inode"),
        (100 * MIB, "-t ext3 -b 1024"),
        (300 * MIB + 12345, "-t ext3 -b 4096 -I 128"),
        (70 * MIB, "-t ext3 -b 1024 -O meta_bg,^resize_inode"),
    ]);
}

#[test]
fn ext4_block_sizes_and_cluster_sizes_are_read() {
    assert_forms(&[
        (80 * MIB + 5555, "-t ext4 -b 1024"),
        (80 * MIB, "-t ext4 -b 2048"),
        (600 * MIB, "-t ext4 -b 4096"),
        (GIB, "-t ext4 -b 8192"),
        (9 * GIB, "-t ext4 -b 65536 -N 4000"),
        (300 * MIB, "-t ext4 -b 1024 -O bigalloc -C 16384"),
        (2 * GIB + 4096 * 7, "-t ext4 -b 4096 -O bigalloc -C 65536"),
        (9 * GIB, "-t ext4 -b 4096 -O bigalloc -C 65536 -N 10000"),
        (2 * GIB, "-t ext4 -b 4096 -O bigalloc,^metadata_csum,uninit_bg,^64bit -C 32768"),
    ]);
}

#[test]
fn ext4_layouts_are_read() {
    assert_forms(&[
        (400 * MIB, "-t ext4 -b 1024 -O meta_bg,^resize_inode"),
        (400 * MIB, "-t ext4 -b 1024 -O meta_bg,^resize_inode,^flex_bg,^64bit"),
        (600 * MIB, "-t ext4 -b 4096 -O sparse_super2,^resize_inode"),
        (100 * MIB, "-t ext4 -b 1024 -O sparse_super2 -E num_backup_sb=1"),
        (100 * MIB, "-t ext4 -b 1024 -O sparse_super2 -E num_backup_sb=0"),
        (100 * MIB, "-t ext4 -b 1024 -O ^sparse_super,^resize_inode"),
        (300 * MIB, "-t ext4 -b 1024 -O ^flex_bg"),
        (300 * MIB, "-t ext4 -b 1024 -O ^64bit"),
        (300 * MIB, "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg"),
        (300 * MIB, "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,^64bit"),
        (300 * MIB, "-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg,^64bit,^flex_bg"),
        (300 * MIB, "-t ext4 -b 1024 -G 4 -g 4096"),
        (300 * MIB, "-t ext4 -b 1024 -E packed_meta_blocks=1"),
        (300 * MIB, "-t ext4 -b 4096 -E resize=4000000"),
        (300 * MIB, "-t ext4 -b 4096 -O ^resize_inode -I 1024 -N 50000"),
    ]);
}

#[test]
fn ext4_features_do_not_change_the_map() {
    assert_forms(&[
        (40 * MIB, "-t ext4 -b 4096 -O ^has_journal"),
        (40 * MIB, "-t ext4 -b 4096 -O mmp"),
        (40 * MIB, "-t ext4 -b 4096 -O quota,project,inline_data,encrypt,verity,ea_inode,large_dir"),
        (40 * MIB, "-t ext4 -b 4096 -O casefold,stable_inodes,metadata_csum_seed,orphan_file"),
        (40 * MIB, "-t ext4 -b 4096 -O fast_commit"),
        (40 * MIB, "-t ext4 -b 1024 -J size=8 -O ^extents,^64bit"),
    ]);
}

#[test]
fn a_file_system_may_be_smaller_than_its_volume_but_not_larger() {
    let image = Image::new(64 * MIB, "-t ext4 -b 4096", true);
    File::options().write(true).open(&image.path).unwrap().set_len(90 * MIB + 512).unwrap();
    let reading = assert_as_e2fsprogs_says(&image, "smaller");
    assert_eq!(reading.file_system.size_bytes, 64 * MIB);

    File::options().write(true).open(&image.path).unwrap().set_len(64 * MIB - 512).unwrap();
    let reading = image.read();
    assert_eq!((reading.file_system.state, &reading.used), (State::Damaged, &None));
    assert!(reading.file_system.findings[0].contains("more than the"), "{:?}", reading.file_system.findings);
    assert!(reading.file_system.uuid.is_some());
}

#[test]
fn a_file_system_grown_by_resize2fs_is_read() {
    for (options, size) in [("-t ext4 -b 1024", "500M"), ("-t ext3 -b 1024", "200M")] {
        let image = Image::new(40 * MIB, options, true);
        File::options().write(true).open(&image.path).unwrap().set_len(GIB).unwrap();
        run("resize2fs", &[image.name(), size]);
        assert_as_e2fsprogs_says(&image, options);
        if options.contains("ext4") {
            run("e2fsck", &["-fy", image.name()]);
            run("resize2fs", &["-s", image.name()]);
            assert_as_e2fsprogs_says(&image, "32 bit again");
        }
    }
}

#[test]
fn sixteen_tebibytes_take_seconds() {
    let options = "-t ext4 -b 4096 -N 1000000 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1";
    let image = Image::new(16 << 40, options, false);
    let started = Instant::now();
    let reading = image.read();
    let taken = started.elapsed();
    assert!(taken < Duration::from_secs(10), "{taken:?}");
    println!("{taken:?} for {} extents", reading.used.as_ref().unwrap().ranges().len());
    assert_eq!(reading.file_system.state, State::Clean);
    // dumpe2fs needs half a minute for the groups; mke2fs has just written the true total.
    let header = run("dumpe2fs", &["-h", image.name()]);
    let free = header.lines().find_map(|line| line.strip_prefix("Free blocks:")).unwrap();
    let free_bytes = free.trim().parse::<u64>().unwrap() * 4096;
    assert_eq!(reading.file_system.used_bytes, Some((16 << 40) - free_bytes));

    assert_as_e2fsprogs_says(&Image::new(1 << 40, options, true), "a tebibyte");
}

/// A mounted image; unmounted when dropped.
struct Mount<'a> {
    point: PathBuf,
    image: &'a Image,
}

impl<'a> Mount<'a> {
    fn new(image: &'a Image) -> Self {
        let point = image.directory.path().join("mount");
        std::fs::create_dir_all(&point).unwrap();
        run("mount", &["-o", "loop", image.name(), point.to_str().unwrap()]);
        Self { point, image }
    }

    /// The image as it is now, as a power cut would leave it.
    fn crash_copy(&self) -> Image {
        let copy = Image::blank(0);
        run("sync", &[]);
        run("cp", &["--sparse=always", self.image.name(), copy.name()]);
        copy
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.point).status();
    }
}

#[test]
fn a_journal_that_waits_for_its_replay_is_dirty() {
    for options in ["-t ext4 -b 4096", "-t ext3 -b 1024", "-t ext4 -b 4096 -O ^metadata_csum"] {
        let image = Image::new(64 * MIB, options, false);
        let copy = {
            let mount = Mount::new(&image);
            fill(&mount.point.join("tree"), 20 * MIB);
            std::fs::remove_dir_all(mount.point.join("tree/d1")).unwrap();
            File::open(mount.point.join("tree/d0/f0")).unwrap().sync_all().unwrap();
            mount.crash_copy()
        };
        let reading = copy.read();
        assert_eq!(reading.file_system.state, State::Dirty, "{options}: {:?}", reading.file_system);
        assert!(reading.file_system.findings[0].contains("replayed"), "{:?}", reading.file_system.findings);

        // The same journal, but a superblock that says nothing about it.
        copy.debugfs("feature -needs_recovery\n");
        let reading = copy.read();
        assert_eq!(reading.file_system.state, State::Dirty, "{options}");
        assert!(
            reading.file_system.findings[0].contains("transactions"),
            "{:?}",
            reading.file_system.findings
        );

        // Unmounted, it is clean, and what the kernel allocated is found.
        assert_as_e2fsprogs_says(&image, options);
    }
}

#[test]
fn descriptors_may_be_of_both_forms() {
    // What the kernel makes of a file system that grows past the blocks reserved for descriptors.
    let image = Image::new(100 * MIB, "-t ext4 -b 1024 -O ^resize_inode", true);
    image.debugfs("feature +meta_bg\nssv first_meta_bg 1\n");
    File::options().write(true).open(&image.path).unwrap().set_len(900 * MIB).unwrap();
    run("e2fsck", &["-fy", image.name()]);
    run("resize2fs", &[image.name()]);
    assert!(run("dumpe2fs", &["-h", image.name()]).contains("First meta block group:   1"));
    assert_as_e2fsprogs_says(&image, "descriptors of both forms");
}

#[test]
fn ext2_without_a_clean_unmount_is_dirty() {
    let image = Image::new(16 * MIB, "-t ext2 -b 1024", true);
    let copy = Mount::new(&image).crash_copy();
    let reading = copy.read();
    assert_eq!(reading.file_system.state, State::Dirty);
    assert!(reading.file_system.findings[0].contains("not unmounted"), "{:?}", reading.file_system.findings);
    assert_as_e2fsprogs_says(&image, "unmounted again");
}

#[test]
fn flags_of_the_superblock_become_states() {
    let cases = [
        ("ssv state 0\n", State::Dirty, "unmounted"),
        ("ssv state 2\n", State::Damaged, "e2fsck"),
        ("ssv state 3\n", State::Damaged, "e2fsck"),
        ("ssv mmp_block 8\nfeature +mmp\n", State::Dirty, "multi-mount"),
        ("ssv feature_incompat 0x400002c2\n", State::Unsupported, "0x40000000"),
        ("ssv feature_ro_compat 0x2000046b\n", State::Unsupported, "0x20000000"),
        ("ssv journal_inum 0\nssv journal_dev 0x801\n", State::Unsupported, "another device"),
        ("ssv last_orphan 12\n", State::Clean, "deleted while open"),
        ("ssv feature_ro_compat 0x1046b\n", State::Clean, "deleted while open"),
    ];
    for (commands, state, words) in cases {
        let image = Image::new(16 * MIB, "-t ext4 -b 4096", true);
        let whole = image.read();
        image.debugfs(commands);
        let reading = image.read();
        let findings = &reading.file_system.findings;
        assert_eq!(reading.file_system.state, state, "{commands}: {findings:?}");
        assert!(findings.iter().any(|finding| finding.contains(words)), "{commands}: {findings:?}");
        assert_eq!(reading.file_system.uuid, whole.file_system.uuid);
        match state {
            State::Clean => assert_eq!(reading.used, whole.used),
            State::Dirty => {}
            _ => assert_eq!(reading.used, None),
        }
    }
    let image = Image::new(16 * MIB, "-t ext4 -b 4096", true);
    run("tune2fs", &["-c", "1", "-C", "500", "-i", "1d", "-T", "20000101", image.name()]);
    assert_as_e2fsprogs_says(&image, "an overdue check is no damage");
}

#[test]
fn an_external_journal_is_recognised() {
    let image = Image::blank(16 * MIB);
    run("mke2fs", &["-q", "-F", "-b", "4096", "-L", "log", "-O", "journal_dev", image.name()]);
    let reading = image.read();
    assert_eq!(reading.file_system.kind, FileSystemKind::ExtJournal);
    assert_eq!(reading.file_system.label.as_deref(), Some("log"));
    assert_eq!(reading.used, None);
}

#[test]
fn a_bitmap_that_lies_is_damage() {
    for (options, words) in [
        ("-t ext4 -b 1024", "checksum"),
        ("-t ext4 -b 1024 -O ^64bit", "checksum"),
        ("-t ext2 -b 1024", "free blocks"),
        ("-t ext4 -b 1024 -O ^metadata_csum,uninit_bg", "free blocks"),
    ] {
        let image = Image::new(32 * MIB, options, true);
        let dump = image.dumped();
        image.flip(dump.bitmaps[0] * dump.block_bytes + 600, 0x10);
        let reading = image.read();
        let findings = &reading.file_system.findings;
        assert_eq!((reading.file_system.state, reading.used), (State::Damaged, None), "{options}");
        assert!(findings[0].contains(words) && findings[0].contains("group 0"), "{options}: {findings:?}");
    }
    // One bit of the group's own bitmap cleared and a free one set: the count agrees, the map does not.
    let image = Image::new(32 * MIB, "-t ext2 -b 1024 -O ^resize_inode", false);
    let dump = image.dumped();
    let bitmap = dump.bitmaps[2] * dump.block_bytes;
    image.flip(bitmap, 0x01);
    image.flip(bitmap + 900, 0x80);
    let reading = image.read();
    assert_eq!((reading.file_system.state, reading.used), (State::Damaged, None));
    let findings = &reading.file_system.findings;
    assert!(findings[0].contains("holds metadata"), "{findings:?}");
}

/// resize2fs reaches the smallest size that is promised, and its own estimate is not above it.
fn assert_shrinks(image: &Image, what: &str) {
    let before = assert_as_e2fsprogs_says(image, what).file_system;
    let minimum = before.minimum_bytes;
    assert!(minimum < before.size_bytes * 3 / 4, "{what}: {minimum} of {}", before.size_bytes);
    let estimate = run("resize2fs", &["-P", image.name()]);
    let blocks: u64 = estimate.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let estimated = blocks * before.block_size_bytes;
    assert!(minimum >= estimated, "{what}: {minimum} is below resize2fs's own {estimated}");
    run("e2fsck", &["-fy", image.name()]);
    run("resize2fs", &[image.name(), &format!("{}K", minimum / 1024)]);
    run("e2fsck", &["-fn", image.name()]);
    let shrunk = assert_as_e2fsprogs_says(image, what);
    assert!(shrunk.file_system.size_bytes <= minimum);
}

#[test]
fn the_smallest_size_is_never_too_small() {
    for (size_bytes, options) in [
        (900 * MIB, "-t ext4 -b 4096"),
        (400 * MIB, "-t ext4 -b 1024"),
        (400 * MIB, "-t ext4 -b 1024 -O ^flex_bg,^metadata_csum"),
        (400 * MIB, "-t ext4 -b 1024 -O meta_bg,^resize_inode"),
        (700 * MIB, "-t ext3 -b 4096"),
        (200 * MIB, "-t ext2 -b 1024 -I 128"),
        (400 * MIB, "-t ext4 -b 1024 -O sparse_super2 -N 9000"),
        (4 * GIB, "-t ext4 -b 4096 -G 64"),
    ] {
        assert_shrinks(&Image::new(size_bytes, options, true), options);
    }
}

#[test]
fn the_smallest_size_holds_data_that_has_to_move() {
    for options in ["-t ext4 -b 4096", "-t ext4 -b 1024", "-t ext3 -b 1024"] {
        let image = Image::new(500 * MIB, options, false);
        {
            let mount = Mount::new(&image);
            fill(&mount.point.join("first"), 300 * MIB);
            fill(&mount.point.join("second"), 250 * MIB);
            std::fs::remove_dir_all(mount.point.join("first")).unwrap();
        }
        assert_shrinks(&image, options);
    }
}

/// A small generator, so that a failure can be repeated.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn no_flipped_byte_makes_the_reader_panic_or_believe_a_wrong_map() {
    for (options, is_guarded) in [
        ("-t ext4 -b 1024 -J size=1", true),
        ("-t ext4 -b 1024 -O meta_bg,^resize_inode,^64bit,mmp -J size=1 -g 1024", true),
        ("-t ext4 -b 1024 -O bigalloc,^resize_inode -C 4096 -J size=1", true),
        ("-t ext3 -b 1024 -J size=1", false),
        ("-t ext2 -b 1024", false),
    ] {
        let image = Image::new(10 * MIB, options, true);
        let whole = image.read();
        let mut bytes = image.bytes();
        let dump = image.dumped();
        // Where the superblock, the descriptors and the bitmaps are; the rest of the disk now and then.
        let mut places: Vec<u64> = (1024..4096).collect();
        let bitmaps = dump.bitmaps.iter().map(|block| block * dump.block_bytes);
        places.extend(bitmaps.flat_map(|at| at..at + 1024));
        let journal =
            bytes.windows(4).position(|magic| magic == [0xC0, 0x3B, 0x39, 0x98]).unwrap_or(0) as u64;
        let mut seed = 0x9E37_79B9_7F4A_7C15;
        for step in 0..1500 {
            let place = match step % 8 {
                0 => next(&mut seed) % (bytes.len() as u64),
                1 => journal + next(&mut seed) % 0x100,
                2 | 3 => 1024 + next(&mut seed) % 0x180,
                _ => places[(next(&mut seed) % places.len() as u64) as usize],
            } as usize;
            let mask = 1u8 << (next(&mut seed) % 8) | (next(&mut seed) & next(&mut seed)) as u8;
            bytes[place] ^= mask;
            let reading = read(&bytes.as_slice()).unwrap();
            if let Some(reading) = reading.filter(|_| is_guarded)
                && reading.file_system.state == State::Clean
            {
                assert_eq!(reading.used, whole.used, "{options}: byte {place} flipped by {mask:#x}");
            }
            bytes[place] ^= mask;
        }
    }
}
