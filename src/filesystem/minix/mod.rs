//! Minix, versions 1, 2 and 3 of the format, as Linux has them: the used map is the bitmap of zones.
//!
//! Invariants:
//!
//! - A zone is used where the bitmap says so. There is no checksum and no count, so every zone of every file is looked
//!   up in it: one that is free or belongs to two files makes the file system damaged.
//! - Versions 1 and 2 say whether they were unmounted. Version 3 does not, and is clean where the bitmap holds all files.
//! - The magic number has 16 bits: nothing is taken for a Minix whose sizes are not what `mkfs.minix` computes.
//!
//! ```text
//! 0      1 KiB        block 2
//! | boot | superblock | bitmap of inodes | bitmap of zones | inodes | zones from s_firstdatazone on
//! ```

mod inode;
mod superblock;

use self::superblock::Superblock;
use super::bitmap::insert_set_bits;
use super::error::read_structure;
use super::judgement::{Identity, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, RangeSet, usize_from};

const BITMAP: &str = "Minix bitmap of zones";

/// Sees a superblock whose sizes go together.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(superblock::find(volume)?.map(|_| FileSystemKind::Minix))
}

/// Reads superblock, bitmap and inodes.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let Some(superblock) = superblock::find(volume)? else {
        return Err(Error::corrupt(superblock::STRUCTURE, superblock::AT, "it is not there"));
    };
    let judged = settle(judge(volume, &superblock))?;
    let size_bytes = superblock.size_bytes().min(volume.size_bytes());
    Ok(judged.of(Identity {
        kind: FileSystemKind::Minix,
        uuid: None,
        label: None,
        block_size_bytes: superblock.block_bytes,
        size_bytes,
    }))
}

fn judge(volume: &dyn ReadAt, superblock: &Superblock) -> Result<Judgement, Error> {
    superblock.check_size(volume.size_bytes())?;
    superblock.check_error_flag()?;
    if superblock.was_mounted() {
        let fact =
            "it was not unmounted; run fsck.minix on it, or capture it with --when-dirty raw".to_owned();
        return Ok(Judgement::Dirty { fact });
    }
    let used = read_bitmap(volume, superblock)?;
    inode::check_all(volume, superblock, &used)?;
    Ok(Judgement::Clean { map: used, hints: superblock.hint().map(str::to_owned).into_iter().collect() })
}

/// Everything before the first zone, and the zones whose bits are set. The first bit stands for no zone.
fn read_bitmap(volume: &dyn ReadAt, superblock: &Superblock) -> Result<RangeSet, Error> {
    let per_block = superblock.block_bytes.saturating_mul(8);
    let before = superblock.first_zone.saturating_sub(1);
    let bits = superblock.zones.saturating_sub(before);
    let mut used = RangeSet::new();
    for block in 0..superblock.zmap_blocks {
        let place = superblock.block(superblock.zmap_start().saturating_add(block));
        let bytes = read_structure(volume, BITMAP, place.start(), usize_from(superblock.block_bytes))?;
        let first = block.saturating_mul(per_block);
        let count = bits.saturating_sub(first).min(per_block);
        insert_set_bits(&mut used, &bytes, first.saturating_add(before), count, superblock.block_bytes);
    }
    used.insert(ByteRange::new(0, superblock.block(superblock.first_zone).start()));
    Ok(used)
}
