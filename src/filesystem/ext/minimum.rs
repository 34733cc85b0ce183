//! The smallest size that `resize2fs` can shrink to: an estimate that is never too small.
//!
//! It counts as `resize2fs -M` does (e2fsprogs, `calculate_minimum_resize_size`): the data, the metadata of as
//! many groups as hold it, one flex group of inode tables to move things in, and some blocks for extent
//! trees that grow; in doubt it rounds up. Without `flex_bg` that is what is needed to the block (seen in tries with
//! one hundredth less), so a reserve is added.

use super::geometry::Geometry;
use super::group;
use super::superblock::{incompat, ro_compat};
use super::usage::Usage;
use crate::blockio::ReadAt;
use crate::filesystem::error::Error;
use std::ops::Range;

/// The part of the data that is added as a reserve.
const RESERVE_DIVISOR: u64 = 128;
/// What is added to it at least.
const RESERVE_BLOCKS: u64 = 256;
/// What `resize2fs` wants to be free for data in the last group.
const LAST_GROUP_BLOCKS: u64 = 50;

/// The smallest size in bytes; the present one where `resize2fs` is not to be trusted with it.
pub(super) fn minimum_bytes(volume: &dyn ReadAt, geometry: &Geometry, usage: &Usage) -> Result<u64, Error> {
    // It counts blocks as if they were clusters and refuses as too small what holds everything many times: 600 MiB for
    // an empty file system of 900 MiB (e2fsprogs 1.47.0). What it is made to do by force proves nothing.
    if geometry.superblock.has_ro_compat(ro_compat::BIGALLOC) {
        return Ok(geometry.size_bytes());
    }
    let total_overhead = overhead(geometry, 0..geometry.group_count);
    let data = geometry.blocks_count.saturating_sub(usage.free_blocks).saturating_sub(total_overhead);
    let inodes = u64::from(geometry.superblock.s_inodes_count).saturating_sub(usage.free_inodes);
    let need = Need::of(geometry, data, inodes);
    if need.groups >= geometry.group_count {
        // The last group may be a short one, so what fits in whole groups proves nothing.
        return Ok(geometry.size_bytes());
    }
    let last = need.groups.saturating_sub(1);
    let flex_start = last.saturating_sub(last & need.flex_groups.saturating_sub(1));
    let inode_table_end =
        group::read_one(volume, geometry, last)?.inode_table.saturating_add(geometry.inode_table_blocks);
    let needed = geometry
        .first_block(last)
        .saturating_add(overhead(geometry, flex_start..need.reserved_groups))
        .saturating_add(data.saturating_sub(need.before_last).max(LAST_GROUP_BLOCKS))
        .max(inode_table_end);
    let extents_in_block = (geometry.block_bytes / 12).saturating_sub(1).max(1);
    let worst_case = data.div_ceil(extents_in_block).max(inodes);
    let margin = (geometry.blocks_count.saturating_sub(needed) / 500).min(worst_case);
    let reserve = (data / RESERVE_DIVISOR).saturating_add(RESERVE_BLOCKS);
    let blocks = needed.saturating_add(margin).saturating_add(reserve).saturating_add(LAST_GROUP_BLOCKS);
    Ok(geometry.byte_of(blocks.min(geometry.blocks_count)))
}

/// The blocks of the own metadata of groups, wherever they stand.
fn overhead(geometry: &Geometry, groups: Range<u64>) -> u64 {
    groups.fold(0, |sum, group| {
        let (_, base) = geometry.base_blocks(group);
        sum.saturating_add(base).saturating_add(geometry.inode_table_blocks).saturating_add(2)
    })
}

/// The blocks for data in groups.
fn capacity(geometry: &Geometry, groups: Range<u64>) -> u64 {
    let count = groups.end.saturating_sub(groups.start);
    count.saturating_mul(geometry.blocks_per_group).saturating_sub(overhead(geometry, groups))
}

/// What the data takes.
struct Need {
    /// Groups that are needed, the last one perhaps not wholly.
    groups: u64,
    /// Groups whose metadata is counted: with `flex_bg` up to the end of a flex group, so that inode tables
    /// have room to be moved.
    reserved_groups: u64,
    /// Groups of a flex group.
    flex_groups: u64,
    /// Blocks of data that are counted on in the groups before the last one.
    before_last: u64,
}

impl Need {
    /// `resize2fs` refuses a size below its own estimate, and that credits one group of data only for all
    /// the groups that a step adds inside a flex group. So does this.
    fn of(geometry: &Geometry, data: u64, inodes: u64) -> Self {
        let flex_groups = match geometry.superblock.has_incompat(incompat::FLEX_BG) {
            true => 1u64.checked_shl(geometry.superblock.s_log_groups_per_flex.into()).unwrap_or(u64::MAX),
            false => 1,
        };
        let reserved = |groups: u64| match flex_groups {
            1 => groups,
            _ => (groups | flex_groups.saturating_sub(1)).saturating_add(1).min(geometry.group_count),
        };
        let groups = inodes.div_ceil(geometry.inodes_per_group).clamp(1, geometry.group_count.max(1));
        let mut need = Self {
            groups,
            reserved_groups: reserved(groups),
            flex_groups,
            before_last: capacity(geometry, 0..groups.saturating_sub(1)),
        };
        let mut metadata = overhead(geometry, 0..need.reserved_groups);
        while need.groups < geometry.group_count {
            let room = need.groups.saturating_mul(geometry.blocks_per_group).saturating_sub(metadata);
            let missing = data.saturating_sub(room);
            if missing == 0 {
                break;
            }
            let credited = need.groups.saturating_sub(1)..need.groups;
            need.groups = need.groups.saturating_add(missing.div_ceil(geometry.blocks_per_group));
            let reserved_before = need.reserved_groups;
            need.reserved_groups = reserved_before.max(reserved(need.groups));
            metadata = metadata.saturating_add(overhead(geometry, reserved_before..need.reserved_groups));
            let added = reserved_before..need.groups.saturating_sub(1).max(reserved_before);
            need.before_last = need
                .before_last
                .saturating_add(capacity(geometry, credited))
                .saturating_add(capacity(geometry, added));
        }
        need
    }
}
