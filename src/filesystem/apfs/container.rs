//! The container superblock and its checkpoints.
//!
//! Every transaction ends with a copy of the superblock in a ring of blocks, behind the maps that say where its ephemeral
//! objects stand. The newest one counts; that in block 0 says where the ring is, and is written when the container is
//! unmounted. Offsets and names are those of `nx_superblock_t` and `checkpoint_map_phys_t` in Apple's "Apple File System
//! Reference", without the prefix.

use super::object::{HEADER_BYTES, Kind, Object, is_of};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::uuid_at;
use crate::units::{ByteRange, MIB, read_slice, read_u32le, read_u64le, u64_from};

const STRUCTURE: &str = "APFS container superblock";
const MAGIC: &[u8] = b"NXSB";
/// What is looked at before the size of a block is known.
const PROBE_BYTES: usize = 64;
/// `NX_MINIMUM_BLOCK_SIZE` and `NX_MAXIMUM_BLOCK_SIZE`
const BLOCKS: std::ops::RangeInclusive<u64> = 4096..=65536;
/// Of `nx_xp_desc_blocks` and `nx_xp_data_blocks`, and of their bases: the area is in pieces, and a tree has them.
const IN_PIECES_32: u32 = 1 << 31;
const IN_PIECES_64: u64 = 1 << 63;
/// More blocks than the ring of any container has: one of 16 TiB has hundreds.
const MAX_RING: u64 = 1 << 16;
/// An ephemeral object that is longer than any is: a space manager has eight bytes for about 16 GiB of the container.
const MAX_OBJECT_BYTES: u64 = 4 * MIB;
/// `NX_INCOMPAT_VERSION1`, `NX_INCOMPAT_VERSION2` and `NX_INCOMPAT_FUSION`
const KNOWN: u64 = 0x3;
const FUSION: u64 = 0x100;
/// `NX_MAX_FILE_SYSTEMS`
const MAX_VOLUMES: usize = 100;
const MAPPING_BYTES: usize = 40;

/// The newest superblock.
#[derive(Debug)]
pub(super) struct Container {
    newest: Object,
    pub(super) block_bytes: u64,
    pub(super) block_count: u64,
    pub(super) transaction: u64,
    /// The transaction of block 0.
    unmounted_at: u64,
    descriptors: ByteRange,
    data: ByteRange,
}

/// The size of a block, where block 0 looks like a superblock.
pub(super) fn block_bytes(volume: &dyn ReadAt) -> Result<Option<u64>, Error> {
    if volume.size_bytes() < u64_from(PROBE_BYTES) {
        return Ok(None);
    }
    let bytes = read_structure(volume, STRUCTURE, 0, PROBE_BYTES)?;
    let block = u64::from(read_u32le(&bytes, 36).unwrap_or(0));
    let is_there = read_slice(&bytes, 32, MAGIC.len()) == Ok(MAGIC)
        && is_of(read_u32le(&bytes, 24).unwrap_or(0), Kind::ContainerSuperblock)
        && block.is_power_of_two()
        && BLOCKS.contains(&block);
    Ok(is_there.then_some(block))
}

impl Container {
    /// Reads block 0 and the newest superblock of the ring that it names.
    pub(super) fn read(volume: &dyn ReadAt, block_bytes: u64) -> Result<Self, Error> {
        let first = Object::read(volume, ByteRange::new(0, block_bytes), &[Kind::ContainerSuperblock])?;
        check_form(&first)?;
        let area = |base: usize, blocks: usize| area(&first, block_bytes, base, blocks, volume.size_bytes());
        let (descriptors, data) = (area(0x70, 0x68)?, area(0x78, 0x6C)?);
        let mut newest: Option<(u64, Object)> = None;
        let mut at = descriptors.start();
        while at < descriptors.end() {
            let place = ByteRange::new(at, at.saturating_add(block_bytes));
            at = place.end();
            let object = match Object::read(volume, place, &[Kind::ContainerSuperblock]) {
                // Maps, and what was being written when the power failed.
                Err(Error::Corrupt { .. }) => continue,
                object => object?,
            };
            let transaction = object.transaction()?;
            if newest.as_ref().is_none_or(|(known, _)| *known < transaction) {
                newest = Some((transaction, object));
            }
        }
        let unmounted_at = first.transaction()?;
        let Some((transaction, newest)) = newest.filter(|(newest, _)| *newest >= unmounted_at) else {
            return Err(first.corrupt("no checkpoint is as new as it"));
        };
        check_form(&newest)?;
        let block_count = newest.u64(40)?;
        let same = |at: usize| Ok::<bool, Error>(first.u64(at)? == newest.u64(at)?);
        if !(same(0x68)? && same(0x70)? && same(0x78)? && first.u32(36)? == newest.u32(36)?) {
            return Err(newest.corrupt("it puts checkpoints elsewhere than block 0 does"));
        }
        if block_count.checked_mul(block_bytes).is_none_or(|end| end > volume.size_bytes()) {
            return Err(newest.corrupt(format!(
                "the container has {block_count} blocks of {block_bytes} bytes, but the volume only {} bytes",
                volume.size_bytes()
            )));
        }
        Ok(Self { newest, block_bytes, block_count, transaction, unmounted_at, descriptors, data })
    }

