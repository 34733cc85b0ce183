//! XFS: the used map is the whole file system without the free extents of every allocation group.
//!
//! Free extents come from the by-block free-space B-tree (bnobt), confirmed by the tree of the same extents by
//! length (cntbt); everything else is in use, the free list (AGFL) included, whose blocks belong to no tree.
//! The trees are true only where the log is clean.
//!
//! ```text
//! group 0                            group 1                    ...  last group (may be shorter)
//! | sb | AGF | AGI | AGFL | blocks   | sb copy | AGF | AGI ...       |
//! ```

mod allocation_group;
mod checksum;
mod free_space;
mod log;
mod superblock;

use super::error::read_structure;
use super::judgement::{Identity, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, RangeSet, u64_from};
use superblock::Superblock;

/// Sees the magic number of the superblock.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    let magic = superblock::MAGIC;
    if volume.size_bytes() < u64_from(magic.len()) {
        return Ok(None);
    }
    let found = read_structure(volume, "XFS superblock", 0, magic.len())?;
    Ok((found == magic).then_some(FileSystemKind::Xfs))
}

/// Reads the superblock, the log's state and the free-space trees. Below the superblock, damage and unknown
/// forms are states of a reading that still tells the UUID, the label and the size.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let superblock = Superblock::read(volume)?;
    let judged = settle(judge(volume, &superblock))?;
    Ok(judged.of(Identity {
        kind: FileSystemKind::Xfs,
        uuid: Some(superblock::format_uuid(superblock.uuid)),
        label: superblock.label(),
        block_size_bytes: u64::from(superblock.blocksize),
        size_bytes: superblock.size_bytes(),
    }))
}

fn judge(volume: &dyn ReadAt, superblock: &Superblock) -> Result<Judgement, Error> {
    superblock.check_features()?;
    let log_range = superblock.log_range()?;
    if let log::LogState::Dirty { fact } = log::read(volume, superblock, log_range)? {
        return Ok(Judgement::Dirty { fact });
    }
    let (used, stale_copies) = used_map(volume, superblock, log_range)?;
    let hint = (stale_copies > 0).then(|| {
        format!(
            "{stale_copies} of the {} superblock copies contradict the first one, which does no harm until that one is lost; xfs_repair renews them",
            superblock.agcount
        )
    });
    Ok(Judgement::Clean { map: used, hints: hint.into_iter().collect() })
}

/// The bytes in use, and in how many groups the copy of the superblock is not one.
fn used_map(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    log_range: ByteRange,
) -> Result<(RangeSet, u64), Error> {
    let mut used = RangeSet::new();
    let mut position = 0;
    let mut stale_copies = 0u64;
    for number in 0..superblock.agcount {
        let group = allocation_group::read(volume, superblock, number)?;
        if !group.copy_agrees {
            stale_copies = stale_copies.saturating_add(1);
        }
        for extent in free_space::read(volume, superblock, &group)? {
            let free = ByteRange::new(
                superblock.block_at(number, extent.start),
                superblock.block_at(number, extent.end()),
            );
            if free.overlaps(log_range) {
                return Err(Error::corrupt(
                    "XFS AGF",
                    group.agf_at,
                    format!("its free {free} overlap the log at {log_range}"),
                ));
            }
            used.insert(ByteRange::new(position, free.start()));
            position = free.end();
        }
    }
    used.insert(ByteRange::new(position, superblock.size_bytes()));
    Ok((used, stale_copies))
}
