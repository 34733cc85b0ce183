//! The file allocation table: the chains of clusters, and the clusters that the disk cannot read.

use super::boot::Boot;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, RangeSet, read_u32le, u64_from, usize_from};

const STRUCTURE: &str = "exFAT file allocation table";
const BAD_CLUSTER: u64 = 0xFFFF_FFF7;
const END_OF_CHAIN: u64 = 0xFFFF_FFFF;
/// Entries that are read at a time.
const PIECE_ENTRIES: u64 = 1 << 18;

/// The bytes of a chain from its first cluster on, in the order of the chain, as many as `length`.
pub(super) fn chain(
    volume: &dyn ReadAt,
    boot: &Boot,
    first: u64,
    length: u64,
) -> Result<Vec<ByteRange>, Error> {
    let mut parts = Vec::new();
    let mut cluster = first;
    let needed = length.div_ceil(boot.cluster_bytes.max(1));
    if needed > boot.clusters {
        return Err(corrupt(
            boot,
            first,
            format!("{length} bytes from cluster {first} on are more than there are"),
        ));
    }
    for position in 0..needed {
        let start = boot.cluster_start(cluster).ok_or_else(|| {
            corrupt(
                boot,
                first,
                format!("the chain from cluster {first} on ends at {cluster:#x} before its {length} bytes"),
            )
        })?;
        let taken =
            length.saturating_sub(position.saturating_mul(boot.cluster_bytes)).min(boot.cluster_bytes);
        parts.push(ByteRange::new(start, start.saturating_add(taken)));
        if position.saturating_add(1) < needed {
            cluster = next(volume, boot, cluster)?;
        }
    }
    Ok(parts)
}

/// The cluster that follows; no cluster's number at the end of a chain.
pub(super) fn next(volume: &dyn ReadAt, boot: &Boot, cluster: u64) -> Result<u64, Error> {
    let at = boot.entry_at(cluster);
    let entry = read_structure(volume, STRUCTURE, at, 4)?;
    Ok(read_u32le(&entry, 0).map_or(END_OF_CHAIN, u64::from))
}

/// Takes the bad clusters out of the used ones: they are what a disk cannot read, and hold nothing.
pub(super) fn remove_bad(volume: &dyn ReadAt, boot: &Boot, used: &mut RangeSet) -> Result<(), Error> {
    let end = boot.clusters.saturating_add(2);
    let mut from = 2;
    while from < end {
        let to = from.saturating_add(PIECE_ENTRIES).min(end);
        let length = usize_from(to.saturating_sub(from).saturating_mul(4));
        let entries = read_structure(volume, STRUCTURE, boot.entry_at(from), length)?;
        for (index, entry) in entries.as_chunks::<4>().0.iter().enumerate() {
            if u64::from(u32::from_le_bytes(*entry)) == BAD_CLUSTER
                && let Some(start) = boot.cluster_start(from.saturating_add(u64_from(index)))
            {
                used.remove(ByteRange::new(start, start.saturating_add(boot.cluster_bytes)));
            }
        }
        from = to;
    }
    Ok(())
}

fn corrupt(boot: &Boot, cluster: u64, fact: String) -> Error {
    Error::corrupt(STRUCTURE, boot.entry_at(cluster), fact)
}
