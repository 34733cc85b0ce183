//! The bytes of a master boot record and of its extended boot records.

use super::chs::chs_of;
use super::{BOOT_CODE_BYTES, ENTRIES_AT, ENTRY_BYTES, Entry, RECORD_BYTES, SIGNATURE};
use crate::partition::piece::padded;
use crate::partition::{Error, Piece, PieceRole};
use crate::schema::{Mbr, MbrPartition, MbrRole};
use crate::units::{Lba, SectorSize, usize_from};

/// The type of every link; a link of type 0F or 85 is read as well, but nobody writes it.
const TYPE_LINK: u8 = 0x05;

/// The extended boot records in disk order of their containers, and sector 0 last.
pub(in crate::partition) fn encode(
    mbr: &Mbr,
    disk_size_bytes: u64,
    sector: SectorSize,
) -> Result<Vec<Piece>, Error> {
    check_fits(mbr, sector.lba_of(disk_size_bytes).0)?;
    let mut pieces = Vec::new();
    let containers = mbr.partitions.iter().filter(|p| p.role == MbrRole::Extended);
    let mut placed: usize = 0;
    for container in containers.filter(|p| p.sectors != 0) {
        let records = records_of(mbr, container);
        placed = placed.saturating_add(records.len());
        pieces.extend(chain(container, &records, sector)?);
    }
    let logicals = mbr.partitions.iter().filter(|p| matches!(p.role, MbrRole::Logical { .. })).count();
    if logicals != placed {
        return Err(Error::refused("a logical partition has its boot record in no extended partition"));
    }
    pieces.push(sector_zero_piece(sector_zero(mbr)?, sector));
    Ok(pieces)
}

/// Sector 0 as the last piece of a table.
pub(in crate::partition) fn sector_zero_piece(record: Vec<u8>, sector: SectorSize) -> Piece {
    Piece { at: 0, bytes: padded(record, sector), role: PieceRole::BootSector }
}

/// The partition at another place. CHS addresses that still say the same stay as they were found; the others
/// are computed for 255 heads and 63 sectors.
#[must_use]
pub fn moved(partition: &MbrPartition, first_lba: Lba, sectors: u64) -> MbrPartition {
    let last = |first: Lba, sectors: u64| Lba(first.0.saturating_add(sectors).saturating_sub(1));
    let (old_last, new_last) = (last(partition.first_lba, partition.sectors), last(first_lba, sectors));
    let keep_first = first_lba == partition.first_lba;
    let keep_last = new_last == old_last;
    MbrPartition {
        first_lba,
        sectors,
        first_chs: if keep_first { partition.first_chs } else { chs_of(first_lba) },
        last_chs: if keep_last { partition.last_chs } else { chs_of(new_last) },
        ..partition.clone()
    }
}

fn check_fits(mbr: &Mbr, disk_sectors: u64) -> Result<(), Error> {
    for partition in mbr.partitions.iter().filter(|p| p.sectors != 0) {
        let end = partition.first_lba.0.saturating_add(partition.sectors);
        if end > disk_sectors || partition.first_lba.0 == 0 {
            return Err(Error::refused(format!(
                "partition {} (sectors {} to {}) does not fit on a disk of {disk_sectors} sectors",
                partition.number,
                partition.first_lba,
                end.saturating_sub(1)
            )));
        }
    }
    Ok(())
}

/// A logical partition with its record.
struct Record<'a> {
    partition: &'a MbrPartition,
    ebr_lba: Lba,
    code: &'a [u8],
}

/// The records that lie in a container, in chain order.
fn records_of<'a>(mbr: &'a Mbr, container: &MbrPartition) -> Vec<Record<'a>> {
    let end = container.first_lba.0.saturating_add(container.sectors);
    let records = mbr.partitions.iter().filter_map(|partition| match &partition.role {
        MbrRole::Logical { ebr_lba, ebr_code } => {
            Some(Record { partition, ebr_lba: *ebr_lba, code: &ebr_code.0 })
        }
        _ => None,
    });
    records.filter(|record| record.ebr_lba >= container.first_lba && record.ebr_lba.0 < end).collect()
}

