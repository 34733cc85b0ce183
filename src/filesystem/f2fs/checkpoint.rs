//! The checkpoint: the last state that F2FS vouches for.
//!
//! Two packs take turns; each begins and ends with the same block, so that a torn one is seen. Offsets and names
//! are those of `struct f2fs_checkpoint` in the kernel's `include/linux/f2fs_fs.h`, rules those of its
//! `validate_checkpoint` and `f2fs_sanity_check_ckpt`.
//!
//! ```text
//! | checkpoint | payload | orphans | summaries of data | summaries of nodes | checkpoint again |
//! ```

use super::superblock::{MAGIC, Superblock, bytes_of};
use super::{BLOCK, BLOCKS_PER_SEGMENT};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::checksum::crc32;
use crate::units::{OutOfBounds, read_slice, read_u16le, read_u32le, read_u64le, usize_from};

const STRUCTURE: &str = "F2FS checkpoint";
/// `CP_CHKSUM_OFFSET`: the last field of the block.
const CHECKSUM_AT: usize = 4092;
/// `sit_nat_version_bitmap`, which is also the first place that the checksum may have.
const BITMAPS_AT: usize = 192;

const CP_UMOUNT: u32 = 0x0001;
pub(super) const CP_COMPACT_SUM: u32 = 0x0004;
const CP_ERROR: u32 = 0x0008;
const CP_FSCK: u32 = 0x0010;
const CP_FASTBOOT: u32 = 0x0020;
const CP_CRC_RECOVERY: u32 = 0x0040;
const CP_NOCRC_RECOVERY: u32 = 0x0200;
const CP_LARGE_NAT_BITMAP: u32 = 0x0400;
const CP_QUOTA_NEED_FSCK: u32 = 0x0800;
const CP_DISABLED: u32 = 0x1000;
const CP_RESIZEFS: u32 = 0x4000;

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    /// First block of its pack.
    pub(super) start: u64,
    checkpoint_ver: u64,
    pub(super) valid_block_count: u64,
    pub(super) valid_node_count: u64,
    warm_node_segno: u64,
    warm_node_blkoff: u64,
    ckpt_flags: u32,
    pub(super) cp_pack_total_block_count: u64,
    pub(super) cp_pack_start_sum: u64,
    sit_ver_bitmap_bytesize: u64,
    nat_ver_bitmap_bytesize: u64,
    checksum: u32,
}

/// The checkpoint that counts, and why the other pack says that it may not be the last one.
pub(super) struct Newest {
    pub(super) checkpoint: Checkpoint,
    pub(super) doubt: Option<String>,
}

/// Reads both packs. The newer of those that are whole counts, as for the kernel.
pub(super) fn read(volume: &dyn ReadAt, superblock: &Superblock) -> Result<Newest, Error> {
    let starts = [superblock.cp_blkaddr, superblock.cp_blkaddr.saturating_add(BLOCKS_PER_SEGMENT)];
    let [first, second] = starts.map(|start| read_pack(volume, superblock, start));
    let (checkpoint, other) = match (first, second) {
        (Err(error @ Error::Io { .. }), _) | (_, Err(error @ Error::Io { .. })) => return Err(error),
        (Ok(first), Ok(second)) => {
            let newer = if second.is_newer_than(&first) { second } else { first };
            return Ok(Newest { checkpoint: newer, doubt: None });
        }
        (Ok(first), Err(_)) => (first, starts[1]),
        (Err(_), Ok(second)) => (second, starts[0]),
        (Err(error), Err(_)) => return Err(error),
    };
    // What mkfs.f2fs leaves in the second pack is an unfinished checkpoint of version 0, and resize.f2fs leaves
    // zeros. Anything else was torn while it was written, and what is whole may not be the last.
    let doubt = match read_head(volume, other) {
        Ok(other) if !other.is_newer_than(&checkpoint) => None,
        Err(error @ Error::Io { .. }) => return Err(error),
        Ok(_) => Some("a newer checkpoint than the last whole one was begun".to_owned()),
        Err(_) if is_blank(volume, other)? => None,
        Err(error) => Some(error.to_string()),
    };
    Ok(Newest { checkpoint, doubt })
}

