//! A new FAT32, and files in a FAT, written through our own disks, so that no kernel and no program has to know FAT.
//!
//! The crate reads only folders that were made here, or that [`FatFiles`] has walked without a contradiction: it would
//! follow a chain with a loop for ever.

use crate::blockio::{WriteAt, read_vec};
use crate::filesystem::FatFiles;
use crate::units::{MIB, SectorSize, read_u16le, u64_from, usize_from};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

/// A file for a new file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its path, without a slash in front: `EFI/BOOT/BOOTX64.EFI`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Makes an empty FAT32 that fills `volume`. Its clusters are as large as its size lets them be: a FAT32 has 65525 of
/// them at least, so a volume of 99 MiB has clusters of one sector.
///
/// # Errors
/// Where the volume cannot be written, or is too small for FAT32.
pub fn format(volume: &dyn WriteAt, serial: u32, sector: SectorSize) -> io::Result<()> {
    let sector_bytes = u32::from(sector);
    let cluster_bytes = if volume.size_bytes() >= 500 * MIB { sector_bytes.max(4096) } else { sector_bytes };
    let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let options = FormatVolumeOptions::new()
        .bytes_per_sector(u16::try_from(sector_bytes).map_err(too_large)?)
        .total_sectors(u32::try_from(sector.lba_of(volume.size_bytes()).0).map_err(too_large)?)
        .bytes_per_cluster(cluster_bytes)
        .fat_type(FatType::Fat32)
        .volume_id(serial)
        .volume_label(*b"EFI        ");
    fatfs::format_volume(Stream { volume, at: 0 }, options)?;
    volume.flush()
}

/// Writes files, with the folders that they are in. A file that is there is replaced.
///
/// # Errors
/// Where the volume cannot be read or written, or is full.
pub fn write(volume: &dyn WriteAt, files: &[NewFile]) -> io::Result<()> {
    let fat = FileSystem::new(Stream { volume, at: 0 }, FsOptions::new())?;
    {
        let root = fat.root_dir();
        for file in files {
            for (slash, _) in file.path.match_indices('/') {
                root.create_dir(file.path.get(..slash).unwrap_or_default())?;
            }
            let mut new = root.create_file(&file.path)?;
            new.truncate()?;
            new.write_all(&file.bytes)?;
            new.flush()?;
        }
    }
    // Counts what is free, which is written down when it is unmounted.
    fat.stats()?;
    fat.unmount()?;
    settle_dots(volume, files)?;
    volume.flush()
}

/// Puts the entries `.` and `..` right of the folders that files are in. The crate gives them long names, so that they
/// are not the first two, and calls the root by its cluster, where the specification (Microsoft's FAT32, 6.5) wants
/// zero.
fn settle_dots(volume: &dyn WriteAt, files: &[NewFile]) -> io::Result<()> {
    let Some(fat) = FatFiles::open(volume).map_err(io::Error::other)? else { return Ok(()) };
    for file in files {
        for (slash, _) in file.path.match_indices('/') {
            let folder = file.path.get(..slash).unwrap_or_default();
            let Some(item) = fat.find(folder).map_err(io::Error::other)? else { continue };
            let place = fat.place(item.first_cluster);
            let mut bytes = read_vec(volume, place.start(), usize_from(place.length()))?;
            if settle(&mut bytes, fat.root_cluster())? {
                volume.write_at(place.start(), &bytes)?;
            }
        }
    }
    Ok(())
}

const ENTRY_BYTES: usize = 32;
const LONG_NAME: u8 = 0x0F;
const DELETED: u8 = 0xE5;

