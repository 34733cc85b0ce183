//! Changing values, and adding values and keys.

use super::keys::{
    ASCII_KEY, ASCII_VALUE, Key, NOTHING, RESIDENT, SECURITY, SUBKEY_LIST, SUBKEYS, VALUE_LIST, VALUES,
    Value, capitals,
};
use super::{Error, Hive, PIECE_BYTES};
use crate::units::usize_from;

/// A list that is written here has no more subkeys. Of more of them Windows makes several lists, and a list of these: 507 fit into the
/// one cell of a bin of 4096 bytes.
const MOST_IN_A_LIST: usize = 500;
/// A list of lists that is written here has no more.
const MOST_LISTS: usize = 500;
/// A key that has so many gets no more.
const MOST_SUBKEYS: usize = MOST_IN_A_LIST * MOST_LISTS;
/// Where a key notes how many bytes the largest name of its keys and of its values, and the largest data, have.
const LARGEST_SUBKEY_NAME: usize = 52;
const LARGEST_VALUE_NAME: usize = 60;
const LARGEST_DATA: usize = 64;

impl Hive {
    /// Writes other bytes where the data of a value stands.
    ///
    /// # Errors
    /// Where there are more or fewer of them.
    pub fn overwrite(&mut self, value: &Value, data: &[u8]) -> Result<(), Error> {
        if data.len() != value.length() {
            let fact = format!("{} has {} bytes of data, not {}", value.name, value.length(), data.len());
            return Err(Error::Unsupported(fact));
        }
        let mut rest = data;
        for piece in &value.pieces {
            let (part, behind) = rest.split_at_checked(piece.len()).unwrap_or((rest, &[]));
            self.put(piece.start, part);
            rest = behind;
        }
        self.changed = true;
        Ok(())
    }

    /// Sets a value of a key, which gets one where it has none of this name.
    ///
    /// # Errors
    /// Where the hive contradicts itself, the data has more than 16344 bytes, or the hive is full.
    pub fn set(&mut self, key: Key, name: &str, kind: u32, data: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if data.len() > PIECE_BYTES {
            return Err(Error::Unsupported(format!("{name}: {length} bytes of data are too many")));
        }
        let value = match self.value_named(key, name)? {
            Some(value) => value,
            None => self.add_value(key, name)?,
        };
        let cell = self.cell(value.cell)?;
        let (size, offset) = (self.number(&cell, 4)?, self.number(&cell, 8)?);
        let stands_alone = size & RESIDENT == 0 && size != 0;
        let room = if stands_alone && value.pieces.len() == 1 { self.cell(offset)?.len() } else { 0 };
        let place = cell.start;
        if data.len() <= 4 {
            let mut own = [0; 4];
            own.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
            if room > 0 {
                self.free(offset)?;
            }
            self.put(place.saturating_add(4), &(length | RESIDENT).to_le_bytes());
            self.put(place.saturating_add(8), &own);
        } else {
            let offset = if room >= data.len() {
                offset
            } else {
                let new = self.allocate(data.len())?;
                if room > 0 {
                    self.free(offset)?;
                }
                new
            };
            let content = self.cell(offset)?;
            self.put(content.start, data);
            self.put(place.saturating_add(4), &length.to_le_bytes());
            self.put(place.saturating_add(8), &offset.to_le_bytes());
        }
        self.put(place.saturating_add(12), &kind.to_le_bytes());
        self.note_largest(key, LARGEST_DATA, length)?;
        self.changed = true;
        Ok(())
    }

