//! Where the chunks of an array stand on its members, for the levels with parity and for RAID 10.
//!
//! A row is one chunk of each member, at the same distance from where its data begin. After a band all begins anew: so many chunks of
//! the array, which fill so many rows of every member.
//!
//! ```text
//! RAID 5, left, symmetric     RAID 10, near 2     far 2            offset 2
//! A  B  P                     A  A  B             A  B  C          A  B  C
//! D  P  C                     B  C  C             D  E  F          C  A  B
//! P  E  F                     D  D  E             ...              D  E  F
//!                                                 C  A  B          F  D  E
//! ```
//!
//! Sources: Linux `drivers/md/raid5.h` (layouts), `raid5_compute_sector` in `raid5.c`, `setup_geo`, `__raid10_find_phys` and
//! `calc_sectors` in `raid10.c`.

use super::Superblock;
use crate::units::{ByteRange, RangeSet, usize_from};

/// Chunks are no smaller than a page of any machine, and a map has no more to say than there are pages.
pub(super) const MIN_CHUNK_BYTES: u64 = 4096;
const LINUX: &str = "which Linux has none of";

/// An array of a level with parity, or of RAID 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    members: u64,
    chunk_bytes: u64,
    /// Whole chunks in the data of each member.
    rows: u64,
    layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Parity(Parity),
    Copies(Copies),
}

/// Parity in every row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parity {
    /// Chunks of parity in a row.
    chunks: u64,
    /// Members that parity goes around on, from the first one on.
    wheel: u64,
    /// Chunks of parity that go around on them, side by side.
    side_by_side: u64,
    turn: Turn,
}

/// Where parity stands from row to row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Last,
    /// From the last member of the wheel on to the first one; symmetric: data begin behind it.
    Left {
        symmetric: bool,
    },
    /// The other way round.
    Right {
        symmetric: bool,
    },
}

/// Copies of every chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Copies {
    /// Side by side.
    near: u64,
    /// Further on, each on another member than the one before.
    far: u64,
    /// Members among which far copies stay; the last of these sets has what is left over too.
    set: u64,
    /// Rows between far copies.
    stride: u64,
    /// True where a row of far copies follows each row.
    is_offset: bool,
}

/// Where a chunk stands: the member, and the row.
type Place = (u64, u64);

impl Geometry {
    /// The geometry of the array of a member, of whose data each member has `member_bytes`.
    ///
    /// The error is why it is not read: a clause that follows the name of the array.
    pub(super) fn new(superblock: &Superblock, member_bytes: u64) -> Result<Self, String> {
        let (members, chunk_bytes) = (u64::from(superblock.disks), superblock.chunk_bytes);
        if chunk_bytes < MIN_CHUNK_BYTES || !chunk_bytes.is_power_of_two() {
            return Err(format!("has chunks of {chunk_bytes} bytes, {LINUX}"));
        }
        let rows = member_bytes.checked_div(chunk_bytes).unwrap_or_default();
        let layout = superblock.layout.unwrap_or_default();
        let layout = match superblock.level {
            4 => parity(members, 1, 5).map(Layout::Parity),
            5 => parity(members, 1, layout).map(Layout::Parity),
            6 if matches!(layout, 8..=10) => {
                return Err(format!("has the layout {layout} of DDF, which is not read"));
            }
            6 => parity(members, 2, layout).map(Layout::Parity),
            10 => copies(members, rows, layout)?.map(Layout::Copies),
            level => return Err(format!("is of level {level}, which is not read")),
        };
        let layout = layout.ok_or_else(|| {
            let number = superblock.layout.unwrap_or_default();
            format!("has the layout {number:#x} on {members} members, {LINUX}")
        })?;
        let geometry = Self { members, chunk_bytes, rows, layout };
        // All that is added and multiplied below stays under this product.
        let fits = rows.checked_mul(members).and_then(|chunks| chunks.checked_mul(chunk_bytes)).is_some();
        if fits && geometry.size_bytes() > 0 { Ok(geometry) } else { Err("has no room for a row".to_owned()) }
    }

