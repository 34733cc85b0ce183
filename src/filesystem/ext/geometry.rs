//! Where things stand: the numbers of the superblock after they were checked against each other and
//! against the volume.
//!
//! ```text
//! | boot 1 KiB | group 0 | group 1 | ... | last group, maybe shorter |
//! group: | superblock, descriptors, reserved for more of them | bitmaps, inode table | data |
//!          ^ only where `has_superblock`                        ^ anywhere with flex_bg
//! ```
//!
//! With `meta_bg`, from `s_first_meta_bg` on, every descriptor block stands in the groups that it describes:
//! in the first, copied to the second and the last. Every number that is handed out is in blocks, and every
//! block below `blocks_count` has a byte on the volume.

use super::superblock::{SUPERBLOCK_AT, Superblock, compat, incompat, ro_compat};
use crate::filesystem::error::Error;
use crate::units::ByteRange;

/// More than 1 EiB of 4 KiB blocks has; it bounds what a walk over the groups costs.
const MAX_GROUPS: u64 = 1 << 23;

/// Checked numbers.
#[derive(Debug)]
pub(super) struct Geometry<'a> {
    pub(super) superblock: &'a Superblock,
    pub(super) block_bytes: u64,
    pub(super) blocks_count: u64,
    pub(super) first_data_block: u64,
    /// Blocks a bit of a bitmap stands for: 1 without `bigalloc`.
    pub(super) cluster_blocks: u64,
    pub(super) blocks_per_group: u64,
    pub(super) clusters_per_group: u64,
    pub(super) inodes_per_group: u64,
    pub(super) inode_bytes: u64,
    pub(super) inode_table_blocks: u64,
    pub(super) desc_bytes: u64,
    pub(super) desc_per_block: u64,
    pub(super) gdt_blocks: u64,
    pub(super) group_count: u64,
}

fn wrong(fact: String) -> Error {
    Error::corrupt("ext superblock", SUPERBLOCK_AT, fact)
}

/// `a / b`, where `b` was checked not to be zero.
pub(super) fn divide(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or_default()
}

/// `a % b`, where `b` was checked not to be zero.
pub(super) fn remainder(a: u64, b: u64) -> u64 {
    a.checked_rem(b).unwrap_or_default()
}

impl<'a> Geometry<'a> {
    /// Checks the numbers of a superblock against a volume of `volume_bytes`.
    pub(super) fn new(superblock: &'a Superblock, volume_bytes: u64) -> Result<Self, Error> {
        let block_bytes = superblock.block_bytes;
        let blocks_count = superblock.s_blocks_count;
        match blocks_count.checked_mul(block_bytes) {
            Some(bytes) if bytes <= volume_bytes => {}
            _ => {
                return Err(wrong(format!(
                    "the file system has {blocks_count} blocks of {block_bytes} bytes, more than the \
                     {volume_bytes} bytes of its volume; give the volume back its size or shrink the file \
                     system with resize2fs"
                )));
            }
        }
        let cluster_blocks = cluster_blocks(superblock)?;
        let first_data_block = first_data_block(superblock, cluster_blocks, blocks_count)?;
        let (blocks_per_group, clusters_per_group) = group_size(superblock, cluster_blocks)?;
        let group_count = blocks_count.saturating_sub(first_data_block).div_ceil(blocks_per_group);
        if group_count > MAX_GROUPS {
            return Err(wrong(format!("{group_count} block groups are more than any file system has")));
        }
        let (inodes_per_group, inode_bytes) = inodes(superblock, group_count)?;
        let desc_bytes = desc_bytes(superblock)?;
        let desc_per_block = divide(block_bytes, desc_bytes);
        let gdt_blocks = group_count.div_ceil(desc_per_block.max(1));
        let first_meta_bg = u64::from(superblock.s_first_meta_bg);
        if superblock.has_incompat(incompat::META_BG) && first_meta_bg > gdt_blocks {
            return Err(wrong(format!(
                "s_first_meta_bg is {first_meta_bg} of {gdt_blocks} descriptor blocks"
            )));
        }
        Ok(Self {
            superblock,
            block_bytes,
            blocks_count,
            first_data_block,
            cluster_blocks,
            blocks_per_group,
            clusters_per_group,
            inodes_per_group,
            inode_bytes,
            inode_table_blocks: inodes_per_group.saturating_mul(inode_bytes).div_ceil(block_bytes),
            desc_bytes,
            desc_per_block,
            gdt_blocks,
            group_count,
        })
    }

