//! The bitmap of an array of version 1: which stretches were being written to.
//!
//! ```text
//! 0 "bitm"   4 version   8 UUID   24 events   40 size of the data in sectors   52 bytes that one bit stands for   256 bits
//! ```
//!
//! Version 3 has the bits in the order of the machine, version 4 little-endian. Version 5 is a cluster's, with a copy for every node;
//! version 6, without locks, has bytes for bits, and its head is larger.
//!
//! Sources: Linux `drivers/md/md-bitmap.h` and `md-llbitmap.c`.

use super::HISTORY;
use super::superblock::SECTOR_BYTES;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, KIB, read_u32le, read_u64le, usize_from};

const STRUCTURE: &str = "MD bitmap";
const HEAD_BYTES: u64 = 256;
const VERSIONS: [u32; 2] = [3, 4];

/// The bytes of the bitmap that begins at `at`.
pub(super) fn range(volume: &dyn ReadAt, at: u64) -> Result<ByteRange, Error> {
    let head = read_structure(volume, STRUCTURE, at, usize_from(HEAD_BYTES))?;
    let short = Error::short(STRUCTURE, at);
    let version = read_u32le(&head, 4).map_err(&short)?;
    if head.starts_with(b"bitm") && !VERSIONS.contains(&version) {
        return Err(Error::unsupported(format!(
            "the bitmap of its MD array has version {version}, which Remint does not know; assemble the array (mdadm \
             --assemble --scan) and capture it as a disk (--disk /dev/md0), or capture every member with --when-dirty raw; {HISTORY}"
        )));
    }
    let data_bytes = read_u64le(&head, 40).map_err(&short)?.checked_mul(SECTOR_BYTES);
    let bit_bytes = u64::from(read_u32le(&head, 52).map_err(&short)?);
    let bits =
        data_bytes.filter(|_| bit_bytes.is_power_of_two()).map(|bytes| bytes.div_ceil(bit_bytes.max(1)));
    let range = head.starts_with(b"bitm").then_some(bits).flatten().and_then(|bits| {
        let length = bits.div_ceil(8).checked_add(HEAD_BYTES)?.checked_next_multiple_of(4 * KIB)?;
        let range = ByteRange::at(at, length)?;
        Some(range.intersection(ByteRange::new(0, volume.size_bytes())))
    });
    range.ok_or_else(|| {
        let fact = "it is none; with mdadm --grow --bitmap=none and --bitmap=internal the running array gets a new one";
        Error::corrupt(STRUCTURE, at, fact)
    })
}
