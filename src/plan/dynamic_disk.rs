//! Dynamic disks of Windows: the database of their group counts from the start of the disk, so everything stays at its place. On an
//! MBR disk that is larger, the database moves to the new end, where Windows puts it.

use super::captured::Captured;
use super::deploy::DeployPlan;
use super::refusal::Refusal;
use super::step::Step;
use crate::machine::MachineDisk;
use crate::schema::{Disk, FileSystemKind, Role, Volume};
use crate::units::SectorSize;

/// What ties partitions to their places: a clause.
pub(super) const COUNTS: &str =
    "it is part of a Windows dynamic disk, whose database counts from the start of the disk";

/// True for a volume that is a part of a dynamic disk, captured by what is used of it or raw.
pub(super) fn is_part(volume: &Volume) -> bool {
    volume.content.file_system().is_some_and(|found| found.kind == FileSystemKind::LogicalDiskManager)
}

/// True for an MBR disk that is dynamic: all of it is one volume.
pub(super) fn is_whole(volume: &Volume) -> bool {
    volume.role == Role::WholeDisk && is_part(volume)
}

/// Refuses a target on which the database of an MBR disk could not move to the end: nothing was known of its header, which names the
/// place, when the disk was captured raw.
pub(super) fn check_target(disk: &Disk, volume: &Volume, target: &MachineDisk) -> Result<(), Refusal> {
    let has_header = volume.content.file_system().is_some_and(|found| found.uuid.is_some());
    let is_readable = has_header && disk.logical_sector_bytes == SectorSize::B512;
    if is_readable || target.size_bytes <= volume.size_bytes {
        return Ok(());
    }
    Err(Refusal::DynamicDiskUnread {
        disk: disk.number,
        disk_bytes: volume.size_bytes,
        target: target.path.clone(),
        target_bytes: target.size_bytes,
    })
}

/// The parts of a disk that `only` leaves out though it names others of them: what one names, and the other lacks, is nothing.
pub(super) fn torn(disk: &Disk, only: &[String]) -> Option<(String, Vec<String>)> {
    let parts = disk.volumes.iter().filter(|volume| is_part(volume)).map(|volume| volume.name.clone());
    let (named, missing): (Vec<String>, Vec<String>) = parts.partition(|name| only.contains(name));
    Some((named.into_iter().next()?, missing)).filter(|(_, missing)| !missing.is_empty())
}

/// Refuses another place than that on its own disk.
pub(super) fn refuse_elsewhere(volume: &Volume) -> Result<(), Refusal> {
    if is_part(volume) {
        let reason = format!("{COUNTS}; deploy the whole disk");
        return Err(Refusal::NotRestorable { volume: volume.name.clone(), reason });
    }
    Ok(())
}

/// What a person should know about one disk of an image, of which others stay `without`.
pub(super) fn warnings(disk: &Disk, disks: &[Disk], without: &[u32], new_ids: bool) -> Vec<String> {
    let Some(group) = group_of(disk) else { return Vec::new() };
    let missing =
        disks.iter().filter(|other| without.contains(&other.number) && group_of(other) == Some(group));
    let mut warnings: Vec<String> = missing
        .map(|other| {
            format!(
                "Disk {} of the image is of the same group of Windows dynamic disks as disk {}, and is not deployed: Windows shows it as \
                 missing.",
                other.number, disk.number
            )
        })
        .collect();
    if new_ids {
        warnings.push(format!(
            "Disk {} keeps its identifiers within the group of Windows dynamic disks \"{group}\", and so does the group.",
            disk.number
        ));
    }
    warnings
}

fn group_of(disk: &Disk) -> Option<&str> {
    let part = disk.volumes.iter().find(|volume| is_part(volume))?;
    part.content.file_system()?.label.as_deref()
}

/// The database of every MBR disk that got larger moves to its end.
pub(super) fn steps(captured: Captured<'_>, plan: &DeployPlan) -> Vec<Step> {
    let mut steps = Vec::new();
    for disk in &plan.disks {
        let source = captured.disks.iter().find(|source| Some(source.number) == disk.source_number);
        for planned in &disk.volumes {
            let volume =
                source.and_then(|source| source.volumes.iter().find(|volume| volume.name == planned.volume));
            if volume.is_some_and(|volume| is_whole(volume) && disk.target.size_bytes > volume.size_bytes) {
                let (target, volume) = (disk.target.path.clone(), planned.volume.clone());
                steps.push(Step::DynamicDisk { target, volume });
            }
        }
    }
    steps
}
