//! Read a finished plan once more, with nothing of the code that made it.
//!
//! What is asked here is what would cost data: overlaps, misalignment, places outside the disk or the
//! table, volumes smaller than what goes into them, a table that disagrees with the volumes, file systems
//! that are grown to another size than their volume's.

mod boot_entries;
mod existing_group;
mod fault;
mod gpt;
mod group;
mod identifiers;
mod mbr;
mod scripted;
mod shrinking;
mod standard;
mod stays;
mod volumes;

pub use fault::Fault;

use super::captured::Captured;
use super::deploy::{DeployPlan, DiskPlan, Resize, VolumeAction};
use super::keep::{self, Stays};
use super::refusal::Part;
use crate::schema::{Disk, Layout, Table};
use crate::units::{ByteRange, Lba, MIB, SectorSize};

/// Judges a plan for the disks of its image.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check<'a>(plan: &DeployPlan, captured: impl Into<Captured<'a>>) -> Result<(), Vec<Fault>> {
    let captured: Captured<'_> = captured.into();
    let disks = captured.disks;
    let mut faults = Vec::new();
    for (index, disk_plan) in plan.disks.iter().enumerate() {
        let earlier = || plan.disks.iter().take(index);
        if earlier().any(|other| other.target.path == disk_plan.target.path) {
            faults.push(Fault::Repeated { target: disk_plan.target.path.clone() });
        }
        // What is written of a target that receives no disk is judged with its groups.
        let Some(number) = disk_plan.source_number else {
            if !matches!(disk_plan.stays, Stays::Table { .. }) {
                faults.push(Fault::TableChanged { what: "the table of a target that receives no disk" });
            }
            check_cleared(disk_plan, &mut faults);
            continue;
        };
        match disks.iter().find(|disk| disk.number == number) {
            Some(_) if plan.without.contains(&number) => faults.push(Fault::Unknown { disk: number }),
            Some(source) => match &disk_plan.stays {
                _ if disk_plan.layout == Layout::Script => {
                    scripted::check(disk_plan, &keep::without(source, &disk_plan.without), &mut faults);
                    check_cleared(disk_plan, &mut faults);
                }
                Stays::Table { found, .. } => {
                    stays::check_existing(disk_plan, source, found, &mut faults);
                    check_cleared(disk_plan, &mut faults);
                }
                _ if disk_plan.layout == Layout::Standard => standard::check(disk_plan, source, &mut faults),
                Stays::Nothing | Stays::Partitions { .. } => {
                    let source = keep::without(source, &disk_plan.without);
                    let source = identifiers::with_new_names(source, disk_plan, &mut faults);
                    check_disk(disk_plan, &source, &mut faults);
                }
            },
            None => faults.push(Fault::Unknown { disk: number }),
        }
    }
    for disk in disks.iter().filter(|disk| !plan.without.contains(&disk.number)) {
        if !plan.disks.iter().any(|disk_plan| disk_plan.source_number == Some(disk.number)) {
            faults.push(Fault::Forgotten { disk: disk.number });
        }
    }
    for step in plan.steps.iter().filter(|step| !step.is_in(plan)) {
        faults.push(Fault::Step { step: step.to_string(), volume: step.volume().into_owned() });
    }
    shrinking::check(plan, captured, &mut faults);
    group::check(plan, captured, &mut faults);
    boot_entries::check(plan, &mut faults);
    existing_group::check(plan, captured, &mut faults);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// A partition of a table, in bytes.
#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u32,
    place: ByteRange,
    /// True for the container of logical partitions, which is no place for a volume.
    container: bool,
}

/// The bytes of some sectors; `None` where there are none or they do not fit in 64 bits.
fn bytes_of(sector: SectorSize, first: Lba, sectors: u64) -> Option<ByteRange> {
    let behind = first.0.checked_add(sectors)?;
    let range = ByteRange::new(sector.byte_of(first)?, sector.byte_of(Lba(behind))?);
    (!range.is_empty()).then_some(range)
}

/// The partitions of a table in bytes.
fn entries_of(table: &Table, sector: SectorSize, faults: &mut Vec<Fault>) -> Vec<Entry> {
    match table {
        Table::Gpt(gpt) => gpt::entries(gpt, sector, faults),
        Table::Mbr(mbr) => mbr::entries(mbr, sector, faults),
        Table::None => Vec::new(),
    }
}

