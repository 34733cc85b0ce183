//! The JFS aggregate superblock: identity, geometry, state, and where log and work space are.
//!
//! Little endian, 32 KiB into the volume. Offsets and names are those of `struct jfs_superblock` in the kernel's
//! `fs/jfs/jfs_superblock.h`, flags those of its `jfs_filsys.h`. There is no checksum.

use super::{BLOCK_BYTES, bytes_of};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::{text_at, uuid_at};
use crate::units::{ByteRange, KIB, OutOfBounds, read_slice, read_u16le, read_u32le, read_u64le, u64_from};

const STRUCTURE: &str = "JFS superblock";
/// `SUPER1_OFF` and `SUPER2_OFF`
const AT: u64 = 32 * KIB;
const SECOND_AT: u64 = 60 * KIB;
const LENGTH: usize = 184;
/// The fields that say where everything is: version and sizes, log and work space.
const GEOMETRY: [(usize, usize); 2] = [(4, 32), (72, 16)];
/// `JFS_VERSION`
const MAX_VERSION: u32 = 2;

/// `s_flag`
const INLINELOG: u32 = 0x0000_0800;
const INLINEMOVE: u32 = 0x0000_1000;
const SWAP_BYTES: u32 = 0x0010_0000;
const DFS: u32 = 0x2000_0000;
const AIX: u32 = 0x8000_0000;
/// `s_state`
const FM_CLEAN: u32 = 0;
const FM_MOUNT: u32 = 1;
const FM_DIRTY: u32 = 2;

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    version: u32,
    /// Size of what the block map covers.
    covered_bytes: u64,
    pub(super) block_bytes: u64,
    flag: u32,
    state: u32,
    pub(super) log: ByteRange,
    pub(super) work_space: ByteRange,
    pub(super) uuid: Option<String>,
    pub(super) label: Option<String>,
}

/// The size of a block, where it is one that goes with its logarithm.
fn block_bytes(superblock: &[u8]) -> Option<u64> {
    let size = read_u32le(superblock, 16).ok()?;
    let shift = read_u16le(superblock, 20).ok()?;
    (matches!(shift, 9..=12) && 1u32.checked_shl(shift.into()) == Some(size)).then_some(size.into())
}

/// True where the superblock has its magic number and a sane block size.
pub(super) fn is_there(volume: &dyn ReadAt) -> Result<bool, Error> {
    if volume.size_bytes() < AT.saturating_add(u64_from(LENGTH)) {
        return Ok(false);
    }
    let bytes = read_structure(volume, STRUCTURE, AT, LENGTH)?;
    Ok(bytes.starts_with(b"JFS1") && block_bytes(&bytes).is_some())
}

