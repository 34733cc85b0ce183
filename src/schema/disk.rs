//! A captured disk and its volumes.

use super::{FileSystem, Table};
use crate::units::SectorSize;
use serde::{Deserialize, Serialize};

/// One disk of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Number within the image, from 0.
    pub number: u32,
    /// Size of the disk.
    pub size_bytes: u64,
    /// The unit of every sector number below.
    pub logical_sector_bytes: SectorSize,
    /// What the medium really writes.
    pub physical_sector_bytes: SectorSize,
    /// Model, as the device says.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World wide name.
    pub wwn: Option<String>,
    /// Its table.
    pub table: Table,
    /// Its volumes, in disk order.
    pub volumes: Vec<Volume>,
}

/// A stretch of a disk that is captured as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Name within the image, the stem of its files: `d0-p2`, `d0-boot`, `d0-disk`, `g0-l1`.
    pub name: String,
    /// What stretch it is.
    pub role: Role,
    /// First byte on the disk.
    pub start_bytes: u64,
    /// Size of the stretch.
    pub size_bytes: u64,
    /// What it holds.
    pub content: Content,
    /// True: it was said at the capture that it keeps its size, unless a deploy says otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed: bool,
}

/// The stretches of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Role {
    /// A partition of the table.
    Partition {
        /// Its number.
        number: u32,
    },
    /// The sectors from the start of the disk to the first partition: table, boot code and what boot
    /// loaders hide behind them.
    BootArea,
    /// The whole of a disk that has no table.
    WholeDisk,
    /// A logical volume of a volume group; its first byte is counted from its own start.
    Logical {
        /// Number of the group within the image.
        group: u32,
        /// Its number within the group, from 1.
        number: u32,
    },
}

/// What a volume holds and how it is captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "content", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Content {
    /// A file system whose used blocks are captured.
    FileSystem(FileSystem),
    /// Every block is captured; all-zero stretches cost nothing.
    Raw {
        /// Why: nothing recognised, no reader for it, or the policy for a file system that is not clean.
        reason: String,
        /// What was recognised, where something was.
        file_system: Option<FileSystem>,
    },
    /// A physical volume of a group whose logical volumes are captured one by one: recreated with the group.
    PhysicalVolume(FileSystem),
    /// Swap space: recreated with its UUID and label, not stored.
    Swap(FileSystem),
    /// Not captured, because the person who captured left it out.
    LeftOut,
}

impl Content {
    /// What was recognised on the volume.
    #[must_use]
    pub fn file_system(&self) -> Option<&FileSystem> {
        match self {
            Self::FileSystem(file_system) | Self::Swap(file_system) | Self::PhysicalVolume(file_system) => {
                Some(file_system)
            }
            Self::Raw { file_system, .. } => file_system.as_ref(),
            Self::LeftOut => None,
        }
    }

    /// The same, to be changed.
    pub fn file_system_mut(&mut self) -> Option<&mut FileSystem> {
        match self {
            Self::FileSystem(file_system) | Self::Swap(file_system) | Self::PhysicalVolume(file_system) => {
                Some(file_system)
            }
            Self::Raw { file_system, .. } => file_system.as_mut(),
            Self::LeftOut => None,
        }
    }
}
