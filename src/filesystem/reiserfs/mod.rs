//! ReiserFS 3 (formats 3.5 and 3.6): the used map is its bitmaps.
//!
//! Invariants:
//!
//! - A block is used where a bitmap says so. The bitmaps are believed only where they have as many free blocks as the
//!   superblock counts, and call superblock, journal, root and themselves used.
//! - The map is true only where the file system says that it was unmounted, and where no transaction stands at the place
//!   of the journal that a mount looks at: the superblock is journaled itself, so after a crash it may still say
//!   that it was unmounted.
//!
//! ```text
//! 0          64 KiB                                                       every 8 * blocksize blocks
//! | reserved | superblock | bitmap | journal | its header | tree ... | bitmap | tree ... | bitmap | ...
//! ```

mod journal;
mod superblock;

use self::superblock::Superblock;
use super::bitmap::insert_set_bits;
use super::error::read_structure;
use super::judgement::{Identity, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::FileSystemKind;
use crate::units::{RangeSet, usize_from};

const BITMAP: &str = "ReiserFS bitmap";

/// Sees the magic number of a superblock at either place.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(superblock::find(volume)?.map(|_| FileSystemKind::Reiserfs))
}

/// Reads superblock, journal and bitmaps. Below the superblock, damage and unknown forms are states of a reading that
/// still tells the UUID, the label and the size.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let superblock = Superblock::read(volume)?;
    let judged = settle(judge(volume, &superblock))?;
    let size_bytes = superblock.size_bytes().min(volume.size_bytes());
    Ok(judged.of(Identity {
        kind: FileSystemKind::Reiserfs,
        block_size_bytes: superblock.block_bytes,
        size_bytes,
        uuid: superblock.uuid,
        label: superblock.label,
    }))
}

fn judge(volume: &dyn ReadAt, superblock: &Superblock) -> Result<Judgement, Error> {
    superblock.check_form()?;
    superblock.check_geometry(volume.size_bytes())?;
    superblock.check_error_flag()?;
    let why = match superblock.unfinished() {
        Some(why) => Some(why),
        None => journal::unfinished(volume, superblock)?,
    };
    if let Some(why) = why {
        let fact = format!(
            "it {why}; mount it and unmount it once, or run reiserfsck on it, or capture it with --when-dirty raw"
        );
        return Ok(Judgement::Dirty { fact });
    }
    Ok(Judgement::Clean { map: read_bitmaps(volume, superblock)?, hints: Vec::new() })
}

fn read_bitmaps(volume: &dyn ReadAt, superblock: &Superblock) -> Result<RangeSet, Error> {
    let mut used = RangeSet::new();
    for number in 0..superblock.bitmaps() {
        let place = superblock.block(superblock.bitmap(number));
        let bits = read_structure(volume, BITMAP, place.start(), usize_from(superblock.block_bytes))?;
        let first = number.saturating_mul(superblock.blocks_per_bitmap());
        let count = superblock.block_count.saturating_sub(first);
        insert_set_bits(&mut used, &bits, first, count, superblock.block_bytes);
        if !used.contains(place) {
            return Err(Error::corrupt(BITMAP, place.start(), "it says that its own block is free"));
        }
    }
    let free_bytes = superblock.size_bytes().saturating_sub(used.total_bytes());
    if free_bytes != superblock.free_blocks.saturating_mul(superblock.block_bytes) {
        return Err(Error::corrupt(
            BITMAP,
            superblock.block(superblock.bitmap(0)).start(),
            format!(
                "there are {free_bytes} free bytes, but the superblock counts {} free blocks of {} bytes",
                superblock.free_blocks, superblock.block_bytes
            ),
        ));
    }
    for needed in superblock.needed() {
        if !used.contains(needed) {
            return Err(Error::corrupt(
                BITMAP,
                superblock.block(superblock.bitmap(0)).start(),
                format!("it says that {needed} are free, where the superblock, the journal or the root is"),
            ));
        }
    }
    Ok(used)
}
