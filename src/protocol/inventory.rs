//! Who a machine is and what it has, as its agent found it.

use crate::schema::Firmware;
use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// Hardware addresses of all wired cards, lower-case with colons, in the order of the cards. The booted one first.
    pub macs: Vec<String>,
    /// Serial number (SMBIOS).
    pub serial: Option<String>,
    /// UUID (SMBIOS), lower-case.
    pub uuid: Option<String>,
    /// Asset tag (SMBIOS).
    pub asset_tag: Option<String>,
    /// Who made it.
    pub vendor: Option<String>,
    /// What it is.
    pub model: Option<String>,
    /// What started it.
    pub firmware: Option<Firmware>,
    /// Memory.
    pub memory_bytes: u64,
    /// Its processor.
    pub processor: Processor,
    /// Its disks.
    pub disks: Vec<InventoryDisk>,
}

/// A processor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Processor {
    /// What it is.
    pub model: Option<String>,
    /// How many threads run at once.
    pub threads: u32,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InventoryDisk {
    /// How it is opened on the machine now.
    pub path: String,
    /// Size.
    pub size_bytes: u64,
    /// The unit of its sector numbers.
    pub logical_sector_bytes: u32,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World wide name.
    pub wwn: Option<String>,
    /// How it is attached.
    pub transport: Option<String>,
    /// True for media that a person can pull.
    pub removable: bool,
}
