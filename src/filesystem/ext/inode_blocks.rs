//! Which blocks a file has: its extent tree, or the block pointers of ext2 and ext3.
//!
//! A walk reads a bounded number of tree blocks, however the tree is knotted, and never leaves the file
//! system.

use super::geometry::Geometry;
use crate::blockio::ReadAt;
use crate::filesystem::error::{Error, read_structure};
use crate::units::{ByteRange, RangeSet, read_u16le, read_u32le, usize_from};

const EXTENT_MAGIC: u16 = 0xF30A;
const MAX_DEPTH: u16 = 5;
/// A journal of 4 GiB in 1 KiB blocks by pointers has 16 k of them.
const MAX_TREE_BLOCKS: usize = 1 << 15;
/// A journal of 4 GiB that is cut into single 4 KiB blocks has as many pieces.
const MAX_PIECES: usize = 1 << 20;
/// An extent of more blocks is allocated but not written.
const MAX_WRITTEN: u16 = 32768;

/// The blocks of a file, and those of its tree.
#[derive(Debug)]
pub(super) struct Mapped {
    /// Where they stand.
    pub(super) bytes: RangeSet,
    /// The block that holds the file's first byte.
    pub(super) first: Option<u64>,
}

struct Walk<'a> {
    volume: &'a dyn ReadAt,
    geometry: &'a Geometry<'a>,
    ranges: Vec<ByteRange>,
    first: Option<u64>,
    tree_blocks: usize,
}

impl<'a> Walk<'a> {
    fn new(volume: &'a dyn ReadAt, geometry: &'a Geometry<'a>) -> Self {
        Self { volume, geometry, ranges: Vec::new(), first: None, tree_blocks: 0 }
    }

    fn add(&mut self, structure: &'static str, at: u64, block: u64, count: u64) -> Result<(), Error> {
        if count == 0 || !self.geometry.holds(block, count) {
            let fact = format!("its {count} blocks at block {block} are not in the file system");
            return Err(Error::corrupt(structure, at, fact));
        }
        if self.ranges.len() >= MAX_PIECES {
            return Err(Error::corrupt(structure, at, "it has more pieces than any journal"));
        }
        let range = self.geometry.bytes_of(block, count);
        match self.ranges.last_mut() {
            Some(last) if last.end() == range.start() => *last = ByteRange::new(last.start(), range.end()),
            _ => self.ranges.push(range),
        }
        Ok(())
    }

    fn read_tree_block(&mut self, structure: &'static str, at: u64, block: u64) -> Result<Vec<u8>, Error> {
        self.add(structure, at, block, 1)?;
        self.tree_blocks = self.tree_blocks.saturating_add(1);
        if self.tree_blocks > MAX_TREE_BLOCKS {
            return Err(Error::corrupt(structure, at, "its tree has more blocks than any journal needs"));
        }
        let length = usize_from(self.geometry.block_bytes);
        read_structure(self.volume, structure, self.geometry.byte_of(block), length)
    }

    fn finish(self) -> Mapped {
        Mapped { bytes: self.ranges.into_iter().collect(), first: self.first }
    }
}

/// The blocks of a file whose extent tree starts in `i_block`; `at` is where that stands, for errors.
pub(super) fn of_extents(
    volume: &dyn ReadAt,
    geometry: &Geometry,
    i_block: &[u8],
    at: u64,
) -> Result<Mapped, Error> {
    let mut walk = Walk::new(volume, geometry);
    walk_extents(&mut walk, i_block, at, None)?;
    Ok(walk.finish())
}

/// `depth` is what the node above says; it falls by one a level, so the walk ends.
fn walk_extents(walk: &mut Walk, node: &[u8], at: u64, depth: Option<u16>) -> Result<(), Error> {
    const STRUCTURE: &str = "ext4 extent node";
    let short = Error::short(STRUCTURE, at);
    let magic = read_u16le(node, 0x0).map_err(&short)?;
    let own_depth = read_u16le(node, 0x6).map_err(&short)?;
    if magic != EXTENT_MAGIC || own_depth > MAX_DEPTH || depth.is_some_and(|expected| expected != own_depth) {
        let fact = format!("its magic is {magic:#06x} and its depth {own_depth}");
        return Err(Error::corrupt(STRUCTURE, at, fact));
    }
    let entries = usize::from(read_u16le(node, 0x2).map_err(&short)?);
    let stored = node.get(12..).unwrap_or_default().chunks_exact(12);
    if entries > stored.len() {
        return Err(Error::corrupt(
            STRUCTURE,
            at,
            format!("it has {entries} entries, too many for its block"),
        ));
    }
    for entry in stored.take(entries) {
        if let Some(below) = own_depth.checked_sub(1) {
            let low = read_u32le(entry, 0x4).map_err(&short)?;
            let high = read_u16le(entry, 0x8).map_err(&short)?;
            let block = u64::from(high) << 32 | u64::from(low);
            let child = walk.read_tree_block(STRUCTURE, at, block)?;
            let child_at = walk.geometry.byte_of(block);
            walk_extents(walk, &child, child_at, Some(below))?;
        } else {
            let logical = read_u32le(entry, 0x0).map_err(&short)?;
            let length = read_u16le(entry, 0x4).map_err(&short)?;
            let count = if length > MAX_WRITTEN { length.saturating_sub(MAX_WRITTEN) } else { length };
            let high = read_u16le(entry, 0x6).map_err(&short)?;
            let block = u64::from(high) << 32 | u64::from(read_u32le(entry, 0x8).map_err(&short)?);
            walk.add(STRUCTURE, at, block, count.into())?;
            if logical == 0 {
                walk.first = Some(block);
            }
        }
    }
    Ok(())
}

/// The blocks of a file of `blocks` blocks whose 15 pointers are `i_block`.
pub(super) fn of_pointers(
    volume: &dyn ReadAt,
    geometry: &Geometry,
    i_block: &[u8],
    blocks: u64,
    at: u64,
) -> Result<Mapped, Error> {
    const STRUCTURE: &str = "ext block pointers";
    let mut walk = Walk::new(volume, geometry);
    let (pointers, _) = i_block.as_chunks::<4>();
    let mut left = blocks;
    for (position, pointer) in pointers.iter().enumerate() {
        let level = position.saturating_sub(11);
        walk_pointer(&mut walk, STRUCTURE, at, u32::from_le_bytes(*pointer), level, &mut left)?;
        if position == 0 && blocks > 0 {
            walk.first = Some(u64::from(u32::from_le_bytes(*pointer))).filter(|block| *block != 0);
        }
    }
    Ok(walk.finish())
}

/// `level` 0 is a block of the file; it falls by one a level, and `left` counts the blocks still missing.
fn walk_pointer(
    walk: &mut Walk,
    structure: &'static str,
    at: u64,
    pointer: u32,
    level: usize,
    left: &mut u64,
) -> Result<(), Error> {
    if *left == 0 {
        return Ok(());
    }
    let covered = (0..level).fold(1u64, |blocks, _| blocks.saturating_mul(walk.geometry.block_bytes / 4));
    if pointer == 0 {
        *left = left.saturating_sub(covered);
        return Ok(());
    }
    let Some(below) = level.checked_sub(1) else {
        *left = left.saturating_sub(1);
        return walk.add(structure, at, pointer.into(), 1);
    };
    let table = walk.read_tree_block(structure, at, pointer.into())?;
    let table_at = walk.geometry.byte_of(pointer.into());
    for entry in table.as_chunks::<4>().0 {
        walk_pointer(walk, structure, table_at, u32::from_le_bytes(*entry), below, left)?;
    }
    Ok(())
}
