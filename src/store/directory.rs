//! A store in a directory: of this machine or of a mounted share.
//!
//! Every file is written under a temporary name in `tmp/` and renamed to its place. Chunks are not synced one
//! by one: [`publish`](super::publish) makes them all durable before the manifest appears. A chunk that a
//! crash may have damaged, because a capture that was under way then never ended, is read and checked before
//! it is said to be stored.

use super::io_error;
use crate::image::{
    ChunkError, ChunkId, CollectOptions, CollectReport, ImageName, ImageVersion, Store, StoreError,
    VersionName, check_frame, layout,
};
use crate::units::u64_from;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

const FORMAT: &str = "remint-store";
const FORMAT_VERSION: u64 = 1;
const DIGEST: &str = "sha-256";
const TEMPORARY: &str = "tmp";

/// A store in a directory.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Held while a version's files change their place, so that none changes under a published manifest.
    pub(super) placing: Mutex<()>,
    pub(super) captures: Mutex<super::captures::Held>,
}

/// `remint-store.json`. Lenient: its version says whether the rest can be trusted.
#[derive(Serialize, Deserialize)]
struct StoreFile {
    format: String,
    format_version: u64,
    digest: String,
}

/// Refuses the `remint-store.json` of a store that this program does not know.
pub(super) fn check_store_file(bytes: &[u8], location: &str) -> Result<(), StoreError> {
    let what = || format!("{} of {location}", layout::STORE_FILE);
    let file: StoreFile = serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Corrupt { what: what(), fact: error.to_string() })?;
    if file.format != FORMAT {
        return Err(StoreError::Corrupt {
            what: what(),
            fact: "it is not that of a Remint store".to_owned(),
        });
    }
    if file.format_version != FORMAT_VERSION || file.digest != DIGEST {
        return Err(StoreError::Unsupported {
            fact: format!(
                "{location} is a store of format version {} with digest {}; this version of Remint knows version \
                 {FORMAT_VERSION} with {DIGEST}: use a newer Remint",
                file.format_version, file.digest
            ),
        });
    }
    Ok(())
}

