//! FAT: the used map is what the file system needs, no more and no less, and nothing else is taken for FAT.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs
)]

use remint::blockio::ReadAt;
use remint::filesystem::{self, Reading};
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that holds a volume.
struct FileDisk(File);

impl ReadAt for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{errors}");
    text
}

fn blkid(image: &str) -> BTreeMap<String, String> {
    run("blkid", &["-p", "-o", "export", image])
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace("\\ ", " ")))
        .collect()
}

fn read_file(image: &str) -> Option<Reading> {
    filesystem::read(&FileDisk(File::open(image).unwrap())).unwrap()
}

fn read_bytes(bytes: &[u8]) -> Option<Reading> {
    filesystem::read(&bytes).unwrap()
}

fn xorshift(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    (0..length.div_ceil(8)).flat_map(|_| xorshift(&mut seed).to_le_bytes()).take(length).collect()
}

struct Image {
    directory: tempfile::TempDir,
    path: String,
}

impl Image {
    fn new(size_bytes: u64, options: &[&str]) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("fat.img").to_str().unwrap().to_owned();
        File::create(&path).unwrap().set_len(size_bytes).unwrap();
        run("mkfs.fat", &[options, &[path.as_str()]].concat());
        Self { directory, path }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Files and directories of many sizes, then holes between them.
    fn fill(&self, largest: usize) -> PathBuf {
        let tree = self.place("tree");
        fs::create_dir_all(tree.join("dir/deep/deeper")).unwrap();
        for number in 0..24usize {
            let directory = ["", "dir", "dir/deep", "dir/deep/deeper"][number % 4];
            let length = largest * (number * 7 % 24) / 23;
            let name = format!("file with a long name {number}.bin");
            fs::write(tree.join(directory).join(name), noise(length, number as u64 + 1)).unwrap();
        }
        let sources: Vec<String> =
            fs::read_dir(&tree).unwrap().map(|e| e.unwrap().path().to_str().unwrap().to_owned()).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        run("mcopy", &[&["-i", self.path.as_str(), "-s"], sources.as_slice(), &["::"]].concat());
        for number in [1usize, 4, 10, 11, 15] {
            let directory = ["", "dir/", "dir/deep/", "dir/deep/deeper/"][number % 4];
            let name = format!("{directory}file with a long name {number}.bin");
            run("mdel", &["-i", &self.path, &format!("::/{name}")]);
            fs::remove_file(tree.join(name)).unwrap();
        }
        tree
    }

    /// The clusters of every file and directory, as mtools sees them.
    fn clusters_by_mtools(&self) -> BTreeSet<u64> {
        let mut names: Vec<String> = run("mdir", &["-i", &self.path, "-/", "-b", "-a", "::"])
            .lines()
            .map(|name| name.trim_end_matches('/').to_owned())
            .collect();
        names.push("::/".to_owned());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = run("mshowfat", &[&["-i", self.path.as_str()], names.as_slice()].concat());
        let mut clusters = BTreeSet::new();
        for extent in text.split('<').skip(1).map(|part| part.split('>').next().unwrap()) {
            let (from, to) = extent.split_once('-').unwrap_or((extent, extent));
            clusters.extend(from.parse::<u64>().unwrap()..=to.parse::<u64>().unwrap());
        }
        clusters.into_iter().filter(|cluster| *cluster >= 2).collect()
    }

    /// (bytes per cluster, byte of cluster 2, clusters, bytes in all, used clusters), as fsck.fat sees them.
    fn numbers_by_fsck(&self) -> [u64; 5] {
        let text = run("fsck.fat", &["-n", "-v", &self.path]);
        let number = |line_has: &str, word: usize| -> u64 {
            let line = text.lines().find(|line| line.contains(line_has)).unwrap();
            line.split_whitespace().nth(word).unwrap().parse().unwrap()
        };
        let sector = number("bytes per logical sector", 0);
        let used = text.lines().last().unwrap().split_whitespace().nth(3).unwrap().to_owned();
        let used = used.split('/').next().unwrap().parse().unwrap();
        [
            number("bytes per cluster", 0),
            number("Data area starts at byte", 5),
            number("data clusters", 0),
            number("sectors total", 0) * sector,
            used,
        ]
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }
}

