//! A disk that seems to be changed and is not: what is written is kept beside it.
//!
//! Changes are kept in blocks: in memory up to a limit, beyond it in a second disk where there is one (the
//! *spill*), and not at all where there is none: then the write fails and nothing is forgotten. Invariants:
//!
//! - The base is only known as [`ReadAt`]: nothing here can write to it.
//! - A block whose bytes are all the same takes no memory but its entry.
//! - What was written is read again; what was not is read from the base.

use super::{ReadAt, WriteAt, past_the_end};
use crate::units::{ByteRange, u64_from, usize_from};
use std::collections::BTreeMap;
use std::io;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Size of the blocks in which changes are kept: that of a page, as most file systems write.
const BLOCK_BYTES: u64 = 4096;

/// One changed block.
enum Block {
    /// Every byte is this one.
    Filled(u8),
    Kept(Box<[u8]>),
    /// In the spill, at this multiple of [`BLOCK_BYTES`].
    Spilled(u64),
}

#[derive(Default)]
struct Changes {
    blocks: BTreeMap<u64, Block>,
    kept_bytes: u64,
    spilled_blocks: u64,
    overflowed: bool,
}

/// A base with its changes.
pub struct Overlay<'s, B> {
    base: B,
    limit_bytes: u64,
    spill: Option<&'s dyn WriteAt>,
    changes: RwLock<Changes>,
}

impl<'s, B: ReadAt> Overlay<'s, B> {
    /// No changes yet. At most `limit_bytes` of them are kept in memory, the others in `spill`, from its byte 0 on.
    pub fn new(base: B, limit_bytes: u64, spill: Option<&'s dyn WriteAt>) -> Self {
        Self { base, limit_bytes, spill, changes: RwLock::default() }
    }

    /// True where a write failed because neither memory nor the spill had room for it.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.changes().overflowed
    }

    /// How many bytes were changed, in whole blocks.
    #[must_use]
    pub fn changed_bytes(&self) -> u64 {
        u64_from(self.changes().blocks.len()).saturating_mul(BLOCK_BYTES)
    }

    fn changes(&self) -> RwLockReadGuard<'_, Changes> {
        self.changes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes_mut(&self) -> RwLockWriteGuard<'_, Changes> {
        self.changes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn range(&self, offset: u64, length: usize) -> io::Result<ByteRange> {
        ByteRange::at(offset, u64_from(length))
            .filter(|range| range.end() <= self.base.size_bytes())
            .ok_or_else(past_the_end)
    }

    /// The bytes of a block; the last one may be shorter.
    fn place(&self, number: u64) -> ByteRange {
        let start = number.saturating_mul(BLOCK_BYTES);
        ByteRange::new(start, start.saturating_add(BLOCK_BYTES).min(self.base.size_bytes()))
    }

    /// Reads a part of a changed block that starts `within` it.
    fn read_block(&self, block: &Block, within: u64, part: &mut [u8]) -> io::Result<()> {
        match block {
            Block::Filled(byte) => part.fill(*byte),
            Block::Kept(bytes) => bytes.as_ref().read_at(within, part)?,
            Block::Spilled(slot) => {
                let spill = self.spill.ok_or_else(past_the_end)?;
                spill.read_at(slot.saturating_mul(BLOCK_BYTES).saturating_add(within), part)?;
            }
        }
        Ok(())
    }

    /// The present content of a block.
    fn content(&self, changes: &Changes, number: u64) -> io::Result<Vec<u8>> {
        let place = self.place(number);
        let mut content = vec![0; usize_from(place.length())];
        match changes.blocks.get(&number) {
            Some(block) => self.read_block(block, 0, &mut content)?,
            None => self.base.read_at(place.start(), &mut content)?,
        }
        Ok(content)
    }

    /// Keeps a whole block.
    fn keep(&self, changes: &mut Changes, number: u64, content: &[u8]) -> io::Result<()> {
        let filled = repeated(content).map(Block::Filled);
        match changes.blocks.get_mut(&number) {
            Some(Block::Spilled(slot)) => {
                let spill = self.spill.ok_or_else(past_the_end)?;
                return spill.write_at(slot.saturating_mul(BLOCK_BYTES), content);
            }
            Some(Block::Kept(bytes)) if filled.is_none() => {
                bytes.copy_from_slice(content);
                return Ok(());
            }
            Some(Block::Kept(bytes)) => {
                changes.kept_bytes = changes.kept_bytes.saturating_sub(u64_from(bytes.len()));
            }
            Some(Block::Filled(_)) | None => {}
        }
        let block = match filled {
            Some(block) => block,
            None => self.room_for(changes, content)?,
        };
        changes.blocks.insert(number, block);
        Ok(())
    }

    fn room_for(&self, changes: &mut Changes, content: &[u8]) -> io::Result<Block> {
        let kept_bytes = changes.kept_bytes.saturating_add(u64_from(content.len()));
        if kept_bytes <= self.limit_bytes {
            changes.kept_bytes = kept_bytes;
            return Ok(Block::Kept(content.into()));
        }
        let slot = changes.spilled_blocks;
        let at = slot.saturating_mul(BLOCK_BYTES);
        let spill = self.spill.filter(|spill| at.saturating_add(BLOCK_BYTES) <= spill.size_bytes());
        let Some(spill) = spill else {
            changes.overflowed = true;
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("more than {} bytes of changes, and no room beside the memory", self.limit_bytes),
            ));
        };
        spill.write_at(at, content).inspect_err(|error| {
            changes.overflowed = error.kind() == io::ErrorKind::StorageFull;
        })?;
        changes.spilled_blocks = slot.saturating_add(1);
        Ok(Block::Spilled(slot))
    }

    /// Changes a range block by block: `change` is given the content of a block and where the range begins in it.
    fn change(&self, range: ByteRange, mut change: impl FnMut(&mut [u8], ByteRange)) -> io::Result<()> {
        let mut changes = self.changes_mut();
        for number in numbers(range).filter(|_| !range.is_empty()) {
            let place = self.place(number);
            let part = place.intersection(range);
            let mut content = if part == place {
                vec![0; usize_from(place.length())]
            } else {
                self.content(&changes, number)?
            };
            let from = usize_from(part.start().saturating_sub(place.start()));
            let to = from.saturating_add(usize_from(part.length()));
            change(content.get_mut(from..to).ok_or_else(past_the_end)?, part);
            self.keep(&mut changes, number, &content)?;
        }
        Ok(())
    }
}

