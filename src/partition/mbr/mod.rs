//! The master boot record and the chain of extended boot records.
//!
//! ```text
//! 0    boot code        440 bytes
//! 440  disk signature   u32
//! 444  reserved         u16
//! 446  four entries     status u8, first CHS 3, type u8, last CHS 3, start u32, sectors u32
//! 510  55 AA
//! ```
//!
//! An extended boot record (EBR) has the same form: its first entry is a logical partition, its start
//! counted from the EBR; its second entry is the link to the next EBR, its start counted from the extended
//! partition.

mod chs;
mod hybrid;
mod judge;
mod read;
mod write;

pub use chs::chs_of;
pub(super) use hybrid::resize_protective;
pub use hybrid::{LostEntry, remap_hybrid};
pub(super) use judge::{SectorZero, judge};
pub(super) use read::read;
pub use write::moved;
pub(super) use write::{encode, sector_zero_piece};

use crate::units::{OutOfBounds, read_array, read_u8, read_u32le};

/// Offset of the four entries.
const ENTRIES_AT: usize = 446;
/// Size of one entry.
const ENTRY_BYTES: usize = 16;
/// Length of boot code before the disk signature.
const BOOT_CODE_BYTES: usize = 440;
/// Size of the record; the rest of a larger sector belongs to nobody.
pub(super) const RECORD_BYTES: usize = 512;
/// The last two bytes of a record.
const SIGNATURE: [u8; 2] = [0x55, 0xAA];
/// The type of a protective entry.
const TYPE_PROTECTIVE: u8 = 0xEE;

/// One entry of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Entry {
    status: u8,
    first_chs: [u8; 3],
    type_code: u8,
    last_chs: [u8; 3],
    start: u32,
    sectors: u32,
}

impl Entry {
    fn parse(bytes: &[u8]) -> Result<Self, OutOfBounds> {
        Ok(Self {
            status: read_u8(bytes, 0)?,
            first_chs: read_array(bytes, 1)?,
            type_code: read_u8(bytes, 4)?,
            last_chs: read_array(bytes, 5)?,
            start: read_u32le(bytes, 8)?,
            sectors: read_u32le(bytes, 12)?,
        })
    }

    fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let fields = [self.status]
            .into_iter()
            .chain(self.first_chs)
            .chain([self.type_code])
            .chain(self.last_chs)
            .chain(self.start.to_le_bytes())
            .chain(self.sectors.to_le_bytes());
        for (byte, value) in bytes.iter_mut().zip(fields) {
            *byte = value;
        }
        bytes
    }

    /// True where the entry names a partition with sectors.
    fn is_used(&self) -> bool {
        self.type_code != 0 && self.sectors != 0
    }

    /// First sector behind the partition.
    fn end(&self) -> u64 {
        u64::from(self.start).saturating_add(self.sectors.into())
    }
}

/// The four entries of a record; fewer where the record is cut short.
fn entries_of(record: &[u8]) -> Vec<Entry> {
    let table = record.get(ENTRIES_AT..).unwrap_or_default();
    table.chunks_exact(ENTRY_BYTES).take(4).filter_map(|bytes| Entry::parse(bytes).ok()).collect()
}

/// True where the record ends in 55AA.
fn is_signed(record: &[u8]) -> bool {
    record.get(510..RECORD_BYTES) == Some(SIGNATURE.as_slice())
}
