//! This computer as plain data: its disks and who holds them.
//!
//! `linux` fills these types; everything below it only reads them.

use crate::units::SectorSize;
use serde::Serialize;
use std::fmt;

/// One disk of this machine, or a plain file that holds a raw disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineDisk {
    /// How it is opened: `/dev/sda`, `/srv/disk.img`.
    pub path: String,
    /// Device or file.
    pub kind: DiskKind,
    /// Size.
    pub size_bytes: u64,
    /// The unit of its sector numbers.
    pub logical_sector_bytes: SectorSize,
    /// What the medium really writes.
    pub physical_sector_bytes: SectorSize,
    /// Model, as the device says.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World wide name.
    pub wwn: Option<String>,
    /// How it is attached: `nvme`, `sata`, `usb`, `virtio`, `scsi`, `mmc`, `loop`, `file`.
    pub transport: Option<String>,
    /// True for media that a person can pull.
    pub removable: bool,
    /// True where the kernel refuses writes.
    pub read_only: bool,
    /// True where free space can be discarded.
    pub can_discard: bool,
    /// True where this system was started from it.
    pub boot_medium: bool,
    /// Who uses it now.
    pub holders: Vec<Holder>,
}

impl MachineDisk {
    /// A device of which nothing more is known than this, and that nobody uses.
    #[must_use]
    pub fn new(path: impl Into<String>, size_bytes: u64, sector: SectorSize) -> Self {
        Self {
            path: path.into(),
            kind: DiskKind::Device,
            size_bytes,
            logical_sector_bytes: sector,
            physical_sector_bytes: sector,
            model: None,
            serial: None,
            wwn: None,
            transport: None,
            removable: false,
            read_only: false,
            can_discard: false,
            boot_medium: false,
            holders: Vec::new(),
        }
    }
}

impl MachineDisk {
    /// True where another device is this very disk, reached by another path: both tell the same world wide name, serial number
    /// and size. A name alone is not enough: cheap adapters give one to every disk.
    #[must_use]
    pub fn is_other_path_of(&self, other: &Self) -> bool {
        let told = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
        self.path != other.path
            && (self.kind, other.kind) == (DiskKind::Device, DiskKind::Device)
            && told(&self.wwn)
            && told(&self.serial)
            && (&self.wwn, &self.serial, self.size_bytes) == (&other.wwn, &other.serial, other.size_bytes)
    }
}

/// The two things that can be a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskKind {
    /// A block device.
    Device,
    /// A plain file that holds a raw disk.
    File,
}

/// Something that uses a disk or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "holder", rename_all = "kebab-case")]
pub enum Holder {
    /// Mounted.
    Mount {
        /// The device that is mounted.
        device: String,
        /// Where.
        path: String,
    },
    /// In use as swap space.
    Swap {
        /// The device or file.
        device: String,
    },
    /// A device mapping, an array or a loop device stands on it.
    Mapping {
        /// The part of the disk.
        device: String,
        /// What stands on it: `dm-0 (vg-root)`, `md127`, `loop3`.
        name: String,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { device, path } => write!(f, "{device} is mounted at {path}"),
            Self::Swap { device } => write!(f, "{device} is in use as swap space"),
            Self::Mapping { device, name } => write!(f, "{name} stands on {device}"),
        }
    }
}
