//! Recognise a file system, judge whether it is quiescent, and say which of its bytes are used.
//!
//! Everything is read from the raw volume by our own code, without mounting: it works in any kernel, on a
//! plain file, and on a disk that may not be written. Invariants:
//!
//! - Numbers from the disk are never trusted: every offset is checked, every size is bounded before
//!   anything is allocated, every walk ends.
//! - A used map never leaves out a byte that the file system needs. In doubt a byte is used.
//! - The map is the truth only where the state is [`State::Clean`].
//! - Where two file systems claim a volume, neither map is used.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod apfs;
mod bitmap;
mod btrfs;
mod error;
mod exfat;
mod ext;
mod f2fs;
mod fat;
mod hfs;
mod hfs_plus;
mod inside;
mod jfs;
mod judgement;
pub mod ldm;
pub mod luks;
pub mod lvm;
pub mod lvm1;
pub mod md;
mod minix;
mod nested;
mod nilfs2;
mod noise;
mod ntfs;
mod reiserfs;
mod signature;
mod swap;
mod ufs;
mod xfs;

pub use btrfs::{BtrfsSource, read_btrfs_devices};
pub use error::Error;
pub use ext::{external_journal, read_with_journal};
pub use fat::{FatFiles, Item};
pub use nested::nested_table;
pub use noise::looks_random;
pub use swap::swap_header;

use crate::blockio::ReadAt;
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::{MIB, RangeSet};

/// The most that a tool writes behind the new end of a file system that it shrinks to its smallest size or more: a
/// deploy keeps that in memory.
pub const MOST_WRITTEN_BEHIND_BYTES: u64 = 128 * MIB;

/// What was read from one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What is known about the file system.
    pub file_system: FileSystem,
    /// The bytes of the volume that a capture has to read; `None` where there is no map to trust, so that
    /// only a raw capture is possible.
    pub used: Option<RangeSet>,
}

/// A reader of one family of file systems.
struct Reader {
    /// Which member of the family is on the volume, if any: a look at signatures only.
    probe: fn(&dyn ReadAt) -> Result<Option<FileSystemKind>, Error>,
    /// Reads everything.
    read: fn(&dyn ReadAt) -> Result<Reading, Error>,
}

/// The readers, in the order in which they are asked.
const READERS: &[Reader] = &[
    Reader { probe: ntfs::probe, read: ntfs::read },
    Reader { probe: fat::probe, read: fat::read },
    Reader { probe: xfs::probe, read: xfs::read },
    Reader { probe: f2fs::probe, read: f2fs::read },
    Reader { probe: exfat::probe, read: exfat::read },
    Reader { probe: nilfs2::probe, read: nilfs2::read },
    Reader { probe: jfs::probe, read: jfs::read },
    Reader { probe: reiserfs::probe, read: reiserfs::read },
    Reader { probe: minix::probe, read: minix::read },
    Reader { probe: hfs::probe, read: hfs::read },
    Reader { probe: hfs_plus::probe, read: hfs_plus::read },
    Reader { probe: ufs::probe, read: ufs::read },
    Reader { probe: apfs::probe, read: apfs::read },
    btrfs::READER,
    ext::READER,
];

/// Recognises and reads what is on a volume; `None` where nothing is recognised.
///
/// A file system that is corrupt or of an unsupported form is not an error: it is a reading without a
/// map, whose state and findings say why.
///
/// # Errors
/// [`Error::Io`] where the volume cannot be read.
pub fn read(volume: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    // What an array holds may begin where its member does, as in one half of a mirror.
    match md::read(volume)? {
        Some(reading) => Ok(Some(reading)),
        None => read_content(volume),
    }
}

