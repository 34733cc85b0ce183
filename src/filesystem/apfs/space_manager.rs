//! The space manager: a bit for every block, in chunks, with the number of free blocks in each.
//!
//! Offsets and names are those of `spaceman_phys_t`, `cib_addr_block_t`, `chunk_info_block_t` and `chunk_info_t` in Apple's
//! "Apple File System Reference", without the prefix. Where the addresses of a device stand is not in it: at `sm_addr_offset`
//! of the space manager, as libfsapfs found out.
//!
//! ```text
//! space manager -> (address blocks ->) chunk-info blocks -> a block of bits for each chunk, or none where all of it is free
//! ```

use super::container::Container;
use super::object::{HEADER_BYTES, Kind, Object};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::bitmap::insert_set_bits;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, RangeSet, read_u32le, read_u64le, u64_from, usize_from};

const BITMAP: &str = "APFS bitmap";
const CHUNK_BYTES: usize = 32;
/// What stands before the chunks or addresses of a block: header, index, count.
const BEFORE: usize = HEADER_BYTES + 8;
/// `CI_COUNT_MASK`
const COUNT: u32 = 0x000F_FFFF;

/// The space manager of a checkpoint.
struct SpaceManager<'a> {
    volume: &'a dyn ReadAt,
    container: &'a Container,
    object: Object,
    /// Where the blocks with addresses, chunks and bits are: `sm_ip_base`, `sm_ip_block_count`.
    pool: ByteRange,
    chunks: u64,
}

/// The bytes of all used blocks.
pub(super) fn read(volume: &dyn ReadAt, container: &Container) -> Result<RangeSet, Error> {
    let object = container.space_manager(volume)?;
    if !object.is(Kind::SpaceManager) {
        return Err(object.corrupt("it is no space manager"));
    }
    let pool = container.blocks(object.u64(176)?, object.u64(152)?)?;
    let old_bitmaps = container.blocks(object.u64(168)?, object.u32(164)?.into())?;
    let chunks = container.block_count.div_ceil(container.block_bytes.saturating_mul(8));
    let manager = SpaceManager { volume, container, object, pool, chunks };
    manager.check()?;
    let used = manager.read_chunks()?;
    for needed in container.rings().into_iter().chain([pool, old_bitmaps]) {
        if needed.length() > 0 && !used.contains(needed) {
            return Err(manager
                .object
                .corrupt(format!("{needed} are free, where checkpoints or its own blocks are")));
        }
    }
    Ok(used)
}

