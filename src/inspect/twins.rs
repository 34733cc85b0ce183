//! File systems with the same UUID: whoever asks for one of them by its UUID, such as an fstab or a boot loader, gets either.

use super::Inspection;
use crate::schema::{Content, FileSystem, FileSystemKind, Volume};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be said of volumes whose UUID another one has: the position of each disk concerned, with a sentence. `only` names
/// the volumes that count; empty for all.
#[must_use]
pub fn twins(inspections: &[&Inspection], only: &[String]) -> Vec<(usize, String)> {
    let mut shared: BTreeMap<String, Vec<(usize, &str)>> = BTreeMap::new();
    let mut of_sets: BTreeMap<String, Vec<(usize, &str)>> = BTreeMap::new();
    for (position, inspection) in inspections.iter().enumerate() {
        for volume in inspection.disk.volumes.iter().filter(|v| only.is_empty() || only.contains(&v.name)) {
            if let Some(uuid) = own_uuid(volume) {
                shared.entry(uuid).or_default().push((position, &volume.name));
            } else if let Some(uuid) = uuid_of_a_set(volume) {
                of_sets.entry(uuid).or_default().push((position, &volume.name));
            }
        }
    }
    // A btrfs on one device that is a copy of one of several, from before the others were added or after they were removed.
    for (uuid, volumes) in &mut shared {
        volumes.extend(of_sets.remove(uuid).unwrap_or_default());
    }
    let mut said = Vec::new();
    for (uuid, volumes) in shared.into_iter().filter(|(_, volumes)| volumes.len() > 1) {
        let names: Vec<&str> = volumes.iter().map(|(_, name)| *name).collect();
        let sentence = format!(
            "The file systems {} have the same UUID {uuid}: what looks for it may find either. Give all but one a new \
             UUID, or capture only one of them with --only.",
            names.join(" and ")
        );
        let disks: BTreeSet<usize> = volumes.iter().map(|(position, _)| *position).collect();
        said.extend(disks.into_iter().map(|position| (position, sentence.clone())));
    }
    said
}

/// The UUID that a volume alone should have. Members of a set share one on purpose. A number of zeros alone is none.
fn own_uuid(volume: &Volume) -> Option<String> {
    let found: &FileSystem = match &volume.content {
        Content::Raw { file_system, .. } => file_system.as_ref().filter(|found| !is_shared(found.kind))?,
        Content::FileSystem(found) if is_shared(found.kind) => return None,
        Content::FileSystem(found) | Content::Swap(found) => found,
        Content::PhysicalVolume(_) | Content::LeftOut => return None,
    };
    written(found)
}

/// The UUID of a btrfs on several devices, which they share.
fn uuid_of_a_set(volume: &Volume) -> Option<String> {
    volume.content.file_system().filter(|found| found.kind == FileSystemKind::BtrfsSet).and_then(written)
}

fn written(found: &FileSystem) -> Option<String> {
    let uuid = found.uuid.as_deref()?.trim().to_lowercase();
    uuid.chars().any(|letter| letter.is_ascii_hexdigit() && letter != '0').then_some(uuid)
}

fn is_shared(kind: FileSystemKind) -> bool {
    use FileSystemKind::{
        Bcachefs, BtrfsSet, FirmwareRaid, LogicalDiskManager, LvmPhysicalVolume, MdMember, Zfs,
    };
    matches!(
        kind,
        Bcachefs | BtrfsSet | FirmwareRaid | LogicalDiskManager | LvmPhysicalVolume | MdMember | Zfs
    )
}
