//! The journal: where it stands, and whether it holds something that is to be replayed.
//!
//! The journal is a file. Its first block is the jbd2 superblock, big endian; offsets follow the kernel's
//! `Documentation/filesystems/ext4/journal.rst`. Its blocks are found through the inode's extents (ext4) or
//! block pointers (ext3).

use super::geometry::{Geometry, divide, remainder};
use super::group;
use super::inode_blocks;
use crate::blockio::ReadAt;
use crate::filesystem::error::{Error, read_structure};
use crate::units::checksum::crc32c;
use crate::units::{RangeSet, read_slice, read_u16le, read_u32be, read_u32le};

const STRUCTURE: &str = "jbd2 superblock";
const MAGIC: u32 = 0xC03B_3998;
const JBD2_SUPERBLOCK_BYTES: usize = 1024;
const CHECKSUM_AT: usize = 0xFC;
/// Block types of version 1 and 2.
const SUPERBLOCK_TYPES: [u32; 2] = [3, 4];
/// `JBD2_FEATURE_INCOMPAT_CSUM_V2` and `_V3`.
const CHECKSUMS: u32 = 0x8 | 0x10;
const S_IFMT: u16 = 0xF000;
const S_IFREG: u16 = 0x8000;
const EXTENTS_FL: u32 = 0x8_0000;

/// What the journal says.
#[derive(Debug)]
pub(super) struct Journal {
    /// Where it stands.
    pub(super) blocks: RangeSet,
    /// It holds transactions that are not on their place yet (`s_start` is not 0).
    pub(super) is_live: bool,
    /// The kernel gave up on the file system (`s_errno`), 0 where it did not.
    pub(super) errno: u32,
}

/// Reads the journal that is inode `s_journal_inum`.
pub(super) fn read(volume: &dyn ReadAt, geometry: &Geometry) -> Result<Journal, Error> {
    let number = geometry.superblock.s_journal_inum;
    let at = inode_at(volume, geometry, number)?;
    let inode = read_structure(volume, "ext journal inode", at, 128)?;
    let short = Error::short("ext journal inode", at);
    let mode = read_u16le(&inode, 0x0).map_err(&short)?;
    if mode & S_IFMT != S_IFREG {
        let fact = format!("inode {number} should be the journal but its mode is {mode:#o}");
        return Err(Error::corrupt("ext journal inode", at, fact));
    }
    let has_extents = read_u32le(&inode, 0x20).map_err(&short)? & EXTENTS_FL != 0;
    let i_block = read_slice(&inode, 0x28, 60).map_err(&short)?;
    let length = u64::from(read_u32le(&inode, 0x4).map_err(&short)?)
        | u64::from(read_u32le(&inode, 0x6C).map_err(&short)?) << 32;
    let mapped = if has_extents {
        inode_blocks::of_extents(volume, geometry, i_block, at)?
    } else {
        inode_blocks::of_pointers(volume, geometry, i_block, length.div_ceil(geometry.block_bytes), at)?
    };
    let first = mapped.first.ok_or_else(|| {
        Error::corrupt("ext journal inode", at, "the journal has no first block".to_owned())
    })?;
    let (is_live, errno) = read_superblock(volume, geometry.byte_of(first))?;
    Ok(Journal { blocks: mapped.bytes, is_live, errno })
}

fn inode_at(volume: &dyn ReadAt, geometry: &Geometry, number: u32) -> Result<u64, Error> {
    let index = u64::from(number).saturating_sub(1);
    let group = group::read_one(volume, geometry, divide(index, geometry.inodes_per_group))?;
    let within = remainder(index, geometry.inodes_per_group).saturating_mul(geometry.inode_bytes);
    Ok(geometry.byte_of(group.inode_table).saturating_add(within))
}

/// (whether transactions wait, the error that was recorded).
pub(super) fn read_superblock(volume: &dyn ReadAt, at: u64) -> Result<(bool, u32), Error> {
    let bytes = read_structure(volume, STRUCTURE, at, JBD2_SUPERBLOCK_BYTES)?;
    let field = |offset: usize| read_u32be(&bytes, offset).map_err(Error::short(STRUCTURE, at));
    let (magic, kind) = (field(0x0)?, field(0x4)?);
    if magic != MAGIC || !SUPERBLOCK_TYPES.contains(&kind) {
        let fact = format!("its magic is {magic:#010x} and its type {kind}");
        return Err(Error::corrupt(STRUCTURE, at, fact));
    }
    if kind == 4 && field(0x28)? & CHECKSUMS != 0 {
        let before = bytes.get(..CHECKSUM_AT).unwrap_or_default();
        let behind = bytes.get(CHECKSUM_AT.saturating_add(4)..).unwrap_or_default();
        let computed = crc32c(crc32c(crc32c(!0, before), &[0; 4]), behind);
        let stored = field(CHECKSUM_AT)?;
        if stored != computed {
            let fact = format!("its checksum is {computed:#010x} but {stored:#010x} is stored");
            return Err(Error::corrupt(STRUCTURE, at, fact));
        }
    }
    Ok((field(0x1C)? != 0, field(0x20)?))
}
