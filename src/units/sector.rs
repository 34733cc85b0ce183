//! Sector numbers and the sector size that gives them a place on a disk.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A logical block address: the number of a logical sector of one disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lba(pub u64);

impl fmt::Debug for Lba {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Lba {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Size of a logical sector in bytes: a power of two from 512 to 65536.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct SectorSize(u32);

/// A sector size that no disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sector size of {0} bytes; it has to be a power of two from 512 to 65536")]
pub struct UnsupportedSectorSize(pub u32);

impl SectorSize {
    /// 512 bytes.
    pub const B512: Self = Self(512);
    /// 4096 bytes ("4Kn").
    pub const B4096: Self = Self(4096);

    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// Byte offset of a sector; `None` where it does not fit in 64 bits.
    #[must_use]
    pub fn byte_of(self, lba: Lba) -> Option<u64> {
        lba.0.checked_mul(self.bytes())
    }

    /// The sector that holds a byte.
    #[must_use]
    pub fn lba_of(self, byte: u64) -> Lba {
        Lba(byte >> self.0.trailing_zeros())
    }

    /// True where `bytes` is a whole number of sectors.
    #[must_use]
    pub fn divides(self, bytes: u64) -> bool {
        bytes & self.bytes().saturating_sub(1) == 0
    }
}

impl TryFrom<u32> for SectorSize {
    type Error = UnsupportedSectorSize;

    fn try_from(bytes: u32) -> Result<Self, Self::Error> {
        if bytes.is_power_of_two() && (512..=65536).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(UnsupportedSectorSize(bytes))
        }
    }
}

impl From<SectorSize> for u32 {
    fn from(size: SectorSize) -> Self {
        size.0
    }
}

impl fmt::Debug for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_become_bytes_only_through_their_size() {
        assert_eq!(SectorSize::B4096.byte_of(Lba(2048)), Some(8 << 20));
        assert_eq!(SectorSize::B512.lba_of(1023), Lba(1));
        assert_eq!(SectorSize::B512.byte_of(Lba(u64::MAX)), None);
        assert!(SectorSize::B512.divides(1 << 20));
        assert!(!SectorSize::B4096.divides(512));
        assert!([0, 1, 513, 131_072].into_iter().all(|bytes| SectorSize::try_from(bytes).is_err()));
    }
}
