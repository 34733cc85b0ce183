//! Reading a disk.

use super::{Error, ioctl};
use crate::blockio::{ReadAt, past_the_end};
use crate::units::{ByteRange, u64_from};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

/// A block device or plain file that is opened read-only.
#[derive(Debug)]
pub struct DiskReader {
    file: File,
    size_bytes: u64,
}

impl DiskReader {
    /// Opens a disk, whoever else uses it, and reads what is on it now. What the kernel keeps of it in memory may be
    /// older where others write past it: a mapping of LVM, a partition, and a disk that stays open because of them.
    ///
    /// # Errors
    /// Where it cannot be opened, or is neither a block device nor a plain file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = File::open(path).map_err(Error::io(format!("opening {}", path.display())))?;
        let size_bytes = size_of_open_disk(&file, path)?;
        // A plain file has one cache for everybody.
        if file.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device()) {
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
                .map_err(Error::io(format!("reading {} anew", path.display())))?;
        }
        // A hint: reading works without it.
        let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
        Ok(Self { file, size_bytes })
    }
}

impl ReadAt for DiskReader {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        read_within(&self.file, self.size_bytes, offset, buffer)
    }

    fn will_need(&self, range: ByteRange) {
        if let (Ok(offset), Ok(length)) = (range.start().try_into(), range.length().try_into()) {
            let _ = posix_fadvise(&self.file, offset, length, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
        }
    }
}

/// Fills `buffer` from `offset` of a disk of `size_bytes`.
pub(super) fn read_within(file: &File, size_bytes: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    match offset.checked_add(u64_from(buffer.len())) {
        Some(end) if end <= size_bytes => file.read_exact_at(buffer, offset),
        _ => Err(past_the_end()),
    }
}

/// Size of a block device or plain file in bytes.
pub(super) fn size_of_open_disk(file: &File, path: &Path) -> Result<u64, Error> {
    let doing = || format!("reading the size of {}", path.display());
    let metadata = file.metadata().map_err(Error::io(doing()))?;
    if metadata.file_type().is_block_device() {
        ioctl::device_size_bytes(file).map_err(Error::io(doing()))
    } else if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(not_a_disk(path))
    }
}

/// The refusal of a directory, a terminal and the like.
pub(super) fn not_a_disk(path: &Path) -> Error {
    Error::refused(format!(
        "{} is neither a block device nor a plain file; name a disk such as /dev/sda or a file that holds one",
        path.display()
    ))
}
