//! F2FS: the used map is everything before the main area but for summaries of free segments, and the valid blocks
//! of the main area.
//!
//! Invariants:
//!
//! - The map is that of the newest whole checkpoint, and true only where nothing was written behind it: not where
//!   the file system was not unmounted, and not where nodes that were synced later wait to be rolled forward, which
//!   even an unmounted checkpoint can have before it.
//! - Both packs of checkpoints and the next block of the log of warm nodes are in the map: the target may hold an
//!   older deploy of the same file system, whose checkpoints and synced nodes would otherwise be believed.
//!
//! ```text
//! 0        cp_blkaddr    sit_blkaddr     nat_blkaddr     ssa_blkaddr   main_blkaddr
//! | 2 superblocks | 2 checkpoint packs | SIT, twice | NAT, twice | SSA | segments of 2 MiB ... |
//! ```

mod checkpoint;
mod segment_table;
mod superblock;

use self::checkpoint::{Checkpoint, Newest};
use self::superblock::{Superblock, bytes_of};
use super::error::read_structure;
use super::judgement::{Identity, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, RangeSet, read_u64le};

/// `F2FS_BLKSIZE`, the only one that is supported.
const BLOCK: usize = 4096;
const BLOCK_BYTES: u64 = 4096;
/// Blocks of a segment; the kernel knows no other number.
const BLOCKS_PER_SEGMENT: u64 = 512;
/// `cp_ver` in the footer that ends every node.
const FOOTER_CP_VER_AT: usize = 4084;

/// Sees the magic number of either superblock.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(superblock::is_there(volume)?.then_some(FileSystemKind::F2fs))
}

/// Reads superblocks, checkpoints and the segment information table. Below the superblock, damage and unknown
/// forms are states of a reading that still tells the UUID, the label and the size.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let superblock::Found { superblock, hint } = superblock::read(volume)?;
    let judged = settle(judge(volume, &superblock, hint))?;
    // One that is spread over several devices is larger than each.
    let size_bytes = superblock.size_bytes().min(volume.size_bytes());
    Ok(judged.of(Identity {
        kind: FileSystemKind::F2fs,
        uuid: superblock.uuid,
        label: superblock.label,
        block_size_bytes: BLOCK_BYTES,
        size_bytes,
    }))
}

fn judge(volume: &dyn ReadAt, superblock: &Superblock, hint: Option<String>) -> Result<Judgement, Error> {
    superblock.check_features()?;
    let Newest { checkpoint, doubt } = checkpoint::read(volume, superblock)?;
    checkpoint.check_flags()?;
    let unfinished = checkpoint.unfinished().map(str::to_owned);
    let why = match (unfinished, doubt) {
        (Some(why), _) => Some(why),
        (None, Some(doubt)) => Some(format!("was interrupted while it wrote a checkpoint ({doubt})")),
        (None, None) => synced_later(volume, superblock, &checkpoint)?.then(|| {
            "has files that were synced after its last checkpoint, which a mount rolls forward".to_owned()
        }),
    };
    if let Some(why) = why {
        let fact = format!(
            "it {why}; mount it and unmount it once, or run fsck.f2fs on it, or capture it with --when-dirty raw"
        );
        return Ok(Judgement::Dirty { fact });
    }
    let used = used_map(volume, superblock, &checkpoint)?;
    Ok(Judgement::Clean { map: used, hints: hint.into_iter().chain(checkpoint.hint()).collect() })
}

/// True where the block from which the kernel rolls forward is a node of this checkpoint's future.
fn synced_later(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    checkpoint: &Checkpoint,
) -> Result<bool, Error> {
    const STRUCTURE: &str = "F2FS node";
    let at = bytes_of(checkpoint.next_warm_node(superblock));
    let node = read_structure(volume, STRUCTURE, at, BLOCK)?;
    let cp_ver = read_u64le(&node, FOOTER_CP_VER_AT).map_err(Error::short(STRUCTURE, at))?;
    Ok(checkpoint.is_recoverable(cp_ver))
}

fn used_map(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    checkpoint: &Checkpoint,
) -> Result<RangeSet, Error> {
    let segments = segment_table::read(volume, superblock, checkpoint)?;
    let tables = ByteRange::new(0, bytes_of(superblock.ssa_blkaddr));
    let next = checkpoint.next_warm_node(superblock);
    let next = ByteRange::new(bytes_of(next), bytes_of(next.saturating_add(1)));
    let mut used: RangeSet =
        [tables].into_iter().chain(segments.summaries.iter()).chain(segments.blocks.iter()).collect();
    used.insert(next);
    Ok(used)
}
