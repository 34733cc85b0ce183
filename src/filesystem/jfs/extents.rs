//! The extents of the block map's inode: a B+-tree whose root stands in the inode.
//!
//! Offsets and names are those of the kernel's `fs/jfs/jfs_xtree.h`, `jfs_btree.h` and `jfs_dinode.h`.

use super::superblock::extent;
use super::{BLOCK_BYTES, PAGE};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, KIB, read_slice, read_u8, read_u16le, read_u32le};

const INODE: &str = "JFS inode of the block map";
const NODE: &str = "JFS extent tree";
/// `AITBL_OFF`, where `BMAP_I` is the third inode of `DISIZE` bytes.
const INODE_AT: u64 = 44 * KIB + 2 * 512;
const INODE_BYTES: usize = 512;
const BMAP_I: u32 = 2;
/// `di_xtroot`, of `XTROOTMAXSLOT` slots.
const ROOT_AT: usize = 224;
const ROOT_BYTES: usize = 288;
/// A slot; the header takes the first two (`XTENTRYSTART`).
const SLOT_BYTES: usize = 16;
const FIRST_SLOT: usize = 2;
/// `BT_LEAF` and `BT_INTERNAL`
const LEAF: u8 = 0x02;
const INTERNAL: u8 = 0x04;
/// `MAXTREEHEIGHT`
const MAX_HEIGHT: usize = 8;

/// Where the first `bytes` bytes of the map stand, in the order of the file, without holes.
pub(super) fn of_block_map(volume: &dyn ReadAt, bytes: u64) -> Result<Vec<ByteRange>, Error> {
    let inode = read_structure(volume, INODE, INODE_AT, INODE_BYTES)?;
    let short = Error::short(INODE, INODE_AT);
    let number = read_u32le(&inode, 8).map_err(&short)?;
    if number != BMAP_I {
        return Err(Error::corrupt(INODE, INODE_AT, format!("it says that it is inode {number}")));
    }
    let root = read_slice(&inode, ROOT_AT, ROOT_BYTES).map_err(&short)?;
    let mut walk = Walk { volume, parts: Vec::new(), found: 0, wanted: bytes };
    walk.node(root, INODE_AT, 0)?;
    if walk.found >= bytes {
        return Ok(walk.parts);
    }
    Err(Error::corrupt(INODE, INODE_AT, format!("its extents have {} bytes of {bytes}", walk.found)))
}

struct Walk<'a> {
    volume: &'a dyn ReadAt,
    parts: Vec<ByteRange>,
    /// Bytes of the file that were found so far, and how many are wanted.
    found: u64,
    wanted: u64,
}

impl Walk<'_> {
    /// Every entry adds to what was found, or is an error: so a walk ends.
    fn node(&mut self, node: &[u8], at: u64, depth: usize) -> Result<(), Error> {
        let short = Error::short(NODE, at);
        let flag = read_u8(node, 16).map_err(&short)?;
        let next_index = usize::from(read_u16le(node, 18).map_err(&short)?);
        let slots = node.len() / SLOT_BYTES;
        let is_leaf = flag & LEAF != 0;
        if is_leaf == (flag & INTERNAL != 0)
            || next_index <= FIRST_SLOT
            || next_index > slots
            || depth >= MAX_HEIGHT
        {
            return Err(Error::corrupt(
                NODE,
                at,
                format!("flags {flag:#04x} and {next_index} of {slots} slots are not those of a node"),
            ));
        }
        for slot in FIRST_SLOT..next_index {
            if self.found >= self.wanted {
                return Ok(());
            }
            let entry = read_slice(node, slot.saturating_mul(SLOT_BYTES), SLOT_BYTES).map_err(&short)?;
            // 40 bits, in blocks: where in the file it begins.
            let high = u64::from(read_u8(entry, 3).map_err(&short)?) << 32;
            let offset =
                (high | u64::from(read_u32le(entry, 4).map_err(&short)?)).saturating_mul(BLOCK_BYTES);
            let part = extent(entry, 8).map_err(&short)?;
            if offset != self.found || part.is_empty() || part.end() > self.volume.size_bytes() {
                return Err(Error::corrupt(
                    NODE,
                    at,
                    format!(
                        "slot {slot} puts byte {offset} of the file at {part}, where byte {} follows",
                        self.found
                    ),
                ));
            }
            if is_leaf {
                self.found = self.found.saturating_add(part.length());
                self.parts.push(part);
            } else {
                let page = read_structure(self.volume, NODE, part.start(), PAGE)?;
                self.node(&page, part.start(), depth.saturating_add(1))?;
            }
        }
        Ok(())
    }
}
