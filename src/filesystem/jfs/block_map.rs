//! The block allocation map: a bit for every block, in pages of 8192 with their counts.
//!
//! Offsets and names are those of `struct dbmap_disk` and `struct dmap` in the kernel's `fs/jfs/jfs_dmap.h`.
//!
//! ```text
//! page 0         1             2             3             4 ...              1028
//! | control page | of level 2  | of level 1  | of level 0  | 1024 pages of bits | of level 0 | 1024 pages of bits ...
//! ```

use super::{BLOCK_BYTES, PAGE, bytes_of, extents};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::bitmap::insert_set_bits;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, KIB, RangeSet, read_slice, read_u32le, read_u64le, usize_from};

const CONTROL: &str = "JFS block map control page";
const DMAP: &str = "JFS block map";
/// `BPERDMAP`: blocks of a page.
const BLOCKS_PER_PAGE: u64 = 8192;
/// `LPERCTL`: pages below one of level 0, and so on.
const PAGES_PER_LEVEL: u64 = 1024;
/// Control page and one page of every level.
const FIRST_PAGE: u64 = 4;
/// `wmap` and `pmap`
const WORKING_AT: usize = 2048;
const PERSISTENT_AT: usize = 3072;
const BITS_BYTES: usize = 1024;
/// What mkfs.jfs writes first: reserved bytes, superblocks and the fixed parts of the aggregate's own inodes.
const FIXED: ByteRange = ByteRange::new(0, 64 * KIB);
/// Pages that are read at a time.
const PIECE_PAGES: u64 = 256;

/// The page that has the bits of the `number`th 8192 blocks.
const fn page_of(number: u64) -> u64 {
    // Bounded by the number of blocks, which has 51 bits.
    number
        .saturating_add(number / PAGES_PER_LEVEL)
        .saturating_add(number / (PAGES_PER_LEVEL * PAGES_PER_LEVEL))
        .saturating_add(FIRST_PAGE)
}

/// The bytes of all used blocks of an aggregate of so many blocks.
pub(super) fn read(volume: &dyn ReadAt, blocks: u64) -> Result<RangeSet, Error> {
    let dmaps = blocks.div_ceil(BLOCKS_PER_PAGE);
    let pages = page_of(dmaps.saturating_sub(1)).saturating_add(1);
    let parts = extents::of_block_map(volume, pages.saturating_mul(BLOCK_BYTES))?;
    let mut map = Map { used: RangeSet::new(), free: 0, next: 0, blocks, control: None };
    let mut page = 0u64;
    for part in &parts {
        let mut at = part.start();
        while at < part.end() && page < pages {
            let count = (part.end().saturating_sub(at) / BLOCK_BYTES)
                .min(PIECE_PAGES)
                .min(pages.saturating_sub(page));
            let length = count.saturating_mul(BLOCK_BYTES);
            let bytes = read_structure(volume, DMAP, at, usize_from(length))?;
            for (index, bytes) in (0u64..).zip(bytes.chunks_exact(PAGE)) {
                let at = at.saturating_add(index.saturating_mul(BLOCK_BYTES));
                map.add(page.saturating_add(index), bytes, at)?;
            }
            page = page.saturating_add(count);
            at = at.saturating_add(length);
        }
    }
    map.check(parts.iter().copied().chain([FIXED]))
}

struct Map {
    used: RangeSet,
    /// Free blocks so far.
    free: u64,
    /// The next 8192 blocks.
    next: u64,
    blocks: u64,
    /// Where the control page stands, its blocks and its free blocks.
    control: Option<(u64, u64, u64)>,
}

impl Map {
    fn add(&mut self, page: u64, bytes: &[u8], at: u64) -> Result<(), Error> {
        if page == 0 {
            let short = Error::short(CONTROL, at);
            let field = |offset: usize| read_u64le(bytes, offset).map_err(&short);
            self.control = Some((at, field(0)?, field(8)?));
        } else if page == page_of(self.next) {
            self.add_bits(bytes, at)?;
            self.next = self.next.saturating_add(1);
        }
        Ok(())
    }

    fn add_bits(&mut self, bytes: &[u8], at: u64) -> Result<(), Error> {
        let short = Error::short(DMAP, at);
        let start = self.next.saturating_mul(BLOCKS_PER_PAGE);
        let count = self.blocks.saturating_sub(start).min(BLOCKS_PER_PAGE);
        let nblocks = u64::from(read_u32le(bytes, 0).map_err(&short)?);
        let nfree = u64::from(read_u32le(bytes, 4).map_err(&short)?);
        let says = read_u64le(bytes, 8).map_err(&short)?;
        let working = bits(read_slice(bytes, WORKING_AT, BITS_BYTES).map_err(&short)?);
        let persistent = bits(read_slice(bytes, PERSISTENT_AT, BITS_BYTES).map_err(&short)?);
        let mut allocated = RangeSet::new();
        insert_set_bits(&mut allocated, &working, 0, count, 1);
        let free = count.saturating_sub(allocated.total_bytes());
        if nblocks != count || says != start || nfree != free {
            return Err(Error::corrupt(
                DMAP,
                at,
                format!(
                    "it counts {nfree} free of {nblocks} blocks from {says} on, but has bits for {free} free of {count} \
                     from {start} on"
                ),
            ));
        }
        self.free = self.free.saturating_add(free);
        for bits in [&working, &persistent] {
            insert_set_bits(&mut self.used, bits, start, count, BLOCK_BYTES);
        }
        Ok(())
    }

    /// What the control page counts, and what cannot be free.
    fn check(self, needed: impl Iterator<Item = ByteRange>) -> Result<RangeSet, Error> {
        let (at, blocks, free) = self.control.unwrap_or_default();
        if (blocks, free) != (self.blocks, self.free) {
            return Err(Error::corrupt(
                CONTROL,
                at,
                format!(
                    "it counts {free} free of {blocks} blocks, but there are {} of {} in the map",
                    self.free, self.blocks
                ),
            ));
        }
        let covered = bytes_of(0, self.blocks);
        for part in needed {
            if !self.used.contains(part) || !covered.contains(part) {
                return Err(Error::corrupt(
                    DMAP,
                    at,
                    format!("it says that {part} are free, where its own blocks are"),
                ));
            }
        }
        Ok(self.used)
    }
}

/// Words of 32 bits with the highest bit first, as bytes with the lowest bit first.
fn bits(words: &[u8]) -> Vec<u8> {
    words
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|word| u32::from_le_bytes(*word).reverse_bits().to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_levels_lie_between_the_pages_of_bits() {
        for (number, page) in [(0, 4), (1, 5), (1023, 1027), (1024, 1029), (2047, 2052), (2048, 2054)] {
            assert_eq!(page_of(number), page);
        }
        assert_eq!(page_of(1 << 20), (1 << 20) + (1 << 10) + 1 + 4);
    }

    #[test]
    fn the_highest_bit_of_a_word_is_its_first_block() {
        assert_eq!(bits(&0x8000_0001u32.to_le_bytes()), [1, 0, 0, 0x80]);
    }
}
