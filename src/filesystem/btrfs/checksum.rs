//! The checksums of superblocks and nodes, over everything behind the field of 32 bytes with which both begin.

use crate::filesystem::Error;
use crate::units::checksum::crc32c;
use crate::units::read_slice;
use sha2::{Digest, Sha256};

/// `BTRFS_CSUM_SIZE`
const FIELD_BYTES: usize = 32;

/// `enum btrfs_csum_type`, as far as it can be checked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    Crc32c,
    Sha256,
}

impl Checksum {
    /// The kind of this number in a superblock.
    pub(super) fn of_kind(kind: u16) -> Result<Self, Error> {
        let name = match kind {
            0 => return Ok(Self::Crc32c),
            2 => return Ok(Self::Sha256),
            1 => "xxhash64".to_owned(),
            3 => "BLAKE2b".to_owned(),
            other => format!("the unknown kind {other}"),
        };
        Err(Error::unsupported(format!(
            "its checksums are of {name}, with which Remint cannot check its metadata; capture it with --when-dirty raw"
        )))
    }

    /// Compares the stored checksum with the bytes.
    pub(super) fn check(self, bytes: &[u8], structure: &'static str, at: u64) -> Result<(), Error> {
        let covered = bytes.get(FIELD_BYTES..).unwrap_or_default();
        let computed = match self {
            Self::Crc32c => (!crc32c(!0, covered)).to_le_bytes().to_vec(),
            Self::Sha256 => Sha256::digest(covered).to_vec(),
        };
        let stored = read_slice(bytes, 0, computed.len()).map_err(Error::short(structure, at))?;
        if stored == computed {
            Ok(())
        } else {
            Err(Error::corrupt(structure, at, "its checksum is not that of its bytes"))
        }
    }
}
