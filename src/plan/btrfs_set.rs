//! btrfs on several devices: each device comes back at its size, nothing is changed in it, and it is of use together with the
//! others only.

use super::captured::Captured;
use super::deploy::{DeployOptions, DeployPlan, DiskPlan, VolumeAction, VolumePlan};
use super::refusal::Refusal;
use crate::schema::{BootLoaderChoice, Disk, FileSystem, FileSystemKind, Volume};
use std::collections::BTreeMap;

/// True for a disk of the image that has a device of such a file system, captured by what is used of it or raw.
pub(super) fn is_on(disk: &Disk) -> bool {
    disk.volumes.iter().any(is_device)
}

fn is_device(volume: &Volume) -> bool {
    volume.content.file_system().is_some_and(|found| found.kind == FileSystemKind::BtrfsSet)
}

/// Says of each such file system what a person should know: what must not be attached when it is mounted, and that what is wished
/// for does not reach it.
///
/// # Errors
/// A refusal where some of its devices are deployed and others are not. What is left of those on the machine, from an earlier
/// deploy of the same image, has the same identifiers: Linux joins it with the new ones and takes the superblock of whichever is
/// newest (kernel, `device_list_add` and `open_fs_devices` in `fs/btrfs/volumes.c`).
pub(super) fn judge(
    captured: Captured<'_>,
    plan: &mut DeployPlan,
    options: &DeployOptions,
) -> Result<(), Refusal> {
    let mut systems: BTreeMap<&str, Vec<&Volume>> = BTreeMap::new();
    for volume in captured.volumes().filter(|volume| is_device(volume)) {
        if let Some(uuid) = volume.content.file_system().and_then(|found| found.uuid.as_deref()) {
            systems.entry(uuid).or_default().push(volume);
        }
    }
    let mut written: BTreeMap<String, u32> = BTreeMap::new();
    {
        let logical = plan.logical_volumes();
        let of_disks = plan.disks.iter().flat_map(|disk| &disk.volumes);
        let all = of_disks.chain(logical.iter().map(|logical| logical.planned));
        for planned in all.filter(|planned| is_written(planned)) {
            let count = written.entry(planned.volume.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }
    for volumes in systems.into_values() {
        let (there, missing): (Vec<&Volume>, Vec<&Volume>) =
            volumes.iter().partition(|volume| written.contains_key(&volume.name));
        let Some(first) = there.first() else { continue };
        if !missing.is_empty() {
            return Err(Refusal::PartOfBtrfs {
                label: label(first),
                deployed: names(&there),
                missing: names(&missing),
            });
        }
        let mut warnings = vec![format!(
            "Do not mount the btrfs{} on {} while the captured disks or another copy of them are attached: Linux takes all that has \
             its identifiers for one file system, and what it writes then parts both.",
            label(first),
            names(&there)
        )];
        let several: Vec<&Volume> = there
            .iter()
            .filter(|volume| written.get(&volume.name).is_some_and(|count| *count > 1))
            .copied()
            .collect();
        if !several.is_empty() {
            warnings.push(format!(
                "{} of it {} deployed several times: leave one copy in the machine and take the others out before it is mounted.",
                names(&several),
                if several.len() == 1 { "is" } else { "are" }
            ));
        }
        if wishes(options) {
            warnings.push(format!(
                "Nothing is changed in the btrfs{} on {}, which has several devices: names, keys and identifiers do not follow \
                 in it.",
                label(first),
                names(&there)
            ));
        }
        let has_first = |disk: &DiskPlan| disk.volumes.iter().any(|planned| planned.volume == first.name);
        let position = plan.disks.iter().position(has_first).unwrap_or(0);
        if let Some(disk) = plan.disks.get_mut(position) {
            disk.warnings.extend(warnings);
        }
    }
    Ok(())
}

fn is_written(planned: &VolumePlan) -> bool {
    planned.action == VolumeAction::Write
}

/// True where something is wished for that concerns the content of file systems.
fn wishes(options: &DeployOptions) -> bool {
    options.new_ids
        || options.computer_name.is_some()
        || options.new_ssh_host_keys
        || options.boot_loader == BootLoaderChoice::Install
}

fn label(volume: &Volume) -> String {
    let label = volume.content.file_system().and_then(|found: &FileSystem| found.label.as_deref());
    label.map(|label| format!(" \"{label}\"")).unwrap_or_default()
}

fn names(volumes: &[&Volume]) -> String {
    volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>().join(" and ")
}