fn check_disk(plan: &DiskPlan, source: &Disk, faults: &mut Vec<Fault>) {
    if plan.minimum_disk_bytes > plan.target.size_bytes {
        faults.push(Fault::BelowMinimum { minimum_bytes: plan.minimum_disk_bytes });
    }
    // What is kept has its own rules; all the rest is the image's.
    let kept = plan.staying();
    let own = keep::table_without(&plan.table, &kept);
    match (&own, &source.table) {
        (Table::Gpt(new), Table::Gpt(old)) => gpt::check(new, old, plan, faults),
        (Table::Mbr(new), Table::Mbr(old)) => mbr::check(new, old, plan, faults),
        (Table::None, Table::None) => {}
        _ => {
            faults.push(Fault::TableChanged { what: "its kind" });
            return;
        }
    }
    let sector = plan.target.logical_sector_bytes;
    let old = entries_of(&source.table, source.logical_sector_bytes, faults);
    let new = entries_of(&own, sector, faults);
    check_entries(plan, &new, &old, faults);
    let all = entries_of(&plan.table, sector, faults);
    volumes::check(plan, source, &all, faults);
    stays::check_kept(plan, faults);
    check_cleared(plan, faults);
}

fn check_entries(plan: &DiskPlan, new: &[Entry], old: &[Entry], faults: &mut Vec<Fault>) {
    let disk = ByteRange::new(0, plan.target.size_bytes);
    for (index, entry) in new.iter().enumerate() {
        let part = Part::Partition(entry.number);
        if !disk.contains(entry.place) {
            faults.push(Fault::Outside { part, place: entry.place, of: disk });
        }
        for other in new.iter().take(index).filter(|other| !other.container && !entry.container) {
            if other.place.overlaps(entry.place) {
                faults.push(Fault::Overlap { one: Part::Partition(other.number), other: part });
            }
        }
        let Some(before) = old.iter().find(|before| before.number == entry.number) else {
            faults.push(Fault::TableChanged { what: "the numbers of its partitions" });
            continue;
        };
        let shrinks = plan.volumes.iter().any(|volume| {
            // Whether soundly is judged with the volume.
            let judged = matches!(volume.resize, Some(Resize::Shrink { .. }))
                || volume.action == VolumeAction::MakePhysicalVolume;
            volume.partition == Some(entry.number) && judged
        });
        if !entry.container && !shrinks && entry.place.length() < before.place.length() {
            let (has_bytes, needs_bytes) = (entry.place.length(), before.place.length());
            faults.push(Fault::TooSmall { part, has_bytes, needs_bytes });
        }
        let stayed = entry.place.start() == before.place.start();
        let aligned = entry.place.start().is_multiple_of(MIB);
        if !stayed && (!aligned || plan.layout == Layout::Original) {
            faults.push(Fault::Misaligned { part, start_bytes: entry.place.start() });
        }
        if plan.layout == Layout::Original && entry.place != before.place {
            faults.push(Fault::Moved { part });
        }
    }
    if new.len() != old.len() {
        faults.push(Fault::TableChanged { what: "the number of its partitions" });
    }
    let order = |entries: &[Entry]| {
        let mut entries: Vec<&Entry> = entries.iter().collect();
        entries.sort_by_key(|entry| (entry.place.start(), !entry.container));
        entries.iter().map(|entry| entry.number).collect::<Vec<_>>()
    };
    if order(new) != order(old) {
        faults.push(Fault::TableChanged { what: "the order of its partitions on the disk" });
    }
}

fn check_cleared(plan: &DiskPlan, faults: &mut Vec<Fault>) {
    let disk = ByteRange::new(0, plan.target.size_bytes);
    let mut behind = None;
    for range in &plan.clear {
        let ascending = behind.is_none_or(|behind| behind <= range.start());
        if range.is_empty() || !ascending || !disk.contains(*range) {
            faults.push(Fault::Cleared { range: *range });
        }
        behind = Some(range.end());
    }
    stays::check_spared(plan, faults);
    if let Stays::Table { .. } = plan.stays {
        return;
    }
    // A table of the previous use must not survive in front of or behind the new one.
    let sector = plan.target.logical_sector_bytes.bytes();
    let whole =
        plan.target.size_bytes.saturating_sub(plan.target.size_bytes.checked_rem(sector).unwrap_or(0));
    let first = ByteRange::new(0, sector.saturating_mul(2).min(whole));
    let last = ByteRange::new(whole.saturating_sub(sector), whole);
    let spared = plan.spared();
    for wanted in [first, last].into_iter().flat_map(|wanted| spared.gaps(wanted).ranges().to_vec()) {
        if !plan.clear.iter().any(|range| range.contains(wanted)) {
            faults.push(Fault::NotCleared { range: wanted });
        }
    }
}
