//! What can be wrong with a plan.

use crate::plan::refusal::Part;
use crate::units::ByteRange;
use serde::Serialize;

/// A mistake in a finished plan: one of the planner's, or of whoever changed the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the sentences say what the fields are")]
pub enum Fault {
    /// A target appears twice.
    #[error("{target} appears twice in the plan")]
    Repeated { target: String },
    /// The plan is for a disk that the image does not have.
    #[error("the image has no disk {disk}")]
    Unknown { disk: u32 },
    /// The plan leaves a disk of the image out.
    #[error("the plan says nothing about disk {disk} of the image")]
    Forgotten { disk: u32 },
    /// The target is smaller than the plan's own minimum.
    #[error("the target is smaller than the minimum of {minimum_bytes} bytes")]
    BelowMinimum { minimum_bytes: u64 },
    /// Something of the table that has to stay has changed.
    #[error("the table was changed in what has to stay: {what}")]
    TableChanged { what: &'static str },
    /// An entry of a table has no valid place.
    #[error("partition {number} has no valid place")]
    NoPlace { number: u32 },
    /// Two parts share bytes.
    #[error("{one} and {other} overlap")]
    Overlap { one: Part, other: Part },
    /// A part reaches out of what holds it.
    #[error("{part} ({place}) lies outside {of}")]
    Outside { part: Part, place: ByteRange, of: ByteRange },
    /// A part is smaller than what goes into it.
    #[error("{part} has {has_bytes} bytes and needs {needs_bytes}")]
    TooSmall { part: Part, has_bytes: u64, needs_bytes: u64 },
    /// A part neither stayed nor starts on a multiple of 1 MiB.
    #[error("{part} starts at byte {start_bytes}, which is not a multiple of 1 MiB")]
    Misaligned { part: Part, start_bytes: u64 },
    /// A part moved that had to stay.
    #[error("{part} is not at its original place")]
    Moved { part: Part },
    /// The parts of the table itself lie wrong.
    #[error("the partition table does not fit: {what}")]
    TableMisplaced { what: &'static str },
    /// A partition reaches beyond what an MBR can describe.
    #[error("{part} reaches beyond 2^32 sectors")]
    BeyondMbr { part: Part },
    /// An extended boot record lies wrong.
    #[error("the extended boot record of partition {number} {what}")]
    BootRecord { number: u32, what: &'static str },
    /// A volume of the image appears not once.
    #[error("volume {volume} appears {times} times")]
    Volume { volume: String, times: usize },
    /// A volume is not where the table says.
    #[error("volume {volume} is not at the place of its partition in the table")]
    Disagree { volume: String },
    /// The wrong thing is done with a volume's content.
    #[error("what is written to volume {volume} does not go with its content")]
    Action { volume: String },
    /// A file system that cannot change its size got a volume of another size.
    #[error("volume {volume} changed its size, but its content cannot")]
    SizeChanged { volume: String },
    /// A change of size disagrees with the volume.
    #[error("the growth of volume {volume} does not match its file system and its place")]
    Growth { volume: String },
    /// A file system is shrunk that cannot be, or below what it needs, or to another size than its volume's.
    #[error("the shrinking of volume {volume} does not match its file system and its place")]
    Shrinking { volume: String },
    /// A volume became smaller that was not to.
    #[error("volume {volume} has {has_bytes} bytes, and is not to be smaller than its {captured_bytes}")]
    Shrunk { volume: String, has_bytes: u64, captured_bytes: u64 },
    /// Something of a volume group is wrong.
    #[error("the volume group g{group}: {what}")]
    Group { group: u32, what: &'static str },
    /// Something of a volume group that stands on the targets is wrong.
    #[error("the volume group {group} on the targets: {what}")]
    ExistingGroup { group: String, what: &'static str },
    /// A stretch to clear is out of order or outside the disk.
    #[error("the stretch to clear, {range}, is out of order or outside the disk")]
    Cleared { range: ByteRange },
    /// Something that stays would be written to.
    #[error("{what} ({range}) touches what stays on the target")]
    Spared { what: String, range: ByteRange },
    /// A partition that stays has another entry in a new table than it had.
    #[error("the entry of partition {number}, which stays, is another one in the new table")]
    KeptChanged { number: u32 },
    /// A step names what the plan does not have.
    #[error("a step ({step}) is about a volume that the plan does not deploy, {volume}")]
    Step { step: String, volume: String },
    /// Boot entries of the firmware would name what is not deployed.
    #[error("the boot entries for {target}: {what}")]
    BootEntries { target: String, what: &'static str },
    /// An old table would survive.
    #[error("{range} are not cleared, so that an old table may survive there")]
    NotCleared { range: ByteRange },
}
