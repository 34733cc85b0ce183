//! The XFS superblock: identity, geometry and features.
//!
//! Big endian, at byte 0 of the volume; a copy begins every allocation group. Offsets and names are those
//! of `struct xfs_dsb` in the kernel's `fs/xfs/libxfs/xfs_format.h`.

use super::super::Error;
use super::super::error::read_structure;
use super::checksum;
use crate::blockio::ReadAt;
use crate::units::{
    ByteRange, OutOfBounds, read_array, read_slice, read_u8, read_u16be, read_u32be, read_u64be, usize_from,
};

const STRUCTURE: &str = "XFS superblock";
/// `XFSB`
pub(super) const MAGIC: [u8; 4] = *b"XFSB";
/// Smallest superblock sector.
const HEAD_BYTES: usize = 512;
/// `sb_crc`
const CRC_AT: usize = 224;
/// `XFS_MIN_AG_BLOCKS`
const MIN_AG_BLOCKS: u64 = 64;
/// Logs are smaller than this (`XFS_MAX_LOG_BYTES`).
const MAX_LOG_BYTES: u64 = 1 << 31;

/// `XFS_SB_VERSION_LOGV2BIT`
const VERSION_LOGV2: u16 = 0x0400;
/// `XFS_SB_VERSION_SHAREDBIT`: never had a meaning on Linux.
const VERSION_SHARED: u16 = 0x0200;
/// `XFS_SB_VERSION_MOREBITSBIT`
const VERSION_MOREBITS: u16 = 0x8000;
/// Lazy counters, attr2, 32-bit project identifiers, file types in directories.
const FEATURES2_KNOWN: u32 = 0x0002 | 0x0008 | 0x0080 | 0x0200;
/// finobt, rmapbt, reflink, inobtcount.
const RO_COMPAT_KNOWN: u32 = 0x000F;
/// ftype, sparse inodes, meta_uuid, bigtime, needsrepair, nrext64, exchange-range, parent.
const INCOMPAT_KNOWN: u32 = 0x00FF;
const INCOMPAT_META_UUID: u32 = 0x0004;
const INCOMPAT_NEEDSREPAIR: u32 = 0x0010;

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    pub(super) blocksize: u32,
    pub(super) dblocks: u64,
    rblocks: u64,
    rextents: u64,
    pub(super) uuid: [u8; 16],
    logstart: u64,
    pub(super) agblocks: u32,
    pub(super) agcount: u32,
    logblocks: u32,
    versionnum: u16,
    pub(super) sectsize: u16,
    fname: [u8; 12],
    blocklog: u8,
    sectlog: u8,
    agblklog: u8,
    inprogress: u8,
    features2: u32,
    features_ro_compat: u32,
    features_incompat: u32,
    meta_uuid: [u8; 16],
}

