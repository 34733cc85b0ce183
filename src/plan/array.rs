//! Members of MD arrays on several disks: what is missing where some of the disks are not deployed.

use crate::schema::{Disk, FileSystemKind};
use std::collections::BTreeSet;

/// What a person should know about one disk of an image, of which others stay `without`.
pub(super) fn warnings(disk: &Disk, disks: &[Disk], without: &[u32]) -> Vec<String> {
    let own = arrays(disk);
    let missing = disks
        .iter()
        .filter(|other| without.contains(&other.number) && arrays(other).intersection(&own).next().is_some());
    missing
        .map(|other| {
            format!(
                "Disk {} of the image has members of the same MD array as disk {}, and is not deployed: the array is degraded, and \
                 mdadm --assemble starts it with --run or --scan only; a RAID 0 or a linear array does not start.",
                other.number, disk.number
            )
        })
        .collect()
}

/// The arrays that volumes of a disk are members of, by their UUIDs.
fn arrays(disk: &Disk) -> BTreeSet<&str> {
    let found = disk.volumes.iter().filter_map(|volume| volume.content.file_system());
    found
        .filter(|found| found.kind == FileSystemKind::MdMember)
        .filter_map(|found| found.uuid.as_deref())
        .collect()
}
