//! Whether a volume begins with a partition table of its own, as the disk of a virtual machine or a partitioned array does.

use super::Error;
use super::error::read_structure;
use crate::blockio::ReadAt;
use crate::units::{read_slice, read_u32le};

const RECORD_BYTES: usize = 512;
const ENTRIES: [usize; 4] = [446, 462, 478, 494];

/// Names the table, where there is one: a GPT for sectors of 512 or 4096 bytes, or an MBR whose partitions lie on the volume.
///
/// # Errors
/// [`Error::Io`] where the volume cannot be read.
pub fn nested_table(volume: &dyn ReadAt) -> Result<Option<&'static str>, Error> {
    for sector in [512u64, 4096] {
        if volume.size_bytes() >= sector.saturating_mul(2) {
            let header = read_structure(volume, "GPT header", sector, RECORD_BYTES)?;
            if header.starts_with(b"EFI PART") {
                return Ok(Some("GPT"));
            }
        }
    }
    if volume.size_bytes() < 512 {
        return Ok(None);
    }
    let record = read_structure(volume, "sector 0", 0, RECORD_BYTES)?;
    let sectors = volume.size_bytes() / 512;
    let entry = |at: usize| {
        let fields = read_slice(&record, at, 16).ok()?;
        let (start, length) = (read_u32le(fields, 8).ok()?, read_u32le(fields, 12).ok()?);
        let is_unused = fields.iter().all(|byte| *byte == 0);
        let is_sound = matches!(fields, [0 | 0x80, ..])
            && start != 0
            && length != 0
            && u64::from(start).saturating_add(length.into()) <= sectors;
        Some((is_unused, is_sound))
    };
    let entries: Vec<(bool, bool)> = ENTRIES.into_iter().filter_map(entry).collect();
    let is_table = read_slice(&record, 510, 2) == Ok([0x55, 0xAA].as_slice())
        && entries.iter().any(|(_, sound)| *sound)
        && entries.iter().all(|(unused, sound)| *unused || *sound);
    Ok(is_table.then_some("MBR"))
}