impl Directory {
    /// Opens the store in a directory. With `create` it is made where there is none; without, nothing is
    /// created and a directory without a store is not found.
    pub fn open(root: &Path, create: bool) -> Result<Self, StoreError> {
        let store = Self { root: root.to_owned(), placing: Mutex::default(), captures: Mutex::default() };
        let doing = || io_error(format!("opening the store {}", root.display()));
        match fs::read(root.join(layout::STORE_FILE)) {
            Ok(bytes) => check_store_file(&bytes, &store.location())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => store.create()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NotFound {
                    what: format!(
                        "{} holds no store ({} is missing), so what was asked for",
                        root.display(),
                        layout::STORE_FILE
                    ),
                });
            }
            Err(error) => return Err(doing()(error)),
        }
        Ok(store)
    }

    fn create(&self) -> Result<(), StoreError> {
        let doing = || io_error(format!("creating a store in {}", self.root.display()));
        for directory in [layout::CHUNKS, layout::IMAGES, layout::CAPTURES, TEMPORARY] {
            fs::create_dir_all(self.root.join(directory)).map_err(doing())?;
        }
        let file = StoreFile {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            digest: DIGEST.to_owned(),
        };
        let mut bytes = serde_json::to_vec_pretty(&file).map_err(|error| doing()(error.into()))?;
        bytes.push(b'\n');
        let mut temporary = self.temporary()?;
        temporary.write_all(&bytes).and_then(|()| temporary.as_file().sync_all()).map_err(doing())?;
        self.place(temporary, layout::STORE_FILE)?;
        self.sync_directory(&self.root)
    }

    /// The path of a file of the store.
    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A new file that is removed unless it is given to one of the `accept_` methods.
    pub fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        let directory = self.path(TEMPORARY);
        let make = || {
            tempfile::Builder::new()
                .prefix("put-")
                .permissions(Permissions::from_mode(0o644))
                .tempfile_in(&directory)
        };
        make()
            .or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => fs::create_dir_all(&directory).and_then(|()| make()),
                _ => Err(error),
            })
            .map_err(io_error(format!("creating a file in {}", directory.display())))
    }

    /// Removes temporary files that nobody has written to for this long; how many.
    pub fn remove_stale_temporaries(&self, older_than: Duration, dry_run: bool) -> Result<u64, StoreError> {
        let directory = self.path(TEMPORARY);
        let doing = || io_error(format!("cleaning {}", directory.display()));
        let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut removed = 0;
        for (path, modified) in super::listing::files(&directory).map_err(doing())? {
            if modified < limit {
                removed += 1;
                if !dry_run {
                    super::listing::remove(&path).map_err(doing())?;
                }
            }
        }
        Ok(removed)
    }

    /// Renames a finished temporary file to its place, making the directory around it where it is missing.
    pub(super) fn place(&self, temporary: NamedTempFile, relative: &str) -> Result<(), StoreError> {
        let path = self.path(relative);
        let doing = || io_error(format!("storing {}", path.display()));
        let mut temporary = temporary;
        // A collector may remove an empty directory between its creation and the rename: more than one try.
        for _ in 0..5 {
            match temporary.persist(&path) {
                Ok(_) => return Ok(()),
                Err(failed) if failed.error.kind() == io::ErrorKind::NotFound => {
                    temporary = failed.file;
                    fs::create_dir_all(path.parent().unwrap_or(&self.root)).map_err(doing())?;
                }
                Err(failed) => return Err(doing()(failed.error)),
            }
        }
        Err(doing()(io::Error::from(io::ErrorKind::NotFound)))
    }

    pub(super) fn sync_directory(&self, path: &Path) -> Result<(), StoreError> {
        let synced = File::open(path).and_then(|directory| directory.sync_all());
        synced.map_err(io_error(format!("syncing {}", path.display())))
    }

    /// Takes a frame that came from elsewhere: checks that its content has the hash, then makes it visible.
    pub fn accept_chunk(&self, id: ChunkId, upload: NamedTempFile) -> Result<(), StoreError> {
        let file = upload.reopen().map_err(io_error(format!("reading chunk {id}")))?;
        check_frame(id, file).map_err(|error| chunk_error(id, error))?;
        self.place(upload, &layout::chunk_file(id))
    }

    /// Makes a finished file of an unpublished version visible.
    pub fn accept_file(
        &self,
        version: &ImageVersion,
        file: &str,
        upload: NamedTempFile,
    ) -> Result<(), StoreError> {
        let relative = file_path(version, file)?;
        let _placing = self.placing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.refuse_published(version)?;
        self.place(upload, &relative)
    }

    /// Refuses to touch a version that exists.
    pub(super) fn refuse_published(&self, version: &ImageVersion) -> Result<(), StoreError> {
        match self.path(&layout::manifest_file(version)).try_exists() {
            Ok(false) => Ok(()),
            Ok(true) => Err(StoreError::Refused {
                fact: format!(
                    "{version} exists already, and what is stored is never changed; capture a new version"
                ),
            }),
            Err(error) => Err(io_error(format!("looking for {version}"))(error)),
        }
    }

    /// Opens the frame of a chunk.
    pub fn open_chunk(&self, id: ChunkId) -> Result<File, StoreError> {
        self.open_file(&layout::chunk_file(id), || format!("chunk {id}"))
    }

    /// Opens a file of a version, its manifest too.
    pub fn open_version_file(&self, version: &ImageVersion, file: &str) -> Result<File, StoreError> {
        let relative = match file {
            layout::MANIFEST_FILE => layout::manifest_file(version),
            _ => file_path(version, file)?,
        };
        self.open_file(&relative, || match file {
            layout::MANIFEST_FILE => format!("image {version}"),
            _ => format!("{file} of {version}"),
        })
    }

    /// Opens `remint-store.json`.
    pub fn open_store_file(&self) -> Result<File, StoreError> {
        self.open_file(layout::STORE_FILE, || layout::STORE_FILE.to_owned())
    }

    fn open_file(&self, relative: &str, what: impl Fn() -> String) -> Result<File, StoreError> {
        File::open(self.path(relative)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound { what: what() },
            _ => io_error(format!("reading {} from {}", what(), self.location()))(error),
        })
    }

    /// Marks a chunk as wanted now; false where it is not there.
    pub(super) fn touch_chunk(&self, id: ChunkId) -> Result<bool, StoreError> {
        let path = self.path(&layout::chunk_file(id));
        let now = TimeSpec::UTIME_NOW;
        match utimensat(nix::fcntl::AT_FDCWD, &path, &now, &now, UtimensatFlags::FollowSymlink) {
            // A collector may have moved the file away while it was touched: then it is not there.
            Ok(()) => path.try_exists().map_err(io_error(format!("looking for chunk {id}"))),
            Err(nix::Error::ENOENT) => Ok(false),
            Err(error) => Err(io_error(format!("touching chunk {id}"))(error.into())),
        }
    }

    /// Whether a chunk is stored, touched and, where a crash may have hurt it, sound.
    pub fn have_chunk(&self, id: ChunkId) -> Result<bool, StoreError> {
        let path = self.path(&layout::chunk_file(id));
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(io_error(format!("looking for chunk {id}")))?,
        };
        // Who may only read the store reads it. Only a capture needs its chunks touched: what belongs to
        // another user it stores anew, which a folder that both may write to permits.
        let touched = match self.touch_chunk(id) {
            Err(StoreError::Io { source, .. }) if is_write_protection(&source) => !self.is_captured_into(),
            other => other?,
        };
        // A length of zero is what a crash leaves of a file that was never written out.
        if metadata.len() == 0 || !touched {
            return Ok(false);
        }
        let modified = metadata.modified().map_err(io_error(format!("looking for chunk {id}")))?;
        if self.suspect_since()?.is_none_or(|since| modified < since) {
            return Ok(true);
        }
        match File::open(&path).map(|file| check_frame(id, file)) {
            Ok(checked) => Ok(checked.is_ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error(format!("checking chunk {id}"))(error)),
        }
    }
}

