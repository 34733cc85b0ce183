//! What of a target's present content stays, and how the image's disks are cut down for it.

use super::deploy::DiskPlan;
use super::refusal::Refusal;
use crate::machine::MachineDisk;
use crate::schema::{
    ChosenVolume, Disk, Gpt, GptPartition, KeptPartition, Mbr, MbrPartition, MbrRole, Role, Table,
};
use crate::units::{ByteRange, Hex, Lba, RangeSet, SectorSize};
use serde::Serialize;

/// A disk of this machine that receives a disk of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Number of the image's disk.
    pub number: u32,
    /// The disk.
    pub disk: MachineDisk,
    /// The table that stands on it, where something of it is to stay.
    pub found: Option<Table>,
    /// What a script made of a blank disk of its size, for [`Layout::Script`](crate::schema::Layout::Script).
    pub made: Option<Made>,
}

/// What a script made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The table.
    pub table: Table,
    /// The partitions that it named for volumes.
    pub places: Vec<ChosenVolume>,
    /// What it printed.
    pub output: String,
}

impl Target {
    /// A target of which nothing stays.
    #[must_use]
    pub fn new(number: u32, disk: MachineDisk) -> Self {
        Self { number, disk, found: None, made: None }
    }
}

/// What of the target's present content stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(tag = "stays", rename_all = "kebab-case")]
pub enum Stays {
    /// Nothing.
    #[default]
    Nothing,
    /// Partitions, byte for byte at their place; the new table has their entries.
    Partitions {
        /// Their numbers, ascending.
        numbers: Vec<u32>,
        /// The table that stands on the target.
        found: Table,
        /// The table that stands there while the deploy runs, and after it failed: of these partitions only.
        meanwhile: Table,
    },
    /// The table, and every byte outside the places of the volumes and the extents of logical ones.
    Table {
        /// The table that stands on the target.
        found: Table,
        /// The bytes of the target that belong to logical volumes that are written: ascending, disjoint.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        extents: Vec<ByteRange>,
    },
}

impl Stays {
    /// True where the whole disk is overwritten.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }

    /// The table of which something stays.
    #[must_use]
    pub fn found(&self) -> Option<&Table> {
        match self {
            Self::Nothing => None,
            Self::Partitions { found, .. } | Self::Table { found, .. } => Some(found),
        }
    }
}

impl DiskPlan {
    /// The bytes of the target that are not touched, whatever happens.
    #[must_use]
    pub fn spared(&self) -> RangeSet {
        let whole = ByteRange::new(0, self.target.size_bytes);
        match &self.stays {
            Stays::Nothing => RangeSet::new(),
            Stays::Partitions { numbers, found, .. } => {
                let places = places(found, self.target.logical_sector_bytes).into_iter();
                places.filter(|(number, _)| numbers.contains(number)).map(|(_, place)| place).collect()
            }
            Stays::Table { extents, .. } => {
                let places = self.volumes.iter().map(|volume| volume.place);
                let written: RangeSet = places.chain(extents.iter().copied()).collect();
                written.gaps(whole)
            }
        }
    }

    /// Numbers of the partitions of the new table that are not written.
    #[must_use]
    pub fn staying(&self) -> Vec<u32> {
        match &self.stays {
            Stays::Nothing => Vec::new(),
            Stays::Partitions { numbers, .. } => numbers.clone(),
            Stays::Table { found, .. } => {
                let written = |number| self.volumes.iter().any(|volume| volume.partition == Some(number));
                let places = places(found, self.target.logical_sector_bytes).into_iter();
                let stays =
                    |(number, place): &(u32, ByteRange)| !written(*number) && !self.is_in_part(*place);
                places.filter(stays).map(|(number, _)| number).collect()
            }
        }
    }

    /// True for a place of which logical volumes are written, and the rest stays.
    #[must_use]
    pub fn is_in_part(&self, place: ByteRange) -> bool {
        match &self.stays {
            Stays::Table { extents, .. } => extents.iter().any(|extent| extent.overlaps(place)),
            Stays::Nothing | Stays::Partitions { .. } => false,
        }
    }
}

/// The partitions of a table that have bytes, containers of logical ones left out.
pub(super) fn places(table: &Table, sector: SectorSize) -> Vec<(u32, ByteRange)> {
    let range = |first: Lba, behind: Option<u64>| {
        let end = sector.byte_of(Lba(behind?))?;
        Some(ByteRange::new(sector.byte_of(first)?, end)).filter(|range| !range.is_empty())
    };
    let gpt = |p: &GptPartition| Some((p.number, range(p.first_lba, p.last_lba.0.checked_add(1))?));
    let mbr = |p: &MbrPartition| Some((p.number, range(p.first_lba, p.first_lba.0.checked_add(p.sectors))?));
    match table {
        Table::Gpt(table) => table.partitions.iter().filter_map(gpt).collect(),
        Table::Mbr(table) => {
            let volumes = table.partitions.iter().filter(|p| p.role != MbrRole::Extended);
            volumes.filter_map(mbr).collect()
        }
        Table::None => Vec::new(),
    }
}

/// A partition that stays, with the entry that describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its number in the target's table and in the new one.
    pub(super) number: u32,
    /// Its bytes.
    pub(super) place: ByteRange,
    entry: Entry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Gpt(GptPartition),
    Mbr(MbrPartition),
}

