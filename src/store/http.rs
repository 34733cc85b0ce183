//! A store behind a Remint server, or one to read behind any HTTP server of files.
//!
//! Every request is bounded in time and size, and tried again where the network or the server failed. What a
//! lost answer makes unclear is asked again: a request that did its work in vain is not a failure.

use super::{OpenOptions, captures, directory, io_error, wire};
use crate::http::{Answer, Connection, Request, STALL_TIMEOUT};
use crate::image::{
    ChunkId, CollectOptions, CollectReport, ImageName, ImageVersion, MAX_MANIFEST_BYTES, Store, StoreError,
    VersionName, layout,
};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::time::Duration;

/// Publishing and collecting look at every chunk before they answer.
const LONG_TIMEOUT: Duration = Duration::from_secs(3600);
const QUESTION: usize = 1024;

/// A store behind a URL.
#[derive(Debug)]
pub struct Http(Connection);

/// A request whose answer is no longer than a manifest.
fn request<'a>(method: Method, path: String, doing: String, what: String) -> Request<'a> {
    Request::new(method, path, doing, what, MAX_MANIFEST_BYTES)
}

impl Http {
    /// Connects to a store. The server has to have one already.
    pub fn open(location: &str, options: &OpenOptions) -> Result<Self, StoreError> {
        let store = Self(Connection::new(location, &options.access)?);
        let doing = "opening the store".to_owned();
        let what =
            format!("{location} is no store ({} is missing), so what was asked for", layout::STORE_FILE);
        let request = request(Method::GET, layout::STORE_FILE.to_owned(), doing, what);
        directory::check_store_file(&store.send(&request)?.body, location)?;
        Ok(store)
    }

    /// Sends a request and gives its answer where that is a success.
    fn send(&self, request: &Request<'_>) -> Result<Answer, StoreError> {
        let answer = self.0.answer(request)?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refusal(request, &answer)) }
    }

    /// What an answer that is no success means.
    fn refusal(&self, request: &Request<'_>, answer: &Answer) -> StoreError {
        let said = answer.sentence();
        let server = self.0.base();
        let refused = |fact: String| StoreError::Refused { fact };
        match (answer.status, answer.problem().map(|problem| problem.kind)) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => refused(format!(
                "{server} does not accept the token; give the one that its server was started with ({said})"
            )),
            (StatusCode::NOT_FOUND, _) => StoreError::NotFound { what: request.what.clone() },
            (StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED, _) => refused(format!(
                "{server} only serves files; capturing, listing and deleting need a Remint server or a directory ({said})"
            )),
            (_, Some(wire::Kind::Corrupt)) => StoreError::Corrupt { what: request.doing.clone(), fact: said },
            (_, Some(wire::Kind::Unsupported)) => StoreError::Unsupported { fact: said },
            (StatusCode::INSUFFICIENT_STORAGE, _) => StoreError::Io {
                doing: format!("{} at {server}", request.doing),
                source: io::Error::new(io::ErrorKind::StorageFull, said),
            },
            _ => refused(format!("{} at {server}: {said}", request.doing)),
        }
    }

    /// Asks for a list. A server of files has none that can be understood.
    fn list<T: DeserializeOwned>(&self, path: String) -> Result<T, StoreError> {
        let doing = "listing images".to_owned();
        let answer = self.0.answer(&request(Method::GET, path, doing.clone(), String::new()))?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(self.refusal(&request(Method::GET, String::new(), doing, String::new()), &answer));
        }
        let list = Some(&answer).filter(|answer| answer.status.is_success() && answer.json);
        list.and_then(|answer| serde_json::from_slice(&answer.body).ok()).ok_or_else(|| StoreError::Refused {
            fact: format!("{} cannot list its images; name the version too, as IMAGE@VERSION", self.0.base()),
        })
    }

    fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
        doing: &str,
        timeout: Duration,
    ) -> Result<T, StoreError> {
        let unclear = |error: serde_json::Error| StoreError::Corrupt {
            what: format!("the answer of {}", self.0.base()),
            fact: error.to_string(),
        };
        let body = serde_json::to_vec(question).map_err(unclear)?;
        let what = format!("a Remint server at {}, needed for {doing},", self.0.base());
        let mut request = request(Method::POST, path.to_owned(), doing.to_owned(), what).body(&body);
        request.timeout += timeout;
        serde_json::from_slice(&self.send(&request)?.body).map_err(unclear)
    }

    fn get(&self, path: String, what: String, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let mut request = request(Method::GET, path, format!("reading {what}"), what);
        request.limit_bytes = limit_bytes;
        Ok(self.send(&request)?.body)
    }
}

