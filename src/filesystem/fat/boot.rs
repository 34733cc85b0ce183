//! The boot sector: the BIOS parameter block and what follows from it.

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::bitlocker;
use crate::schema::FileSystemKind;
use crate::units::{read_array, read_slice, read_u8, read_u16le, read_u32le, u64_from};

/// Bytes of the boot sector that are looked at, whatever the sector size.
const BOOT_BYTES: usize = 512;
/// Linux `include/uapi/linux/msdos_fs.h`, `MAX_FAT32`: an entry has 28 bits, and the highest values are marks.
/// It bounds what reading a table costs.
const MAX_CLUSTERS: u64 = 0x0FFF_FFF6;

/// Where everything stands, in bytes from the start of the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BootSector {
    /// FAT12, FAT16 or FAT32.
    pub(super) kind: FileSystemKind,
    /// Size of a cluster.
    pub(super) cluster_bytes: u64,
    /// Number of clusters that the table can address.
    pub(super) clusters: u64,
    /// Start of the first copy of the table.
    pub(super) fat_start: u64,
    /// Size of one copy of the table.
    pub(super) fat_bytes: u64,
    /// Number of copies, 1 to 4.
    pub(super) fats: u64,
    /// The one copy that counts, where mirroring is switched off (FAT32).
    pub(super) sole_table: Option<u64>,
    /// Start of the root directory (FAT12 and FAT16).
    pub(super) root_start: u64,
    /// Size of the root directory; 0 on FAT32.
    pub(super) root_bytes: u64,
    /// First cluster of the root directory (FAT32).
    pub(super) root_cluster: u64,
    /// Start of cluster 2.
    pub(super) data_start: u64,
    /// Size of the file system.
    pub(super) total_bytes: u64,
    /// Serial number, as it stands on the disk.
    pub(super) serial: Option<[u8; 4]>,
    /// The name in the boot sector.
    pub(super) label: Option<[u8; 11]>,
    /// Set while mounted: BS_Reserved1 bit 0 (Windows NT, Linux).
    pub(super) dirty_flag: bool,
    /// A surface test is wanted: BS_Reserved1 bit 1.
    pub(super) test_flag: bool,
    version: u16,
}

impl BootSector {
    /// The boot sector of the volume, if it is that of a FAT file system.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Self>, Error> {
        if volume.size_bytes() < u64_from(BOOT_BYTES) {
            return Ok(None);
        }
        let bytes = read_structure(volume, "boot sector", 0, BOOT_BYTES)?;
        Ok(if is_another_format(&bytes) { None } else { Self::parse(&bytes) })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes_per_sector = u64::from(read_u16le(bytes, 0x0B).ok()?);
        let sectors_per_cluster = u64::from(read_u8(bytes, 0x0D).ok()?);
        let reserved = u64::from(read_u16le(bytes, 0x0E).ok()?);
        let fats = u64::from(read_u8(bytes, 0x10).ok()?);
        let root_entries = u64::from(read_u16le(bytes, 0x11).ok()?);
        let media = read_u8(bytes, 0x15).ok()?;
        let fat_sectors = u64::from(read_u16le(bytes, 0x16).ok()?);
        // Windows, Linux and UEFI all tell FAT32 by this field being zero: a FAT32 with few clusters, as
        // many EFI system partitions are, would be taken for FAT16 by its cluster count.
        let is_fat32 = fat_sectors == 0;
        let fat_sectors = if is_fat32 { u64::from(read_u32le(bytes, 0x24).ok()?) } else { fat_sectors };
        let total_sectors = match read_u16le(bytes, 0x13).ok()? {
            0 => u64::from(read_u32le(bytes, 0x20).ok()?),
            sectors => u64::from(sectors),
        };
        let sane = matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096)
            && sectors_per_cluster.is_power_of_two()
            && reserved != 0
            && (1..=4).contains(&fats)
            && (media == 0xF0 || media >= 0xF8)
            && fat_sectors != 0
            && is_fat32 == (root_entries == 0);
        if !sane {
            return None;
        }
        let root_sectors = root_entries.saturating_mul(32).div_ceil(bytes_per_sector);
        let root_sector = reserved.saturating_add(fats.saturating_mul(fat_sectors));
        let data_sector = root_sector.saturating_add(root_sectors);
        let clusters = total_sectors.checked_sub(data_sector)?.checked_div(sectors_per_cluster)?;
        let kind = match clusters {
            0 => return None,
            1.. if is_fat32 => FileSystemKind::Fat32,
            1..4085 => FileSystemKind::Fat12,
            4085..65525 => FileSystemKind::Fat16,
            _ => return None,
        };
        let fat_bytes = fat_sectors.saturating_mul(bytes_per_sector);
        let flags = if is_fat32 { read_u16le(bytes, 0x28).ok()? } else { 0 };
        let extended = if is_fat32 { 0x40 } else { 0x24 };
        let (serial, label) = serial_and_label(bytes, extended)?;
        let state = read_u8(bytes, if is_fat32 { 0x41 } else { 0x25 }).ok()?;
        Some(Self {
            kind,
            cluster_bytes: sectors_per_cluster.saturating_mul(bytes_per_sector),
            clusters: clusters.min(entries_in(kind, fat_bytes).saturating_sub(2)),
            fat_start: reserved.saturating_mul(bytes_per_sector),
            fat_bytes,
            fats,
            sole_table: (flags & 0x80 != 0).then_some(u64::from(flags & 0x0F)),
            root_start: root_sector.saturating_mul(bytes_per_sector),
            root_bytes: root_entries.saturating_mul(32),
            root_cluster: if is_fat32 { u64::from(read_u32le(bytes, 0x2C).ok()?) } else { 0 },
            data_start: data_sector.saturating_mul(bytes_per_sector),
            total_bytes: total_sectors.saturating_mul(bytes_per_sector),
            serial,
            label,
            dirty_flag: state & 1 != 0,
            test_flag: state & 2 != 0,
            version: if is_fat32 { read_u16le(bytes, 0x2A).ok()? } else { 0 },
        })
    }

    /// Refuses what contradicts itself or the size of the volume.
    pub(super) fn check(&self, volume_bytes: u64) -> Result<(), Error> {
        let corrupt = |fact: String| Err(Error::corrupt("boot sector", 0, fact));
        if self.total_bytes > volume_bytes {
            let size = self.total_bytes;
            return corrupt(format!("{size} bytes of file system on a volume of {volume_bytes} bytes"));
        }
        if self.version != 0 {
            return Err(Error::unsupported(format!(
                "FAT32 version {:#06x}: only version 0 is known; capture it with --when-dirty raw",
                self.version
            )));
        }
        if let Some(active) = self.sole_table.filter(|active| *active >= self.fats) {
            return corrupt(format!("table {active} is the active one of {}", self.fats));
        }
        if self.clusters > MAX_CLUSTERS {
            return corrupt(format!("{} clusters, of which FAT32 cannot number all", self.clusters));
        }
        let last_cluster = self.clusters.saturating_add(1);
        if self.kind == FileSystemKind::Fat32 && !(2..=last_cluster).contains(&self.root_cluster) {
            let root = self.root_cluster;
            return corrupt(format!("the root directory at cluster {root}, of clusters 2 to {last_cluster}"));
        }
        Ok(())
    }

    /// First byte of a cluster.
    pub(super) fn cluster_start(&self, cluster: u64) -> u64 {
        self.data_start.saturating_add(cluster.saturating_sub(2).saturating_mul(self.cluster_bytes))
    }

    /// First byte behind the last cluster.
    pub(super) fn data_end(&self) -> u64 {
        self.cluster_start(self.clusters.saturating_add(2))
    }

    /// First byte of a copy of the table.
    pub(super) fn table_start(&self, copy: u64) -> u64 {
        self.fat_start.saturating_add(copy.saturating_mul(self.fat_bytes))
    }
}

