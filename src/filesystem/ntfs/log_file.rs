//! `$LogFile`: was the volume dismounted?
//!
//! Two restart pages stand at its start. The page, then the restart area in it:
//!
//! ```text
//! page  0x00 "RSTR", or "CHKD" from chkdsk   0x08 LSN of chkdsk       0x10 size of the page
//!       0x18 offset of the area              0x1A minor version       0x1C major version
//! area  0x00 current LSN                     0x0C clients in use      0x0E flags: 2 clean dismount
//! ```
//!
//! The page with the higher LSN counts. ntfs-3g fills the whole log with 0xFF after a clean dismount.
//! Windows 8 and later write version 2.0 while a volume is in use and 1.1 on a full shutdown: 2.0 on the
//! disk means that metadata is still in the memory image of a Fast Startup, or was lost in a crash.

use super::attribute::kind;
use super::fixup;
use super::judgement::Judgement;
use super::mft::{Mft, number};
use super::stream::Stream;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::schema::State;
use crate::units::{OutOfBounds, read_array, read_u16le, read_u32le, read_u64le, usize_from};

const STRUCTURE: &str = "an NTFS $LogFile restart page";
const CLEAN_DISMOUNT: u16 = 0x0002;
const NO_CLIENT: u16 = 0xFFFF;
/// Restart pages have the page size of the system that wrote them, so no more than this.
const MAX_PAGE_BYTES: u64 = 64 << 10;
const WAY_OUT: &str = "start Windows once and shut it down with Shift held, or by `shutdown /s /t 0`";

/// The fields of a restart page and its area.
#[derive(Debug, Clone, Copy)]
struct RestartPage {
    lsn: u64,
    major_version: u16,
    minor_version: u16,
    client_in_use_list: u16,
    flags: u16,
}

/// Judges whether the log has to be replayed.
pub(super) fn judge(mft: &Mft<'_>, judgement: &mut Judgement) -> Result<(), Error> {
    let log = mft.system_stream(number::LOG_FILE, kind::DATA, "")?;
    if is_empty(mft.volume, &log)? {
        return Ok(());
    }
    let mut newest: Option<RestartPage> = None;
    let mut position = 0;
    while position <= MAX_PAGE_BYTES {
        match restart_page(mft.volume, &log, position) {
            Ok(Some(page)) if newest.is_none_or(|newest| page.lsn > newest.lsn) => newest = Some(page),
            Ok(_) => {}
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => judgement.worsen(State::Dirty, format!("{error}; {WAY_OUT}")),
        }
        position = if position == 0 { 512 } else { position.saturating_mul(2) };
    }
    let Some(page) = newest else {
        judgement
            .worsen(State::Dirty, format!("$LogFile has no valid restart page and is not empty; {WAY_OUT}"));
        return Ok(());
    };
    if page.major_version != 1 {
        judgement.worsen(
            State::Dirty,
            format!(
                "$LogFile has version {}.{}: Windows was not shut down fully (Fast Startup, or a crash) and holds \
                 changes that are not on the disk; {WAY_OUT}",
                page.major_version, page.minor_version
            ),
        );
    } else if page.client_in_use_list != NO_CLIENT && page.flags & CLEAN_DISMOUNT == 0 {
        judgement.worsen(
            State::Dirty,
            format!("the volume was not dismounted cleanly, its $LogFile has to be replayed; {WAY_OUT}"),
        );
    }
    Ok(())
}

/// True where the log was emptied: 0xFF as far as restart pages can reach.
fn is_empty(volume: &dyn ReadAt, log: &Stream) -> Result<bool, Error> {
    let length = log.data_bytes.min(MAX_PAGE_BYTES.saturating_mul(2));
    Ok(log.read(volume, "NTFS $LogFile", 0, usize_from(length))?.iter().all(|byte| *byte == 0xFF))
}

/// The restart page at a position of the log; `None` where there is none.
fn restart_page(volume: &dyn ReadAt, log: &Stream, position: u64) -> Result<Option<RestartPage>, Error> {
    if position.saturating_add(512) > log.data_bytes {
        return Ok(None);
    }
    let at = log.position(position);
    let head = log.read(volume, STRUCTURE, position, 512)?;
    let short = Error::short(STRUCTURE, at);
    let magic: [u8; 4] = read_array(&head, 0).map_err(&short)?;
    let by_chkdsk = magic == *b"CHKD";
    if !by_chkdsk && magic != *b"RSTR" {
        return Ok(None);
    }
    let page_bytes = u64::from(read_u32le(&head, 0x10).map_err(&short)?);
    if !page_bytes.is_power_of_two() || !(512..=MAX_PAGE_BYTES).contains(&page_bytes) {
        return Err(Error::corrupt(STRUCTURE, at, format!("a page of {page_bytes} bytes")));
    }
    let mut page = log.read(volume, STRUCTURE, position, usize_from(page_bytes))?;
    // chkdsk may leave a page without an update sequence.
    if !by_chkdsk || read_u16le(&page, 0x06).map_err(&short)? != 0 {
        fixup::restore(STRUCTURE, at, &magic, &mut page)?;
    }
    parse(&page, by_chkdsk).map(Some).map_err(&short)
}

fn parse(page: &[u8], by_chkdsk: bool) -> Result<RestartPage, OutOfBounds> {
    let area = usize::from(read_u16le(page, 0x18)?);
    Ok(RestartPage {
        lsn: read_u64le(page, if by_chkdsk { 0x08 } else { area })?,
        minor_version: read_u16le(page, 0x1A)?,
        major_version: read_u16le(page, 0x1C)?,
        client_in_use_list: read_u16le(page, area.saturating_add(0x0C))?,
        flags: read_u16le(page, area.saturating_add(0x0E))?,
    })
}
