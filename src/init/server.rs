//! Which server, and what time it is there.
//!
//! `remint.server=`, else what DHCP says, else the name `remint` in the domain of the lease.

use super::network::Network;
use super::parameters::Parameters;
use super::{paths, say, say_step};
use crate::http::{self, Access};
use crate::linux::clock;
use crate::units::with_causes;
use reqwest::Url;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

const DEFAULT_PORT: u16 = 8460;
const DEFAULT_NAME: &str = "remint";
/// A clock before this has not been set: 2026-11-01, when this was written.
const OLDEST_BELIEVABLE: Duration = Duration::from_secs(1_793_491_200);
/// A difference that a `Date` header cannot see.
const TOLERATED: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(1);
const MAX_CA_BYTES: u64 = 1 << 20;

/// A server that answered.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Its URL, without a slash at the end.
    pub(super) url: String,
    /// The authority to trust besides the web's.
    pub(super) ca: Option<PathBuf>,
}

/// The server's URL as it is to be used, with where it was found.
pub(super) fn find(
    parameters: &Parameters,
    network: Option<&Network>,
) -> Result<(String, &'static str), String> {
    let pinned = parameters.fingerprint.is_some() || parameters.ca.is_some();
    let of_lease = network.and_then(|network| network.server.as_deref());
    match (parameters.server.as_deref(), of_lease, network) {
        (Some(text), _, _) => Ok((url(text, pinned)?, "remint.server")),
        (None, Some(text), _) => Ok((url(text, pinned)?, "DHCP")),
        (None, None, Some(network)) if !network.domains.is_empty() => Ok((url(DEFAULT_NAME, pinned)?, "DNS")),
        _ => Err(format!(
            "no server is known: give remint.server=, or DHCP option {}, or a host called {DEFAULT_NAME} in the network's domain",
            super::SERVER_OPTION
        )),
    }
}

/// A URL as people write one; a host alone has the scheme and port of `remint serve`.
fn url(text: &str, pinned: bool) -> Result<String, String> {
    let wrong = |fact: &str| {
        format!("the server \"{text}\": {fact}; write for example http://10.0.0.1:{DEFAULT_PORT}")
    };
    let scheme = if pinned { "https" } else { "http" };
    let full = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
    let mut url = Url::parse(&full).map_err(|error| wrong(&error.to_string()))?;
    if !text.contains("://") && url.port().is_none() {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| wrong("it can have no port"))?;
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("it is not a URL of http or https"));
    }
    if pinned && url.scheme() == "http" {
        return Err(wrong("with remint.fingerprint= or remint.ca= it has to be https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "the server's URL has a user or password in it; give a token with remint.token=".to_owned()
        );
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// How the server is spoken to.
pub(super) fn access(parameters: &Parameters, ca: Option<PathBuf>, retry_for: Duration) -> Access {
    let (token, fingerprint) = (parameters.token.clone(), parameters.fingerprint);
    Access { token, ca, fingerprint, retry_for, ..Access::default() }
}

/// Asks the server until it answers, and sets the clock by it. `interrupted` waits for a while; where a person
/// interrupts, there is no server yet.
///
/// # Errors
/// A sentence where it does not answer within `limit`, or is not the one that is trusted.
pub(super) fn reach(
    url: &str,
    ca: Option<PathBuf>,
    parameters: &Parameters,
    limit: Duration,
    interrupted: &dyn Fn(Duration) -> bool,
) -> Result<Option<Server>, String> {
    let begin = Instant::now();
    let health = format!("{url}/healthz");
    let access = access(parameters, ca.clone(), Duration::ZERO);
    let mut told = false;
    loop {
        if clock_is_unset() && url.starts_with("https:") {
            // A certificate cannot be checked on a day before it was made. What is learned here only moves the
            // clock forward; the next answer is checked with it, and sets it again.
            if let Ok(Some(time)) = http::unverified_server_time(&health)
                && time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since >= OLDEST_BELIEVABLE)
            {
                set_clock(time);
            }
        }
        let failure = match http::server_time(&health, &access) {
            Ok(time) => {
                time.into_iter().for_each(set_clock);
                say_step(&format!("server {url}"));
                return Ok(Some(Server { url: url.to_owned(), ca }));
            }
            Err(error) => error,
        };
        let said = with_causes(&failure);
        if matches!(failure, http::Error::Refused { .. }) {
            return Err(said);
        }
        if begin.elapsed() >= limit {
            return Err(format!("no answer for {} seconds: {said}", limit.as_secs()));
        }
        if !told {
            told = true;
            say_step(&format!("waiting for the server: {said}"));
        }
        if interrupted(PAUSE) {
            return Ok(None);
        }
    }
}

/// The file with one more authority: a path in this image, or fetched.
///
/// # Errors
/// A sentence where it cannot be had.
pub(super) fn authority(text: &str, server: Option<&str>, limit: Duration) -> Result<PathBuf, String> {
    let text = server.map_or(text.to_owned(), |server| super::job::with_server(text, server));
    if !text.contains("://") {
        let path = PathBuf::from(text);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("remint.ca: there is no file {} in this boot image", path.display()))
        };
    }
    let access = Access { retry_for: limit, ..Access::default() };
    let bytes = http::fetch(&text, MAX_CA_BYTES, &access)
        .map_err(|error| format!("remint.ca: {}", with_causes(&error)))?;
    paths::write_private("ca.pem", &bytes).map_err(|error| format!("remint.ca: {error}"))
}

fn clock_is_unset() -> bool {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since < OLDEST_BELIEVABLE)
}

fn set_clock(time: SystemTime) {
    let now = SystemTime::now();
    let difference = now.duration_since(time).or_else(|_| time.duration_since(now)).unwrap_or_default();
    if difference <= TOLERATED {
        return;
    }
    match clock::set_clock(time) {
        Ok(()) => say_step(&format!("clock set by {} s to the server's", difference.as_secs())),
        Err(said) => say(&format!("warning: {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_alone_is_enough() {
        assert_eq!(url("10.0.0.1", false).unwrap(), "http://10.0.0.1:8460");
        assert_eq!(url("imaging:9000/", true).unwrap(), "https://imaging:9000");
        assert_eq!(url("https://imaging.example/", false).unwrap(), "https://imaging.example");
        assert_eq!(url("http://[2001:db8::1]:8460/x/", false).unwrap(), "http://[2001:db8::1]:8460/x");
        for (text, pinned) in [
            ("ftp://x", false),
            ("http://u:p@x", false),
            ("http://x", true),
            ("http://", false),
            ("a b", false),
        ] {
            assert!(url(text, pinned).is_err(), "{text}");
        }
        assert!(!url("http://u:secret@x", false).unwrap_err().contains("secret"));
    }

    #[test]
    fn the_command_line_goes_before_dhcp_and_dhcp_before_dns() {
        let given = Parameters::read("remint.server=http://a");
        let none = Parameters::read("");
        let leased = Network::known(&["lab.example"], Some("http://b"));
        assert_eq!(find(&given, Some(&leased)).unwrap(), ("http://a".to_owned(), "remint.server"));
        assert_eq!(find(&none, Some(&leased)).unwrap(), ("http://b".to_owned(), "DHCP"));
        assert_eq!(
            find(&none, Some(&Network::known(&["lab.example"], None))).unwrap(),
            ("http://remint:8460".to_owned(), "DNS")
        );
        assert!(find(&none, Some(&Network::known(&[], None))).unwrap_err().contains("option 224"));
        assert!(find(&none, None).is_err());
    }
}
