//! The ways in which a file system cannot be read.

use crate::blockio::{ReadAt, read_vec};
use crate::units::OutOfBounds;
use std::io;

/// Why a file system, or a part of it, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume could not be read.
    #[error("reading {structure} at byte {at} of the volume")]
    Io {
        /// What was being read.
        structure: &'static str,
        /// Where, in bytes from the start of the volume.
        at: u64,
        /// The cause.
        source: io::Error,
    },
    /// The file system is sound but of a form whose used map Remint does not know.
    #[error("{fact}")]
    Unsupported {
        /// What is special about it, as a sentence with its way out.
        fact: String,
    },
    /// A fact on the disk contradicts the format.
    #[error("{structure} at byte {at} of the volume: {fact}; check the file system with its own tool")]
    Corrupt {
        /// The on-disk structure, by the name that its specification gives.
        structure: &'static str,
        /// Where it stands, in bytes from the start of the volume.
        at: u64,
        /// The contradiction, with its numbers.
        fact: String,
    },
}

impl Error {
    /// A contradiction in a structure at a byte of the volume.
    pub(super) fn corrupt(structure: &'static str, at: u64, fact: impl Into<String>) -> Self {
        Self::Corrupt { structure, at, fact: fact.into() }
    }

    /// A form of the file system that is not supported.
    pub(super) fn unsupported(fact: impl Into<String>) -> Self {
        Self::Unsupported { fact: fact.into() }
    }

    /// Turns a field outside its structure into a contradiction.
    pub(super) fn short(structure: &'static str, at: u64) -> impl Fn(OutOfBounds) -> Self {
        move |field| Self::corrupt(structure, at, field.to_string())
    }
}

/// Reads one structure. `length` is bounded by the caller; a structure beyond the end of the volume is a
/// contradiction on the disk, not a failure of the device.
pub(super) fn read_structure(
    volume: &dyn ReadAt,
    structure: &'static str,
    at: u64,
    length: usize,
) -> Result<Vec<u8>, Error> {
    read_vec(volume, at, length).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::corrupt(structure, at, format!("its {length} bytes reach beyond the end of the volume"))
        }
        _ => Error::Io { structure, at, source },
    })
}
