//! What stands in the directories of a store: images, versions, plain files.

use super::{Directory, io_error};
use crate::image::{ImageName, ImageVersion, StoreError, VersionName, layout};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The names in a directory; none where there is no directory.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().into_string().ok())).filter_map(Result::transpose).collect()
}

/// The files in a directory and when they were last changed; those that vanish meanwhile are left out.
pub(super) fn files(directory: &Path) -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let mut files = Vec::new();
    for name in names(directory)? {
        let path = directory.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => files.push((path, metadata.modified()?)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(files)
}

/// Removes a file; one that is gone already is as good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Directory {
    pub(super) fn list_images(&self) -> Result<Vec<ImageName>, StoreError> {
        let mut images = Vec::new();
        for image in self.image_names()? {
            if !self.list_versions(&image)?.is_empty() {
                images.push(image);
            }
        }
        images.sort();
        Ok(images)
    }

    /// Every image that has a directory.
    pub(super) fn image_names(&self) -> Result<Vec<ImageName>, StoreError> {
        let names = names(&self.path(layout::IMAGES))
            .map_err(io_error(format!("listing the images of {}", self.root().display())))?;
        Ok(names.into_iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Every version of an image that has a directory.
    pub(super) fn version_names(&self, image: &ImageName) -> Result<Vec<VersionName>, StoreError> {
        let names = names(&self.path(&layout::image_directory(image)))
            .map_err(io_error(format!("listing the versions of {image}")))?;
        Ok(names.into_iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(super) fn list_versions(&self, image: &ImageName) -> Result<Vec<VersionName>, StoreError> {
        let mut versions = self.version_names(image)?;
        versions.retain(|version| {
            let version = ImageVersion { image: image.clone(), version: version.clone() };
            self.path(&layout::manifest_file(&version)).is_file()
        });
        versions.sort_by(|a, b| a.age_key().cmp(&b.age_key()).then_with(|| a.cmp(b)));
        Ok(versions)
    }
}
