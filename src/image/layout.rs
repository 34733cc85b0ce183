//! Where everything lies in a store, as paths relative to its root with `/` between their parts.
//!
//! Every path is made of checked names only, so none can leave the store.

use super::{ChunkId, ImageName, ImageVersion, ParseNameError};

/// The file that says what this store is.
pub const STORE_FILE: &str = "remint-store.json";
/// The file that makes a version exist.
pub const MANIFEST_FILE: &str = "image.json";
/// The directory of the chunks; a chunk store of casync.
pub const CHUNKS: &str = "chunks";
/// The directory of the images.
pub const IMAGES: &str = "images";
/// The directory of the captures under way.
pub const CAPTURES: &str = "captures";
/// Ending of a chunk's file.
pub const CHUNK_ENDING: &str = ".cacnk";

/// The directory of a chunk: `chunks/ab12`.
#[must_use]
pub fn chunk_directory(id: ChunkId) -> String {
    let [first, second, ..] = id.0;
    format!("{CHUNKS}/{first:02x}{second:02x}")
}

/// The file of a chunk: `chunks/ab12/ab12...ef.cacnk`.
#[must_use]
pub fn chunk_file(id: ChunkId) -> String {
    format!("{}/{id}{CHUNK_ENDING}", chunk_directory(id))
}

/// The chunk whose file has this name, where it is one.
#[must_use]
pub fn chunk_of_file_name(name: &str) -> Option<ChunkId> {
    name.strip_suffix(CHUNK_ENDING)?.parse().ok()
}

/// The directory of an image: `images/NAME`.
#[must_use]
pub fn image_directory(image: &ImageName) -> String {
    format!("{IMAGES}/{image}")
}

/// The directory of a version: `images/NAME/VERSION`.
#[must_use]
pub fn version_directory(version: &ImageVersion) -> String {
    format!("{IMAGES}/{}/{}", version.image, version.version)
}

/// The manifest of a version.
#[must_use]
pub fn manifest_file(version: &ImageVersion) -> String {
    format!("{}/{MANIFEST_FILE}", version_directory(version))
}

/// A file of a version beside its manifest; refused where the name is not that of an index or a used map.
pub fn version_file(version: &ImageVersion, file: &str) -> Result<String, ParseNameError> {
    if is_volume_file(file) {
        Ok(format!("{}/{file}", version_directory(version)))
    } else {
        Err(ParseNameError(file.to_owned()))
    }
}

/// The marker of a capture under way: `captures/NAME@VERSION`.
#[must_use]
pub fn capture_file(version: &ImageVersion) -> String {
    format!("{CAPTURES}/{version}")
}

/// The name of the index of a volume.
#[must_use]
pub fn index_name(volume: &str) -> String {
    format!("{volume}.caibx")
}

/// The name of the used map of a volume.
#[must_use]
pub fn used_map_name(volume: &str) -> String {
    format!("{volume}.used")
}

/// True for names that volumes can have: 1 to 64 characters of `A-Z a-z 0-9 _ -`, beginning with a letter or
/// digit, so that their files need no care anywhere.
#[must_use]
pub fn is_volume_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// True for the names of indexes and used maps.
#[must_use]
pub fn is_volume_file(file: &str) -> bool {
    file.strip_suffix(".caibx").or_else(|| file.strip_suffix(".used")).is_some_and(is_volume_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        let version: ImageVersion = "debian@2026-11-20T211500Z".parse().unwrap();
        assert_eq!(
            version_file(&version, "d0-p2.caibx").unwrap(),
            "images/debian/2026-11-20T211500Z/d0-p2.caibx"
        );
        for file in
            ["", "..", "../x.used", "/etc/passwd", ".caibx", "a/b.used", "image.json", "a.used\0", "-a.used"]
        {
            assert!(version_file(&version, file).is_err(), "{file}");
        }
        for text in ["debian", "../x@1", "a@..", "a/b@1", "@1", "a@", "a@b@c", ".a@1"] {
            assert!(text.parse::<ImageVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn chunks_lie_where_casync_looks_for_them() {
        let id = ChunkId::of(b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(chunk_file(id), format!("chunks/e3b0/{hex}.cacnk"));
        assert_eq!(chunk_of_file_name(&format!("{hex}.cacnk")), Some(id));
        assert_eq!(chunk_of_file_name(&format!("{}.cacnk", hex.to_uppercase())), None);
    }

    #[test]
    fn versions_of_one_second_are_ordered_by_their_number() {
        let mut names: Vec<super::super::VersionName> =
            ["2026-11-20T211501Z", "2026-11-20T211500Z-10", "2026-11-20T211500Z-2", "2026-11-20T211500Z"]
                .map(|name| name.parse().unwrap())
                .into();
        names.sort_by(|a, b| a.age_key().cmp(&b.age_key()));
        assert_eq!(
            names.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
            ["2026-11-20T211500Z", "2026-11-20T211500Z-2", "2026-11-20T211500Z-10", "2026-11-20T211501Z"]
        );
    }
}
