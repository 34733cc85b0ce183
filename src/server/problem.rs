//! Every refusal of the server: a status, a sentence, and a kind for programs (RFC 9457).

use crate::http::{self, Kind};
use crate::image::StoreError;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::io;

/// Why a request is not done.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: Kind,
    detail: String,
    /// When it may be tried again.
    retry_after_seconds: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: Kind, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), retry_after_seconds: None }
    }

    /// True where it contradicts what is there, and may not another time.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == StatusCode::CONFLICT
    }

    /// The sentence alone.
    pub(super) fn into_detail(self) -> String {
        self.detail
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

    /// Nobody knows who asks.
    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Kind::Refused, detail)
    }

    /// Who asks may not.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Kind::Refused, detail)
    }

    /// It contradicts what is there.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, Kind::Refused, detail)
    }

    /// A job that has ended, was withdrawn or belongs to another machine.
    pub(super) fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, Kind::Refused, detail)
    }

    /// A job that never was.
    pub(super) fn unknown(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::Refused, detail)
    }

    /// Too many tries.
    pub(super) fn too_many(detail: &str, seconds: u64) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, Kind::Refused, detail);
        problem.retry_after_seconds = Some(seconds);
        problem
    }

    /// The medium is full.
    pub(super) fn full(detail: &str) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, Kind::Io, detail)
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
        Self::new(status, kind, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let problem = http::Problem {
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            kind: self.kind,
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(CONTENT_TYPE, json)], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
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
