//! The bytes of a table, cut into the pieces that are written one after the other.

use super::{Error, gpt, mbr};
use crate::schema::Table;
use crate::units::{SectorSize, usize_from};

/// A stretch of whole sectors that belongs to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it is written, in bytes from the start of the disk.
    pub at: u64,
    /// What is written: whole sectors.
    pub bytes: Vec<u8>,
    /// What it is.
    pub role: PieceRole,
}

/// What a piece of a table is, in the order in which pieces are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PieceRole {
    /// The backup GPT's entries.
    BackupEntries,
    /// The backup GPT's header.
    BackupHeader,
    /// An extended boot record.
    ExtendedRecord,
    /// The primary GPT's entries.
    PrimaryEntries,
    /// The primary GPT's header.
    PrimaryHeader,
    /// Sector 0: what makes the disk bootable.
    BootSector,
}

/// The bytes of a table for a disk of this size, in the order in which they must be written: the last piece
/// is the one without which the disk does not boot.
///
/// A table that was read from a disk of the same size gives the bytes that stood there. On a disk of another
/// size the backup GPT goes to the new end and the protective entry gets the new size; the usable range and
/// the places of partitions are the planner's and are only checked. A hybrid MBR's entries are written as they
/// are, see [`remap_hybrid`](super::remap_hybrid).
///
/// # Errors
/// [`Error::Refused`] where the table contradicts itself or does not fit on the disk.
pub fn encode(table: &Table, disk_size_bytes: u64, sector: SectorSize) -> Result<Vec<Piece>, Error> {
    match table {
        Table::Gpt(gpt) => gpt::encode(gpt, disk_size_bytes, sector),
        Table::Mbr(mbr) => mbr::encode(mbr, disk_size_bytes, sector),
        Table::None => Ok(Vec::new()),
    }
}

/// The bytes, filled up with zeros to whole sectors.
pub(super) fn padded(mut bytes: Vec<u8>, sector: SectorSize) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(usize_from(sector.bytes())), 0);
    bytes
}