/// The blocks that a range touches.
fn numbers(range: ByteRange) -> std::ops::Range<u64> {
    range.start() / BLOCK_BYTES..range.end().div_ceil(BLOCK_BYTES)
}

/// The byte that all of a block is made of.
fn repeated(content: &[u8]) -> Option<u8> {
    let (first, rest) = content.split_first()?;
    rest.iter().all(|byte| byte == first).then_some(*first)
}

impl<B: ReadAt> ReadAt for Overlay<'_, B> {
    fn size_bytes(&self) -> u64 {
        self.base.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = self.range(offset, buffer.len())?;
        let changes = self.changes();
        let mut position = range.start();
        let mut rest = buffer;
        for (number, block) in changes.blocks.range(numbers(range)) {
            let place = self.place(*number);
            let part = place.intersection(range);
            let unchanged = usize_from(part.start().saturating_sub(position));
            let (before, behind) = rest.split_at_mut_checked(unchanged).ok_or_else(past_the_end)?;
            if !before.is_empty() {
                self.base.read_at(position, before)?;
            }
            let changed = usize_from(part.length());
            let (bytes, behind) = behind.split_at_mut_checked(changed).ok_or_else(past_the_end)?;
            self.read_block(block, part.start().saturating_sub(place.start()), bytes)?;
            rest = behind;
            position = part.end();
        }
        if rest.is_empty() { Ok(()) } else { self.base.read_at(position, rest) }
    }

    fn will_need(&self, range: ByteRange) {
        self.base.will_need(range);
    }
}

