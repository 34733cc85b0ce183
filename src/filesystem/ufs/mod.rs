//! UFS1 and UFS2, the fast file system of the BSDs and of Solaris, in either byte order: the used map is the bitmaps of
//! its cylinder groups.
//!
//! Invariants:
//!
//! - A fragment is used where its group does not say that it is free. The groups are believed only where each counts what
//!   its bits say, where the summary and the superblock count the same, and where the bits call superblock, group,
//!   inodes and summary used.
//! - The map is true only where the superblock says that the file system was unmounted.
//! - The whole volume is the file system. What lies behind its last fragment is captured: the journal of NetBSD, the
//!   metadata of a GEOM, or the other partitions of a slice whose first one this is. So is every place where a mount looks
//!   for a superblock: an older one on the target would be believed.
//!
//! ```text
//! cylinder group 0                                                                  cylinder group 1
//! 0      8 or 64 KiB
//! | boot | superblock | its copy | group, bitmaps | inodes | summary | data ...   | data | copy | group | inodes | data ...
//! ```

mod geom;
mod group;
mod superblock;

use self::superblock::Superblock;
use super::judgement::{Identity, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, RangeSet};

/// Sees the magic number of a superblock at one of its places.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(superblock::find(volume)?.map(|_| FileSystemKind::Ufs))
}

/// Reads superblock, summary and groups. Below the superblock, damage and unknown forms are states of a reading that
/// still tells the UUID and the label.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let superblock = Superblock::read(volume)?;
    let judged = settle(judge(volume, &superblock))?;
    let size_bytes = volume.size_bytes();
    Ok(judged.of(Identity {
        kind: FileSystemKind::Ufs,
        block_size_bytes: superblock.bsize,
        size_bytes,
        uuid: superblock.uuid,
        label: superblock.label,
    }))
}

fn judge(volume: &dyn ReadAt, superblock: &Superblock) -> Result<Judgement, Error> {
    let size_bytes = volume.size_bytes();
    if superblock.is_of_hp_ux() {
        let map = RangeSet::of(ByteRange::new(0, size_bytes));
        return Ok(Judgement::Clean {
            map,
            hints: vec!["captured whole: it is of the form of HP-UX".to_owned()],
        });
    }
    superblock.check_checksum()?;
    geom::check(volume)?;
    superblock.check_form()?;
    superblock.check_geometry(size_bytes)?;
    if let Some(why) = superblock.unfinished() {
        let fact = format!(
            "it {why}; mount it and unmount it once, or run fsck_ffs on it, in the system that it belongs to, or capture it \
             with --when-dirty raw"
        );
        return Ok(Judgement::Dirty { fact });
    }
    let mut used = group::read(volume, superblock)?;
    used.insert(ByteRange::new(superblock.end().min(geom::tail_start(size_bytes)), size_bytes));
    for place in superblock::places(size_bytes) {
        used.insert(place);
    }
    Ok(Judgement::Clean { map: used, hints: Vec::new() })
}
