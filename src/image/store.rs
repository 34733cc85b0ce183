//! What a place for images has to be able to do. `store` implements it for directories and servers.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::str::FromStr;

/// SHA-256 of the content of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; 32]);

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Name of an image: 1 to 100 characters of `A-Z a-z 0-9 . _ -`, not beginning with a dot or a dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

/// Name of one capture of an image: `2026-11-20T211500Z`, with `-2` and so on where a second has several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionName(String);

/// One capture of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageVersion {
    /// The image.
    pub image: ImageName,
    /// The capture.
    pub version: VersionName,
}

/// Text that cannot name an image or a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" cannot be a name; use up to 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit"
)]
pub struct ParseNameError(pub(super) String);

fn checked(text: &str) -> Result<String, ParseNameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let sound = (1..=100).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(allowed);
    if sound { Ok(text.to_owned()) } else { Err(ParseNameError(text.to_owned())) }
}

macro_rules! name {
    ($type:ident) => {
        impl FromStr for $type {
            type Err = ParseNameError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                checked(text).map(Self)
            }
        }
        impl TryFrom<String> for $type {
            type Error = ParseNameError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}
name!(ImageName);
name!(VersionName);

impl VersionName {
    /// The order in which captures were made, also where one second has several: `...Z-2` before `...Z-10`.
    #[must_use]
    pub fn age_key(&self) -> (&str, u64) {
        match self.0.rsplit_once("Z-") {
            Some((second, number)) => (second, number.parse().unwrap_or(u64::MAX)),
            None => (self.0.strip_suffix('Z').unwrap_or(&self.0), 0),
        }
    }
}

impl FromStr for ImageVersion {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (image, version) = text.split_once('@').ok_or_else(|| ParseNameError(text.to_owned()))?;
        Ok(Self { image: image.parse()?, version: version.parse()? })
    }
}

impl fmt::Display for ImageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.image, self.version)
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The place cannot be reached or its medium fails; what was stored so far stays.
    #[error("{doing}")]
    Io {
        /// What was being done, with its object: `storing chunk ab12...`.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// It is not there.
    #[error("{what} is not in the store")]
    NotFound {
        /// The image, version, file or chunk.
        what: String,
    },
    /// The store does not allow it: a bad token, a name in use, a store that cannot list.
    #[error("{fact}")]
    Refused {
        /// Why, and the way out.
        fact: String,
    },
    /// The store is of a version that this program does not know.
    #[error("{fact}")]
    Unsupported {
        /// Which version it is and which are known.
        fact: String,
    },
    /// What is stored is not what was stored.
    #[error("{what}: {fact}")]
    Corrupt {
        /// The chunk or file.
        what: String,
        /// The contradiction.
        fact: String,
    },
}

/// What the collector is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectOptions {
    /// Chunks stored or asked for within this time are spared, whatever refers to them.
    pub grace_seconds: u64,
    /// Only says what would be deleted.
    pub dry_run: bool,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { grace_seconds: 3600, dry_run: false }
    }
}

/// What the collector did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectReport {
    /// Published versions that were read.
    pub versions: u64,
    /// Captures under way, whose chunks were spared.
    pub captures: u64,
    /// Chunks that stay.
    pub kept_chunks: u64,
    /// Bytes of the chunks that stay.
    pub kept_bytes: u64,
    /// Chunks that were deleted, or would be.
    pub deleted_chunks: u64,
    /// Bytes of the chunks that were deleted, or would be.
    pub deleted_bytes: u64,
    /// Left-overs of captures and uploads that ended badly: files that were deleted, or would be.
    pub deleted_leftovers: u64,
}

/// A place where chunks and images live. All methods are called from several threads.
pub trait Store: Send + Sync {
    /// The path or URL, for messages.
    fn location(&self) -> String;

    /// For each chunk, whether it is stored. A chunk that is said to be stored is safe from the collector
    /// until the caller's capture ends.
    fn have_chunks(&self, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError>;

    /// Stores one zstd frame under the hash of its content. Visible only when it is whole; storing a chunk
    /// that is already there succeeds.
    fn put_chunk(&self, id: ChunkId, frame: &[u8]) -> Result<(), StoreError>;

    /// The frame of a chunk, of at most `limit_bytes`.
    fn get_chunk(&self, id: ChunkId, limit_bytes: u64) -> Result<Vec<u8>, StoreError>;

    /// Another copy of a chunk whose frame was not what it should be, from a better source; `None` where the frame came from
    /// the best one there is.
    fn get_chunk_again(&self, id: ChunkId, limit_bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let _ = (id, limit_bytes);
        Ok(None)
    }

    /// Names of the images that have at least one version, ascending.
    fn images(&self) -> Result<Vec<ImageName>, StoreError>;

    /// The published versions of an image, oldest first; empty where there is no such image.
    fn versions(&self, image: &ImageName) -> Result<Vec<VersionName>, StoreError>;

    /// Announces a capture, so that the collector spares what it stores. Ended by `publish` or `abandon`.
    fn begin_capture(&self, version: &ImageVersion) -> Result<(), StoreError>;

    /// Stores a file of a version that is not published yet.
    fn put_file(&self, version: &ImageVersion, file: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Reads a file of a version, of at most `limit_bytes`.
    fn get_file(&self, version: &ImageVersion, file: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError>;

    /// Stores `image.json`, atomically and as the last file: from now on the version exists. Refused where
    /// it exists already.
    fn publish(&self, version: &ImageVersion, manifest: &[u8]) -> Result<(), StoreError>;

    /// Removes what an unfinished capture put beside its chunks. The chunks stay, so that a new attempt
    /// sends only what is missing.
    fn abandon(&self, version: &ImageVersion) -> Result<(), StoreError>;

    /// Deletes a version: its manifest first. Its chunks stay until they are collected.
    fn delete_version(&self, version: &ImageVersion) -> Result<(), StoreError>;

    /// Deletes the chunks that no version refers to. Deletes nothing where any version cannot be read.
    fn collect(&self, options: &CollectOptions) -> Result<CollectReport, StoreError> {
        let _ = options;
        Err(StoreError::Refused { fact: format!("{} cannot collect garbage", self.location()) })
    }
}
