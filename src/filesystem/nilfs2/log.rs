//! The log that was written last: it ends with the super root, from which everything is found.
//!
//! Offsets and names are those of `struct nilfs_segment_summary` and `struct nilfs_super_root` in the kernel's
//! `include/uapi/linux/nilfs2_ondisk.h`, rules those of its `fs/nilfs2/recovery.c`.
//!
//! ```text
//! last_pseg                                         ss_nblocks behind it
//! | segment summary | blocks of files ... | super root |
//! ```

use super::files::{BMAP_BYTES, Bmap};
use super::superblock::Superblock;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::checksum::crc32;
use crate::units::{read_array, read_slice, read_u16le, read_u32le, read_u64le, usize_from};

const STRUCTURE: &str = "NILFS2 log";
const SUPER_ROOT: &str = "NILFS2 super root";
/// `NILFS_SEGSUM_MAGIC`
const MAGIC: u32 = 0x1EAF_FA11;
/// Bytes of a summary up to `ss_sumbytes`.
const SUMMARY_BYTES: usize = 56;
/// `NILFS_SS_SR`
const HAS_SUPER_ROOT: u16 = 0x0004;
/// Where the first of three inodes stands in the super root, and where an inode has its map.
const INODES_AT: u64 = 16;
const BMAP_AT: u64 = 56;
/// Bytes that are read at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// What the last log tells.
pub(super) struct SuperRoot {
    /// Of the disk address translation, which says where virtual blocks stand.
    pub(super) dat: Bmap,
    /// Of the segment usage file.
    pub(super) sufile: Bmap,
    /// The segment of the log, and the one that will be written when it is full.
    pub(super) segment: u64,
    pub(super) next_segment: u64,
}

/// Reads the log to which the superblock points, with its checksums verified.
pub(super) fn read_super_root(volume: &dyn ReadAt, superblock: &Superblock) -> Result<SuperRoot, Error> {
    let start = superblock.last_pseg;
    let at = superblock.bytes_of(start);
    let corrupt = |fact: String| Error::corrupt(STRUCTURE, at, fact);
    let Some(segment) = superblock.segment_of(start) else {
        return Err(corrupt(format!(
            "the superblock says that it begins at block {start}, which is in no segment"
        )));
    };
    let summary = read_structure(volume, STRUCTURE, at, SUMMARY_BYTES)?;
    let short = Error::short(STRUCTURE, at);
    let datasum = read_u32le(&summary, 0).map_err(&short)?;
    let magic = read_u32le(&summary, 8).map_err(&short)?;
    let flags = read_u16le(&summary, 14).map_err(&short)?;
    let seq = read_u64le(&summary, 16).map_err(&short)?;
    let next = read_u64le(&summary, 32).map_err(&short)?;
    let nblocks = u64::from(read_u32le(&summary, 40).map_err(&short)?);
    if magic != MAGIC || seq != superblock.last_seq || flags & HAS_SUPER_ROOT == 0 {
        return Err(corrupt(format!(
            "magic number {magic:#010x}, sequence number {seq} and flags {flags:#06x} are not those of log {} with a \
             super root",
            superblock.last_seq
        )));
    }
    let end = start.saturating_add(nblocks);
    if nblocks < 2 || end > superblock.segment_blocks(segment).1 {
        return Err(corrupt(format!(
            "its {nblocks} blocks from block {start} on do not fit in segment {segment}"
        )));
    }
    let computed = checksum(volume, superblock.crc_seed, at.saturating_add(4), superblock.bytes_of(end))?;
    if computed != datasum {
        return Err(corrupt(format!("its checksum is {datasum:#010x}, not {computed:#010x}")));
    }
    let Some(next_segment) = superblock.segment_of(next) else {
        return Err(corrupt(format!("the next segment cannot begin at block {next}")));
    };
    let root = superblock.bytes_of(end.saturating_sub(1));
    let bytes = read_structure(volume, SUPER_ROOT, root, usize_from(superblock.block_bytes))?;
    let bmap = |number: u64| bmap_of(superblock, root, &bytes, number);
    Ok(SuperRoot { dat: bmap(0)?, sufile: bmap(2)?, segment, next_segment })
}

/// The sum of the bytes in between.
fn checksum(volume: &dyn ReadAt, seed: u32, from: u64, to: u64) -> Result<u32, Error> {
    let (mut at, mut sum) = (from, seed);
    while at < to {
        let length = to.saturating_sub(at).min(PIECE_BYTES);
        sum = crc32(sum, &read_structure(volume, STRUCTURE, at, usize_from(length))?);
        at = at.saturating_add(length);
    }
    Ok(sum)
}

/// The map of one of the three inodes in a super root, whose own checksum is verified.
fn bmap_of(superblock: &Superblock, at: u64, root: &[u8], number: u64) -> Result<Bmap, Error> {
    let short = Error::short(SUPER_ROOT, at);
    let sum = read_u32le(root, 0).map_err(&short)?;
    let length = usize_from(read_u16le(root, 4).map_err(&short)?.into());
    let counted = read_slice(root, 0, length).ok().and_then(|root| root.get(4..)).unwrap_or_default();
    let computed = crc32(superblock.crc_seed, counted);
    if counted.is_empty() || sum != computed {
        return Err(Error::corrupt(
            SUPER_ROOT,
            at,
            format!("its checksum is {sum:#010x}, not {computed:#010x}"),
        ));
    }
    let inode = INODES_AT.saturating_add(superblock.inode_size.saturating_mul(number));
    let bmap: [u8; BMAP_BYTES] =
        read_array(root, usize_from(inode.saturating_add(BMAP_AT))).map_err(&short)?;
    Ok(Bmap(bmap))
}
