//! The content of one piece of a volume: its used bytes as they are, everything else as zeros.

use super::Error;
use crate::blockio::ReadAt;
use crate::progress::Monitor;
use crate::schema::OnReadError;
use crate::units::{ByteRange, RangeSet, usize_from};
use std::io;

/// Free stretches up to this length are read along and then zeroed: cheaper than another request.
const READ_ALONG_BYTES: u64 = 64 << 10;

/// Where the pieces of a volume are read from.
pub(super) struct Reader<'a> {
    /// Name of the volume, for messages.
    pub volume: &'a str,
    /// The volume.
    pub source: &'a dyn ReadAt,
    /// The unit in which a bad stretch is read again.
    pub sector_bytes: u64,
    /// What to do where that stays unreadable.
    pub way_out: &'static str,
    /// What happens to sectors that stay unreadable.
    pub on_read_error: OnReadError,
    /// Who may ask to stop: a medium that fails takes seconds for every sector.
    pub monitor: &'a dyn Monitor,
}

impl Reader<'_> {
    /// Fills `buffer` with the content of `piece`. Returns the sectors that could not be read and are
    /// zeros now.
    pub(super) fn read(
        &self,
        piece: ByteRange,
        used: &RangeSet,
        buffer: &mut Vec<u8>,
    ) -> Result<RangeSet, Error> {
        // What the buffer held before is overwritten: used bytes are read, and all others are zeroed below.
        buffer.resize(usize_from(piece.length()), 0);
        let mut bad = RangeSet::new();
        for group in groups(piece, used) {
            self.read_group(piece, group, used, buffer, &mut bad)?;
        }
        for gap in used.gaps(piece).iter() {
            if let Some(free) = part_of(buffer, piece, gap) {
                free.fill(0);
            }
        }
        Ok(bad)
    }

    /// Tells the medium that `piece` is read soon.
    pub(super) fn announce(&self, piece: ByteRange, used: &RangeSet) {
        groups(piece, used).for_each(|group| self.source.will_need(group));
    }

    /// Reads a stretch that begins and ends with used bytes; what is read of the free bytes in it does not matter.
    fn read_group(
        &self,
        piece: ByteRange,
        group: ByteRange,
        used: &RangeSet,
        buffer: &mut [u8],
        bad: &mut RangeSet,
    ) -> Result<(), Error> {
        let part = part_of(buffer, piece, group)
            .ok_or_else(|| self.failed(group, io::ErrorKind::InvalidInput.into()))?;
        if self.source.read_at(group.start(), part).is_ok() {
            return Ok(());
        }
        for range in used.within(group) {
            if let Some(part) = part_of(buffer, piece, range) {
                self.read_by_sector(range, part, bad)?;
            }
        }
        Ok(())
    }

    /// Reads sector by sector, so that only what is really unreadable is lost.
    fn read_by_sector(&self, range: ByteRange, buffer: &mut [u8], bad: &mut RangeSet) -> Result<(), Error> {
        let mut position = range.start();
        let mut rest = buffer;
        while position < range.end() {
            if self.monitor.cancelled() {
                return Err(Error::Cancelled);
            }
            let into_sector = position % self.sector_bytes.max(1);
            let step = self
                .sector_bytes
                .max(1)
                .saturating_sub(into_sector)
                .min(range.end().saturating_sub(position));
            let sector = ByteRange::new(position, position.saturating_add(step));
            let Some((part, behind)) = rest.split_at_mut_checked(usize_from(step)) else { return Ok(()) };
            let second_try = |part: &mut [u8]| self.source.read_at(position, part);
            if let Err(error) = self.source.read_at(position, part).or_else(|_| second_try(part)) {
                if self.on_read_error == OnReadError::Fail {
                    return Err(self.failed(sector, error));
                }
                part.fill(0);
                bad.insert(sector);
            }
            rest = behind;
            position = sector.end();
        }
        Ok(())
    }

    fn failed(&self, range: ByteRange, source: io::Error) -> Error {
        Error::Read { volume: self.volume.to_owned(), range, way_out: self.way_out, source }
    }
}

/// The stretches of `piece` that are read in one go: used ranges with short free stretches between them.
fn groups(piece: ByteRange, used: &RangeSet) -> impl Iterator<Item = ByteRange> + '_ {
    let mut ranges = used.within(piece).peekable();
    std::iter::from_fn(move || {
        let mut group = ranges.next()?;
        let near =
            |group: ByteRange, next: &ByteRange| next.start().saturating_sub(group.end()) <= READ_ALONG_BYTES;
        while let Some(next) = ranges.next_if(|next| near(group, next)) {
            group = ByteRange::new(group.start(), next.end());
        }
        Some(group)
    })
}