fn is_write_protection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn file_path(version: &ImageVersion, file: &str) -> Result<String, StoreError> {
    layout::version_file(version, file).map_err(|error| StoreError::Refused { fact: error.to_string() })
}

fn chunk_error(id: ChunkId, error: ChunkError) -> StoreError {
    match error {
        ChunkError::Corrupt { fact, .. } => StoreError::Corrupt { what: format!("chunk {id}"), fact },
        ChunkError::Io { fact, .. } => io_error(format!("checking chunk {id}"))(io::Error::other(fact)),
    }
}

/// Reads a whole file of at most `limit_bytes`.
pub(super) fn read_bounded(file: File, what: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
    let doing = || io_error(format!("reading {what}"));
    let length = file.metadata().map_err(doing())?.len();
    let too_long = |bytes: u64| StoreError::Corrupt {
        what: what.to_owned(),
        fact: format!("{bytes} bytes long, where at most {limit_bytes} are expected"),
    };
    if length > limit_bytes {
        return Err(too_long(length));
    }
    let mut bytes = Vec::with_capacity(crate::units::usize_from(length));
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(doing())?;
    if u64_from(bytes.len()) > limit_bytes {
        return Err(too_long(u64_from(bytes.len())));
    }
    Ok(bytes)
}

impl Store for Directory {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn have_chunks(&self, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError> {
        ids.iter().map(|id| self.have_chunk(*id)).collect()
    }

    fn put_chunk(&self, id: ChunkId, frame: &[u8]) -> Result<(), StoreError> {
        let mut temporary = self.temporary()?;
        temporary.write_all(frame).map_err(io_error(format!("storing chunk {id} in {}", self.location())))?;
        self.place(temporary, &layout::chunk_file(id))
    }

    fn get_chunk(&self, id: ChunkId, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        read_bounded(self.open_chunk(id)?, &format!("chunk {id}"), limit_bytes)
    }

    fn images(&self) -> Result<Vec<ImageName>, StoreError> {
        self.list_images()
    }

    fn versions(&self, image: &ImageName) -> Result<Vec<VersionName>, StoreError> {
        self.list_versions(image)
    }

    fn begin_capture(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.begin_capture_as(version, &super::captures::process_name())
    }

    fn put_file(&self, version: &ImageVersion, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut temporary = self.temporary()?;
        temporary.write_all(bytes).map_err(io_error(format!("storing {file} of {version}")))?;
        self.accept_file(version, file, temporary)
    }

    fn get_file(&self, version: &ImageVersion, file: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        read_bounded(self.open_version_file(version, file)?, &format!("{file} of {version}"), limit_bytes)
    }

    fn publish(&self, version: &ImageVersion, manifest: &[u8]) -> Result<(), StoreError> {
        self.publish_version(version, manifest)
    }

    fn abandon(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.abandon_version(version)
    }

    fn delete_version(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.delete_published(version)
    }

    fn collect(&self, options: &CollectOptions) -> Result<CollectReport, StoreError> {
        super::collect::collect(self, options)
    }
}
