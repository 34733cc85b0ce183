//! What a person, a script or a profile may choose.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a capture does with a volume whose used map cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenDirty {
    /// Replays its journal beside the disk, which is not changed; where that is not possible, refuses.
    #[default]
    Replay,
    /// Refuses the capture and says what to do.
    Refuse,
    /// Captures every block of the volume.
    Raw,
}

/// What a capture does with sectors that stay unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnReadError {
    /// The capture fails.
    #[default]
    Fail,
    /// Zeros are stored in their place and every bad range is recorded.
    Zero,
}

/// How chunks are compressed; always as zstd frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Compression {
    /// Frames that only store.
    None,
    /// The fastest negative level that still gains.
    Fast,
    /// zstd level 1 to 19.
    Level(u8),
}

/// Text that names no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a compression; write none, fast or a zstd level from 1 to 19")]
pub struct ParseCompressionError(String);

impl Default for Compression {
    fn default() -> Self {
        Self::Level(3)
    }
}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "fast" => Ok(Self::Fast),
            _ => match text.parse() {
                Ok(level @ 1..=19) => Ok(Self::Level(level)),
                _ => Err(ParseCompressionError(text.to_owned())),
            },
        }
    }
}

impl TryFrom<String> for Compression {
    type Error = ParseCompressionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Compression> for String {
    fn from(compression: Compression) -> Self {
        compression.to_string()
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Fast => f.write_str("fast"),
            Self::Level(level) => write!(f, "{level}"),
        }
    }
}

/// How partitions are laid out on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// The same table at the same places; the backup GPT moved where the disk is larger.
    Original,
    /// Fixed partitions keep their size, the others share what is left.
    #[default]
    Dynamic,
    /// As dynamic, with sizes that a person wants for some partitions.
    Custom,
    /// The table that a person's script makes.
    Script,
    /// That of a fresh installation, for one volume of the image.
    Standard,
}

/// What is chosen about [`Layout::Standard`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandardChoice {
    /// Name of the volume with the system; `None`: the only one that it can be.
    pub volume: Option<String>,
    /// What starts the machine; `None` where that is not known.
    pub firmware: Option<Firmware>,
}

/// What starts a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// A PC's BIOS, or a UEFI that plays one.
    Bios,
    /// UEFI.
    Uefi,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
        })
    }
}

/// Whether a deployed Linux installs its boot loader on its disk anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootLoaderChoice {
    /// Where that of the image would not start from the new layout. The plan says where.
    #[default]
    Auto,
    /// Never.
    Keep,
    /// In any case.
    Install,
}

/// What a deploy does with the space that no used block occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FreeSpace {
    /// Discards it where the device can, and keeps it where it cannot. The plan says which.
    #[default]
    Discard,
    /// Leaves what stood there before.
    Keep,
    /// Overwrites it with zeros.
    Zero,
}
