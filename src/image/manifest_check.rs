//! Judges a manifest: whether its parts agree with each other.

use super::manifest::{DIGEST, FORMAT, FORMAT_VERSION};
use super::{
    ChunkId, MAX_CHUNK_BYTES, MAX_CHUNKS, Manifest, ManifestError, StoredFile, StoredVolume, layout,
};
use crate::schema::{Content, Disk, MbrRole, Role, Table, Volume};
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
        ensure(self.format == FORMAT && self.format_version == FORMAT_VERSION, || "its format".to_owned())?;
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
    ensure(layout::is_volume_name(name), || {
        format!("\"{}\" cannot name a volume", name.chars().take(80).collect::<String>())
    })?;
    let range = ByteRange::at(volume.start_bytes, volume.size_bytes);
    ensure(range.is_some_and(|range| !range.is_empty() && range.end() <= disk.size_bytes), || {
        format!("volume {name} does not lie in disk {}", disk.number)
    })?;
    let room = match volume.role {
        Role::Partition { number } => partition(disk, number).ok_or_else(|| ManifestError::Corrupt {
            fact: format!("volume {name} is partition {number}, which disk {} does not have", disk.number),
        })?,
        Role::BootArea | Role::WholeDisk => ByteRange::new(0, disk.size_bytes),
    };
    ensure(range.is_some_and(|range| range.start() == room.start() && room.contains(range)), || {
        format!("volume {name} does not lie where the table says: {room}")
    })?;
    if let Content::FileSystem(file_system) = &volume.content {
        ensure(file_system.size_bytes <= volume.size_bytes, || {
            format!("the file system of volume {name} is larger than the volume")
        })?;
    }
    Ok(())
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
