//! The method `dynamic`: pieces packed in disk order on a grid of 1 MiB; fixed ones keep their size, the
//! others share what is left in proportion to their original sizes.
//!
//! Every piece that shares starts on the grid, and so does every piece behind one: what it gains moves
//! the others by just as much. So the space to share is what is left when all that share have no size,
//! counted in units of the grid; what is less than a unit goes to the last piece, if that one shares.

use super::pieces::{Piece, Tie};
use super::{ALIGNMENT_BYTES, Arrangement, Ground, align_up};
use crate::plan::sharing::{Claim, share};
use crate::plan::sizing::Sizing;
use crate::units::ByteRange;

/// The places of all pieces at their smallest sizes.
pub(super) fn smallest(ground: &Ground<'_>) -> Arrangement {
    arrange(ground, &sizes(ground, |minimum_bytes| minimum_bytes))
}

/// The places that fill the disk; `None` where nobody shares, or where not even the smallest sizes fit.
pub(super) fn fill(ground: &Ground<'_>) -> Option<Arrangement> {
    let last = ground.pieces.len().checked_sub(1)?;
    let bare = arrange(ground, &sizes(ground, |_| 0));
    let left = ground.usable_end().checked_sub(bare.end())?;
    let (units, rest) = (left / ALIGNMENT_BYTES, left % ALIGNMENT_BYTES);
    let rest_of = |index| if index == last { rest } else { 0 };

    // Those that a person gave a part of the disk, and those that share what is left then.
    let (mut parts, mut sharers) = (Group::default(), Group::default());
    for (index, piece) in ground.pieces.iter().enumerate() {
        let claim = |weight, minimum_bytes| Claim {
            key: piece.number().unwrap_or_default(),
            weight,
            minimum: whole_sectors(ground, minimum_bytes)
                .saturating_sub(rest_of(index))
                .div_ceil(ALIGNMENT_BYTES),
        };
        match piece.sizing {
            Sizing::Fixed(_) | Sizing::Chosen { .. } => {}
            Sizing::Shared { minimum_bytes } => {
                sharers.add(index, claim(piece.old.length(), minimum_bytes));
            }
            Sizing::Part { hundredths, minimum_bytes } => {
                parts.add(index, claim(hundredths.into(), minimum_bytes));
            }
        }
    }
    let disk_units = ground.disk_bytes / ALIGNMENT_BYTES;
    let (part_units, shared_units) = divide(units, disk_units, &parts.claims, &sharers.claims)?;
    let mut sizes = sizes(ground, |_| 0);
    let indexes = parts.indexes.into_iter().chain(sharers.indexes);
    for (index, units) in indexes.zip(part_units.into_iter().chain(shared_units)) {
        let bytes = units.saturating_mul(ALIGNMENT_BYTES).saturating_add(rest_of(index));
        *sizes.get_mut(index)? = bytes;
    }
    Some(arrange(ground, &sizes))
}

/// Pieces that have a claim on the disk.
#[derive(Default)]
struct Group {
    indexes: Vec<usize>,
    claims: Vec<Claim>,
}

impl Group {
    fn add(&mut self, index: usize, claim: Claim) {
        self.indexes.push(index);
        self.claims.push(claim);
    }
}

/// Units of the grid for the parts, whose weights are hundredths of a percent of `disk_units`, and for those
/// that share. Parts get what they ask for where that is there, and all there is in proportion where it is not;
/// what is left over belongs to those that share, or to the parts where nobody does.
pub(in crate::plan) fn divide(
    units: u64,
    disk_units: u64,
    parts: &[Claim],
    sharers: &[Claim],
) -> Option<(Vec<u64>, Vec<u64>)> {
    if parts.is_empty() {
        return Some((Vec::new(), share(units, sharers)?));
    }
    let asked = |claim: &Claim| {
        let part = u128::from(disk_units).saturating_mul(claim.weight.into()) / 10_000;
        u64::try_from(part).unwrap_or(u64::MAX).max(claim.minimum)
    };
    let minimums = |claims: &[Claim]| claims.iter().map(|claim| claim.minimum).fold(0, u64::saturating_add);
    let wanted: Vec<u64> = parts.iter().map(asked).collect();
    let wanted_units = wanted.iter().copied().fold(0, u64::saturating_add);
    let for_parts = units.checked_sub(minimums(sharers))?;
    if wanted_units > for_parts {
        let least = sharers.iter().map(|claim| claim.minimum).collect();
        return Some((share(for_parts, parts)?, least));
    }
    if sharers.is_empty() {
        let at_least: Vec<Claim> =
            parts.iter().zip(wanted).map(|(claim, minimum)| Claim { minimum, ..*claim }).collect();
        return Some((share(units, &at_least)?, Vec::new()));
    }
    Some((wanted, share(units.checked_sub(wanted_units)?, sharers)?))
}

