//! What is known about the state of the volume so far: only ever worse, with every reason kept. The one exception is a
//! suspicion that was looked into.

use crate::filesystem::Error;
use crate::schema::State;

/// The worst state so far and all findings.
pub(super) struct Judgement {
    pub(super) state: State,
    pub(super) findings: Vec<String>,
    /// How many findings made the state worse, or would have.
    reasons: usize,
}

impl Judgement {
    /// Nothing was found yet.
    pub(super) const fn new() -> Self {
        Self { state: State::Clean, findings: Vec::new(), reasons: 0 }
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
        self.reasons = self.reasons.saturating_add(1);
        self.note(finding);
    }

    /// True where this finding is all that speaks against the volume.
    pub(super) fn suspects_only(&self, finding: &str) -> bool {
        self.reasons == 1 && self.state == State::Dirty && self.findings.iter().any(|found| found == finding)
    }

    /// Takes the only reason back, for another finding that does not touch the truth of the map.
    pub(super) fn acquit(&mut self, of: &str, finding: impl Into<String>) {
        self.findings.retain(|found| found != of);
        (self.state, self.reasons) = (State::Clean, 0);
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
