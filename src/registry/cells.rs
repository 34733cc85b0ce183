//! The header, the bins and their cells.

use super::{BASE_BYTES, Error, Hive};
use crate::registry::keys::Key;
use crate::units::{OutOfBounds, read_array, read_u32le, usize_from};
use std::ops::Range;

const BIN_HEADER_BYTES: usize = 32;
const BIN_ALIGNMENT: usize = 4096;
/// Where the fields of the header stand.
const FIRST_SEQUENCE: usize = 4;
const SECOND_SEQUENCE: usize = 8;
const BINS_BYTES: usize = 40;
const CHECKSUM: usize = 508;
/// Offsets count from the first bin, in 31 bits: the highest marks what is volatile.
const MOST_BYTES: usize = 1 << 31;

/// The bytes of a bin in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bin(Range<usize>);

impl Hive {
    /// Takes a hive apart as far as its bins.
    ///
    /// # Errors
    /// Where it is none, waits for its log, or contradicts itself.
    pub fn read(mut bytes: Vec<u8>) -> Result<Self, Error> {
        let head: [u8; BASE_BYTES] = read_array(&bytes, 0).map_err(|_| Error::NotAHive)?;
        if !head.starts_with(b"regf") {
            return Err(Error::NotAHive);
        }
        let field = |at| read_u32le(&head, at).map_err(|error| outside("base block", 0, error));
        let sum = checksum(&head);
        if field(CHECKSUM)? != sum {
            let fact = format!("the checksum is {:08x} and should be {sum:08x}", field(CHECKSUM)?);
            return Err(Error::corrupt("base block", CHECKSUM, fact));
        }
        let (first, second) = (field(FIRST_SEQUENCE)?, field(SECOND_SEQUENCE)?);
        if first != second {
            return Err(Error::Dirty { first, second });
        }
        let (major, minor, kind, format) = (field(20)?, field(24)?, field(28)?, field(32)?);
        if major != 1 || !(3..=6).contains(&minor) || kind != 0 || format != 1 {
            return Err(Error::Unsupported(format!(
                "it is a hive of version {major}.{minor}, type {kind}, format {format}, which is not known here"
            )));
        }
        let length = usize_from(field(BINS_BYTES)?.into());
        let end = BASE_BYTES.saturating_add(length);
        if length == 0 || !length.is_multiple_of(BIN_ALIGNMENT) || length > MOST_BYTES || end > bytes.len() {
            let fact = format!("{length} bytes of bins in a file of {} bytes", bytes.len());
            return Err(Error::corrupt("base block", BINS_BYTES, fact));
        }
        bytes.truncate(end);
        let bins = bins(&bytes)?;
        let root = Key(field(36)?);
        let hive = Self { bytes, bins, root, changed: false };
        hive.node(root)?;
        Ok(hive)
    }

