//! Single volumes into partitions that a target already has: its table stays, and every byte outside them.

use super::deploy::{DeployOptions, DiskPlan, VolumeAction, VolumePlan};
use super::keep::{Stays, Target, places};
use super::layout::{Piece, Tie};
use super::refusal::{Part, Refusal};
use super::sectors::{self, Verdict};
use super::sizing::Sizing;
use super::special::Special;
use super::{dynamic_disk, place, sizing};
use crate::machine::MachineDisk;
use crate::schema::{ChosenVolume, Content, Disk, FileSystemKind, Layout, Role, Table, Volume};
use crate::units::{ByteRange, Guid, RangeSet};

/// Decides where the chosen volumes of a disk go; all of them where none is chosen.
pub(super) fn restore_into(
    disk: &Disk,
    target: &Target,
    chosen: &[ChosenVolume],
    options: &DeployOptions,
) -> Result<DiskPlan, Refusal> {
    let path = || target.disk.path.clone();
    let found = target.found.as_ref().unwrap_or(&Table::None);
    let wanted = volumes_of(disk, chosen)?;
    if *found == Table::None && !wanted.is_empty() {
        return Err(Refusal::NoTable { target: path() });
    }
    let there = places(found, target.disk.logical_sector_bytes);
    let mut warnings = Vec::new();
    let mut volumes: Vec<VolumePlan> = Vec::new();
    for (volume, wanted) in wanted {
        let numbers = || there.iter().map(|(number, _)| *number).collect::<Vec<_>>();
        let number = match wanted.or_else(|| matching(disk, volume, found)) {
            Some(number) => number,
            None => {
                let volume = volume.name.clone();
                return Err(Refusal::NoMatch { volume, target: path(), numbers: numbers() });
            }
        };
        let place = there.iter().find(|(other, _)| *other == number).map(|(_, place)| *place);
        let place =
            place.ok_or_else(|| Refusal::NoPartition { target: path(), number, numbers: numbers() })?;
        if let Some(other) = volumes.iter().find(|other| other.partition == Some(number)) {
            let (volume, other) = (volume.name.clone(), other.volume.clone());
            return Err(Refusal::PartitionTwice { volume, other, target: path(), number });
        }
        judge(disk, volume, number, place, target, &mut warnings)?;
        warnings.extend(other_type(&disk.table, volume.role, found, number));
        volumes.push(volume_plan(volume, number, place, options.expand, &mut warnings));
    }
    volumes.sort_by_key(|volume| volume.place);
    let clear: RangeSet = volumes.iter().flat_map(|volume| place::ends(volume.place)).collect();
    let minimum_disk_bytes = volumes.iter().map(|volume| volume.place.end()).max().unwrap_or_default();
    let clear = clear.ranges().to_vec();
    let plan = untouched(&target.disk, found, options);
    warnings.extend(plan.warnings);
    Ok(DiskPlan {
        source_number: Some(disk.number),
        source_bytes: disk.size_bytes,
        minimum_disk_bytes,
        clear,
        volumes,
        warnings,
        ..plan
    })
}

/// A disk of which nothing is written but, perhaps, logical volumes.
pub(super) fn untouched(target: &MachineDisk, found: &Table, options: &DeployOptions) -> DiskPlan {
    let mut warnings = Vec::new();
    DiskPlan {
        source_number: None,
        source_bytes: 0,
        target: target.clone(),
        layout: Layout::Original,
        minimum_disk_bytes: 0,
        clear: Vec::new(),
        free_space: super::deploy::clearing(options.free_space, target, &mut warnings),
        volumes: Vec::new(),
        table: found.clone(),
        made: Vec::new(),
        stays: Stays::Table { found: found.clone(), extents: Vec::new() },
        without: Vec::new(),
        script_output: None,
        new_names: Vec::new(),
        warnings,
    }
}

/// The volumes to restore, each with the partition that a person named for it.
fn volumes_of<'a>(
    disk: &'a Disk,
    chosen: &[ChosenVolume],
) -> Result<Vec<(&'a Volume, Option<u32>)>, Refusal> {
    if chosen.is_empty() {
        let stored = disk.volumes.iter().filter(|volume| is_restorable(volume));
        return Ok(stored.map(|volume| (volume, None)).collect());
    }
    let mut volumes = Vec::new();
    for choice in chosen {
        let Some(volume) = disk.volumes.iter().find(|volume| volume.name == choice.volume) else { continue };
        let refuse = |reason: &str| {
            Err(Refusal::NotRestorable { volume: choice.volume.clone(), reason: reason.to_owned() })
        };
        if volume.role == Role::BootArea {
            return refuse("it belongs to the table, which stays; leave it out");
        }
        if volume.content == Content::LeftOut {
            return refuse("the image does not hold its content; choose another volume");
        }
        if let Content::PhysicalVolume(_) = volume.content {
            return refuse(
                "a physical volume is made anew with its whole disk only; name the logical volumes in it (g0-l1), or leave \
                 out --keep-table",
            );
        }
        volumes.push((volume, choice.partition()));
    }
    Ok(volumes)
}

/// True for a volume that goes into a partition where no volume is named.
pub(super) fn is_restorable(volume: &Volume) -> bool {
    volume.role != Role::BootArea && !matches!(volume.content, Content::LeftOut | Content::PhysicalVolume(_))
}

/// The partition that a volume was captured from: with its GUID, else with its number and type.
fn matching(disk: &Disk, volume: &Volume, found: &Table) -> Option<u32> {
    let Role::Partition { number } = volume.role else { return None };
    if let (Table::Gpt(image), Table::Gpt(found)) = (&disk.table, found) {
        let guid = image.partitions.iter().find(|entry| entry.number == number)?.partition_guid;
        let mut same = found.partitions.iter().filter(|entry| entry.partition_guid == guid);
        if let (Some(entry), None) = (same.next(), same.next()) {
            return Some(entry.number);
        }
    }
    let kind = kind_of(&disk.table, number)?;
    (kind_of(found, number)? == kind).then_some(number)
}

