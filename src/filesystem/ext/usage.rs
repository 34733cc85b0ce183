//! The used map: every bitmap of every group, with all metadata on top of it.
//!
//! - A group whose bitmap is not initialised is computed: only its own metadata is in use.
//! - What a bitmap says is believed only where its checksum and the free count of its group agree, where no
//!   two structures share a block and where it calls every structure used.
//! - Descriptors are read a block at a time and bitmaps at most a mebibyte at a time: memory grows with the
//!   extents of the map, not with the disk.

use super::geometry::Geometry;
use super::group::{self, Group};
use super::superblock::{SUPERBLOCK_AT, SUPERBLOCK_BYTES, incompat};
use crate::blockio::ReadAt;
use crate::filesystem::bitmap::insert_set_bits;
use crate::filesystem::error::{Error, read_structure};
use crate::units::{ByteRange, MIB, RangeSet, usize_from};

/// Bitmaps of a flex group stand side by side; so many bytes of them are read at once.
const BATCH_BYTES: u64 = MIB;

/// What is in use.
#[derive(Debug)]
pub(super) struct Usage {
    /// The used map.
    pub(super) used: RangeSet,
    /// Free blocks of all groups.
    pub(super) free_blocks: u64,
    /// Free inodes of all groups.
    pub(super) free_inodes: u64,
}

/// Reads the used map. `journal` is where the journal stands.
pub(super) fn read(volume: &dyn ReadAt, geometry: &Geometry, journal: &RangeSet) -> Result<Usage, Error> {
    let mut collector = Collector::new(geometry);
    for part in 0..geometry.gdt_blocks {
        let groups = group::read_part(volume, geometry, part)?;
        for group in &groups {
            collector.add_metadata(group);
        }
        collector.add_groups(volume, &groups)?;
    }
    collector.finish(journal)
}

/// Ranges that mostly come in ascending order, kept short by joining neighbours.
#[derive(Default)]
struct Extents {
    ranges: Vec<ByteRange>,
    total_bytes: u64,
}

impl Extents {
    fn push(&mut self, range: ByteRange) {
        self.total_bytes = self.total_bytes.saturating_add(range.length());
        match self.ranges.last_mut() {
            Some(last) if last.end() == range.start() => *last = ByteRange::new(last.start(), range.end()),
            _ => self.ranges.push(range),
        }
    }
}

struct Collector<'a> {
    geometry: &'a Geometry<'a>,
    /// What the bitmaps say.
    used: RangeSet,
    /// Superblocks and descriptors; block bitmaps; inode bitmaps; inode tables.
    metadata: [Extents; 4],
    free_clusters: u64,
    free_inodes: u64,
}

impl<'a> Collector<'a> {
    fn new(geometry: &'a Geometry<'a>) -> Self {
        let metadata = [Extents::default(), Extents::default(), Extents::default(), Extents::default()];
        Self { geometry, used: RangeSet::new(), metadata, free_clusters: 0, free_inodes: 0 }
    }

    fn metadata_of(&self, group: &Group) -> [ByteRange; 4] {
        let geometry = self.geometry;
        let (base, base_count) = geometry.base_blocks(group.number);
        [
            geometry.bytes_of(base, base_count),
            geometry.bytes_of(group.block_bitmap, 1),
            geometry.bytes_of(group.inode_bitmap, 1),
            geometry.bytes_of(group.inode_table, geometry.inode_table_blocks),
        ]
    }

    fn add_metadata(&mut self, group: &Group) {
        let ranges = self.metadata_of(group);
        for (extents, range) in self.metadata.iter_mut().zip(ranges) {
            extents.push(range);
        }
        self.free_clusters = self.free_clusters.saturating_add(group.free_clusters);
        self.free_inodes = self.free_inodes.saturating_add(group.free_inodes);
    }

    fn add_groups(&mut self, volume: &dyn ReadAt, groups: &[Group]) -> Result<(), Error> {
        let mut rest = groups;
        while let Some((first, others)) = rest.split_first() {
            if first.is_block_uninit {
                self.add_computed(first)?;
                rest = others;
                continue;
            }
            let (batch, behind) = rest.split_at(self.side_by_side(first, others));
            self.add_bitmaps(volume, first, batch)?;
            rest = behind;
        }
        Ok(())
    }

    /// How many groups from `first` have bitmaps side by side on the disk; at least one.
    fn side_by_side(&self, first: &Group, others: &[Group]) -> usize {
        let most = BATCH_BYTES.checked_div(self.geometry.block_bytes).unwrap_or(1);
        let following = (1..most)
            .zip(others)
            .take_while(|(ahead, group)| {
                !group.is_block_uninit && first.block_bitmap.checked_add(*ahead) == Some(group.block_bitmap)
            })
            .count();
        following.saturating_add(1)
    }

    fn add_bitmaps(&mut self, volume: &dyn ReadAt, first: &Group, batch: &[Group]) -> Result<(), Error> {
        let block = usize_from(self.geometry.block_bytes);
        let at = self.geometry.byte_of(first.block_bitmap);
        let bytes = read_structure(volume, "ext block bitmap", at, block.saturating_mul(batch.len()))?;
        batch
            .iter()
            .zip(bytes.chunks_exact(block))
            .try_for_each(|(group, bitmap)| self.add_bitmap(group, bitmap))
    }

