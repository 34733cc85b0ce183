//! The used map: what of each device the file system needs.
//!
//! That is what is used of each chunk, in every copy; the first MiB, which is left to boot loaders; and the
//! superblocks. What no chunk has is free.

use super::chunk::{Chunk, Place};
use super::device::{self, DevExtent};
use super::roots::{Roots, tree};
use super::tree::Trees;
use super::{block_group, extent, free_space, minimum};
use crate::filesystem::Error;
use crate::units::{ByteRange, MIB, RangeSet};

/// Places on the devices, as they are found.
#[derive(Default)]
pub(super) struct Used(Vec<Place>);

impl Used {
    /// Adds a stretch of a chunk.
    pub(super) fn add(&mut self, chunk: &Chunk, logical: ByteRange) {
        if !logical.is_empty() {
            chunk.places(logical, &mut |place| self.0.push(place));
        }
    }
}

/// What was found out about a file system.
pub(super) struct Usage {
    /// Of each device, in their order.
    pub(super) used: Vec<RangeSet>,
    /// The smallest size that its only device can be shrunk to.
    pub(super) minimum_bytes: Option<u64>,
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
    let Used(mut places) = if superblock.has_free_space_tree() {
        free_space::read(trees, roots.of(trees, tree::FREE_SPACE)?, &groups)?
    } else {
        extent::read(trees, roots.of(trees, tree::EXTENT)?, &groups)?
    };
    places.sort_unstable();
    let mut used = Vec::new();
    for (position, device) in trees.devices.as_slice().iter().enumerate() {
        let from = places.partition_point(|place| place.device < position);
        let of_device = places.get(from..).unwrap_or_default().iter();
        let found = of_device.take_while(|place| place.device == position).map(|place| place.range);
        let kept = device.superblock.copies().chain([ByteRange::new(0, MIB)]);
        let map: RangeSet = found.chain(kept).collect();
        used.push(map.within(device.range()).collect());
    }
    let has_balance = roots.has_balance(trees)?;
    check_nodes(trees, &used)?;
    let minimum_bytes = minimum::minimum_bytes(trees.devices, &extents);
    Ok(Usage { used, minimum_bytes, has_balance })
}

/// What was read is in use, whatever the counts say.
fn check_nodes(trees: &Trees<'_>, used: &[RangeSet]) -> Result<(), Error> {
    for logical in trees.nodes.borrow().iter() {
        let mut is_used = true;
        if let Some(chunk) = trees.chunks.holding(*logical) {
            chunk.places(*logical, &mut |place| {
                is_used &= used.get(place.device).is_some_and(|used| used.contains(place.range));
            });
        }
        if !is_used {
            let fact = format!("the node at logical byte {} is in use, and counted as free", logical.start());
            return Err(trees.corrupt(fact));
        }
    }
    Ok(())
}
