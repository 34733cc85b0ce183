//! The collector: deletes the chunks that nothing refers to, beside captures that go on.
//!
//! A chunk is deleted only where all of this holds: no version, published or not, refers to it; it was
//! neither stored nor asked for since the grace period began, nor since the oldest capture under way began;
//! and, after it was moved out of sight, it still was not. A capture that asks for a chunk touches it, so it
//! either keeps the chunk or learns that it is gone and sends it again. Where one manifest or index cannot be
//! read, nothing is deleted at all. Time is that of the store's medium, so clocks need not agree.

use super::captures::{Marker, STALE_AFTER};
use super::listing;
use super::references::{self, References};
use super::{Directory, io_error};
use crate::image::{ChunkId, CollectOptions, CollectReport, ImageVersion, Store, StoreError, layout};
use crate::units::u64_from;
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

const LOCK_FILE: &str = "collect.lock";
const TRASH: &str = "trash";

/// Collects the garbage of a store.
pub(super) fn collect(store: &Directory, options: &CollectOptions) -> Result<CollectReport, StoreError> {
    let _lock = lock(store)?;
    restore_trash(store)?;
    // In this order: a capture that begins later touches what it uses later than `now`.
    let now = time_of_store(store)?;
    let (live, stale): (Vec<Marker>, Vec<Marker>) =
        store.markers()?.into_iter().partition(|marker| age(now, marker.begun) < STALE_AFTER);
    let begun = live.iter().map(|marker| marker.begun).min();
    let grace = now.checked_sub(Duration::from_secs(options.grace_seconds)).unwrap_or(SystemTime::UNIX_EPOCH);
    let cutoff = begun.map_or(grace, |begun| begun.min(grace));
    let captures: BTreeSet<ImageVersion> = live.iter().map(|marker| marker.version.clone()).collect();
    let references = references::read(store, &captures, now)?;
    let mut report = CollectReport {
        versions: references.versions,
        captures: u64_from(live.len()),
        ..CollectReport::default()
    };
    sweep(store, &references.ids, cutoff, options.dry_run, &mut report)?;
    remove_leftovers(store, &references, &stale, options.dry_run, &mut report)?;
    Ok(report)
}

fn age(now: SystemTime, then: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

/// Two collectors would take each other's trash for their own.
fn lock(store: &Directory) -> Result<Flock<File>, StoreError> {
    let path = store.path(LOCK_FILE);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(io_error(format!("opening {}", path.display())))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::Error::EWOULDBLOCK => StoreError::Refused {
            fact: format!("another collector is at work in {}; wait for it to end", store.location()),
        },
        _ => io_error(format!("locking {}", path.display()))(error.into()),
    })
}

/// Puts back what a collector that was killed had moved out of sight.
fn restore_trash(store: &Directory) -> Result<(), StoreError> {
    let trash = store.path(TRASH);
    for name in listing::names(&trash).map_err(io_error(format!("listing {}", trash.display())))? {
        if let Some(id) = layout::chunk_of_file_name(&name) {
            put_back(store, id)?;
        }
    }
    Ok(())
}

fn trash_file(id: ChunkId) -> String {
    format!("{TRASH}/{id}{}", layout::CHUNK_ENDING)
}

/// Brings a chunk back into sight, touched: it may replace one that was stored again and counted on meanwhile.
fn put_back(store: &Directory, id: ChunkId) -> Result<(), StoreError> {
    let place = store.path(&layout::chunk_file(id));
    let moved = fs::create_dir_all(store.path(&layout::chunk_directory(id)))
        .and_then(|()| fs::rename(store.path(&trash_file(id)), place));
    moved.map_err(io_error(format!("putting back chunk {id}")))?;
    store.touch_chunk(id).map(drop)
}

/// The clock of the medium, as a file that is written now shows it.
fn time_of_store(store: &Directory) -> Result<SystemTime, StoreError> {
    let modified = store.temporary()?.as_file().metadata().and_then(|metadata| metadata.modified());
    modified.map_err(io_error(format!("reading the time of {}", store.location())))
}

fn sweep(
    store: &Directory,
    referenced: &[ChunkId],
    cutoff: SystemTime,
    dry_run: bool,
    report: &mut CollectReport,
) -> Result<(), StoreError> {
    let chunks = store.path(layout::CHUNKS);
    if !dry_run {
        let trash = store.path(TRASH);
        fs::create_dir_all(&trash).map_err(io_error(format!("creating {}", trash.display())))?;
    }
    for group in listing::names(&chunks).map_err(io_error(format!("listing {}", chunks.display())))? {
        let directory = chunks.join(&group);
        let names =
            listing::names(&directory).map_err(io_error(format!("listing {}", directory.display())))?;
        for id in names.iter().filter_map(|name| layout::chunk_of_file_name(name)) {
            if store.path(&layout::chunk_directory(id)) != directory {
                continue;
            }
            let path = store.path(&layout::chunk_file(id));
            let Some((bytes, modified)) = length_and_time(&path)? else { continue };
            let unwanted = modified < cutoff && referenced.binary_search(&id).is_err();
            if unwanted && (dry_run || delete(store, id, cutoff)?) {
                report.deleted_chunks += 1;
                report.deleted_bytes += bytes;
            } else {
                report.kept_chunks += 1;
                report.kept_bytes += bytes;
            }
        }
        if !dry_run {
            // Fails where something is left in it, as it should.
            let _ = fs::remove_dir(&directory);
        }
    }
    Ok(())
}

/// Length of a file and when it was last touched. Opens it, so that a network file system asks its server
/// instead of its cache.
fn length_and_time(path: &Path) -> Result<Option<(u64, SystemTime)>, StoreError> {
    let read = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        Ok((metadata.len(), metadata.modified()?))
    });
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(format!("reading {}", path.display()))(error)),
    }
}

/// Moves a chunk out of sight, looks once more whether somebody asked for it, then deletes it; false where it
/// was put back.
fn delete(store: &Directory, id: ChunkId, cutoff: SystemTime) -> Result<bool, StoreError> {
    let doing = || io_error(format!("deleting chunk {id}"));
    let aside = store.path(&trash_file(id));
    match fs::rename(store.path(&layout::chunk_file(id)), &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(doing())?,
    }
    match length_and_time(&aside)? {
        Some((_, modified)) if modified >= cutoff => put_back(store, id).map(|()| false),
        _ => listing::remove(&aside).map(|()| true).map_err(doing()),
    }
}

fn remove_leftovers(
    store: &Directory,
    references: &References,
    stale: &[Marker],
    dry_run: bool,
    report: &mut CollectReport,
) -> Result<(), StoreError> {
    report.deleted_leftovers = u64_from(references.leftovers.len() + stale.len());
    report.deleted_leftovers += store.remove_stale_temporaries(STALE_AFTER, dry_run)?;
    if dry_run {
        return Ok(());
    }
    for version in &references.leftovers {
        store.remove_version_files(version)?;
    }
    for marker in stale {
        listing::remove(&marker.path).map_err(io_error(format!("removing {}", marker.path.display())))?;
    }
    Ok(())
}
