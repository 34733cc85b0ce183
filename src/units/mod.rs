//! Quantities that cannot be mixed up: sectors, sector sizes, byte ranges, GUIDs; checksums of bytes; errors as text.
//!
//! Byte amounts are plain `u64` whose name ends in `_bytes`; sector numbers are [`Lba`] and can only be
//! turned into bytes by the [`SectorSize`] of their disk.

mod bytes;
mod causes;
pub mod checksum;
mod guid;
mod hex;
mod range;
mod range_set;
mod sector;
mod size;

pub use bytes::{
    OutOfBounds, read_array, read_slice, read_u8, read_u16be, read_u16le, read_u32be, read_u32le,
};
pub use bytes::{read_u64be, read_u64le};
pub use causes::with_causes;
pub use guid::{Guid, ParseGuidError};
pub use hex::{Hex, ParseHexError};
pub use range::ByteRange;
pub use range_set::RangeSet;
pub use sector::{Lba, SectorSize, UnsupportedSectorSize};
pub use size::{ParseSizeError, format_size, parse_size};

/// One kibibyte in bytes.
pub const KIB: u64 = 1 << 10;
/// One mebibyte in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte in bytes.
pub const GIB: u64 = 1 << 30;
/// One tebibyte in bytes.
pub const TIB: u64 = 1 << 40;

/// Widens a length or an index. Remint runs on 64-bit machines only, so nothing is lost.
#[must_use]
pub fn u64_from(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Narrows a byte amount to an index; saturates where `usize` is smaller, so that a bounds check fails
/// instead of a wrong element being read.
#[must_use]
pub fn usize_from(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
