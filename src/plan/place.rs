//! What is written to the places of a layout: volumes, their growth, and what is cleared before.

use super::deploy::{Resize, VolumeAction, VolumePlan};
use super::dynamic_disk;
use super::layout::{ALIGNMENT_BYTES, Arrangement, Ground, Piece, Tie};
use super::refusal::Part;
use super::sizing::{Sizing, largest_bytes};
use crate::schema::{Content, FileSystemKind, Layout, Role, Volume, WantedSize};
use crate::units::{ByteRange, MIB, RangeSet, format_size};

/// What is cleared at either end of the disk and of every partition: there stand the signatures of tables,
/// file systems, arrays and volume groups.
pub(super) const CLEARED_BYTES: u64 = MIB;

/// The plan of every volume, in disk order.
pub(super) fn volumes(
    ground: &Ground<'_>,
    arrangement: &Arrangement,
    layout: Layout,
    expand: bool,
    warnings: &mut Vec<String>,
) -> Vec<VolumePlan> {
    let boot_areas = ground.source.volumes.iter().filter(|volume| volume.role == Role::BootArea);
    let mut plans: Vec<VolumePlan> =
        boot_areas.filter_map(|volume| boot_area(ground, arrangement, volume, warnings)).collect();
    for (piece, place) in ground.pieces.iter().zip(&arrangement.places) {
        if let Some(volume) = piece.volume {
            let shrunk = shrink(volume, *place);
            let grown = || if expand { grow(piece, volume, *place, warnings) } else { None };
            let resize = shrunk.or_else(grown);
            plans.push(volume_plan(piece, volume, *place, layout, resize));
        }
        let empty = piece.volume.is_none_or(|volume| volume.content == Content::LeftOut);
        if empty && piece.tie != Tie::EmptyContainer && layout != Layout::Standard {
            warnings.push(format!("The image does not hold the content of {}: it stays empty.", piece.part));
        }
    }
    plans
}

pub(super) fn volume_plan(
    piece: &Piece<'_>,
    volume: &Volume,
    place: ByteRange,
    layout: Layout,
    resize: Option<Resize>,
) -> VolumePlan {
    VolumePlan {
        volume: volume.name.clone(),
        partition: piece.number(),
        place,
        action: action(&volume.content),
        resize,
        reason: reason(piece, place, layout, resize),
    }
}

/// What is written for a content.
pub(super) fn action(content: &Content) -> VolumeAction {
    match content {
        Content::FileSystem(_) | Content::Raw { .. } => VolumeAction::Write,
        Content::PhysicalVolume(_) => VolumeAction::MakePhysicalVolume,
        Content::Swap(_) => VolumeAction::RecreateSwap,
        Content::LeftOut => VolumeAction::LeaveEmpty,
    }
}

/// A file system shrinks where its volume did.
pub(super) fn shrink(volume: &Volume, place: ByteRange) -> Option<Resize> {
    let Content::FileSystem(fs) = &volume.content else { return None };
    let (from_bytes, to_bytes) = (volume.size_bytes, place.length());
    (to_bytes < from_bytes).then_some(Resize::Shrink { kind: fs.kind, from_bytes, to_bytes })
}

/// A file system grows where its volume did; where it left room in its volume before, it goes on to.
pub(super) fn grow(
    piece: &Piece<'_>,
    volume: &Volume,
    place: ByteRange,
    warnings: &mut Vec<String>,
) -> Option<Resize> {
    let Content::FileSystem(fs) = &volume.content else { return None };
    if matches!(piece.sizing, Sizing::Fixed(_)) || dynamic_disk::is_part(volume) {
        return None;
    }
    if place.length() <= piece.old.length() || place.length() <= fs.size_bytes {
        return None;
    }
    if place.length() > largest_bytes(fs) {
        warnings.push(format!(
            "The {} of {} stays at {}: with {}-byte blocks it cannot become larger than {}.",
            fs.kind,
            piece.part,
            format_size(fs.size_bytes),
            fs.block_size_bytes,
            format_size(largest_bytes(fs))
        ));
        return None;
    }
    Some(Resize::Grow { kind: fs.kind, from_bytes: fs.size_bytes, to_bytes: place.length() })
}

