//! Carry out a capture plan through traits.
//!
//! Volume after volume is cut into pieces; every worker takes the next piece, reads, hashes, compresses
//! and stores it, so that all of it overlaps on all cores and memory is bounded by the number of workers.
//! Invariants:
//!
//! - The source is only known as [`ReadAt`]: nothing here can write to it.
//! - The manifest is published after everything it names is stored; a capture that fails leaves chunks
//!   behind, which the next attempt finds, and no version.

mod error;
mod piece;
mod volume;

pub use error::{Error, meaning_of_zeros};

use crate::blockio::{ReadAt, Window};
use crate::image::{ImageVersion, Manifest, Store, StoredFile, StoredVolume, UsedMap};
use crate::plan::{CapturePlan, describe};
use crate::progress::{Event, Monitor, Phase};
use crate::schema::{Compression, OnReadError, Volume};
use crate::units::{ByteRange, RangeSet, u64_from};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a person chooses about how a capture is carried out.
#[derive(Debug, Clone)]
pub struct Options {
    /// How chunks are compressed.
    pub compression: Compression,
    /// What happens to sectors that stay unreadable.
    pub on_read_error: OnReadError,
    /// Number of threads that read, hash, compress and store.
    pub workers: NonZeroUsize,
    /// A remark for the manifest.
    pub comment: Option<String>,
    /// The time of the capture, RFC 3339, for the manifest.
    pub created: String,
}

/// What a capture did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Bytes read from the source.
    pub read_bytes: u64,
    /// Compressed bytes that were sent to the store.
    pub sent_bytes: u64,
    /// Ranges that could not be read and were stored as zeros, with the name of their volume.
    pub bad_ranges: Vec<(String, ByteRange)>,
}

/// The smallest unit in which a bad stretch is read again.
const MIN_SECTOR_BYTES: u64 = 512;

/// Counters that the workers share.
struct Totals {
    total_bytes: u64,
    done_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// A capture to carry out.
#[derive(Clone, Copy)]
pub struct Capture<'a> {
    /// What to read.
    pub plan: &'a CapturePlan,
    /// One reader for each disk of the plan.
    pub sources: &'a [&'a dyn ReadAt],
    /// For each volume group of the plan, one reader for each of its logical volumes; `None` where nothing is read.
    pub logical: &'a [Vec<Option<&'a dyn ReadAt>>],
    /// Where it goes.
    pub store: &'a dyn Store,
    /// The version it becomes.
    pub version: &'a ImageVersion,
    /// The image's last version: what it refers to is asked for in bulk.
    pub previous: Option<&'a Manifest>,
    /// How.
    pub options: &'a Options,
    /// Who listens.
    pub monitor: &'a dyn Monitor,
}

/// Carries out a capture and publishes its version.
///
/// # Errors
/// Whatever kept the version from being published. Chunks that were stored stay.
pub fn run(capture: &Capture<'_>) -> Result<(Manifest, Report), Error> {
    let Capture { store, version, monitor, .. } = *capture;
    store.begin_capture(version)?;
    let result = store_everything(capture);
    if result.is_err() {
        // The first error is what a person has to know; a marker that stays behind only spares chunks.
        let _ = store.abandon(version);
    }
    result.map_err(|error| match error {
        // A request that was not tried again because somebody asked to stop.
        Error::Store(_) if monitor.cancelled() => Error::Cancelled,
        error => error,
    })
}

