//! Logical volumes on the targets: written through their extents, without the kernel's help, and described when all of
//! them are there.

use super::Error;
use super::commit::{clear_ends, ends};
use super::preflight::Ending;
use super::volume::Site;
use crate::blockio::{Mapped, ReadAt, Window, WriteAt};
use crate::filesystem::lvm;
use crate::machine::MachineDisk;
use crate::plan::{DeployPlan, ExistingGroup, GroupPlan, PlannedLogical, VolumePlan};
use crate::schema::VolumeGroup;
use crate::units::{ByteRange, u64_from};
use std::io;

/// A logical volume of a target.
pub(super) struct Logical<'a> {
    pub planned: &'a VolumePlan,
    /// How it is described to those who change its file system.
    pub disk: MachineDisk,
    /// True where it stood on the targets before.
    exists: bool,
    mapped: Mapped<&'a dyn WriteAt>,
}

impl Logical<'_> {
    /// Where it is written.
    pub(super) fn site(&self) -> Site<'_> {
        Site {
            target: &self.mapped,
            sector: self.disk.logical_sector_bytes,
            // What leads to it stands there already.
            in_a_table: self.exists,
            // Its extents, or the whole disk, were overwritten before, where that was asked for.
            zero_free_space: false,
        }
    }

    /// Clears both ends of it, where signatures of an earlier use may stand.
    pub(super) fn clear(&self) -> Result<(), Error> {
        let whole = ByteRange::new(0, self.disk.size_bytes);
        ends(whole).into_iter().filter(|range| !range.is_empty()).try_for_each(|range| {
            let what = format!("clearing old signatures in {}", self.planned.volume);
            self.mapped.write_zeros(range).map_err(|source| Error::Write { what, range, source })
        })
    }
}

impl Logical<'_> {
    /// Empties one that stood there, as far as that can still be done, so that nobody takes a half of it for a whole.
    pub(super) fn abandon(&self) -> io::Result<()> {
        if self.exists { clear_ends(ByteRange::new(0, self.disk.size_bytes), &self.mapped) } else { Ok(()) }
    }
}

/// Where volumes are restored into groups that are there, these are the groups that the deploy was planned with.
pub(super) fn check_found(plan: &DeployPlan, targets: &[&dyn WriteAt]) -> Result<(), Error> {
    plan.existing_groups.iter().try_for_each(|existing| {
        let changed = || Error::GroupChanged { group: existing.group.name.clone() };
        let found = found(existing, targets).ok_or_else(changed)?;
        if found == existing.group { Ok(()) } else { Err(changed()) }
    })
}

/// The group that stands in the places of one of a plan now.
fn found(existing: &ExistingGroup, targets: &[&dyn WriteAt]) -> Option<VolumeGroup> {
    let windows: Vec<Window<&dyn WriteAt>> = existing
        .members
        .iter()
        .map(|member| Window::new(*targets.get(member.disk)?, member.place).ok())
        .collect::<Option<_>>()?;
    let names = existing.group.physical_volumes.iter().map(|physical| physical.volume.as_str());
    let volumes: Vec<(&str, &dyn ReadAt)> =
        names.zip(&windows).map(|(name, window)| -> (&str, &dyn ReadAt) { (name, window) }).collect();
    let found = lvm::groups(&volumes).groups.into_iter().next()?;
    Some(found.group.under_its_own_names())
}

/// A logical volume as a disk, of the size that it will have.
pub(super) fn as_disk(plan: &DeployPlan, logical: &PlannedLogical<'_>) -> MachineDisk {
    MachineDisk::new(logical.name(), logical.planned.place.length(), logical.sector(plan))
}

/// Opens the logical volumes of a plan on its targets.
pub(super) fn open<'a>(plan: &'a DeployPlan, targets: &[&'a dyn WriteAt]) -> Result<Vec<Logical<'a>>, Error> {
    let open = |logical: PlannedLogical<'a>| {
        let mapped = logical.stretches().and_then(|stretches| Mapped::new(targets.to_vec(), stretches).ok());
        let planned = logical.planned;
        let mapped = mapped.ok_or_else(|| {
            let fact = "its extents do not lie on the targets".to_owned();
            Error::Corrupt { what: planned.volume.clone(), fact }
        })?;
        Ok(Logical { planned, disk: as_disk(plan, &logical), exists: logical.exists, mapped })
    };
    plan.logical_volumes().into_iter().map(open).collect()
}

/// Writes labels and metadata: every label after all metadata of its group, so that what can be found is whole.
pub(super) fn describe(ending: Ending<'_>, targets: &[&dyn WriteAt]) -> Result<(), Error> {
    for (group, descriptions) in ending.plan.groups.iter().zip(ending.descriptions) {
        for labels in [false, true] {
            for (member, pieces) in group.members.iter().zip(descriptions) {
                let (label, metadata) = match pieces.split_last() {
                    Some((label, metadata)) => (std::slice::from_ref(label), metadata),
                    None => continue,
                };
                let Some(target) = targets.get(member.disk) else { continue };
                let pieces = if labels { label } else { metadata };
                pieces.iter().try_for_each(|piece| write(group, *target, member.place, piece))?;
                let range = member.place;
                target.flush().map_err(|source| failed(group, range, source))?;
            }
        }
    }
    Ok(())
}

fn write(group: &GroupPlan, target: &dyn WriteAt, place: ByteRange, piece: &lvm::Piece) -> Result<(), Error> {
    let start = place.start().checked_add(piece.at);
    let range = start.and_then(|start| ByteRange::at(start, u64_from(piece.bytes.len())));
    let range = range.filter(|range| place.contains(*range)).ok_or_else(|| {
        let fact = "its description does not fit in front of its extents".to_owned();
        Error::Corrupt { what: group.group.name.clone(), fact }
    })?;
    target.write_at(range.start(), &piece.bytes).map_err(|source| failed(group, range, source))
}

fn failed(group: &GroupPlan, range: ByteRange, source: io::Error) -> Error {
    Error::Write { what: format!("describing the volume group {}", group.group.name), range, source }
}