/// Writes the used bytes over noise, as a restore does.
fn restore_over_noise(image: &str, used: &RangeSet, target: &Path) {
    let source = File::open(image).unwrap();
    let mut bytes = noise(source.metadata().unwrap().len() as usize, 99);
    for range in used.iter() {
        let range_bytes = &mut bytes[range.start() as usize..range.end() as usize];
        source.read_exact_at(range_bytes, range.start()).unwrap();
    }
    fs::write(target, bytes).unwrap();
}

fn assert_same_tree(left: &Path, right: &Path) {
    let status = Command::new("diff").arg("-r").arg(left).arg(right).status().unwrap();
    assert!(status.success(), "{} and {} differ", left.display(), right.display());
}

fn check(size_bytes: u64, options: &[&str], kind: FileSystemKind, largest: usize) {
    let image = Image::new(size_bytes, options);
    let tree = image.fill(largest);
    let reading = read_file(&image.path).unwrap();
    let file_system = &reading.file_system;
    let used = reading.used.as_ref().unwrap();
    assert_eq!((file_system.kind, file_system.state), (kind, State::Clean), "{:?}", file_system.findings);
    let known = blkid(&image.path);
    assert_eq!(file_system.uuid.as_ref(), known.get("UUID"));
    assert_eq!(file_system.label.as_ref(), known.get("LABEL"));
    assert_eq!(known["VERSION"], kind.name());

    let [cluster_bytes, data_start, clusters, total_bytes, used_clusters] = image.numbers_by_fsck();
    assert_eq!(file_system.block_size_bytes, cluster_bytes);
    assert_eq!((file_system.size_bytes, file_system.minimum_bytes), (total_bytes, total_bytes));
    let by_mtools = image.clusters_by_mtools();
    assert_eq!(by_mtools.len() as u64, used_clusters, "mtools and fsck.fat do not agree");
    let start = |cluster: u64| data_start + (cluster - 2) * cluster_bytes;
    let expected: RangeSet = by_mtools
        .iter()
        .map(|cluster| ByteRange::at(start(*cluster), cluster_bytes).unwrap())
        .chain([ByteRange::new(0, data_start), ByteRange::new(start(clusters + 2), total_bytes)])
        .collect();
    assert_eq!(used, &expected, "{options:?}");
    assert_eq!(file_system.used_bytes, Some(used.total_bytes()));

    let restored = image.place("restored.img");
    restore_over_noise(&image.path, used, &restored);
    let restored = restored.to_str().unwrap();
    run("fsck.fat", &["-n", restored]);
    let out = image.place("out");
    fs::create_dir(&out).unwrap();
    run("mcopy", &["-i", restored, "-s", "-n", "::/*", out.to_str().unwrap()]);
    assert_same_tree(&tree, &out);
}

const MIB: u64 = 1 << 20;

#[test]
fn the_map_of_fat12_is_what_mtools_and_fsck_see() {
    check(2 * MIB, &["-F", "12", "-n", "TWELVE"], FileSystemKind::Fat12, 40_000);
    check(1_474_560, &["-F", "12", "-s", "1", "-a"], FileSystemKind::Fat12, 30_000);
}

#[test]
fn the_map_of_fat16_is_what_mtools_and_fsck_see() {
    check(24 * MIB, &["-F", "16", "-s", "4", "-n", "six teen", "-r", "1024"], FileSystemKind::Fat16, 300_000);
    // A tail of three sectors behind the last cluster.
    check(24 * MIB + 3 * 512, &["-F", "16", "-s", "8", "-f", "1", "-a"], FileSystemKind::Fat16, 300_000);
}

#[test]
fn the_map_of_fat32_is_what_mtools_and_fsck_see() {
    check(40 * MIB, &["-F", "32", "-s", "1", "-n", "ESP"], FileSystemKind::Fat32, 400_000);
    check(320 * MIB, &["-F", "32", "-S", "4096", "-s", "1", "-n", "4KN"], FileSystemKind::Fat32, 400_000);
}

