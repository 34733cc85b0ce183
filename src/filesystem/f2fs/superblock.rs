//! The F2FS superblock: identity, geometry and features.
//!
//! Little endian, 1 KiB into each of the first two blocks. Offsets and names are those of `struct
//! f2fs_super_block` in the kernel's `include/linux/f2fs_fs.h`, rules those of its `sanity_check_raw_super`.

use super::{BLOCK_BYTES, BLOCKS_PER_SEGMENT};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::{utf16_at, uuid_at};
use crate::units::checksum::crc32;
use crate::units::{
    ByteRange, OutOfBounds, read_array, read_slice, read_u8, read_u32le, read_u64le, u64_from, usize_from,
};

const STRUCTURE: &str = "F2FS superblock";
/// `F2FS_SUPER_MAGIC`; also what checksums begin with.
pub(super) const MAGIC: u32 = 0xF2F5_2010;
/// `F2FS_SUPER_OFFSET` into the first and the second block.
pub(super) const PLACES: [u64; 2] = [1 << 10, 5 << 10];
/// Size of the structure.
const LENGTH: usize = 3072;
/// The fields that say where everything is.
const GEOMETRY: std::ops::Range<usize> = 0x08..0x6C;
/// The kernel's `log_blocks_per_seg`: a bitmap in the SIT has 512 bits.
const LOG_BLOCKS_PER_SEGMENT: u32 = 9;
/// Block numbers have 32 bits.
const MAX_BLOCKS: u64 = 1 << 32;

const FEATURE_BLKZONED: u32 = 0x0002;
const FEATURE_SB_CHKSUM: u32 = 0x0800;
/// Written once by its tool, never by the kernel: there is no summary area.
const FEATURE_RO: u32 = 0x4000;
/// Encryption, extra attributes, project quota, inode checksums, flexible inline attributes, quota files,
/// creation time, lost+found, verity, superblock checksum, case folding, compression. None of them
/// changes which blocks are in use.
const FEATURES_KNOWN: u32 = 0x3FFD;

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    block_count: u64,
    segment_count: u64,
    segment_count_ckpt: u64,
    pub(super) segment_count_sit: u64,
    segment_count_nat: u64,
    segment_count_ssa: u64,
    pub(super) segment_count_main: u64,
    segment0_blkaddr: u64,
    pub(super) cp_blkaddr: u64,
    pub(super) sit_blkaddr: u64,
    nat_blkaddr: u64,
    pub(super) ssa_blkaddr: u64,
    pub(super) main_blkaddr: u64,
    segs_per_sec: u64,
    secs_per_zone: u64,
    pub(super) cp_payload: u64,
    feature: u32,
    has_devices: bool,
    pub(super) uuid: Option<String>,
    pub(super) label: Option<String>,
}

/// The superblock that counts, and what is to be said about the other one.
pub(super) struct Found {
    pub(super) superblock: Superblock,
    pub(super) hint: Option<String>,
}

/// Reads both superblocks. The first sound one counts, as for the kernel.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Found, Error> {
    let [first, second] = PLACES.map(|at| read_at(volume, at));
    match (first, second) {
        (Err(error @ Error::Io { .. }), _) | (_, Err(error @ Error::Io { .. })) => Err(error),
        (Err(error @ Error::Unsupported { .. }), _) => Err(error),
        (Ok((superblock, geometry)), Ok((_, other))) => {
            if geometry == other {
                return Ok(Found { superblock, hint: None });
            }
            Err(Error::corrupt(
                STRUCTURE,
                PLACES[1],
                "it has another geometry than the one before it, as after a change of size that was interrupted",
            ))
        }
        (Ok((superblock, _)), Err(error)) => Ok(Found { superblock, hint: Some(hint("second", &error)) }),
        (Err(error), Ok((superblock, _))) => Ok(Found { superblock, hint: Some(hint("first", &error)) }),
        (Err(error), Err(_)) => Err(error),
    }
}

fn hint(which: &str, error: &Error) -> String {
    format!("the {which} of two superblocks is damaged, which does no harm while the other is there: {error}")
}

