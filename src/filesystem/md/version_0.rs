//! Version 0.90: 1024 words in the byte order of the machine that wrote them.

use super::superblock::{MAGIC, RESERVED_BYTES, Role, STRUCTURE, Superblock};
use crate::filesystem::Error;
use crate::filesystem::signature::identity::uuid_text;
use crate::units::{ByteRange, KIB, OutOfBounds, read_u32be, read_u32le, usize_from};

type Read = fn(&[u8], usize) -> Result<u32, OutOfBounds>;

/// Word of the checksum.
const CHECKSUM: u32 = 38;
/// Words of the list of members, and of each of its entries.
const MEMBERS: u32 = 128;
const MEMBER_WORDS: u32 = 32;
const MOST_MEMBERS: u32 = 27;
/// Word of the member's own entry.
const THIS_MEMBER: u32 = 992;
/// Bits of `state` of a member.
const FAULTY: u32 = 1;
const IN_SYNC: u32 = 1 << 2;

/// `None` where there is no superblock. One that speaks of more data than lie before it is that of another volume.
pub(super) fn parse(bytes: &[u8], at: u64) -> Option<Result<Superblock, Error>> {
    let (read, is_little): (Read, bool) = match read_u32le(bytes, 0) {
        Ok(MAGIC) => (read_u32le, true),
        _ => (read_u32be, false),
    };
    let word = |number: u32| read(bytes, usize_from(u64::from(number).saturating_mul(4))).ok();
    // Half a word more: the high and the low one stand in the order of the machine.
    let pair = |number: u32| {
        let (first, second) = (u64::from(word(number)?), u64::from(word(number.saturating_add(1))?));
        let (high, low) = if is_little { (second, first) } else { (first, second) };
        Some(high << 32 | low)
    };
    let size_bytes = u64::from(word(8)?).saturating_mul(KIB);
    if word(0)? != MAGIC || word(1)? != 0 || size_bytes > at {
        return None;
    }
    let sum = (0..1024)
        .filter(|number| *number != CHECKSUM)
        .filter_map(word)
        .fold(0u64, |sum, word| sum.wrapping_add(word.into()));
    if folded(sum) != folded(word(CHECKSUM)?.into()) {
        let fact = "the checksum of version 0.90 is wrong".to_owned();
        return Some(Err(Error::corrupt(STRUCTURE, at, fact)));
    }
    let words = [word(5)?, word(13)?, word(14)?, word(15)?].map(u32::to_be_bytes);
    let mut uuid = [0; 16];
    for (target, source) in uuid.iter_mut().zip(words.as_flattened()) {
        *target = *source;
    }
    let number = word(THIS_MEMBER)?;
    let entry = match number < MOST_MEMBERS {
        true => MEMBERS.saturating_add(number.saturating_mul(MEMBER_WORDS)),
        false => THIS_MEMBER,
    };
    let (position, state) = (word(entry.saturating_add(3))?, word(entry.saturating_add(4))?);
    let level = word(7)?.cast_signed();
    // Members of a RAID 0 and of a linear array may differ in size, and use all of it.
    let data_bytes = if matches!(level, -1 | 0) { at } else { size_bytes };
    let role = match state {
        state if state & FAULTY != 0 => Role::Faulty,
        state if state & IN_SYNC != 0 => Role::Active,
        _ => Role::Spare,
    };
    Some(Ok(Superblock {
        version: "0.90",
        at,
        array_uuid: uuid_text(uuid),
        name: None,
        level,
        disks: word(10)?,
        active: word(34)?,
        number,
        role,
        position,
        chunk_bytes: word(65)?.into(),
        // Linux does not take it from a RAID 0 of this version.
        layout: Some(word(64)?).filter(|_| level != 0),
        events: pair(39)?,
        data: ByteRange::new(0, data_bytes),
        // Bit 0 of `state`: in sync, and not being written to.
        in_sync: word(33)? & 1 == 1,
        // The bitmap, where there is one, stands behind it.
        places: ByteRange::at(at, RESERVED_BYTES).into_iter().collect(),
        bitmap_at: None,
        // From version 0.91 on it is being reshaped.
        obstacle: (word(2)? > 90).then_some("is being reshaped"),
    }))
}

/// Machines folded the sum into 16 bits or not: `md_csum_fold`.
fn folded(sum: u64) -> u64 {
    let sum = (sum & 0xFFFF_FFFF).wrapping_add(sum >> 32) & 0xFFFF_FFFF;
    let sum = (sum & 0xFFFF).wrapping_add(sum >> 16);
    (sum & 0xFFFF).wrapping_add(sum >> 16)
}
