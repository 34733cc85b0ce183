//! The boot region: twelve sectors that say where everything is, and their backup in the twelve behind them.
//!
//! Offsets and names are those of Microsoft's "exFAT file system specification", chapter 3.
//!
//! ```text
//! sector 0       1 to 8              9              10         11
//! | boot sector | extended boot code | OEM parameters | reserved | checksum, again and again |
//! ```

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::serial_at;
use crate::units::{OutOfBounds, read_slice, read_u8, read_u16le, read_u32le, read_u64le, usize_from};

const STRUCTURE: &str = "exFAT boot region";
/// Sectors of the region; the checksum stands in the last one.
const REGION_SECTORS: u64 = 12;
/// Cluster numbers begin at 2 and end before the marks: 2^32 - 11.
const MAX_CLUSTERS: u64 = 0xFFFF_FFF5;
/// `VolumeFlags`
const VOLUME_DIRTY: u16 = 0x0002;
const MEDIA_FAILURE: u16 = 0x0004;

/// Where everything stands, in bytes from the start of the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boot {
    sector_bytes: u64,
    pub(super) cluster_bytes: u64,
    /// Number of clusters; the first one is cluster 2.
    pub(super) clusters: u64,
    pub(super) fat_start: u64,
    fat_bytes: u64,
    number_of_fats: u8,
    /// Start of cluster 2.
    pub(super) heap_start: u64,
    pub(super) root_cluster: u64,
    pub(super) total_bytes: u64,
    pub(super) serial: Option<String>,
    volume_flags: u16,
    revision: u16,
}

/// True where the boot sector is that of an exFAT.
pub(super) fn is_there(volume: &dyn ReadAt) -> Result<bool, Error> {
    if volume.size_bytes() < 512 {
        return Ok(false);
    }
    let boot = read_structure(volume, STRUCTURE, 0, 512)?;
    Ok(read_slice(&boot, 3, 8) == Ok(b"EXFAT   ")
        && read_slice(&boot, 11, 53).is_ok_and(|zeros| zeros.iter().all(|byte| *byte == 0))
        && read_slice(&boot, 510, 2) == Ok(&[0x55, 0xAA])
        && shifts(&boot).is_some())
}

/// `BytesPerSectorShift` and `SectorsPerClusterShift`: clusters have at most 32 MiB.
fn shifts(boot: &[u8]) -> Option<(u32, u32)> {
    let sector = u32::from(read_u8(boot, 108).ok()?);
    let cluster = u32::from(read_u8(boot, 109).ok()?);
    ((9..=12).contains(&sector) && cluster <= 25u32.saturating_sub(sector)).then_some((sector, cluster))
}

