//! The blocks of the log: their cycles and the record headers among them, read in bounded pieces.

use super::super::super::Error;
use super::super::super::error::read_structure;
use crate::blockio::ReadAt;
use crate::units::{ByteRange, MIB, OutOfBounds, read_array, read_u8, read_u32be, usize_from};
use std::ops::Range;

pub(super) const STRUCTURE: &str = "XFS log";
/// `BBSIZE`: the log is counted in these whatever the sector size.
const BLOCK_BYTES: u64 = 512;
/// The log is read in pieces of this size.
const PIECE_BLOCKS: u64 = MIB / BLOCK_BYTES;
/// `XLOG_HEADER_MAGIC_NUM`
const HEADER_MAGIC: u32 = 0xFEED_BABE;
/// `XLOG_VERSION_2`
const VERSION_2: u32 = 2;
/// `XLOG_HEADER_CYCLE_SIZE`: the bytes of a record for which one header block has room.
const BYTES_PER_HEADER: u64 = 32 << 10;
/// `XLOG_UNMOUNT_TRANS`
const UNMOUNT_TRANS: u8 = 0x20;

/// The head of a record.
#[derive(Debug, Clone)]
pub(super) struct Header {
    version: u32,
    len: u32,
    pub(super) num_logops: u32,
    pub(super) fs_uuid: [u8; 16],
    size: u32,
}

impl Header {
    fn parse(block: &[u8]) -> Result<Self, OutOfBounds> {
        Ok(Self {
            version: read_u32be(block, 8)?,
            len: read_u32be(block, 12)?,
            num_logops: read_u32be(block, 40)?,
            fs_uuid: read_array(block, 304)?,
            size: read_u32be(block, 320)?,
        })
    }

    /// Blocks of the header itself.
    pub(super) fn header_blocks(&self, log_is_v2: bool) -> u64 {
        let size = u64::from(self.size);
        if log_is_v2 && self.version & VERSION_2 != 0 && size > BYTES_PER_HEADER {
            size.div_ceil(BYTES_PER_HEADER)
        } else {
            1
        }
    }

    /// Blocks of the whole record.
    pub(super) fn record_blocks(&self, log_is_v2: bool) -> u64 {
        self.header_blocks(log_is_v2).saturating_add(u64::from(self.len).div_ceil(BLOCK_BYTES))
    }
}

/// The log as numbered blocks.
pub(super) struct Blocks<'a> {
    volume: &'a dyn ReadAt,
    range: ByteRange,
}

impl<'a> Blocks<'a> {
    pub(super) const fn new(volume: &'a dyn ReadAt, range: ByteRange) -> Self {
        Self { volume, range }
    }

    pub(super) const fn count(&self) -> u64 {
        self.range.length() / BLOCK_BYTES
    }

    /// Where a block stands on the volume, in bytes.
    pub(super) const fn at(&self, block: u64) -> u64 {
        self.range.start().saturating_add(block.saturating_mul(BLOCK_BYTES))
    }

    fn read(&self, blocks: &Range<u64>) -> Result<Vec<u8>, Error> {
        let length = blocks.end.saturating_sub(blocks.start).saturating_mul(BLOCK_BYTES);
        read_structure(self.volume, STRUCTURE, self.at(blocks.start), usize_from(length))
    }

    /// The cycle that wrote a block.
    pub(super) fn cycle(&self, block: u64) -> Result<u32, Error> {
        let bytes = self.read(&(block..block.saturating_add(1)))?;
        cycle_of(&bytes).map_err(Error::short(STRUCTURE, self.at(block)))
    }

    /// The first of `blocks` that `cycle` wrote.
    pub(super) fn first_of_cycle(&self, blocks: Range<u64>, cycle: u32) -> Result<Option<u64>, Error> {
        self.first_where(blocks, |found| found == cycle)
    }

    /// The first block that is not of cycle 0.
    pub(super) fn first_written(&self) -> Result<Option<u64>, Error> {
        self.first_where(0..self.count(), |found| found != 0)
    }

    fn first_where(&self, blocks: Range<u64>, is: impl Fn(u32) -> bool) -> Result<Option<u64>, Error> {
        let mut from = blocks.start;
        while from < blocks.end {
            let to = from.saturating_add(PIECE_BLOCKS).min(blocks.end);
            let bytes = self.read(&(from..to))?;
            for (number, block) in (from..to).zip(bytes.chunks(usize_from(BLOCK_BYTES))) {
                if is(cycle_of(block).map_err(Error::short(STRUCTURE, self.at(number)))?) {
                    return Ok(Some(number));
                }
            }
            from = to;
        }
        Ok(None)
    }

    /// The last record header among `blocks`.
    pub(super) fn last_header(&self, blocks: Range<u64>) -> Result<Option<(u64, Header)>, Error> {
        let mut to = blocks.end;
        while to > blocks.start {
            let from = to.saturating_sub(PIECE_BLOCKS).max(blocks.start);
            let bytes = self.read(&(from..to))?;
            let found = (from..to)
                .zip(bytes.chunks(usize_from(BLOCK_BYTES)))
                .filter(|(_, block)| read_u32be(block, 0) == Ok(HEADER_MAGIC))
                .last();
            if let Some((number, block)) = found {
                let header = Header::parse(block).map_err(Error::short(STRUCTURE, self.at(number)))?;
                return Ok(Some((number, header)));
            }
            to = from;
        }
        Ok(None)
    }

    /// True where the first operation of a block of data is that of an unmount.
    pub(super) fn has_unmount_operation(&self, block: u64) -> Result<bool, Error> {
        let bytes = self.read(&(block..block.saturating_add(1)))?;
        let flags = read_u8(&bytes, 9).map_err(Error::short(STRUCTURE, self.at(block)))?;
        Ok(flags & UNMOUNT_TRANS != 0)
    }
}

fn cycle_of(block: &[u8]) -> Result<u32, OutOfBounds> {
    match read_u32be(block, 0)? {
        HEADER_MAGIC => read_u32be(block, 4),
        cycle => Ok(cycle),
    }
}