fn store_everything(capture: &Capture<'_>) -> Result<(Manifest, Report), Error> {
    let Capture { plan, sources, store, version, options, monitor, .. } = *capture;
    let of_disks = plan.disks.iter().flat_map(|disk| disk.read.iter().flatten());
    let of_groups = plan.groups.iter().flat_map(|group| group.read.iter().flatten());
    let total_bytes = of_disks.chain(of_groups).map(RangeSet::total_bytes).sum();
    let totals = Totals { total_bytes, done_bytes: AtomicU64::new(0), sent_bytes: AtomicU64::new(0) };
    monitor.event(Event::PhaseStarted { phase: Phase::Capture, total_bytes: Some(total_bytes) });
    let mut stored = Vec::new();
    for (disk, source) in plan.disks.iter().zip(sources) {
        let sector_bytes = disk.disk.logical_sector_bytes.bytes();
        for ((volume, read), zeros) in disk.disk.volumes.iter().zip(&disk.read).zip(&disk.zeros) {
            let Some(read) = read else { continue };
            let place = ByteRange::at(volume.start_bytes, volume.size_bytes);
            let window = place
                .and_then(|place| Window::new(*source, place).ok())
                .ok_or_else(|| Error::OutsideDisk { volume: volume.name.clone() })?;
            stored.push(store_volume(capture, &totals, volume, (read, *zeros), &window, sector_bytes)?);
        }
    }
    let sectors = plan.disks.iter().map(|disk| disk.disk.logical_sector_bytes.bytes());
    let sector_bytes = sectors.max().unwrap_or(MIN_SECTOR_BYTES);
    for (group, sources) in plan.groups.iter().zip(capture.logical) {
        for ((volume, read), source) in group.group.volumes().zip(&group.read).zip(sources) {
            let Some(read) = read else { continue };
            let source = source.filter(|source| source.size_bytes() == volume.size_bytes);
            let source = source.ok_or_else(|| Error::OutsideDisk { volume: volume.name.clone() })?;
            let parts = (read, ByteRange::default());
            stored.push(store_volume(capture, &totals, volume, parts, source, sector_bytes)?);
        }
    }
    let manifest = manifest(plan, stored, version, options);
    let report = report(&manifest, &totals);
    store.publish(version, &manifest.encode()?)?;
    monitor.event(Event::PhaseFinished { phase: Phase::Capture });
    Ok((manifest, report))
}

/// Stores one volume: the bytes that are read, and those of `zeros` that are not, as zeros, which a deploy writes as well.
fn store_volume(
    capture: &Capture<'_>,
    totals: &Totals,
    volume: &Volume,
    (read, zeros): (&RangeSet, ByteRange),
    source: &dyn ReadAt,
    sector_bytes: u64,
) -> Result<StoredVolume, Error> {
    let Capture { store, version, options, monitor, .. } = *capture;
    let chunks = volume::store_chunks(&volume::Job {
        volume: &volume.name,
        content: describe(&volume.content),
        source,
        sector_bytes,
        way_out: error::way_out(volume),
        read,
        known: volume::known(store, version, capture.previous, volume)?,
        store,
        options,
        totals,
        monitor,
    })?;
    let index = chunks.index.encode();
    let mut written = read.clone();
    written.insert(zeros);
    let used = UsedMap::new(source.size_bytes(), &written);
    let put = |extension: &str, bytes: &[u8]| -> Result<StoredFile, Error> {
        let file = StoredFile::of(format!("{}.{extension}", volume.name), bytes);
        store.put_file(version, &file.name, bytes)?;
        Ok(file)
    };
    Ok(StoredVolume {
        volume: volume.name.clone(),
        index: put("caibx", &index)?,
        used: put("used", &used.encode())?,
        chunk_bytes: chunks.chunk_bytes,
        chunks: u64_from(chunks.index.entries().len()),
        used_bytes: used.used.total_bytes(),
        stored_bytes: chunks.sent_bytes,
        bad_ranges: chunks.bad_ranges,
    })
}

fn manifest(
    plan: &CapturePlan,
    stored: Vec<StoredVolume>,
    version: &ImageVersion,
    options: &Options,
) -> Manifest {
    let ImageVersion { image, version } = version.clone();
    let mut manifest = Manifest {
        comment: options.comment.clone(),
        schema_only: plan.schema_only,
        disks: plan.disks.iter().map(|disk| disk.disk.clone()).collect(),
        volume_groups: plan.groups.iter().map(|group| group.group.clone()).collect(),
        stored,
        ..Manifest::new(image, version, options.created.clone(), options.compression)
    };
    manifest.format_version = manifest.needed_format_version();
    manifest
}

fn report(manifest: &Manifest, totals: &Totals) -> Report {
    let bad = |volume: &StoredVolume| {
        let name = volume.volume.clone();
        volume.bad_ranges.clone().into_iter().map(move |range| (name.clone(), range))
    };
    Report {
        read_bytes: totals.done_bytes.load(Ordering::Relaxed),
        sent_bytes: totals.sent_bytes.load(Ordering::Relaxed),
        bad_ranges: manifest.stored.iter().flat_map(bad).collect(),
    }
}
