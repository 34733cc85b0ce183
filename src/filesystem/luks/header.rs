//! What the headers of both versions say, as far as it is of use here.

use super::hash::Kdf;
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, format_size};

/// A volume by its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::filesystem) struct Header {
    pub(in crate::filesystem) kind: FileSystemKind,
    pub(in crate::filesystem) uuid: Option<String>,
    pub(in crate::filesystem) label: Option<String>,
    /// What else a person should know, whoever opens it.
    pub(in crate::filesystem) warnings: Vec<String>,
    /// What is encrypted; `None` where `obstacle` says why that is not known.
    pub(super) data: Option<Data>,
    pub(super) keyslots: Vec<Keyslot>,
    /// Those of its digests that a key of `data` has to fit.
    pub(super) digests: Vec<Digest>,
    /// Further facts, a clause each.
    pub(super) facts: Vec<String>,
    /// Why Remint does not open it, whatever the key: a clause that follows "it".
    pub(super) obstacle: Option<String>,
}

/// Where the encrypted data lie, and how they are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Data {
    /// Whole sectors, on the volume.
    pub(super) range: ByteRange,
    /// Name of the cipher: `aes-xts-plain64`.
    pub(super) cipher: String,
    pub(super) key_bytes: usize,
    /// 512 to 4096.
    pub(super) sector_bytes: usize,
    /// Number of the first sector, in units of 512 bytes.
    pub(super) first_sector: u64,
}

/// One of the places in which the key of the volume is kept, encrypted with a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyslot {
    pub(super) number: u64,
    pub(super) kdf: Kdf,
    pub(super) salt: Vec<u8>,
    /// Of the key that is kept.
    pub(super) key_bytes: usize,
    pub(super) stripes: usize,
    /// The hash that spreads the key over its area.
    pub(super) hash: String,
    /// Where the key is kept, from the start of the volume.
    pub(super) area: ByteRange,
    /// How it is encrypted there, and the length of the key for that.
    pub(super) cipher: String,
    pub(super) area_key_bytes: usize,
}

/// What the right key of the volume is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    /// Numbers of the keyslots with that key.
    pub(super) keyslots: Vec<u64>,
    pub(super) kdf: Kdf,
    pub(super) salt: Vec<u8>,
    pub(super) digest: Vec<u8>,
}

/// The longest key of a volume or of a keyslot, and the most stripes, that any LUKS has (cryptsetup: 512 bytes, 4000 stripes).
pub(super) const KEY_BYTES: u64 = 512;
pub(super) const STRIPES: u64 = 4000;

impl Header {
    /// Nothing but what it is.
    pub(super) const fn new(kind: FileSystemKind, uuid: Option<String>, label: Option<String>) -> Self {
        Self {
            kind,
            uuid,
            label,
            warnings: Vec::new(),
            data: None,
            keyslots: Vec::new(),
            digests: Vec::new(),
            facts: Vec::new(),
            obstacle: None,
        }
    }

    /// `LUKS2 (aes-xts-plain64 with a key of 512 bits, ...)`.
    pub(in crate::filesystem) fn words(&self) -> String {
        let mut words = Vec::new();
        if let Some(Data { range, cipher, key_bytes, sector_bytes, .. }) = &self.data {
            words.push(format!(
                "{cipher} with a key of {} bits, sectors of {sector_bytes} bytes, {} of data from byte {}",
                key_bytes.saturating_mul(8),
                format_size(range.length()),
                range.start()
            ));
        }
        words.extend(self.keyslots.iter().map(|slot| format!("keyslot {}: {}", slot.number, slot.kdf)));
        words.extend(self.facts.iter().cloned());
        match words.is_empty() {
            true => self.kind.to_string(),
            false => format!("{} ({})", self.kind, words.join("; ")),
        }
    }
}

/// A name from a header, fit for a sentence.
pub(super) fn word(text: &str) -> String {
    text.chars().filter(|character| matches!(character, ' '..='~')).take(48).collect()
}