/// Finds the partitions that a person wants to keep on a target, in disk order.
pub(super) fn find(target: &Target, wanted: &[KeptPartition], disk: &Disk) -> Result<Vec<Kept>, Refusal> {
    let path = &target.disk.path;
    let mine = |kept: &&KeptPartition| kept.disk.as_ref().is_none_or(|disk| disk == path);
    let mut numbers: Vec<u32> = wanted.iter().filter(mine).map(|kept| kept.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let found = target.found.as_ref().unwrap_or(&Table::None);
    let places = places(found, target.disk.logical_sector_bytes);
    let mut kept = Vec::new();
    for number in numbers {
        let refuse =
            |reason: &str| Refusal::CannotKeep { target: path.clone(), number, reason: reason.to_owned() };
        let place = places.iter().find(|(other, _)| *other == number).map(|(_, place)| *place);
        let place = place.ok_or_else(|| Refusal::NoPartition {
            target: path.clone(),
            number,
            numbers: places.iter().map(|(number, _)| *number).collect(),
        })?;
        kept.push(Kept { number, place, entry: entry(found, &disk.table, number).map_err(refuse)? });
    }
    kept.sort_by_key(|kept| kept.place);
    match kept.iter().zip(kept.iter().skip(1)).find(|(one, next)| one.place.overlaps(next.place)) {
        Some((one, next)) => Err(Refusal::CannotKeep {
            target: path.clone(),
            number: next.number,
            reason: format!("it overlaps partition {}", one.number),
        }),
        None => Ok(kept),
    }
}

/// The entry of a partition, if the table of the image can take it.
fn entry(found: &Table, image: &Table, number: u32) -> Result<Entry, &'static str> {
    match (found, image) {
        (Table::Gpt(found), Table::Gpt(image)) => {
            let entry = found.partitions.iter().find(|p| p.number == number).ok_or("it has no entry")?;
            if number > image.entry_count {
                return Err("the table of the image has not so many entries");
            }
            let same = |p: &&GptPartition| p.partition_guid == entry.partition_guid && p.number != number;
            if image.partitions.iter().any(|p| same(&p)) {
                return Err(
                    "another partition of the image has the same GUID; keep it under that partition's number, \
                            or leave that one out with --without",
                );
            }
            Ok(Entry::Gpt(entry.clone()))
        }
        (Table::Mbr(found), Table::Mbr(image)) => {
            let entry = found.partitions.iter().find(|p| p.number == number).ok_or("it has no entry")?;
            if entry.role != MbrRole::Primary {
                return Err(
                    "it is a logical partition, whose chain of boot records is made anew; copy its data elsewhere",
                );
            }
            if image.partitions.iter().any(|p| p.role != MbrRole::Primary) {
                return Err("the image has an extended partition, around which nothing can be kept");
            }
            Ok(Entry::Mbr(entry.clone()))
        }
        _ => Err("the disk of the image has no table of the same kind as the target"),
    }
}

/// A table with the entries of kept partitions in it.
pub(super) fn with_kept(table: Table, kept: &[Kept]) -> Table {
    match table {
        Table::Gpt(mut gpt) => {
            gpt.partitions.extend(kept.iter().filter_map(|kept| match &kept.entry {
                Entry::Gpt(entry) => Some(entry.clone()),
                Entry::Mbr(_) => None,
            }));
            gpt.partitions.sort_by_key(|entry| entry.number);
            Table::Gpt(gpt)
        }
        Table::Mbr(mut mbr) => {
            mbr.partitions.extend(kept.iter().filter_map(|kept| match &kept.entry {
                Entry::Mbr(entry) => Some(entry.clone()),
                Entry::Gpt(_) => None,
            }));
            mbr.partitions.sort_by_key(|entry| entry.number);
            Table::Mbr(mbr)
        }
        Table::None => Table::None,
    }
}

/// The new table with nothing but the kept partitions, and no boot code: what stands on the target until the
/// deploy is done.
pub(super) fn meanwhile(table: &Table, kept: &[Kept]) -> Table {
    let bare = match table {
        Table::Gpt(gpt) => {
            Table::Gpt(Gpt { boot_sector: Hex(vec![0; 512]), partitions: Vec::new(), ..gpt.clone() })
        }
        Table::Mbr(mbr) => {
            Table::Mbr(Mbr { boot_code: Hex(vec![0; 440]), partitions: Vec::new(), ..mbr.clone() })
        }
        Table::None => Table::None,
    };
    with_kept(bare, kept)
}

/// True where a disk of the image has a partition of this number.
pub(super) fn has_partition(disk: &Disk, number: u32) -> bool {
    match &disk.table {
        Table::Gpt(gpt) => gpt.partitions.iter().any(|entry| entry.number == number),
        Table::Mbr(mbr) => mbr.partitions.iter().any(|entry| entry.number == number),
        Table::None => false,
    }
}

/// A disk of the image without some of its partitions and their volumes. Logical ones cannot be left out: those
/// behind them would get other numbers.
pub(super) fn without(disk: &Disk, numbers: &[u32]) -> Disk {
    let mut disk = disk.clone();
    disk.table = table_without(&disk.table, numbers);
    let gone = |role: Role| matches!(role, Role::Partition { number } if numbers.contains(&number));
    disk.volumes.retain(|volume| !gone(volume.role));
    disk
}

/// A table without some of its partitions.
pub(super) fn table_without(table: &Table, numbers: &[u32]) -> Table {
    let mut table = table.clone();
    match &mut table {
        Table::Gpt(gpt) => gpt.partitions.retain(|entry| !numbers.contains(&entry.number)),
        Table::Mbr(mbr) => mbr.partitions.retain(|entry| !numbers.contains(&entry.number)),
        Table::None => {}
    }
    table
}
