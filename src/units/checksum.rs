//! The cyclic redundancy checks of tables and file systems.
//!
//! Each continues from a seed, the state so far, and inverts neither the seed nor its result: formats begin
//! with other seeds, and not all invert at the end. Sixteen bytes a step, because the bitmaps of a large file
//! system are hundreds of megabytes.

use crc::{Algorithm, CRC_16_ARC, CRC_32_ISCSI, CRC_32_ISO_HDLC, Crc, Table};

const CRC32_PLAIN: Algorithm<u32> = Algorithm { xorout: 0, ..CRC_32_ISO_HDLC };
const CRC32C_PLAIN: Algorithm<u32> = Algorithm { xorout: 0, ..CRC_32_ISCSI };

static CRC16: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_ARC);
static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC32_PLAIN);
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC32C_PLAIN);

/// CRC-16/ARC, of ext4 group descriptors (kernel, `lib/crc16.c`).
#[must_use]
pub fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    // The crate takes the seed of a reflected checksum with its bits in the other order.
    let mut digest = CRC16.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// CRC-32 of Ethernet, of NILFS2 superblocks and, inverted, of GPTs.
#[must_use]
pub fn crc32(seed: u32, bytes: &[u8]) -> u32 {
    let mut digest = CRC32.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// CRC-32C of Castagnoli (RFC 3720, appendix B.4), of ext4 and XFS metadata.
#[must_use]
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let mut digest = CRC32C.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_catalogue_come_out() {
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
        assert_eq!(!crc32(!0, b"123456789"), 0xCBF4_3926);
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_checksum_can_be_continued_and_starts_from_any_seed() {
        let (long, (a, b)) = (b"123456789abcdefghijklmnopqrstuvwxyz", (7, 22));
        let (start, middle, end) = (&long[..a], &long[a..b], &long[b..]);
        for seed in [0, 7, 0x8000_0001, u32::MAX] {
            assert_eq!(crc32c(crc32c(crc32c(seed, start), middle), end), crc32c(seed, long));
            assert_eq!(crc32(crc32(crc32(seed, start), middle), end), crc32(seed, long));
            assert_eq!(crc32c(seed, b""), seed);
        }
        assert_eq!(crc16(crc16(0xFFFF, start), middle), crc16(0xFFFF, &long[..b]));
        assert_eq!(crc16(0x1234, b""), 0x1234);
    }
}
