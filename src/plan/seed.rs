//! New GUIDs and disk signatures, derived from one seed.
//!
//! The planner is pure and draws nothing: who asks for a plan brings 128 random bits, and the same bits give the
//! same identifiers again.

use crate::units::{Guid, Hex};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// 128 bits from a source of randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 16]);

/// Text that is no seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a seed; write 32 hexadecimal digits")]
pub struct ParseSeedError(String);

impl Seed {
    /// From random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The GUID of what has this name: `d0` is a disk, `d0-p2` a partition.
    ///
    /// It has the form of version 4 of RFC 9562: its bits are those of a cryptographic function of a random number,
    /// which nobody can tell from random ones. Version 8 would say that the bits mean something to somebody.
    /// `systemd-repart` does the same.
    #[must_use]
    pub fn guid(&self, name: &str) -> Guid {
        let [half, _] = self.derive("guid", name);
        // RFC 9562, 5.4: bits 48 to 51 are the version, bits 64 and 65 the variant, counted from the front.
        let random = u128::from_be_bytes(half) & !(0xF << 76) & !(0b11 << 62);
        Guid::from_u128(random | 4 << 76 | 0b10 << 62)
    }

    /// The UUID, as LVM prints it, of the group (`g0`), physical (`d0-p2`) or logical volume (`g0-l1`) of this name.
    #[must_use]
    pub fn lvm_uuid(&self, name: &str) -> String {
        const CHARACTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut uuid = String::with_capacity(38);
        for (position, byte) in self.derive("lvm", name).into_iter().flatten().enumerate() {
            if matches!(position, 6 | 10 | 14 | 18 | 22 | 26) {
                uuid.push('-');
            }
            let at = usize::from(byte).checked_rem(CHARACTERS.len()).unwrap_or_default();
            uuid.push(char::from(CHARACTERS.get(at).copied().unwrap_or(b'0')));
        }
        uuid
    }

    /// The signature of an MBR disk of this name; never zero, which means that there is none.
    #[must_use]
    pub fn mbr_signature(&self, name: &str) -> u32 {
        let [[b0, b1, b2, b3, ..], _] = self.derive("signature", name);
        u32::from_le_bytes([b0, b1, b2, b3]).max(1)
    }

    /// The seed of a further copy of the same disk.
    pub(super) fn of_copy(self, copy: usize) -> Self {
        if copy == 0 {
            return self;
        }
        let [bytes, _] = self.derive("copy", &copy.to_string());
        Self(bytes)
    }

    /// 32 bytes of SHA-256 over the seed, the purpose and the name.
    fn derive(&self, purpose: &str, name: &str) -> [[u8; 16]; 2] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        // Neither contains a zero byte, so no two pairs give the same input.
        hash.update(purpose);
        hash.update([0]);
        hash.update(name);
        let digest: [u8; 32] = hash.finalize().into();
        let mut halves = [[0; 16]; 2];
        for (byte, from) in halves.iter_mut().flatten().zip(digest) {
            *byte = from;
        }
        halves
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(self.0.to_vec()), f)
    }
}

impl FromStr for Seed {
    type Err = ParseSeedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.parse::<Hex>().ok().and_then(|hex| hex.0.try_into().ok());
        bytes.map(Self).ok_or_else(|| ParseSeedError(text.to_owned()))
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn identifiers_are_random_to_look_at_and_the_same_again() {
        let seed: Seed = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        assert_eq!(seed.to_string(), "000102030405060708090a0b0c0d0e0f");
        // printf '\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17guid\0d0-p1' | sha256sum
        assert_eq!(seed.guid("d0-p1"), GUID.parse().unwrap());
        assert_eq!(seed.guid("d0-p1"), seed.guid("d0-p1"));
        let names = ["d0", "d0-p1", "d0-p2", "d1", ""];
        let guids: BTreeSet<String> = names.iter().map(|name| seed.guid(name).to_string()).collect();
        assert_eq!(guids.len(), names.len());
        for guid in &guids {
            assert_eq!(guid.chars().nth(14), Some('4'), "{guid}");
            assert!(guid.chars().nth(19).is_some_and(|digit| "89AB".contains(digit)), "{guid}");
        }
        let other = Seed::from_bytes([7; 16]);
        assert_ne!(seed.guid("d0"), other.guid("d0"));
        assert_ne!(seed.mbr_signature("d0"), other.mbr_signature("d0"));
    }

    const GUID: &str = "0F9E9BBF-338C-4D46-97C1-12A32D6BB840";

    #[test]
    fn other_text_is_no_seed() {
        for text in ["", "00", "000102030405060708090a0b0c0d0e0", "000102030405060708090a0b0c0d0e0f00", "x"] {
            assert!(text.parse::<Seed>().is_err(), "{text}");
        }
    }
}
