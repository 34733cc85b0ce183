//! What a person wants to stay of the disk that is deployed to.

use super::is_lvm_name;
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
    /// The table, and everything outside the partitions and logical volumes that these volumes go into. All volumes of
    /// the image where none is named.
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

/// A volume of the image, and what of the target it goes into: `d0-p2`, `d0-p2=3`, or `g0-l1=GROUP/VOLUME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenVolume {
    /// Name in the image.
    pub volume: String,
    /// Where it goes; `None` for the place that matches.
    pub place: Option<ChosenPlace>,
}

/// A place that stands on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ChosenPlace {
    /// A partition, by its number in the target's table.
    Partition(u32),
    /// A logical volume.
    Logical {
        /// Name of its group.
        group: String,
        /// Its own name.
        volume: String,
    },
}

impl ChosenVolume {
    /// The partition that was named.
    #[must_use]
    pub fn partition(&self) -> Option<u32> {
        match self.place {
            Some(ChosenPlace::Partition(number)) => Some(number),
            _ => None,
        }
    }
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
        "\"{0}\" is no volume; write its name, such as d0-p2, VOLUME=NUMBER, such as d0-p2=3, with the number of a \
             partition of the target, or VOLUME=GROUP/NAME, such as g0-l1=debian-vg/root, with a logical volume of it"
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
        let (volume, place) = match text.split_once('=') {
            Some((volume, place)) => (volume, Some(place.parse().map_err(|()| error())?)),
            None => (text, None),
        };
        if volume.is_empty() {
            return Err(error());
        }
        Ok(Self { volume: volume.to_owned(), place })
    }
}

impl FromStr for ChosenPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once('/') {
            Some((group, volume)) if is_lvm_name(group) && is_lvm_name(volume) => {
                Ok(Self::Logical { group: group.to_owned(), volume: volume.to_owned() })
            }
            Some(_) => Err(()),
            None => number(text).map(Self::Partition).ok_or(()),
        }
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
        let chosen = |place| Ok(ChosenVolume { volume: "d0-p2".to_owned(), place });
        assert_eq!("d0-p2".parse(), chosen(None));
        assert_eq!("d0-p2=3".parse(), chosen(Some(ChosenPlace::Partition(3))));
        let logical = ChosenPlace::Logical { group: "vg-0".to_owned(), volume: "root".to_owned() };
        assert_eq!("d0-p2=vg-0/root".parse(), chosen(Some(logical)));
        for text in ["", "=3", "d0-p2=", "d0-p2=x", "d0-p2=0", "d0-p2=/root", "d0-p2=vg/", "d0-p2=vg/a/b"] {
            assert!(text.parse::<ChosenVolume>().is_err(), "{text}");
        }
    }
}
