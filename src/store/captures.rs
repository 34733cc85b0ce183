//! Captures under way: a marker file each, from `begin_capture` to `publish` or `abandon`.
//!
//! A marker keeps the collector from what its capture stores. One that outlives its process says that chunks
//! written since may never have reached the medium.

use super::listing;
use super::{Directory, io_error};
use crate::image::{ImageVersion, StoreError, layout};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

/// A marker that is older belongs to a capture that died.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// What this process knows about captures.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Captures begun through this process.
    own: BTreeSet<ImageVersion>,
    /// Chunks changed since then may be damaged: the oldest marker of somebody else. `None` until looked for.
    suspect_since: Option<Option<SystemTime>>,
}

/// One marker.
#[derive(Debug)]
pub(super) struct Marker {
    pub(super) path: PathBuf,
    pub(super) version: ImageVersion,
    pub(super) begun: SystemTime,
}

/// A name for this process, different on each start.
pub(super) fn process_name() -> String {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| format!("{:016x}{:016x}", crate::http::random(), crate::http::random())).clone()
}

impl Directory {
    /// Every marker there is.
    pub(super) fn markers(&self) -> Result<Vec<Marker>, StoreError> {
        let files = listing::files(&self.path(layout::CAPTURES))
            .map_err(io_error(format!("listing the captures of {}", self.root().display())))?;
        let marker = |(path, begun): (PathBuf, SystemTime)| {
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some(Marker { path, version, begun })
        };
        Ok(files.into_iter().filter_map(marker).collect())
    }

    /// Announces a capture for `holder`, who may do so more than once; anyone else is refused.
    pub fn begin_capture_as(&self, version: &ImageVersion, holder: &str) -> Result<(), StoreError> {
        self.refuse_published(version)?;
        let relative = layout::capture_file(version);
        let path = self.path(&relative);
        let doing = || io_error(format!("announcing the capture {version}"));
        fs::create_dir_all(self.path(layout::CAPTURES)).map_err(doing())?;
        let mut temporary = self.temporary()?;
        temporary
            .write_all(holder.as_bytes())
            .and_then(|()| temporary.as_file().sync_all())
            .map_err(doing())?;
        if let Err(failed) = temporary.persist_noclobber(&path) {
            let taken = failed.error.kind() == io::ErrorKind::AlreadyExists;
            if !taken {
                return Err(doing()(failed.error));
            }
            if fs::read(&path).map_err(doing())? != holder.as_bytes() {
                return Err(StoreError::Refused { fact: format!("another capture is writing {version}") });
            }
        }
        self.sync_directory(&self.path(layout::CAPTURES))?;
        let mut held = self.captures.lock().unwrap_or_else(PoisonError::into_inner);
        held.own.insert(version.clone());
        held.suspect_since = None;
        Ok(())
    }

    /// Ends a capture.
    pub(super) fn end_capture(&self, version: &ImageVersion) -> Result<(), StoreError> {
        listing::remove(&self.path(&layout::capture_file(version)))
            .map_err(io_error(format!("ending the capture {version}")))?;
        self.captures.lock().unwrap_or_else(PoisonError::into_inner).own.remove(version);
        Ok(())
    }

    /// True while a capture that began through this process goes on.
    pub(super) fn is_captured_into(&self) -> bool {
        !self.captures.lock().unwrap_or_else(PoisonError::into_inner).own.is_empty()
    }

    /// Since when chunks may be there that a crash has damaged. Looked for at the first question after a
    /// capture began.
    pub(super) fn suspect_since(&self) -> Result<Option<SystemTime>, StoreError> {
        let mut held = self.captures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.suspect_since {
            return Ok(known);
        }
        let markers = self.markers()?;
        let foreign = markers.iter().filter(|marker| !held.own.contains(&marker.version));
        let since = foreign.map(|marker| marker.begun).min();
        held.suspect_since = Some(since);
        Ok(since)
    }
}
