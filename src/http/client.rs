//! The HTTP client of every request: whom it trusts, what it shows, how long it waits.

use super::retry::Failure;
use super::{Access, Error, Secret, io_error, tls};
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use rustls::ClientConfig;
use std::io;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that trusts and shows what `access` says.
pub(super) fn new(access: &Access) -> Result<Client, Error> {
    let mut headers = HeaderMap::new();
    if let Some(token) = &access.token {
        headers.insert(AUTHORIZATION, bearer(token)?);
    }
    build(builder(tls::client_config(access.ca.as_deref(), access.fingerprint)?).default_headers(headers))
}

/// The header's value that shows a token.
pub(super) fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    let refused = |_| Error::Refused { fact: "the token holds characters that no token has".to_owned() };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal().trim())).map_err(refused)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A client that believes anybody and shows nothing.
pub(super) fn unverified() -> Result<Client, Error> {
    build(builder(tls::unverified_config()?))
}

fn builder(tls: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(super::STALL_TIMEOUT)
        .user_agent(concat!("remint/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
}

fn build(builder: ClientBuilder) -> Result<Client, Error> {
    builder.build().map_err(|error| io_error("preparing HTTP")(io::Error::other(error)))
}

/// Why a request to `url` has no answer: a URL that is none and a server that is not trusted are final. `way_out` says
/// how to have the server trusted.
pub(super) fn failure(url: &str, error: &reqwest::Error, way_out: &str) -> Failure {
    let refused = |fact: String| Failure::Final(Error::Refused { fact });
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
