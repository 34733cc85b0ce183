//! What one physical volume says of itself and of its group.
//!
//! ```text
//! physical volume              group                 volume, 328 bytes      extent, 4 bytes
//!   2 version                    0 UUID                0 name                 0 number of the volume, from 1; 0 free
//!   4 areas: start and size    140 most volumes      256 access               2 number of the extent in it
//!  44 UUID                     144 volumes           272 number
//! 172 name of the group        156 physical volumes  300 extents
//! 452 size of an extent        172 size of an extent 304 stripes
//! 456 extents                                        308 size of a stripe
//! 464 first extent (version 2)
//! ```
//!
//! Areas count in bytes, sizes and the first extent in sectors of 512 bytes.

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::text_at;
use crate::units::{ByteRange, MIB, read_u16le, read_u32le, u64_from, usize_from};
use std::collections::BTreeSet;

pub(super) const STRUCTURE: &str = "LVM1 metadata";
const SECTOR_BYTES: u64 = 512;
const NAME_BYTES: usize = 128;
const UUID_BYTES: usize = 32;
const VOLUME_BYTES: u64 = 328;
/// `MAX_PV`, `MAX_LV`.
const MOST: u32 = 256;
/// Four bytes an extent: a table of a million of them.
const MOST_TABLE_BYTES: u64 = 4 * MIB;
/// Bits of `lv_access`: a snapshot, and what has one.
const SNAPSHOT: u32 = 0x04;
const ORIGIN: u32 = 0x08;

/// A physical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Physical {
    /// Its UUID, 32 characters.
    pub uuid: String,
    /// Name of its group.
    pub group: String,
    /// UUIDs of all physical volumes of the group.
    pub all: BTreeSet<String>,
    /// What has to be the same on all of them.
    pub(super) said: Said,
    /// Where its extents are.
    pub(super) extents: ByteRange,
    /// For each extent, the number of the volume that has it, from 1, or 0, and which extent of that it is.
    pub(super) table: Vec<(u16, u16)>,
}

/// What is said of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) uuid: String,
    pub(super) extent_bytes: u64,
    pub(super) volumes: Vec<Volume>,
}

/// A volume of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) name: String,
    /// From 0.
    pub(super) number: u32,
    pub(super) extents: u32,
    pub(super) stripes: u32,
    pub(super) stripe_bytes: u64,
    pub(super) has_snapshots: bool,
}

/// Where an area stands.
struct Area {
    at: u64,
    length: u64,
}

/// Reads what a physical volume says; `None` where it is in no group.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Corrupt`] where its numbers contradict each other.
pub fn read(volume: &dyn ReadAt) -> Result<Option<Physical>, Error> {
    let header = read_structure(volume, STRUCTURE, 0, 468)?;
    let short = Error::short(STRUCTURE, 0);
    let word = |at: usize| read_u32le(&header, at).map_err(&short);
    let wrong = |fact: String| Error::corrupt(STRUCTURE, 0, fact);
    let area = |at: usize| -> Result<Area, Error> {
        Ok(Area { at: word(at)?.into(), length: word(at.saturating_add(4))?.into() })
    };
    let (Some(uuid), Some(group)) = (text_at(&header, 44, UUID_BYTES), text_at(&header, 172, NAME_BYTES))
    else {
        return Ok(None);
    };
    let [groups, uuids, volumes, table] = [area(12)?, area(20)?, area(28)?, area(36)?];
    let mut said = read_group(volume, &groups)?;
    let (extent_bytes, count) = (said.extent_bytes, u64::from(word(456)?));
    if u64::from(word(452)?).checked_mul(SECTOR_BYTES) != Some(extent_bytes) {
        return Err(wrong("extents have one size here and another one in the group".to_owned()));
    }
    let behind = table.at.saturating_add(table.length);
    let start = match read_u16le(&header, 2).map_err(&short)? {
        1 => behind,
        _ => u64::from(word(464)?).saturating_mul(SECTOR_BYTES),
    };
    let extents = count.checked_mul(extent_bytes).and_then(|length| ByteRange::at(start, length));
    let metadata_end = [&groups, &uuids, &volumes, &table].map(|area| area.at.saturating_add(area.length));
    let extents = extents.filter(|extents| {
        extents.end() <= volume.size_bytes() && metadata_end.iter().all(|end| *end <= start)
    });
    let extents =
        extents.ok_or_else(|| wrong(format!("{count} extents from byte {start} on have no room")))?;
    let all = read_uuids(volume, &uuids, said.physical_volumes)?;
    if !all.contains(&uuid) {
        return Err(wrong(format!("its group does not know it: {uuid}")));
    }
    said.said.volumes = read_volumes(volume, &volumes, &said)?;
    let table = read_table(volume, &table, count)?;
    Ok(Some(Physical { uuid, group, all, said: said.said, extents, table }))
}

