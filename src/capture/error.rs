//! Why a capture failed.

use crate::image::{IndexError, ManifestError, StoreError};
use crate::units::ByteRange;
use std::io;

/// Why a capture failed. No version was published; the chunks that were stored stay for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The source cannot be read.
    #[error(
        "reading {range} of {volume}; the medium may be failing: capture with --on-read-error zero to store \
         zeros there and go on"
    )]
    Read {
        /// Name of the volume.
        volume: String,
        /// Where, from the start of the volume.
        range: ByteRange,
        /// The cause.
        source: io::Error,
    },
    /// The plan names a stretch that the disk does not have.
    #[error("{volume} reaches beyond the end of its disk; inspect the disk and put its table right")]
    OutsideDisk {
        /// Name of the volume.
        volume: String,
    },
    /// A chunk cannot be compressed.
    #[error("compressing a chunk of {volume}")]
    Compress {
        /// Name of the volume.
        volume: String,
        /// The cause.
        source: io::Error,
    },
    /// The chunk list contradicts itself.
    #[error("writing the index of {volume}")]
    Index {
        /// Name of the volume.
        volume: String,
        /// The cause.
        source: IndexError,
    },
    /// The manifest contradicts itself.
    #[error("writing the manifest")]
    Manifest(#[from] ManifestError),
    /// Somebody asked to stop.
    #[error("stopped on request; started again, the capture sends only what is missing")]
    Cancelled,
}
