//! Grow file systems to the size of their volumes, through a trait.
//!
//! `linux` implements it with the file systems' own tools. Nothing is shrunk.

use crate::machine::MachineDisk;
use crate::schema::FileSystemKind;
use crate::units::ByteRange;
use std::io;

/// What can grow file systems that stand on a disk.
pub trait Resizer: Send + Sync {
    /// What is missing to grow file systems of this kind on this disk: a sentence with its way out; `None`
    /// where nothing is. Asked before a deploy writes anything.
    fn missing(&self, kind: FileSystemKind, on: &MachineDisk) -> Option<String>;

    /// Grows the file system in `place` to fill it. Everything written there before is seen, and everything
    /// is flushed to the disk when this returns. Not a byte outside `place` is changed.
    ///
    /// # Errors
    /// Where the file system did not grow. It may then be damaged: the volume is not to be used.
    fn grow(&self, disk: &MachineDisk, place: ByteRange, kind: FileSystemKind) -> Result<(), ResizeError>;
}

/// Why a file system was not grown.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// The volume could not be presented to the tool, or taken back from it.
    #[error("{doing}")]
    Io {
        /// What was being done, with its object.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// This machine cannot do it.
    #[error("{fact}")]
    Unsupported {
        /// What is missing, and the way out.
        fact: String,
    },
    /// The disk may not be used for it.
    #[error("{fact}")]
    Refused {
        /// Why, and the way out.
        fact: String,
    },
    /// The tool says that it failed, or did not end.
    #[error("{tool} {outcome} while growing the {kind} file system in {place} of {disk}: {output}")]
    Failed {
        /// The program.
        tool: String,
        /// How it ended: `ended with exit code 8`.
        outcome: String,
        /// The file system.
        kind: FileSystemKind,
        /// Where it stands.
        place: ByteRange,
        /// On which disk.
        disk: String,
        /// The end of what the tool printed.
        output: String,
    },
}
