//! Who may use the store: everyone who knows the token, where the server has one.

use super::Shared;
use super::problem::Problem;
use crate::store::wire::Kind;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::hint::black_box;

/// The hash of a token: of one length, so that comparing takes one time.
pub(super) struct Token([u8; 32]);

impl Token {
    pub(super) fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Compares in a time that does not depend on where the two differ.
    fn is(&self, text: &str) -> bool {
        let given = Self::new(text);
        let difference = self.0.iter().zip(given.0).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        black_box(difference) == 0
    }
}

/// Lets a request pass that bears the token.
pub(super) async fn require_token(State(site): State<Shared>, request: Request, next: Next) -> Response {
    let Some(token) = &site.token else { return next.run(request).await };
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = header
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if given.is_some_and(|(_, text)| token.is(text.trim())) {
        return next.run(request).await;
    }
    let detail = "this server asks for a token, and this is not it";
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, Kind::Refused, detail).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
