//! The volumes of a group, put together from the records of its database.

use super::SECTOR_BYTES;
use super::database::Database;
use super::record::{self, Component, Partition};
use crate::units::{ByteRange, u64_from};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Windows has no striped volume on more disks (Microsoft, "Reviewing Storage Limits").
const MAX_COLUMNS: usize = 32;
/// Windows has stripes of 64 KiB. Smaller ones than a page would make more of a map than there are blocks in it.
const MIN_STRIPE_BYTES: u64 = 4096;

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) form: Form,
    pub(super) size_bytes: u64,
    /// Its copies; one where it is no mirror.
    pub(super) copies: Vec<Copy>,
    /// Why it is not read: a clause that follows its name.
    pub(super) obstacle: Option<String>,
}

/// How a volume is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Simple,
    Spanned,
    Striped,
    Mirrored,
    Raid5,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simple => "simple",
            Self::Spanned => "spanned",
            Self::Striped => "striped",
            Self::Mirrored => "mirrored",
            Self::Raid5 => "RAID 5",
        })
    }
}

/// One copy of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    /// Its extents, in the order of the volume or of the columns.
    pub(super) extents: Vec<Extent>,
    /// Bytes of a stripe, where the extents are its columns.
    pub(super) stripe_bytes: Option<u64>,
}

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Position of the disk in the database.
    pub(super) disk: usize,
    /// Its bytes, from the start of the public region.
    pub(super) place: ByteRange,
}

/// The extents of a component, each with its record.
type Records<'a> = Vec<(&'a Partition, Extent)>;