/// One superblock, with the bytes that say where everything is.
fn read_at(volume: &dyn ReadAt, at: u64) -> Result<(Superblock, Vec<u8>), Error> {
    let bytes = read_structure(volume, STRUCTURE, at, LENGTH)?;
    let short = Error::short(STRUCTURE, at);
    let magic = read_u32le(&bytes, 0).map_err(&short)?;
    if magic != MAGIC {
        return Err(Error::corrupt(STRUCTURE, at, format!("its magic number is {magic:#010x}")));
    }
    check_sizes(&bytes, at)?;
    let superblock = Superblock::parse(&bytes).map_err(&short)?;
    if superblock.feature & FEATURE_SB_CHKSUM != 0 {
        check_checksum(&bytes, at)?;
    }
    superblock.check_geometry(volume.size_bytes(), at)?;
    let geometry = read_slice(&bytes, GEOMETRY.start, GEOMETRY.len()).map_err(&short)?;
    Ok((superblock, geometry.to_vec()))
}

fn check_sizes(bytes: &[u8], at: u64) -> Result<(), Error> {
    let field = |offset: usize| read_u32le(bytes, offset).map_err(Error::short(STRUCTURE, at));
    let (sector, sectors, block, segment) = (field(0x08)?, field(0x0C)?, field(0x10)?, field(0x14)?);
    if matches!(block, 13..=16) && segment == LOG_BLOCKS_PER_SEGMENT {
        return Err(Error::unsupported(format!(
            "its blocks have {} bytes, and Remint knows F2FS with blocks of {BLOCK_BYTES} bytes; capture it raw",
            1u64 << block
        )));
    }
    let is_sane = block == 12
        && segment == LOG_BLOCKS_PER_SEGMENT
        && (9..=12).contains(&sector)
        && sector.checked_add(sectors) == Some(block);
    is_sane.then_some(()).ok_or_else(|| {
        Error::corrupt(
            STRUCTURE,
            at,
            format!(
                "log_sectorsize {sector}, log_sectors_per_block {sectors}, log_blocksize {block} and \
                 log_blocks_per_seg {segment} do not go together"
            ),
        )
    })
}

fn check_checksum(bytes: &[u8], at: u64) -> Result<(), Error> {
    let short = Error::short(STRUCTURE, at);
    let place = read_u32le(bytes, 0x20).map_err(&short)?;
    // The checksum is the last field; another place is not accepted by the kernel either.
    let is_last = usize_from(place.into()).checked_add(4) == Some(LENGTH);
    let counted = read_slice(bytes, 0, usize_from(place.into())).map_err(&short)?;
    let stored = read_u32le(bytes, usize_from(place.into())).map_err(&short)?;
    let computed = crc32(MAGIC, counted);
    (is_last && stored == computed).then_some(()).ok_or_else(|| {
        Error::corrupt(
            STRUCTURE,
            at,
            format!("its checksum at byte {place} of it is {stored:#010x}, not {computed:#010x}"),
        )
    })
}

impl Superblock {
    fn parse(bytes: &[u8]) -> Result<Self, OutOfBounds> {
        let field = |at: usize| read_u32le(bytes, at).map(u64::from);
        Ok(Self {
            segs_per_sec: field(0x18)?,
            secs_per_zone: field(0x1C)?,
            block_count: read_u64le(bytes, 0x24)?,
            segment_count: field(0x30)?,
            segment_count_ckpt: field(0x34)?,
            segment_count_sit: field(0x38)?,
            segment_count_nat: field(0x3C)?,
            segment_count_ssa: field(0x40)?,
            segment_count_main: field(0x44)?,
            segment0_blkaddr: field(0x48)?,
            cp_blkaddr: field(0x4C)?,
            sit_blkaddr: field(0x50)?,
            nat_blkaddr: field(0x54)?,
            ssa_blkaddr: field(0x58)?,
            main_blkaddr: field(0x5C)?,
            uuid: uuid_at(bytes, 0x6C),
            label: utf16_at(bytes, 0x7C, 1024),
            cp_payload: field(0x680)?,
            feature: read_u32le(bytes, 0x884)?,
            // The path of the first of several devices.
            has_devices: read_u8(bytes, 0x899)? != 0,
        })
    }

