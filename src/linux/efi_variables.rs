//! The boot variables of a UEFI firmware, by way of the kernel's efivarfs (`Documentation/filesystems/efivarfs.rst`).
//!
//! A variable is a file: four bytes of attributes, and its content. The kernel takes it in one write, and guards some
//! against accidents with the immutable flag. Firmwares have been worn out and bricked by writes: what is the same is
//! not written, nothing is deleted, and nothing but boot entries, their order and the next one is touched.

use super::{DiskReader, Error, discover, ioctl};
use crate::blockio::{ReadAt, Window};
use crate::customize::{CustomizeError, Firmware};
use crate::filesystem::lvm;
use crate::partition::{self, Trust};
use crate::uefi::{self, Change, HardDrive, LoadOption, PartitionId, Variables};
use crate::units::{ByteRange, Lba, read_u32le};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Where the kernel shows them.
const DIRECTORY: &str = "/sys/firmware/efi/efivars";
/// `EFI_GLOBAL_VARIABLE`: whose variables the boot entries are.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Non-volatile, for boot services and for the running system (UEFI 2.10, 3.3, table 3-1).
const ATTRIBUTES: u32 = 7;
const ATTRIBUTES_BYTES: usize = 4;
/// A boot entry has a few hundred bytes.
const MOST_BYTES: u64 = 64 << 10;
/// Firmwares have some dozens of entries.
const MOST_ENTRIES: usize = 1024;

/// The boot variables of a firmware.
#[derive(Debug, Clone)]
pub struct EfiVariables {
    directory: PathBuf,
}

impl Default for EfiVariables {
    /// Those of this machine.
    fn default() -> Self {
        Self::new(DIRECTORY)
    }
}

/// A variable.
struct Variable {
    attributes: u32,
    content: Vec<u8>,
}

impl EfiVariables {
    /// Those that a directory shows.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The entries, their order, and which of them started this machine.
    ///
    /// # Errors
    /// Where they are not there or cannot be read. An entry that contradicts the format is known by its number only.
    pub fn read(&self) -> Result<Variables, Error> {
        let mut variables = Variables {
            order: self.numbers("BootOrder")?.unwrap_or_default(),
            current: self.numbers("BootCurrent")?.and_then(|numbers| numbers.first().copied()),
            ..Variables::default()
        };
        for number in self.entry_numbers()? {
            let content = self.variable(&name_of(number))?.map(|variable| variable.content);
            match content.and_then(|content| LoadOption::decode(&content).ok()) {
                Some(option) => drop(variables.entries.insert(number, option)),
                None => variables.unknown.push(number),
            }
        }
        Ok(variables)
    }

    /// Writes an entry or the order, where it differs from what stands there.
    ///
    /// # Errors
    /// Where the firmware or the kernel refuses, with the reason and the way out.
    pub fn write(&self, change: &Change) -> Result<(), Error> {
        match change {
            Change::Entry { number, is, .. } => {
                let content = is.encode().map_err(|corrupt| Error::unsupported(corrupt.to_string()))?;
                self.put(&name_of(*number), &content)
            }
            Change::Order { is, .. } => self.put("BootOrder", &uefi::encode_order(is)),
        }
    }

    /// Has the firmware start one entry once, before its usual order.
    ///
    /// # Errors
    /// As [`EfiVariables::write`].
    pub fn start_next(&self, number: u16) -> Result<(), Error> {
        self.put("BootNext", &number.to_le_bytes())
    }

