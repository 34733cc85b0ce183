//! Small files from a server, and what time it is there.

use super::retry::{self, Failure};
use super::{Access, Error, client};
use crate::units::u64_from;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::DATE;
use std::io::{self, Read};
use std::time::SystemTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// How to have a server trusted, in the words of the boot image.
const WAY_OUT: &str = "give its fingerprint (remint.fingerprint=) or its authority (remint.ca=)";

/// Fetches a file of at most `limit_bytes`.
///
/// # Errors
/// Where the server does not answer within the time of `access`, does not have it, is not the one that is
/// trusted, or sends more.
pub fn fetch(url: &str, limit_bytes: u64, access: &Access) -> Result<Vec<u8>, Error> {
    let client = client::new(access)?;
    let doing = || format!("fetching {url}");
    retry::until_answered(access.retry_for, &access.stop, doing, |_| attempt(&client, url, limit_bytes))
}

fn attempt(client: &Client, url: &str, limit_bytes: u64) -> Result<Vec<u8>, Failure> {
    let refused = |fact: String| Failure::Final(Error::Refused { fact });
    let response = client.get(url).send().map_err(|error| client::failure(url, &error, WAY_OUT))?;
    let status = response.status();
    if status == StatusCode::NOT_FOUND {
        return Err(Failure::Final(Error::NotFound { what: url.to_owned() }));
    }
    if status.is_server_error() {
        return Err(Failure::Passing(io::Error::other(format!("the server answered {status}"))));
    }
    if !status.is_success() {
        return Err(refused(format!("fetching {url}: the server answered {status}")));
    }
    let bytes = read(response, limit_bytes).map_err(Failure::Passing)?;
    bytes.ok_or_else(|| refused(format!("{url} is longer than {limit_bytes} bytes")))
}

/// What time it is at a server; `None` where it does not say. Any answer will do: this is also how to find out
/// whether a server is there. Tries once.
///
/// # Errors
/// Where it does not answer, or is not the one that is trusted.
pub fn server_time(url: &str, access: &Access) -> Result<Option<SystemTime>, Error> {
    // A token is not for whoever answers here.
    time_of(&client::new(&Access { token: None, ..access.clone() })?, url)
}

/// What time it is at a server that nobody has checked, for a clock that is too wrong to check anybody with.
///
/// # Errors
/// Where it does not answer.
pub fn unverified_server_time(url: &str) -> Result<Option<SystemTime>, Error> {
    time_of(&client::unverified()?, url)
}

fn time_of(client: &Client, url: &str) -> Result<Option<SystemTime>, Error> {
    match client.head(url).send() {
        Ok(response) => Ok(response.headers().get(DATE).and_then(|value| parse_date(value.to_str().ok()?))),
        Err(error) => Err(match client::failure(url, &error, WAY_OUT) {
            Failure::Final(error) => error,
            Failure::Passing(source) => Error::Io { doing: format!("asking {url}"), source },
        }),
    }
}

fn parse_date(text: &str) -> Option<SystemTime> {
    let date = PrimitiveDateTime::parse(text.trim(), HTTP_DATE).ok()?.assume_utc();
    (date >= OffsetDateTime::UNIX_EPOCH).then(|| SystemTime::from(date))
}

fn read(response: Response, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    response.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| u64_from(bytes.len()) <= limit_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_of_http_are_read() {
        let seconds =
            |text| parse_date(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(784_111_777)));
        assert_eq!(seconds("yesterday"), None);
        assert_eq!(seconds("Sun, 06 Nov 1894 08:49:37 GMT"), None);
    }

    #[test]
    fn what_is_no_url_is_refused_at_once() {
        let access = Access::default();
        let error = fetch("no url", 10, &access).unwrap_err();
        assert!(error.to_string().contains("\"no url\" is not a URL"), "{error}");
    }
}
