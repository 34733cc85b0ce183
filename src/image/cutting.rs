//! The rule by which a volume is cut into chunks: aligned pieces of one size where a used byte lies, large
//! pieces of few distinct sizes where none does.
//!
//! Equal volumes are cut equally, so a machine shares its chunks with its next capture; and a free run of
//! terabytes costs an entry per 64 MiB and hardly a distinct chunk.

use super::{MAX_CHUNK_BYTES, MAX_CHUNKS};
use crate::units::{ByteRange, MIB, RangeSet};

/// The largest piece of free space; the largest zero chunk that anyone has to hash.
const LARGEST_FREE_BYTES: u64 = 64 * MIB;

/// A stretch of a volume that becomes one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it lies in the volume.
    pub range: ByteRange,
    /// True where it holds no used byte, so that its content is all zeros.
    pub free: bool,
}

/// The size at which a volume is cut: 1 MiB up to 2 TiB, twice that for each doubling beyond.
#[must_use]
pub fn chunk_bytes(volume_bytes: u64) -> u64 {
    let mut chunk_bytes = MIB;
    while chunk_bytes < MAX_CHUNK_BYTES && volume_bytes.div_ceil(chunk_bytes) > MAX_CHUNKS {
        chunk_bytes = chunk_bytes.saturating_mul(2);
    }
    chunk_bytes
}

/// Cuts a volume. The pieces cover it from its first byte to its last, in order; used ranges behind its end
/// are ignored.
#[must_use]
pub fn cut(volume_bytes: u64, used: &RangeSet) -> Cut<'_> {
    let chunk_bytes = chunk_bytes(volume_bytes);
    Cut { volume_bytes, chunk_bytes, used: used.ranges(), position: 0 }
}

/// The pieces of a volume, in order.
#[derive(Debug, Clone)]
pub struct Cut<'a> {
    volume_bytes: u64,
    chunk_bytes: u64,
    /// The used ranges that end behind `position`.
    used: &'a [ByteRange],
    /// Start of the next piece: a multiple of `chunk_bytes`, or the end of the volume.
    position: u64,
}

impl Cut<'_> {
    /// Start of the first cell at or behind the position that holds a used byte; or the end of the volume.
    fn next_used_cell(&mut self) -> u64 {
        while let Some((first, rest)) = self.used.split_first()
            && first.end() <= self.position
        {
            self.used = rest;
        }
        let Some(next) = self.used.first().filter(|next| next.start() < self.volume_bytes) else {
            return self.volume_bytes;
        };
        let in_cell = next.start() & self.chunk_bytes.saturating_sub(1);
        next.start().saturating_sub(in_cell).max(self.position)
    }

    /// End of the largest free piece at the position: a power of two, aligned to itself.
    fn free_end(&self, limit: u64) -> u64 {
        let room = limit.saturating_sub(self.position);
        let mut length = self.chunk_bytes.max(LARGEST_FREE_BYTES);
        while length > self.chunk_bytes && (length > room || self.position & length.saturating_sub(1) != 0) {
            length /= 2;
        }
        self.position.saturating_add(length.min(room))
    }
}

impl Iterator for Cut<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.position >= self.volume_bytes {
            return None;
        }
        let used_cell = self.next_used_cell();
        let free = used_cell > self.position;
        let end = if free {
            self.free_end(used_cell)
        } else {
            self.position.saturating_add(self.chunk_bytes).min(self.volume_bytes)
        };
        let range = ByteRange::new(self.position, end);
        self.position = end;
        Some(Piece { range, free })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{GIB, TIB};
    use proptest::prelude::*;

    fn used() -> impl Strategy<Value = RangeSet> {
        let range = (0..300 * MIB, prop_oneof![1..4096u64, 1..20 * MIB]);
        proptest::collection::vec(
            range.prop_map(|(start, length)| ByteRange::new(start, start + length)),
            0..12,
        )
        .prop_map(|ranges| ranges.into_iter().collect())
    }

    proptest! {
        #[test]
        fn pieces_cover_the_volume_and_free_ones_hold_nothing(volume in 1..260 * MIB, used in used()) {
            let mut position = 0;
            let mut data_bytes = 0;
            for piece in cut(volume, &used) {
                prop_assert_eq!(piece.range.start(), position);
                prop_assert!(!piece.range.is_empty());
                prop_assert_eq!(piece.free, used.within(piece.range).next().is_none());
                let last = piece.range.end() == volume;
                prop_assert!(last || piece.range.length().is_power_of_two());
                prop_assert!(last || piece.range.start() % piece.range.length() == 0);
                prop_assert!(last || piece.free || piece.range.length() == MIB);
                prop_assert!(piece.range.length() <= LARGEST_FREE_BYTES);
                data_bytes += if piece.free { 0 } else { piece.range.length() };
                position = piece.range.end();
            }
            prop_assert_eq!(position, volume);
            let inside: RangeSet = used.within(ByteRange::new(0, volume)).collect();
            prop_assert!(data_bytes <= inside.total_bytes() + 2 * MIB * u64::try_from(inside.ranges().len()).unwrap());
        }
    }

    #[test]
    fn an_index_stays_small_however_large_the_volume() {
        assert_eq!(chunk_bytes(0), MIB);
        assert_eq!(chunk_bytes(2 * TIB), MIB);
        assert_eq!(chunk_bytes(2 * TIB + 1), 2 * MIB);
        assert_eq!(chunk_bytes(16 * TIB), 8 * MIB);
        assert_eq!(chunk_bytes(256 * TIB), 128 * MIB);
        assert_eq!(chunk_bytes(u64::MAX), 128 * MIB);
        let used: RangeSet =
            [ByteRange::new(0, 1), ByteRange::new(9 * TIB, 9 * TIB + GIB)].into_iter().collect();
        assert!(cut(16 * TIB, &used).count() < 270_000);
        let lengths: std::collections::BTreeSet<u64> =
            cut(16 * TIB - 512, &used).filter(|piece| piece.free).map(|piece| piece.range.length()).collect();
        assert!(lengths.len() <= 8, "{lengths:?}");
        assert_eq!(cut(256 * TIB, &RangeSet::of(ByteRange::new(0, u64::MAX))).count(), 1 << 21);
    }

    #[test]
    fn the_last_piece_may_be_short() {
        let pieces: Vec<Piece> =
            cut(MIB + 512, &RangeSet::of(ByteRange::new(MIB + 511, MIB + 600))).collect();
        assert_eq!(
            pieces,
            [
                Piece { range: ByteRange::new(0, MIB), free: true },
                Piece { range: ByteRange::new(MIB, MIB + 512), free: false }
            ]
        );
        assert_eq!(cut(0, &RangeSet::new()).count(), 0);
    }
}
