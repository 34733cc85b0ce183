//! Partitions as Windows notes them, in its boot configuration, for its drive letters, and in boot sectors.
//!
//! On a GPT it knows a partition by its GUID and that of the disk, on an MBR by the disk's signature and where the
//! partition begins. So on an MBR every new layout gives it another name. Its recovery settings know a partition by where it
//! begins on a GPT too.

use super::captured::Captured;
use super::deploy::{DeployPlan, DiskPlan, VolumeAction, VolumePlan};
use super::keep;
use super::step::Step;
use crate::schema::{Content, Disk, FileSystemKind, Role, Table, Volume};
use crate::units::{Guid, SectorSize};
use serde::Serialize;

/// By what Windows knows a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowsName {
    /// On a GPT.
    Gpt {
        /// GUID of the disk.
        disk: Guid,
        /// GUID of the partition.
        partition: Guid,
        /// Where the partition begins, in bytes. By that its recovery settings know it, and nothing else does.
        start_bytes: u64,
    },
    /// On an MBR.
    Mbr {
        /// Signature of the disk.
        signature: u32,
        /// Where the partition begins, in bytes.
        start_bytes: u64,
    },
}

impl WindowsName {
    /// True where a boot configuration and drive letters name it as the other one.
    #[must_use]
    pub fn is_same_device(self, other: Self) -> bool {
        match (self, other) {
            (
                Self::Gpt { disk, partition, .. },
                Self::Gpt { disk: other_disk, partition: other_partition, .. },
            ) => (disk, partition) == (other_disk, other_partition),
            _ => self == other,
        }
    }
}

/// A partition that Windows knows by another name than when it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MovedPartition {
    /// Name of its volume in the image.
    pub of: String,
    /// As it was captured.
    pub was: WindowsName,
    /// As it is now.
    pub is: WindowsName,
}

impl MovedPartition {
    /// True where a boot configuration and drive letters name it otherwise now.
    #[must_use]
    pub fn has_another_name(&self) -> bool {
        !self.was.is_same_device(self.is)
    }
}

/// The steps by which what Windows notes follows.
pub(super) fn steps(captured: Captured<'_>, plan: &DeployPlan) -> Vec<Step> {
    let moved: Vec<Vec<MovedPartition>> = plan.disks.iter().map(|disk| moved(captured, disk)).collect();
    let mut steps = Vec::new();
    for (position, disk) in plan.disks.iter().enumerate() {
        let written = disk.volumes.iter().filter(|planned| planned.action == VolumeAction::Write);
        for (planned, volume) in
            written.filter_map(|planned| Some((planned, source(captured, disk, planned)?.1)))
        {
            let (kind, looked_into) = match &volume.content {
                Content::FileSystem(found) => (found.kind, true),
                Content::Raw { file_system: Some(found), .. } => (found.kind, false),
                _ => continue,
            };
            if !windows_starts_from(kind) {
                continue;
            }
            steps.extend(boot_sector(captured, disk, planned));
            // A Windows may start from one disk and have another; two copies of one disk are never meant both.
            let own = moved.get(position).into_iter().flatten();
            let others = moved.iter().enumerate().filter(|(other, _)| *other != position);
            let others = others.flat_map(|(_, moved)| moved);
            let mut known: Vec<MovedPartition> = Vec::new();
            for partition in own.chain(others) {
                if known.iter().all(|other| other.was != partition.was) {
                    known.push(partition.clone());
                }
            }
            // Recovery settings are on the NTFS with Windows.
            let renamed = known.iter().any(MovedPartition::has_another_name);
            if renamed || (!known.is_empty() && kind == FileSystemKind::Ntfs && looked_into) {
                steps.push(Step::WindowsPartitions {
                    target: disk.target.path.clone(),
                    volume: planned.volume.clone(),
                    file_system: kind,
                    looked_into,
                    moved: known,
                });
            }
        }
    }
    steps
}

/// The file systems that Windows, or what starts it, may be on.
const fn windows_starts_from(kind: FileSystemKind) -> bool {
    use FileSystemKind::{Fat12, Fat16, Fat32, Ntfs};
    matches!(kind, Fat12 | Fat16 | Fat32 | Ntfs)
}

/// The disk and volume of the image that a planned volume comes from.
fn source<'a>(
    captured: Captured<'a>,
    disk: &DiskPlan,
    planned: &VolumePlan,
) -> Option<(&'a Disk, &'a Volume)> {
    let source = captured.disks.iter().find(|source| Some(source.number) == disk.source_number)?;
    source.volumes.iter().find(|volume| volume.name == planned.volume).map(|volume| (source, volume))
}

fn moved(captured: Captured<'_>, disk: &DiskPlan) -> Vec<MovedPartition> {
    let of_volume = |planned: &VolumePlan| {
        let (source, volume) = source(captured, disk, planned)?;
        let Role::Partition { number } = volume.role else { return None };
        let was = name(&source.table, number, source.logical_sector_bytes)?;
        let is = name(&disk.table, planned.partition?, disk.target.logical_sector_bytes)?;
        (was != is).then(|| MovedPartition { of: planned.volume.clone(), was, is })
    };
    disk.volumes.iter().filter_map(of_volume).collect()
}

/// By what Windows knows a partition of a table.
pub(super) fn name(table: &Table, number: u32, sector: SectorSize) -> Option<WindowsName> {
    let start = || {
        let places = keep::places(table, sector);
        places.into_iter().find(|(other, _)| *other == number).map(|(_, place)| place.start())
    };
    match table {
        Table::Gpt(gpt) => {
            let entry = gpt.partitions.iter().find(|entry| entry.number == number)?;
            let (disk, partition) = (gpt.disk_guid, entry.partition_guid);
            Some(WindowsName::Gpt { disk, partition, start_bytes: start()? })
        }
        Table::Mbr(mbr) => Some(WindowsName::Mbr { signature: mbr.disk_signature, start_bytes: start()? }),
        Table::None => None,
    }
}

/// The step for a boot sector whose partition begins elsewhere. The field has 32 bits.
fn boot_sector(captured: Captured<'_>, disk: &DiskPlan, planned: &VolumePlan) -> Option<Step> {
    let (source, volume) = source(captured, disk, planned)?;
    let Role::Partition { number } = volume.role else { return None };
    let start = |table: &Table, number: u32, sector: SectorSize| {
        let places = keep::places(table, sector);
        let (_, place) = places.into_iter().find(|(other, _)| *other == number)?;
        u32::try_from(sector.lba_of(place.start()).0).ok()
    };
    let sector = disk.target.logical_sector_bytes;
    let was = start(&source.table, number, source.logical_sector_bytes)?;
    let is = start(&disk.table, planned.partition?, sector)?;
    let (target, volume) = (disk.target.path.clone(), planned.volume.clone());
    (was != is && source.logical_sector_bytes == sector).then_some(Step::BootSector {
        target,
        volume,
        was,
        is,
    })
}
