//! The used map: what of the device the file system needs.
//!
//! That is what is used of each chunk, in every copy; the first MiB, which is left to boot loaders; and the
//! superblocks. What no chunk has is free.

use super::chunk::Chunk;
use super::device::{self, DevExtent};
use super::roots::{Roots, tree};
use super::tree::Trees;
use super::{block_group, extent, free_space, minimum};
use crate::filesystem::Error;
use crate::units::{ByteRange, MIB, RangeSet};

/// Places on the device, as they are found.
#[derive(Default)]
pub(super) struct Used(Vec<ByteRange>);

impl Used {
    /// Adds a stretch of a chunk.
    pub(super) fn add(&mut self, chunk: &Chunk, logical: ByteRange) {
        if !logical.is_empty() {
            self.0.extend(chunk.places(logical));
        }
    }
}

/// What was found out about a file system.
pub(super) struct Usage {
    pub(super) used: RangeSet,
    /// The smallest size that it can be shrunk to.
    pub(super) minimum_bytes: u64,
    /// True where a balance was interrupted.
    pub(super) has_balance: bool,
}

/// Reads the map, every count in it compared with another one.
pub(super) fn read(trees: &Trees<'_>) -> Result<Usage, Error> {
    let superblock = trees.superblock;
    let roots = Roots::new(trees);
    let extents: Vec<DevExtent> = device::read(trees, roots.of(trees, tree::DEV)?)?;
    let home = if superblock.has_block_group_tree() { tree::BLOCK_GROUP } else { tree::EXTENT };
    let groups = block_group::read(trees, roots.of(trees, home)?)?;
    let Used(places) = if superblock.has_free_space_tree() {
        free_space::read(trees, roots.of(trees, tree::FREE_SPACE)?, &groups)?
    } else {
        extent::read(trees, roots.of(trees, tree::EXTENT)?, &groups)?
    };
    let device = ByteRange::new(0, superblock.total_bytes);
    let kept = superblock.copies().chain([ByteRange::new(0, MIB)]);
    let used: RangeSet = places.into_iter().chain(kept).collect();
    let has_balance = roots.has_balance(trees)?;
    let minimum_bytes = minimum::minimum_bytes(superblock, &extents);
    Ok(Usage { used: used.within(device).collect(), minimum_bytes, has_balance })
}