#[test]
fn an_efi_system_partition_with_few_clusters_is_fat32() {
    // mtools goes by the cluster count here; Windows, Linux, UEFI and fsck.fat do not.
    let image = Image::new(33 * MIB, &["-F", "32", "-s", "4", "-n", "EFI"]);
    let reading = read_file(&image.path).unwrap();
    let known = blkid(&image.path);
    assert_eq!((reading.file_system.kind, known["VERSION"].as_str()), (FileSystemKind::Fat32, "FAT32"));
    assert_eq!(reading.file_system.label.as_deref(), Some("EFI"));
    let [cluster_bytes, data_start, clusters, total_bytes, used] = image.numbers_by_fsck();
    assert!(clusters < 65525);
    let tail = total_bytes - data_start - clusters * cluster_bytes;
    assert_eq!(reading.used.unwrap().total_bytes(), data_start + used * cluster_bytes + tail);
}

/// The place of an entry of a table of 32-bit entries with 32 reserved sectors of 512 bytes.
fn entry32(cluster: usize) -> usize {
    32 * 512 + cluster * 4
}

#[test]
fn a_table_that_is_read_in_several_pieces_loses_nothing_between_them() {
    let image = Image::new(160 * MIB, &["-F", "32", "-s", "1"]);
    let file = fs::OpenOptions::new().write(true).open(&image.path).unwrap();
    let fat_bytes = {
        let mut field = [0; 4];
        File::open(&image.path).unwrap().read_exact_at(&mut field, 0x24).unwrap();
        u64::from(u32::from_le_bytes(field)) * 512
    };
    for cluster in 262_141usize..262_148 {
        for copy in 0..2 {
            // The upper four bits are reserved: a free cluster stays free whatever stands there.
            let value = if cluster == 262_145 { 0xF000_0000u32 } else { 0x0FFF_FFFF };
            file.write_all_at(&value.to_le_bytes(), entry32(cluster) as u64 + copy * fat_bytes).unwrap();
        }
    }
    let used = read_file(&image.path).unwrap().used.unwrap();
    let start = |cluster: u64| 32 * 512 + 2 * fat_bytes + (cluster - 2) * 512;
    let around: Vec<ByteRange> = used.within(ByteRange::new(start(262_000), start(263_000))).collect();
    let expected = [(262_141, 262_145), (262_146, 262_148)];
    assert_eq!(around, expected.map(|(from, to)| ByteRange::new(start(from), start(to))));
}

#[test]
fn bad_clusters_are_not_read() {
    for (options, size) in [
        (["-F", "12", "-s", "4"], 4 * MIB),
        (["-F", "16", "-s", "4"], 24 * MIB),
        (["-F", "32", "-s", "1"], 40 * MIB),
    ] {
        let list = tempfile::NamedTempFile::new().unwrap();
        // Blocks of 1 KiB.
        fs::write(list.path(), "3000\n3001\n").unwrap();
        let image = Image::new(size, &[options.as_slice(), &["-l", list.path().to_str().unwrap()]].concat());
        let reading = read_file(&image.path).unwrap();
        assert_eq!(reading.file_system.state, State::Clean);
        let bad = ByteRange::new(3000 * 1024, 3002 * 1024);
        assert_eq!(reading.used.unwrap().within(bad).count(), 0, "{options:?}");
    }
}

/// The state after bytes were changed, and the words of the findings.
fn state_with(bytes: &[u8], changes: &[(usize, u8)]) -> (State, String) {
    let mut changed = bytes.to_vec();
    for (at, value) in changes {
        changed[*at] = *value;
    }
    let file_system = read_bytes(&changed).unwrap().file_system;
    (file_system.state, file_system.findings.join("\n"))
}

