//! The boot entries of a UEFI firmware: read and write them, and decide what follows a deploy.
//!
//! From bytes to bytes, without a firmware. Invariants:
//!
//! - What is not understood keeps its bytes: nodes of a device path, further paths, and what a loader is told.
//! - An entry that names a partition of another disk than those that were deployed is not touched, and no entry is
//!   deleted.
//! - Nothing is to be written where nothing differs.
//!
//! ```text
//! Boot0001: EFI_LOAD_OPTION (UEFI 2.10, 3.1.3)
//! | attributes 4 | length of the paths 2 | description, UCS-2, zero | device paths | optional data |
//!                                                                   |
//!                              | HD(1, GPT, GUID, start, size) | File(\EFI\debian\shimx64.efi) | end |
//! BootOrder: | 0003 | 0001 | 0000 |
//! ```

mod device_path;
mod follow;
mod load_option;
mod loaders;
mod partitions;

pub use device_path::{DevicePath, HardDrive, Node, PartitionId};
pub use follow::{Change, EfiSystem, Followed, Situation, Variables, changes, next_from_disk};
pub use load_option::{LoadOption, decode_order, encode_order};
pub use loaders::{FALLBACK, Loader, fallback_copies, loaders};
pub use partitions::hard_drives;

/// Bytes that contradict the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{structure}: {fact}")]
pub struct Corrupt {
    /// The structure, by the name that the specification gives it.
    pub structure: &'static str,
    /// The contradiction, with its numbers.
    pub fact: String,
}