    /// The key of this name in a key, which gets one where it has none.
    ///
    /// # Errors
    /// Where the hive contradicts itself or is full, or the key has more than 250000 keys.
    pub fn make_key(&mut self, parent: Key, name: &str) -> Result<Key, Error> {
        let keys = self.keys(parent)?;
        let wanted = capitals(name);
        let position = match keys.binary_search_by(|(name, _)| capitals(name).cmp(&wanted)) {
            Ok(found) => return keys.get(found).map(|(_, key)| *key).ok_or_else(|| lost(parent)),
            Err(position) => position,
        };
        if keys.len() >= MOST_SUBKEYS {
            let fact = format!("{} keys are too many to add one", keys.len());
            return Err(Error::Unsupported(fact));
        }
        let node = self.node(parent)?;
        let (is_ascii, bytes) = encoded_key(name)?;
        let new = self.allocate(76usize.saturating_add(bytes.len()))?;
        let cell = self.cell(new)?;
        let security = self.number(&node, SECURITY)?;
        let time = self.at(node.start.saturating_add(4)..node.start.saturating_add(12)).to_vec();
        let fields: [(usize, &[u8]); 12] = [
            (0, b"nk"),
            (2, &(if is_ascii { ASCII_KEY } else { 0 }).to_le_bytes()),
            (4, &time),
            (16, &parent.0.to_le_bytes()),
            (SUBKEY_LIST, &NOTHING.to_le_bytes()),
            (32, &NOTHING.to_le_bytes()),
            (VALUE_LIST, &NOTHING.to_le_bytes()),
            (SECURITY, &security.to_le_bytes()),
            (48, &NOTHING.to_le_bytes()),
            (72, &u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes()),
            (76, &bytes),
            (SUBKEYS, &[0; 4]),
        ];
        fields.into_iter().for_each(|(at, bytes)| self.put(cell.start.saturating_add(at), bytes));
        self.share_security(security)?;
        let mut offsets: Vec<(Vec<u16>, u32)> =
            keys.iter().map(|(name, key)| (capitals(name), key.0)).collect();
        offsets.insert(position.min(offsets.len()), (wanted, new));
        self.write_subkeys(parent, &offsets)?;
        let units = u32::try_from(name.encode_utf16().count().saturating_mul(2)).unwrap_or(u32::MAX);
        self.note_largest(parent, LARGEST_SUBKEY_NAME, units)?;
        Ok(Key(new))
    }

    /// Writes the list of subkeys of a key anew. Their order is that of their names, in a list of lists too.
    fn write_subkeys(&mut self, parent: Key, offsets: &[(Vec<u16>, u32)]) -> Result<(), Error> {
        let mut lists = Vec::new();
        for part in offsets.chunks(MOST_IN_A_LIST) {
            lists.push(self.write_list(part)?);
        }
        let list = match lists.as_slice() {
            [one] => *one,
            several => self.write_lists(several)?,
        };
        let node = self.node(parent)?;
        let old = self.number(&node, SUBKEY_LIST)?;
        if self.number(&node, SUBKEYS)? > 0 {
            self.free_list(old)?;
        }
        let count = u32::try_from(offsets.len()).unwrap_or(u32::MAX);
        self.put(node.start.saturating_add(SUBKEYS), &count.to_le_bytes());
        self.put(node.start.saturating_add(SUBKEY_LIST), &list.to_le_bytes());
        Ok(())
    }

    /// A list of lists.
    fn write_lists(&mut self, lists: &[u32]) -> Result<u32, Error> {
        let list = self.allocate(lists.len().saturating_mul(4).saturating_add(4))?;
        let content = self.cell(list)?;
        let count = u16::try_from(lists.len()).unwrap_or(u16::MAX);
        self.put(content.start, b"ri");
        self.put(content.start.saturating_add(2), &count.to_le_bytes());
        let offsets: Vec<u8> = lists.iter().flat_map(|list| list.to_le_bytes()).collect();
        self.put(content.start.saturating_add(4), &offsets);
        Ok(list)
    }

    /// A list of subkeys, with the hash that newer hives have for each name.
    fn write_list(&mut self, offsets: &[(Vec<u16>, u32)]) -> Result<u32, Error> {
        let list = self.allocate(offsets.len().saturating_mul(8).saturating_add(4))?;
        let content = self.cell(list)?;
        let count = u16::try_from(offsets.len()).unwrap_or(u16::MAX);
        self.put(content.start, b"lh");
        self.put(content.start.saturating_add(2), &count.to_le_bytes());
        for (index, (name, offset)) in offsets.iter().enumerate() {
            let at = content.start.saturating_add(4).saturating_add(index.saturating_mul(8));
            self.put(at, &offset.to_le_bytes());
            self.put(at.saturating_add(4), &hash(name).to_le_bytes());
        }
        Ok(list)
    }

