//! A volume that gets less room than it had: shown to its tool at its old size, while it is on its way.
//!
//! ```text
//! captured volume   0 ............ new end ............ old end
//!                   |  the target    |  the image        |
//!                   reads, writes      reads; what is written is kept in memory
//! ```
//!
//! What lies below the new end was written there before. The tool moves the rest to its final place, and what it
//! wrote behind the new end is forgotten.

use super::preflight::Prepared;
use super::{Error, Surroundings};
use crate::blockio::{Joined, Overlay, ReadAt, Window, WriteAt};
use crate::filesystem;
use crate::image::StoredContent;
use crate::machine::MachineDisk;
use crate::plan::VolumePlan;
use crate::progress::Monitor;
use crate::resize::Change;
use crate::schema::{FileSystemKind, State};
use crate::units::{ByteRange, MIB};
use std::io;

/// For what a tool writes behind the new end. resize2fs: nothing (2 TiB to 1 TiB, with 60,000 files to be moved), e2fsck
/// the journal's superblock. ntfsresize: records of an `$MFT` that reaches there, of which a smallest size leaves no more.
const KEPT_BYTES: u64 = filesystem::MOST_WRITTEN_BEHIND_BYTES.saturating_add(64 * MIB);

/// Shrinks the file system of a volume whose lower part is written.
pub(super) fn shrink(
    prepared: &Prepared<'_>,
    on: &MachineDisk,
    planned: &VolumePlan,
    kind: FileSystemKind,
    target: &dyn WriteAt,
    around: &Surroundings<'_>,
) -> Result<(), Error> {
    let failed = |source: io::Error| Error::Write {
        what: format!("shrinking {}", planned.volume),
        range: planned.place,
        source,
    };
    let captured_bytes = prepared.captured(planned)?.size_bytes;
    let data = prepared.load(planned)?;
    let stored = StoredContent::new(prepared.store, &data.index, &data.used);
    let above = ByteRange::new(planned.place.length(), captured_bytes);
    let low = Window::new(target, planned.place).map_err(failed)?;
    let high = Window::new(Overlay::new(stored, KEPT_BYTES, None), above).map_err(failed)?;
    let volume = Stoppable { disk: Joined::new(low, high), monitor: around.monitor };
    around.resizer.shrink(&volume, on, planned.place, kind).map_err(|source| {
        let volume = planned.volume.clone();
        Error::Resize { change: Change::Shrink, volume, source: Box::new(source) }
    })?;
    check(planned, kind, &low)
}

/// Reads what stands in the place now: the file system, whole, and no larger than its place.
fn check(planned: &VolumePlan, kind: FileSystemKind, place: &dyn ReadAt) -> Result<(), Error> {
    let wrong = |fact: String| Error::NotShrunk { volume: planned.volume.clone(), fact };
    let found = filesystem::read(place).map_err(|error| wrong(error.to_string()))?;
    let found = found.ok_or_else(|| wrong("no file system is there any more".to_owned()))?.file_system;
    let place_bytes = planned.place.length();
    if found.kind != kind || found.size_bytes > place_bytes {
        let fact = format!("{} of {} bytes is there, in {place_bytes} bytes", found.kind, found.size_bytes);
        return Err(wrong(fact));
    }
    match found.state {
        // ntfsresize asks Windows for a check.
        State::Clean | State::Dirty => Ok(()),
        _ => Err(wrong(found.findings.join("; "))),
    }
}

/// A disk that ends its user's work when somebody asks to stop: a tool that moves blocks for an hour hears of it.
struct Stoppable<'a, D> {
    disk: D,
    monitor: &'a dyn Monitor,
}

impl<D> Stoppable<'_, D> {
    fn go_on(&self) -> io::Result<()> {
        if self.monitor.cancelled() { Err(io::Error::other("stopped on request")) } else { Ok(()) }
    }
}

impl<D: ReadAt> ReadAt for Stoppable<'_, D> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.go_on()?;
        self.disk.read_at(offset, buffer)
    }
}

impl<D: WriteAt> WriteAt for Stoppable<'_, D> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.go_on()?;
        self.disk.write_at(offset, bytes)
    }

    fn write_zeros(&self, range: ByteRange) -> io::Result<()> {
        self.go_on()?;
        self.disk.write_zeros(range)
    }

    fn discard(&self, range: ByteRange) -> io::Result<()> {
        self.go_on()?;
        self.disk.discard(range)
    }

    fn flush(&self) -> io::Result<()> {
        self.go_on()?;
        self.disk.flush()
    }
}
