//! Promises about growing: a file system fills its place afterwards, its files are the same, its checker is
//! content, and not a byte beside it has changed. Needs root, loop devices and the file systems' tools.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use remint::blockio::{WriteAt, read_vec};
use remint::linux::{DiskWriter, LoopDevice, Tools, disk};
use remint::machine::MachineDisk;
use remint::resize::{Change, ResizeError, Resizer};
use remint::schema::FileSystemKind;
use remint::units::{ByteRange, MIB, SectorSize};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

fn command(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).env("LC_ALL", "C").output().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = command(program, arguments);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

/// A disk whose volume has noise before and behind it.
struct Bench {
    directory: TempDir,
    place: ByteRange,
    before: Vec<u8>,
    behind: Vec<u8>,
}

impl Bench {
    /// Writes `volume` to the start of a place of `place_bytes` at an odd MiB.
    fn new(volume: &[u8], place_bytes: u64) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let place = ByteRange::at(3 * MIB, place_bytes).unwrap();
        let mut before = vec![0; 3 << 20];
        let mut behind = vec![0; 2 << 20];
        let random = File::open("/dev/urandom").unwrap();
        for part in [&mut before, &mut behind] {
            std::io::Read::read_exact(&mut &random, part).unwrap();
        }
        let bench = Self { directory, place, before, behind };
        let file = File::create(bench.path()).unwrap();
        file.write_all_at(&bench.before, 0).unwrap();
        file.write_all_at(volume, place.start()).unwrap();
        file.write_all_at(&bench.behind, place.end()).unwrap();
        bench
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn neighbours_are_unchanged(&self) {
        let bytes = fs::read(self.path()).unwrap();
        let (start, end) = (self.before.len(), bytes.len() - self.behind.len());
        assert!(bytes[..start] == self.before, "the bytes before the volume changed");
        assert!(bytes[end..] == self.behind, "the bytes behind the volume changed");
        assert_eq!(u64::try_from(end).unwrap(), self.place.end());
    }

    /// Runs a check on the volume, read-only, as a device.
    fn check(&self, read_only: bool, sector: SectorSize, check: impl FnOnce(&str)) {
        let device = LoopDevice::attach(self.path(), self.place, read_only, sector).unwrap();
        check(device.path().to_str().unwrap());
        device.detach().unwrap();
    }
}

/// A file system made by `make` in a file of `mib` MiB.
fn volume(mib: u64, make: impl FnOnce(&str)) -> Vec<u8> {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = directory.path().join("volume");
    File::create(&path).unwrap().set_len(mib * MIB).unwrap();
    make(path.to_str().unwrap());
    fs::read(path).unwrap()
}

fn with_file(directory: &Path) -> PathBuf {
    let path = directory.join("content");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("hello"), "world\n".repeat(50_000)).unwrap();
    path
}

fn ext(mkfs: &str, options: &[&str], mib: u64) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let content = with_file(directory.path());
    volume(mib, |path| {
        run(mkfs, &[&["-q", "-d", content.to_str().unwrap()], options, &[path]].concat());
    })
}

