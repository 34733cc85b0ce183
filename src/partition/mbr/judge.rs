//! What sector 0 is: a table, a protective MBR, or the boot sector of a file system.
//!
//! 55AA alone says nothing: boot sectors of FAT and NTFS end in it too, and the bytes of their boot code stand
//! where a table would. The rules, in this order:
//!
//! 1. no 55AA: no table;
//! 2. a status byte other than 00 and 80: no table;
//! 3. an entry of type EE that has sectors: a protective MBR;
//! 4. 64 zero bytes: a table without partitions, but no table behind what looks like the boot sector of FAT,
//!    exFAT, NTFS, ReFS or BitLocker;
//! 5. at least one entry with a type, a start and a length that begins on the disk: a table. Behind what looks
//!    like such a boot sector (GRUB keeps its bytes when it is installed over it) every used entry must lie
//!    wholly on the disk, behind sector 0, and none may overlap another;
//! 6. everything else: no table.

use super::{ENTRIES_AT, Entry, TYPE_PROTECTIVE, entries_of, is_signed};
use crate::units::{read_u8, read_u16le, read_u32le};

/// What sector 0 is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::partition) enum SectorZero {
    /// Nothing that ends in 55AA.
    Unsigned,
    /// The boot sector of this file system.
    VolumeBoot(&'static str),
    /// It ends in 55AA, but what stands there cannot be a table.
    Implausible(String),
    /// A table without partitions.
    Empty,
    /// A protective MBR; the types of the entries that are not protective.
    Protective(Vec<u8>),
    /// A table with partitions.
    Table,
}

/// Judges sector 0 by the rules above.
pub(in crate::partition) fn judge(record: &[u8], disk_sectors: u64) -> SectorZero {
    if !is_signed(record) {
        return SectorZero::Unsigned;
    }
    let volume = named_volume(record).or_else(|| fat_parameter_block(record)?.then_some("FAT"));
    let entries = entries_of(record);
    if let Some(entry) = entries.iter().find(|entry| !matches!(entry.status, 0x00 | 0x80)) {
        return match volume {
            Some(name) => SectorZero::VolumeBoot(name),
            None => SectorZero::Implausible(format!("a status byte is {:02x}", entry.status)),
        };
    }
    let used: Vec<&Entry> = entries.iter().filter(|entry| entry.is_used()).collect();
    if used.iter().any(|entry| entry.type_code == TYPE_PROTECTIVE) {
        let others = used.iter().map(|entry| entry.type_code).filter(|code| *code != TYPE_PROTECTIVE);
        return SectorZero::Protective(others.collect());
    }
    let all_zero = record.get(ENTRIES_AT..510).is_some_and(|table| table.iter().all(|byte| *byte == 0));
    if let Some(name) = volume.filter(|_| all_zero || !is_faultless(&used, disk_sectors)) {
        return SectorZero::VolumeBoot(name);
    }
    if all_zero {
        return SectorZero::Empty;
    }
    if used.iter().any(|entry| entry.start != 0 && u64::from(entry.start) < disk_sectors) {
        return SectorZero::Table;
    }
    SectorZero::Implausible("no entry has a type, a length and a start on the disk".to_owned())
}

/// True where every entry lies on the disk, behind sector 0, and none overlaps another.
fn is_faultless(used: &[&Entry], disk_sectors: u64) -> bool {
    let mut by_start: Vec<&Entry> = used.to_vec();
    by_start.sort_by_key(|entry| entry.start);
    !used.is_empty()
        && used.iter().all(|entry| entry.start != 0 && entry.end() <= disk_sectors)
        && by_start.windows(2).all(|pair| match pair {
            [first, second] => first.end() <= second.start.into(),
            _ => true,
        })
}

/// The file system whose name stands at byte 3.
fn named_volume(record: &[u8]) -> Option<&'static str> {
    let name = record.get(3..11)?;
    [(b"NTFS    ", "NTFS"), (b"EXFAT   ", "exFAT"), (b"ReFS\0\0\0\0", "ReFS"), (b"-FVE-FS-", "BitLocker")]
        .into_iter()
        .find_map(|(magic, text)| (name == magic).then_some(text))
}