    /// Gives a list of subkeys back, with the lists that are in it.
    fn free_list(&mut self, list: u32) -> Result<(), Error> {
        let cell = self.cell(list)?;
        if self.at(cell.clone()).starts_with(b"ri") {
            for index in 0..usize::from(self.short(&cell, 2)?) {
                let inner = self.number(&cell, index.saturating_mul(4).saturating_add(4))?;
                self.free(inner)?;
            }
        }
        self.free(list)
    }

    /// Counts one more key that has the rights of its parent.
    fn share_security(&mut self, security: u32) -> Result<(), Error> {
        let cell = self.cell(security)?;
        if !self.at(cell.clone()).starts_with(b"sk") {
            return Err(Error::corrupt("security descriptor", cell.start, "it is none"));
        }
        let count = self.number(&cell, 12)?.saturating_add(1);
        self.put(cell.start.saturating_add(12), &count.to_le_bytes());
        Ok(())
    }

    /// Adds a value without data behind those that a key has.
    fn add_value(&mut self, key: Key, name: &str) -> Result<Value, Error> {
        let (is_ascii, bytes) = encoded(name)?;
        let new = self.allocate(20usize.saturating_add(bytes.len()))?;
        let cell = self.cell(new)?;
        self.put(cell.start, b"vk");
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.put(cell.start.saturating_add(2), &length.to_le_bytes());
        self.put(cell.start.saturating_add(4), &RESIDENT.to_le_bytes());
        self.put(cell.start.saturating_add(16), &(if is_ascii { ASCII_VALUE } else { 0 }).to_le_bytes());
        self.put(cell.start.saturating_add(20), &bytes);
        let node = self.node(key)?;
        let count = self.number(&node, VALUES)?;
        let old = self.number(&node, VALUE_LIST)?;
        let taken = usize_from(count.into()).saturating_mul(4);
        let list = self.allocate(taken.saturating_add(4))?;
        let content = self.cell(list)?;
        if count > 0 {
            let known = self.cell(old)?;
            let offsets = self.at(known.start..known.start.saturating_add(taken)).to_vec();
            self.put(content.start, &offsets);
            self.free(old)?;
        }
        self.put(content.start.saturating_add(taken), &new.to_le_bytes());
        self.put(node.start.saturating_add(VALUES), &count.saturating_add(1).to_le_bytes());
        self.put(node.start.saturating_add(VALUE_LIST), &list.to_le_bytes());
        let units = u32::try_from(name.encode_utf16().count().saturating_mul(2)).unwrap_or(u32::MAX);
        self.note_largest(key, LARGEST_VALUE_NAME, units)?;
        self.value_named(key, name)?.ok_or_else(|| lost(key))
    }

    fn note_largest(&mut self, key: Key, at: usize, value: u32) -> Result<(), Error> {
        let node = self.node(key)?;
        if self.number(&node, at)? < value {
            self.put(node.start.saturating_add(at), &value.to_le_bytes());
        }
        Ok(())
    }
}

/// What was written a moment ago is not there: the lists of the hive lie over each other.
fn lost(key: Key) -> Error {
    Error::corrupt("key", usize_from(key.0.into()), "what was written to it is not found again")
}

/// The name of a key as it is written: at most 255 characters (Windows' documentation, "Registry element size limits").
pub(super) fn encoded_key(name: &str) -> Result<(bool, Vec<u8>), Error> {
    if name.encode_utf16().count() > 255 {
        return Err(no_name(name));
    }
    encoded(name)
}

/// A name as it is written: a byte for each character where that can hold it. One of a value may be longer in Windows; none that is
/// written here is.
fn encoded(name: &str) -> Result<(bool, Vec<u8>), Error> {
    let is_ascii = name.is_ascii();
    let bytes = if is_ascii {
        name.as_bytes().to_vec()
    } else {
        name.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    if name.is_empty() || bytes.len() > 510 || name.contains(['\\', '\0']) {
        return Err(no_name(name));
    }
    Ok((is_ascii, bytes))
}

fn no_name(name: &str) -> Error {
    Error::Unsupported(format!("\"{}\" cannot be a name in a registry", name.escape_debug()))
}

fn hash(capitals: &[u16]) -> u32 {
    capitals.iter().fold(0, |sum: u32, unit| sum.wrapping_mul(37).wrapping_add((*unit).into()))
}
