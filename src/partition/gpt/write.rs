//! The bytes of a GPT, in the order in which they are written.

use super::{
    HEADER_BYTES, Header, NAME_BYTES, REVISION, SIGNATURE, array_bytes, array_sectors, backup_entries_lba,
};
use crate::partition::mbr::{self, sector_zero_piece};
use crate::partition::{Error, Piece, PieceRole};
use crate::schema::{Gpt, GptPartition};
use crate::units::checksum::crc32;
use crate::units::{Lba, SectorSize, usize_from};

/// Backup entries, backup header, primary entries, primary header, and sector 0 last.
pub(in crate::partition) fn encode(
    gpt: &Gpt,
    disk_size_bytes: u64,
    sector: SectorSize,
) -> Result<Vec<Piece>, Error> {
    let disk_sectors = sector.lba_of(disk_size_bytes).0;
    let last = Lba(disk_sectors.saturating_sub(1));
    let array = entry_array(gpt)?;
    let backup_entries =
        backup_entries_lba(disk_size_bytes, sector, gpt.entry_count, gpt.entry_size_bytes)
            .ok_or_else(|| Error::refused(format!("a disk of {disk_size_bytes} bytes has no room for it")))?;
    check_places(gpt, sector, backup_entries)?;
    let primary = Header {
        my_lba: Lba(1),
        alternate_lba: last,
        first_usable_lba: gpt.first_usable_lba,
        last_usable_lba: gpt.last_usable_lba,
        disk_guid: gpt.disk_guid,
        partition_entry_lba: gpt.entries_lba,
        number_of_partition_entries: gpt.entry_count,
        size_of_partition_entry: gpt.entry_size_bytes,
        partition_entry_array_crc32: !crc32(!0, &array),
    };
    let backup = Header {
        my_lba: last,
        alternate_lba: Lba(1),
        partition_entry_lba: backup_entries,
        ..primary.clone()
    };
    let boot_sector = mbr::resize_protective(&gpt.boot_sector.0, disk_sectors)?;
    Ok(vec![
        piece(sector, backup_entries, array.clone(), PieceRole::BackupEntries)?,
        piece(sector, last, header_bytes(&backup), PieceRole::BackupHeader)?,
        piece(sector, gpt.entries_lba, array, PieceRole::PrimaryEntries)?,
        piece(sector, Lba(1), header_bytes(&primary), PieceRole::PrimaryHeader)?,
        sector_zero_piece(boot_sector, sector),
    ])
}

/// Whole sectors at a place.
fn piece(sector: SectorSize, lba: Lba, bytes: Vec<u8>, role: PieceRole) -> Result<Piece, Error> {
    let at = sector.byte_of(lba).ok_or_else(|| Error::refused(format!("sector {lba} is on no disk")))?;
    Ok(Piece { at, bytes: super::super::piece::padded(bytes, sector), role })
}

/// Refuses a table whose own areas or partitions get into each other's way.
fn check_places(gpt: &Gpt, sector: SectorSize, backup_entries: Lba) -> Result<(), Error> {
    let sectors = array_sectors(gpt.entry_count, gpt.entry_size_bytes, sector).unwrap_or(u64::MAX);
    let entries_end = gpt.entries_lba.0.saturating_add(sectors);
    if gpt.entries_lba.0 < 2 || entries_end > backup_entries.0 {
        return Err(Error::refused(format!("its entries cannot stand at sector {}", gpt.entries_lba)));
    }
    if gpt.last_usable_lba >= backup_entries {
        return Err(Error::refused(format!(
            "its last usable sector {} lies in the backup table, which begins at sector {backup_entries}",
            gpt.last_usable_lba
        )));
    }
    for partition in gpt.partitions.iter().filter(|p| p.first_lba <= p.last_lba) {
        let (first, last) = (partition.first_lba, partition.last_lba);
        let in_primary = first.0 < 2 || (first.0 < entries_end && last >= gpt.entries_lba);
        if last >= backup_entries || in_primary {
            return Err(Error::refused(format!(
                "partition {} (sectors {first} to {last}) covers the table or reaches beyond the last usable \
                 sector",
                partition.number
            )));
        }
    }
    Ok(())
}

fn entry_array(gpt: &Gpt) -> Result<Vec<u8>, Error> {
    let length = array_bytes(gpt.entry_count, gpt.entry_size_bytes).ok_or_else(|| {
        Error::refused(format!("{} entries of {} bytes", gpt.entry_count, gpt.entry_size_bytes))
    })?;
    let mut array = vec![0; usize_from(length)];
    let mut slots: Vec<Option<&mut [u8]>> =
        array.chunks_mut(usize_from(gpt.entry_size_bytes.into())).map(Some).collect();
    for partition in &gpt.partitions {
        let slot = usize_from(u64::from(partition.number))
            .checked_sub(1)
            .and_then(|index| slots.get_mut(index))
            .and_then(Option::take)
            .ok_or_else(|| Error::refused(format!("there is no entry for partition {}", partition.number)))?;
        let bytes = entry_bytes(partition)?;
        if let Some(start) = slot.get_mut(..bytes.len()) {
            start.copy_from_slice(&bytes);
        }
    }
    Ok(array)
}

fn entry_bytes(partition: &GptPartition) -> Result<Vec<u8>, Error> {
    let name = &partition.name_utf16le.0;
    if name.len() > NAME_BYTES || partition.type_guid.is_zero() {
        return Err(Error::refused(format!(
            "partition {} has a name of {} bytes and the type {}",
            partition.number,
            name.len(),
            partition.type_guid
        )));
    }
    let mut bytes = partition.type_guid.to_disk_bytes().to_vec();
    bytes.extend(partition.partition_guid.to_disk_bytes());
    bytes.extend(partition.first_lba.0.to_le_bytes());
    bytes.extend(partition.last_lba.0.to_le_bytes());
    bytes.extend(partition.attributes.to_le_bytes());
    bytes.extend(name);
    Ok(bytes)
}

fn header_bytes(header: &Header) -> Vec<u8> {
    let with_crc = |crc: u32| {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend(REVISION.to_le_bytes());
        bytes.extend(HEADER_BYTES.to_le_bytes());
        bytes.extend(crc.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(header.my_lba.0.to_le_bytes());
        bytes.extend(header.alternate_lba.0.to_le_bytes());
        bytes.extend(header.first_usable_lba.0.to_le_bytes());
        bytes.extend(header.last_usable_lba.0.to_le_bytes());
        bytes.extend(header.disk_guid.to_disk_bytes());
        bytes.extend(header.partition_entry_lba.0.to_le_bytes());
        bytes.extend(header.number_of_partition_entries.to_le_bytes());
        bytes.extend(header.size_of_partition_entry.to_le_bytes());
        bytes.extend(header.partition_entry_array_crc32.to_le_bytes());
        bytes
    };
    with_crc(!crc32(!0, &with_crc(0)))
}
