//! The two checksums of ext metadata: crc32c (`metadata_csum`) and crc16 (`uninit_bg`).
//!
//! Neither is inverted at its end, and both start from a seed, as the kernel's `crc32c` and `crc16` do.

/// Reversed polynomial of crc32c (RFC 3720, appendix B.4).
const CRC32C: u32 = 0x82F6_3B78;
/// Reversed polynomial of crc16 (kernel, `lib/crc16.c`: 0x8005).
const CRC16: u32 = 0xA001;

static CRC32C_TABLES: [[u32; 256]; 8] = tables(CRC32C);
static CRC16_TABLES: [[u32; 256]; 8] = tables(CRC16);

/// Table `n` holds the remainders of a byte that is followed by `n` zero bytes.
#[expect(clippy::arithmetic_side_effects, reason = "evaluated at compile time, where overflow is an error")]
#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "evaluated at compile time")]
const fn tables(polynomial: u32) -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0usize;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ polynomial } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

fn look_up(table: &[u32; 256], byte: u8) -> u32 {
    table.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Eight bytes a step, for the bitmaps of a large file system are hundreds of megabytes.
fn update(tables: &[[u32; 256]; 8], seed: u32, bytes: &[u8]) -> u32 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = tables;
    let (words, rest) = bytes.as_chunks::<8>();
    let crc = words.iter().fold(seed, |crc, [b0, b1, b2, b3, b4, b5, b6, b7]| {
        let [c0, c1, c2, c3] = crc.to_le_bytes();
        look_up(t7, c0 ^ b0)
            ^ look_up(t6, c1 ^ b1)
            ^ look_up(t5, c2 ^ b2)
            ^ look_up(t4, c3 ^ b3)
            ^ look_up(t3, *b4)
            ^ look_up(t2, *b5)
            ^ look_up(t1, *b6)
            ^ look_up(t0, *b7)
    });
    rest.iter().fold(crc, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ look_up(t0, low ^ byte)
    })
}

/// Continues a crc32c from `seed`.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    update(&CRC32C_TABLES, seed, bytes)
}

/// Continues a crc16 from `seed`.
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    let [b0, b1, ..] = update(&CRC16_TABLES, seed.into(), bytes).to_le_bytes();
    u16::from_le_bytes([b0, b1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_values_come_out() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
        assert_eq!(crc32c(crc32c(7, b"12345"), b"6789abcdefghijk"), crc32c(7, b"123456789abcdefghijk"));
    }
}
