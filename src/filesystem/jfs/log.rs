//! The superblock of the log, in its second page: whether something waits to be replayed.
//!
//! Offsets and names are those of `struct logsuper` in the kernel's `fs/jfs/jfs_logmgr.h`.

use super::{BLOCK_BYTES, PAGE};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, read_u32le};

const STRUCTURE: &str = "JFS log superblock";
/// `LOGMAGIC`
const MAGIC: u32 = 0x8765_4321;
/// `LOGREDONE`
const REDONE: u32 = 1;

/// Why the log is not at rest; Linux mounts nothing then.
pub(super) fn unfinished(volume: &dyn ReadAt, log: ByteRange) -> Result<Option<String>, Error> {
    let at = log.start().saturating_add(BLOCK_BYTES);
    let bytes = read_structure(volume, STRUCTURE, at, PAGE)?;
    let short = Error::short(STRUCTURE, at);
    let (magic, pages) = (read_u32le(&bytes, 0).map_err(&short)?, read_u32le(&bytes, 12).map_err(&short)?);
    let state = read_u32le(&bytes, 28).map_err(&short)?;
    if magic != MAGIC || u64::from(pages).saturating_mul(BLOCK_BYTES) > log.length() {
        return Err(Error::corrupt(
            STRUCTURE,
            at,
            format!("magic number {magic:#010x} and {pages} pages are not those of a log at {log}"),
        ));
    }
    Ok((state != REDONE).then(|| "has a log that waits for its replay".to_owned()))
}