impl<B: ReadAt> WriteAt for Overlay<'_, B> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = self.range(offset, bytes.len())?;
        self.change(range, |content, part| {
            let from = usize_from(part.start().saturating_sub(offset));
            if let Some(source) = bytes.get(from..from.saturating_add(content.len())) {
                content.copy_from_slice(source);
            }
        })
    }

    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        let range = self.range(range.start(), usize_from(range.length()))?;
        self.change(range, |content, _| content.fill(0))
    }

    fn discard(&self, range: ByteRange) -> io::Result<()> {
        self.write_zeros(range)
    }

    fn flush(&self) -> io::Result<()> {
        self.spill.map_or(Ok(()), WriteAt::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::{MemoryDisk, read_vec};
    use proptest::prelude::*;

    const SIZE: usize = 50_000;
    const LAST: u64 = 49_999;

    fn base() -> Vec<u8> {
        (0..SIZE).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    #[derive(Debug, Clone)]
    enum Op {
        Write(usize, usize, u8),
        Zero(usize, usize),
        Read(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let place = || (0..SIZE, 0..12_000usize).prop_map(|(at, length)| (at, length.min(SIZE - at)));
        prop_oneof![
            (place(), any::<u8>()).prop_map(|((at, length), byte)| Op::Write(at, length, byte)),
            place().prop_map(|(at, length)| Op::Zero(at, length)),
            place().prop_map(|(at, length)| Op::Read(at, length)),
        ]
    }

    proptest! {
        #[test]
        fn an_overlay_is_like_a_disk_that_was_written_to(
            ops in proptest::collection::vec(op(), 1..40),
            limit_blocks in 0u64..8,
        ) {
            let (base, spill) = (base(), MemoryDisk::new(1 << 20));
            let overlay = Overlay::new(base.as_slice(), limit_blocks * BLOCK_BYTES, Some(&spill));
            let mut model = base.clone();
            for op in ops {
                match op {
                    Op::Write(at, length, seed) => {
                        let bytes: Vec<u8> = (0..length).map(|i| seed.wrapping_add(u8::try_from(i % 7).unwrap())).collect();
                        overlay.write_at(u64_from(at), &bytes).unwrap();
                        model[at..at + length].copy_from_slice(&bytes);
                    }
                    Op::Zero(at, length) => {
                        overlay.write_zeros(ByteRange::at(u64_from(at), u64_from(length)).unwrap()).unwrap();
                        model[at..at + length].fill(0);
                    }
                    Op::Read(at, length) => {
                        prop_assert_eq!(&read_vec(&overlay, u64_from(at), length).unwrap(), &model[at..at + length]);
                    }
                }
                prop_assert!(overlay.changes().kept_bytes <= limit_blocks * BLOCK_BYTES);
            }
            prop_assert_eq!(read_vec(&overlay, 0, SIZE).unwrap(), model);
            prop_assert_eq!(base, self::base());
        }
    }

    #[test]
    fn what_has_no_room_fails_and_what_was_written_before_stays() {
        let base = base();
        let overlay = Overlay::new(base.as_slice(), 2 * BLOCK_BYTES, None);
        overlay.write_at(0, &[1, 2, 3]).unwrap();
        overlay.write_at(8192, &[4, 5, 6]).unwrap();
        assert!(!overlay.overflowed());
        let error = overlay.write_at(20_000, &[7, 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(overlay.overflowed());
        assert_eq!(read_vec(&overlay, 0, 3).unwrap(), [1, 2, 3]);
        assert_eq!(read_vec(&overlay, 20_000, 2).unwrap(), base[20_000..20_002]);
        // What is all the same takes no room.
        overlay.write_at(4096, &[0xFF; 4096]).unwrap();
        assert_eq!(read_vec(&overlay, 8000, 195).unwrap()[..192], [0xFF; 192]);
    }

    #[test]
    fn nothing_is_read_or_written_beyond_the_end() {
        let base = base();
        let overlay = Overlay::new(base.as_slice(), 1 << 20, None);
        assert!(overlay.write_at(LAST, &[1, 2]).is_err());
        assert!(overlay.write_zeros(ByteRange::new(0, u64::MAX)).is_err());
        assert!(read_vec(&overlay, u64::MAX, 1).is_err());
        overlay.write_at(LAST, &[9]).unwrap();
        assert_eq!(read_vec(&overlay, LAST, 1).unwrap(), [9]);
    }
}
