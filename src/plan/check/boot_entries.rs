//! What the boot entries of a firmware are to name is what the tables say.

use super::{DeployPlan, Fault};
use crate::plan::boot_entries::{BootEntries, efi_system_partitions};
use crate::plan::keep::{self, Stays};
use crate::uefi::hard_drives;

pub(super) fn check(plan: &DeployPlan, faults: &mut Vec<Fault>) {
    for (index, entries) in plan.boot_entries.iter().enumerate() {
        let twice = plan.boot_entries.iter().take(index).any(|other| other.target == entries.target);
        let what = if twice { Some("a target appears twice") } else { judge(plan, entries) };
        faults.extend(what.map(|what| Fault::BootEntries { target: entries.target.clone(), what }));
    }
}

fn judge(plan: &DeployPlan, entries: &BootEntries) -> Option<&'static str> {
    let Some(disk) = plan.disks.iter().find(|disk| disk.target.path == entries.target) else {
        return Some("it is no target of this plan");
    };
    let staying = disk.staying();
    if matches!(disk.stays, Stays::Table { .. }) || staying.contains(&entries.partition) {
        return Some("its EFI system partition stays as it is");
    }
    let drives = hard_drives(&disk.table);
    let places = keep::places(&disk.table, disk.target.logical_sector_bytes);
    if !entries.followed.iter().all(|followed| drives.contains(&followed.is))
        || !entries.followed.iter().any(|followed| followed.is == entries.efi_system)
    {
        return Some("they name a partition that is not in its table");
    }
    let is_efi = efi_system_partitions(&disk.table).contains(&entries.partition);
    let is_there = places.contains(&(entries.partition, entries.place));
    let is_same = entries.efi_system.partition_number == entries.partition;
    (!(is_efi && is_there && is_same))
        .then_some("they start from what is no EFI system partition of its table")
}
