//! Every refusal of the server: a status, a sentence, and a kind for programs (RFC 9457).

use crate::image::StoreError;
use crate::store::wire::{self, Kind};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::io;

/// Why a request is not done.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: Kind,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: Kind, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into() }
    }

    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Io, detail)
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::Refused, detail)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, Kind::NotFound, format!("{what} is not here"))
    }

    pub(super) fn too_large(limit_bytes: u64) -> Self {
        let detail = format!("the body is longer than {limit_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::Refused, detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (status, kind) = match &error {
            StoreError::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    (StatusCode::INSUFFICIENT_STORAGE, Kind::Io)
                }
                _ => (StatusCode::INTERNAL_SERVER_ERROR, Kind::Io),
            },
            StoreError::NotFound { .. } => (StatusCode::NOT_FOUND, Kind::NotFound),
            StoreError::Refused { .. } => (StatusCode::CONFLICT, Kind::Refused),
            StoreError::Unsupported { .. } => (StatusCode::UNPROCESSABLE_ENTITY, Kind::Unsupported),
            StoreError::Corrupt { .. } => (StatusCode::UNPROCESSABLE_ENTITY, Kind::Corrupt),
        };
        let detail = match &error {
            StoreError::Io { doing, source } => format!("{doing}: {source}"),
            other => other.to_string(),
        };
        Self { status, kind, detail }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let problem = wire::Problem {
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            kind: self.kind,
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let json = HeaderValue::from_static("application/problem+json");
        (self.status, [(CONTENT_TYPE, json)], body).into_response()
    }
}

/// The answer to a path that the server does not have.
pub(super) async fn no_such_path() -> Problem {
    Problem::not_found("what this path names")
}

/// The answer to a method that a path does not have.
pub(super) async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Refused, "this path does not know that method")
}