fn reason(piece: &Piece<'_>, place: ByteRange, layout: Layout, resize: Option<Resize>) -> String {
    let name = match piece.part {
        Part::Partition(number) => format!("Partition {number}"),
        Part::WholeDisk => "The volume".to_owned(),
        Part::Table => "The table".to_owned(),
        Part::Logical { .. } => "The logical volume".to_owned(),
    };
    let (old, new) = (format_size(piece.old.length()), format_size(place.length()));
    let size = match piece.sizing {
        _ if place.length() > piece.old.length() && piece.volume.is_some_and(dynamic_disk::is_whole) => {
            format!("{name} has {new} instead of {old}, for it is a Windows dynamic disk")
        }
        _ if layout == Layout::Original => format!("{name} stays at its place with {new}"),
        Sizing::Fixed(why) if place.length() == piece.old.length() => {
            format!("{name} keeps its {new}, because {why}")
        }
        Sizing::Fixed(_) => format!("{name} keeps its {old}, rounded up to a whole sector"),
        Sizing::Chosen { .. } => format!("{name} has {new} instead of {old}, as was asked for"),
        Sizing::Part { hundredths, .. } => format!(
            "{name} has {new} instead of {old}; {} of the disk were asked for",
            WantedSize::Percent(hundredths)
        ),
        Sizing::Shared { .. } if layout == Layout::Standard => {
            format!("{name} has {new} instead of {old}, all that the others leave")
        }
        Sizing::Shared { .. } if place.length() == piece.old.length() => format!("{name} keeps its {new}"),
        Sizing::Shared { .. } if piece.part == Part::WholeDisk => {
            format!("{name} has {new} instead of {old}, because it is alone on the disk")
        }
        Sizing::Shared { minimum_bytes }
            if place.length() < piece.old.length()
                && place.length() < minimum_bytes.saturating_add(ALIGNMENT_BYTES) =>
        {
            format!("{name} has {new} instead of {old}, the least that its content needs")
        }
        Sizing::Shared { .. } => {
            let whole = if matches!(piece.part, Part::Logical { .. }) { "group" } else { "disk" };
            format!(
                "{name} has {new} instead of {old}, its share of the {whole} in proportion to its original size"
            )
        }
    };
    let file_system = file_system_clause(resize, piece, place);
    format!("{size}{file_system}.")
}

/// What happens to the content, as the rest of a sentence.
pub(super) fn file_system_clause(resize: Option<Resize>, piece: &Piece<'_>, place: ByteRange) -> String {
    match (resize, piece.volume.map(|volume| &volume.content)) {
        // ntfsresize marks what it changed for a check, and only Windows has the checker.
        (Some(Resize::Grow { kind: FileSystemKind::Ntfs, .. }), _) => {
            "; its NTFS file system grows with it, and Windows checks it at its next start".to_owned()
        }
        (Some(Resize::Grow { kind, .. }), _) => format!("; its {kind} file system grows with it"),
        (Some(Resize::Shrink { kind: FileSystemKind::Ntfs, .. }), _) => {
            "; its NTFS file system is shrunk on the way, and Windows checks it at its next start".to_owned()
        }
        (Some(Resize::Shrink { kind, .. }), _) => {
            format!("; its {kind} file system is shrunk on the way")
        }
        (None, _)
            if place.length() > piece.old.length() && piece.volume.is_some_and(dynamic_disk::is_whole) =>
        {
            "; its database moves to the end of the disk, and its volumes stay as they are".to_owned()
        }
        (None, Some(Content::FileSystem(fs))) if place.length() > piece.old.length() => {
            format!("; its {} file system stays at {}", fs.kind, format_size(fs.size_bytes))
        }
        (None, Some(Content::PhysicalVolume(found))) => {
            let group = found.label.as_deref().unwrap_or_default();
            format!("; the volumes of the group {group} are laid out in it")
        }
        (None, Some(Content::Swap(_))) => "; it is made anew with the same UUID and label".to_owned(),
        (None, Some(Content::LeftOut)) => "; it stays empty".to_owned(),
        _ => String::new(),
    }
}

