//! The free-space B-trees of an allocation group: bnobt by position, cntbt by length.
//!
//! ```text
//! block   magic, level u16, numrecs u16, leftsib u32, rightsib u32
//!         version 5 only: blkno u64, lsn u64, uuid, owner u32, crc u32 (little endian)
//! leaf    numrecs x (startblock u32, blockcount u32)
//! node    maxrecs x key (8 bytes), then maxrecs x block u32, of which numrecs are in use
//! ```
//!
//! The walk ends on any input: its depth is bounded, and every leaf must bring free blocks that come behind
//! those before and that the AGF has counted.

use super::super::Error;
use super::super::error::read_structure;
use super::allocation_group::{AllocationGroup, HEADER_SECTORS, Root};
use super::checksum;
use super::superblock::Superblock;
use crate::blockio::ReadAt;
use crate::units::{read_array, read_slice, read_u16be, read_u32be, read_u64be, u64_from};

/// `XFS_BTREE_MAXLEVELS`
const MAX_LEVELS: u32 = 9;
/// `NULLAGBLOCK`: there is no sibling.
const NO_BLOCK: u32 = u32::MAX;
/// Bytes before the records, in version 4 and 5.
const HEADER_BYTES: (usize, usize) = (16, 56);
const RECORD_BYTES: usize = 8;
const CRC_AT: usize = 52;

/// Free blocks of an allocation group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    /// `ar_startblock`
    pub(super) start: u32,
    /// `ar_blockcount`
    pub(super) count: u32,
}

impl Extent {
    /// First block behind; the walk saw that it does not overflow.
    pub(super) const fn end(self) -> u32 {
        self.start.saturating_add(self.count)
    }
}

/// Which of the two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Block,
    Count,
}

impl Order {
    const fn structure(self) -> &'static str {
        match self {
            Self::Block => "XFS bnobt block",
            Self::Count => "XFS cntbt block",
        }
    }

    const fn magic(self, has_checksums: bool) -> &'static [u8; 4] {
        match (self, has_checksums) {
            (Self::Block, false) => b"ABTB",
            (Self::Block, true) => b"AB3B",
            (Self::Count, false) => b"ABTC",
            (Self::Count, true) => b"AB3C",
        }
    }
}

/// The free extents of a group, ascending.
///
/// An extent that moved onto blocks in use would lose them, and neither a count nor (in version 4) a checksum
/// would tell: so both trees are read, and must list the same extents.
pub(super) fn read(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    group: &AllocationGroup,
) -> Result<Vec<Extent>, Error> {
    let by_block = Walk::over(volume, superblock, group, Order::Block)?;
    let mut by_count = Walk::over(volume, superblock, group, Order::Count)?;
    by_count.sort_unstable();
    if by_count == by_block {
        return Ok(by_block);
    }
    let differs = by_block.iter().zip(&by_count).find(|(block, count)| block != count);
    let example = differs.map_or_else(String::new, |(block, count)| {
        format!(
            "; {} blocks from {} in one are {} from {} in the other",
            block.count, block.start, count.count, count.start
        )
    });
    Err(Error::corrupt(
        "XFS AGF",
        group.agf_at,
        format!(
            "its free-space trees do not list the same extents ({} by block, {} by count{example})",
            by_block.len(),
            by_count.len()
        ),
    ))
}

/// One walk over one tree, left to right.
struct Walk<'a> {
    volume: &'a dyn ReadAt,
    superblock: &'a Superblock,
    group: &'a AllocationGroup,
    order: Order,
    /// First block behind the headers of the group.
    first_block: u32,
    /// By level, from the leaves up: the last block seen and its right sibling.
    last_seen: Vec<(u32, u32)>,
    extents: Vec<Extent>,
    free_blocks: u64,
}

