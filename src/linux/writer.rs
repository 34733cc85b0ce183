//! Writing a disk that is held exclusively.
//!
//! A block device is opened with `O_EXCL`: the kernel refuses it while anything is mounted from it or stands
//! on it, also in a namespace that cannot be seen from here, and refuses such use afterwards. A plain file is
//! locked (`flock`), which other careful programs respect.

use super::reader::{not_a_disk, read_within, size_of_open_disk};
use super::{Error, discover, holders, ioctl, reread};
use crate::blockio::{ReadAt, WriteAt, past_the_end};
use crate::machine::{DiskKind, MachineDisk};
use crate::units::{ByteRange, GIB, MIB, u64_from, usize_from};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, FlockArg, PosixFadviseAdvice, fallocate, posix_fadvise};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After so much, write-back starts: memory holds little that is not on the disk yet, and a failing disk is noticed
/// early. It grows to the second number on a disk that is quick enough, so that on any disk what waits is written within
/// seconds: a deploy that is stopped waits for it.
const WRITE_BACK_BYTES: (u64, u64) = (8 * MIB, 64 * MIB);
/// A disk that takes less than the first for what was started gets more at once, one that takes longer than the second less.
const QUICK: Duration = Duration::from_millis(250);
const SLOW: Duration = Duration::from_secs(1);
/// The kernel zeroes and discards a range without looking at signals: pieces keep the program responsive.
const CLEAR_STEP_BYTES: u64 = GIB;
static ZEROS: [u8; 1 << 18] = [0; 1 << 18];

/// A disk that is overwritten.
#[derive(Debug)]
pub struct DiskWriter {
    file: File,
    path: String,
    kind: DiskKind,
    size_bytes: u64,
    sector_bytes: u64,
    unsynced_bytes: AtomicU64,
    /// After how much write-back starts. Held while it does: who writes on meanwhile waits for it before as much again.
    window_bytes: Mutex<u64>,
    failed: AtomicBool,
    /// For a device the lock only keeps udev from probing a half-written disk, so it may be missing.
    _lock: Option<Flock<File>>,
}