impl Superblock {
    /// Reads and checks the primary superblock.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Self, Error> {
        let head = read_structure(volume, STRUCTURE, 0, HEAD_BYTES)?;
        let superblock = Self::parse(&head).map_err(Error::short(STRUCTURE, 0))?;
        let version = superblock.version();
        if !matches!(version, 4 | 5) {
            return Err(Error::unsupported(format!(
                "its superblock has version {version}, of which no Linux kernel is left that writes it; capture it raw"
            )));
        }
        superblock.check_sizes()?;
        let sector = read_structure(volume, STRUCTURE, 0, usize::from(superblock.sectsize))?;
        if superblock.has_checksums() {
            checksum::check(&sector, CRC_AT, STRUCTURE, 0)?;
        }
        superblock.check_geometry(volume.size_bytes())?;
        Ok(superblock)
    }

    fn parse(bytes: &[u8]) -> Result<Self, OutOfBounds> {
        Ok(Self {
            blocksize: read_u32be(bytes, 4)?,
            dblocks: read_u64be(bytes, 8)?,
            rblocks: read_u64be(bytes, 16)?,
            rextents: read_u64be(bytes, 24)?,
            uuid: read_array(bytes, 32)?,
            logstart: read_u64be(bytes, 48)?,
            agblocks: read_u32be(bytes, 84)?,
            agcount: read_u32be(bytes, 88)?,
            logblocks: read_u32be(bytes, 96)?,
            versionnum: read_u16be(bytes, 100)?,
            sectsize: read_u16be(bytes, 102)?,
            fname: read_array(bytes, 108)?,
            blocklog: read_u8(bytes, 120)?,
            sectlog: read_u8(bytes, 121)?,
            agblklog: read_u8(bytes, 124)?,
            inprogress: read_u8(bytes, 126)?,
            features2: read_u32be(bytes, 200)?,
            features_ro_compat: read_u32be(bytes, 212)?,
            features_incompat: read_u32be(bytes, 216)?,
            meta_uuid: read_array(bytes, 248)?,
        })
    }

    fn check_sizes(&self) -> Result<(), Error> {
        let is = |value: u32, log: u8| 1u32.checked_shl(u32::from(log)) == Some(value);
        let Self { blocksize, blocklog, sectsize, sectlog, .. } = *self;
        if !(512..=65536).contains(&blocksize) || !is(blocksize, blocklog) {
            return Err(corrupt(format!(
                "the block size is {blocksize} bytes and its logarithm {blocklog}, but it must be a power of two from 512 to 65536"
            )));
        }
        if !(512..=32768).contains(&sectsize)
            || !is(u32::from(sectsize), sectlog)
            || u32::from(sectsize) > blocksize
        {
            return Err(corrupt(format!(
                "the sector size is {sectsize} bytes and its logarithm {sectlog}, with blocks of {blocksize} bytes"
            )));
        }
        Ok(())
    }

    /// `XFS_MIN_DBLOCKS` and `XFS_MAX_DBLOCKS` of the kernel, and the size of the volume.
    fn check_geometry(&self, volume_bytes: u64) -> Result<(), Error> {
        let Self { blocksize, dblocks, agblocks, agcount, agblklog, .. } = *self;
        let blocks_before_last = u64::from(agcount).checked_sub(1).map(|before| self.blocks_of(before));
        let fits = blocks_before_last.is_some_and(|before| {
            dblocks >= before.saturating_add(MIN_AG_BLOCKS)
                && dblocks <= before.saturating_add(u64::from(agblocks))
        });
        if !fits || u64::from(agblocks) < MIN_AG_BLOCKS {
            return Err(corrupt(format!(
                "{agcount} allocation groups of {agblocks} blocks do not make a file system of {dblocks} blocks"
            )));
        }
        let log = agblocks.checked_next_power_of_two().map_or(32, u32::trailing_zeros);
        if u32::from(agblklog) != log {
            return Err(corrupt(format!(
                "the logarithm of {agblocks} blocks to an allocation group is {log}, not {agblklog}"
            )));
        }
        match dblocks.checked_mul(u64::from(blocksize)) {
            Some(size) if size <= volume_bytes => Ok(()),
            _ => Err(corrupt(format!(
                "the file system has {dblocks} blocks of {blocksize} bytes, but the volume only {volume_bytes} bytes"
            ))),
        }
    }

    /// Refuses the forms whose used map this volume does not tell, and a file system that says it is broken.
    pub(super) fn check_features(&self) -> Result<(), Error> {
        if self.inprogress != 0 {
            return Err(corrupt("sb_inprogress is set: making or copying the file system was interrupted"));
        }
        if self.has_checksums() {
            self.check_features_v5()?;
        } else if self.versionnum & VERSION_SHARED != 0
            || (self.versionnum & VERSION_MOREBITS != 0 && self.features2 & !FEATURES2_KNOWN != 0)
        {
            return Err(Error::unsupported(format!(
                "it has features that Remint does not know (sb_versionnum {:#06x}, sb_features2 {:#x}); capture it raw",
                self.versionnum, self.features2
            )));
        }
        if self.logstart == 0 {
            return Err(Error::unsupported(
                "its log is on another device, so this volume alone does not say which blocks are in use; capture both volumes raw, while the file system is not mounted",
            ));
        }
        if self.rblocks != 0 || self.rextents != 0 {
            return Err(Error::unsupported(format!(
                "it keeps files in {} blocks of a realtime device, which are not on this volume; capture both volumes raw, while the file system is not mounted",
                self.rblocks
            )));
        }
        Ok(())
    }

    fn check_features_v5(&self) -> Result<(), Error> {
        if self.features_incompat & INCOMPAT_NEEDSREPAIR != 0 {
            return Err(corrupt("its needsrepair flag is set: run xfs_repair on it before it is captured"));
        }
        let unknown = [
            ("sb_features_incompat", self.features_incompat & !INCOMPAT_KNOWN),
            ("sb_features_ro_compat", self.features_ro_compat & !RO_COMPAT_KNOWN),
        ];
        match unknown.into_iter().find(|(_, bits)| *bits != 0) {
            None => Ok(()),
            Some((field, bits)) => Err(Error::unsupported(format!(
                "it has features that Remint does not know ({field} {bits:#x}; 0x100 is metadir, 0x200 zoned); capture it raw"
            ))),
        }
    }

    const fn version(&self) -> u16 {
        self.versionnum & 0x000F
    }

    /// Version 5: metadata carries checksums, its own position and the UUID.
    pub(super) const fn has_checksums(&self) -> bool {
        self.version() == 5
    }

    /// Version 2 of the log format: records up to 256 KiB, with several header blocks.
    pub(super) const fn has_log_v2(&self) -> bool {
        self.has_checksums() || self.versionnum & VERSION_LOGV2 != 0
    }

    /// The UUID that stands in the metadata; the user may have changed the one that is shown.
    pub(super) const fn metadata_uuid(&self) -> [u8; 16] {
        if self.has_checksums() && self.features_incompat & INCOMPAT_META_UUID != 0 {
            self.meta_uuid
        } else {
            self.uuid
        }
    }

    /// The label, where there is one.
    pub(super) fn label(&self) -> Option<String> {
        let text = self.fname.split(|byte| *byte == 0).next().unwrap_or_default();
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }

    /// Size of the file system; `check_geometry` saw that it fits in the volume.
    pub(super) fn size_bytes(&self) -> u64 {
        self.bytes_of(self.dblocks)
    }

    /// Blocks in this many full allocation groups.
    fn blocks_of(&self, groups: u64) -> u64 {
        groups.saturating_mul(u64::from(self.agblocks))
    }

    fn bytes_of(&self, blocks: u64) -> u64 {
        blocks.saturating_mul(u64::from(self.blocksize))
    }

    /// Blocks of an allocation group; the last one may be shorter.
    pub(super) fn group_blocks(&self, number: u32) -> u32 {
        let rest = self.dblocks.saturating_sub(self.blocks_of(u64::from(number)));
        u32::try_from(rest).map_or(self.agblocks, |rest| rest.min(self.agblocks))
    }

    /// Where a block of an allocation group stands on the volume, in bytes. The product of group and
    /// blocks needs 64 bits from 16 TiB on.
    pub(super) fn block_at(&self, group: u32, block: u32) -> u64 {
        self.bytes_of(self.blocks_of(u64::from(group)).saturating_add(u64::from(block)))
    }

    /// The bytes of the internal log.
    pub(super) fn log_range(&self) -> Result<ByteRange, Error> {
        let Self { logstart, logblocks, agblklog, .. } = *self;
        let group = logstart.checked_shr(u32::from(agblklog)).and_then(|group| u32::try_from(group).ok());
        let mask = 1u64.checked_shl(u32::from(agblklog)).unwrap_or(0).saturating_sub(1);
        let range = group.filter(|group| *group < self.agcount).and_then(|group| {
            let first = logstart & mask;
            let inside = first.checked_add(u64::from(logblocks))? <= u64::from(self.group_blocks(group));
            ByteRange::at(
                self.block_at(group, u32::try_from(first).ok()?),
                self.bytes_of(u64::from(logblocks)),
            )
            .filter(|range| inside && !range.is_empty() && range.length() <= MAX_LOG_BYTES)
        });
        range.ok_or_else(|| {
            corrupt(format!(
                "its log of {logblocks} blocks at file system block {logstart:#x} does not lie in an allocation group"
            ))
        })
    }

    /// True where a copy in another allocation group agrees on what never changes.
    pub(super) fn agrees_with(&self, copy: &[u8]) -> bool {
        read_slice(copy, 0, MAGIC.len()) == Ok(&MAGIC)
            && read_u32be(copy, 4) == Ok(self.blocksize)
            && read_u32be(copy, 84) == Ok(self.agblocks)
    }

    /// Length of the block in memory.
    pub(super) fn block_length(&self) -> usize {
        usize_from(u64::from(self.blocksize))
    }
}

fn corrupt(fact: impl Into<String>) -> Error {
    Error::corrupt(STRUCTURE, 0, fact)
}

/// The UUID as XFS tools print it: the bytes in their order.
pub(super) fn format_uuid(uuid: [u8; 16]) -> String {
    uuid.iter().enumerate().fold(String::new(), |mut text, (position, byte)| {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
        text
    })
}
