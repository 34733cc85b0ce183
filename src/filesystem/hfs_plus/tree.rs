//! B-trees, as far as they are needed: the name of the volume, and extents of the allocation file that do not fit in the
//! header.
//!
//! Offsets and names are those of `BTNodeDescriptor`, `BTHeaderRec` and the keys in Apple's Technical Note 1150.

use super::header::{Extent, Fork, Header, extents};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{read_slice, read_u8, read_u16be, read_u32be, usize_from};

const STRUCTURE: &str = "HFS+ B-tree";
/// A node descriptor, and where the header record has `firstLeafNode` and `nodeSize`.
const DESCRIPTOR_BYTES: usize = 14;
const FIRST_LEAF_AT: usize = DESCRIPTOR_BYTES + 10;
const NODE_SIZE_AT: usize = DESCRIPTOR_BYTES + 18;
/// `kBTLeafNode`
const LEAF: u8 = 0xFF;
/// `kHFSRootParentID`
const ROOT_PARENT: u32 = 1;
/// `kHFSAllocationFileID`, and the type of a data fork.
const ALLOCATION_FILE: u32 = 6;
const DATA_FORK: u8 = 0;

/// A tree in a special file, of which only the extents in the header are read.
struct Tree<'a> {
    volume: &'a dyn ReadAt,
    header: &'a Header,
    fork: &'a Fork,
    node_bytes: u64,
    first_leaf: u64,
}

impl<'a> Tree<'a> {
    fn open(volume: &'a dyn ReadAt, header: &'a Header, fork: &'a Fork) -> Result<Self, Error> {
        let tree = Self { volume, header, fork, node_bytes: 512, first_leaf: 0 };
        let (at, bytes) = tree.node(0)?;
        let short = Error::short(STRUCTURE, at);
        let node_bytes = u64::from(read_u16be(&bytes, NODE_SIZE_AT).map_err(&short)?);
        if !node_bytes.is_power_of_two() || node_bytes < 512 {
            return Err(Error::corrupt(STRUCTURE, at, format!("its nodes cannot have {node_bytes} bytes")));
        }
        let first_leaf = read_u32be(&bytes, FIRST_LEAF_AT).map_err(&short)?.into();
        Ok(Self { node_bytes, first_leaf, ..tree })
    }

    /// The byte of the volume at which a node stands, and its content.
    fn node(&self, number: u64) -> Result<(u64, Vec<u8>), Error> {
        let lost = || {
            let fact = format!("node {number} is not in the extents that the volume header has");
            Error::corrupt(STRUCTURE, super::header::AT, fact)
        };
        let mut left = number.checked_mul(self.node_bytes).ok_or_else(lost)?;
        for extent in &self.fork.extents {
            let place = self.header.bytes_of(*extent).ok_or_else(lost)?;
            if left < place.length() {
                let at = place.start().saturating_add(left);
                // A node that goes on in another extent is not looked for there: blocks are not smaller than nodes then.
                if place.end().saturating_sub(at) < self.node_bytes {
                    return Err(lost());
                }
                return Ok((at, read_structure(self.volume, STRUCTURE, at, usize_from(self.node_bytes))?));
            }
            left = left.saturating_sub(place.length());
        }
        Err(lost())
    }

    /// The records of a leaf, and the number of the next one.
    fn leaf(&self, number: u64) -> Result<(u64, Vec<Vec<u8>>), Error> {
        let (at, bytes) = self.node(number)?;
        let short = Error::short(STRUCTURE, at);
        let next = read_u32be(&bytes, 0).map_err(&short)?;
        let kind = read_u8(&bytes, 8).map_err(&short)?;
        let count = usize::from(read_u16be(&bytes, 10).map_err(&short)?);
        if kind != LEAF || count > bytes.len() / 2 {
            return Err(Error::corrupt(STRUCTURE, at, format!("node {number} of kind {kind:#x} is no leaf")));
        }
        // Offsets of records stand at the end of the node, the first one last.
        let offset = |record: usize| {
            let from_end = record.saturating_add(1).saturating_mul(2);
            let place = bytes.len().checked_sub(from_end).unwrap_or(usize::MAX);
            read_u16be(&bytes, place).map(usize::from).map_err(&short)
        };
        let mut records = Vec::new();
        for record in 0..count {
            let (start, end) = (offset(record)?, offset(record.saturating_add(1))?);
            records.push(read_slice(&bytes, start, end.saturating_sub(start)).map_err(&short)?.to_vec());
        }
        Ok((next.into(), records))
    }
}

/// The name of the volume: the catalog begins with the folder that has no parent.
pub(super) fn volume_name(volume: &dyn ReadAt, header: &Header) -> Result<Option<String>, Error> {
    let tree = Tree::open(volume, header, &header.catalog_file)?;
    let (_, records) = tree.leaf(tree.first_leaf)?;
    let Some(first) = records.first().filter(|record| read_u32be(record, 2) == Ok(ROOT_PARENT)) else {
        return Ok(None);
    };
    let length = usize::from(read_u16be(first, 6).unwrap_or(0));
    let units = first.get(8..).unwrap_or_default().as_chunks::<2>().0.iter().take(length);
    let name = String::from_utf16_lossy(&units.map(|unit| u16::from_be_bytes(*unit)).collect::<Vec<_>>());
    Ok((!name.is_empty()).then_some(name))
}

/// Extents of the allocation file from a block of it on, as many as hold `blocks` blocks.
pub(super) fn overflow(
    volume: &dyn ReadAt,
    header: &Header,
    from: u64,
    blocks: u64,
) -> Result<Vec<Extent>, Error> {
    let tree = Tree::open(volume, header, &header.extents_file)?;
    let leaves = header.extents_file.total_blocks.saturating_mul(header.block_bytes);
    let leaves = leaves.checked_div(tree.node_bytes).unwrap_or(0);
    let (mut node, mut found, mut all) = (tree.first_leaf, from, Vec::new());
    for _ in 0..leaves {
        if node == 0 || found >= blocks {
            break;
        }
        let (next, records) = tree.leaf(node)?;
        for record in &records {
            // The key: its length, type of fork, a pad, file and first block.
            let key = (read_u32be(record, 4), read_u8(record, 2), read_u32be(record, 8).map(u64::from));
            if key == (Ok(ALLOCATION_FILE), Ok(DATA_FORK), Ok(found)) {
                let more = extents(record, 12).map_err(Error::short(STRUCTURE, super::header::AT))?;
                found = more.iter().fold(found, |sum, extent| sum.saturating_add(extent.count));
                all.extend(more);
            }
        }
        node = next;
    }
    Ok(all)
}