/// What a partition's entry says about its content.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Gpt(Guid),
    Mbr(u8),
}

fn kind_of(table: &Table, number: u32) -> Option<Kind> {
    match table {
        Table::Gpt(gpt) => {
            let entry = gpt.partitions.iter().find(|entry| entry.number == number)?;
            Some(Kind::Gpt(entry.type_guid))
        }
        Table::Mbr(mbr) => {
            let entry = mbr.partitions.iter().find(|entry| entry.number == number)?;
            Some(Kind::Mbr(entry.type_code))
        }
        Table::None => None,
    }
}

/// What the image's table says about a volume by its type.
fn special(table: &Table, role: Role) -> Option<Special> {
    let Role::Partition { number } = role else { return None };
    match kind_of(table, number)? {
        Kind::Gpt(guid) => Special::of_gpt(guid),
        Kind::Mbr(code) => Special::of_mbr(code),
    }
}

/// Warns where the entry of the target says something else about its content than the image's did.
pub(super) fn other_type(image: &Table, role: Role, found: &Table, number: u32) -> Option<String> {
    let Role::Partition { number: was } = role else { return None };
    let (old, new) = (kind_of(image, was)?, kind_of(found, number)?);
    let same_table = matches!((&old, &new), (Kind::Gpt(_), Kind::Gpt(_)) | (Kind::Mbr(_), Kind::Mbr(_)));
    (same_table && old != new).then(|| {
        format!(
            "Partition {number} has another type than partition {was} of the image had, and keeps it; a system may not \
             take the partition for what it holds now."
        )
    })
}

/// The smallest place for a volume.
pub(super) fn needed_bytes(volume: &Volume) -> u64 {
    match (&volume.content, sizing::of_content(Some(volume))) {
        // It is made anew with the size that is there.
        (Content::Swap(_), _) => 0,
        (_, Sizing::Shared { minimum_bytes }) => minimum_bytes,
        _ => volume.size_bytes,
    }
}

/// The kind of a volume that is a member of an array and counts from its end, so that it cannot have another size.
pub(super) fn member_kind(volume: &Volume) -> Option<FileSystemKind> {
    let kind = volume.content.file_system()?.kind;
    matches!(kind, FileSystemKind::MdMember | FileSystemKind::FirmwareRaid).then_some(kind)
}

/// Refuses a place of another size for a member of an array, and any for a part of a dynamic disk; `place` says which.
pub(super) fn check_member(
    volume: &Volume,
    has_bytes: u64,
    place: impl FnOnce() -> String,
) -> Result<(), Refusal> {
    dynamic_disk::refuse_elsewhere(volume)?;
    let needs_bytes = volume.size_bytes;
    match member_kind(volume) {
        Some(kind) if has_bytes != needs_bytes => {
            let volume = volume.name.clone();
            Err(Refusal::MemberPlace { volume, kind, place: place(), has_bytes, needs_bytes })
        }
        _ => Ok(()),
    }
}

/// Refuses a partition that is too small, or of another size than a member of an array, or whose sectors the content cannot live on.
pub(super) fn judge(
    disk: &Disk,
    volume: &Volume,
    number: u32,
    place: ByteRange,
    target: &Target,
    warnings: &mut Vec<String>,
) -> Result<(), Refusal> {
    let (has_bytes, needs_bytes) = (place.length(), needed_bytes(volume));
    if has_bytes < needs_bytes {
        let (volume, target) = (volume.name.clone(), target.disk.path.clone());
        return Err(Refusal::PlaceTooSmall { volume, target, number, has_bytes, needs_bytes });
    }
    check_member(volume, has_bytes, || format!("partition {number} of {}", target.disk.path))?;
    let (from_bytes, to_bytes) = (disk.logical_sector_bytes, target.disk.logical_sector_bytes);
    let part = match volume.role {
        Role::Partition { number } => Part::Partition(number),
        Role::WholeDisk | Role::BootArea => Part::WholeDisk,
        Role::Logical { group, number } => Part::Logical { group, number },
    };
    match sectors::judge(volume, special(&disk.table, volume.role), from_bytes, to_bytes) {
        Verdict::Fine => Ok(()),
        Verdict::Warn(what) => {
            warnings.push(format!("Of {part}: {what}."));
            Ok(())
        }
        Verdict::Refuse(reason) => {
            Err(Refusal::SectorSize { disk: disk.number, part, from_bytes, to_bytes, reason })
        }
    }
}

fn volume_plan(
    volume: &Volume,
    number: u32,
    place: ByteRange,
    expand: bool,
    warnings: &mut Vec<String>,
) -> VolumePlan {
    let piece = Piece {
        part: Part::Partition(number),
        old: ByteRange::new(volume.start_bytes, volume.start_bytes.saturating_add(volume.size_bytes)),
        tie: Tie::Primary,
        special: None,
        volume: Some(volume),
        sizing: sizing::of_content(Some(volume)),
    };
    let grown = |warnings| if expand { place::grow(&piece, volume, place, warnings) } else { None };
    let resize = place::shrink(volume, place).or_else(|| grown(warnings));
    let clause = place::file_system_clause(resize, &piece, place);
    let action = place::action(&volume.content);
    debug_assert!(action != VolumeAction::LeaveEmpty);
    VolumePlan {
        volume: volume.name.clone(),
        partition: Some(number),
        place,
        action,
        resize,
        reason: format!(
            "Partition {number} of the target is overwritten, and keeps its place and its size{clause}."
        ),
    }
}
