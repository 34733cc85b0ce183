//! Find both copies of a GPT, and judge each by itself.

use super::{HEADER_BYTES, Header, NAME_BYTES, SIGNATURE, array_bytes};
use crate::blockio::{ReadAt, read_vec};
use crate::partition::{Error, Finding};
use crate::schema::{Gpt, GptPartition};
use crate::units::checksum::crc32;
use crate::units::{Guid, Hex, Lba, OutOfBounds, SectorSize, usize_from};
use crate::units::{read_array, read_slice, read_u32le, read_u64le};
use std::fmt;

/// One valid copy of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::partition) struct TableCopy {
    pub header: Header,
    pub partitions: Vec<GptPartition>,
}

/// Why there is no valid copy at a place.
#[derive(Debug)]
pub(in crate::partition) enum Defect {
    /// No GPT header stands there.
    Absent,
    /// A header stands there, but it or its array contradicts itself.
    Damaged(String),
    /// The device could not read it.
    Unreadable(Error),
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no GPT header there"),
            Self::Damaged(fact) => f.write_str(fact),
            Self::Unreadable(Error::Io { structure, at, source }) => {
                write!(f, "reading {structure} at byte {at} failed: {source}")
            }
            Self::Unreadable(error) => write!(f, "{error}"),
        }
    }
}

impl From<OutOfBounds> for Defect {
    fn from(field: OutOfBounds) -> Self {
        Self::Damaged(field.to_string())
    }
}

/// Both copies of a disk's GPT.
pub(in crate::partition) struct Copies {
    pub primary: Result<TableCopy, Defect>,
    pub backup: Result<TableCopy, Defect>,
    /// Where the backup was looked for last.
    backup_lba: Lba,
    /// The last sector of the disk.
    last_lba: Lba,
}

/// Looks for the primary in sector 1 and for the backup in the last sector, or, where the disk was
/// enlarged, in the sector that the primary names.
pub(in crate::partition) fn find(disk: &dyn ReadAt, sector: SectorSize) -> Copies {
    let last_lba = Lba(sector.lba_of(disk.size_bytes()).0.saturating_sub(1));
    if last_lba.0 < 4 {
        return Copies {
            primary: Err(Defect::Absent),
            backup: Err(Defect::Absent),
            backup_lba: last_lba,
            last_lba,
        };
    }
    let primary = copy_at(disk, sector, Lba(1), last_lba);
    let mut backup = copy_at(disk, sector, last_lba, last_lba);
    let mut backup_lba = last_lba;
    if backup.is_err()
        && let Some(hint) = alternate_hint(disk, sector).filter(|hint| hint.0 > 1 && *hint < last_lba)
        && let Ok(found) = copy_at(disk, sector, hint, last_lba)
    {
        backup = Ok(found);
        backup_lba = hint;
    }
    Copies { primary, backup, backup_lba, last_lba }
}

/// The backup's sector as the primary header names it, even where that header is damaged.
fn alternate_hint(disk: &dyn ReadAt, sector: SectorSize) -> Option<Lba> {
    let header = read_vec(disk, sector.bytes(), usize_from(HEADER_BYTES.into())).ok()?;
    header.starts_with(&SIGNATURE).then(|| read_u64le(&header, 32).ok().map(Lba)).flatten()
}

/// The smallest sector size for which a valid primary header stands in sector 1.
pub(in crate::partition) fn written_for(disk: &dyn ReadAt) -> Option<SectorSize> {
    [512u32, 1024, 2048, 4096].into_iter().filter_map(|bytes| SectorSize::try_from(bytes).ok()).find(
        |sector| {
            let last = Lba(sector.lba_of(disk.size_bytes()).0.saturating_sub(1));
            header_at(disk, *sector, Lba(1), last).is_ok()
        },
    )
}

fn copy_at(disk: &dyn ReadAt, sector: SectorSize, lba: Lba, last: Lba) -> Result<TableCopy, Defect> {
    let header = header_at(disk, sector, lba, last)?;
    let partitions = entries(disk, sector, &header)?;
    Ok(TableCopy { header, partitions })
}

fn header_at(disk: &dyn ReadAt, sector: SectorSize, lba: Lba, last: Lba) -> Result<Header, Defect> {
    let at = sector.byte_of(lba).ok_or(Defect::Absent)?;
    if lba > last {
        return Err(Defect::Absent);
    }
    let bytes = read_vec(disk, at, usize_from(sector.bytes()))
        .map_err(|source| Defect::Unreadable(Error::Io { structure: "a GPT header", at, source }))?;
    if !bytes.starts_with(&SIGNATURE) {
        return Err(Defect::Absent);
    }
    check_crc(&bytes, sector)?;
    let header = Header {
        my_lba: Lba(read_u64le(&bytes, 24)?),
        alternate_lba: Lba(read_u64le(&bytes, 32)?),
        first_usable_lba: Lba(read_u64le(&bytes, 40)?),
        last_usable_lba: Lba(read_u64le(&bytes, 48)?),
        disk_guid: Guid::from_disk_bytes(read_array(&bytes, 56)?),
        partition_entry_lba: Lba(read_u64le(&bytes, 72)?),
        number_of_partition_entries: read_u32le(&bytes, 80)?,
        size_of_partition_entry: read_u32le(&bytes, 84)?,
        partition_entry_array_crc32: read_u32le(&bytes, 88)?,
    };
    if header.my_lba != lba {
        return Err(Defect::Damaged(format!("its header says it is sector {}, not {lba}", header.my_lba)));
    }
    Ok(header)
}

