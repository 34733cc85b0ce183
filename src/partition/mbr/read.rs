//! Read the table of sector 0 and follow the chains of extended boot records.

use super::{BOOT_CODE_BYTES, ENTRIES_AT, Entry, RECORD_BYTES, entries_of, is_signed};
use crate::blockio::{ReadAt, read_vec};
use crate::partition::Finding;
use crate::partition::kinds::is_extended;
use crate::schema::{Mbr, MbrPartition, MbrRole};
use crate::units::{Hex, Lba, SectorSize, read_slice, read_u16le, read_u32le};
use std::collections::BTreeSet;

/// Linux takes no more partitions from one disk (`DISK_MAX_PARTS`).
const MAX_LOGICALS: usize = 256;

/// Reads the table. `record` is the first 512 bytes of the disk.
pub(in crate::partition) fn read(
    disk: &dyn ReadAt,
    sector: SectorSize,
    record: &[u8],
) -> (Mbr, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut partitions: Vec<MbrPartition> = (1u32..)
        .zip(entries_of(record))
        .filter(|(_, entry)| entry.type_code != 0)
        .map(|(number, entry)| {
            let role = if is_extended(entry.type_code) { MbrRole::Extended } else { MbrRole::Primary };
            partition(number, &entry, Lba(0), role)
        })
        .collect();
    let containers: Vec<MbrPartition> =
        partitions.iter().filter(|p| p.role == MbrRole::Extended && p.sectors != 0).cloned().collect();
    if containers.len() > 1 {
        findings.push(Finding::SeveralContainers);
    }
    let mut walk = Walk { disk, sector, seen: BTreeSet::new(), next_number: 5, logicals: Vec::new() };
    for container in &containers {
        if let Err(broken) = walk.follow(container) {
            findings.push(broken);
        }
    }
    partitions.append(&mut walk.logicals);
    let mbr = Mbr {
        disk_signature: read_u32le(record, BOOT_CODE_BYTES).unwrap_or_default(),
        boot_code: Hex(read_slice(record, 0, BOOT_CODE_BYTES).unwrap_or_default().to_vec()),
        reserved: read_u16le(record, 444).unwrap_or_default(),
        partitions,
    };
    (mbr, findings)
}

fn partition(number: u32, entry: &Entry, base: Lba, role: MbrRole) -> MbrPartition {
    MbrPartition {
        number,
        status: entry.status,
        type_code: entry.type_code,
        first_lba: Lba(base.0.saturating_add(entry.start.into())),
        sectors: entry.sectors.into(),
        first_chs: entry.first_chs,
        last_chs: entry.last_chs,
        role,
    }
}

/// The way through all chains of a disk.
struct Walk<'a> {
    disk: &'a dyn ReadAt,
    sector: SectorSize,
    /// The records that were visited, so that a loop ends.
    seen: BTreeSet<Lba>,
    next_number: u32,
    logicals: Vec<MbrPartition>,
}

impl Walk<'_> {
    /// Follows the chain of one container to its end, or to where it breaks.
    fn follow(&mut self, container: &MbrPartition) -> Result<(), Finding> {
        let end = container.first_lba.0.saturating_add(container.sectors);
        let mut at = container.first_lba;
        loop {
            let broken = |fact: &str| Finding::ChainBroken { at, fact: fact.to_owned() };
            if at < container.first_lba || at.0 >= end {
                return Err(broken("it is outside the extended partition"));
            }
            if !self.seen.insert(at) {
                return Err(broken("it was there before, so the chain is a loop"));
            }
            if self.seen.len() > MAX_LOGICALS {
                return Err(broken("there are more extended boot records than Linux follows"));
            }
            let record = self.record(at).map_err(|fact| broken(&fact))?;
            if !is_signed(&record) {
                // A new extended partition whose first record nobody wrote yet has no logical partition.
                let untouched = at == container.first_lba && record.iter().all(|byte| *byte == 0);
                return if untouched { Ok(()) } else { Err(broken("it does not end in 55AA")) };
            }
            match self.take(&record, at)? {
                Some(link) => at = Lba(container.first_lba.0.saturating_add(link.start.into())),
                None => return Ok(()),
            }
        }
    }

    fn record(&self, at: Lba) -> Result<Vec<u8>, String> {
        let byte = self.sector.byte_of(at).ok_or("it is on no disk")?;
        read_vec(self.disk, byte, RECORD_BYTES).map_err(|error| format!("it cannot be read: {error}"))
    }

    /// Takes the partition of one record and returns the link to the next one.
    fn take(&mut self, record: &[u8], at: Lba) -> Result<Option<Entry>, Finding> {
        let entries = entries_of(record);
        let mut data = entries.iter().filter(|entry| entry.is_used() && !is_extended(entry.type_code));
        if let Some(entry) = data.next() {
            let code = record.get(..ENTRIES_AT).unwrap_or_default();
            let ebr_code = if code.iter().all(|byte| *byte == 0) { Vec::new() } else { code.to_vec() };
            let role = MbrRole::Logical { ebr_lba: at, ebr_code: Hex(ebr_code) };
            self.logicals.push(partition(self.next_number, entry, at, role));
            self.next_number = self.next_number.saturating_add(1);
        }
        if data.next().is_some() {
            return Err(Finding::ChainBroken { at, fact: "it names more than one partition".to_owned() });
        }
        Ok(entries.iter().find(|entry| entry.is_used() && is_extended(entry.type_code)).copied())
    }
}