/// A size for each piece in whole sectors of the target: the original one for those that keep it,
/// `shared` of the minimum for the others.
fn sizes(ground: &Ground<'_>, shared: impl Fn(u64) -> u64) -> Vec<u64> {
    let size = |piece: &Piece<'_>| match piece.sizing {
        Sizing::Fixed(_) => whole_sectors(ground, piece.old.length()),
        Sizing::Chosen { bytes } => whole_sectors(ground, bytes),
        Sizing::Shared { minimum_bytes } | Sizing::Part { minimum_bytes, .. } => {
            whole_sectors(ground, shared(minimum_bytes))
        }
    };
    ground.pieces.iter().map(size).collect()
}

fn whole_sectors(ground: &Ground<'_>, bytes: u64) -> u64 {
    align_up(bytes, ground.sector.bytes())
}

fn arrange(ground: &Ground<'_>, sizes: &[u64]) -> Arrangement {
    let mut cursor = ground.front.max(ground.lead);
    let mut places = Vec::with_capacity(sizes.len());
    for (piece, size) in ground.pieces.iter().zip(sizes) {
        let aligned = align_up(cursor, ALIGNMENT_BYTES);
        let start = match piece.tie {
            _ if keeps_start(ground, piece, &places) => piece.old.start(),
            Tie::Logical { .. } => aligned.saturating_add(ALIGNMENT_BYTES),
            Tie::WholeDisk | Tie::Primary | Tie::EmptyContainer => aligned,
        };
        cursor = start.saturating_add(*size);
        places.push(ByteRange::new(start, cursor));
    }
    let ebrs = ebrs(ground, &places);
    let of_logicals = |bytes: &[Option<u64>]| bytes.iter().flatten().copied().min();
    let container = of_logicals(&ebrs).map(|start| {
        let logicals = places.iter().zip(&ebrs).filter(|(_, ebr)| ebr.is_some());
        ByteRange::new(start, logicals.map(|(place, _)| place.end()).max().unwrap_or(start))
    });
    Arrangement { places, ebrs, container }
}

/// A fixed piece that starts off the grid in front of its first line keeps its start, such as a BIOS boot
/// partition at sector 34, if the target's table leaves that place and its sectors can express it.
fn keeps_start(ground: &Ground<'_>, piece: &Piece<'_>, before: &[ByteRange]) -> bool {
    let start = piece.old.start();
    let taken = before.last().map_or(ground.front, |place| place.end());
    matches!(piece.sizing, Sizing::Fixed(_))
        && piece.tie == Tie::Primary
        && start < ALIGNMENT_BYTES
        && start >= taken
        && ground.sector.divides(start)
}

/// Each logical partition has its boot record one unit in front of it. The chain starts at the first sector
/// of the container with the lowest number; where another partition comes first on the disk, that one's
/// record moves to the second sector.
fn ebrs(ground: &Ground<'_>, places: &[ByteRange]) -> Vec<Option<u64>> {
    let logical = |piece: &&Piece<'_>| matches!(piece.tie, Tie::Logical { .. });
    let first_on_disk = ground.pieces.iter().find(logical).and_then(Piece::number);
    let first_in_chain = ground.pieces.iter().filter(logical).filter_map(Piece::number).min();
    let before = |place: &ByteRange| place.start().saturating_sub(ALIGNMENT_BYTES);
    let start =
        ground.pieces.iter().zip(places).find(|(piece, _)| logical(piece)).map(|(_, place)| before(place));
    let of = |piece: &Piece<'_>, place: &ByteRange| {
        if !logical(&piece) {
            None
        } else if piece.number() == first_in_chain {
            start
        } else if piece.number() == first_on_disk {
            start.map(|start| start.saturating_add(ground.sector.bytes()))
        } else {
            Some(before(place))
        }
    };
    ground.pieces.iter().zip(places).map(|(piece, place)| of(piece, place)).collect()
}
