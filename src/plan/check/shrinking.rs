//! No volume is smaller than it was captured where that was not wanted.

use super::Fault;
use crate::plan::captured::Captured;
use crate::plan::deploy::{DeployPlan, VolumePlan};
use crate::plan::shrinking::Shrinking;
use crate::schema::{Content, Role};

pub(super) fn check(plan: &DeployPlan, captured: Captured<'_>, faults: &mut Vec<Fault>) {
    let of_disks = plan.disks.iter().flat_map(|disk| &disk.volumes);
    let of_groups = plan.groups.iter().flat_map(|group| &group.volumes);
    let existing = plan.existing_groups.iter().flat_map(|group| &group.volumes).map(|into| &into.planned);
    for VolumePlan { volume, place, .. } in of_disks.chain(of_groups).chain(existing) {
        let Some(source) = captured.volumes().find(|source| source.name == *volume) else { continue };
        let spared = match plan.shrinking {
            Shrinking::All => false,
            Shrinking::NotLogical => matches!(source.role, Role::Logical { .. }),
            Shrinking::None => true,
        };
        let is_shrunk =
            matches!(source.content, Content::FileSystem(_)) && place.length() < source.size_bytes;
        if spared && is_shrunk {
            let (has_bytes, captured_bytes) = (place.length(), source.size_bytes);
            faults.push(Fault::Shrunk { volume: volume.clone(), has_bytes, captured_bytes });
        }
    }
}
