//! The segment information table (SIT): which blocks of each segment of the main area are valid.
//!
//! Every block of it has two copies, and a bitmap in the checkpoint says which counts. Entries that changed last
//! stand in a journal in the checkpoint's summary instead. Offsets and names are those of `struct f2fs_sit_entry`
//! and `struct f2fs_journal` in the kernel's `include/linux/f2fs_fs.h`, rules those of its `check_block_count` and
//! `build_sit_entries`.

use super::checkpoint::{CP_COMPACT_SUM, Checkpoint};
use super::superblock::{Superblock, bytes_of};
use super::{BLOCK, BLOCK_BYTES, BLOCKS_PER_SEGMENT};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::bitmap::insert_set_bits;
use crate::filesystem::error::read_structure;
use crate::units::{RangeSet, read_slice, read_u16le, read_u32le, u64_from, usize_from};
use std::collections::BTreeMap;

const STRUCTURE: &str = "F2FS SIT";
const JOURNAL: &str = "F2FS SIT journal";
/// `sizeof(struct f2fs_sit_entry)`: `vblocks`, `valid_map`, `mtime`.
const ENTRY_BYTES: usize = 74;
/// `SIT_ENTRY_PER_BLOCK`
const ENTRIES_PER_BLOCK: u64 = 55;
/// `SIT_JOURNAL_ENTRIES`: an entry with the number of its segment before it.
const JOURNAL_ENTRIES: u16 = 6;
const JOURNAL_ENTRY_BYTES: usize = ENTRY_BYTES + 4;
/// `SUM_ENTRY_SIZE`: the journal follows the entries of a summary.
const JOURNAL_AT: usize = 3584;
/// `SUM_JOURNAL_SIZE`: in a compact summary it follows the journal of the NAT.
const COMPACT_JOURNAL_AT: usize = 507;
/// `NR_CURSEG_PERSIST_TYPE` and `NR_CURSEG_DATA_TYPE`: summary blocks of all logs, and of those of data.
const ALL_LOGS: u64 = 6;
const DATA_LOGS: u64 = 3;
/// `CURSEG_COLD_DATA`: its summary has the journal.
const COLD_DATA: u64 = 2;
/// Blocks of the table that are read at a time.
const PIECE_BLOCKS: u64 = 256;

/// What one entry says.
struct Entry {
    /// Highest bit of a byte first.
    valid_map: Vec<u8>,
    valid: u64,
    is_node: bool,
}

/// What is in use of the summary area and of the main area.
#[derive(Default)]
pub(super) struct Segments {
    pub(super) summaries: RangeSet,
    pub(super) blocks: RangeSet,
    valid: u64,
    valid_nodes: u64,
}

/// Reads the whole table.
pub(super) fn read(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    checkpoint: &Checkpoint,
) -> Result<Segments, Error> {
    let needed = superblock.segment_count_main.div_ceil(ENTRIES_PER_BLOCK);
    if needed > superblock.sit_blocks() {
        return Err(Error::corrupt(
            STRUCTURE,
            bytes_of(superblock.sit_blkaddr),
            format!(
                "{} blocks are too few for {} segments",
                superblock.sit_blocks(),
                superblock.segment_count_main
            ),
        ));
    }
    let journal = read_journal(volume, superblock, checkpoint)?;
    let bitmap = checkpoint.sit_bitmap(volume, superblock)?;
    let mut segments = Segments::default();
    let mut from = 0;
    while from < needed {
        let to = from.saturating_add(PIECE_BLOCKS).min(needed);
        let mut copies = [None, None];
        for block in from..to {
            let copy = usize::from(is_set(&bitmap, block));
            let Some(piece) = copies.get_mut(copy) else { continue };
            let start = copy_start(superblock, copy).saturating_add(from);
            let bytes = match piece {
                Some(bytes) => bytes,
                None => piece.insert(read_piece(volume, start, to.saturating_sub(from))?),
            };
            let offset = usize_from(block.saturating_sub(from)).saturating_mul(BLOCK);
            let at = bytes_of(start).saturating_add(u64_from(offset));
            let bytes = read_slice(bytes, offset, BLOCK).map_err(Error::short(STRUCTURE, at))?;
            segments.insert_block(superblock, &journal, block, bytes, at)?;
        }
        from = to;
    }
    segments.check(checkpoint)?;
    Ok(segments)
}

fn is_set(bitmap: &[u8], bit: u64) -> bool {
    bitmap.get(usize_from(bit / 8)).is_some_and(|byte| byte << (bit % 8) & 0x80 != 0)
}

fn copy_start(superblock: &Superblock, copy: usize) -> u64 {
    let skipped = if copy == 0 { 0 } else { superblock.sit_blocks() };
    superblock.sit_blkaddr.saturating_add(skipped)
}

fn read_piece(volume: &dyn ReadAt, start: u64, blocks: u64) -> Result<Vec<u8>, Error> {
    read_structure(volume, STRUCTURE, bytes_of(start), usize_from(bytes_of(blocks)))
}

