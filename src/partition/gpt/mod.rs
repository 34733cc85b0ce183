//! The GUID partition table (UEFI 2.10, 5.3).
//!
//! ```text
//! LBA 0        protective MBR
//! LBA 1        primary header        (92 bytes, CRC-32 over itself with the field zeroed)
//! LBA 2 ..     primary entry array   (entry_count x entry_size bytes, CRC-32 in the header)
//!              partitions            (first_usable_lba to last_usable_lba)
//! .. last-1    backup entry array
//! last LBA     backup header         (my_lba and alternate_lba exchanged)
//! ```

mod read;
mod write;

pub(super) use read::{Defect, find, written_for};
pub(super) use write::encode;

use crate::units::{Guid, Lba, SectorSize};

/// Bytes 0 to 7 of a header.
const SIGNATURE: [u8; 8] = *b"EFI PART";
/// Revision 1.0, the only one there is.
const REVISION: u32 = 0x0001_0000;
/// Size of the header that we write.
const HEADER_BYTES: u32 = 92;
/// More entries than any tool makes; bounds what is read.
const MAX_ENTRIES: u32 = 16_384;
/// Bounds the entry array in memory.
const MAX_ARRAY_BYTES: u64 = 16 << 20;
/// Size of the name in an entry.
const NAME_BYTES: usize = 72;

/// The fields of a header that matter once it was found valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub my_lba: Lba,
    pub alternate_lba: Lba,
    pub first_usable_lba: Lba,
    pub last_usable_lba: Lba,
    pub disk_guid: Guid,
    pub partition_entry_lba: Lba,
    pub number_of_partition_entries: u32,
    pub size_of_partition_entry: u32,
    pub partition_entry_array_crc32: u32,
}

/// Length of an entry array in bytes; `None` where no table may have it.
fn array_bytes(entry_count: u32, entry_size_bytes: u32) -> Option<u64> {
    let size_is_allowed = entry_size_bytes.is_power_of_two() && entry_size_bytes >= 128;
    u64::from(entry_count).checked_mul(u64::from(entry_size_bytes)).filter(|bytes| {
        size_is_allowed && (1..=MAX_ENTRIES).contains(&entry_count) && *bytes <= MAX_ARRAY_BYTES
    })
}

/// Length of an entry array in sectors; `None` for a count or size that no table may have.
#[must_use]
pub fn array_sectors(entry_count: u32, entry_size_bytes: u32, sector: SectorSize) -> Option<u64> {
    let padding = sector.bytes().saturating_sub(1);
    Some(sector.lba_of(array_bytes(entry_count, entry_size_bytes)?.saturating_add(padding)).0)
}

/// The sector at which the backup entry array of a disk begins; `None` where the disk is too small.
#[must_use]
pub fn backup_entries_lba(
    disk_size_bytes: u64,
    sector: SectorSize,
    entry_count: u32,
    entry_size_bytes: u32,
) -> Option<Lba> {
    let last = sector.lba_of(disk_size_bytes).0.checked_sub(1)?;
    let sectors = array_sectors(entry_count, entry_size_bytes, sector)?;
    last.checked_sub(sectors).filter(|lba| *lba > sectors.saturating_add(1)).map(Lba)
}

/// The last sector that a partition of such a disk may use: the one before the backup entry array.
#[must_use]
pub fn last_usable_lba(
    disk_size_bytes: u64,
    sector: SectorSize,
    entry_count: u32,
    entry_size_bytes: u32,
) -> Option<Lba> {
    let entries = backup_entries_lba(disk_size_bytes, sector, entry_count, entry_size_bytes)?;
    entries.0.checked_sub(1).map(Lba)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usable_range_ends_where_the_facts_say() {
        let disk = 1 << 30;
        let last = |sector: SectorSize| sector.lba_of(disk).0 - 1;
        assert_eq!(last_usable_lba(disk, SectorSize::B512, 128, 128), Some(Lba(last(SectorSize::B512) - 33)));
        assert_eq!(
            last_usable_lba(disk, SectorSize::B4096, 128, 128),
            Some(Lba(last(SectorSize::B4096) - 5))
        );
        assert_eq!(last_usable_lba(16 << 10, SectorSize::B512, 128, 128), None);
        assert_eq!(array_sectors(0, 128, SectorSize::B512), None);
        assert_eq!(array_sectors(128, 192, SectorSize::B512), None);
        assert_eq!(array_sectors(16_384, 4096, SectorSize::B512), None);
    }
}
