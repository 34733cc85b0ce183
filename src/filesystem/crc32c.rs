//! CRC-32C (Castagnoli), the checksum of XFS and ext4 metadata.

use std::sync::LazyLock;

/// The Castagnoli polynomial, bits reversed (RFC 3720, appendix B.4).
const POLYNOMIAL: u32 = 0x82F6_3B78;

static TABLE: LazyLock<[u32; 256]> = LazyLock::new(|| {
    let mut byte = 0u32;
    [(); 256].map(|()| {
        let entry = (0..8).fold(byte, |crc, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 });
        byte = byte.saturating_add(1);
        entry
    })
});

/// Continues a checksum over `bytes`. The seed is the state so far, `!0` to begin with; neither the seed nor
/// the result is inverted here, because XFS inverts the result and ext4 does not.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| {
        let index = usize::from(crc.to_le_bytes()[0] ^ byte);
        crc >> 8 ^ TABLE.get(index).copied().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_checksum_can_be_continued() {
        assert_eq!(crc32c(crc32c(!0, b"1234"), b"56789"), crc32c(!0, b"123456789"));
    }
}