/// The entries that count instead of those in the table.
fn read_journal(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    checkpoint: &Checkpoint,
) -> Result<BTreeMap<u64, Entry>, Error> {
    let (block, offset) = if checkpoint.has(CP_COMPACT_SUM) {
        (checkpoint.start.saturating_add(checkpoint.cp_pack_start_sum), COMPACT_JOURNAL_AT)
    } else {
        let logs = if checkpoint.has_node_summaries() { ALL_LOGS } else { DATA_LOGS };
        // Summaries end before the last block of the pack.
        let from_end = logs.saturating_add(1).saturating_sub(COLD_DATA);
        let from_start = checkpoint.cp_pack_total_block_count.saturating_sub(from_end);
        (checkpoint.start.saturating_add(from_start), JOURNAL_AT)
    };
    let at = bytes_of(block).saturating_add(u64_from(offset));
    let bytes = read_structure(volume, JOURNAL, bytes_of(block), BLOCK)?;
    let short = Error::short(JOURNAL, at);
    let n_sits = read_u16le(&bytes, offset).map_err(&short)?;
    if n_sits > JOURNAL_ENTRIES {
        return Err(Error::corrupt(JOURNAL, at, format!("it cannot have {n_sits} entries")));
    }
    let entries = bytes.get(offset.saturating_add(2)..).unwrap_or_default();
    let mut journal = BTreeMap::new();
    for entry in entries.chunks_exact(JOURNAL_ENTRY_BYTES).take(n_sits.into()) {
        let segment = u64::from(read_u32le(entry, 0).map_err(&short)?);
        if segment >= superblock.segment_count_main {
            return Err(Error::corrupt(JOURNAL, at, format!("there is no segment {segment}")));
        }
        let entry = Entry::parse(entry.get(4..).unwrap_or_default(), segment, JOURNAL, at)?;
        journal.insert(segment, entry);
    }
    Ok(journal)
}

impl Entry {
    fn parse(bytes: &[u8], segment: u64, structure: &'static str, at: u64) -> Result<Self, Error> {
        let short = Error::short(structure, at);
        let vblocks = read_u16le(bytes, 0).map_err(&short)?;
        let valid_map = read_slice(bytes, 2, 64).map_err(&short)?.to_vec();
        let counted = valid_map.iter().fold(0u64, |sum, byte| sum.saturating_add(byte.count_ones().into()));
        let valid = u64::from(vblocks & 0x3FF);
        let kind = vblocks >> 10;
        // Three logs of data, three of nodes.
        if valid != counted || kind > 5 {
            return Err(Error::corrupt(
                structure,
                at,
                format!(
                    "segment {segment} of type {kind} counts {valid} valid blocks, but its bitmap {counted}"
                ),
            ));
        }
        Ok(Self { valid_map, valid, is_node: kind >= 3 })
    }
}

impl Segments {
    /// Adds the segments of one block of the table.
    fn insert_block(
        &mut self,
        superblock: &Superblock,
        journal: &BTreeMap<u64, Entry>,
        block: u64,
        bytes: &[u8],
        at: u64,
    ) -> Result<(), Error> {
        let first = block.saturating_mul(ENTRIES_PER_BLOCK);
        let segments = first..first.saturating_add(ENTRIES_PER_BLOCK).min(superblock.segment_count_main);
        for (segment, entry) in segments.zip(bytes.chunks_exact(ENTRY_BYTES)) {
            match journal.get(&segment) {
                Some(entry) => self.insert(superblock, segment, entry),
                None => self.insert(superblock, segment, &Entry::parse(entry, segment, STRUCTURE, at)?),
            }
        }
        Ok(())
    }

    fn insert(&mut self, superblock: &Superblock, segment: u64, entry: &Entry) {
        if entry.valid == 0 {
            return;
        }
        self.summaries.insert(superblock.summary_of(segment));
        let bits: Vec<u8> = entry.valid_map.iter().map(|byte| byte.reverse_bits()).collect();
        let start = superblock.segment_start(segment);
        insert_set_bits(&mut self.blocks, &bits, start, BLOCKS_PER_SEGMENT, BLOCK_BYTES);
        self.valid = self.valid.saturating_add(entry.valid);
        if entry.is_node {
            self.valid_nodes = self.valid_nodes.saturating_add(entry.valid);
        }
    }

    /// The counts of the checkpoint. Blocks that are promised to a file and have no place yet are in
    /// `valid_block_count` too.
    fn check(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        if self.valid_nodes == checkpoint.valid_node_count && self.valid <= checkpoint.valid_block_count {
            return Ok(());
        }
        Err(Error::corrupt(
            STRUCTURE,
            bytes_of(checkpoint.start),
            format!(
                "it has {} valid blocks, {} of them nodes, but the checkpoint counts {} and {}",
                self.valid, self.valid_nodes, checkpoint.valid_block_count, checkpoint.valid_node_count
            ),
        ))
    }
}
