//! A key as a person gives it.

use std::fmt;
use zeroize::Zeroizing;

/// The longest file that cryptsetup takes for a key, in bytes.
pub const MOST_KEY_BYTES: usize = 8 << 20;

/// The content of a file, to the byte a passphrase, as `cryptsetup --key-file` takes it. It is wiped in the end, and shown to
/// nobody.
pub struct Key {
    name: String,
    bytes: Zeroizing<Vec<u8>>,
}

/// What no key is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A file without a byte.
    #[error("the key {name} is empty; name a file that holds the passphrase")]
    Empty {
        /// Name of the file.
        name: String,
    },
    /// A file that cryptsetup would not read either.
    #[error("the key {name} is longer than 8 MiB, which cryptsetup takes for no key; name the right file")]
    TooLong {
        /// Name of the file.
        name: String,
    },
}

impl Key {
    /// A key with the name of its file.
    ///
    /// # Errors
    /// Where it is empty, or longer than [`MOST_KEY_BYTES`].
    pub fn new(name: &str, bytes: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let name = name.to_owned();
        match bytes.len() {
            0 => Err(KeyError::Empty { name }),
            length if length > MOST_KEY_BYTES => Err(KeyError::TooLong { name }),
            _ => Ok(Self { name, bytes }),
        }
    }

    /// Name of its file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key as it was meant, where an editor ended its line.
    pub(super) fn without_newline(&self) -> Option<&[u8]> {
        self.bytes.strip_suffix(b"\n").filter(|bytes| !bytes.is_empty())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_passphrase_to_the_byte_and_shown_to_nobody() {
        let key = |bytes: &[u8]| Key::new("/run/key", Zeroizing::new(bytes.to_vec()));
        let found = key(b"correct horse\n").unwrap();
        assert_eq!(found.bytes(), b"correct horse\n");
        assert_eq!(found.without_newline(), Some(b"correct horse".as_slice()));
        assert_eq!(format!("{found:?}"), "Key(\"/run/key\")");
        assert_eq!(key(b"\n").unwrap().without_newline(), None);
        assert!(key(b"").unwrap_err().to_string().contains("/run/key is empty"));
        assert!(key(&vec![1; MOST_KEY_BYTES]).is_ok());
        assert!(key(&vec![1; MOST_KEY_BYTES + 1]).unwrap_err().to_string().contains("longer than 8 MiB"));
    }
}
