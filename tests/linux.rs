//! Promises about disks of this machine: they are read without being changed, written only by one, and given
//! back. Needs root and loop devices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use remint::blockio::{ReadAt, WriteAt, read_vec};
use remint::linux::{DiskReader, DiskWriter, Error, LoopDevice, disk, disks, kernel_log, reread_table};
use remint::machine::{DiskKind, Holder};
use remint::units::{ByteRange, MIB, SectorSize, u64_from};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A directory in memory with a file of noise in it.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir_in("/dev/shm").unwrap() }
    }

    fn noise(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, noise(bytes)).unwrap();
        path
    }
}

/// Bytes that are neither zero nor alike from sector to sector.
fn noise(bytes: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..bytes.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state | 1).to_le_bytes()
    });
    words.take(usize::try_from(bytes).unwrap()).collect()
}

fn whole(path: &Path) -> ByteRange {
    ByteRange::new(0, fs::metadata(path).unwrap().len())
}

fn attach(path: &Path, sector: SectorSize) -> LoopDevice {
    LoopDevice::attach(path, whole(path), false, sector).unwrap()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// Unmounts when the test ends, however it ends.
struct Mounted(PathBuf);

impl Mounted {
    fn new(device: &Path, at: PathBuf) -> Self {
        fs::create_dir_all(&at).unwrap();
        run("mount", &[device.to_str().unwrap(), at.to_str().unwrap()]);
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn the_disks_of_this_machine_are_listed_without_loop_and_memory_devices() {
    let found = disks().unwrap();
    for disk in &found {
        assert!(disk.size_bytes > 0, "{disk:?}");
        assert!(!disk.path.contains("loop") && !disk.path.contains("ram"), "{disk:?}");
    }
    let mounted_root = fs::metadata("/").unwrap().dev();
    if let Some(root) = found.iter().find(|disk| fs::metadata(&disk.path).unwrap().rdev() == mounted_root) {
        assert!(root.boot_medium);
        assert!(root.holders.contains(&Holder::Mount { device: root.path.clone(), path: "/".to_owned() }));
    }
}

/// True where a loop device stands on a file. The device of another test may have taken its name.
fn shows(node: &Path, file: &Path) -> bool {
    match disk(node, None) {
        Ok(_) => {
            let name = node.file_name().unwrap().to_str().unwrap();
            let backing = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file"));
            backing.is_ok_and(|backing| Path::new(backing.trim_end()) == file)
        }
        Err(error) => !error.to_string().contains("holds no medium"),
    }
}

#[test]
fn a_loop_device_shows_exactly_its_range_with_its_sector_size() {
    let bench = Bench::new();
    let path = bench.noise("disk", 9 * MIB);
    let before = fs::read(&path).unwrap();
    let range = ByteRange::new(MIB, 7 * MIB);
    for (sector, read_only) in [(SectorSize::B512, true), (SectorSize::B4096, false)] {
        let device = LoopDevice::attach(&path, range, read_only, sector).unwrap();
        let node = device.path().to_owned();
        let found = disk(&node, None).unwrap();
        assert_eq!((found.kind, found.size_bytes), (DiskKind::Device, 6 * MIB));
        assert_eq!((found.logical_sector_bytes, found.read_only), (sector, read_only));
        assert_eq!(found.transport.as_deref(), Some("loop"));
        let reader = DiskReader::open(&node).unwrap();
        assert_eq!(reader.size_bytes(), 6 * MIB);
        assert_eq!(read_vec(&reader, 5, 5000).unwrap(), before[(1 << 20) + 5..][..5000]);
        assert!(read_vec(&reader, 6 * MIB - 1, 2).is_err());
        drop(reader);
        device.detach().unwrap();
        assert!(!shows(&node, &path));
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_disk_is_read_as_it_is_now_although_the_kernel_keeps_what_was_read_before() {
    let bench = Bench::new();
    let path = bench.noise("disk", MIB);
    // It stays open, as a disk does that carries active logical volumes; and it is written without its own cache.
    let device = attach(&path, SectorSize::B512);
    let reader = DiskReader::open(device.path()).unwrap();
    let before = read_vec(&reader, 0, 1 << 20).unwrap();
    let written: Vec<u8> = before.iter().map(|byte| !byte).collect();
    fs::write(&path, &written).unwrap();
    let reader = DiskReader::open(device.path()).unwrap();
    assert!(read_vec(&reader, 0, 1 << 20).unwrap() == written, "what was read before came again");
}

#[test]
fn a_loop_device_that_is_dropped_is_gone_and_one_that_is_used_says_so() {
    let bench = Bench::new();
    let path = bench.noise("disk", MIB);
    let device = attach(&path, SectorSize::B512);
    let found = disk(&path, None).unwrap();
    let name = device.path().file_name().unwrap().to_str().unwrap().to_owned();
    let expected = Holder::Mapping { device: path.to_str().unwrap().to_owned(), name: name.clone() };
    assert_eq!(found.holders, [expected]);
    drop(device);
    assert_eq!(disk(&path, None).unwrap().holders, []);
}

#[test]
fn many_loop_devices_are_attached_at_the_same_time() {
    let bench = Bench::new();
    let path = bench.noise("disk", MIB);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4 {
                    attach(&path, SectorSize::B512).detach().unwrap();
                }
            });
        }
    });
    assert_eq!(disk(&path, None).unwrap().holders, []);
}

