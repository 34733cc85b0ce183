//! Windows' Logical Disk Manager: the database that every dynamic disk of a group has, and what it says is used of the disk.
//!
//! Invariants:
//!
//! - A disk keeps everything that describes its group to the byte. Only what its database gives to no volume, and what the
//!   file system of a volume calls free, is left out.
//! - Of disks that are looked at together the newest database counts. A disk that the group went on without, that is there
//!   twice, or that its group does not know, is refused by name.
//! - A volume is read only where all disks that it lies on are there, and where its form is known: simple, spanned, striped, and
//!   each copy of a mirror. Otherwise the disks that it lies on are refused.
//! - What contradicts itself is not believed: records that do not fit together, extents that overlap or lie elsewhere.
//!
//! ```text
//! MBR disk    0     6            public region                     private region, the last MiB
//!             | MBR | PRIVHEAD | extents of volumes              | TOCBLOCK, VMDB, VBLK ... log, PRIVHEAD |
//! GPT disk    | GPT | private region, a partition, PRIVHEAD last | public region, a partition | GPT |
//! ```
//!
//! Sources: Linux `block/partitions/ldm.h` and `ldm.c`, the documentation of the Linux-NTFS project that they name, libldm, and
//! disks that Windows Server 2003 R2 and 2008 R2 made.

mod database;
mod header;
mod look;
mod moved;
mod record;
mod set;
mod volume;

pub use moved::{Piece, moved_to_the_end};
pub use set::{Found, Source, read};

use crate::units::ByteRange;

/// The unit of all numbers in a database.
const SECTOR_BYTES: u64 = 512;

/// Where a disk has what describes its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// An MBR disk: the private header stands in sector 6 and says where the database is.
    Disk,
    /// A GPT disk: in this partition, whose last sector has the private header.
    Partition(ByteRange),
}
