//! The extent tree: every stretch of logical addresses that is in use, by its references.
//!
//! It is asked where there is no valid free space tree, and then read whole.

use super::block_group::BlockGroup;
use super::key::kind;
use super::tree::{Root, Trees};
use super::usage::Used;
use crate::filesystem::Error;
use crate::units::{ByteRange, u64_from};

const STRUCTURE: &str = "btrfs extent item";

/// The bytes in use of every block group, which have to be as many as it counts.
pub(super) fn read(trees: &Trees<'_>, root: Root, groups: &[BlockGroup<'_>]) -> Result<Used, Error> {
    let mut used = Used::new(trees.devices);
    let mut counted: Vec<u64> = groups.iter().map(|_| 0).collect();
    let mut end = 0;
    trees.walk(root, &|_| true, &mut |item| {
        let length = match item.key.kind {
            kind::EXTENT_ITEM => item.key.offset,
            kind::METADATA_ITEM => trees.superblock.nodesize.into(),
            _ => return Ok(()),
        };
        let place = ByteRange::at(item.key.objectid, length).filter(|place| place.start() >= end);
        let index = groups.partition_point(|group| group.chunk.logical.end() <= item.key.objectid);
        let group = groups.get(index).zip(counted.get_mut(index));
        let inside = place.zip(group).filter(|(place, (group, _))| group.chunk.logical.contains(*place));
        let Some((place, (group, counted))) = inside.filter(|_| length > 0) else {
            let fact = format!("{} overlaps another one or lies in no block group", item.key);
            return Err(Error::corrupt(STRUCTURE, item.at, fact));
        };
        used.add(group.chunk, place);
        *counted = counted.saturating_add(length);
        end = place.end();
        Ok(())
    })?;
    let wrong = groups.iter().zip(&counted).find(|(group, counted)| group.used != **counted);
    match wrong {
        None => Ok(used),
        Some((group, counted)) => Err(trees.corrupt(format!(
            "the block group at {} counts {} bytes in use, but its extents have {counted} (there are {} groups)",
            group.chunk.logical.start(),
            group.used,
            u64_from(groups.len())
        ))),
    }
}
