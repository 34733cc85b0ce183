//! Answering with a file, whole or one range of it (RFC 9110, chapter 14).

use super::problem::Problem;
use crate::http::Kind;
use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

/// The bytes that a request wants of a file.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// First byte and length; never empty.
    Part(u64, u64),
    Nothing,
}

/// Reads a `Range` header. One range of bytes is served; anything else is answered with the whole file, as
/// the standard allows.
fn wanted(range: Option<&str>, length: u64) -> Wanted {
    let Some((first, last)) =
        range.and_then(|text| text.strip_prefix("bytes=")).and_then(|text| text.split_once('-'))
    else {
        return Wanted::All;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number beyond 64 bits lies behind every file.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (first, last) = match (digits(first), digits(last)) {
        (true, true) => (number(first), number(last)),
        (true, false) if last.is_empty() => (number(first), u64::MAX),
        (false, true) if first.is_empty() => match number(last) {
            0 => return Wanted::Nothing,
            suffix => (length.saturating_sub(suffix), u64::MAX),
        },
        _ => return Wanted::All,
    };
    if last < first {
        return Wanted::All;
    }
    let end = last.saturating_add(1).min(length);
    if first >= end { Wanted::Nothing } else { Wanted::Part(first, end.saturating_sub(first)) }
}

/// The answer to GET or HEAD of a file.
pub(super) fn answer(
    mut file: File,
    method: &Method,
    headers: &HeaderMap,
    content_type: &'static str,
) -> Result<Response, Problem> {
    let failed = |error: std::io::Error| Problem::internal(format!("reading a file: {error}"));
    let length = file.metadata().map_err(failed)?.len();
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let response = Response::builder().header(ACCEPT_RANGES, "bytes").header(CONTENT_TYPE, content_type);
    let (response, first, count) = match wanted(range, length) {
        Wanted::All => (response.status(StatusCode::OK), 0, length),
        Wanted::Part(first, count) => {
            let last = first.saturating_add(count).saturating_sub(1);
            let range = format!("bytes {first}-{last}/{length}");
            (response.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, range), first, count)
        }
        Wanted::Nothing => {
            let detail = format!("the file has {length} bytes");
            let mut refusal = axum::response::IntoResponse::into_response(Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                Kind::Refused,
                detail,
            ));
            if let Ok(range) = format!("bytes */{length}").parse() {
                refusal.headers_mut().insert(CONTENT_RANGE, range);
            }
            return Ok(refusal);
        }
    };
    let response = response.header(CONTENT_LENGTH, count);
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        file.seek(SeekFrom::Start(first)).map_err(failed)?;
        Body::from_stream(ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(count), 64 << 10))
    };
    response.body(body).map_err(|error| Problem::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_served_and_what_is_not_understood_is_ignored() {
        for (text, expected) in [
            ("bytes=0-0", Wanted::Part(0, 1)),
            ("bytes=10-", Wanted::Part(10, 90)),
            ("bytes=90-200", Wanted::Part(90, 10)),
            ("bytes=-7", Wanted::Part(93, 7)),
            ("bytes=-700", Wanted::Part(0, 100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=5-4", Wanted::All),
            ("bytes=+5-9", Wanted::All),
            ("lines=0-1", Wanted::All),
        ] {
            assert_eq!(wanted(Some(text), 100), expected, "{text}");
        }
        assert_eq!(wanted(None, 0), Wanted::All);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }
}
