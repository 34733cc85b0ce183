//! What is happening, as typed events, and who listens, as a trait.
//!
//! The same events feed the progress bar, `--events json` and, later, the server. Field names carry their
//! unit. `docs/events.md` describes them for scripts.

use crate::units::format_size;
use serde::{Deserialize, Serialize};

/// The parts of a job that a person waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reading tables, file systems and used maps.
    Inspect,
    /// Reading the source and storing it.
    Capture,
    /// Deciding the layout and checking everything that is needed.
    Preflight,
    /// Clearing old signatures and free space on the target.
    Clear,
    /// Writing volumes to the target.
    Write,
    /// Changing the size of file systems.
    Resize,
    /// Changing files of what was deployed.
    Customize,
    /// Writing the partition table and what makes the disk bootable.
    Commit,
    /// Checking a stored image.
    Verify,
    /// Collecting chunks that nothing refers to.
    Collect,
}

impl Phase {
    /// What is done in it, for a person.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Inspect => "inspecting",
            Self::Capture => "capturing",
            Self::Preflight => "checking",
            Self::Clear => "clearing the target",
            Self::Write => "writing",
            Self::Resize => "resizing",
            Self::Customize => "customizing",
            Self::Commit => "writing the partition table",
            Self::Verify => "verifying",
            Self::Collect => "collecting",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A phase began; `total_bytes` is what it will process, where that is known.
    PhaseStarted {
        /// Which.
        phase: Phase,
        /// Bytes to process.
        total_bytes: Option<u64>,
    },
    /// A volume is now being worked on.
    VolumeStarted {
        /// The phase.
        phase: Phase,
        /// Name of the volume, `d0-p2`.
        volume: String,
        /// What is on it, for a person: `ext4 "root"`.
        content: String,
        /// Bytes to process.
        total_bytes: u64,
    },
    /// How far a phase is.
    Advanced {
        /// The phase.
        phase: Phase,
        /// Name of the volume.
        volume: String,
        /// Bytes of the phase done so far.
        done_bytes: u64,
        /// Bytes of the phase in all.
        total_bytes: u64,
        /// Bytes sent to the store, or fetched from it, so far.
        transferred_bytes: u64,
    },
    /// A volume is done.
    VolumeFinished {
        /// The phase.
        phase: Phase,
        /// Name of the volume.
        volume: String,
    },
    /// A phase is done.
    PhaseFinished {
        /// Which.
        phase: Phase,
    },
    /// Something a person should know, while the work goes on.
    Warning {
        /// What it is about: a volume, a disk, a file.
        subject: String,
        /// The sentence.
        message: String,
    },
    /// Something that is good to know and needs no attention: which job begins, how many come first.
    Note {
        /// The sentence.
        message: String,
    },
    /// Something in a deployed file system is now another than was captured, or in what the firmware keeps.
    Changed {
        /// Name of the volume; `firmware` for that.
        volume: String,
        /// What was changed, with the path of the file: a sentence.
        message: String,
    },
    /// A person's script said something.
    Script {
        /// Its name.
        script: String,
        /// A line that it printed, or that it begins.
        message: String,
    },
    /// The work is done. The sentence says what was made.
    Finished {
        /// The sentence.
        message: String,
        /// True where the work is done but something in it needs attention (exit code 3).
        problems: bool,
    },
    /// The work failed.
    Failed {
        /// The sentence, with its causes.
        message: String,
        /// True where the target was already changed (exit code 4).
        target_changed: bool,
    },
    /// An event of a newer program.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// The event as a line for people; `None` for those that only say how far the work is.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        Some(match self {
            Self::Warning { subject, message } => format!("warning: {subject}: {message}"),
            Self::Note { message } | Self::Finished { message, .. } => message.clone(),
            Self::Changed { volume, message } => format!("{volume}: {message}"),
            Self::Script { script, message } => format!("script {script}: {message}"),
            Self::Failed { message, .. } => format!("remint: {message}"),
            Self::VolumeStarted { phase: phase @ Phase::Customize, volume, content, .. } => {
                format!("{} {volume}: {content}", phase.verb())
            }
            Self::VolumeStarted { phase, volume, content, total_bytes } => {
                format!("{} {volume} ({content}), {}", phase.verb(), format_size(*total_bytes))
            }
            Self::PhaseStarted { phase: phase @ (Phase::Clear | Phase::Commit | Phase::Collect), .. } => {
                phase.verb().to_owned()
            }
            _ => return None,
        })
    }
}

/// Who listens, and who may ask for the work to stop.
pub trait Monitor: Send + Sync {
    /// Takes one event; called from several threads.
    fn event(&self, event: Event);

    /// True when the work should stop as soon as it safely can.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn event(&self, _: Event) {}
}
