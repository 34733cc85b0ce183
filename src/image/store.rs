//! What a place for images has to be able to do. `store` implements it for directories and servers.

use std::fmt;
use std::io;

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(String);

/// Name of one capture of an image: `2026-11-20T211500Z`, with `-2` and so on where a second has several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
pub struct ParseNameError(String);

fn checked(text: &str) -> Result<String, ParseNameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let sound = (1..=100).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(allowed);
    if sound { Ok(text.to_owned()) } else { Err(ParseNameError(text.to_owned())) }
}

macro_rules! name {
    ($type:ident) => {
        impl std::str::FromStr for $type {
            type Err = ParseNameError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                checked(text).map(Self)
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
}
