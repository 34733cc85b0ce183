//! Copying artefacts into deployed file systems, and mounting these for a person's script.

use super::mounted::{MountFolder, Mounted, how};
use super::placing::{Placing, Put, Rights, Watched};
use super::{Error, left_behind, lvm_devices, ntfs_files, settings};
use crate::customize::archive::{self, ArchiveError, Entry, What};
use crate::customize::{CustomizeError, Deployed};
use crate::plan::{Amount, HardNames, SystemVolume, WishedCopy};
use crate::progress::{Event, Monitor};
use crate::schema::{ArtefactId, CopyKind, FileSystemKind};
use crate::units::u64_from;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// An artefact at hand: a file, and what its bytes are to be.
#[derive(Debug)]
pub struct Artefact {
    file: File,
    id: ArtefactId,
    bytes: u64,
    modified: i64,
    /// What it is called, for messages.
    pub name: String,
}

impl Artefact {
    /// A file by what it holds now.
    ///
    /// # Errors
    /// Where it is no plain file, or cannot be read.
    pub fn of(file: File, name: String) -> Result<Self, Error> {
        let doing = || format!("reading {name}");
        let metadata = file.metadata().map_err(Error::io(doing()))?;
        if !metadata.is_file() {
            return Err(Error::refused(format!("{name} is no file that could be copied")));
        }
        let mut hashed = Hashed::new(&file);
        let bytes = io::copy(&mut hashed, &mut io::sink()).map_err(Error::io(doing()))?;
        let (id, modified) = (hashed.id(), metadata.mtime());
        Ok(Self { file, id, bytes, modified, name })
    }

    /// Its name by its content.
    #[must_use]
    pub const fn id(&self) -> ArtefactId {
        self.id
    }

    /// Its size.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads it once, to see what it holds.
    ///
    /// # Errors
    /// Everything that would keep it from being copied; also where it holds more than `most_bytes`, and where somebody asks to
    /// stop.
    pub fn measure(
        &self,
        kind: CopyKind,
        most_bytes: u64,
        monitor: &dyn Monitor,
    ) -> Result<(Amount, HardNames), ArchiveError> {
        let (files, bytes) = (1, self.bytes);
        match kind {
            CopyKind::File => {
                let amount = Amount { files, bytes, largest_bytes: bytes, ..Amount::default() };
                Ok((amount, HardNames::default()))
            }
            CopyKind::Archive => archive::measure(Reader { file: &self.file, at: 0 }, most_bytes, monitor),
        }
    }

    /// Refuses what was read where it is not what it was when it was named.
    fn check(&self, mut read: Hashed<'_>, monitor: &dyn Monitor) -> Result<(), CustomizeError> {
        let doing = || format!("reading {}", self.name);
        io::copy(&mut Watched { inner: &mut read, monitor }, &mut io::sink()).map_err(Error::io(doing()))?;
        if read.id() == self.id {
            return Ok(());
        }
        let fact = format!("{} was changed while it was copied; copy it again", self.name);
        Err(CustomizeError::Refused { fact })
    }
}

/// A file from its first byte on, whoever else reads it.
struct Reader<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(u64_from(read));
        Ok(read)
    }
}

/// The same, hashed as it is read.
struct Hashed<'a> {
    reader: io::BufReader<Reader<'a>>,
    hash: Sha256,
}

impl<'a> Hashed<'a> {
    fn new(file: &'a File) -> Self {
        let reader = io::BufReader::with_capacity(READ_BYTES, Reader { file, at: 0 });
        Self { reader, hash: Sha256::new() }
    }

    fn id(self) -> ArtefactId {
        ArtefactId(self.hash.finalize().into())
    }
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if let Some(bytes) = buffer.get(..read) {
            self.hash.update(bytes);
        }
        Ok(read)
    }
}

/// What is missing to mount a file system for files or a script: a sentence.
#[must_use]
pub fn missing_for_files(kind: FileSystemKind) -> Option<String> {
    settings::missing(kind, "copying files into a file system")
}