/// The bytes of `range` in a buffer that holds `piece`.
fn part_of(buffer: &mut [u8], piece: ByteRange, range: ByteRange) -> Option<&mut [u8]> {
    let start = usize_from(range.start().checked_sub(piece.start())?);
    buffer.get_mut(start..start.checked_add(usize_from(range.length()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::MemoryDisk;

    /// Reads fail where they touch a bad range.
    struct Scratched(MemoryDisk, RangeSet);

    impl ReadAt for Scratched {
        fn size_bytes(&self) -> u64 {
            self.0.size_bytes()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            let touched = ByteRange::at(offset, buffer.len().try_into().unwrap()).unwrap();
            match self.1.within(touched).next() {
                Some(_) => Err(io::Error::from_raw_os_error(5)),
                None => self.0.read_at(offset, buffer),
            }
        }
    }

    fn scratched() -> Scratched {
        let bytes: Vec<u8> = (0..64 << 10).map(|i: u32| u8::try_from(i % 255).unwrap() | 1).collect();
        Scratched(MemoryDisk::from_bytes(&bytes), RangeSet::of(ByteRange::new(1000, 1030)))
    }

    fn reader(source: &dyn ReadAt, on_read_error: OnReadError) -> Reader<'_> {
        let monitor = &crate::progress::Silent;
        Reader { volume: "v", source, sector_bytes: 512, way_out: "no", on_read_error, monitor }
    }

    #[test]
    fn free_bytes_are_zeros_and_used_bytes_are_as_they_are() {
        let disk = scratched();
        let used: RangeSet = [ByteRange::new(5000, 6000), ByteRange::new(7000, 7001)].into_iter().collect();
        let reader = reader(&disk, OnReadError::Fail);
        let mut buffer = vec![9; 9000];
        assert!(reader.read(ByteRange::new(4096, 8192), &used, &mut buffer).unwrap().is_empty());
        for (at, byte) in (4096u64..).zip(&buffer) {
            let expected = if used.contains(ByteRange::new(at, at + 1)) {
                u8::try_from(at % 255).unwrap() | 1
            } else {
                0
            };
            assert_eq!(*byte, expected, "{at}");
        }
    }

    /// Remembers what it was told of.
    struct Told(MemoryDisk, std::sync::Mutex<Vec<ByteRange>>);

    impl ReadAt for Told {
        fn size_bytes(&self) -> u64 {
            self.0.size_bytes()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.0.read_at(offset, buffer)
        }
        fn will_need(&self, range: ByteRange) {
            self.1.lock().unwrap().push(range);
        }
    }

    #[test]
    fn what_is_read_in_one_go_is_announced_and_long_free_stretches_are_not() {
        let disk = Told(MemoryDisk::from_bytes(&[0; 300 << 10]), std::sync::Mutex::default());
        let ranges = [(0, 10), (5000, 6000), (200_000, 200_001), (290_000, 300_000)];
        let used: RangeSet = ranges.into_iter().map(|(start, end)| ByteRange::new(start, end)).collect();
        let reader = reader(&disk, OnReadError::Fail);
        reader.announce(ByteRange::new(0, 295_000), &used);
        let expected = [(0, 6000), (200_000, 200_001), (290_000, 295_000)];
        assert_eq!(*disk.1.lock().unwrap(), expected.map(|(start, end)| ByteRange::new(start, end)));
    }

    #[test]
    fn only_the_unreadable_sectors_are_lost_and_they_are_named() {
        let disk = scratched();
        let used = RangeSet::of(ByteRange::new(0, 4096));
        let mut reader = reader(&disk, OnReadError::Zero);
        let mut buffer = Vec::new();
        let bad = reader.read(ByteRange::new(0, 4096), &used, &mut buffer).unwrap();
        assert_eq!(bad.ranges(), [ByteRange::new(512, 1536)]);
        assert!(buffer[..512].iter().chain(&buffer[1536..]).all(|byte| *byte != 0));
        assert!(buffer[512..1536].iter().all(|byte| *byte == 0));
        reader.on_read_error = OnReadError::Fail;
        let error = reader.read(ByteRange::new(0, 4096), &used, &mut buffer).unwrap_err().to_string();
        assert!(error.contains("bytes 512 to 1023 of v"), "{error}");
    }

    #[test]
    fn an_unreadable_sector_in_free_space_does_not_matter() {
        let disk = scratched();
        let used: RangeSet = [ByteRange::new(0, 512), ByteRange::new(2048, 4096)].into_iter().collect();
        let reader = reader(&disk, OnReadError::Fail);
        assert!(reader.read(ByteRange::new(0, 4096), &used, &mut Vec::new()).unwrap().is_empty());
    }
}