    pub(super) fn uuid(&self) -> Option<String> {
        uuid_at(self.newest.bytes(), 0x48)
    }

    /// `nx_omap_oid`
    pub(super) fn object_map(&self) -> Result<u64, Error> {
        self.newest.u64(0xA0)
    }

    /// `nx_fs_oid`, as far as they are used.
    pub(super) fn volumes(&self) -> Result<Vec<u64>, Error> {
        let all = (0..MAX_VOLUMES).map(|index| self.newest.u64(index.saturating_mul(8).saturating_add(0xB8)));
        let all: Result<Vec<u64>, Error> = all.collect();
        Ok(all?.into_iter().filter(|volume| *volume != 0).collect())
    }

    /// True where it says that it was unmounted.
    pub(super) const fn was_unmounted(&self) -> bool {
        self.unmounted_at == self.transaction
    }

    /// Size of the container.
    pub(super) const fn size_bytes(&self) -> u64 {
        self.block_count.saturating_mul(self.block_bytes)
    }

    /// The bytes of blocks, which have to lie in the container.
    pub(super) fn blocks(&self, first: u64, count: u64) -> Result<ByteRange, Error> {
        match first.checked_add(count) {
            Some(end) if end <= self.block_count => Ok(ByteRange::new(
                first.saturating_mul(self.block_bytes),
                end.saturating_mul(self.block_bytes),
            )),
            _ => Err(self.newest.corrupt(format!(
                "{count} blocks from block {first} on do not lie in its {} blocks",
                self.block_count
            ))),
        }
    }

    /// What every checkpoint needs: block 0 and both rings.
    pub(super) const fn rings(&self) -> [ByteRange; 3] {
        [ByteRange::new(0, self.block_bytes), self.descriptors, self.data]
    }

    /// What is named by the superblock alone: a driver for the firmware, and places of keys.
    pub(super) fn named(&self) -> Result<Vec<ByteRange>, Error> {
        let range = |at: usize| self.blocks(self.newest.u64(at)?, self.newest.u64(at.saturating_add(8))?);
        let driver = self.newest.u64(0x4F8)?;
        let mut named = vec![range(0x510)?, range(0x570)?];
        if driver != 0 {
            named.push(self.blocks(driver, 1)?);
        }
        named.retain(|range| range.length() > 0);
        Ok(named)
    }

