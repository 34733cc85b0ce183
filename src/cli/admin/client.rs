//! Requests to a server's administration, with its refusals as sentences.

use super::arguments::Admin;
use super::login::Kept;
use anyhow::{Context, Result, anyhow, bail};
use remint::http::{Access, Answer, Connection, Request, Secret};
use remint::protocol::BASE;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The longest answer: a thousand events of a job.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// A person waits: a server that is away is soon said to be.
const RETRY_FOR: Duration = Duration::from_secs(10);

/// A server, with a login where there is one.
pub struct Client {
    connection: Connection,
    /// How it is reached, to be kept with a login.
    pub kept: Kept,
    logged_in: bool,
}

/// One request.
#[derive(Debug)]
pub struct Ask {
    method: Method,
    path: String,
    body: Option<serde_json::Value>,
    file: Option<(File, u64)>,
}

impl Ask {
    /// A request without a body for a path below `admin/`.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, file: None }
    }

    /// To look at something.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// With a file of so many bytes.
    pub fn with_file(mut self, file: File, bytes: u64) -> Self {
        self.file = Some((file, bytes));
        self
    }

    /// With a body.
    pub fn with(mut self, body: &impl Serialize) -> Result<Self> {
        self.body = Some(serde_json::to_value(body).context("writing JSON")?);
        Ok(self)
    }
}

/// A name as a part of a path. What no name can have would be another path.
pub fn part(name: &str) -> Result<&str> {
    let sound = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !name.starts_with('.');
    if sound { Ok(name) } else { Err(anyhow!("\"{name}\" cannot be a name")) }
}

/// A text behind the question mark of a URL (RFC 3986, 2.1).
pub fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

impl Client {
    /// The server that is named, or the one of the last login.
    pub fn new(arguments: &Admin, stop: Arc<AtomicBool>) -> Result<Self> {
        let kept = Kept::load()?;
        let named = arguments.server.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        let kept = kept.filter(|kept| named.as_ref().is_none_or(|server| *server == kept.server));
        let server = named.or_else(|| kept.as_ref().map(|kept| kept.server.clone()));
        let Some(server) = server else {
            bail!(
                "no server is named; give its URL with --server, or log in with `remint admin --server URL login NAME`"
            );
        };
        let given = arguments.token_file.as_deref().map(crate::cli::commands::read_token).transpose()?;
        let token = given.or_else(|| kept.as_ref().map(|kept| kept.token.clone()));
        let remembered =
            kept.as_ref().and_then(|kept| kept.fingerprint.as_deref()).map(str::parse).transpose()?;
        let fingerprint = arguments.fingerprint.or(remembered);
        let ca = arguments.ca_file.clone().or_else(|| kept.and_then(|kept| kept.ca_file));
        let access = Access {
            token: token.as_deref().map(Secret::new),
            ca: ca.clone(),
            fingerprint,
            retry_for: RETRY_FOR,
            stop,
        };
        let connection = Connection::new(&server, &access)?;
        let fingerprint = fingerprint.map(|print| print.to_string());
        let logged_in = token.is_some();
        let kept = Kept { server, token: token.unwrap_or_default(), fingerprint, ca_file: ca };
        Ok(Self { connection, kept, logged_in })
    }

    /// Sends a request; the answer where it is not a refusal.
    fn send(&self, ask: &Ask) -> Result<Answer> {
        let path = format!("{}/admin/{}", BASE.trim_start_matches('/'), ask.path);
        let body = ask.body.as_ref().map(ToString::to_string);
        let doing = format!("asking for {}", ask.path);
        let mut request = Request::new(ask.method.clone(), path, doing, ask.path.clone(), MAX_ANSWER_BYTES);
        if let Some(body) = &body {
            request = request.body(body.as_bytes());
        }
        if let Some((file, bytes)) = &ask.file {
            request = request.file(file, *bytes);
        }
        let answer = self.connection.answer(&request)?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        if answer.status == StatusCode::UNAUTHORIZED && ask.path != "login" {
            let state = if self.logged_in { "the login has ended" } else { "nobody is logged in" };
            bail!("{state}; use `remint admin login NAME`");
        }
        bail!("{}", answer.sentence())
    }

    /// What a request is answered with, as JSON.
    pub fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T> {
        let answer = self.send(ask)?;
        serde_json::from_slice(&answer.body)
            .with_context(|| format!("reading what {} answers", self.kept.server))
    }

    /// What a request is answered with, as text.
    pub fn text(&self, ask: &Ask) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.send(ask)?.body).into_owned())
    }
}
