//! Judges a manifest: whether its parts agree with each other.

use super::manifest::{DIGEST, FORMAT};
use super::{
    ChunkId, MAX_CHUNK_BYTES, MAX_CHUNKS, Manifest, ManifestError, StoredFile, StoredVolume, layout,
};
use crate::schema::{Content, Disk, MbrRole, Role, Table, Volume, VolumeGroup};
use crate::units::{ByteRange, Lba};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const MAX_DISKS: usize = 256;
const MAX_VOLUMES: usize = 4096;

fn ensure(sound: bool, fact: impl FnOnce() -> String) -> Result<(), ManifestError> {
    if sound { Ok(()) } else { Err(ManifestError::Corrupt { fact: fact() }) }
}

impl Manifest {
    /// Refuses a manifest whose parts contradict each other: names that are not unique or not safe as file
    /// names, volumes outside their disk or partition, stored files that do not fit their volume.
    pub fn check(&self) -> Result<(), ManifestError> {
        let version = self.needed_format_version();
        ensure(self.format == FORMAT && self.format_version == version, || "its format".to_owned())?;
        ensure(self.digest == DIGEST, || format!("digest \"{}\" is not {DIGEST}", self.digest))?;
        ensure(OffsetDateTime::parse(&self.created, &Rfc3339).is_ok(), || {
            format!("\"{}\" is not a time of RFC 3339", self.created)
        })?;
        ensure(self.disks.len() <= MAX_DISKS, || format!("{} disks", self.disks.len()))?;
        let mut numbers = BTreeSet::new();
        let mut volumes: BTreeMap<&str, &Volume> = BTreeMap::new();
        for disk in &self.disks {
            ensure(numbers.insert(disk.number), || format!("disk {} twice", disk.number))?;
            ensure(disk.volumes.len() <= MAX_VOLUMES, || format!("{} volumes", disk.volumes.len()))?;
            for volume in &disk.volumes {
                check_volume(disk, volume)?;
                let twice = volumes.insert(&volume.name, volume).is_some();
                ensure(!twice, || format!("volume {} twice", volume.name))?;
            }
        }
        for group in &self.volume_groups {
            check_group(group, &self.disks)?;
            for volume in group.volumes() {
                check_name_and_content(volume)?;
                let twice = volumes.insert(&volume.name, volume).is_some();
                ensure(!twice, || format!("volume {} twice", volume.name))?;
            }
        }
        check_physical_volumes(&self.disks, &self.volume_groups)?;
        if self.schema_only {
            return ensure(self.stored.is_empty(), || "a schema without data that has data".to_owned());
        }
        let mut stored_names = BTreeSet::new();
        for stored in &self.stored {
            ensure(stored_names.insert(&stored.volume), || {
                format!("volume {} is stored twice", stored.volume)
            })?;
            let volume = volumes.get(stored.volume.as_str()).ok_or_else(|| ManifestError::Corrupt {
                fact: format!("volume {} is stored, but on no disk", stored.volume),
            })?;
            check_stored(stored, volume)?;
        }
        volumes.values().filter(|volume| has_content(volume)).try_for_each(|volume| {
            ensure(stored_names.contains(&volume.name), || format!("volume {} is not stored", volume.name))
        })
    }
}

fn has_content(volume: &Volume) -> bool {
    matches!(volume.content, Content::FileSystem(_) | Content::Raw { .. })
}

fn check_volume(disk: &Disk, volume: &Volume) -> Result<(), ManifestError> {
    let name = &volume.name;
    check_name_and_content(volume)?;
    let range = ByteRange::at(volume.start_bytes, volume.size_bytes);
    ensure(range.is_some_and(|range| !range.is_empty() && range.end() <= disk.size_bytes), || {
        format!("volume {name} does not lie in disk {}", disk.number)
    })?;
    let room = match volume.role {
        Role::Partition { number } => partition(disk, number).ok_or_else(|| ManifestError::Corrupt {
            fact: format!("volume {name} is partition {number}, which disk {} does not have", disk.number),
        })?,
        Role::BootArea | Role::WholeDisk => ByteRange::new(0, disk.size_bytes),
        Role::Logical { .. } => {
            let fact = format!("volume {name} is a logical one, and on disk {}", disk.number);
            return Err(ManifestError::Corrupt { fact });
        }
    };
    ensure(range.is_some_and(|range| range.start() == room.start() && room.contains(range)), || {
        format!("volume {name} does not lie where the table says: {room}")
    })
}

fn check_name_and_content(volume: &Volume) -> Result<(), ManifestError> {
    let name = &volume.name;
    ensure(layout::is_volume_name(name), || {
        format!("\"{}\" cannot name a volume", name.chars().take(80).collect::<String>())
    })?;
    if let Content::FileSystem(file_system) = &volume.content {
        ensure(file_system.size_bytes <= volume.size_bytes, || {
            format!("the file system of volume {name} is larger than the volume")
        })?;
    }
    Ok(())
}

