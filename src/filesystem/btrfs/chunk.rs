//! Chunks: which bytes of the devices hold a stretch of the file system's logical addresses.
//!
//! ```text
//! item   length u64, owner u64, stripe_len u64, type u64, io_align u32, io_width u32, sector_size u32,
//!        num_stripes u16, sub_stripes u16, then a stripe for each: devid u64, offset u64, dev_uuid 16 bytes
//! ```

use super::devices::Devices;
use super::key::{Key, kind};
use super::striping::Striping;
use super::superblock::Superblock;
use crate::filesystem::Error;
use crate::units::{ByteRange, OutOfBounds, read_array, read_u16le, read_u64le, u64_from};
use std::collections::BTreeSet;

const STRUCTURE: &str = "btrfs chunk item";
/// `BTRFS_FIRST_CHUNK_TREE_OBJECTID`
pub(super) const OBJECTID: u64 = 256;
const HEAD_BYTES: usize = 0x30;
const STRIPE_BYTES: usize = 32;
/// Far beyond what a device of a petabyte has.
const MAX_CHUNKS: usize = 1 << 20;

/// What a chunk has of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stripe {
    /// Number of the device.
    pub(super) devid: u64,
    /// Position of the device; `None` where it is not here.
    pub(super) device: Option<usize>,
    /// Where it begins on the device.
    pub(super) offset: u64,
    dev_uuid: [u8; 16],
}

/// A part of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Position of the device.
    pub(super) device: usize,
    pub(super) range: ByteRange,
}

/// One chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Its logical addresses.
    pub(super) logical: ByteRange,
    /// What it holds, and how it is laid out.
    pub(super) flags: u64,
    pub(super) stripes: Vec<Stripe>,
    /// What it has of each device.
    stripe_bytes: u64,
    striping: Striping,
}

impl Chunk {
    /// Parses an item that stands at byte `at` of the volume; how many of the bytes behind the key it takes, too.
    pub(super) fn parse(
        superblock: &Superblock,
        devices: &Devices<'_>,
        key: Key,
        item: &[u8],
        at: u64,
    ) -> Result<(Self, usize), Error> {
        let corrupt = |fact: String| Error::corrupt(STRUCTURE, at, fact);
        let short = Error::short(STRUCTURE, at);
        let length = read_u64le(item, 0).map_err(&short)?;
        let stripe_len = read_u64le(item, 0x10).map_err(&short)?;
        let flags = read_u64le(item, 0x18).map_err(&short)?;
        let count = read_u16le(item, 0x2C).map_err(&short)?;
        let sub_stripes = read_u16le(item, 0x2E).map_err(&short)?;
        let sector = u64::from(superblock.sectorsize);
        let is_whole = |bytes: u64| bytes.checked_rem(sector) == Some(0);
        let logical = ByteRange::at(key.offset, length)
            .filter(|range| !range.is_empty() && is_whole(range.start()) && is_whole(range.end()))
            .filter(|_| key.kind == kind::CHUNK_ITEM && key.objectid == OBJECTID)
            .ok_or_else(|| corrupt(format!("{key} has a chunk of {length} bytes")))?;
        let stripes = stripes(devices, item, count).map_err(&short)?;
        let form = Striping::of(flags, count, sub_stripes)
            .and_then(|form| Some((form, form.stripe_bytes(length, stripe_len)?)))
            .filter(|(form, bytes)| fit(devices, &stripes, *bytes, form.is_apart()));
        let Some((striping, stripe_bytes)) = form else {
            return Err(corrupt(format!(
                "the chunk at {} has {count} stripes of {length} bytes, type {flags:#x}, which have no place on {}",
                key.offset,
                match devices.as_slice() {
                    [only] => format!("a device of {} bytes", only.superblock.total_bytes),
                    several => format!("{} devices", several.len()),
                }
            )));
        };
        Ok((Self { logical, flags, stripes, stripe_bytes, striping }, item_bytes(count)))
    }

    /// Where bytes of the chunk stand on the devices, in every copy, and what has to stay with them.
    pub(super) fn places(&self, logical: ByteRange, place: &mut dyn FnMut(Place)) {
        let start = logical.start().saturating_sub(self.logical.start());
        let Some(bytes) = ByteRange::at(start, logical.length()) else { return };
        self.striping.places(bytes, &mut |stripe, range| {
            let found = self.stripes.get(stripe).and_then(|stripe| stripe.place(range));
            found.into_iter().for_each(&mut *place);
        });
    }