/// The same for what is no member of an array, or lies in one.
fn read_content(volume: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    if let Some(reading) = signature::read_containers(volume)? {
        return Ok(Some(reading));
    }
    let mut claims = Vec::new();
    for reader in READERS {
        claims.extend((reader.probe)(volume)?.map(|kind| (kind, reader)));
    }
    if let Some((kind, reader)) = claims.first() {
        let others = claims.iter().skip(1).map(|(kind, _)| *kind).chain(also_there(volume));
        let others: Vec<FileSystemKind> = others.collect();
        if !others.is_empty() {
            return Ok(Some(ambiguous(*kind, &others, volume.size_bytes())));
        }
        return match (reader.read)(volume) {
            Ok(reading) => Ok(Some(reading)),
            Err(error @ Error::Io { .. }) => Err(error),
            Err(error) => Ok(Some(unreadable(*kind, volume.size_bytes(), &error))),
        };
    }
    match signature::read(volume)? {
        Some(reading) => Ok(Some(reading)),
        None => swap::read(volume),
    }
}

/// True where a volume is a physical volume of LVM and nothing else: a look at signatures only.
///
/// # Errors
/// [`Error::Io`] where the volume cannot be read.
pub fn is_physical_volume(volume: &dyn ReadAt) -> Result<bool, Error> {
    if !md::superblocks(volume)?.is_empty() {
        return Ok(false);
    }
    let container = signature::read_containers(volume)?;
    Ok(container.is_some_and(|reading| reading.file_system.kind == FileSystemKind::LvmPhysicalVolume))
}

/// A whole disk that the firmware of a machine, or a controller, has in an array of its own: a look at signatures only.
///
/// # Errors
/// [`Error::Io`] where the disk cannot be read.
pub fn firmware_member(disk: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    signature::read_firmware_member(disk)
}

/// A dynamic disk of Windows, by the header of its database: a look at signatures only.
///
/// # Errors
/// [`Error::Io`] where the disk cannot be read.
pub fn dynamic_disk(disk: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    signature::read_dynamic_disk(disk)
}

/// What has to be written to a NILFS2 that was made for so many bytes where its device is larger: where, in bytes, and what.
/// Linux looks for the second superblock near the end of the device, and that one may be the newer.
///
/// # Errors
/// [`Error::Io`] where the volume cannot be read.
pub fn nilfs2_on_a_larger_device(
    volume: &dyn ReadAt,
    made_for_bytes: u64,
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    nilfs2::for_a_larger_device(volume, made_for_bytes)
}

/// A partition of this size whose type says that it is part of a storage pool of Windows, whatever seems to begin in it.
#[must_use]
pub fn of_a_storage_pool(size_bytes: u64) -> Reading {
    signature::of_a_storage_pool(size_bytes)
}

/// A partition of this size whose type says that it is part of a dynamic disk, whatever seems to begin in it.
#[must_use]
pub fn of_a_dynamic_disk(size_bytes: u64) -> Reading {
    signature::of_a_dynamic_disk(size_bytes)
}

/// What else has its signature on a volume that a reader claims. What cannot be read is no intact signature.
fn also_there(volume: &dyn ReadAt) -> Vec<FileSystemKind> {
    let mut kinds = signature::intact(volume);
    kinds.extend(swap::read(volume).ok().flatten().map(|reading| reading.file_system.kind));
    kinds
}

/// A volume with the signatures of several file systems: one is alive, the others were left standing when it
/// was made, and no byte says which.
fn ambiguous(kind: FileSystemKind, others: &[FileSystemKind], size_bytes: u64) -> Reading {
    let others: Vec<&str> = others.iter().map(|kind| kind.name()).collect();
    let fact = format!(
        "the signatures of {kind} and of {} are both there, so one is left over from an earlier use; find out \
         which file system is alive and remove the signature of the other with wipefs (wipefs DEVICE lists \
         them), or capture the volume with --when-dirty raw",
        others.join(" and of ")
    );
    unreadable(kind, size_bytes, &Error::unsupported(fact))
}

fn unreadable(kind: FileSystemKind, size_bytes: u64, error: &Error) -> Reading {
    let state = match error {
        Error::Unsupported { .. } => State::Unsupported,
        Error::Io { .. } | Error::Corrupt { .. } => State::Damaged,
    };
    Reading {
        file_system: FileSystem {
            kind,
            uuid: None,
            label: None,
            block_size_bytes: 512,
            size_bytes,
            used_bytes: None,
            minimum_bytes: size_bytes,
            state,
            findings: vec![error.to_string()],
        },
        used: None,
    }
}