/// A pack whose first and last block say the same.
fn read_pack(volume: &dyn ReadAt, superblock: &Superblock, start: u64) -> Result<Checkpoint, Error> {
    let checkpoint = read_head(volume, start)?;
    checkpoint.check(superblock)?;
    let end = start.saturating_add(checkpoint.cp_pack_total_block_count).saturating_sub(1);
    let last = read_head(volume, end)?;
    if last.checkpoint_ver == checkpoint.checkpoint_ver {
        return Ok(checkpoint);
    }
    Err(corrupt(
        end,
        format!(
            "its version is {}, that of the block it repeats {}",
            last.checkpoint_ver, checkpoint.checkpoint_ver
        ),
    ))
}

/// One block, with its checksum verified.
fn read_head(volume: &dyn ReadAt, block: u64) -> Result<Checkpoint, Error> {
    let at = bytes_of(block);
    let bytes = read_structure(volume, STRUCTURE, at, BLOCK)?;
    let short = Error::short(STRUCTURE, at);
    let place = usize_from(read_u32le(&bytes, 164).map_err(&short)?.into());
    if !(BITMAPS_AT..=CHECKSUM_AT).contains(&place) {
        return Err(corrupt(block, format!("its checksum cannot be at byte {place} of it")));
    }
    let stored = read_u32le(&bytes, place).map_err(&short)?;
    // What follows a checksum that is not at the end is counted too.
    let behind = bytes.get(place.saturating_add(4)..).unwrap_or_default();
    let computed = crc32(crc32(MAGIC, read_slice(&bytes, 0, place).map_err(&short)?), behind);
    if stored != computed {
        return Err(corrupt(block, format!("its checksum is {stored:#010x}, not {computed:#010x}")));
    }
    Checkpoint::parse(&bytes, block, stored).map_err(short)
}

fn is_blank(volume: &dyn ReadAt, block: u64) -> Result<bool, Error> {
    let bytes = read_structure(volume, STRUCTURE, bytes_of(block), BLOCK)?;
    Ok(bytes.iter().all(|byte| *byte == 0))
}

fn corrupt(block: u64, fact: impl Into<String>) -> Error {
    Error::corrupt(STRUCTURE, bytes_of(block), fact)
}

impl Checkpoint {
    fn parse(bytes: &[u8], start: u64, checksum: u32) -> Result<Self, OutOfBounds> {
        let field = |at: usize| read_u32le(bytes, at).map(u64::from);
        Ok(Self {
            start,
            checkpoint_ver: read_u64le(bytes, 0)?,
            valid_block_count: read_u64le(bytes, 16)?,
            // The second of eight: hot, warm and cold nodes, and five that are not used.
            warm_node_segno: field(40)?,
            warm_node_blkoff: read_u16le(bytes, 70)?.into(),
            ckpt_flags: read_u32le(bytes, 132)?,
            cp_pack_total_block_count: field(136)?,
            cp_pack_start_sum: field(140)?,
            valid_node_count: field(144)?,
            sit_ver_bitmap_bytesize: field(156)?,
            nat_ver_bitmap_bytesize: field(160)?,
            checksum,
        })
    }

    fn check(&self, superblock: &Superblock) -> Result<(), Error> {
        let Self { cp_pack_total_block_count: blocks, cp_pack_start_sum: summaries, .. } = *self;
        // One checkpoint at each end, and between them at least one compact summary.
        let is_pack = blocks > 2
            && blocks <= BLOCKS_PER_SEGMENT
            && summaries > superblock.cp_payload
            && summaries < blocks.saturating_sub(1);
        if !is_pack {
            return Err(corrupt(
                self.start,
                format!("a pack of {blocks} blocks has no summaries from block {summaries} on"),
            ));
        }
        if self.warm_node_segno >= superblock.segment_count_main
            || self.warm_node_blkoff >= BLOCKS_PER_SEGMENT
        {
            return Err(corrupt(
                self.start,
                format!("there is no block {} in segment {}", self.warm_node_blkoff, self.warm_node_segno),
            ));
        }
        if self.sit_ver_bitmap_bytesize.saturating_mul(8) != superblock.sit_blocks() {
            return Err(corrupt(
                self.start,
                format!(
                    "its bitmap of {} bytes is not that of a SIT of {} blocks",
                    self.sit_ver_bitmap_bytesize,
                    superblock.sit_blocks()
                ),
            ));
        }
        Ok(())
    }

