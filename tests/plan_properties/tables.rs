//! Rules 5 and 6: the table that is written reads the same again, and what it was is kept.

use super::generated::*;
use super::plan_images::*;
use super::*;
use FileSystemKind::Xfs;
use remint::blockio::{MemoryDisk, WriteAt};
use remint::partition::{self, Finding, Trust};
use remint::schema::{FileSystemKind, Gpt, GptPartition, Mbr, MbrPartition};
use remint::units::Hex;

const MBR_SECTORS: u64 = 1 << 32;

/// The table as it stands on a disk to which it was written.
fn written(table: &Table, size_bytes: u64, sector: SectorSize) -> Table {
    let disk = MemoryDisk::new(size_bytes / sector.bytes() * sector.bytes());
    for piece in partition::encode(table, disk_bytes(size_bytes, sector), sector).unwrap() {
        disk.write_at(piece.at, &piece.bytes).unwrap();
    }
    let reading = partition::read(&disk, sector, Trust::Undecided).unwrap();
    let wrong: Vec<&Finding> =
        reading.findings.iter().filter(|finding| !matches!(finding, Finding::Hybrid { .. })).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    reading.table
}

fn disk_bytes(size_bytes: u64, sector: SectorSize) -> u64 {
    size_bytes / sector.bytes() * sector.bytes()
}

/// An MBR with nothing of what may change with the disk: places and their CHS bytes, and where boot records lie.
fn kept_of_mbr(mbr: &Mbr) -> Mbr {
    let entry = |p: &MbrPartition| MbrPartition {
        first_lba: Lba(0),
        sectors: 0,
        first_chs: [0; 3],
        last_chs: [0; 3],
        role: match &p.role {
            MbrRole::Logical { ebr_code, .. } => {
                MbrRole::Logical { ebr_lba: Lba(0), ebr_code: ebr_code.clone() }
            }
            role => role.clone(),
        },
        ..p.clone()
    };
    Mbr { partitions: mbr.partitions.iter().map(entry).collect(), ..mbr.clone() }
}

/// The extended partition holds the logical ones and their boot records, no sector more, and no record lies on data.
fn assert_container(mbr: &Mbr) {
    let end = |p: &MbrPartition| p.first_lba.0 + p.sectors;
    let mut records: Vec<(u64, u32)> = Vec::new();
    for partition in &mbr.partitions {
        if let MbrRole::Logical { ebr_lba, .. } = partition.role {
            assert!(ebr_lba < partition.first_lba, "{partition:?}");
            records.push((ebr_lba.0, partition.number));
        }
    }
    let Some(container) = mbr.partitions.iter().find(|p| p.role == MbrRole::Extended) else {
        return assert!(records.is_empty());
    };
    if records.is_empty() {
        return;
    }
    records.sort_unstable();
    assert!(records.windows(2).all(|pair| pair[0].0 != pair[1].0), "{records:?}");
    assert_eq!(container.first_lba.0, records[0].0);
    assert_eq!(
        records.iter().map(|record| record.1).min(),
        Some(records[0].1),
        "the chain starts with the first"
    );
    let logical = |p: &&MbrPartition| matches!(p.role, MbrRole::Logical { .. });
    assert_eq!(mbr.partitions.iter().filter(logical).map(end).max(), Some(end(container)));
    for partition in mbr.partitions.iter().filter(|p| p.role != MbrRole::Extended) {
        assert!(records.iter().all(|(lba, _)| *lba < partition.first_lba.0 || *lba >= end(partition)));
    }
}

/// A GPT with nothing of what may change with the disk: places.
fn kept_of_gpt(gpt: &Gpt) -> Gpt {
    let entry = |p: &GptPartition| GptPartition { first_lba: Lba(0), last_lba: Lba(0), ..p.clone() };
    let (entries_lba, first_usable_lba, last_usable_lba) = (Lba(0), Lba(0), Lba(0));
    let partitions = gpt.partitions.iter().map(entry).collect();
    Gpt { partitions, entries_lba, first_usable_lba, last_usable_lba, ..gpt.clone() }
}

