//! Files of metadata: which block of the volume holds a block of a file.
//!
//! A map is a short list, or a B-tree whose root stands in the inode. The pointers of the disk address translation (DAT)
//! are blocks of the volume; those of all other files are virtual, numbers of entries of the DAT. Offsets and names are
//! those of the kernel's `include/uapi/linux/nilfs2_ondisk.h` and `fs/nilfs2/{btree,direct,alloc}.c`.

use super::superblock::Superblock;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{read_u8, read_u16le, read_u64le, usize_from};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

const NODE: &str = "NILFS2 B-tree node";
const DAT: &str = "NILFS2 disk address translation";
/// `NILFS_INODE_BMAP_SIZE`, in bytes.
pub(super) const BMAP_BYTES: usize = 56;
/// `NILFS_BMAP_LARGE`, and in a node `NILFS_BTREE_NODE_ROOT`: a tree.
const IS_TREE: u8 = 0x01;
/// `NILFS_BTREE_LEVEL_NODE_MIN` and `NILFS_BTREE_LEVEL_MAX`
const LEAF: u8 = 1;
const MAX_LEVEL: u8 = 14;
/// `struct nilfs_btree_node`; nodes that are no root have a pad behind it.
const HEADER_BYTES: usize = 8;
const NODE_HEADER_BYTES: usize = 16;
/// A key and a pointer.
const ENTRY_BYTES: usize = 16;
/// Blocks that are kept: 16 MiB at most.
const KEPT_BLOCKS: usize = 256;

/// The map of a file, as it stands in its inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bmap(pub(super) [u8; BMAP_BYTES]);

/// Where a block stands, as a number or a byte of the volume, and its content.
type Block = (u64, Rc<Vec<u8>>);

/// What the pointers of a map mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pointers {
    Physical,
    Virtual,
}

/// Reads blocks of files.
pub(super) struct Files<'a> {
    volume: &'a dyn ReadAt,
    pub(super) superblock: &'a Superblock,
    dat: Bmap,
    kept: VecDeque<Block>,
    segments_read: BTreeSet<u64>,
}

impl<'a> Files<'a> {
    /// Files of which the DAT has this map.
    pub(super) fn new(volume: &'a dyn ReadAt, superblock: &'a Superblock, dat: Bmap) -> Self {
        Self { volume, superblock, dat, kept: VecDeque::new(), segments_read: BTreeSet::new() }
    }

    /// Segments of which something was read.
    pub(super) const fn segments_read(&self) -> &BTreeSet<u64> {
        &self.segments_read
    }

    /// A block of a file with virtual pointers, and where it stands; `None` where the file has a hole.
    pub(super) fn read(&mut self, file: &Bmap, index: u64) -> Result<Option<Block>, Error> {
        let Some(block) = self.find(file, Pointers::Virtual, index)? else { return Ok(None) };
        Ok(Some((self.superblock.bytes_of(block), self.block(block)?)))
    }

    fn block(&mut self, block: u64) -> Result<Rc<Vec<u8>>, Error> {
        if let Some((_, bytes)) = self.kept.iter().find(|(kept, _)| *kept == block) {
            return Ok(Rc::clone(bytes));
        }
        let at = self.superblock.bytes_of(block);
        let Some(segment) = self.superblock.segment_of(block) else {
            return Err(Error::corrupt(NODE, at, format!("block {block} is in no segment")));
        };
        self.segments_read.insert(segment);
        let bytes = Rc::new(read_structure(self.volume, NODE, at, usize_from(self.superblock.block_bytes))?);
        if self.kept.len() >= KEPT_BLOCKS {
            self.kept.pop_front();
        }
        self.kept.push_back((block, Rc::clone(&bytes)));
        Ok(bytes)
    }

    /// The block of the volume that holds block `index` of a file.
    fn find(&mut self, file: &Bmap, pointers: Pointers, index: u64) -> Result<Option<u64>, Error> {
        let root = file.0.as_slice();
        let found = if read_u8(root, 0).unwrap_or(0) & IS_TREE == 0 {
            // Pointers one behind the other, behind a header of their size.
            let at = index.checked_add(1).and_then(|position| position.checked_mul(8));
            at.and_then(|at| read_u64le(root, usize_from(at)).ok()).filter(|pointer| *pointer != 0)
        } else {
            self.find_in_tree(root, pointers, index)?
        };
        match found {
            Some(pointer) => self.resolve(pointers, pointer).map(Some),
            None => Ok(None),
        }
    }

    fn find_in_tree(&mut self, root: &[u8], pointers: Pointers, index: u64) -> Result<Option<u64>, Error> {
        let mut below: Option<(u64, Rc<Vec<u8>>, u8)> = None;
        loop {
            let node = match &below {
                None => Node::of_root(root),
                Some((_, bytes, level)) => Node::of_block(bytes).filter(|node| node.level == *level),
            };
            let block = below.as_ref().map_or(0, |(block, ..)| *block);
            let node = node.ok_or_else(|| self.broken(block))?;
            let Some((key, pointer)) = node.entry_before(index) else { return Ok(None) };
            if node.level == LEAF {
                return Ok((key == index).then_some(pointer));
            }
            let level = node.level.saturating_sub(1);
            let block = self.resolve(pointers, pointer)?;
            below = Some((block, self.block(block)?, level));
        }
    }

