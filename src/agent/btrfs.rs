//! btrfs on several devices, wherever on inspected disks and in their volume groups they are.

use super::disks::Inspected;
use super::replay::LogicalSources;
use crate::blockio::ReadAt;
use crate::inspect::{self, BtrfsDevice, GroupInspection, Inspection};
use crate::linux;
use crate::schema::{Disk, FileSystemKind};
use crate::units::RangeSet;

/// A disk, the used maps of its volumes, and what is read of it.
pub(super) type DiskMaps<'a> = (&'a mut Disk, &'a mut [Option<RangeSet>], &'a dyn ReadAt);

/// Looks at all such devices together. `logical` has what is read of the logical volumes; `only` names the volumes that are
/// wanted, empty for all.
pub(super) fn read_together<'a>(
    disks: impl Iterator<Item = DiskMaps<'a>>,
    groups: &'a mut [GroupInspection],
    logical: &'a [LogicalSources<'_>],
    only: &'a [String],
) {
    let mut devices: Vec<BtrfsDevice<'a>> = Vec::new();
    for (disk, used, source) in disks {
        devices.extend(inspect::btrfs_on_disk(disk, used, source, only));
    }
    for found in groups {
        let number = found.group.number;
        let sources = logical.iter().find(|(group, _)| *group == number);
        let sources = sources.map(|(_, sources)| sources.as_slice()).unwrap_or_default();
        let all = found.group.is_wanted_whole(only);
        for ((volume, used), source) in
            found.group.logical_volumes.iter_mut().zip(&mut found.used).zip(sources)
        {
            let is_chosen = all || only.contains(&volume.volume.name);
            if let Some(source) = source {
                devices.extend(inspect::btrfs_on_logical(volume, used, source, is_chosen));
            }
        }
    }
    inspect::read_btrfs(devices);
}

/// What is read of the logical volumes of groups on some disks, where one of them is such a device.
fn logical_sources<'a>(
    groups: &[GroupInspection],
    disks: &[(Disk, &'a dyn ReadAt)],
) -> Vec<LogicalSources<'a>> {
    let is_device = |found: &&GroupInspection| {
        let mut kinds = found.group.volumes().filter_map(|volume| volume.content.file_system());
        kinds.any(|found| found.kind == FileSystemKind::BtrfsSet)
    };
    let disks: Vec<(&Disk, &'a dyn ReadAt)> = disks.iter().map(|(disk, source)| (disk, *source)).collect();
    let open = |found: &GroupInspection| {
        let volumes = found.group.logical_volumes.iter();
        let sources =
            volumes.map(|volume| inspect::open_logical(&found.group, volume, &disks, &linux::KernelVolumes));
        (found.group.number, sources.collect())
    };
    groups.iter().filter(is_device).map(open).collect()
}

/// Looks at those on inspected disks, all of them wanted.
pub(super) fn read_inspected(inspected: &mut Inspected, sources: &[&dyn ReadAt]) {
    let disks = inspected.disks.iter().zip(sources);
    let opened: Vec<(Disk, &dyn ReadAt)> =
        disks.map(|(disk, source)| (disk.inspection.disk.clone(), *source)).collect();
    let logical = logical_sources(&inspected.groups, &opened);
    let disks = inspected.disks.iter_mut().zip(sources).map(|(disk, source)| -> DiskMaps<'_> {
        let Inspection { disk, used, .. } = &mut disk.inspection;
        (disk, used, *source)
    });
    read_together(disks, &mut inspected.groups, &logical, &[]);
}
