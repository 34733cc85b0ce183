//! What is done to deployed file systems when they have their places and sizes, before the table is written.

use super::deploy::DeployPlan;
use crate::schema::Firmware;
use serde::Serialize;
use std::fmt;

/// One step. The steps of a plan are taken in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Put boot files in place, so that a firmware starts the system on a volume.
    BootFiles {
        /// Path of the target.
        target: String,
        /// Name of the volume with the system.
        volume: String,
        /// What starts it.
        firmware: Firmware,
    },
}

impl Step {
    /// Name of the volume that it is about, for messages.
    #[must_use]
    pub fn volume(&self) -> &str {
        match self {
            Self::BootFiles { volume, .. } => volume,
        }
    }

    /// True where everything that the step names is in its plan.
    pub(super) fn is_in(&self, plan: &DeployPlan) -> bool {
        match self {
            Self::BootFiles { target, volume, .. } => plan
                .disks
                .iter()
                .filter(|disk| disk.target.path == *target)
                .any(|disk| disk.volumes.iter().any(|planned| planned.volume == *volume)),
        }
    }
}

impl fmt::Display for Step {
    /// As the object of "carrying out": `boot files for UEFI`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BootFiles { firmware, .. } => write!(f, "boot files for {firmware}"),
        }
    }
}
