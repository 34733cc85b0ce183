//! The registry hives of Windows: read, and changed so that Windows, and every other reader, takes them for its own.
//!
//! From bytes to bytes. Facts are from M. Suhanov's description of the format ("Windows registry file format
//! specification"), and were compared with what `hivexml` and `reged` make of the same hives. Invariants:
//!
//! - Nothing that a hive says is believed before it was found to lie within it; every walk is bounded by the hive's size.
//! - A hive that waits for its log is not read: what it says may be half of a change.
//! - A change touches the cells that it is about, what they are counted in, and the header; all other bytes stay.
//!
//! ```text
//! | base block 4096: "regf", two sequence numbers, root, checksum | bin: "hbin", cells | bin | ... |
//! cell: | size, negative while it is in use | content |
//! nk (key) ─► list of subkeys (lf, lh, li; ri is a list of those) ─► nk
//!          └► list of values ─► vk (value) ─► data, or pieces of it (db)
//! ```

mod cells;
mod edit;
mod error;
mod keys;
mod new;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use keys::{Key, Value};

use cells::Bin;

/// Types of values.
pub const REG_SZ: u32 = 1;
/// Bytes.
pub const REG_BINARY: u32 = 3;
/// A number of 32 bits.
pub const REG_DWORD: u32 = 4;
/// Texts, each with its end, and an end behind them.
pub const REG_MULTI_SZ: u32 = 7;

/// Bytes of the header.
const BASE_BYTES: usize = 4096;
/// Larger data stands in pieces of so many bytes each ("big data"), which are read here and not written.
const PIECE_BYTES: usize = 16_344;

/// A hive in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hive {
    /// Header and bins; what followed the last bin is cut off.
    bytes: Vec<u8>,
    bins: Vec<Bin>,
    root: Key,
    changed: bool,
}

impl Hive {
    /// The key that all others are in.
    #[must_use]
    pub const fn root(&self) -> Key {
        self.root
    }

    /// True where something was changed.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        self.changed
    }
}
