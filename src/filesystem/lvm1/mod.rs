//! LVM1, the volume manager of Linux 2.4: what is used of the physical volumes of a group, all looked at together.
//!
//! Invariants:
//!
//! - A physical volume keeps its metadata to the byte, and all that is no extent. Of extents only what volumes use is in its map.
//! - A group is read only where all its physical volumes are there and say the same: LVM1 has no number that says which is newer.
//! - Volumes are linear or striped. A group with snapshots is refused by name: what they show is in part what is free.
//!
//! ```text
//! 0           4 KiB        8 KiB                          first extent
//! | HM, areas | the group | UUIDs | volumes | extents ... | extent 0 | extent 1 | ...
//! ```
//!
//! Source: LVM2 2.02 `lib/format1/disk-rep.h`, `disk-rep.c`, `import-export.c` and `import-extents.c`.

mod metadata;
mod set;

pub use metadata::{Physical, read};
pub use set::{Group, read_together};
