//! The update sequence: how NTFS notices that a structure of several sectors was written in part only.
//!
//! The last two bytes of every 512 bytes, whatever the sector size, are replaced by a number; what stood
//! there is kept in an array behind that number.
//!
//! ```text
//! 0x00 magic   0x04 offset of the array   0x06 its entries: 1 + one for each 512 bytes
//! ```

use crate::filesystem::Error;
use crate::units::{OutOfBounds, read_array, read_slice, read_u16le, u64_from};

const STRIDE: usize = 512;

/// Checks a structure and puts the bytes back that its update sequence replaced.
pub(super) fn restore(structure: &'static str, at: u64, magic: &[u8], bytes: &mut [u8]) -> Result<(), Error> {
    let short = Error::short(structure, at);
    let found: [u8; 4] = read_array(bytes, 0).map_err(&short)?;
    if found != *magic {
        return Err(Error::corrupt(
            structure,
            at,
            format!(
                "it starts with {:?} instead of {:?}",
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(magic)
            ),
        ));
    }
    let (array_at, entries) = array(bytes).map_err(&short)?;
    let strides = bytes.len() / STRIDE;
    if entries != strides.saturating_add(1) {
        return Err(Error::corrupt(
            structure,
            at,
            format!("its update sequence has {entries} entries for {strides} times 512 bytes"),
        ));
    }
    let array = read_slice(bytes, array_at, entries.saturating_mul(2)).map_err(&short)?.to_vec();
    let (words, _) = array.as_chunks::<2>();
    let Some((number, kept)) = words.split_first() else { return Ok(()) };
    for (index, (block, kept)) in bytes.chunks_exact_mut(STRIDE).zip(kept).enumerate() {
        if let Some(end) = block.last_chunk_mut::<2>() {
            if end != number {
                let byte = at.saturating_add(u64_from(index).saturating_mul(u64_from(STRIDE)));
                return Err(Error::corrupt(
                    structure,
                    byte,
                    "its update sequence does not match: it was written in part only",
                ));
            }
            *end = *kept;
        }
    }
    Ok(())
}

/// Zeroes the update sequence, the only part in which two copies of a structure may differ.
pub(super) fn blank(bytes: &mut [u8]) {
    if let Ok((at, entries)) = array(bytes)
        && let Some(array) = at.checked_add(entries.saturating_mul(2)).and_then(|end| bytes.get_mut(at..end))
    {
        array.fill(0);
    }
}

fn array(bytes: &[u8]) -> Result<(usize, usize), OutOfBounds> {
    Ok((usize::from(read_u16le(bytes, 0x04)?), usize::from(read_u16le(bytes, 0x06)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected() -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[..8].copy_from_slice(&[b'F', b'I', b'L', b'E', 0x30, 0, 3, 0]);
        bytes[0x30..0x36].copy_from_slice(&[7, 0, 0xAA, 0xBB, 0xCC, 0xDD]);
        bytes[510..512].copy_from_slice(&[7, 0]);
        bytes[1022..].copy_from_slice(&[7, 0]);
        bytes
    }

    #[test]
    fn the_replaced_bytes_come_back() {
        let mut bytes = protected();
        restore("a record", 0, b"FILE", &mut bytes).unwrap();
        assert_eq!((&bytes[510..512], &bytes[1022..]), (&[0xAA, 0xBB][..], &[0xCC, 0xDD][..]));
    }

    #[test]
    fn a_torn_structure_is_refused() {
        let mut torn = protected();
        torn[1022] = 8;
        assert!(restore("a record", 0, b"FILE", &mut torn).is_err());
        let mut array_outside = protected();
        array_outside[5] = 0xFF;
        assert!(restore("a record", 0, b"FILE", &mut array_outside).is_err());
        assert!(restore("a record", 0, b"INDX", &mut protected()).is_err());
    }
}
