//! Block groups: how many bytes of each chunk are in use.

use super::chunk::Chunk;
use super::key::{Key, kind};
use super::tree::{Keys, Root, Trees};
use crate::filesystem::Error;
use crate::units::{read_u64le, u64_from};

const STRUCTURE: &str = "btrfs block group item";

/// A chunk and what is used of it.
pub(super) struct BlockGroup<'a> {
    pub(super) chunk: &'a Chunk,
    /// Bytes in use.
    pub(super) used: u64,
}

/// The block groups in the order of their addresses; every chunk has one. Of a tree that holds other items too only
/// the parts are read where one has to be.
pub(super) fn read<'a>(trees: &'a Trees<'_>, root: Root) -> Result<Vec<BlockGroup<'a>>, Error> {
    let chunks = trees.chunks.as_slice();
    let wanted = |keys: Keys| {
        let from = keys.from.map_or(0, |from| from.objectid);
        let first = chunks.partition_point(|chunk| chunk.logical.start() < from);
        let candidates = chunks.get(first..).unwrap_or_default().iter().take(2);
        candidates.map(key_of).any(|key| keys.may_hold(key, key))
    };
    let mut groups: Vec<BlockGroup<'a>> = Vec::new();
    trees.walk(root, &wanted, &mut |item| {
        if item.key.kind != kind::BLOCK_GROUP_ITEM {
            return Ok(());
        }
        let short = Error::short(STRUCTURE, item.at);
        let used = read_u64le(item.data, 0).map_err(&short)?;
        let flags = read_u64le(item.data, 16).map_err(&short)?;
        match chunks.get(groups.len()) {
            Some(chunk) if key_of(chunk) == item.key && chunk.flags == flags && used <= item.key.offset => {
                groups.push(BlockGroup { chunk, used });
                Ok(())
            }
            _ => {
                let fact =
                    format!("{} of type {flags:#x} with {used} bytes in use has no such chunk", item.key);
                Err(Error::corrupt(STRUCTURE, item.at, fact))
            }
        }
    })?;
    if groups.len() == chunks.len() {
        return Ok(groups);
    }
    let (found, count) = (u64_from(groups.len()), trees.chunks.count());
    Err(trees.corrupt(format!("of its {count} chunks only {found} have a block group")))
}

const fn key_of(chunk: &Chunk) -> Key {
    Key { objectid: chunk.logical.start(), kind: kind::BLOCK_GROUP_ITEM, offset: chunk.logical.length() }
}
