//! Judge the places of partitions: overlaps, ends beyond the disk, partitions without sectors.

use super::{Finding, gpt, kinds};
use crate::schema::{GptPartition, MbrPartition, MbrRole, Table};
use crate::units::{Lba, SectorSize};

/// More findings than anyone reads; a damaged table of 16384 entries could have as many.
const MAX_FINDINGS: usize = 64;

/// The sectors of one partition.
#[derive(Clone, Copy)]
struct Place {
    number: u32,
    first: u64,
    /// First sector behind it.
    end: u64,
}

impl Place {
    fn overlaps(self, first: u64, end: u64) -> bool {
        self.first < end && first < self.end
    }
}

/// What is wrong with the places of the partitions of a table.
pub(super) fn check(table: &Table, disk_sectors: u64, sector: SectorSize) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        empty_ones(table).into_iter().map(|number| Finding::Empty { number }).collect();
    let mut used: Vec<Place> = places(table).into_iter().filter(|p| p.first < p.end).collect();
    used.sort_by_key(|p| (p.first, p.number));
    let areas = table_areas(table, sector);
    for place in &used {
        let number = place.number;
        if place.end > disk_sectors {
            let (last, disk_last) = (Lba(place.end.saturating_sub(1)), Lba(disk_sectors.saturating_sub(1)));
            findings.push(Finding::BeyondEnd { number, last, disk_last });
        }
        if areas.iter().any(|(first, end)| place.overlaps(*first, *end)) {
            findings.push(Finding::OverlapsTable { number });
        }
        if outside_usable(table, *place) {
            findings.push(Finding::OutsideUsable { number });
        }
    }
    findings.extend(overlaps(&used));
    if let Table::Mbr(mbr) = table {
        findings.extend(outside_container(&mbr.partitions));
    }
    if findings.len() > MAX_FINDINGS {
        let count = findings.len().saturating_sub(MAX_FINDINGS);
        findings.truncate(MAX_FINDINGS);
        findings.push(Finding::More { count });
    }
    findings
}

fn gpt_is_empty(partition: &GptPartition) -> bool {
    partition.first_lba.0 >= partition.last_lba.0.saturating_add(1)
}

fn mbr_is_empty(partition: &MbrPartition) -> bool {
    partition.sectors == 0
}

/// The numbers of the partitions without sectors.
fn empty_ones(table: &Table) -> Vec<u32> {
    match table {
        Table::Gpt(gpt) => gpt.partitions.iter().filter(|p| gpt_is_empty(p)).map(|p| p.number).collect(),
        Table::Mbr(mbr) => mbr.partitions.iter().filter(|p| mbr_is_empty(p)).map(|p| p.number).collect(),
        Table::None => Vec::new(),
    }
}

/// Takes the partitions without sectors ([`Finding::Empty`]) out of a table: they hold nothing, and have no place on another
/// disk. No other partition changes its number.
pub fn drop_empty(table: &mut Table) {
    match table {
        Table::Gpt(gpt) => gpt.partitions.retain(|partition| !gpt_is_empty(partition)),
        Table::Mbr(mbr) => mbr.partitions.retain(|partition| !mbr_is_empty(partition)),
        Table::None => {}
    }
}

/// The places of everything that holds data: containers of logical partitions do not.
fn places(table: &Table) -> Vec<Place> {
    match table {
        Table::Gpt(gpt) => gpt
            .partitions
            .iter()
            .map(|p| Place { number: p.number, first: p.first_lba.0, end: p.last_lba.0.saturating_add(1) })
            .collect(),
        Table::Mbr(mbr) => {
            mbr.partitions.iter().filter(|p| !kinds::is_extended(p.type_code)).map(mbr_place).collect()
        }
        Table::None => Vec::new(),
    }
}

fn mbr_place(partition: &MbrPartition) -> Place {
    let first = partition.first_lba.0;
    Place { number: partition.number, first, end: first.saturating_add(partition.sectors) }
}

/// The sectors of the table itself at the start of the disk, as (first, end), and the extended boot records.
fn table_areas(table: &Table, sector: SectorSize) -> Vec<(u64, u64)> {
    match table {
        Table::Gpt(gpt) => {
            let sectors = gpt::array_sectors(gpt.entry_count, gpt.entry_size_bytes, sector).unwrap_or(1);
            let first = gpt.entries_lba.0;
            vec![(0, 2), (first, first.saturating_add(sectors))]
        }
        Table::Mbr(mbr) => {
            let records = mbr.partitions.iter().filter_map(|p| match p.role {
                MbrRole::Logical { ebr_lba, .. } => Some((ebr_lba.0, ebr_lba.0.saturating_add(1))),
                _ => None,
            });
            std::iter::once((0, 1)).chain(records).collect()
        }
        Table::None => Vec::new(),
    }
}

fn outside_usable(table: &Table, place: Place) -> bool {
    match table {
        Table::Gpt(gpt) => {
            place.first < gpt.first_usable_lba.0 || place.end > gpt.last_usable_lba.0.saturating_add(1)
        }
        _ => false,
    }
}

/// Each partition that begins before the furthest end of those that begin before it.
fn overlaps(by_start: &[Place]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut furthest: Option<Place> = None;
    for place in by_start {
        match furthest {
            Some(before) if place.first < before.end => {
                findings.push(Finding::Overlap { first: before.number, second: place.number });
            }
            _ => {}
        }
        if furthest.is_none_or(|before| place.end > before.end) {
            furthest = Some(*place);
        }
    }
    findings
}

fn outside_container(partitions: &[MbrPartition]) -> Vec<Finding> {
    let containers: Vec<Place> =
        partitions.iter().filter(|p| p.role == MbrRole::Extended).map(mbr_place).collect();
    let mut findings = Vec::new();
    for partition in partitions {
        let MbrRole::Logical { ebr_lba, .. } = partition.role else { continue };
        let place = mbr_place(partition);
        let container = containers.iter().find(|c| c.first <= ebr_lba.0 && ebr_lba.0 < c.end);
        if let Some(container) = container.filter(|c| place.first < c.first || place.end > c.end) {
            findings.push(Finding::OutsideContainer { number: place.number, container: container.number });
        }
    }
    // A primary partition inside a container would be overwritten by logical ones.
    for primary in partitions.iter().filter(|p| p.role == MbrRole::Primary).map(mbr_place) {
        if let Some(container) =
            containers.iter().find(|c| primary.first < primary.end && c.overlaps(primary.first, primary.end))
        {
            findings.push(Finding::Overlap { first: container.number, second: primary.number });
        }
    }
    findings
}
