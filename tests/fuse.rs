//! Promises about a disk of ours that is shown to other programs as a file: they read and write exactly it, its size
//! stays, an error of the disk is heard, and nothing stays behind whichever way the work ends. Needs root and FUSE.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use remint::blockio::{MemoryDisk, Overlay, ReadAt, WriteAt, read_vec};
use remint::linux::fuse;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

const SIZE: u64 = 10_000_000;

/// Nothing of ours is in the tree of mounts.
fn nothing_is_mounted() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("fuse remint "), "{mounts}");
}

/// A name under which other programs can open what is open here.
fn name_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

#[test]
fn what_programs_write_is_on_the_disk_and_the_size_stays() {
    let disk = MemoryDisk::new(SIZE);
    disk.write_at(SIZE - 3, b"end").unwrap();
    let ((), failure) = fuse::serve(&disk, |file| {
        assert_eq!(file.metadata().unwrap().len(), SIZE);
        nothing_is_mounted();
        let mut end = [0; 3];
        file.read_exact_at(&mut end, SIZE - 3).unwrap();
        assert_eq!(&end, b"end");
        file.write_all_at(b"start", 0).unwrap();
        let script =
            format!("printf middle | dd of={} bs=1 seek=5000000 conv=notrunc status=none", name_of(file));
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        // More than one request takes.
        let large: Vec<u8> = (0..3_000_000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        file.write_all_at(&large, 1_000_001).unwrap();
        let mut back = vec![0; large.len()];
        file.read_exact_at(&mut back, 1_000_001).unwrap();
        assert!(back == large);
        assert!(file.set_len(SIZE / 2).is_err() && file.set_len(SIZE * 2).is_err());
        assert!(file.write_all_at(b"more", SIZE - 1).is_err(), "beyond the end");
        file.sync_all().unwrap();
    })
    .unwrap();
    assert!(failure.is_some(), "the write beyond the end");
    assert_eq!(read_vec(&disk, 0, 5).unwrap(), b"start");
    assert_eq!(read_vec(&disk, 5_000_000, 6).unwrap(), b"middle");
    assert_eq!(read_vec(&disk, 1_000_001, 3).unwrap(), [0, 1, 2]);
    nothing_is_mounted();
}

#[test]
fn work_that_panics_ends_the_service_and_nothing_hangs() {
    let start = Instant::now();
    let disk = MemoryDisk::new(SIZE);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fuse::serve(&disk, |file| {
            (&*file).write_all(b"begun").unwrap();
            panic!("on purpose");
        })
        .map(|((), _)| ())
    }));
    assert!(ended.is_err());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(read_vec(&disk, 0, 5).unwrap(), b"begun");
    nothing_is_mounted();
}

#[test]
fn a_program_that_keeps_the_file_open_gets_errors_and_keeps_nobody() {
    let disk = MemoryDisk::new(SIZE);
    let (mut kept, _) = fuse::serve(&disk, |file| {
        let script = format!("exec 3<{}; echo open; sleep 60", name_of(file));
        let mut child =
            Command::new("sh").args(["-c", &script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut said = [0; 5];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        child
    })
    .unwrap();
    nothing_is_mounted();
    kept.kill().unwrap();
    kept.wait().unwrap();
}

#[test]
fn a_program_that_is_killed_in_the_middle_keeps_nobody() {
    let start = Instant::now();
    let disk = MemoryDisk::new(SIZE);
    fuse::serve(&disk, |file| {
        let script =
            format!("while :; do dd if=/dev/zero of={} bs=4k count=100 conv=notrunc; done", name_of(file));
        let mut child =
            Command::new("sh").args(["-c", &script]).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        child.kill().unwrap();
        child.wait().unwrap();
    })
    .unwrap();
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

/// A disk with a sector that cannot be read.
struct Scratched(MemoryDisk);

impl ReadAt for Scratched {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset <= 4_096_000 && offset + u64::try_from(buffer.len()).unwrap() > 4_096_000 {
            return Err(io::Error::other("scratched"));
        }
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn an_error_of_the_disk_reaches_the_program_and_its_cause_us() {
    let overlay = Overlay::new(Scratched(MemoryDisk::new(SIZE)), 8192, None);
    let ((), failure) = fuse::serve(&overlay, |file| {
        let mut bytes = [0; 512];
        assert_eq!(file.read_exact_at(&mut bytes, 4_096_000).unwrap_err().raw_os_error(), Some(5));
        // No room for more than two blocks of changes.
        let noise: Vec<u8> = (0..16_384u32).map(|i| u8::try_from(i % 255).unwrap()).collect();
        assert_eq!(file.write_all_at(&noise, 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    })
    .unwrap();
    assert_eq!(failure.unwrap().to_string(), "scratched");
    assert!(overlay.overflowed());
}

#[test]
fn holes_and_zeros_are_made_without_writing_them() {
    let disk = MemoryDisk::from_bytes(&[7; 100_000]);
    fuse::serve(&disk, |file| {
        let punch = ["--punch-hole", "--offset", "4096", "--length", "8192"];
        assert!(Command::new("fallocate").args(punch).arg(name_of(file)).status().unwrap().success());
    })
    .unwrap();
    assert_eq!(read_vec(&disk, 4095, 2).unwrap(), [7, 0]);
    assert_eq!(read_vec(&disk, 12_287, 2).unwrap(), [0, 7]);
}
