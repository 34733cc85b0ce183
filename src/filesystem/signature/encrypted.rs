//! Volumes that cryptsetup encrypts: LUKS.
//!
//! Sources: LUKS1 On-Disk Format 1.2.3, LUKS2 On-Disk Format 1.1.0.

use super::identity::text_at;
use super::{Found, peek};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::schema::{FileSystemKind, State};
use crate::units::{read_u16be, read_u64be};

const LUKS_BYTES: usize = 512;
/// Where the second header of LUKS2 may stand: behind a first one of so many bytes.
const LUKS2_BACKUPS: [u64; 9] =
    [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];

/// The LUKS header at the start of the volume.
pub(super) fn luks(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let Some(header) = peek(volume, 0, LUKS_BYTES)? else { return Ok(None) };
    Ok(luks_header(&header, b"LUKS\xBA\xBE", 0))
}

/// The second LUKS2 header, where the first is damaged.
pub(super) fn luks2_backup(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    for at in LUKS2_BACKUPS {
        let Some(header) = peek(volume, at, LUKS_BYTES)? else { break };
        if let Some(mut found) = luks_header(&header, b"SKUL\xBA\xBE", at) {
            found.findings.push("its first header is damaged: cryptsetup repair mends it".to_owned());
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn luks_header(header: &[u8], magic: &[u8; 6], at: u64) -> Option<Found> {
    if !header.starts_with(magic) {
        return None;
    }
    let (kind, label) = match read_u16be(header, 6).ok()? {
        1 if at == 0 => (FileSystemKind::Luks1, None),
        2 if read_u64be(header, 256) == Ok(at) => (FileSystemKind::Luks2, text_at(header, 24, 48)),
        _ => return None,
    };
    let finding = format!(
        "encrypted with {kind}: open it with cryptsetup and capture what is inside, or capture it raw with \
         --when-dirty raw"
    );
    Some(Found::container(kind).named(text_at(header, 168, 40), label).state(State::Encrypted, finding))
}
