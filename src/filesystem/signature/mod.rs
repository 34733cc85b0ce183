//! Contents that are recognised by their signature and captured raw.
//!
//! Invariants:
//!
//! - No map is given: a capture that goes on from here reads every byte.
//! - Containers (encryption, array members, pools, physical volumes) are looked for before the readers of
//!   file systems are asked, because what they hold, or an old superblock that they left standing, would
//!   otherwise be taken for the truth. Taking a volume for a container costs space; the reverse costs data.

pub(super) mod bitlocker;
mod container;
mod encrypted;
mod firmware;
pub(super) mod identity;
mod other;
mod unix;
mod zfs;

use super::error::read_structure;
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::u64_from;

/// A look for one format or one family of formats.
type Recogniser = fn(&dyn ReadAt) -> Result<Option<Found>, Error>;

/// Outer before inner.
const CONTAINERS: &[Recogniser] = &[
    zfs::read_intact,
    encrypted::luks,
    bitlocker::read,
    container::lvm_physical_volume,
    container::lvm1_physical_volume,
    container::storage_spaces,
];

/// How much a signature says where another file system claims the volume too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    /// A live file system of another kind cannot hold it by chance, and its own tool writes it last.
    Strong,
    /// Weaker than that, or a backup of a header that survived: its front was overwritten on purpose.
    Weak,
}
use Strength::{Strong, Weak};

/// Those with the weakest signatures last.
const OTHERS: &[(Strength, Recogniser)] = &[
    (Strong, unix::bcachefs),
    (Strong, unix::squashfs),
    (Strong, other::refs),
    (Weak, zfs::read_any_label),
    (Weak, encrypted::luks2_backup),
    (Weak, container::logical_disk_manager),
    (Strong, other::iso9660),
];

/// Recognises what lies around a file system and has to be known before one is looked for.
pub(super) fn read_containers(volume: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    first(CONTAINERS.iter().copied(), volume)
}

/// Recognises a whole disk that a firmware or a controller has in an array.
pub(super) fn read_firmware_member(disk: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    Ok(firmware::member(disk)?.map(|found| found.into_reading(disk.size_bytes())))
}

/// Recognises a dynamic disk of Windows.
pub(super) fn read_dynamic_disk(disk: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    Ok(container::logical_disk_manager(disk)?.map(|found| found.into_reading(disk.size_bytes())))
}

/// A partition of which only its type is known: that of a pool of Storage Spaces.
pub(super) fn of_a_storage_pool(size_bytes: u64) -> Reading {
    container::member_of_storage_spaces().into_reading(size_bytes)
}

/// A partition of which only its type is known: that of a dynamic disk.
pub(super) fn of_a_dynamic_disk(size_bytes: u64) -> Reading {
    container::part_of_a_dynamic_disk().into_reading(size_bytes)
}

/// Recognises what no reader knows; `None` where nothing is recognised.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Reading>, Error> {
    first(OTHERS.iter().map(|(_, recognise)| *recognise), volume)
}

/// Every kind whose intact signature is there, whoever else claims the volume. What cannot be read is not
/// intact.
pub(super) fn intact(volume: &dyn ReadAt) -> Vec<FileSystemKind> {
    let strong = OTHERS.iter().filter(|(strength, _)| *strength == Strong);
    let found = strong.filter_map(|(_, recognise)| recognise(volume).ok().flatten());
    found.map(|found| found.kind).collect()
}

fn first(
    recognisers: impl Iterator<Item = Recogniser>,
    volume: &dyn ReadAt,
) -> Result<Option<Reading>, Error> {
    for recognise in recognisers {
        if let Some(found) = recognise(volume)? {
            return Ok(Some(found.into_reading(volume.size_bytes())));
        }
    }
    Ok(None)
}

/// The bytes at `at`, or `None` where the volume ends before them.
fn peek(volume: &dyn ReadAt, at: u64, length: usize) -> Result<Option<Vec<u8>>, Error> {
    match at.checked_add(u64_from(length)) {
        Some(end) if end <= volume.size_bytes() => read_structure(volume, "signature", at, length).map(Some),
        _ => Ok(None),
    }
}

/// What a signature tells.
struct Found {
    kind: FileSystemKind,
    uuid: Option<String>,
    label: Option<String>,
    block_size_bytes: u64,
    state: State,
    findings: Vec<String>,
}

impl Found {
    /// A container, whose content is looked at elsewhere or not at all.
    fn container(kind: FileSystemKind) -> Self {
        Self {
            kind,
            uuid: None,
            label: None,
            block_size_bytes: 512,
            state: State::Clean,
            findings: Vec::new(),
        }
    }

    /// A file system without a reader.
    fn file_system(kind: FileSystemKind, block_size_bytes: u64) -> Self {
        let finding = format!("captured raw: Remint has no reader for the used map of {kind}");
        Self { block_size_bytes, findings: vec![finding], ..Self::container(kind) }
    }

    fn named(mut self, uuid: Option<String>, label: Option<String>) -> Self {
        self.uuid = uuid;
        self.label = label;
        self
    }

    /// In a state that keeps it from being captured without being asked for.
    fn state(mut self, state: State, finding: impl Into<String>) -> Self {
        self.state = state;
        self.findings = vec![finding.into()];
        self
    }

    /// A part of something that is spread over several volumes.
    fn one_of_several(self, name: &str) -> Self {
        let finding = format!(
            "one volume of a {name} that is spread over several: capture all of them in one image, each with \
             --when-dirty raw"
        );
        self.state(State::Unsupported, finding)
    }

    fn into_reading(self, volume_bytes: u64) -> Reading {
        Reading {
            file_system: FileSystem {
                kind: self.kind,
                uuid: self.uuid,
                label: self.label,
                block_size_bytes: self.block_size_bytes,
                size_bytes: volume_bytes,
                used_bytes: None,
                minimum_bytes: volume_bytes,
                state: self.state,
                findings: self.findings,
            },
            used: None,
        }
    }
}
