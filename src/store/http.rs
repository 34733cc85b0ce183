//! A store behind a Remint server, or one to read behind any HTTP server of files.
//!
//! Every request is bounded in time and size, and tried again where the network or the server failed. What a
//! lost answer makes unclear is asked again: a request that did its work in vain is not a failure.

use super::client::{self, STALL_TIMEOUT};
use super::retry::{self, Failure};
use super::{OpenOptions, captures, directory, io_error, wire};
use crate::image::{
    ChunkId, CollectOptions, CollectReport, ImageName, ImageVersion, MAX_MANIFEST_BYTES, Store, StoreError,
    VersionName, layout,
};
use crate::units::u64_from;
use reqwest::blocking::{Client, Response};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Publishing and collecting look at every chunk before they answer.
const LONG_TIMEOUT: Duration = Duration::from_secs(3600);
/// The slowest line that is waited for.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;
const MAX_ANSWER_BYTES: u64 = MAX_MANIFEST_BYTES;
const QUESTION: usize = 1024;
/// How to have a server trusted.
const WAY_OUT: &str = "give its authority (--ca-file) or its fingerprint (--fingerprint)";

/// A store behind a URL.
#[derive(Debug)]
pub struct Http {
    base: Url,
    client: Client,
    retry_for: Duration,
    stop: Arc<AtomicBool>,
}

/// One request, before it is sent.
struct Request<'a> {
    method: Method,
    path: String,
    body: Option<&'a [u8]>,
    /// What it is for, for messages: `storing chunk ab12`.
    doing: String,
    /// What is missing where the server answers 404.
    what: String,
    limit_bytes: u64,
    timeout: Duration,
}

/// A whole answer.
struct Answer {
    status: StatusCode,
    json: bool,
    body: Vec<u8>,
    /// True where an earlier attempt may have done the work already.
    repeated: bool,
}

impl<'a> Request<'a> {
    fn new(method: Method, path: String, doing: String, what: String) -> Self {
        let limit_bytes = MAX_ANSWER_BYTES;
        Self { method, path, body: None, doing, what, limit_bytes, timeout: STALL_TIMEOUT }
    }

    fn body(mut self, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self.timeout += Duration::from_secs(u64_from(body.len()) / SLOWEST_BYTES_PER_SECOND);
        self
    }
}

impl Http {
    /// Connects to a store. The server has to have one already.
    pub fn open(location: &str, options: &OpenOptions) -> Result<Self, StoreError> {
        let refused = |fact: String| StoreError::Refused { fact };
        let with_slash = format!("{}/", location.trim_end_matches('/'));
        let base = Url::parse(&with_slash)
            .map_err(|error| refused(format!("\"{location}\" is not a URL: {error}")))?;
        if !base.username().is_empty() || base.password().is_some() {
            // A URL is shown in messages and logs.
            let fact =
                "a URL with a user or password in it is not used; give a token in a file (--token-file)";
            return Err(refused(fact.to_owned()));
        }
        let client = client::new(options)?;
        let store = Self { base, client, retry_for: options.retry_for, stop: Arc::clone(&options.stop) };
        let doing = "opening the store".to_owned();
        let what =
            format!("{location} is no store ({} is missing), so what was asked for", layout::STORE_FILE);
        let request = Request::new(Method::GET, layout::STORE_FILE.to_owned(), doing, what);
        directory::check_store_file(&store.send(&request)?.body, location)?;
        Ok(store)
    }

