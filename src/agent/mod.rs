//! One job from settings to outcome.
//!
//! Each function here is one of the program's verbs: it opens what the job names, has the lower rings
//! decide and work, and returns what a person or a script wants to know. Nothing here prints or asks.

mod capture;
mod deploy;
mod disks;
mod images;
mod outcome;
mod report;

pub use capture::{CaptureOutcome, CaptureRequest, capture};
pub use deploy::{DeployRequest, PlanTarget, PreparedDeploy, prepare_deploy};
pub use disks::{DiskSettings, InspectedDisk, inspect, partition_guids};
pub use images::{
    ImageReference, ImageSummary, StoreSettings, list_images, load_manifest, open_store, resolve, verify,
};
pub use outcome::{ExitCode, exit_code};
pub use report::{InspectionJson, inspection_json, inspection_text, listing_text, manifest_text};

use std::num::NonZeroUsize;

/// Number of workers for a store where nobody says, at most 16. Beside a directory the cores are what is scarce:
/// one for each, and one to wait for the disk. Behind a network as many again wait for answers.
#[must_use]
pub fn default_workers(store: &str) -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let wanted = if store.contains("://") { cores.saturating_mul(2) } else { cores.saturating_add(1) };
    NonZeroUsize::new(wanted.min(16)).unwrap_or(NonZeroUsize::MIN)
}
