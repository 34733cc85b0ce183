//! The file allocation table: one entry a cluster, of 12, 16 or 32 bits.

use super::boot::BootSector;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, RangeSet, u64_from, usize_from};

const STRUCTURE: &str = "file allocation table";

/// Entries that are read at a time: even, so that a piece of 12-bit entries begins at a whole byte.
const PIECE_ENTRIES: u64 = 1 << 18;

/// What the table says about the file system as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Table {
    /// Entry 1: not shut down properly. FAT12 has no such bit.
    pub(super) says_dirty: bool,
    /// Entry 1: the disk failed to read or write.
    pub(super) says_errors: bool,
    /// The first cluster on which the copies do not agree.
    pub(super) first_difference: Option<u64>,
}

/// The bits of an entry that count, the value of a bad cluster, and the two bits of entry 1.
struct Width {
    bits: u64,
    mask: u32,
    bad: u32,
    clean: u32,
    no_errors: u32,
}

impl Width {
    fn of(kind: FileSystemKind) -> Self {
        match kind {
            FileSystemKind::Fat12 => Self { bits: 12, mask: 0xFFF, bad: 0xFF7, clean: 0, no_errors: 0 },
            FileSystemKind::Fat16 => {
                Self { bits: 16, mask: 0xFFFF, bad: 0xFFF7, clean: 0x8000, no_errors: 0x4000 }
            }
            // The upper four bits of a FAT32 entry are reserved.
            _ => Self {
                bits: 32,
                mask: 0x0FFF_FFFF,
                bad: 0x0FFF_FFF7,
                clean: 0x0800_0000,
                no_errors: 0x0400_0000,
            },
        }
    }

    fn bytes_of(&self, entries: u64) -> u64 {
        entries.saturating_mul(self.bits).div_ceil(8)
    }

    fn decode(&self, bytes: &[u8]) -> Vec<u32> {
        let mask = self.mask;
        match self.bits {
            12 => bytes
                .chunks(3)
                .flat_map(|part| {
                    let at = |index: usize| u32::from(part.get(index).copied().unwrap_or(0));
                    let both = at(0) | at(1) << 8 | at(2) << 16;
                    [both & mask, both >> 12]
                })
                .collect(),
            16 => {
                bytes.as_chunks::<2>().0.iter().map(|entry| u32::from(u16::from_le_bytes(*entry))).collect()
            }
            _ => bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_le_bytes(*entry) & mask).collect(),
        }
    }

    /// Entries `from..to` of one copy; the caller has bounded their number.
    fn read(
        &self,
        volume: &dyn ReadAt,
        boot: &BootSector,
        copy: u64,
        from: u64,
        to: u64,
    ) -> Result<Vec<u32>, Error> {
        let at = boot.table_start(copy).saturating_add(self.bytes_of(from));
        let count = to.saturating_sub(from);
        let bytes = read_structure(volume, STRUCTURE, at, usize_from(self.bytes_of(count)))?;
        let mut entries = self.decode(&bytes);
        entries.truncate(usize_from(count));
        Ok(entries)
    }
}

/// True where a copy of the table begins as every table does: entry 0 is the media byte under ones. This
/// tells a file system from the parameter block that a boot loader kept when it was written over one.
pub(super) fn begins_like_one(volume: &dyn ReadAt, boot: &BootSector) -> Result<bool, Error> {
    let width = Width::of(boot.kind);
    for copy in 0..boot.fats {
        if boot.table_start(copy).saturating_add(boot.fat_bytes) > volume.size_bytes() {
            return Ok(false);
        }
        let first = width.read(volume, boot, copy, 0, 2)?.first().copied().unwrap_or(0);
        if first >= width.mask & !0xF {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds the used clusters, piece by piece.
pub(super) fn read(volume: &dyn ReadAt, boot: &BootSector, used: &mut RangeSet) -> Result<Table, Error> {
    let width = Width::of(boot.kind);
    let mut table = Table::default();
    let entries = boot.clusters.saturating_add(2);
    let mut from = 0;
    while from < entries {
        let to = from.saturating_add(PIECE_ENTRIES).min(entries);
        let mut copies = Vec::new();
        for copy in 0..boot.fats {
            let values = width.read(volume, boot, copy, from, to)?;
            if from == 0
                && copy == boot.sole_table.unwrap_or(0)
                && let Some(flags) = values.get(1)
            {
                table.says_dirty = flags & width.clean != width.clean;
                table.says_errors = flags & width.no_errors != width.no_errors;
            }
            if !copies.contains(&values) {
                copies.push(values);
            }
        }
        let difference = insert_used(used, boot, &width, from, &copies);
        table.first_difference = table.first_difference.or(difference);
        from = to;
    }
    Ok(table)
}

/// Adds the used clusters of one piece and returns the first on which its different copies do not agree.
fn insert_used(
    used: &mut RangeSet,
    boot: &BootSector,
    width: &Width,
    from: u64,
    copies: &[Vec<u32>],
) -> Option<u64> {
    let (first, others) = copies.split_first()?;
    let is_used = |value: u32| value != 0 && value != width.bad;
    let mut difference = None;
    let mut run: Option<ByteRange> = None;
    for (index, value) in first.iter().enumerate() {
        let cluster = from.saturating_add(u64_from(index));
        // Entries 0 and 1 stand for no cluster.
        if cluster < 2 {
            continue;
        }
        let mut in_use = is_used(*value);
        for other in others.iter().filter_map(|copy| copy.get(index)) {
            in_use |= is_used(*other);
            if other != value && difference.is_none() {
                difference = Some(cluster);
            }
        }
        let start = boot.cluster_start(cluster);
        let end = start.saturating_add(boot.cluster_bytes);
        match (in_use, run) {
            (true, None) => run = Some(ByteRange::new(start, end)),
            (true, Some(open)) => run = Some(ByteRange::new(open.start(), end)),
            (false, Some(open)) => {
                used.insert(open);
                run = None;
            }
            (false, None) => {}
        }
    }
    if let Some(open) = run {
        used.insert(open);
    }
    difference
}

/// The entry of one cluster in the table that counts.
pub(super) fn next(volume: &dyn ReadAt, boot: &BootSector, cluster: u64) -> Result<u64, Error> {
    let even = cluster & !1;
    let copy = boot.sole_table.unwrap_or(0);
    let width = Width::of(boot.kind);
    let pair =
        width.read(volume, boot, copy, even, even.saturating_add(2).min(boot.clusters.saturating_add(2)))?;
    Ok(pair.get(usize_from(cluster & 1)).copied().map_or(0, u64::from))
}

/// True for an entry that ends a chain: the highest eight values.
pub(super) fn ends_chain(kind: FileSystemKind, value: u64) -> bool {
    value >= u64::from(Width::of(kind).mask & !7)
}