fn ext_is_grown(bench: &Bench, grown_to: u64) {
    bench.check(true, SectorSize::B512, |device| {
        run("e2fsck", &["-f", "-n", device]);
        let header = run("dumpe2fs", &["-h", device]);
        let field = |name: &str| -> u64 {
            let line = header.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        assert_eq!(field("Block count:") * field("Block size:"), grown_to);
        assert_eq!(run("debugfs", &["-R", "cat /hello", device]).matches("world\n").count(), 50_000);
    });
}

#[test]
fn ext_file_systems_fill_their_place_and_keep_their_files() {
    for (mkfs, options, kind) in [
        ("mkfs.ext4", &["-b", "4096"][..], FileSystemKind::Ext4),
        ("mkfs.ext4", &["-b", "1024", "-O", "^resize_inode"], FileSystemKind::Ext4),
        ("mkfs.ext3", &[], FileSystemKind::Ext3),
        ("mkfs.ext2", &["-b", "1024"], FileSystemKind::Ext2),
    ] {
        let bench = Bench::new(&ext(mkfs, options, 40), 200 * MIB);
        let target = disk(bench.path(), None).unwrap();
        assert_eq!(Tools::default().missing(Change::Grow, kind, &target), None);
        Tools::default().grow(&target, bench.place, kind).unwrap();
        ext_is_grown(&bench, 200 * MIB);
        bench.neighbours_are_unchanged();
        assert_eq!(disk(bench.path(), None).unwrap().holders, []);
    }
}

#[test]
fn a_file_system_is_grown_on_devices_that_are_held_exclusively() {
    for sector in [SectorSize::B512, SectorSize::B4096] {
        let content = ext("mkfs.ext4", &["-b", "4096"], 32);
        let bench = Bench::new(&[], 100 * MIB);
        let size = fs::metadata(bench.path()).unwrap().len();
        let device = LoopDevice::attach(bench.path(), ByteRange::new(0, size), false, sector).unwrap();
        let target = disk(device.path(), None).unwrap();
        let writer = DiskWriter::open(&target).unwrap();
        // Not flushed: the tool has to see what is still in memory.
        writer.write_at(bench.place.start(), &content).unwrap();
        Tools::default().grow(&target, bench.place, FileSystemKind::Ext4).unwrap();
        // And the writer has to see what the tool did: the block count in the superblock.
        let blocks = read_vec(&writer, bench.place.start() + 1024 + 4, 4).unwrap();
        assert_eq!(u32::from_le_bytes(blocks.try_into().unwrap()), 100 * 256);
        writer.flush().unwrap();
        drop(writer);
        device.detach().unwrap();
        ext_is_grown(&bench, 100 * MIB);
        bench.neighbours_are_unchanged();
    }
}

#[test]
fn ntfs_fills_its_place_and_has_its_backup_boot_sector_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let content = with_file(directory.path());
    let small = volume(40, |path| {
        run("mkntfs", &["-F", "-Q", "-p", "6144", "-H", "16", "-S", "63", path]);
        run("ntfscp", &[path, content.join("hello").to_str().unwrap(), "hello"]);
    });
    let bench = Bench::new(&small, 150 * MIB);
    let target = disk(bench.path(), None).unwrap();
    assert_eq!(Tools::default().missing(Change::Grow, FileSystemKind::Ntfs, &target), None);
    Tools::default().grow(&target, bench.place, FileSystemKind::Ntfs).unwrap();
    bench.neighbours_are_unchanged();

    let bytes = fs::read(bench.path()).unwrap();
    let place = &bytes[3 << 20..][..150 << 20];
    assert!(place[..512] == place[place.len() - 512..], "the last sector is the backup of the first");
    assert_eq!(place[3..11], *b"NTFS    ");
    let sectors = u64::from_le_bytes(place[0x28..0x30].try_into().unwrap());
    assert!(sectors * 512 > 150 * MIB - 8192, "{sectors} sectors");
    bench.check(false, SectorSize::B512, |device| {
        let info = command("ntfsresize", &["-i", "-f", "-f", "--no-progress-bar", device]);
        assert!(info.status.success(), "{info:?}");
        run("ntfsfix", &["-d", device]);
        run("ntfsresize", &["-i", "--no-progress-bar", device]);
        assert_eq!(run("ntfscat", &[device, "hello"]).matches("world\n").count(), 50_000);
    });
}

#[test]
fn xfs_fills_its_place_and_nothing_stays_mounted() {
    let small = volume(310, |path| {
        run("mkfs.xfs", &["-q", "-L", "grown", path]);
    });
    let bench = Bench::new(&small, 420 * MIB);
    let target = disk(bench.path(), None).unwrap();
    assert_eq!(Tools::default().missing(Change::Grow, FileSystemKind::Xfs, &target), None);
    Tools::default().grow(&target, bench.place, FileSystemKind::Xfs).unwrap();
    bench.neighbours_are_unchanged();
    bench.check(true, SectorSize::B512, |device| {
        run("xfs_repair", &["-n", device]);
        let blocks = run("xfs_db", &["-r", "-c", "sb 0", "-c", "p dblocks", device]);
        assert_eq!(blocks.trim(), format!("dblocks = {}", 420 * 256));
    });
    assert_eq!(disk(bench.path(), None).unwrap().holders, []);
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(bench.path().to_str().unwrap()));
}

#[test]
fn f2fs_fills_its_place_and_keeps_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let content = with_file(directory.path());
    let small = volume(80, |path| {
        run("mkfs.f2fs", &["-q", path]);
        run("sload.f2fs", &["-f", content.to_str().unwrap(), path]);
    });
    let bench = Bench::new(&small, 200 * MIB);
    let target = disk(bench.path(), None).unwrap();
    assert_eq!(Tools::default().missing(Change::Grow, FileSystemKind::F2fs, &target), None);
    let cannot = Tools::default().missing(Change::Shrink, FileSystemKind::F2fs, &target).unwrap();
    assert!(cannot.contains("no tool shrinks F2FS"), "{cannot}");
    Tools::default().grow(&target, bench.place, FileSystemKind::F2fs).unwrap();
    bench.neighbours_are_unchanged();
    bench.check(true, SectorSize::B512, |device| {
        let text = run("fsck.f2fs", &["--dry-run", "-f", "-t", device]);
        assert!(text.contains("hello") && !text.contains("[Fail]"), "{text}");
        assert!(text.contains(&format!("total FS sectors = {} ", 200 * 2048)), "{text}");
    });
    // The content of the file, in one piece as sload.f2fs writes it.
    let bytes = fs::read(bench.path()).unwrap();
    let text = "world\n".repeat(50_000);
    assert!(bytes.windows(4096).step_by(4096).any(|block| block == &text.as_bytes()[..4096]));
}

