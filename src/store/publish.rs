//! The end of a capture, good or bad, and of a version.
//!
//! Publishing proves first that everything the manifest refers to is there: every file with its hash, every
//! chunk of every index. Then one `syncfs` makes all of it durable, and only then the manifest is renamed to
//! its place and its directories are synced.

use super::{Directory, io_error, listing};
use crate::image::{
    ChunkId, ImageVersion, Index, MAX_INDEX_BYTES, MAX_USED_MAP_BYTES, Manifest, Store, StoreError,
    StoredVolume, UsedMap, layout,
};
use crate::units::u64_from;
use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

/// A collector takes a chunk out of sight for a moment before it sees that it was asked for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const LOOKS: u32 = 3;
const TOUCHING_THREADS: usize = 8;

/// Refuses a manifest that is not that of `version`, or does not decode.
pub(super) fn decode_manifest(version: &ImageVersion, bytes: &[u8]) -> Result<Manifest, StoreError> {
    let what = || format!("{} of {version}", layout::MANIFEST_FILE);
    let manifest = Manifest::decode(bytes).map_err(|error| match error {
        crate::image::ManifestError::Unsupported { .. } => {
            StoreError::Unsupported { fact: format!("{version} has {error}") }
        }
        crate::image::ManifestError::Corrupt { fact } => StoreError::Corrupt { what: what(), fact },
    })?;
    if manifest.image != version.image || manifest.version != version.version {
        let fact = format!("it is that of {}@{}", manifest.image, manifest.version);
        return Err(StoreError::Corrupt { what: what(), fact });
    }
    Ok(manifest)
}

/// Reads the index of a stored volume and checks it against the manifest.
pub(super) fn read_index(
    store: &Directory,
    version: &ImageVersion,
    stored: &StoredVolume,
) -> Result<Index, StoreError> {
    let bytes = store.get_file(version, &stored.index.name, MAX_INDEX_BYTES)?;
    let corrupt =
        |fact: String| StoreError::Corrupt { what: format!("{} of {version}", stored.index.name), fact };
    if !stored.index.matches(&bytes) {
        return Err(corrupt("its length or hash is not what the manifest says".to_owned()));
    }
    Index::decode(&bytes).map_err(|error| corrupt(error.to_string()))
}

impl Directory {
    pub(super) fn publish_version(&self, version: &ImageVersion, bytes: &[u8]) -> Result<(), StoreError> {
        self.refuse_published(version)?;
        let manifest = decode_manifest(version, bytes)?;
        let mut chunks = Vec::new();
        for stored in &manifest.stored {
            let index = self.check_volume(version, &manifest, stored)?;
            chunks.extend(index.entries().iter().map(|entry| entry.id));
        }
        chunks.sort_unstable();
        chunks.dedup();
        self.require_chunks(version, chunks)?;
        let doing = || io_error(format!("making {version} durable"));
        let root = File::open(self.root()).map_err(doing())?;
        nix::unistd::syncfs(&root).map_err(|error| doing()(error.into()))?;
        self.place_manifest(version, &manifest, bytes)?;
        // The version exists now. A marker that stays behind only spares chunks for a while.
        let _ = self.end_capture(version);
        Ok(())
    }

    /// Reads the files of a volume and refuses those that the manifest does not describe.
    fn check_volume(
        &self,
        version: &ImageVersion,
        manifest: &Manifest,
        stored: &StoredVolume,
    ) -> Result<Index, StoreError> {
        let index = read_index(self, version, stored)?;
        let used_bytes = self.get_file(version, &stored.used.name, MAX_USED_MAP_BYTES)?;
        let corrupt =
            |file: &str, fact: String| StoreError::Corrupt { what: format!("{file} of {version}"), fact };
        if !stored.used.matches(&used_bytes) {
            let fact = "its length or hash is not what the manifest says".to_owned();
            return Err(corrupt(&stored.used.name, fact));
        }
        let used =
            UsedMap::decode(&used_bytes).map_err(|error| corrupt(&stored.used.name, error.to_string()))?;
        let size =
            manifest.volumes().find(|volume| volume.name == stored.volume).map(|volume| volume.size_bytes);
        let sizes = [index.volume_bytes(), used.volume_bytes];
        if size.is_none_or(|size| sizes.iter().any(|other| *other != size)) {
            let fact = format!("it describes {} bytes, the manifest {size:?}", index.volume_bytes());
            return Err(corrupt(&stored.index.name, fact));
        }
        if u64_from(index.entries().len()) != stored.chunks || used.used.total_bytes() != stored.used_bytes {
            return Err(corrupt(&stored.index.name, "its numbers are not those of the manifest".to_owned()));
        }
        Ok(index)
    }

