//! The manifest of a version, `image.json`: all that is known about the disks, and every file stored for them.
//!
//! Strict, because it leads to a write: unknown fields are refused, and so is whatever contradicts itself
//! (`manifest_check`). A manifest of a version that is not known is refused before anything else is read.

use super::{ChunkId, ImageName, MAX_MANIFEST_BYTES, VersionName};
use crate::schema::{Compression, Disk, Volume, VolumeGroup};
use crate::units::{ByteRange, u64_from};
use serde::{Deserialize, Serialize};

/// What every manifest says first.
pub(super) const FORMAT: &str = "remint-image";
/// The newest version of the format that this program reads, where a volume keeps its size: older programs refuse it.
pub(super) const FORMAT_VERSION: u32 = 4;
/// The version of a schema without data.
const SCHEMA_FORMAT_VERSION: u32 = 3;
/// The version that is written where there are volume groups.
const GROUPS_FORMAT_VERSION: u32 = 2;
/// The version that is written where there is no volume group: the oldest programs read it.
const PLAIN_FORMAT_VERSION: u32 = 1;
/// How chunks and files are named and checked.
pub(super) const DIGEST: &str = "sha-256";

/// Everything about one version of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `remint-image`.
    pub format: String,
    /// 4 where a volume keeps its size, else 3 where there is no data, 2 where there are volume groups, 1 elsewhere.
    pub format_version: u32,
    /// Name of the image.
    pub image: ImageName,
    /// Name of the version.
    pub version: VersionName,
    /// When the capture began, RFC 3339 in UTC.
    pub created: String,
    /// The program that captured: `remint`.
    pub program: String,
    /// Its version.
    pub program_version: String,
    /// What the person who captured wanted to say.
    pub comment: Option<String>,
    /// How the chunks that this capture stored are compressed.
    pub compression: Compression,
    /// `sha-256`: names of chunks, and the digests below.
    pub digest: String,
    /// True: the disks are described and their content was not captured.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub schema_only: bool,
    /// The disks.
    pub disks: Vec<Disk>,
    /// The volume groups whose logical volumes are captured one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_groups: Vec<VolumeGroup>,
    /// The volumes whose content is stored; those that are left out or swap are not here.
    pub stored: Vec<StoredVolume>,
}

/// What is stored of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredVolume {
    /// Name of the volume: `d0-p2`.
    pub volume: String,
    /// Its index: `d0-p2.caibx`.
    pub index: StoredFile,
    /// Its used map: `d0-p2.used`.
    pub used: StoredFile,
    /// The size at which the volume was cut.
    pub chunk_bytes: u64,
    /// Number of chunks in the index.
    pub chunks: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes of the frames that this capture sent; what the store had already is not counted.
    pub stored_bytes: u64,
    /// Ranges of the volume that could not be read and are stored as zeros; ascending.
    pub bad_ranges: Vec<ByteRange>,
}

/// A file beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub length_bytes: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are not JSON of the manifest's form, or contradict themselves.
    #[error("corrupt manifest: {fact}")]
    Corrupt {
        /// The contradiction, with its place.
        fact: String,
    },
    /// A newer format.
    #[error(
        "a manifest of format version {found}; this version of Remint reads versions up to {FORMAT_VERSION}: use a newer Remint"
    )]
    Unsupported {
        /// The version found.
        found: u64,
    },
}

/// What is read of a manifest before its version is known. Lenient, so that a newer form is recognised.
#[derive(Deserialize)]
struct Head {
    format: String,
    format_version: u64,
}

impl StoredFile {
    /// Describes the bytes of a file.
    #[must_use]
    pub fn of(name: String, bytes: &[u8]) -> Self {
        Self { name, length_bytes: u64_from(bytes.len()), sha256: ChunkId::of(bytes).to_string() }
    }

    /// True where these are the bytes that the manifest speaks of.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.length_bytes == u64_from(bytes.len()) && self.sha256 == ChunkId::of(bytes).to_string()
    }
}