/// One body for files and devices: what is written, zeroed and discarded is so, and nothing else is.
fn writes_land_where_they_should(path: &Path, sector: u64) {
    let found = disk(path, None).unwrap();
    let mut expected = fs::read(path).unwrap();
    let writer = DiskWriter::open(&found).unwrap();
    let size = writer.size_bytes();
    assert_eq!(size, u64_from(expected.len()));

    writer.write_at(1000, &[7; 3000]).unwrap();
    expected[1000..4000].fill(7);
    for (start, end) in [(5000, 5003), (6001, 3 * MIB + 77), (4 * MIB, 5 * MIB), (size - 10, size), (9, 9)] {
        writer.write_zeros(ByteRange::new(start, end)).unwrap();
        expected[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].fill(0);
    }
    assert!(read_vec(&writer, 0, expected.len()).unwrap() == expected, "what the writer reads back");
    writer.flush().unwrap();

    let discarded = ByteRange::new(5 * MIB + sector + 1, 6 * MIB - 1);
    writer.discard(discarded).unwrap();
    writer.discard(ByteRange::new(7 * MIB, 7 * MIB + 1)).unwrap();
    writer.flush().unwrap();
    for result in [
        writer.write_at(size, &[1]),
        writer.write_at(u64::MAX, &[1]),
        writer.write_zeros(ByteRange::new(size - 1, size + 1)),
        writer.discard(ByteRange::new(0, size + 1)),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
    writer.reread_table().unwrap();
    drop(writer);
    reread_table(path).unwrap();

    let reader = DiskReader::open(path).unwrap();
    assert_eq!(reader.size_bytes(), size);
    let mut after = read_vec(&reader, 0, expected.len()).unwrap();
    // What is read from a discarded range is undefined.
    for bytes in [&mut after, &mut expected] {
        bytes[usize::try_from(discarded.start()).unwrap()..usize::try_from(discarded.end()).unwrap()].fill(1);
        bytes[7 << 20] = 1;
    }
    assert!(after == expected, "what stands on the disk");
}

#[test]
fn writes_to_a_plain_file_land_where_they_should() {
    let bench = Bench::new();
    writes_land_where_they_should(&bench.noise("disk", 8 * MIB), 1);
}

#[test]
fn writes_to_a_plain_file_on_a_medium_land_where_they_should() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    fs::write(&path, noise(8 * MIB)).unwrap();
    writes_land_where_they_should(&path, 1);
}

#[test]
fn writes_to_a_device_land_where_they_should() {
    for sector in [SectorSize::B512, SectorSize::B4096] {
        let bench = Bench::new();
        let device = attach(&bench.noise("disk", 8 * MIB), sector);
        writes_land_where_they_should(device.path(), sector.bytes());
        device.detach().unwrap();
    }
}

#[test]
fn more_than_is_kept_in_memory_is_written_from_several_threads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    File::create(&path).unwrap().set_len(256 * MIB).unwrap();
    let writer = DiskWriter::open(&disk(&path, None).unwrap()).unwrap();
    let block = noise(MIB);
    std::thread::scope(|scope| {
        for lane in 0..4 {
            let (writer, block) = (&writer, &block);
            scope.spawn(move || {
                for step in 0..64 {
                    writer.write_at((step * 4 + lane) * MIB, block).unwrap();
                }
            });
        }
    });
    writer.flush().unwrap();
    assert!((0..256).all(|step| read_vec(&writer, step * MIB, block.len()).unwrap() == block));
}

