//! Where chunks and images live: directories and HTTP servers.
//!
//! Invariants: a file becomes visible whole or not at all; a version becomes visible last, after everything it
//! refers to is known to be there and durable; opening a store to read creates nothing.

mod captures;
mod collect;
mod directory;
mod http;
mod listing;
mod open;
mod publish;
mod references;
pub mod wire;

pub use directory::Directory;
pub use http::Http;
pub use open::{OpenOptions, open};

use crate::image::StoreError;
use std::io;

/// Gives an error of the medium its context.
fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
    let doing = doing.into();
    move |source| StoreError::Io { doing, source }
}

impl From<crate::http::Error> for StoreError {
    fn from(error: crate::http::Error) -> Self {
        use crate::http::Error;
        match error {
            Error::Io { doing, source } => Self::Io { doing, source },
            Error::Refused { fact } => Self::Refused { fact },
            Error::NotFound { what } => Self::NotFound { what },
            Error::Corrupt { what, fact } => Self::Corrupt { what, fact },
        }
    }
}
