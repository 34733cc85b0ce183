//! Block group descriptors: where the bitmaps and the inode table of a group stand, and what is free in it.
//!
//! Offsets follow the kernel's `Documentation/filesystems/ext4/group_descr.rst`. A descriptor whose checksum
//! is wrong, or that points outside the file system, is never handed out.

use super::geometry::{Geometry, divide};
use super::superblock::{incompat, ro_compat};
use crate::blockio::ReadAt;
use crate::filesystem::error::{Error, read_structure};
use crate::units::checksum::{crc16, crc32c};
use crate::units::{OutOfBounds, read_slice, read_u16le, read_u32le, usize_from};

const STRUCTURE: &str = "ext group descriptor";
const CHECKSUM_AT: usize = 0x1E;
const BLOCK_UNINIT: u16 = 0x2;

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// Its number.
    pub(super) number: u64,
    /// The byte of the volume at which its descriptor stands.
    pub(super) at: u64,
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    pub(super) free_clusters: u64,
    pub(super) free_inodes: u64,
    /// The bitmap on the disk means nothing: only the group's own metadata is in use.
    pub(super) is_block_uninit: bool,
    block_bitmap_csum: u32,
    /// Which bits of `block_bitmap_csum` are stored.
    block_bitmap_csum_mask: u32,
}

/// Reads the descriptors that stand in part `part` of the descriptor blocks.
pub(super) fn read_part(volume: &dyn ReadAt, geometry: &Geometry, part: u64) -> Result<Vec<Group>, Error> {
    let block = geometry.descriptor_block(part);
    let at = geometry.byte_of(block);
    if !geometry.holds(block, 1) {
        return Err(Error::corrupt(STRUCTURE, at, format!("block {block} is not in the file system")));
    }
    let bytes = read_structure(volume, STRUCTURE, at, usize_from(geometry.block_bytes))?;
    let first = part.saturating_mul(geometry.desc_per_block);
    (first..geometry.group_count)
        .zip(bytes.chunks_exact(usize_from(geometry.desc_bytes)))
        .zip((at..).step_by(usize_from(geometry.desc_bytes)))
        .map(|((number, descriptor), at)| {
            check_checksum(geometry, number, descriptor, at)?;
            let group = parse(geometry, number, descriptor, at).map_err(Error::short(STRUCTURE, at))?;
            group.check(geometry)?;
            Ok(group)
        })
        .collect()
}

/// Reads the descriptor of one group.
pub(super) fn read_one(volume: &dyn ReadAt, geometry: &Geometry, number: u64) -> Result<Group, Error> {
    read_part(volume, geometry, divide(number, geometry.desc_per_block))?
        .into_iter()
        .find(|group| group.number == number)
        .ok_or_else(|| Error::corrupt(STRUCTURE, 0, format!("there is no group {number}")))
}

fn parse(geometry: &Geometry, number: u64, bytes: &[u8], at: u64) -> Result<Group, OutOfBounds> {
    let is_wide = geometry.desc_bytes >= 64;
    let address = |low: usize, high: usize| -> Result<u64, OutOfBounds> {
        let high = if is_wide { read_u32le(bytes, high)? } else { 0 };
        Ok(u64::from(high) << 32 | u64::from(read_u32le(bytes, low)?))
    };
    let half = |low: usize, high: usize| -> Result<u32, OutOfBounds> {
        let high = if is_wide { read_u16le(bytes, high)? } else { 0 };
        Ok(u32::from(high) << 16 | u32::from(read_u16le(bytes, low)?))
    };
    let superblock = geometry.superblock;
    let has_checksums = superblock.has_ro_compat(ro_compat::METADATA_CSUM);
    let may_be_uninit = has_checksums || superblock.has_ro_compat(ro_compat::GDT_CSUM);
    Ok(Group {
        number,
        at,
        block_bitmap: address(0x0, 0x20)?,
        inode_bitmap: address(0x4, 0x24)?,
        inode_table: address(0x8, 0x28)?,
        free_clusters: half(0xC, 0x2C)?.into(),
        free_inodes: half(0xE, 0x2E)?.into(),
        is_block_uninit: may_be_uninit && read_u16le(bytes, 0x12)? & BLOCK_UNINIT != 0,
        block_bitmap_csum: half(0x18, 0x38)?,
        block_bitmap_csum_mask: match (has_checksums, is_wide) {
            (false, _) => 0,
            (true, false) => 0xFFFF,
            (true, true) => u32::MAX,
        },
    })
}