impl Store for Http {
    fn location(&self) -> String {
        self.0.base().to_string()
    }

    fn have_chunks(&self, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError> {
        let mut present = Vec::with_capacity(ids.len());
        for batch in ids.chunks(QUESTION) {
            let question = wire::PresentQuestion { chunks: batch.iter().map(ToString::to_string).collect() };
            let path = format!("{}/present", layout::CHUNKS);
            let answer: wire::PresentAnswer =
                self.ask(&path, &question, "asking for chunks", STALL_TIMEOUT)?;
            if answer.present.len() != batch.len() {
                return Err(StoreError::Corrupt {
                    what: format!("the answer of {}", self.0.base()),
                    fact: format!("it is about {} chunks instead of {}", answer.present.len(), batch.len()),
                });
            }
            present.extend(answer.present);
        }
        Ok(present)
    }

    fn put_chunk(&self, id: ChunkId, frame: &[u8]) -> Result<(), StoreError> {
        let what = format!("a place for chunk {id}");
        let doing = format!("storing chunk {id}");
        self.send(&request(Method::PUT, layout::chunk_file(id), doing, what).body(frame)).map(drop)
    }

    fn get_chunk(&self, id: ChunkId, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.get(layout::chunk_file(id), format!("chunk {id}"), limit_bytes)
    }

    fn images(&self) -> Result<Vec<ImageName>, StoreError> {
        let list: wire::Images = self.list(format!("{}/", layout::IMAGES))?;
        Ok(list.images.into_iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn versions(&self, image: &ImageName) -> Result<Vec<VersionName>, StoreError> {
        let list: wire::Versions = self.list(format!("{}/", layout::image_directory(image)))?;
        Ok(list.versions.into_iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn begin_capture(&self, version: &ImageVersion) -> Result<(), StoreError> {
        let holder = wire::Announcement { holder: captures::process_name() };
        let body =
            serde_json::to_vec(&holder).map_err(|error| io_error("announcing a capture")(error.into()))?;
        let doing = format!("announcing the capture {version}");
        let what = format!("a Remint server at {}", self.0.base());
        self.send(&request(Method::PUT, layout::capture_file(version), doing, what).body(&body)).map(drop)
    }

    fn put_file(&self, version: &ImageVersion, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = layout::version_file(version, file)
            .map_err(|error| StoreError::Refused { fact: error.to_string() })?;
        let what = format!("a place for {file} of {version}");
        let doing = format!("storing {file} of {version}");
        self.send(&request(Method::PUT, path, doing, what).body(bytes)).map(drop)
    }

    fn get_file(&self, version: &ImageVersion, file: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        if file == layout::MANIFEST_FILE {
            return self.get(layout::manifest_file(version), format!("image {version}"), limit_bytes);
        }
        let path = layout::version_file(version, file)
            .map_err(|error| StoreError::Refused { fact: error.to_string() })?;
        self.get(path, format!("{file} of {version}"), limit_bytes)
    }

    fn publish(&self, version: &ImageVersion, manifest: &[u8]) -> Result<(), StoreError> {
        let doing = format!("publishing {version}");
        let what = format!("a place for {version}");
        let mut request = request(Method::PUT, layout::manifest_file(version), doing, what).body(manifest);
        request.timeout += LONG_TIMEOUT;
        let answer = self.0.answer(&request)?;
        if answer.status.is_success() {
            return Ok(());
        }
        // The answer to an earlier attempt may have been lost after it was carried out.
        let lost = answer.status == StatusCode::CONFLICT && answer.repeated;
        if lost && self.get_file(version, layout::MANIFEST_FILE, MAX_MANIFEST_BYTES)? == manifest {
            return Ok(());
        }
        Err(self.refusal(&request, &answer))
    }

    fn abandon(&self, version: &ImageVersion) -> Result<(), StoreError> {
        let doing = format!("abandoning the capture {version}");
        let request = request(Method::DELETE, layout::capture_file(version), doing, version.to_string());
        self.send(&request).map(drop)
    }

    fn delete_version(&self, version: &ImageVersion) -> Result<(), StoreError> {
        let what = format!("image {version}");
        let request =
            request(Method::DELETE, layout::version_directory(version), format!("deleting {version}"), what);
        let answer = self.0.answer(&request)?;
        let done_before = answer.repeated && answer.status == StatusCode::NOT_FOUND;
        if answer.status.is_success() || done_before { Ok(()) } else { Err(self.refusal(&request, &answer)) }
    }

    fn collect(&self, options: &CollectOptions) -> Result<CollectReport, StoreError> {
        self.ask("collect", options, "collecting garbage", LONG_TIMEOUT)
    }
}
