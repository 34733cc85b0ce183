//! The free space tree: for every block group an item that counts, and then its free stretches or bitmaps of them.
//!
//! ```text
//! FREE_SPACE_INFO    (start of the group, 198, its length)    extent_count u32, flags u32
//! FREE_SPACE_EXTENT  (start, 199, length)                     no data
//! FREE_SPACE_BITMAP  (start, 200, length)                     a bit for every sector, set where it is free
//! ```
//!
//! Both counts have to come out: that of the stretches here, and that of the bytes in the block group. Items of block
//! groups that are no more are passed over: `mkfs.btrfs` leaves them behind.

use super::block_group::BlockGroup;
use super::key::kind;
use super::tree::{Item, Root, Trees};
use super::usage::Used;
use crate::filesystem::Error;
use crate::filesystem::bitmap::insert_set_bits;
use crate::units::{ByteRange, RangeSet, read_u32le, u64_from};

const STRUCTURE: &str = "btrfs free space item";
/// `BTRFS_FREE_SPACE_USING_BITMAPS`
const USING_BITMAPS: u32 = 1;

/// The bytes in use of every block group: all that is not free.
pub(super) fn read(trees: &Trees<'_>, root: Root, groups: &[BlockGroup<'_>]) -> Result<Used, Error> {
    let mut reader = Reader {
        sector: u64::from(trees.superblock.sectorsize),
        groups,
        next: 0,
        current: None,
        gone: ByteRange::default(),
        used: Used::new(trees.devices),
    };
    trees.walk(root, &|_| true, &mut |item| reader.visit(item))?;
    reader.finish_group(root.bytenr)?;
    if reader.next != groups.len() {
        let (known, all) = (u64_from(reader.next), u64_from(groups.len()));
        return Err(trees.corrupt(format!("its free space tree tells of {known} of {all} block groups")));
    }
    Ok(reader.used)
}

/// What was seen of one block group.
struct Current<'a> {
    group: &'a BlockGroup<'a>,
    extent_count: u32,
    has_bitmaps: bool,
    /// Behind the last item.
    items_end: u64,
    /// Behind the last free stretch.
    free_end: u64,
    free_bytes: u64,
    stretches: u64,
}

struct Reader<'a> {
    sector: u64,
    groups: &'a [BlockGroup<'a>],
    /// Index of the group that comes next.
    next: usize,
    current: Option<Current<'a>>,
    /// A block group that is no more, of which there are items.
    gone: ByteRange,
    used: Used,
}

impl Reader<'_> {
    fn visit(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let Item { key, data, at } = *item;
        let corrupt = |fact: &str| Error::corrupt(STRUCTURE, at, format!("{key} {fact}"));
        if key.kind == kind::FREE_SPACE_INFO {
            return self.begin_group(item);
        }
        let place = ByteRange::at(key.objectid, key.offset);
        if place.is_some_and(|place| self.gone.contains(place)) {
            return Ok(());
        }
        let current = self.current.as_mut().ok_or_else(|| corrupt("belongs to no block group"))?;
        let place = place
            .filter(|place| place.start() >= current.items_end && !place.is_empty())
            .filter(|place| current.group.chunk.logical.contains(*place))
            .ok_or_else(|| corrupt("overlaps another one or reaches beyond its block group"))?;
        current.items_end = place.end();
        match (key.kind, current.has_bitmaps) {
            (kind::FREE_SPACE_EXTENT, false) => {
                current.free(&mut self.used, place, true);
                Ok(())
            }
            (kind::FREE_SPACE_BITMAP, true) => {
                let free = bitmap_of(place, self.sector, data)
                    .ok_or_else(|| corrupt("has a bitmap of another length"))?;
                free.iter().for_each(|stretch| current.free(&mut self.used, stretch, false));
                Ok(())
            }
            _ => Err(corrupt("is of a type that has no place there")),
        }
    }

    fn begin_group(&mut self, item: &Item<'_>) -> Result<(), Error> {
        self.finish_group(item.at)?;
        let short = Error::short(STRUCTURE, item.at);
        let extent_count = read_u32le(item.data, 0).map_err(&short)?;
        let flags = read_u32le(item.data, 4).map_err(&short)?;
        let Some(place) = ByteRange::at(item.key.objectid, item.key.offset) else {
            let fact = format!("{} reaches beyond the end of all addresses", item.key);
            return Err(Error::corrupt(STRUCTURE, item.at, fact));
        };
        let next = self.groups.get(self.next);
        let Some(group) = next.filter(|group| group.chunk.logical == place) else {
            self.gone = place;
            let is_live = |group: &BlockGroup<'_>| group.chunk.logical.overlaps(place);
            let behind = self.groups.partition_point(|group| group.chunk.logical.end() <= place.start());
            return match self.groups.get(behind).filter(|group| is_live(group)) {
                None => Ok(()),
                Some(_) => {
                    let fact = format!("{} is not that of the block group there", item.key);
                    Err(Error::corrupt(STRUCTURE, item.at, fact))
                }
            };
        };
        let start = group.chunk.logical.start();
        self.next = self.next.saturating_add(1);
        self.gone = ByteRange::default();
        self.current = Some(Current {
            group,
            extent_count,
            has_bitmaps: flags & USING_BITMAPS != 0,
            items_end: start,
            free_end: start,
            free_bytes: 0,
            stretches: 0,
        });
        Ok(())
    }

    fn finish_group(&mut self, at: u64) -> Result<(), Error> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let logical = current.group.chunk.logical;
        self.used.add(current.group.chunk, ByteRange::new(current.free_end, logical.end()));
        let used = logical.length().saturating_sub(current.free_bytes);
        if used != current.group.used || current.stretches != u64::from(current.extent_count) {
            let fact = format!(
                "the block group at {} has {} bytes in use and {} free stretches, but its free space leaves {used} and \
                 has {}",
                logical.start(),
                current.group.used,
                current.extent_count,
                current.stretches
            );
            return Err(Error::corrupt(STRUCTURE, at, fact));
        }
        Ok(())
    }
}

impl Current<'_> {
    /// What lies between the last free stretch and this one is in use. In bitmaps a stretch may go on from one into
    /// the next.
    fn free(&mut self, used: &mut Used, place: ByteRange, begins: bool) {
        if begins || place.start() != self.free_end || self.stretches == 0 {
            self.stretches = self.stretches.saturating_add(1);
        }
        used.add(self.group.chunk, ByteRange::new(self.free_end, place.start()));
        self.free_bytes = self.free_bytes.saturating_add(place.length());
        self.free_end = place.end();
    }
}

/// The free stretches of a bitmap; `None` where it is not as long as its place.
fn bitmap_of(place: ByteRange, sector: u64, bitmap: &[u8]) -> Option<RangeSet> {
    let (first, bits) = (place.start().checked_div(sector)?, place.length().checked_div(sector)?);
    let is_whole = first.checked_mul(sector)? == place.start() && bits.checked_mul(sector)? == place.length();
    let mut free = RangeSet::new();
    insert_set_bits(&mut free, bitmap, first, bits, sector);
    (is_whole && u64_from(bitmap.len()) == bits.div_ceil(8)).then_some(free)
}
