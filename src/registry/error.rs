//! What can be wrong with a hive.

/// Why a hive is not read, or not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is something else.
    #[error("it is no registry hive")]
    NotAHive,
    /// It was not written to its end.
    #[error(
        "it waits for its log to be written into it (sequence numbers {first} and {second}): start Windows once and shut it down"
    )]
    Dirty {
        /// Counted when writing begins.
        first: u32,
        /// Counted when writing has ended.
        second: u32,
    },
    /// It contradicts itself.
    #[error("it is damaged: {structure} at byte {at}: {fact}")]
    Corrupt {
        /// The structure.
        structure: &'static str,
        /// Where in the file.
        at: u64,
        /// The contradiction, with its numbers.
        fact: String,
    },
    /// It is sound, but more than what is done here.
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    pub(super) fn corrupt(structure: &'static str, at: usize, fact: impl Into<String>) -> Self {
        Self::Corrupt { structure, at: crate::units::u64_from(at), fact: fact.into() }
    }
}
