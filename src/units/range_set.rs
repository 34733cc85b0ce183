//! A set of bytes, kept as sorted ranges that neither touch nor overlap.
//!
//! This is the form of every used map: its memory grows with the number of extents, not with the disk.

use super::ByteRange;

/// Sorted, disjoint, non-adjacent, non-empty ranges.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RangeSet {
    ranges: Vec<ByteRange>,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The set of one range.
    #[must_use]
    pub fn of(range: ByteRange) -> Self {
        let mut set = Self::new();
        set.insert(range);
        set
    }

    /// Adds a range. Appending behind the last range is constant time; anywhere else costs a search and
    /// a move of the ranges behind it, so many unordered ranges are better collected with `from_iter`.
    pub fn insert(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        match self.ranges.last_mut() {
            None => self.ranges.push(range),
            Some(last) if last.end() < range.start() => self.ranges.push(range),
            Some(last) if last.start() <= range.start() => {
                *last = ByteRange::new(last.start(), last.end().max(range.end()));
            }
            Some(_) => self.insert_inside(range),
        }
    }

    fn insert_inside(&mut self, range: ByteRange) {
        let first = self.ranges.partition_point(|r| r.end() < range.start());
        let behind = self.ranges.partition_point(|r| r.start() <= range.end());
        let merged = self.ranges.get(first..behind).unwrap_or_default().iter().fold(range, |merged, r| {
            ByteRange::new(merged.start().min(r.start()), merged.end().max(r.end()))
        });
        self.ranges.splice(first..behind, [merged]);
    }

    /// Removes a range.
    pub fn remove(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|r| r.end() <= range.start());
        let behind = self.ranges.partition_point(|r| r.start() < range.end());
        let touched = self.ranges.get(first..behind).unwrap_or_default();
        let kept: Vec<ByteRange> = touched
            .iter()
            .flat_map(|r| {
                [
                    ByteRange::new(r.start(), r.end().min(range.start())),
                    ByteRange::new(r.start().max(range.end()), r.end()),
                ]
            })
            .filter(|r| !r.is_empty())
            .collect();
        self.ranges.splice(first..behind, kept);
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[ByteRange] {
        &self.ranges
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = ByteRange> + '_ {
        self.ranges.iter().copied()
    }

    /// Sum of the lengths in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, r| sum.saturating_add(r.length()))
    }

    /// True where no byte is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// First byte behind the last range; 0 for the empty set.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |r| r.end())
    }

    /// True where every byte of `range` is in the set.
    #[must_use]
    pub fn contains(&self, range: ByteRange) -> bool {
        range.is_empty() || self.within(range).next() == Some(range)
    }

    /// The parts of the set that lie in `window`, ascending; found by binary search.
    pub fn within(&self, window: ByteRange) -> impl Iterator<Item = ByteRange> + '_ {
        let first = self.ranges.partition_point(|r| r.end() <= window.start());
        self.ranges
            .get(first..)
            .unwrap_or_default()
            .iter()
            .take_while(move |r| r.start() < window.end())
            .map(move |r| r.intersection(window))
            .filter(|r| !r.is_empty())
    }

    /// The bytes of `window` that are not in the set, ascending.
    #[must_use]
    pub fn gaps(&self, window: ByteRange) -> Self {
        let mut gaps = Self::new();
        let mut position = window.start();
        for range in self.within(window) {
            gaps.insert(ByteRange::new(position, range.start()));
            position = range.end();
        }
        gaps.insert(ByteRange::new(position, window.end()));
        gaps
    }

    /// The bytes that are in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }
}

impl FromIterator<ByteRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = ByteRange>>(ranges: I) -> Self {
        let mut sorted: Vec<ByteRange> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut set = Self::new();
        for range in sorted {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = ByteRange> {
        (0u64..200, 0u64..40).prop_map(|(start, length)| ByteRange::new(start, start + length))
    }

    fn bytes_of(set: &RangeSet) -> Vec<u64> {
        set.iter().flat_map(|r| r.start()..r.end()).collect()
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_bytes(steps in proptest::collection::vec((any::<bool>(), range()), 0..30), window in range()) {
            let mut set = RangeSet::new();
            let mut model = std::collections::BTreeSet::new();
            for (insert, range) in &steps {
                if *insert {
                    set.insert(*range);
                    model.extend(range.start()..range.end());
                } else {
                    set.remove(*range);
                    model.retain(|byte| *byte < range.start() || *byte >= range.end());
                }
            }
            prop_assert_eq!(bytes_of(&set), model.iter().copied().collect::<Vec<_>>());
            prop_assert!(set.ranges().windows(2).all(|pair| pair[0].end() < pair[1].start()));
            let inside: Vec<u64> = set.within(window).flat_map(|r| r.start()..r.end()).collect();
            prop_assert_eq!(inside, model.range(window.start()..window.end()).copied().collect::<Vec<_>>());
            let gaps: Vec<u64> = bytes_of(&set.gaps(window));
            let expected: Vec<u64> = (window.start()..window.end()).filter(|byte| !model.contains(byte)).collect();
            prop_assert_eq!(gaps, expected);
        }

        #[test]
        fn the_order_of_insertion_does_not_matter(ranges in proptest::collection::vec(range(), 0..30)) {
            let mut one_by_one = RangeSet::new();
            for range in &ranges {
                one_by_one.insert(*range);
            }
            prop_assert_eq!(one_by_one, ranges.into_iter().collect::<RangeSet>());
        }
    }
}
