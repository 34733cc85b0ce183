//! The NTFS reader agrees with the tools of ntfs-3g about volumes that they made, sees every way in which a
//! volume is not quiescent, and survives every damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs
)]

use remint::filesystem::{Reading, read};
use remint::schema::{FileSystemKind, State};
use remint::units::{ByteRange, RangeSet};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// An image file with an NTFS volume, in a directory of its own.
struct Image {
    directory: TempDir,
}

/// A volume mounted by ntfs-3g; unmounted, and its program waited for, when dropped.
struct Mounted {
    at: PathBuf,
    program: Child,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A program that another test starts holds this one's files open for a moment.
        let unmounted = (0..200).any(|_| {
            let done = Command::new("umount").arg(&self.at).stderr(Stdio::null()).status();
            let done = done.is_ok_and(|status| status.success());
            if !done {
                std::thread::sleep(Duration::from_millis(50));
            }
            done
        });
        if !unmounted {
            let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
            let _ = self.program.kill();
        }
        let _ = self.program.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{errors}");
    output.stdout
}

impl Image {
    fn empty(size_bytes: u64) -> Self {
        let image = Self { directory: tempfile::tempdir().unwrap() };
        fs::File::create(image.path()).unwrap().set_len(size_bytes).unwrap();
        image
    }

    fn new(size_bytes: u64, options: &[&str]) -> Self {
        let image = Self::empty(size_bytes);
        run("mkntfs", &[&["-F", "-Q", "-q"], options, &[&image.name()]].concat());
        image
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("volume.img")
    }

