//! exFAT (Microsoft, "exFAT file system specification", 1.00).
//!
//! Invariants:
//!
//! - A cluster is used where the allocation bitmap says so; bad clusters, which it counts as used, are not read.
//! - The bitmap is believed only where it counts itself, the root directory and the up-case table as used.
//! - The sectors behind the last cluster belong to no cluster and are kept.
//! - There is no journal: what was not unmounted may have clusters that no file owns, or files without them.
//!
//! ```text
//! 0             12 sectors                  FatOffset   ClusterHeapOffset                 VolumeLength
//! | boot region | backup of it | alignment | FAT      | clusters 2, 3, ...       | tail |
//! ```

mod boot;
mod root;
mod table;

use self::boot::Boot;
use self::root::{Root, Stream};
use super::bitmap::insert_set_bits;
use super::error::read_structure;
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::{FileSystem, FileSystemKind, State};
use crate::units::{ByteRange, RangeSet, usize_from};

const BITMAP: &str = "exFAT allocation bitmap";
/// Bytes of the bitmap that are read at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// The up-case table maps at most 65536 characters of two bytes.
const MAX_UP_CASE_BYTES: u64 = 128 << 10;

/// Sees the boot sector.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(boot::is_there(volume)?.then_some(FileSystemKind::Exfat))
}

/// Reads the boot region, the root directory and the bitmap. Below the boot region, damage is a state of a
/// reading that still tells the serial number and the size.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let boot = Boot::read(volume)?;
    let root = match root::read(volume, &boot) {
        Err(error @ Error::Io { .. }) => return Err(error),
        root => root,
    };
    let label = root.as_ref().ok().and_then(|root| root.label.clone());
    let mut findings = boot.findings();
    let (state, used) = match root.and_then(|root| used_map(volume, &boot, &root)) {
        Ok(used) if findings.is_empty() => (State::Clean, Some(used)),
        Ok(_) => (State::Dirty, None),
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(error) => {
            findings.push(error.to_string());
            (State::Damaged, None)
        }
    };
    findings.extend(boot.backup_hint(volume)?);
    Ok(Reading {
        file_system: FileSystem {
            kind: FileSystemKind::Exfat,
            uuid: boot.serial,
            label,
            block_size_bytes: boot.cluster_bytes,
            size_bytes: boot.total_bytes,
            used_bytes: used.as_ref().map(RangeSet::total_bytes),
            minimum_bytes: boot.total_bytes,
            state,
            findings,
        },
        used,
    })
}

fn used_map(volume: &dyn ReadAt, boot: &Boot, root: &Root) -> Result<RangeSet, Error> {
    let entry = |stream: Option<Stream>, name: &str| {
        let at = root.clusters.first().map_or(boot.heap_start, |cluster| cluster.start());
        stream.ok_or_else(|| Error::corrupt("exFAT root directory", at, format!("it has no entry of {name}")))
    };
    let bitmap = entry(root.bitmap, "the allocation bitmap")?;
    let up_case_table = entry(root.up_case_table, "the up-case table")?;
    if up_case_table.data_length > MAX_UP_CASE_BYTES {
        return Err(Error::corrupt(
            "exFAT up-case table",
            boot.entry_at(up_case_table.first_cluster),
            format!("it cannot have {} bytes", up_case_table.data_length),
        ));
    }
    let needed = boot.clusters.div_ceil(8);
    if bitmap.data_length < needed {
        return Err(Error::corrupt(
            BITMAP,
            boot.entry_at(bitmap.first_cluster),
            format!("{} bytes are too few for {} clusters", bitmap.data_length, boot.clusters),
        ));
    }
    let bitmap = table::chain(volume, boot, bitmap.first_cluster, needed)?;
    let up_case_table = table::chain(volume, boot, up_case_table.first_cluster, up_case_table.data_length)?;
    let mut used = RangeSet::of(ByteRange::new(0, boot.heap_start));
    insert_clusters(volume, boot, &bitmap, &mut used)?;
    table::remove_bad(volume, boot, &mut used)?;
    for part in root.clusters.iter().chain(&bitmap).chain(&up_case_table) {
        if !used.contains(*part) {
            let fact = format!(
                "it says that {part} are free or bad, where it, the root directory or the up-case table is"
            );
            return Err(Error::corrupt(BITMAP, part.start(), fact));
        }
    }
    used.insert(ByteRange::new(boot.heap_end(), boot.total_bytes));
    Ok(used)
}

/// Adds the clusters whose bits are set in the bitmap, of which `parts` are the bytes.
fn insert_clusters(
    volume: &dyn ReadAt,
    boot: &Boot,
    parts: &[ByteRange],
    used: &mut RangeSet,
) -> Result<(), Error> {
    let mut first = 0u64;
    for part in parts {
        let mut at = part.start();
        while at < part.end() {
            let length = part.end().saturating_sub(at).min(PIECE_BYTES);
            let bits = read_structure(volume, BITMAP, at, usize_from(length))?;
            let count = boot.clusters.saturating_sub(first).min(length.saturating_mul(8));
            let mut clusters = RangeSet::new();
            insert_set_bits(&mut clusters, &bits, first, count, boot.cluster_bytes);
            for range in clusters.iter() {
                let from_heap = |offset: u64| boot.heap_start.saturating_add(offset);
                used.insert(ByteRange::new(from_heap(range.start()), from_heap(range.end())));
            }
            first = first.saturating_add(length.saturating_mul(8));
            at = at.saturating_add(length);
        }
    }
    Ok(())
}
