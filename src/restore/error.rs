//! Why a deploy failed, and whether the target was changed by then.

use crate::customize::CustomizeError;
use crate::filesystem::{self, lvm};
use crate::image::{ChunkError, ImageVersion, StoreError};
use crate::partition;
use crate::plan::{Fault, Stays};
use crate::resize::{Change, ResizeError};
use crate::units::ByteRange;
use std::fmt;
use std::io;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored contradicts itself.
    #[error("{what}: {fact}; run `remint verify --deep` to see what else is damaged")]
    Corrupt {
        /// The volume, file or chunk.
        what: String,
        /// The contradiction.
        fact: String,
    },
    /// The image was never captured, only looked at.
    #[error(
        "{version} holds a schema and no data, so it cannot be deployed; capture the machine without --schema-only"
    )]
    SchemaOnly {
        /// Image and version.
        version: ImageVersion,
    },
    /// A chunk is not what was captured.
    #[error("{volume} is damaged in the store; run `remint verify --deep` to see what else is")]
    Chunk {
        /// Name of the volume.
        volume: String,
        /// The cause, with the name of the chunk.
        source: ChunkError,
    },
    /// No memory for decompression.
    #[error("starting decompression")]
    Memory(#[source] io::Error),
    /// Chunks that the image needs are not in the store.
    #[error("{count} chunks of {volume} are missing from the store; the image cannot be deployed")]
    MissingChunks {
        /// Name of the volume.
        volume: String,
        /// How many.
        count: usize,
    },
    /// The finished plan contradicts itself: an error in this program.
    #[error("the plan is wrong, nothing was written; please report this: {}", sentences(.0))]
    Plan(Vec<Fault>),
    /// The table cannot be written to this disk.
    #[error("laying out the table of {disk}")]
    Table {
        /// The target.
        disk: String,
        /// The cause.
        source: partition::Error,
    },
    /// The swap header cannot be made.
    #[error("making the swap header of {volume}")]
    Swap {
        /// Name of the volume.
        volume: String,
        /// The cause.
        source: filesystem::Error,
    },
    /// A volume group cannot be described on the targets.
    #[error(transparent)]
    Group(#[from] lvm::WriteError),
    /// A program or a privilege is missing.
    #[error("{volume} is to be resized: {missing}")]
    Missing {
        /// Name of the volume.
        volume: String,
        /// What is missing, and the way out.
        missing: String,
    },
    /// The number of targets is not that of the plan.
    #[error("the plan is for {expected} disks, {given} were given")]
    Targets {
        /// Of the plan.
        expected: usize,
        /// Given.
        given: usize,
    },
    /// The target is not the disk that was planned for.
    #[error(
        "{disk} has {found_bytes} bytes now and had {planned_bytes} when the deploy was planned; plan again"
    )]
    SizeChanged {
        /// The target.
        disk: String,
        /// Size in the plan.
        planned_bytes: u64,
        /// Size now.
        found_bytes: u64,
    },
    /// The table of which something is to stay is another one than it was planned with.
    #[error("the partition table of {disk} has changed since the deploy was planned; plan again")]
    TableChanged {
        /// The target.
        disk: String,
    },
    /// A volume group of which something is to stay is another one than it was planned with.
    #[error("the volume group {group} on the targets has changed since the deploy was planned; plan again")]
    GroupChanged {
        /// Its name.
        group: String,
    },
    /// The target cannot be written.
    #[error("{what} at {range} of the target")]
    Write {
        /// What was being done.
        what: String,
        /// Where, from the start of the disk.
        range: ByteRange,
        /// The cause.
        source: io::Error,
    },
    /// A program or a privilege is missing for a step.
    #[error("{step} ({volume}): {missing}")]
    MissingForStep {
        /// Name of the volume.
        volume: String,
        /// The step.
        step: String,
        /// What is missing, and the way out.
        missing: String,
    },
    /// A step was not taken.
    #[error("making {step} ({volume})")]
    Customize {
        /// Name of the volume.
        volume: String,
        /// The step.
        step: String,
        /// The cause.
        source: Box<CustomizeError>,
    },
    /// A file system could not change its size.
    #[error("{change} the file system of {volume}")]
    Resize {
        /// What was being done.
        change: Change,
        /// Name of the volume.
        volume: String,
        /// The cause.
        source: Box<ResizeError>,
    },
    /// What stands on the target after its tool shrank it is not what it should be.
    #[error("the file system of {volume} was not shrunk as planned: {fact}")]
    NotShrunk {
        /// Name of the volume.
        volume: String,
        /// What is wrong.
        fact: String,
    },
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

/// What a failed deploy leaves on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// No table.
    NoTable,
    /// A table of the kept partitions, and these as they were.
    KeptPartitions,
    /// The table as it was; the partitions and logical volumes that were being written are empty.
    Table,
}

impl Left {
    pub(super) fn of(stays: &Stays) -> Self {
        match stays {
            Stays::Nothing => Self::NoTable,
            Stays::Partitions { .. } => Self::KeptPartitions,
            Stays::Table { .. } => Self::Table,
        }
    }

    /// As the end of a sentence.
    const fn clause(self) -> &'static str {
        match self {
            Self::NoTable => "without a partition table",
            Self::KeptPartitions => {
                "with a partition table of the kept partitions only, which are as they were"
            }
            Self::Table => {
                "with the volumes that were being written empty; its table and all others are as they were"
            }
        }
    }
}

/// A deploy that failed.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// True where a target was written to.
    pub target_changed: bool,
    /// What a changed target was left with.
    pub left: Left,
    /// Targets whose table could not be cleared again, with the reason.
    pub not_cleared: Vec<String>,
}

impl Failure {
    pub(super) fn before(error: Error) -> Self {
        Self { error, target_changed: false, left: Left::NoTable, not_cleared: Vec::new() }
    }

    pub(super) fn after(error: Error, left: Left, not_cleared: Vec<String>) -> Self {
        Self { error, target_changed: true, left, not_cleared }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.target_changed, self.not_cleared.as_slice()) {
            (false, _) => f.write_str("nothing was written"),
            (true, []) => {
                write!(f, "the target is incomplete and was left {}; deploy again", self.left.clause())
            }
            (true, disks) => write!(
                f,
                "the target is incomplete, and its table could not be cleared ({}); do not start from it",
                disks.join("; ")
            ),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::before(error)
    }
}

fn sentences(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
