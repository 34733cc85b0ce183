//! The label of a physical volume, and the metadata areas that it leads to.
//!
//! ```text
//! label, 512 bytes in one of the first four sectors    metadata area
//!   0  "LABELONE"                                        0  checksum of bytes 4 to 511
//!   8  number of its sector                              4  magic
//!  16  checksum of what follows                         20  version
//!  20  offset of the header below                       24  start of the area on the volume
//!  24  "LVM2 001"                                       32  its size
//! header                                                40  places of texts: offset, size, checksum, flags;
//!   0  UUID, 32 characters                                  the first is the one that counts
//!  32  size of the device                              512  texts, each behind the last, going around
//!  40  data areas: offset, size; ended by a zero
//!      metadata areas: the same
//! ```
//!
//! Source: LVM2 `lib/format_text/layout.h`, `lib/label/label.h`, `lib/misc/crc.c`.

use crate::blockio::{ReadAt, read_vec};
use crate::units::checksum::crc32;
use crate::units::{ByteRange, read_slice, read_u32le, read_u64le, u64_from, usize_from};

pub(super) const SECTOR: usize = 512;
pub(super) const CRC_SEED: u32 = 0xF597_A6CF;
pub(super) const MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// A text behind the head of its area is larger than this on no machine.
pub(super) const MOST_TEXT_BYTES: u64 = 16 << 20;
/// Flag of a text that is not to be read.
const IGNORED: u32 = 1;

/// A physical volume with the texts that describe its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// 32 characters.
    pub uuid: String,
    /// The metadata of the group, once for each form that was found.
    pub texts: Vec<String>,
    /// Where metadata stand on the volume, also areas that are not in use.
    pub areas: Vec<ByteRange>,
    /// Size of the volume.
    pub size_bytes: u64,
    /// What is wrong with metadata areas that were not read.
    pub findings: Vec<String>,
}

/// Reads the label and the texts. `None` where there is no label.
///
/// # Errors
/// A clause where it is doubtful: several labels, a header that leads nowhere.
pub fn read(volume: &dyn ReadAt) -> Option<Result<Label, String>> {
    let labels: Vec<Vec<u8>> = (0..4).filter_map(|sector| label(volume, sector)).collect();
    match labels.as_slice() {
        [] => None,
        [label] => {
            let found = read_header(volume, label);
            Some(found.ok_or_else(|| "the header of its LVM label contradicts itself".to_owned()))
        }
        _ => {
            Some(Err(format!("it has {} LVM labels, and no byte says which is the valid one", labels.len())))
        }
    }
}

fn read_header(volume: &dyn ReadAt, label: &[u8]) -> Option<Label> {
    let header = usize_from(read_u32le(label, 20).ok()?.into());
    let uuid = std::str::from_utf8(read_slice(label, header, 32).ok()?).ok()?;
    let mut at = header.checked_add(40)?;
    let _data = areas(label, &mut at)?;
    let metadata = areas(label, &mut at)?;
    let mut found = Label {
        uuid: uuid.to_owned(),
        texts: Vec::new(),
        areas: Vec::new(),
        size_bytes: volume.size_bytes(),
        findings: Vec::new(),
    };
    for (start, size) in metadata {
        found.areas.push(ByteRange::at(start, size)?);
        match text(volume, start, size) {
            Some(Area::Text(text)) if found.texts.contains(&text) => {}
            Some(Area::Text(text)) => found.texts.push(text),
            Some(Area::Ignored) => {}
            None => found.findings.push(format!("the LVM metadata at byte {start} are damaged")),
        }
    }
    Some(found)
}

fn label(volume: &dyn ReadAt, sector: u64) -> Option<Vec<u8>> {
    let bytes = read_vec(volume, sector.checked_mul(u64_from(SECTOR))?, SECTOR).ok()?;
    let sound = bytes.starts_with(b"LABELONE")
        && read_u64le(&bytes, 8) == Ok(sector)
        && read_slice(&bytes, 24, 8) == Ok(b"LVM2 001")
        && read_u32le(&bytes, 16) == Ok(crc32(CRC_SEED, bytes.get(20..)?));
    sound.then_some(bytes)
}

/// A list of offsets and sizes that ends with a zero.
fn areas(label: &[u8], at: &mut usize) -> Option<Vec<(u64, u64)>> {
    let mut areas = Vec::new();
    loop {
        let (offset, size) = (read_u64le(label, *at).ok()?, read_u64le(label, at.checked_add(8)?).ok()?);
        *at = at.checked_add(16)?;
        if offset == 0 {
            return Some(areas);
        }
        areas.push((offset, size));
    }
}

enum Area {
    Text(String),
    /// There is no text in it, by intention or because the volume is in no group.
    Ignored,
}

/// The text of one metadata area.
fn text(volume: &dyn ReadAt, start: u64, size: u64) -> Option<Area> {
    let head = read_vec(volume, start, SECTOR).ok()?;
    let sound = read_u32le(&head, 0) == Ok(crc32(CRC_SEED, head.get(4..)?))
        && read_slice(&head, 4, MAGIC.len()) == Ok(MAGIC)
        && read_u32le(&head, 20) == Ok(1)
        && read_u64le(&head, 24) == Ok(start)
        && read_u64le(&head, 32) == Ok(size);
    if !sound {
        return None;
    }
    let (offset, length) = (read_u64le(&head, 40).ok()?, read_u64le(&head, 48).ok()?);
    let (checksum, flags) = (read_u32le(&head, 56).ok()?, read_u32le(&head, 60).ok()?);
    if flags & IGNORED != 0 || (offset == 0 && length == 0) {
        return Some(Area::Ignored);
    }
    let first = u64_from(SECTOR);
    if length == 0
        || length > MOST_TEXT_BYTES
        || offset < first
        || offset >= size
        || length > size.checked_sub(first)?
    {
        return None;
    }
    // A text that reaches the end of its area goes on behind the head.
    let before = length.min(size.checked_sub(offset)?);
    let mut bytes = read_vec(volume, start.checked_add(offset)?, usize_from(before)).ok()?;
    let rest = length.checked_sub(before)?;
    bytes.extend(read_vec(volume, start.checked_add(first)?, usize_from(rest)).ok()?);
    if crc32(CRC_SEED, &bytes) != checksum {
        return None;
    }
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    String::from_utf8(bytes).ok().map(Area::Text)
}
