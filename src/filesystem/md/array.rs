//! An array as a disk, put together from all its members.
//!
//! The members of a RAID 0 and of a linear array may have data of several sizes. A RAID 0 then has zones: the first one over all
//! members, as far as the smallest one goes, the next one over those that go on. In which order the members of a later zone take
//! turns, two generations of Linux did not agree: `original` counts chunks from the start of the array, `alternate` from that of
//! the zone.
//!
//! Sources: Linux `create_strip_zones` and `map_sector` in `drivers/md/raid0.c`, `linear_conf` in `md-linear.c`.

use super::Superblock;
use super::geometry::{Geometry, MIN_CHUNK_BYTES};
use crate::blockio::{Column, Mapped, ReadAt, Stretch, Window, past_the_end};
use crate::units::{ByteRange, RangeSet, u64_from, usize_from};
use std::io;

/// What `layout` of a RAID 0 says: `RAID0_ORIG_LAYOUT`, `RAID0_ALT_MULTIZONE_LAYOUT`.
const ORIGINAL: u32 = 1;
const ALTERNATE: u32 = 2;

/// An array whose members are all there.
pub(super) enum Array<'a> {
    /// Linear, or RAID 0.
    Joined(Mapped<Window<&'a dyn ReadAt>>),
    /// With parity or copies.
    Spread { geometry: Geometry, members: Vec<Window<&'a dyn ReadAt>> },
}

impl<'a> Array<'a> {
    /// Puts an array together. `members` are all there are, in their order, each with its superblock and its data.
    ///
    /// The error is why it cannot be: a clause that follows the name of the array.
    pub(super) fn new(members: Vec<(&Superblock, Window<&'a dyn ReadAt>)>) -> Result<Self, String> {
        let (superblocks, windows): (Vec<&Superblock>, Vec<_>) = members.into_iter().unzip();
        let Some(first) = superblocks.first() else { return Err("has no members".to_owned()) };
        let sizes: Vec<u64> = superblocks.iter().map(|superblock| superblock.data.length()).collect();
        let says = |superblock: &Superblock| {
            (superblock.level, superblock.disks, superblock.chunk_bytes, superblock.layout)
        };
        let is_joined = matches!(first.level, -1 | 0);
        let has_one_size = is_joined || sizes.iter().all(|size| *size == first.data.length());
        if !has_one_size || superblocks.iter().any(|superblock| says(superblock) != says(first)) {
            return Err("has members that say different things of its size and layout".to_owned());
        }
        if u64::from(first.disks) != u64_from(windows.len()) {
            return Err(format!("has {} members, of which {} are here", first.disks, windows.len()));
        }
        let stretches = match first.level {
            -1 => linear(first.chunk_bytes, &sizes)?,
            0 => striped(first, &sizes)?,
            _ => {
                let geometry = Geometry::new(first, first.data.length())?;
                return Ok(Self::Spread { geometry, members: windows });
            }
        };
        let joined = Mapped::new(windows, stretches);
        joined.map(Self::Joined).map_err(|_| "has a size that fits in no number".to_owned())
    }

    /// For each member, the bytes of its data that some bytes of the array need; of members behind the last that has some, nothing
    /// need be said.
    ///
    /// # Errors
    /// `UnexpectedEof` where they do not lie in the array.
    pub(super) fn places(&self, used: &RangeSet) -> io::Result<Vec<RangeSet>> {
        match self {
            Self::Joined(joined) => {
                let mut of_members: Vec<Vec<ByteRange>> = Vec::new();
                for (member, place) in joined.places(used)? {
                    if of_members.len() <= member {
                        of_members.resize(member.saturating_add(1), Vec::new());
                    }
                    if let Some(places) = of_members.get_mut(member) {
                        places.push(place);
                    }
                }
                Ok(of_members.into_iter().map(RangeSet::from_iter).collect())
            }
            Self::Spread { geometry, .. } => geometry.places(used).ok_or_else(past_the_end),
        }
    }

    /// The bytes of the data of each member that parity is right of only together with those of the others.
    pub(super) const fn with_parity(&self) -> Option<ByteRange> {
        match self {
            Self::Spread { geometry, .. } if geometry.has_parity() => {
                Some(ByteRange::new(0, geometry.rows_bytes()))
            }
            _ => None,
        }
    }
}

impl ReadAt for Array<'_> {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::Joined(joined) => joined.size_bytes(),
            Self::Spread { geometry, .. } => geometry.size_bytes(),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (geometry, members) = match self {
            Self::Joined(joined) => return joined.read_at(offset, buffer),
            Self::Spread { geometry, members } => (geometry, members),
        };
        let whole = ByteRange::at(offset, u64_from(buffer.len())).ok_or_else(past_the_end)?;
        if whole.end() > geometry.size_bytes() {
            return Err(past_the_end());
        }
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let (member, place, follow) = geometry.locate(at).ok_or_else(past_the_end)?;
            let length = follow.min(u64_from(rest.len()));
            let (part, behind) = rest.split_at_mut_checked(usize_from(length)).ok_or_else(past_the_end)?;
            members.get(member).ok_or_else(past_the_end)?.read_at(place, part)?;
            (at, rest) = (at.saturating_add(length), behind);
        }
        Ok(())
    }
}

