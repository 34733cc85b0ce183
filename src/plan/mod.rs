//! Decide everything: what to capture and where each volume goes. Pure, checked, explained.
//!
//! A finished plan leaves no choice for the time it is carried out.

mod deploy;

pub use deploy::{Clearing, DeployOptions, DeployPlan, DiskPlan, Resize, VolumeAction, VolumePlan};
