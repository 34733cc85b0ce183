//! Members of MD arrays: which of them are not deployed with the others.

use super::deploy::DiskPlan;
use crate::filesystem::md;
use crate::schema::{Disk, FileSystemKind, Volume};
use std::collections::BTreeSet;

/// Says of each disk of a plan which members of the arrays on it are deployed nowhere, be it that their disks, their partitions
/// or they themselves are left out.
pub(super) fn warn(disks: &[Disk], plans: &mut [DiskPlan]) {
    let members: Vec<(&str, &str)> = disks.iter().flat_map(|disk| &disk.volumes).filter_map(member).collect();
    let deployed: BTreeSet<String> = plans.iter().flat_map(names).map(str::to_owned).collect();
    for plan in plans {
        let here: BTreeSet<&str> = names(plan).collect();
        let arrays: BTreeSet<&str> =
            members.iter().filter(|(_, name)| here.contains(name)).map(|(array, _)| *array).collect();
        let warnings: Vec<String> = arrays
            .into_iter()
            .filter_map(|array| {
                let all = members.iter().filter(|(own, _)| *own == array).map(|(_, name)| *name);
                let (there, missing): (Vec<&str>, Vec<&str>) = all.partition(|name| deployed.contains(*name));
                (!missing.is_empty()).then(|| warning(&there, &missing))
            })
            .collect();
        plan.warnings.extend(warnings);
    }
}

fn warning(there: &[&str], missing: &[&str]) -> String {
    format!(
        "Of the members of an MD array {} will be there, without {}: the array is degraded, and mdadm --assemble starts it with --run or \
         --scan only; a RAID 0 or a linear array does not start.",
        there.join(" and "),
        missing.join(" and ")
    )
}

fn names(plan: &DiskPlan) -> impl Iterator<Item = &str> {
    plan.volumes.iter().map(|volume| volume.volume.as_str())
}

/// The UUID of the array that a volume is a member of, and the name of the volume. A spare holds nothing, and is missed by nobody.
fn member(volume: &Volume) -> Option<(&str, &str)> {
    let found = volume.content.file_system()?;
    let is_member = found.kind == FileSystemKind::MdMember && !md::is_spare(found);
    Some((found.uuid.as_deref().filter(|_| is_member)?, &volume.name))
}
