//! Sectors that are decrypted: AES in the modes XTS and CBC, as the kernel's dm-crypt has them.
//!
//! Every sector is decrypted by itself, with its number. Numbers count 512 bytes whatever a sector has (dm-crypt without
//! `iv_large_sectors`, as cryptsetup sets it up).
//!
//! Sources: Linux `Documentation/admin-guide/device-mapper/dm-crypt.rst` and `drivers/md/dm-crypt.c`; IEEE 1619 for XTS.

use super::hash::Hash;
use crate::filesystem::Error;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};

const BLOCK_BYTES: usize = 16;
type Block = [u8; BLOCK_BYTES];

/// AES with a key. The library wipes it.
enum Aes {
    Bits128(Box<Aes128>),
    Bits256(Box<Aes256>),
}

impl Aes {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(|aes| Self::Bits128(Box::new(aes))),
            32 => Aes256::new_from_slice(key).ok().map(|aes| Self::Bits256(Box::new(aes))),
            _ => None,
        }
    }

    fn encrypt(&self, block: Block) -> Block {
        let mut block = Array::from(block);
        match self {
            Self::Bits128(aes) => aes.encrypt_block(&mut block),
            Self::Bits256(aes) => aes.encrypt_block(&mut block),
        }
        block.into()
    }

    fn decrypt(&self, blocks: &mut [Block]) {
        let blocks = Array::cast_slice_from_core_mut(blocks);
        match self {
            Self::Bits128(aes) => aes.decrypt_blocks(blocks),
            Self::Bits256(aes) => aes.decrypt_blocks(blocks),
        }
    }
}

/// How a sector's number becomes what its first block is mixed with.
enum Start {
    /// The lower 32 bits of the number.
    Plain,
    /// The number.
    Plain64,
    /// The number, encrypted with a hash of the key.
    Essiv(Aes),
}

impl Start {
    fn of(&self, sector: u64) -> Block {
        let number = match self {
            Self::Plain => sector & 0xFFFF_FFFF,
            Self::Plain64 | Self::Essiv(_) => sector,
        };
        let block = u128::from(number).to_le_bytes();
        match self {
            Self::Essiv(aes) => aes.encrypt(block),
            Self::Plain | Self::Plain64 => block,
        }
    }
}

enum Mode {
    Xts { tweak: Aes },
    Cbc,
}

/// A cipher with its key.
pub(super) struct Cipher {
    data: Aes,
    mode: Mode,
    start: Start,
}

impl Cipher {
    /// `name` is as a header has it: `aes-xts-plain64`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where Remint does not have it.
    pub(super) fn new(name: &str, key: &[u8]) -> Result<Self, Error> {
        Self::known(name, key).ok_or_else(|| {
            Error::unsupported(format!(
                "Remint decrypts AES with keys of 128 and 256 bits in the modes XTS and CBC, and not {name} with {} bytes of key",
                key.len()
            ))
        })
    }

    /// Why data are not decrypted with a key of this length: a clause that follows "it".
    pub(super) fn obstacle(name: &str, key_bytes: usize) -> Option<String> {
        let error = Self::new(name, &vec![0; key_bytes]).err()?;
        Some(format!("has another cipher: {error}"))
    }

    fn known(name: &str, key: &[u8]) -> Option<Self> {
        let (mode, start) = name.strip_prefix("aes-")?.split_once('-')?;
        let (data, mode) = match mode {
            "xts" => {
                let (data, tweak) = key.split_at(key.len() / 2);
                (Aes::new(data)?, Mode::Xts { tweak: Aes::new(tweak)? })
            }
            "cbc" => (Aes::new(key)?, Mode::Cbc),
            _ => return None,
        };
        let start = match (start, &mode) {
            ("plain", _) => Start::Plain,
            ("plain64", _) => Start::Plain64,
            ("essiv:sha256", Mode::Cbc) => Start::Essiv(Aes::new(Hash::Sha256.of(&[key]).as_ref())?),
            _ => return None,
        };
        Some(Self { data, mode, start })
    }

    /// Decrypts whole sectors of `sector_bytes` bytes, of which the first has the number `sector`, in units of 512 bytes.
    pub(super) fn decrypt(&self, sector: u64, sector_bytes: usize, data: &mut [u8]) {
        let mut number = sector;
        let units = u64::try_from(sector_bytes / 512).unwrap_or(1);
        for sector in data.chunks_mut(sector_bytes.max(BLOCK_BYTES)) {
            let (blocks, _) = sector.as_chunks_mut::<BLOCK_BYTES>();
            let start = self.start.of(number);
            match &self.mode {
                Mode::Xts { tweak } => self.decrypt_xts(tweak.encrypt(start), blocks),
                Mode::Cbc => self.decrypt_cbc(start, blocks),
            }
            number = number.wrapping_add(units);
        }
    }

    fn decrypt_xts(&self, tweak: Block, blocks: &mut [Block]) {
        mix(blocks, tweak);
        self.data.decrypt(blocks);
        mix(blocks, tweak);
    }

    fn decrypt_cbc(&self, start: Block, blocks: &mut [Block]) {
        let before: Vec<Block> = std::iter::once(start).chain(blocks.iter().copied()).collect();
        self.data.decrypt(blocks);
        blocks.iter_mut().zip(before).for_each(|(block, before)| exclusive_or(block, before));
    }
}

/// Mixes blocks with a tweak that is multiplied by x from one to the next, in GF(2^128).
fn mix(blocks: &mut [Block], tweak: Block) {
    let mut tweak = u128::from_le_bytes(tweak);
    for block in blocks {
        exclusive_or(block, tweak.to_le_bytes());
        let carry = if tweak >> 127 == 1 { 0x87 } else { 0 };
        tweak = (tweak << 1) ^ carry;
    }
}

fn exclusive_or(block: &mut Block, other: Block) {
    *block = (u128::from_le_bytes(*block) ^ u128::from_le_bytes(other)).to_le_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Hex;

    fn bytes(text: &str) -> Vec<u8> {
        text.parse::<Hex>().unwrap().0
    }

    #[test]
    fn sectors_are_decrypted_as_ieee_1619_says() {
        // Vectors 1 and 2 of its annex B.
        for (key, sector, plain, encrypted) in [
            (
                "0".repeat(64),
                0u64,
                "0".repeat(64),
                "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e",
            ),
            (
                "11".repeat(16) + &"22".repeat(16),
                0x33_3333_3333,
                "44".repeat(32),
                "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0",
            ),
        ] {
            let cipher = Cipher::new("aes-xts-plain64", &bytes(&key)).unwrap();
            let mut data = bytes(encrypted);
            cipher.decrypt(sector, 32, &mut data);
            assert_eq!(data, bytes(&plain));
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (name, key_bytes) in [
            ("serpent-xts-plain64", 64),
            ("aes-xts-plain64", 48),
            ("aes-xts-plain64", 63),
            ("aes-xts-essiv:sha256", 64),
            ("aes-cbc-null", 32),
            ("aes", 32),
            ("xchacha20,aes-adiantum-plain64", 32),
            ("capi:xts(aes)-plain64", 64),
        ] {
            let said = Cipher::new(name, &vec![0; key_bytes]).err().unwrap().to_string();
            assert!(said.contains(name), "{said}");
        }
        for (name, key_bytes) in [
            ("aes-xts-plain", 32),
            ("aes-xts-plain64", 64),
            ("aes-cbc-essiv:sha256", 32),
            ("aes-cbc-plain64", 16),
        ] {
            assert!(Cipher::new(name, &vec![0; key_bytes]).is_ok(), "{name}");
        }
    }
}
