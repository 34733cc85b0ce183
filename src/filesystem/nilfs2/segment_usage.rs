//! The segment usage file: which segments are in use.
//!
//! Offsets and names are those of `struct nilfs_sufile_header` and `struct nilfs_segment_usage` in the kernel's
//! `include/uapi/linux/nilfs2_ondisk.h`.

use super::files::Files;
use super::log::SuperRoot;
use super::superblock::Superblock;
use crate::filesystem::Error;
use crate::units::{RangeSet, read_u32le, read_u64le, usize_from};

const STRUCTURE: &str = "NILFS2 segment usage file";
/// `struct nilfs_sufile_header`; entries begin behind it, at a multiple of their size.
const HEADER_BYTES: u64 = 24;
/// `NILFS_SEGMENT_USAGE_DIRTY` and `NILFS_SEGMENT_USAGE_ERROR`
const DIRTY: u32 = 1 << 1;
const ERROR: u32 = 1 << 2;

/// The bytes of all segments that are not clean. What the file counts has to agree with what it says.
pub(super) fn read(files: &mut Files<'_>, root: &SuperRoot) -> Result<RangeSet, Error> {
    let superblock = files.superblock;
    let size = superblock.segment_usage_size.max(1);
    let per_block = superblock.block_bytes.checked_div(size).unwrap_or(1).max(1);
    let first = HEADER_BYTES.div_ceil(size);
    let blocks = superblock.nsegments.saturating_add(first).div_ceil(per_block);
    let mut used = RangeSet::new();
    let (mut dirty, mut counts, mut header_at) = (0u64, None, 0);
    for block in 0..blocks {
        // Of segments without an entry none is in use.
        let Some((at, bytes)) = files.read(&root.sufile, block)? else { continue };
        let short = Error::short(STRUCTURE, at);
        if block == 0 {
            let count = |offset: usize| read_u64le(&bytes, offset).map_err(&short);
            counts = Some((count(0)?, count(8)?));
            header_at = at;
        }
        for place in 0..per_block {
            let number = block.saturating_mul(per_block).saturating_add(place).checked_sub(first);
            let Some(segment) = number.filter(|segment| *segment < superblock.nsegments) else { continue };
            let entry = usize_from(place.saturating_mul(size));
            let nblocks = u64::from(read_u32le(&bytes, entry.saturating_add(8)).map_err(&short)?);
            let flags = read_u32le(&bytes, entry.saturating_add(12)).map_err(&short)?;
            if flags & ERROR != 0 {
                return Err(Error::unsupported(format!(
                    "segment {segment} is marked as one that the disk could not read; capture it raw"
                )));
            }
            if nblocks > superblock.blocks_per_segment || (flags == 0 && nblocks > 0) {
                return Err(Error::corrupt(
                    STRUCTURE,
                    at,
                    format!("segment {segment} with flags {flags:#x} cannot have {nblocks} blocks in use"),
                ));
            }
            if flags != 0 {
                used.insert(superblock.segment(segment));
                dirty = dirty.saturating_add(u64::from(flags & DIRTY != 0));
            }
        }
    }
    let clean = superblock.nsegments.saturating_sub(dirty);
    if counts == Some((clean, dirty)) {
        return Ok(used);
    }
    let (said_clean, said_dirty) = counts.unwrap_or_default();
    Err(Error::corrupt(
        STRUCTURE,
        header_at,
        format!(
            "it counts {said_clean} clean and {said_dirty} dirty segments, but lists {clean} and {dirty}"
        ),
    ))
}

/// A segment that holds what was just read, and is not in use.
pub(super) fn contradiction(superblock: &Superblock, segment: u64) -> Error {
    let fact = format!("it says that segment {segment} is clean, where the file system's own files are");
    Error::corrupt(STRUCTURE, superblock.segment(segment).start(), fact)
}
