//! BitLocker of Windows Vista and later, in all its forms: which one, whose keys, and whether one of them lies open.
//!
//! Nothing is decrypted. The metadata stand three times on the volume, at places that the first sector names; they are
//! believed for sentences only, so a copy that is damaged costs a sentence and nothing else.
//!
//! Source: libbde, "BitLocker Drive Encryption (BDE) format".

use super::{Found, peek};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::schema::{FileSystemKind, State};
use crate::units::{Guid, read_array, read_slice, read_u16le, read_u32le, read_u64le, u64_from, usize_from};

const SIGNATURE: &[u8; 8] = b"-FVE-FS-";
/// What a FAT32 that hides a volume of BitLocker To Go is called; one that Windows made is called so too.
const TO_GO: &[u8; 8] = b"MSWIN4.1";
/// 4967D63B-2E29-4AD8-8399-F6A339E3D001 and 92A84D3B-DD80-4D0E-9E4E-B1E3284EAED8, as they stand on the disk: a volume, and
/// one of which only the space in use is encrypted.
const IDENTIFIERS: [[u8; 16]; 2] = [WHOLE, USED_SPACE_ONLY];
const WHOLE: [u8; 16] =
    [0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01];
const USED_SPACE_ONLY: [u8; 16] =
    [0x3B, 0x4D, 0xA8, 0x92, 0x80, 0xDD, 0x0E, 0x4D, 0x9E, 0x4E, 0xB1, 0xE3, 0x28, 0x4E, 0xAE, 0xD8];
/// Where the identifier stands in the first sector of a FAT32 of BitLocker To Go.
const TO_GO_IDENTIFIER: usize = 424;

const BLOCK_HEADER_BYTES: usize = 64;
const METADATA_HEADER_BYTES: usize = 48;
/// The metadata have 64 KiB of the volume; in memory they are smaller than this.
const METADATA_BYTES: usize = 64 << 10;
/// The state of a volume whose encryption is neither beginning nor ending.
const STATE_SETTLED: u16 = 4;
const ENTRY_KEY_OF_THE_VOLUME: u16 = 2;
const VALUE_KEY_OF_THE_VOLUME: u16 = 8;
const CLEAR_KEY: u16 = 0;

/// True where the first sector of a FAT32 says that BitLocker To Go lies behind it.
pub(in crate::filesystem) fn hides_behind(sector: &[u8]) -> bool {
    read_array(sector, TO_GO_IDENTIFIER).is_ok_and(|found: [u8; 16]| IDENTIFIERS.contains(&found))
}

/// What keeps the keys, and how far the volume is encrypted.
#[derive(Default)]
struct Metadata {
    volume: Option<Guid>,
    method: u16,
    is_settled: bool,
    protectors: Vec<u16>,
}

pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let Some(sector) = peek(volume, 0, 512)? else { return Ok(None) };
    let name: [u8; 8] = read_array(&sector, 3).unwrap_or_default();
    if &name != SIGNATURE && &name != TO_GO && !hides_behind(&sector) {
        return Ok(None);
    }
    let metadata = metadata(volume, &sector);
    // A FAT32 that Windows made has this name too, so there the identifier or the metadata tell.
    if &name != SIGNATURE && metadata.is_none() && !hides_behind(&sector) {
        return Ok(None);
    }
    let uuid = metadata.as_ref().and_then(|metadata| metadata.volume).map(|guid| guid.to_string());
    let mut found = Found::container(FileSystemKind::Bitlocker).named(uuid, None);
    if let Ok(bytes @ (512 | 1024 | 2048 | 4096)) = read_u16le(&sector, 11) {
        found.block_size_bytes = bytes.into();
    }
    let form = match (&name, read_array(&sector, 160)) {
        (SIGNATURE, Ok(USED_SPACE_ONLY)) => "BitLocker (used space only)",
        (SIGNATURE, _) => "BitLocker",
        _ => "BitLocker To Go",
    };
    let mut found = found.state(
        State::Encrypted,
        format!(
            "encrypted with {form}{}: decrypt it with manage-bde -off, or capture it raw with --when-dirty raw; suspending \
             protection leaves the data encrypted",
            metadata.as_ref().map(Metadata::words).unwrap_or_default()
        ),
    );
    match metadata {
        None => found.findings.push("none of the three copies of its metadata is readable".to_owned()),
        Some(metadata) => found.findings.extend(metadata.warnings()),
    }
    Ok(Some(found))
}

