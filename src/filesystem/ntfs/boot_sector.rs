//! The boot sector: the geometry of the volume.
//!
//! Sector 0, fields by the names of the NTFS documentation of the Linux-NTFS project:
//!
//! ```text
//! 0x03 OEM id "NTFS    "        0x28 number of sectors (without the backup boot sector)
//! 0x0B bytes per sector         0x30 LCN of $MFT
//! 0x0D sectors per cluster      0x38 LCN of $MFTMirr
//!                               0x40 clusters per MFT record (negative: 2^-n bytes)
//!                               0x48 serial number
//! ```

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{MIB, read_array, read_u8, read_u16le, read_u64le};

pub(super) const STRUCTURE: &str = "the NTFS boot sector";
/// The part of the sector that is read: it has this length in sectors of any size.
const BYTES: usize = 512;
const MAX_CLUSTER_BYTES: u64 = 2 * MIB;
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// The geometry of an NTFS volume. Every product of these numbers fits in 64 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct BootSector {
    pub(super) sector_bytes: u64,
    /// Without the backup boot sector, which stands at this sector.
    pub(super) total_sectors: u64,
    pub(super) cluster_bytes: u64,
    /// Whole clusters; the bits of `$Bitmap` beyond have no meaning.
    pub(super) cluster_count: u64,
    pub(super) mft_lcn: u64,
    pub(super) mftmirr_lcn: u64,
    pub(super) record_bytes: u64,
    pub(super) serial: u64,
}

/// True where the boot sector names NTFS.
pub(super) fn is_ntfs(volume: &dyn ReadAt) -> Result<bool, Error> {
    if volume.size_bytes() < 512 {
        return Ok(false);
    }
    let bytes = read_structure(volume, STRUCTURE, 0, BYTES)?;
    Ok(read_array(&bytes, 0x03).is_ok_and(|oem_id: [u8; 8]| oem_id == *b"NTFS    "))
}

impl BootSector {
    /// Reads and checks the boot sector.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Self, Error> {
        let bytes = read_structure(volume, STRUCTURE, 0, BYTES)?;
        let short = Error::short(STRUCTURE, 0);
        let sector_bytes = u64::from(read_u16le(&bytes, 0x0B).map_err(&short)?);
        let sectors_per_cluster = read_u8(&bytes, 0x0D).map_err(&short)?;
        let clusters_per_record = i8::from_le_bytes(read_array(&bytes, 0x40).map_err(&short)?);
        let total_sectors = read_u64le(&bytes, 0x28).map_err(&short)?;
        let mft_lcn = read_u64le(&bytes, 0x30).map_err(&short)?;
        let mftmirr_lcn = read_u64le(&bytes, 0x38).map_err(&short)?;
        let serial = read_u64le(&bytes, 0x48).map_err(&short)?;

        if !sector_bytes.is_power_of_two() || !(512..=4096).contains(&sector_bytes) {
            return Err(corrupt(format!("{sector_bytes} bytes per sector are not 512 to 4096")));
        }
        let cluster_bytes = cluster_bytes(sector_bytes, sectors_per_cluster)
            .ok_or_else(|| corrupt(format!("{sectors_per_cluster:#04x} is no cluster size")))?;
        let record_bytes = record_bytes(cluster_bytes, clusters_per_record)
            .ok_or_else(|| corrupt(format!("{clusters_per_record} is no size of an MFT record")))?;
        let total_bytes = total_sectors.saturating_mul(sector_bytes);
        if total_bytes > volume.size_bytes() {
            return Err(corrupt(format!(
                "the file system has {total_bytes} bytes, the volume only {}",
                volume.size_bytes()
            )));
        }
        let cluster_count = total_bytes.checked_div(cluster_bytes).unwrap_or_default();
        for (name, lcn) in [("$MFT", mft_lcn), ("$MFTMirr", mftmirr_lcn)] {
            if lcn >= cluster_count {
                return Err(corrupt(format!(
                    "cluster {lcn} of {name} is not one of the {cluster_count} clusters"
                )));
            }
        }
        Ok(Self {
            sector_bytes,
            total_sectors,
            cluster_bytes,
            cluster_count,
            mft_lcn,
            mftmirr_lcn,
            record_bytes,
            serial,
        })
    }

    /// The byte at which a cluster starts.
    pub(super) fn cluster_start(&self, lcn: u64) -> u64 {
        lcn.saturating_mul(self.cluster_bytes)
    }

    /// The end of the last whole cluster in bytes.
    pub(super) fn clusters_end(&self) -> u64 {
        self.cluster_start(self.cluster_count)
    }

    /// The size of the file system with its backup boot sector, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.total_sectors.saturating_add(1).saturating_mul(self.sector_bytes)
    }
}

fn corrupt(fact: String) -> Error {
    Error::corrupt(STRUCTURE, 0, fact)
}

/// Values up to 0x80 count sectors; above, since Windows 10 1709, the value `v` stands for 2^(256-v).
fn cluster_bytes(sector_bytes: u64, sectors_per_cluster: u8) -> Option<u64> {
    let sectors = match sectors_per_cluster {
        0..=0x80 => u64::from(sectors_per_cluster),
        _ => 1u64.checked_shl(u32::from(0u8.wrapping_sub(sectors_per_cluster)))?,
    };
    sectors.checked_mul(sector_bytes).filter(|bytes| bytes.is_power_of_two() && *bytes <= MAX_CLUSTER_BYTES)
}

fn record_bytes(cluster_bytes: u64, clusters_per_record: i8) -> Option<u64> {
    let magnitude = clusters_per_record.unsigned_abs();
    let bytes = if clusters_per_record > 0 {
        cluster_bytes.checked_mul(u64::from(magnitude))?
    } else {
        1u64.checked_shl(u32::from(magnitude))?
    };
    Some(bytes).filter(|bytes| bytes.is_power_of_two() && (512..=MAX_RECORD_BYTES).contains(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_sizes_reach_from_512_bytes_to_2_mib() {
        for (sector_bytes, value, bytes) in [
            (512, 1, Some(512)),
            (512, 8, Some(4096)),
            (512, 0x80, Some(65536)),
            (512, 0xF8, Some(131_072)),
            (512, 0xF4, Some(2 << 20)),
            (4096, 1, Some(4096)),
            (4096, 0xF7, Some(2 << 20)),
            (4096, 0xF6, None),
            (512, 0, None),
            (512, 3, None),
            (512, 0x81, None),
        ] {
            assert_eq!(cluster_bytes(sector_bytes, value), bytes, "{value:#x}");
        }
    }

    #[test]
    fn record_sizes_are_clusters_or_powers_of_two() {
        for (cluster_bytes, value, bytes) in [
            (4096, -10, Some(1024)),
            (4096, 1, Some(4096)),
            (512, 2, Some(1024)),
            (4096, 0, None),
            (512, -128, None),
        ] {
            assert_eq!(record_bytes(cluster_bytes, value), bytes, "{value}");
        }
    }
}
