//! The index of a volume: which chunks make it, in order. A `.caibx` file of casync (`caformat.h`), byte for byte.
//!
//! ```text
//!   0  u64  48                     size of this header
//!   8  u64  0x96824d9c7b129ff9     CA_FORMAT_INDEX
//!  16  u64  feature flags          0: SHA-256; bit 61 would be SHA-512/256
//!  24  u64  chunk size: minimum, 32 average, 40 maximum
//!  48  u64  2^64-1                 size of the table: stands at its end
//!  56  u64  0xe75b9e112f17417d     CA_FORMAT_TABLE
//!  64  40 bytes per chunk          u64 end of the chunk in the volume, 32 bytes hash
//!      u64 0, u64 0, u64 48        tail: two zeros, where the index header ends
//!      u64  16 + 40 * chunks + 40  size of the table with its header and this tail
//!      u64  0x4b4f050e5549ecd1     CA_FORMAT_TABLE_TAIL_MARKER
//! ```

use super::{ChunkId, MAX_CHUNK_BYTES, MAX_CHUNKS};
use crate::units::{ByteRange, OutOfBounds, read_array, read_u64le, u64_from};

const INDEX_TYPE: u64 = 0x9682_4d9c_7b12_9ff9;
const TABLE_TYPE: u64 = 0xe75b_9e11_2f17_417d;
const TAIL_MARKER: u64 = 0x4b4f_050e_5549_ecd1;
const HEADER_BYTES: u64 = 48;
const TABLE_HEADER_BYTES: u64 = 16;
const ENTRIES_AT: usize = 64;
const ENTRY_BYTES: usize = 40;
const TAIL_BYTES: usize = 40;
const SHA512_256_FLAG: u64 = 0x2000_0000_0000_0000;
/// Flags about directories that casync sets on every index it makes; they say nothing about a volume.
const HARMLESS_FLAGS: u64 = 0xD000_0000_0000_0000;

/// One chunk of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// First byte of the volume behind the chunk.
    pub end_bytes: u64,
    /// Its content.
    pub id: ChunkId,
}

/// The sizes that chunks of an index have; the last chunk may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSizes {
    /// The smallest.
    pub minimum_bytes: u64,
    /// What a cutter aims at.
    pub average_bytes: u64,
    /// The largest.
    pub maximum_bytes: u64,
}

/// The chunks of one volume, in order and without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    sizes: ChunkSizes,
    entries: Vec<Entry>,
}

/// Why bytes are not an index, or an index cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The bytes contradict themselves or the format.
    #[error("corrupt index: {fact} (at byte {at})")]
    Corrupt {
        /// Position in the file.
        at: u64,
        /// The contradiction.
        fact: String,
    },
    /// A form of index that Remint does not read.
    #[error("an index with {fact}, which this version of Remint does not know")]
    Unsupported {
        /// Which form.
        fact: String,
    },
}

impl From<OutOfBounds> for IndexError {
    fn from(error: OutOfBounds) -> Self {
        Self::Corrupt { at: error.at, fact: error.to_string() }
    }
}

fn corrupt(at: usize, fact: impl Into<String>) -> IndexError {
    IndexError::Corrupt { at: u64_from(at), fact: fact.into() }
}

impl ChunkSizes {
    fn check(self) -> Result<(), IndexError> {
        let Self { minimum_bytes, average_bytes, maximum_bytes } = self;
        let ordered = 1 <= minimum_bytes && minimum_bytes <= average_bytes && average_bytes <= maximum_bytes;
        if ordered && maximum_bytes <= MAX_CHUNK_BYTES {
            return Ok(());
        }
        Err(corrupt(24, format!("chunk sizes of {minimum_bytes}, {average_bytes} and {maximum_bytes} bytes")))
    }
}

impl Index {
    /// An index of chunks that follow each other from byte 0 of the volume. `chunk_bytes` is the size at which
    /// the volume was cut.
    pub fn new(chunk_bytes: u64, entries: Vec<Entry>) -> Result<Self, IndexError> {
        let mut longest = chunk_bytes;
        let mut position = 0;
        for entry in &entries {
            longest = longest.max(entry.end_bytes.saturating_sub(position));
            position = entry.end_bytes;
        }
        let sizes =
            ChunkSizes { minimum_bytes: chunk_bytes, average_bytes: chunk_bytes, maximum_bytes: longest };
        Self { sizes, entries }.checked()
    }

