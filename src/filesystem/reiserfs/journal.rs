//! The journal: whether a mount would replay a transaction.
//!
//! A transaction begins with a block that describes it and ends with one that commits it. The header says where the
//! first one stands that was not written to its place. Offsets and names are those of `struct reiserfs_journal_desc`,
//! `_commit` and `_header` in the kernel's `fs/reiserfs/reiserfs.h`, rules those of `journal_read` in its `journal.c`.
//!
//! ```text
//! journal_1st_block, going round                                                    behind it
//! | ... | description | blocks ... | commit | description | blocks ... | commit | ... | header |
//! ```

use super::superblock::Superblock;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{read_slice, read_u32le, usize_from};

const STRUCTURE: &str = "ReiserFS journal";
/// `JOURNAL_DESC_MAGIC`, in the last twelve bytes of the block.
const MAGIC: &[u8] = b"ReIsErLB";
const MAGIC_FROM_END: usize = 12;
/// Bytes that are read at a time, where the whole journal is looked through.
const PIECE_BYTES: u64 = 1 << 20;

/// `j_trans_id` and `j_len`, with which a description and a commit begin.
type Transaction = (u32, u32);

/// Why the journal is not at rest.
pub(super) fn unfinished(
    volume: &dyn ReadAt,
    superblock: &Superblock,
) -> Result<Option<&'static str>, Error> {
    let at = superblock.block(superblock.journal_header()).start();
    let header = read_structure(volume, STRUCTURE, at, usize_from(superblock.block_bytes))?;
    let short = Error::short(STRUCTURE, at);
    let last_flushed = read_u32le(&header, 0).map_err(&short)?;
    let first_unflushed = u64::from(read_u32le(&header, 4).map_err(&short)?);
    let waits = if last_flushed > 0 && first_unflushed < superblock.journal_size {
        let place = superblock.block(superblock.journal_1st_block.saturating_add(first_unflushed));
        let block = read_structure(volume, STRUCTURE, place.start(), usize_from(superblock.block_bytes))?;
        match description(&block) {
            Some(found @ (id, _)) if id > last_flushed => {
                is_committed(volume, superblock, first_unflushed, found)?
            }
            _ => false,
        }
    } else {
        // The header of a journal that was never used: a mount looks for transactions everywhere.
        any_committed(volume, superblock)?
    };
    Ok(waits.then_some("has transactions in its journal that a mount replays"))
}

/// The transaction that a block describes.
fn description(block: &[u8]) -> Option<Transaction> {
    let magic = read_slice(block, block.len().checked_sub(MAGIC_FROM_END)?, MAGIC.len()).ok()?;
    beginning(block).filter(|(_, length)| magic == MAGIC && *length > 0)
}

fn beginning(block: &[u8]) -> Option<Transaction> {
    Some((read_u32le(block, 0).ok()?, read_u32le(block, 4).ok()?))
}

/// True where the commit of a transaction, whose description is block `offset` of the journal, is there.
fn is_committed(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    offset: u64,
    transaction: Transaction,
) -> Result<bool, Error> {
    let behind = offset.saturating_add(transaction.1.into()).saturating_add(1);
    let offset = behind.checked_rem(superblock.journal_size).unwrap_or(0);
    let place = superblock.block(superblock.journal_1st_block.saturating_add(offset));
    let commit = read_structure(volume, STRUCTURE, place.start(), 8)?;
    Ok(beginning(&commit) == Some(transaction))
}

fn any_committed(volume: &dyn ReadAt, superblock: &Superblock) -> Result<bool, Error> {
    let piece = PIECE_BYTES.checked_div(superblock.block_bytes).unwrap_or(1).max(1);
    let mut offset = 0;
    while offset < superblock.journal_size {
        let count = superblock.journal_size.saturating_sub(offset).min(piece);
        let at = superblock.block(superblock.journal_1st_block.saturating_add(offset)).start();
        let length = usize_from(count.saturating_mul(superblock.block_bytes));
        let bytes = read_structure(volume, STRUCTURE, at, length)?;
        for (number, block) in (offset..).zip(bytes.chunks(usize_from(superblock.block_bytes))) {
            if let Some(transaction) = description(block)
                && is_committed(volume, superblock, number, transaction)?
            {
                return Ok(true);
            }
        }
        offset = offset.saturating_add(count);
    }
    Ok(false)
}
