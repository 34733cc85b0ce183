//! What is known about the state of the volume so far: only ever worse, with every reason kept.

use crate::filesystem::Error;
use crate::schema::State;

/// The worst state so far and all findings.
pub(super) struct Judgement {
    pub(super) state: State,
    pub(super) findings: Vec<String>,
}

impl Judgement {
    /// Nothing was found yet.
    pub(super) const fn new() -> Self {
        Self { state: State::Clean, findings: Vec::new() }
    }

    /// Adds a finding that does not touch the truth of the map.
    pub(super) fn note(&mut self, finding: impl Into<String>) {
        self.findings.push(finding.into());
    }

    /// Adds a finding that means at least this state.
    pub(super) fn worsen(&mut self, state: State, finding: impl Into<String>) {
        if rank(state) > rank(self.state) {
            self.state = state;
        }
        self.note(finding);
    }

    /// Turns a contradiction into a finding; a failure of the device stays an error.
    pub(super) fn absorb<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        let state = match result {
            Ok(value) => return Ok(Some(value)),
            Err(Error::Io { .. }) => return result.map(Some),
            Err(Error::Unsupported { .. }) => State::Unsupported,
            Err(Error::Corrupt { .. }) => State::Damaged,
        };
        if let Err(error) = result {
            self.worsen(state, error.to_string());
        }
        Ok(None)
    }
}

/// A damaged volume says nothing that can be relied on; a hibernated one is more than dirty.
const fn rank(state: State) -> u8 {
    match state {
        State::Clean => 0,
        State::Dirty => 1,
        State::Hibernated => 2,
        State::Encrypted | State::Unsupported => 3,
        State::Damaged => 4,
    }
}