/// Names of any UTF-16 units, attributes of any bits, GUIDs of any value, and other numbers of entries.
fn disguised(disk: &Disk, names: &[Vec<u16>], bits: &[u64], entry_count: u32) -> Disk {
    let mut disk = disk.clone();
    let sector = disk.logical_sector_bytes;
    if let Table::Gpt(gpt) = &mut disk.table {
        for (index, partition) in gpt.partitions.iter_mut().enumerate() {
            let units = &names[index % names.len()];
            let mut bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            bytes.resize(72, 0);
            partition.attributes = bits[index % bits.len()];
            // Up to the first zero, as tools show it.
            let shown: Vec<u16> = units.iter().copied().take_while(|unit| *unit != 0).collect();
            partition.name = String::from_utf16_lossy(&shown);
            partition.name_utf16le = Hex(bytes);
        }
        let array = u64::from(entry_count) * 128 / sector.bytes();
        if gpt.partitions.iter().all(|p| p.first_lba.0 >= 2 + array) {
            gpt.entry_count = entry_count;
            gpt.first_usable_lba = Lba(2 + array);
        }
    }
    disk
}

/// A record of a hybrid MBR: the protective entry in front, then some of the partitions, then one of nobody.
fn hybrid(gpt: &Gpt, chosen: &[bool], stray: bool) -> Vec<u8> {
    let entry = |kind: u8, first: u64, sectors: u64| {
        let mut bytes = vec![0, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF];
        bytes.extend(u32::try_from(first).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(sectors).unwrap().to_le_bytes());
        bytes
    };
    let mut picked: Vec<_> =
        gpt.partitions.iter().zip(chosen).filter(|(_, on)| **on).map(|(p, _)| p).collect();
    picked.truncate(2);
    let front = picked.iter().map(|p| p.first_lba.0).min().unwrap_or(2048);
    let mut record = vec![0; 446];
    record.extend(entry(0xEE, 1, front - 1));
    picked.iter().for_each(|p| record.extend(entry(0x83, p.first_lba.0, p.last_lba.0 + 1 - p.first_lba.0)));
    if stray {
        record.extend(entry(0x07, 0xF000_0000, 77));
    }
    record.resize(510, 0);
    record.extend([0x55, 0xAA]);
    record
}