#[test]
fn a_mounted_disk_is_refused_by_the_name_of_its_mount() {
    let bench = Bench::new();
    let path = bench.directory.path().join("disk");
    File::create(&path).unwrap().set_len(16 * MIB).unwrap();
    run("mkfs.ext4", &["-q", path.to_str().unwrap()]);
    let device = attach(&path, SectorSize::B512);
    let free = disk(device.path(), None).unwrap();
    assert_eq!(free.holders, []);
    let at = bench.directory.path().join("a mount\\here");
    let mounted = Mounted::new(device.path(), at.clone());

    let held = disk(device.path(), None).unwrap();
    let node = device.path().to_str().unwrap();
    let expected = Holder::Mount { device: node.to_owned(), path: at.to_str().unwrap().to_owned() };
    assert_eq!(held.holders, std::slice::from_ref(&expected));
    assert!(!held.boot_medium);
    assert!(disk(&path, None).unwrap().holders.contains(&expected), "also seen from the file under it");
    // Also where it was mounted after it was discovered.
    let error = DiskWriter::open(&free).unwrap_err();
    assert!(
        matches!(&error, Error::Refused { fact } if fact.contains(&format!("{node} is mounted at"))),
        "{error}"
    );
    assert!(DiskReader::open(node).is_ok(), "reading is the caller's decision");
    drop(mounted);
    drop(DiskWriter::open(&free).unwrap());
    device.detach().unwrap();
}

#[test]
fn a_loop_device_on_a_disk_is_seen_as_its_holder() {
    let bench = Bench::new();
    let lower = attach(&bench.noise("disk", 4 * MIB), SectorSize::B512);
    let upper =
        LoopDevice::attach(lower.path(), ByteRange::new(MIB, 2 * MIB), true, SectorSize::B512).unwrap();
    let found = disk(lower.path(), None).unwrap();
    let name = upper.path().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(found.holders, [Holder::Mapping { device: found.path.clone(), name }]);
    upper.detach().unwrap();
    lower.detach().unwrap();
}

#[test]
fn every_member_of_a_mounted_btrfs_is_held() {
    let bench = Bench::new();
    let devices = ["one", "two"].map(|name| {
        let path = bench.directory.path().join(name);
        File::create(&path).unwrap().set_len(160 * MIB).unwrap();
        attach(&path, SectorSize::B512)
    });
    let nodes = [&devices[0], &devices[1]].map(|device| device.path().to_str().unwrap());
    run("mkfs.btrfs", &["-q", "-d", "single", nodes[0], nodes[1]]);
    run("btrfs", &["device", "scan", nodes[0], nodes[1]]);
    let mounted = Mounted::new(devices[1].path(), bench.directory.path().join("mounted"));
    for node in nodes {
        let found = disk(node, None).unwrap();
        assert_eq!(found.holders.len(), 1, "{found:?}");
        assert!(matches!(DiskWriter::open(&found), Err(Error::Refused { .. })));
    }
    drop(mounted);
    for node in nodes {
        assert_eq!(disk(node, None).unwrap().holders, []);
    }
    run("btrfs", &["device", "scan", "--forget", nodes[0]]);
    for device in devices {
        device.detach().unwrap();
    }
}

#[test]
fn a_mount_by_fuse_is_seen_on_devices_and_on_files() {
    let bench = Bench::new();
    let path = bench.directory.path().join("disk");
    File::create(&path).unwrap().set_len(16 * MIB).unwrap();
    run("mkntfs", &["-q", "-F", "-Q", path.to_str().unwrap()]);
    let at = bench.directory.path().join("mounted");
    fs::create_dir(&at).unwrap();
    let holder_of = |path: &Path| {
        run("ntfs-3g", &[path.to_str().unwrap(), at.to_str().unwrap()]);
        let mounted = Mounted(at.clone());
        let holders = disk(path, None).unwrap().holders;
        drop(mounted);
        holders
    };
    let device = attach(&path, SectorSize::B512);
    let expected = |path: &Path| Holder::Mount {
        device: path.to_str().unwrap().to_owned(),
        path: at.to_str().unwrap().to_owned(),
    };
    assert_eq!(holder_of(device.path()), [expected(device.path())]);
    device.detach().unwrap();
    let on_file = holder_of(&path);
    assert!(on_file.contains(&expected(&path)), "{on_file:?}");
}

