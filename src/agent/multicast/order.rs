//! Which chunks can be taken from a stream, where they are asked for in another order than it has.

use crate::image::{ChunkId, Sequence};
use crate::units::usize_from;

/// The positions that are listened for, of what is asked for in this order: as many as can be taken while the stream goes by,
/// ascending. The others are fetched. So nobody waits for what comes only when something else was taken.
pub(super) fn listened(sequence: &Sequence, asked: impl Iterator<Item = ChunkId>) -> Vec<u32> {
    let mut seen = vec![false; usize_from(sequence.total().into())];
    let first_times = asked.filter_map(|id| {
        let position = sequence.position_of(id)?;
        let seen = seen.get_mut(usize_from(position.into()))?;
        (!std::mem::replace(seen, true)).then_some(position)
    });
    longest_ascending(&first_times.collect::<Vec<u32>>())
}

/// A longest ascending part of different numbers: for each length the smallest number that such a part can end with, and for
/// each number the one before it (Schensted 1961).
fn longest_ascending(numbers: &[u32]) -> Vec<u32> {
    // Places in `numbers`.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    let at = |place: usize| numbers.get(place).copied();
    for (place, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| at(*end) < Some(*number));
        before.push(length.checked_sub(1).and_then(|shorter| ends.get(shorter).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = place,
            None => ends.push(place),
        }
    }
    let mut part = Vec::with_capacity(ends.len());
    let mut next = ends.last().copied();
    while let Some(place) = next {
        part.extend(at(place));
        next = before.get(place).copied().flatten();
    }
    part.reverse();
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Place;

    fn sequence(total: u8) -> Sequence {
        let place = |id: u8| Place { id: ChunkId([id; 32]), volume: 0, offset: id.into(), length: 1 };
        Sequence::new((0..total).map(place).collect())
    }

    fn of(asked: &[u8]) -> Vec<u32> {
        listened(&sequence(10), asked.iter().map(|id| ChunkId([*id; 32])))
    }

    #[test]
    fn what_comes_in_order_is_listened_for_and_the_rest_is_not() {
        assert_eq!(of(&[0, 1, 2, 3, 9]), [0, 1, 2, 3, 9]);
        assert_eq!(of(&[4, 5, 6, 7, 0, 1]), [4, 5, 6, 7], "two disks the other way round");
        assert_eq!(of(&[0, 1, 2, 8, 3, 4]), [0, 1, 2, 3, 4]);
        assert_eq!(of(&[3, 3, 77, 4, 3]), [3, 4], "once each, and not what is in no stream");
        assert_eq!(of(&[]), [0; 0]);
        assert_eq!(of(&[9, 8, 7]), [7]);
    }
}