impl Boot {
    /// Reads the main region and verifies it.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Self, Error> {
        let boot = read_structure(volume, STRUCTURE, 0, 512)?;
        let (sector_shift, cluster_shift) =
            shifts(&boot).ok_or_else(|| corrupt("its sector and cluster sizes are none that exFAT has"))?;
        let parsed = Self::parse(&boot, sector_shift, cluster_shift).map_err(Error::short(STRUCTURE, 0))?;
        parsed.verify(volume, 0)?;
        parsed.check(volume.size_bytes())?;
        Ok(parsed)
    }

    fn parse(boot: &[u8], sector_shift: u32, cluster_shift: u32) -> Result<Self, OutOfBounds> {
        let sector_bytes = 1u64.checked_shl(sector_shift).unwrap_or(512);
        let bytes = |sectors: u64| sectors.saturating_mul(sector_bytes);
        let field = |at: usize| read_u32le(boot, at).map(u64::from);
        Ok(Self {
            sector_bytes,
            cluster_bytes: bytes(1u64.checked_shl(cluster_shift).unwrap_or(1)),
            total_bytes: bytes(read_u64le(boot, 72)?),
            fat_start: bytes(field(80)?),
            fat_bytes: bytes(field(84)?),
            heap_start: bytes(field(88)?),
            clusters: field(92)?,
            root_cluster: field(96)?,
            serial: serial_at(boot, 100),
            revision: read_u16le(boot, 104)?,
            volume_flags: read_u16le(boot, 106)?,
            number_of_fats: read_u8(boot, 110)?,
        })
    }

    /// The checksum of a region. The flags and the fill level, which change while it is mounted, do not count.
    fn verify(&self, volume: &dyn ReadAt, first_sector: u64) -> Result<(), Error> {
        let at = first_sector.saturating_mul(self.sector_bytes);
        let length = usize_from(REGION_SECTORS.saturating_mul(self.sector_bytes));
        let region = read_structure(volume, STRUCTURE, at, length)?;
        let counted = length.saturating_sub(usize_from(self.sector_bytes));
        let (counted, stored) = region.split_at_checked(counted).unwrap_or_default();
        let computed = counted
            .iter()
            .enumerate()
            .filter(|(index, _)| !matches!(index, 106 | 107 | 112))
            .fold(0u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add((*byte).into()));
        if stored.chunks(4).all(|sum| sum == computed.to_le_bytes()) {
            return Ok(());
        }
        let first = read_u32le(stored, 0).unwrap_or(0);
        Err(Error::corrupt(
            STRUCTURE,
            at,
            format!("its checksum is {computed:#010x}, and its last sector says {first:#010x}"),
        ))
    }

    /// What is to be said about the backup of the region, which nobody needs while the first is sound.
    pub(super) fn backup_hint(&self, volume: &dyn ReadAt) -> Result<Option<String>, Error> {
        let verified = self.verify(volume, REGION_SECTORS);
        let at = REGION_SECTORS.saturating_mul(self.sector_bytes);
        let what = match verified {
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => "is damaged",
            Ok(()) => {
                let fields = |at: u64| read_structure(volume, STRUCTURE, at, 106);
                if fields(0)? == fields(at)? {
                    return Ok(None);
                }
                "is that of another file system"
            }
        };
        Ok(Some(format!(
            "the backup of its boot region {what}, which does no harm until it is needed; fsck.exfat renews it"
        )))
    }

    fn check(&self, volume_bytes: u64) -> Result<(), Error> {
        if self.number_of_fats == 2 {
            return Err(Error::unsupported(
                "it is a TexFAT, with two tables and two bitmaps of which Remint does not know the valid one; capture it raw",
            ));
        }
        if self.revision >> 8 != 1 {
            let [minor, major] = self.revision.to_le_bytes();
            return Err(Error::unsupported(format!(
                "it has revision {major}.{minor:02} of exFAT, and Remint knows 1; capture it raw"
            )));
        }
        let needed_fat = self.clusters.saturating_add(2).saturating_mul(4);
        let is_sound = self.number_of_fats == 1
            && self.fat_start >= self.sector_bytes.saturating_mul(REGION_SECTORS.saturating_mul(2))
            && self.fat_bytes >= needed_fat
            && self.fat_start.saturating_add(self.fat_bytes) <= self.heap_start
            && (1..=MAX_CLUSTERS).contains(&self.clusters)
            && self.heap_end() <= self.total_bytes;
        if !is_sound {
            return Err(corrupt(format!(
                "{} clusters of {} bytes from byte {} on, with a table of {} bytes before them, do not make a volume of {} bytes",
                self.clusters, self.cluster_bytes, self.heap_start, self.fat_bytes, self.total_bytes
            )));
        }
        if self.total_bytes > volume_bytes {
            return Err(corrupt(format!(
                "the file system has {} bytes, but the volume only {volume_bytes}",
                self.total_bytes
            )));
        }
        Ok(())
    }

    /// First byte behind the last cluster.
    pub(super) fn heap_end(&self) -> u64 {
        self.heap_start.saturating_add(self.clusters.saturating_mul(self.cluster_bytes))
    }

    /// Where a cluster stands, if there is one of this number.
    pub(super) fn cluster_start(&self, cluster: u64) -> Option<u64> {
        let index = cluster.checked_sub(2).filter(|index| *index < self.clusters)?;
        index.checked_mul(self.cluster_bytes)?.checked_add(self.heap_start)
    }

    /// Where the entry of a cluster stands in the table.
    pub(super) fn entry_at(&self, cluster: u64) -> u64 {
        self.fat_start.saturating_add(cluster.saturating_mul(4))
    }

    /// What keeps the file system from being clean, a sentence each.
    pub(super) fn findings(&self) -> Vec<String> {
        const WAY_OUT: &str = "repair it with fsck.exfat or chkdsk /f, or capture it with --when-dirty raw";
        [
            (VOLUME_DIRTY, "exFAT was not unmounted: its boot sector says so"),
            (MEDIA_FAILURE, "exFAT saw errors of the disk below it"),
        ]
        .into_iter()
        .filter(|(flag, _)| self.volume_flags & flag != 0)
        .map(|(_, fact)| format!("{fact}; {WAY_OUT}"))
        .collect()
    }
}

fn corrupt(fact: impl Into<String>) -> Error {
    Error::corrupt(STRUCTURE, 0, fact)
}
