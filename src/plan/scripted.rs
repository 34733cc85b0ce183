//! The layout `script`: the volumes of the image in the partitions that a person's script made.
//!
//! The script ran on a blank disk of the target's size, so its table is known before anything is written. It is
//! written to the target as it is, but for boot code of the image where the script left none.

use super::deploy::{DeployOptions, DiskPlan, VolumeAction, VolumePlan, clearing};
use super::keep::{self, Made, Stays, Target, places};
use super::layout::{self, Piece};
use super::refusal::Refusal;
use super::sizing::{self, Sizing};
use super::{choice, existing, place, shrinking};
use crate::schema::{ChosenVolume, Content, Disk, Layout, Role, Table, Volume};
use crate::units::{ByteRange, Guid, Hex, RangeSet, SectorSize, format_size};

/// Bytes of boot code in sector 0.
const CODE_BYTES: usize = 440;

/// Decides where the volumes of a disk go.
pub(super) fn deploy_disk(
    disk: &Disk,
    target: &Target,
    options: &DeployOptions,
) -> Result<DiskPlan, Refusal> {
    let path = || target.disk.path.clone();
    let made = target.made.as_ref().ok_or_else(|| Refusal::NoScript { target: path() })?;
    let without = choice::partitions_left_out(disk, options)?;
    let disk = &keep::without(disk, &without);
    let sector = target.disk.logical_sector_bytes;
    let there = places(&made.table, sector);
    if there.is_empty() {
        return Err(Refusal::NothingMade { target: path() });
    }
    let mut warnings = Vec::new();
    let mut volumes = place_volumes(disk, target, made, &there, options, &mut warnings)?;
    let table = with_boot_code(disk, &made.table, sector, &mut warnings);
    volumes.extend(boot_area(disk, &table, &there, sector, &mut warnings));
    volumes.sort_by_key(|volume| volume.place);
    warnings.extend(empty_partitions(&there, &volumes));
    let end = there.iter().map(|(_, place)| place.end()).max().unwrap_or_default();
    Ok(DiskPlan {
        source_number: Some(disk.number),
        source_bytes: disk.size_bytes,
        target: target.disk.clone(),
        layout: Layout::Script,
        made: Vec::new(),
        minimum_disk_bytes: end,
        clear: clear(target, &table, &there),
        free_space: clearing(options.free_space, &target.disk, &mut warnings),
        volumes,
        table,
        stays: Stays::Nothing,
        without,
        new_names: Vec::new(),
        script_output: Some(made.output.clone()).filter(|output| !output.is_empty()),
        warnings,
    })
}

/// The partition of each volume: the one that the script named for it, else the one with its GUID, else the one with
/// its number.
fn place_volumes(
    disk: &Disk,
    target: &Target,
    made: &Made,
    there: &[(u32, ByteRange)],
    options: &DeployOptions,
    warnings: &mut Vec<String>,
) -> Result<Vec<VolumePlan>, Refusal> {
    let path = || target.disk.path.clone();
    let numbers = || there.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    for named in &made.places {
        if !disk.volumes.iter().any(|volume| volume.name == named.volume && volume.role != Role::BootArea) {
            let known = disk.volumes.iter().filter(|volume| volume.role != Role::BootArea);
            let volumes = known.map(|volume| volume.name.clone()).collect();
            return Err(Refusal::UnknownVolume { volume: named.volume.clone(), volumes });
        }
    }
    let pieces = layout::pieces_of(disk)?;
    let mut plans: Vec<VolumePlan> = Vec::new();
    for piece in &pieces {
        let Some(volume) = piece.volume else { continue };
        let number = match number_for(disk, volume, made, there) {
            Some(number) => number,
            None if volume.content == Content::LeftOut => continue,
            None => {
                let volume = volume.name.clone();
                return Err(Refusal::NotPlaced { volume, target: path(), numbers: numbers() });
            }
        };
        let place = there.iter().find(|(other, _)| *other == number).map(|(_, place)| *place);
        let place =
            place.ok_or_else(|| Refusal::NoPartition { target: path(), number, numbers: numbers() })?;
        if let Some(other) = plans.iter().find(|other| other.partition == Some(number)) {
            let (volume, other) = (volume.name.clone(), other.volume.clone());
            return Err(Refusal::PartitionTwice { volume, other, target: path(), number });
        }
        if volume.content != Content::LeftOut {
            existing::judge(disk, volume, number, place, target, warnings)?;
        }
        warnings.extend(existing::other_type(&disk.table, volume.role, &made.table, number));
        plans.push(volume_plan(piece, volume, number, place, options.expand, warnings));
    }
    Ok(plans)
}

