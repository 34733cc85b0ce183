//! What a machine tells of its job.

use crate::progress::Event;
use serde::{Deserialize, Serialize};

/// `POST jobs/ID/events`: what happened, in order. A batch that is sent again is taken once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBatch {
    /// Number of the first event of the batch: events of a job are counted from 0.
    pub first: u64,
    /// At most [`MAX_EVENTS`](super::MAX_EVENTS). An empty batch says that the machine is alive.
    pub events: Vec<TimedEvent>,
}

/// An event and when it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedEvent {
    /// The machine's time.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventsAnswer {
    /// The number of the event that is expected next.
    pub next: u64,
    /// A sentence where the job is to stop.
    pub cancel: Option<String>,
}

/// `POST jobs/ID/finish`: how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// How.
    pub outcome: Outcome,
    /// The sentence.
    pub message: String,
    /// True where the target was changed; false for a capture.
    #[serde(default)]
    pub target_changed: bool,
    /// The version that was captured or deployed.
    #[serde(default)]
    pub version: Option<String>,
    /// What needs attention although the work is done.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done.
    Done,
    /// Done, and something needs attention.
    Problems,
    /// Not done.
    Failed,
    /// Stopped because somebody wished it.
    Cancelled,
}