impl DiskWriter {
    /// Opens a disk that was discovered before, exclusively.
    ///
    /// # Errors
    /// [`Error::Refused`] where somebody uses it, with their names as far as they can be known, and where
    /// what stands at the path now is not what was discovered.
    pub fn open(disk: &MachineDisk) -> Result<Self, Error> {
        let path = Path::new(&disk.path);
        let flags = if disk.kind == DiskKind::Device { nix::libc::O_EXCL } else { 0 };
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).map_err(|error| {
                match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EBUSY) => in_use(disk),
                    Some(Errno::EROFS) => Error::refused(format!("{} is read-only", disk.path)),
                    _ => Error::io(format!("opening {} for writing", disk.path))(error),
                }
            })?;
        let metadata = file.metadata().map_err(Error::io(format!("examining {}", disk.path)))?;
        let kind = match metadata.file_type() {
            kind if kind.is_block_device() => DiskKind::Device,
            kind if kind.is_file() => DiskKind::File,
            _ => return Err(not_a_disk(path)),
        };
        let size_bytes = size_of_open_disk(&file, path)?;
        let whole_sectors = size_bytes.saturating_sub(size_bytes % disk.logical_sector_bytes.bytes());
        if kind != disk.kind || whole_sectors != disk.size_bytes {
            return Err(Error::refused(format!(
                "{} is not the disk it was a moment ago: it has {size_bytes} bytes instead of {}; start again",
                disk.path, disk.size_bytes
            )));
        }
        let lock = match lock(&file) {
            Ok(lock) => Some(lock),
            Err(_) if kind == DiskKind::Device => None,
            Err(Errno::EWOULDBLOCK) => {
                let owner = holders::lock_owner(metadata.dev(), metadata.ino());
                return Err(Error::refused(format!(
                    "{} is locked by {}; let it finish or stop it",
                    disk.path,
                    owner.as_deref().unwrap_or("another program")
                )));
            }
            Err(error) => return Err(Error::io(format!("locking {}", disk.path))(error)),
        };
        let sector_bytes = match kind {
            DiskKind::Device => ioctl::logical_sector_bytes(&file)
                .map_err(Error::io(format!("reading the sector size of {}", disk.path)))?,
            DiskKind::File => 1,
        };
        Ok(Self {
            file,
            path: disk.path.clone(),
            kind,
            size_bytes: whole_sectors,
            sector_bytes: sector_bytes.max(1),
            unsynced_bytes: AtomicU64::new(0),
            window_bytes: Mutex::new(WRITE_BACK_BYTES.0),
            failed: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// Makes the kernel read the partition table again; nothing for a plain file.
    ///
    /// # Errors
    /// As [`reread_table`](super::reread_table).
    pub fn reread_table(&self) -> Result<(), Error> {
        match self.kind {
            DiskKind::Device => reread::reread(&self.file, &self.path),
            DiskKind::File => Ok(()),
        }
    }

    fn check_range(&self, range: ByteRange) -> io::Result<()> {
        if range.end() <= self.size_bytes { Ok(()) } else { Err(past_the_end()) }
    }

    /// Remembers a failure of write-back, which the kernel reports only once.
    fn latch(&self, result: nix::Result<()>) -> io::Result<()> {
        result.map_err(|error| {
            self.failed.store(true, Ordering::Release);
            error.into()
        })
    }

    fn written(&self, bytes: u64) -> io::Result<()> {
        let before = self.unsynced_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) < WRITE_BACK_BYTES.0 {
            return Ok(());
        }
        let mut window = self.window_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.unsynced_bytes.load(Ordering::Relaxed) < *window {
            return Ok(());
        }
        self.unsynced_bytes.store(0, Ordering::Relaxed);
        let began = Instant::now();
        let started = self.start_write_back();
        *window = next_window(*window, began.elapsed());
        started
    }

    fn start_write_back(&self) -> io::Result<()> {
        match ioctl::start_write_back(&self.file) {
            // A file system that does not know the call; `flush` does its work at the end.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::ESPIPE) => Ok(()),
            result => self.latch(result),
        }
    }

    fn write_zero_bytes(&self, range: ByteRange) -> io::Result<()> {
        let mut at = range.start();
        while at < range.end() {
            let length = range.end().saturating_sub(at).min(u64_from(ZEROS.len()));
            self.file.write_all_at(ZEROS.get(..usize_from(length)).unwrap_or(&ZEROS), at)?;
            self.written(length)?;
            at = at.saturating_add(length);
        }
        Ok(())
    }

    /// The whole sectors inside a range; empty where it has none.
    fn whole_sectors(&self, range: ByteRange) -> ByteRange {
        let start = range.start().checked_next_multiple_of(self.sector_bytes).unwrap_or(range.end());
        let end = range.end().saturating_sub(range.end() % self.sector_bytes);
        if start < end { ByteRange::new(start, end) } else { ByteRange::new(range.end(), range.end()) }
    }

    /// Applies a kernel operation to the pieces of a range of whole sectors.
    fn in_steps(
        range: ByteRange,
        mut operation: impl FnMut(ByteRange) -> nix::Result<()>,
    ) -> nix::Result<()> {
        let mut at = range.start();
        while at < range.end() {
            let end = at.saturating_add(CLEAR_STEP_BYTES).min(range.end());
            match operation(ByteRange::new(at, end)) {
                Ok(()) => at = end,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn punch(&self, range: ByteRange) -> nix::Result<()> {
        let position = |bytes| i64::try_from(bytes).map_err(|_| Errno::EFBIG);
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Self::in_steps(range, |piece| {
            fallocate(&self.file, mode, position(piece.start())?, position(piece.length())?)
        })
    }
}

impl ReadAt for DiskWriter {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        read_within(&self.file, self.size_bytes, offset, buffer)
    }
}

impl WriteAt for DiskWriter {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // Without the check a plain file would grow.
        self.check_range(ByteRange::at(offset, u64_from(bytes.len())).ok_or_else(past_the_end)?)?;
        self.file.write_all_at(bytes, offset)?;
        self.written(u64_from(bytes.len()))
    }

    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        self.check_range(range)?;
        let whole = self.whole_sectors(range);
        let done = match self.kind {
            DiskKind::Device => Self::in_steps(whole, |piece| ioctl::zero_out(&self.file, piece)),
            DiskKind::File => self.punch(whole),
        };
        match done {
            Ok(()) => {
                self.write_zero_bytes(ByteRange::new(range.start(), whole.start()))?;
                self.write_zero_bytes(ByteRange::new(whole.end(), range.end()))
            }
            Err(error) if cannot(error) => self.write_zero_bytes(range),
            Err(error) => Err(error.into()),
        }
    }

    fn discard(&self, range: ByteRange) -> io::Result<()> {
        self.check_range(range)?;
        let whole = self.whole_sectors(range);
        let done = match self.kind {
            DiskKind::Device => Self::in_steps(whole, |piece| ioctl::discard(&self.file, piece)),
            DiskKind::File => self.punch(whole),
        };
        done.map_err(
            |error| {
                if cannot(error) { io::Error::from(io::ErrorKind::Unsupported) } else { error.into() }
            },
        )
    }

    fn flush(&self) -> io::Result<()> {
        self.unsynced_bytes.store(0, Ordering::Relaxed);
        self.latch(nix::unistd::fsync(&self.file))?;
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier write to the disk failed"));
        }
        // A hint: what is read to verify should come from the medium, not from memory.
        let _ = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        Ok(())
    }
}

/// How much is written before write-back starts again, where the last time took so long.
fn next_window(window: u64, took: Duration) -> u64 {
    let (least, most) = WRITE_BACK_BYTES;
    match took {
        took if took < QUICK => window.saturating_mul(2).min(most),
        took if took > SLOW => (window / 2).max(least),
        _ => window,
    }
}

/// True for the errors of a device or file system that does not know an operation.
fn cannot(error: Errno) -> bool {
    matches!(error, Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ENOTTY | Errno::EINVAL)
}

fn lock(file: &File) -> nix::Result<Flock<File>> {
    let same = file.try_clone().map_err(|_| Errno::EMFILE)?;
    Flock::lock(same, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)
}

/// The refusal of a device that the kernel says is in use: with who uses it now, not at discovery.
fn in_use(disk: &MachineDisk) -> Error {
    let now = discover::disk(Path::new(&disk.path), None).map(|disk| disk.holders).unwrap_or_default();
    if now.is_empty() {
        return Error::refused(format!(
            "{} is in use, but not by anything that can be seen from here; look for a container or another \
             program that works on it, or restart the machine",
            disk.path
        ));
    }
    let names: Vec<String> = now.iter().map(ToString::to_string).collect();
    Error::refused(format!("{} is in use: {}; release it first", disk.path, names.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_gets_little_at_once_and_a_quick_one_much() {
        let (least, most) = WRITE_BACK_BYTES;
        let after =
            |times: u32, took: Duration| (0..times).fold(16 * MIB, |window, _| next_window(window, took));
        assert_eq!(after(9, Duration::from_millis(20)), most);
        assert_eq!(after(9, Duration::from_secs(2)), least);
        assert_eq!(after(9, Duration::from_millis(600)), 16 * MIB);
    }
}
