//! The method `original`: everything at the bytes where it was.

use super::pieces::Tie;
use super::{Arrangement, Ground};
use crate::plan::refusal::{Part, Refusal};
use crate::units::ByteRange;

/// The original places, if the target's table and sectors can express them; whether the disk is large
/// enough is not asked here.
pub(super) fn arrange(ground: &Ground<'_>) -> Result<Arrangement, Refusal> {
    let mut arrangement = Arrangement { places: Vec::new(), ebrs: Vec::new(), container: None };
    for piece in &ground.pieces {
        place(ground, piece.part, piece.old)?;
        arrangement.places.push(piece.old);
        arrangement.ebrs.push(match piece.tie {
            Tie::Logical { ebr_bytes } => {
                place(ground, piece.part, ByteRange::new(ebr_bytes, piece.old.start()))?;
                Some(ebr_bytes)
            }
            Tie::WholeDisk | Tie::Primary | Tie::EmptyContainer => None,
        });
    }
    if let Some(container) = ground.container {
        place(ground, Part::Partition(container.number), container.old)?;
        arrangement.container = Some(container.old);
    }
    Ok(arrangement)
}

fn place(ground: &Ground<'_>, part: Part, old: ByteRange) -> Result<(), Refusal> {
    let refuse = |reason: String| {
        let (start_bytes, length_bytes) = (old.start(), old.length());
        Err(Refusal::Unplaceable { disk: ground.source.number, part, start_bytes, length_bytes, reason })
    };
    if old.start() < ground.front {
        refuse(format!("the table of the target needs the disk up to byte {}", ground.front))
    } else if !ground.sector.divides(old.start()) || !ground.sector.divides(old.end()) {
        refuse(format!("that is not a whole number of {}-byte sectors", ground.sector))
    } else {
        Ok(())
    }
}
