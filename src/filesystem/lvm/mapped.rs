//! A logical volume as a disk: stretches of its physical volume, one after the other.

use crate::blockio::{ReadAt, past_the_end};
use crate::units::{ByteRange, RangeSet, u64_from, usize_from};
use std::io;

/// The stretches of a physical volume that make up a logical one.
pub(super) struct Mapped<'a> {
    physical: &'a dyn ReadAt,
    /// Bytes of the logical volume, ascending and without holes, and where the first of them stands.
    pieces: Vec<(ByteRange, u64)>,
}

impl<'a> Mapped<'a> {
    pub(super) fn new(physical: &'a dyn ReadAt, places: &[ByteRange]) -> Self {
        let mut end = 0u64;
        let mut pieces = Vec::with_capacity(places.len());
        for place in places {
            let start = end;
            end = end.saturating_add(place.length());
            pieces.push((ByteRange::new(start, end), place.start()));
        }
        Self { physical, pieces }
    }

    /// The parts of a range, each with its place on the physical volume.
    fn parts(&self, range: ByteRange) -> impl Iterator<Item = (ByteRange, ByteRange)> {
        let first = self.pieces.partition_point(|(piece, _)| piece.end() <= range.start());
        let behind = self.pieces.get(first..).unwrap_or_default().iter();
        behind.take_while(move |(piece, _)| piece.start() < range.end()).filter_map(move |(piece, at)| {
            let part = piece.intersection(range);
            let start = at.checked_add(part.start().checked_sub(piece.start())?)?;
            Some((part, ByteRange::at(start, part.length())?))
        })
    }

    /// Ranges of the logical volume as ranges of the physical one.
    pub(super) fn on_physical(&self, ranges: &RangeSet) -> RangeSet {
        ranges.iter().flat_map(|range| self.parts(range)).map(|(_, place)| place).collect()
    }
}

impl ReadAt for Mapped<'_> {
    fn size_bytes(&self) -> u64 {
        self.pieces.last().map_or(0, |(piece, _)| piece.end())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = ByteRange::at(offset, u64_from(buffer.len())).ok_or_else(past_the_end)?;
        if range.end() > self.size_bytes() {
            return Err(past_the_end());
        }
        for (part, place) in self.parts(range) {
            let start = usize_from(part.start().saturating_sub(offset));
            let end = usize_from(part.end().saturating_sub(offset));
            self.physical.read_at(place.start(), buffer.get_mut(start..end).ok_or_else(past_the_end)?)?;
        }
        Ok(())
    }

    fn will_need(&self, range: ByteRange) {
        self.parts(range).for_each(|(_, place)| self.physical.will_need(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_read_as_one_and_found_again() {
        let bytes: Vec<u8> = (0..100).collect();
        let physical = bytes.as_slice();
        let mapped = Mapped::new(&physical, &[ByteRange::new(50, 60), ByteRange::new(10, 30)]);
        assert_eq!(mapped.size_bytes(), 30);
        let mut buffer = [0; 14];
        mapped.read_at(8, &mut buffer).unwrap();
        assert_eq!(buffer, [58, 59, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]);
        assert!(mapped.read_at(20, &mut buffer).is_err());
        let used: RangeSet = [ByteRange::new(9, 11), ByteRange::new(29, 30)].into_iter().collect();
        let places = [ByteRange::new(10, 11), ByteRange::new(29, 30), ByteRange::new(59, 60)];
        assert_eq!(mapped.on_physical(&used).ranges(), places);
    }
}
