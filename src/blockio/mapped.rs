//! Stretches of one or several disks, seen as one disk.

use super::{ReadAt, WriteAt, past_the_end};
use crate::units::{ByteRange, RangeSet, u64_from, usize_from};
use std::collections::BTreeMap;
use std::io;

/// Bytes of the whole that follow those of the stretch before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// How many.
    pub length_bytes: u64,
    /// Bytes after which the next column follows; not asked for where there is only one column.
    pub stripe_bytes: u64,
    /// Where they lie, as many bytes in each.
    pub columns: Vec<Column>,
}

/// Where a part of a stretch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Position of the disk.
    pub disk: usize,
    /// First byte on it.
    pub start_bytes: u64,
}

/// A disk of stretches. Nothing outside them can be reached.
#[derive(Debug, Clone)]
pub struct Mapped<D> {
    disks: Vec<D>,
    stretches: Vec<(ByteRange, Stretch)>,
}

/// A run of bytes that lies on one disk.
struct Run {
    /// Bytes of the whole.
    range: ByteRange,
    disk: usize,
    at: u64,
}

impl<D: ReadAt> Mapped<D> {
    /// Joins stretches; `InvalidInput` where one does not lie on its disk, or cannot be divided among its columns.
    pub fn new(disks: Vec<D>, stretches: Vec<Stretch>) -> io::Result<Self> {
        let mut placed = Vec::with_capacity(stretches.len());
        let mut end = 0u64;
        for stretch in stretches {
            let sizes = |column: &Column| disks.get(column.disk).map(ReadAt::size_bytes);
            let range = ByteRange::at(end, stretch.length_bytes).filter(|_| stretch.is_sound(sizes));
            let range = range.ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, "a stretch that does not lie on its disks")
            })?;
            end = range.end();
            placed.push((range, stretch));
        }
        Ok(Self { disks, stretches: placed })
    }

    /// Where the bytes of some ranges lie: the position of the disk and the bytes on it. What follows on each other in a column of a
    /// stretch is one piece, however many stripes and ranges it is.
    ///
    /// # Errors
    /// `UnexpectedEof` where a range is not wholly there.
    pub fn places(&self, ranges: &RangeSet) -> io::Result<Vec<(usize, ByteRange)>> {
        if ranges.end() > self.size_bytes() {
            return Err(past_the_end());
        }
        let mut places: Vec<(usize, ByteRange)> = Vec::new();
        // For each stretch and column, its last piece.
        let mut last: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        for range in ranges.iter() {
            let first = self.stretches.partition_point(|(stretch, _)| stretch.end() <= range.start());
            for (whole, stretch) in self.stretches.get(first..).unwrap_or_default() {
                let part = whole.intersection(range);
                if part.is_empty() {
                    break;
                }
                for (number, column) in (0u64..).zip(&stretch.columns) {
                    let bytes_before = |at: u64| {
                        let before = stretch.bytes_before(number, at.checked_sub(whole.start())?)?;
                        column.start_bytes.checked_add(before)
                    };
                    let ends = bytes_before(part.start()).zip(bytes_before(part.end()));
                    let (start, end) = ends.ok_or_else(past_the_end)?;
                    if start >= end {
                        continue;
                    }
                    let key = (whole.start(), number);
                    let before = last.get(&key).and_then(|position| places.get_mut(*position));
                    match before.filter(|(_, before)| before.end() == start) {
                        Some((_, before)) => *before = ByteRange::new(before.start(), end),
                        None => {
                            last.insert(key, places.len());
                            places.push((column.disk, ByteRange::new(start, end)));
                        }
                    }
                }
            }
        }
        Ok(places)
    }

    /// The runs of a range, in its order.
    fn runs(&self, range: ByteRange) -> io::Result<Runs<'_, D>> {
        if range.end() > self.size_bytes() {
            return Err(past_the_end());
        }
        let next = self.stretches.partition_point(|(stretch, _)| stretch.end() <= range.start());
        Ok(Runs { mapped: self, range, next })
    }

    fn disk(&self, run: &Run) -> io::Result<&D> {
        self.disks.get(run.disk).ok_or_else(past_the_end)
    }
}

impl Stretch {
    fn is_sound(&self, disk_bytes: impl Fn(&Column) -> Option<u64>) -> bool {
        let count = u64_from(self.columns.len());
        let Some(each) = self.length_bytes.checked_div(count) else { return false };
        let divides = count == 1 || each.checked_rem(self.stripe_bytes) == Some(0);
        let fits = |column: &Column| {
            let end = column.start_bytes.checked_add(each);
            end.zip(disk_bytes(column)).is_some_and(|(end, size)| end <= size)
        };
        each > 0
            && each.checked_mul(count) == Some(self.length_bytes)
            && divides
            && self.columns.iter().all(fits)
    }

