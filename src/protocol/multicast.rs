//! A session of machines that get one image at once: what a machine is told of it, and what it says while it listens.

// An address is data; nothing is sent from here.
use core::net::Ipv4Addr;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most gaps and ranges in one report.
pub const MAX_RUNS: usize = 1024;

/// A session, drawn at random: 16 hexadecimal digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(pub u64);

/// Text that names no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session is 16 hexadecimal digits")]
pub struct ParseSessionIdError;

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(Self).ok_or(ParseSessionIdError)
    }
}

impl TryFrom<String> for SessionId {
    type Error = ParseSessionIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// In a granted job: the session that the machine may join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MulticastOffer {
    /// The session.
    pub session: SessionId,
    /// Where it is sent.
    pub group: Ipv4Addr,
    /// The port there.
    pub port: u16,
    /// How many machines it waits for.
    pub machines: u32,
    /// For how long, in seconds, once the first one is ready.
    pub wait_seconds: u32,
}

/// Positions of a session from `first`, up to and without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Positions {
    /// The first one.
    pub first: u32,
    /// The one behind the last.
    pub end: u32,
}

/// Pieces of one frame that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Position of the chunk.
    pub position: u32,
    /// The first piece that is missing.
    pub first: u16,
    /// How many are; as many as there may be where nothing of the frame arrived.
    pub count: u16,
}

/// `POST jobs/ID/multicast`: how far a machine is. Sent several times a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MulticastReport {
    /// The session.
    pub session: SessionId,
    /// How many positions the machine counts in the image; another number than the server's is refused.
    pub total: u32,
    /// What it will not ask for any more lies before this position.
    pub position: u32,
    /// How many bytes of frames it can hold from there on.
    pub window_bytes: u64,
    /// In the first report: what the machine needs at all; at most [`MAX_RUNS`], ascending. Nothing in a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Vec<Positions>>,
    /// What was sent and did not arrive; at most [`MAX_RUNS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Gap>,
    /// True: the machine does not listen any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// The answer; by default, that the machine goes on without the session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MulticastAnswer {
    /// False: the machine goes on without the session.
    pub member: bool,
    /// Why, as a sentence, where somebody should know.
    #[serde(default)]
    pub message: Option<String>,
    /// How many machines are in the session.
    #[serde(default)]
    pub machines: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_sixteen_digits() {
        let id = SessionId(0xAB);
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"00000000000000ab\"");
        assert_eq!("00000000000000ab".parse(), Ok(id));
        for wrong in ["", "ab", "+0000000000000ab", "00000000000000abc", "zz000000000000ab"] {
            assert_eq!(wrong.parse::<SessionId>(), Err(ParseSessionIdError), "{wrong}");
        }
    }
}