    /// The space manager, by the maps of this checkpoint. Whatever else they name, such as the queues of blocks that wait to be
    /// free, has to be whole too.
    pub(super) fn space_manager(&self, volume: &dyn ReadAt) -> Result<Object, Error> {
        let wanted = self.newest.u64(0x98)?;
        let ring = self.descriptors.length().checked_div(self.block_bytes).unwrap_or(0);
        let (index, length) = (u64::from(self.newest.u32(0x88)?), u64::from(self.newest.u32(0x8C)?));
        if index >= ring || length > ring {
            return Err(self
                .newest
                .corrupt(format!("its {length} blocks from {index} on are not in a ring of {ring}")));
        }
        let mut found = None;
        // Objects of one checkpoint lie beside each other, so they are not longer than their ring.
        let mut room = self.data.length();
        for step in 0..length.saturating_sub(1) {
            let block = index.saturating_add(step).checked_rem(ring).unwrap_or(0);
            let at = self.descriptors.start().saturating_add(block.saturating_mul(self.block_bytes));
            let place = ByteRange::new(at, at.saturating_add(self.block_bytes));
            let map = Object::read(volume, place, &[Kind::CheckpointMap])?;
            if map.transaction()? != self.transaction {
                return Err(map.corrupt("it belongs to another checkpoint"));
            }
            let entries = map.bytes().get(HEADER_BYTES.saturating_add(8)..).unwrap_or_default();
            let count = usize::try_from(map.u32(36)?).unwrap_or(usize::MAX);
            if count > entries.len().checked_div(MAPPING_BYTES).unwrap_or(0) {
                return Err(map.corrupt(format!("{count} entries do not fit")));
            }
            for entry in entries.chunks_exact(MAPPING_BYTES).take(count) {
                let object = self.mapped(volume, &map, entry, &mut room)?;
                if object.identifier()? == wanted {
                    found = Some(object);
                }
            }
        }
        found.ok_or_else(|| self.newest.corrupt("no checkpoint map names the space manager"))
    }

    /// The object that an entry of a map names.
    fn mapped(
        &self,
        volume: &dyn ReadAt,
        map: &Object,
        entry: &[u8],
        room: &mut u64,
    ) -> Result<Object, Error> {
        let short = map.short();
        let length = u64::from(read_u32le(entry, 8).map_err(&short)?);
        let identifier = read_u64le(entry, 24).map_err(&short)?;
        let start = read_u64le(entry, 32).map_err(&short)?.saturating_mul(self.block_bytes);
        let pieces = self.in_ring(start, length).filter(|_| length <= MAX_OBJECT_BYTES.min(*room));
        let pieces = pieces.ok_or_else(|| {
            map.corrupt(format!(
                "object {identifier} with {length} bytes at byte {start} is too long or not in its ring"
            ))
        })?;
        *room = room.saturating_sub(length);
        let object = Object::read_pieces(volume, &pieces, &[Kind::Ephemeral])?;
        if object.identifier()? != identifier || object.transaction()? > self.transaction {
            return Err(object.corrupt("it is another object, or newer than its checkpoint"));
        }
        Ok(object)
    }

    /// The bytes from one of the ring on, which go on at its beginning.
    fn in_ring(&self, start: u64, length: u64) -> Option<Vec<ByteRange>> {
        let whole = ByteRange::at(start, length).filter(|range| !range.is_empty())?;
        let last = whole.intersection(self.data);
        let rest = ByteRange::at(self.data.start(), length.checked_sub(last.length())?)?;
        let is_there = last.start() == start && !last.is_empty() && rest.end() <= start;
        is_there.then(|| [last, rest].into_iter().filter(|piece| !piece.is_empty()).collect())
    }
}

/// Refuses what this volume alone does not tell.
fn check_form(superblock: &Object) -> Result<(), Error> {
    let incompatible = superblock.u64(0x40)?;
    if incompatible & FUSION != 0 {
        return Err(Error::unsupported(
            "it is one of the two disks of a Fusion Drive; capture both of them with --when-dirty raw",
        ));
    }
    if incompatible & !KNOWN != 0 {
        return Err(Error::unsupported(format!(
            "it has incompatible features {incompatible:#x} that Remint does not know; capture it with --when-dirty raw"
        )));
    }
    Ok(())
}

/// One of the rings, in one piece.
fn area(
    first: &Object,
    block_bytes: u64,
    base_at: usize,
    blocks_at: usize,
    volume_bytes: u64,
) -> Result<ByteRange, Error> {
    let (base, blocks) = (first.u64(base_at)?, first.u32(blocks_at)?);
    if base & IN_PIECES_64 != 0 || blocks & IN_PIECES_32 != 0 {
        return Err(Error::unsupported("its checkpoints are in pieces; capture it with --when-dirty raw"));
    }
    let end = base.saturating_add(blocks.into()).saturating_mul(block_bytes);
    if base == 0 || blocks == 0 || u64::from(blocks) > MAX_RING || end > volume_bytes {
        return Err(
            first.corrupt(format!("a ring of {blocks} blocks from block {base} on is not on the volume"))
        );
    }
    Ok(ByteRange::new(base.saturating_mul(block_bytes), end))
}
