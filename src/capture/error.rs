//! Why a capture failed.

use crate::image::{IndexError, ManifestError, StoreError};
use crate::schema::{FileSystemKind, Volume};
use crate::units::ByteRange;
use std::io;

const ZEROS: &str = "capture with --on-read-error zero to store zeros there and go on";
const REPAIR: &str = "others of its array may have what stood there: let the running array put it right (repair into \
                      /sys/block/md0/md/sync_action), or capture that as a disk (--disk /dev/md0); the zeros of --on-read-error zero fit neither \
                      parity nor copies";

const SCRUB: &str = "another device of its btrfs may have what stood there: mount that with all of its devices, run btrfs scrub and \
                     unmount it; the zeros of --on-read-error zero are read as they are in files without checksums (nodatacow)";

/// What to do where a volume cannot be read.
pub(super) fn way_out(volume: &Volume) -> &'static str {
    match kind(volume) {
        Some(FileSystemKind::MdMember) => REPAIR,
        Some(FileSystemKind::BtrfsSet) => SCRUB,
        _ => ZEROS,
    }
}

/// What is to be said of zeros in a volume of which others may have the same bytes, or parity of them: a clause.
#[must_use]
pub fn beside_zeros(volume: &Volume) -> Option<&'static str> {
    match kind(volume)? {
        FileSystemKind::MdMember => Some(
            "others of its array may have what stood there, and these zeros fit neither parity nor copies: repair the array and capture \
             it again",
        ),
        FileSystemKind::BtrfsSet => Some(
            "another device of its btrfs may have what stood there, and files without checksums are read with these zeros: run btrfs \
             scrub and capture it again",
        ),
        _ => None,
    }
}

fn kind(volume: &Volume) -> Option<FileSystemKind> {
    volume.content.file_system().map(|found| found.kind)
}

/// Why a capture failed. No version was published; the chunks that were stored stay for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The source cannot be read.
    #[error("reading {range} of {volume}; the medium may be failing: {way_out}")]
    Read {
        /// Name of the volume.
        volume: String,
        /// Where, from the start of the volume.
        range: ByteRange,
        /// What to do about it.
        way_out: &'static str,
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
