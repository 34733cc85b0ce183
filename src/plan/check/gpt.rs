//! Judge the GUID partition table of a plan.

use super::{Entry, Fault, bytes_of};
use crate::plan::deploy::DiskPlan;
use crate::plan::refusal::Part;
use crate::schema::Gpt;
use crate::units::{ByteRange, Lba, SectorSize};

/// The entries in bytes.
pub(super) fn entries(gpt: &Gpt, sector: SectorSize, faults: &mut Vec<Fault>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for partition in &gpt.partitions {
        let number = partition.number;
        let sectors = partition.last_lba.0.checked_sub(partition.first_lba.0).and_then(|n| n.checked_add(1));
        match sectors.and_then(|sectors| bytes_of(sector, partition.first_lba, sectors)) {
            Some(place) => entries.push(Entry { number, place, container: false }),
            None => faults.push(Fault::NoPlace { number }),
        }
    }
    entries
}

/// What stays, and whether header, array and partitions keep out of each other's way.
pub(super) fn check(new: &Gpt, old: &Gpt, plan: &DiskPlan, faults: &mut Vec<Fault>) {
    for (same, what) in [
        (new.disk_guid == old.disk_guid, "the disk's GUID"),
        (new.entry_count == old.entry_count, "the number of its entries"),
        (new.entry_size_bytes == old.entry_size_bytes, "the size of its entries"),
        (new.boot_sector.0.get(..446) == old.boot_sector.0.get(..446), "the boot code"),
    ] {
        if !same {
            faults.push(Fault::TableChanged { what });
        }
    }
    for (one, other) in new.partitions.iter().zip(&old.partitions) {
        let one_id = (one.number, one.type_guid, one.partition_guid, one.attributes, &one.name);
        let other_id = (other.number, other.type_guid, other.partition_guid, other.attributes, &other.name);
        if one_id != other_id || one.name_utf16le != other.name_utf16le {
            faults.push(Fault::TableChanged { what: "a partition's number, type, GUID, attributes or name" });
        }
    }
    check_frame(new, plan, faults);
}

pub(super) fn check_frame(gpt: &Gpt, plan: &DiskPlan, faults: &mut Vec<Fault>) {
    let sector = plan.target.logical_sector_bytes;
    let array_bytes = u64::from(gpt.entry_count).saturating_mul(u64::from(gpt.entry_size_bytes));
    let array_sectors = array_bytes.div_ceil(sector.bytes());
    let disk_sectors = sector.lba_of(plan.target.size_bytes).0;
    if gpt.entries_lba.0 < 2 {
        faults.push(Fault::TableMisplaced { what: "the entries overlap the header" });
    }
    if gpt.entries_lba.0.saturating_add(array_sectors) > gpt.first_usable_lba.0 {
        faults.push(Fault::TableMisplaced { what: "the entries overlap the usable sectors" });
    }
    let backup = array_sectors.saturating_add(2);
    if gpt.last_usable_lba.0.saturating_add(backup) > disk_sectors {
        faults.push(Fault::TableMisplaced { what: "the usable sectors overlap the backup" });
    }
    let usable_sectors = gpt.last_usable_lba.0.saturating_add(1).saturating_sub(gpt.first_usable_lba.0);
    let usable = bytes_of(sector, gpt.first_usable_lba, usable_sectors).unwrap_or_default();
    for partition in &gpt.partitions {
        let start = sector.byte_of(partition.first_lba).unwrap_or(u64::MAX);
        let end = sector.byte_of(Lba(partition.last_lba.0.saturating_add(1))).unwrap_or(u64::MAX);
        let place = ByteRange::new(start, end);
        if !usable.contains(place) {
            faults.push(Fault::Outside { part: Part::Partition(partition.number), place, of: usable });
        }
    }
}