    /// All that the chunk has of the devices.
    pub(super) fn extents(&self) -> impl Iterator<Item = Place> {
        self.stripes.iter().filter_map(|stripe| stripe.place(ByteRange::new(0, self.stripe_bytes)))
    }

    /// True where a byte that cannot be read is made of what else is in its row.
    pub(super) const fn has_parity(&self) -> bool {
        self.striping.has_parity()
    }

    /// How often each byte is there to be read.
    pub(super) const fn copies(&self) -> u64 {
        self.striping.copies()
    }

    /// Where a copy of bytes of the chunk is read, in pieces.
    ///
    /// # Errors
    /// The number of a device that is not here.
    pub(super) fn copy(&self, logical: ByteRange, copy: u64) -> Result<Vec<Place>, u64> {
        let start = logical.start().saturating_sub(self.logical.start());
        let pieces = self.striping.copy(ByteRange::at(start, logical.length()).unwrap_or_default(), copy);
        let place = |(stripe, range): (usize, ByteRange)| {
            let stripe = self.stripes.get(stripe);
            let devid = stripe.map_or(0, |stripe| stripe.devid);
            stripe.and_then(|stripe| stripe.place(range)).ok_or(devid)
        };
        pieces.into_iter().map(place).collect()
    }
}

impl Stripe {
    /// Where bytes of the stripe stand; `None` where its device is not here.
    fn place(&self, range: ByteRange) -> Option<Place> {
        let range = ByteRange::at(self.offset.saturating_add(range.start()), range.length())?;
        Some(Place { device: self.device?, range })
    }
}

fn item_bytes(count: u16) -> usize {
    usize::from(count).saturating_mul(STRIPE_BYTES).saturating_add(HEAD_BYTES)
}

fn stripes(devices: &Devices<'_>, item: &[u8], count: u16) -> Result<Vec<Stripe>, OutOfBounds> {
    let stripe = |index: u16| {
        let from = item_bytes(index);
        let (devid, offset) = (read_u64le(item, from)?, read_u64le(item, from.saturating_add(8))?);
        let dev_uuid = read_array(item, from.saturating_add(16))?;
        Ok(Stripe { devid, device: devices.position(devid), offset, dev_uuid })
    };
    (0..count).map(stripe).collect()
}

/// True where stripes lie on their devices, those that have to be on devices of their own.
fn fit(devices: &Devices<'_>, stripes: &[Stripe], bytes: u64, is_apart: bool) -> bool {
    let fits = |stripe: &Stripe| {
        let device = stripe.device.and_then(|device| devices.get(device));
        let range = ByteRange::at(stripe.offset, bytes);
        device.is_none_or(|device| range.is_some_and(|range| device.range().contains(range)))
    };
    let apart = stripes.iter().map(|stripe| stripe.devid).collect::<BTreeSet<u64>>().len();
    stripes.iter().all(fits) && (!is_apart || apart == stripes.len())
}

/// Chunks in the order of their logical addresses, none overlapping another.
#[derive(Debug, Default)]
pub(super) struct Chunks(Vec<Chunk>);

impl Chunks {
    /// The chunks of the superblock's `sys_chunk_array`: those that hold the chunk tree.
    pub(super) fn of_superblock(superblock: &Superblock, devices: &Devices<'_>) -> Result<Self, Error> {
        let mut chunks = Vec::new();
        let mut rest = superblock.sys_chunk_array.as_slice();
        let [at, ..] = super::superblock::PLACES;
        while !rest.is_empty() {
            let key = Key::read(rest, 0).map_err(Error::short(STRUCTURE, at))?;
            let item = rest.get(Key::BYTES..).unwrap_or_default();
            let (chunk, length) = Chunk::parse(superblock, devices, key, item, at)?;
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

    /// The number and the UUID of a device that a chunk is on and that is not here.
    pub(super) fn elsewhere(&self) -> Option<(u64, [u8; 16])> {
        let mut stripes = self.0.iter().flat_map(|chunk| &chunk.stripes);
        stripes.find(|stripe| stripe.device.is_none()).map(|stripe| (stripe.devid, stripe.dev_uuid))
    }

    /// How many, for messages.
    pub(super) fn count(&self) -> u64 {
        u64_from(self.0.len())
    }
}