    /// Numbers of the entries that are there.
    fn entry_numbers(&self) -> Result<Vec<u16>, Error> {
        let directory = self.directory.display();
        let failed = || Error::io(format!("listing the firmware's variables in {directory}"));
        let listed = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing()),
            listed => listed.map_err(failed())?,
        };
        let (mut numbers, mut is_empty) = (Vec::new(), true);
        for entry in listed {
            let name = entry.map_err(failed())?.file_name();
            is_empty = false;
            numbers.extend(name.to_str().and_then(number_of));
            if numbers.len() > MOST_ENTRIES {
                return Err(Error::unsupported(format!(
                    "the firmware has more than {MOST_ENTRIES} boot entries; delete those that nobody needs"
                )));
            }
        }
        // Without its file system the directory is there and empty.
        if is_empty {
            return Err(self.missing());
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn missing(&self) -> Error {
        let directory = self.directory.display();
        Error::unsupported(format!(
            "{directory} shows no variables; mount them (mount -t efivarfs efivarfs {directory}), or start the kernel \
             with efi=runtime"
        ))
    }

    fn numbers(&self, name: &str) -> Result<Option<Vec<u16>>, Error> {
        Ok(self.variable(name)?.map(|variable| uefi::decode_order(&variable.content)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}-{GLOBAL}"))
    }

    /// A variable; `None` where it is not there.
    fn variable(&self, name: &str) -> Result<Option<Variable>, Error> {
        let failed = || Error::io(format!("reading the firmware's variable {name}"));
        let file = match File::open(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed())?,
        };
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed())?;
        let Ok(attributes) = read_u32le(&bytes, 0) else { return Ok(None) };
        Ok(Some(Variable { attributes, content: bytes.split_off(ATTRIBUTES_BYTES) }))
    }

    fn put(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let old = self.variable(name)?;
        if old.as_ref().is_some_and(|old| old.content == content) {
            return Ok(());
        }
        let attributes = old.as_ref().map_or(ATTRIBUTES, |old| old.attributes);
        let bytes = [attributes.to_le_bytes().as_slice(), content].concat();
        let path = self.path(name);
        let guard = Thawed::of(&path);
        let written = write_at_once(&path, &bytes);
        if written.is_err() && old.is_none() {
            // What the kernel made of the name is no variable.
            let _ = fs::remove_file(&path);
        }
        drop(guard);
        written.map_err(|error| refused(name, &error))
    }
}

/// One write, as the kernel wants it.
fn write_at_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Not truncated: that would be a step of its own, behind which a failed write leaves nothing.
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let written = file.write(bytes)?;
    if written != bytes.len() {
        return Err(io::Error::other(format!("it took {written} of {} bytes", bytes.len())));
    }
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    // The kernel's own has the length of what was written.
    if file.metadata()?.len() > length { file.set_len(length) } else { Ok(()) }
}

/// Why a variable was not written, and what a person can do.
fn refused(name: &str, error: &io::Error) -> Error {
    let way_out = match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::ENOSPC) => {
            "its memory is full, or as full as the kernel lets it become: delete entries that nobody needs in its setup, \
             or with efibootmgr"
        }
        Some(nix::errno::Errno::EROFS) => {
            "the variables are mounted read-only: mount them with -o remount,rw"
        }
        Some(nix::errno::Errno::EACCES | nix::errno::Errno::EPERM) => {
            "only root may write it, and some firmwares lock it: look for such a setting in its setup"
        }
        _ => "the firmware does not take it: its setup may have a setting that locks boot entries",
    };
    Error::unsupported(format!("writing the variable {name}: {error}; {way_out}"))
}

fn name_of(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// The number in `Boot0001-8be4df61-...`.
fn number_of(file: &str) -> Option<u16> {
    let digits = file.strip_prefix("Boot")?.strip_suffix(GLOBAL)?.strip_suffix('-')?;
    let is_number = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_number)
}

/// A file whose immutable flag is off for as long as this lives.
struct Thawed {
    file: File,
    flags: u32,
}

impl Thawed {
    /// `None` where there is no flag to take away.
    fn of(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let flags = ioctl::inode_flags(&file).ok().filter(|flags| flags & ioctl::IMMUTABLE != 0)?;
        ioctl::set_inode_flags(&file, flags & !ioctl::IMMUTABLE).ok()?;
        Some(Self { file, flags })
    }
}

