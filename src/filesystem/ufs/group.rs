//! The cylinder groups: which fragments are free, and how many.
//!
//! Offsets and names are those of `struct cg` in FreeBSD's `sys/ufs/ffs/fs.h`, without the prefix.

use super::superblock::{Free, Group, SUMMARY_BYTES, Superblock, hash};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::bitmap::insert_set_bits;
use crate::filesystem::error::read_structure;
use crate::units::{RangeSet, read_slice, u64_from, usize_from};

const GROUP: &str = "UFS cylinder group";
const SUMMARY: &str = "UFS summary of the cylinder groups";
const MAGIC: u32 = 0x0009_0255;
const CKHASH_AT: usize = 132;
/// `cg_cs`, a `struct csum`, with `cs_nbfree` and `cs_nffree` in it.
const CS_AT: usize = 24;
const NBFREE_AT: usize = 28;
const NFFREE_AT: usize = 36;
/// Summaries that are read at a time.
const PIECE: u64 = 4096;

/// The bytes of all used fragments.
pub(super) fn read(volume: &dyn ReadAt, superblock: &Superblock) -> Result<RangeSet, Error> {
    let mut used = RangeSet::new();
    let mut total = Free::default();
    let summaries = superblock.summaries();
    for first in (0..superblock.ncg).step_by(usize_from(PIECE)) {
        let at = summaries.start().saturating_add(first.saturating_mul(SUMMARY_BYTES));
        let count = superblock.ncg.saturating_sub(first).min(PIECE);
        let bytes = read_structure(volume, SUMMARY, at, usize_from(count.saturating_mul(SUMMARY_BYTES)))?;
        for (number, summary) in (first..).zip(bytes.chunks_exact(usize_from(SUMMARY_BYTES))) {
            let group = superblock.group(number)?;
            let free = read_one(volume, superblock, &group, summary, &mut used)?;
            total.blocks = total.blocks.saturating_add(free.blocks);
            total.fragments = total.fragments.saturating_add(free.fragments);
        }
    }
    if total != superblock.free {
        return Err(Error::corrupt(
            SUMMARY,
            summaries.start(),
            format!(
                "the groups have {} free blocks and {} fragments, but the superblock counts {} and {}",
                total.blocks, total.fragments, superblock.free.blocks, superblock.free.fragments
            ),
        ));
    }
    if !used.contains(summaries) {
        let fact = format!("the groups say that {summaries} are free, where it is");
        return Err(Error::corrupt(SUMMARY, summaries.start(), fact));
    }
    Ok(used)
}

/// What is free in a group, whose used fragments go into the map.
fn read_one(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    group: &Group,
    summary: &[u8],
    used: &mut RangeSet,
) -> Result<Free, Error> {
    let at = superblock.bitmaps_at(group);
    let corrupt = |fact: String| Error::corrupt(GROUP, at, fact);
    let short = Error::short(GROUP, at);
    let bytes = read_structure(volume, GROUP, at, usize_from(superblock.cgsize))?;
    let field = |offset: usize| superblock.order.u32(&bytes, offset).map_err(&short);
    let (magic, number, count) = (field(4)?, u64::from(field(12)?), u64::from(field(20)?));
    if magic != MAGIC || number != group.number || count != group.count {
        return Err(corrupt(format!(
            "magic number {magic:#x}, group {number} of {count} fragments, where group {} of {} should be",
            group.number, group.count
        )));
    }
    let stored = field(CKHASH_AT)?;
    let computed = hash(&bytes, superblock.cgsize, CKHASH_AT);
    if superblock.has_group_checksums && stored != computed {
        return Err(corrupt(format!("its check hash is {computed:#010x} but {stored:#010x} is stored")));
    }
    // `cg_freeoff`
    let map =
        read_slice(&bytes, usize_from(field(96)?.into()), usize_from(count.div_ceil(8))).map_err(&short)?;
    let free = count_free(map, count, superblock.frag);
    let said = Free { blocks: field(NBFREE_AT)?.into(), fragments: field(NFFREE_AT)?.into() };
    if free != said || read_slice(&bytes, CS_AT, summary.len()).map_err(&short)? != summary {
        return Err(corrupt(format!(
            "there are {} free blocks and {} fragments; it, or the summary of all groups, counts otherwise",
            free.blocks, free.fragments
        )));
    }
    let in_use: Vec<u8> = map.iter().map(|byte| !byte).collect();
    insert_set_bits(used, &in_use, group.base, count, superblock.fsize);
    let own = superblock.own_places(group);
    if !used.contains(own) {
        return Err(corrupt(format!("it says that {own} are free, where its own places are")));
    }
    Ok(free)
}

/// What the first `count` bits say is free, with `frag` (1, 2, 4 or 8) of them in a block. A block that is not whole at the
/// end of the volume has fragments only.
fn count_free(map: &[u8], count: u64, frag: u64) -> Free {
    let mut free = Free::default();
    let whole = 0xFF_u8.checked_shr(u32::try_from(8u64.saturating_sub(frag)).unwrap_or(0)).unwrap_or(0);
    let mut left = count;
    for byte in map {
        let bits = left.min(8);
        left = left.saturating_sub(8);
        let known = 0xFF_u8.checked_shr(u32::try_from(8u64.saturating_sub(bits)).unwrap_or(0)).unwrap_or(0);
        let byte = byte & known;
        let mut place = 0u64;
        while place < bits {
            let block = byte.checked_shr(u32::try_from(place).unwrap_or(0)).unwrap_or(0) & whole;
            if block == whole {
                free.blocks = free.blocks.saturating_add(1);
            } else {
                free.fragments = free.fragments.saturating_add(block.count_ones().into());
            }
            place = place.saturating_add(frag.max(1));
        }
    }
    debug_assert!(count.div_ceil(8) == u64_from(map.len()));
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_free_as_a_whole_and_fragments_otherwise() {
        let free = |map: &[u8], count, frag| {
            let Free { blocks, fragments } = count_free(map, count, frag);
            (blocks, fragments)
        };
        assert_eq!(free(&[0xFF, 0x7F, 0x01], 24, 8), (1, 8));
        assert_eq!(free(&[0xFF, 0x7F, 0x01], 24, 4), (3, 4));
        assert_eq!(free(&[0b1101_0010], 8, 2), (1, 2));
        assert_eq!(free(&[0b1101_0010], 8, 1), (4, 0));
        // The bits behind the end say nothing, and what is left of a block there is no block.
        assert_eq!(free(&[0xFF, 0xFF], 12, 8), (1, 4));
        assert_eq!(free(&[0xFF, 0xFF], 12, 4), (3, 0));
    }
}
