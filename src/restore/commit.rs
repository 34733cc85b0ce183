//! What makes a disk recognisable, written last, and taken away again where a deploy fails.

use super::Error;
use super::preflight::Prepared;
use crate::blockio::WriteAt;
use crate::filesystem;
use crate::partition::{Piece, PieceRole};
use crate::plan::{DiskPlan, Stays, VolumeAction, VolumePlan};
use crate::schema::Volume;
use crate::units::{ByteRange, MIB, RangeSet};
use std::borrow::Cow;
use std::io;

/// What is tried once more in small pieces where it cannot be cleared as a whole.
const PIECE_BYTES: u64 = 4096;
/// After so many pieces that cannot be cleared either, a disk is given up: each may take it half a minute.
const MOST_BAD_PIECES: usize = 8;

/// Zeroes the first and the last MiB: the MBR, both GPTs, whole-disk file systems, and what arrays keep at
/// the end of a disk. What is `untouched` stays.
pub(super) fn clear_tables(untouched: &RangeSet, target: &dyn WriteAt) -> io::Result<()> {
    for range in ends(ByteRange::new(0, target.size_bytes()))
        .iter()
        .flat_map(|end| untouched.gaps(*end).ranges().to_vec())
    {
        target.write_zeros(range)?;
    }
    target.flush()
}

/// What is not cleared: what stays of the target, and the table by which it is reached meanwhile.
pub(super) fn untouched(disk: &DiskPlan, meanwhile: &[Piece]) -> RangeSet {
    let mut untouched = disk.spared();
    meanwhile.iter().for_each(|piece| untouched.insert(piece_range(piece)));
    untouched
}

/// Takes away from a disk that failed by what it would be recognised, as far as that can still be done: one bad
/// sector does not save the others. Where partitions stay, the table of only these is written again; where the
/// table stays, the partitions that were being written are emptied. The first error, where something was not done.
pub(super) fn clear_what_can_be(
    disk: &DiskPlan,
    meanwhile: &[Piece],
    target: &dyn WriteAt,
) -> io::Result<()> {
    let mut result = Ok(());
    for piece in meanwhile {
        result = result.and(target.write_at(piece.at, &piece.bytes));
    }
    let untouched = untouched(disk, meanwhile);
    let whole = ByteRange::new(0, target.size_bytes());
    let cleared: RangeSet = match disk.stays {
        Stays::Table { .. } => disk.volumes.iter().flat_map(|volume| ends(volume.place)).collect(),
        // A label of LVM is found without a table by those who look at the right place.
        Stays::Nothing | Stays::Partitions { .. } => {
            let labelled = disk.volumes.iter().filter(|v| v.action == VolumeAction::MakePhysicalVolume);
            ends(whole).into_iter().chain(labelled.flat_map(|volume| ends(volume.place))).collect()
        }
    };
    for range in cleared.iter().flat_map(|range| untouched.gaps(range).ranges().to_vec()) {
        result = result.and(clear_range(target, range));
    }
    result.and(target.flush())
}

/// Zeroes both ends of a volume, as far as that can be done. The first error, where something was not done.
pub(super) fn clear_ends(of: ByteRange, target: &dyn WriteAt) -> io::Result<()> {
    let mut result = Ok(());
    for range in ends(of).into_iter().filter(|range| !range.is_empty()) {
        result = result.and(clear_range(target, range));
    }
    result.and(target.flush())
}

fn clear_range(target: &dyn WriteAt, range: ByteRange) -> io::Result<()> {
    target.write_zeros(range).or_else(|_| clear_by_piece(target, range))
}

fn clear_by_piece(target: &dyn WriteAt, range: ByteRange) -> io::Result<()> {
    let mut result = Ok(());
    let mut bad = 0usize;
    let mut position = range.start();
    while position < range.end() && bad < MOST_BAD_PIECES {
        let piece = ByteRange::new(position, position.saturating_add(PIECE_BYTES).min(range.end()));
        let cleared = target.write_zeros(piece);
        bad = bad.saturating_add(cleared.is_err().into());
        result = result.and(cleared);
        position = piece.end();
    }
    result
}

/// The first and the last MiB of a disk or a partition.
pub(super) fn ends(of: ByteRange) -> [ByteRange; 2] {
    let first = ByteRange::new(of.start(), of.start().saturating_add(MIB).min(of.end()));
    [first, ByteRange::new(of.end().saturating_sub(MIB).max(first.end()), of.end())]
}

/// The pieces of a table with other code in sector 0.
pub(super) fn with_code<'a>(pieces: &'a [Piece], code: Option<&[u8]>) -> Cow<'a, [Piece]> {
    let Some(code) = code else { return Cow::Borrowed(pieces) };
    let mut pieces = pieces.to_vec();
    let sectors = pieces.iter_mut().filter(|piece| piece.role == PieceRole::BootSector);
    for place in sectors.filter_map(|piece| piece.bytes.get_mut(..code.len())) {
        place.copy_from_slice(code);
    }
    Cow::Owned(pieces)
}

/// Writes the table. The pieces come in their order: sector 0, which firmware looks for first, is the last
/// and goes out only when the rest is on stable storage. The backup of a GPT is there before its primary is touched,
/// so that one of the two is whole at any moment.
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
        if piece.role == PieceRole::BackupHeader {
            target.flush().map_err(failed(whole))?;
        }
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

/// Makes a new swap header with the captured UUID, label and page size.
pub(super) fn swap_header(captured: &Volume, planned: &VolumePlan) -> Result<Vec<u8>, Error> {
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
    header.map_err(|source| Error::Swap { volume: planned.volume.clone(), source })
}

/// Writes a swap header.
pub(super) fn write_swap(
    prepared: &Prepared<'_>,
    planned: &VolumePlan,
    target: &dyn WriteAt,
) -> Result<(), Error> {
    let header = swap_header(prepared.captured(planned)?, planned)?;
    target.write_at(planned.place.start(), &header).map_err(|source| Error::Write {
        what: format!("writing the swap header of {}", planned.volume),
        range: planned.place,
        source,
    })
}
