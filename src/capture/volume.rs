//! One volume: its pieces hashed, compressed and stored by all workers at once.

use super::{Error, Options, Totals, piece};
use crate::blockio::ReadAt;
use crate::image::{
    ChunkId, Encoder, Entry, ImageVersion, Index, Manifest, Piece, Store, chunk_bytes, cut, encode_zeros,
};
use crate::parallel::{for_each, lock};
use crate::progress::{Event, Monitor, Phase};
use crate::schema::Volume;
use crate::units::{ByteRange, RangeSet, u64_from};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// One volume to store.
pub(super) struct Job<'a> {
    /// Its name.
    pub volume: &'a str,
    /// What is on it, for a person.
    pub content: String,
    /// The volume.
    pub source: &'a dyn ReadAt,
    /// Logical sector size in bytes.
    pub sector_bytes: u64,
    /// What to do where it cannot be read.
    pub way_out: &'static str,
    /// The bytes to read.
    pub read: &'a RangeSet,
    /// What is known to be stored already.
    pub known: Known,
    /// Where the chunks go.
    pub store: &'a dyn Store,
    /// How.
    pub options: &'a Options,
    /// Counters of the whole capture.
    pub totals: &'a Totals,
    /// Who listens.
    pub monitor: &'a dyn Monitor,
}

/// What was stored of a volume.
pub(super) struct Chunks {
    /// The chunk list.
    pub index: Index,
    /// Size at which the volume was cut.
    pub chunk_bytes: u64,
    /// Compressed bytes sent.
    pub sent_bytes: u64,
    /// Unreadable ranges that were stored as zeros.
    pub bad_ranges: Vec<ByteRange>,
}

/// The chunks of the same volume in the image's previous version, as far as the store still has them.
///
/// Volumes are cut at fixed places, so an unchanged piece is the entry with the same end.
#[derive(Default)]
pub(super) struct Known {
    entries: Vec<Entry>,
}

impl Known {
    fn holds(&self, piece: ByteRange, id: ChunkId) -> bool {
        let found = self.entries.binary_search_by_key(&piece.end(), |entry| entry.end_bytes);
        found.ok().and_then(|position| self.entries.get(position)).is_some_and(|entry| entry.id == id)
    }
}

/// How many chunks the store is asked about at once.
const ASK_AT_ONCE: usize = 4096;

/// Asks the store which chunks of the previous version it still has. A previous version that cannot be
/// read is no reason to fail: its chunks are then asked for one by one.
pub(super) fn known(
    store: &dyn Store,
    version: &ImageVersion,
    previous: Option<&Manifest>,
    volume: &Volume,
) -> Result<Known, Error> {
    let index = previous.and_then(|previous| {
        let version = ImageVersion { image: version.image.clone(), version: previous.version.clone() };
        previous.load_index(store, &version, &volume.name).ok()
    });
    let mut entries = index.map(Index::into_entries).unwrap_or_default();
    let mut stored = Vec::with_capacity(entries.len());
    for some in entries.chunks(ASK_AT_ONCE) {
        let ids: Vec<ChunkId> = some.iter().map(|entry| entry.id).collect();
        stored.extend(store.have_chunks(&ids)?);
    }
    let mut stored = stored.into_iter();
    entries.retain(|_| stored.next().unwrap_or(false));
    Ok(Known { entries })
}

/// How many pieces the medium is told of before they are read, so that a worker seldom waits for it.
const ANNOUNCED_PIECES: usize = 16;

/// What the workers of one volume share.
struct Shared<'a> {
    job: &'a Job<'a>,
    reader: piece::Reader<'a>,
    /// The pieces that the medium was not told of yet.
    unannounced: Mutex<Box<dyn Iterator<Item = ByteRange> + Send + 'a>>,
    entries: Mutex<Vec<Entry>>,
    zeros: Mutex<HashMap<u64, ChunkId>>,
    bad: Mutex<RangeSet>,
    sent_bytes: AtomicU64,
}

/// Stores every chunk of a volume.
pub(super) fn store_chunks(job: &Job<'_>) -> Result<Chunks, Error> {
    let size_bytes = job.source.size_bytes();
    job.monitor.event(Event::VolumeStarted {
        phase: Phase::Capture,
        volume: job.volume.to_owned(),
        content: job.content.clone(),
        total_bytes: job.read.total_bytes(),
    });
    let read = |piece: Piece| (!piece.free).then_some(piece.range);
    let shared = Shared {
        job,
        reader: piece::Reader {
            volume: job.volume,
            source: job.source,
            sector_bytes: job.sector_bytes,
            way_out: job.way_out,
            on_read_error: job.options.on_read_error,
            monitor: job.monitor,
        },
        unannounced: Mutex::new(Box::new(cut(size_bytes, job.read).filter_map(read))),
        entries: Mutex::default(),
        zeros: Mutex::default(),
        bad: Mutex::default(),
        sent_bytes: AtomicU64::new(0),
    };
    (0..ANNOUNCED_PIECES).for_each(|_| shared.announce_next());
    let pieces = cut(size_bytes, job.read).enumerate();
    for_each(job.options.workers, pieces, Worker::default, |worker, (position, piece)| {
        if job.monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        let id = shared.store(&piece, worker)?;
        shared.note(position, piece.range, id);
        Ok(())
    })?;
    job.monitor.event(Event::VolumeFinished { phase: Phase::Capture, volume: job.volume.to_owned() });
    let entries = std::mem::take(&mut *lock(&shared.entries));
    let bad = std::mem::take(&mut *lock(&shared.bad));
    let chunk_bytes = chunk_bytes(size_bytes);
    let index = Index::new(chunk_bytes, entries);
    Ok(Chunks {
        index: index.map_err(|source| Error::Index { volume: job.volume.to_owned(), source })?,
        chunk_bytes,
        sent_bytes: shared.sent_bytes.load(Ordering::Relaxed),
        bad_ranges: bad.iter().collect(),
    })
}

