//! Inodes: every zone of every file is looked up in the bitmap.
//!
//! Offsets and names are those of `struct minix_inode` and `struct minix2_inode` in the kernel's
//! `include/uapi/linux/minix_fs.h`.

use super::superblock::{Superblock, Version};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{RangeSet, read_u8, read_u16le, read_u32le, usize_from};

const STRUCTURE: &str = "Minix inode";
const INODE_BITMAP: &str = "Minix bitmap of inodes";
const ZONES: &str = "Minix list of zones";
/// `S_IFMT`, and the types that have zones: directories, files and symbolic links.
const TYPE: u16 = 0o170_000;
const WITH_ZONES: [u16; 3] = [0o040_000, 0o100_000, 0o120_000];
/// Direct zones; those behind them are lists, lists of lists, and so on.
const DIRECT: usize = 7;

/// Checks the zones of all inodes whose bits are set.
pub(super) fn check_all(volume: &dyn ReadAt, superblock: &Superblock, used: &RangeSet) -> Result<(), Error> {
    let mut walk = Walk { volume, superblock, used, left: superblock.zones };
    let per_bitmap = superblock.block_bytes.saturating_mul(8).max(1);
    let per_block = superblock.block_bytes.checked_div(superblock.inode_bytes()).unwrap_or(1).max(1);
    let mut bitmap = Vec::new();
    let mut inodes = Vec::new();
    // The first inode has number 1 and the second bit.
    for index in 0..superblock.ninodes {
        let bit = index.saturating_add(1);
        let in_bitmap = bit.checked_rem(per_bitmap).unwrap_or(0);
        if index == 0 || in_bitmap == 0 {
            let block = superblock.imap_start().saturating_add(bit.checked_div(per_bitmap).unwrap_or(0));
            bitmap = walk.read(INODE_BITMAP, block)?;
        }
        let in_block = index.checked_rem(per_block).unwrap_or(0);
        let block = superblock.inodes_start().saturating_add(index.checked_div(per_block).unwrap_or(0));
        if in_block == 0 {
            inodes = walk.read(STRUCTURE, block)?;
        }
        let byte = read_u8(&bitmap, usize_from(in_bitmap / 8)).unwrap_or(0);
        if byte >> (in_bitmap % 8) & 1 == 1 {
            let at = usize_from(in_block.saturating_mul(superblock.inode_bytes()));
            walk.inode(inodes.get(at..).unwrap_or_default(), superblock.block(block).start(), bit)?;
        }
    }
    Ok(())
}

struct Walk<'a> {
    volume: &'a dyn ReadAt,
    superblock: &'a Superblock,
    used: &'a RangeSet,
    /// Zones that may still be met: each belongs to one file, so a walk ends.
    left: u64,
}

impl Walk<'_> {
    fn read(&self, structure: &'static str, block: u64) -> Result<Vec<u8>, Error> {
        let place = self.superblock.block(block);
        read_structure(self.volume, structure, place.start(), usize_from(place.length()))
    }

    fn inode(&mut self, inode: &[u8], at: u64, number: u64) -> Result<(), Error> {
        let mode = read_u16le(inode, 0).map_err(Error::short(STRUCTURE, at))?;
        if !WITH_ZONES.contains(&(mode & TYPE)) {
            return Ok(());
        }
        let (zones_at, slots) = match self.superblock.version {
            Version::One => (14, 9),
            Version::Two | Version::Three => (24, 10),
        };
        let zones = self.list(inode.get(zones_at..).unwrap_or_default(), slots);
        for (slot, zone) in zones.into_iter().enumerate() {
            let depth = slot.saturating_sub(DIRECT.saturating_sub(1));
            self.zone(zone, depth, number)?;
        }
        Ok(())
    }

    /// The numbers of zones in a list, as many as there are, and not more than `most`.
    fn list(&self, bytes: &[u8], most: usize) -> Vec<u64> {
        match self.superblock.version {
            Version::One => bytes
                .chunks_exact(2)
                .take(most)
                .map(|zone| read_u16le(zone, 0).map_or(0, u64::from))
                .collect(),
            Version::Two | Version::Three => bytes
                .chunks_exact(4)
                .take(most)
                .map(|zone| read_u32le(zone, 0).map_or(0, u64::from))
                .collect(),
        }
    }

    /// A zone with data, or with a list of zones at `depth` from them.
    fn zone(&mut self, zone: u64, depth: usize, inode: u64) -> Result<(), Error> {
        if zone == 0 {
            return Ok(());
        }
        let place = self.superblock.block(zone);
        let is_zone = (self.superblock.first_zone..self.superblock.zones).contains(&zone);
        self.left = match self.left.checked_sub(1) {
            Some(left) if is_zone && self.used.contains(place) => left,
            _ => {
                return Err(Error::corrupt(
                    STRUCTURE,
                    place.start(),
                    format!(
                        "inode {inode} has zone {zone}, which is free, is none, or belongs to several files"
                    ),
                ));
            }
        };
        if depth > 0 {
            let bytes = self.read(ZONES, zone)?;
            for next in self.list(&bytes, usize::MAX) {
                self.zone(next, depth.saturating_sub(1), inode)?;
            }
        }
        Ok(())
    }
}
