//! What a disk is to us: bytes that can be read at an offset, written, zeroed, discarded and flushed.
//!
//! Everything above this ring sees disks through [`ReadAt`] and [`WriteAt`] only, so that a whole capture
//! and deploy runs on a [`MemoryDisk`] in a test. A reader that was given a [`ReadAt`] cannot write.

mod blank;
mod joined;
mod mapped;
mod memory;
mod overlay;
mod window;

pub use blank::BlankDisk;
pub use joined::Joined;
pub use mapped::{Column, Mapped, Stretch};
pub use memory::MemoryDisk;
pub use overlay::Overlay;
pub use window::Window;

use crate::units::{ByteRange, u64_from, usize_from};
use std::io;
use std::sync::Arc;

/// A source of bytes of a known size.
pub trait ReadAt: Send + Sync {
    /// Size in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` with the bytes at `offset`; `UnexpectedEof` where they reach beyond the size.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// A hint that the range is read soon. Returns at once, and may do nothing.
    fn will_need(&self, _range: ByteRange) {}
}

/// A disk that can be changed.
pub trait WriteAt: ReadAt {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the range read as zeros, by the cheapest way that guarantees it.
    fn write_zeros(&self, range: ByteRange) -> io::Result<()>;

    /// Tells the device that the content of the range is not needed. What is read there afterwards is
    /// undefined. `Unsupported` where the device cannot.
    fn discard(&self, range: ByteRange) -> io::Result<()>;

    /// Returns when everything written is on stable storage.
    fn flush(&self) -> io::Result<()>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: ReadAt + ?Sized> ReadAt for $pointer {
            fn size_bytes(&self) -> u64 {
                (**self).size_bytes()
            }
            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
                (**self).read_at(offset, buffer)
            }
            fn will_need(&self, range: ByteRange) {
                (**self).will_need(range);
            }
        }
        impl<T: WriteAt + ?Sized> WriteAt for $pointer {
            fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
                (**self).write_at(offset, bytes)
            }
            fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
                (**self).write_zeros(range)
            }
            fn discard(&self, range: ByteRange) -> io::Result<()> {
                (**self).discard(range)
            }
            fn flush(&self) -> io::Result<()> {
                (**self).flush()
            }
        }
    )*};
}
forward!(&T, Box<T>, Arc<T>);

/// Bytes in memory are a small read-only disk.
impl ReadAt for [u8] {
    fn size_bytes(&self) -> u64 {
        u64_from(self.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize_from(offset);
        let source =
            start.checked_add(buffer.len()).and_then(|end| self.get(start..end)).ok_or_else(past_the_end)?;
        buffer.copy_from_slice(source);
        Ok(())
    }
}

/// Reads `length` bytes at `offset`. The caller has bounded `length`; a length beyond the end of the disk
/// is refused before anything is allocated.
pub fn read_vec(disk: &dyn ReadAt, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    match offset.checked_add(u64_from(length)) {
        Some(end) if end <= disk.size_bytes() => {
            let mut bytes = vec![0; length];
            disk.read_at(offset, &mut bytes)?;
            Ok(bytes)
        }
        _ => Err(past_the_end()),
    }
}

/// The error of a read or write that reaches beyond the disk.
#[must_use]
pub fn past_the_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "beyond the end of the disk")
}