/// Whole entries in a table of so many bytes.
fn entries_in(kind: FileSystemKind, fat_bytes: u64) -> u64 {
    match kind {
        FileSystemKind::Fat12 => fat_bytes.saturating_mul(2) / 3,
        FileSystemKind::Fat16 => fat_bytes / 2,
        _ => fat_bytes / 4,
    }
}

/// BS_VolID and BS_VolLab, which only count behind their signature: 0x28 for the first, 0x29 for both.
type SerialAndLabel = (Option<[u8; 4]>, Option<[u8; 11]>);

fn serial_and_label(bytes: &[u8], extended: usize) -> Option<SerialAndLabel> {
    let signature = read_u8(bytes, extended.saturating_add(2)).ok()?;
    let serial: [u8; 4] = read_array(bytes, extended.saturating_add(3)).ok()?;
    let label = read_array(bytes, extended.saturating_add(7)).ok()?;
    Some((matches!(signature, 0x28 | 0x29).then_some(serial), (signature == 0x29).then_some(label)))
}

/// True for boot sectors that hold what looks like a BIOS parameter block but are not FAT, and for those
/// with nothing that says that they are.
fn is_another_format(bytes: &[u8]) -> bool {
    let stands = |at: usize, text: &[u8]| read_slice(bytes, at, text.len()) == Ok(text);
    let named = stands(0x36, b"FAT") || stands(0x52, b"FAT32");
    let other = [b"NTFS    ", b"EXFAT   ", b"-FVE-FS-", b"ReFS\0\0\0\0"].iter().any(|name| stands(3, *name))
        // OS/2 puts a parameter block before JFS and HPFS.
        || [b"JFS     ", b"HPFS    "].iter().any(|name| stands(0x36, *name))
        || bitlocker::hides_behind(bytes);
    other || !(named || stands(510, &[0x55, 0xAA]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::{MemoryDisk, WriteAt};

    /// A FAT32 of clusters of 512 bytes on a disk of 1 TiB.
    fn checked(fat_sectors: u32) -> Result<(), Error> {
        let mut sector = vec![0; BOOT_BYTES];
        let fields: [(usize, &[u8]); 10] = [
            (0x0B, &[0, 2]),
            (0x0D, &[1]),
            (0x0E, &[32]),
            (0x10, &[1]),
            (0x15, &[0xF8]),
            (0x20, &0x7B7B_1000u32.to_le_bytes()),
            (0x24, &fat_sectors.to_le_bytes()),
            (0x2C, &[2]),
            (0x52, b"FAT32"),
            (0x1FE, &[0x55, 0xAA]),
        ];
        for (at, bytes) in fields {
            sector[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let disk = MemoryDisk::new(1 << 40);
        disk.write_at(0, &sector).unwrap();
        BootSector::read(&disk)?.unwrap().check(disk.size_bytes())
    }

    #[test]
    fn more_clusters_than_entries_can_number_are_refused() {
        assert!(checked(0x1F_FFFF).is_ok());
        assert!(matches!(checked(0x6B_7B63), Err(Error::Corrupt { .. })));
    }
}
