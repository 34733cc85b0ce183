//! Which volumes may become smaller than they were captured ("don't shrink volumes").
//!
//! What may not is planned as if its file system had no smaller size than its volume: so every layout, and every volume
//! that goes into a place that is there, keeps to it. A physical volume holds nothing of its own; it needs what its
//! logical volumes need, and gives away the extents that none of them has.

use super::captured::Captured;
use super::deploy::{DeployOptions, DeployPlan};
use super::refusal::{Part, Refusal};
use super::{sizing, standard};
use crate::schema::{Content, Disk, FileSystem, Layout, Role, Volume, VolumeGroup};
use serde::Serialize;
use std::borrow::Cow;

/// The volumes that may become smaller than they were captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shrinking {
    /// All of which a tool can make the file system smaller.
    #[default]
    All,
    /// Those that are not logical volumes.
    NotLogical,
    /// None.
    None,
}

impl Shrinking {
    /// By whether volumes may shrink, and logical volumes.
    #[must_use]
    pub const fn of(volumes: bool, logical: bool) -> Self {
        match (volumes, logical) {
            (false, _) => Self::None,
            (true, false) => Self::NotLogical,
            (true, true) => Self::All,
        }
    }

    pub(super) fn is_usual(&self) -> bool {
        *self == Self::All
    }

    /// What a person is told of it.
    pub(super) const fn sentence(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::NotLogical => {
                Some("No logical volume becomes smaller than it was captured, as was asked for.")
            }
            Self::None => Some("No volume becomes smaller than it was captured, as was asked for."),
        }
    }

    const fn spares(self, role: Role) -> bool {
        match self {
            Self::All => false,
            Self::NotLogical => matches!(role, Role::Logical { .. }),
            Self::None => true,
        }
    }
}

/// An image in which every volume says the least size that it may have.
pub(super) struct Unshrunk<'a> {
    disks: Cow<'a, [Disk]>,
    groups: Cow<'a, [VolumeGroup]>,
}

impl Unshrunk<'_> {
    pub(super) fn as_captured(&self) -> Captured<'_> {
        Captured { disks: &self.disks, groups: &self.groups }
    }
}

/// Raises the least sizes of the volumes that may not become smaller.
pub(super) fn unshrunk(captured: Captured<'_>, shrinking: Shrinking) -> Unshrunk<'_> {
    let Captured { disks, groups } = captured;
    let (mut disks, mut groups) = (Cow::Borrowed(disks), Cow::Borrowed(groups));
    let spare = |volume: &mut Volume| {
        let Volume { role, size_bytes, content, .. } = volume;
        if let Content::FileSystem(FileSystem { minimum_bytes, .. }) = content
            && shrinking.spares(*role)
        {
            *minimum_bytes = *size_bytes;
        }
    };
    if shrinking == Shrinking::None {
        disks.to_mut().iter_mut().flat_map(|disk| &mut disk.volumes).for_each(spare);
    }
    if shrinking != Shrinking::All {
        let logical = groups.to_mut().iter_mut().flat_map(|group| &mut group.logical_volumes);
        logical.for_each(|logical| spare(&mut logical.volume));
    }
    Unshrunk { disks, groups }
}

/// What a plan says of logical volumes is what was captured.
pub(super) fn describe_as_captured(plan: &mut DeployPlan, captured: Captured<'_>) {
    for logical in plan.groups.iter_mut().flat_map(|group| &mut group.group.logical_volumes) {
        if let Some(volume) = captured.volumes().find(|volume| volume.name == logical.volume.name) {
            logical.volume.content.clone_from(&volume.content);
        }
    }
}

/// A refusal for want of space says where it is that the volume could have become smaller.
pub(super) fn with_reason(refusal: Refusal, captured: Captured<'_>, options: &DeployOptions) -> Refusal {
    let (shrinking, mut refusal) = (options.shrinking, refusal);
    if let Refusal::TooSmall { disk, part, reason, .. } = &mut refusal {
        let of_disk = captured.disks.iter().filter(|source| source.number == *disk);
        let mut volumes = of_disk.flat_map(|source| &source.volumes);
        let volume = volumes.find(|volume| match (*part, volume.role) {
            // The numbers are those of a fresh installation, where the system is what could have become smaller.
            _ if options.layout == Layout::Standard => {
                standard::system(captured.disks, options).is_ok_and(|(_, system)| system == *volume)
            }
            (Part::Partition(wanted), Role::Partition { number }) => wanted == number,
            (Part::WholeDisk, Role::WholeDisk) => true,
            _ => false,
        });
        let could = |volume: &Volume| match volume.content {
            Content::PhysicalVolume(_) => !shrinking.is_usual(),
            _ => shrinking.spares(volume.role) && sizing::minimum_bytes(volume) < volume.size_bytes,
        };
        if volume.is_some_and(could) {
            let what = if shrinking == Shrinking::None { "volumes" } else { "logical volumes" };
            *reason = Some(format!("{what} are not to become smaller"));
        }
    }
    refusal
}