impl SpaceManager<'_> {
    /// How many units of `bytes` a block has behind its beginning.
    fn in_block(&self, bytes: usize) -> u64 {
        let room = self.container.block_bytes.saturating_sub(u64_from(BEFORE));
        room.checked_div(u64_from(bytes)).unwrap_or(0)
    }

    fn info_blocks(&self) -> u64 {
        self.chunks.div_ceil(self.in_block(CHUNK_BYTES).max(1))
    }

    /// Its numbers are those of the container.
    fn check(&self) -> Result<(), Error> {
        let field = |at: usize| self.object.u32(at).map(u64::from);
        let block = self.container.block_bytes;
        let address_blocks = self.info_blocks().div_ceil(self.in_block(8).max(1));
        let second_device = self.object.u64(96)?;
        if second_device != 0 {
            return Err(Error::unsupported(
                "it has a second device, as a Fusion Drive has; capture both with --when-dirty raw",
            ));
        }
        let is_sound = field(32)? == block
            && field(36)? == block.saturating_mul(8)
            && field(40)? == self.in_block(CHUNK_BYTES)
            && field(44)? == self.in_block(8)
            && self.object.u64(48)? == self.container.block_count
            && self.object.u64(56)? == self.chunks
            && field(64)? == self.info_blocks()
            && (field(68)? == 0 || field(68)? == address_blocks);
        if is_sound {
            return Ok(());
        }
        Err(self.object.corrupt(format!(
            "it counts {} blocks in {} chunks, and the container has {} blocks of {block} bytes",
            self.object.u64(48)?,
            self.object.u64(56)?,
            self.container.block_count
        )))
    }

    /// A block that has to be in the pool.
    fn pool_block(&self, number: u64) -> Result<ByteRange, Error> {
        let place = self.container.blocks(number, 1)?;
        if self.pool.contains(place) {
            return Ok(place);
        }
        Err(self.object.corrupt(format!("block {number} should be in its pool, which is {}", self.pool)))
    }

    fn read_chunks(&self) -> Result<RangeSet, Error> {
        let mut used = RangeSet::new();
        let mut progress = Progress::default();
        let listed = self.object.u32(80)?;
        let address = |index: u64| {
            let at = u64::from(listed).saturating_add(index.saturating_mul(8));
            self.object.u64(usize_from(at))
        };
        let address_blocks = u64::from(self.object.u32(68)?);
        if address_blocks == 0 {
            for index in 0..self.info_blocks() {
                self.read_info_block(address(index)?, &mut progress, &mut used)?;
            }
        }
        for index in 0..address_blocks {
            let block =
                Object::read(self.volume, self.pool_block(address(index)?)?, &[Kind::ChunkInfoAddresses])?;
            let left = self.info_blocks().saturating_sub(progress.info_blocks);
            let count = left.min(self.in_block(8));
            if u64::from(block.u32(32)?) != index || u64::from(block.u32(36)?) != count {
                return Err(block.corrupt(format!("it should be number {index}, with {count} addresses")));
            }
            for place in (BEFORE..).step_by(8).take(usize_from(count)) {
                self.read_info_block(block.u64(place)?, &mut progress, &mut used)?;
            }
        }
        if progress.free != self.object.u64(72)? {
            return Err(self.object.corrupt(format!(
                "the chunks have {} free blocks, and it counts {}",
                progress.free,
                self.object.u64(72)?
            )));
        }
        Ok(used)
    }

    fn read_info_block(
        &self,
        number: u64,
        progress: &mut Progress,
        used: &mut RangeSet,
    ) -> Result<(), Error> {
        let block = Object::read(self.volume, self.pool_block(number)?, &[Kind::ChunkInfo])?;
        let count = self.chunks.saturating_sub(progress.chunks).min(self.in_block(CHUNK_BYTES));
        if u64::from(block.u32(32)?) != progress.info_blocks || u64::from(block.u32(36)?) != count {
            return Err(
                block.corrupt(format!("it should be number {}, with {count} chunks", progress.info_blocks))
            );
        }
        let chunks = block.bytes().get(BEFORE..).unwrap_or_default().chunks_exact(CHUNK_BYTES);
        for chunk in chunks.take(usize_from(count)) {
            self.read_chunk(&block, chunk, progress, used)?;
        }
        progress.info_blocks = progress.info_blocks.saturating_add(1);
        Ok(())
    }

    fn read_chunk(
        &self,
        block: &Object,
        chunk: &[u8],
        progress: &mut Progress,
        used: &mut RangeSet,
    ) -> Result<(), Error> {
        let short = block.short();
        let per_chunk = self.container.block_bytes.saturating_mul(8);
        let first = progress.chunks.saturating_mul(per_chunk);
        let count = self.container.block_count.saturating_sub(first).min(per_chunk);
        let said = |at: usize| read_u32le(chunk, at).map(|number| u64::from(number & COUNT)).map_err(&short);
        if read_u64le(chunk, 8).map_err(&short)? != first || said(16)? != count {
            return Err(block.corrupt(format!("chunk {} should have {count} blocks", progress.chunks)));
        }
        let free = match read_u64le(chunk, 24).map_err(&short)? {
            0 => count,
            place => {
                let place = self.pool_block(place)?;
                let bits = read_structure(self.volume, BITMAP, place.start(), usize_from(place.length()))?;
                let mut found = RangeSet::new();
                insert_set_bits(&mut found, &bits, first, count, self.container.block_bytes);
                found.iter().for_each(|range| used.insert(range));
                let blocks = found.total_bytes().checked_div(self.container.block_bytes).unwrap_or(0);
                count.saturating_sub(blocks)
            }
        };
        if free != said(20)? {
            let fact =
                format!("chunk {} has {free} free blocks, and it counts {}", progress.chunks, said(20)?);
            return Err(block.corrupt(fact));
        }
        progress.chunks = progress.chunks.saturating_add(1);
        progress.free = progress.free.saturating_add(free);
        Ok(())
    }
}

/// How far the chunks were read.
#[derive(Default)]
struct Progress {
    info_blocks: u64,
    chunks: u64,
    free: u64,
}
