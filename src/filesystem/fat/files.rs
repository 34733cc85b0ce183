//! Folders and files of a FAT, read without a kernel that knows it: what an EFI system partition holds.
//!
//! Every chain is bounded by what it may hold, so that one that bites its own tail is a contradiction and no endless
//! walk.

use super::boot::BootSector;
use super::table;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{ByteRange, read_array, read_u8, read_u16le, read_u32le, u64_from, usize_from};

/// A directory has at most 65536 entries of 32 bytes.
const DIRECTORY_BYTES: u64 = 2 << 20;
const ENTRY_BYTES: usize = 32;
/// Attributes (Microsoft's FAT, 6): all four low bits are a part of a long name.
const LONG_NAME: u8 = 0x0F;
const VOLUME_ID: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// A long name has at most 255 characters, 13 in each of its entries.
const MOST_PARTS: usize = 20;

/// The files of a FAT.
pub struct FatFiles<'a> {
    volume: &'a dyn ReadAt,
    boot: BootSector,
}

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its long name, or its short one where it has no other.
    pub name: String,
    /// True for a folder.
    pub is_folder: bool,
    /// Bytes of a file.
    pub bytes: u64,
    /// Its first cluster; 0 where it has none.
    pub first_cluster: u64,
}

impl<'a> FatFiles<'a> {
    /// Looks at a volume; `None` where it is no FAT.
    ///
    /// # Errors
    /// Where it cannot be read, or contradicts itself.
    pub fn open(volume: &'a dyn ReadAt) -> Result<Option<Self>, Error> {
        let Some(boot) = BootSector::read(volume)? else { return Ok(None) };
        boot.check(volume.size_bytes())?;
        Ok(Some(Self { volume, boot }))
    }

    /// What is in a folder, by its path (`EFI/debian`; nothing for the root); `None` where it is not there.
    ///
    /// # Errors
    /// Where it cannot be read, or contradicts itself.
    pub fn list(&self, path: &str) -> Result<Option<Vec<Item>>, Error> {
        match self.find(path)? {
            Some(item) if item.is_folder => self.items(item.first_cluster).map(Some),
            _ => Ok(None),
        }
    }

    /// The bytes of a file; `None` where it is not there.
    ///
    /// # Errors
    /// Where it cannot be read, contradicts itself, or has more than `most_bytes`.
    pub fn read(&self, path: &str, most_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        self.places(path, most_bytes)?.map(|places| self.bytes(&places)).transpose()
    }