    fn add_bitmap(&mut self, group: &Group, bitmap: &[u8]) -> Result<(), Error> {
        let geometry = self.geometry;
        group.check_bitmap(geometry, bitmap)?;
        let clusters = self.clusters_in(group.number);
        self.check_free(group, clusters.saturating_sub(count_set_bits(bitmap, clusters)))?;
        let first_block = geometry.first_block(group.number);
        let (first, unit) = match geometry.cluster_blocks {
            1 => (first_block, geometry.block_bytes),
            blocks => (
                first_block.checked_div(blocks).unwrap_or_default(),
                geometry.block_bytes.saturating_mul(blocks),
            ),
        };
        insert_set_bits(&mut self.used, bitmap, first, clusters, unit);
        Ok(())
    }

    /// A group whose bitmap was never written.
    fn add_computed(&mut self, group: &Group) -> Result<(), Error> {
        let geometry = self.geometry;
        let cluster_bytes = geometry.block_bytes.saturating_mul(geometry.cluster_blocks);
        let window = geometry.bytes_of(geometry.first_block(group.number), geometry.blocks_in(group.number));
        let whole_clusters = |range: ByteRange| {
            let start = range.start().saturating_sub(window.start());
            let end = range.end().saturating_sub(window.start()).div_ceil(cluster_bytes);
            let start = start.checked_div(cluster_bytes).unwrap_or_default();
            let byte = |cluster: u64| window.start().saturating_add(cluster.saturating_mul(cluster_bytes));
            ByteRange::new(byte(start), byte(end))
        };
        let own: RangeSet = self
            .metadata_of(group)
            .into_iter()
            .map(|range| range.intersection(window))
            .filter(|range| !range.is_empty())
            .map(whole_clusters)
            .collect();
        let used = own.total_bytes().checked_div(cluster_bytes).unwrap_or_default();
        self.check_free(group, self.clusters_in(group.number).saturating_sub(used))?;
        own.iter().for_each(|range| self.used.insert(range));
        Ok(())
    }

    fn clusters_in(&self, group: u64) -> u64 {
        self.geometry.blocks_in(group).div_ceil(self.geometry.cluster_blocks)
    }

    /// The kernel keeps the free count of a group together with its bitmap; the superblock's total is only
    /// written now and then, so it proves nothing.
    fn check_free(&self, group: &Group, free: u64) -> Result<(), Error> {
        if free == group.free_clusters {
            return Ok(());
        }
        let (number, stored) = (group.number, group.free_clusters);
        let unit = if self.geometry.cluster_blocks == 1 { "blocks" } else { "clusters" };
        let fact = format!(
            "group {number} has {stored} free {unit} by its descriptor but {free} by its bitmap; repair the \
             file system with e2fsck -f"
        );
        Err(Error::corrupt("ext group descriptor", group.at, fact))
    }

    fn finish(self, journal: &RangeSet) -> Result<Usage, Error> {
        let geometry = self.geometry;
        let sum = self.metadata.iter().fold(0u64, |sum, extents| sum.saturating_add(extents.total_bytes));
        let metadata: RangeSet = self.metadata.into_iter().flat_map(|extents| extents.ranges).collect();
        if metadata.total_bytes() != sum {
            let shared = sum.saturating_sub(metadata.total_bytes());
            let at = geometry.byte_of(geometry.descriptor_block(0));
            let fact = format!("superblocks, bitmaps or inode tables share {shared} bytes with each other");
            return Err(Error::corrupt("ext group descriptors", at, fact));
        }
        if let Some(range) = metadata.iter().chain(journal.iter()).find(|range| !self.used.contains(*range)) {
            let at = self.used.gaps(range).iter().next().map_or(range.start(), ByteRange::start);
            let fact = "the block bitmap calls a block free that holds metadata or the journal; repair the \
                        file system with e2fsck -f";
            return Err(Error::corrupt("ext metadata", at, fact));
        }
        let boot_bytes = SUPERBLOCK_AT.saturating_add(SUPERBLOCK_BYTES).max(geometry.block_bytes);
        let mut always = RangeSet::of(ByteRange::new(0, boot_bytes));
        if geometry.superblock.has_incompat(incompat::MMP) {
            always.insert(geometry.bytes_of(geometry.superblock.s_mmp_block, 1));
        }
        let mut used = self.used.union(&always);
        used.remove(ByteRange::new(geometry.size_bytes(), u64::MAX));
        Ok(Usage {
            used,
            free_blocks: self.free_clusters.saturating_mul(geometry.cluster_blocks),
            free_inodes: self.free_inodes,
        })
    }
}

/// How many of the first `count` bits are set.
fn count_set_bits(bits: &[u8], count: u64) -> u64 {
    let whole = usize_from(count / 8).min(bits.len());
    let (bytes, rest) = bits.split_at(whole);
    let ones: u64 = bytes.iter().map(|byte| u64::from(byte.count_ones())).sum();
    let tail = match (count % 8, rest.first()) {
        (left @ 1.., Some(byte)) => {
            let kept = byte.checked_shl(u32::try_from(8u64.saturating_sub(left)).unwrap_or(8)).unwrap_or(0);
            u64::from(kept.count_ones())
        }
        _ => 0,
    };
    ones.saturating_add(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_behind_the_count_are_not_counted() {
        assert_eq!(count_set_bits(&[0xFF, 0b1010_0110], 12), 10);
        assert_eq!(count_set_bits(&[0xFF, 0xFF], 16), 16);
        assert_eq!(count_set_bits(&[0xFF], 100), 8);
    }
}
