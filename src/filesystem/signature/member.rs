//! Members of Linux MD arrays.
//!
//! Version 0.90 and 1.0 put their superblock at the end, so that each half of a mirror begins like the file
//! system that it mirrors:
//!
//! ```text
//! version  superblock at
//! 0.90     the last 64 KiB that begin at a multiple of 64 KiB
//! 1.0      8 to 12 KiB before the end, at a multiple of 4 KiB
//! 1.1      the start
//! 1.2      4 KiB from the start
//! ```
//!
//! Source: Linux `include/uapi/linux/raid/md_p.h` and `drivers/md/md.c`.

use super::identity::{text_at, uuid_at, uuid_text};
use super::{Found, peek};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::schema::{FileSystemKind, State};
use crate::units::{KIB, read_u32be, read_u32le, read_u64le};

const MAGIC: u32 = 0xA92B_4EFC;
const SUPERBLOCK_BYTES: usize = 256;

/// Recognises a member by any version of the superblock.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let size = volume.size_bytes();
    if let Some(at) = (size & !(64 * KIB).saturating_sub(1)).checked_sub(64 * KIB)
        && let Some(bytes) = peek(volume, at, SUPERBLOCK_BYTES)?
        && let Some(found) = version_0(&bytes, at)
    {
        return Ok(Some(found));
    }
    let end = (size & !(4 * KIB).saturating_sub(1)).checked_sub(8 * KIB);
    for (version, at) in [("1.0", end), ("1.1", Some(0)), ("1.2", Some(4 * KIB))] {
        if let Some(at) = at
            && let Some(bytes) = peek(volume, at, SUPERBLOCK_BYTES)?
            && let Some(found) = version_1(&bytes, at, version)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Version 0.90, in the byte order of the machine that wrote it.
fn version_0(bytes: &[u8], at: u64) -> Option<Found> {
    let read = if read_u32le(bytes, 0) == Ok(MAGIC) { read_u32le } else { read_u32be };
    let field = |at: usize| read(bytes, at).ok();
    // The data lie before the superblock; an old superblock of a smaller member does not stand here.
    let size_bytes = u64::from(field(32)?).saturating_mul(KIB);
    if field(0)? != MAGIC || field(4)? != 0 || size_bytes > at {
        return None;
    }
    let words = [field(20)?, field(52)?, field(56)?, field(60)?].map(u32::to_be_bytes);
    let mut uuid = [0; 16];
    for (target, source) in uuid.iter_mut().zip(words.as_flattened()) {
        *target = *source;
    }
    Some(member("0.90", field(28)?, field(40)?, None).named(uuid_text(uuid), None))
}

fn version_1(bytes: &[u8], at: u64, version: &str) -> Option<Found> {
    let stands_here = read_u64le(bytes, 144).ok()?.checked_mul(512) == Some(at);
    if read_u32le(bytes, 0) != Ok(MAGIC) || read_u32le(bytes, 4) != Ok(1) || !stands_here {
        return None;
    }
    let name = text_at(bytes, 32, 32);
    let found = member(version, read_u32le(bytes, 72).ok()?, read_u32le(bytes, 92).ok()?, name.as_deref());
    Some(found.named(uuid_at(bytes, 16), name))
}

fn member(version: &str, level: u32, disks: u32, name: Option<&str>) -> Found {
    let level = match level.cast_signed() {
        -1 => "linear".to_owned(),
        -4 => "multipath".to_owned(),
        level => format!("RAID {level}"),
    };
    let name = name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let finding = format!(
        "one member of the MD array{name} ({level} of {disks} disks, superblock {version}): capture the \
         assembled array instead, or every member with --when-dirty raw; if the array is history, remove its \
         superblock with mdadm --zero-superblock"
    );
    Found::container(FileSystemKind::MdMember).state(State::Unsupported, finding)
}