/// Of the captured boot area, what lies between the tables and the first partition of both disks.
fn boot_area(
    ground: &Ground<'_>,
    arrangement: &Arrangement,
    volume: &Volume,
    warnings: &mut Vec<String>,
) -> Option<VolumePlan> {
    let (new_table_end, old_table_end) = ground.table_ends();
    let new_end = ground.first_start(arrangement).unwrap_or_else(|| ground.usable_end());
    gap(volume, new_table_end.max(old_table_end), new_end, warnings)
}

/// Of a captured boot area, what lies behind the tables and in front of the first partition.
pub(super) fn gap(
    volume: &Volume,
    start: u64,
    new_end: u64,
    warnings: &mut Vec<String>,
) -> Option<VolumePlan> {
    let gap = ByteRange::new(start, volume.size_bytes.min(new_end));
    if new_end < volume.size_bytes {
        warnings.push(format!(
            "The boot area had {} in front of the first partition and has {} now; a boot loader that lies \
             behind byte {new_end} is lost.",
            format_size(volume.size_bytes),
            format_size(new_end)
        ));
    }
    (!gap.is_empty()).then(|| VolumePlan {
        volume: volume.name.clone(),
        partition: None,
        place: gap,
        action: VolumeAction::WriteGap { gap },
        resize: None,
        reason: format!(
            "The {} between the table and the first partition stay at their place: boot loaders live there.",
            format_size(gap.length())
        ),
    })
}

/// Both ends of a partition, where the signature of its old content may stand.
pub(super) fn ends(range: ByteRange) -> [ByteRange; 2] {
    let head_end = range.start().saturating_add(CLEARED_BYTES).min(range.end());
    let tail_start = range.end().saturating_sub(CLEARED_BYTES).max(range.start());
    [ByteRange::new(range.start(), head_end), ByteRange::new(tail_start, range.end())]
}

/// What is zeroed first: both ends of the disk, its table, and both ends of every partition.
pub(super) fn clear(ground: &Ground<'_>, arrangement: &Arrangement) -> Vec<ByteRange> {
    let disk = ByteRange::new(0, ground.disk_bytes);
    let (table_end, _) = ground.table_ends();
    let head = ByteRange::new(0, table_end.max(CLEARED_BYTES));
    let tail_start = disk.end().saturating_sub(ground.back().max(CLEARED_BYTES));
    let tail = ByteRange::new(tail_start, disk.end());
    let places = arrangement.places.iter().flat_map(|place| ends(*place));
    let mut set: RangeSet = places.chain([head, tail]).map(|range| range.intersection(disk)).collect();
    ground.kept.iter().for_each(|kept| set.remove(kept.place));
    set.ranges().to_vec()
}

/// Says what of the disk no partition uses, and why.
pub(super) fn unused_space(ground: &Ground<'_>, arrangement: &Arrangement) -> Option<String> {
    let kept = ground.kept.iter().map(|kept| &kept.place);
    let used = arrangement.places.iter().chain(kept).map(|place| place.end()).max()?;
    let beyond = ground.disk_bytes.saturating_sub(ground.usable_end());
    if ground.is_mbr() && beyond > 0 {
        return Some(format!(
            "An MBR reaches only {} far on {}-byte sectors: {} at the end of the disk stay unused.",
            format_size(ground.usable_end()),
            ground.sector,
            format_size(beyond)
        ));
    }
    let unused = ground.usable_end().saturating_sub(used);
    (unused >= ALIGNMENT_BYTES).then(|| {
        let size = format_size(unused);
        format!("{size} at the end of the disk stay unused, because no partition takes a share of them.")
    })
}
