//! Keys and values.

use super::cells::outside;
use super::{Error, Hive, PIECE_BYTES};
use crate::units::{read_array, read_u16le, read_u32le, u64_from, usize_from};
use std::ops::Range;

/// Bytes of a key in front of its name, and of a value.
const KEY_BYTES: usize = 76;
const VALUE_BYTES: usize = 20;
/// No cell is smaller.
const LEAST_CELL_BYTES: usize = 8;
/// Where the fields of a key stand.
pub(super) const SUBKEYS: usize = 20;
pub(super) const SUBKEY_LIST: usize = 28;
pub(super) const VALUES: usize = 36;
pub(super) const VALUE_LIST: usize = 40;
pub(super) const SECURITY: usize = 44;
/// Flags: a name has one byte for a character.
pub(super) const ASCII_KEY: u16 = 0x20;
pub(super) const ASCII_VALUE: u16 = 1;
/// Data of four bytes and less stands where else its offset stands.
pub(super) const RESIDENT: u32 = 1 << 31;
/// In place of an offset: there is none.
pub(super) const NOTHING: u32 = u32::MAX;

/// A key: the offset of its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub(super) u32);

/// A value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its name; empty for the one that has none.
    pub name: String,
    /// Its type, such as [`super::REG_SZ`].
    pub kind: u32,
    pub(super) cell: u32,
    /// Where its data stands in the file.
    pub(super) pieces: Vec<Range<usize>>,
}

impl Value {
    /// Bytes of its data.
    #[must_use]
    pub fn length(&self) -> usize {
        self.pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.len()))
    }
}

