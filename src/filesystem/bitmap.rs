//! Allocation bitmaps, one bit a block, the lowest bit of a byte first (ext, NTFS, exFAT).

use crate::units::{ByteRange, RangeSet, u64_from};

/// Adds the blocks whose bits are set. Bit 0 of `bits` is block `first_block` of the volume; bits from
/// `count` on are ignored. Blocks whose end does not fit in 64 bits are ignored.
pub(super) fn insert_set_bits(
    used: &mut RangeSet,
    bits: &[u8],
    first_block: u64,
    count: u64,
    block_bytes: u64,
) {
    let mut run: Option<(u64, u64)> = None;
    let mut close = |run: Option<(u64, u64)>| {
        let bytes = run.and_then(|(from, to)| {
            let start = first_block.checked_add(from)?.checked_mul(block_bytes)?;
            let end = first_block.checked_add(to)?.checked_mul(block_bytes)?;
            Some(ByteRange::new(start, end))
        });
        if let Some(bytes) = bytes {
            used.insert(bytes);
        }
    };
    let count = count.min(u64_from(bits.len()).saturating_mul(8));
    let mut bit = 0u64;
    for &byte in bits {
        if bit >= count {
            break;
        }
        let end = bit.saturating_add(8).min(count);
        match (byte, run) {
            (0x00, None) => {}
            (0xFF, Some((from, to))) if to == bit => run = Some((from, end)),
            (0xFF, None) => run = Some((bit, end)),
            _ => {
                for (shift, position) in (bit..end).enumerate() {
                    if byte >> shift & 1 == 1 {
                        run = match run {
                            Some((from, to)) if to == position => Some((from, position.saturating_add(1))),
                            ended => {
                                close(ended);
                                Some((position, position.saturating_add(1)))
                            }
                        };
                    }
                }
                if let Some((_, to)) = run
                    && to < end
                {
                    close(run.take());
                }
            }
        }
        bit = end;
    }
    close(run);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_set_bit_becomes_its_block(bits in proptest::collection::vec(prop_oneof![Just(0u8), Just(255u8), any::<u8>()], 0..40), first in 0u64..100, cut in 0u64..330) {
            let mut used = RangeSet::new();
            insert_set_bits(&mut used, &bits, first, cut, 1024);
            let expected: RangeSet = (0..cut.min(u64_from(bits.len()) * 8))
                .filter(|bit| bits[usize::try_from(bit / 8).unwrap()] >> (bit % 8) & 1 == 1)
                .map(|bit| ByteRange::new((first + bit) * 1024, (first + bit + 1) * 1024))
                .collect();
            prop_assert_eq!(used, expected);
        }
    }
}
