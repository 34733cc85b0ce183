//! Finding the key of a volume with what a person gave.

use super::cipher::Cipher;
use super::hash::{Hash, Limits, Work};
use super::header::{Digest, Header, Keyslot};
use super::key::Key;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, usize_from};
use zeroize::Zeroizing;

/// The key of a volume, and how it was found.
pub(super) struct Opened<'k> {
    pub(super) volume_key: Zeroizing<Vec<u8>>,
    pub(super) keyslot: u64,
    pub(super) key: &'k Key,
    /// True where the key fits only without the newline at its end.
    pub(super) without_newline: bool,
}

/// Why no key was found.
pub(super) enum Closed {
    /// What kept Remint from trying keyslots, a sentence each; empty where none of the keys fits.
    NoKeyFits(Vec<String>),
    /// Whoever listens asked for the work to stop.
    Stopped,
}

/// What came of a passphrase on a keyslot.
enum Tried {
    Fits(Zeroizing<Vec<u8>>),
    DoesNotFit,
    Stopped,
}

/// Tries every key on every keyslot. What is asked between two of them, and in front of every digest, is `is_over`.
pub(super) fn open<'k>(
    volume: &dyn ReadAt,
    header: &Header,
    keys: &'k [Key],
    limits: Limits,
    is_over: &dyn Fn() -> bool,
) -> Result<Result<Opened<'k>, Closed>, Error> {
    let mut untried: Vec<String> = Vec::new();
    let mut work = Work::of_a_volume();
    for slot in &header.keyslots {
        let digests = header.digests.iter().filter(|digest| digest.keyslots.contains(&slot.number));
        let digests: Vec<&Digest> = digests.collect();
        // One without a digest has a key that is not the volume's.
        if digests.is_empty() {
            continue;
        }
        for key in keys {
            for (passphrase, without_newline) in passphrases(key) {
                if is_over() {
                    return Ok(Err(Closed::Stopped));
                }
                match try_slot(volume, slot, &digests, passphrase, (limits, &mut work), is_over) {
                    Ok(Tried::Fits(volume_key)) => {
                        return Ok(Ok(Opened { volume_key, keyslot: slot.number, key, without_newline }));
                    }
                    Ok(Tried::DoesNotFit) => {}
                    Ok(Tried::Stopped) => return Ok(Err(Closed::Stopped)),
                    Err(error @ Error::Io { .. }) => return Err(error),
                    Err(error) => {
                        let said = error.to_string();
                        if !untried.contains(&said) {
                            untried.push(said);
                        }
                    }
                }
            }
        }
    }
    Ok(Err(Closed::NoKeyFits(untried)))
}

/// A key to the byte, and then as it was meant.
fn passphrases(key: &Key) -> impl Iterator<Item = (&[u8], bool)> {
    std::iter::once((key.bytes(), false)).chain(key.without_newline().map(|bytes| (bytes, true)))
}

/// Finds the key of the volume, where the passphrase is that of the keyslot.
fn try_slot(
    volume: &dyn ReadAt,
    slot: &Keyslot,
    digests: &[&Digest],
    passphrase: &[u8],
    (limits, work): (Limits, &mut Work),
    is_over: &dyn Fn() -> bool,
) -> Result<Tried, Error> {
    let who = format!("keyslot {}", slot.number);
    let Some(hash) = Hash::named(&slot.hash) else {
        return Err(Error::unsupported(format!(
            "{who} needs the hash {}, which Remint does not have",
            slot.hash
        )));
    };
    // What is not known is said before anything is derived.
    Cipher::new(&slot.cipher, &vec![0; slot.area_key_bytes])
        .map_err(|error| Error::unsupported(format!("{who}: {error}")))?;
    let mut key = Zeroizing::new(vec![0; slot.area_key_bytes]);
    slot.kdf.derive(&who, passphrase, &slot.salt, (limits, &mut *work), &mut key)?;
    let cipher = Cipher::new(&slot.cipher, &key)?;
    let area = sectors(slot.area);
    let mut split =
        Zeroizing::new(read_structure(volume, "LUKS keyslot", area.start(), usize_from(area.length()))?);
    cipher.decrypt(0, 512, &mut split);
    let split = split.get(..usize_from(slot.area.length())).unwrap_or_default();
    let Some(candidate) = hash.merge(split, slot.key_bytes, slot.stripes) else {
        return Ok(Tried::DoesNotFit);
    };
    for digest in digests {
        if is_over() {
            return Ok(Tried::Stopped);
        }
        let mut found = vec![0; digest.digest.len()];
        digest.kdf.derive(
            &format!("the digest of {who}"),
            &candidate,
            &digest.salt,
            (limits, &mut *work),
            &mut found,
        )?;
        if found == digest.digest {
            return Ok(Tried::Fits(candidate));
        }
    }
    Ok(Tried::DoesNotFit)
}

/// A range up to the end of its last sector of 512 bytes.
fn sectors(range: ByteRange) -> ByteRange {
    ByteRange::new(range.start(), range.start().saturating_add(range.length().next_multiple_of(512)))
}
