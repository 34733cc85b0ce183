//! LUKS: what its headers say, and where a key opens it, what of the volume is used.
//!
//! A key serves to find out which blocks are used, and for nothing else: what is captured are these blocks and the headers as they
//! stand, encrypted, to the byte. Invariants:
//!
//! - Without a key nothing is decrypted. The headers are read for sentences, and no state comes of what they say.
//! - Everything in front of the data and behind them is used.
//! - What a header asks for is bounded before a key is derived with it.
//! - A header that is believed has its magic at the start of the volume: another one may be left over from an earlier use.
//! - Keys, and the memory that Argon2 filled for one, are wiped when they have served. Keys stand in no sentence.
//!
//! ```text
//! 0                                       start of the data
//! | headers | areas of the keyslots | ... | sectors, each encrypted with its number |
//! ```

mod cipher;
mod contents;
mod decrypted;
mod hash;
mod header;
mod header_1;
mod header_2;
mod key;
mod open;

pub use hash::Limits;
pub use key::{Key, KeyError, MOST_KEY_BYTES};

use super::error::read_structure;
use super::inside::{self, Inside};
use super::judgement::Judged;
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::{FileSystem, State};
use crate::units::{ByteRange, RangeSet, read_u16be, u64_from, usize_from, with_causes};
use cipher::Cipher;
use decrypted::Decrypted;
use header::Data;
pub(super) use header::Header;
use open::{Closed, Opened};

const MAGIC: &[u8; 6] = b"LUKS\xBA\xBE";
const OPEN_IT: &str =
    "open it with cryptsetup and capture its device in /dev/mapper, or capture it raw with --when-dirty raw";

/// What came of keys for a volume.
#[derive(Debug)]
pub enum Unlocked {
    /// There is no LUKS.
    NotThere,
    /// Whoever listens asked for the work to stop.
    Stopped,
    /// It stays closed: what is known of it, and why.
    Closed(Reading),
    /// A key opens it.
    Open {
        /// What it is, with the map of what it holds.
        reading: Reading,
        /// Name of the key.
        key: String,
        /// True where the key fits without the newline at its end alone.
        without_newline: bool,
    },
}

/// The headers at the start of a volume.
pub(super) fn header(volume: &dyn ReadAt) -> Result<Option<Header>, Error> {
    let length = header_1::BYTES.min(usize_from(volume.size_bytes()));
    let fields = read_structure(volume, "LUKS header", 0, length)?;
    if !fields.starts_with(MAGIC) {
        return Ok(None);
    }
    match read_u16be(&fields, 6) {
        Ok(1) => Ok(Some(header_1::read(&fields, volume.size_bytes()))),
        Ok(2) => header_2::read(volume),
        _ => Ok(None),
    }
}

/// The second header of a LUKS2 whose first one is gone. No key opens it.
pub(super) fn backup(volume: &dyn ReadAt) -> Result<Option<Header>, Error> {
    header_2::read_backup(volume)
}

/// The headers, at the start of the volume or, where those are gone, the second one alone.
fn any_header(volume: &dyn ReadAt) -> Result<Option<Header>, Error> {
    match header(volume)? {
        Some(found) => Ok(Some(found)),
        None => backup(volume),
    }
}

/// What is said of a volume that no key opened, the sentence that names it first.
pub(super) fn findings(header: &Header) -> Vec<String> {
    match header.obstacle {
        None => with_way_out(header, &format!("name a file with its key (--luks-key), {OPEN_IT}")),
        Some(_) => with_way_out(header, OPEN_IT),
    }
}

/// What is said of one that lies in something else, where no key is tried.
pub(super) fn out_of_reach(volume: &dyn ReadAt) -> Result<Vec<String>, Error> {
    let Some(header) = any_header(volume)? else { return Ok(Vec::new()) };
    let way_out = match header.obstacle {
        None => {
            "a key (--luks-key) is tried on partitions and logical volumes, and not on what lies in an array, in a volume group of LVM1, on a \
             dynamic disk or in another LUKS; assemble or open that and capture its device as a disk (--disk /dev/md0) with --luks-key, or \
             capture it raw with --when-dirty raw"
                .to_owned()
        }
        Some(_) => format!("assemble or open what it lies in, {OPEN_IT}"),
    };
    Ok(with_way_out(&header, &way_out))
}

