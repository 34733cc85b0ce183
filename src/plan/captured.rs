//! What an image holds, as the planner sees it.

use crate::image::Manifest;
use crate::schema::{Disk, Volume, VolumeGroup};

/// The disks of an image, and the volume groups on them.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// The disks.
    pub disks: &'a [Disk],
    /// The volume groups whose logical volumes were captured one by one.
    pub groups: &'a [VolumeGroup],
}

impl<'a> Captured<'a> {
    /// Every volume: those of the disks, and the logical ones.
    pub fn volumes(self) -> impl Iterator<Item = &'a Volume> {
        let of_disks = self.disks.iter().flat_map(|disk| &disk.volumes);
        of_disks.chain(self.groups.iter().flat_map(VolumeGroup::volumes))
    }
}

impl<'a> From<&'a Manifest> for Captured<'a> {
    fn from(manifest: &'a Manifest) -> Self {
        Self { disks: &manifest.disks, groups: &manifest.volume_groups }
    }
}

impl<'a> From<&'a [Disk]> for Captured<'a> {
    fn from(disks: &'a [Disk]) -> Self {
        Self { disks, groups: &[] }
    }
}

impl<'a> From<&'a Vec<Disk>> for Captured<'a> {
    fn from(disks: &'a Vec<Disk>) -> Self {
        disks.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [Disk; N]> for Captured<'a> {
    fn from(disks: &'a [Disk; N]) -> Self {
        disks.as_slice().into()
    }
}