/// A volume group: its own description, and physical volumes that are on the disks and hold its extents.
fn check_group(group: &VolumeGroup, disks: &[Disk]) -> Result<(), ManifestError> {
    let corrupt =
        |fact: String| ManifestError::Corrupt { fact: format!("volume group {}: {fact}", group.number) };
    if let Some(fault) = group.fault() {
        return Err(corrupt(fault));
    }
    let too_many = group.logical_volumes.len() > MAX_VOLUMES || group.physical_volumes.len() > MAX_VOLUMES;
    if too_many || group.physical_volumes.is_empty() {
        return Err(corrupt("the number of its volumes".to_owned()));
    }
    for (number, logical) in (1u32..).zip(&group.logical_volumes) {
        let volume = &logical.volume;
        if volume.role != (Role::Logical { group: group.number, number })
            || matches!(volume.content, Content::PhysicalVolume(_))
        {
            return Err(corrupt(format!("{} is not its volume {number}", volume.name)));
        }
    }
    for physical in &group.physical_volumes {
        let mut volumes = disks.iter().flat_map(|disk| &disk.volumes);
        let volume = volumes.find(|volume| volume.name == physical.volume);
        let data = physical.extents.checked_mul(group.extent_bytes);
        let end = data.and_then(|data| physical.start_bytes.checked_add(data));
        let fits = end.zip(volume).is_some_and(|(end, volume)| end <= volume.size_bytes);
        if !fits || !volume.is_some_and(|volume| matches!(volume.content, Content::PhysicalVolume(_))) {
            return Err(corrupt(format!("volume {} is not one of its physical volumes", physical.volume)));
        }
    }
    Ok(())
}

/// Every physical volume belongs to one group, and no two groups are one.
fn check_physical_volumes(disks: &[Disk], groups: &[VolumeGroup]) -> Result<(), ManifestError> {
    let (mut numbers, mut uuids, mut members) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for group in groups {
        let own = numbers.insert(group.number) && uuids.insert(&group.uuid);
        ensure(own, || format!("volume group {} is there twice", group.number))?;
        for physical in &group.physical_volumes {
            ensure(members.insert(physical.volume.as_str()), || {
                format!("volume {} belongs to two volume groups", physical.volume)
            })?;
        }
    }
    let physical = |volume: &&Volume| matches!(volume.content, Content::PhysicalVolume(_));
    let homeless = disks.iter().flat_map(|disk| &disk.volumes).filter(physical);
    let mut homeless = homeless.filter(|volume| !members.contains(volume.name.as_str()));
    ensure(homeless.next().is_none(), || "a physical volume that belongs to no volume group".to_owned())
}

/// Where a partition lies, in bytes.
fn partition(disk: &Disk, number: u32) -> Option<ByteRange> {
    let bytes = |lba: u64| disk.logical_sector_bytes.byte_of(Lba(lba));
    match &disk.table {
        Table::Gpt(gpt) => {
            let partition = gpt.partitions.iter().find(|partition| partition.number == number)?;
            Some(ByteRange::new(bytes(partition.first_lba.0)?, bytes(partition.last_lba.0.checked_add(1)?)?))
        }
        Table::Mbr(mbr) => {
            let partition = mbr.partitions.iter().find(|partition| partition.number == number)?;
            if partition.role == MbrRole::Extended {
                return None;
            }
            ByteRange::at(bytes(partition.first_lba.0)?, bytes(partition.sectors)?)
        }
        Table::None => None,
    }
}

fn check_stored(stored: &StoredVolume, volume: &Volume) -> Result<(), ManifestError> {
    let name = &stored.volume;
    ensure(has_content(volume), || format!("volume {name} is stored, but has no content to store"))?;
    check_file(&stored.index, &layout::index_name(name))?;
    check_file(&stored.used, &layout::used_map_name(name))?;
    let cut = stored.chunk_bytes.is_power_of_two() && stored.chunk_bytes <= MAX_CHUNK_BYTES;
    ensure(cut, || format!("volume {name} is cut at {} bytes", stored.chunk_bytes))?;
    let index_bytes = stored.chunks.checked_mul(40).and_then(|bytes| bytes.checked_add(104));
    ensure(
        (1..=MAX_CHUNKS).contains(&stored.chunks) && index_bytes == Some(stored.index.length_bytes),
        || format!("the index of volume {name} cannot hold {} chunks", stored.chunks),
    )?;
    ensure(stored.used_bytes <= volume.size_bytes, || {
        format!("{} bytes of volume {name} are used, which has {}", stored.used_bytes, volume.size_bytes)
    })?;
    let mut position = 0;
    for range in &stored.bad_ranges {
        let sound = position <= range.start() && range.start() < range.end();
        ensure(sound && range.end() <= volume.size_bytes, || {
            format!("bad range {} to {} of volume {name}", range.start(), range.end())
        })?;
        position = range.end();
    }
    Ok(())
}

fn check_file(file: &StoredFile, name: &str) -> Result<(), ManifestError> {
    ensure(file.name == name, || {
        format!("the file {} should be {name}", file.name.chars().take(80).collect::<String>())
    })?;
    ensure(file.sha256.parse::<ChunkId>().is_ok(), || format!("the digest of {name} is not SHA-256"))
}