    /// How many bytes of a column stand before a byte of the stretch.
    fn bytes_before(&self, column: u64, offset: u64) -> Option<u64> {
        let count = u64_from(self.columns.len());
        if count == 1 {
            return Some(offset);
        }
        let row_bytes = self.stripe_bytes.checked_mul(count)?;
        let whole = offset.checked_div(row_bytes)?.checked_mul(self.stripe_bytes)?;
        let rest = offset.checked_rem(row_bytes)?.saturating_sub(column.checked_mul(self.stripe_bytes)?);
        whole.checked_add(rest.min(self.stripe_bytes))
    }

    /// The column and the place in it of a byte of the stretch, and how many bytes follow there.
    fn locate(&self, offset: u64) -> Option<(Column, u64, u64)> {
        if let [column] = self.columns.as_slice() {
            return Some((*column, offset, self.length_bytes.checked_sub(offset)?));
        }
        let (stripe, within) =
            (offset.checked_div(self.stripe_bytes)?, offset.checked_rem(self.stripe_bytes)?);
        let count = u64_from(self.columns.len());
        let column = self.columns.get(usize_from(stripe.checked_rem(count)?))?;
        let at = stripe.checked_div(count)?.checked_mul(self.stripe_bytes)?.checked_add(within)?;
        Some((*column, at, self.stripe_bytes.checked_sub(within)?))
    }
}

struct Runs<'a, D> {
    mapped: &'a Mapped<D>,
    /// What is left.
    range: ByteRange,
    next: usize,
}

impl<D> Iterator for Runs<'_, D> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if self.range.is_empty() {
            return None;
        }
        let (whole, stretch) = self.mapped.stretches.get(self.next)?;
        let start = self.range.start();
        let (column, at, follow) = stretch.locate(start.checked_sub(whole.start())?)?;
        let end = start.checked_add(follow)?.min(self.range.end()).min(whole.end());
        self.range = ByteRange::new(end, self.range.end());
        if end >= whole.end() {
            self.next = self.next.saturating_add(1);
        }
        let at = column.start_bytes.checked_add(at)?;
        Some(Run { range: ByteRange::new(start, end), disk: column.disk, at })
    }
}

impl<D: ReadAt> ReadAt for Mapped<D> {
    fn size_bytes(&self) -> u64 {
        self.stretches.last().map_or(0, |(range, _)| range.end())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let whole = ByteRange::at(offset, u64_from(buffer.len())).ok_or_else(past_the_end)?;
        let mut rest = buffer;
        for run in self.runs(whole)? {
            let length = usize_from(run.range.length());
            let (part, behind) = rest.split_at_mut_checked(length).ok_or_else(past_the_end)?;
            self.disk(&run)?.read_at(run.at, part)?;
            rest = behind;
        }
        Ok(())
    }

    fn will_need(&self, range: ByteRange) {
        for run in self.runs(range).into_iter().flatten() {
            if let (Ok(disk), Some(place)) = (self.disk(&run), ByteRange::at(run.at, run.range.length())) {
                disk.will_need(place);
            }
        }
    }
}

impl<D: WriteAt> Mapped<D> {
    fn each_run(&self, range: ByteRange, act: impl Fn(&D, ByteRange) -> io::Result<()>) -> io::Result<()> {
        for run in self.runs(range)? {
            let place = ByteRange::at(run.at, run.range.length()).ok_or_else(past_the_end)?;
            act(self.disk(&run)?, place)?;
        }
        Ok(())
    }
}

