//! What a refusal says in JSON: `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};

/// Every refusal.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    /// Name of the status.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// The sentence for a person.
    #[serde(default)]
    pub detail: String,
    /// The family of the error, for programs.
    #[serde(default)]
    pub kind: Kind,
}

/// The families of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The server's medium fails.
    Io,
    /// It is not there.
    NotFound,
    /// Not allowed.
    Refused,
    /// Of a version that the server does not know.
    Unsupported,
    /// What was sent, or what is stored, contradicts itself.
    Corrupt,
    /// Anything else.
    #[default]
    #[serde(other)]
    Other,
}
