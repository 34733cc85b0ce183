//! Whether a volume looks random from its start, as one does that is encrypted without a header.

use super::Error;
use super::error::read_structure;
use crate::blockio::ReadAt;
use crate::units::usize_from;

const SAMPLE_BYTES: u64 = 64 << 10;
const SAMPLE_BYTES_LEAST: u64 = 16 << 10;
/// Bounds of chi-squared over 256 values of a byte: 255 is expected, with a standard deviation of 22.6; six of those to
/// either side.
const CHI_SQUARED: std::ops::RangeInclusive<u64> = 120..=391;

/// True where every value of a byte is as frequent in the first 64 KiB as it is in noise. Compressed data mostly are not so
/// even, and begin with a header.
///
/// # Errors
/// [`Error::Io`] where the volume cannot be read.
pub fn looks_random(volume: &dyn ReadAt) -> Result<bool, Error> {
    let sample_bytes = SAMPLE_BYTES.min(volume.size_bytes());
    if sample_bytes < SAMPLE_BYTES_LEAST {
        return Ok(false);
    }
    let sample = read_structure(volume, "first bytes", 0, usize_from(sample_bytes))?;
    let mut counts = [0u64; 256];
    for byte in sample {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count = count.saturating_add(1);
        }
    }
    let squares = counts.iter().fold(0u64, |sum, count| sum.saturating_add(count.saturating_mul(*count)));
    let chi_squared =
        squares.saturating_mul(256).checked_div(sample_bytes).unwrap_or(0).saturating_sub(sample_bytes);
    Ok(CHI_SQUARED.contains(&chi_squared))
}

#[cfg(test)]
#[allow(clippy::as_conversions)]
mod tests {
    use super::*;
    use crate::blockio::{MemoryDisk, WriteAt};
    use proptest::prelude::{any, proptest};

    fn holding(bytes: &[u8]) -> bool {
        let disk = MemoryDisk::new(bytes.len() as u64);
        disk.write_at(0, bytes).unwrap();
        looks_random(&disk).unwrap()
    }

    proptest! {
        #[test]
        fn noise_looks_random(mut seed in any::<u64>()) {
            seed |= 1;
            let mut next = || {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                (seed >> 24) as u8
            };
            let noise: Vec<u8> = (0..1 << 17).map(|_| next()).collect();
            assert!(holding(&noise));
        }
    }

    #[test]
    fn what_is_no_noise_does_not() {
        assert!(!holding(&vec![0; 1 << 17]));
        let even: Vec<u8> = (0..1 << 17).map(|number: u32| number as u8).collect();
        assert!(!holding(&even), "every value as frequent as the others is too even");
        let text: Vec<u8> =
            b"The quick brown fox jumps over the lazy dog. ".iter().copied().cycle().take(1 << 17).collect();
        assert!(!holding(&text));
        assert!(!holding(&[0x5A; 512]), "too short to tell");
    }
}
