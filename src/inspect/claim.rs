//! Whole disks that belong to an array, or are dynamic: each may look like a disk of its own, with a table and partitions.

use super::volume::partition_bytes;
use crate::blockio::ReadAt;
use crate::filesystem::{self, Reading, md};
use crate::partition::kinds::LDM_CODE;
use crate::schema::{State, Table};
use crate::units::SectorSize;

/// What an array says of a disk on which this table was found, if any; `None` where no array has it, or where the disk has
/// no table, so that it is a volume like any other. What cannot be read claims nothing.
pub(super) fn find(disk: &dyn ReadAt, table: Option<&Table>, sector: SectorSize) -> Option<Reading> {
    if let Some(found) = filesystem::firmware_member(disk).ok().flatten() {
        return Some(found);
    }
    let table = table.filter(|table| **table != Table::None)?;
    if matches!(table, Table::Mbr(mbr) if mbr.partitions.iter().any(|p| p.type_code == LDM_CODE)) {
        // Its database stands behind the last partition.
        return filesystem::dynamic_disk(disk).ok().flatten();
    }
    let superblock = md::member(disk).ok().flatten()?;
    let partitions = partition_bytes(table, sector);
    if partitions.is_empty() || partitions.iter().any(|(_, range)| superblock.may_be_of(*range)) {
        return None;
    }
    let mut found = filesystem::read(disk).ok().flatten()?;
    found.used = None;
    found.file_system.used_bytes = None;
    found.file_system.state = State::Unsupported;
    found.file_system.findings = vec![format!(
        "the whole disk is a member of the {}, and sector 0 has a partition table: assemble the array and capture it as a disk \
         (--disk /dev/md0), capture every member with --when-dirty raw, or, where the array is history, believe the table \
         (--trust gpt or --trust mbr) or remove the superblock (mdadm --zero-superblock)",
        superblock.array()
    )];
    Some(found)
}
