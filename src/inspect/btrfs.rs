//! btrfs on several devices, over everything that is looked at together: partitions, whole disks and logical volumes.

use super::volume::{Understood, content};
use crate::blockio::{ReadAt, Window};
use crate::filesystem::{self, BtrfsSource};
use crate::schema::{Content, Disk, FileSystemKind, LogicalVolume, State, Volume};
use crate::units::{ByteRange, RangeSet};

/// A volume that is a device of a btrfs of several, or holds another btrfs that may have been one.
pub struct BtrfsDevice<'a> {
    volume: &'a mut Volume,
    used: &'a mut Option<RangeSet>,
    source: Box<dyn ReadAt + 'a>,
    is_chosen: bool,
}

fn is_device(volume: &Volume) -> bool {
    volume.content.file_system().is_some_and(|found| found.kind == FileSystemKind::BtrfsSet)
}

/// True where there may be a superblock of btrfs: also beside the signature of something else, which is unsupported.
fn may_be_btrfs(volume: &Volume) -> bool {
    use FileSystemKind::{Btrfs, BtrfsSet};
    let is_doubtful = matches!(volume.content, Content::Raw { .. });
    volume.content.file_system().is_some_and(|found| {
        matches!(found.kind, Btrfs | BtrfsSet) || (is_doubtful && found.state == State::Unsupported)
    })
}

/// Those on a disk, with the places of their used maps. `only` names the volumes that are wanted; empty for all.
pub fn btrfs_on_disk<'a>(
    disk: &'a mut Disk,
    used: &'a mut [Option<RangeSet>],
    source: &'a dyn ReadAt,
    only: &'a [String],
) -> impl Iterator<Item = BtrfsDevice<'a>> {
    let volumes = disk.volumes.iter_mut().zip(used).filter(|(volume, _)| may_be_btrfs(volume));
    volumes.filter_map(move |(volume, used)| {
        let window = Window::new(source, ByteRange::at(volume.start_bytes, volume.size_bytes)?).ok()?;
        let is_chosen = only.is_empty() || only.contains(&volume.name);
        Some(BtrfsDevice { volume, used, source: Box::new(window), is_chosen })
    })
}

/// One that is a logical volume, which `source` reads; `None` where it is none.
pub fn btrfs_on_logical<'a>(
    logical: &'a mut LogicalVolume,
    used: &'a mut Option<RangeSet>,
    source: &'a dyn ReadAt,
    is_chosen: bool,
) -> Option<BtrfsDevice<'a>> {
    let volume = &mut logical.volume;
    may_be_btrfs(volume).then(|| BtrfsDevice { volume, used, source: Box::new(source), is_chosen })
}

/// Finds out what is used of each. A device is captured by its map only together with all of its file system.
pub fn read_btrfs(devices: Vec<BtrfsDevice<'_>>) {
    if !devices.iter().any(|device| is_device(device.volume)) {
        return;
    }
    let sources: Vec<BtrfsSource<'_>> = devices
        .iter()
        .map(|device| BtrfsSource {
            name: &device.volume.name,
            volume: device.source.as_ref(),
            is_chosen: device.is_chosen,
            is_device: is_device(device.volume),
        })
        .collect();
    let readings = filesystem::read_btrfs_devices(&sources);
    for (device, reading) in devices.into_iter().zip(readings) {
        if let Some(reading) = reading {
            let Understood { content, used, .. } = content(reading);
            (device.volume.content, *device.used) = (content, used);
        }
    }
}