/// What the group's own structure says.
struct GroupHeader {
    said: Said,
    extent_bytes: u64,
    most_volumes: u32,
    volumes: u32,
    physical_volumes: u32,
}

fn read_group(volume: &dyn ReadAt, area: &Area) -> Result<GroupHeader, Error> {
    let bytes = read_structure(volume, STRUCTURE, area.at, 188)?;
    let short = Error::short(STRUCTURE, area.at);
    let word = |at: usize| read_u32le(&bytes, at).map_err(&short);
    let wrong = |fact: String| Error::corrupt(STRUCTURE, area.at, fact);
    let uuid = text_at(&bytes, 0, UUID_BYTES).ok_or_else(|| wrong("the group has no UUID".to_owned()))?;
    let (most_volumes, volumes, physical_volumes) = (word(140)?, word(144)?, word(156)?);
    if most_volumes > MOST || volumes > most_volumes || !(1..=MOST).contains(&physical_volumes) {
        return Err(wrong(format!(
            "{volumes} of {most_volumes} volumes on {physical_volumes} physical ones"
        )));
    }
    // Extents begin with 8 KiB.
    let sectors = u64::from(word(172)?);
    let extent_bytes = sectors.saturating_mul(SECTOR_BYTES);
    if sectors < 16 || !sectors.is_power_of_two() {
        return Err(wrong(format!("extents of {sectors} sectors")));
    }
    let said = Said { uuid, extent_bytes, volumes: Vec::new() };
    Ok(GroupHeader { said, extent_bytes, most_volumes, volumes, physical_volumes })
}

fn read_uuids(volume: &dyn ReadAt, area: &Area, count: u32) -> Result<BTreeSet<String>, Error> {
    let name_bytes = u64_from(NAME_BYTES);
    let length = u64::from(count).saturating_mul(name_bytes);
    let wrong = || Error::corrupt(STRUCTURE, area.at, format!("the list has no {count} UUIDs"));
    // There is room for more than there are.
    let bytes = read_structure(volume, STRUCTURE, area.at, usize_from(length.min(area.length)))?;
    let uuids: BTreeSet<String> =
        bytes.chunks_exact(NAME_BYTES).filter_map(|entry| text_at(entry, 0, UUID_BYTES)).collect();
    if u64_from(uuids.len()) == u64::from(count) { Ok(uuids) } else { Err(wrong()) }
}

fn read_volumes(volume: &dyn ReadAt, area: &Area, group: &GroupHeader) -> Result<Vec<Volume>, Error> {
    let length = u64::from(group.most_volumes).saturating_mul(VOLUME_BYTES).min(area.length);
    let bytes = read_structure(volume, STRUCTURE, area.at, usize_from(length))?;
    let mut volumes = Vec::new();
    for (entry, at) in bytes.chunks_exact(usize_from(VOLUME_BYTES)).zip((area.at..).step_by(328)) {
        let Some(path) = text_at(entry, 0, NAME_BYTES) else { continue };
        let short = Error::short(STRUCTURE, at);
        let word = |field: usize| read_u32le(entry, field).map_err(&short);
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        volumes.push(Volume {
            name,
            number: word(272)?,
            extents: word(300)?,
            stripes: word(304)?.max(1),
            stripe_bytes: u64::from(word(308)?).saturating_mul(SECTOR_BYTES),
            has_snapshots: word(256)? & (SNAPSHOT | ORIGIN) != 0,
        });
    }
    let numbers: BTreeSet<u32> = volumes.iter().map(|volume| volume.number).collect();
    if u64_from(volumes.len()) != u64::from(group.volumes) || numbers.len() != volumes.len() {
        let fact = format!("the group has {} volumes, and {} are there", group.volumes, numbers.len());
        return Err(Error::corrupt(STRUCTURE, area.at, fact));
    }
    Ok(volumes)
}

fn read_table(volume: &dyn ReadAt, area: &Area, count: u64) -> Result<Vec<(u16, u16)>, Error> {
    let length = count.saturating_mul(4);
    if length > area.length || length > MOST_TABLE_BYTES {
        let fact = format!("a table of {} bytes for {count} extents", area.length);
        return Err(Error::corrupt(STRUCTURE, area.at, fact));
    }
    let bytes = read_structure(volume, STRUCTURE, area.at, usize_from(length))?;
    let (entries, _) = bytes.as_chunks::<4>();
    Ok(entries
        .iter()
        .map(|[a, b, c, d]| (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d])))
        .collect())
}
