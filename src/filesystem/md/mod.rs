//! Members of Linux MD arrays: what their superblocks say, and what is used of them.
//!
//! Invariants:
//!
//! - One member alone is read only where it holds all data of its array and says that they are whole: RAID 1, active, not
//!   being written to, rebuilt or reshaped, without bad blocks.
//! - Of the other levels all members are read together, or none: nothing is made up for one that is missing, at another event,
//!   or in doubt. Everything else is refused by name.
//! - Of a row with parity all chunks have the same bytes in their maps, also where members differ in size or in where their data begin.
//!   What no map has must be zeros wherever all members are deployed, or the parity of free space is wrong, and so is what
//!   Linux later writes there beside it.
//! - A member keeps its superblock, bitmap and list of bad blocks to the byte; the rest of its map is that of what the
//!   array holds.
//! - Wherever another version of the superblock could stand is used too: an old one on the target would be believed.
//! - Where there are two superblocks, none is believed.
//! - A superblock is not believed against what else is there: a file system beside the array, or on a spare, may be what is
//!   alive, and the superblock what an earlier use left standing.
//!
//! ```text
//! version 1.2   0        4 KiB                                  data
//!               |        | superblock | bad blocks | bitmap |   | array ...                  |
//! version 1.0   | array ...                            | bitmap, bad blocks | superblock |   |
//! ```

mod array;
mod bitmap;
mod geometry;
mod judge;
mod set;
mod superblock;
#[cfg(test)]
mod tests;
mod version_0;
mod version_1;

pub use judge::{asks_for_all, is_spare};
pub use set::{Member, read_together};
pub use superblock::{Role, Superblock};

use super::judgement::{Judged, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::{FileSystem, FileSystemKind};
use crate::units::RangeSet;

/// The way out where an array is history.
pub const HISTORY: &str = "if the array is history, remove its superblock with mdadm --zero-superblock";

/// The superblock of a member that can be believed: there is one, and its checksum is right.
///
/// # Errors
/// [`Error::Io`] where the volume cannot be read.
pub fn member(volume: &dyn ReadAt) -> Result<Option<Superblock>, Error> {
    let mut found = superblock::find(volume)?;
    match (found.pop(), found.is_empty()) {
        (Some(Ok(superblock)), true) => Ok(Some(superblock)),
        _ => Ok(None),
    }
}

/// The version and place of every superblock on a volume, damaged ones included.
pub(super) fn superblocks(volume: &dyn ReadAt) -> Result<Vec<Result<Superblock, Error>>, Error> {
    superblock::find(volume)
}

/// Reads a member; `None` where there is no superblock.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    let mut found = superblock::find(volume)?;
    let superblock = match (found.pop(), found.is_empty()) {
        (None, _) => return Ok(None),
        (Some(superblock), true) => superblock,
        (Some(superblock), false) => {
            found.push(superblock);
            Err(ambiguous(&found))
        }
    };
    Ok(Some(match superblock {
        Ok(superblock) => reading(volume, Some(&superblock), judge::alone(volume, &superblock)?),
        Err(error) => reading(volume, None, settle(Err::<Judgement, Error>(error))?),
    }))
}

/// What is known of a member that was judged.
fn reading(volume: &dyn ReadAt, superblock: Option<&Superblock>, judged: Judged) -> Reading {
    let Judged { state, findings, map } = judged;
    let size_bytes = volume.size_bytes();
    let file_system = FileSystem {
        kind: FileSystemKind::MdMember,
        uuid: superblock.and_then(|superblock| superblock.array_uuid.clone()),
        label: superblock.and_then(|superblock| superblock.name.clone()),
        block_size_bytes: 512,
        size_bytes,
        used_bytes: map.as_ref().map(RangeSet::total_bytes),
        minimum_bytes: size_bytes,
        state,
        findings,
    };
    Reading { file_system, used: map }
}

fn ambiguous(found: &[Result<Superblock, Error>]) -> Error {
    let name = |superblock: &Result<Superblock, Error>| match superblock {
        Ok(superblock) => format!("of the {}", superblock.array()),
        Err(_) => "that is damaged".to_owned(),
    };
    let names: Vec<String> = found.iter().map(name).collect();
    Error::unsupported(format!(
        "there are several MD superblocks, one {}, so at least one is left over from an earlier use; find out which array is \
         alive (mdadm --examine) and remove the other superblock, or capture the volume with --when-dirty raw",
        names.join(", one ")
    ))
}
