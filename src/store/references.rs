//! Which chunks a store needs: those of every version, published or not.

use super::captures::STALE_AFTER;
use super::publish::{decode_manifest, read_index};
use super::{Directory, io_error, listing};
use crate::image::{
    ChunkId, ImageVersion, Index, MAX_INDEX_BYTES, MAX_MANIFEST_BYTES, Store, StoreError, layout,
};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

/// The chunks that versions refer to, in order and without repetition after `finish`.
#[derive(Default)]
pub(super) struct References {
    pub(super) ids: Vec<ChunkId>,
    /// How many were distinct when they were last put in order.
    ordered: usize,
    /// Published versions.
    pub(super) versions: u64,
    /// Versions that were never published and are no longer written to.
    pub(super) leftovers: Vec<ImageVersion>,
}

impl References {
    fn add(&mut self, index: &Index) {
        self.ids.extend(index.entries().iter().map(|entry| entry.id));
        // Memory stays within twice the number of distinct chunks, however many versions share them.
        if self.ids.len() > self.ordered.saturating_mul(2).max(1 << 20) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
        self.ordered = self.ids.len();
    }
}

/// Reads every index there is. Refuses where one cannot be read.
pub(super) fn read(
    store: &Directory,
    captures: &BTreeSet<ImageVersion>,
    now: SystemTime,
) -> Result<References, StoreError> {
    let mut references = References::default();
    let mut unreadable = Vec::new();
    for image in listing::names(&store.path(layout::IMAGES)).map_err(io_error("listing the images"))? {
        let directory = store.path(layout::IMAGES).join(&image);
        for version in listing::names(&directory).map_err(io_error(format!("listing {image}")))? {
            let read = match format!("{image}@{version}").parse() {
                Ok(version) => add_version(store, &version, captures, now, &mut references),
                Err(_) => refuse_strange(&directory.join(&version).join(layout::MANIFEST_FILE)),
            };
            if let Err(error) = read {
                unreadable.push(match error {
                    StoreError::Io { doing, source } => format!("{doing}: {source}"),
                    other => other.to_string(),
                });
            }
        }
    }
    if unreadable.is_empty() {
        references.finish();
        return Ok(references);
    }
    unreadable.truncate(10);
    Err(StoreError::Refused {
        fact: format!(
            "nothing was deleted, because not every image says which chunks it needs; restore or delete it first: {}",
            unreadable.join("; ")
        ),
    })
}

fn refuse_strange(manifest: &Path) -> Result<(), StoreError> {
    if !manifest.exists() {
        return Ok(());
    }
    let fact = "the name of its image or version is not one that Remint gives".to_owned();
    Err(StoreError::Corrupt { what: manifest.display().to_string(), fact })
}

fn add_version(
    store: &Directory,
    version: &ImageVersion,
    captures: &BTreeSet<ImageVersion>,
    now: SystemTime,
    references: &mut References,
) -> Result<(), StoreError> {
    match store.get_file(version, layout::MANIFEST_FILE, MAX_MANIFEST_BYTES) {
        Ok(bytes) => {
            let added = add_published(store, version, &bytes, references);
            // Somebody may have deleted it meanwhile: then its missing files mean nothing.
            let gone = added.is_err() && !store.path(&layout::manifest_file(version)).exists();
            if gone { Ok(()) } else { added }
        }
        Err(StoreError::NotFound { .. }) => add_unpublished(store, version, captures, now, references),
        Err(error) => Err(error),
    }
}

fn add_published(
    store: &Directory,
    version: &ImageVersion,
    manifest: &[u8],
    references: &mut References,
) -> Result<(), StoreError> {
    let manifest = decode_manifest(version, manifest)?;
    for stored in &manifest.stored {
        references.add(&read_index(store, version, stored)?);
    }
    references.versions += 1;
    Ok(())
}

/// The indexes of a capture under way; or, where it died long ago, what it left.
fn add_unpublished(
    store: &Directory,
    version: &ImageVersion,
    captures: &BTreeSet<ImageVersion>,
    now: SystemTime,
    references: &mut References,
) -> Result<(), StoreError> {
    let directory = store.path(&layout::version_directory(version));
    let files = listing::files(&directory).map_err(io_error(format!("listing {}", directory.display())))?;
    let young =
        files.iter().any(|(_, modified)| now.duration_since(*modified).unwrap_or_default() < STALE_AFTER);
    if !young && !captures.contains(version) {
        references.leftovers.push(version.clone());
        return Ok(());
    }
    for name in files.iter().filter_map(|(path, _)| path.file_name()?.to_str()) {
        if !layout::is_volume_file(name) || !name.ends_with(".caibx") {
            continue;
        }
        match store.get_file(version, name, MAX_INDEX_BYTES) {
            Ok(bytes) => references.add(&Index::decode(&bytes).map_err(|error| StoreError::Corrupt {
                what: format!("{name} of the unfinished {version}"),
                fact: error.to_string(),
            })?),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
