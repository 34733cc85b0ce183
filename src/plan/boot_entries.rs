//! The boot entries of this machine's firmware: of which targets they follow, and what they are to name.
//!
//! Which entries there are, and what the deployed EFI system partition holds, is seen when it is deployed;
//! [`crate::uefi`] has the rules.

use super::captured::Captured;
use super::deploy::{DeployOptions, DiskPlan, NewContent, VolumeAction};
use super::keep::{self, Stays};
use super::step::Step;
use crate::machine::{DiskKind, MachineDisk};
use crate::partition::kinds::PartitionType;
use crate::schema::{Disk, Firmware, Role, Table};
use crate::uefi::{Followed, HardDrive, PartitionId, hard_drives};
use crate::units::ByteRange;
use serde::Serialize;

/// The entries that follow one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootEntries {
    /// Path of the target.
    pub target: String,
    /// Number of its EFI system partition.
    pub partition: u32,
    /// The bytes of that.
    pub place: ByteRange,
    /// What a firmware calls it.
    pub efi_system: HardDrive,
    /// The partitions that were deployed.
    pub followed: Vec<Followed>,
    /// True: what starts from there comes first in the order, before the network too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
}

/// The targets whose boot entries follow: each disk of the image once, where this machine was started with UEFI, and
/// the target is one that a firmware starts from and that stays in it.
pub(super) fn plan(captured: Captured<'_>, plans: &[DiskPlan], options: &DeployOptions) -> Vec<BootEntries> {
    if options.keep_boot_entries || options.started_by != Some(Firmware::Uefi) {
        return Vec::new();
    }
    let mut entries = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        let is_copy = plans.iter().take(index).any(|other| other.source_number == plan.source_number);
        let source = captured.disks.iter().find(|disk| Some(disk.number) == plan.source_number);
        let Some(source) = source.filter(|_| !is_copy && stays_in_the_machine(&plan.target)) else {
            continue;
        };
        let of_disk = of_disk(source, plan);
        entries.extend(of_disk.map(|of_disk| BootEntries { first: options.boot_first, ..of_disk }));
    }
    entries
}

/// The steps that have the fallback path start what is deployed.
pub(super) fn steps(entries: &[BootEntries]) -> Vec<Step> {
    let step = |entries: &BootEntries| Step::FallbackLoader {
        target: entries.target.clone(),
        partition: entries.partition,
        place: entries.place,
    };
    entries.iter().map(step).collect()
}

/// A stick goes to other machines, which start it by the fallback path.
fn stays_in_the_machine(disk: &MachineDisk) -> bool {
    let passing =
        disk.transport.as_deref().is_some_and(|transport| matches!(transport, "usb" | "loop" | "file"));
    disk.kind == DiskKind::Device && !disk.removable && !passing
}

fn of_disk(source: &Disk, plan: &DiskPlan) -> Option<BootEntries> {
    if matches!(plan.stays, Stays::Table { .. }) {
        return None;
    }
    let staying = plan.staying();
    let drives: Vec<HardDrive> = hard_drives(&plan.table)
        .into_iter()
        .filter(|drive| !staying.contains(&drive.partition_number))
        .collect();
    let is_filled = |drive: &&HardDrive| {
        let number = drive.partition_number;
        let mut written = plan.volumes.iter().filter(|volume| volume.action == VolumeAction::Write);
        written.any(|volume| volume.partition == Some(number)) || is_made(plan, number)
    };
    let efi = efi_system_partitions(&plan.table);
    let efi_system = *drives.iter().filter(is_filled).find(|drive| efi.contains(&drive.partition_number))?;
    let partition = efi_system.partition_number;
    let places = keep::places(&plan.table, plan.target.logical_sector_bytes);
    let (_, place) = places.into_iter().find(|(number, _)| *number == partition)?;
    let old = hard_drives(&source.table);
    let was = |drive: &HardDrive| captured_as(source, plan, &old, drive.partition_number);
    let followed = drives.iter().map(|drive| Followed { was: was(drive), is: *drive }).collect();
    Some(BootEntries {
        target: plan.target.path.clone(),
        partition,
        place,
        efi_system,
        followed,
        first: false,
    })
}

/// What a partition was called on the captured disk. A new EFI system partition stands for the captured one.
fn captured_as(source: &Disk, plan: &DiskPlan, old: &[HardDrive], number: u32) -> Option<PartitionId> {
    let planned = plan.volumes.iter().find(|volume| volume.partition == Some(number));
    let volume =
        planned.and_then(|planned| source.volumes.iter().find(|volume| volume.name == planned.volume));
    let was = match volume.map(|volume| volume.role) {
        Some(Role::Partition { number }) => number,
        _ if is_made(plan, number) => *efi_system_partitions(&source.table).first()?,
        _ => return None,
    };
    old.iter().find(|drive| drive.partition_number == was).map(|drive| drive.id)
}

fn is_made(plan: &DiskPlan, number: u32) -> bool {
    let fat = |content| matches!(content, NewContent::Fat32 { .. });
    plan.made.iter().any(|new| new.partition == number && fat(new.content))
}

/// Numbers of the partitions of this type.
pub(super) fn efi_system_partitions(table: &Table) -> Vec<u32> {
    let kinds: Vec<(u32, PartitionType)> = match table {
        Table::Gpt(gpt) => {
            gpt.partitions.iter().map(|entry| (entry.number, PartitionType::Gpt(entry.type_guid))).collect()
        }
        Table::Mbr(mbr) => {
            mbr.partitions.iter().map(|entry| (entry.number, PartitionType::Mbr(entry.type_code))).collect()
        }
        Table::None => Vec::new(),
    };
    kinds.into_iter().filter(|(_, kind)| kind.is_efi_system()).map(|(number, _)| number).collect()
}