/// True where bytes 0 to 35 are the parameter block of a FAT file system (Microsoft, FAT32 specification
/// 1.03).
fn fat_parameter_block(record: &[u8]) -> Option<bool> {
    let jump = read_u8(record, 0).ok()?;
    let bytes_per_sector = read_u16le(record, 11).ok()?;
    let sectors_per_cluster = read_u8(record, 13).ok()?;
    let reserved_sectors = read_u16le(record, 14).ok()?;
    let fats = read_u8(record, 16).ok()?;
    let media = read_u8(record, 21).ok()?;
    let total = (read_u16le(record, 19).ok()?, read_u32le(record, 32).ok()?);
    let fat_length = (read_u16le(record, 22).ok()?, read_u32le(record, 36).ok()?);
    Some(
        matches!(jump, 0xEB | 0xE9)
            && matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096)
            && sectors_per_cluster.is_power_of_two()
            && reserved_sectors != 0
            && matches!(fats, 1..=4)
            && media >= 0xF0
            && total != (0, 0)
            && fat_length != (0, 0),
    )
}

#[cfg(test)]
mod tests {
    use super::super::RECORD_BYTES;
    use super::*;

    const DISK: u64 = 100_000;

    fn record(entries: &[Entry]) -> Vec<u8> {
        let mut record = vec![0; RECORD_BYTES];
        for (position, entry) in entries.iter().enumerate() {
            let at = ENTRIES_AT + 16 * position;
            record[at..at + 16].copy_from_slice(&entry.bytes());
        }
        record[510..].copy_from_slice(&[0x55, 0xAA]);
        record
    }

    fn partition(type_code: u8, start: u32, sectors: u32) -> Entry {
        Entry { type_code, start, sectors, ..Entry::default() }
    }

    fn with_fat_block(mut record: Vec<u8>) -> Vec<u8> {
        record[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
        record[11..13].copy_from_slice(&512u16.to_le_bytes());
        record[13] = 8;
        record[14] = 1;
        record[16] = 2;
        record[19..21].copy_from_slice(&50_000u16.to_le_bytes());
        record[21] = 0xF8;
        record[22] = 200;
        record
    }

    #[test]
    fn a_table_is_told_from_what_looks_like_one() {
        let linux = partition(0x83, 2048, 4096);
        assert_eq!(judge(&record(&[linux]), DISK), SectorZero::Table);
        assert_eq!(judge(&record(&[]), DISK), SectorZero::Empty);
        assert_eq!(judge(&[0; 512], DISK), SectorZero::Unsigned);
        assert_eq!(judge(&[], DISK), SectorZero::Unsigned);
        assert!(matches!(judge(&record(&[partition(0x83, 200_000, 5)]), DISK), SectorZero::Implausible(_)));
        assert!(matches!(judge(&record(&[partition(0x83, 0, 5)]), DISK), SectorZero::Implausible(_)));
        let odd = Entry { status: 0x20, ..linux };
        assert!(matches!(judge(&record(&[linux, odd]), DISK), SectorZero::Implausible(_)));
        let beyond = partition(0x83, 2048, 4_000_000);
        assert_eq!(judge(&record(&[beyond]), DISK), SectorZero::Table);
    }

    #[test]
    fn a_protective_mbr_is_one_wherever_its_entry_stands() {
        let protective = partition(0xEE, 1, 2047);
        assert_eq!(judge(&record(&[protective]), DISK), SectorZero::Protective(vec![]));
        let hybrid = record(&[partition(7, 2048, 10), protective]);
        assert_eq!(judge(&hybrid, DISK), SectorZero::Protective(vec![7]));
    }

    #[test]
    fn a_fat_boot_sector_is_no_table_unless_the_table_is_faultless() {
        let linux = partition(0x83, 2048, 4096);
        let fat = SectorZero::VolumeBoot("FAT");
        assert_eq!(judge(&with_fat_block(record(&[])), DISK), fat);
        assert_eq!(judge(&with_fat_block(record(&[partition(0x0C, 0, 50_000)])), DISK), fat);
        assert_eq!(judge(&with_fat_block(record(&[linux, partition(0x83, 4000, 10)])), DISK), fat);
        let odd = Entry { status: 0x6F, ..linux };
        assert_eq!(judge(&with_fat_block(record(&[odd])), DISK), fat);
        assert_eq!(judge(&with_fat_block(record(&[linux])), DISK), SectorZero::Table);
        let mut named = record(&[]);
        named[3..11].copy_from_slice(b"NTFS    ");
        assert_eq!(judge(&named, DISK), SectorZero::VolumeBoot("NTFS"));
    }
}
