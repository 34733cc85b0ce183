//! What a firmware keeps, through a trait: the boot entries that follow a deploy.

use super::CustomizeError;
use crate::uefi::{Change, PartitionId, Variables};
use std::sync::{Mutex, PoisonError};

/// The firmware of the machine that the targets are in. Nothing of it decides whether a deploy is done.
pub trait Firmware: Send + Sync {
    /// Its entries and their order, as they are now.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn read(&self) -> Result<Variables, CustomizeError>;

    /// The partitions of the machine's disks but the targets, which are named by their paths.
    ///
    /// # Errors
    /// Where the disks cannot be listed. A disk that cannot be read has none.
    fn partitions_elsewhere(&self, targets: &[&str]) -> Result<Vec<PartitionId>, CustomizeError>;

    /// UUIDs of the volume groups, and of their physical volumes, on the machine's disks but the targets.
    ///
    /// # Errors
    /// Where the disks cannot be listed. A disk that cannot be read has none.
    fn groups_elsewhere(&self, targets: &[&str]) -> Result<Vec<String>, CustomizeError>;

    /// Writes one variable.
    ///
    /// # Errors
    /// Where the firmware refuses, with the reason and the way out.
    fn write(&self, change: &Change) -> Result<(), CustomizeError>;
}

/// A firmware of which nothing is changed: what is written to it is kept here, and read again from here.
pub struct RehearsedFirmware<'a> {
    firmware: &'a dyn Firmware,
    written: Mutex<Vec<Change>>,
}

impl<'a> RehearsedFirmware<'a> {
    /// Nothing is written yet.
    #[must_use]
    pub const fn new(firmware: &'a dyn Firmware) -> Self {
        Self { firmware, written: Mutex::new(Vec::new()) }
    }
}

impl Firmware for RehearsedFirmware<'_> {
    fn read(&self) -> Result<Variables, CustomizeError> {
        let mut variables = self.firmware.read()?;
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.iter().for_each(|change| variables.take(change));
        Ok(variables)
    }

    fn partitions_elsewhere(&self, targets: &[&str]) -> Result<Vec<PartitionId>, CustomizeError> {
        self.firmware.partitions_elsewhere(targets)
    }

    fn groups_elsewhere(&self, targets: &[&str]) -> Result<Vec<String>, CustomizeError> {
        self.firmware.groups_elsewhere(targets)
    }

    fn write(&self, change: &Change) -> Result<(), CustomizeError> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(change.clone());
        Ok(())
    }
}
