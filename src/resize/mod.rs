//! Change file systems to the size of their volumes, through a trait.
//!
//! `linux` implements it with the file systems' own tools.

use crate::blockio::WriteAt;
use crate::machine::MachineDisk;
use crate::schema::FileSystemKind;
use crate::units::ByteRange;
use std::fmt;
use std::io;

/// The two ways to change a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// To a larger one.
    Grow,
    /// To a smaller one.
    Shrink,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grow => "growing",
            Self::Shrink => "shrinking",
        })
    }
}

/// What can change the size of file systems.
pub trait Resizer: Send + Sync {
    /// What is missing to do this to file systems of this kind on this disk: a sentence with its way out; `None`
    /// where nothing is. Asked before a deploy writes anything.
    fn missing(&self, change: Change, kind: FileSystemKind, on: &MachineDisk) -> Option<String>;

    /// The same for a volume that is no stretch of a device ([`Resizer::grow_shown`]).
    fn missing_shown(&self, change: Change, kind: FileSystemKind, on: &MachineDisk) -> Option<String>;

    /// Grows the file system in `place` to fill it. Everything written there before is seen, and everything
    /// is flushed to the disk when this returns. Not a byte outside `place` is changed.
    ///
    /// # Errors
    /// Where the file system did not grow. It may then be damaged: the volume is not to be used.
    fn grow(&self, disk: &MachineDisk, place: ByteRange, kind: FileSystemKind) -> Result<(), ResizeError>;

    /// The same for a volume that is no stretch of a device: `volume` shows it, and `disk` describes it.
    ///
    /// # Errors
    /// As [`Resizer::grow`], with the first error of `volume` where it had one.
    fn grow_shown(
        &self,
        volume: &dyn WriteAt,
        disk: &MachineDisk,
        kind: FileSystemKind,
    ) -> Result<(), ResizeError>;

    /// Shrinks the file system on `volume`, which shows it at its old size, so that it ends in the first bytes of
    /// it: as many as `place` has. Those bytes are `place` of `disk`; what is behind them is forgotten afterwards.
    /// Everything is flushed when this returns.
    ///
    /// # Errors
    /// Where the file system was not shrunk, with the first error of `volume` where it had one. It is damaged then.
    fn shrink(
        &self,
        volume: &dyn WriteAt,
        disk: &MachineDisk,
        place: ByteRange,
        kind: FileSystemKind,
    ) -> Result<(), ResizeError>;
}

/// Why the size of a file system was not changed.
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
    #[error("{tool} {outcome} while {change} the {kind} file system in {place} of {disk}: {output}")]
    Failed {
        /// What was being done.
        change: Change,
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
        /// What kept the tool from reading or writing the volume that it was shown, where something did.
        #[source]
        cause: Option<io::Error>,
    },
}
