//! Cylinder, head and sector of a sector number, as MBR entries carry them for old boot code.

use crate::units::Lba;

/// The geometry that every BIOS translates large disks to.
const HEADS: u64 = 255;
const SECTORS_PER_TRACK: u64 = 63;
/// What stands for every sector that CHS cannot reach.
const BEYOND: [u8; 3] = [0xFE, 0xFF, 0xFF];

/// The three bytes of an MBR entry: head, sector with the high bits of the cylinder, cylinder.
pub(super) fn encode(lba: Lba) -> [u8; 3] {
    let track = lba.0 / SECTORS_PER_TRACK;
    let (cylinder, head, sector) = (track / HEADS, track % HEADS, lba.0 % SECTORS_PER_TRACK + 1);
    if cylinder > 1023 {
        return BEYOND;
    }
    let bytes = [head, sector | (cylinder >> 8) << 6, cylinder & 0xFF];
    bytes.map(|byte| u8::try_from(byte).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_fdisk() {
        assert_eq!(encode(Lba(63)), [1, 1, 0]);
        assert_eq!(encode(Lba(2048)), [32, 33, 0]);
        assert_eq!(encode(Lba(1024 * 255 * 63 - 1)), [254, 255, 255]);
        assert_eq!(encode(Lba(1024 * 255 * 63)), BEYOND);
        assert_eq!(encode(Lba(u64::MAX)), BEYOND);
    }
}
