//! The headers of LUKS2: two of them, each a part of fixed fields with a text in JSON behind it.
//!
//! ```text
//! 0             magic, version, size, number of the change, label, checksum, salt, UUID, subsystem, its own place
//! 4096          JSON up to the size: keyslots, tokens, segments, digests, config
//! size          the same once more
//! 2 * size      the areas of the keyslots, then the data
//! ```
//!
//! Source: LUKS2 On-Disk Format 1.1.0.

use super::contents;
use super::hash::Hash;
use super::header::{Header, word};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::text_at;
use crate::schema::FileSystemKind;
use crate::units::{OutOfBounds, read_slice, read_u16be, read_u64be, usize_from};
use serde_json::Value;

const MAGIC: &[u8; 6] = b"LUKS\xBA\xBE";
const MAGIC_OF_THE_SECOND: &[u8; 6] = b"SKUL\xBA\xBE";
/// How large a header may be, which is where the second one stands.
const SIZES: [u64; 9] =
    [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];
const FIELDS_BYTES: usize = 4096;
const CHECKSUM_AT: usize = 448;
const CHECKSUM_BYTES: usize = 64;
/// Signs in front of a value, member or item that a text may have. 32 keyslots of argon2id with a token of systemd for each and a digest
/// have about two thousand; in memory each takes many times what it takes in the text.
const MOST_PARTS: usize = 10_000;
const MENDS: &str = "cryptsetup repair mends it";

/// One of the two headers, whole.
#[derive(Debug)]
pub(super) struct Half {
    /// Of each of the two headers, in bytes.
    pub(super) size_bytes: u64,
    change: u64,
    uuid: Option<String>,
    label: Option<String>,
    pub(super) subsystem: Option<String>,
    pub(super) json: Value,
}

#[cfg(test)]
impl Half {
    pub(super) fn of_json(size_bytes: u64, json: Value) -> Self {
        Self { size_bytes, change: 1, uuid: None, label: None, subsystem: None, json }
    }
}

/// What of a header that is not whole can be read.
#[derive(Debug)]
struct Rest {
    uuid: Option<String>,
    label: Option<String>,
    fact: String,
}

/// Reads both headers of a volume on which the first one's magic is.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Header>, Error> {
    let Some(first) = half(volume, MAGIC, 0)? else { return Ok(None) };
    let second = match &first {
        Ok(first) => half(volume, MAGIC_OF_THE_SECOND, first.size_bytes)?,
        Err(_) => find_second(volume)?,
    };
    let gone = || Err(Rest { uuid: None, label: None, fact: "it is not where it should be".to_owned() });
    Ok(Some(match (first, second.unwrap_or_else(gone)) {
        (Ok(first), Ok(second)) if second.change > first.change => {
            header(second, volume, Some(format!("its first header is older than its second one: {MENDS}")))
        }
        (Ok(first), Ok(second)) => {
            let is_older = second.change < first.change;
            let warning = format!("its second header is older than its first one: {MENDS}");
            header(first, volume, is_older.then_some(warning))
        }
        (Ok(first), Err(Rest { fact, .. })) => {
            header(first, volume, Some(format!("its second header is damaged ({fact}): {MENDS}")))
        }
        (Err(Rest { fact, .. }), Ok(second)) => {
            header(second, volume, Some(format!("its first header is damaged ({fact}): {MENDS}")))
        }
        (Err(first), Err(second)) => damaged(first, Some(&second)),
    }))
}

/// Reads the second header, where the first has lost its magic. Whatever wrote there may have taken the volume for its own, and written
/// elsewhere too: which blocks are used is for a person to say, by mending the first header.
pub(super) fn read_backup(volume: &dyn ReadAt) -> Result<Option<Header>, Error> {
    let warning = "its first header is gone: something else may have been put in the place of this LUKS. Where it is still the one that \
                   counts, put the header back with cryptsetup repair, and capture it then"
        .to_owned();
    Ok(find_second(volume)?.map(|half| match half {
        Ok(half) => {
            let mut found = header(half, volume, Some(warning));
            found.obstacle.get_or_insert_with(|| "has lost its first header".to_owned());
            found
        }
        Err(rest) => damaged(rest, None),
    }))
}

