//! One volume: its chunks fetched, verified and written by all workers at once.

use super::clear::zero_in_steps;
use super::preflight::{Prepared, VolumeData};
use super::{Error, Surroundings, Totals};
use crate::blockio::{Window, WriteAt, read_vec};
use crate::filesystem;
use crate::image::{ChunkId, Decoder, FetchError, fetch_chunk};
use crate::parallel::{for_each, lock};
use crate::plan::{Clearing, DiskPlan, Stays, VolumePlan, describe};
use crate::progress::{Event, Phase};
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, SectorSize, usize_from};
use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

/// What begins before this byte of a disk is held back; where the table stays, of a partition.
const HEAD_BYTES: u64 = 4096;

/// What the workers of one volume share.
struct Shared<'a> {
    prepared: &'a Prepared<'a>,
    name: &'a str,
    data: &'a VolumeData,
    /// Bytes of the captured volume that are written.
    scope: ByteRange,
    /// Where byte 0 of the captured volume lies on the target.
    origin: u64,
    zero_free_space: bool,
    /// End of the place on the target.
    place: ByteRange,
    /// What begins in front of this byte of the target is held back.
    head_end: u64,
    target: &'a dyn WriteAt,
    totals: &'a Totals,
    around: &'a Surroundings<'a>,
    /// Where the volume is the whole disk, or its partition stands in a table already: its first bytes, written when all the others are, so that a
    /// half-written one is never taken for a whole one.
    head: Mutex<Vec<(ByteRange, Vec<u8>)>>,
    zeros: Mutex<HashMap<u64, ChunkId>>,
}

/// Where a volume is written to, and how.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    /// The disk, or the logical volume as a disk.
    pub target: &'a dyn WriteAt,
    /// Size of its sectors.
    pub sector: SectorSize,
    /// True where the partition stands in a table already.
    pub in_a_table: bool,
    /// True where free space is overwritten with the volume.
    pub zero_free_space: bool,
}

impl<'a> Site<'a> {
    /// A place on a disk.
    pub(super) fn on_disk(disk: &DiskPlan, target: &'a dyn WriteAt) -> Self {
        Self {
            target,
            sector: disk.target.logical_sector_bytes,
            in_a_table: matches!(disk.stays, Stays::Table { .. }),
            zero_free_space: disk.free_space == Clearing::Zero,
        }
    }
}

/// Writes one volume; of a boot area only `gap`, at the offsets it was captured from.
pub(super) fn write(
    prepared: &Prepared<'_>,
    site: Site<'_>,
    planned: &VolumePlan,
    gap: Option<ByteRange>,
    totals: &Totals,
    around: &Surroundings<'_>,
) -> Result<(), Error> {
    let captured = prepared.captured(planned)?;
    let data = prepared.load(planned)?;
    // What lies behind the end of a smaller place is moved there when the file system is shrunk.
    let written_bytes = captured.size_bytes.min(planned.place.length());
    let scope = gap.unwrap_or(ByteRange::new(0, written_bytes));
    around.monitor.event(Event::VolumeStarted {
        phase: Phase::Write,
        volume: planned.volume.clone(),
        content: describe(&captured.content),
        total_bytes: data.used.within(scope).map(ByteRange::length).sum(),
    });
    let origin = if gap.is_some() { 0 } else { planned.place.start() };
    let shared = Shared {
        prepared,
        name: &planned.volume,
        data: &data,
        scope,
        origin,
        head_end: if site.in_a_table { origin.saturating_add(HEAD_BYTES) } else { HEAD_BYTES },
        zero_free_space: site.zero_free_space,
        place: gap.unwrap_or(planned.place),
        target: site.target,
        totals,
        around,
        head: Mutex::default(),
        zeros: Mutex::default(),
    };
    for_each(around.workers, data.index.pieces(), Worker::default, |worker, (piece, id)| {
        if around.monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        shared.write_piece(piece, id, worker)
    })?;
    shared.zero_tail()?;
    shared.write_head()?;
    if gap.is_none() && planned.place.length() > captured.size_bytes {
        match captured.content.file_system().map(|found| found.kind) {
            Some(FileSystemKind::Ntfs) => shared.copy_boot_sector(site.sector)?,
            Some(FileSystemKind::Nilfs2) => shared.settle_superblocks(captured.size_bytes)?,
            _ => {}
        }
    }
    around.monitor.event(Event::VolumeFinished { phase: Phase::Write, volume: planned.volume.clone() });
    Ok(())
}

