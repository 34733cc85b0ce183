//! The ways in which this machine does not do what it is asked.

use crate::units::with_causes;
use std::io;

/// Why a disk, device or program of this machine could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system call or the medium failed.
    #[error("{doing}")]
    Io {
        /// What was being done, with its object: `reading the size of /dev/sda`.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// It could be done but must not be.
    #[error("{fact}")]
    Refused {
        /// Why, and the way out.
        fact: String,
    },
    /// A file system stays mounted. Nothing may be written to its device beside it: that would be lost, or damage it.
    #[error(
        "{doing}: it stays mounted, and its disk cannot be let go (end what uses it, or restart this machine, and do it again)"
    )]
    StaysMounted {
        /// What was being done, with its object.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// It failed when something was changed, which could not be put back.
    #[error("{fact}")]
    NotPutBack {
        /// What was being done, and what stands there now.
        fact: String,
    },
    /// This machine, its kernel or the device cannot do it.
    #[error("{fact}")]
    Unsupported {
        /// What is missing, and the way out.
        fact: String,
    },
}

impl Error {
    /// Puts what was being done around a cause.
    pub(super) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { doing: doing.into(), source: source.into() }
    }

    /// The error with its causes, as one sentence.
    #[must_use]
    pub fn with_causes(&self) -> String {
        with_causes(self)
    }

    /// A refusal with its reason.
    pub(super) fn refused(fact: impl Into<String>) -> Self {
        Self::Refused { fact: fact.into() }
    }

    /// Something that is missing.
    pub(super) fn unsupported(fact: impl Into<String>) -> Self {
        Self::Unsupported { fact: fact.into() }
    }
}
