//! The ways in which a disk cannot be inspected.

use crate::partition;

/// Why a disk could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its table cannot be read.
    #[error("reading the partition table")]
    Table {
        /// The cause.
        source: partition::Error,
    },
    /// Whoever listens asked for the work to stop.
    #[error("the inspection was cancelled")]
    Cancelled,
}
