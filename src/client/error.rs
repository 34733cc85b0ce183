//! Why the imaging server did not do what it was asked.

use crate::http::{self, Answer};
use crate::linux;
use crate::protocol::VERSION;
use reqwest::StatusCode;

/// Families of failures, each with what the server said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network or the server fails, or the server is not trusted.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// Something else answers there.
    #[error("{url} is no Remint server that gives jobs; name one, for example http://10.0.0.1:8460")]
    NoServer {
        /// Where.
        url: String,
    },
    /// Server and agent have no version in common.
    #[error(
        "{server} speaks the protocol in version {}, and this agent in version {VERSION}; boot the agent that belongs to the server",
        list(protocols)
    )]
    Protocol {
        /// The server, as it names itself.
        server: String,
        /// Its versions.
        protocols: Vec<u32>,
    },
    /// The token is not accepted.
    #[error("{doing}: the server does not let this machine in: {said}")]
    Unauthorised {
        /// What was asked for.
        doing: String,
        /// The server's sentence.
        said: String,
    },
    /// The server has nothing there.
    #[error("{doing}: {said}")]
    Missing {
        /// What was asked for.
        doing: String,
        /// The server's sentence.
        said: String,
    },
    /// The job has ended, was withdrawn, or belongs to another machine.
    #[error("the job is gone: {said}")]
    Gone {
        /// The server's sentence.
        said: String,
    },
    /// The server knows no such job.
    #[error("the server knows no such job: {said}")]
    Unknown {
        /// The server's sentence.
        said: String,
    },
    /// The server refuses.
    #[error("{doing}: {said}")]
    Refused {
        /// What was asked for.
        doing: String,
        /// The server's sentence.
        said: String,
    },
    /// The server's answer is none that there is.
    #[error("{doing}: the server's answer is not understood: {fact}")]
    Answer {
        /// What was asked for.
        doing: String,
        /// What is wrong with it.
        fact: String,
    },
    /// No key can be made.
    #[error(transparent)]
    Random(linux::Error),
}

impl Error {
    /// What an answer that is no success means.
    pub(super) fn of(doing: &str, answer: &Answer) -> Self {
        let (doing, said) = (doing.to_owned(), answer.sentence());
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Unauthorised { doing, said },
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Self::Missing { doing, said },
            StatusCode::GONE => Self::Gone { said },
            StatusCode::UNPROCESSABLE_ENTITY => Self::Unknown { said },
            _ => Self::Refused { doing, said },
        }
    }

    /// True where the same request may succeed later: nothing is known about the job.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Http(http::Error::Io { .. }))
    }
}

fn list(versions: &[u32]) -> String {
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
