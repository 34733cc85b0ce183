//! What is said of a file system whose superblock was found: below that, damage and unknown forms are states of a
//! reading, and no errors.

use super::{Error, Reading};
use crate::schema::{FileSystem, FileSystemKind, State};
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

/// What a superblock says of a file system that no tool makes smaller.
pub(super) struct Identity {
    pub(super) kind: FileSystemKind,
    pub(super) block_size_bytes: u64,
    pub(super) size_bytes: u64,
    pub(super) uuid: Option<String>,
    pub(super) label: Option<String>,
}

impl Judged {
    /// The reading of a file system whose smallest size is its own.
    pub(super) fn of(self, identity: Identity) -> Reading {
        let Identity { kind, block_size_bytes, size_bytes, uuid, label } = identity;
        let file_system = FileSystem {
            kind,
            uuid,
            label,
            block_size_bytes,
            size_bytes,
            used_bytes: self.map.as_ref().map(RangeSet::total_bytes),
            minimum_bytes: size_bytes,
            state: self.state,
            findings: self.findings,
        };
        Reading { file_system, used: self.map }
    }
}
