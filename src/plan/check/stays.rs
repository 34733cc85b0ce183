//! Judge what a plan leaves of the target: nothing that stays is touched, and what stays is what was found.

use super::{Entry, Fault, entries_of};
use crate::plan::deploy::{DiskPlan, VolumeAction, VolumePlan};
use crate::plan::keep::Stays;
use crate::plan::refusal::Part;
use crate::schema::{Content, Disk, Gpt, Mbr, Role, Table, Volume};
use crate::units::ByteRange;

/// No stretch that is cleared and no place of a volume touches what stays.
pub(super) fn check_spared(plan: &DiskPlan, faults: &mut Vec<Fault>) {
    let spared = plan.spared();
    for range in plan.clear.iter().filter(|range| spared.within(**range).next().is_some()) {
        faults.push(Fault::Spared { what: "what is cleared".to_owned(), range: *range });
    }
    for volume in plan.volumes.iter().filter(|volume| spared.within(volume.place).next().is_some()) {
        faults.push(Fault::Spared { what: volume.volume.clone(), range: volume.place });
    }
}

/// The kept partitions have in both new tables the entries that were found, and nothing new lies on them.
pub(super) fn check_kept(plan: &DiskPlan, faults: &mut Vec<Fault>) {
    let Stays::Partitions { numbers, found, meanwhile } = &plan.stays else { return };
    for table in [&plan.table, meanwhile] {
        for number in numbers {
            if !same_entry(found, table, *number) {
                faults.push(Fault::KeptChanged { number: *number });
            }
        }
    }
    if count(meanwhile) != numbers.len() {
        faults.push(Fault::TableChanged { what: "the kept partitions of the table in the meantime" });
    }
    if frame(&plan.table) != frame(meanwhile) {
        faults.push(Fault::TableMisplaced { what: "the table in the meantime lies elsewhere" });
    }
    let spared = plan.spared();
    for entry in entries_of(&plan.table, plan.target.logical_sector_bytes, faults) {
        if !numbers.contains(&entry.number) && spared.within(entry.place).next().is_some() {
            faults
                .push(Fault::Spared { what: Part::Partition(entry.number).to_string(), range: entry.place });
        }
    }
}

fn same_entry(one: &Table, other: &Table, number: u32) -> bool {
    match (one, other) {
        (Table::Gpt(one), Table::Gpt(other)) => {
            let entry = |gpt: &Gpt| gpt.partitions.iter().find(|p| p.number == number).cloned();
            entry(one).is_some() && entry(one) == entry(other)
        }
        (Table::Mbr(one), Table::Mbr(other)) => {
            let entry = |mbr: &Mbr| mbr.partitions.iter().find(|p| p.number == number).cloned();
            entry(one).is_some() && entry(one) == entry(other)
        }
        _ => false,
    }
}

fn count(table: &Table) -> usize {
    match table {
        Table::Gpt(gpt) => gpt.partitions.len(),
        Table::Mbr(mbr) => mbr.partitions.len(),
        Table::None => 0,
    }
}

/// The frame of a table: where its parts lie, apart from code and partitions.
fn frame(table: &Table) -> (Option<[u64; 5]>, Option<u32>) {
    match table {
        Table::Gpt(gpt) => (
            Some([
                gpt.entry_count.into(),
                gpt.entry_size_bytes.into(),
                gpt.entries_lba.0,
                gpt.first_usable_lba.0,
                gpt.last_usable_lba.0,
            ]),
            None,
        ),
        Table::Mbr(mbr) => (None, Some(mbr.disk_signature)),
        Table::None => (None, None),
    }
}

/// A plan that keeps the table: each volume lies in the partition that was found, large enough, and all that is
/// cleared lies in these.
pub(super) fn check_existing(plan: &DiskPlan, source: &Disk, found: &Table, faults: &mut Vec<Fault>) {
    if plan.table != *found {
        faults.push(Fault::TableChanged { what: "a table that is kept" });
    }
    let entries = entries_of(found, plan.target.logical_sector_bytes, faults);
    for planned in &plan.volumes {
        let left_out = |volume: &&Volume| volume.name == planned.volume && volume.content == Content::LeftOut;
        let unfit = matches!(planned.action, VolumeAction::LeaveEmpty | VolumeAction::MakePhysicalVolume);
        if unfit || source.volumes.iter().any(|volume| left_out(&volume)) {
            faults.push(Fault::Action { volume: planned.volume.clone() });
        }
    }
    check_placed(plan, source, &entries, faults);
}

/// Each volume that goes into a partition, whatever the table of the image said of it, lies in one that is there and
/// large enough, and alone in it.
pub(super) fn check_placed(plan: &DiskPlan, source: &Disk, entries: &[Entry], faults: &mut Vec<Fault>) {
    let disk = ByteRange::new(0, plan.target.size_bytes);
    let in_partition = |planned: &&VolumePlan| !matches!(planned.action, VolumeAction::WriteGap { .. });
    let placed: Vec<&VolumePlan> = plan.volumes.iter().filter(in_partition).collect();
    for (index, planned) in placed.iter().enumerate() {
        let name = || planned.volume.clone();
        let earlier = || placed.iter().take(index);
        let captured = source.volumes.iter().find(|volume| volume.name == planned.volume);
        let Some(captured) = captured.filter(|_| earlier().all(|other| other.volume != planned.volume))
        else {
            faults.push(Fault::Volume { volume: name(), times: 2 });
            continue;
        };
        let at = |entry: &&Entry| Some(entry.number) == planned.partition && !entry.container;
        let Some(entry) = entries.iter().find(at).filter(|entry| entry.place == planned.place) else {
            faults.push(Fault::Disagree { volume: name() });
            continue;
        };
        let part = Part::Partition(entry.number);
        if !disk.contains(planned.place) {
            faults.push(Fault::Outside { part, place: planned.place, of: disk });
        }
        for other in earlier().filter(|other| other.place.overlaps(planned.place)) {
            let other = other.partition.map_or(Part::WholeDisk, Part::Partition);
            faults.push(Fault::Overlap { one: other, other: part });
        }
        let expected = match captured.content {
            Content::FileSystem(_) | Content::Raw { .. } => VolumeAction::Write,
            Content::PhysicalVolume(_) => VolumeAction::MakePhysicalVolume,
            Content::Swap(_) => VolumeAction::RecreateSwap,
            Content::LeftOut => VolumeAction::LeaveEmpty,
        };
        if expected != planned.action || captured.role == Role::BootArea {
            faults.push(Fault::Action { volume: name() });
        }
        let (has_bytes, needs_bytes) = (planned.place.length(), captured.size_bytes);
        let shrinks = super::volumes::shrinks(planned, captured);
        if planned.action == VolumeAction::Write && has_bytes < needs_bytes && !shrinks {
            faults.push(Fault::TooSmall { part, has_bytes, needs_bytes });
        }
        super::volumes::check_resize(planned, captured, faults);
    }
}
