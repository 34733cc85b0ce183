//! A target on which what stays cannot be written to, whatever goes wrong above.

use crate::blockio::{ReadAt, WriteAt};
use crate::units::{ByteRange, RangeSet, u64_from};
use std::io;

/// A target and the bytes of it that stay.
pub(super) struct Guarded<'a> {
    inner: &'a dyn WriteAt,
    spared: RangeSet,
}

impl<'a> Guarded<'a> {
    pub(super) fn new(inner: &'a dyn WriteAt, spared: RangeSet) -> Self {
        Self { inner, spared }
    }

    fn allow(&self, range: ByteRange) -> io::Result<()> {
        match self.spared.within(range).next() {
            None => Ok(()),
            Some(spared) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{spared} are to stay as they are; please report this"),
            )),
        }
    }
}

impl ReadAt for Guarded<'_> {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn will_need(&self, range: ByteRange) {
        self.inner.will_need(range);
    }
}

impl WriteAt for Guarded<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.allow(ByteRange::new(offset, offset.saturating_add(u64_from(bytes.len()))))?;
        self.inner.write_at(offset, bytes)
    }

    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        self.allow(range)?;
        self.inner.write_zeros(range)
    }

    fn discard(&self, range: ByteRange) -> io::Result<()> {
        self.allow(range)?;
        self.inner.discard(range)
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::MemoryDisk;

    #[test]
    fn what_stays_cannot_be_changed_in_any_way() {
        let disk = MemoryDisk::from_bytes(&[7; 4096]);
        let guarded = Guarded::new(&disk, RangeSet::of(ByteRange::new(1024, 2048)));
        for range in [(0, 1025), (1500, 1501), (2047, 4096), (0, 4096)] {
            let range = ByteRange::new(range.0, range.1);
            assert!(guarded.write_zeros(range).is_err(), "{range}");
            assert!(guarded.discard(range).is_err(), "{range}");
            let bytes = vec![0; usize::try_from(range.length()).unwrap()];
            assert!(guarded.write_at(range.start(), &bytes).is_err(), "{range}");
        }
        guarded.write_at(0, &[0; 1024]).unwrap();
        guarded.write_zeros(ByteRange::new(2048, 4096)).unwrap();
        let mut bytes = [0; 1024];
        guarded.read_at(1024, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 1024]);
    }
}
