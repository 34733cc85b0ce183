//! The devices of a file system, which the trees are read over: one, or several that are looked at together.

use super::superblock::Superblock;
use crate::blockio::ReadAt;
use crate::units::{ByteRange, OutOfBounds, read_array, u64_from};

/// One device, with the superblock that was read from it.
#[derive(Clone, Copy)]
pub(super) struct Device<'a> {
    /// What it is called in sentences; not asked for where it is the only one.
    pub(super) name: &'a str,
    pub(super) volume: &'a dyn ReadAt,
    pub(super) superblock: &'a Superblock,
}

impl Device<'_> {
    /// As in `d0-p1 (device 1)`.
    pub(super) fn named(&self) -> String {
        format!("{} (device {})", self.name, self.superblock.devid)
    }

    /// The bytes that the file system has of it.
    pub(super) const fn range(&self) -> ByteRange {
        ByteRange::new(0, self.superblock.total_bytes)
    }
}

/// A device that the chunk tree knows (`struct btrfs_dev_item`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DevItem {
    pub(super) devid: u64,
    pub(super) uuid: [u8; 16],
    /// UUID of the file system that it was made for.
    pub(super) fsid: [u8; 16],
}

impl DevItem {
    /// `BTRFS_DEV_ITEMS_OBJECTID`
    pub(super) const OBJECTID: u64 = 1;

    pub(super) fn parse(devid: u64, item: &[u8]) -> Result<Self, OutOfBounds> {
        Ok(Self { devid, uuid: read_array(item, 66)?, fsid: read_array(item, 82)? })
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

    /// How many.
    pub(super) fn count(&self) -> u64 {
        u64_from(self.0.len())
    }

    /// What a device is called, where there are others.
    pub(super) fn name_among_others(&self, position: usize) -> Option<&'a str> {
        self.get(position).filter(|_| self.0.len() > 1).map(|device| device.name)
    }

    /// As in `d0-p1 (device 1) and d1-p1 (device 2)`.
    pub(super) fn names(&self) -> String {
        self.0.iter().map(Device::named).collect::<Vec<_>>().join(" and ")
    }
}
