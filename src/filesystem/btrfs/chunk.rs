//! Chunks: which bytes of the device hold a stretch of the file system's logical addresses.
//!
//! ```text
//! item   length u64, owner u64, stripe_len u64, type u64, io_align u32, io_width u32, sector_size u32,
//!        num_stripes u16, sub_stripes u16, then a stripe for each: devid u64, offset u64, dev_uuid 16 bytes
//! ```
//!
//! On one device every stripe holds the whole chunk: one (single, and RAID0 as wide as one device) or two (DUP).

use super::key::{Key, kind};
use super::superblock::Superblock;
use crate::filesystem::Error;
use crate::units::{ByteRange, OutOfBounds, read_u16le, read_u64le, u64_from};

const STRUCTURE: &str = "btrfs chunk item";
/// `BTRFS_FIRST_CHUNK_TREE_OBJECTID`
pub(super) const OBJECTID: u64 = 256;
const HEAD_BYTES: usize = 0x30;
const STRIPE_BYTES: usize = 32;
/// Far beyond what a device of a petabyte has.
const MAX_CHUNKS: usize = 1 << 20;

/// `BTRFS_BLOCK_GROUP_*`
pub(super) mod profile {
    pub(super) const RAID0: u64 = 1 << 3;
    pub(super) const DUP: u64 = 1 << 5;
    /// Everything that says how a chunk is laid out.
    pub(super) const MASK: u64 = 0x7F8;
}

/// One chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Its logical addresses.
    pub(super) logical: ByteRange,
    /// What it holds, and how it is laid out.
    pub(super) flags: u64,
    /// Where its copies begin on the device.
    pub(super) stripes: Vec<u64>,
}

impl Chunk {
    /// Parses an item that stands at byte `at` of the volume; how many of the bytes behind the key it takes, too.
    pub(super) fn parse(
        superblock: &Superblock,
        key: Key,
        item: &[u8],
        at: u64,
    ) -> Result<(Self, usize), Error> {
        let corrupt = |fact: String| Error::corrupt(STRUCTURE, at, fact);
        let short = Error::short(STRUCTURE, at);
        let length = read_u64le(item, 0).map_err(&short)?;
        let flags = read_u64le(item, 0x18).map_err(&short)?;
        let count = read_u16le(item, 0x2C).map_err(&short)?;
        let sector = u64::from(superblock.sectorsize);
        let is_whole = |bytes: u64| bytes.checked_rem(sector) == Some(0);
        let logical = ByteRange::at(key.offset, length)
            .filter(|range| !range.is_empty() && is_whole(range.start()) && is_whole(range.end()))
            .filter(|_| key.kind == kind::CHUNK_ITEM && key.objectid == OBJECTID)
            .ok_or_else(|| corrupt(format!("{key} has a chunk of {length} bytes")))?;
        let stripes = stripes(superblock, item, count, at)?;
        let expected = match flags & profile::MASK {
            0 | profile::RAID0 => 1,
            profile::DUP => 2,
            _ => {
                return Err(Error::unsupported(format!(
                    "a chunk of {count} stripes is laid out for several devices (type {flags:#x}), of which only this \
                     one is there; capture it with --when-dirty raw, or convert it with btrfs balance"
                )));
            }
        };
        let device = ByteRange::new(0, superblock.total_bytes);
        let fits = |start: &u64| ByteRange::at(*start, length).is_some_and(|range| device.contains(range));
        if stripes.len() != expected || !stripes.iter().all(fits) {
            return Err(corrupt(format!(
                "the chunk at {} has {count} stripes of {length} bytes, type {flags:#x}, on a device of {} bytes",
                key.offset, superblock.total_bytes
            )));
        }
        Ok((Self { logical, flags, stripes }, item_bytes(count)))
    }

    /// Where bytes of the chunk stand on the device.
    pub(super) fn places(&self, logical: ByteRange) -> impl Iterator<Item = ByteRange> {
        let offset = logical.start().saturating_sub(self.logical.start());
        let length = logical.length();
        self.stripes.iter().filter_map(move |start| ByteRange::at(start.saturating_add(offset), length))
    }
}

fn item_bytes(count: u16) -> usize {
    usize::from(count).saturating_mul(STRIPE_BYTES).saturating_add(HEAD_BYTES)
}

/// Where the stripes begin, all of them on this device.
fn stripes(superblock: &Superblock, item: &[u8], count: u16, at: u64) -> Result<Vec<u64>, Error> {
    let field = |index: u16| -> Result<(u64, u64), OutOfBounds> {
        let from = item_bytes(index);
        Ok((read_u64le(item, from)?, read_u64le(item, from.saturating_add(8))?))
    };
    let mut stripes = Vec::new();
    for index in 0..count {
        let (devid, offset) = field(index).map_err(Error::short(STRUCTURE, at))?;
        if devid != superblock.devid {
            return Err(Error::unsupported(format!(
                "a part of it is on device {devid}, which is another one than this ({}); capture both with \
                 --when-dirty raw in one image, or finish the removal of the device",
                superblock.devid
            )));
        }
        stripes.push(offset);
    }
    Ok(stripes)
}

/// Chunks in the order of their logical addresses, none overlapping another.
#[derive(Debug, Default)]
pub(super) struct Chunks(Vec<Chunk>);

impl Chunks {
    /// The chunks of the superblock's `sys_chunk_array`: those that hold the chunk tree.
    pub(super) fn of_superblock(superblock: &Superblock) -> Result<Self, Error> {
        let mut chunks = Vec::new();
        let mut rest = superblock.sys_chunk_array.as_slice();
        let [at, ..] = super::superblock::PLACES;
        while !rest.is_empty() {
            let key = Key::read(rest, 0).map_err(Error::short(STRUCTURE, at))?;
            let item = rest.get(Key::BYTES..).unwrap_or_default();
            let (chunk, length) = Chunk::parse(superblock, key, item, at)?;
            chunks.push(chunk);
            rest = item.get(length..).unwrap_or_default();
        }
        chunks.sort_by_key(|chunk: &Chunk| chunk.logical);
        let mut sorted = Self::default();
        chunks.into_iter().try_for_each(|chunk| sorted.push(chunk, at))?;
        Ok(sorted)
    }

    /// Adds a chunk behind the others.
    pub(super) fn push(&mut self, chunk: Chunk, at: u64) -> Result<(), Error> {
        let last = self.0.last().map_or(0, |last| last.logical.end());
        if chunk.logical.start() < last || self.0.len() >= MAX_CHUNKS {
            let fact =
                format!("the chunk at {} begins before {last}, or is one too many", chunk.logical.start());
            return Err(Error::corrupt(STRUCTURE, at, fact));
        }
        self.0.push(chunk);
        Ok(())
    }

    /// The chunk that holds all of `logical`.
    pub(super) fn holding(&self, logical: ByteRange) -> Option<&Chunk> {
        let index = self.0.partition_point(|chunk| chunk.logical.end() <= logical.start());
        self.0.get(index).filter(|chunk| chunk.logical.contains(logical))
    }

    /// All, ascending.
    pub(super) fn as_slice(&self) -> &[Chunk] {
        &self.0
    }

    /// True where every chunk of `few` is one of these.
    pub(super) fn include(&self, few: &Self) -> bool {
        few.0.iter().all(|chunk| self.holding(chunk.logical) == Some(chunk))
    }

    /// How many, for messages.
    pub(super) fn count(&self) -> u64 {
        u64_from(self.0.len())
    }
}
