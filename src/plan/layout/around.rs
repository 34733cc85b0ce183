//! A layout around partitions of the target that stay at their place.
//!
//! What stays parts the disk into holes. The pieces go into them in disk order, each hole taking as many as fit with
//! their captured sizes, or with their smallest where the holes are too small for that; within its hole a group is
//! laid out as on a disk of its own.
//!
//! ```text
//!   |table| hole 0          | kept 4  | hole 1        |table|
//!         | 1 | 2 | 3 ......|         | 5 ............|
//! ```

use super::{Arrangement, Ground, Laid, dynamic, original};
use crate::machine::MachineDisk;
use crate::plan::refusal::{Part, Refusal};
use crate::schema::Layout;
use crate::units::ByteRange;

/// Lays the pieces out around what is kept; there are no logical partitions then.
pub(super) fn lay(ground: &Ground<'_>, layout: Layout, target: &MachineDisk) -> Result<Laid, Refusal> {
    refuse_kept_outside(ground, target)?;
    if layout == Layout::Original {
        return lay_original(ground, target);
    }
    let (least, end) = fill(ground, target)?;
    // Nobody shrinks where nobody has to.
    let filled = fill(&ground.unshrunk(), target).map_or(least, |(whole, _)| whole);
    Ok(ground.finish(layout, filled, ground.minimum_disk_bytes(end), Vec::new()))
}

/// Fills the holes; also the end of everything at its smallest.
fn fill(ground: &Ground<'_>, target: &MachineDisk) -> Result<(Arrangement, u64), Refusal> {
    let mut filled = Arrangement { places: Vec::new(), ebrs: Vec::new(), container: None };
    let mut end = kept_end(ground);
    let holes = holes(ground);
    let last = holes.len().saturating_sub(1);
    let mut done = 0usize;
    for (index, hole) in holes.into_iter().enumerate() {
        let rest = ground.within(hole, done, ground.pieces.len());
        let least = dynamic::smallest(&rest);
        let count = least.places.iter().take_while(|place| place.end() <= hole.end()).count();
        let taken = done.saturating_add(count);
        if index == last && taken < ground.pieces.len() {
            return Err(no_room(ground, target, taken, least.places.get(count)));
        }
        if count > 0 {
            let group = ground.within(hole, done, taken);
            let least = dynamic::smallest(&group);
            end = end.max(least.end());
            let group = dynamic::fill(&group).unwrap_or(least);
            filled.places.extend(group.places);
            filled.ebrs.extend(group.ebrs);
        }
        done = taken;
    }
    Ok((filled, end))
}

fn lay_original(ground: &Ground<'_>, target: &MachineDisk) -> Result<Laid, Refusal> {
    let arrangement = original::arrange(ground)?;
    if !ground.fits(&arrangement) {
        return Err(ground.too_small(&arrangement, target));
    }
    for (piece, place) in ground.pieces.iter().zip(&arrangement.places) {
        if let Some(kept) = ground.kept.iter().find(|kept| kept.place.overlaps(*place)) {
            let (disk, target) = (ground.source.number, target.path.clone());
            return Err(Refusal::KeptInTheWay { disk, target, part: piece.part, number: kept.number });
        }
    }
    let end = arrangement.end().max(kept_end(ground));
    Ok(ground.finish(Layout::Original, arrangement, ground.minimum_disk_bytes(end), Vec::new()))
}

/// What stays has to lie where the new table allows partitions.
fn refuse_kept_outside(ground: &Ground<'_>, target: &MachineDisk) -> Result<(), Refusal> {
    let usable = ByteRange::new(ground.front, ground.usable_end());
    match ground.kept.iter().find(|kept| !usable.contains(kept.place)) {
        None => Ok(()),
        Some(kept) => Err(Refusal::CannotKeep {
            target: target.path.clone(),
            number: kept.number,
            reason: format!(
                "it lies at {}, and the table of the image needs what is outside {usable}",
                kept.place
            ),
        }),
    }
}

fn kept_end(ground: &Ground<'_>) -> u64 {
    ground.kept.iter().map(|kept| kept.place.end()).max().unwrap_or_default()
}

/// The stretches in front of, between and behind what stays.
fn holes(ground: &Ground<'_>) -> Vec<ByteRange> {
    let mut holes = Vec::new();
    let mut start = ground.front;
    for kept in &ground.kept {
        holes.push(ByteRange::new(start, kept.place.start()));
        start = kept.place.end();
    }
    holes.push(ByteRange::new(start, ground.usable_end()));
    holes
}

fn no_room(ground: &Ground<'_>, target: &MachineDisk, index: usize, place: Option<&ByteRange>) -> Refusal {
    let piece = ground.pieces.get(index);
    Refusal::NoRoom {
        disk: ground.source.number,
        target: target.path.clone(),
        part: piece.map_or(Part::Table, |piece| piece.part),
        part_bytes: place.map_or(0, |place| place.length()),
        kept: ground.kept.iter().map(|kept| kept.number).collect(),
    }
}
