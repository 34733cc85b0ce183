//! Stores and the images in them.

use crate::http::Access;
use crate::image::{ImageName, ImageVersion, Manifest, Store, VersionName};
use crate::progress::Monitor;
use crate::store::{self, OpenOptions};
use crate::verify::{self, Report};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

/// How a store is reached.
#[derive(Debug, Clone, Default)]
pub struct StoreSettings {
    /// Path or URL.
    pub location: String,
    /// How its server is reached, where it has one.
    pub access: Access,
}

/// An image as people name it: `NAME`, the newest version, or `NAME@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// The image.
    pub image: ImageName,
    /// The version, where one is named.
    pub version: Option<VersionName>,
}

impl FromStr for ImageReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (image, version) = match text.split_once('@') {
            Some((image, version)) => (image, Some(version)),
            None => (text, None),
        };
        let version = version.map(str::parse).transpose().map_err(|error| format!("{error}"))?;
        Ok(Self { image: image.parse().map_err(|error| format!("{error}"))?, version })
    }
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Name.
    pub image: String,
    /// Version.
    pub version: String,
    /// When it was captured, RFC 3339.
    pub created: String,
    /// Number of disks.
    pub disks: usize,
    /// Sum of the sizes of the disks.
    pub disk_bytes: u64,
    /// Bytes in use on them.
    pub used_bytes: u64,
    /// True: a schema without data, which can be planned with and not deployed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub schema_only: bool,
    /// Compressed bytes that this capture added to the store.
    pub stored_bytes: u64,
    /// The remark of the person who captured it.
    pub comment: Option<String>,
}

/// Opens a store; `create` makes a directory a store.
pub fn open_store(settings: &StoreSettings, create: bool) -> Result<Arc<dyn Store>> {
    let options = OpenOptions { access: settings.access.clone(), create };
    // The errors name the store; a URL with a password in it must not be shown.
    Ok(store::open(&settings.location, &options)?)
}

/// The version that a reference means; the newest with data where it names none, or the newest schema.
pub fn resolve(store: &dyn Store, reference: &ImageReference) -> Result<ImageVersion> {
    let image = reference.image.clone();
    if let Some(version) = reference.version.clone() {
        return Ok(ImageVersion { image, version });
    }
    match Manifest::newest(store, &image)? {
        Some((version, _)) => Ok(version),
        None => {
            let known: Vec<String> = store.images()?.iter().map(ToString::to_string).collect();
            let known = if known.is_empty() { "no image".to_owned() } else { known.join(", ") };
            bail!("there is no image \"{image}\" in {}; it holds {known}", store.location())
        }
    }
}

/// Reads the manifest of a version and checks it.
pub fn load_manifest(store: &dyn Store, version: &ImageVersion) -> Result<Manifest> {
    Manifest::load(store, version).with_context(|| format!("reading the manifest of {version}"))
}

/// Every version of every image, or of one. A version whose manifest cannot be read is a warning in
/// `unreadable`, not the end of the list.
pub fn list_images(
    store: &dyn Store,
    only: Option<&ImageName>,
    unreadable: &mut Vec<String>,
) -> Result<Vec<ImageSummary>> {
    let images = match only {
        Some(image) => vec![image.clone()],
        None => store.images()?,
    };
    let mut list = Vec::new();
    for image in images {
        for version in store.versions(&image)? {
            let version = ImageVersion { image: image.clone(), version };
            match load_manifest(store, &version) {
                Ok(manifest) => list.push(summary(&manifest)),
                Err(error) => unreadable.push(format!("{error:#}")),
            }
        }
    }
    Ok(list)
}

/// Bytes in use on the disks of an image.
fn used_bytes(manifest: &Manifest) -> u64 {
    let stored = manifest.stored.iter().map(|volume| volume.used_bytes);
    let described = manifest.volumes().filter(|_| manifest.schema_only);
    let described =
        described.filter_map(|volume| volume.content.file_system().and_then(|found| found.used_bytes));
    stored.chain(described).fold(0, u64::saturating_add)
}

fn summary(manifest: &Manifest) -> ImageSummary {
    let sum = |bytes: &mut dyn Iterator<Item = u64>| bytes.fold(0, u64::saturating_add);
    ImageSummary {
        image: manifest.image.to_string(),
        version: manifest.version.to_string(),
        created: manifest.created.clone(),
        disks: manifest.disks.len(),
        disk_bytes: sum(&mut manifest.disks.iter().map(|disk| disk.size_bytes)),
        used_bytes: used_bytes(manifest),
        schema_only: manifest.schema_only,
        stored_bytes: sum(&mut manifest.stored.iter().map(|volume| volume.stored_bytes)),
        comment: manifest.comment.clone(),
    }
}

/// Checks an image; `deep` reads and hashes every chunk.
pub fn verify(
    store: &dyn Store,
    reference: &ImageReference,
    deep: bool,
    workers: NonZeroUsize,
    monitor: &dyn Monitor,
) -> Result<(ImageVersion, Report)> {
    let version = resolve(store, reference)?;
    let manifest = load_manifest(store, &version)?;
    let report = verify::run(&manifest, &version, store, deep, workers, monitor)?;
    Ok((version, report))
}
