//! A disk that lost power: ext4 and XFS with files that were synced and nothing else, and an NTFS beside them; and
//! whether those files are on a disk. The content follows from numbers alone, so nothing has to be remembered.

use crate::lab;
use lab::{Kind, MIB, Mount, Noise, Place};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const WINDOWS: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
/// The partitions: two that are large enough to be shrunk, and one that keeps its size.
const FAMILIES: [&str; 3] = ["ext4", "ntfs", "xfs"];
const FILES: usize = 40;
/// Smaller ones would keep their size.
const LARGE_MIB: u64 = 5200;

/// Makes the disk.
pub fn make(file: &Path, size_bytes: u64) {
    let script = format!(
        "label: gpt\nsize={LARGE_MIB}MiB, type={LINUX}\nsize={LARGE_MIB}MiB, type={WINDOWS}\nsize=320MiB, type={LINUX}"
    );
    let places = lab::partitioned_disk(file, size_bytes, 512, &script);
    for (number, (place, family)) in places.iter().zip(FAMILIES).enumerate() {
        fill(file, *place, family, number);
    }
    // What was zeroed is allocated and unwritten, and becomes data in the list of holes once it was read, of which
    // the fingerprint is made. In a copy it is a hole for good.
    let copy = file.with_extension("copy");
    lab::run("cp", &["--sparse=always", lab::text(file), lab::text(&copy)]);
    fs::rename(copy, file).unwrap();
}

fn content(partition: usize, number: usize) -> Vec<u8> {
    let seed = u64::try_from(partition * 100 + number).unwrap();
    Noise::new(seed).bytes(1000 + number * 19_770)
}

fn fill(disk: &Path, place: Place, family: &str, partition: usize) {
    let device = lab::Loop::new(disk, place.start, place.length, false);
    match family {
        "ext4" => lab::run("mkfs.ext4", &["-q", "-F", &device.0]),
        "ntfs" => lab::run("mkntfs", &["-q", "-Q", "-F", &device.0]),
        _ => lab::run("mkfs.xfs", &["-q", "-f", &device.0]),
    };
    drop(device);
    let mount = Mount::new(disk, place.start, place.length, family, false);
    for number in 0..FILES {
        let mut file = File::create(mount.path().join(format!("synced-{number}"))).unwrap();
        file.write_all(&content(partition, number)).unwrap();
        file.sync_all().unwrap();
    }
    File::open(mount.path()).unwrap().sync_all().unwrap();
    if family != "ntfs" {
        // Here the power fails: what waits in memory is lost.
        lab::run("xfs_io", &["-x", "-c", "shutdown", lab::text(mount.path())]);
    }
}

/// Every file on every partition, and partitions that became smaller where they could.
pub fn is_whole_on(file: &Path) -> Result<(), String> {
    let places = lab::partitions(file, 512);
    if places.len() != FAMILIES.len() {
        return Err(format!("{} partitions", places.len()));
    }
    for (partition, (place, family)) in places.iter().zip(FAMILIES).enumerate() {
        let is_right = match family {
            "xfs" => place.length == 320 * MIB,
            _ => place.length < LARGE_MIB * MIB,
        };
        if !is_right {
            return Err(format!("the partition of {family} has {} bytes", place.length));
        }
        let kind = Kind { name: family, family, make: &[] };
        kind.check(file, place.start, place.length);
        let mount = Mount::new(file, place.start, place.length, family, true);
        for number in 0..FILES {
            let name = format!("synced-{number}");
            if fs::read(mount.path().join(&name)).unwrap_or_default() != content(partition, number) {
                return Err(format!("{family} lost {name}"));
            }
        }
    }
    Ok(())
}
