//! Where its partition begins, as a boot sector notes it: the "hidden sectors" of NTFS and FAT. The code in it, and that
//! of Windows' boot manager, find the volume on the disk by this number alone.

use super::CustomizeError;
use crate::blockio::{WriteAt, read_vec};
use crate::units::{read_array, read_u16le, read_u32le, read_u64le, u64_from};

/// What the boot code of a BIOS is loaded from, whatever the size of a sector.
const RECORD_BYTES: usize = 512;
/// The number of hidden sectors, in 32 bits (both have it there since DOS 3.31).
const HIDDEN: usize = 0x1C;
/// Of NTFS: how many sectors it has. The copy of its boot sector is behind them.
const NTFS_SECTORS: usize = 0x28;
/// Of FAT32: sectors of one table where FAT12 and FAT16 have none, and where the copy of the boot sector is.
const FAT16_TABLE_SECTORS: usize = 0x16;
const FAT32_COPY: usize = 0x32;
/// What a copy has in common with the boot sector.
const DESCRIPTION: std::ops::Range<usize> = 0x0B..0x1C;

/// Has the boot sector of a volume, and its copy, say where its partition begins, where they said so before. Returns
/// how many were changed: one that says something else was not written for this place, and stays.
///
/// # Errors
/// Where the volume cannot be read or written.
pub fn follow(volume: &dyn WriteAt, was: u32, is: u32) -> Result<usize, CustomizeError> {
    let io = |source| CustomizeError::Io { doing: "writing the boot sector".to_owned(), source };
    let first = read_vec(volume, 0, RECORD_BYTES).map_err(io)?;
    let mut changed = 0;
    let copies = copies_at(&first, volume.size_bytes()).unwrap_or_default().into_iter();
    let inside = |at: &u64| *at > 0 && at.saturating_add(u64_from(RECORD_BYTES)) <= volume.size_bytes();
    for at in [0].into_iter().chain(copies.filter(inside)) {
        let mut sector = read_vec(volume, at, RECORD_BYTES).map_err(io)?;
        let is_copy = sector.get(DESCRIPTION) == first.get(DESCRIPTION) && sector.ends_with(&[0x55, 0xAA]);
        if !is_copy || read_u32le(&sector, HIDDEN) != Ok(was) {
            continue;
        }
        if let Some(field) = sector.get_mut(HIDDEN..HIDDEN + 4) {
            field.copy_from_slice(&is.to_le_bytes());
        }
        volume.write_at(at, &sector).map_err(io)?;
        changed += 1;
    }
    volume.flush().map_err(io)?;
    Ok(changed)
}

/// Where the copy of a boot sector may be, in bytes. That of NTFS is the last sector of the partition, which `ntfsresize` leaves
/// further than one sector behind the file system.
fn copies_at(first: &[u8], volume_bytes: u64) -> Option<[u64; 2]> {
    let sector_bytes = u64::from(read_u16le(first, 0x0B).ok()?);
    if read_array::<8>(first, 3) == Ok(*b"NTFS    ") {
        let behind = read_u64le(first, NTFS_SECTORS).ok()?.checked_mul(sector_bytes)?;
        let last = volume_bytes.checked_sub(sector_bytes)?;
        return Some([behind, if last == behind { 0 } else { last }]);
    }
    let is_fat32 = read_u16le(first, FAT16_TABLE_SECTORS) == Ok(0);
    let copy = if is_fat32 { read_u16le(first, FAT32_COPY).ok()? } else { 0 };
    Some([u64::from(copy).saturating_mul(sector_bytes), 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::MemoryDisk;
    use crate::units::{MIB, usize_from};

    fn disk(oem: &[u8; 8], fields: &[(usize, &[u8])], copy: Option<usize>) -> MemoryDisk {
        let mut bytes = vec![0u8; usize_from(MIB)];
        bytes[3..11].copy_from_slice(oem);
        bytes[0x0B..0x0D].copy_from_slice(&512u16.to_le_bytes());
        bytes[HIDDEN..HIDDEN + 4].copy_from_slice(&2048u32.to_le_bytes());
        for (at, field) in fields {
            bytes[*at..at + field.len()].copy_from_slice(field);
        }
        bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
        if let Some(sector) = copy {
            bytes.copy_within(..512, sector * 512);
        }
        MemoryDisk::from_bytes(&bytes)
    }

    fn hidden(disk: &MemoryDisk, sector: u64) -> u32 {
        read_u32le(&read_vec(disk, sector * 512, 512).unwrap(), HIDDEN).unwrap()
    }

    #[test]
    fn boot_sectors_and_their_copies_follow() {
        let ntfs = disk(b"NTFS    ", &[(NTFS_SECTORS, &2047u64.to_le_bytes())], Some(2047));
        assert_eq!(follow(&ntfs, 2048, 4096).unwrap(), 2);
        assert_eq!((hidden(&ntfs, 0), hidden(&ntfs, 2047)), (4096, 4096));
        assert_eq!(follow(&ntfs, 2048, 4096).unwrap(), 0, "taken again, nothing changes");
        let fat32 = disk(b"MSDOS5.0", &[(FAT32_COPY, &6u16.to_le_bytes())], Some(6));
        assert_eq!(follow(&fat32, 2048, 63).unwrap(), 2);
        assert_eq!((hidden(&fat32, 0), hidden(&fat32, 6)), (63, 63));
        let fat16 = disk(b"MSDOS5.0", &[(FAT16_TABLE_SECTORS, &32u16.to_le_bytes())], Some(6));
        let resized = disk(b"NTFS    ", &[(NTFS_SECTORS, &2040u64.to_le_bytes())], Some(2047));
        assert_eq!(follow(&resized, 2048, 4096).unwrap(), 2);
        assert_eq!(follow(&fat16, 2048, 63).unwrap(), 1);
        assert_eq!(hidden(&fat16, 6), 2048, "FAT16 has no copy");
    }

    #[test]
    fn what_was_written_for_another_place_stays() {
        let ntfs = disk(b"NTFS    ", &[(HIDDEN, &[0; 4]), (NTFS_SECTORS, &u64::MAX.to_le_bytes())], None);
        assert_eq!(follow(&ntfs, 2048, 4096).unwrap(), 0);
        // A copy that is none.
        let ntfs = disk(b"NTFS    ", &[(NTFS_SECTORS, &100u64.to_le_bytes())], None);
        assert_eq!(follow(&ntfs, 2048, 4096).unwrap(), 1);
        assert_eq!(hidden(&ntfs, 100), 0);
    }
}
