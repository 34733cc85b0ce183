//! btrfs on several devices: each device comes back at its size, nothing is changed in it, and it is of use together with the
//! others only.

use super::captured::Captured;
use super::deploy::{DeployOptions, DeployPlan, DiskPlan, VolumeAction, VolumePlan};
use crate::schema::{BootLoaderChoice, FileSystem, FileSystemKind, Volume};
use std::collections::{BTreeMap, BTreeSet};

/// Says of each such file system what a person should know: that some of its devices are not deployed, and that what is wished for
/// does not reach it.
pub(super) fn warn(captured: Captured<'_>, plan: &mut DeployPlan, options: &DeployOptions) {
    let mut systems: BTreeMap<&str, Vec<&Volume>> = BTreeMap::new();
    for volume in captured.volumes() {
        let found = volume.content.file_system().filter(|found| found.kind == FileSystemKind::BtrfsSet);
        if let Some(uuid) = found.and_then(|found| found.uuid.as_deref()) {
            systems.entry(uuid).or_default().push(volume);
        }
    }
    let written: BTreeSet<String> = {
        let logical = plan.logical_volumes();
        let of_disks = plan.disks.iter().flat_map(|disk| &disk.volumes);
        let all = of_disks.chain(logical.iter().map(|logical| logical.planned));
        all.filter(|planned| is_written(planned)).map(|planned| planned.volume.clone()).collect()
    };
    for volumes in systems.into_values() {
        let (there, missing): (Vec<&Volume>, Vec<&Volume>) =
            volumes.iter().partition(|volume| written.contains(&volume.name));
        let Some(first) = there.first() else { continue };
        let mut warnings = Vec::new();
        if !missing.is_empty() {
            warnings.push(format!(
                "The btrfs{} has a device on {} too, which is not deployed: without all of its devices it is not mounted, or with \
                 -o degraded where everything is stored twice.",
                label(first),
                names(&missing)
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