#[test]
fn a_file_system_that_was_not_unmounted_is_dirty() {
    let fat32 = Image::new(40 * MIB, &["-F", "32", "-s", "1"]).bytes();
    let fat_bytes = u32::from_le_bytes(fat32[0x24..0x28].try_into().unwrap()) as usize * 512;
    let fat16 = Image::new(24 * MIB, &["-F", "16", "-s", "4", "-R", "1", "-a"]).bytes();
    let fat12 = Image::new(2 * MIB, &["-F", "12"]).bytes();
    for (bytes, changes, words) in [
        (&fat32, vec![(0x41, 1)], "boot sector says"),
        (&fat32, vec![(0x41, 2)], "errors of the disk"),
        (&fat32, vec![(entry32(1) + 3, 0x07)], "allocation table says"),
        (&fat32, vec![(entry32(1) + 3, 0x0B)], "errors of the disk"),
        (&fat32, vec![(0x41, 1), (entry32(1) + 3, 0x07)], "table say"),
        (&fat32, vec![(entry32(20), 0xFF)], "differ, first at cluster 20"),
        (&fat32, vec![(entry32(20) + fat_bytes, 0xFF)], "differ, first at cluster 20"),
        (&fat16, vec![(0x25, 1)], "boot sector says"),
        (&fat16, vec![(512 + 3, 0x7F)], "allocation table says"),
        (&fat16, vec![(512 + 3, 0xBF)], "errors of the disk"),
        (&fat12, vec![(0x25, 1)], "boot sector says"),
    ] {
        assert_eq!(state_with(bytes, &[]).0, State::Clean);
        let (state, findings) = state_with(bytes, &changes);
        assert_eq!(state, State::Dirty, "{changes:x?}");
        assert!(findings.contains(words) && findings.contains("--when-dirty raw"), "{findings}");
    }
}

#[test]
fn a_cluster_that_any_copy_of_the_table_uses_is_kept() {
    let bytes = Image::new(40 * MIB, &["-F", "32", "-s", "1"]).bytes();
    let fat_bytes = u32::from_le_bytes(bytes[0x24..0x28].try_into().unwrap()) as usize * 512;
    let cluster_20 = ByteRange::at((32 * 512 + 2 * fat_bytes + 18 * 512) as u64, 512).unwrap();
    for copy in 0..2 {
        let mut changed = bytes.clone();
        changed[entry32(20) + copy * fat_bytes] = 0xFF;
        let reading = read_bytes(&changed).unwrap();
        assert!(reading.used.unwrap().contains(cluster_20));
        // With mirroring off, the second table is the only one that counts.
        changed[0x28] = 0x81;
        let reading = read_bytes(&changed).unwrap();
        assert_eq!(reading.file_system.state, State::Clean);
        assert!(reading.used.unwrap().contains(cluster_20));
        changed[entry32(1) + fat_bytes + 3] = 0x07;
        assert_eq!(read_bytes(&changed).unwrap().file_system.state, State::Dirty);
    }
}

#[test]
fn what_lies_behind_the_file_system_is_free() {
    let mut bytes = Image::new(24 * MIB, &["-F", "16", "-s", "4"]).bytes();
    bytes.resize(64 << 20, 0xA5);
    let reading = read_bytes(&bytes).unwrap();
    assert_eq!(reading.file_system.size_bytes, 24 * MIB);
    assert!(reading.used.unwrap().end() <= 24 * MIB);
}

#[test]
fn a_file_system_larger_than_its_volume_is_damaged() {
    let mut bytes = Image::new(24 * MIB, &["-F", "16", "-s", "4"]).bytes();
    bytes.truncate(20 << 20);
    let reading = read_bytes(&bytes).unwrap();
    assert_eq!(reading.file_system.state, State::Damaged);
    assert_eq!(reading.used, None);
    assert!(reading.file_system.findings[0].contains("25165824"), "{:?}", reading.file_system.findings);
}

