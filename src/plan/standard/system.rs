//! Which volume of an image is the system.

use crate::plan::deploy::DeployOptions;
use crate::plan::refusal::Refusal;
use crate::plan::special::Special;
use crate::schema::{Content, Disk, FileSystemKind, Layout, Role, Table, Volume};
use crate::units::{GIB, format_size};

/// Smaller volumes are partitions for booting or recovery.
const LEAST_BYTES: u64 = GIB;

/// The volume with the system and its disk: the one that a person named, else the only one it can be.
pub(in crate::plan) fn system<'a>(
    disks: &'a [Disk],
    options: &DeployOptions,
) -> Result<(&'a Disk, &'a Volume), Refusal> {
    let all = || disks.iter().flat_map(|disk| disk.volumes.iter().map(move |volume| (disk, volume)));
    let sized = || all().filter(|(_, volume)| volume.role != Role::BootArea);
    if let Some(name) = &options.standard.volume {
        let found = sized().find(|(_, volume)| volume.name == *name);
        let found = found.ok_or_else(|| Refusal::UnknownVolume {
            volume: name.clone(),
            volumes: sized().map(|(_, volume)| volume.name.clone()).collect(),
        })?;
        return match can_hold_a_system(found.1) {
            true => Ok(found),
            false => Err(Refusal::NoSystem { volume: name.clone() }),
        };
    }
    let mut candidates = sized().filter(|(disk, volume)| {
        can_hold_a_system(volume) && volume.size_bytes >= LEAST_BYTES && special(disk, volume.role).is_none()
    });
    match (candidates.next(), candidates.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(Refusal::WhichSystem { volumes: sized().map(|(_, volume)| describe(volume)).collect() }),
    }
}

/// The number of the disk that a standard layout takes its volume from.
pub(in crate::plan) fn only_disk(disks: &[Disk], options: &DeployOptions) -> Result<Option<u32>, Refusal> {
    match options.layout {
        Layout::Standard => system(disks, options).map(|(disk, _)| Some(disk.number)),
        _ => Ok(None),
    }
}

/// File systems that Linux and Windows are installed on, and that can be mounted to be put right.
fn can_hold_a_system(volume: &Volume) -> bool {
    use FileSystemKind::{Btrfs, Ext2, Ext3, Ext4, Ntfs, Xfs};
    let stored = matches!(volume.content, Content::FileSystem(_) | Content::Raw { .. });
    let kind = volume.content.file_system().map(|fs| fs.kind);
    stored && matches!(kind, Some(Btrfs | Ext2 | Ext3 | Ext4 | Ntfs | Xfs))
}

fn special(disk: &Disk, role: Role) -> Option<Special> {
    let Role::Partition { number } = role else { return None };
    match &disk.table {
        Table::Gpt(gpt) => {
            gpt.partitions.iter().find(|p| p.number == number).and_then(|p| Special::of_gpt(p.type_guid))
        }
        Table::Mbr(mbr) => {
            mbr.partitions.iter().find(|p| p.number == number).and_then(|p| Special::of_mbr(p.type_code))
        }
        Table::None => None,
    }
}

fn describe(volume: &Volume) -> String {
    let kind = volume.content.file_system().map_or("unknown", |fs| fs.kind.name());
    format!("{} ({kind}, {})", volume.name, format_size(volume.size_bytes))
}
