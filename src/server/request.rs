//! What a request says: who asks, from where, about what, with which body. Each part is bounded and checked before a
//! handler sees it, and what is wrong is a problem with a sentence.

use super::problem::Problem;
use super::secret::{TokenHash, hash_of};
use super::{Shared, upload};
use crate::protocol::{IDEMPOTENCY_KEY, MAX_BODY_BYTES, MAX_IDEMPOTENCY_KEY};
use crate::units::u64_from;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Who asks: the hash of the token that is shown, and the address.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) token: Option<TokenHash>,
    pub(super) address: IpAddr,
}

/// The token that a request shows.
pub(super) fn shown_token(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let address = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip());
        Ok(Self { token: shown_token(&parts.headers).map(hash_of), address })
    }
}

/// What makes a repeated request the same one: its key, and the hash of what it says.
#[derive(Debug, Clone)]
pub(super) struct Once {
    pub(super) key: Option<String>,
    pub(super) request: TokenHash,
}

/// A body of JSON.
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) once: Once,
}

impl<T: DeserializeOwned> FromRequest<Shared> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, site: &Shared) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let key = idempotency_key(&parts.headers)?;
        let bytes = upload::to_memory(site, &parts.headers, body, u64_from(MAX_BODY_BYTES)).await?;
        let mut hash = Sha256::new();
        hash.update(parts.uri.path().as_bytes());
        hash.update([0]);
        hash.update(&bytes);
        Ok(Self { value: upload::of_json(&bytes)?, once: Once { key, request: hash.finalize().into() } })
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(header) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = header.to_str().ok().filter(|key| {
        (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) && key.chars().all(|c| c.is_ascii_graphic())
    });
    match key {
        Some(key) => Ok(Some(key.to_owned())),
        None => Err(Problem::bad_request(format!(
            "an {IDEMPOTENCY_KEY} has 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"
        ))),
    }
}

/// The parts of the path.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path)).map_err(|_| Problem::not_found("what this path names"))
    }
}

/// What stands behind the question mark.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}
