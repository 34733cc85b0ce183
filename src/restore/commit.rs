//! What makes a disk recognisable, written last, and taken away again where a deploy fails.

use super::Error;
use super::preflight::Prepared;
use crate::blockio::WriteAt;
use crate::filesystem;
use crate::partition::Piece;
use crate::plan::{DiskPlan, VolumePlan};
use crate::units::{ByteRange, MIB};
use std::io;

/// Zeroes the first and the last MiB: the MBR, both GPTs, whole-disk file systems, and what arrays keep at
/// the end of a disk.
pub(super) fn clear_tables(target: &dyn WriteAt) -> io::Result<()> {
    let size = target.size_bytes();
    let first = ByteRange::new(0, size.min(MIB));
    let last = ByteRange::new(size.saturating_sub(MIB).max(first.end()), size);
    target.write_zeros(first)?;
    target.write_zeros(last)?;
    target.flush()
}

/// Writes the table. The pieces come in their order: sector 0, which firmware looks for first, is the last
/// and goes out only when the rest is on stable storage.
pub(super) fn write_table(disk: &DiskPlan, pieces: &[Piece], target: &dyn WriteAt) -> Result<(), Error> {
    let failed = |range: ByteRange| {
        move |source: io::Error| Error::Write { what: "writing the partition table".into(), range, source }
    };
    let whole = ByteRange::new(0, disk.target.size_bytes);
    let (last, before) = match pieces.split_last() {
        Some((last, before)) => (Some(last), before),
        None => (None, pieces),
    };
    for piece in before {
        target.write_at(piece.at, &piece.bytes).map_err(failed(piece_range(piece)))?;
    }
    target.flush().map_err(failed(whole))?;
    if let Some(piece) = last {
        target.write_at(piece.at, &piece.bytes).map_err(failed(piece_range(piece)))?;
    }
    target.flush().map_err(failed(whole))
}

fn piece_range(piece: &Piece) -> ByteRange {
    ByteRange::at(piece.at, crate::units::u64_from(piece.bytes.len())).unwrap_or_default()
}

/// Writes a new swap header with the captured UUID, label and page size.
pub(super) fn write_swap(
    prepared: &Prepared<'_>,
    disk: &DiskPlan,
    planned: &VolumePlan,
    target: &dyn WriteAt,
) -> Result<(), Error> {
    let captured = prepared.captured(disk, planned)?;
    let Some(swap) = captured.content.file_system() else {
        let fact = "the plan recreates swap where none was captured".to_owned();
        return Err(Error::Corrupt { what: planned.volume.clone(), fact });
    };
    let header = filesystem::swap_header(
        swap.block_size_bytes,
        planned.place.length(),
        swap.uuid.as_deref(),
        swap.label.as_deref(),
    );
    let header = header.map_err(|source| Error::Swap { volume: planned.volume.clone(), source })?;
    target.write_at(planned.place.start(), &header).map_err(|source| Error::Write {
        what: format!("writing the swap header of {}", planned.volume),
        range: planned.place,
        source,
    })
}