    /// Sends a request and gives its answer where that is a success.
    fn send(&self, request: &Request<'_>) -> Result<Answer, StoreError> {
        let answer = self.answer(request)?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refusal(request, &answer)) }
    }

    /// Sends a request until it is answered, whatever the answer.
    fn answer(&self, request: &Request<'_>) -> Result<Answer, StoreError> {
        let url =
            self.base.join(&request.path).map_err(|error| StoreError::Refused { fact: error.to_string() })?;
        let doing = || format!("{} at {url}", request.doing);
        retry::until_answered(self.retry_for, &self.stop, doing, |first| {
            match self.attempt(&url, request)? {
                answer if worth_repeating(answer.status) => {
                    Err(Failure::Passing(io::Error::other(sentence(&answer))))
                }
                answer => Ok(Answer { repeated: !first, ..answer }),
            }
        })
    }

    fn attempt(&self, url: &Url, request: &Request<'_>) -> Result<Answer, Failure> {
        let mut builder = self.client.request(request.method.clone(), url.clone()).timeout(request.timeout);
        if let Some(body) = request.body {
            builder = builder.body(body.to_vec());
        }
        let response = builder.send().map_err(|error| client::failure(url.as_str(), &error, WAY_OUT))?;
        read_answer(response, request)
    }

    /// What an answer that is no success means.
    fn refusal(&self, request: &Request<'_>, answer: &Answer) -> StoreError {
        let said = sentence(answer);
        let server = &self.base;
        let refused = |fact: String| StoreError::Refused { fact };
        match (answer.status, problem(answer).map(|problem| problem.kind)) {
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
        let answer = self.answer(&Request::new(Method::GET, path, doing.clone(), String::new()))?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(
                self.refusal(&Request::new(Method::GET, String::new(), doing, String::new()), &answer)
            );
        }
        let list = Some(&answer).filter(|answer| answer.status.is_success() && answer.json);
        list.and_then(|answer| serde_json::from_slice(&answer.body).ok()).ok_or_else(|| StoreError::Refused {
            fact: format!("{} cannot list its images; name the version too, as IMAGE@VERSION", self.base),
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
            what: format!("the answer of {}", self.base),
            fact: error.to_string(),
        };
        let body = serde_json::to_vec(question).map_err(unclear)?;
        let what = format!("a Remint server at {}, needed for {doing},", self.base);
        let mut request = Request::new(Method::POST, path.to_owned(), doing.to_owned(), what).body(&body);
        request.timeout += timeout;
        serde_json::from_slice(&self.send(&request)?.body).map_err(unclear)
    }

    fn get(&self, path: String, what: String, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let mut request = Request::new(Method::GET, path, format!("reading {what}"), what);
        request.limit_bytes = limit_bytes;
        Ok(self.send(&request)?.body)
    }
}

fn worth_repeating(status: StatusCode) -> bool {
    let busy = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    let lasting = matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::INSUFFICIENT_STORAGE);
    busy || (status.is_server_error() && !lasting)
}

fn read_answer(response: Response, request: &Request<'_>) -> Result<Answer, Failure> {
    let limit = if response.status().is_success() { request.limit_bytes } else { MAX_ANSWER_BYTES };
    let too_long = || {
        let fact = format!("longer than the {limit} bytes that are expected");
        Failure::Final(StoreError::Corrupt { what: request.what.clone(), fact })
    };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let status = response.status();
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let json = content_type.is_some_and(|text| text.contains("json"));
    let mut body = Vec::new();
    response.take(limit.saturating_add(1)).read_to_end(&mut body).map_err(Failure::Passing)?;
    if u64_from(body.len()) > limit {
        return Err(too_long());
    }
    Ok(Answer { status, json, body, repeated: false })
}

fn problem(answer: &Answer) -> Option<wire::Problem> {
    if answer.json { serde_json::from_slice(&answer.body).ok() } else { None }
}

/// What the server said, for a person.
fn sentence(answer: &Answer) -> String {
    match problem(answer) {
        Some(problem) if !problem.detail.is_empty() => problem.detail,
        _ => format!("the server answered {}", answer.status),
    }
}

impl Store for Http {
    fn location(&self) -> String {
        self.base.to_string()
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
                    what: format!("the answer of {}", self.base),
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
        self.send(&Request::new(Method::PUT, layout::chunk_file(id), doing, what).body(frame)).map(drop)
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
        let what = format!("a Remint server at {}", self.base);
        self.send(&Request::new(Method::PUT, layout::capture_file(version), doing, what).body(&body))
            .map(drop)
    }

    fn put_file(&self, version: &ImageVersion, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = layout::version_file(version, file)
            .map_err(|error| StoreError::Refused { fact: error.to_string() })?;
        let what = format!("a place for {file} of {version}");
        let doing = format!("storing {file} of {version}");
        self.send(&Request::new(Method::PUT, path, doing, what).body(bytes)).map(drop)
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
        let mut request =
            Request::new(Method::PUT, layout::manifest_file(version), doing, what).body(manifest);
        request.timeout += LONG_TIMEOUT;
        let answer = self.answer(&request)?;
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
        let request = Request::new(Method::DELETE, layout::capture_file(version), doing, version.to_string());
        self.send(&request).map(drop)
    }

    fn delete_version(&self, version: &ImageVersion) -> Result<(), StoreError> {
        let what = format!("image {version}");
        let request = Request::new(
            Method::DELETE,
            layout::version_directory(version),
            format!("deleting {version}"),
            what,
        );
        let answer = self.answer(&request)?;
        let done_before = answer.repeated && answer.status == StatusCode::NOT_FOUND;
        if answer.status.is_success() || done_before { Ok(()) } else { Err(self.refusal(&request, &answer)) }
    }

    fn collect(&self, options: &CollectOptions) -> Result<CollectReport, StoreError> {
        self.ask("collect", options, "collecting garbage", LONG_TIMEOUT)
    }
}
