//! The database of an MBR disk at the end of a larger disk, where Windows puts it.
//!
//! Extents count from the start of the public region, and that stays: only the private headers name the place of the database.

use super::header::{self, Header};
use super::{Home, SECTOR_BYTES};
use crate::blockio::{ReadAt, read_vec};
use crate::filesystem::Error;
use crate::units::{ByteRange, u64_from, usize_from};

/// Bytes to be written to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// First byte on the disk.
    pub at: u64,
    /// What stands there.
    pub bytes: Vec<u8>,
}

/// What moves the private region of an MBR disk to the last sectors of the disk, in the order in which it is to be written, each
/// on stable storage before the next: the region with its headers, the first header, zeros where the region was. So the first
/// header always names a whole database. Where the old and the new place overlap it cannot: it is taken away before, and who
/// stops there has left no dynamic disk. Empty where the region is there already.
///
/// # Errors
/// [`Error::Io`] where the disk cannot be read, [`Error::Corrupt`] and [`Error::Unsupported`] where it has no header to believe.
pub fn moved_to_the_end(disk: &dyn ReadAt) -> Result<Vec<Piece>, Error> {
    let Header { public, private, copies, .. } = header::read(disk, Home::Disk)?;
    let first = header::first_at(Home::Disk).unwrap_or_default();
    let end = disk.size_bytes().checked_div(SECTOR_BYTES).unwrap_or_default().saturating_mul(SECTOR_BYTES);
    let start = end.saturating_sub(private.length());
    if start <= private.start() {
        return Ok(Vec::new());
    }
    let new = ByteRange::new(start, end);
    if public.overlaps(new) {
        return Err(Error::corrupt(header::STRUCTURE, first, format!("its public region is {public}")));
    }
    let read = |range: ByteRange| {
        let (structure, at) = ("private region", range.start());
        read_vec(disk, at, usize_from(range.length())).map_err(|source| Error::Io { structure, at, source })
    };
    let mut region = read(private)?;
    for copy in copies {
        let at = usize_from(copy.saturating_sub(private.start()));
        let sector = region.get_mut(at..at.saturating_add(usize_from(SECTOR_BYTES)));
        if let Some(sector) = sector.filter(|sector| sector.starts_with(b"PRIVHEAD"))
            && let Some(moved) = header::at_another_place(sector, start)
        {
            sector.copy_from_slice(&moved);
        }
    }
    let first_sector = read(ByteRange::new(first, first.saturating_add(SECTOR_BYTES)))?;
    let moved = header::at_another_place(&first_sector, start).unwrap_or(first_sector);
    let old = ByteRange::new(private.start(), private.end().min(start));
    let zeros = vec![0; usize_from(old.length()).min(region.len())];
    debug_assert_eq!(u64_from(zeros.len()), old.length());
    let nothing = Piece { at: first, bytes: vec![0; moved.len()] };
    let before = private.overlaps(new).then_some(nothing);
    let pieces = [
        Piece { at: start, bytes: region },
        Piece { at: first, bytes: moved },
        Piece { at: old.start(), bytes: zeros },
    ];
    Ok(before.into_iter().chain(pieces).collect())
}
