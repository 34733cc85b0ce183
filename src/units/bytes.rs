//! Reading the fields of on-disk structures: every read is checked against the slice it reads from.

use super::u64_from;

/// A field that would lie outside the bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a field of {length} bytes at byte {at} lies outside a structure of {available} bytes")]
pub struct OutOfBounds {
    /// Offset of the field in bytes.
    pub at: u64,
    /// Length of the field in bytes.
    pub length: u64,
    /// Length of the structure in bytes.
    pub available: u64,
}

/// The `N` bytes at `at`.
pub fn read_array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], OutOfBounds> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(OutOfBounds {
        at: u64_from(at),
        length: u64_from(N),
        available: u64_from(bytes.len()),
    })
}

/// The `length` bytes at `at`.
pub fn read_slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], OutOfBounds> {
    at.checked_add(length).and_then(|end| bytes.get(at..end)).ok_or(OutOfBounds {
        at: u64_from(at),
        length: u64_from(length),
        available: u64_from(bytes.len()),
    })
}

/// The byte at `at`.
pub fn read_u8(bytes: &[u8], at: usize) -> Result<u8, OutOfBounds> {
    Ok(u8::from_le_bytes(read_array(bytes, at)?))
}

/// The little-endian `u16` at `at`.
pub fn read_u16le(bytes: &[u8], at: usize) -> Result<u16, OutOfBounds> {
    Ok(u16::from_le_bytes(read_array(bytes, at)?))
}

/// The little-endian `u32` at `at`.
pub fn read_u32le(bytes: &[u8], at: usize) -> Result<u32, OutOfBounds> {
    Ok(u32::from_le_bytes(read_array(bytes, at)?))
}

/// The little-endian `u64` at `at`.
pub fn read_u64le(bytes: &[u8], at: usize) -> Result<u64, OutOfBounds> {
    Ok(u64::from_le_bytes(read_array(bytes, at)?))
}

/// The big-endian `u16` at `at`.
pub fn read_u16be(bytes: &[u8], at: usize) -> Result<u16, OutOfBounds> {
    Ok(u16::from_be_bytes(read_array(bytes, at)?))
}

/// The big-endian `u32` at `at`.
pub fn read_u32be(bytes: &[u8], at: usize) -> Result<u32, OutOfBounds> {
    Ok(u32::from_be_bytes(read_array(bytes, at)?))
}

/// The big-endian `u64` at `at`.
pub fn read_u64be(bytes: &[u8], at: usize) -> Result<u64, OutOfBounds> {
    Ok(u64::from_be_bytes(read_array(bytes, at)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_their_byte_order() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(read_u16le(&bytes, 1), Ok(0x0302));
        assert_eq!(read_u32be(&bytes, 0), Ok(0x0102_0304));
        assert_eq!(read_u64le(&bytes, 0), Ok(0x0807_0605_0403_0201));
    }

    #[test]
    fn a_field_outside_the_structure_is_an_error() {
        let bytes = [0; 4];
        assert!(read_u32le(&bytes, 1).is_err());
        assert!(read_u8(&bytes, 4).is_err());
        assert!(read_slice(&bytes, usize::MAX, 2).is_err());
        assert_eq!(read_u64le(&bytes, 9), Err(OutOfBounds { at: 9, length: 8, available: 4 }));
    }
}