fn header(half: Half, volume: &dyn ReadAt, warning: Option<String>) -> Header {
    let mut found = Header::new(FileSystemKind::Luks2, half.uuid.clone(), half.label.clone());
    found.warnings.extend(warning);
    contents::read(&half, volume.size_bytes(), &mut found);
    found
}

fn damaged(rest: Rest, other: Option<&Rest>) -> Header {
    let facts = other.map_or_else(|| rest.fact.clone(), |other| format!("{}; {}", rest.fact, other.fact));
    let mut found = Header::new(FileSystemKind::Luks2, rest.uuid, rest.label);
    found.warnings.push(format!(
        "both of its headers are damaged ({facts}): put them back from a backup with cryptsetup luksHeaderRestore"
    ));
    found.obstacle = Some("has no whole header".to_owned());
    found
}

fn find_second(volume: &dyn ReadAt) -> Result<Option<Result<Half, Rest>>, Error> {
    let mut damaged = None;
    for at in SIZES {
        match half(volume, MAGIC_OF_THE_SECOND, at)? {
            Some(Ok(half)) => return Ok(Some(Ok(half))),
            Some(Err(rest)) => damaged = damaged.or(Some(Err(rest))),
            None => {}
        }
    }
    Ok(damaged)
}

/// Reads one header; `None` where none begins.
fn half(volume: &dyn ReadAt, magic: &[u8; 6], at: u64) -> Result<Option<Result<Half, Rest>>, Error> {
    if at.checked_add(FIELDS_BYTES.try_into().unwrap_or(0)).is_none_or(|end| end > volume.size_bytes()) {
        return Ok(None);
    }
    let fields = read_structure(volume, "LUKS2 header", at, FIELDS_BYTES)?;
    if !fields.starts_with(magic) || read_u16be(&fields, 6) != Ok(2) || read_u64be(&fields, 256) != Ok(at) {
        return Ok(None);
    }
    let (uuid, label) = (text_at(&fields, 168, 40), text_at(&fields, 24, 48));
    let rest =
        |fact: &str| Ok(Some(Err(Rest { uuid: uuid.clone(), label: label.clone(), fact: fact.to_owned() })));
    let size_bytes = read_u64be(&fields, 8).unwrap_or(0);
    if !SIZES.contains(&size_bytes) || !(at == 0 || at == size_bytes) {
        return rest("its size is none that a header has");
    }
    if at.saturating_add(size_bytes) > volume.size_bytes() {
        return rest("it reaches beyond the end of the volume");
    }
    let bytes = read_structure(volume, "LUKS2 header", at, usize_from(size_bytes))?;
    match checksum(&bytes) {
        Ok(true) => {}
        Ok(false) => return rest("its checksum is wrong"),
        Err(_) => return rest("its checksum is of an unknown kind"),
    }
    let text = bytes.get(FIELDS_BYTES..).unwrap_or_default();
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.iter().filter(|byte| matches!(byte, b'{' | b'[' | b',' | b':')).count() > MOST_PARTS {
        return rest("its text has more parts than that of any header");
    }
    let Ok(json) = serde_json::from_slice::<Value>(text) else {
        return rest("its text is no JSON");
    };
    Ok(Some(Ok(Half {
        size_bytes,
        change: read_u64be(&bytes, 16).unwrap_or(0),
        uuid,
        label,
        subsystem: text_at(&bytes, 208, 48).map(|text| word(&text)),
        json,
    })))
}

/// Whether the checksum fits everything but itself.
fn checksum(bytes: &[u8]) -> Result<bool, OutOfBounds> {
    let name = text_at(bytes, 72, 32).unwrap_or_default();
    let Some(hash) = Hash::named(&name) else {
        return Err(OutOfBounds { at: 72, length: 32, available: 0 });
    };
    let behind_at = CHECKSUM_AT.saturating_add(CHECKSUM_BYTES);
    let (before, behind) = (read_slice(bytes, 0, CHECKSUM_AT)?, bytes.get(behind_at..).unwrap_or_default());
    let stored = read_slice(bytes, CHECKSUM_AT, CHECKSUM_BYTES)?;
    let found = hash.of(&[before, &[0; CHECKSUM_BYTES], behind]);
    Ok(stored.starts_with(found.as_ref()))
}