impl Superblock {
    /// Reads the first superblock; Linux reads the second one only where the disk cannot read this one.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Self, Error> {
        let bytes = read_structure(volume, STRUCTURE, AT, LENGTH)?;
        Self::parse(&bytes).map_err(Error::short(STRUCTURE, AT))
    }

    /// Compares where both superblocks say that everything is, because neither has a checksum. What is to be said
    /// where the second one is lost.
    pub(super) fn check_second(volume: &dyn ReadAt) -> Result<Option<String>, Error> {
        let first = read_structure(volume, STRUCTURE, AT, LENGTH)?;
        let second = read_structure(volume, STRUCTURE, SECOND_AT, LENGTH)?;
        if !second.starts_with(b"JFS1") {
            return Ok(Some(
                "the second of two superblocks is damaged, which does no harm while the other is there; fsck.jfs \
                 renews it"
                    .to_owned(),
            ));
        }
        if GEOMETRY
            .iter()
            .all(|(at, length)| read_slice(&first, *at, *length) == read_slice(&second, *at, *length))
        {
            return Ok(None);
        }
        Err(Error::corrupt(STRUCTURE, SECOND_AT, "it has another geometry than the first one"))
    }

    fn parse(bytes: &[u8]) -> Result<Self, OutOfBounds> {
        let hardware_bytes = u64::from(read_u32le(bytes, 24)?);
        // Version 1 has a name of eleven bytes, where there is no label.
        let label = text_at(bytes, 152, 16).or_else(|| text_at(bytes, 101, 11));
        Ok(Self {
            version: read_u32le(bytes, 4)?,
            covered_bytes: read_u64le(bytes, 8)?.saturating_mul(hardware_bytes),
            block_bytes: block_bytes(bytes).unwrap_or(BLOCK_BYTES),
            flag: read_u32le(bytes, 36)?,
            state: read_u32le(bytes, 40)?,
            log: extent(bytes, 72)?,
            work_space: extent(bytes, 80)?,
            uuid: uuid_at(bytes, 136),
            label,
        })
    }

    /// Refuses the forms whose used map this volume alone does not tell, or that Remint does not know.
    pub(super) fn check_features(&self) -> Result<(), Error> {
        if self.version == 0 || self.version > MAX_VERSION {
            return Err(Error::unsupported(format!(
                "it has version {} of JFS, and Remint knows 1 and 2; capture it raw",
                self.version
            )));
        }
        if self.block_bytes != BLOCK_BYTES {
            return Err(Error::unsupported(format!(
                "its blocks have {} bytes, and Remint knows JFS with blocks of {BLOCK_BYTES} bytes; capture it raw",
                self.block_bytes
            )));
        }
        if self.flag & INLINELOG == 0 {
            return Err(Error::unsupported(
                "its log is on another device; capture both raw, while it is not mounted",
            ));
        }
        match self.flag & (INLINEMOVE | SWAP_BYTES | DFS | AIX) {
            0 => Ok(()),
            unknown => Err(Error::unsupported(format!(
                "it has features that Remint does not know ({unknown:#x}); capture it raw"
            ))),
        }
    }

    /// The work space and the log lie behind what the map covers, one behind the other, and all of it on the volume.
    pub(super) fn check_geometry(&self, volume_bytes: u64) -> Result<(), Error> {
        let is_sound = self.covered_bytes > 0
            && self.covered_bytes.is_multiple_of(BLOCK_BYTES)
            && !self.log.is_empty()
            && self.work_space.start() >= self.covered_bytes
            && self.log.start() >= self.work_space.end();
        if !is_sound {
            return Err(Error::corrupt(
                STRUCTURE,
                AT,
                format!(
                    "a log at {} and a work space at {} do not go with {} bytes of file system",
                    self.log, self.work_space, self.covered_bytes
                ),
            ));
        }
        if self.size_bytes() > volume_bytes {
            return Err(Error::corrupt(
                STRUCTURE,
                AT,
                format!(
                    "the file system has {} bytes, but the volume only {volume_bytes}",
                    self.size_bytes()
                ),
            ));
        }
        Ok(())
    }

    /// Why the block map may not be the whole truth.
    pub(super) fn unfinished(&self) -> Result<Option<String>, Error> {
        match self.state {
            FM_CLEAN => Ok(None),
            FM_MOUNT => Ok(Some("was not unmounted".to_owned())),
            FM_DIRTY => Ok(Some("was not whole when it was mounted (FM_DIRTY)".to_owned())),
            state => Err(Error::corrupt(
                STRUCTURE,
                AT,
                format!(
                    "its state is {state:#x}: a replay of its log failed, or a change of its size was interrupted"
                ),
            )),
        }
    }

    /// Blocks that the map covers.
    pub(super) const fn blocks(&self) -> u64 {
        self.covered_bytes / BLOCK_BYTES
    }

    /// Size of the file system with work space and log.
    pub(super) fn size_bytes(&self) -> u64 {
        self.covered_bytes.max(self.work_space.end()).max(self.log.end())
    }
}

/// `pxd_t`: 24 bits of length and 40 bits of address, in blocks.
pub(super) fn extent(bytes: &[u8], at: usize) -> Result<ByteRange, OutOfBounds> {
    let field = read_slice(bytes, at, 8)?;
    let (length, low) = (read_u32le(field, 0)?, read_u32le(field, 4)?);
    let high = u64::from(length >> 24) << 32;
    Ok(bytes_of(high | u64::from(low), u64::from(length & 0x00FF_FFFF)))
}
