//! The volume header: geometry, state, and where the special files are.
//!
//! Big endian, 1 KiB into the volume and again 1 KiB before its end. Offsets and names are those of `HFSPlusVolumeHeader`
//! in Apple's Technical Note 1150, those of a wrapper those of `HFSMasterDirectoryBlock` there and in "Inside Macintosh:
//! Files".

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, KIB, OutOfBounds, read_slice, read_u16be, read_u32be, read_u64be, usize_from};

const STRUCTURE: &str = "HFS+ volume header";
pub(super) const WRAPPER: &str = "HFS wrapper of an HFS+";
pub(super) const AT: u64 = KIB;
pub(super) const LENGTH: u64 = 512;
/// Extents in a fork and in a record of the extents overflow file.
pub(super) const EXTENTS: usize = 8;
/// Fields that say where everything is, and are the same in both headers: `blockSize` and `totalBlocks`.
const GEOMETRY: (usize, usize) = (40, 8);

/// `attributes`
const UNMOUNTED: u32 = 1 << 8;
const INCONSISTENT: u32 = 1 << 11;
const JOURNALED: u32 = 1 << 13;

/// A run of allocation blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) count: u64,
}

/// `HFSPlusForkData`
#[derive(Debug, Clone)]
pub(super) struct Fork {
    pub(super) logical_size: u64,
    pub(super) total_blocks: u64,
    pub(super) extents: Vec<Extent>,
}

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Header {
    attributes: u32,
    pub(super) journal_info_block: u64,
    pub(super) block_bytes: u64,
    pub(super) total_blocks: u64,
    pub(super) free_blocks: u64,
    pub(super) allocation_file: Fork,
    pub(super) extents_file: Fork,
    pub(super) catalog_file: Fork,
    attributes_file: Fork,
    startup_file: Fork,
    geometry: Vec<u8>,
}

/// Where the alternate header stands.
pub(super) const fn alternate_at(volume_bytes: u64) -> u64 {
    // Sectors of 512 bytes: the last but one.
    (volume_bytes / 512).saturating_sub(2).saturating_mul(512)
}

/// True where the volume begins with a header of a sane block size.
pub(super) fn is_there(volume: &dyn ReadAt) -> Result<bool, Error> {
    if volume.size_bytes() < AT.saturating_add(LENGTH) {
        return Ok(false);
    }
    let bytes = read_structure(volume, STRUCTURE, AT, usize_from(LENGTH))?;
    Ok(is_header(&bytes))
}

fn is_header(bytes: &[u8]) -> bool {
    let block = read_u32be(bytes, 40).unwrap_or(0);
    matches!(read_slice(bytes, 0, 2), Ok(b"H+" | b"HX"))
        && matches!(read_u16be(bytes, 2), Ok(4 | 5))
        && block.is_power_of_two()
        && block >= 512
}

/// Where the HFS+ stands that an HFS wrapper holds, if there is a wrapper.
pub(super) fn embedded(volume: &dyn ReadAt) -> Result<Option<ByteRange>, Error> {
    if volume.size_bytes() < AT.saturating_add(LENGTH) {
        return Ok(None);
    }
    let bytes = read_structure(volume, WRAPPER, AT, usize_from(LENGTH))?;
    if !bytes.starts_with(b"BD") || read_slice(&bytes, 0x7C, 2) != Ok(b"H+") {
        return Ok(None);
    }
    let short = Error::short(WRAPPER, AT);
    let block = u64::from(read_u32be(&bytes, 0x14).map_err(&short)?);
    let first = u64::from(read_u16be(&bytes, 0x1C).map_err(&short)?).saturating_mul(512);
    let start =
        u64::from(read_u16be(&bytes, 0x7E).map_err(&short)?).saturating_mul(block).saturating_add(first);
    let length = u64::from(read_u16be(&bytes, 0x80).map_err(&short)?).saturating_mul(block);
    Ok(Some(ByteRange::new(start, start.saturating_add(length))))
}

/// `HFSPlusExtentRecord`: those behind the first empty one do not count.
pub(super) fn extents(bytes: &[u8], at: usize) -> Result<Vec<Extent>, OutOfBounds> {
    let record = read_slice(bytes, at, EXTENTS * 8)?;
    let all = record.chunks_exact(8).map(|extent| {
        let (start, count) = (read_u32be(extent, 0)?, read_u32be(extent, 4)?);
        Ok(Extent { start: start.into(), count: count.into() })
    });
    let all: Vec<Extent> = all.collect::<Result<_, OutOfBounds>>()?;
    Ok(all.into_iter().take_while(|extent| extent.count > 0).collect())
}