    /// The file system's size in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.byte_of(self.blocks_count)
    }

    /// The byte at which a block starts.
    pub(super) fn byte_of(&self, block: u64) -> u64 {
        block.saturating_mul(self.block_bytes)
    }

    /// The bytes of `count` blocks from `first`, as far as the file system reaches.
    pub(super) fn bytes_of(&self, first: u64, count: u64) -> ByteRange {
        let end = self.byte_of(first.saturating_add(count).min(self.blocks_count));
        ByteRange::new(self.byte_of(first).min(end), end)
    }

    /// True where `count` blocks from `first` are all blocks of the groups.
    pub(super) fn holds(&self, first: u64, count: u64) -> bool {
        first >= self.first_data_block && first.checked_add(count).is_some_and(|end| end <= self.blocks_count)
    }

    /// The first block of a group.
    pub(super) fn first_block(&self, group: u64) -> u64 {
        group.saturating_mul(self.blocks_per_group).saturating_add(self.first_data_block)
    }

    /// How many blocks a group has; the last one may have fewer.
    pub(super) fn blocks_in(&self, group: u64) -> u64 {
        self.blocks_count.saturating_sub(self.first_block(group)).min(self.blocks_per_group)
    }

    /// True where a group starts with a superblock (`sparse_super`: groups 0, 1 and powers of 3, 5, 7).
    pub(super) fn has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.superblock.has_compat(compat::SPARSE_SUPER2) {
            return self.superblock.s_backup_bgs.iter().any(|backup| u64::from(*backup) == group);
        }
        let is_power_of = |base: u64| {
            std::iter::successors(Some(base), |power| power.checked_mul(base))
                .take_while(|power| *power <= group)
                .any(|power| power == group)
        };
        !self.superblock.has_ro_compat(ro_compat::SPARSE_SUPER)
            || group == 1
            || is_power_of(3)
            || is_power_of(5)
            || is_power_of(7)
    }

    fn is_meta_bg(&self, descriptor_block: u64) -> bool {
        self.superblock.has_incompat(incompat::META_BG)
            && descriptor_block >= u64::from(self.superblock.s_first_meta_bg)
    }

    /// The block at which a group's copies start: 1 KiB blocks have the superblock in block 1 always.
    fn base_block(&self, group: u64) -> u64 {
        match self.first_block(group) {
            0 if self.block_bytes == 1024 => 1,
            first => first,
        }
    }

    /// The block that holds part `number` of the group descriptors.
    pub(super) fn descriptor_block(&self, number: u64) -> u64 {
        if !self.is_meta_bg(number) {
            return self.base_block(0).saturating_add(1).saturating_add(number);
        }
        let group = number.saturating_mul(self.desc_per_block);
        self.base_block(group).saturating_add(u64::from(self.has_superblock(group)))
    }

    /// The superblock, the descriptors and the blocks reserved for more of them that stand at the start of
    /// a group: (first block, count).
    pub(super) fn base_blocks(&self, group: u64) -> (u64, u64) {
        let part = divide(group, self.desc_per_block);
        let superblocks = u64::from(self.has_superblock(group));
        let descriptors = if self.is_meta_bg(part) {
            let position = remainder(group, self.desc_per_block);
            let has_copy = position <= 1 || position.saturating_add(1) == self.desc_per_block;
            u64::from(has_copy)
        } else if superblocks == 0 {
            0
        } else if self.superblock.has_incompat(incompat::META_BG) {
            self.superblock.s_first_meta_bg.into()
        } else {
            self.gdt_blocks.saturating_add(self.superblock.s_reserved_gdt_blocks.into())
        };
        (self.base_block(group), superblocks.saturating_add(descriptors))
    }
}

fn cluster_blocks(superblock: &Superblock) -> Result<u64, Error> {
    if !superblock.has_ro_compat(ro_compat::BIGALLOC) {
        return Ok(1);
    }
    // A cluster is at most 2^29 bytes (e2fsprogs, EXT2_MAX_CLUSTER_LOG_SIZE).
    superblock
        .s_log_cluster_size
        .checked_sub(superblock.s_log_block_size)
        .filter(|_| superblock.s_log_cluster_size <= 19)
        .and_then(|shift| 1u64.checked_shl(shift))
        .ok_or_else(|| {
            let (cluster, block) = (superblock.s_log_cluster_size, superblock.s_log_block_size);
            wrong(format!("s_log_cluster_size is {cluster} where s_log_block_size is {block}"))
        })
}

fn first_data_block(superblock: &Superblock, cluster_blocks: u64, blocks_count: u64) -> Result<u64, Error> {
    let expected = u64::from(superblock.block_bytes == 1024 && cluster_blocks == 1);
    let first = u64::from(superblock.s_first_data_block);
    if first == expected && first < blocks_count {
        Ok(first)
    } else {
        Err(wrong(format!("s_first_data_block is {first} and not {expected}, of {blocks_count} blocks")))
    }
}

/// (blocks, clusters) of a group; one block of bitmap has a bit for each cluster.
fn group_size(superblock: &Superblock, cluster_blocks: u64) -> Result<(u64, u64), Error> {
    let blocks = u64::from(superblock.s_blocks_per_group);
    let clusters = if superblock.has_ro_compat(ro_compat::BIGALLOC) {
        superblock.s_clusters_per_group.into()
    } else {
        blocks
    };
    let is_whole = clusters.checked_mul(cluster_blocks) == Some(blocks) && clusters % 8 == 0;
    if is_whole && clusters > 0 && clusters <= superblock.block_bytes.saturating_mul(8) {
        Ok((blocks, clusters))
    } else {
        Err(wrong(format!("a group has {blocks} blocks in {clusters} clusters of {cluster_blocks} blocks")))
    }
}

/// (inodes in a group, bytes of an inode).
fn inodes(superblock: &Superblock, group_count: u64) -> Result<(u64, u64), Error> {
    let bytes = if superblock.s_rev_level == 0 { 128 } else { u64::from(superblock.s_inode_size) };
    let per_group = u64::from(superblock.s_inodes_per_group);
    let total = u64::from(superblock.s_inodes_count);
    let block_bytes = superblock.block_bytes;
    if !bytes.is_power_of_two() || !(128..=block_bytes).contains(&bytes) {
        return Err(wrong(format!("an inode has {bytes} bytes where a block has {block_bytes}")));
    }
    if per_group == 0
        || per_group > block_bytes.saturating_mul(8)
        || group_count.checked_mul(per_group) != Some(total)
    {
        return Err(wrong(format!("{group_count} groups of {per_group} inodes do not make {total} inodes")));
    }
    Ok((per_group, bytes))
}

fn desc_bytes(superblock: &Superblock) -> Result<u64, Error> {
    if !superblock.has_incompat(incompat::BIT64) {
        return Ok(32);
    }
    let bytes = u64::from(superblock.s_desc_size);
    if bytes.is_power_of_two() && (64..=superblock.block_bytes.min(1024)).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(wrong(format!("s_desc_size is {bytes}")))
    }
}
