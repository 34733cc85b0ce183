//! Logical volumes on the targets: written through their extents, without the kernel's help, and described when all of
//! them are there.

use super::Error;
use super::commit::ends;
use super::preflight::Prepared;
use super::volume::Site;
use crate::blockio::{Mapped, WriteAt};
use crate::filesystem::lvm;
use crate::machine::MachineDisk;
use crate::plan::{DeployPlan, GroupPlan, VolumePlan};
use crate::units::{ByteRange, SectorSize, u64_from};
use std::io;

/// A logical volume of a target.
pub(super) struct Logical<'a> {
    pub planned: &'a VolumePlan,
    /// How it is described to those who change its file system.
    pub disk: MachineDisk,
    mapped: Mapped<&'a dyn WriteAt>,
}

impl Logical<'_> {
    /// Where it is written.
    pub(super) fn site(&self) -> Site<'_> {
        Site {
            target: &self.mapped,
            sector: self.disk.logical_sector_bytes,
            in_a_table: false,
            // The whole disk was overwritten before, where that was asked for.
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

/// A logical volume as a disk, of the size that it will have.
pub(super) fn as_disk(plan: &DeployPlan, group: &GroupPlan, volume: &VolumePlan) -> MachineDisk {
    let targets = group.members.iter().filter_map(|member| plan.disks.get(member.disk));
    let sector = targets.map(|disk| disk.target.logical_sector_bytes).max().unwrap_or(SectorSize::B512);
    let name = group.group.logical_volumes.iter().find(|logical| logical.volume.name == volume.volume);
    let name = name.map_or(volume.volume.as_str(), |logical| logical.name.as_str());
    MachineDisk::new(format!("{}/{name}", group.group.name), volume.place.length(), sector)
}

/// Opens the logical volumes of a plan on its targets.
pub(super) fn open<'a>(plan: &'a DeployPlan, targets: &[&'a dyn WriteAt]) -> Result<Vec<Logical<'a>>, Error> {
    let mut opened = Vec::new();
    for group in &plan.groups {
        let physical = group.members.iter().zip(&group.group.physical_volumes);
        let origins: Option<Vec<(usize, u64)>> = physical
            .map(|(member, physical)| {
                Some((member.disk, member.place.start().checked_add(physical.start_bytes)?))
            })
            .collect();
        for (planned, logical) in group.volumes.iter().zip(&group.group.logical_volumes) {
            let stretches = origins
                .as_ref()
                .and_then(|origins| lvm::stretches(&logical.segments, group.group.extent_bytes, origins));
            let mapped = stretches.and_then(|stretches| Mapped::new(targets.to_vec(), stretches).ok());
            let mapped = mapped.ok_or_else(|| {
                let fact = "its extents do not lie on the targets".to_owned();
                Error::Corrupt { what: planned.volume.clone(), fact }
            })?;
            opened.push(Logical { planned, disk: as_disk(plan, group, planned), mapped });
        }
    }
    Ok(opened)
}

/// Writes labels and metadata: every label after all metadata of its group, so that what can be found is whole.
pub(super) fn describe(prepared: &Prepared<'_>, targets: &[&dyn WriteAt]) -> Result<(), Error> {
    for (group, descriptions) in prepared.plan.groups.iter().zip(prepared.descriptions()) {
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