impl Drop for Thawed {
    fn drop(&mut self) {
        // Where it stays off, the kernel guards the variable against nobody but accidents.
        let _ = ioctl::set_inode_flags(&self.file, self.flags);
    }
}

impl Firmware for EfiVariables {
    fn read(&self) -> Result<Variables, CustomizeError> {
        Ok(Self::read(self)?)
    }

    fn partitions_elsewhere(&self, targets: &[&str]) -> Result<Vec<PartitionId>, CustomizeError> {
        let mut partitions = Vec::new();
        for disk in discover::disks()?.iter().filter(|disk| !targets.contains(&disk.path.as_str())) {
            let Ok(reader) = DiskReader::open(&disk.path) else { continue };
            let Ok(reading) = partition::read(&reader, disk.logical_sector_bytes, Trust::Gpt) else {
                continue;
            };
            partitions.extend(uefi::hard_drives(&reading.table).iter().map(|drive| drive.id));
        }
        Ok(partitions)
    }

    fn groups_elsewhere(&self, targets: &[&str]) -> Result<Vec<String>, CustomizeError> {
        let mut uuids = Vec::new();
        for disk in discover::disks()?.iter().filter(|disk| !targets.contains(&disk.path.as_str())) {
            let Ok(reader) = DiskReader::open(&disk.path) else { continue };
            let sector = disk.logical_sector_bytes;
            let reading = partition::read(&reader, sector, Trust::Gpt);
            let drives = reading.map_or_else(|_| Vec::new(), |reading| uefi::hard_drives(&reading.table));
            let place = |drive: &HardDrive| {
                let behind = Lba(drive.partition_start.checked_add(drive.partition_size)?);
                let start = sector.byte_of(Lba(drive.partition_start))?;
                sector.byte_of(behind).map(|end| ByteRange::new(start, end))
            };
            let whole = ByteRange::new(0, reader.size_bytes());
            let places = drives.iter().filter_map(place).chain([whole]);
            let windows: Vec<Window<&DiskReader>> =
                places.filter_map(|place| Window::new(&reader, place).ok()).collect();
            let volumes: Vec<(&str, &dyn ReadAt)> =
                windows.iter().map(|window| -> (&str, &dyn ReadAt) { ("", window) }).collect();
            let found = lvm::groups(&volumes);
            uuids.extend(found.broken.into_iter().map(|group| group.uuid));
            for group in found.groups.into_iter().map(|found| found.group) {
                uuids.extend(group.physical_volumes.into_iter().map(|physical| physical.uuid));
                uuids.push(group.uuid);
            }
        }
        Ok(uuids)
    }

