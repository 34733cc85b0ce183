//! Which copies of a RAID1 volume are whole, by what the kernel noted beside each.
//!
//! ```text
//! superblock, at the start of the volume of state
//!   0  "DmRd"                           32  sectors that were copied onto this copy; all ones: all of them
//!   4  bit 0: the fields from 60 on     40  sectors that are known to be equal
//!   8  number of copies                 48  RAID level
//!  12  which copy this is               60  bit 0: the volume is being reshaped
//!  16  how often it was written
//!  24  bits of copies that failed
//! ```
//!
//! Source: Linux `drivers/md/dm-raid.c`, `struct dm_raid_superblock`. Where copies are not equal yet, the kernel
//! copies from the first one that is whole and not written late, so that is the one to read.

use crate::blockio::{ReadAt, read_vec};
use crate::units::{read_u32le, read_u64le, usize_from};

const MAGIC: u32 = 0x6452_6D44;
const SUPERBLOCK_BYTES: usize = 512;

/// What is noted beside one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noted {
    events: u64,
    failed: u64,
    is_whole: bool,
}

/// The copies that are whole, given the volume of state of each: their positions.
pub(super) fn whole(states: &[Option<&dyn ReadAt>]) -> Vec<usize> {
    let Ok(count) = u32::try_from(states.len()) else { return Vec::new() };
    let noted: Vec<Option<Noted>> =
        (0..count).zip(states).map(|(position, state)| read((*state)?, position, count)).collect();
    let Some(newest) = noted.iter().flatten().map(|noted| noted.events).max() else { return Vec::new() };
    let failed = noted.iter().flatten().filter(|noted| noted.events == newest);
    let failed = failed.fold(0, |bits, noted| bits | noted.failed);
    let is_good = |position: u32, noted: &Option<Noted>| {
        let bit = 1u64.checked_shl(position).filter(|bit| failed & bit == 0);
        bit.is_some() && noted.is_some_and(|noted| noted.is_whole && noted.events == newest)
    };
    let good = (0u32..).zip(&noted).filter(|(position, noted)| is_good(*position, noted));
    good.map(|(position, _)| usize_from(position.into())).collect()
}

fn read(state: &dyn ReadAt, position: u32, count: u32) -> Option<Noted> {
    let bytes = read_vec(state, 0, SUPERBLOCK_BYTES).ok()?;
    let u32_at = |at| read_u32le(&bytes, at).ok();
    let u64_at = |at| read_u64le(&bytes, at).ok();
    let reshaped = u32_at(4)? & 1 != 0 && u32_at(60)? & 1 != 0;
    let sound = u32_at(0)? == MAGIC
        && u32_at(8)? == count
        && u32_at(12)? == position
        && u32_at(48)? == 1
        && !reshaped;
    let is_whole = u64_at(32)? == u64::MAX;
    Some(Noted { events: u64_at(16)?, failed: u64_at(24)?, is_whole }).filter(|_| sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(position: u32, events: u64, failed: u64, recovered: u64) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"DmRd\x01");
        put(8, &2u32.to_le_bytes());
        put(12, &position.to_le_bytes());
        put(16, &events.to_le_bytes());
        put(24, &failed.to_le_bytes());
        put(32, &recovered.to_le_bytes());
        put(48, &1u32.to_le_bytes());
        bytes
    }

    fn choose(one: &[u8], other: &[u8]) -> Vec<usize> {
        whole(&[Some(&one), Some(&other)])
    }

    #[test]
    fn only_a_copy_that_is_whole_by_the_newest_note_is_read() {
        const ALL: u64 = u64::MAX;
        assert_eq!(choose(&state(0, 5, 0, ALL), &state(1, 5, 0, ALL)), [0, 1]);
        assert_eq!(choose(&state(0, 5, 0, 4096), &state(1, 5, 0, ALL)), [1], "the first is made anew");
        assert_eq!(choose(&state(0, 4, 0, ALL), &state(1, 5, 1, ALL)), [1], "the first failed");
        assert!(choose(&state(0, 5, 3, ALL), &state(1, 5, 0, ALL)).is_empty(), "both failed");
        assert!(choose(&state(0, 5, 0, 0), &state(1, 5, 0, 0)).is_empty());
        assert_eq!(choose(&[0; 4096], &state(1, 5, 0, ALL)), [1], "nothing is noted beside the first");
        assert!(choose(&state(1, 5, 0, ALL), &state(0, 5, 0, ALL)).is_empty(), "they were swapped");
        let mut reshaped = state(0, 5, 0, ALL);
        reshaped[60] = 1;
        assert!(choose(&reshaped, &[]).is_empty());
    }
}
