//! Where chunks and images live: directories and HTTP servers.
//!
//! Invariants: a file becomes visible whole or not at all; a version becomes visible last, after everything it
//! refers to is known to be there and durable; opening a store to read creates nothing.

mod captures;
mod client;
mod collect;
mod directory;
mod fetch;
mod http;
mod listing;
mod open;
mod publish;
mod references;
mod retry;
mod tls;
pub mod wire;

pub use directory::Directory;
pub use fetch::{fetch, server_time, unverified_server_time};
pub use http::Http;
pub use open::{OpenOptions, open};
pub use tls::{Fingerprint, ParseFingerprintError};

use crate::image::StoreError;
use std::io;

/// Gives an error of the medium its context.
fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
    let doing = doing.into();
    move |source| StoreError::Io { doing, source }
}
