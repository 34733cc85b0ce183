//! What a firmware keeps, through a trait: the boot entries that follow a deploy.

use super::CustomizeError;
use crate::uefi::{Change, PartitionId, Variables};

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

    /// Writes one variable.
    ///
    /// # Errors
    /// Where the firmware refuses, with the reason and the way out.
    fn write(&self, change: &Change) -> Result<(), CustomizeError>;
}
