//! The devices of a file system, which the trees are read over: one, or several that are looked at together.

use super::superblock::Superblock;
use crate::blockio::ReadAt;
use crate::units::ByteRange;

/// One device, with the superblock that was read from it.
#[derive(Clone, Copy)]
pub(super) struct Device<'a> {
    /// What it is called in sentences; not asked for where it is the only one.
    pub(super) name: &'a str,
    pub(super) volume: &'a dyn ReadAt,
    pub(super) superblock: &'a Superblock,
}

impl Device<'_> {
    /// The bytes that the file system has of it.
    pub(super) const fn range(&self) -> ByteRange {
        ByteRange::new(0, self.superblock.total_bytes)
    }
}

/// Devices in the order of their numbers, each number once.
pub(super) struct Devices<'a>(Vec<Device<'a>>);

impl<'a> Devices<'a> {
    /// Sorts them. Of devices of one number only one is kept.
    pub(super) fn new(mut devices: Vec<Device<'a>>) -> Self {
        devices.sort_by_key(|device| device.superblock.devid);
        devices.dedup_by_key(|device| device.superblock.devid);
        Self(devices)
    }

    /// Where a device stands among them; `None` where it is not here.
    pub(super) fn position(&self, devid: u64) -> Option<usize> {
        self.0.binary_search_by_key(&devid, |device| device.superblock.devid).ok()
    }

    /// The device at a position.
    pub(super) fn get(&self, position: usize) -> Option<&Device<'a>> {
        self.0.get(position)
    }

    pub(super) fn as_slice(&self) -> &[Device<'a>] {
        &self.0
    }

    /// What a device is called, where there are others.
    pub(super) fn name_among_others(&self, position: usize) -> Option<&'a str> {
        self.get(position).filter(|_| self.0.len() > 1).map(|device| device.name)
    }
}