/// Puts the volumes together.
///
/// The error says which records do not fit together, or which extents overlap.
pub(super) fn volumes(database: &Database) -> Result<Vec<Volume>, String> {
    let Database { disks, volumes, components, partitions, .. } = database;
    let ids = disks.iter().map(|disk| disk.id).collect::<BTreeSet<u64>>().len();
    let guids = disks.iter().map(|disk| disk.guid).collect::<BTreeSet<_>>().len();
    if ids != disks.len() || guids != disks.len() {
        return Err("a disk is there twice".to_owned());
    }
    let mut of_component: BTreeMap<u64, Records<'_>> = BTreeMap::new();
    let mut places: BTreeMap<usize, Vec<ByteRange>> = BTreeMap::new();
    for partition in partitions {
        let extent = extent(database, partition)?;
        places.entry(extent.disk).or_default().push(extent.place);
        of_component.entry(partition.parent).or_default().push((partition, extent));
    }
    for places in places.values_mut() {
        places.sort_unstable();
        if let Some((one, other)) = places.iter().zip(places.iter().skip(1)).find(|(a, b)| a.overlaps(**b)) {
            return Err(format!("extents overlap: {one} and {other} of a disk"));
        }
    }
    let mut of_volume: BTreeMap<u64, Vec<(&Component, Records<'_>)>> = BTreeMap::new();
    for component in components {
        let extents = of_component.remove(&component.id).unwrap_or_default();
        if u64_from(extents.len()) != component.partitions || extents.is_empty() {
            let (id, said, there) = (component.id, component.partitions, extents.len());
            return Err(format!("component {id} counts {said} extents, and has {there}"));
        }
        of_volume.entry(component.parent).or_default().push((component, extents));
    }
    let made = volumes.iter().map(|volume| make(volume, of_volume.remove(&volume.id).unwrap_or_default()));
    let made: Vec<Volume> = made.collect::<Result<_, _>>()?;
    match (of_component.keys().next(), of_volume.keys().next()) {
        (None, None) => Ok(made),
        (Some(id), _) => Err(format!("there is no component {id}, or it is there twice")),
        (None, Some(id)) => Err(format!("there is no volume {id}, or it is there twice")),
    }
}

fn extent(database: &Database, partition: &Partition) -> Result<Extent, String> {
    let disk = database.disks.iter().position(|disk| disk.id == partition.disk);
    let start = partition.start.checked_mul(SECTOR_BYTES);
    let length = partition.sectors.checked_mul(SECTOR_BYTES);
    let place = start.zip(length).and_then(|(start, length)| ByteRange::at(start, length));
    match (disk, place.filter(|place| !place.is_empty())) {
        (Some(disk), Some(place)) => Ok(Extent { disk, place }),
        _ => Err(format!("extent {} lies on no disk", partition.id)),
    }
}

fn make(record: &record::Volume, found: Vec<(&Component, Records<'_>)>) -> Result<Volume, String> {
    let name = record.name.clone();
    let wrong = |fact: String| format!("volume {name}: {fact}");
    if u64_from(found.len()) != record.components || found.is_empty() {
        return Err(wrong(format!("it counts {} components, and has {}", record.components, found.len())));
    }
    let size_bytes = record.sectors.checked_mul(SECTOR_BYTES).filter(|size| *size > 0);
    let size_bytes = size_bytes.ok_or_else(|| wrong(format!("it has {} sectors", record.sectors)))?;
    let form = match (found.as_slice(), record.kind) {
        (_, 4) => Form::Raid5,
        ([_, _, ..], _) => Form::Mirrored,
        ([(component, _)], _) if component.kind == 1 => Form::Striped,
        ([(component, _)], _) if component.partitions > 1 => Form::Spanned,
        _ => Form::Simple,
    };
    let states = found.iter().map(|(component, _)| component.state.as_str()).chain([record.state.as_str()]);
    let mut obstacle = states
        .into_iter()
        .find(|state| *state != "ACTIVE")
        .map(|state| format!("is in the state \"{state}\": let Windows repair it"));
    if form == Form::Raid5 {
        obstacle = Some("is a RAID 5, which only Windows reads: save it there".to_owned());
    }
    let mut copies = Vec::new();
    for (component, mut extents) in found {
        extents.sort_by_key(|(partition, _)| (partition.column, partition.volume_offset));
        let stripe_bytes = match (component.kind, component.stripes) {
            (2, _) => {
                if !is_gapless(&extents, record.sectors) {
                    return Err(wrong("its extents are not one behind the other".to_owned()));
                }
                None
            }
            (1, Some((sectors, columns))) if columns == component.partitions => {
                let stripe = stripe_bytes(&extents, sectors, size_bytes)
                    .ok_or_else(|| wrong("its columns do not fit".to_owned()))?;
                if let Some(fact) = unknown_stripes(extents.len(), stripe) {
                    obstacle.get_or_insert(fact);
                }
                Some(stripe)
            }
            _ => {
                obstacle
                    .get_or_insert_with(|| "is of a form that only Windows reads: save it there".to_owned());
                None
            }
        };
        copies.push(Copy { extents: extents.into_iter().map(|(_, extent)| extent).collect(), stripe_bytes });
    }
    Ok(Volume { name, form, size_bytes, copies, obstacle })
}

/// True where extents make a volume of at least this size, each where the one before it ends.
fn is_gapless(extents: &[(&Partition, Extent)], sectors: u64) -> bool {
    let end = extents.iter().try_fold(0u64, |end, (partition, _)| {
        end.checked_add(partition.sectors).filter(|_| partition.volume_offset == end)
    });
    end.is_some_and(|end| end >= sectors)
}

/// Why stripes are none that Windows makes: a clause that follows the name of the volume.
fn unknown_stripes(columns: usize, stripe_bytes: u64) -> Option<String> {
    if columns > MAX_COLUMNS {
        return Some(format!(
            "is striped over {columns} columns, where Windows has at most {MAX_COLUMNS}: save it there"
        ));
    }
    let is_known = stripe_bytes >= MIN_STRIPE_BYTES && stripe_bytes.is_power_of_two();
    (!is_known).then(|| {
        format!(
            "has stripes of {stripe_bytes} bytes, and powers of two from {MIN_STRIPE_BYTES} on are read: save it in Windows"
        )
    })
}

/// Bytes of a stripe, where columns are there once each, and large enough.
fn stripe_bytes(extents: &[(&Partition, Extent)], sectors: u64, size_bytes: u64) -> Option<u64> {
    let stripe = sectors.checked_mul(SECTOR_BYTES).filter(|bytes| *bytes > 0)?;
    let each = size_bytes.checked_div(u64_from(extents.len()))?;
    let is_whole = each.checked_mul(u64_from(extents.len())) == Some(size_bytes)
        && each.checked_rem(stripe) == Some(0)
        && (0u64..).zip(extents).all(|(number, (partition, _))| partition.column == number)
        && extents.iter().all(|(_, extent)| extent.place.length() >= each);
    is_whole.then_some(stripe)
}
