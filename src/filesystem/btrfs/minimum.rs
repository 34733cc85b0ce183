//! The smallest size that `btrfs filesystem resize` can shrink to for certain: the end of the last chunk.
//!
//! Down to there the kernel has nothing to move. Further down it empties every chunk that reaches beyond the new end
//! (kernel, `btrfs_shrink_device`), which needs room of the right kind in the others; whether there is enough depends on
//! how free space is cut up and on what the kernel reserves, so nothing is promised there. A balance before the capture
//! brings chunks together and the minimum down.

use super::device::DevExtent;
use super::devices::Devices;
use crate::units::MIB;

/// The kernel shrinks no device further (`btrfs_ioctl_resize`).
const LEAST_BYTES: u64 = 256 * MIB;

/// The smallest size in bytes; `None` where there are several devices, none of which is made smaller.
pub(super) fn minimum_bytes(devices: &Devices<'_>, extents: &[DevExtent]) -> Option<u64> {
    let [only] = devices.as_slice() else { return None };
    let superblock = only.superblock;
    let end = extents.last().map_or(0, |extent| extent.place.range.end());
    let sector = u64::from(superblock.sectorsize).max(1);
    let whole = end.max(LEAST_BYTES).checked_next_multiple_of(sector);
    Some(whole.unwrap_or(u64::MAX).min(superblock.total_bytes))
}
