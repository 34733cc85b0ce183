//! Keys, by which every item of every tree is ordered.

use crate::units::{OutOfBounds, read_u8, read_u64le};
use std::fmt;

/// `struct btrfs_disk_key`: objectid, type, offset. Their order is that of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) objectid: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

/// `BTRFS_*_KEY`, the types of items.
pub(super) mod kind {
    pub(in super::super) const ROOT_ITEM: u8 = 132;
    pub(in super::super) const EXTENT_ITEM: u8 = 168;
    pub(in super::super) const METADATA_ITEM: u8 = 169;
    pub(in super::super) const BLOCK_GROUP_ITEM: u8 = 192;
    pub(in super::super) const FREE_SPACE_INFO: u8 = 198;
    pub(in super::super) const FREE_SPACE_EXTENT: u8 = 199;
    pub(in super::super) const FREE_SPACE_BITMAP: u8 = 200;
    pub(in super::super) const DEV_EXTENT: u8 = 204;
    pub(in super::super) const DEV_ITEM: u8 = 216;
    pub(in super::super) const CHUNK_ITEM: u8 = 228;
    pub(in super::super) const TEMPORARY_ITEM: u8 = 248;
    pub(in super::super) const DEV_REPLACE: u8 = 250;
}

impl Key {
    /// Length of a key on the disk.
    pub(super) const BYTES: usize = 17;

    /// The key at a byte of a structure.
    pub(super) fn read(bytes: &[u8], at: usize) -> Result<Self, OutOfBounds> {
        Ok(Self {
            objectid: read_u64le(bytes, at)?,
            kind: read_u8(bytes, at.saturating_add(8))?,
            offset: read_u64le(bytes, at.saturating_add(9))?,
        })
    }

    /// The first key that an item of this object and type can have.
    pub(super) const fn first(objectid: u64, kind: u8) -> Self {
        Self { objectid, kind, offset: 0 }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item ({} {} {})", self.objectid, self.kind, self.offset)
    }
}
