//! What a Windows notes of partitions: its boot configuration (BCD) and its drive letters, both in registry hives.
//!
//! - BCD: elements of the format "device" hold a description of a device, in which a partition stands as below; a ramdisk,
//!   as that of the recovery environment, holds the description of the partition that its image is on.
//! - `MountedDevices` of the hive `SYSTEM`: a value for each drive letter and volume. Where a letter belongs to a partition
//!   that is gone, Windows gives its own volume another letter, and what it has installed is not found.

use super::CustomizeError;
use crate::blockio::WriteAt;
use crate::filesystem::{self, FatFiles};
use crate::plan::{MovedPartition, WindowsName};
use crate::registry::{Error, Hive, REG_BINARY};
use crate::units::{ByteRange, MIB, usize_from};
use std::io;

/// The hives in which a volume may note partitions, from its root.
pub const HIVES: [&str; 4] =
    ["EFI/Microsoft/Boot/BCD", "EFI/Microsoft/Recovery/BCD", "Boot/BCD", "Windows/System32/config/SYSTEM"];
/// A larger hive is not read, on NTFS neither.
const MOST_BYTES: u64 = 64 * MIB;
/// An element of the format "device" (`BcdElementType`, bits 24 to 27).
const FORMAT: u32 = 0x0F00_0000;
const DEVICE: u32 = 0x0100_0000;
/// A partition within such an element: its name in 16 bytes, four unused, the kind of table, the disk in 16.
const PARTITION_BYTES: usize = 40;
/// In front of the first stand the identifier of more options and the head of the description.
const FIRST_PARTITION: usize = 32;
/// What `MountedDevices` has in front of the GUID of a partition.
const BY_GUID: &[u8; 8] = b"DMIO:ID:";

/// Has a hive name partitions as they are now. Returns how many names were changed.
///
/// # Errors
/// Where the hive contradicts itself.
pub fn follow(hive: &mut Hive, moved: &[MovedPartition]) -> Result<usize, Error> {
    let moved: Vec<MovedPartition> = moved.iter().filter(|moved| moved.has_another_name()).cloned().collect();
    Ok(follow_devices(hive, &moved)?.saturating_add(follow_letters(hive, &moved)?))
}

/// The elements of a boot configuration.
fn follow_devices(hive: &mut Hive, moved: &[MovedPartition]) -> Result<usize, Error> {
    let Some(objects) = hive.find(hive.root(), &["Objects"])? else { return Ok(0) };
    let mut changed = 0;
    for (_, object) in hive.keys(objects)? {
        let Some(elements) = hive.find(object, &["Elements"])? else { continue };
        for (kind, element) in hive.keys(elements)? {
            let is_device = u32::from_str_radix(&kind, 16).is_ok_and(|kind| kind & FORMAT == DEVICE);
            let value = if is_device { hive.value_named(element, "Element")? } else { None };
            let Some(value) = value.filter(|value| value.kind == REG_BINARY) else { continue };
            let mut data = hive.data(&value);
            let count = follow_element(&mut data, moved);
            if count > 0 {
                hive.overwrite(&value, &data)?;
                changed += count;
            }
        }
    }
    Ok(changed)
}

fn follow_element(data: &mut [u8], moved: &[MovedPartition]) -> usize {
    let (mut at, mut changed) = (FIRST_PARTITION, 0);
    while let Some(place) = data.get_mut(at..at.saturating_add(PARTITION_BYTES)) {
        match moved.iter().find(|moved| *place == element(moved.was)) {
            Some(moved) => {
                place.copy_from_slice(&element(moved.is));
                changed += 1;
                at = at.saturating_add(PARTITION_BYTES);
            }
            None => at = at.saturating_add(4),
        }
    }
    changed
}

/// A partition as it stands in an element.
pub(super) fn element(name: WindowsName) -> [u8; PARTITION_BYTES] {
    let mut bytes = [0; PARTITION_BYTES];
    let (partition, rest) = bytes.split_at_mut(16);
    let (kind, disk) = rest.split_at_mut(8);
    let fill = |to: &mut [u8], from: &[u8]| to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    match name {
        WindowsName::Gpt { disk: guid, partition: own, .. } => {
            fill(partition, &own.to_disk_bytes());
            fill(disk, &guid.to_disk_bytes());
        }
        WindowsName::Mbr { signature, start_bytes } => {
            fill(partition, &start_bytes.to_le_bytes());
            fill(kind, &[0, 0, 0, 0, 1]);
            fill(disk, &signature.to_le_bytes());
        }
    }
    bytes
}