    /// Size of the array.
    pub(super) fn size_bytes(&self) -> u64 {
        let (band, rows) = self.band();
        let chunks = match self.layout {
            Layout::Parity(_) => self.rows.saturating_mul(band).checked_div(rows),
            Layout::Copies(Copies { near, far, .. }) => self
                .rows
                .checked_div(far)
                .and_then(|rows| rows.saturating_mul(self.members).checked_div(near)),
        };
        chunks.unwrap_or_default().saturating_mul(self.chunk_bytes)
    }

    /// True where parity has to agree with what is free too.
    pub(super) const fn has_parity(&self) -> bool {
        matches!(self.layout, Layout::Parity(_))
    }

    /// The bytes of each member that belong to rows.
    pub(super) const fn rows_bytes(&self) -> u64 {
        self.rows.saturating_mul(self.chunk_bytes)
    }

    /// The member that a byte of the array is read from, the byte of its data, and how many bytes follow there.
    pub(super) fn locate(&self, offset: u64) -> Option<(usize, u64, u64)> {
        let (chunk, within) = self.chunk_of(offset)?;
        let (member, row) = match self.layout {
            Layout::Parity(parity) => {
                let data = self.members.checked_sub(parity.chunks)?;
                let row = chunk.checked_div(data)?;
                (parity.member(row, chunk.checked_rem(data)?)?, row)
            }
            Layout::Copies(copies) => copies.first(self.members, chunk)?,
        };
        let at = row.checked_mul(self.chunk_bytes)?.checked_add(within)?;
        Some((usize_from(member), at, self.chunk_bytes.checked_sub(within)?))
    }

    /// For each member, what has to be there of its data for some bytes of the array to be there, also when as many members fail
    /// as the level allows: every copy, or of each row the same bytes of all chunks.
    /// `None` where they do not lie in the array.
    pub(super) fn places(&self, used: &RangeSet) -> Option<Vec<RangeSet>> {
        if used.end() > self.size_bytes() {
            return None;
        }
        match self.layout {
            Layout::Parity(_) => {
                // Of columns of a row, each with many ranges, those of the next one may stand in front of those of the last one.
                let parts: Option<Vec<[ByteRange; 2]>> =
                    used.iter().map(|range| self.in_rows(range)).collect();
                let rows: RangeSet = parts?.into_iter().flatten().collect();
                Some(vec![rows; usize_from(self.members)])
            }
            Layout::Copies(copies) => self.of_copies(&copies, used),
        }
    }

    /// Chunks of the array in a band, and the rows of every member that these fill.
    fn band(&self) -> (u64, u64) {
        match self.layout {
            Layout::Parity(parity) => (self.members.saturating_sub(parity.chunks), 1),
            Layout::Copies(Copies { is_offset: true, far, .. }) => (self.members, far),
            Layout::Copies(Copies { near, .. }) => {
                let common = greatest_common_divisor(self.members, near).max(1);
                let each = |number: u64| number.checked_div(common).unwrap_or(1);
                (each(self.members), each(near))
            }
        }
    }

    fn chunk_of(&self, offset: u64) -> Option<(u64, u64)> {
        Some((offset.checked_div(self.chunk_bytes)?, offset.checked_rem(self.chunk_bytes)?))
    }

    /// The bytes of every member in whose rows a range of the array is: what of a chunk is used is so in all chunks of its row.
    fn in_rows(&self, range: ByteRange) -> Option<[ByteRange; 2]> {
        let empty = ByteRange::new(0, 0);
        let Some(last_byte) = range.end().checked_sub(1).filter(|_| !range.is_empty()) else {
            return Some([empty; 2]);
        };
        let (band, _) = self.band();
        let ((first, from), (last, to)) = (self.chunk_of(range.start())?, self.chunk_of(last_byte)?);
        let to = to.checked_add(1)?;
        let row_of = |chunk: u64| Some((chunk.checked_div(band)?, chunk.checked_rem(band)?));
        let ((first_row, column), (last_row, last_column)) = (row_of(first)?, row_of(last)?);
        let at = |row: u64, within: u64| row.checked_mul(self.chunk_bytes)?.checked_add(within);
        if first == last {
            return Some([ByteRange::new(at(first_row, from)?, at(first_row, to)?), empty]);
        }
        if first_row == last_row && last.checked_sub(first)? == 1 && to < from {
            // The end of one chunk, and the beginning of the next one.
            let end = ByteRange::new(at(first_row, from)?, at(first_row, self.chunk_bytes)?);
            return Some([ByteRange::new(at(first_row, 0)?, at(first_row, to)?), end]);
        }
        // A row of which more than one chunk is touched is touched whole, unless the range begins or ends in it.
        let is_last_column = column.checked_add(1)? == band;
        let from = if first_row != last_row && is_last_column { from } else { 0 };
        let to = if first_row != last_row && last_column == 0 { to } else { self.chunk_bytes };
        Some([ByteRange::new(at(first_row, from)?, at(last_row, to)?), empty])
    }

