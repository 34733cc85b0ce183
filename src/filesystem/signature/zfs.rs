//! Members of ZFS pools.
//!
//! A member has four labels of 256 KiB, two at its start and two at its end:
//!
//! ```text
//! 0       8 KiB         16 KiB                 128 KiB                  256 KiB
//! | blank | boot header | name-value list (XDR) | ring of uberblocks     |
//! ```
//!
//! Source: "ZFS On-Disk Specification" (draft, 2006), chapters 1 and 2.

use super::{Found, peek};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::schema::FileSystemKind;
use crate::units::{KIB, read_array, read_slice, read_u32be, read_u64be, u64_from, usize_from};

const LABEL_BYTES: u64 = 256 * KIB;
const LIST_AT: u64 = 16 * KIB;
const LIST_BYTES: usize = 112 << 10;
const RING_AT: u64 = 128 * KIB;
const RING_BYTES: usize = 128 << 10;
const UBERBLOCK_MAGIC: u64 = 0x00BA_B10C;
/// A pool that was ever used has more; what another file system left standing of one may have fewer.
const UBERBLOCKS_WANTED: usize = 4;
/// Pairs of a list that are looked at.
const PAIRS: usize = 256;

/// A member whose first or second label is whole: nothing else was made over it.
pub(super) fn read_intact(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    for at in [0, LABEL_BYTES] {
        let head = peek(volume, at.saturating_add(LIST_AT), 4)?;
        if head.is_some_and(|head| is_list(&head))
            && uberblocks(volume, at)? > 0
            && let Some(found) = label(volume, at)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A member of which any label is left.
pub(super) fn read_any_label(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let end = volume.size_bytes() & !LABEL_BYTES.saturating_sub(1);
    let at_end = [end.checked_sub(LABEL_BYTES.saturating_mul(2)), end.checked_sub(LABEL_BYTES)];
    let mut count = 0usize;
    for at in [Some(0), Some(LABEL_BYTES)].into_iter().chain(at_end).flatten() {
        count = count.saturating_add(uberblocks(volume, at)?);
        if count >= UBERBLOCKS_WANTED {
            return Ok(Some(label(volume, at)?.unwrap_or_else(found)));
        }
    }
    Ok(None)
}

fn found() -> Found {
    Found::file_system(FileSystemKind::Zfs, 512)
}

/// The number of uberblocks in the ring of the label at `at`.
fn uberblocks(volume: &dyn ReadAt, at: u64) -> Result<usize, Error> {
    let Some(ring) = peek(volume, at.saturating_add(RING_AT), RING_BYTES)? else { return Ok(0) };
    Ok(ring
        .chunks(1 << 10)
        .filter_map(|block| read_array::<8>(block, 0).ok())
        .filter(|magic| {
            u64::from_le_bytes(*magic) == UBERBLOCK_MAGIC || u64::from_be_bytes(*magic) == UBERBLOCK_MAGIC
        })
        .count())
}

/// XDR, either byte order of the writer.
fn is_list(head: &[u8]) -> bool {
    matches!(head, [1, 0 | 1, 0, 0, ..])
}

/// What the name-value list of a label tells; `None` where it is none.
fn label(volume: &dyn ReadAt, at: u64) -> Result<Option<Found>, Error> {
    let Some(list) = peek(volume, at.saturating_add(LIST_AT), LIST_BYTES)? else { return Ok(None) };
    let pairs = list.get(4..).filter(|_| is_list(&list)).map(pairs).unwrap_or_default();
    let number = |name: &str| {
        let (_, value) = pairs.iter().find(|(found, _)| *found == name.as_bytes())?;
        read_u64be(value, 0).ok()
    };
    let Some(guid) = number("pool_guid") else { return Ok(None) };
    let text = |pairs: &[Pair<'_>], name: &str| {
        let (_, value) = pairs.iter().find(|(found, _)| *found == name.as_bytes())?;
        string(value).map(|text| String::from_utf8_lossy(text).into_owned())
    };
    let tree = pairs.iter().find(|(name, _)| *name == b"vdev_tree").map(|(_, value)| self::pairs(value));
    let device = tree.and_then(|tree| text(&tree, "type"));
    let is_alone = number("vdev_children").is_none_or(|children| children == 1)
        && device.is_none_or(|device| device == "disk" || device == "file");
    let found = if is_alone { found() } else { found().one_of_several("ZFS pool") };
    Ok(Some(found.named(Some(guid.to_string()), text(&pairs, "name"))))
}

/// A name and the bytes of its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The pairs of a list, which begins with its version and its flags:
/// `encoded size, decoded size, name length, name, type, count, value`, everything in whole words.
fn pairs(list: &[u8]) -> Vec<Pair<'_>> {
    let mut pairs = Vec::new();
    let mut at = 8usize;
    while pairs.len() < PAIRS {
        let pair = read_u32be(list, at).ok().map(|size| usize_from(size.into())).filter(|size| *size >= 12);
        let Some(pair) = pair.and_then(|size| read_slice(list, at, size).ok()) else { break };
        let Some(name) = pair.get(8..).and_then(string) else { break };
        let value_at = name.len().next_multiple_of(4).saturating_add(12 + 8);
        pairs.push((name, pair.get(value_at..).unwrap_or_default()));
        at = at.saturating_add(pair.len());
    }
    pairs
}

/// The bytes of an XDR string.
fn string(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize_from(u64::from(read_u32be(bytes, 0).ok()?).min(u64_from(bytes.len())));
    read_slice(bytes, 4, length).ok()
}
