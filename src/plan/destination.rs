//! Which disk of the image goes onto which disks of the machine: as a person says, and else by the matching rule.

use super::{Refusal, Target, match_disks};
use crate::machine::MachineDisk;
use crate::schema::Disk;

/// A disk of the machine that may be overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The disk.
    pub disk: MachineDisk,
    /// Number of the image's disk that a person meant for it.
    pub receives: Option<u32>,
}

/// Pairs every disk of the image with those that a person meant for it, each of them a copy, and the others by the
/// matching rule ([`match_disks`]).
///
/// # Errors
/// Those of [`match_disks`], [`Refusal::UnknownDisk`] where a target is meant for a disk that the image has not, and
/// [`Refusal::NoUse`] for a disk that nothing is left for.
pub fn assign(image: &[Disk], offered: &[Offered]) -> Result<Vec<Target>, Refusal> {
    for (index, one) in offered.iter().enumerate() {
        if offered.iter().take(index).any(|earlier| earlier.disk.path == one.disk.path) {
            return Err(Refusal::TargetTwice { target: one.disk.path.clone() });
        }
    }
    let mut targets = Vec::new();
    for one in offered {
        let Some(number) = one.receives else { continue };
        if !image.iter().any(|disk| disk.number == number) {
            return Err(Refusal::UnknownDisk { disk: number, target: one.disk.path.clone() });
        }
        targets.push(Target::new(number, one.disk.clone()));
    }
    let meant = |number| offered.iter().any(|one| one.receives == Some(number));
    let rest: Vec<Disk> = image.iter().filter(|disk| !meant(disk.number)).cloned().collect();
    let free: Vec<MachineDisk> =
        offered.iter().filter(|one| one.receives.is_none()).map(|one| one.disk.clone()).collect();
    if let (true, Some(disk)) = (rest.is_empty(), free.first()) {
        return Err(Refusal::NoUse { target: disk.path.clone() });
    }
    targets.extend(match_disks(&rest, &free)?);
    targets.sort_by_key(|target| target.number);
    Ok(targets)
}