    fn of_copies(&self, copies: &Copies, used: &RangeSet) -> Option<Vec<RangeSet>> {
        // Far copies stand behind the first ones, so each kind has sets of its own, to which ranges come in their order.
        let mut sets: Vec<Vec<RangeSet>> =
            vec![vec![RangeSet::new(); usize_from(self.members)]; usize_from(copies.far)];
        for range in used.iter() {
            self.add_copies(copies, range, &mut sets)?;
        }
        let of_member = |member: usize| {
            let of_kinds = sets.iter().filter_map(|set| set.get(member));
            of_kinds.flat_map(RangeSet::iter).collect()
        };
        Some((0..usize_from(self.members)).map(of_member).collect())
    }

    fn add_copies(&self, copies: &Copies, range: ByteRange, sets: &mut [Vec<RangeSet>]) -> Option<()> {
        let (band, rows) = self.band();
        let band_bytes = band.checked_mul(self.chunk_bytes)?;
        let (first, last) =
            (range.start().checked_next_multiple_of(band_bytes)?, range.end().checked_div(band_bytes)?);
        let bands = ByteRange::new(first, last.checked_mul(band_bytes)?);
        if bands.is_empty() {
            return self.add_chunks(copies, range, sets);
        }
        self.add_chunks(copies, ByteRange::new(range.start(), bands.start()), sets)?;
        let row_bytes = rows.checked_mul(self.chunk_bytes)?;
        let at = |byte: u64| byte.checked_div(band_bytes)?.checked_mul(row_bytes);
        // With offset all copies stand in the same bands.
        let kinds = if copies.is_offset { 1 } else { copies.far };
        for (kind, set) in (0..kinds).zip(sets.iter_mut()) {
            let behind = kind.checked_mul(copies.stride)?.checked_mul(self.chunk_bytes)?;
            let start = at(bands.start())?.checked_add(behind)?;
            let part = ByteRange::new(start, at(bands.end())?.checked_add(behind)?);
            set.iter_mut().for_each(|set| set.insert(part));
        }
        self.add_chunks(copies, ByteRange::new(bands.end(), range.end()), sets)
    }

    /// Adds less than two bands, chunk by chunk.
    fn add_chunks(&self, copies: &Copies, range: ByteRange, sets: &mut [Vec<RangeSet>]) -> Option<()> {
        let mut at = range.start();
        while at < range.end() {
            let (chunk, within) = self.chunk_of(at)?;
            let length = self.chunk_bytes.checked_sub(within)?.min(range.end().checked_sub(at)?);
            for (kind, (member, row)) in copies.all(self.members, chunk) {
                let start = row.checked_mul(self.chunk_bytes)?.checked_add(within)?;
                let set = sets.get_mut(kind).and_then(|sets| sets.get_mut(usize_from(member)))?;
                set.insert(ByteRange::at(start, length)?);
            }
            at = at.checked_add(length)?;
        }
        Some(())
    }
}

impl Parity {
    /// The member that has the data chunk of this number in a row.
    fn member(&self, row: u64, number: u64) -> Option<u64> {
        let steps = row.checked_rem(self.wheel)?;
        let last = self.wheel.checked_sub(1)?;
        let (parity, symmetric) = match self.turn {
            Turn::First => return number.checked_add(self.side_by_side),
            Turn::Last => return Some(number),
            Turn::Left { symmetric } => (last.checked_sub(steps)?, symmetric),
            Turn::Right { symmetric } => (steps, symmetric),
        };
        if symmetric {
            let behind = parity.checked_add(self.side_by_side)?.checked_add(number)?;
            return behind.checked_rem(self.wheel);
        }
        // Of two, the second one stands on the first member where the first one stands on the last.
        let in_front = if self.side_by_side == 2 && parity == last { 1 } else { self.side_by_side };
        let is_behind = number >= parity || in_front < self.side_by_side;
        if is_behind { number.checked_add(in_front) } else { Some(number) }
    }
}

