//! Dynamic disks of Windows, over all disks that are looked at together: what their database says decides what of them is used.
//!
//! Of an MBR disk all is one volume, for its database stands behind the partitions. Of a GPT disk the database and the
//! stretch with the volumes are partitions.

use super::Inspection;
use super::volume::partition_bytes;
use crate::blockio::ReadAt;
use crate::filesystem::ldm::{self, Found, Home, Source};
use crate::partition::kinds::{LDM_CODE, LDM_DATA, LDM_METADATA};
use crate::partition::{self, Trust};
use crate::schema::{Content, FileSystemKind, Role, State, Table, Volume};
use crate::units::{ByteRange, MIB, RangeSet, SectorSize};

/// A disk and those of its volumes that are part of its group.
struct Dynamic {
    disk: usize,
    name: String,
    home: Home,
    volumes: Vec<usize>,
    /// What volumes of the group can lie in.
    room: RangeSet,
}

/// Finds out what is used of dynamic disks. Returns what else a person should know: the position of a disk, with a sentence.
/// `only` names the volumes that are wanted; empty for all. Of a disk all have to be.
pub fn read_dynamic(
    sources: &[&dyn ReadAt],
    inspections: &mut [&mut Inspection],
    only: &[String],
) -> Vec<(usize, String)> {
    let disks: Vec<(Dynamic, &dyn ReadAt)> = inspections
        .iter()
        .zip(sources)
        .enumerate()
        .filter_map(|(disk, (inspection, source))| Some((find(disk, inspection)?, *source)))
        .collect();
    let is_chosen = |dynamic: &Dynamic| {
        let volumes = inspections.get(dynamic.disk).map(|inspection| inspection.disk.volumes.as_slice());
        let named = |position: &usize| {
            volumes
                .and_then(|volumes| volumes.get(*position))
                .is_some_and(|volume| only.contains(&volume.name))
        };
        only.is_empty() || dynamic.volumes.iter().all(named)
    };
    let asked: Vec<Source<'_>> = disks
        .iter()
        .map(|(dynamic, disk)| Source {
            name: &dynamic.name,
            disk: *disk,
            home: dynamic.home,
            is_chosen: is_chosen(dynamic),
        })
        .collect();
    let found = ldm::read(&asked);
    let mut said = Vec::new();
    for ((dynamic, source), found) in disks.iter().zip(found) {
        if let Some(inspection) = inspections.get_mut(dynamic.disk) {
            said.extend(found.notice.clone().map(|notice| (dynamic.disk, notice)));
            apply(dynamic, *source, found, inspection);
        }
    }
    said
}

/// A disk that has, by its table, what describes a group. Sectors of another size than 512 bytes were never seen on one.
fn find(disk: usize, inspection: &Inspection) -> Option<Dynamic> {
    let described = &inspection.disk;
    let volumes = &described.volumes;
    let name = format!("d{}", described.number);
    if described.logical_sector_bytes != SectorSize::B512 {
        return None;
    }
    let of_kind = |volume: &Volume| {
        volume.content.file_system().is_some_and(|found| found.kind == FileSystemKind::LogicalDiskManager)
    };
    let Table::Gpt(gpt) = &described.table else {
        let is_whole = |volume: &Volume| volume.role == Role::WholeDisk && of_kind(volume);
        let whole = volumes.iter().position(is_whole)?;
        let room = RangeSet::of(ByteRange::new(0, described.size_bytes));
        return Some(Dynamic { disk, name, home: Home::Disk, volumes: vec![whole], room });
    };
    let numbers = |kind| {
        let entries = gpt.partitions.iter().filter(move |entry| entry.type_guid == kind);
        entries.map(|entry| entry.number).collect::<Vec<u32>>()
    };
    let (metadata, data) = (numbers(LDM_METADATA), numbers(LDM_DATA));
    let positions = |numbers: &[u32]| {
        let is_one =
            |volume: &Volume| matches!(volume.role, Role::Partition { number } if numbers.contains(&number));
        let found = volumes.iter().enumerate().filter(|(_, volume)| is_one(volume));
        found.map(|(position, _)| position).collect::<Vec<usize>>()
    };
    let place = |position: &usize| {
        let volume = volumes.get(*position)?;
        ByteRange::at(volume.start_bytes, volume.size_bytes)
    };
    let (metadata, data) = (positions(&metadata), positions(&data));
    let [home] = metadata.as_slice() else { return None };
    let room = data.iter().filter_map(place).collect();
    let home = Home::Partition(place(home)?);
    Some(Dynamic { disk, name, home, volumes: [metadata, data].concat(), room })
}

/// Writes down what was found.
fn apply(dynamic: &Dynamic, source: &dyn ReadAt, mut found: Found, inspection: &mut Inspection) {
    if let Some(stray) = found.extents.iter().find(|extent| !dynamic.room.contains(*extent)) {
        found.state = State::Damaged;
        found.unused = None;
        found
            .findings
            .insert(0, format!("its database has an extent at {stray}, where no partition of the group is"));
    }
    let unused = found.unused.take().map(|unused| match dynamic.home {
        Home::Disk => without_partitions(unused, source, inspection.disk.logical_sector_bytes),
        Home::Partition(_) => unused,
    });
    for position in &dynamic.volumes {
        let Some(volume) = inspection.disk.volumes.get_mut(*position) else { continue };
        let Some(mut file_system) = volume.content.file_system().cloned() else { continue };
        let place = ByteRange::new(volume.start_bytes, volume.start_bytes.saturating_add(volume.size_bytes));
        let moved =
            |range: ByteRange| ByteRange::at(range.start().saturating_sub(place.start()), range.length());
        let used =
            unused.as_ref().map(|unused| unused.gaps(place).iter().filter_map(moved).collect::<RangeSet>());
        file_system.uuid = found.guid.map(|guid| guid.to_string().to_lowercase());
        file_system.label.clone_from(&found.group);
        file_system.state = found.state;
        file_system.findings.clone_from(&found.findings);
        if used.is_some() && dynamic.home == Home::Partition(place) {
            file_system.findings = vec!["the database of the group".to_owned()];
        }
        file_system.used_bytes = used.as_ref().map(RangeSet::total_bytes);
        volume.content = match used {
            Some(_) => Content::FileSystem(file_system),
            None => {
                let reason = "what is used of this Windows dynamic disk is not certain".to_owned();
                Content::Raw { reason, file_system: Some(file_system) }
            }
        };
        if let Some(place) = inspection.used.get_mut(*position) {
            *place = used;
        }
    }
}

/// What is unused, less what boot loaders may have, and less partitions of another type: those of makers and for recovery stay
/// what they are when a disk becomes dynamic.
fn without_partitions(mut unused: RangeSet, source: &dyn ReadAt, sector: SectorSize) -> RangeSet {
    unused.remove(ByteRange::new(0, MIB));
    match partition::read(source, sector, Trust::Undecided).map(|reading| reading.table) {
        Ok(table @ Table::Mbr(_)) => {
            let dynamic: Vec<u32> = match &table {
                Table::Mbr(mbr) => {
                    let entries = mbr.partitions.iter().filter(|entry| entry.type_code == LDM_CODE);
                    entries.map(|entry| entry.number).collect()
                }
                _ => Vec::new(),
            };
            let others =
                partition_bytes(&table, sector).into_iter().filter(|(number, _)| !dynamic.contains(number));
            others.for_each(|(_, place)| unused.remove(place));
            unused
        }
        // The disk was taken for a dynamic one by this table.
        _ => RangeSet::new(),
    }
}