/// What a volume is, with what to do about it, and all that its headers give reason to say.
fn with_way_out(header: &Header, way_out: &str) -> Vec<String> {
    let mut findings = vec![format!("encrypted with {}: {way_out}", header.words())];
    findings.extend(header.obstacle.iter().map(|why| format!("Remint does not open it: it {why}")));
    findings.extend(header.warnings.iter().cloned());
    findings
}

/// Tries keys on a volume. Where one opens it, the map of what it holds decides what of the volume is used. Every key is tried on every
/// keyslot, between which `is_over` is asked: one may take seconds, or where a header wants that, minutes.
///
/// # Errors
/// [`Error::Io`] where the volume cannot be read.
pub fn unlock(
    volume: &dyn ReadAt,
    keys: &[Key],
    limits: Limits,
    is_over: &dyn Fn() -> bool,
) -> Result<Unlocked, Error> {
    let Some(header) = any_header(volume)? else { return Ok(Unlocked::NotThere) };
    let (Some(data), None) = (&header.data, &header.obstacle) else {
        return Ok(Unlocked::Closed(closed(volume, &header, Vec::new())));
    };
    let Opened { volume_key, keyslot, key, without_newline } =
        match open::open(volume, &header, keys, limits, is_over)? {
            Ok(opened) => opened,
            Err(Closed::Stopped) => return Ok(Unlocked::Stopped),
            Err(Closed::NoKeyFits(mut why)) => {
                why.insert(0, "no key that was named opens it".to_owned());
                return Ok(Unlocked::Closed(closed(volume, &header, why)));
            }
        };
    let cipher = match Cipher::new(&data.cipher, &volume_key) {
        Ok(cipher) => cipher,
        Err(error) => return Ok(Unlocked::Closed(closed(volume, &header, vec![error.to_string()]))),
    };
    // That a key fits is true whatever can be read behind it.
    let judged = judge(volume, data, cipher).unwrap_or_else(|error| Judged {
        state: State::Damaged,
        findings: vec![format!("what it holds cannot be read ({}): {OPEN_IT}", with_causes(&error))],
        map: None,
    });
    let named = format!("encrypted with {}, opened with its keyslot {keyslot}", header.words());
    let reading = reading(
        volume,
        &header,
        Judged { findings: [vec![named], header.warnings.clone(), judged.findings].concat(), ..judged },
    );
    Ok(Unlocked::Open { reading, key: key.name().to_owned(), without_newline })
}

fn closed(volume: &dyn ReadAt, header: &Header, why: Vec<String>) -> Reading {
    let findings = [findings(header), why].concat();
    reading(volume, header, Judged { state: State::Encrypted, findings, map: None })
}

/// The state of what is inside is that of the volume; its map, moved to where the data lie, with all that is around them, that of the
/// volume.
fn judge(volume: &dyn ReadAt, data: &Data, cipher: Cipher) -> Result<Judged, Error> {
    let Inside { what, judged } = inside::look(&Decrypted { volume, data, cipher })?;
    let Judged { state, mut findings, map } = judged;
    findings.insert(0, format!("it holds {what}"));
    if state != State::Clean {
        findings.push(
            "whatever that asks for, do it on the opened volume (cryptsetup open, then /dev/mapper); what is inside is not replayed \
             beside the disk"
                .to_owned(),
        );
    }
    let map = map.map(|map| {
        let start = data.range.start();
        let moved = |range: ByteRange| ByteRange::at(start.saturating_add(range.start()), range.length());
        let mut used = RangeSet::of(ByteRange::new(0, volume.size_bytes()));
        used.remove(data.range);
        map.iter().filter_map(moved).for_each(|range| used.insert(range.intersection(data.range)));
        used
    });
    Ok(Judged { state, findings, map })
}

fn reading(volume: &dyn ReadAt, header: &Header, judged: Judged) -> Reading {
    let size_bytes = volume.size_bytes();
    Reading {
        file_system: FileSystem {
            kind: header.kind,
            uuid: header.uuid.clone(),
            label: header.label.clone(),
            block_size_bytes: header.data.as_ref().map_or(512, |data| u64_from(data.sector_bytes)),
            size_bytes,
            used_bytes: judged.map.as_ref().map(RangeSet::total_bytes),
            minimum_bytes: size_bytes,
            state: judged.state,
            findings: judged.findings,
        },
        used: judged.map,
    }
}
