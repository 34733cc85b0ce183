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
const ZEROS_IN_LUKS: &str = "capture with --on-read-error zero to store zeros there and go on; in front of the data of a LUKS that may \
                             cost a passphrase";

/// What to do where a volume cannot be read.
pub(super) fn way_out(volume: &Volume) -> &'static str {
    use FileSystemKind::{BtrfsSet, Luks1, Luks2, MdMember};
    match kind(volume) {
        Some(MdMember) => REPAIR,
        Some(BtrfsSet) => SCRUB,
        Some(Luks1 | Luks2) => ZEROS_IN_LUKS,
        _ => ZEROS,
    }
}

/// What zeros in place of what could not be read mean for a volume, beside that they are there: a clause.
#[must_use]
pub fn meaning_of_zeros(volume: &Volume) -> Option<&'static str> {
    use FileSystemKind::{BtrfsSet, Luks1, Luks2, MdMember};
    match kind(volume)? {
        MdMember => Some(
            "others of its array may have what stood there, and these zeros fit neither parity nor copies: repair the array and capture \
             it again",
        ),
        BtrfsSet => Some(
            "another device of its btrfs may have what stood there, and files without checksums are read with these zeros: run btrfs \
             scrub and capture it again",
        ),
        Luks1 | Luks2 => Some(
            "where that is in front of its data, a header or a keyslot may be lost, and no deployed machine opens with that: try every \
             passphrase on the first (cryptsetup open --test-passphrase)",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Content, FileSystem, Role, State};

    fn volume(kind: FileSystemKind) -> Volume {
        let file_system = FileSystem {
            kind,
            uuid: None,
            label: None,
            block_size_bytes: 512,
            size_bytes: 1 << 30,
            used_bytes: None,
            minimum_bytes: 1 << 30,
            state: State::Clean,
            findings: vec![],
        };
        Volume {
            name: "d0-p1".into(),
            role: Role::Partition { number: 1 },
            start_bytes: 1 << 20,
            size_bytes: 1 << 30,
            content: Content::Raw { reason: String::new(), file_system: Some(file_system) },
            fixed: false,
        }
    }

    #[test]
    fn zeros_mean_more_than_lost_bytes_where_others_hang_on_them() {
        for (kind, way, meaning) in [
            (FileSystemKind::MdMember, "sync_action", "neither parity nor copies"),
            (FileSystemKind::Luks1, "may cost a passphrase", "a keyslot may be lost"),
            (FileSystemKind::Luks2, "--on-read-error zero", "--test-passphrase"),
            (FileSystemKind::BtrfsSet, "btrfs scrub", "without checksums"),
            (FileSystemKind::Ext4, "--on-read-error zero", ""),
        ] {
            let volume = volume(kind);
            let said = meaning_of_zeros(&volume).unwrap_or_default();
            assert!(way_out(&volume).contains(way) && said.contains(meaning), "{kind}");
            assert_eq!(said.is_empty(), meaning.is_empty());
        }
    }
}
