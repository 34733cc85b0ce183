//! One change of a volume: 16 bytes, so that libFuzzer moves, copies and removes changes without tearing the
//! others.
//!
//! ```text
//! 0     1        2          4           8
//! kind  length   place u16  offset u32  data, 8 bytes
//! ```

use crate::seed::Seed;
use crate::volume::Volume;

/// The most that is copied or filled at once.
const MAX_RUN: u64 = 4096;

/// Makes one change.
pub fn apply(volume: &mut Volume<'_>, seed: &Seed, change: &[u8; 16]) {
    let [kind, length, p0, p1, o0, o1, o2, o3, data @ ..] = *change;
    let place = u16::from_le_bytes([p0, p1]);
    let offset = u64::from(u32::from_le_bytes([o0, o1, o2, o3]));
    let at = position(seed, place, offset);
    let half = |from: usize| u16::from_le_bytes([data[from], data[from + 1]]);
    match kind % 8 {
        0 | 1 => volume.patch(at, data[..1 + usize::from(length % 8)].to_vec()),
        2 => add(volume, at, length, data),
        3 => volume.patch(at, vec![data[0]; usize::from(half(2)) % MAX_RUN as usize + 1]),
        4 => {
            let from = position(seed, half(0), u64::from(half(2)));
            let run = u64::from(half(4)) % MAX_RUN + 1;
            let bytes = volume.peek(from, run);
            volume.patch(at, bytes);
        }
        5 => {
            let far = offset | u64::from(place) << 32;
            let at = far % volume.size_bytes_now().max(1);
            volume.patch(at, data[..1 + usize::from(length % 8)].to_vec());
        }
        6 => volume.resize(new_size(seed.bytes.len() as u64, offset, data)),
        _ => volume.spoil(at, u64::from(half(0)) + 1),
    }
}

/// A byte that the reader looks at.
fn position(seed: &Seed, place: u16, offset: u64) -> u64 {
    let Some(count) = seed.places.len().checked_sub(1) else { return 0 };
    let place = &seed.places[usize::from(place) % (count + 1)];
    place.start + offset % (place.end - place.start)
}

/// Adds a small number to a field of 1 to 8 bytes in either byte order.
fn add(volume: &mut Volume<'_>, at: u64, length: u8, data: [u8; 8]) {
    let width = 1 << (length % 4);
    let mut bytes = volume.peek(at, width);
    let big_endian = length & 4 != 0;
    let step = i64::from(i16::from_le_bytes([data[0], data[1]]));
    let mut wide = [0; 8];
    if big_endian {
        bytes.reverse();
    }
    wide[..bytes.len()].copy_from_slice(&bytes);
    let sum = u64::from_le_bytes(wide).wrapping_add_signed(step).to_le_bytes();
    let length = bytes.len();
    bytes.copy_from_slice(&sum[..length]);
    if big_endian {
        bytes.reverse();
    }
    volume.patch(at, bytes);
}

/// A size a little or far away from that of the seed.
fn new_size(seed_bytes: u64, offset: u64, data: [u8; 8]) -> u64 {
    match data[0] % 4 {
        0 => seed_bytes.saturating_sub(offset % 65536),
        1 => offset % seed_bytes.max(1),
        2 => (1u64 << (9 + data[1] % 54)).saturating_add_signed(i64::from(data[2].cast_signed())),
        _ => seed_bytes.saturating_add(offset),
    }
}