/// Rewrites the start of a folder where it is `.` and `..`, each behind a long name.
fn settle(bytes: &mut [u8], root: u64) -> io::Result<bool> {
    let (entries, _) = bytes.as_chunks_mut::<ENTRY_BYTES>();
    let [one, two, three, four, ..] = entries else { return Ok(false) };
    let is_long = |entry: &[u8; ENTRY_BYTES]| entry.get(11) == Some(&LONG_NAME);
    if !(is_long(one) && two.starts_with(b".  ") && is_long(three) && four.starts_with(b".. ")) {
        return Ok(false);
    }
    (*one, *two) = (*two, *four);
    if cluster_of(two)? == root {
        for at in [20, 21, 26, 27] {
            two.get_mut(at).into_iter().for_each(|byte| *byte = 0);
        }
    }
    for unused in [three, four] {
        *unused = [0; ENTRY_BYTES];
        unused.first_mut().into_iter().for_each(|byte| *byte = DELETED);
    }
    Ok(true)
}

fn cluster_of(entry: &[u8]) -> io::Result<u64> {
    let (high, low) =
        (read_u16le(entry, 20).map_err(io::Error::other)?, read_u16le(entry, 26).map_err(io::Error::other)?);
    Ok(u64::from(u32::from(high) << 16 | u32::from(low)))
}

/// Reads a file that was written before; `None` where it is not there.
///
/// # Errors
/// Where the volume cannot be read.
pub fn read(volume: &dyn WriteAt, path: &str) -> io::Result<Option<Vec<u8>>> {
    let fat = FileSystem::new(Stream { volume, at: 0 }, FsOptions::new())?;
    let mut bytes = Vec::new();
    let found = match fat.root_dir().open_file(path) {
        Ok(mut file) => file.read_to_end(&mut bytes).map(|_| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    Ok(found?.then_some(bytes))
}

/// How a UUID of FAT is written.
#[must_use]
pub fn uuid(serial: u32) -> String {
    format!("{:04X}-{:04X}", serial >> 16, serial & 0xFFFF)
}

/// A volume as a stream with a position.
struct Stream<'a> {
    volume: &'a dyn WriteAt,
    at: u64,
}

impl Stream<'_> {
    /// As many of `length` bytes as there are before the end.
    fn within(&self, length: usize) -> usize {
        usize_from(self.volume.size_bytes().saturating_sub(self.at).min(u64_from(length)))
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.within(buffer.len());
        self.volume.read_at(self.at, buffer.get_mut(..length).unwrap_or_default())?;
        self.at = self.at.saturating_add(u64_from(length));
        Ok(length)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.within(bytes.len());
        self.volume.write_at(self.at, bytes.get(..length).unwrap_or_default())?;
        self.at = self.at.saturating_add(u64_from(length));
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Stream<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.volume.size_bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::MemoryDisk;
    use crate::filesystem;
    use crate::schema::{FileSystemKind, State};

    #[test]
    fn files_come_back_from_every_size_of_an_efi_system_partition() {
        for (mib, sector) in [(99, SectorSize::B512), (512, SectorSize::B512), (260, SectorSize::B4096)] {
            let noise = vec![0xA7; usize_from(mib * MIB)];
            let volume = MemoryDisk::from_bytes(&noise);
            format(&volume, 0x1234_ABCD, sector).unwrap();
            let file = |path: &str, length| NewFile { path: path.to_owned(), bytes: vec![7; length] };
            let files = [
                file("EFI/BOOT/BOOTX64.EFI", 70_000),
                file("EFI/debian/grub.cfg", 0),
                file("a.longer name", 1),
            ];
            write(&volume, &files).unwrap();
            write(&volume, &files[..1]).unwrap();
            for file in &files {
                assert_eq!(read(&volume, &file.path).unwrap().as_ref(), Some(&file.bytes), "{}", file.path);
            }
            assert_eq!(read(&volume, "EFI/nothing").unwrap(), None);
            let found = filesystem::read(&volume).unwrap().unwrap().file_system;
            assert_eq!((found.kind, found.state), (FileSystemKind::Fat32, State::Clean));
            assert_eq!(found.uuid.as_deref(), Some(uuid(0x1234_ABCD).as_str()));
        }
    }
}
