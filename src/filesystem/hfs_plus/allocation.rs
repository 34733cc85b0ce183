//! The allocation file: a bit for every block, the highest bit of a byte first.

use super::header::Header;
use super::tree;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::bitmap::insert_set_bits;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, RangeSet, usize_from};

const STRUCTURE: &str = "HFS+ allocation file";
/// Bytes that are read at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// The bytes of all used blocks.
pub(super) fn read(volume: &dyn ReadAt, header: &Header, needed: &[ByteRange]) -> Result<RangeSet, Error> {
    let parts = parts(volume, header)?;
    let mut used = RangeSet::new();
    let mut first = 0u64;
    for part in &parts {
        let mut at = part.start();
        while at < part.end() && first < header.total_blocks {
            let length = part.end().saturating_sub(at).min(PIECE_BYTES);
            let bits = read_structure(volume, STRUCTURE, at, usize_from(length))?;
            let bits: Vec<u8> = bits.into_iter().map(u8::reverse_bits).collect();
            let count = header.total_blocks.saturating_sub(first).min(length.saturating_mul(8));
            insert_set_bits(&mut used, &bits, first, count, header.block_bytes);
            first = first.saturating_add(length.saturating_mul(8));
            at = at.saturating_add(length);
        }
    }
    check(header, &used, &parts, needed)?;
    Ok(used)
}

/// Where the file stands, in its order, as much of it as has bits.
fn parts(volume: &dyn ReadAt, header: &Header) -> Result<Vec<ByteRange>, Error> {
    let file = &header.allocation_file;
    let bytes = header.total_blocks.div_ceil(8);
    let blocks = bytes.div_ceil(header.block_bytes.max(1));
    let corrupt = |fact: String| Error::corrupt(STRUCTURE, super::header::AT, fact);
    if file.logical_size < bytes || file.total_blocks < blocks {
        return Err(corrupt(format!(
            "{} bytes in {} blocks are too few for {} blocks",
            file.logical_size, file.total_blocks, header.total_blocks
        )));
    }
    let mut all = file.extents.clone();
    let in_header = all.iter().fold(0u64, |sum, extent| sum.saturating_add(extent.count));
    if in_header < blocks {
        all.extend(tree::overflow(volume, header, in_header, blocks)?);
    }
    let found = all.iter().fold(0u64, |sum, extent| sum.saturating_add(extent.count));
    if found < blocks {
        return Err(corrupt(format!("only {found} of its {blocks} blocks were found")));
    }
    all.into_iter()
        .map(|extent| {
            let outside = || corrupt(format!("block {} and {} more are outside", extent.start, extent.count));
            header.bytes_of(extent).ok_or_else(outside)
        })
        .collect()
}

/// What the header counts, and what cannot be free.
fn check(header: &Header, used: &RangeSet, parts: &[ByteRange], needed: &[ByteRange]) -> Result<(), Error> {
    let at = parts.first().map_or(0, |part| part.start());
    let free_bytes = header.end().saturating_sub(used.total_bytes());
    if free_bytes != header.free_blocks.saturating_mul(header.block_bytes) {
        return Err(Error::corrupt(
            STRUCTURE,
            at,
            format!(
                "there are {free_bytes} free bytes, but the volume header counts {} free blocks of {} bytes",
                header.free_blocks, header.block_bytes
            ),
        ));
    }
    let special = header.special_files().into_iter().flat_map(|file| &file.extents);
    let special = special.map(|extent| header.bytes_of(*extent).unwrap_or(ByteRange::new(0, u64::MAX)));
    let head = ByteRange::new(0, super::header::AT.saturating_add(super::header::LENGTH));
    for place in special.chain(parts.iter().copied()).chain(needed.iter().copied()).chain([head]) {
        if !used.contains(place) {
            return Err(Error::corrupt(
                STRUCTURE,
                at,
                format!("it says that {place} are free, where the header, a special file or the journal is"),
            ));
        }
    }
    Ok(())
}