impl Hive {
    /// The key at a path; names differ by more than small letters and capitals.
    ///
    /// # Errors
    /// Where the hive contradicts itself.
    pub fn find(&self, from: Key, path: &[&str]) -> Result<Option<Key>, Error> {
        let mut here = from;
        for part in path {
            let keys = self.keys(here)?;
            match keys.into_iter().find(|(name, _)| same_name(name, part)) {
                Some((_, key)) => here = key,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// The keys in a key, with their names.
    ///
    /// # Errors
    /// Where the hive contradicts itself.
    pub fn keys(&self, key: Key) -> Result<Vec<(String, Key)>, Error> {
        let node = self.node(key)?;
        if self.number(&node, SUBKEYS)? == 0 {
            return Ok(Vec::new());
        }
        let (mut keys, mut room) = (Vec::new(), self.bytes.len());
        for offset in self.subkeys(self.number(&node, SUBKEY_LIST)?, true)? {
            let inner = Key(offset);
            // No two keys share a cell.
            room = room.checked_sub(self.node(inner)?.len()).ok_or_else(|| {
                Error::corrupt("list of subkeys", node.start, "it holds more than the hive")
            })?;
            keys.push((self.name(inner)?, inner));
        }
        Ok(keys)
    }

    /// The values of a key.
    ///
    /// # Errors
    /// Where the hive contradicts itself.
    pub fn values(&self, key: Key) -> Result<Vec<Value>, Error> {
        self.values_up_to(key, usize::MAX)
    }

    /// The values of a key that has few of them.
    ///
    /// # Errors
    /// Where the hive contradicts itself, or the key has more than `most`.
    pub fn values_up_to(&self, key: Key, most: usize) -> Result<Vec<Value>, Error> {
        let node = self.node(key)?;
        let count = usize_from(self.number(&node, VALUES)?.into());
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > most {
            let fact = format!("a key has {count} values, and {most} are the most that are looked at");
            return Err(Error::Unsupported(fact));
        }
        let list = self.cell(self.number(&node, VALUE_LIST)?)?;
        if list.len() / 4 < count {
            let fact = format!("{count} values in a cell of {} bytes", list.len());
            return Err(Error::corrupt("list of values", list.start, fact));
        }
        let at = list.start;
        let (mut values, mut room) = (Vec::new(), self.bytes.len());
        for offset in self.at(list).as_chunks::<4>().0.iter().take(count) {
            let value = self.value(u32::from_le_bytes(*offset))?;
            let pieces = value.pieces.len().saturating_mul(LEAST_CELL_BYTES);
            let taken = self.cell(value.cell)?.len().saturating_add(pieces);
            // No two values share a cell, and no two of their data.
            room = room
                .checked_sub(taken)
                .ok_or_else(|| Error::corrupt("list of values", at, "it holds more than the hive"))?;
            values.push(value);
        }
        Ok(values)
    }

    /// The value of a key with this name.
    ///
    /// # Errors
    /// Where the hive contradicts itself.
    pub fn value_named(&self, key: Key, name: &str) -> Result<Option<Value>, Error> {
        Ok(self.values(key)?.into_iter().find(|value| same_name(&value.name, name)))
    }

    /// The data of a value.
    #[must_use]
    pub fn data(&self, value: &Value) -> Vec<u8> {
        value.pieces.iter().flat_map(|piece| self.at(piece.clone())).copied().collect()
    }

    /// The bytes of a key's cell.
    pub(super) fn node(&self, key: Key) -> Result<Range<usize>, Error> {
        let cell = self.cell(key.0)?;
        if cell.len() < KEY_BYTES || !self.at(cell.clone()).starts_with(b"nk") {
            return Err(Error::corrupt("key", cell.start, "it is no key"));
        }
        Ok(cell)
    }

    pub(super) fn number(&self, cell: &Range<usize>, at: usize) -> Result<u32, Error> {
        read_u32le(self.at(cell.clone()), at).map_err(|error| outside("cell", cell.start, error))
    }

    pub(super) fn short(&self, cell: &Range<usize>, at: usize) -> Result<u16, Error> {
        read_u16le(self.at(cell.clone()), at).map_err(|error| outside("cell", cell.start, error))
    }

    /// The name of a key.
    ///
    /// # Errors
    /// Where the hive contradicts itself.
    pub fn name(&self, key: Key) -> Result<String, Error> {
        let node = self.node(key)?;
        let length = usize::from(self.short(&node, 72)?);
        let is_ascii = self.short(&node, 2)? & ASCII_KEY != 0;
        self.text("key", &node, KEY_BYTES, length, is_ascii)
    }

    fn text(
        &self,
        structure: &'static str,
        cell: &Range<usize>,
        at: usize,
        length: usize,
        is_ascii: bool,
    ) -> Result<String, Error> {
        let bytes = self.at(cell.clone()).get(at..at.saturating_add(length)).ok_or_else(|| {
            Error::corrupt(
                structure,
                cell.start,
                format!("a name of {length} bytes in a cell of {}", cell.len()),
            )
        })?;
        if is_ascii {
            return Ok(bytes.iter().map(|byte| char::from(*byte)).collect());
        }
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        Ok(String::from_utf16_lossy(&units))
    }

    /// The offsets of the keys in a list, of which the lists in a list are a part.
    fn subkeys(&self, list: u32, may_hold_lists: bool) -> Result<Vec<u32>, Error> {
        let cell = self.cell(list)?;
        let head: [u8; 4] =
            read_array(self.at(cell.clone()), 0).map_err(|error| outside("list", cell.start, error))?;
        let [first, second, low, high] = head;
        let step = match [first, second] {
            [b'l', b'f' | b'h'] => 8,
            [b'l', b'i'] => 4,
            [b'r', b'i'] if may_hold_lists => 4,
            kind => {
                let fact =
                    format!("it is no list of subkeys ({})", String::from_utf8_lossy(&kind).escape_debug());
                return Err(Error::corrupt("list of subkeys", cell.start, fact));
            }
        };
        let count = usize::from(u16::from_le_bytes([low, high]));
        let mut offsets = Vec::new();
        for index in 0..count {
            let offset = self.number(&cell, index.saturating_mul(step).saturating_add(4))?;
            if first == b'r' {
                offsets.extend(self.subkeys(offset, false)?);
            } else {
                offsets.push(offset);
            }
            // No two keys share a cell.
            if offsets.len() > self.bytes.len() / KEY_BYTES {
                return Err(Error::corrupt(
                    "list of subkeys",
                    cell.start,
                    "it holds more keys than the hive",
                ));
            }
        }
        Ok(offsets)
    }

    fn value(&self, offset: u32) -> Result<Value, Error> {
        let cell = self.cell(offset)?;
        if cell.len() < VALUE_BYTES || !self.at(cell.clone()).starts_with(b"vk") {
            return Err(Error::corrupt("value", cell.start, "it is no value"));
        }
        let length = usize::from(self.short(&cell, 2)?);
        let name =
            self.text("value", &cell, VALUE_BYTES, length, self.short(&cell, 16)? & ASCII_VALUE != 0)?;
        let (size, data) = (self.number(&cell, 4)?, self.number(&cell, 8)?);
        let length = usize_from(u64::from(size & !RESIDENT));
        let pieces = if size & RESIDENT != 0 {
            if length > 4 {
                return Err(Error::corrupt("value", cell.start, format!("{length} bytes in its own cell")));
            }
            let start = cell.start.saturating_add(8);
            one(start, length)
        } else {
            self.pieces(data, length, &cell)?
        };
        Ok(Value { name, kind: self.number(&cell, 12)?, cell: offset, pieces })
    }

    /// Where the data of a value stands that is not in its own cell.
    fn pieces(&self, data: u32, length: usize, value: &Range<usize>) -> Result<Vec<Range<usize>>, Error> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let cell = self.cell(data)?;
        if length <= cell.len() {
            return Ok(one(cell.start, length));
        }
        let contradiction = |fact: String| Error::corrupt("value", value.start, fact);
        if length > self.bytes.len() || !self.at(cell.clone()).starts_with(b"db") {
            return Err(contradiction(format!("{length} bytes of data in a cell of {}", cell.len())));
        }
        let count = usize::from(self.short(&cell, 2)?);
        let list = self.cell(self.number(&cell, 4)?)?;
        let (mut pieces, mut left) = (Vec::new(), length);
        for index in 0..count {
            let piece = self.cell(self.number(&list, index.saturating_mul(4))?)?;
            let taken = left.min(PIECE_BYTES).min(piece.len());
            pieces.push(piece.start..piece.start.saturating_add(taken));
            left = left.saturating_sub(taken);
            if left == 0 {
                return Ok(pieces);
            }
        }
        Err(contradiction(format!("{} bytes of data are in none of its {count} pieces", u64_from(left))))
    }
}

/// Data in one piece.
fn one(start: usize, length: usize) -> Vec<Range<usize>> {
    std::iter::once(start..start.saturating_add(length)).collect()
}

/// Windows does not tell small letters from capitals.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    capitals(one) == capitals(other)
}

pub(super) fn capitals(name: &str) -> Vec<u16> {
    let mut units = Vec::new();
    for character in name.chars() {
        let mut upper = character.to_uppercase();
        // What becomes two letters in capitals stays as it is.
        let one = if upper.len() == 1 { upper.next().unwrap_or(character) } else { character };
        units.extend(one.encode_utf16(&mut [0; 2]).iter());
    }
    units
}
