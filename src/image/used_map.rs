//! The used map of a volume as a file: which byte ranges are in use, so that free space need not be written.
//!
//! ```text
//!   0  8 bytes  "RMNTUSED"
//!   8  u32      format version: 1
//!  12  u32      0
//!  16  u64      size of the volume in bytes
//!  24  u64      number of ranges
//!  32           per range two numbers in LEB128: bytes since the end of the range before (or since 0),
//!               length in bytes
//! ```
//!
//! Ranges ascend, are not empty and do not touch; numbers have no padding; nothing follows the last one. So
//! one map has exactly one form.

use crate::units::{
    ByteRange, OutOfBounds, RangeSet, read_array, read_u32le, read_u64le, u64_from, usize_from,
};

const MAGIC: [u8; 8] = *b"RMNTUSED";
const VERSION: u32 = 1;
const RANGES_AT: usize = 32;

/// Which bytes of a volume are in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedMap {
    /// Size of the volume.
    pub volume_bytes: u64,
    /// The ranges in use; none reaches behind the volume.
    pub used: RangeSet,
}

/// Why bytes are not a used map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsedMapError {
    /// The bytes contradict themselves or the format.
    #[error("corrupt used map: {fact} (at byte {at})")]
    Corrupt {
        /// Position in the file.
        at: u64,
        /// The contradiction.
        fact: String,
    },
    /// A newer format.
    #[error("a used map of format {found}; this version of Remint reads format {VERSION}: use a newer one")]
    Unsupported {
        /// The version found.
        found: u32,
    },
}

impl From<OutOfBounds> for UsedMapError {
    fn from(error: OutOfBounds) -> Self {
        Self::Corrupt { at: error.at, fact: error.to_string() }
    }
}

fn corrupt(at: usize, fact: impl Into<String>) -> UsedMapError {
    UsedMapError::Corrupt { at: u64_from(at), fact: fact.into() }
}

impl UsedMap {
    /// The map of a volume; what lies behind its end is left out.
    #[must_use]
    pub fn new(volume_bytes: u64, used: &RangeSet) -> Self {
        Self { volume_bytes, used: used.within(ByteRange::new(0, volume_bytes)).collect() }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let ranges = self.used.ranges();
        let mut out = Vec::with_capacity(ranges.len().saturating_mul(8).saturating_add(RANGES_AT));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.volume_bytes.to_le_bytes());
        out.extend_from_slice(&u64_from(ranges.len()).to_le_bytes());
        let mut position = 0;
        for range in ranges {
            put_number(range.start().saturating_sub(position), &mut out);
            put_number(range.length(), &mut out);
            position = range.end();
        }
        out
    }

    /// Reads the bytes of a file.
    pub fn decode(bytes: &[u8]) -> Result<Self, UsedMapError> {
        if read_array(bytes, 0)? != MAGIC {
            return Err(corrupt(0, "not a used map"));
        }
        let version = read_u32le(bytes, 8)?;
        if version != VERSION {
            return Err(UsedMapError::Unsupported { found: version });
        }
        if read_u32le(bytes, 12)? != 0 {
            return Err(corrupt(12, "a reserved field is not zero"));
        }
        let volume_bytes = read_u64le(bytes, 16)?;
        let count = read_u64le(bytes, 24)?;
        if count > u64_from(bytes.len().saturating_sub(RANGES_AT)) / 2 {
            return Err(corrupt(24, format!("{count} ranges do not fit into the file")));
        }
        let mut at = RANGES_AT;
        let mut ranges = Vec::with_capacity(usize_from(count));
        let mut position = 0u64;
        for number in 0..count {
            let here = at;
            let gap = take_number(bytes, &mut at)?;
            let length = take_number(bytes, &mut at)?;
            let range = position.checked_add(gap).and_then(|start| ByteRange::at(start, length));
            let sound = length > 0 && (gap > 0 || number == 0);
            let range = range
                .filter(|range| sound && range.end() <= volume_bytes)
                .ok_or_else(|| corrupt(here, format!("range {number}: {gap} bytes on, {length} long")))?;
            position = range.end();
            ranges.push(range);
        }
        if at != bytes.len() {
            return Err(corrupt(at, "bytes behind the last range"));
        }
        Ok(Self { volume_bytes, used: ranges.into_iter().collect() })
    }
}

/// Appends a number in LEB128: seven bits a byte, the lowest first, the top bit where more follow.
fn put_number(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7F);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take_number(bytes: &[u8], at: &mut usize) -> Result<u64, UsedMapError> {
    let start = *at;
    let mut value = 0u64;
    for shift in (0..64u32).step_by(7) {
        let byte = bytes.get(*at).copied().ok_or_else(|| corrupt(start, "the file ends inside a number"))?;
        *at = at.saturating_add(1);
        let bits = u64::from(byte & 0x7F);
        let shifted = bits << shift;
        if shifted >> shift != bits || (byte == 0 && shift > 0) {
            return Err(corrupt(start, "a number that is padded or beyond 64 bits"));
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(corrupt(start, "a number beyond 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_map_comes_back_as_it_went(volume in 1..u64::MAX / 4, parts in proptest::collection::vec((any::<u64>(), 1..u64::MAX / 8), 0..20)) {
            let used: RangeSet =
                parts.iter().map(|(start, length)| ByteRange::new(start % volume, start % volume + length)).collect();
            let map = UsedMap::new(volume, &used);
            let bytes = map.encode();
            prop_assert_eq!(UsedMap::decode(&bytes), Ok(map));
        }

        #[test]
        fn what_is_read_has_exactly_one_form(bytes in proptest::collection::vec(any::<u8>(), 0..40), count in 0..6u64) {
            let mut file = UsedMap::new(u64::MAX, &RangeSet::new()).encode();
            file[24..32].copy_from_slice(&count.to_le_bytes());
            file.extend(bytes);
            if let Ok(map) = UsedMap::decode(&file) {
                prop_assert_eq!(map.encode(), file);
            }
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let good =
            UsedMap::new(1000, &[ByteRange::new(5, 300), ByteRange::new(400, 1000)].into_iter().collect());
        let bytes = good.encode();
        let with = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            UsedMap::decode(&bytes)
        };
        assert_eq!(UsedMap::decode(&bytes), Ok(good));
        assert!(matches!(with(8, 2), Err(UsedMapError::Unsupported { found: 2 })));
        assert!(with(12, 1).is_err());
        assert!(with(16, 0).is_err(), "a range behind the volume");
        assert!(with(24, 255).is_err(), "more ranges than bytes");
        assert!(with(24, 1).is_err(), "bytes behind the last range");
        assert!((0..bytes.len()).all(|length| UsedMap::decode(&bytes[..length]).is_err()));
    }
}
