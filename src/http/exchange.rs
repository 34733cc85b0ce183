//! A request and its whole answer, both bounded.

use super::retry::{self, Failure};
use super::{Access, Error, Problem, Secret, client};
use crate::units::u64_from;
use reqwest::blocking::{Body, Client, Response};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long a server may be silent, on top of what the size of the request allows.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The slowest line that is waited for.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;
/// The longest refusal that is read.
const MAX_REFUSAL_BYTES: u64 = 1 << 20;
/// How to have a server trusted.
const WAY_OUT: &str = "give its authority (--ca-file) or its fingerprint (--fingerprint)";

/// A server, or a folder of one, that is asked more than once.
#[derive(Debug, Clone)]
pub struct Connection {
    base: Url,
    client: Client,
    retry_for: Duration,
    stop: Arc<AtomicBool>,
}

/// One request, before it is sent.
#[derive(Debug)]
pub struct Request<'a> {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<&'a [u8]>,
    file: Option<(&'a File, u64)>,
    /// What it is for, for messages: `storing chunk ab12`.
    pub doing: String,
    /// What is asked for, for messages: what is missing where the server answers 404.
    pub what: String,
    /// The longest answer.
    pub limit_bytes: u64,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// True where it says that it is JSON.
    pub json: bool,
    /// All of it.
    pub body: Vec<u8>,
    /// True where an earlier attempt may have done the work already.
    pub repeated: bool,
}

impl<'a> Request<'a> {
    /// A request for a path below the server, with an answer of at most `limit_bytes`.
    #[must_use]
    pub fn new(method: Method, path: String, doing: String, what: String, limit_bytes: u64) -> Self {
        let headers = HeaderMap::new();
        let (body, file, timeout) = (None, None, STALL_TIMEOUT);
        Self { method, path, headers, body, file, doing, what, limit_bytes, timeout }
    }

    /// What is sent: all of a file, as it is read.
    #[must_use]
    pub fn file(mut self, file: &'a File, bytes: u64) -> Self {
        self.file = Some((file, bytes));
        self.timeout += Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        self
    }

    /// What is sent.
    #[must_use]
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self.timeout += Duration::from_secs(u64_from(body.len()) / SLOWEST_BYTES_PER_SECOND);
        self
    }

    /// One more header.
    ///
    /// # Errors
    /// Where the value is none that a header can have.
    pub fn header(mut self, name: HeaderName, value: &str) -> Result<Self, Error> {
        let wrong = |_| Error::Refused { fact: format!("\"{value}\" cannot be the value of {name}") };
        let value = HeaderValue::from_str(value).map_err(wrong)?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Shows another token than that of the connection.
    ///
    /// # Errors
    /// Where it holds characters that no token has.
    pub fn token(mut self, token: &Secret) -> Result<Self, Error> {
        self.headers.insert(AUTHORIZATION, client::bearer(token)?);
        Ok(self)
    }
}

impl Connection {
    /// A server that is asked as `access` says. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the location is no URL, or holds a password.
    pub fn new(location: &str, access: &Access) -> Result<Self, Error> {
        let refused = |fact: String| Error::Refused { fact };
        let with_slash = format!("{}/", location.trim_end_matches('/'));
        let base = Url::parse(&with_slash)
            .map_err(|error| refused(format!("\"{location}\" is not a URL: {error}")))?;
        if !base.username().is_empty() || base.password().is_some() {
            // A URL is shown in messages and logs.
            let fact =
                "a URL with a user or password in it is not used; give a token in a file (--token-file)";
            return Err(refused(fact.to_owned()));
        }
        let client = client::new(access)?;
        Ok(Self { base, client, retry_for: access.retry_for, stop: Arc::clone(&access.stop) })
    }

    /// The same server, tried again for another time, whoever asks to stop.
    #[must_use]
    pub fn trying_for(&self, retry_for: Duration) -> Self {
        Self { retry_for, stop: Arc::default(), ..self.clone() }
    }

    /// Where the paths of requests begin.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Sends a request until it is answered, whatever the answer.
    ///
    /// # Errors
    /// Where the server does not answer, is not trusted, or sends more than is expected.
    pub fn answer(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let url =
            self.base.join(&request.path).map_err(|error| Error::Refused { fact: error.to_string() })?;
        let doing = || format!("{} at {url}", request.doing);
        retry::until_answered(self.retry_for, &self.stop, doing, |first| {
            match self.attempt(&url, request)? {
                answer if worth_repeating(answer.status) => {
                    Err(Failure::Passing(io::Error::other(answer.sentence())))
                }
                answer => Ok(Answer { repeated: !first, ..answer }),
            }
        })
    }

    fn attempt(&self, url: &Url, request: &Request<'_>) -> Result<Answer, Failure> {
        let builder = self.client.request(request.method.clone(), url.clone());
        let mut builder = builder.headers(request.headers.clone()).timeout(request.timeout);
        if let Some(body) = request.body {
            builder = builder.body(body.to_vec());
        }
        if let Some((file, bytes)) = request.file {
            let from_start = || -> io::Result<File> {
                let mut file = file.try_clone()?;
                file.rewind()?;
                Ok(file)
            };
            builder = builder.body(Body::sized(from_start().map_err(Failure::Passing)?, bytes));
        }
        let response = builder.send().map_err(|error| client::failure(url.as_str(), &error, WAY_OUT))?;
        read_answer(response, request)
    }
}

fn worth_repeating(status: StatusCode) -> bool {
    let busy = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    let lasting = matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::INSUFFICIENT_STORAGE);
    busy || (status.is_server_error() && !lasting)
}

fn read_answer(response: Response, request: &Request<'_>) -> Result<Answer, Failure> {
    let limit = if response.status().is_success() { request.limit_bytes } else { MAX_REFUSAL_BYTES };
    let too_long = || {
        let fact = format!("longer than the {limit} bytes that are expected");
        Failure::Final(Error::Corrupt { what: request.what.clone(), fact })
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

impl Answer {
    /// What the server refused, where it says so in JSON.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        if self.json { serde_json::from_slice(&self.body).ok() } else { None }
    }

    /// What the server said, for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.problem() {
            Some(problem) if !problem.detail.is_empty() => problem.detail,
            _ => format!("the server answered {}", self.status),
        }
    }
}