    fn name(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn mount(&self) -> Mounted {
        let at = self.directory.path().join("mounted");
        fs::create_dir_all(&at).unwrap();
        let outside = fs::metadata(&at).unwrap().dev();
        let program = Command::new("ntfs-3g")
            .args(["-o", "no_detach"])
            .args([&self.path(), &at])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mounted = Mounted { at, program };
        for _ in 0..500 {
            if fs::metadata(&mounted.at).is_ok_and(|inside| inside.dev() != outside) {
                return mounted;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("ntfs-3g did not mount {}", self.name());
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn read(&self) -> Reading {
        reading(&self.bytes())
    }
}

fn reading(bytes: &[u8]) -> Reading {
    read(&bytes).unwrap().expect("NTFS is recognised")
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length).map(|_| next(&mut state) as u8).collect()
}

/// Files of many sizes, half of them deleted, one that grew into the holes.
fn fill(root: &Path, files: u64) {
    fs::create_dir_all(root.join("directory")).unwrap();
    for number in 0..files {
        let content = noise(number as usize * 211 % 30_000, number);
        fs::write(root.join(format!("directory/{number}")), content).unwrap();
    }
    for number in (0..files).step_by(2) {
        fs::remove_file(root.join(format!("directory/{number}"))).unwrap();
    }
    let mut fragmented = fs::File::create(root.join("fragmented")).unwrap();
    for part in 0..files / 2 {
        fragmented.write_all(&noise(9000, part)).unwrap();
    }
}

/// Every file below a directory, with its content.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()) as usize
}

/// The used map as the boot sector, and `$Bitmap` read by ntfscat, give it.
fn expected_map(image: &Image, cluster_bytes: u64) -> RangeSet {
    let bytes = image.bytes();
    let bits = run("ntfscat", &["-f", "-i", "6", &image.name()]);
    let sector_bytes = u16_at(&bytes, 0x0B) as u64;
    let sectors = u64_at(&bytes, 0x28);
    let clusters = sectors * sector_bytes / cluster_bytes;
    let volume = bytes.len() as u64;
    (0..clusters)
        .filter(|cluster| bits[*cluster as usize / 8] >> (cluster % 8) & 1 == 1)
        .map(|cluster| ByteRange::new(cluster * cluster_bytes, (cluster + 1) * cluster_bytes))
        .chain([
            ByteRange::new(0, 8192),
            ByteRange::new(clusters * cluster_bytes, ((sectors + 1) * sector_bytes).min(volume)),
            ByteRange::new(volume - sector_bytes, volume),
        ])
        .collect()
}

/// The smallest size that `ntfsresize` says it can reach.
fn smallest(image: &Image) -> u64 {
    let text = String::from_utf8(run("ntfsresize", &["-i", "-f", &image.name()])).unwrap();
    let (_, behind) = text.split_once("You might resize at ").unwrap_or_else(|| panic!("{text}"));
    behind.split(' ').next().unwrap().parse().unwrap()
}

#[track_caller]
fn check_against_tools(image: &Image, cluster_bytes: u64) -> Reading {
    let reading = image.read();
    let file_system = &reading.file_system;
    assert_eq!(file_system.findings, Vec::<String>::new());
    assert_eq!(file_system.state, State::Clean);
    assert_eq!(file_system.kind, FileSystemKind::Ntfs);
    assert_eq!(file_system.block_size_bytes, cluster_bytes);
    let used = reading.used.clone().unwrap();
    assert_eq!(used, expected_map(image, cluster_bytes));
    assert_eq!(file_system.used_bytes, Some(used.total_bytes()));
    assert!(file_system.minimum_bytes <= file_system.size_bytes);
    let blkid = run("blkid", &["-p", "-o", "value", "-s", "UUID", &image.name()]);
    assert_eq!(file_system.uuid.as_deref(), Some(String::from_utf8(blkid).unwrap().trim()));
    reading
}

#[test]
fn the_map_is_that_of_the_bitmap_for_every_cluster_size() {
    for cluster_bytes in [512, 1024, 4096, 16 << 10, 64 << 10, 128 << 10, 2 << 20] {
        let size_bytes = if cluster_bytes > 1 << 16 { 160 } else { 24 } * MIB;
        let image = Image::new(size_bytes, &["-c", &cluster_bytes.to_string(), "-L", "Daten ä€"]);
        fill(&image.mount().at, 40);
        let reading = check_against_tools(&image, cluster_bytes);
        assert_eq!(reading.file_system.label.as_deref(), Some("Daten ä€"));
        let minimum = reading.file_system.minimum_bytes;
        assert!(minimum >= smallest(&image), "{cluster_bytes}");
        run("ntfsresize", &["-f", "-f", "-s", &minimum.to_string(), &image.name()]);
        let shrunk = image.read();
        assert_eq!(shrunk.used.unwrap(), expected_map(&image, cluster_bytes));
    }
}

#[test]
fn volumes_with_4096_byte_sectors_and_records_are_read() {
    for cluster_bytes in [4096, 64 << 10] {
        let image = Image::new(32 * MIB, &["-s", "4096", "-c", &cluster_bytes.to_string()]);
        fill(&image.mount().at, 60);
        let reading = check_against_tools(&image, cluster_bytes);
        assert_eq!(reading.file_system.label, None);
        assert_eq!(reading.file_system.size_bytes, 32 * MIB);
    }
}

#[test]
fn the_used_bytes_alone_make_a_volume_with_all_files() {
    let image = Image::new(40 * MIB, &["-c", "4096"]);
    fill(&image.mount().at, 200);
    let used = check_against_tools(&image, 4096).used.unwrap();
    let source = image.bytes();
    let restored = Image::empty(40 * MIB);
    let target = fs::OpenOptions::new().write(true).open(restored.path()).unwrap();
    target.write_all_at(&noise(40 << 20, 7), 0).unwrap();
    for range in used.iter() {
        target.write_all_at(&source[range.start() as usize..range.end() as usize], range.start()).unwrap();
    }
    drop(target);
    assert_eq!(restored.read(), image.read());
    run("ntfsresize", &["-i", &restored.name()]);
    let files = |image: &Image| -> BTreeMap<PathBuf, Vec<u8>> {
        let mounted = image.mount();
        let found = contents(&mounted.at);
        found.into_iter().map(|(path, c)| (path.strip_prefix(&mounted.at).unwrap().to_owned(), c)).collect()
    };
    let before = files(&image);
    assert_eq!(before.len(), 101);
    assert!(before == files(&restored));
}

#[test]
fn a_volume_can_be_shrunk_to_its_minimum() {
    let image = Image::new(96 * MIB, &["-c", "4096"]);
    {
        let mounted = image.mount();
        for number in 0..40 {
            fs::write(mounted.at.join(format!("{number}")), noise(1 << 20, number)).unwrap();
        }
        for number in (0..40).step_by(3) {
            fs::remove_file(mounted.at.join(format!("{number}"))).unwrap();
        }
    }
    let minimum = check_against_tools(&image, 4096).file_system.minimum_bytes;
    assert!((smallest(&image)..60 * MIB).contains(&minimum), "{minimum}");
    run("ntfsresize", &["-f", "-f", "-s", &minimum.to_string(), &image.name()]);
    // ntfsresize leaves the volume marked for a check, and the partition as large as it was.
    let shrunk = image.read();
    assert_eq!(shrunk.file_system.state, State::Clean);
    let findings = shrunk.file_system.findings.join("; ");
    assert!(findings.contains("marked dirty; all of its files agree"), "{findings}");
    assert!(shrunk.file_system.size_bytes <= minimum);
    let used = shrunk.used.unwrap();
    assert_eq!(used, expected_map(&image, 4096));
    assert!(used.contains(ByteRange::new(96 * MIB - 512, 96 * MIB)), "the last sector of the partition");
}

#[test]
fn a_master_file_table_in_many_pieces_is_followed_through_its_attribute_list() {
    let image = Image::new(16 * MIB, &["-c", "512", "-z", "1"]);
    {
        let mounted = image.mount();
        let file = |name: &str, number: u32| mounted.at.join(format!("{name}{number}"));
        let last = (0..20_000).find(|number| fs::write(file("large", *number), [1; 1000]).is_err()).unwrap();
        for number in (0..=last).step_by(2) {
            let _ = fs::remove_file(file("large", number));
        }
        let last = (0..20_000).find(|number| fs::write(file("small", *number), b"").is_err()).unwrap();
        fs::remove_file(file("small", last - 1)).unwrap();
        for number in (1..40).step_by(2) {
            fs::remove_file(file("large", number)).unwrap();
        }
        fs::write(mounted.at.join("HiberFil.SYS"), [b"hibr".as_slice(), &[0; 5000]].concat()).unwrap();
    }
    let table = String::from_utf8(run("ntfsinfo", &["-f", "-v", "-i", "0", &image.name()])).unwrap();
    assert!(table.matches("attribute $DATA").count() > 2, "the test is about three extents or more");
    let reading = image.read();
    // Found in an index of several levels, whatever the case of its letters.
    assert_eq!(reading.file_system.state, State::Hibernated, "{:?}", reading.file_system.findings);
    assert_eq!(reading.file_system.findings.len(), 1);
    assert_eq!(reading.used.unwrap(), expected_map(&image, 512));
}

#[test]
fn a_hibernated_windows_is_seen_by_the_first_bytes_of_its_file() {
    let long = |mark: &[u8]| [mark, &[0; 9000]].concat();
    for (content, state, findings) in [
        (long(b"hibr"), State::Hibernated, 1),
        (long(b"HIBR"), State::Hibernated, 1),
        (long(b"RSTR"), State::Hibernated, 1),
        (b"hibr".to_vec(), State::Hibernated, 1),
        (long(b"wake"), State::Clean, 0),
        (long(b"WAKE"), State::Clean, 0),
        (long(&[0; 4]), State::Clean, 0),
        (long(b"what"), State::Clean, 1),
        (b"h".to_vec(), State::Clean, 1),
        (Vec::new(), State::Clean, 0),
    ] {
        let image = Image::new(8 * MIB, &[]);
        fs::write(image.mount().at.join("hiberfil.sys"), &content).unwrap();
        let reading = image.read();
        let mark = String::from_utf8_lossy(&content[..content.len().min(4)]).into_owned();
        assert_eq!(reading.file_system.state, state, "{mark}: {:?}", reading.file_system.findings);
        assert_eq!(
            reading.file_system.findings.len(),
            findings,
            "{mark}: {:?}",
            reading.file_system.findings
        );
        assert!(reading.used.is_some(), "{mark}");
    }
}

#[test]
fn a_sparse_hibernation_file_is_zeros() {
    let image = Image::new(8 * MIB, &[]);
    fs::File::create(image.mount().at.join("hiberfil.sys")).unwrap().set_len(1 << 20).unwrap();
    assert_eq!(image.read().file_system.state, State::Clean);
}

#[test]
fn a_hibernation_file_that_cannot_be_read_is_not_taken_for_awake() {
    for (flags, state) in [(0x0001, State::Dirty), (0x4000, State::Dirty), (0x8000, State::Hibernated)] {
        let image = Image::new(8 * MIB, &["-c", "4096"]);
        let record = {
            let mounted = image.mount();
            let file = mounted.at.join("hiberfil.sys");
            fs::write(&file, [b"hibr".as_slice(), &[0; 9000]].concat()).unwrap();
            fs::metadata(file).unwrap().ino()
        };
        let mut bytes = image.bytes();
        let data = attribute(&bytes, record as usize, 0x80, false);
        bytes[data + 0x0C..data + 0x0E].copy_from_slice(&u16::to_le_bytes(flags));
        assert_eq!(reading(&bytes).file_system.state, state, "{flags:#x}");
    }
}

/// Where an attribute of one of the first records stands, in the table or in its mirror.
fn attribute(bytes: &[u8], record: usize, kind: usize, mirror: bool) -> usize {
    let cluster_bytes = u16_at(bytes, 0x0B) * bytes[0x0D] as usize;
    let table = u64_at(bytes, if mirror { 0x38 } else { 0x30 }) as usize * cluster_bytes;
    let at = table + record * 1024;
    assert_eq!(&bytes[at..at + 4], b"FILE");
    let mut attribute = at + u16_at(bytes, at + 0x14);
    while u32_at(bytes, attribute) != kind {
        attribute += u32_at(bytes, attribute + 4);
    }
    attribute
}

/// Where the first run of the data of a record stands, in bytes.
fn first_run(bytes: &[u8], record: usize) -> usize {
    first_run_of(bytes, record, 0x80)
}

fn first_run_of(bytes: &[u8], record: usize, kind: usize) -> usize {
    let data = attribute(bytes, record, kind, false);
    let pairs = data + u16_at(bytes, data + 0x20);
    let (length, offset) = (usize::from(bytes[pairs] & 15), usize::from(bytes[pairs] >> 4));
    let digits = &bytes[pairs + 1 + length..][..offset];
    let lcn = digits.iter().rev().fold(0, |lcn, byte| lcn << 8 | usize::from(*byte));
    lcn * u16_at(bytes, 0x0B) * bytes[0x0D] as usize
}

fn small() -> Vec<u8> {
    let image = Image::new(3 * MIB, &["-c", "4096"]);
    fill(&image.mount().at, 20);
    image.bytes()
}

/// Changes the value of `$VOLUME_INFORMATION` in the table and in its mirror.
fn set_information(bytes: &mut [u8], at: usize, to: &[u8]) {
    for mirror in [false, true] {
        let information = attribute(bytes, 3, 0x70, mirror);
        let value = information + u16_at(bytes, information + 0x14) + at;
        bytes[value..value + to.len()].copy_from_slice(to);
    }
}

#[test]
fn the_flags_of_the_volume_are_judged() {
    let mut bytes = small();
    for (flags, state, findings) in [
        (0x0000u16, State::Clean, 0),
        // Marked for a check: everything agrees.
        (0x0001, State::Clean, 1),
        (0x4000, State::Dirty, 1),
        (0x4001, State::Dirty, 2),
        (0x0002, State::Clean, 1),
        (0x8000, State::Clean, 1),
        (0x0080, State::Clean, 0),
    ] {
        set_information(&mut bytes, 0x0A, &flags.to_le_bytes());
        let reading = reading(&bytes);
        assert_eq!(reading.file_system.state, state, "{flags:#x}");
        assert_eq!(reading.file_system.findings.len(), findings, "{flags:#x}");
        assert!(reading.used.is_some());
    }
}

/// Byte and mask of a cluster in `$Bitmap`.
fn bit_of(bytes: &[u8], cluster: usize) -> (usize, u8) {
    (first_run(bytes, 6) + cluster / 8, 1 << (cluster % 8))
}

#[test]
fn a_volume_that_is_only_marked_dirty_is_clean_where_every_file_agrees_with_the_map() {
    let mut clean = small();
    set_information(&mut clean, 0x0A, &[1, 0]);
    let before = reading(&clean);
    assert_eq!(before.file_system.state, State::Clean);
    assert!(
        before.file_system.findings[0].contains("Windows will check it"),
        "{:?}",
        before.file_system.findings
    );
    let used = before.used.unwrap();

    let dirty = |bytes: &[u8], part: &str| {
        let reading = reading(bytes);
        let findings = reading.file_system.findings.join("; ");
        assert_eq!(reading.file_system.state, State::Dirty, "{findings}");
        assert!(findings.contains(part) && findings.contains("chkdsk"), "{part}: {findings}");
    };
    // A cluster of nobody that is marked used.
    let free = used.gaps(ByteRange::new(0, 700 * 4096)).ranges()[0];
    let (byte, mask) = bit_of(&clean, usize::try_from(free.start() / 4096).unwrap());
    let mut bytes = clean.clone();
    bytes[byte] |= mask;
    dirty(&bytes, "are marked used");
    // A cluster of a file that is marked free: not one of the system's, of which that is damage.
    let mut some = 0;
    for range in used.within(ByteRange::new(0, 700 * 4096)) {
        let cluster = usize::try_from(range.start() / 4096).unwrap();
        let (byte, mask) = bit_of(&clean, cluster);
        let mut bytes = clean.clone();
        bytes[byte] &= !mask;
        if reading(&bytes).file_system.state == State::Dirty {
            dirty(&bytes, "are marked free");
            some += 1;
        }
    }
    assert!(some > 0, "no file but the system's has clusters");
    // A record that cannot be read.
    let record = (24..200).map(|number| first_run(&clean, 0) + number * 1024);
    let record =
        record.rev().find(|at| clean.get(*at..at + 4) == Some(b"FILE") && clean[at + 0x16] & 1 == 1).unwrap();
    let mut bytes = clean.clone();
    bytes[record..record + 4].copy_from_slice(b"BAAD");
    dirty(&bytes, "is marked used");
    // A log that is not empty and has no restart page.
    let mut bytes = clean;
    let log = first_run(&bytes, 2);
    bytes[log..log + 4096].fill(0);
    dirty(&bytes, "$LogFile");
}

#[test]
fn an_unknown_version_is_unsupported() {
    let mut bytes = small();
    for (version, state) in [([1, 2], State::Clean), ([3, 0], State::Clean), ([4, 0], State::Unsupported)] {
        set_information(&mut bytes, 0x08, &version);
        let reading = reading(&bytes);
        assert_eq!(reading.file_system.state, state, "{version:?}");
        assert_eq!(reading.used.is_some(), state == State::Clean);
    }
}

/// A restart page of 4096 bytes as Windows writes it.
fn restart_page(lsn: u64, version: (u16, u16), client_in_use: u16, flags: u16) -> Vec<u8> {
    let mut page = vec![0; 4096];
    page[..4].copy_from_slice(b"RSTR");
    let mut put = |at: usize, value: u16| page[at..at + 2].copy_from_slice(&value.to_le_bytes());
    put(0x04, 0x1E);
    put(0x06, 9);
    put(0x10, 4096);
    put(0x14, 4096);
    put(0x18, 0x30);
    put(0x1A, version.1);
    put(0x1C, version.0);
    put(0x30 + 0x0C, client_in_use);
    put(0x30 + 0x0E, flags);
    put(0x1E, 0x1234);
    for block in 1..=8 {
        put(block * 512 - 2, 0x1234);
    }
    page[0x30..0x38].copy_from_slice(&lsn.to_le_bytes());
    page
}

#[test]
fn the_newer_restart_page_says_whether_the_log_is_clean() {
    let in_use = |lsn| restart_page(lsn, (1, 1), 0, 0);
    let dismounted = |lsn| restart_page(lsn, (1, 1), 0, 2);
    let closed = |lsn| restart_page(lsn, (1, 1), 0xFFFF, 0);
    let fast_startup = |lsn| restart_page(lsn, (2, 0), 0, 2);
    let torn = |lsn| {
        let mut page = dismounted(lsn);
        page[4094] = 0;
        page
    };
    let clean = small();
    let log = first_run(&clean, 2);
    assert!(clean[log..log + 8192].iter().all(|byte| *byte == 0xFF), "ntfs-3g empties the log");
    for (name, pages, state) in [
        ("dismounted", [dismounted(5), dismounted(5)], State::Clean),
        ("closed", [closed(5), closed(5)], State::Clean),
        ("in use", [in_use(5), in_use(5)], State::Dirty),
        ("first newer", [in_use(6), dismounted(5)], State::Dirty),
        ("second newer", [dismounted(5), in_use(6)], State::Dirty),
        ("second newer and clean", [in_use(5), dismounted(6)], State::Clean),
        ("fast startup", [fast_startup(5), fast_startup(5)], State::Dirty),
        ("torn", [dismounted(5), torn(6)], State::Dirty),
        ("zeros", [vec![0; 4096], vec![0; 4096]], State::Dirty),
    ] {
        let mut bytes = clean.clone();
        bytes[log..log + 8192].copy_from_slice(&pages.concat());
        let reading = reading(&bytes);
        assert_eq!(reading.file_system.state, state, "{name}: {:?}", reading.file_system.findings);
        assert!(reading.used.is_some(), "{name}");
    }
}

#[test]
fn a_difference_between_table_and_mirror_is_damage_unless_the_volume_is_dirty() {
    let mut bytes = small();
    let mirrored = attribute(&bytes, 2, 0x30, true);
    bytes[mirrored + 0x40] ^= 1;
    let clean = reading(&bytes);
    assert_eq!((clean.file_system.state, clean.used), (State::Damaged, None));
    set_information(&mut bytes, 0x0A, &[1, 0]);
    let dirty = reading(&bytes);
    assert_eq!(dirty.file_system.state, State::Dirty);
    assert_eq!(dirty.file_system.findings.len(), 2);
}

#[test]
fn a_map_that_does_not_cover_the_system_files_is_refused() {
    let clean = small();
    for record in [0, 1, 2, 6, 7] {
        let mut bytes = clean.clone();
        let cluster = first_run(&bytes, record) / 4096;
        let bitmap = first_run(&bytes, 6);
        bytes[bitmap + cluster / 8] &= !(1 << (cluster % 8));
        let reading = reading(&bytes);
        assert_eq!(reading.file_system.state, State::Damaged, "record {record}");
        assert_eq!(reading.used, None);
        assert!(
            reading.file_system.findings[0].contains("marked free"),
            "{:?}",
            reading.file_system.findings
        );
        assert!(reading.file_system.uuid.is_some());
    }
}

#[test]
fn a_map_that_does_not_cover_the_root_directory_is_refused() {
    let mut bytes = small();
    let cluster = first_run_of(&bytes, 5, 0xA0) / 4096;
    let bitmap = first_run(&bytes, 6);
    bytes[bitmap + cluster / 8] &= !(1 << (cluster % 8));
    let reading = reading(&bytes);
    assert_eq!((reading.file_system.state, reading.used), (State::Damaged, None));
}

#[test]
fn a_torn_record_is_damage() {
    let mut bytes = small();
    let at = attribute(&bytes, 6, 0x80, false) & !1023;
    bytes[at + 1022] ^= 1;
    let reading = reading(&bytes);
    assert_eq!(reading.file_system.state, State::Damaged);
    assert!(reading.file_system.findings[0].contains("in part only"), "{:?}", reading.file_system.findings);
}

#[test]
fn a_volume_shorter_than_its_file_system_is_damaged() {
    let bytes = small();
    let reading = reading(&bytes[..bytes.len() - 8192]);
    assert_eq!((reading.file_system.state, reading.used), (State::Damaged, None));
}

#[test]
fn other_contents_are_not_ntfs() {
    for bytes in [vec![], vec![0; 100], vec![0; 4096]] {
        let found = read(&bytes.as_slice()).unwrap();
        assert!(found.is_none_or(|found| found.file_system.kind != FileSystemKind::Ntfs));
    }
}

#[test]
fn no_flipped_byte_makes_the_reader_fail() {
    let mut bytes = small();
    let log = first_run(&bytes, 2);
    bytes[log..log + 4096].copy_from_slice(&restart_page(5, (1, 1), 0, 2));
    bytes[log + 4096..log + 8192].copy_from_slice(&restart_page(5, (1, 1), 0, 2));
    let table = attribute(&bytes, 0, 0x10, false) / 512;
    let mirror = attribute(&bytes, 0, 0x10, true) / 512;
    let indexes = (0..bytes.len() / 512).filter(|sector| bytes[sector * 512..].starts_with(b"INDX"));
    let metadata: Vec<usize> = (0..2)
        .chain(table..table + 24)
        .chain(table..table + 24)
        .chain(mirror..mirror + 8)
        .chain(log / 512..log / 512 + 16)
        .chain(indexes)
        .chain([first_run(&bytes, 6) / 512])
        .collect();
    assert_eq!(reading(&bytes).file_system.findings, Vec::<String>::new());
    let mut state = 0x5EED;
    let mut seen = BTreeMap::new();
    for _ in 0..3000 {
        let sector = metadata[next(&mut state) as usize % metadata.len()];
        let at = sector * 512 + next(&mut state) as usize % 512;
        let was = bytes[at];
        bytes[at] = match next(&mut state) % 4 {
            0 => 0,
            1 => 0xFF,
            _ => next(&mut state) as u8,
        };
        if let Some(reading) = read(&bytes.as_slice()).unwrap() {
            *seen.entry(reading.file_system.state.to_string()).or_insert(0) += 1;
            let no_map = matches!(reading.file_system.state, State::Damaged | State::Unsupported);
            assert_eq!(reading.used.is_none(), no_map);
        }
        bytes[at] = was;
    }
    assert!(seen["damaged"] > 100 && seen["clean"] > 100, "{seen:?}");
}
