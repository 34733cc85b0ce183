//! The HTTP client of every request: whom it trusts, what it shows, how long it waits.

use super::retry::Failure;
use super::{OpenOptions, io_error, tls};
use crate::image::StoreError;
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use rustls::ClientConfig;
use std::io;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may be silent, on top of what the size of the request allows.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that trusts and shows what `options` say.
pub(super) fn new(options: &OpenOptions) -> Result<Client, StoreError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = &options.token {
        let refused =
            |_| StoreError::Refused { fact: "the token holds characters that no token has".to_owned() };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(refused)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    build(builder(tls::client_config(options.ca.as_deref(), options.fingerprint)?).default_headers(headers))
}

/// A client that believes anybody and shows nothing.
pub(super) fn unverified() -> Result<Client, StoreError> {
    build(builder(tls::unverified_config()?))
}

fn builder(tls: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(STALL_TIMEOUT)
        .user_agent(concat!("remint/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
}

fn build(builder: ClientBuilder) -> Result<Client, StoreError> {
    builder.build().map_err(|error| io_error("preparing HTTP")(io::Error::other(error)))
}

/// Why a request to `url` has no answer: a URL that is none and a server that is not trusted are final. `way_out` says
/// how to have the server trusted.
pub(super) fn failure(url: &str, error: &reqwest::Error, way_out: &str) -> Failure {
    let refused = |fact: String| Failure::Final(StoreError::Refused { fact });
    if error.is_builder() {
        return refused(format!("\"{url}\" is not a URL: {}", io_cause(error)));
    }
    match tls::certificate_problem(error) {
        Some(problem) => refused(format!("{url} does not prove who it is: {problem}; {way_out}")),
        None => Failure::Passing(io_cause(error)),
    }
}

/// The cause at the bottom of an error of HTTP, and whether it was a timeout.
fn io_cause(error: &reqwest::Error) -> io::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let kind = if error.is_timeout() { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
    io::Error::new(kind, cause.to_string())
}
