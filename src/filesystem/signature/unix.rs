//! File systems of Linux.

use super::identity::{text_at, uuid_at};
use super::{Found, peek};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::schema::FileSystemKind;
use crate::units::{read_array, read_u8, read_u16le, read_u32le, read_u64le};

/// bcachefs `libbcachefs/bcachefs_format.h`: the superblock at 4 KiB, with its own magic or, in old file
/// systems, that of bcache, from which the place of its offset tells it.
pub(super) fn bcachefs(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    const MAGICS: [[u8; 16]; 2] = [
        [0xC6, 0x85, 0x73, 0xF6, 0x66, 0xCE, 0x90, 0xA9, 0xD9, 0x6A, 0x60, 0xCF, 0x80, 0x3D, 0xF7, 0xEF],
        [0xC6, 0x85, 0x73, 0xF6, 0x4E, 0x1A, 0x45, 0xCA, 0x82, 0x65, 0xF5, 0x7F, 0x48, 0xBA, 0x6D, 0x81],
    ];
    let Some(superblock) = peek(volume, 4 << 10, 128)? else { return Ok(None) };
    let magic: [u8; 16] = read_array(&superblock, 24).unwrap_or_default();
    let devices = read_u8(&superblock, 123).unwrap_or(0);
    if !MAGICS.contains(&magic) || read_u64le(&superblock, 104) != Ok(8) || devices == 0 {
        return Ok(None);
    }
    let sectors = u64::from(read_u16le(&superblock, 120).unwrap_or(8));
    let mut found = Found::file_system(FileSystemKind::Bcachefs, sectors.saturating_mul(512));
    if devices > 1 {
        found = found.one_of_several("bcachefs");
    }
    Ok(Some(found.named(uuid_at(&superblock, 56), text_at(&superblock, 72, 32))))
}

/// Linux `fs/squashfs/squashfs_fs.h`, version 4.
pub(super) fn squashfs(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let Some(superblock) = peek(volume, 0, 96)? else { return Ok(None) };
    let is_squashfs = superblock.starts_with(b"hsqs") && read_u16le(&superblock, 28) == Ok(4);
    let block_bytes = read_u32le(&superblock, 12).unwrap_or(0);
    Ok(is_squashfs.then(|| Found::file_system(FileSystemKind::Squashfs, block_bytes.into())))
}