impl Manifest {
    /// A manifest of this program's format without disks.
    #[must_use]
    pub fn new(image: ImageName, version: VersionName, created: String, compression: Compression) -> Self {
        Self {
            format: FORMAT.to_owned(),
            format_version: PLAIN_FORMAT_VERSION,
            image,
            version,
            created,
            program: env!("CARGO_PKG_NAME").to_owned(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            comment: None,
            compression,
            digest: DIGEST.to_owned(),
            schema_only: false,
            disks: Vec::new(),
            volume_groups: Vec::new(),
            stored: Vec::new(),
        }
    }

    /// The version of the format that is needed for what it says.
    #[must_use]
    pub fn needed_format_version(&self) -> u32 {
        if self.volumes().any(|volume| volume.fixed) {
            FORMAT_VERSION
        } else if self.schema_only {
            SCHEMA_FORMAT_VERSION
        } else if !self.volume_groups.is_empty() {
            GROUPS_FORMAT_VERSION
        } else {
            PLAIN_FORMAT_VERSION
        }
    }

    /// Every volume: those of the disks, and the logical ones.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        let of_disks = self.disks.iter().flat_map(|disk| &disk.volumes);
        of_disks.chain(self.volume_groups.iter().flat_map(VolumeGroup::volumes))
    }

    /// What is stored of a volume.
    #[must_use]
    pub fn stored(&self, volume: &str) -> Option<&StoredVolume> {
        self.stored.iter().find(|stored| stored.volume == volume)
    }

    /// Every file beside the manifest.
    pub fn files(&self) -> impl Iterator<Item = &StoredFile> {
        self.stored.iter().flat_map(|stored| [&stored.index, &stored.used])
    }

    /// The bytes of `image.json`. Refused where the manifest contradicts itself, so that nothing is published
    /// that cannot be read back.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| ManifestError::Corrupt { fact: error.to_string() })?;
        let bytes = seal(&bytes);
        if u64_from(bytes.len()) > MAX_MANIFEST_BYTES {
            return Err(ManifestError::Corrupt { fact: format!("{} bytes long", bytes.len()) });
        }
        Ok(bytes)
    }

    /// Reads the bytes of `image.json`.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if u64_from(bytes.len()) > MAX_MANIFEST_BYTES {
            return Err(ManifestError::Corrupt { fact: format!("{} bytes long", bytes.len()) });
        }
        let not_json = |error: serde_json::Error| ManifestError::Corrupt { fact: error.to_string() };
        let head: Head = serde_json::from_slice(bytes).map_err(not_json)?;
        if head.format != FORMAT {
            let format: String = head.format.chars().take(40).collect();
            return Err(ManifestError::Corrupt { fact: format!("its format is \"{format}\"") });
        }
        let known = u64::from(PLAIN_FORMAT_VERSION)..=u64::from(FORMAT_VERSION);
        if !known.contains(&head.format_version) {
            return Err(ManifestError::Unsupported { found: head.format_version });
        }
        let manifest: Self = serde_json::from_slice(&unseal(bytes)?).map_err(not_json)?;
        manifest.check().map(|()| manifest)
    }
}

/// What stands between the members of a manifest and the digest of all bytes before it.
const BEFORE_DIGEST: &[u8] = b",\n  \"sha256\": \"";
/// What stands behind the digest.
const AFTER_DIGEST: &[u8] = b"\"\n}\n";

/// Adds the last member, `sha256`, to a JSON object: the SHA-256, in hexadecimal, of every byte in front of the
/// comma before it. White space and the brace at the end of `object` are replaced.
#[must_use]
pub fn seal(object: &[u8]) -> Vec<u8> {
    let members = object.trim_ascii_end();
    let members = members.strip_suffix(b"}").unwrap_or(members).trim_ascii_end();
    [members, BEFORE_DIGEST, ChunkId::of(members).to_string().as_bytes(), AFTER_DIGEST].concat()
}

/// The JSON object without its last member, which is the digest of the rest.
fn unseal(bytes: &[u8]) -> Result<Vec<u8>, ManifestError> {
    let corrupt = |fact: &str| ManifestError::Corrupt { fact: fact.to_owned() };
    let rest = bytes.strip_suffix(AFTER_DIGEST).and_then(|rest| rest.split_last_chunk::<64>());
    let sealed = rest.and_then(|(rest, digest)| Some((rest.strip_suffix(BEFORE_DIGEST)?, digest)));
    let (members, digest) = sealed.ok_or_else(|| corrupt("it does not end with its own digest"))?;
    if ChunkId::of(members).to_string().as_bytes() != digest {
        return Err(corrupt("its content is not that of its own digest"));
    }
    Ok([members, b"}"].concat())
}