    fn write(&self, change: &Change) -> Result<(), CustomizeError> {
        Ok(Self::write(self, change)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Guid;
    use std::os::unix::fs::PermissionsExt;

    fn option(start: u64) -> LoadOption {
        let id = PartitionId::Gpt { guid: Guid::from_u128(7) };
        let drive = HardDrive { partition_number: 1, partition_start: start, partition_size: 9, id };
        LoadOption::of_file("debian", drive, r"\EFI\debian\shimx64.efi")
    }

    fn file(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}-{GLOBAL}"))
    }

    fn entry(number: u16, was: Option<LoadOption>, is: LoadOption) -> Change {
        Change::Entry { number, was, is }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_the_same_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let variables = EfiVariables::new(folder.path());
        let put = |name: &str, bytes: &[u8]| fs::write(file(folder.path(), name), bytes).unwrap();
        put("BootCurrent", &[6, 0, 0, 0, 0x1A, 0]);
        put("Boot0003", &[7, 0, 0, 0, 1]);
        put("Boot00zz", &[7, 0, 0, 0, 1]);
        fs::write(folder.path().join("Boot0004-00000000-0000-0000-0000-000000000000"), [1; 40]).unwrap();
        variables.write(&entry(0x1A, None, option(1))).unwrap();
        variables.write(&Change::Order { was: vec![], is: vec![0x1A, 3, 5] }).unwrap();
        let read = variables.read().unwrap();
        assert_eq!(read.entries.iter().collect::<Vec<_>>(), [(&0x1A, &option(1))]);
        assert_eq!((read.unknown, read.order, read.current), (vec![3], vec![0x1A, 3, 5], Some(0x1A)));
        assert_eq!(fs::read(file(folder.path(), "BootOrder")).unwrap(), [7, 0, 0, 0, 0x1A, 0, 3, 0, 5, 0]);
        // Attributes stay as they were; a shorter content leaves nothing behind it.
        put("BootOrder", &[3, 0, 0, 0, 1, 0, 2, 0, 3, 0]);
        variables.write(&Change::Order { was: vec![], is: vec![9] }).unwrap();
        assert_eq!(fs::read(file(folder.path(), "BootOrder")).unwrap(), [3, 0, 0, 0, 9, 0]);
        variables.start_next(0x1A).unwrap();
        assert_eq!(fs::read(file(folder.path(), "BootNext")).unwrap(), [7, 0, 0, 0, 0x1A, 0]);
        let path = file(folder.path(), "Boot001A");
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        variables.write(&entry(0x1A, None, option(1))).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
        variables.write(&entry(0x1A, Some(option(1)), option(2))).unwrap();
        assert_eq!(variables.read().unwrap().entries.get(&0x1A), Some(&option(2)));
    }

    #[test]
    fn variables_that_are_not_there_say_how_they_are_mounted() {
        let folder = tempfile::tempdir().unwrap();
        for directory in [folder.path().to_owned(), folder.path().join("nothing")] {
            let said = EfiVariables::new(&directory).read().unwrap_err().to_string();
            let way_out = format!("mount -t efivarfs efivarfs {}", directory.display());
            assert!(said.contains(&way_out), "{said}");
        }
    }

    #[test]
    fn a_firmware_that_refuses_says_why_and_what_can_be_done() {
        let full = refused("Boot0001", &io::Error::from_raw_os_error(28)).to_string();
        assert!(full.starts_with("writing the variable Boot0001: No space left on device"), "{full}");
        assert!(full.contains("delete entries that nobody needs"), "{full}");
        for (error, way_out) in
            [(30, "-o remount,rw"), (1, "only root"), (22, "does not take it"), (5, "does not take it")]
        {
            let said = refused("BootOrder", &io::Error::from_raw_os_error(error)).to_string();
            assert!(said.contains(way_out), "{said}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_written_leaves_no_name_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(file(folder.path(), "BootNext")).unwrap();
        let variables = EfiVariables::new(folder.path());
        assert!(variables.start_next(1).is_err());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
        if !super::super::is_root() {
            assert!(variables.write(&entry(1, None, option(1))).is_err());
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!file(folder.path(), "Boot0001").exists());
    }

    #[test]
    fn an_immutable_variable_is_written_and_immutable_again() {
        let folder = tempfile::tempdir().unwrap();
        let variables = EfiVariables::new(folder.path());
        variables.write(&entry(1, None, option(1))).unwrap();
        let opened = File::open(file(folder.path(), "Boot0001")).unwrap();
        let Ok(flags) = ioctl::inode_flags(&opened) else { return };
        // A file system without the flag, or nobody who may set it.
        if ioctl::set_inode_flags(&opened, flags | ioctl::IMMUTABLE).is_err() {
            return;
        }
        let written = variables.write(&entry(1, Some(option(1)), option(2)));
        let after = ioctl::inode_flags(&opened).unwrap();
        ioctl::set_inode_flags(&opened, flags).unwrap();
        written.unwrap();
        assert_eq!(after & ioctl::IMMUTABLE, ioctl::IMMUTABLE);
        assert_eq!(variables.read().unwrap().entries.get(&1), Some(&option(2)));
    }
}
