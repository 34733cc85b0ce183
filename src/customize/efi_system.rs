//! What an EFI system partition holds, and the path that a firmware starts where it knows nothing else.
//!
//! The partition may be one that was captured, so it is read by our own reader, which trusts nothing in it. It is
//! written only where it is clean.

use super::CustomizeError;
use super::fat::{self, NewFile};
use crate::blockio::{ReadAt, WriteAt};
use crate::filesystem::{self, FatFiles, Item};
use crate::schema::State;
use crate::uefi;
use crate::units::{MIB, format_size, u64_from};

/// Loaders have 1 to 3 MiB.
const MOST_LOADER_BYTES: u64 = 32 * MIB;
/// Vendors have a folder each; more than these are not looked into.
const MOST_FOLDERS: usize = 256;
/// What folders and the sizes of clusters may take beside the files.
const RESERVE_BYTES: u64 = MIB / 4;

/// Paths of the programs under `\EFI`, as a firmware writes them: `\EFI\debian\shimx64.efi`.
///
/// # Errors
/// Where the volume is no FAT that can be read.
pub fn programs(volume: &dyn ReadAt) -> Result<Vec<String>, CustomizeError> {
    let files = open(volume)?;
    let list = |path: &str| files.list(path).map(Option::unwrap_or_default).map_err(unreadable);
    let (mut found, mut folders) = (Vec::new(), vec![("EFI".to_owned(), 0u8)]);
    let mut looked = 0usize;
    while let Some((folder, depth)) = folders.pop() {
        looked = looked.saturating_add(1);
        for Item { name, is_folder, .. } in list(&folder)? {
            let path = format!("{folder}/{name}");
            if !is_folder && name.to_lowercase().ends_with(".efi") {
                found.push(format!("\\{}", path.replace('/', "\\")));
            } else if is_folder && depth < 2 && looked.saturating_add(folders.len()) < MOST_FOLDERS {
                folders.push((path, depth.saturating_add(1)));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Has the fallback path start what the partition holds, by copying the loader that is there. Returns a sentence for
/// each file that was made.
///
/// # Errors
/// [`CustomizeError::Unsupported`], with nothing written, where there is no room, or the volume is not clean or cannot be
/// read; [`CustomizeError::Io`] where writing fails.
pub fn ensure_fallback(volume: &dyn WriteAt) -> Result<Vec<String>, CustomizeError> {
    let copies = uefi::fallback_copies(&programs(volume)?);
    if copies.is_empty() {
        return Ok(Vec::new());
    }
    let found = filesystem::read(volume).map_err(unreadable)?.map(|reading| reading.file_system);
    let free_bytes = match found {
        Some(found) if found.state == State::Clean => {
            found.used_bytes.map_or(0, |used| found.size_bytes.saturating_sub(used))
        }
        _ => {
            return Err(unsupported(
                "it is not clean, so nothing is written to it; repair it with fsck.fat -a",
            ));
        }
    };
    let files = open(volume)?;
    let mut new = Vec::new();
    for (from, to) in &copies {
        let bytes = files.read(from, MOST_LOADER_BYTES).map_err(unreadable)?.unwrap_or_default();
        new.push(NewFile { path: to.trim_start_matches('\\').replace('\\', "/"), bytes });
    }
    let needed = new.iter().map(|file| u64_from(file.bytes.len())).fold(RESERVE_BYTES, u64::saturating_add);
    if needed > free_bytes {
        let (needed, free) = (format_size(needed), format_size(free_bytes));
        return Err(unsupported(&format!("{needed} are needed for it and {free} are free; make room there")));
    }
    let doing = "writing the loader of the fallback path into it".to_owned();
    fat::write(volume, &new).map_err(|source| CustomizeError::Io { doing, source })?;
    Ok(copies.iter().map(|(from, to)| format!("{to} is new, a copy of {from}")).collect())
}

fn open(volume: &dyn ReadAt) -> Result<FatFiles<'_>, CustomizeError> {
    FatFiles::open(volume).map_err(unreadable)?.ok_or_else(|| unsupported("it holds no FAT file system"))
}

fn unreadable(error: filesystem::Error) -> CustomizeError {
    let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
    unsupported(&format!("it cannot be read: {error}{cause}"))
}

fn unsupported(fact: &str) -> CustomizeError {
    CustomizeError::Unsupported { fact: fact.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::{MemoryDisk, read_vec};
    use crate::units::{SectorSize, usize_from};
    use fatfs::{FatType, FormatVolumeOptions};
    use std::io::Cursor;

    const DEBIAN: [&str; 3] = ["EFI/debian/grubx64.efi", "EFI/debian/shimx64.efi", "EFI/debian/BOOTX64.CSV"];

    fn volume(kind: FatType, mib: u64, files: &[(&str, usize)]) -> MemoryDisk {
        let mut bytes = vec![0u8; usize_from(mib * MIB)];
        fatfs::format_volume(Cursor::new(&mut bytes), FormatVolumeOptions::new().fat_type(kind)).unwrap();
        let disk = MemoryDisk::from_bytes(&bytes);
        let new = |(path, length): &(&str, usize)| NewFile {
            path: (*path).to_owned(),
            bytes: path.bytes().cycle().take(*length).collect(),
        };
        fat::write(&disk, &files.iter().map(new).collect::<Vec<_>>()).unwrap();
        disk
    }

    fn content(disk: &MemoryDisk) -> Vec<u8> {
        read_vec(disk, 0, usize_from(disk.size_bytes())).unwrap()
    }

    #[test]
    fn the_fallback_path_starts_what_is_there_on_every_fat() {
        for (kind, mib) in [(FatType::Fat12, 4), (FatType::Fat16, 32), (FatType::Fat32, 64)] {
            let disk = volume(kind, mib, &DEBIAN.map(|path| (path, 300_001)));
            let made = ensure_fallback(&disk).unwrap();
            let expected = [
                r"\EFI\BOOT\grubx64.efi is new, a copy of \EFI\debian\grubx64.efi",
                r"\EFI\BOOT\BOOTX64.EFI is new, a copy of \EFI\debian\shimx64.efi",
            ];
            assert_eq!(made, expected, "{mib} MiB");
            let files = FatFiles::open(&disk).unwrap().unwrap();
            let read = |path: &str| files.read(path, MIB).unwrap().unwrap();
            assert_eq!(read("efi/boot/bootx64.efi"), read("EFI/debian/shimx64.efi"));
            assert_eq!(read("EFI/BOOT/grubx64.efi"), read("EFI/debian/grubx64.efi"));
            let programs = programs(&disk).unwrap();
            assert!(programs.contains(&r"\EFI\BOOT\BOOTX64.EFI".to_owned()), "{programs:?}");
            assert_eq!(programs.len(), 4, "{programs:?}");
            // Taken again, nothing changes.
            let before = content(&disk);
            assert_eq!(ensure_fallback(&disk).unwrap(), [""; 0]);
            assert!(before == content(&disk));
            let reading = filesystem::read(&disk).unwrap().unwrap().file_system;
            assert_eq!(reading.state, State::Clean, "{:?}", reading.findings);
        }
    }

    #[test]
    fn a_partition_without_room_or_not_clean_stays_as_it_is() {
        let disk = volume(FatType::Fat16, 16, &[("EFI/debian/shimx64.efi", 9 << 20)]);
        let before = content(&disk);
        let said = ensure_fallback(&disk).unwrap_err().to_string();
        assert!(
            said.contains("9.25 MiB are needed for it and") && said.ends_with("are free; make room there"),
            "{said}"
        );
        assert!(before == content(&disk));
        let disk = volume(FatType::Fat32, 64, &[("EFI/debian/shimx64.efi", 7)]);
        // BS_Reserved1: mounted.
        disk.write_at(0x41, &[1]).unwrap();
        let said = ensure_fallback(&disk).unwrap_err().to_string();
        assert!(said.contains("not clean"), "{said}");
        let said = programs(&MemoryDisk::new(MIB)).unwrap_err().to_string();
        assert_eq!(said, "it holds no FAT file system");
    }

    #[test]
    fn a_chain_that_bites_its_own_tail_is_told_and_not_walked_for_ever() {
        let disk = MemoryDisk::from_bytes(&vec![0; usize_from(64 * MIB)]);
        fat::format(&disk, 1, SectorSize::B512).unwrap();
        fat::write(&disk, &[NewFile { path: "EFI/a/shimx64.efi".to_owned(), bytes: vec![1; 9000] }]).unwrap();
        let (root, start) = {
            let files = FatFiles::open(&disk).unwrap().unwrap();
            (files.find("EFI").unwrap().unwrap().first_cluster, files.place(2).start())
        };
        // Every place of the table that could be that of the folder: its first copy, of which the boot sector says where.
        let reserved = {
            let mut boot = [0; 2];
            disk.read_at(0x0E, &mut boot).unwrap();
            u64::from(u16::from_le_bytes(boot)) * 512
        };
        assert!(reserved < start);
        let value = u32::try_from(root).unwrap().to_le_bytes();
        disk.write_at(reserved + root * 4, &value).unwrap();
        let said = programs(&disk).unwrap_err().to_string();
        assert!(said.contains("is longer than what it holds"), "{said}");
    }

    #[test]
    fn no_byte_of_a_folder_makes_the_reader_panic() {
        let disk = volume(FatType::Fat16, 16, &DEBIAN.map(|path| (path, 700)));
        let files = FatFiles::open(&disk).unwrap().unwrap();
        let folders =
            ["EFI", "EFI/debian"].map(|path| files.place(files.find(path).unwrap().unwrap().first_cluster));
        for folder in folders {
            for at in folder.start()..folder.start() + 512 {
                let mut byte = [0];
                disk.read_at(at, &mut byte).unwrap();
                for value in [0, 1, 0x0F, 0x10, 0x41, 0xE5, 0xFF, byte[0] ^ 0x80] {
                    disk.write_at(at, &[value]).unwrap();
                    let _ = programs(&disk);
                    let _ = files.read("EFI/debian/shimx64.efi", MIB);
                }
                disk.write_at(at, &byte).unwrap();
            }
        }
    }
}