/// Checks revision, size and checksum of a header.
fn check_crc(bytes: &[u8], sector: SectorSize) -> Result<(), Defect> {
    let revision = read_u32le(bytes, 8)?;
    if revision >> 16 != 1 {
        return Err(Defect::Damaged(format!("its revision is {revision:#010x}, not 1.x")));
    }
    let header_size = read_u32le(bytes, 12)?;
    if header_size < HEADER_BYTES || u64::from(header_size) > sector.bytes() {
        return Err(Defect::Damaged(format!("its header has {header_size} bytes")));
    }
    let mut covered = read_slice(bytes, 0, usize_from(header_size.into()))?.to_vec();
    if let Some(field) = covered.get_mut(16..20) {
        field.fill(0);
    }
    let (stored, computed) = (read_u32le(bytes, 16)?, !crc32(!0, &covered));
    if stored != computed {
        return Err(Defect::Damaged(format!("its header CRC is {stored:08x}, computed {computed:08x}")));
    }
    Ok(())
}

fn entries(disk: &dyn ReadAt, sector: SectorSize, header: &Header) -> Result<Vec<GptPartition>, Defect> {
    let (count, size) = (header.number_of_partition_entries, header.size_of_partition_entry);
    let length = array_bytes(count, size)
        .ok_or_else(|| Defect::Damaged(format!("it has {count} entries of {size} bytes")))?;
    let at = sector.byte_of(header.partition_entry_lba).filter(|at| *at >= sector.bytes());
    let at = at.filter(|at| at.checked_add(length).is_some_and(|end| end <= disk.size_bytes())).ok_or_else(
        || {
            Defect::Damaged(format!(
                "its entries at sector {} are not on the disk",
                header.partition_entry_lba
            ))
        },
    )?;
    let array = read_vec(disk, at, usize_from(length))
        .map_err(|source| Defect::Unreadable(Error::Io { structure: "GPT entries", at, source }))?;
    let (stored, computed) = (header.partition_entry_array_crc32, !crc32(!0, &array));
    if stored != computed {
        return Err(Defect::Damaged(format!("its entry array CRC is {stored:08x}, computed {computed:08x}")));
    }
    let mut partitions = Vec::new();
    for (number, bytes) in (1u32..).zip(array.chunks(usize_from(size.into()))) {
        let type_guid = Guid::from_disk_bytes(read_array(bytes, 0)?);
        if !type_guid.is_zero() {
            partitions.push(entry(bytes, number, type_guid)?);
        }
    }
    Ok(partitions)
}

fn entry(bytes: &[u8], number: u32, type_guid: Guid) -> Result<GptPartition, OutOfBounds> {
    let name_utf16le = read_slice(bytes, 56, NAME_BYTES)?.to_vec();
    let (units, _) = name_utf16le.as_chunks::<2>();
    let text: Vec<u16> =
        units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0).collect();
    Ok(GptPartition {
        number,
        type_guid,
        partition_guid: Guid::from_disk_bytes(read_array(bytes, 16)?),
        first_lba: Lba(read_u64le(bytes, 32)?),
        last_lba: Lba(read_u64le(bytes, 40)?),
        attributes: read_u64le(bytes, 48)?,
        name: String::from_utf16_lossy(&text),
        name_utf16le: Hex(name_utf16le),
    })
}

impl Copies {
    /// True where only the backup is left.
    pub fn backup_only(&self) -> bool {
        self.primary.is_err() && self.backup.is_ok()
    }

    /// The copy to believe and what is wrong with the other; both defects where there is none.
    pub fn best(self) -> Result<(TableCopy, Vec<Finding>), (Defect, Defect)> {
        let misplaced = (self.backup_lba != self.last_lba)
            .then_some(Finding::BackupNotAtEnd { found: self.backup_lba, last: self.last_lba });
        match (self.primary, self.backup) {
            (Ok(primary), Ok(backup)) => {
                let differs = primary.differs_from(&backup).then_some(Finding::BackupDiffers);
                Ok((primary, misplaced.into_iter().chain(differs).collect()))
            }
            (Ok(primary), Err(defect)) => {
                Ok((primary, vec![Finding::BackupDamaged { reason: defect.to_string() }]))
            }
            (Err(defect), Ok(backup)) => {
                let damaged = Finding::PrimaryDamaged { reason: defect.to_string() };
                Ok((backup.placed_as_primary(), std::iter::once(damaged).chain(misplaced).collect()))
            }
            (Err(primary), Err(backup)) => Err((primary, backup)),
        }
    }
}

impl TableCopy {
    fn differs_from(&self, other: &Self) -> bool {
        let (a, b) = (&self.header, &other.header);
        self.partitions != other.partitions
            || a.disk_guid != b.disk_guid
            || a.number_of_partition_entries != b.number_of_partition_entries
            || (a.first_usable_lba, a.last_usable_lba) != (b.first_usable_lba, b.last_usable_lba)
    }

    /// A backup does not say where the primary entries were: they go where every tool puts them.
    fn placed_as_primary(mut self) -> Self {
        self.header.partition_entry_lba = Lba(2);
        self
    }

    /// The table as data.
    pub fn into_gpt(self, boot_sector: Vec<u8>) -> Gpt {
        Gpt {
            disk_guid: self.header.disk_guid,
            entry_count: self.header.number_of_partition_entries,
            entry_size_bytes: self.header.size_of_partition_entry,
            entries_lba: self.header.partition_entry_lba,
            first_usable_lba: self.header.first_usable_lba,
            last_usable_lba: self.header.last_usable_lba,
            boot_sector: Hex(boot_sector),
            partitions: self.partitions,
        }
    }
}
