//! Two disks, one behind the other, seen as one.

use super::{ReadAt, WriteAt, past_the_end};
use crate::units::{ByteRange, u64_from, usize_from};
use std::io;

/// The bytes of `low`, followed by those of `high`.
#[derive(Debug, Clone, Copy)]
pub struct Joined<L, H> {
    low: L,
    high: H,
    seam: u64,
}

impl<L: ReadAt, H: ReadAt> Joined<L, H> {
    /// Joins two disks.
    pub fn new(low: L, high: H) -> Self {
        let seam = low.size_bytes();
        Self { low, high, seam }
    }

    /// How many of `length` bytes at `offset` are the lower disk's.
    fn below(&self, offset: u64, length: usize) -> usize {
        usize_from(self.seam.saturating_sub(offset)).min(length)
    }

    /// The parts of a range: in the lower disk, and in the upper one by its own count.
    fn parts(&self, range: ByteRange) -> [ByteRange; 2] {
        let low = range.intersection(ByteRange::new(0, self.seam));
        let high = range.intersection(ByteRange::new(self.seam, u64::MAX));
        let shift = |bytes: u64| bytes.saturating_sub(self.seam);
        [low, ByteRange::new(shift(high.start()), shift(high.end()))]
    }
}

impl<L: ReadAt, H: ReadAt> ReadAt for Joined<L, H> {
    fn size_bytes(&self) -> u64 {
        self.seam.saturating_add(self.high.size_bytes())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = self.below(offset, buffer.len());
        let (low, high) = buffer.split_at_mut_checked(length).ok_or_else(past_the_end)?;
        if !low.is_empty() {
            self.low.read_at(offset, low)?;
        }
        if high.is_empty() {
            return Ok(());
        }
        let behind = offset.checked_add(u64_from(length)).and_then(|at| at.checked_sub(self.seam));
        self.high.read_at(behind.ok_or_else(past_the_end)?, high)
    }

    fn will_need(&self, range: ByteRange) {
        let [low, high] = self.parts(range);
        self.low.will_need(low);
        self.high.will_need(high);
    }
}

impl<L: WriteAt, H: WriteAt> WriteAt for Joined<L, H> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = self.below(offset, bytes.len());
        let (low, high) = bytes.split_at_checked(length).ok_or_else(past_the_end)?;
        if !low.is_empty() {
            self.low.write_at(offset, low)?;
        }
        if high.is_empty() {
            return Ok(());
        }
        let behind = offset.checked_add(u64_from(length)).and_then(|at| at.checked_sub(self.seam));
        self.high.write_at(behind.ok_or_else(past_the_end)?, high)
    }

    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        let [low, high] = self.parts(range);
        if !low.is_empty() {
            self.low.write_zeros(low)?;
        }
        if high.is_empty() { Ok(()) } else { self.high.write_zeros(high) }
    }

    fn discard(&self, range: ByteRange) -> io::Result<()> {
        let [low, high] = self.parts(range);
        if !low.is_empty() {
            self.low.discard(low)?;
        }
        if high.is_empty() { Ok(()) } else { self.high.discard(high) }
    }

    fn flush(&self) -> io::Result<()> {
        self.low.flush()?;
        self.high.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::{MemoryDisk, read_vec};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn two_disks_are_like_one(
            seam in 0usize..300,
            ops in proptest::collection::vec((0usize..300, 0usize..300, any::<u8>(), any::<bool>()), 1..20),
        ) {
            let (low, high) = (MemoryDisk::new(u64_from(seam)), MemoryDisk::new(u64_from(300 - seam)));
            let joined = Joined::new(&low, &high);
            let mut model = vec![0; 300];
            for (at, length, byte, zero) in ops {
                let length = length.min(300 - at);
                if zero {
                    joined.write_zeros(ByteRange::at(u64_from(at), u64_from(length)).unwrap()).unwrap();
                } else {
                    joined.write_at(u64_from(at), &vec![byte; length]).unwrap();
                }
                model[at..at + length].fill(if zero { 0 } else { byte });
                prop_assert_eq!(&read_vec(&joined, u64_from(at), length).unwrap(), &model[at..at + length]);
            }
            prop_assert_eq!(read_vec(&joined, 0, 300).unwrap(), model);
            prop_assert!(joined.write_at(299, &[1, 2]).is_err());
        }
    }
}
