//! A disk in memory that only holds the parts that were written, so a test can have one of 16 TiB.

use super::{ReadAt, WriteAt, past_the_end};
use crate::units::{ByteRange, u64_from, usize_from};
use std::collections::BTreeMap;
use std::io;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

const PAGE_BYTES: u64 = 64 << 10;

type Pages = BTreeMap<u64, Box<[u8]>>;

/// A sparse disk in memory; what was never written reads as zeros.
pub struct MemoryDisk {
    size_bytes: u64,
    pages: RwLock<Pages>,
}

impl MemoryDisk {
    /// A disk of zeros.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Self { size_bytes, pages: RwLock::default() }
    }

    /// A disk with this content.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let pages = (0u64..).zip(bytes.chunks(usize_from(PAGE_BYTES))).map(|(number, part)| {
            let mut page = vec![0; usize_from(PAGE_BYTES)];
            if let Some(start) = page.get_mut(..part.len()) {
                start.copy_from_slice(part);
            }
            (number, page.into_boxed_slice())
        });
        Self { size_bytes: u64_from(bytes.len()), pages: RwLock::new(pages.collect()) }
    }

    fn pages(&self) -> RwLockReadGuard<'_, Pages> {
        self.pages.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn pages_mut(&self) -> RwLockWriteGuard<'_, Pages> {
        self.pages.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Splits a range into (page number, bytes of that page); refuses what is outside the disk.
    fn pieces(
        &self,
        offset: u64,
        length: usize,
    ) -> io::Result<impl Iterator<Item = (u64, std::ops::Range<usize>)> + use<>> {
        let end = offset
            .checked_add(u64_from(length))
            .filter(|end| *end <= self.size_bytes)
            .ok_or_else(past_the_end)?;
        let pages = offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        Ok(pages
            .map(move |page| {
                let base = page.saturating_mul(PAGE_BYTES);
                let from = offset.max(base).saturating_sub(base);
                let to = end.saturating_sub(base).min(PAGE_BYTES);
                (page, usize_from(from)..usize_from(to))
            })
            .filter(|(_, within)| !within.is_empty()))
    }
}

impl ReadAt for MemoryDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let pages = self.pages();
        let mut rest = &mut *buffer;
        for (number, within) in self.pieces(offset, rest.len())? {
            let (part, behind) = rest.split_at_mut_checked(within.len()).ok_or_else(past_the_end)?;
            match pages.get(&number).and_then(|page| page.get(within)) {
                Some(source) => part.copy_from_slice(source),
                None => part.fill(0),
            }
            rest = behind;
        }
        Ok(())
    }
}

impl WriteAt for MemoryDisk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut pages = self.pages_mut();
        let mut rest = bytes;
        for (number, within) in self.pieces(offset, bytes.len())? {
            let (part, behind) = rest.split_at_checked(within.len()).ok_or_else(past_the_end)?;
            let page =
                pages.entry(number).or_insert_with(|| vec![0; usize_from(PAGE_BYTES)].into_boxed_slice());
            page.get_mut(within).ok_or_else(past_the_end)?.copy_from_slice(part);
            rest = behind;
        }
        Ok(())
    }

    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        let mut pages = self.pages_mut();
        for (number, within) in self.pieces(range.start(), usize_from(range.length()))? {
            if u64_from(within.len()) == PAGE_BYTES {
                pages.remove(&number);
            } else if let Some(part) = pages.get_mut(&number).and_then(|page| page.get_mut(within)) {
                part.fill(0);
            }
        }
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
    fn what_is_written_is_read_again_across_pages() {
        let disk = MemoryDisk::new(16 << 40);
        let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
        disk.write_at((1 << 40) - 100_000, &bytes).unwrap();
        assert_eq!(read_vec(&disk, (1 << 40) - 100_000, bytes.len()).unwrap(), bytes);
        disk.write_zeros(ByteRange::new(1 << 40, (1 << 40) + 70_000)).unwrap();
        assert_eq!(read_vec(&disk, 1 << 40, 70_000).unwrap(), vec![0; 70_000]);
        assert_eq!(read_vec(&disk, (1 << 40) + 70_000, 30_000).unwrap(), bytes[170_000..]);
    }

    #[test]
    fn nothing_is_read_or_written_beyond_the_end() {
        let disk = MemoryDisk::from_bytes(&[7; 100]);
        assert_eq!(read_vec(&disk, 99, 1).unwrap(), [7]);
        assert!(read_vec(&disk, 99, 2).is_err());
        assert!(disk.write_at(u64::MAX, &[1]).is_err());
        assert!(disk.write_at(100, &[1]).is_err());
        assert!(disk.write_at(100, &[]).is_ok());
    }
}