    /// The areas lie one behind the other, and all of them on the volume.
    fn check_geometry(&self, volume_bytes: u64, at: u64) -> Result<(), Error> {
        let blocks = |segments: u64| segments.saturating_mul(BLOCKS_PER_SEGMENT);
        let areas = [
            ("checkpoint", self.cp_blkaddr, self.segment_count_ckpt, self.sit_blkaddr),
            ("SIT", self.sit_blkaddr, self.segment_count_sit, self.nat_blkaddr),
            ("NAT", self.nat_blkaddr, self.segment_count_nat, self.ssa_blkaddr),
            ("SSA", self.ssa_blkaddr, self.segment_count_ssa, self.main_blkaddr),
        ];
        for (name, start, segments, next) in areas {
            if start.saturating_add(blocks(segments)) != next {
                return Err(Error::corrupt(
                    STRUCTURE,
                    at,
                    format!(
                        "its {name} area of {segments} segments from block {start} does not end at block {next}"
                    ),
                ));
            }
        }
        let main_end = self.main_blkaddr.saturating_add(blocks(self.segment_count_main));
        let segments_end = self.segment0_blkaddr.saturating_add(blocks(self.segment_count));
        let is_sound = self.segment0_blkaddr == self.cp_blkaddr
            && self.cp_blkaddr > 1
            && self.segment_count_ckpt >= 2
            && self.segment_count_sit >= 2
            && self.segment_count_sit.is_multiple_of(2)
            && self.segment_count_main >= 1
            && (blocks(self.segment_count_ssa) >= self.segment_count_main || self.is_read_only())
            && main_end <= segments_end
            && segments_end <= self.block_count
            && self.segs_per_sec >= 1
            && self.secs_per_zone >= 1
            && self.cp_payload < BLOCKS_PER_SEGMENT
            && self.block_count <= MAX_BLOCKS;
        if !is_sound {
            return Err(Error::corrupt(
                STRUCTURE,
                at,
                format!(
                    "{} segments, {} of them in the main area from block {}, do not make a file system of {} blocks",
                    self.segment_count, self.segment_count_main, self.main_blkaddr, self.block_count
                ),
            ));
        }
        // What spreads over several devices is larger than this one.
        if !self.has_devices && self.size_bytes() > volume_bytes {
            return Err(Error::corrupt(
                STRUCTURE,
                at,
                format!(
                    "the file system has {} blocks of {BLOCK_BYTES} bytes, but the volume only {volume_bytes} bytes",
                    self.block_count
                ),
            ));
        }
        Ok(())
    }

    /// Refuses the forms whose used map this volume alone does not tell.
    pub(super) fn check_features(&self) -> Result<(), Error> {
        if self.has_devices {
            return Err(Error::unsupported(
                "it is spread over several devices; capture all of them raw, while it is not mounted",
            ));
        }
        if self.feature & FEATURE_BLKZONED != 0 {
            return Err(Error::unsupported(
                "it was made for a zoned device, on which blocks cannot be written in any order; copy its files instead",
            ));
        }
        if self.is_read_only() {
            return Err(Error::unsupported(
                "it was made read-only (mkfs.f2fs -O ro), and resize.f2fs damages such a one; capture it raw",
            ));
        }
        match self.feature & !FEATURES_KNOWN {
            0 => Ok(()),
            unknown => Err(Error::unsupported(format!(
                "it has features that Remint does not know ({unknown:#x}); capture it raw"
            ))),
        }
    }

    /// Size of the file system.
    pub(super) fn size_bytes(&self) -> u64 {
        bytes_of(self.block_count)
    }

    /// Blocks of one of the two copies of the SIT.
    pub(super) fn sit_blocks(&self) -> u64 {
        (self.segment_count_sit / 2).saturating_mul(BLOCKS_PER_SEGMENT)
    }

    const fn is_read_only(&self) -> bool {
        self.feature & FEATURE_RO != 0
    }

    /// The summary block of a segment of the main area.
    pub(super) fn summary_of(&self, segment: u64) -> ByteRange {
        let start = self.ssa_blkaddr.saturating_add(segment);
        ByteRange::new(bytes_of(start), bytes_of(start.saturating_add(1)))
    }

    /// First block of a segment of the main area.
    pub(super) fn segment_start(&self, segment: u64) -> u64 {
        self.main_blkaddr.saturating_add(segment.saturating_mul(BLOCKS_PER_SEGMENT))
    }
}

/// Where a block stands on the volume; `check_geometry` saw that block numbers have 32 bits.
pub(super) fn bytes_of(blocks: u64) -> u64 {
    blocks.saturating_mul(BLOCK_BYTES)
}

/// True where one of the two places has the magic number of a superblock with a sane block size.
pub(super) fn is_there(volume: &dyn ReadAt) -> Result<bool, Error> {
    for at in PLACES {
        if at.saturating_add(u64_from(LENGTH)) > volume.size_bytes() {
            break;
        }
        let head: [u8; 20] = read_array(&read_structure(volume, STRUCTURE, at, 20)?, 0).unwrap_or_default();
        let block = read_u32le(&head, 0x10).unwrap_or(0);
        if read_u32le(&head, 0) == Ok(MAGIC) && (9..=16).contains(&block) {
            return Ok(true);
        }
    }
    Ok(false)
}
