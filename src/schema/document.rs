//! What a deploy is to do, as a file that a person can edit: `docs/schema/deploy.schema.json`.

use super::{Firmware, FreeSpace, Layout};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The version of the file's format.
pub const DEPLOY_SCHEMA_FORMAT: u32 = 1;

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploySchema {
    /// For editors that check a file by its schema.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<String>,
    /// [`DEPLOY_SCHEMA_FORMAT`].
    pub format: u32,
    /// Name of the image that it is for.
    pub image: String,
    /// How partitions are laid out; sizes are for `custom`.
    #[serde(default = "custom")]
    pub layout: Layout,
    /// The volume with the system, for the layout standard; the only one that it can be where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// What starts the machine, for the layout standard; that of this machine where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// What happens to space that nothing occupies.
    #[serde(default)]
    pub free_space: FreeSpace,
    /// False: file systems stay at their captured size.
    #[serde(default = "yes")]
    pub expand: bool,
    /// False: no volume becomes smaller than it was captured.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub shrink: bool,
    /// False: no logical volume becomes smaller than it was captured.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub shrink_lvm: bool,
    /// True: disks and partitions get new identifiers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_ids: bool,
    /// True: the boot entries of the machine's firmware stay as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_boot_entries: bool,
    /// True: the machine's firmware starts what is deployed first, before the network too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub boot_first: bool,
    /// Every disk of the image.
    pub disks: Vec<DiskChoice>,
    /// Volume groups of the image; those of which nothing is said follow the rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_groups: Vec<GroupChoice>,
}

/// What is to be done with one volume group of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupChoice {
    /// Its number within the image.
    pub group: u32,
    /// For the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Its logical volumes; those of which nothing is said follow the rules.
    pub volumes: Vec<LogicalChoice>,
}

/// What is to be done with one logical volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogicalChoice {
    /// Name of the volume in the image.
    pub volume: String,
    /// For the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// False: the volume is left out.
    #[serde(default = "yes")]
    pub deploy: bool,
    /// How large it is to be, as in [`PartitionChoice`]; a percentage is one of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
}

/// What is to be done with one disk of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskChoice {
    /// Its number within the image.
    pub disk: u32,
    /// For the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// False: the disk is left out.
    #[serde(default = "yes")]
    pub deploy: bool,
    /// The disks of the machine that it goes onto, each of them a copy. Empty: they are named on the command line.
    #[serde(default)]
    pub targets: Vec<Destination>,
    /// Numbers of partitions of the targets that stay.
    #[serde(default)]
    pub keep: Vec<u32>,
    /// Every partition, or the volume that fills the disk.
    pub partitions: Vec<PartitionChoice>,
}

/// What is to be done with one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionChoice {
    /// Name of the volume in the image.
    pub volume: String,
    /// For the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// False: the partition is left out.
    #[serde(default = "yes")]
    pub deploy: bool,
    /// How large it is to be, a [`WantedSize`](super::WantedSize) as text, so that a mistake in it has a place; by
    /// the rules of the layout dynamic where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
}

const fn custom() -> Layout {
    Layout::Custom
}

const fn yes() -> bool {
    true
}

/// By what a disk of the machine is named. As text: a path, `serial:` or `wwn:` with what stands in `remint inspect`.
/// A device's path may be another one at the next start, which serial number and world wide name are not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// A device or a plain file.
    Path(String),
    /// Serial number.
    Serial(String),
    /// World wide name.
    Wwn(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Serial(serial) => write!(f, "the disk with the serial number {serial}"),
            Self::Wwn(wwn) => write!(f, "the disk with the WWN {wwn}"),
        }
    }
}

impl FromStr for Destination {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            Some(("serial", serial)) => Self::Serial(serial.to_owned()),
            Some(("wwn", wwn)) => Self::Wwn(wwn.to_owned()),
            _ => Self::Path(text.to_owned()),
        })
    }
}

/// A disk of the machine as a person names it, and the disk of the image that is meant for it: `/dev/sda`, or
/// `d1=/dev/sda`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTarget {
    /// Number of the image's disk; `None` where the matching rule decides.
    pub receives: Option<u32>,
    /// The disk of the machine.
    pub disk: Destination,
}

impl FromStr for NamedTarget {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').and_then(|(disk, path)| {
            let digits =
                disk.strip_prefix('d').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
            Some((digits.parse().ok()?, path))
        });
        let (receives, disk) = named.map_or((None, text), |(number, disk)| (Some(number), disk));
        Ok(Self { receives, disk: disk.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_may_say_which_disk_it_is_for() {
        let read = |text: &str| text.parse::<NamedTarget>().unwrap();
        let target =
            |receives, path: &str| NamedTarget { receives, disk: Destination::Path(path.to_owned()) };
        assert_eq!(read("/dev/sda"), target(None, "/dev/sda"));
        assert_eq!(read("d12=/dev/sda"), target(Some(12), "/dev/sda"));
        assert_eq!(read("d0=a=b"), target(Some(0), "a=b"));
        for path in ["d=x", "dx=y", "/srv/d0=x", "d-1=x", "d99999999999=x"] {
            assert_eq!(read(path), target(None, path));
        }
        let serial = Destination::Serial("WD:1".to_owned());
        assert_eq!(read("serial:WD:1"), NamedTarget { receives: None, disk: serial });
        let wwn = Destination::Wwn("naa.5000".to_owned());
        assert_eq!(read("d1=wwn:naa.5000"), NamedTarget { receives: Some(1), disk: wwn });
        assert_eq!(read("./serial:WD"), target(None, "./serial:WD"));
    }
}
