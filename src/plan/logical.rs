//! The logical volumes that a plan writes, whether their group is made anew or stands on the targets.

use super::deploy::{DeployPlan, VolumePlan};
use super::group::MemberPlan;
use crate::blockio::Stretch;
use crate::filesystem::lvm;
use crate::schema::{LogicalVolume, VolumeGroup};
use crate::units::SectorSize;

/// A logical volume that is written.
#[derive(Debug, Clone, Copy)]
pub struct PlannedLogical<'a> {
    /// What is written to it; its place is counted from its own start.
    pub planned: &'a VolumePlan,
    /// The volume as it is on the targets.
    pub logical: &'a LogicalVolume,
    /// Its group there.
    pub group: &'a VolumeGroup,
    /// Where the group's physical volumes lie.
    pub members: &'a [MemberPlan],
    /// True where it stands there before the deploy.
    pub exists: bool,
}

impl DeployPlan {
    /// Every logical volume that is written.
    #[must_use]
    pub fn logical_volumes(&self) -> Vec<PlannedLogical<'_>> {
        let new = self.groups.iter().flat_map(|plan| {
            let (group, members) = (&plan.group, plan.members.as_slice());
            let volumes = plan.volumes.iter().zip(&group.logical_volumes);
            volumes.map(move |(planned, logical)| PlannedLogical {
                planned,
                logical,
                group,
                members,
                exists: false,
            })
        });
        let existing = self.existing_groups.iter().flat_map(|plan| {
            let (group, members) = (&plan.group, plan.members.as_slice());
            plan.volumes.iter().filter_map(move |into| {
                let logical =
                    group.logical_volumes.iter().find(|logical| logical.volume.name == into.logical)?;
                Some(PlannedLogical { planned: &into.planned, logical, group, members, exists: true })
            })
        });
        new.chain(existing).collect()
    }
}

impl PlannedLogical<'_> {
    /// Where it lies on the disks of the plan; `None` where it does not.
    #[must_use]
    pub fn stretches(&self) -> Option<Vec<Stretch>> {
        stretches(self.group, self.members, self.logical)
    }

    /// What LVM calls it: `GROUP/VOLUME`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.group.name, self.logical.name)
    }

    /// The largest sectors of the disks that its group is on.
    #[must_use]
    pub fn sector(&self, plan: &DeployPlan) -> SectorSize {
        let targets = self.members.iter().filter_map(|member| plan.disks.get(member.disk));
        targets.map(|disk| disk.target.logical_sector_bytes).max().unwrap_or(SectorSize::B512)
    }

    /// Path of the target that the first physical volume of its group is on.
    #[must_use]
    pub fn target<'p>(&self, plan: &'p DeployPlan) -> &'p str {
        let first = self.members.first().and_then(|member| plan.disks.get(member.disk));
        first.map_or("", |disk| disk.target.path.as_str())
    }
}

/// Where a logical volume lies whose group's physical volumes are these.
pub(super) fn stretches(
    group: &VolumeGroup,
    members: &[MemberPlan],
    logical: &LogicalVolume,
) -> Option<Vec<Stretch>> {
    let physical = members.iter().zip(&group.physical_volumes);
    let origins: Option<Vec<(usize, u64)>> = physical
        .map(|(member, physical)| {
            Some((member.disk, member.place.start().checked_add(physical.start_bytes)?))
        })
        .collect();
    lvm::stretches(&logical.segments, group.extent_bytes, &origins?)
}