    /// Versions are counted up and may wrap.
    fn is_newer_than(&self, other: &Self) -> bool {
        self.checkpoint_ver.wrapping_sub(other.checkpoint_ver).cast_signed() > 0
    }

    pub(super) const fn has(&self, flag: u32) -> bool {
        self.ckpt_flags & flag != 0
    }

    /// Summaries of the logs of nodes follow those of data: written when there will be no more.
    pub(super) const fn has_node_summaries(&self) -> bool {
        self.has(CP_UMOUNT | CP_FASTBOOT)
    }

    /// What the file system says of itself where it is broken.
    pub(super) fn check_flags(&self) -> Result<(), Error> {
        let says = [
            (CP_ERROR, "CP_ERROR_FLAG is set: the kernel met an error and stopped writing"),
            (CP_FSCK, "CP_FSCK_FLAG is set: the kernel saw a contradiction and wants fsck.f2fs"),
            (CP_RESIZEFS, "CP_RESIZEFS_FLAG is set: a change of its size was interrupted"),
        ];
        match says.into_iter().find(|(flag, _)| self.has(*flag)) {
            Some((_, fact)) => Err(corrupt(self.start, fact)),
            None => Ok(()),
        }
    }

    /// Why the SIT of this checkpoint may not be the whole truth.
    pub(super) fn unfinished(&self) -> Option<&'static str> {
        if !self.has(CP_UMOUNT) {
            Some("was not unmounted")
        } else if self.has(CP_DISABLED) {
            Some("was mounted without checkpoints (checkpoint=disable) and they were not enabled again")
        } else {
            None
        }
    }

    /// What its own tool would put right, though every block is accounted for.
    pub(super) fn hint(&self) -> Option<String> {
        self.has(CP_QUOTA_NEED_FSCK).then(|| "its quota files are to be checked with fsck.f2fs".to_owned())
    }

    /// The next block of the log of warm nodes, where the kernel looks for nodes to roll forward.
    pub(super) fn next_warm_node(&self, superblock: &Superblock) -> u64 {
        superblock.segment_start(self.warm_node_segno).saturating_add(self.warm_node_blkoff)
    }

    /// True where a node with this `cp_ver` in its footer was written after this checkpoint (the kernel's
    /// `is_recoverable_dnode`).
    pub(super) fn is_recoverable(&self, cp_ver: u64) -> bool {
        if self.has(CP_NOCRC_RECOVERY) {
            return cp_ver << 32 == self.checkpoint_ver << 32;
        }
        let crc = if self.has(CP_CRC_RECOVERY) { u64::from(self.checksum) << 32 } else { 0 };
        cp_ver == self.checkpoint_ver | crc
    }

    /// One bit for each block of the SIT, the highest bit of a byte first: which of its two copies counts.
    pub(super) fn sit_bitmap(&self, volume: &dyn ReadAt, superblock: &Superblock) -> Result<Vec<u8>, Error> {
        let at = bytes_of(self.start);
        let blocks = usize_from(superblock.cp_payload.saturating_add(1));
        let bytes = read_structure(volume, STRUCTURE, at, BLOCK.saturating_mul(blocks))?;
        let offset = if self.has(CP_LARGE_NAT_BITMAP) {
            // The checksum stands where the bitmaps would begin, and that of the NAT is the first.
            usize_from(self.nat_ver_bitmap_bytesize).saturating_add(BITMAPS_AT).saturating_add(4)
        } else if superblock.cp_payload > 0 {
            BLOCK
        } else {
            BITMAPS_AT
        };
        let length = usize_from(self.sit_ver_bitmap_bytesize);
        Ok(read_slice(&bytes, offset, length).map_err(Error::short(STRUCTURE, at))?.to_vec())
    }
}
