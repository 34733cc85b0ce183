//! Which targets need a boot loader that is installed when their tables are written, because that of the image would not
//! start from there, or because a person asks for it.
//!
//! A BIOS starts code in sector 0. That of GRUB (`boot.img`) notes the sector of the rest of it, which lies between the table and
//! the first partition, in a BIOS boot partition, or in a file: where that is somewhere else now, nothing starts.

use super::boot_entries::efi_system_partitions;
use super::captured::Captured;
use super::deploy::{DeployOptions, DiskPlan, VolumeAction, VolumePlan};
use super::identity;
use super::keep::{self, Stays};
use super::settings::may_hold_a_linux;
use super::special::Special;
use crate::schema::{BootLoaderChoice, Disk, Firmware, Layout, Role, Table};
use crate::units::{ByteRange, Lba, MIB, SectorSize};
use serde::Serialize;
use std::fmt;

/// Bytes of sector 0 that are code.
const CODE_BYTES: usize = 440;
/// What stands in `boot.img`, whichever version.
const NAME: &[u8] = b"GRUB ";
/// In `boot.img`: the sector of the rest (`GRUB_BOOT_MACHINE_KERNEL_SECTOR` of `include/grub/i386/pc/boot.h`).
const REST_AT: usize = 0x5C;

/// A target on which the deployed system installs its boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootLoader {
    /// Path of the target.
    pub target: String,
    /// Why, where nobody asked for it: a sentence.
    pub why: Option<String>,
    /// True: the table has a place for one that a BIOS starts.
    pub bios: bool,
    /// The EFI system partition for one that UEFI starts.
    pub efi_system: Option<u32>,
    /// Numbers and bytes of the partitions.
    pub partitions: Vec<(u32, ByteRange)>,
    /// What Linux calls them by (PARTUUID), in the same order.
    pub partition_ids: Vec<(u32, Option<String>)>,
    /// Numbers of those that are written, one of which holds the system, with the names of their volumes.
    pub written: Vec<(u32, String)>,
}

/// The targets of a plan that need one.
pub(super) fn plan(captured: Captured<'_>, plans: &[DiskPlan], options: &DeployOptions) -> Vec<BootLoader> {
    let of_disk = |plan: &DiskPlan| {
        let source = captured.disks.iter().find(|disk| Some(disk.number) == plan.source_number)?;
        let why = match options.boot_loader {
            BootLoaderChoice::Keep => return None,
            BootLoaderChoice::Install => None,
            BootLoaderChoice::Auto => Some(reason(source, plan, options)?),
        };
        let partitions = keep::places(&plan.table, plan.target.logical_sector_bytes);
        let id = |(number, _): &(u32, ByteRange)| (*number, identity::partition_id(&plan.table, *number));
        let partition_ids = partitions.iter().map(id).collect();
        let written = plan.volumes.iter().filter(|volume| volume.action == VolumeAction::Write);
        let written = written.filter_map(|volume| Some((volume.partition?, volume.volume.clone())));
        let efi_system = efi_system_partitions(&plan.table).first().copied();
        Some(BootLoader {
            target: plan.target.path.clone(),
            bios: has_place(plan),
            // What does not start a BIOS is no reason to touch what UEFI starts.
            efi_system: efi_system.filter(|_| why.is_none()),
            why,
            partitions,
            partition_ids,
            written: written.collect(),
        })
    };
    let may_hold_one = |loader: &BootLoader| {
        let mut planned = plans.iter().filter(|plan| plan.target.path == loader.target);
        planned.any(|plan| plan.volumes.iter().any(|volume| may_be_a_system(captured, volume)))
    };
    let mut loaders: Vec<BootLoader> = plans.iter().filter_map(of_disk).collect();
    // Beside the disk with the system, one with data needs none. Where no disk seems to have a system, the deploy says why not.
    if loaders.iter().any(may_hold_one) {
        loaders.retain(|loader| loader.why.is_some() || may_hold_one(loader));
    }
    loaders
}

