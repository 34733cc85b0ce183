//! Reading what a manifest speaks of, checked against it before anyone sees it.

use super::{
    ImageName, ImageVersion, Index, MAX_INDEX_BYTES, MAX_MANIFEST_BYTES, MAX_USED_MAP_BYTES, Manifest, Store,
    StoreError, StoredFile, StoredVolume, UsedMap, layout,
};
use crate::units::RangeSet;

impl Manifest {
    /// Reads the manifest of a version.
    ///
    /// # Errors
    /// What the store says, or [`StoreError::Corrupt`] and [`StoreError::Unsupported`] for what it holds.
    pub fn load(store: &dyn Store, version: &ImageVersion) -> Result<Self, StoreError> {
        let bytes = store.get_file(version, layout::MANIFEST_FILE, MAX_MANIFEST_BYTES)?;
        let manifest = Self::decode(&bytes).map_err(|error| match error {
            super::ManifestError::Unsupported { .. } => StoreError::Unsupported { fact: error.to_string() },
            super::ManifestError::Corrupt { .. } => corrupt(&version.to_string(), &error),
        })?;
        if manifest.image == version.image && manifest.version == version.version {
            Ok(manifest)
        } else {
            let fact = format!("its manifest is that of {}@{}", manifest.image, manifest.version);
            Err(StoreError::Corrupt { what: version.to_string(), fact })
        }
    }

    /// What the name of an image alone means: its newest version that holds data or, where none does, its newest schema;
    /// with its manifest where that can be read. One that cannot be is not passed over, so that whoever reads it is told.
    ///
    /// # Errors
    /// Where the versions cannot be listed.
    pub fn newest(
        store: &dyn Store,
        image: &ImageName,
    ) -> Result<Option<(ImageVersion, Option<Self>)>, StoreError> {
        let mut schema = None;
        for version in store.versions(image)?.into_iter().rev() {
            let version = ImageVersion { image: image.clone(), version };
            match Self::load(store, &version) {
                Ok(manifest) if manifest.schema_only => {
                    schema.get_or_insert((version, Some(manifest)));
                }
                manifest => return Ok(Some((version, manifest.ok()))),
            }
        }
        Ok(schema)
    }

    /// Reads the index of a volume.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    pub fn load_index(
        &self,
        store: &dyn Store,
        version: &ImageVersion,
        volume: &str,
    ) -> Result<Index, StoreError> {
        let (stored, volume_bytes) = self.stored_and_size(volume)?;
        let name = &stored.index.name;
        let bytes = fetch(&stored.index, store, version, MAX_INDEX_BYTES)?;
        let index = Index::decode(&bytes).map_err(|error| corrupt(name, &error))?;
        same(name, "is for a volume", index.volume_bytes(), volume_bytes)?;
        Ok(index)
    }

    /// Reads the used map of a volume.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    pub fn load_used(
        &self,
        store: &dyn Store,
        version: &ImageVersion,
        volume: &str,
    ) -> Result<RangeSet, StoreError> {
        let (stored, volume_bytes) = self.stored_and_size(volume)?;
        let name = &stored.used.name;
        let bytes = fetch(&stored.used, store, version, MAX_USED_MAP_BYTES)?;
        let map = UsedMap::decode(&bytes).map_err(|error| corrupt(name, &error))?;
        same(name, "is for a volume", map.volume_bytes, volume_bytes)?;
        same(name, "marks as used", map.used.total_bytes(), stored.used_bytes)?;
        Ok(map.used)
    }

    fn stored_and_size(&self, volume: &str) -> Result<(&StoredVolume, u64), StoreError> {
        let described = self.volumes().find(|described| described.name == volume);
        match (self.stored(volume), described) {
            (Some(stored), Some(described)) => Ok((stored, described.size_bytes)),
            _ => Err(StoreError::NotFound { what: format!("the content of {volume}") }),
        }
    }
}

/// The bytes of a file, which are those that the manifest speaks of.
fn fetch(
    file: &StoredFile,
    store: &dyn Store,
    version: &ImageVersion,
    limit_bytes: u64,
) -> Result<Vec<u8>, StoreError> {
    let bytes = store.get_file(version, &file.name, limit_bytes)?;
    if file.matches(&bytes) {
        return Ok(bytes);
    }
    let fact = format!("its {} bytes are not the {} that were stored", bytes.len(), file.length_bytes);
    Err(StoreError::Corrupt { what: format!("{version}, {}", file.name), fact })
}

fn same(file: &str, what: &str, found: u64, expected: u64) -> Result<(), StoreError> {
    if found == expected {
        return Ok(());
    }
    let fact = format!("it {what} {found} bytes, the manifest says {expected}");
    Err(StoreError::Corrupt { what: file.to_owned(), fact })
}

fn corrupt(what: &str, error: &dyn std::error::Error) -> StoreError {
    StoreError::Corrupt { what: what.to_owned(), fact: error.to_string() }
}