    /// The bytes of the hive: as they were where nothing was changed.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        if self.changed {
            let next = read_u32le(&self.bytes, FIRST_SEQUENCE).unwrap_or_default().wrapping_add(1);
            self.put(FIRST_SEQUENCE, &next.to_le_bytes());
            self.put(SECOND_SEQUENCE, &next.to_le_bytes());
            self.seal();
        }
        self.bytes
    }

    /// Puts the checksum right.
    pub(super) fn seal(&mut self) {
        let sum = checksum(&self.bytes);
        self.put(CHECKSUM, &sum.to_le_bytes());
    }

    /// Bytes of the file that a cell's content may take. The cell has to be in use.
    pub(super) fn cell(&self, offset: u32) -> Result<Range<usize>, Error> {
        let at = BASE_BYTES.saturating_add(usize_from(offset.into()));
        let bin = self.bin_of(at).ok_or_else(|| Error::corrupt("cell", at, "it lies in no bin"))?;
        let size = self.size_of_cell(at, bin)?;
        if size > 0 {
            return Err(Error::corrupt("cell", at, "it is not in use"));
        }
        Ok(at.saturating_add(4)..at.saturating_add(usize_from(size.unsigned_abs().into())))
    }

    fn bin_of(&self, at: usize) -> Option<&Bin> {
        let next = self.bins.partition_point(|bin| bin.0.start <= at);
        let bin = self.bins.get(next.checked_sub(1)?)?;
        (at >= bin.0.start.saturating_add(BIN_HEADER_BYTES) && at < bin.0.end && at.is_multiple_of(8))
            .then_some(bin)
    }

    /// The size of a cell as it stands there, found to lie in its bin.
    fn size_of_cell(&self, at: usize, bin: &Bin) -> Result<i32, Error> {
        let bytes = read_array(&self.bytes, at).map_err(|error| outside("cell", at, error))?;
        let size = i32::from_le_bytes(bytes);
        let length = usize_from(size.unsigned_abs().into());
        if length < 8 || !length.is_multiple_of(8) || at.saturating_add(length) > bin.0.end {
            return Err(Error::corrupt("cell", at, format!("its size is {size}")));
        }
        Ok(size)
    }

    /// Makes a cell for so many bytes, all zero. Returns its offset.
    pub(super) fn allocate(&mut self, content: usize) -> Result<u32, Error> {
        let size = content.saturating_add(4).next_multiple_of(8);
        let found = self.free_cell(size)?;
        let at = match found {
            Some(at) => at,
            None => self.add_bin(size)?,
        };
        let available = usize_from(u64::from(self.size_at(at)?.unsigned_abs()));
        let rest = available.saturating_sub(size);
        self.put_size(at, size, true)?;
        if rest > 0 {
            self.put_size(at.saturating_add(size), rest, false)?;
        }
        if let Some(content) = self.bytes.get_mut(at.saturating_add(4)..at.saturating_add(size)) {
            content.fill(0);
        }
        self.changed = true;
        let offset = u32::try_from(at.saturating_sub(BASE_BYTES));
        offset.map_err(|_| Error::Unsupported("the hive is full".to_owned()))
    }

    /// Gives a cell back.
    pub(super) fn free(&mut self, offset: u32) -> Result<(), Error> {
        let content = self.cell(offset)?;
        let at = content.start.saturating_sub(4);
        self.changed = true;
        self.put_size(at, content.end.saturating_sub(at), false)
    }

    fn free_cell(&self, size: usize) -> Result<Option<usize>, Error> {
        for bin in &self.bins {
            let mut at = bin.0.start.saturating_add(BIN_HEADER_BYTES);
            while at < bin.0.end {
                let found = self.size_of_cell(at, bin)?;
                let length = usize_from(found.unsigned_abs().into());
                // What would be left over is a cell too.
                if found > 0 && length >= size {
                    return Ok(Some(at));
                }
                at = at.saturating_add(length);
            }
        }
        Ok(None)
    }

    /// Adds a bin of one free cell, which has `size` bytes at least.
    fn add_bin(&mut self, size: usize) -> Result<usize, Error> {
        let start = self.bytes.len();
        let length = size.saturating_add(BIN_HEADER_BYTES).next_multiple_of(BIN_ALIGNMENT);
        let end = start.saturating_add(length);
        let full = || Error::Unsupported("the hive is full".to_owned());
        if end.saturating_sub(BASE_BYTES) > MOST_BYTES {
            return Err(full());
        }
        let number = |value: usize| u32::try_from(value).map_err(|_| full());
        self.bytes.resize(end, 0);
        self.put(start, b"hbin");
        self.put(start.saturating_add(4), &number(start.saturating_sub(BASE_BYTES))?.to_le_bytes());
        self.put(start.saturating_add(8), &number(length)?.to_le_bytes());
        self.put(BINS_BYTES, &number(end.saturating_sub(BASE_BYTES))?.to_le_bytes());
        self.bins.push(Bin(start..end));
        let at = start.saturating_add(BIN_HEADER_BYTES);
        self.put_size(at, length.saturating_sub(BIN_HEADER_BYTES), false)?;
        Ok(at)
    }

    fn size_at(&self, at: usize) -> Result<i32, Error> {
        read_array(&self.bytes, at).map(i32::from_le_bytes).map_err(|error| outside("cell", at, error))
    }

    fn put_size(&mut self, at: usize, size: usize, in_use: bool) -> Result<(), Error> {
        let size = i32::try_from(size).map_err(|_| Error::Unsupported("the hive is full".to_owned()))?;
        self.put(at, &(if in_use { -size } else { size }).to_le_bytes());
        Ok(())
    }

    /// Writes bytes at a place that was found to lie in the file.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    pub(super) fn at(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

/// Every bin, each where the one before it ends.
fn bins(bytes: &[u8]) -> Result<Vec<Bin>, Error> {
    let (mut bins, mut at) = (Vec::new(), BASE_BYTES);
    while at < bytes.len() {
        let header: [u8; BIN_HEADER_BYTES] =
            read_array(bytes, at).map_err(|error| outside("bin", at, error))?;
        let field = |from| read_u32le(&header, from).map_err(|error| outside("bin", at, error));
        let (offset, size) = (usize_from(field(4)?.into()), usize_from(field(8)?.into()));
        let end = at.saturating_add(size);
        let fits = size > 0 && size.is_multiple_of(BIN_ALIGNMENT) && end <= bytes.len();
        if !header.starts_with(b"hbin") || offset != at.saturating_sub(BASE_BYTES) || !fits {
            let fact = format!("it says that it lies at {offset} and has {size} bytes");
            return Err(Error::corrupt("bin", at, fact));
        }
        bins.push(Bin(at..end));
        at = end;
    }
    Ok(bins)
}

/// The exclusive or of the numbers in front of it. Windows writes neither 0 nor all ones.
fn checksum(base: &[u8]) -> u32 {
    let words = base.get(..CHECKSUM).unwrap_or_default().as_chunks::<4>().0;
    match words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word)) {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    }
}

pub(super) fn outside(structure: &'static str, at: usize, error: OutOfBounds) -> Error {
    Error::corrupt(structure, at, error.to_string())
}
