//! The checksums of version 5 metadata: CRC-32C over the structure with the field itself as zeros.

use super::super::Error;
use crate::units::checksum::crc32c;
use crate::units::{read_slice, read_u32le};

/// Compares the checksum at `field_at` (the only little-endian field of XFS) with the bytes.
pub(super) fn check(bytes: &[u8], field_at: usize, structure: &'static str, at: u64) -> Result<(), Error> {
    let short = Error::short(structure, at);
    let stored = read_u32le(bytes, field_at).map_err(&short)?;
    let before = read_slice(bytes, 0, field_at).map_err(&short)?;
    let behind = bytes.get(field_at.saturating_add(4)..).unwrap_or_default();
    let computed = !crc32c(crc32c(crc32c(!0, before), &[0; 4]), behind);
    if computed == stored {
        Ok(())
    } else {
        Err(Error::corrupt(
            structure,
            at,
            format!("its checksum is {stored:#010x}, but that of its bytes {computed:#010x}"),
        ))
    }
}
