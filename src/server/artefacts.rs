//! The files of artefacts, each in a file that is called as its SHA-256.
//!
//! Invariants: a file has its name only when it is on the medium and has its hash; it is there before the database says so, and
//! goes when the database has forgotten it. What the database does not know is removed at the next start.

use super::moment::Moment;
use super::problem::Problem;
use super::request::{Asker, At};
use super::{ServerError, Shared, access, database, files};
use crate::http::Kind;
use crate::linux::room_bytes;
use crate::schema::ArtefactId;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// So much is left on the medium for the database.
const LEFT_BYTES: u64 = 64 << 20;

/// Where they lie.
pub(super) struct ArtefactFolder {
    folder: PathBuf,
}

impl ArtefactFolder {
    /// Opens the folder, and removes what is not known: uploads of a server that was killed.
    pub(super) fn open(data: &Path, known: &BTreeSet<String>) -> Result<Self, ServerError> {
        let folder = data.join("artefacts");
        let failed = |source| ServerError::Io { doing: format!("opening {}", folder.display()), source };
        let sweep = || -> io::Result<()> {
            fs::create_dir_all(&folder)?;
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let unknown = entry.file_name().to_str().is_none_or(|name| !known.contains(name));
                // Another folder is nobody's upload, such as the `lost+found` of a medium of its own.
                if unknown && entry.file_type()?.is_file() {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        sweep().map_err(failed)?;
        Ok(Self { folder })
    }

    /// A file for an upload, which vanishes unless it is kept.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, Problem> {
        NamedTempFile::with_prefix_in(".upload-", &self.folder)
            .map_err(|error| failed("making a file", &error))
    }

    /// How long an upload may be.
    pub(super) fn room_bytes(&self) -> u64 {
        room_bytes(&self.folder).map_or(u64::MAX, |room| room.saturating_sub(LEFT_BYTES))
    }

    /// Keeps an upload whose hash is this, and which is on the medium. Quick: a transaction waits for it.
    pub(super) fn keep(&self, upload: NamedTempFile, artefact: ArtefactId) -> Result<(), Problem> {
        let kept = || -> io::Result<()> {
            upload.persist(self.path(artefact)).map_err(|error| error.error)?;
            File::open(&self.folder)?.sync_all()
        };
        kept().map_err(|error| failed("keeping an artefact", &error))
    }

    /// Removes a file; one that is not there is removed.
    pub(super) fn remove(&self, artefact: ArtefactId) -> Result<(), Problem> {
        match fs::remove_file(self.path(artefact)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("removing an artefact", &error))
            }
            _ => Ok(()),
        }
    }

    fn file(&self, artefact: ArtefactId) -> Result<File, Problem> {
        File::open(self.path(artefact)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Problem::not_found(&format!("artefact {artefact}")),
            _ => failed("opening an artefact", &error),
        })
    }

    fn path(&self, artefact: ArtefactId) -> PathBuf {
        self.folder.join(artefact.to_string())
    }
}

fn failed(doing: &str, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Problem::full("there is no room for the artefact")
        }
        _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Io, format!("{doing}: {error}")),
    }
}

/// `GET jobs/ID/artefacts/DIGEST`, for the machine that works on the job.
pub(super) async fn fetch(
    State(site): State<Shared>,
    At((id, artefact)): At<(u64, ArtefactId)>,
    asker: Asker,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let file = site
        .read(move |site, c| {
            let job = access::working(c, &asker, id, Moment::now())?;
            if job.profile.deploy.copies.iter().all(|copy| copy.artefact != artefact) {
                return Err(Problem::not_found(&format!("artefact {artefact}, for job {id},")));
            }
            database::artefact(c, artefact)?;
            site.artefacts.file(artefact)
        })
        .await?;
    files::answer(file, &method, &headers, "application/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_start_what_is_not_known_goes_and_another_folder_stays() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("artefacts");
        fs::create_dir_all(folder.join("lost+found")).unwrap();
        for name in ["known", ".upload-1"] {
            fs::write(folder.join(name), name).unwrap();
        }
        ArtefactFolder::open(data.path(), &BTreeSet::from(["known".to_owned()])).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["known", "lost+found"]);
    }
}