/// One checked block of a tree.
struct Block {
    at: u64,
    number: u32,
    numrecs: usize,
    /// Everything behind the header.
    body: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn over(
        volume: &'a dyn ReadAt,
        superblock: &'a Superblock,
        group: &'a AllocationGroup,
        order: Order,
    ) -> Result<Vec<Extent>, Error> {
        let root = match order {
            Order::Block => group.by_block,
            Order::Count => group.by_count,
        };
        let header_bytes = u32::from(superblock.sectsize).saturating_mul(HEADER_SECTORS);
        let mut walk = Self {
            volume,
            superblock,
            group,
            order,
            first_block: header_bytes.div_ceil(superblock.blocksize.max(1)),
            last_seen: Vec::new(),
            extents: Vec::new(),
            free_blocks: 0,
        };
        walk.run(root)?;
        Ok(walk.extents)
    }

    fn run(&mut self, root: Root) -> Result<(), Error> {
        let agf_at = self.group.agf_at;
        let agf = |fact: String| Err(Error::corrupt("XFS AGF", agf_at, fact));
        let Some(top) = root.levels.checked_sub(1).filter(|top| *top < MAX_LEVELS) else {
            return agf(format!("its {} is the root of {} levels", self.order.structure(), root.levels));
        };
        self.last_seen = (0..root.levels).map(|_| (NO_BLOCK, NO_BLOCK)).collect();
        self.visit(root.block, top)?;
        if let Some((block, right)) = self.last_seen.iter().find(|(_, right)| *right != NO_BLOCK) {
            return agf(format!(
                "the last {} {block} of its level has a right sibling, block {right}",
                self.order.structure()
            ));
        }
        if self.free_blocks != u64::from(self.group.freeblks) {
            return agf(format!(
                "it counts {} free blocks, but its {}s list {}",
                self.group.freeblks,
                self.order.structure(),
                self.free_blocks
            ));
        }
        Ok(())
    }

    fn visit(&mut self, number: u32, level: u32) -> Result<(), Error> {
        let block = self.read_block(number, level)?;
        let Some(below) = level.checked_sub(1) else {
            return self.add_records(&block);
        };
        let pointers_at = block.body.len().checked_div(12).unwrap_or(0).saturating_mul(8);
        for index in 0..block.numrecs {
            let field = pointers_at.saturating_add(index.saturating_mul(4));
            let child =
                read_u32be(&block.body, field).map_err(Error::short(self.order.structure(), block.at))?;
            self.visit(child, below)?;
        }
        Ok(())
    }

    fn read_block(&mut self, number: u32, level: u32) -> Result<Block, Error> {
        let structure = self.order.structure();
        if !(self.first_block..self.group.blocks).contains(&number) {
            return Err(Error::corrupt(
                "XFS AGF",
                self.group.agf_at,
                format!("a pointer to {structure} {number} leaves the group of {} blocks", self.group.blocks),
            ));
        }
        let at = self.superblock.block_at(self.group.number, number);
        let bytes = read_structure(self.volume, structure, at, self.superblock.block_length())?;
        let short = Error::short(structure, at);
        let corrupt = |fact: String| Err(Error::corrupt(structure, at, fact));
        let has_checksums = self.superblock.has_checksums();
        if read_slice(&bytes, 0, 4).map_err(&short)? != self.order.magic(has_checksums) {
            return corrupt(format!("its magic number is {:#010x}", read_u32be(&bytes, 0).map_err(&short)?));
        }
        if has_checksums {
            self.check_self_description(&bytes, at)?;
        }
        let header_bytes = if has_checksums { HEADER_BYTES.1 } else { HEADER_BYTES.0 };
        let body = bytes.get(header_bytes..).unwrap_or_default().to_vec();
        let found_level = read_u16be(&bytes, 4).map_err(&short)?;
        let numrecs = usize::from(read_u16be(&bytes, 6).map_err(&short)?);
        let entry_bytes = if level == 0 { RECORD_BYTES } else { RECORD_BYTES.saturating_add(4) };
        let is_root = u64::from(level).saturating_add(1) == u64_from(self.last_seen.len());
        let maxrecs = body.len().checked_div(entry_bytes).unwrap_or(0);
        if u32::from(found_level) != level || numrecs > maxrecs || (numrecs == 0 && !(is_root && level == 0))
        {
            return corrupt(format!(
                "level {found_level} with {numrecs} records, where level {level} with at most {maxrecs} is expected"
            ));
        }
        let leftsib = read_u32be(&bytes, 8).map_err(&short)?;
        let rightsib = read_u32be(&bytes, 12).map_err(&short)?;
        self.check_siblings(at, number, level, (leftsib, rightsib))?;
        Ok(Block { at, number, numrecs, body })
    }

