//! What stands on the targets of a deploy that keeps their tables: volume groups, and targets that hold nothing but a
//! part of one.

use super::choice;
use super::destination::{Offered, assign};
use super::keep::{Target, places};
use super::matching::match_disks;
use super::refusal::Refusal;
use crate::filesystem::lvm::{Broken, FoundGroup};
use crate::machine::MachineDisk;
use crate::schema::{Disk, Table};
use crate::units::{ByteRange, SectorSize};

use super::captured::Captured;
use super::deploy::DeployOptions;

/// The targets of a deploy.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// Those that receive a disk of the image.
    pub disks: &'a [Target],
    /// What else there is, where tables are kept.
    pub standing: Option<&'a Standing>,
}

/// What stands on targets whose tables are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Targets that receive no disk of the image; a part of a volume group stands on them.
    pub others: Vec<OtherTarget>,
    /// Volume groups that are whole on the targets.
    pub groups: Vec<StandingGroup>,
    /// Volume groups that are not.
    pub broken: Vec<Broken>,
}

/// A target that receives no disk of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherTarget {
    /// The disk.
    pub disk: MachineDisk,
    /// The table that stands on it.
    pub found: Table,
}

/// A volume group that stands on the targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingGroup {
    /// What was found.
    pub found: FoundGroup,
    /// For each of its physical volumes, the path of its disk and its bytes there.
    pub members: Vec<(String, ByteRange)>,
}

impl<'a> From<&'a [Target]> for Targets<'a> {
    fn from(disks: &'a [Target]) -> Self {
        Self { disks, standing: None }
    }
}

impl<'a> From<&'a Vec<Target>> for Targets<'a> {
    fn from(disks: &'a Vec<Target>) -> Self {
        disks.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [Target; N]> for Targets<'a> {
    fn from(disks: &'a [Target; N]) -> Self {
        disks.as_slice().into()
    }
}

impl Targets<'_> {
    /// Those that receive no disk of the image.
    pub(super) fn others(&self) -> &[OtherTarget] {
        self.standing.map(|standing| standing.others.as_slice()).unwrap_or_default()
    }
}

/// The places of a disk that may be physical volumes, each with the name that it has in messages: `/dev/sda:2`, or the
/// path of a disk without a table.
#[must_use]
pub fn places_on(disk: &MachineDisk, found: &Table) -> Vec<(String, ByteRange)> {
    if *found == Table::None {
        return vec![(disk.path.clone(), ByteRange::new(0, disk.size_bytes))];
    }
    let sector: SectorSize = disk.logical_sector_bytes;
    let whole = ByteRange::new(0, disk.size_bytes);
    let on_disk = places(found, sector).into_iter().filter(|(_, place)| whole.contains(*place));
    on_disk.map(|(number, place)| (format!("{}:{number}", disk.path), place)).collect()
}

/// Pairs the disks of an image that are deployed with targets. Where logical volumes go into groups that are there,
/// targets that no disk of the image is left for hold these groups: they come second.
///
/// # Errors
/// Those of [`assign`].
pub fn pair_targets(
    captured: Captured<'_>,
    options: &DeployOptions,
    offered: &[Offered],
) -> Result<(Vec<Target>, Vec<MachineDisk>), Refusal> {
    let deployed = choice::deployed(captured.disks, options)?;
    if !choice::restores_logical_volumes(captured, options) {
        return Ok((assign(&deployed, offered)?, Vec::new()));
    }
    let mine = |one: &&Offered| one.receives.is_some_and(|n| deployed.iter().any(|disk| disk.number == n));
    let meant: Vec<Offered> = offered.iter().filter(mine).cloned().collect();
    let mut others: Vec<MachineDisk> = Vec::new();
    for one in offered.iter().filter(|one| !mine(one)) {
        match one.receives {
            Some(disk) if !captured.disks.iter().any(|known| known.number == disk) => {
                return Err(Refusal::UnknownDisk { disk, target: one.disk.path.clone() });
            }
            _ => others.push(one.disk.clone()),
        }
    }
    let is_meant = |disk: &&Disk| meant.iter().any(|one| one.receives == Some(disk.number));
    let rest: Vec<Disk> = deployed.iter().filter(|disk| !is_meant(disk)).cloned().collect();
    let mut targets: Vec<Target> = Vec::new();
    targets.extend(meant.into_iter().filter_map(|one| Some(Target::new(one.receives?, one.disk))));
    targets.extend(match_disks(&rest, &others)?);
    targets.sort_by_key(|target| target.number);
    others.retain(|disk| !targets.iter().any(|target| target.disk.path == disk.path));
    match repeated(&targets, &others) {
        Some(target) => Err(Refusal::TargetTwice { target }),
        None => Ok((targets, others)),
    }
}

/// A target that was named twice.
fn repeated(targets: &[Target], others: &[MachineDisk]) -> Option<String> {
    let paths: Vec<&String> =
        targets.iter().map(|target| &target.disk.path).chain(others.iter().map(|disk| &disk.path)).collect();
    let twice = |(index, path): &(usize, &&String)| paths.iter().take(*index).any(|other| other == *path);
    paths.iter().enumerate().find(twice).map(|(_, path)| (*path).clone())
}