fn check_checksum(geometry: &Geometry, number: u64, bytes: &[u8], at: u64) -> Result<(), Error> {
    let superblock = geometry.superblock;
    let short = Error::short(STRUCTURE, at);
    let before = read_slice(bytes, 0, CHECKSUM_AT).map_err(&short)?;
    let behind = bytes.get(CHECKSUM_AT.saturating_add(2)..).unwrap_or_default();
    let group = u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let computed = if superblock.has_ro_compat(ro_compat::METADATA_CSUM) {
        let crc = crc32c(crc32c(superblock.checksum_seed(), &group), before);
        let [low, high, ..] = crc32c(crc32c(crc, &[0, 0]), behind).to_le_bytes();
        u16::from_le_bytes([low, high])
    } else if superblock.has_ro_compat(ro_compat::GDT_CSUM) {
        crc16(crc16(crc16(crc16(!0, &superblock.s_uuid), &group), before), behind)
    } else {
        return Ok(());
    };
    let stored = read_u16le(bytes, CHECKSUM_AT).map_err(&short)?;
    if stored == computed {
        return Ok(());
    }
    let fact = format!("the checksum of group {number} is {computed:#06x} but {stored:#06x} is stored");
    Err(Error::corrupt(STRUCTURE, at, fact))
}

impl Group {
    /// What it points at has to lie in the file system, without `flex_bg` in the group itself.
    fn check(&self, geometry: &Geometry) -> Result<(), Error> {
        let from = geometry.first_block(self.number);
        let to = from.saturating_add(geometry.blocks_in(self.number));
        let may_be_elsewhere = geometry.superblock.has_incompat(incompat::FLEX_BG);
        for (what, first, count) in [
            ("block bitmap", self.block_bitmap, 1),
            ("inode bitmap", self.inode_bitmap, 1),
            ("inode table", self.inode_table, geometry.inode_table_blocks),
        ] {
            let is_inside = first >= from && first.saturating_add(count) <= to;
            if !geometry.holds(first, count) || !(may_be_elsewhere || is_inside) {
                let (number, blocks) = (self.number, geometry.blocks_count);
                let fact = format!(
                    "the {what} of group {number} would be {count} blocks at block {first}, outside the \
                     group or the {blocks} blocks of the file system"
                );
                return Err(Error::corrupt(STRUCTURE, self.at, fact));
            }
        }
        Ok(())
    }

    /// Judges the checksum of the group's block bitmap, where there is one.
    pub(super) fn check_bitmap(&self, geometry: &Geometry, bitmap: &[u8]) -> Result<(), Error> {
        if self.block_bitmap_csum_mask == 0 {
            return Ok(());
        }
        let covered = bitmap.get(..usize_from(geometry.clusters_per_group / 8)).unwrap_or(bitmap);
        let computed = crc32c(geometry.superblock.checksum_seed(), covered) & self.block_bitmap_csum_mask;
        if computed == self.block_bitmap_csum {
            return Ok(());
        }
        let (number, stored) = (self.number, self.block_bitmap_csum);
        Err(Error::corrupt(
            "ext block bitmap",
            geometry.byte_of(self.block_bitmap),
            format!("the checksum of group {number} is {computed:#010x} but {stored:#010x} is stored"),
        ))
    }
}
