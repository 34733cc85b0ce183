//! Judge the master boot record of a plan, and the chain of extended boot records.

use super::{Entry, Fault, bytes_of};
use crate::plan::deploy::DiskPlan;
use crate::plan::refusal::Part;
use crate::schema::{Mbr, MbrPartition, MbrRole};
use crate::units::{Lba, SectorSize};

/// The entries in bytes.
pub(super) fn entries(mbr: &Mbr, sector: SectorSize, faults: &mut Vec<Fault>) -> Vec<Entry> {
    let holds_logicals = mbr.partitions.iter().any(|entry| matches!(entry.role, MbrRole::Logical { .. }));
    let mut entries = Vec::new();
    for partition in &mbr.partitions {
        let number = partition.number;
        let container = partition.role == MbrRole::Extended && holds_logicals;
        match bytes_of(sector, partition.first_lba, partition.sectors) {
            Some(place) => entries.push(Entry { number, place, container }),
            None => faults.push(Fault::NoPlace { number }),
        }
    }
    entries
}

/// What stays, and the same as of every table.
pub(super) fn check(new: &Mbr, old: &Mbr, plan: &DiskPlan, faults: &mut Vec<Fault>) {
    if (new.disk_signature, &new.boot_code, new.reserved)
        != (old.disk_signature, &old.boot_code, old.reserved)
    {
        faults.push(Fault::TableChanged { what: "the disk signature or the boot code" });
    }
    for (one, other) in new.partitions.iter().zip(&old.partitions) {
        let kind = |entry: &MbrPartition| match &entry.role {
            MbrRole::Primary => (0, None),
            MbrRole::Extended => (1, None),
            MbrRole::Logical { ebr_code, .. } => (2, Some(ebr_code.clone())),
        };
        let same = (one.number, one.status, one.type_code) == (other.number, other.status, other.type_code);
        if !same || kind(one) != kind(other) {
            faults.push(Fault::TableChanged { what: "a partition's number, type, active flag or kind" });
        }
    }
    check_frame(new, plan, faults);
}

/// What an MBR can describe, and how logical partitions lie in their container.
pub(super) fn check_frame(new: &Mbr, plan: &DiskPlan, faults: &mut Vec<Fault>) {
    for partition in &new.partitions {
        let behind = partition.first_lba.0.saturating_add(partition.sectors);
        if behind > 1 << 32 {
            faults.push(Fault::BeyondMbr { part: Part::Partition(partition.number) });
        }
        if partition.first_lba == Lba(0) {
            faults.push(Fault::TableMisplaced { what: "a partition starts in sector 0" });
        }
    }
    check_chain(new, plan.target.logical_sector_bytes, faults);
}

/// First sector and first sector behind.
fn span(entry: &MbrPartition) -> (u64, u64) {
    (entry.first_lba.0, entry.first_lba.0.saturating_add(entry.sectors))
}

fn check_chain(mbr: &Mbr, sector: SectorSize, faults: &mut Vec<Fault>) {
    let logicals: Vec<(&MbrPartition, Lba)> = mbr
        .partitions
        .iter()
        .filter_map(|entry| match entry.role {
            MbrRole::Logical { ebr_lba, .. } => Some((entry, ebr_lba)),
            MbrRole::Primary | MbrRole::Extended => None,
        })
        .collect();
    let container = mbr.partitions.iter().find(|entry| entry.role == MbrRole::Extended);
    let Some(container) = container else {
        for (entry, _) in logicals {
            faults.push(Fault::BootRecord { number: entry.number, what: "has no extended partition" });
        }
        return;
    };
    let (first, behind) = span(container);
    for primary in mbr.partitions.iter().filter(|entry| entry.role == MbrRole::Primary) {
        let (start, end) = span(primary);
        if start < behind && first < end {
            let (one, other) = (Part::Partition(container.number), Part::Partition(primary.number));
            faults.push(Fault::Overlap { one, other });
        }
    }
    for (index, (entry, ebr)) in logicals.iter().enumerate() {
        let (number, (start, end)) = (entry.number, span(entry));
        let mut fault = |what| faults.push(Fault::BootRecord { number, what });
        if ebr.0 < first || ebr.0 >= start {
            fault("does not lie between the start of the container and its partition");
        }
        if index == 0 && ebr.0 != first {
            fault("is the first of the chain and not at the start of the container");
        }
        if logicals.iter().any(|(other, _)| span(other).0 <= ebr.0 && ebr.0 < span(other).1) {
            fault("lies in a partition");
        }
        if logicals.iter().take(index).any(|(_, other)| other == ebr) {
            fault("is that of another partition too");
        }
        if start < first || end > behind {
            let place = bytes_of(sector, entry.first_lba, entry.sectors).unwrap_or_default();
            let of = bytes_of(sector, container.first_lba, container.sectors).unwrap_or_default();
            faults.push(Fault::Outside { part: Part::Partition(number), place, of });
        }
    }
}