/// Type, first sector and first sector behind it of the used entries.
fn entries(record: &[u8]) -> Vec<(u8, u64, u64)> {
    let number = |bytes: &[u8]| u64::from(u32::from_le_bytes(bytes.try_into().unwrap()));
    let all =
        record[446..510].chunks(16).map(|e| (e[4], number(&e[8..12]), number(&e[8..12]) + number(&e[12..])));
    all.filter(|entry| entry.0 != 0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn an_mbr_is_one_that_reads_the_same_and_keeps_what_it_was(
        disk in image(),
        to in sector(),
        options in options(),
        percent in 50u64..400,
    ) {
        let Table::Mbr(old) = &disk.table else { return Ok(()) };
        let size_bytes = disk.size_bytes / 100 * percent;
        let Ok(plan) = deploy(&disk, size_bytes, to, &options) else { return Ok(()) };
        let Table::Mbr(new) = &plan.disks[0].table else { panic!("another table") };
        prop_assert_eq!(kept_of_mbr(new), kept_of_mbr(old));
        assert_container(new);
        prop_assert_eq!(written(&plan.disks[0].table, size_bytes, to), plan.disks[0].table.clone());
    }

    #[test]
    fn no_mbr_reaches_beyond_two_to_the_32_sectors(
        parts in proptest::collection::vec((1u64..900).prop_map(|gib| gib * GIB), 1..6),
        logical_from in 1u32..4,
        from in sector(),
        to in sector(),
        around in prop_oneof![(0u64..8 * MIB), (0u64..64 * GIB), Just(20 << 40)],
        below in any::<bool>(),
    ) {
        let mut cursor = MIB;
        let parts: Vec<Part> = (1u32..).zip(&parts).map(|(index, size)| {
            let logical = index >= logical_from;
            let number = if logical { 5 + index - logical_from } else { index };
            cursor += if logical { MIB } else { 0 };
            let at = cursor;
            cursor += size;
            part(number, at, *size, 0x83, holds(Xfs, *size))
        }).collect();
        if cursor >= from.bytes() * MBR_SECTORS {
            return Ok(());
        }
        let disk = mbr_disk(0, cursor + MIB, from, &parts, MIB);
        let reach = to.bytes() * MBR_SECTORS;
        let size_bytes = if below { reach - around.min(reach / 2) } else { reach + around };
        match deploy(&disk, size_bytes, to, &plainly(Layout::Dynamic)) {
            Ok(plan) => {
                let Table::Mbr(mbr) = &plan.disks[0].table else { panic!("another table") };
                let ends: Vec<u64> = mbr.partitions.iter().map(|p| p.first_lba.0 + p.sectors).collect();
                prop_assert!(ends.iter().all(|end| *end <= MBR_SECTORS));
                prop_assert_eq!(written(&plan.disks[0].table, size_bytes, to), plan.disks[0].table.clone());
                let unused = size_bytes.saturating_sub(reach);
                let said = plan.disks[0].warnings.iter().any(|warning| warning.contains("MBR"));
                prop_assert!(unused < 2 * MIB || said, "{:?}", plan.disks[0].warnings);
            }
            Err(Refusal::BeyondMbr { limit_bytes, end_bytes, .. }) => {
                prop_assert_eq!(limit_bytes, reach);
                prop_assert!(end_bytes > reach);
            }
            Err(Refusal::TooSmall { minimum_bytes, .. }) => prop_assert!(minimum_bytes > size_bytes / to.bytes() * to.bytes()),
            // XFS does not move onto larger sectors.
            Err(Refusal::SectorSize { .. }) => prop_assert!(from < to),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn a_gpt_is_one_that_reads_the_same_and_keeps_what_it_was(
        disk in image(),
        names in proptest::collection::vec(proptest::collection::vec(prop_oneof![any::<u16>(), 0x20u16..0x7F], 0..36), 1..8),
        bits in proptest::collection::vec(any::<u64>(), 1..8),
        entry_count in prop_oneof![Just(128u32), Just(256), Just(4096), Just(64)],
        to in sector(),
        options in options(),
        percent in 50u64..400,
    ) {
        let disk = disguised(&disk, &names, &bits, entry_count);
        let Table::Gpt(old) = &disk.table else { return Ok(()) };
        let size_bytes = disk.size_bytes / 100 * percent;
        let Ok(plan) = deploy(&disk, size_bytes, to, &options) else { return Ok(()) };
        let Table::Gpt(new) = &plan.disks[0].table else { panic!("another table") };
        prop_assert_eq!(kept_of_gpt(new), kept_of_gpt(old));
        let Table::Gpt(mut back) = written(&plan.disks[0].table, size_bytes, to) else { panic!("another table") };
        // The protective entry has the size of the disk.
        back.boot_sector.clone_from(&new.boot_sector);
        prop_assert_eq!(&back, new);
    }

    #[test]
    fn hybrid_entries_follow_their_partitions_or_are_left_out(
        disk in image(),
        chosen in proptest::collection::vec(any::<bool>(), 8),
        stray in any::<bool>(),
        options in options(),
        percent in 50u64..400,
    ) {
        let mut disk = disk;
        let Table::Gpt(gpt) = &mut disk.table else { return Ok(()) };
        if gpt.partitions.iter().any(|p| p.last_lba.0 > u64::from(u32::MAX)) {
            return Ok(());
        }
        gpt.boot_sector = Hex(hybrid(gpt, &chosen, stray));
        let Table::Gpt(old) = disk.table.clone() else { return Ok(()) };
        let size_bytes = disk.size_bytes / 100 * percent;
        let sector = disk.logical_sector_bytes;
        let Ok(plan) = deploy(&disk, size_bytes, sector, &options) else { return Ok(()) };
        if plan.disks[0].layout == Layout::Original {
            return Ok(());
        }
        let Table::Gpt(new) = &plan.disks[0].table else { panic!("another table") };
        let (before, after) = (entries(&old.boot_sector.0), entries(&new.boot_sector.0));
        let mut expected = Vec::new();
        for (kind, first, behind) in before.iter().filter(|entry| entry.0 != 0xEE) {
            let Some(named) = old.partitions.iter().find(|p| p.first_lba.0 == *first && p.last_lba.0 + 1 == *behind) else { continue };
            let moved = new.partitions.iter().find(|p| p.number == named.number).unwrap();
            if moved.last_lba.0 <= u64::from(u32::MAX) {
                expected.push((*kind, moved.first_lba.0, moved.last_lba.0 + 1));
            }
        }
        let others: Vec<_> = after.iter().copied().filter(|entry| entry.0 != 0xEE).collect();
        prop_assert_eq!(&others, &expected);
        let gone = before.len() - after.len();
        prop_assert_eq!(plan.disks[0].warnings.iter().filter(|w| w.contains("hybrid MBR")).count(), gone);
        for protective in after.iter().filter(|entry| entry.0 == 0xEE) {
            prop_assert!(others.iter().all(|entry| entry.1 >= protective.2), "{:?} {:?}", protective, others);
        }
    }
}
