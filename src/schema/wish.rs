//! What a person wants of single partitions: the layout `custom`.

use crate::units::{ParseSizeError, parse_size};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is wanted of one partition, or of the volume that fills a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionWish {
    /// Name of the volume in the image, such as `d0-p2`.
    pub volume: String,
    /// How large it is to be.
    pub size: WantedSize,
}

/// How large a partition is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WantedSize {
    /// As large as it was.
    Keep,
    /// A share of what is left.
    Share,
    /// So many bytes, at least its minimum.
    Bytes(u64),
    /// Hundredths of a percent of the target disk: 1 to 10000.
    Percent(u32),
}

/// Text that wants nothing of a partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseWishError {
    /// Neither of the words, nor a size.
    #[error("\"{0}\" is no size of a partition; write keep, share, a size such as 40GiB or 64GB, or 25%")]
    Size(String),
    /// A percentage that is none.
    #[error(
        "\"{0}\" is no percentage of a disk; write a number above 0 and up to 100, with two decimals at most"
    )]
    Percent(String),
    /// No volume, or nothing behind it.
    #[error("\"{0}\" says nothing about a partition; write VOLUME=SIZE, such as d0-p2=40GiB")]
    Pair(String),
}

impl FromStr for WantedSize {
    type Err = ParseWishError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "keep" => Ok(Self::Keep),
            "share" => Ok(Self::Share),
            text => match text.strip_suffix('%') {
                Some(number) => percent(number).ok_or_else(|| ParseWishError::Percent(text.to_owned())),
                None => parse_size(text)
                    .map(Self::Bytes)
                    .map_err(|_: ParseSizeError| ParseWishError::Size(text.to_owned())),
            },
        }
    }
}

fn percent(number: &str) -> Option<WantedSize> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let hundredths: u32 = match fraction.len() {
        1 => fraction.parse::<u32>().ok()?.checked_mul(10)?,
        2 => fraction.parse().ok()?,
        _ => return None,
    };
    let digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let all = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths)?;
    (digits && (1..=10_000).contains(&all)).then_some(WantedSize::Percent(all))
}

impl fmt::Display for WantedSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Share => f.write_str("share"),
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Percent(hundredths) if hundredths % 100 == 0 => write!(f, "{}%", hundredths / 100),
            Self::Percent(hundredths) => write!(f, "{}.{:02}%", hundredths / 100, hundredths % 100),
        }
    }
}

impl TryFrom<String> for WantedSize {
    type Error = ParseWishError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WantedSize> for String {
    fn from(size: WantedSize) -> Self {
        size.to_string()
    }
}

impl FromStr for PartitionWish {
    type Err = ParseWishError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((volume, size)) if !volume.trim().is_empty() => {
                Ok(Self { volume: volume.trim().to_owned(), size: size.parse()? })
            }
            _ => Err(ParseWishError::Pair(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, size) in [
            ("keep", WantedSize::Keep),
            ("share", WantedSize::Share),
            ("40GiB", WantedSize::Bytes(40 << 30)),
            ("64GB", WantedSize::Bytes(64_000_000_000)),
            ("25%", WantedSize::Percent(2500)),
            ("33.3%", WantedSize::Percent(3330)),
            ("0.05%", WantedSize::Percent(5)),
            ("100%", WantedSize::Percent(10_000)),
        ] {
            assert_eq!(text.parse(), Ok(size));
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        for text in
            ["", "0%", "100.01%", "1.234%", "+5%", "-1%", "%", "1e3%", "many", "40XB", "99999999999999%"]
        {
            assert!(text.parse::<WantedSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wish_names_a_volume() {
        let wish: PartitionWish = "d0-p2=40GiB".parse().unwrap();
        assert_eq!(wish, PartitionWish { volume: "d0-p2".to_owned(), size: WantedSize::Bytes(40 << 30) });
        for text in ["d0-p2", "=4G", "d0-p2=", " =keep"] {
            assert!(text.parse::<PartitionWish>().is_err(), "{text}");
        }
    }
}
