//! ReFS, and the file system of optical discs.

use super::identity::text_at;
use super::{Found, peek};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::schema::FileSystemKind;
use crate::units::{read_slice, read_u32le};

/// The volume header of ReFS, of any version.
pub(super) fn refs(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let Some(header) = peek(volume, 0, 512)? else { return Ok(None) };
    let is_refs = header.starts_with(b"\0\0\0ReFS\0");
    let sector_bytes = read_u32le(&header, 32).unwrap_or(0);
    let cluster_bytes = u64::from(sector_bytes).saturating_mul(read_u32le(&header, 36).unwrap_or(0).into());
    Ok(is_refs.then(|| Found::file_system(FileSystemKind::Refs, cluster_bytes.max(512))))
}

/// ECMA-119: the primary volume descriptor in sector 16.
pub(super) fn iso9660(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let Some(descriptor) = peek(volume, 32 << 10, 2048)? else { return Ok(None) };
    if !descriptor.starts_with(b"\x01CD001\x01") {
        return Ok(None);
    }
    let uuid = iso9660_date(&descriptor, 830).or_else(|| iso9660_date(&descriptor, 813));
    let found = Found::file_system(FileSystemKind::Iso9660, 2048);
    Ok(Some(found.named(uuid, text_at(&descriptor, 40, 32))))
}

/// The date of change, or of creation, which tools show in place of a UUID: `2026-01-31-23-59-59-00`.
fn iso9660_date(descriptor: &[u8], at: usize) -> Option<String> {
    let digits = std::str::from_utf8(read_slice(descriptor, at, 16).ok()?).ok()?;
    let part = |from: usize, to: usize| digits.get(from..to);
    let is_date = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.bytes().any(|byte| byte != b'0');
    let parts =
        [part(0, 4)?, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?, part(12, 14)?, part(14, 16)?];
    is_date.then(|| parts.join("-"))
}
