//! Judge a standard layout: the table of a fresh installation, with the one volume in its last partition.

use super::{Fault, check_cleared, entries_of, gpt, volumes};
use crate::plan::deploy::DiskPlan;
use crate::plan::keep::Stays;
use crate::plan::refusal::Part;
use crate::schema::{Disk, Layout, MbrRole, Role, Table, Volume};
use crate::units::{ByteRange, MIB, SectorSize};
use std::collections::BTreeSet;

/// Partition types and smallest sizes in MiB of the layouts, in disk order; the system's type is the last. The types
/// of an MBR are below 256.
const LAYOUTS: [(&[(u128, u64)], u128); 5] = [
    (&[(0x07, 500)], 0x07),
    (&[], 0x83),
    (
        &[
            (0xDE94_BBA4_06D1_4D40_A16A_BFD5_0179_D6AC, 450),
            (0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B, 99),
            (0xE3C9_E316_0B5C_4DB8_817D_F92D_F002_15AE, 16),
        ],
        0xEBD0_A0A2_B9E5_4433_87C0_68B6_B726_99C7,
    ),
    (&[(0x2168_6148_6449_6E6F_744E_6565_6445_4649, 1)], 0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4),
    (&[(0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B, 512)], 0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4),
];
const EFI_SYSTEM: u128 = 0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B;
/// The least for a FAT32 whose clusters are sectors of 4096 bytes.
const LARGE_ESP_MIB: u64 = 260;

pub(super) fn check(plan: &DiskPlan, source: &Disk, faults: &mut Vec<Fault>) {
    if plan.minimum_disk_bytes > plan.target.size_bytes {
        faults.push(Fault::BelowMinimum { minimum_bytes: plan.minimum_disk_bytes });
    }
    if plan.layout != Layout::Standard || plan.stays != Stays::Nothing || !plan.without.is_empty() {
        faults.push(Fault::TableChanged { what: "its layout is no standard one" });
    }
    check_table(plan, source, faults);
    check_volume(plan, source, faults);
    check_cleared(plan, faults);
}

fn check_table(plan: &DiskPlan, source: &Disk, faults: &mut Vec<Fault>) {
    let sector = plan.target.logical_sector_bytes;
    let entries = entries_of(&plan.table, sector, faults);
    let (types, identifiers): (Vec<u128>, Vec<String>) = match &plan.table {
        Table::Gpt(table) => {
            gpt::check_frame(table, plan, faults);
            let ids = table.partitions.iter().map(|entry| entry.partition_guid.to_string());
            let types = table.partitions.iter().map(|entry| number_of(&entry.type_guid.to_string()));
            (types.collect(), ids.chain([table.disk_guid.to_string()]).collect())
        }
        Table::Mbr(table) => {
            let active = table.partitions.iter().filter(|entry| entry.status == 0x80).count();
            if active != 1 || table.partitions.iter().any(|entry| entry.role != MbrRole::Primary) {
                faults.push(Fault::TableChanged {
                    what: "a standard MBR has primary partitions, one of them active",
                });
            }
            for entry in &table.partitions {
                if entry.first_lba.0.saturating_add(entry.sectors) > 1 << 32 {
                    faults.push(Fault::BeyondMbr { part: Part::Partition(entry.number) });
                }
            }
            let types = table.partitions.iter().map(|entry| u128::from(entry.type_code));
            (types.collect(), vec![format!("{:08x}", table.disk_signature)])
        }
        Table::None => (Vec::new(), Vec::new()),
    };
    let old = match &source.table {
        Table::Gpt(gpt) => gpt.disk_guid.to_string(),
        Table::Mbr(mbr) => format!("{:08x}", mbr.disk_signature),
        Table::None => String::new(),
    };
    let distinct: BTreeSet<&String> = identifiers.iter().collect();
    if distinct.len() != identifiers.len() || identifiers.contains(&old) {
        faults.push(Fault::TableChanged { what: "an identifier of a new partition is not new" });
    }
    let known = LAYOUTS.iter().find(|(front, system)| {
        let expected = front.iter().map(|(kind, _)| *kind).chain([*system]);
        expected.eq(types.iter().copied())
    });
    let Some((front, _)) = known else {
        faults.push(Fault::TableChanged { what: "its partitions are those of no standard layout" });
        return;
    };
    let disk = ByteRange::new(0, plan.target.size_bytes);
    let mut behind = MIB;
    for (index, entry) in entries.iter().enumerate() {
        let part = Part::Partition(entry.number);
        if !disk.contains(entry.place) {
            faults.push(Fault::Outside { part, place: entry.place, of: disk });
        }
        if entry.place.start() < behind {
            faults.push(Fault::Overlap { one: part, other: part });
        }
        if !entry.place.start().is_multiple_of(MIB) {
            faults.push(Fault::Misaligned { part, start_bytes: entry.place.start() });
        }
        behind = entry.place.end();
        let Some((kind, mib)) = front.get(index) else { continue };
        let mib =
            if *kind == EFI_SYSTEM && sector != SectorSize::B512 { LARGE_ESP_MIB.max(*mib) } else { *mib };
        let (has_bytes, needs_bytes) = (entry.place.length(), mib.saturating_mul(MIB));
        if has_bytes < needs_bytes {
            faults.push(Fault::TooSmall { part, has_bytes, needs_bytes });
        }
        let made = plan.made.iter().find(|new| new.partition == entry.number);
        if made.is_none_or(|new| new.place != entry.place) {
            faults.push(Fault::Disagree { volume: part.to_string() });
        }
    }
    if plan.made.len() != front.len() {
        faults.push(Fault::TableChanged { what: "the number of its new partitions" });
    }
}

/// The digits of a GUID as a number.
fn number_of(guid: &str) -> u128 {
    u128::from_str_radix(&guid.replace('-', ""), 16).unwrap_or_default()
}

fn check_volume(plan: &DiskPlan, source: &Disk, faults: &mut Vec<Fault>) {
    let [planned] = plan.volumes.as_slice() else {
        faults.push(Fault::Volume { volume: "the system".to_owned(), times: plan.volumes.len() });
        return;
    };
    let entries = entries_of(&plan.table, plan.target.logical_sector_bytes, faults);
    let last = entries.last().map(|entry| entry.number);
    let captured = source.volumes.iter().find(|volume| volume.name == planned.volume);
    let (Some(captured), Some(number)) = (captured.filter(|volume| volume.role != Role::BootArea), last)
    else {
        faults.push(Fault::Volume { volume: planned.volume.clone(), times: 0 });
        return;
    };
    // It lies in another partition than it was captured from.
    let volume = Volume { role: Role::Partition { number }, ..captured.clone() };
    volumes::check_volume(plan, planned, &volume, &entries, faults);
}