fn number_for(disk: &Disk, volume: &Volume, made: &Made, there: &[(u32, ByteRange)]) -> Option<u32> {
    let named = made.places.iter().find(|named| named.volume == volume.name);
    if let Some(number) = named.and_then(ChosenVolume::partition) {
        return Some(number);
    }
    let Role::Partition { number } = volume.role else { return None };
    let same_guid = partition_guid(&disk.table, number).and_then(|guid| {
        let mut same = there.iter().filter(|(number, _)| partition_guid(&made.table, *number) == Some(guid));
        same.next().map(|(number, _)| *number)
    });
    same_guid.or_else(|| there.iter().find(|(other, _)| *other == number).map(|(number, _)| *number))
}

fn partition_guid(table: &Table, number: u32) -> Option<Guid> {
    let Table::Gpt(gpt) = table else { return None };
    gpt.partitions.iter().find(|entry| entry.number == number).map(|entry| entry.partition_guid)
}

fn volume_plan(
    piece: &Piece<'_>,
    volume: &Volume,
    number: u32,
    place: ByteRange,
    expand: bool,
    warnings: &mut Vec<String>,
) -> VolumePlan {
    // Whatever size its type or its small size would keep: the script decided.
    let piece = &Piece { sizing: sizing::of_content(Some(volume)), ..*piece };
    let grown = |warnings| if expand { place::grow(piece, volume, place, warnings) } else { None };
    let resize = place::shrink(volume, place).or_else(|| grown(warnings));
    let clause = place::file_system_clause(resize, piece, place);
    let (old, new) = (format_size(piece.old.length()), format_size(place.length()));
    let size = if place.length() == piece.old.length() { new } else { format!("{new} instead of {old}") };
    VolumePlan {
        volume: volume.name.clone(),
        partition: Some(number),
        place,
        action: place::action(&volume.content),
        resize,
        reason: format!("Partition {number}, which the script made, has {size}{clause}."),
    }
}

fn table_end(table: &Table, sector: SectorSize) -> u64 {
    match table {
        Table::Gpt(gpt) => {
            let array = u64::from(gpt.entry_count).saturating_mul(gpt.entry_size_bytes.into());
            let start = sector.byte_of(gpt.entries_lba).unwrap_or(u64::MAX);
            start.saturating_add(array.div_ceil(sector.bytes()).saturating_mul(sector.bytes()))
        }
        Table::Mbr(_) | Table::None => sector.bytes(),
    }
}

fn same_kind(one: &Table, other: &Table) -> bool {
    matches!((one, other), (Table::Gpt(_), Table::Gpt(_)) | (Table::Mbr(_), Table::Mbr(_)))
}

/// The script's table with the boot code of the image, where the script wrote none and the code fits.
fn with_boot_code(disk: &Disk, made: &Table, sector: SectorSize, warnings: &mut Vec<String>) -> Table {
    let code = match &disk.table {
        Table::Gpt(gpt) => gpt.boot_sector.0.get(..CODE_BYTES).unwrap_or_default(),
        Table::Mbr(mbr) => mbr.boot_code.0.as_slice(),
        Table::None => &[],
    };
    let mut table = made.clone();
    if code.iter().all(|byte| *byte == 0) {
        return table;
    }
    if !same_kind(&disk.table, made) || sector != disk.logical_sector_bytes {
        warnings.push(
            "The boot code in front of the captured partitions is not written, because it was made for another kind of \
             table or of sectors: a BIOS will not boot from this disk before a boot loader is installed."
                .to_owned(),
        );
        return table;
    }
    match &mut table {
        Table::Gpt(gpt) => {
            if let Some(place) = gpt.boot_sector.0.get_mut(..code.len())
                && place.iter().all(|byte| *byte == 0)
            {
                place.copy_from_slice(code);
            }
        }
        Table::Mbr(mbr) if mbr.boot_code.0.iter().all(|byte| *byte == 0) => {
            mbr.boot_code = Hex(code.to_vec());
        }
        Table::Mbr(_) | Table::None => {}
    }
    table
}

