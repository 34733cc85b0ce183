//! NILFS2: the used map is every segment that the segment usage file does not call clean.
//!
//! Invariants:
//!
//! - The map is that of the log to which the newest superblock points, and true only where that superblock says that
//!   the file system was unmounted: then a mount takes this log without looking for a newer one.
//! - Segments are taken whole, also the one that is being written and the one that follows it: the target may hold an
//!   older deploy of the same file system, whose logs would be believed after a power cut, because their sequence
//!   numbers go on where these end.
//! - Both superblocks are in the map, and the place near the end of the volume at which Linux looks for the backup, also
//!   where the file system ends before: so the whole volume is the file system.
//!
//! ```text
//! 0      1 KiB        first_data_block                                      end of the device, 4 KiB before it
//! | boot | superblock | segment 0 | segment 1 | ...  (logs, one behind the other) | unused | superblock |
//! ```

mod files;
mod log;
mod segment_usage;
mod superblock;

use self::files::Files;
use self::superblock::Superblock;
pub(super) use self::superblock::for_a_larger_device;
use super::judgement::{Identity, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::FileSystemKind;
use crate::units::ByteRange;

/// Sees the superblock behind the boot area.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(superblock::is_there(volume)?.then_some(FileSystemKind::Nilfs2))
}

/// Reads superblocks, the last log and the segment usage file. Below the superblocks, damage and unknown forms are
/// states of a reading that still tells the UUID, the label and the size.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let superblock::Found { superblock, hint } = superblock::read(volume)?;
    let size_bytes = volume.size_bytes();
    let judged = settle(judge(volume, &superblock, hint))?;
    Ok(judged.of(Identity {
        kind: FileSystemKind::Nilfs2,
        block_size_bytes: superblock.block_bytes,
        size_bytes,
        uuid: superblock.uuid,
        label: superblock.label,
    }))
}

fn judge(volume: &dyn ReadAt, superblock: &Superblock, hint: Option<String>) -> Result<Judgement, Error> {
    superblock.check_features()?;
    superblock.check_error_flag()?;
    if let Some(why) = superblock.unfinished() {
        let fact = format!("it {why}; mount it and unmount it once, or capture it with --when-dirty raw");
        return Ok(Judgement::Dirty { fact });
    }
    let root = log::read_super_root(volume, superblock)?;
    let mut files = Files::new(volume, superblock, root.dat);
    let mut used = segment_usage::read(&mut files, &root)?;
    // What a segment holds that is not used, may be gone.
    for segment in files.segments_read().iter().copied().chain([root.segment]) {
        if !used.contains(superblock.segment(segment)) {
            return Err(segment_usage::contradiction(superblock, segment));
        }
    }
    used.insert(superblock.segment(root.next_segment));
    used.insert(ByteRange::new(0, superblock.first_byte()));
    for place in superblock::backup_places(superblock.dev_size, volume.size_bytes()) {
        used.insert(place);
    }
    Ok(Judgement::Clean { map: used, hints: hint.into_iter().collect() })
}