#[test]
fn a_disk_is_written_by_one_at_a_time() {
    let bench = Bench::new();
    let path = bench.noise("disk", MIB);
    let file = disk(&path, None).unwrap();
    let first = DiskWriter::open(&file).unwrap();
    let error = DiskWriter::open(&file).unwrap_err().to_string();
    assert!(error.contains("is locked by") && error.contains(&std::process::id().to_string()), "{error}");
    drop(first);
    drop(DiskWriter::open(&file).unwrap());

    let device = attach(&path, SectorSize::B512);
    let found = disk(device.path(), None).unwrap();
    let first = DiskWriter::open(&found).unwrap();
    let error = DiskWriter::open(&found).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    drop(first);
    device.detach().unwrap();
}

#[test]
fn a_disk_that_changed_since_it_was_discovered_is_refused() {
    let bench = Bench::new();
    let path = bench.noise("disk", MIB);
    let found = disk(&path, None).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(2 * MIB).unwrap();
    let error = DiskWriter::open(&found).unwrap_err();
    assert!(matches!(&error, Error::Refused { fact } if fact.contains("not the disk it was")), "{error}");
    assert!(DiskWriter::open(&disk(&path, None).unwrap()).is_ok());
}

#[test]
fn a_write_beyond_the_last_whole_sector_never_makes_a_file_longer() {
    let bench = Bench::new();
    let path = bench.noise("disk", MIB + 100);
    let writer = DiskWriter::open(&disk(&path, None).unwrap()).unwrap();
    assert_eq!(writer.size_bytes(), MIB);
    assert!(writer.write_at(MIB, &[0]).is_err());
    writer.write_zeros(ByteRange::new(0, MIB)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), MIB + 100);
    let mut tail = [0; 100];
    File::open(&path).unwrap().read_exact_at(&mut tail, MIB).unwrap();
    assert_eq!(tail[..], noise(MIB + 100)[1 << 20..]);
}

#[test]
fn zeroing_a_file_gives_its_space_back() {
    let bench = Bench::new();
    let path = bench.noise("disk", 4 * MIB);
    let writer = DiskWriter::open(&disk(&path, None).unwrap()).unwrap();
    writer.write_zeros(ByteRange::new(0, 4 * MIB)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().blocks(), 0);
}

#[test]
fn a_sector_size_can_be_chosen_for_files_only() {
    let bench = Bench::new();
    let path = bench.noise("disk", MIB);
    assert_eq!(disk(&path, Some(SectorSize::B4096)).unwrap().logical_sector_bytes, SectorSize::B4096);
    let device = attach(&path, SectorSize::B512);
    assert!(disk(device.path(), Some(SectorSize::B512)).is_ok());
    assert!(matches!(disk(device.path(), Some(SectorSize::B4096)), Err(Error::Refused { .. })));
    device.detach().unwrap();
}

/// Whoever looks for the reason of a failed job the next morning is told what the kernel had to say.
#[test]
fn what_the_kernel_complains_about_is_heard_and_nothing_from_before() {
    let bench = Bench::new();
    let file = bench.noise("noise.img", MIB);
    let device = attach(&file, SectorSize::B512);
    let node = device.path().display().to_string();
    let mount = || {
        let mut command = Command::new("mount");
        command.args(["-t", "ext4", "-o", "ro", &node]).arg(bench.directory.path());
        assert!(!command.output().unwrap().status.success(), "noise is no file system");
    };
    let complaint = format!("EXT4-fs ({}):", node.trim_start_matches("/dev/"));
    let before = kernel_log::Since::now().unwrap();
    mount();
    let after = kernel_log::Since::now().unwrap();
    let complains = |heard: Vec<String>| heard.iter().any(|line| line.contains(&complaint));
    assert!(complains(before.complaints().unwrap()));
    assert!(!complains(after.complaints().unwrap()));
}
