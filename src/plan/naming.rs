//! Which volumes are looked into for a system that gets a name.

use super::captured::Captured;
use super::deploy::{DeployPlan, VolumeAction, VolumePlan};
use super::step::Step;
use crate::schema::{Content, FileSystemKind};
use serde::Serialize;

/// A volume that may hold a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedVolume {
    /// Path of the target that it, or the first physical volume of its group, is on.
    pub target: String,
    /// Its name.
    pub volume: String,
    /// Its file system.
    pub file_system: FileSystemKind,
}

/// The step that gives the systems on the targets a name, where one is wished for.
pub(super) fn steps(captured: Captured<'_>, plan: &DeployPlan, name: Option<&String>) -> Option<Step> {
    let named = |target: &str, planned: &VolumePlan| {
        let volume = captured.volumes().find(|volume| volume.name == planned.volume)?;
        let Content::FileSystem(found) = &volume.content else { return None };
        let is_looked_into = planned.action == VolumeAction::Write && may_hold_a_system(found.kind);
        let (target, volume) = (target.to_owned(), planned.volume.clone());
        is_looked_into.then_some(NamedVolume { target, volume, file_system: found.kind })
    };
    let mut volumes = Vec::new();
    for disk in &plan.disks {
        volumes.extend(disk.volumes.iter().filter_map(|planned| named(&disk.target.path, planned)));
    }
    let logical = plan.logical_volumes();
    volumes.extend(logical.iter().filter_map(|logical| named(logical.target(plan), logical.planned)));
    Some(Step::ComputerName { name: name?.clone(), volumes })
}

const fn may_hold_a_system(kind: FileSystemKind) -> bool {
    use FileSystemKind::{Btrfs, Ext2, Ext3, Ext4, Ntfs, Xfs};
    matches!(kind, Ext2 | Ext3 | Ext4 | Xfs | Btrfs | Ntfs)
}
