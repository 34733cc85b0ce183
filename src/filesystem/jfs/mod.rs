//! JFS (IBM's for OS/2 and Linux): the used map is the block allocation map of the aggregate, the log and the work space of
//! its checker.
//!
//! Invariants:
//!
//! - A block is used where the working or the persistent map says so. The map is believed only where every page of it
//!   and its control page count what it says, and where it calls its own blocks and the fixed structures used.
//! - The log and the work space lie behind what the map covers, and are taken whole.
//! - The map is true only where superblock and log say that nothing waits to be replayed.
//!
//! ```text
//! 0          32 KiB       36 KiB   44 KiB                60 KiB       64 KiB              s_size
//! | reserved | superblock | map of | aggregate inodes    | superblock | block map, ...     | work space | log |
//!                          inodes    (2: the block map)    again
//! ```

mod block_map;
mod extents;
mod log;
mod superblock;

use self::superblock::Superblock;
use super::judgement::{Identity, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::FileSystemKind;
use crate::units::ByteRange;

/// `PSIZE`: pages of metadata, and the only size of blocks that Linux knows.
const PAGE: usize = 4096;
const BLOCK_BYTES: u64 = 4096;

/// Sees the magic number of the first superblock.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(superblock::is_there(volume)?.then_some(FileSystemKind::Jfs))
}

/// Reads superblock, log and block map. Below the superblock, damage and unknown forms are states of a reading that
/// still tells the UUID, the label and the size.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let superblock = Superblock::read(volume)?;
    let judged = settle(judge(volume, &superblock))?;
    let size_bytes = superblock.size_bytes().min(volume.size_bytes());
    Ok(judged.of(Identity {
        kind: FileSystemKind::Jfs,
        block_size_bytes: superblock.block_bytes,
        size_bytes,
        uuid: superblock.uuid,
        label: superblock.label,
    }))
}

fn judge(volume: &dyn ReadAt, superblock: &Superblock) -> Result<Judgement, Error> {
    superblock.check_features()?;
    superblock.check_geometry(volume.size_bytes())?;
    let hint = Superblock::check_second(volume)?;
    let unfinished = superblock.unfinished()?;
    let why = match unfinished {
        Some(why) => Some(why),
        None => log::unfinished(volume, superblock.log)?,
    };
    if let Some(why) = why {
        let fact = format!("it {why}; run fsck.jfs -f on it, or capture it with --when-dirty raw");
        return Ok(Judgement::Dirty { fact });
    }
    let mut used = block_map::read(volume, superblock.blocks())?;
    used.insert(superblock.log);
    used.insert(superblock.work_space);
    Ok(Judgement::Clean { map: used, hints: hint.into_iter().collect() })
}

/// The bytes of blocks.
fn bytes_of(block: u64, count: u64) -> ByteRange {
    let start = block.saturating_mul(BLOCK_BYTES);
    ByteRange::new(start, start.saturating_add(count.saturating_mul(BLOCK_BYTES)))
}
