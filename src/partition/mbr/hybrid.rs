//! The MBR in front of a GPT: its protective entry, and the entries of a hybrid one.

use super::chs::{BEYOND_PROTECTIVE, chs_or};
use super::{
    ENTRIES_AT, ENTRY_BYTES, Entry, RECORD_BYTES, SIGNATURE, TYPE_PROTECTIVE, chs_of, entries_of, is_signed,
};
use crate::partition::Error;
use crate::schema::GptPartition;
use crate::units::{Hex, Lba};

/// Sector 0 for a GPT disk of this size.
///
/// A lone protective entry covers the disk: min(disk - 1, 0xFFFFFFFF) sectors (UEFI 2.10, table 5-4). One of
/// 0xFFFFFFFF sectors, as Windows writes on every disk, stays. In a hybrid MBR the protective entry covers
/// only what stands before the first other entry, so nothing is changed there. A sector 0 without one gets it
/// in place of whatever table it has: a GPT is never written behind a sector that contradicts it.
pub(in crate::partition) fn resize_protective(
    boot_sector: &[u8],
    disk_sectors: u64,
) -> Result<Vec<u8>, Error> {
    if boot_sector.len() != RECORD_BYTES {
        return Err(Error::refused(format!("a boot sector of {} bytes", boot_sector.len())));
    }
    let mut entries = entries_of(boot_sector);
    if !is_signed(boot_sector) || !entries.iter().any(|e| e.is_used() && e.type_code == TYPE_PROTECTIVE) {
        return Ok(protected(boot_sector, disk_sectors));
    }
    if entries.iter().filter(|entry| entry.is_used()).count() != 1 {
        return Ok(boot_sector.to_vec());
    }
    for entry in entries.iter_mut().filter(|entry| entry.type_code == TYPE_PROTECTIVE) {
        let rest = disk_sectors.saturating_sub(entry.start.into());
        if rest == 0 {
            // Behind the end of the disk it protects nothing, and with no sectors it would be none.
            return Ok(protected(boot_sector, disk_sectors));
        }
        let sectors = u32::try_from(rest).unwrap_or(u32::MAX);
        if entry.sectors != u32::MAX && entry.sectors != sectors {
            entry.sectors = sectors;
            entry.last_chs = chs_or(Lba(entry.end().saturating_sub(1)), BEYOND_PROTECTIVE);
        }
    }
    Ok(with_entries(boot_sector, &entries))
}

/// The boot code of a sector 0 with a protective table.
fn protected(boot_sector: &[u8], disk_sectors: u64) -> Vec<u8> {
    let sectors = u32::try_from(disk_sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    let mut entry = Entry {
        type_code: TYPE_PROTECTIVE,
        start: 1,
        sectors,
        first_chs: chs_of(Lba(1)),
        ..Entry::default()
    };
    entry.last_chs = chs_or(Lba(entry.end().saturating_sub(1)), BEYOND_PROTECTIVE);
    let mut record =
        with_entries(boot_sector, &[entry, Entry::default(), Entry::default(), Entry::default()]);
    if let Some(end) = record.get_mut(510..RECORD_BYTES) {
        end.copy_from_slice(&SIGNATURE);
    }
    record
}

/// An entry of a hybrid MBR that is not in the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostEntry {
    /// Which of the four it was, from 1.
    pub position: u32,
    /// Its type.
    pub type_code: u8,
}

/// Sector 0 of a hybrid disk whose partitions moved: every entry that is not protective follows the GPT
/// partition that it repeats, and a protective entry ends where the first of them begins, if it did so before or would
/// overlap it now.
///
/// An entry that repeats no partition of `old`, or one that `new` has not or has out of an MBR's reach, is left out:
/// it would point at somebody else's bytes.
#[must_use]
pub fn remap_hybrid(boot_sector: &Hex, old: &[GptPartition], new: &[GptPartition]) -> (Hex, Vec<LostEntry>) {
    let mut entries = entries_of(&boot_sector.0);
    let is_partition = |entry: &Entry| entry.is_used() && entry.type_code != TYPE_PROTECTIVE;
    let first_start =
        |entries: &[Entry]| entries.iter().filter(|e| is_partition(e)).map(|e| u64::from(e.start)).min();
    let old_start = first_start(&entries);
    let mut lost = Vec::new();
    for (position, entry) in (1..).zip(&mut entries).filter(|(_, entry)| is_partition(entry)) {
        if remap(entry, old, new).is_none() {
            lost.push(LostEntry { position, type_code: entry.type_code });
            *entry = Entry::default();
        }
    }
    if let (Some(old_start), Some(new_start)) = (old_start, first_start(&entries)) {
        let protective = entries.iter_mut().filter(|entry| entry.type_code == TYPE_PROTECTIVE);
        let in_front = protective
            .filter(|entry| entry.end() == old_start || (entry.end() < old_start && entry.end() > new_start));
        for entry in in_front {
            let sectors = new_start.saturating_sub(entry.start.into());
            if u64::from(entry.sectors) != sectors {
                entry.sectors = u32::try_from(sectors).unwrap_or(u32::MAX);
                entry.last_chs = chs_or(Lba(entry.end().saturating_sub(1)), BEYOND_PROTECTIVE);
            }
        }
    }
    (Hex(with_entries(&boot_sector.0, &entries)), lost)
}

/// Lets an entry follow its partition; `None` where it cannot.
fn remap(entry: &mut Entry, old: &[GptPartition], new: &[GptPartition]) -> Option<()> {
    let sectors = |p: &GptPartition| p.last_lba.0.saturating_sub(p.first_lba.0).saturating_add(1);
    let repeats =
        |p: &&GptPartition| (p.first_lba.0, sectors(p)) == (u64::from(entry.start), u64::from(entry.sectors));
    let named = old.iter().find(repeats)?;
    let moved = new.iter().find(|p| p.number == named.number)?;
    if (moved.first_lba, sectors(moved)) == (named.first_lba, sectors(named)) {
        return Some(());
    }
    // It could say where a partition begins that ends beyond 2^32 sectors, but few who read it could follow.
    u32::try_from(moved.last_lba.0).ok()?;
    entry.start = u32::try_from(moved.first_lba.0).ok()?;
    entry.sectors = u32::try_from(sectors(moved)).ok()?;
    (entry.first_chs, entry.last_chs) = (chs_of(moved.first_lba), chs_of(moved.last_lba));
    Some(())
}

fn with_entries(record: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut record = record.to_vec();
    let table = record.get_mut(ENTRIES_AT..).unwrap_or_default();
    for (slot, entry) in table.chunks_exact_mut(ENTRY_BYTES).zip(entries) {
        slot.copy_from_slice(&entry.bytes());
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::mbr::{SectorZero, judge};

    #[test]
    fn an_entry_behind_the_end_of_the_disk_still_protects_when_it_was_written() {
        let entry =
            Entry { type_code: TYPE_PROTECTIVE, start: 0xC900_0001, sectors: 0x1FF, ..Entry::default() };
        let mut record = with_entries(&[0; RECORD_BYTES], &[entry]);
        record[510..].copy_from_slice(&SIGNATURE);
        assert_eq!(judge(&record, 512), SectorZero::Protective(vec![]));
        let written = resize_protective(&record, 512).unwrap();
        assert_eq!(judge(&written, 512), SectorZero::Protective(vec![]));
        assert_eq!(entries_of(&written)[0].sectors, 511);
    }
}