    /// Touches every chunk, and refuses where one stays missing.
    fn require_chunks(&self, version: &ImageVersion, chunks: Vec<ChunkId>) -> Result<(), StoreError> {
        let mut missing = chunks;
        for look in 0..LOOKS {
            if look > 0 {
                thread::sleep(LOOK_AGAIN);
            }
            missing = self.untouchable(&missing)?;
            if missing.is_empty() {
                return Ok(());
            }
        }
        let first = missing.first().map(ToString::to_string).unwrap_or_default();
        Err(StoreError::Corrupt {
            what: version.to_string(),
            fact: format!("{} of its chunks are not in the store, {first} first", missing.len()),
        })
    }

    /// The chunks that are not there.
    fn untouchable(&self, chunks: &[ChunkId]) -> Result<Vec<ChunkId>, StoreError> {
        let share = chunks.len().div_ceil(TOUCHING_THREADS).max(1);
        let touch_share = |share: &[ChunkId]| {
            let missing = share.iter().filter_map(|id| match self.touch_chunk(*id) {
                Ok(true) => None,
                Ok(false) => Some(Ok(*id)),
                Err(error) => Some(Err(error)),
            });
            missing.collect::<Result<Vec<_>, _>>()
        };
        thread::scope(|scope| {
            let workers: Vec<_> =
                chunks.chunks(share).map(|share| scope.spawn(move || touch_share(share))).collect();
            let mut missing = Vec::new();
            for worker in workers {
                let found = worker.join().unwrap_or_else(|_| {
                    Err(io_error("looking for chunks")(io::Error::other("a thread ended badly")))
                });
                missing.extend(found?);
            }
            Ok(missing)
        })
    }

    fn place_manifest(
        &self,
        version: &ImageVersion,
        manifest: &Manifest,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let doing = || io_error(format!("publishing {version}"));
        let directory = self.path(&layout::version_directory(version));
        fs::create_dir_all(&directory).map_err(doing())?;
        let mut temporary = self.temporary()?;
        temporary.write_all(bytes).and_then(|()| temporary.as_file().sync_all()).map_err(doing())?;
        {
            let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
            self.refuse_published(version)?;
            self.require_files(version, manifest)?;
            if let Err(failed) = temporary.persist_noclobber(self.path(&layout::manifest_file(version))) {
                self.refuse_published(version)?;
                // No exclusive rename here (SMB): the check above has to do.
                failed
                    .file
                    .persist(self.path(&layout::manifest_file(version)))
                    .map_err(|e| doing()(e.error))?;
            }
        }
        for relative in [layout::version_directory(version), layout::image_directory(&version.image)] {
            self.sync_directory(&self.path(&relative))?;
        }
        self.sync_directory(&self.path(layout::IMAGES))
    }

    /// Refuses where a file is gone: a client that lost its patience may have abandoned what is being published.
    fn require_files(&self, version: &ImageVersion, manifest: &Manifest) -> Result<(), StoreError> {
        for file in manifest.stored.iter().flat_map(|stored| [&stored.index, &stored.used]) {
            self.open_version_file(version, &file.name)?;
        }
        Ok(())
    }

    pub(super) fn abandon_version(&self, version: &ImageVersion) -> Result<(), StoreError> {
        let placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.path(&layout::manifest_file(version)).is_file() {
            self.remove_version_files(version)?;
        }
        drop(placing);
        self.end_capture(version)
    }

    pub(super) fn delete_published(&self, version: &ImageVersion) -> Result<(), StoreError> {
        let manifest = self.path(&layout::manifest_file(version));
        match fs::remove_file(&manifest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NotFound { what: format!("image {version}") });
            }
            other => other.map_err(io_error(format!("deleting {version}")))?,
        }
        self.sync_directory(&self.path(&layout::version_directory(version)))?;
        self.remove_version_files(version)
    }

    /// Removes the files of a version that has no manifest, and the directories that are empty then.
    pub(super) fn remove_version_files(&self, version: &ImageVersion) -> Result<(), StoreError> {
        let directory = self.path(&layout::version_directory(version));
        let doing = || io_error(format!("deleting the files of {version}"));
        for name in listing::names(&directory).map_err(doing())? {
            if layout::is_volume_file(&name) {
                listing::remove(&directory.join(name)).map_err(doing())?;
            }
        }
        // A directory that is not empty holds what others put there: it stays.
        let _ = fs::remove_dir(&directory);
        let _ = fs::remove_dir(self.path(&layout::image_directory(&version.image)));
        Ok(())
    }
}
