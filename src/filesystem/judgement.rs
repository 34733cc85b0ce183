//! What is said of a file system whose superblock was found: below that, damage and unknown forms are states of a
//! reading, and no errors.

use super::Error;
use crate::schema::State;
use crate::units::RangeSet;

/// What a reader found.
pub(super) enum Judgement<M = RangeSet> {
    /// The map is the whole truth.
    Clean {
        map: M,
        /// What a person may still want to know.
        hints: Vec<String>,
    },
    /// Something is not written yet: a sentence with its way out.
    Dirty { fact: String },
}

/// What that comes to.
pub(super) struct Judged<M = RangeSet> {
    pub(super) state: State,
    pub(super) findings: Vec<String>,
    /// The map of a clean file system.
    pub(super) map: Option<M>,
}

/// The state that a judgement, or what kept from one, means. Only a volume that could not be read is an error.
pub(super) fn settle<M>(judgement: Result<Judgement<M>, Error>) -> Result<Judged<M>, Error> {
    let (state, findings, map) = match judgement {
        Ok(Judgement::Clean { map, hints }) => (State::Clean, hints, Some(map)),
        Ok(Judgement::Dirty { fact }) => (State::Dirty, vec![fact], None),
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(error @ Error::Unsupported { .. }) => (State::Unsupported, vec![error.to_string()], None),
        Err(error @ Error::Corrupt { .. }) => (State::Damaged, vec![error.to_string()], None),
    };
    Ok(Judged { state, findings, map })
}
