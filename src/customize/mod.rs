//! Change what was deployed before anything can start from it, through a trait.
//!
//! The steps stand in the plan. They are taken when every volume has its content and its size, and before the table
//! is written: what makes a disk bootable stays last. A step that fails is a problem of a finished deploy, a sentence that names
//! it and its volume, and exit code 3: the other steps are taken, and the disk starts if the captured one did. Therefore
//!
//! - a step that fails leaves each file as it was, or as it was to become, and never a half of it;
//! - where what names partitions cannot follow to new identifiers, disks keep the captured ones, and what followed goes back, unless
//!   a disk would become the twin of another one.
//!
//! Only what is vital fails the deploy, and leaves the target plainly unbootable: a script that a person declared fatal, a file
//! system that stays mounted, and a target that cannot be written (docs/decisions/0009-failed-steps.md).
//!
//! `linux` implements it with the kernel's file systems and with programs.

mod answers;
pub mod archive;
pub mod boot_configuration;
mod boot_devices;
mod boot_drivers;
pub mod boot_sector;
pub mod dynamic_disk;
pub mod efi_system;
pub mod fat;
mod firmware;
pub mod fstab;
pub mod grub;
pub mod host_keys;
mod markup;
pub mod naming;
pub mod recovery;
pub mod references;
pub mod windows;

pub use firmware::{Firmware, RehearsedFirmware};

use crate::blockio::WriteAt;
use crate::plan::{DeployPlan, Step};
use crate::progress::Monitor;
use crate::units::with_causes;
use std::io;

/// What stands on the targets.
#[derive(Clone, Copy)]
pub struct Deployed<'a> {
    /// What was done, with the places of the volumes.
    pub plan: &'a DeployPlan,
    /// The targets, in the order of the plan's disks. Everything written is flushed.
    pub targets: &'a [&'a dyn WriteAt],
    /// True where the targets are no devices but changes in memory: everything goes through `targets`.
    pub is_rehearsal: bool,
}

/// What can take the steps of a plan.
pub trait Customizer: Send + Sync {
    /// What is missing to take a step: a sentence with its way out; `None` where nothing is. Asked before a deploy
    /// writes anything.
    fn missing(&self, step: &Step, plan: &DeployPlan) -> Option<String>;

    /// Refuses what a step could not do with what was captured, while the targets are still what they were. `captured`
    /// is the step's volume as it is in the image; what is written to it is forgotten.
    ///
    /// # Errors
    /// Why the step could not be taken.
    fn judge(&self, _step: &Step, _plan: &DeployPlan, _captured: &dyn WriteAt) -> Result<(), CustomizeError> {
        Ok(())
    }

    /// Takes a step. Everything written before is seen, and everything is flushed to the disks when this returns. Not
    /// a byte is changed outside the places of the plan's volumes and new partitions, and of the step's loader. Taking the same step again changes nothing,
    /// but for SSH host keys, which are others each time.
    ///
    /// Tells of everything that it changes as [`Event::Changed`](crate::progress::Event::Changed).
    ///
    /// # Errors
    /// Where the step was not taken, or not to its end. Each file is as it was, or as it was to become. After a step that
    /// [changes names](Step::changes_names) all of them name what they named before, but after [`CustomizeError::NotPutBack`].
    fn take(
        &self,
        step: &Step,
        deployed: Deployed<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Taken, CustomizeError>;
}

/// What a step leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// A sentence for each thing that needs attention although the step was taken.
    pub problems: Vec<String>,
    /// Code for sector 0, which is written last of all.
    pub boot_code: Option<BootCode>,
    /// True: something in the volume names partitions as they were captured, and could not follow.
    pub keeps_names: bool,
}

/// The code in front of the partition table of an MBR, or of a protective one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootCode {
    /// Path of the target.
    pub target: String,
    /// The code; what follows it in sector 0 stays.
    pub code: [u8; BOOT_CODE_BYTES],
}

/// Bytes of sector 0 that are code.
pub const BOOT_CODE_BYTES: usize = 440;

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CustomizeError {
    /// A disk, file system or file could not be read or written.
    #[error("{doing}")]
    Io {
        /// What was being done, with its object.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// This machine, or what was deployed, cannot do it.
    #[error("{fact}")]
    Unsupported {
        /// What is missing, and the way out.
        fact: String,
    },
    /// It could be done but must not be.
    #[error("{fact}")]
    Refused {
        /// Why, and the way out.
        fact: String,
    },
    /// A file system stays mounted. What is written to its disk beside it would be lost, or damage it: the disk is given up.
    #[error(
        "{doing}: it stays mounted, and its disk cannot be let go (end what uses it, or restart this machine, and do it again)"
    )]
    StaysMounted {
        /// What was being done, with its object.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// It failed when something was changed, which could not be put back.
    #[error("{fact}")]
    NotPutBack {
        /// What was being done, and what stands there now.
        fact: String,
    },
    /// A program says that it failed, or did not end.
    #[error("{program} {outcome}: {output}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended: `ended with exit code 1`.
        outcome: String,
        /// The end of what it printed.
        output: String,
    },
}

/// What is said of a step that failed and is a problem.
#[must_use]
pub fn not_taken(step: &Step, error: &CustomizeError) -> String {
    format!("making {step} ({}) failed: {}", step.volume(), error.with_causes())
}

impl CustomizeError {
    /// True where nothing more may be written to the disk.
    #[must_use]
    pub const fn stays_mounted(&self) -> bool {
        matches!(self, Self::StaysMounted { .. })
    }

    /// The error with its causes, as one sentence.
    #[must_use]
    pub fn with_causes(&self) -> String {
        with_causes(self)
    }
}