    fn broken(&self, block: u64) -> Error {
        let fact = "its level, its flags and the number of its children do not go together";
        Error::corrupt(NODE, self.superblock.bytes_of(block), fact)
    }

    fn resolve(&mut self, pointers: Pointers, pointer: u64) -> Result<u64, Error> {
        if pointers == Pointers::Physical {
            return Ok(pointer);
        }
        let size = self.superblock.dat_entry_size;
        let index = entry_block(self.superblock.block_bytes, size, pointer);
        let dat = self.dat;
        let lost = |at: u64| Error::corrupt(DAT, at, format!("it has no entry of virtual block {pointer}"));
        let (index, entry) = index.ok_or_else(|| lost(0))?;
        let block = self.find(&dat, Pointers::Physical, index)?.ok_or_else(|| lost(0))?;
        let bytes = self.block(block)?;
        let at = self.superblock.bytes_of(block);
        let blocknr = read_u64le(&bytes, usize_from(entry)).map_err(Error::short(DAT, at))?;
        (blocknr != 0).then_some(blocknr).ok_or_else(|| lost(at))
    }
}

/// In which block of a file of numbered entries an entry stands, and at which byte of it.
///
/// ```text
/// | descriptors of groups | bitmap | entries of group 0 ... | bitmap | entries of group 1 ... | descriptors | ...
/// ```
fn entry_block(block_bytes: u64, entry_bytes: u64, entry: u64) -> Option<(u64, u64)> {
    let per_group = block_bytes.checked_mul(8)?;
    let per_block = block_bytes.checked_div(entry_bytes)?;
    let groups_per_descriptor = block_bytes.checked_div(4)?;
    let blocks_per_group = per_group.div_ceil(per_block.max(1)).checked_add(1)?;
    let blocks_per_descriptor = groups_per_descriptor.checked_mul(blocks_per_group)?.checked_add(1)?;
    let (group, inside) = (entry.checked_div(per_group)?, entry.checked_rem(per_group)?);
    let descriptor = group.checked_div(groups_per_descriptor)?.checked_mul(blocks_per_descriptor)?;
    let bitmap = group.checked_rem(groups_per_descriptor)?.checked_mul(blocks_per_group)?.checked_add(1)?;
    let block =
        descriptor.checked_add(bitmap)?.checked_add(1)?.checked_add(inside.checked_div(per_block)?)?;
    Some((block, inside.checked_rem(per_block)?.checked_mul(entry_bytes)?))
}

/// A node of a B-tree: keys, and behind the place of the last key that it may have, pointers.
struct Node<'a> {
    bytes: &'a [u8],
    level: u8,
    children: usize,
    keys_at: usize,
    pointers_at: usize,
}

impl<'a> Node<'a> {
    fn of_root(bytes: &'a [u8]) -> Option<Self> {
        Self::parse(bytes, HEADER_BYTES).filter(|node| node.children > 0 || node.level == LEAF)
    }

    fn of_block(bytes: &'a [u8]) -> Option<Self> {
        let is_root = read_u8(bytes, 0).ok()? & IS_TREE != 0;
        Self::parse(bytes, NODE_HEADER_BYTES).filter(|node| node.children > 0 && !is_root)
    }

    fn parse(bytes: &'a [u8], keys_at: usize) -> Option<Self> {
        let level = read_u8(bytes, 1).ok()?;
        let children = usize::from(read_u16le(bytes, 2).ok()?);
        let most = bytes.len().checked_sub(keys_at)?.checked_div(ENTRY_BYTES)?;
        let pointers_at = most.checked_mul(8)?.checked_add(keys_at)?;
        ((LEAF..MAX_LEVEL).contains(&level) && children <= most).then_some(Self {
            bytes,
            level,
            children,
            keys_at,
            pointers_at,
        })
    }

    /// The entry with the largest key that is not larger than this one.
    fn entry_before(&self, key: u64) -> Option<(u64, u64)> {
        let field = |start: usize, number: usize| {
            read_u64le(self.bytes, number.saturating_mul(8).saturating_add(start)).unwrap_or(u64::MAX)
        };
        let keys = (0..self.children).map(|number| (number, field(self.keys_at, number)));
        let (number, found) = keys.take_while(|(_, found)| *found <= key).last()?;
        Some((found, field(self.pointers_at, number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of `mkfs.nilfs2` with blocks of 4 KiB: 128 entries a block, 32768 a group.
    #[test]
    fn entries_follow_the_bitmap_of_their_group() {
        assert_eq!(entry_block(4096, 32, 0), Some((2, 0)));
        assert_eq!(entry_block(4096, 32, 127), Some((2, 127 * 32)));
        assert_eq!(entry_block(4096, 32, 128), Some((3, 0)));
        assert_eq!(entry_block(4096, 32, 32768), Some((1 + 257 + 1, 0)));
        assert_eq!(entry_block(4096, 32, 32768 * 1024), Some((1024 * 257 + 1 + 2, 0)));
        assert_eq!(entry_block(4096, 32, u64::MAX).map(|(_, at)| at), Some(127 * 32));
    }
}
