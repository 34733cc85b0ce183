//! Whether the log is clean: the last record before the head of the log is an unmount record.
//!
//! ```text
//! record   header (1 block; with v2 logs one for each 32 KiB of h_size), then h_len bytes of operations
//! block    512 bytes; the first word of each is the number of the cycle that wrote it (in a header the
//!          second word, behind the magic number)
//! log      cycle n ... n | n-1 ... n-1      a ring; the head is where the next record goes
//! ```
//!
//! The head is found as the kernel finds it (`xlog_find_head` and `xlog_find_tail` in
//! `fs/xfs/xfs_log_recover.c`), because what counts is what the kernel would replay: a binary search for the
//! change of cycle, a look at as many blocks before it as can be in flight at once, then a step back over a
//! record that is not whole. Offsets and names are those of `struct xlog_rec_header` in
//! `fs/xfs/libxfs/xfs_log_format.h`.

mod blocks;

use super::super::Error;
use super::superblock::Superblock;
use crate::blockio::ReadAt;
use crate::units::ByteRange;
use blocks::{Blocks, Header, STRUCTURE};

/// What the log says about the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogState {
    /// Nothing is to be replayed.
    Clean,
    /// Something is.
    Dirty {
        /// Why, and the way out.
        fact: String,
    },
}

/// `XLOG_MAX_ICLOGS`: records that can be in flight at once.
const MAX_ICLOGS: u64 = 8;
/// Blocks of the largest record, v1 and v2 (`XLOG_REC_SHIFT`).
const MAX_RECORD_BLOCKS: (u64, u64) = (64, 512);

/// Judges the log in `range`.
pub(super) fn read(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    range: ByteRange,
) -> Result<LogState, Error> {
    let log = Log {
        blocks: Blocks::new(volume, range),
        uuid: superblock.uuid,
        is_v2: superblock.has_log_v2(),
        record_blocks: if superblock.has_log_v2() { MAX_RECORD_BLOCKS.1 } else { MAX_RECORD_BLOCKS.0 },
    };
    let Some(head) = log.find_head()? else {
        return log.check_all_zeros();
    };
    log.check_last_record(head)
}

struct Log<'a> {
    blocks: Blocks<'a>,
    uuid: [u8; 16],
    is_v2: bool,
    record_blocks: u64,
}

impl Log<'_> {
    /// The block where the next record goes; `None` where the first block was never written.
    fn find_head(&self) -> Result<Option<u64>, Error> {
        let count = self.blocks.count();
        let last = count.saturating_sub(1);
        let (first_cycle, last_cycle) = (self.blocks.cycle(0)?, self.blocks.cycle(last)?);
        if first_cycle == 0 {
            return Ok(None);
        }
        let head = if last_cycle == 0 {
            let estimate = self.cycle_start(last, 0)?;
            let head = self.first_hole(estimate, 0)?;
            return self.whole_record_before(head).map(Some);
        } else if first_cycle == last_cycle {
            self.first_hole(count, last_cycle.wrapping_sub(1))?
        } else {
            let estimate = self.cycle_start(last, last_cycle)?;
            self.first_hole(estimate, last_cycle)?
        };
        let head = self.whole_record_before(head)?;
        Ok(Some(if head == count { 0 } else { head }))
    }

    /// Binary search for the first block of `cycle`, which block `last` has and block 0 has not.
    fn cycle_start(&self, last: u64, cycle: u32) -> Result<u64, Error> {
        let (mut other, mut found) = (0, last);
        while found.saturating_sub(other) > 1 {
            let middle = u64::midpoint(other, found);
            if self.blocks.cycle(middle)? == cycle {
                found = middle;
            } else {
                other = middle;
            }
        }
        Ok(found)
    }

    /// Records are written out of order: a hole with an old cycle among the blocks that can have been in
    /// flight before the estimate is where the log really ends. Behind the wrap the old cycle is one less.
    fn first_hole(&self, estimate: u64, cycle: u32) -> Result<u64, Error> {
        let count = self.blocks.count();
        let scan = MAX_ICLOGS.saturating_mul(self.record_blocks).min(count);
        let before = scan.saturating_sub(estimate);
        if before > 0 && cycle != 0 {
            let tail = count.saturating_sub(before)..count;
            if let Some(hole) = self.blocks.first_of_cycle(tail, cycle.wrapping_sub(1))? {
                return Ok(hole);
            }
        }
        let near = estimate.saturating_sub(scan)..estimate;
        Ok(self.blocks.first_of_cycle(near, cycle)?.unwrap_or(estimate))
    }

    /// The head again, or the start of the record before it where that record is not whole.
    fn whole_record_before(&self, head: u64) -> Result<u64, Error> {
        let count = self.blocks.count();
        let near = head.saturating_sub(self.record_blocks)..head;
        if let Some((at, header)) = self.blocks.last_header(near.clone())? {
            self.check_uuid(at, &header)?;
            let length = head.saturating_sub(at);
            return Ok(if length == header.record_blocks(self.is_v2) { head } else { at });
        }
        if near.start == 0 {
            let rest = self.record_blocks.saturating_sub(head);
            let behind = count.saturating_sub(rest).max(head)..count;
            if let Some((at, header)) = self.blocks.last_header(behind)? {
                self.check_uuid(at, &header)?;
                let length = count.saturating_sub(at).saturating_add(head);
                return Ok(if length == header.record_blocks(self.is_v2) { head } else { at });
            }
        }
        Err(self.corrupt(head, "no record header is found before the head of the log"))
    }

    /// A record of another file system is not replayed but refused by the kernel; IRIX wrote no UUID.
    fn check_uuid(&self, at: u64, header: &Header) -> Result<(), Error> {
        if header.fs_uuid == [0; 16] || header.fs_uuid == self.uuid {
            Ok(())
        } else {
            Err(self.corrupt(at, "its last record carries the UUID of another file system"))
        }
    }

    /// `xlog_check_unmount_rec`: one operation with the unmount flag, and nothing between it and the head.
    fn check_last_record(&self, head: u64) -> Result<LogState, Error> {
        let count = self.blocks.count();
        let found = match self.blocks.last_header(0..head)? {
            Some(found) => Some(found),
            None => self.blocks.last_header(head..count)?,
        };
        let Some((at, header)) = found else {
            return Err(self.corrupt(head, "it holds no record"));
        };
        let wrapped = |block: u64| block.checked_rem(count).unwrap_or_default();
        let behind = wrapped(at.saturating_add(header.record_blocks(self.is_v2)));
        let data = wrapped(at.saturating_add(header.header_blocks(self.is_v2)));
        if behind == wrapped(head) && header.num_logops == 1 && self.blocks.has_unmount_operation(data)? {
            return Ok(LogState::Clean);
        }
        Ok(LogState::Dirty {
            fact: format!(
                "its log is not clean (the last record, at log block {at} before the head at block {head}, is no unmount record): changes that the system was told are safe are only in the log; mount the file system and unmount it once, or let --when-dirty raw capture every block"
            ),
        })
    }

    /// An old `xfs_repair` or `xfs_copy` left a log of zeros, with nothing to replay. The kernel looks at
    /// the first block only; a first block that was lost must not pass for that.
    fn check_all_zeros(&self) -> Result<LogState, Error> {
        match self.blocks.first_written()? {
            None => Ok(LogState::Clean),
            Some(block) => {
                Err(self.corrupt(0, &format!("its first block is zero, but block {block} is not")))
            }
        }
    }

    fn corrupt(&self, block: u64, fact: &str) -> Error {
        Error::corrupt(STRUCTURE, self.blocks.at(block), fact)
    }
}