/// Whether a volume may hold a Linux, or a part of a volume group that does.
fn may_be_a_system(captured: Captured<'_>, planned: &VolumePlan) -> bool {
    let volume = captured.volumes().find(|volume| volume.name == planned.volume);
    let kind = volume.and_then(|volume| volume.content.file_system()).map(|found| found.kind);
    match planned.action {
        VolumeAction::Write => kind.is_some_and(may_hold_a_linux),
        VolumeAction::MakePhysicalVolume => true,
        _ => false,
    }
}

/// Whether GRUB for a BIOS has a place on the target: the gap behind an MBR, or a BIOS boot partition.
fn has_place(plan: &DiskPlan) -> bool {
    let is_boot = |kind| Special::of_gpt(kind) == Some(Special::BiosBoot);
    plan.target.logical_sector_bytes == SectorSize::B512
        && match &plan.table {
            Table::Mbr(_) => true,
            Table::Gpt(gpt) => gpt.partitions.iter().any(|entry| is_boot(entry.type_guid)),
            Table::None => false,
        }
}

/// Why the captured GRUB would not start from a target that has a place for it.
fn reason(source: &Disk, plan: &DiskPlan, options: &DeployOptions) -> Option<String> {
    let starts_with_bios = options.started_by != Some(Firmware::Uefi);
    let has_own = plan.layout == Layout::Standard || matches!(plan.stays, Stays::Table { .. });
    let captured = code(&source.table);
    if !starts_with_bios || has_own || !has_place(plan) || !is_grub(captured) {
        return None;
    }
    let new = code(&plan.table);
    if new.iter().all(|byte| *byte == 0) {
        return Some("Its boot code is for another kind of table.".to_owned());
    }
    // A script may have written code of its own.
    if new != captured || source.logical_sector_bytes != SectorSize::B512 {
        return None;
    }
    let sector = captured.get(REST_AT..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))?;
    let rest = source.logical_sector_bytes.byte_of(Lba(sector))?;
    let rest = ByteRange::new(rest, rest.checked_add(SectorSize::B512.bytes())?);
    let places = keep::places(&source.table, source.logical_sector_bytes);
    match places.iter().find(|(_, place)| place.contains(rest)) {
        Some((number, place)) => {
            let role = Role::Partition { number: *number };
            let volume = source.volumes.iter().find(|volume| volume.role == role)?;
            let planned = plan.volumes.iter().find(|planned| planned.volume == volume.name);
            match planned {
                Some(planned) if planned.place.start() == place.start() => None,
                Some(_) => Some(format!("It lies in partition {number}, which begins somewhere else now.")),
                None => Some(format!("It lay in partition {number}, which is not deployed.")),
            }
        }
        None => {
            let area = source.volumes.iter().find(|volume| volume.role == Role::BootArea)?;
            let written = plan.volumes.iter().find_map(|planned| match planned.action {
                VolumeAction::WriteGap { gap } => Some(gap),
                _ => None,
            });
            // GRUB takes what it needs from the beginning of the gap, and never a MiB.
            let enough = area.size_bytes.min(MIB);
            let is_whole = written.is_some_and(|gap| gap.contains(rest) && gap.end() >= enough);
            (!is_whole).then(|| "There is less room for it in front of the first partition.".to_owned())
        }
    }
}

fn code(table: &Table) -> &[u8] {
    let bytes = match table {
        Table::Gpt(gpt) => gpt.boot_sector.0.as_slice(),
        Table::Mbr(mbr) => mbr.boot_code.0.as_slice(),
        Table::None => &[],
    };
    bytes.get(..CODE_BYTES).unwrap_or(bytes)
}

fn is_grub(code: &[u8]) -> bool {
    code.windows(NAME.len()).any(|window| window == NAME)
}

impl fmt::Display for BootLoader {
    /// A sentence, with the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GRUB is installed on {} by the deployed system's own grub-install.", self.target)?;
        self.why.iter().try_for_each(|why| write!(f, " {why}"))
    }
}