/// The first copy of the metadata that is whole, or else the first that begins like one.
fn metadata(volume: &dyn ReadAt, sector: &[u8]) -> Option<Metadata> {
    let sector_bytes = u64::from(read_u16le(sector, 11).unwrap_or(512));
    let cluster_bytes = sector_bytes.saturating_mul(sector.get(13).copied().unwrap_or(0).into());
    let field = |at| read_u64le(sector, at).unwrap_or(0);
    let vista = field(56).saturating_mul(cluster_bytes);
    let places = if read_slice(sector, 3, 8) == Ok(SIGNATURE) {
        [field(176), field(184), field(192), vista]
    } else {
        [field(440), field(448), field(456), 0]
    };
    let mut found: Option<Metadata> = None;
    for at in places.into_iter().filter(|at| *at != 0) {
        // A copy that cannot be read is one that is not there.
        let Some(header) = peek(volume, at, BLOCK_HEADER_BYTES).ok().flatten() else { continue };
        if header.starts_with(SIGNATURE) && matches!(read_u16le(&header, 10), Ok(1 | 2)) {
            let copy = metadata_behind(volume, at, &header);
            if copy.volume.is_some() {
                return Some(copy);
            }
            found = found.or(Some(copy));
        }
    }
    found
}

fn metadata_behind(volume: &dyn ReadAt, at: u64, header: &[u8]) -> Metadata {
    let state = |at| read_u16le(header, at).ok();
    let is_settled = read_u16le(header, 10) == Ok(1) || state(12) == Some(STATE_SETTLED);
    let nothing = Metadata { is_settled, ..Metadata::default() };
    let at = at.saturating_add(u64_from(BLOCK_HEADER_BYTES));
    let Some(fields) = peek(volume, at, METADATA_HEADER_BYTES).ok().flatten() else { return nothing };
    let bytes = usize_from(read_u32le(&fields, 0).unwrap_or(0).into());
    let is_known = read_u32le(&fields, 4) == Ok(1)
        && read_u32le(&fields, 8) == Ok(48)
        && (METADATA_HEADER_BYTES..=METADATA_BYTES).contains(&bytes);
    if !is_known {
        return nothing;
    }
    let entries = peek(volume, at, bytes).ok().flatten().unwrap_or_default();
    Metadata {
        volume: read_array(&fields, 16).ok().map(Guid::from_disk_bytes),
        method: read_u16le(&fields, 36).unwrap_or(0),
        protectors: protectors(entries.get(METADATA_HEADER_BYTES..).unwrap_or_default()),
        ..nothing
    }
}

/// What each copy of the volume's key is protected with.
fn protectors(mut entries: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while let (Ok(length), Ok(entry), Ok(value)) =
        (read_u16le(entries, 0), read_u16le(entries, 2), read_u16le(entries, 4))
    {
        let length = usize::from(length);
        let Ok(body) = read_slice(entries, 8, length.saturating_sub(8)) else { break };
        if length < 8 {
            break;
        }
        if (entry, value) == (ENTRY_KEY_OF_THE_VOLUME, VALUE_KEY_OF_THE_VOLUME) {
            found.extend(read_u16le(body, 26).ok());
        }
        entries = entries.get(length..).unwrap_or_default();
    }
    found
}

impl Metadata {
    /// How it is encrypted and with what it opens.
    fn words(&self) -> String {
        let method = match self.method {
            0x8000 => ", AES-CBC 128 with diffuser",
            0x8001 => ", AES-CBC 256 with diffuser",
            0x8002 => ", AES-CBC 128",
            0x8003 => ", AES-CBC 256",
            0x8004 => ", AES-XTS 128",
            0x8005 => ", AES-XTS 256",
            _ => "",
        };
        let mut keys: Vec<&str> = self.protectors.iter().map(|kind| protector(*kind)).collect();
        keys.dedup();
        let keys = if keys.is_empty() { String::new() } else { format!(", opened by {}", keys.join(", ")) };
        format!("{method}{keys}")
    }

    /// What whoever captures it in spite of that should know.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.protectors.contains(&CLEAR_KEY) {
            warnings.push(
                "its key lies open on it (protection is suspended, or was never activated): whoever has its image can read it"
                    .to_owned(),
            );
        } else if !self.protectors.is_empty()
            && self.protectors.iter().all(|kind| matches!(kind, 0x0100 | 0x0500 | 0x0800))
        {
            warnings
                .push("on another machine an image of it opens with the recovery password only".to_owned());
        }
        if !self.is_settled {
            warnings
                .push("its encryption or decryption is under way: start Windows and let it end".to_owned());
        }
        warnings
    }
}

const fn protector(kind: u16) -> &'static str {
    match kind {
        CLEAR_KEY => "a key that lies open on it",
        0x0100 => "the TPM",
        0x0200 => "a startup key",
        0x0500 => "the TPM with a PIN",
        0x0800 => "a recovery password",
        0x2000 => "a password",
        _ => "a key of another kind",
    }
}
