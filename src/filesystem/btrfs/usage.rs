//! The used map: what of each device the file system needs.
//!
//! That is what is used of each chunk, in every copy; the first MiB, which is left to boot loaders; and the
//! superblocks. What no chunk has is free.

use super::chunk::{Chunk, Place};
use super::device::{self, DevExtent};
use super::devices::Devices;
use super::roots::{Roots, tree};
use super::tree::Trees;
use super::{block_group, extent, free_space, minimum};
use crate::filesystem::Error;
use crate::units::{ByteRange, MIB, RangeSet};

/// Places on the devices, as they are found. Those of a chunk are joined when the next one begins, so that memory grows with
/// the pieces of the maps, not with the extents.
pub(super) struct Used {
    /// Of each device, in their order.
    found: Vec<Found>,
    /// Start of the chunk that was added to last.
    chunk: u64,
}

impl Used {
    pub(super) fn new(devices: &Devices<'_>) -> Self {
        Self { found: devices.as_slice().iter().map(|_| Found::default()).collect(), chunk: 0 }
    }

    /// Adds a stretch of a chunk.
    pub(super) fn add(&mut self, chunk: &Chunk, logical: ByteRange) {
        if logical.is_empty() {
            return;
        }
        let start = chunk.logical.start();
        if std::mem::replace(&mut self.chunk, start) != start {
            self.found.iter_mut().for_each(Found::join);
        }
        chunk.places(logical, &mut |Place { device, range }| {
            if let Some(found) = self.found.get_mut(device) {
                found.add(range);
            }
        });
    }
}

/// Places on one device.
#[derive(Default)]
struct Found {
    places: Vec<ByteRange>,
    /// So many are joined.
    joined: usize,
}

impl Found {
    fn add(&mut self, place: ByteRange) {
        match self.places.last_mut().and_then(|last| Some((joined(*last, place)?, last))) {
            Some((both, last)) => *last = both,
            None => self.places.push(place),
        }
    }

    /// Joins what touches among the places that were added since the last time.
    fn join(&mut self) {
        let from = self.joined.min(self.places.len());
        let mut added = self.places.split_off(from);
        added.sort_unstable();
        added.into_iter().for_each(|place| self.add(place));
        self.joined = self.places.len();
    }
}

/// Two ranges as one, where they touch.
fn joined(first: ByteRange, second: ByteRange) -> Option<ByteRange> {
    let (start, end) = (first.start().min(second.start()), first.end().max(second.end()));
    let touch = first.start() <= second.end() && second.start() <= first.end();
    touch.then(|| ByteRange::new(start, end))
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
    let Used { found, .. } = if superblock.has_free_space_tree() {
        free_space::read(trees, roots.of(trees, tree::FREE_SPACE)?, &groups)?
    } else {
        extent::read(trees, roots.of(trees, tree::EXTENT)?, &groups)?
    };
    let devices = trees.devices.as_slice().iter().zip(found);
    let used: Vec<RangeSet> = devices
        .map(|(device, mut found)| {
            found.join();
            let kept = device.superblock.copies().chain([ByteRange::new(0, MIB)]);
            let within = |place: ByteRange| place.intersection(device.range());
            found.places.into_iter().chain(kept).map(within).collect()
        })
        .collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// In whatever order they are found, places that touch are one.
    #[test]
    fn memory_grows_with_the_pieces_of_the_map() {
        let place = |start: u64| ByteRange::new(start, start.saturating_add(4));
        let mut found = Found::default();
        // Two copies by turns, then a row whose parts are met from its end.
        for start in 0..100u64 {
            found.add(place(start.saturating_mul(4)));
            found.add(place(start.saturating_mul(4).saturating_add(1000)));
        }
        found.join();
        assert_eq!(found.places, [ByteRange::new(0, 400), ByteRange::new(1000, 1400)]);
        (0..50u64).rev().for_each(|start| found.add(place(start.saturating_mul(4).saturating_add(2000))));
        assert_eq!(found.places.len(), 3);
        found.add(place(1500));
        found.join();
        let pieces = [(0, 400), (1000, 1400), (1500, 1504), (2000, 2200)];
        assert_eq!(found.places, pieces.map(|(start, end)| ByteRange::new(start, end)));
    }
}