#[test]
fn a_second_xfs_with_the_same_uuid_does_not_stop_growing() {
    let small = volume(310, |path| {
        run("mkfs.xfs", &["-q", path]);
    });
    let source = Bench::new(&small, 310 * MIB);
    let device = LoopDevice::attach(source.path(), source.place, false, SectorSize::B512).unwrap();
    let at = source.directory.path().join("mounted");
    fs::create_dir(&at).unwrap();
    run("mount", &[device.path().to_str().unwrap(), at.to_str().unwrap()]);
    let bench = Bench::new(&small, 350 * MIB);
    let grown = Tools::default().grow(&disk(bench.path(), None).unwrap(), bench.place, FileSystemKind::Xfs);
    run("umount", &[at.to_str().unwrap()]);
    device.detach().unwrap();
    grown.unwrap();
}

#[test]
fn btrfs_fills_its_place_also_beside_another_of_its_uuid() {
    let small = volume(130, |path| {
        run("mkfs.btrfs", &["-q", "-L", "grown", path]);
    });
    // The source is mounted, with the same UUID.
    let source = Bench::new(&small, 130 * MIB);
    let device = LoopDevice::attach(source.path(), source.place, false, SectorSize::B512).unwrap();
    let at = source.directory.path().join("mounted");
    fs::create_dir(&at).unwrap();
    run("mount", &[device.path().to_str().unwrap(), at.to_str().unwrap()]);
    let bench = Bench::new(&small, 300 * MIB + 512);
    let target = disk(bench.path(), None).unwrap();
    let grown = Tools::default().grow(&target, bench.place, FileSystemKind::Btrfs);
    run("umount", &[at.to_str().unwrap()]);
    device.detach().unwrap();
    grown.unwrap();
    bench.neighbours_are_unchanged();
    bench.check(true, SectorSize::B512, |device| {
        run("btrfs", &["check", "--readonly", device]);
        let dump = run("btrfs", &["inspect-internal", "dump-super", device]);
        assert!(
            dump.lines().any(|line| line.starts_with("dev_item.total_bytes") && line.ends_with("314572800"))
        );
    });
    assert_eq!(disk(bench.path(), None).unwrap().holders, []);
}

#[test]
fn a_damaged_file_system_is_reported_with_the_words_of_its_tool_and_nothing_stays_behind() {
    for (kind, tool) in [(FileSystemKind::Ext4, "e2fsck"), (FileSystemKind::Ntfs, "ntfsresize")] {
        let bench = Bench::new(&vec![0x5A; 16 << 20], 20 * MIB);
        let target: MachineDisk = disk(bench.path(), None).unwrap();
        let error = Tools::default().grow(&target, bench.place, kind).unwrap_err();
        let text = error.to_string();
        assert!(matches!(&error, ResizeError::Failed { tool: failed, .. } if failed == tool), "{text}");
        assert!(text.contains("exit code") && text.contains("bytes 3145728 to"), "{text}");
        bench.neighbours_are_unchanged();
        assert_eq!(disk(bench.path(), None).unwrap().holders, []);
    }
    let bench = Bench::new(&vec![0x5A; 16 << 20], 20 * MIB);
    let target = disk(bench.path(), None).unwrap();
    let error = Tools::default().grow(&target, bench.place, FileSystemKind::Xfs).unwrap_err();
    assert!(matches!(&error, ResizeError::Io { doing, .. } if doing.contains("mounting the xfs")), "{error}");
    assert_eq!(disk(bench.path(), None).unwrap().holders, []);
}

#[test]
fn a_tool_that_takes_too_long_is_stopped_and_nothing_stays_behind() {
    let bench = Bench::new(&ext("mkfs.ext4", &["-N", "200000"], 120), 150 * MIB);
    let target = disk(bench.path(), None).unwrap();
    let tools = Tools { limit: Duration::ZERO };
    let error = tools.grow(&target, bench.place, FileSystemKind::Ext4).unwrap_err().to_string();
    assert!(error.contains("did not end within 0 seconds"), "{error}");
    bench.neighbours_are_unchanged();
    assert_eq!(disk(bench.path(), None).unwrap().holders, []);
}

#[test]
fn what_cannot_be_grown_is_said_before_anything_is_done() {
    let bench = Bench::new(&[], 20 * MIB);
    let target = disk(bench.path(), None).unwrap();
    let sentence = Tools::default().missing(Change::Grow, FileSystemKind::Exfat, &target).unwrap();
    assert!(sentence.contains("no tool grows exFAT") && sentence.contains("--no-expand"), "{sentence}");
    let beyond = ByteRange::new(MIB, target.size_bytes + 512);
    let error = Tools::default().grow(&target, beyond, FileSystemKind::Ext4).unwrap_err();
    assert!(matches!(error, ResizeError::Refused { .. }), "{error}");
}