impl Copies {
    /// Where the copy that is read of a chunk stands.
    fn first(&self, members: u64, chunk: u64) -> Option<Place> {
        self.near(members, chunk, 0)
    }

    fn near(&self, members: u64, chunk: u64, number: u64) -> Option<Place> {
        let position = chunk.checked_mul(self.near)?.checked_add(number)?;
        let row = position.checked_div(members)?;
        let row = if self.is_offset { row.checked_mul(self.far)? } else { row };
        Some((position.checked_rem(members)?, row))
    }

    /// Where all copies stand, each with the number of its set.
    fn all(&self, members: u64, chunk: u64) -> Vec<(usize, Place)> {
        let mut places: Vec<(usize, Place)> =
            (0..self.near).filter_map(|number| Some((0, self.near(members, chunk, number)?))).collect();
        let mut last = self.first(members, chunk);
        for number in 1..self.far {
            last = last.and_then(|(member, row)| {
                Some((self.next_member(members, member)?, row.checked_add(self.stride)?))
            });
            places.extend(last.map(|place| (usize_from(number), place)));
        }
        places
    }

    /// The member that has the next far copy of a chunk.
    fn next_member(&self, members: u64, member: u64) -> Option<u64> {
        let next = member.checked_add(1)?;
        let left_over = members.checked_rem(self.set)?;
        let last_set = members.checked_div(self.set)?.checked_sub(1)?.checked_mul(self.set)?;
        if left_over > 0 && next > last_set {
            let within = next.checked_sub(last_set)?.checked_rem(self.set.checked_add(left_over)?)?;
            return within.checked_add(last_set);
        }
        let own_set = member.checked_div(self.set)?.checked_mul(self.set)?;
        next.checked_rem(self.set)?.checked_add(own_set)
    }
}

/// `ALGORITHM_...` of `raid5.h`; `None` where there is none of this number.
fn parity(members: u64, chunks: u64, layout: u32) -> Option<Parity> {
    // From 16 on the second chunk of parity is always on the last member: what becomes of a RAID 5.
    let (number, side_by_side) = match layout {
        16..=20 if chunks == 2 => (layout.checked_sub(16)?, 1),
        0..=5 => (layout, chunks),
        _ => return None,
    };
    let turn = match number {
        0 => Turn::Left { symmetric: false },
        1 => Turn::Right { symmetric: false },
        2 => Turn::Left { symmetric: true },
        3 => Turn::Right { symmetric: true },
        4 => Turn::First,
        _ => Turn::Last,
    };
    let wheel = members.checked_sub(chunks.checked_sub(side_by_side)?)?;
    // Linux wants four members for RAID 6, two for the others.
    (members >= chunks.checked_mul(2)?).then_some(Parity { chunks, wheel, side_by_side, turn })
}

/// Bits 0 to 7: near copies; 8 to 15: far ones; 16: offset; 17 and 18: which members far copies stay on.
fn copies(members: u64, rows: u64, layout: u32) -> Result<Option<Copies>, String> {
    let (near, far, is_offset) =
        (u64::from(layout & 0xFF), u64::from(layout >> 8 & 0xFF), layout >> 16 & 1 == 1);
    if near > 1 && far > 1 {
        return Err(format!("has {near} near and {far} far copies of each chunk, which mdadm never makes"));
    }
    let set = match layout >> 17 {
        0 => Some(members),
        1 => members.checked_div(far),
        2 => Some(far),
        _ => None,
    };
    let count = near.saturating_mul(far);
    let stride = if is_offset { Some(1) } else { rows.checked_div(far) };
    Ok(set
        .zip(stride)
        .filter(|(set, _)| *set > 0 && (2..=members).contains(&count))
        .map(|(set, stride)| Copies { near, far, set, stride, is_offset }))
}

fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    while let Some(rest) = one.checked_rem(other) {
        (one, other) = (other, rest);
    }
    one
}