impl Shared<'_> {
    fn write_piece(&self, piece: ByteRange, id: ChunkId, worker: &mut Worker) -> Result<(), Error> {
        let window = piece.intersection(self.scope);
        if self.zero_free_space {
            for free in self.data.used.gaps(window).iter() {
                self.write_zeros(free)?;
            }
        }
        if self.data.used.within(window).next().is_none() {
            return Ok(());
        }
        let is_zero = self.zero_id(piece.length()) == id;
        if !is_zero {
            self.fetch(piece, id, worker)?;
        }
        let mut written = 0u64;
        for range in self.data.used.within(window) {
            if is_zero {
                self.write_zeros(range)?;
            } else {
                let part = part_of(&worker.content, piece, range).ok_or_else(|| self.outside(range))?;
                self.write(range, part)?;
            }
            written = written.saturating_add(range.length());
        }
        self.advance(written);
        Ok(())
    }

    /// Fetches and verifies a chunk into the worker's buffer.
    fn fetch(&self, piece: ByteRange, id: ChunkId, worker: &mut Worker) -> Result<(), Error> {
        let decoder = match &mut worker.decoder {
            Some(decoder) => decoder,
            none => none.insert(Decoder::new().map_err(Error::Memory)?),
        };
        let fetched = fetch_chunk(self.prepared.store, id, piece.length(), decoder, &mut worker.content);
        let fetched = fetched.map_err(|error| match error {
            FetchError::Store(error) => Error::Store(error),
            FetchError::Chunk(source) => Error::Chunk { volume: self.name.to_owned(), source },
        })?;
        self.totals.fetched_bytes.fetch_add(fetched, Ordering::Relaxed);
        Ok(())
    }

    /// The identity of `length` zeros, hashed once for each length.
    fn zero_id(&self, length: u64) -> ChunkId {
        *lock(&self.zeros).entry(length).or_insert_with(|| ChunkId::of_zeros(length))
    }

    fn write(&self, range: ByteRange, bytes: &[u8]) -> Result<(), Error> {
        let place = self.on_target(range)?;
        if place.start() < self.head_end {
            lock(&self.head).push((place, bytes.to_vec()));
            return Ok(());
        }
        self.target.write_at(place.start(), bytes).map_err(|source| self.failed(place, source))
    }

    fn write_zeros(&self, range: ByteRange) -> Result<(), Error> {
        let place = self.on_target(range)?;
        self.target.write_zeros(place).map_err(|source| self.failed(place, source))
    }

    /// The place of a range of the captured volume; never outside the place of the plan.
    fn on_target(&self, range: ByteRange) -> Result<ByteRange, Error> {
        let place =
            self.origin.checked_add(range.start()).and_then(|start| ByteRange::at(start, range.length()));
        place.filter(|place| self.place.contains(*place)).ok_or_else(|| self.outside(range))
    }

    /// Writes what was held back, when the rest is on stable storage. Only a piece at the very start of a
    /// disk is held back, so this is at most one piece.
    fn write_head(&self) -> Result<(), Error> {
        let head = std::mem::take(&mut *lock(&self.head));
        if head.is_empty() {
            return Ok(());
        }
        self.target.flush().map_err(|source| self.failed(self.place, source))?;
        for (place, bytes) in head {
            self.target.write_at(place.start(), &bytes).map_err(|source| self.failed(place, source))?;
        }
        Ok(())
    }

    /// Zeroes the part of the place that lies behind the captured volume, where free space is zeroed.
    fn zero_tail(&self) -> Result<(), Error> {
        let end = self.origin.saturating_add(self.scope.end()).min(self.place.end());
        if self.zero_free_space {
            zero_in_steps(self.target, ByteRange::new(end, self.place.end()), self.around.monitor)?;
        }
        Ok(())
    }

    /// NTFS keeps a copy of its boot sector in the last sector of its partition as well as behind its last
    /// cluster. Where the partition became larger, the first of the two is missing; `ntfsresize` and Windows'
    /// `chkdsk` look for it there.
    fn copy_boot_sector(&self, sector: SectorSize) -> Result<(), Error> {
        let last = ByteRange::new(self.place.end().saturating_sub(sector.bytes()), self.place.end());
        let boot_sector = read_vec(self.target, self.place.start(), usize_from(sector.bytes()));
        let boot_sector = boot_sector.map_err(|source| self.failed(self.place, source))?;
        self.target.write_at(last.start(), &boot_sector).map_err(|source| self.failed(last, source))
    }

    fn settle_superblocks(&self, captured_bytes: u64) -> Result<(), Error> {
        let volume =
            Window::new(self.target, self.place).map_err(|source| self.failed(self.place, source))?;
        let writes = filesystem::nilfs2_on_a_larger_device(&volume, captured_bytes)
            .map_err(|error| Error::Corrupt { what: self.name.to_owned(), fact: error.to_string() })?;
        for (at, bytes) in writes {
            volume.write_at(at, &bytes).map_err(|source| self.failed(self.place, source))?;
        }
        Ok(())
    }

    fn advance(&self, bytes: u64) {
        let totals = self.totals;
        let done_bytes = totals.done_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.around.monitor.event(Event::Advanced {
            phase: Phase::Write,
            volume: self.name.to_owned(),
            done_bytes,
            total_bytes: totals.total_bytes,
            transferred_bytes: totals.fetched_bytes.load(Ordering::Relaxed),
        });
    }

    fn outside(&self, range: ByteRange) -> Error {
        Error::Corrupt { what: self.name.to_owned(), fact: format!("{range} have no place on the target") }
    }

    fn failed(&self, range: ByteRange, source: io::Error) -> Error {
        Error::Write { what: format!("writing {}", self.name), range, source }
    }
}

/// What a worker keeps from chunk to chunk.
#[derive(Default)]
struct Worker {
    content: Vec<u8>,
    decoder: Option<Decoder>,
}

/// The bytes of `range` in a buffer that holds `piece`.
fn part_of(buffer: &[u8], piece: ByteRange, range: ByteRange) -> Option<&[u8]> {
    let start = usize_from(range.start().checked_sub(piece.start())?);
    buffer.get(start..start.checked_add(usize_from(range.length()))?)
}
