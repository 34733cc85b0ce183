//! The CRC-32 of GPT headers and entry arrays (UEFI 2.10, 5.3.2: the one of Ethernet, polynomial 0x04C11DB7,
//! reflected).

use std::sync::LazyLock;

const POLYNOMIAL: u32 = 0xEDB8_8320;

static TABLE: LazyLock<Vec<u32>> = LazyLock::new(|| {
    (0..=255u32)
        .map(|byte| (0..8).fold(byte, |crc, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 }))
        .collect()
});

/// The checksum of `bytes`.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_check_value_of_the_crc_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
