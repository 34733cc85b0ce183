//! A blank disk in memory, of any size, that takes a bounded amount of data.
//!
//! Invariants:
//!
//! - What was never written reads as zeros, and zeros that are written take no memory.
//! - A write that would keep more than the limit fails, and changes nothing of the block it fails at.

use super::{ReadAt, WriteAt, past_the_end};
use crate::units::{ByteRange, u64_from, usize_from};
use std::collections::BTreeMap;
use std::io;
use std::sync::{PoisonError, RwLock};

/// What is kept at once: a page, the unit in which a kernel writes.
const BLOCK_BYTES: u64 = 4096;

/// A disk that was blank, with what was written to it since.
pub struct BlankDisk {
    size_bytes: u64,
    most_blocks: usize,
    blocks: RwLock<BTreeMap<u64, Vec<u8>>>,
}

impl BlankDisk {
    /// A disk of zeros that keeps at most `limit_bytes` of something else.
    #[must_use]
    pub fn new(size_bytes: u64, limit_bytes: u64) -> Self {
        let most_blocks = usize_from(limit_bytes / BLOCK_BYTES);
        Self { size_bytes, most_blocks, blocks: RwLock::default() }
    }

    fn range(&self, offset: u64, length: u64) -> io::Result<ByteRange> {
        ByteRange::at(offset, length).filter(|range| range.end() <= self.size_bytes).ok_or_else(past_the_end)
    }
}

/// The blocks that a range touches, and a whole block's bytes.
fn numbers(range: ByteRange) -> std::ops::Range<u64> {
    let first = range.start() / BLOCK_BYTES;
    first..if range.is_empty() { first } else { range.end().div_ceil(BLOCK_BYTES) }
}

fn block(number: u64) -> ByteRange {
    let start = number.saturating_mul(BLOCK_BYTES);
    ByteRange::new(start, start.saturating_add(BLOCK_BYTES))
}

/// A part, as positions from the start of what it is a part of.
fn within(part: ByteRange, of: ByteRange) -> std::ops::Range<usize> {
    let position = |byte: u64| usize_from(byte.saturating_sub(of.start()));
    position(part.start())..position(part.end())
}

impl ReadAt for BlankDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = self.range(offset, u64_from(buffer.len()))?;
        buffer.fill(0);
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        for (number, bytes) in blocks.range(numbers(range)) {
            let part = block(*number).intersection(range);
            let source = bytes.get(within(part, block(*number))).ok_or_else(past_the_end)?;
            buffer.get_mut(within(part, range)).ok_or_else(past_the_end)?.copy_from_slice(source);
        }
        Ok(())
    }
}

impl WriteAt for BlankDisk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = self.range(offset, u64_from(bytes.len()))?;
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        for number in numbers(range) {
            let part = block(number).intersection(range);
            let source = bytes.get(within(part, range)).ok_or_else(past_the_end)?;
            let is_new = !blocks.contains_key(&number);
            let is_zero = source.iter().all(|byte| *byte == 0);
            if is_new && is_zero {
                continue;
            }
            if is_new && blocks.len() >= self.most_blocks {
                let fact = format!("more than {} blocks of data", self.most_blocks);
                return Err(io::Error::new(io::ErrorKind::StorageFull, fact));
            }
            let kept = blocks.entry(number).or_insert_with(|| vec![0; usize_from(BLOCK_BYTES)]);
            kept.get_mut(within(part, block(number))).ok_or_else(past_the_end)?.copy_from_slice(source);
            if is_zero && kept.iter().all(|byte| *byte == 0) {
                blocks.remove(&number);
            }
        }
        Ok(())
    }

    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        let range = self.range(range.start(), range.length())?;
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        for (number, bytes) in blocks.range_mut(numbers(range)) {
            let part = within(block(*number).intersection(range), block(*number));
            bytes.get_mut(part).ok_or_else(past_the_end)?.fill(0);
        }
        blocks.retain(|_, bytes| bytes.iter().any(|byte| *byte != 0));
        Ok(())
    }

    fn discard(&self, range: ByteRange) -> io::Result<()> {
        self.write_zeros(range)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::read_vec;

    #[test]
    fn what_is_written_is_read_again_and_zeros_take_no_memory() {
        let disk = BlankDisk::new(16 << 40, 1 << 20);
        let bytes: Vec<u8> = (1..=251).cycle().take(20_000).collect();
        let at = (1 << 40) - 10_001;
        disk.write_at(at, &bytes).unwrap();
        assert_eq!(read_vec(&disk, at, bytes.len()).unwrap(), bytes);
        assert_eq!(read_vec(&disk, at - 5000, 5000).unwrap(), vec![0; 5000]);
        // Far more than the limit, but nothing in it.
        disk.write_at(0, &vec![0; 2 << 20]).unwrap();
        disk.write_zeros(ByteRange::new(0, 16 << 40)).unwrap();
        assert_eq!(read_vec(&disk, at, bytes.len()).unwrap(), vec![0; bytes.len()]);
        assert!(disk.blocks.read().unwrap().is_empty());
        disk.write_at(at, &bytes).unwrap();
        disk.write_at(at, &vec![0; bytes.len()]).unwrap();
        assert!(disk.blocks.read().unwrap().is_empty());
    }

    #[test]
    fn more_than_the_limit_and_what_lies_beyond_the_end_are_refused() {
        let disk = BlankDisk::new(1 << 20, 8192);
        disk.write_at(0, &[1; 8192]).unwrap();
        disk.write_at(0, &[2; 8192]).unwrap();
        let error = disk.write_at(8192, &[1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(read_vec(&disk, 8192, 1).unwrap(), [0]);
        disk.write_zeros(ByteRange::new(0, 4096)).unwrap();
        disk.write_at(8192, &[1]).unwrap();
        assert!(disk.write_at((1 << 20) - 1, &[0, 0]).is_err());
        assert!(disk.write_at(u64::MAX, &[1]).is_err());
        assert!(disk.read_at(1 << 20, &mut [0]).is_err());
        assert!(disk.write_zeros(ByteRange::new(0, (1 << 20) + 1)).is_err());
    }
}