/// What a boot loader has between the table and the first partition, where its code goes into the new table as well.
fn boot_area(
    disk: &Disk,
    table: &Table,
    there: &[(u32, ByteRange)],
    sector: SectorSize,
    warnings: &mut Vec<String>,
) -> Option<VolumePlan> {
    let volume = disk.volumes.iter().find(|volume| volume.role == Role::BootArea)?;
    if !same_kind(&disk.table, table) || sector != disk.logical_sector_bytes {
        return None;
    }
    let start = table_end(table, sector).max(table_end(&disk.table, sector));
    let first = there.iter().map(|(_, place)| place.start()).min()?;
    place::gap(volume, start, first_used(table, sector).min(first), warnings)
}

/// First byte of an extended partition, whose boot records nothing may cover.
fn first_used(table: &Table, sector: SectorSize) -> u64 {
    let Table::Mbr(mbr) = table else { return u64::MAX };
    let starts = mbr.partitions.iter().filter_map(|entry| sector.byte_of(entry.first_lba));
    starts.min().unwrap_or(u64::MAX)
}

fn clear(target: &Target, table: &Table, there: &[(u32, ByteRange)]) -> Vec<ByteRange> {
    let sector = target.disk.logical_sector_bytes;
    let disk = ByteRange::new(0, target.disk.size_bytes);
    let head = ByteRange::new(0, table_end(table, sector).max(place::CLEARED_BYTES));
    // The backup of a GPT is one sector and its array, as in front.
    let tail = disk.end().saturating_sub(table_end(table, sector).max(place::CLEARED_BYTES));
    let ends = there.iter().flat_map(|(_, place)| place::ends(*place));
    let set: RangeSet =
        ends.chain([head, ByteRange::new(tail, disk.end())]).map(|range| range.intersection(disk)).collect();
    set.ranges().to_vec()
}

fn empty_partitions(there: &[(u32, ByteRange)], volumes: &[VolumePlan]) -> Vec<String> {
    let written = |number: u32| {
        let mut mine = volumes.iter().filter(|volume| volume.partition == Some(number));
        mine.any(|volume| volume.action != VolumeAction::LeaveEmpty)
    };
    let empty = there.iter().map(|(number, _)| *number).filter(|number| !written(*number));
    empty
        .map(|number| {
            format!(
                "Nothing of the image goes into partition {number}, which the script made: it stays empty."
            )
        })
        .collect()
}

/// The partitions of a disk for a script, a line each: name of the volume, number, bytes, the least bytes, type, GUID
/// (`-` where there is none), and what it holds.
///
/// # Errors
/// [`Refusal::Unsound`] where the image contradicts itself, and those of what is left out.
pub fn partitions_for_a_script(disk: &Disk, options: &DeployOptions) -> Result<(Disk, String), Refusal> {
    let unshrunk = shrinking::unshrunk(std::slice::from_ref(disk).into(), options.shrinking);
    let disk = unshrunk.as_captured().disks.first().unwrap_or(disk);
    let disk = keep::without(disk, &choice::partitions_left_out(disk, options)?);
    let mut lines = String::new();
    for piece in layout::pieces_of(&disk)? {
        let Some(volume) = piece.volume else { continue };
        let number = piece.number();
        let least = match sizing::of_content(Some(volume)) {
            Sizing::Shared { minimum_bytes } => minimum_bytes,
            _ if volume.content == Content::LeftOut => 0,
            _ => volume.size_bytes,
        };
        let kind = number.and_then(|number| kind_of(&disk.table, number)).unwrap_or_else(|| "-".to_owned());
        let guid = number.and_then(|number| partition_guid(&disk.table, number));
        let guid = guid.map_or_else(|| "-".to_owned(), |guid| guid.to_string());
        let number = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let content = match &volume.content {
            Content::LeftOut => "left-out",
            content => content.file_system().map_or("unknown", |fs| fs.kind.name()),
        };
        let (name, size) = (&volume.name, volume.size_bytes);
        lines.push_str(&format!("{name} {number} {size} {least} {kind} {guid} {content}\n"));
    }
    Ok((disk, lines))
}

fn kind_of(table: &Table, number: u32) -> Option<String> {
    match table {
        Table::Gpt(gpt) => {
            let entry = gpt.partitions.iter().find(|entry| entry.number == number)?;
            Some(entry.type_guid.to_string())
        }
        Table::Mbr(mbr) => {
            let entry = mbr.partitions.iter().find(|entry| entry.number == number)?;
            Some(format!("{:02x}", entry.type_code))
        }
        Table::None => None,
    }
}
