//! A part of a disk, seen as a disk of its own: how a volume is read and written.

use super::{ReadAt, WriteAt, past_the_end};
use crate::units::{ByteRange, u64_from};
use std::io;

/// The bytes of `range` on `disk`. Nothing outside the range can be reached.
#[derive(Debug, Clone, Copy)]
pub struct Window<D> {
    disk: D,
    range: ByteRange,
}

impl<D: ReadAt> Window<D> {
    /// A window; `UnexpectedEof` where the range is not wholly on the disk.
    pub fn new(disk: D, range: ByteRange) -> io::Result<Self> {
        if range.end() > disk.size_bytes() { Err(past_the_end()) } else { Ok(Self { disk, range }) }
    }

    /// The position on the disk of `length` bytes at `offset` of the window.
    fn place(&self, offset: u64, length: u64) -> io::Result<ByteRange> {
        ByteRange::new(0, self.range.length())
            .contains(ByteRange::at(offset, length).ok_or_else(past_the_end)?)
            .then(|| self.range.start().checked_add(offset).and_then(|start| ByteRange::at(start, length)))
            .flatten()
            .filter(|place| place.end() <= self.range.end())
            .ok_or_else(past_the_end)
    }
}

impl<D: ReadAt> ReadAt for Window<D> {
    fn size_bytes(&self) -> u64 {
        self.range.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(self.place(offset, u64_from(buffer.len()))?.start(), buffer)
    }

    fn will_need(&self, range: ByteRange) {
        if let Ok(place) = self.place(range.start(), range.length()) {
            self.disk.will_need(place);
        }
    }
}

impl<D: WriteAt> WriteAt for Window<D> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(self.place(offset, u64_from(bytes.len()))?.start(), bytes)
    }

    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        self.disk.write_zeros(self.place(range.start(), range.length())?)
    }

    fn discard(&self, range: ByteRange) -> io::Result<()> {
        self.disk.discard(self.place(range.start(), range.length())?)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::{MemoryDisk, read_vec};

    #[test]
    fn a_window_reaches_its_own_bytes_only() {
        let disk = MemoryDisk::from_bytes(&(0..100).collect::<Vec<u8>>());
        let window = Window::new(&disk, ByteRange::new(10, 20)).unwrap();
        assert_eq!(read_vec(&window, 2, 3).unwrap(), [12, 13, 14]);
        assert!(read_vec(&window, 9, 2).is_err());
        assert!(window.write_at(10, &[1]).is_err());
        assert!(window.write_zeros(ByteRange::new(5, 11)).is_err());
        window.write_at(9, &[1]).unwrap();
        assert_eq!(read_vec(&disk, 19, 2).unwrap(), [1, 20]);
        assert!(Window::new(&disk, ByteRange::new(90, 101)).is_err());
    }
}