impl<D: WriteAt> WriteAt for Mapped<D> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let whole = ByteRange::at(offset, u64_from(bytes.len())).ok_or_else(past_the_end)?;
        let mut rest = bytes;
        for run in self.runs(whole)? {
            let (part, behind) =
                rest.split_at_checked(usize_from(run.range.length())).ok_or_else(past_the_end)?;
            self.disk(&run)?.write_at(run.at, part)?;
            rest = behind;
        }
        Ok(())
    }

    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        self.each_run(range, WriteAt::write_zeros)
    }

    fn discard(&self, range: ByteRange) -> io::Result<()> {
        self.each_run(range, WriteAt::discard)
    }

    fn flush(&self) -> io::Result<()> {
        self.disks.iter().try_for_each(WriteAt::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::{MemoryDisk, read_vec};
    use proptest::prelude::*;

    fn stretch(length_bytes: u64, stripe_bytes: u64, columns: &[(usize, u64)]) -> Stretch {
        let columns =
            columns.iter().map(|(disk, start_bytes)| Column { disk: *disk, start_bytes: *start_bytes });
        Stretch { length_bytes, stripe_bytes, columns: columns.collect() }
    }

    #[test]
    fn stretches_and_stripes_are_read_in_their_order() {
        let bytes: Vec<u8> = (0..100).collect();
        let (one, other) = (bytes.as_slice(), &bytes[..50]);
        let stretches = vec![stretch(10, 0, &[(0, 50)]), stretch(12, 3, &[(1, 20), (0, 0)])];
        let mapped = Mapped::new(vec![&one, &other], stretches).unwrap();
        assert_eq!(mapped.size_bytes(), 22);
        let whole = read_vec(&mapped, 0, 22).unwrap();
        assert_eq!(whole[..10], bytes[50..60]);
        assert_eq!(whole[10..], [20, 21, 22, 0, 1, 2, 23, 24, 25, 3, 4, 5]);
        assert_eq!(read_vec(&mapped, 9, 6).unwrap(), [59, 20, 21, 22, 0, 1]);
        assert!(mapped.read_at(20, &mut [0; 3]).is_err());
    }

    #[test]
    fn what_follows_in_a_column_is_one_piece() {
        let disk = MemoryDisk::new(100);
        let stretches = vec![stretch(8, 0, &[(0, 90)]), stretch(40, 4, &[(0, 10), (0, 50)])];
        let mapped = Mapped::new(vec![&disk], stretches).unwrap();
        // The last two bytes of the first stretch, and four stripes of the first column.
        let used = [(6, 12), (16, 20), (24, 28), (40, 44)].map(|(start, end)| ByteRange::new(start, end));
        let places = mapped.places(&used.into_iter().collect()).unwrap();
        let expected = [(96, 98), (10, 22), (26, 30)].map(|(start, end)| (0, ByteRange::new(start, end)));
        assert_eq!(places, expected);
    }

    #[test]
    fn what_does_not_lie_on_its_disks_is_refused() {
        let disk = MemoryDisk::new(100);
        for wrong in [
            stretch(10, 0, &[(1, 0)]),
            stretch(10, 0, &[(0, 91)]),
            stretch(0, 0, &[(0, 0)]),
            stretch(10, 0, &[]),
            stretch(9, 3, &[(0, 0), (0, 50)]),
            stretch(8, 3, &[(0, 0), (0, 50)]),
            stretch(8, 0, &[(0, 0), (0, 50)]),
            stretch(u64::MAX, 1, &[(0, u64::MAX)]),
        ] {
            assert!(Mapped::new(vec![&disk], vec![wrong.clone()]).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn places_are_where_the_bytes_are_read_from(start in 0u64..60, length in 0u64..60) {
            let (one, other) = (MemoryDisk::from_bytes(&[1; 80]), MemoryDisk::from_bytes(&[1; 80]));
            let stretches = vec![stretch(20, 0, &[(0, 40)]), stretch(40, 4, &[(0, 10), (1, 30)])];
            let mapped = Mapped::new(vec![&one, &other], stretches).unwrap();
            let range = ByteRange::new(start, (start + length).min(60));
            for (disk, place) in mapped.places(&RangeSet::of(range)).unwrap() {
                [&one, &other][disk].write_zeros(place).unwrap();
            }
            let read = read_vec(&mapped, 0, 60).unwrap();
            for (at, byte) in (0u64..).zip(read) {
                prop_assert_eq!(byte == 0, (range.start()..range.end()).contains(&at));
            }
            let zeros = |disk: &MemoryDisk| read_vec(disk, 0, 80).unwrap().iter().filter(|byte| **byte == 0).count();
            prop_assert_eq!(u64_from(zeros(&one) + zeros(&other)), range.length());
        }

        #[test]
        fn what_is_written_is_read_again_and_nothing_beside_it_changes(
            ops in proptest::collection::vec((0usize..60, 0usize..60, any::<u8>(), any::<bool>()), 1..20),
        ) {
            let (one, other) = (MemoryDisk::from_bytes(&[7; 80]), MemoryDisk::from_bytes(&[7; 80]));
            let stretches = vec![stretch(20, 0, &[(0, 40)]), stretch(40, 4, &[(0, 10), (1, 30)])];
            let mapped = Mapped::new(vec![&one, &other], stretches).unwrap();
            let mut model = vec![7; 60];
            for (at, length, byte, zero) in ops {
                let length = length.min(60 - at);
                if zero {
                    mapped.write_zeros(ByteRange::at(u64_from(at), u64_from(length)).unwrap()).unwrap();
                } else {
                    mapped.write_at(u64_from(at), &vec![byte; length]).unwrap();
                }
                model[at..at + length].fill(if zero { 0 } else { byte });
            }
            prop_assert_eq!(read_vec(&mapped, 0, 60).unwrap(), model);
            prop_assert_eq!(read_vec(&one, 0, 10).unwrap(), vec![7; 10]);
            prop_assert_eq!(read_vec(&one, 30, 10).unwrap(), vec![7; 10]);
            prop_assert_eq!(read_vec(&one, 60, 20).unwrap(), vec![7; 20]);
            prop_assert_eq!(read_vec(&other, 0, 30).unwrap(), vec![7; 30]);
            prop_assert_eq!(read_vec(&other, 50, 30).unwrap(), vec![7; 30]);
        }
    }
}
