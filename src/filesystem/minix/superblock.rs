//! The Minix superblock: version, sizes, state.
//!
//! Little endian, 1 KiB into the volume. Offsets and names are those of `struct minix_super_block` and `struct
//! minix3_super_block` in the kernel's `include/uapi/linux/minix_fs.h`; sizes are those that `mkfs.minix` of util-linux
//! computes from the number of zones and inodes.

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, KIB, OutOfBounds, read_u16le, read_u32le, u64_from};

pub(super) const STRUCTURE: &str = "Minix superblock";
pub(super) const AT: u64 = KIB;
const LENGTH: usize = 32;
/// Magic numbers, with names of 14 or 30 bytes, and of version 3.
const V1: [u16; 2] = [0x137F, 0x138F];
const V2: [u16; 2] = [0x2468, 0x2478];
const V3: u16 = 0x4D5A;
/// Of ext2, where it would stand: its numbers of blocks and inodes may look like a magic number of Minix.
const EXT_MAGIC_AT: usize = 0x38;
const EXT_MAGIC: u16 = 0xEF53;

/// `MINIX_VALID_FS` and `MINIX_ERROR_FS`
const VALID_FS: u16 = 0x0001;
const ERROR_FS: u16 = 0x0002;
/// The block behind the boot block and the superblock.
const FIRST_BITMAP: u64 = 2;

/// Version of the format, which says how inodes look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
    Three,
}

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    pub(super) version: Version,
    pub(super) block_bytes: u64,
    pub(super) ninodes: u64,
    pub(super) zones: u64,
    pub(super) imap_blocks: u64,
    pub(super) zmap_blocks: u64,
    /// `s_firstdatazone`
    pub(super) first_zone: u64,
    log_zone_size: u16,
    /// Absent in version 3.
    state: Option<u16>,
}

/// The superblock, where there is one whose sizes go together.
pub(super) fn find(volume: &dyn ReadAt) -> Result<Option<Superblock>, Error> {
    const WITH_EXT: usize = EXT_MAGIC_AT + 2;
    if volume.size_bytes() < AT.saturating_add(u64_from(WITH_EXT)) {
        return Ok(None);
    }
    let bytes = read_structure(volume, STRUCTURE, AT, WITH_EXT)?;
    if read_u16le(&bytes, EXT_MAGIC_AT) == Ok(EXT_MAGIC) {
        return Ok(None);
    }
    let superblock = Superblock::parse(bytes.get(..LENGTH).unwrap_or_default());
    Ok(superblock.map_err(Error::short(STRUCTURE, AT))?.filter(Superblock::goes_together))
}

impl Superblock {
    fn parse(bytes: &[u8]) -> Result<Option<Self>, OutOfBounds> {
        let short = |at: usize| read_u16le(bytes, at).map(u64::from);
        let long = |at: usize| read_u32le(bytes, at).map(u64::from);
        if read_u16le(bytes, 24)? == V3 {
            return Ok(Some(Self {
                version: Version::Three,
                block_bytes: short(28)?,
                ninodes: long(0)?,
                zones: long(20)?,
                imap_blocks: short(6)?,
                zmap_blocks: short(8)?,
                first_zone: short(10)?,
                log_zone_size: read_u16le(bytes, 12)?,
                state: None,
            }));
        }
        let magic = read_u16le(bytes, 16)?;
        let version = match magic {
            magic if V1.contains(&magic) => Version::One,
            magic if V2.contains(&magic) => Version::Two,
            _ => return Ok(None),
        };
        Ok(Some(Self {
            version,
            block_bytes: KIB,
            ninodes: short(0)?,
            zones: if version == Version::One { short(2)? } else { long(20)? },
            imap_blocks: short(4)?,
            zmap_blocks: short(6)?,
            first_zone: short(8)?,
            log_zone_size: read_u16le(bytes, 10)?,
            state: Some(read_u16le(bytes, 18)?),
        }))
    }

    /// Bytes of an inode.
    pub(super) const fn inode_bytes(&self) -> u64 {
        match self.version {
            Version::One => 32,
            Version::Two | Version::Three => 64,
        }
    }

    fn goes_together(&self) -> bool {
        let is_block = (KIB..=32 * KIB).contains(&self.block_bytes) && self.block_bytes.is_power_of_two();
        let per_bitmap = self.block_bytes.saturating_mul(8).max(1);
        let inode_blocks = self.ninodes.saturating_mul(self.inode_bytes()).div_ceil(self.block_bytes.max(1));
        let zone_bits = self.zones.saturating_sub(self.first_zone).saturating_add(1);
        is_block
            && self.log_zone_size == 0
            && self.ninodes > 0
            && self.imap_blocks == self.ninodes.saturating_add(1).div_ceil(per_bitmap)
            && self.first_zone == self.inodes_start().saturating_add(inode_blocks)
            && self.zones > self.first_zone
            // An older mkfs.minix counts bits for all zones.
            && self.zmap_blocks >= zone_bits.div_ceil(per_bitmap)
            && self.zmap_blocks <= self.zones.saturating_add(1).div_ceil(per_bitmap)
            && self.state.is_none_or(|state| state <= VALID_FS | ERROR_FS)
    }

    pub(super) fn check_size(&self, volume_bytes: u64) -> Result<(), Error> {
        if self.size_bytes() <= volume_bytes {
            return Ok(());
        }
        Err(Error::corrupt(
            STRUCTURE,
            AT,
            format!(
                "the file system has {} zones of {} bytes, but the volume only {volume_bytes} bytes",
                self.zones, self.block_bytes
            ),
        ))
    }

    pub(super) fn check_error_flag(&self) -> Result<(), Error> {
        if self.state.is_none_or(|state| state & ERROR_FS == 0) {
            return Ok(());
        }
        Err(Error::corrupt(STRUCTURE, AT, "MINIX_ERROR_FS is set: an error was met"))
    }

    /// True where it says that it was not unmounted.
    pub(super) fn was_mounted(&self) -> bool {
        self.state.is_some_and(|state| state & VALID_FS == 0)
    }

    /// What is not known about a clean one.
    pub(super) const fn hint(&self) -> Option<&'static str> {
        match self.state {
            Some(_) => None,
            None => Some(
                "version 3 of Minix does not say whether it was unmounted; its bitmap was compared with all files",
            ),
        }
    }

    /// Size of the file system.
    pub(super) const fn size_bytes(&self) -> u64 {
        self.zones.saturating_mul(self.block_bytes)
    }

    pub(super) const fn zmap_start(&self) -> u64 {
        FIRST_BITMAP.saturating_add(self.imap_blocks)
    }

    /// The block with the first inode.
    pub(super) const fn inodes_start(&self) -> u64 {
        self.zmap_start().saturating_add(self.zmap_blocks)
    }

    /// The block with the bits of the first inodes.
    pub(super) const fn imap_start(&self) -> u64 {
        FIRST_BITMAP
    }

    /// The bytes of a block; zones are blocks.
    pub(super) fn block(&self, number: u64) -> ByteRange {
        let bytes = |block: u64| block.saturating_mul(self.block_bytes);
        ByteRange::new(bytes(number), bytes(number.saturating_add(1)))
    }
}
