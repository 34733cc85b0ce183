//! Cylinder, head and sector: three bytes that nothing but old boot code reads.

use crate::units::Lba;

/// Heads and sectors per track of the geometry that every disk of today claims.
const HEADS: u64 = 255;
const SECTORS_PER_TRACK: u64 = 63;
/// What stands where a sector is beyond cylinder 1023.
const BEYOND: [u8; 3] = [0xFE, 0xFF, 0xFF];
/// What UEFI 2.10 (table 5-4) puts in a protective entry instead.
pub(super) const BEYOND_PROTECTIVE: [u8; 3] = [0xFF, 0xFF, 0xFF];

/// The CHS address of a sector with 255 heads and 63 sectors per track; `FE FF FF` where it has none.
#[must_use]
pub fn chs_of(lba: Lba) -> [u8; 3] {
    chs_or(lba, BEYOND)
}

/// The CHS address of a sector, or what stands for "none".
pub(super) fn chs_or(lba: Lba, beyond: [u8; 3]) -> [u8; 3] {
    let (track, sector) = (lba.0 / SECTORS_PER_TRACK, (lba.0 % SECTORS_PER_TRACK).saturating_add(1));
    let (cylinder, head) = (track / HEADS, track % HEADS);
    let [low, high, ..] = cylinder.to_le_bytes();
    match (u8::try_from(head), u8::try_from(sector)) {
        (Ok(head), Ok(sector)) if cylinder < 1024 => [head, sector | high << 6, low],
        _ => beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_sfdisk_writes() {
        for (lba, chs) in [
            (0, [0x00, 0x01, 0x00]),
            (1, [0x00, 0x02, 0x00]),
            (2048, [0x20, 0x21, 0x00]),
            (24_576, [0x87, 0x07, 0x01]),
            (2_099_199, [0xAA, 0x28, 0x82]),
            (1024 * 255 * 63 - 1, [0xFE, 0xFF, 0xFF]),
            (u64::MAX, [0xFE, 0xFF, 0xFF]),
        ] {
            assert_eq!(chs_of(Lba(lba)), chs, "{lba}");
        }
    }
}
