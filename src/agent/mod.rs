//! One job from settings to outcome.
//!
//! Each function here is one of the program's verbs: it opens what the job names, has the lower rings
//! decide and work, and returns what a person or a script wants to know. Nothing here prints or asks.

mod boot_loaders;
mod btrfs;
mod capture;
mod choices;
mod computer_name;
mod customize;
mod deploy;
mod disks;
mod file_copy;
mod images;
mod job_end;
mod job_log;
mod luks_keys;
mod machine_log;
pub mod multicast;
mod outbox;
mod outcome;
mod replay;
mod report;
mod reporter;
mod script;
mod scripts;
mod smallest;
mod targets;
mod unattended;

pub use capture::{CaptureOutcome, CaptureRequest, capture};
pub use choices::check;
pub use computer_name::ComputerName;
pub use customize::{CustomizeRequest, Customized, PreparedCustomize, prepare_customize};
pub use deploy::{DeployRequest, PreparedDeploy, export_schema, prepare_deploy};
pub use disks::{DiskSettings, Inspected, InspectedDisk, inspect, is_there, partition_ids};
pub use file_copy::Artefacts;
pub use images::{
    ImageReference, ImageSummary, StoreSettings, list_images, load_manifest, open_store, resolve, verify,
};
pub use machine_log::end_of_log;
pub use outcome::{ExitCode, exit_code};
pub use report::{InspectionJson, inspection_json, inspection_text, listing_text, manifest_text};
pub use script::ScriptFile;
pub use scripts::{ScriptFailure, WishedScript};
pub use smallest::smallest_disks;
pub use targets::{PlanTarget, SchemaFile, TargetRequest};
pub use unattended::{Agrees, NextStep, RunOutcome, RunRequest, attend, run};

use std::num::NonZeroUsize;
use std::path::Path;

/// At most so many workers where nobody says.
const MOST_WORKERS: usize = 16;

/// Number of workers of a capture into `store` where nobody says. The source is announced to the medium ahead of
/// being read, so beside a local directory the cores are what is scarce: one worker for each, and none that
/// takes their caches away. Behind a network as many again wait for answers.
#[must_use]
pub fn capture_workers(store: &str) -> NonZeroUsize {
    workers(store, 0)
}

/// Number of workers of what reads from `store` where nobody says: beside a local directory one for each core, and
/// one to wait for the disk.
#[must_use]
pub fn reading_workers(store: &str) -> NonZeroUsize {
    workers(store, 1)
}

fn workers(store: &str, waiting: usize) -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let remote = store.contains("://") || crate::linux::is_on_network(Path::new(store));
    let wanted = cores.saturating_add(if remote { cores } else { waiting });
    NonZeroUsize::new(wanted.min(MOST_WORKERS)).unwrap_or(NonZeroUsize::MIN)
}
