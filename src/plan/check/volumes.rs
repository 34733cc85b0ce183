//! Judge what a plan does with each volume.

use super::{Entry, Fault};
use crate::plan::deploy::{DiskPlan, Resize, VolumeAction, VolumePlan};
use crate::plan::refusal::Part;
use crate::plan::{dynamic_disk, sizing};
use crate::schema::{Content, Disk, FileSystemKind, Role, State, Table, Volume};
use crate::units::ByteRange;

/// Every volume of the image once, at the place of its partition, large enough, and with its own content.
pub(super) fn check(plan: &DiskPlan, source: &Disk, entries: &[Entry], faults: &mut Vec<Fault>) {
    let disk = ByteRange::new(0, plan.target.size_bytes);
    for volume in &source.volumes {
        let plans: Vec<&VolumePlan> = plan.volumes.iter().filter(|p| p.volume == volume.name).collect();
        match plans.as_slice() {
            [one] => check_volume(plan, one, volume, entries, faults),
            // A gap behind the table that has no byte is not written.
            [] if volume.role == Role::BootArea => {}
            _ => faults.push(Fault::Volume { volume: volume.name.clone(), times: plans.len() }),
        }
    }
    let mut behind = 0;
    for volume in &plan.volumes {
        if !source.volumes.iter().any(|known| known.name == volume.volume) {
            faults.push(Fault::Volume { volume: volume.volume.clone(), times: 0 });
        }
        let part = volume.partition.map_or(Part::WholeDisk, Part::Partition);
        if !disk.contains(volume.place) {
            faults.push(Fault::Outside { part, place: volume.place, of: disk });
        }
        if volume.place.start() < behind {
            faults.push(Fault::Overlap { one: part, other: part });
        }
        behind = volume.place.end();
    }
}

pub(super) fn check_volume(
    disk: &DiskPlan,
    plan: &VolumePlan,
    volume: &Volume,
    entries: &[Entry],
    faults: &mut Vec<Fault>,
) {
    let name = || volume.name.clone();
    let number = match volume.role {
        Role::BootArea => return check_gap(disk, plan, volume, entries, faults),
        Role::Partition { number } => Some(number),
        Role::WholeDisk => None,
        Role::Logical { .. } => return faults.push(Fault::Disagree { volume: name() }),
    };
    let entry = entries.iter().find(|entry| Some(entry.number) == number && !entry.container);
    let agrees = match volume.role {
        Role::WholeDisk => entries.is_empty() && plan.place.start() == 0,
        _ => entry.is_some_and(|entry| entry.place == plan.place),
    };
    if plan.partition != number || !agrees {
        faults.push(Fault::Disagree { volume: name() });
    }
    // Whether a physical volume holds its group is judged with the group.
    let is_physical = matches!(volume.content, Content::PhysicalVolume(_));
    if plan.place.length() < volume.size_bytes && !is_physical && !shrinks(plan, volume) {
        let part = number.map_or(Part::WholeDisk, Part::Partition);
        let (has_bytes, needs_bytes) = (plan.place.length(), volume.size_bytes);
        faults.push(Fault::TooSmall { part, has_bytes, needs_bytes });
    }
    check_action(plan, volume, faults);
    let sector = disk.target.logical_sector_bytes.bytes();
    let whole_sectors = volume.size_bytes.div_ceil(sector).saturating_mul(sector);
    // The database of a dynamic disk moves to the end of a larger one.
    let is_dynamic_disk = dynamic_disk::is_whole(volume);
    if !can_grow(&volume.content) && !is_dynamic_disk && plan.place.length() > whole_sectors {
        faults.push(Fault::SizeChanged { volume: name() });
    }
    check_resize(plan, volume, faults);
}

/// What is written is what the content needs.
pub(super) fn check_action(plan: &VolumePlan, volume: &Volume, faults: &mut Vec<Fault>) {
    let expected = match &volume.content {
        Content::FileSystem(_) | Content::Raw { .. } => VolumeAction::Write,
        Content::PhysicalVolume(_) => VolumeAction::MakePhysicalVolume,
        Content::Swap(_) => VolumeAction::RecreateSwap,
        Content::LeftOut => VolumeAction::LeaveEmpty,
    };
    if plan.action != expected {
        faults.push(Fault::Action { volume: volume.name.clone() });
    }
}

/// A file system grows or shrinks from its captured size to that of its place.
pub(super) fn check_resize(plan: &VolumePlan, volume: &Volume, faults: &mut Vec<Fault>) {
    if let Some(Resize::Grow { kind, from_bytes, to_bytes }) = plan.resize {
        let grown = volume.content.file_system().filter(|_| can_grow(&volume.content));
        let matches = grown.is_some_and(|fs| fs.kind == kind && fs.size_bytes == from_bytes);
        if !matches || to_bytes != plan.place.length() || to_bytes <= from_bytes {
            faults.push(Fault::Growth { volume: volume.name.clone() });
        }
    }
    if matches!(plan.resize, Some(Resize::Shrink { .. })) && !shrinks(plan, volume) {
        faults.push(Fault::Shrinking { volume: volume.name.clone() });
    }
}

/// True where a volume is smaller than what was captured, and its file system is soundly shrunk into it.
pub(super) fn shrinks(plan: &VolumePlan, volume: &Volume) -> bool {
    let Some(Resize::Shrink { kind, from_bytes, to_bytes }) = plan.resize else { return false };
    let Content::FileSystem(fs) = &volume.content else { return false };
    let has_tool = matches!(
        kind,
        FileSystemKind::Btrfs
            | FileSystemKind::Ext2
            | FileSystemKind::Ext3
            | FileSystemKind::Ext4
            | FileSystemKind::Ntfs
    );
    has_tool
        && fs.kind == kind
        && fs.state == State::Clean
        && from_bytes == volume.size_bytes
        && to_bytes == plan.place.length()
        && (fs.minimum_bytes..from_bytes).contains(&to_bytes)
}

pub(super) fn can_grow(content: &Content) -> bool {
    match content {
        Content::PhysicalVolume(_) => true,
        Content::FileSystem(fs) => sizing::grows(fs.kind),
        Content::Raw { .. } | Content::Swap(_) | Content::LeftOut => false,
    }
}

/// A boot area is written only between the table and the first partition, and only what was captured.
pub(super) fn check_gap(
    disk: &DiskPlan,
    plan: &VolumePlan,
    volume: &Volume,
    entries: &[Entry],
    faults: &mut Vec<Fault>,
) {
    let VolumeAction::WriteGap { gap } = plan.action else {
        faults.push(Fault::Action { volume: volume.name.clone() });
        return;
    };
    let sector = disk.target.logical_sector_bytes.bytes();
    let table_end = match &disk.table {
        Table::Gpt(gpt) => {
            let array = u64::from(gpt.entry_count).saturating_mul(u64::from(gpt.entry_size_bytes));
            gpt.entries_lba.0.saturating_mul(sector).saturating_add(array)
        }
        Table::Mbr(_) | Table::None => sector,
    };
    let first = entries.iter().map(|entry| entry.place.start()).min().unwrap_or(disk.target.size_bytes);
    let allowed = ByteRange::new(table_end, first.min(volume.size_bytes));
    if plan.place != gap || plan.resize.is_some() || plan.partition.is_some() || !allowed.contains(gap) {
        faults.push(Fault::Action { volume: volume.name.clone() });
    }
}