/// Copies an artefact into a deployed volume. Returns sentences about what a person has to look after.
///
/// # Errors
/// Where it was not copied, or not all of it.
pub fn copy_files(
    artefact: &Artefact,
    on: &SystemVolume,
    wished: &WishedCopy,
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Vec<String>, CustomizeError> {
    let (put, kept) = on_volume(on, deployed, false, |root| put_all(artefact, on, wished, root, monitor))?;
    let SystemVolume { volume, file_system, .. } = on;
    let amount = Amount { files: put.files, bytes: put.bytes, ..Amount::default() };
    let lost = if put.rights_lost {
        format!("; {file_system} does not keep whose they are and who may do what with them")
    } else {
        String::new()
    };
    let message = format!("{} copied to {}{lost}", amount.sentence(), wished.copy.to);
    monitor.event(Event::Changed { volume: volume.clone(), message });
    let left_out = (put.links_left_out > 0).then(|| {
        let (count, name, to) = (put.links_left_out, &wished.name, &wished.copy.to);
        format!("{volume}: {count} symbolic links of {name} are not in {to}, because {file_system} has none")
    });
    Ok(left_out.into_iter().chain(kept).collect())
}

fn put_all(
    artefact: &Artefact,
    on: &SystemVolume,
    wished: &WishedCopy,
    root: &Path,
    monitor: &dyn Monitor,
) -> Result<Put, CustomizeError> {
    let copy = &wished.copy;
    let rights = Rights { owner: copy.owner, mode: copy.mode };
    let place = copy.place();
    let mut read = Hashed::new(&artefact.file);
    let below = if copy.kind == CopyKind::Archive { place.as_str() } else { "" };
    let mut placing = Placing::new(root, &on.volume, on.file_system, below, rights, monitor)?;
    match copy.kind {
        CopyKind::File => {
            let what = What::File { bytes: artefact.bytes };
            let (path, modified) = (PathBuf::from(place), artefact.modified);
            placing.put(
                &Entry { path, what, mode: 0o644, user: 0, group: 0, modified },
                &mut Watched { inner: &mut read, monitor },
            )?;
        }
        CopyKind::Archive => {
            placing.make_root()?;
            // Its bound is the room that was counted: it is the one that was measured.
            archive::walk(&mut read, u64::MAX, monitor, |entry, content: &mut dyn Read| {
                Ok(placing.put(entry, content).map_err(CustomizeError::from)?)
            })
            .map_err(|Walked(error)| match error {
                CustomizeError::Refused { fact } => {
                    CustomizeError::Refused { fact: format!("{}: {fact}", wished.name) }
                }
                other => other,
            })?;
        }
    }
    artefact.check(read, monitor)?;
    Ok(placing.finish()?)
}

/// What went wrong on the way through an archive.
struct Walked(CustomizeError);

impl From<CustomizeError> for Walked {
    fn from(error: CustomizeError) -> Self {
        Self(error)
    }
}

impl From<ArchiveError> for Walked {
    fn from(error: ArchiveError) -> Self {
        Self(match error {
            ArchiveError::Io(source) => {
                CustomizeError::Io { doing: "reading the archive".to_owned(), source }
            }
            ArchiveError::Refused(fact) => CustomizeError::Refused { fact },
        })
    }
}

/// Mounts a deployed volume for a person's script, which may leave mounts and processes in it: they are ended then. Returns what
/// came of the work, and a sentence where a program keeps the device open although everything is done and on the disk.
///
/// # Errors
/// Where it cannot be mounted or unmounted, and those of `work`.
pub fn while_mounted<T>(
    on: &SystemVolume,
    deployed: Deployed<'_>,
    work: impl FnOnce(&Path) -> Result<T, CustomizeError>,
) -> Result<(T, Option<String>), CustomizeError> {
    on_volume(on, deployed, true, |root| {
        let looking = || Error::io(format!("looking at {}", on.volume));
        let device = fs::metadata(root).map_err(looking())?.dev();
        let done = work(root);
        left_behind::end(root, device);
        done
    })
}

/// The same, also without a script.
fn on_volume<T>(
    on: &SystemVolume,
    deployed: Deployed<'_>,
    with_programs: bool,
    work: impl FnOnce(&Path) -> Result<T, CustomizeError>,
) -> Result<(T, Option<String>), CustomizeError> {
    let on_device = |device: &Path| Ok(mounted(device, on, with_programs, work));
    let (done, kept) = lvm_devices::on_device(&on.target, &on.volume, deployed, on_device)?;
    Ok((done?, kept))
}

fn mounted<T>(
    device: &Path,
    on: &SystemVolume,
    with_programs: bool,
    work: impl FnOnce(&Path) -> Result<T, CustomizeError>,
) -> Result<T, CustomizeError> {
    let Some((name, options)) = how(on.file_system) else {
        // Files that are copied get no names that Windows does not open; a script does as it likes.
        let options = if with_programs { "nodev,nosuid" } else { "nodev,nosuid,noexec,windows_names" };
        return ntfs_files::while_mounted(device, options, work);
    };
    let folder = MountFolder::new("files")?;
    let mount = if with_programs { Mounted::with_programs } else { Mounted::new };
    let mounted = mount(device, folder.path(), name, options)?;
    let done = work(folder.path());
    mounted.unmount()?;
    done
}
