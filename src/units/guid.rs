//! GUIDs as GPT and NTFS store them: the first three fields little endian, the rest as they are.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A GUID, kept as the 16 bytes that stand on the disk (UEFI 2.10, appendix A: mixed endian).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid([u8; 16]);

/// Text that is not a GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a GUID; write it like 0FC63DAF-8483-4772-8E79-3D69D8477DE4")]
pub struct ParseGuidError(String);

/// The order in which the bytes of the disk appear in the text.
const TEXT_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl Guid {
    /// The GUID of an unused partition entry.
    pub const ZERO: Self = Self([0; 16]);

    /// From the 16 bytes on the disk.
    #[must_use]
    pub const fn from_disk_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes on the disk.
    #[must_use]
    pub const fn to_disk_bytes(self) -> [u8; 16] {
        self.0
    }

    /// From the number that the text shows, `0x0FC63DAF_8483_4772_8E79_3D69D8477DE4`.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15] = value.to_be_bytes();
        Self([b3, b2, b1, b0, b5, b4, b7, b6, b8, b9, b10, b11, b12, b13, b14, b15])
    }

    /// True for the GUID of an unused entry.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, index) in TEXT_ORDER.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02X}", self.0.get(index).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseGuidError(text.to_owned());
        let shape: Vec<usize> = text.split('-').map(str::len).collect();
        if shape != [8, 4, 4, 4, 12] || !text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
            return Err(error());
        }
        u128::from_str_radix(&text.replace('-', ""), 16).map(Self::from_u128).map_err(|_| error())
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_disk_bytes_follow_the_uefi_example() {
        let linux = Guid::from_u128(0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4);
        assert_eq!(linux.to_string(), "0FC63DAF-8483-4772-8E79-3D69D8477DE4");
        assert_eq!(linux.to_disk_bytes()[..4], [0xAF, 0x3D, 0xC6, 0x0F]);
        assert_eq!("0fc63daf-8483-4772-8e79-3d69d8477de4".parse(), Ok(linux));
    }

    #[test]
    fn other_text_is_refused() {
        for text in
            ["", "0FC63DAF", "+FC63DAF-8483-4772-8E79-3D69D8477DE4", "0FC63DAF-8483-4772-8E79-3D69D8477DEÄ"]
        {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
    }
}
