//! The superblock of a member, of every version.
//!
//! Version 0.90 and 1.0 put it at the end, so that each half of a mirror begins like the file system that it mirrors:
//!
//! ```text
//! version  superblock at
//! 0.90     the last 64 KiB that begin at a multiple of 64 KiB
//! 1.0      8 to 12 KiB before the end, at a multiple of 4 KiB
//! 1.1      the start
//! 1.2      4 KiB from the start
//! ```
//!
//! Source: Linux `include/uapi/linux/raid/md_p.h` and `drivers/md/md.c`.

use super::{version_0, version_1};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, KIB, u64_from};

pub(super) const STRUCTURE: &str = "MD superblock";
pub(super) const MAGIC: u32 = 0xA92B_4EFC;
/// The most that a superblock of any version takes: `MD_SB_BYTES`.
pub(super) const BYTES: usize = 4096;
pub(super) const SECTOR_BYTES: u64 = 512;
/// What version 0.90 keeps for itself at the end: `MD_RESERVED_BYTES`.
pub(super) const RESERVED_BYTES: u64 = 64 * KIB;

/// What a member of an array says about the array and itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// `0.90`, `1.0`, `1.1` or `1.2`.
    pub version: &'static str,
    /// Where it stands.
    pub at: u64,
    /// UUID of the array; `None` where it is all zeros.
    pub array_uuid: Option<String>,
    /// Name of the array.
    pub name: Option<String>,
    /// RAID level; -1 for linear, -4 for multipath.
    pub level: i32,
    /// Number of members of a whole array.
    pub disks: u32,
    /// Number of members that were there when this one was written last.
    pub active: u32,
    /// The member's own number.
    pub number: u32,
    /// What the member does in its array.
    pub role: Role,
    /// Which of the members it is that hold data, from 0; only of an active one.
    pub position: u32,
    /// Bytes of a chunk; 0 where the level has none.
    pub chunk_bytes: u64,
    /// How chunks are laid out, a number of each level's own; `None` where a RAID 0 does not say it.
    pub layout: Option<u32>,
    /// How often superblocks were written: of members that do not agree, the one with more events is right.
    pub events: u64,
    /// The data of the array, from the start of the volume.
    pub data: ByteRange,
    /// All members have the same data: the array was not being written to, and was made equal.
    pub in_sync: bool,
    /// What else stands outside of the data: bitmap and bad blocks.
    pub(super) places: Vec<ByteRange>,
    /// Where the bitmap of version 1 begins.
    pub(super) bitmap_at: Option<u64>,
    /// What keeps the member from being read by itself, whatever the level: a clause that follows "it".
    pub(super) obstacle: Option<&'static str>,
}

/// What a member does in its array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It holds data.
    Active,
    /// It waits for another one to fail, and holds nothing.
    Spare,
    /// It failed.
    Faulty,
    /// It holds the journal of the array.
    Journal,
}

/// Every superblock that stands where one of its version belongs, those whose checksum is wrong included.
pub(super) fn find(volume: &dyn ReadAt) -> Result<Vec<Result<Superblock, Error>>, Error> {
    let mut found = Vec::new();
    for (version, place) in places(volume.size_bytes()) {
        let bytes = match read_structure(volume, STRUCTURE, place.start(), BYTES) {
            Ok(bytes) => bytes,
            // A volume so small that it ends here.
            Err(Error::Corrupt { .. }) => continue,
            Err(error) => return Err(error),
        };
        let size_bytes = volume.size_bytes();
        let superblock = match version {
            "0.90" => version_0::parse(&bytes, place.start()),
            _ => version_1::parse(&bytes, place.start(), version, size_bytes),
        };
        found.extend(superblock);
    }
    Ok(found)
}

/// Where superblocks may stand on a volume of this size, with their versions.
pub(super) fn places(size_bytes: u64) -> Vec<(&'static str, ByteRange)> {
    let aligned = |bytes: u64| size_bytes & !bytes.saturating_sub(1);
    let version_0 = aligned(RESERVED_BYTES).checked_sub(RESERVED_BYTES);
    let version_1 = aligned(4 * KIB).checked_sub(8 * KIB);
    let all = [("0.90", version_0), ("1.0", version_1), ("1.1", Some(0)), ("1.2", Some(4 * KIB))];
    let range = |at: u64| ByteRange::at(at, u64_from(BYTES)).filter(|range| range.end() <= size_bytes);
    let all = all.into_iter().filter_map(|(version, at)| Some((version, range(at?)?)));
    // On a small volume several may be the same place, which then is read once for each version.
    all.collect()
}

impl Superblock {
    /// True where the data lie on all members together, in a way that is read.
    #[must_use]
    pub const fn lies_on_all(&self) -> bool {
        matches!(self.level, -1 | 0 | 4 | 5 | 6 | 10)
    }

    /// True where the same superblock, found on a disk, may be that of a partition of it, which has these bytes. Only version 0.90 does
    /// not say where it stands: at the end of the last partition it may stand where that of the disk would.
    #[must_use]
    pub fn may_be_of(&self, partition: ByteRange) -> bool {
        let at = self.at.checked_sub(partition.start());
        let is_its_place =
            |(version, place): (&str, ByteRange)| version == self.version && Some(place.start()) == at;
        // A RAID 0 and a linear array do not say how much of a member they use.
        let has_room = matches!(self.level, -1 | 0) || at.is_some_and(|room| self.data.length() <= room);
        self.version == "0.90" && has_room && places(partition.length()).into_iter().any(is_its_place)
    }

    /// `MD array "name" (RAID 1 of 2 disks, superblock 1.2)`.
    #[must_use]
    pub fn array(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let level = match self.level {
            -1 => "linear".to_owned(),
            -4 => "multipath".to_owned(),
            level => format!("RAID {level}"),
        };
        format!("MD array{name} ({level} of {} disks, superblock {})", self.disks, self.version)
    }
}
