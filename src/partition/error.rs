//! The ways in which a table cannot be read or written.

use crate::blockio::{ReadAt, read_vec};
use crate::units::SectorSize;
use std::io;

/// Why a table could not be read, or not be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk could not be read.
    #[error("reading {structure} at byte {at} of the disk")]
    Io {
        /// What was being read.
        structure: &'static str,
        /// Where, in bytes from the start of the disk.
        at: u64,
        /// The cause.
        source: io::Error,
    },
    /// The disk says that it has a GPT, and neither copy of it can be used.
    #[error(
        "the disk has a protective MBR but no usable GPT (primary: {primary}; backup: {backup}); repair the \
         table with gdisk, or clear it"
    )]
    GptLost {
        /// What is wrong with the primary.
        primary: String,
        /// What is wrong with the backup.
        backup: String,
    },
    /// The table was written by a machine that saw other sectors: every sector number in it means another
    /// byte here.
    #[error(
        "the GPT was written for sectors of {written_bytes} bytes, but this disk has sectors of {disk_bytes} \
         bytes; attach it as it was attached then, or name the sector size"
    )]
    OtherSectorSize {
        /// The sector size for which the table is valid.
        written_bytes: SectorSize,
        /// The sector size of the disk.
        disk_bytes: SectorSize,
    },
    /// A table that cannot be written to this disk.
    #[error("the table cannot be written: {fact}")]
    Refused {
        /// The contradiction, with its numbers.
        fact: String,
    },
}

impl Error {
    /// A table that cannot be written.
    pub(super) fn refused(fact: impl Into<String>) -> Self {
        Self::Refused { fact: fact.into() }
    }
}

/// Reads one structure; the caller has bounded `length`.
pub(super) fn read_structure(
    disk: &dyn ReadAt,
    structure: &'static str,
    at: u64,
    length: usize,
) -> Result<Vec<u8>, Error> {
    read_vec(disk, at, length).map_err(|source| Error::Io { structure, at, source })
}