/// Whole chunks of each member, where there are chunks.
fn in_chunks(bytes: u64, chunk_bytes: u64) -> u64 {
    bytes.saturating_sub(bytes.checked_rem(chunk_bytes).unwrap_or_default())
}

fn linear(chunk_bytes: u64, sizes: &[u64]) -> Result<Vec<Stretch>, String> {
    let stretch = |(disk, size): (usize, &u64)| {
        let length_bytes = Some(in_chunks(*size, chunk_bytes)).filter(|length| *length > 0)?;
        let columns = vec![Column { disk, start_bytes: 0 }];
        Some(Stretch { length_bytes, stripe_bytes: length_bytes, columns })
    };
    let stretches: Option<Vec<Stretch>> = sizes.iter().enumerate().map(stretch).collect();
    stretches.ok_or_else(|| "has a member without data".to_owned())
}

fn striped(superblock: &Superblock, sizes: &[u64]) -> Result<Vec<Stretch>, String> {
    let chunk_bytes = superblock.chunk_bytes;
    if chunk_bytes < MIN_CHUNK_BYTES {
        return Err(format!(
            "has chunks of {chunk_bytes} bytes, and from {MIN_CHUNK_BYTES} on they are read"
        ));
    }
    let sizes: Vec<u64> = sizes.iter().map(|size| in_chunks(*size, chunk_bytes)).collect();
    let mut ends = sizes.clone();
    ends.sort_unstable();
    ends.dedup();
    if ends.first() == Some(&0) {
        return Err("has a member without data".to_owned());
    }
    let counts_from_the_array = match superblock.layout {
        _ if ends.len() == 1 => false,
        Some(ORIGINAL) => true,
        Some(ALTERNATE) => false,
        _ if superblock.version == "0.90" => {
            return Err(
                "has members of several sizes, and a superblock that has no room for which of the two layouts it has, so that Linux has to \
                 be told with raid0.default_layout=1, or 2 where it was made by Linux 3.14 to 5.3"
                    .to_owned(),
            );
        }
        _ => {
            return Err(
                "has members of several sizes, and does not say which of the two layouts it has; mdadm --assemble \
                 --update=layout-original, or layout-alternate where it was made by Linux 3.14 to 5.3, writes that down"
                    .to_owned(),
            );
        }
    };
    let mut stretches: Vec<Stretch> = Vec::new();
    let (mut start_bytes, mut chunks_before) = (0u64, 0u64);
    for end in ends {
        let mut columns: Vec<Column> = sizes
            .iter()
            .enumerate()
            .filter(|(_, size)| **size > start_bytes)
            .map(|(disk, _)| Column { disk, start_bytes })
            .collect();
        let count = u64_from(columns.len());
        let length_bytes = end.saturating_sub(start_bytes).checked_mul(count);
        let length_bytes = length_bytes.ok_or_else(|| "has a size that fits in no number".to_owned())?;
        if counts_from_the_array {
            columns.rotate_left(usize_from(chunks_before.checked_rem(count).unwrap_or_default()));
        }
        chunks_before =
            chunks_before.saturating_add(length_bytes.checked_div(chunk_bytes).unwrap_or_default());
        stretches.push(Stretch { length_bytes, stripe_bytes: chunk_bytes, columns });
        start_bytes = end;
    }
    Ok(stretches)
}