    fn checked(self) -> Result<Self, IndexError> {
        self.sizes.check()?;
        if u64_from(self.entries.len()) > MAX_CHUNKS {
            return Err(corrupt(ENTRIES_AT, format!("{} chunks, beyond {MAX_CHUNKS}", self.entries.len())));
        }
        let mut position = 0;
        for (number, entry) in self.entries.iter().enumerate() {
            let length = entry.end_bytes.checked_sub(position).filter(|length| *length > 0);
            if length.is_none_or(|length| length > self.sizes.maximum_bytes) || entry.end_bytes == u64::MAX {
                let at = ENTRIES_AT.saturating_add(number.saturating_mul(ENTRY_BYTES));
                let fact = format!("chunk {number} reaches from byte {position} to {}", entry.end_bytes);
                return Err(corrupt(at, fact));
            }
            position = entry.end_bytes;
        }
        Ok(self)
    }

    /// The sizes that its chunks have.
    #[must_use]
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// Its chunks, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Its chunks, in order, without the index around them.
    #[must_use]
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Size of the volume.
    #[must_use]
    pub fn volume_bytes(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.end_bytes)
    }

    /// Its chunks and where they lie in the volume, in order.
    pub fn pieces(&self) -> impl Iterator<Item = (ByteRange, ChunkId)> + '_ {
        let starts = std::iter::once(0).chain(self.entries.iter().map(|entry| entry.end_bytes));
        starts.zip(&self.entries).map(|(start, entry)| (ByteRange::new(start, entry.end_bytes), entry.id))
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let table_bytes = self.entries.len().saturating_mul(ENTRY_BYTES).saturating_add(TAIL_BYTES);
        let mut out = Vec::with_capacity(table_bytes.saturating_add(ENTRIES_AT));
        let ChunkSizes { minimum_bytes, average_bytes, maximum_bytes } = self.sizes;
        let header = [HEADER_BYTES, INDEX_TYPE, 0, minimum_bytes, average_bytes, maximum_bytes];
        for field in header.into_iter().chain([u64::MAX, TABLE_TYPE]) {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for entry in &self.entries {
            out.extend_from_slice(&entry.end_bytes.to_le_bytes());
            out.extend_from_slice(&entry.id.0);
        }
        let table_bytes = u64_from(table_bytes).saturating_add(TABLE_HEADER_BYTES);
        for field in [0, 0, HEADER_BYTES, table_bytes, TAIL_MARKER] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out
    }

    /// Reads the bytes of a file.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let sizes = decode_header(bytes)?;
        let table = bytes
            .len()
            .checked_sub(ENTRIES_AT.saturating_add(TAIL_BYTES))
            .filter(|length| length.is_multiple_of(ENTRY_BYTES))
            .ok_or_else(|| corrupt(bytes.len(), "the file is not a whole number of entries long"))?;
        if u64_from(table / ENTRY_BYTES) > MAX_CHUNKS {
            return Err(corrupt(ENTRIES_AT, format!("more than {MAX_CHUNKS} chunks")));
        }
        let tail = ENTRIES_AT.saturating_add(table);
        decode_tail(bytes, tail)?;
        let mut entries = Vec::with_capacity(table / ENTRY_BYTES);
        for at in (ENTRIES_AT..tail).step_by(ENTRY_BYTES) {
            entries.push(Entry {
                end_bytes: read_u64le(bytes, at)?,
                id: ChunkId(read_array(bytes, at.saturating_add(8))?),
            });
        }
        Self { sizes, entries }.checked()
    }
}

fn decode_header(bytes: &[u8]) -> Result<ChunkSizes, IndexError> {
    for (at, expected) in [(0, HEADER_BYTES), (8, INDEX_TYPE), (48, u64::MAX), (56, TABLE_TYPE)] {
        if read_u64le(bytes, at)? != expected {
            return Err(corrupt(at, "not the header of a casync index"));
        }
    }
    let flags = read_u64le(bytes, 16)?;
    if flags & SHA512_256_FLAG != 0 {
        return Err(IndexError::Unsupported { fact: "SHA-512/256 digests".to_owned() });
    }
    if flags & !HARMLESS_FLAGS != 0 {
        return Err(IndexError::Unsupported { fact: format!("feature flags {flags:#x}") });
    }
    let sizes = ChunkSizes {
        minimum_bytes: read_u64le(bytes, 24)?,
        average_bytes: read_u64le(bytes, 32)?,
        maximum_bytes: read_u64le(bytes, 40)?,
    };
    sizes.check().map(|()| sizes)
}

fn decode_tail(bytes: &[u8], tail: usize) -> Result<(), IndexError> {
    let table_bytes = u64_from(bytes.len()).saturating_sub(HEADER_BYTES);
    for (offset, expected) in [(0, 0), (8, 0), (16, HEADER_BYTES), (24, table_bytes), (32, TAIL_MARKER)] {
        let at = tail.saturating_add(offset);
        if read_u64le(bytes, at)? != expected {
            return Err(corrupt(at, "not the tail of a casync index"));
        }
    }
    Ok(())
}
