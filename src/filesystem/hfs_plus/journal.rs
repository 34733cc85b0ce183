//! The journal: where it is, and whether a transaction is in it.
//!
//! Offsets and names are those of `JournalInfoBlock` and `journal_header` in Apple's Technical Note 1150 and of
//! `hfs_journal.h` and `vfs_journal.h` in the sources of XNU.

use super::header::{Extent, Header};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, OutOfBounds, read_u32be, read_u32le, read_u64be, read_u64le};

const INFO: &str = "HFS+ journal info block";
const STRUCTURE: &str = "HFS+ journal header";
const INFO_BYTES: usize = 52;
const HEADER_BYTES: usize = 44;
/// `JOURNAL_HEADER_MAGIC` and `ENDIAN_MAGIC`
const MAGIC: u32 = 0x4A4E_4C78;
const ENDIAN: u32 = 0x1234_5678;
/// `flags`
const IN_FS: u32 = 1;
const ON_OTHER_DEVICE: u32 = 2;
const NEED_INIT: u32 = 4;

/// What is known about a journal.
pub(super) struct Journal {
    /// Its info block and itself.
    pub(super) places: Vec<ByteRange>,
    /// Why it is not at rest.
    pub(super) unfinished: Option<&'static str>,
}

/// Reads the journal of a volume that has one.
pub(super) fn read(volume: &dyn ReadAt, header: &Header) -> Result<Journal, Error> {
    if !header.is_journaled() {
        return Ok(Journal { places: Vec::new(), unfinished: None });
    }
    let block = Extent { start: header.journal_info_block, count: 1 };
    let Some(info_at) = header.bytes_of(block).filter(|_| header.journal_info_block > 0) else {
        return Err(Error::corrupt(
            INFO,
            0,
            format!("there is no block {} for it", header.journal_info_block),
        ));
    };
    let info = read_structure(volume, INFO, info_at.start(), INFO_BYTES)?;
    let short = Error::short(INFO, info_at.start());
    let flags = read_u32be(&info, 0).map_err(&short)?;
    if flags & ON_OTHER_DEVICE != 0 || flags & IN_FS == 0 {
        return Err(Error::unsupported(
            "its journal is on another device; capture both raw, while it is not mounted",
        ));
    }
    let offset = read_u64be(&info, 36).map_err(&short)?;
    let size = read_u64be(&info, 44).map_err(&short)?;
    let place = ByteRange::at(offset, size).filter(|place| !place.is_empty() && place.end() <= header.end());
    let Some(place) = place else {
        return Err(Error::corrupt(
            INFO,
            info_at.start(),
            format!("{size} bytes from byte {offset} on are no place for a journal"),
        ));
    };
    let unfinished = if flags & NEED_INIT != 0 { None } else { unfinished(volume, place)? };
    Ok(Journal { places: vec![info_at, place], unfinished })
}

fn unfinished(volume: &dyn ReadAt, place: ByteRange) -> Result<Option<&'static str>, Error> {
    let at = place.start();
    let bytes = read_structure(volume, STRUCTURE, at, HEADER_BYTES)?;
    let short = Error::short(STRUCTURE, at);
    // It has the byte order of the machine that wrote it.
    let is_big = read_u32be(&bytes, 4).map_err(&short)? == ENDIAN;
    let read = |offset: usize| -> Result<(u32, u64), OutOfBounds> {
        let long = if is_big { read_u64be(&bytes, offset)? } else { read_u64le(&bytes, offset)? };
        let word = if is_big { read_u32be(&bytes, offset)? } else { read_u32le(&bytes, offset)? };
        Ok((word, long))
    };
    let (magic, _) = read(0).map_err(&short)?;
    let (endian, _) = read(4).map_err(&short)?;
    let ((_, start), (_, end), (_, size)) =
        (read(8).map_err(&short)?, read(16).map_err(&short)?, read(24).map_err(&short)?);
    if magic != MAGIC || endian != ENDIAN || size > place.length() || start > size || end > size {
        return Err(Error::corrupt(
            STRUCTURE,
            at,
            format!(
                "magic number {magic:#010x}, start {start}, end {end} and size {size} are not those of a journal"
            ),
        ));
    }
    Ok((start != end).then_some("has transactions in its journal that a mount replays"))
}