impl Shared<'_> {
    /// Tells the medium of one more piece.
    fn announce_next(&self) {
        let piece = lock(&self.unannounced).next();
        if let Some(piece) = piece {
            self.reader.announce(piece, self.job.read);
        }
    }

    fn note(&self, position: usize, piece: ByteRange, id: ChunkId) {
        let mut entries = lock(&self.entries);
        if entries.len() <= position {
            entries.resize(position.saturating_add(1), Entry { end_bytes: 0, id: ChunkId([0; 32]) });
        }
        if let Some(entry) = entries.get_mut(position) {
            *entry = Entry { end_bytes: piece.end(), id };
        }
    }

    /// Reads, hashes and, where the store does not have it, compresses and sends one piece.
    fn store(&self, piece: &Piece, worker: &mut Worker) -> Result<ChunkId, Error> {
        if piece.free {
            return self.zero_chunk(piece.range.length(), worker);
        }
        self.announce_next();
        let bad = self.reader.read(piece.range, self.job.read, &mut worker.content)?;
        if !bad.is_empty() {
            bad.iter().for_each(|range| lock(&self.bad).insert(range));
        }
        let id = if is_zero(&worker.content) {
            self.zero_chunk(piece.range.length(), worker)?
        } else {
            let id = ChunkId::of(&worker.content);
            if !self.job.known.holds(piece.range, id) {
                self.send(id, worker)?;
            }
            id
        };
        self.advance(self.job.read.within(piece.range).map(ByteRange::length).sum());
        Ok(id)
    }

    /// The chunk of `length` zeros, sent once for each length.
    fn zero_chunk(&self, length: u64, worker: &mut Worker) -> Result<ChunkId, Error> {
        if let Some(id) = lock(&self.zeros).get(&length) {
            return Ok(*id);
        }
        let mut zeros = lock(&self.zeros);
        if let Some(id) = zeros.get(&length) {
            return Ok(*id);
        }
        let id = ChunkId::of_zeros(length);
        if !self.is_stored(id)? {
            encode_zeros(length, &mut worker.frame).map_err(|error| self.cannot_compress(error))?;
            self.put(id, &worker.frame)?;
        }
        zeros.insert(length, id);
        Ok(id)
    }

    /// Compresses and sends the worker's content, unless the store has it.
    fn send(&self, id: ChunkId, worker: &mut Worker) -> Result<(), Error> {
        if self.is_stored(id)? {
            return Ok(());
        }
        let failed = |error| self.cannot_compress(error);
        let encoder = match &mut worker.encoder {
            Some(encoder) => encoder,
            none => none.insert(Encoder::new(self.job.options.compression).map_err(failed)?),
        };
        encoder.encode(&worker.content, &mut worker.frame).map_err(failed)?;
        self.put(id, &worker.frame)
    }

    fn is_stored(&self, id: ChunkId) -> Result<bool, Error> {
        Ok(self.job.store.have_chunks(&[id])? == [true])
    }

    fn put(&self, id: ChunkId, frame: &[u8]) -> Result<(), Error> {
        self.job.store.put_chunk(id, frame)?;
        let sent = u64_from(frame.len());
        self.sent_bytes.fetch_add(sent, Ordering::Relaxed);
        self.job.totals.sent_bytes.fetch_add(sent, Ordering::Relaxed);
        Ok(())
    }

    fn cannot_compress(&self, source: std::io::Error) -> Error {
        Error::Compress { volume: self.job.volume.to_owned(), source }
    }

    fn advance(&self, bytes: u64) {
        let totals = self.job.totals;
        let done_bytes = totals.done_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.job.monitor.event(Event::Advanced {
            phase: Phase::Capture,
            volume: self.job.volume.to_owned(),
            done_bytes,
            total_bytes: totals.total_bytes,
            transferred_bytes: totals.sent_bytes.load(Ordering::Relaxed),
        });
    }
}

/// What a worker keeps from piece to piece.
#[derive(Default)]
struct Worker {
    content: Vec<u8>,
    frame: Vec<u8>,
    encoder: Option<Encoder>,
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(4096).all(|part| part.iter().fold(0, |seen, byte| seen | byte) == 0)
}