/// The drive letters of a Windows.
fn follow_letters(hive: &mut Hive, moved: &[MovedPartition]) -> Result<usize, Error> {
    let Some(devices) = hive.find(hive.root(), &["MountedDevices"])? else { return Ok(0) };
    let mut changed = 0;
    for value in hive.values(devices)? {
        let data = hive.data(&value);
        if let Some(moved) = moved.iter().find(|moved| data == letter(moved.was)) {
            hive.set(devices, &value.name, value.kind, &letter(moved.is))?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// A partition as it stands at a drive letter.
fn letter(name: WindowsName) -> Vec<u8> {
    match name {
        WindowsName::Gpt { partition, .. } => [BY_GUID.as_slice(), &partition.to_disk_bytes()].concat(),
        WindowsName::Mbr { signature, start_bytes } => {
            [signature.to_le_bytes().as_slice(), &start_bytes.to_le_bytes()].concat()
        }
    }
}

/// What was done with the hives of one volume: sentences.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Followed {
    /// What was changed.
    pub changed: Vec<String>,
    /// What a person has to look after.
    pub problems: Vec<String>,
    /// True: a hive names partitions as they were.
    pub keeps_names: bool,
}

impl Followed {
    /// Adds what came of one hive.
    pub fn add(&mut self, path: &str, result: Result<usize, String>) {
        match result {
            Ok(0) => {}
            Ok(1) => self.changed.push(format!("in /{path} a partition is named as it is now")),
            Ok(count) => {
                self.changed.push(format!("in /{path} partitions are named as they are now, {count} times"));
            }
            Err(why) => {
                self.keeps_names = true;
                self.problems.push(format!(
                    "/{path} names partitions as they were: {why}; if Windows does not start, start its recovery and run \
                     bcdboot"
                ));
            }
        }
    }
}

impl Followed {
    /// Adds what came of the settings of the recovery environment.
    pub fn add_recovery(&mut self, path: &str, result: Result<usize, String>) {
        match result {
            Err(why) => self.problems.push(format!(
                "/{path} names partitions as they were: {why}; if Windows shows its recovery environment as switched off, run \
                 reagentc /enable there"
            )),
            done => self.add(path, done),
        }
    }
}

/// Has the hives on a FAT follow. Where one cannot be written, all get their old content back. Only bytes of their own are written, and
/// no more than there were.
///
/// # Errors
/// Where the volume cannot be written; [`CustomizeError::NotPutBack`] where a hive does not get its old content back.
pub fn follow_in_fat(volume: &dyn WriteAt, moved: &[MovedPartition]) -> Result<Followed, CustomizeError> {
    let mut followed = Followed::default();
    let files = match FatFiles::open(volume) {
        Ok(Some(files)) => files,
        Ok(None) => return Ok(followed),
        Err(error) => {
            followed.problems.push(format!("its files cannot be read: {error}"));
            followed.keeps_names = moved.iter().any(MovedPartition::has_another_name);
            return Ok(followed);
        }
    };
    // Those that were written, with what they held.
    let mut written: Vec<(&str, Vec<ByteRange>, Vec<u8>)> = Vec::new();
    for path in HIVES {
        let found = files.places(path, MOST_BYTES).and_then(|places| {
            let bytes = places.as_ref().map(|places| files.bytes(places)).transpose()?;
            Ok(places.zip(bytes))
        });
        let (places, bytes) = match found {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                followed.add(path, Err(explained(&error)));
                continue;
            }
        };
        let length = bytes.len();
        let result = follow_bytes(bytes.clone(), moved);
        let result = result.and_then(|(count, bytes)| match bytes {
            Some(bytes) if bytes.len() != length => Err("it has no room to grow in its place".to_owned()),
            bytes => Ok((count, bytes)),
        });
        if let Ok((_, Some(new))) = &result {
            let outcome = write_places(volume, &places, new);
            written.push((path, places, bytes));
            if let Err(source) = outcome {
                return Err(put_back(volume, &written, path, source));
            }
        }
        followed.add(path, result.map(|(count, _)| count));
    }
    Ok(followed)
}

/// Gives hives their old content after one could not be written. Returns what is said.
fn put_back(
    volume: &dyn WriteAt,
    written: &[(&str, Vec<ByteRange>, Vec<u8>)],
    path: &str,
    source: io::Error,
) -> CustomizeError {
    for (other, places, bytes) in written {
        // What cannot be written may be there still.
        let _ = write_places(volume, places, bytes);
        let is_back = read_places(volume, places, bytes.len()).is_ok_and(|is| is == *bytes);
        if !is_back {
            let fact = format!("writing /{path}: {source}; /{other} does not get its old content back");
            return CustomizeError::NotPutBack { fact };
        }
    }
    CustomizeError::Io { doing: format!("writing /{path}"), source }
}

/// Reads the first bytes of a file from its places.
fn read_places(volume: &dyn WriteAt, places: &[ByteRange], length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut rest = bytes.as_mut_slice();
    for place in places {
        let here = usize_from(place.length()).min(rest.len());
        let (part, behind) = rest.split_at_mut_checked(here).unwrap_or_default();
        volume.read_at(place.start(), part)?;
        rest = behind;
    }
    Ok(bytes)
}

/// Writes a file in its places.
fn write_places(volume: &dyn WriteAt, places: &[ByteRange], bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    for place in places {
        let (part, behind) = rest.split_at_checked(usize_from(place.length())).unwrap_or((rest, &[]));
        volume.write_at(place.start(), part)?;
        rest = behind;
    }
    volume.flush()
}

/// What a hive becomes: how many names were changed, and its bytes where some were.
///
/// # Errors
/// Why not: a clause.
pub fn follow_bytes(bytes: Vec<u8>, moved: &[MovedPartition]) -> Result<(usize, Option<Vec<u8>>), String> {
    let mut hive = Hive::read(bytes).map_err(|error| error.to_string())?;
    let count = follow(&mut hive, moved).map_err(|error| error.to_string())?;
    Ok((count, (count > 0).then(|| hive.into_bytes())))
}

fn explained(error: &filesystem::Error) -> String {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    format!("{error}{cause}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::ReadAt;
    use crate::units::u64_from;
    use std::sync::Mutex;

    /// A volume of which certain bytes cannot be written.
    struct Volume {
        bytes: Mutex<Vec<u8>>,
        fails: ByteRange,
    }

    impl ReadAt for Volume {
        fn size_bytes(&self) -> u64 {
            64
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            let at = usize_from(offset);
            buffer.copy_from_slice(&self.bytes.lock().unwrap()[at..at + buffer.len()]);
            Ok(())
        }
    }

    impl WriteAt for Volume {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let at = usize_from(offset);
            if self.fails.contains(ByteRange::new(offset, offset + u64_from(bytes.len()))) {
                return Err(io::Error::other("a bad block"));
            }
            self.bytes.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
        fn write_zeros(&self, _: ByteRange) -> io::Result<()> {
            Ok(())
        }
        fn discard(&self, _: ByteRange) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn hives_get_their_old_content_back_and_one_that_does_not_is_named() {
        let hive = |path, start| (path, vec![ByteRange::new(start, start + 4)], vec![1; 4]);
        let written = [hive("one", 0), hive("other", 32)];
        for (fails, is_told) in
            [(ByteRange::new(60, 64), None), (ByteRange::new(0, 16), Some("/one does not get"))]
        {
            let volume = Volume { bytes: Mutex::new(vec![2; 64]), fails };
            let error = put_back(&volume, &written, "other", io::Error::other("full"));
            let said = error.with_causes();
            assert!(said.starts_with("writing /other: full"), "{said}");
            assert_eq!(matches!(error, CustomizeError::NotPutBack { .. }), is_told.is_some(), "{said}");
            assert!(is_told.is_none_or(|told| said.contains(told)), "{said}");
            assert_eq!(is_told.is_none(), volume.bytes.lock().unwrap()[..4] == [1; 4]);
        }
    }
}
