//! APFS: a container is captured by the bitmaps of its space manager, with whatever volumes are in it.
//!
//! Invariants:
//!
//! - What is in use is never written in place, so the newest checkpoint whose superblock is whole is the truth, also where the
//!   container was not unmounted. Its maps, every object that they name and what is below the space manager have to be whole, by their
//!   checksums; trees in the pool and the volumes are not followed.
//! - A block is used where a bitmap says so: blocks that wait in a queue until no checkpoint needs them are used too. The
//!   bitmaps are believed only where each chunk, and the space manager, have as many free blocks as they count, and where they
//!   call the checkpoints and the space manager's own blocks used.
//! - Volumes are not looked into, only for their names: encrypted ones are captured as they are.
//!
//! ```text
//! block 0
//! | superblock | ring: map, superblock, map, superblock ... | ring: space manager ... | pool: bitmaps ... | volumes ...
//! ```

mod container;
mod names;
mod object;
mod space_manager;

use self::container::Container;
use super::judgement::{Identity, Judgement, settle};
use super::signature::identity::uuid_at;
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::filesystem::error::read_structure;
use crate::schema::FileSystemKind;

/// What is known of a container besides its map.
#[derive(Default)]
struct Known {
    uuid: Option<String>,
    label: Option<String>,
    size_bytes: Option<u64>,
}

/// Sees the container superblock in block 0.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(container::block_bytes(volume)?.map(|_| FileSystemKind::Apfs))
}

/// Reads superblock, checkpoint and space manager. Damage and unknown forms are states of a reading that still tells the
/// UUID.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let Some(block_bytes) = container::block_bytes(volume)? else {
        return Err(Error::corrupt("APFS container superblock", 0, "it is not there"));
    };
    let first = read_structure(volume, "APFS container superblock", 0, 96)?;
    let mut known = Known { uuid: uuid_at(&first, 0x48), ..Known::default() };
    let judgement = judge(volume, block_bytes, &mut known);
    let judged = settle(judgement)?;
    let size_bytes = known.size_bytes.unwrap_or_else(|| volume.size_bytes());
    Ok(judged.of(Identity {
        kind: FileSystemKind::Apfs,
        block_size_bytes: block_bytes,
        size_bytes,
        uuid: known.uuid,
        label: known.label,
    }))
}

fn judge(volume: &dyn ReadAt, block_bytes: u64, known: &mut Known) -> Result<Judgement, Error> {
    let container = Container::read(volume, block_bytes)?;
    known.uuid = container.uuid();
    known.size_bytes = Some(container.size_bytes());
    let mut used = space_manager::read(volume, &container)?;
    known.label = names::read(volume, &container, &used)?;
    for range in container.named()? {
        used.insert(range);
    }
    let mut hints = Vec::new();
    if !container.was_unmounted() {
        hints.push(
            "it was not unmounted: its newest checkpoint is captured, which is what a mount goes on from"
                .to_owned(),
        );
    }
    Ok(Judgement::Clean { map: used, hints })
}