    /// Version 5: checksum, position, UUID and owner.
    fn check_self_description(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        let structure = self.order.structure();
        let short = Error::short(structure, at);
        checksum::check(bytes, CRC_AT, structure, at)?;
        let blkno = read_u64be(bytes, 16).map_err(&short)?;
        let owner = read_u32be(bytes, 48).map_err(&short)?;
        let expected = (at / 512, self.group.number);
        if (blkno, owner) != expected {
            return Err(Error::corrupt(
                structure,
                at,
                format!(
                    "it says that it belongs to sector {blkno}, group {owner}; it stands at sector {}, group {}",
                    expected.0, expected.1
                ),
            ));
        }
        if read_array(bytes, 32).map_err(&short)? != self.superblock.metadata_uuid() {
            return Err(Error::corrupt(structure, at, "it carries the UUID of another file system"));
        }
        Ok(())
    }

    /// The block must be where the one before on its level said, and point back to it.
    fn check_siblings(
        &mut self,
        at: u64,
        number: u32,
        level: u32,
        (leftsib, rightsib): (u32, u32),
    ) -> Result<(), Error> {
        let structure = self.order.structure();
        let Some(seen) = usize::try_from(level).ok().and_then(|level| self.last_seen.get_mut(level)) else {
            return Err(Error::corrupt(structure, at, format!("level {level} is not in its tree")));
        };
        let (before, announced) = *seen;
        if leftsib != before || (before != NO_BLOCK && announced != number) {
            return Err(Error::corrupt(
                structure,
                at,
                format!(
                    "block {number} has left sibling {leftsib:#x}, but block {before:#x} (whose right sibling is {announced:#x}) comes before it"
                ),
            ));
        }
        *seen = (number, rightsib);
        Ok(())
    }

    fn add_records(&mut self, block: &Block) -> Result<(), Error> {
        let structure = self.order.structure();
        let short = Error::short(structure, block.at);
        for index in 0..block.numrecs {
            let field = index.saturating_mul(RECORD_BYTES);
            let extent = Extent {
                start: read_u32be(&block.body, field).map_err(&short)?,
                count: read_u32be(&block.body, field.saturating_add(4)).map_err(&short)?,
            };
            self.free_blocks = self.free_blocks.saturating_add(u64::from(extent.count));
            let Extent { start, count } = extent;
            let inside = start >= self.first_block
                && count > 0
                && start.checked_add(count).is_some_and(|end| end <= self.group.blocks);
            if !inside || !self.comes_next(extent) || self.free_blocks > u64::from(self.group.freeblks) {
                return Err(Error::corrupt(
                    structure,
                    block.at,
                    format!(
                        "record {index} of block {} ({count} free blocks from {start}) is out of order, outside the group of {} blocks, or more than the {} free blocks of the AGF",
                        block.number, self.group.blocks, self.group.freeblks
                    ),
                ));
            }
            self.extents.push(extent);
        }
        Ok(())
    }

    /// True where the extent may follow the last one in the order of the tree.
    fn comes_next(&self, next: Extent) -> bool {
        self.extents.last().is_none_or(|last| match self.order {
            Order::Block => last.end() <= next.start,
            Order::Count => (last.count, last.start) < (next.count, next.start),
        })
    }
}