fn chain(container: &MbrPartition, records: &[Record<'_>], sector: SectorSize) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let first = records.first();
    // The first record always stands at the start of the container, even where it names no partition.
    if first.is_none_or(|record| record.ebr_lba != container.first_lba) {
        let link = first.map(|next| link(container, next)).transpose()?;
        pieces.push(record_piece(container.first_lba, &[], Entry::default(), link, sector)?);
    }
    for (position, record) in records.iter().enumerate() {
        let next = records.get(position.saturating_add(1));
        let link = next.map(|next| link(container, next)).transpose()?;
        let data = entry(record.partition, record.ebr_lba)?;
        if data.start == 0 {
            return Err(Error::refused(format!(
                "logical partition {} stands on its own boot record",
                record.partition.number
            )));
        }
        pieces.push(record_piece(record.ebr_lba, record.code, data, link, sector)?);
    }
    Ok(pieces)
}

/// The entry that links to a record: it covers the record and its partition.
fn link(container: &MbrPartition, next: &Record<'_>) -> Result<Entry, Error> {
    let partition = next.partition;
    let end = partition.first_lba.0.saturating_add(partition.sectors);
    let place = moved(partition, next.ebr_lba, end.saturating_sub(next.ebr_lba.0));
    // parted writes one constant into every CHS field; a chain of its making stays as it is.
    let constant =
        partition.first_chs == partition.last_chs && partition.first_chs != chs_of(partition.first_lba);
    let first_chs = if constant { partition.first_chs } else { place.first_chs };
    let link = MbrPartition { status: 0, type_code: TYPE_LINK, first_chs, ..place };
    entry(&link, container.first_lba)
}

fn entry(partition: &MbrPartition, base: Lba) -> Result<Entry, Error> {
    let start = partition.first_lba.0.checked_sub(base.0).and_then(|start| u32::try_from(start).ok());
    let (Some(start), Ok(sectors)) = (start, u32::try_from(partition.sectors)) else {
        return Err(Error::refused(format!(
            "partition {} (sector {}, {} sectors) is out of reach of an MBR, which ends at sector 4294967295",
            partition.number, partition.first_lba, partition.sectors
        )));
    };
    Ok(Entry {
        status: partition.status,
        first_chs: partition.first_chs,
        type_code: partition.type_code,
        last_chs: partition.last_chs,
        start,
        sectors,
    })
}

fn record_piece(
    at: Lba,
    code: &[u8],
    data: Entry,
    link: Option<Entry>,
    sector: SectorSize,
) -> Result<Piece, Error> {
    let byte = sector.byte_of(at).ok_or_else(|| Error::refused(format!("sector {at} is on no disk")))?;
    if code.len() > ENTRIES_AT {
        return Err(Error::refused(format!("the code of an extended boot record has {} bytes", code.len())));
    }
    let mut record = code.to_vec();
    record.resize(ENTRIES_AT, 0);
    let entries = [data, link.unwrap_or_default(), Entry::default(), Entry::default()];
    record.extend(entries.iter().flat_map(Entry::bytes));
    record.extend(SIGNATURE);
    Ok(Piece { at: byte, bytes: padded(record, sector), role: PieceRole::ExtendedRecord })
}

fn sector_zero(mbr: &Mbr) -> Result<Vec<u8>, Error> {
    if mbr.boot_code.0.len() > BOOT_CODE_BYTES {
        return Err(Error::refused(format!("boot code of {} bytes", mbr.boot_code.0.len())));
    }
    let mut record = mbr.boot_code.0.clone();
    record.resize(BOOT_CODE_BYTES, 0);
    record.extend(mbr.disk_signature.to_le_bytes());
    record.extend(mbr.reserved.to_le_bytes());
    let mut slots = [Entry::default(); 4];
    let in_table = mbr.partitions.iter().filter(|p| !matches!(p.role, MbrRole::Logical { .. }));
    for partition in in_table {
        let slot = usize_from(partition.number.into()).checked_sub(1).and_then(|index| slots.get_mut(index));
        let slot = slot.filter(|slot| **slot == Entry::default());
        *slot.ok_or_else(|| {
            Error::refused(format!("there is no entry for partition {}", partition.number))
        })? = entry(partition, Lba(0))?;
    }
    record.extend(slots.iter().flat_map(Entry::bytes));
    record.extend(SIGNATURE);
    debug_assert_eq!((record.len(), ENTRY_BYTES), (RECORD_BYTES, 16));
    Ok(record)
}