impl Header {
    pub(super) fn read(volume: &dyn ReadAt, at: u64) -> Result<Self, Error> {
        let bytes = read_structure(volume, STRUCTURE, at, usize_from(LENGTH))?;
        if !is_header(&bytes) {
            return Err(Error::corrupt(
                STRUCTURE,
                at,
                "its signature, version or block size is none of HFS+",
            ));
        }
        Self::parse(&bytes).map_err(Error::short(STRUCTURE, at))
    }

    fn parse(bytes: &[u8]) -> Result<Self, OutOfBounds> {
        let field = |at: usize| read_u32be(bytes, at).map(u64::from);
        let fork = |at: usize| {
            Ok(Fork {
                logical_size: read_u64be(bytes, at)?,
                total_blocks: field(at.saturating_add(12))?,
                extents: extents(bytes, at.saturating_add(16))?,
            })
        };
        Ok(Self {
            attributes: read_u32be(bytes, 4)?,
            journal_info_block: field(12)?,
            block_bytes: field(40)?,
            total_blocks: field(44)?,
            free_blocks: field(48)?,
            allocation_file: fork(112)?,
            extents_file: fork(192)?,
            catalog_file: fork(272)?,
            attributes_file: fork(352)?,
            startup_file: fork(432)?,
            geometry: read_slice(bytes, GEOMETRY.0, GEOMETRY.1)?.to_vec(),
        })
    }

    fn corrupt(fact: impl Into<String>) -> Error {
        Error::corrupt(STRUCTURE, AT, fact)
    }

    pub(super) fn check_geometry(&self, volume_bytes: u64) -> Result<(), Error> {
        if self.free_blocks >= self.total_blocks || self.end() < AT.saturating_add(LENGTH) {
            return Err(Self::corrupt(format!(
                "{} free of {} blocks of {} bytes do not make a file system",
                self.free_blocks, self.total_blocks, self.block_bytes
            )));
        }
        if self.end() > volume_bytes {
            return Err(Self::corrupt(format!(
                "the file system has {} blocks of {} bytes, but the volume only {volume_bytes} bytes",
                self.total_blocks, self.block_bytes
            )));
        }
        Ok(())
    }

    /// Compares the sizes in both headers; what is to be said where the alternate one is lost.
    pub(super) fn check_alternate(&self, volume: &dyn ReadAt) -> Result<Option<String>, Error> {
        let at = alternate_at(volume.size_bytes());
        match Self::read(volume, at) {
            Ok(alternate) if alternate.geometry == self.geometry => Ok(None),
            Ok(_) => Err(Error::corrupt(
                STRUCTURE,
                at,
                "it has another geometry than the first one, as after a change of size that was interrupted",
            )),
            Err(error @ Error::Io { .. }) => Err(error),
            Err(_) => Ok(Some(
                "there is no alternate volume header 1 KiB before the end of the volume; a checker renews it"
                    .to_owned(),
            )),
        }
    }

    /// Why the allocation file may not be the whole truth.
    pub(super) const fn unfinished(&self) -> Option<&'static str> {
        if self.attributes & UNMOUNTED == 0 {
            Some("was not unmounted")
        } else if self.attributes & INCONSISTENT != 0 {
            Some("says that it is inconsistent")
        } else {
            None
        }
    }

    pub(super) const fn is_journaled(&self) -> bool {
        self.attributes & JOURNALED != 0
    }

    /// First byte behind the last block.
    pub(super) const fn end(&self) -> u64 {
        self.total_blocks.saturating_mul(self.block_bytes)
    }

    /// The bytes of an extent, where it lies among the blocks.
    pub(super) fn bytes_of(&self, extent: Extent) -> Option<ByteRange> {
        let end = extent.start.checked_add(extent.count).filter(|end| *end <= self.total_blocks)?;
        let bytes = |block: u64| block.checked_mul(self.block_bytes);
        Some(ByteRange::new(bytes(extent.start)?, bytes(end)?))
    }

    /// The special files, but for what overflows of them.
    pub(super) const fn special_files(&self) -> [&Fork; 5] {
        [
            &self.allocation_file,
            &self.extents_file,
            &self.catalog_file,
            &self.attributes_file,
            &self.startup_file,
        ]
    }
}
