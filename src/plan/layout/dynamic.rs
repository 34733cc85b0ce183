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

    let mut sharers = Vec::new();
    let mut claims = Vec::new();
    for (index, piece) in ground.pieces.iter().enumerate() {
        if let Sizing::Shared { minimum_bytes } = piece.sizing {
            let minimum = whole_sectors(ground, minimum_bytes).saturating_sub(rest_of(index));
            sharers.push(index);
            claims.push(Claim {
                key: piece.number().unwrap_or_default(),
                weight: piece.old.length(),
                minimum: minimum.div_ceil(ALIGNMENT_BYTES),
            });
        }
    }
    let mut sizes = sizes(ground, |_| 0);
    for (index, units) in sharers.into_iter().zip(share(units, &claims)?) {
        let bytes = units.saturating_mul(ALIGNMENT_BYTES).saturating_add(rest_of(index));
        *sizes.get_mut(index)? = bytes;
    }
    Some(arrange(ground, &sizes))
}

/// A size for each piece in whole sectors of the target: the original one for those that keep it,
/// `shared` of the minimum for the others.
fn sizes(ground: &Ground<'_>, shared: impl Fn(u64) -> u64) -> Vec<u64> {
    let size = |piece: &Piece<'_>| match piece.sizing {
        Sizing::Fixed(_) => whole_sectors(ground, piece.old.length()),
        Sizing::Shared { minimum_bytes } => whole_sectors(ground, shared(minimum_bytes)),
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
