//! Read and write GPT, MBR and EBR chains, from bytes.
//!
//! Invariants:
//!
//! - Numbers from the disk are never trusted: counts and sizes are bounded, chains end, sums saturate.
//! - What a table says in binary stays binary: names, attributes, CHS addresses, boot code.
//! - A table that was read and is written to a disk of the same size gives the same bytes.
//! - Where sector 0 and a GPT contradict each other nobody guesses: see [`Trust`].
//!
//! Which table is the truth:
//!
//! | sector 0 | valid GPT, primary or backup | no valid GPT |
//! | --- | --- | --- |
//! | protective entry (EE), alone or hybrid | GPT | [`Error::GptLost`] |
//! | MBR with or without partitions | [`Finding::Conflict`], MBR | MBR |
//! | boot sector of a file system | [`Finding::Conflict`], none | none |
//! | anything else | primary: GPT; backup only: none, [`Finding::StaleBackup`] | none |
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod check;
mod error;
mod finding;
mod gpt;
pub mod kinds;
mod mbr;
mod piece;

pub use check::drop_empty;
pub use error::Error;
pub use finding::{Finding, Severity};
pub use gpt::{array_sectors, backup_entries_lba, last_usable_lba};
pub use mbr::{LostEntry, chs_of, moved, remap_hybrid};
pub use piece::{Piece, PieceRole, encode};

use crate::blockio::ReadAt;
use crate::schema::Table;
use crate::units::SectorSize;
use error::read_structure;
use gpt::Defect;
use mbr::SectorZero;

/// A table and what is noteworthy about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReading {
    /// The table that was believed.
    pub table: Table,
    /// What a person should know about it, in the order in which it was found.
    pub findings: Vec<Finding>,
}

/// Which table is believed where sector 0 contradicts a valid GPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// Nobody decided: what sector 0 says is returned with a [`Finding::Conflict`], whose severity is
    /// [`Severity::Refusal`].
    #[default]
    Undecided,
    /// Sector 0 ("remove GPT structures"): an old GPT behind it is left aside.
    SectorZero,
    /// The GPT.
    Gpt,
}

impl TableReading {
    fn none() -> Self {
        Self { table: Table::None, findings: Vec::new() }
    }
}

/// Reads the table of a disk with sectors of this size.
///
/// # Errors
/// [`Error::Io`] where sector 0 cannot be read, [`Error::GptLost`] and [`Error::OtherSectorSize`] where the
/// disk announces a GPT that cannot be used.
pub fn read(disk: &dyn ReadAt, sector: SectorSize, trust: Trust) -> Result<TableReading, Error> {
    let disk_sectors = sector.lba_of(disk.size_bytes()).0;
    if disk_sectors == 0 {
        return Ok(TableReading::none());
    }
    let record = read_structure(disk, "sector 0", 0, mbr::RECORD_BYTES)?;
    let copies = gpt::find(disk, sector);
    let backup_only = copies.backup_only();
    let mut reading = match (mbr::judge(&record, disk_sectors), copies.best()) {
        (SectorZero::Protective(types), Ok((copy, mut findings))) => {
            if !types.is_empty() {
                findings.push(Finding::Hybrid { types });
            }
            TableReading { table: Table::Gpt(copy.into_gpt(record)), findings }
        }
        (SectorZero::Protective(_), Err(defects)) => return Err(gpt_lost(disk, sector, defects)),
        (zero, Err(_)) => sector_zero_reading(disk, sector, &record, zero),
        (zero, Ok((copy, findings))) => {
            let gpt = TableReading { table: Table::Gpt(copy.into_gpt(record.clone())), findings };
            let other = sector_zero_reading(disk, sector, &record, zero.clone());
            decide(trust, &zero, other, gpt, backup_only)
        }
    };
    reading.findings.extend(check::check(&reading.table, disk_sectors, sector));
    Ok(reading)
}

/// The sector size for which a disk's GPT was written; `None` where it has none. For plain files, which have no
/// sector size of their own.
#[must_use]
pub fn detect_sector_size(disk: &dyn ReadAt) -> Option<SectorSize> {
    gpt::written_for(disk)
}

/// What sector 0 says by itself.
fn sector_zero_reading(
    disk: &dyn ReadAt,
    sector: SectorSize,
    record: &[u8],
    zero: SectorZero,
) -> TableReading {
    match zero {
        SectorZero::Table | SectorZero::Empty => {
            let (mbr, findings) = mbr::read(disk, sector, record);
            TableReading { table: Table::Mbr(mbr), findings }
        }
        SectorZero::Implausible(fact) => {
            TableReading { table: Table::None, findings: vec![Finding::ImplausibleTable { fact }] }
        }
        SectorZero::Unsigned | SectorZero::VolumeBoot(_) | SectorZero::Protective(_) => TableReading::none(),
    }
}

/// Chooses between a valid GPT and a sector 0 that does not announce it.
fn decide(
    trust: Trust,
    zero: &SectorZero,
    mut other: TableReading,
    mut gpt: TableReading,
    backup_only: bool,
) -> TableReading {
    let sector_zero = match zero {
        SectorZero::Table => "an MBR with partitions",
        SectorZero::Empty => "an MBR with no partitions",
        SectorZero::VolumeBoot(_) => "the boot sector of a file system",
        SectorZero::Unsigned | SectorZero::Implausible(_) | SectorZero::Protective(_) => "no table",
    };
    let contradicts = matches!(zero, SectorZero::Table | SectorZero::Empty | SectorZero::VolumeBoot(_));
    match trust {
        Trust::Gpt if contradicts => {
            gpt.findings.push(Finding::SectorZeroIgnored { sector_zero });
            gpt
        }
        Trust::SectorZero => {
            other.findings.push(Finding::GptIgnored { backup_only });
            other
        }
        Trust::Undecided if contradicts => {
            if let Table::Gpt(table) = gpt.table {
                other.findings.push(Finding::Conflict { sector_zero, gpt: Box::new(table), backup_only });
            }
            other
        }
        Trust::Gpt => {
            gpt.findings.push(Finding::ProtectiveMbrMissing);
            gpt
        }
        Trust::Undecided if backup_only => {
            if let Table::Gpt(table) = gpt.table {
                other.findings.push(Finding::StaleBackup { partitions: table.partitions.len() });
            }
            other
        }
        Trust::Undecided => {
            gpt.findings.push(Finding::ProtectiveMbrMissing);
            gpt
        }
    }
}

/// Why the GPT that sector 0 announces cannot be used.
fn gpt_lost(disk: &dyn ReadAt, sector: SectorSize, defects: (Defect, Defect)) -> Error {
    match (gpt::written_for(disk), defects) {
        (Some(written_bytes), _) if written_bytes != sector => {
            Error::OtherSectorSize { written_bytes, disk_bytes: sector }
        }
        (_, (Defect::Unreadable(error), _) | (_, Defect::Unreadable(error))) => error,
        (_, (primary, backup)) => Error::GptLost { primary: primary.to_string(), backup: backup.to_string() },
    }
}