#[test]
fn the_label_of_the_root_directory_wins() {
    let image = Image::new(40 * MIB, &["-F", "32", "-s", "1", "-n", "OLD"]);
    let relabelled = image.bytes();
    let mut relabelled = relabelled;
    relabelled[0x47..0x52].copy_from_slice(b"BOOT SECTOR");
    assert_eq!(read_bytes(&relabelled).unwrap().file_system.label.as_deref(), Some("OLD"));
    let fat_bytes = u32::from_le_bytes(relabelled[0x24..0x28].try_into().unwrap()) as usize * 512;
    // A deleted entry is no label.
    relabelled[32 * 512 + 2 * fat_bytes] = 0xE5;
    assert_eq!(read_bytes(&relabelled).unwrap().file_system.label.as_deref(), Some("BOOT SECTOR"));
    relabelled[0x47..0x52].copy_from_slice(b"NO NAME    ");
    assert_eq!(read_bytes(&relabelled).unwrap().file_system.label, None);
    // Without the signature before them, the serial number and the label are bytes of boot code.
    relabelled[0x42] = 0;
    assert_eq!(read_bytes(&relabelled).unwrap().file_system.uuid, None);
}

fn is_fat(bytes: &[u8]) -> bool {
    read_bytes(bytes).is_some_and(|reading| {
        let kind = reading.file_system.kind;
        matches!(kind, FileSystemKind::Fat12 | FileSystemKind::Fat16 | FileSystemKind::Fat32)
    })
}

#[test]
fn other_file_systems_are_not_taken_for_fat() {
    for (program, options) in [
        ("mkfs.ntfs", vec!["-F", "-Q", "-q"]),
        ("mkfs.exfat", vec![]),
        ("mkfs.ext4", vec!["-q", "-F"]),
        ("mkfs.xfs", vec!["-q", "-f"]),
        ("mkfs.btrfs", vec!["-q", "-f"]),
    ] {
        let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        file.as_file().set_len(320 * MIB).unwrap();
        let path = file.path().to_str().unwrap();
        run(program, &[options.as_slice(), &[path]].concat());
        let mut head = vec![0; 8 << 20];
        file.as_file().read_exact_at(&mut head, 0).unwrap();
        assert!(!is_fat(&head), "{program}");
    }
}

#[test]
fn boot_code_is_not_taken_for_fat() {
    let mut seed = 7;
    let mut disk = vec![0; 1 << 20];
    for _ in 0..5000 {
        let code = noise(446, xorshift(&mut seed));
        disk[..446].copy_from_slice(&code);
        disk[..3].copy_from_slice(&[0xEB, 0x63, 0x90]);
        disk[510..512].copy_from_slice(&[0x55, 0xAA]);
        assert!(!is_fat(&disk));
    }
    // A boot loader that was written over a file system keeps its parameter block but not its table.
    let mut bytes = Image::new(24 * MIB, &["-F", "16", "-s", "4"]).bytes();
    assert!(is_fat(&bytes));
    bytes[512..256 << 10].fill(0);
    assert!(!is_fat(&bytes));
    // The FAT32 that BitLocker To Go shows to those who cannot read it.
    let mut bytes = Image::new(40 * MIB, &["-F", "32", "-s", "1"]).bytes();
    bytes[424..440].copy_from_slice(&[
        0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01,
    ]);
    assert!(!is_fat(&bytes));
}

/// Every byte outside the data clusters that a flip can change, and nothing panics or hangs.
#[test]
fn random_damage_is_survived() {
    for (size, options) in [
        (MIB, ["-F", "12", "-s", "1", "-n", "A"]),
        (5 * MIB, ["-F", "16", "-s", "1", "-n", "B"]),
        (34 * MIB, ["-F", "32", "-s", "1", "-n", "C"]),
    ] {
        let image = Image::new(size, &options);
        image.fill(4000);
        let mut bytes = image.bytes();
        let mut seed = 5;
        for round in 0..1000 {
            // Most flips go where the parameter block stands.
            let reach = if round % 4 == 0 { bytes.len().min(64 << 10) } else { 96 };
            let at = xorshift(&mut seed) as usize % reach;
            let old = bytes[at];
            bytes[at] = xorshift(&mut seed) as u8;
            if let Some(Reading { file_system, used: Some(used) }) = read_bytes(&bytes) {
                assert!(used.end() <= file_system.size_bytes && file_system.size_bytes <= bytes.len() as u64);
            }
            bytes[at] = old;
        }
    }
}
