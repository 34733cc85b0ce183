//! What a person wants to stay of the disk that is deployed to.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What of a target's present content stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Nothing: the whole disk is overwritten.
    #[default]
    Nothing,
    /// These partitions, byte for byte at their place, and in the new table.
    Partitions(Vec<KeptPartition>),
    /// The table, and everything outside the partitions that these volumes go into. All volumes of the image
    /// where none is named.
    Table(Vec<ChosenVolume>),
}

/// A partition of a target that stays: `4`, or `/dev/sdb:4` where there are several targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptPartition {
    /// Path of the target; `None` where there is only one.
    pub disk: Option<String>,
    /// Number in the table that stands on the target.
    pub number: u32,
}

/// A volume of the image, and the partition of the target that it goes into: `d0-p2`, or `d0-p2=3`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenVolume {
    /// Name in the image.
    pub volume: String,
    /// Number in the target's table; `None` for the one that matches.
    pub partition: Option<u32>,
}

/// Text that names no partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeepError {
    /// Of a partition to keep.
    #[error(
        "\"{0}\" is no partition of a target; write its number, such as 4, or DISK:NUMBER, such as /dev/sdb:4"
    )]
    Partition(String),
    /// Of a volume.
    #[error(
        "\"{0}\" is no volume; write its name, such as d0-p2, or VOLUME=NUMBER, such as d0-p2=3, with the number \
             of a partition of the target"
    )]
    Volume(String),
}

/// A number of a partition: from 1.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

impl FromStr for KeptPartition {
    type Err = ParseKeepError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (disk, digits) = match text.rsplit_once(':') {
            Some((disk, digits)) => (Some(disk.to_owned()), digits),
            None => (None, text),
        };
        match number(digits) {
            Some(number) if disk.as_ref().is_none_or(|disk| !disk.is_empty()) => Ok(Self { disk, number }),
            _ => Err(ParseKeepError::Partition(text.to_owned())),
        }
    }
}

impl fmt::Display for KeptPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.disk {
            Some(disk) => write!(f, "{disk}:{}", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

impl FromStr for ChosenVolume {
    type Err = ParseKeepError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseKeepError::Volume(text.to_owned());
        let (volume, partition) = match text.split_once('=') {
            Some((volume, digits)) => (volume, Some(number(digits).ok_or_else(error)?)),
            None => (text, None),
        };
        if volume.is_empty() {
            return Err(error());
        }
        Ok(Self { volume: volume.to_owned(), partition })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_and_volumes_are_read_as_people_write_them() {
        let kept = |disk: Option<&str>, number| Ok(KeptPartition { disk: disk.map(str::to_owned), number });
        assert_eq!("4".parse(), kept(None, 4));
        assert_eq!("/dev/disk/by-path/pci-0:1:4".parse(), kept(Some("/dev/disk/by-path/pci-0:1"), 4));
        for text in ["", "0", "-1", "+1", "sda4", "/dev/sda:", ":4"] {
            assert!(text.parse::<KeptPartition>().is_err(), "{text}");
        }
        let chosen = |partition| Ok(ChosenVolume { volume: "d0-p2".to_owned(), partition });
        assert_eq!("d0-p2".parse(), chosen(None));
        assert_eq!("d0-p2=3".parse(), chosen(Some(3)));
        for text in ["", "=3", "d0-p2=", "d0-p2=x", "d0-p2=0"] {
            assert!(text.parse::<ChosenVolume>().is_err(), "{text}");
        }
    }
}
