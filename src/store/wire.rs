//! What store clients and servers say to each other in JSON. `docs/protocol.md` describes it.

pub use crate::http::{Kind, Problem};
use serde::{Deserialize, Serialize};

/// The largest number of chunks in one question.
pub const MAX_QUESTION: usize = 4096;

/// `POST chunks/present`: which of these are stored?
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresentQuestion {
    /// Names of chunks, at most [`MAX_QUESTION`].
    pub chunks: Vec<String>,
}

/// The answer, in the order of the question.
#[derive(Debug, Serialize, Deserialize)]
pub struct PresentAnswer {
    /// True where the chunk is stored.
    pub present: Vec<bool>,
}

/// `GET images/`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Images {
    /// Names of images with at least one version, ascending.
    pub images: Vec<String>,
}

/// `GET images/NAME/`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Versions {
    /// Names of versions, oldest first.
    pub versions: Vec<String>,
}

/// `PUT captures/NAME@VERSION`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Chosen at random by the one who captures: who sends it twice means the same capture.
    pub holder: String,
}