    /// The bytes that stand at places of the volume, one behind the other.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn bytes(&self, places: &[ByteRange]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for place in places {
            bytes.extend(read_structure(self.volume, "cluster", place.start(), usize_from(place.length()))?);
        }
        Ok(bytes)
    }

    /// Where the bytes of a file stand on the volume, in their order; `None` where it is not there.
    ///
    /// # Errors
    /// Where it contradicts itself, or has more than `most_bytes`.
    pub fn places(&self, path: &str, most_bytes: u64) -> Result<Option<Vec<ByteRange>>, Error> {
        let Some(item) = self.find(path)?.filter(|item| !item.is_folder) else { return Ok(None) };
        if item.bytes > most_bytes {
            let fact = format!("{path} has {} bytes, of which at most {most_bytes} are read", item.bytes);
            return Err(Error::unsupported(fact));
        }
        let (mut places, mut left) = (Vec::new(), item.bytes);
        if left > 0 {
            for cluster in self.chain(item.first_cluster, item.bytes)? {
                let place = self.place(cluster);
                let taken = place.length().min(left);
                places.push(ByteRange::new(place.start(), place.start().saturating_add(taken)));
                left = left.saturating_sub(taken);
            }
        }
        if left > 0 {
            let fact = format!(
                "{path} has {} bytes, and its clusters {}",
                item.bytes,
                item.bytes.saturating_sub(left)
            );
            return Err(Error::corrupt("file", 0, fact));
        }
        Ok(Some(places))
    }

    /// A file or folder, by its path. FAT does not tell small letters from capitals.
    ///
    /// # Errors
    /// Where a folder on the way cannot be read, or contradicts itself.
    pub fn find(&self, path: &str) -> Result<Option<Item>, Error> {
        let first_cluster = self.root_cluster();
        let mut here = Item { name: String::new(), is_folder: true, bytes: 0, first_cluster };
        for part in path.split(['/', '\\']).filter(|part| !part.is_empty()) {
            let items = if here.is_folder { self.items(here.first_cluster)? } else { Vec::new() };
            let part = part.to_lowercase();
            match items.into_iter().find(|item| item.name.to_lowercase() == part) {
                Some(item) => here = item,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// The first cluster of the root; 0 where that has a place of its own (FAT12 and FAT16).
    #[must_use]
    pub const fn root_cluster(&self) -> u64 {
        self.boot.root_cluster
    }

    /// The bytes of a cluster on the volume.
    #[must_use]
    pub fn place(&self, cluster: u64) -> ByteRange {
        let start = self.boot.cluster_start(cluster);
        ByteRange::new(start, start.saturating_add(self.boot.cluster_bytes))
    }

    fn items(&self, first_cluster: u64) -> Result<Vec<Item>, Error> {
        let bytes = if first_cluster == 0 && self.boot.root_bytes > 0 {
            let length = usize_from(self.boot.root_bytes);
            read_structure(self.volume, "root directory", self.boot.root_start, length)?
        } else {
            let mut bytes = Vec::new();
            for cluster in self.chain(first_cluster, DIRECTORY_BYTES)? {
                bytes.extend(self.cluster(cluster)?);
            }
            bytes
        };
        Ok(decode(&bytes))
    }

    fn cluster(&self, cluster: u64) -> Result<Vec<u8>, Error> {
        let place = self.place(cluster);
        read_structure(self.volume, "cluster", place.start(), usize_from(place.length()))
    }

    /// The clusters of a chain, which may hold so many bytes.
    fn chain(&self, first: u64, most_bytes: u64) -> Result<Vec<u64>, Error> {
        let most = most_bytes.div_ceil(self.boot.cluster_bytes.max(1));
        let (mut clusters, mut next) = (Vec::new(), first);
        loop {
            if next < 2 || next.saturating_sub(2) >= self.boot.clusters {
                let at = self.boot.table_start(0);
                return Err(Error::corrupt(
                    "file allocation table",
                    at,
                    format!("a chain leads to cluster {next}"),
                ));
            }
            if u64_from(clusters.len()) >= most {
                let fact = format!("the chain of cluster {first} is longer than what it holds");
                return Err(Error::corrupt("file allocation table", self.boot.table_start(0), fact));
            }
            clusters.push(next);
            next = table::next(self.volume, &self.boot, next)?;
            if table::ends_chain(self.boot.kind, next) {
                return Ok(clusters);
            }
        }
    }
}

/// The entries of a folder, but those of itself and of the one above.
fn decode(bytes: &[u8]) -> Vec<Item> {
    let (mut items, mut long) = (Vec::new(), LongName::default());
    for entry in bytes.as_chunks::<ENTRY_BYTES>().0 {
        let (Ok(short), Ok(attributes)) = (read_array::<11>(entry, 0), read_u8(entry, 11)) else { break };
        match short {
            [0, ..] => break,
            [0xE5, ..] => long = LongName::default(),
            _ if attributes & 0x3F == LONG_NAME => long.push(entry),
            _ => {
                let name = std::mem::take(&mut long).of(&short).unwrap_or_else(|| short_name(entry, &short));
                if attributes & VOLUME_ID == 0 && !matches!(name.as_str(), "." | "..") {
                    items.extend(item(entry, name, attributes & DIRECTORY != 0));
                }
            }
        }
    }
    items
}

fn item(entry: &[u8], name: String, is_folder: bool) -> Option<Item> {
    let (high, low) = (read_u16le(entry, 20).ok()?, read_u16le(entry, 26).ok()?);
    let first_cluster = u64::from(u32::from(high) << 16 | u32::from(low));
    Some(Item { name, is_folder, bytes: read_u32le(entry, 28).ok()?.into(), first_cluster })
}

/// A short name as text, with the small letters that Windows NT and Linux note in byte 12.
fn short_name(entry: &[u8], name: &[u8; 11]) -> String {
    let small = read_u8(entry, 12).unwrap_or_default();
    let (base, ending) = name.split_at(8);
    let text = |bytes: &[u8], bit: u8| {
        let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
        if small & bit == 0 { text } else { text.to_lowercase() }
    };
    let (base, ending) = (text(base, 0x08), text(ending, 0x10));
    if ending.is_empty() { base } else { format!("{base}.{ending}") }
}

/// The parts of a long name, which stand in front of the short one, the last part first.
#[derive(Default)]
struct LongName {
    parts: Vec<Vec<u16>>,
    checksum: u8,
    /// Number of the part that has to follow; 0 where all are there.
    missing: u8,
}

impl LongName {
    fn push(&mut self, entry: &[u8]) {
        let (Ok(order), Ok(checksum)) = (read_u8(entry, 0), read_u8(entry, 13)) else { return };
        let number = order & 0x3F;
        if order & 0x40 != 0 {
            *self = Self { parts: Vec::new(), checksum, missing: number };
        }
        if number == 0
            || number != self.missing
            || checksum != self.checksum
            || self.parts.len() >= MOST_PARTS
        {
            *self = Self::default();
            return;
        }
        self.missing = number.saturating_sub(1);
        let units = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30].into_iter();
        self.parts.push(units.filter_map(|at| read_u16le(entry, at).ok()).collect());
    }

    /// The name, where it is whole and that of this short one.
    fn of(self, short: &[u8; 11]) -> Option<String> {
        let sum = short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        if self.parts.is_empty() || self.missing != 0 || self.checksum != sum {
            return None;
        }
        let units: Vec<u16> = self.parts.into_iter().rev().flatten().take_while(|unit| *unit != 0).collect();
        Some(String::from_utf16_lossy(&units))
    }
}
