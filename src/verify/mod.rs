//! Check that an image is still what was captured.
//!
//! Quick: the manifest, every index and used map by its hash, and the presence of every chunk. Deep: every
//! chunk is read, decompressed and hashed as well. A check goes on after a fault, so that its report names
//! all of them.

use crate::image::{
    ChunkId, Decoder, ImageVersion, Manifest, Store, StoreError, StoredVolume, frame_limit_bytes,
};
use crate::parallel::{for_each, lock};
use crate::progress::{Event, Monitor, Phase};
use crate::units::ByteRange;
use serde::Serialize;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Something that is not as it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Name of the volume.
    pub volume: String,
    /// The bytes of the volume that are lost; `None` where a whole file is.
    pub range: Option<ByteRange>,
    /// What is wrong: a sentence.
    pub message: String,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Report {
    /// True: a schema without data, of which the manifest is all there is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub schema_only: bool,
    /// Distinct chunks that were looked at.
    pub chunks: u64,
    /// Compressed bytes that were read.
    pub read_bytes: u64,
    /// What is wrong, by volume and place.
    pub faults: Vec<Fault>,
}

/// Why a check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No memory for decompression.
    #[error("starting decompression")]
    Memory(#[source] std::io::Error),
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

/// How many chunks the store is asked about at once.
const ASK_AT_ONCE: usize = 4096;

/// Checks the volumes of an image.
///
/// # Errors
/// Only where the check could not be made; what it found is in the report.
pub fn run(
    manifest: &Manifest,
    version: &ImageVersion,
    store: &dyn Store,
    deep: bool,
    workers: NonZeroUsize,
    monitor: &dyn Monitor,
) -> Result<Report, Error> {
    monitor.event(Event::PhaseStarted { phase: Phase::Verify, total_bytes: None });
    let mut report = Report { schema_only: manifest.schema_only, ..Report::default() };
    for volume in &manifest.stored {
        check_volume(manifest, version, volume, store, deep, workers, monitor, &mut report)?;
    }
    monitor.event(Event::PhaseFinished { phase: Phase::Verify });
    Ok(report)
}

#[expect(clippy::too_many_arguments, reason = "inputs, then the report it adds to")]
fn check_volume(
    manifest: &Manifest,
    version: &ImageVersion,
    volume: &StoredVolume,
    store: &dyn Store,
    deep: bool,
    workers: NonZeroUsize,
    monitor: &dyn Monitor,
    report: &mut Report,
) -> Result<(), Error> {
    let mut fault =
        |range, message| report.faults.push(Fault { volume: volume.volume.clone(), range, message });
    if let Err(error) = manifest.load_used(store, version, &volume.volume) {
        fault(None, sentence(error)?);
    }
    let index = match manifest.load_index(store, version, &volume.volume) {
        Ok(index) => index,
        Err(error) => {
            fault(None, sentence(error)?);
            return Ok(());
        }
    };
    let mut chunks: Vec<(ChunkId, u64)> = index.pieces().map(|(piece, id)| (id, piece.length())).collect();
    chunks.sort_unstable();
    // A chunk that is named with two lengths is checked with both: one of them is wrong.
    chunks.dedup();
    report.chunks = report.chunks.saturating_add(crate::units::u64_from(chunks.len()));
    let bad = if deep {
        let read = AtomicU64::new(0);
        let bad = read_all(&chunks, volume, store, workers, monitor, &read)?;
        report.read_bytes = report.read_bytes.saturating_add(read.into_inner());
        bad
    } else {
        missing(&chunks, store)?
    };
    for (piece, id) in index.pieces() {
        if let Some(message) = bad.get(&id) {
            let volume = volume.volume.clone();
            report.faults.push(Fault { volume, range: Some(piece), message: message.clone() });
        }
    }
    Ok(())
}

/// A fault of what is stored is a sentence for the report; a store that fails ends the check.
fn sentence(error: StoreError) -> Result<String, Error> {
    match error {
        StoreError::NotFound { .. } | StoreError::Corrupt { .. } => Ok(error.to_string()),
        StoreError::Io { .. } | StoreError::Refused { .. } | StoreError::Unsupported { .. } => {
            Err(error.into())
        }
    }
}

fn missing(chunks: &[(ChunkId, u64)], store: &dyn Store) -> Result<HashMap<ChunkId, String>, Error> {
    let mut bad = HashMap::new();
    for some in chunks.chunks(ASK_AT_ONCE) {
        let ids: Vec<ChunkId> = some.iter().map(|(id, _)| *id).collect();
        for (id, stored) in ids.iter().zip(store.have_chunks(&ids)?) {
            if !stored {
                bad.insert(*id, format!("chunk {id} is missing"));
            }
        }
    }
    Ok(bad)
}

/// Reads, decompresses and hashes every chunk, on all workers.
fn read_all(
    chunks: &[(ChunkId, u64)],
    volume: &StoredVolume,
    store: &dyn Store,
    workers: NonZeroUsize,
    monitor: &dyn Monitor,
    read_bytes: &AtomicU64,
) -> Result<HashMap<ChunkId, String>, Error> {
    let total_bytes = chunks.iter().map(|(_, length)| *length).fold(0, u64::saturating_add);
    monitor.event(Event::VolumeStarted {
        phase: Phase::Verify,
        volume: volume.volume.clone(),
        content: format!("{} chunks", chunks.len()),
        total_bytes,
    });
    let done = AtomicU64::new(0);
    let bad = Mutex::new(HashMap::new());
    for_each(workers, chunks.iter(), Worker::default, |worker, (id, length)| {
        if monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(message) = check_chunk(*id, *length, store, worker, read_bytes)? {
            lock(&bad).insert(*id, message);
        }
        let done_bytes = done.fetch_add(*length, Ordering::Relaxed).saturating_add(*length);
        monitor.event(Event::Advanced {
            phase: Phase::Verify,
            volume: volume.volume.clone(),
            done_bytes,
            total_bytes,
            transferred_bytes: read_bytes.load(Ordering::Relaxed),
        });
        Ok(())
    })?;
    Ok(bad.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What a worker keeps from chunk to chunk.
#[derive(Default)]
struct Worker {
    content: Vec<u8>,
    decoder: Option<Decoder>,
}

fn check_chunk(
    id: ChunkId,
    length: u64,
    store: &dyn Store,
    worker: &mut Worker,
    read_bytes: &AtomicU64,
) -> Result<Option<String>, Error> {
    let frame = match store.get_chunk(id, frame_limit_bytes(length)) {
        Ok(frame) => frame,
        Err(error) => return sentence(error).map(Some),
    };
    read_bytes.fetch_add(crate::units::u64_from(frame.len()), Ordering::Relaxed);
    let Worker { content, decoder } = worker;
    let decoder = match decoder {
        Some(decoder) => decoder,
        none => none.insert(Decoder::new().map_err(Error::Memory)?),
    };
    Ok(decoder.decode(id, &frame, length, content).err().map(|error| error.to_string()))
}
