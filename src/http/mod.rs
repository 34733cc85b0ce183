//! How servers are asked, whatever for: whom a request trusts, what it shows, how long it waits, how often it is made.
//!
//! Invariants: every request is bounded in time and every answer in size. A failure that may pass is met with growing,
//! jittered pauses; one that cannot pass ends at once. No token is in what is shown.

mod client;
mod exchange;
mod fetch;
mod problem;
mod retry;
mod secret;
mod tls;

pub use exchange::{Answer, Connection, Request, STALL_TIMEOUT};
pub use fetch::{fetch, server_time, unverified_server_time};
pub use problem::{Kind, Problem};
pub use retry::random;
pub use secret::{Blanker, Secret};
pub use tls::{Fingerprint, ParseFingerprintError};

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How a server is reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// The token that the server asks for.
    pub token: Option<Secret>,
    /// A PEM file with one more authority to trust.
    pub ca: Option<PathBuf>,
    /// The one certificate to trust, instead of all authorities.
    pub fingerprint: Option<Fingerprint>,
    /// For how long a request that fails is tried again.
    pub retry_for: Duration,
    /// Somebody set it who does not want to wait for another try.
    pub stop: Arc<AtomicBool>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            token: None,
            ca: None,
            fingerprint: None,
            retry_for: Duration::from_secs(180),
            stop: Arc::default(),
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network or the server fails.
    #[error("{doing}")]
    Io {
        /// What was being done, with its object: `storing chunk ab12... at http://server/store`.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// It cannot be asked for like this: no URL, or a server that is not trusted.
    #[error("{fact}")]
    Refused {
        /// Why, and the way out.
        fact: String,
    },
    /// The server does not have it.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The answer is none that there can be.
    #[error("{what}: {fact}")]
    Corrupt {
        /// What was asked for.
        what: String,
        /// The contradiction.
        fact: String,
    },
}

/// Gives an error of the system its context.
fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = doing.into();
    move |source| Error::Io { doing, source }
}
