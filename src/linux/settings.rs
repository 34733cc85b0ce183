//! What the systems on deployed volumes are told: their name and answers. Linux through the kernel, Windows through ntfs-3g.

use super::customize::missing_devices;
use super::mounted::{MountFolder, Mounted, how, kernel_has, roots_of};
use super::ntfs_files::with_ntfs;
use super::tree::Tree;
use super::{Error, lvm_devices, windows_files};
use crate::customize::naming::{self, ChangedFile, Files, Renamed};
use crate::customize::{CustomizeError, Deployed};
use crate::plan::{Settings, SystemVolume};
use crate::progress::{Event, Monitor};
use crate::schema::FileSystemKind;
use crate::units::format_size;
use std::collections::BTreeSet;
use std::path::Path;

/// The files in which Windows keeps what is not in memory, in the root of any of its volumes.
const PAGE_FILES: [&str; 3] = ["pagefile.sys", "swapfile.sys", "hiberfil.sys"];

/// What is missing to look into a volume for something: a clause.
pub(super) fn missing(kind: FileSystemKind, what: &str) -> Option<String> {
    let needed = missing_devices(what);
    match kind {
        FileSystemKind::Ntfs => needed.or_else(|| windows_files::missing(what)),
        _ => needed.or_else(|| {
            let (name, _) = how(kind)?;
            (!kernel_has(name))
                .then(|| format!("this kernel cannot mount {kind}; load its module (modprobe {name})"))
        }),
    }
}

/// What keeps the systems on these volumes from being told anything: a sentence.
pub(super) fn missing_for(volumes: &[SystemVolume], what: &str) -> Option<String> {
    volumes.iter().find_map(|volume| missing(volume.file_system, what))
}

/// Tells every system on the volumes. Returns sentences about what a person has to look after: what fails in one volume, or with one
/// file, keeps no other from being told.
///
/// # Errors
/// Where a file system stays mounted.
pub(super) fn tell(
    settings: &Settings,
    volumes: &[SystemVolume],
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Vec<String>, CustomizeError> {
    let (mut found, mut answered, mut problems) = (false, BTreeSet::new(), Vec::new());
    let mut has_windows = false;
    for SystemVolume { target, volume, file_system } in volumes {
        let on_device = |device: &Path| Ok(in_volume(device, volume, *file_system, settings));
        let looked = match lvm_devices::on_device(target, volume, deployed, on_device) {
            Ok((looked, kept)) => {
                problems.extend(kept);
                looked?
            }
            Err(error) => Looked::Failed(error.with_causes()),
        };
        let renamed = match looked {
            Looked::Told(renamed) => {
                found = true;
                has_windows |= *file_system == FileSystemKind::Ntfs;
                renamed
            }
            Looked::NoSystem(renamed) => renamed,
            Looked::Failed(why) => {
                let wish = match &settings.name {
                    Some(name) => format!("to be called {name}"),
                    None if settings.answers.is_empty() => "that could be changed".to_owned(),
                    None => "with an answer file".to_owned(),
                };
                problems.push(format!("{volume}: whether it holds a system {wish} could not be seen: {why}"));
                continue;
            }
        };
        answered.extend(renamed.answered);
        for file in renamed.changed {
            monitor.event(Event::Changed { volume: volume.clone(), message: file.said });
        }
        problems.extend(renamed.problems.into_iter().map(|problem| format!("{volume}: {problem}")));
    }
    if let (false, Some(name)) = (found, &settings.name) {
        problems.push(format!("no volume holds a system that could be called {name}"));
    }
    if !has_windows && !settings.boot_drivers.is_empty() {
        problems.push("no volume holds a Windows whose drivers could be set to start with it".to_owned());
    }
    let lacking = settings.answers.iter().filter(|answer| !answered.contains(&answer.element));
    problems.extend(lacking.map(|answer| {
        format!("no answer file of a deployed Windows has an element {}, so it was not set", answer.element)
    }));
    Ok(problems)
}

/// What a volume is found to hold.
enum Looked {
    /// No system, though perhaps its page files.
    NoSystem(Renamed),
    Told(Renamed),
    /// It could not be looked into, and a volume with data is as good as before.
    Failed(String),
}

/// An error is that of a file system that stays mounted.
fn in_volume(
    device: &Path,
    volume: &str,
    kind: FileSystemKind,
    settings: &Settings,
) -> Result<Looked, CustomizeError> {
    let look = |tree: &Tree| match (kind, &settings.name) {
        (FileSystemKind::Ntfs, None) if settings.answers.is_empty() && settings.boot_drivers.is_empty() => {
            Ok(None)
        }
        (FileSystemKind::Ntfs, _) => naming::windows(&WindowsTree(tree), settings),
        (_, None) => Ok(None),
        (_, Some(name)) => {
            let mut roots = roots_of(kind).iter();
            roots.find_map(|root| naming::linux(tree, root, name).transpose()).transpose()
        }
    };
    let all = |tree: &Tree| {
        let empties = settings.empty_page_files && kind == FileSystemKind::Ntfs;
        let emptied = if empties { page_files(tree)? } else { Vec::new() };
        let system = look(tree)?;
        let is_system = system.is_some();
        let mut renamed = system.unwrap_or_default();
        renamed.changed.extend(emptied);
        Ok((is_system, renamed))
    };
    let (is_system, mut renamed) = match with_files(device, kind, true, volume, all) {
        Ok(found) => found,
        Err(error) if error.stays_mounted() => return Err(error),
        Err(error) => return Ok(Looked::Failed(error.with_causes())),
    };
    if !renamed.changed.is_empty() {
        let changed = std::mem::take(&mut renamed.changed);
        let written = with_files(device, kind, false, volume, |tree| {
            for file in &changed {
                match write(tree, kind, file) {
                    Ok(()) => renamed.changed.push(file.clone()),
                    Err(error) => renamed.problems.push(not_written(file, &error.with_causes())),
                }
            }
            Ok(())
        });
        if let Err(error) = written {
            if error.stays_mounted() {
                return Err(error);
            }
            let why = error.with_causes();
            match changed.iter().filter(|file| !renamed.changed.contains(file)).collect::<Vec<_>>().as_slice()
            {
                [] => renamed.problems.push(why),
                not_tried => renamed.problems.extend(not_tried.iter().map(|file| not_written(file, &why))),
            }
        }
    }
    Ok(if is_system { Looked::Told(renamed) } else { Looked::NoSystem(renamed) })
}

fn write(tree: &Tree, kind: FileSystemKind, file: &ChangedFile) -> Result<(), Error> {
    match kind {
        FileSystemKind::Ntfs => {
            let path = tree.spelled(&file.path)?.unwrap_or_else(|| file.path.clone());
            tree.overwrite(&path, &file.bytes)
        }
        _ => tree.write(&file.path, &file.bytes),
    }
}

fn not_written(file: &ChangedFile, why: &str) -> String {
    format!("/{} is not changed: {why}", file.path)
}

/// The page files of a volume that hold something, as what they become.
fn page_files(tree: &Tree) -> Result<Vec<ChangedFile>, Error> {
    let mut emptied = Vec::new();
    for name in PAGE_FILES {
        let Some(path) = tree.spelled(name)? else { continue };
        if let Some(length) = tree.length(&path)?.filter(|length| *length > 0) {
            let said = format!("/{path} was emptied ({})", format_size(length));
            emptied.push(ChangedFile { path, bytes: Vec::new(), said });
        }
    }
    Ok(emptied)
}

/// Mounts a volume for a moment.
fn with_files<T>(
    device: &Path,
    kind: FileSystemKind,
    read_only: bool,
    volume: &str,
    work: impl FnOnce(&Tree) -> Result<T, CustomizeError>,
) -> Result<T, CustomizeError> {
    let Some((name, options)) = how(kind) else { return with_ntfs(device, read_only, volume, work) };
    let folder = MountFolder::new("settings")?;
    let mount = if read_only { Mounted::read_only } else { Mounted::new };
    let mounted = mount(device, folder.path(), name, options)?;
    let done = Tree::open(folder.path(), volume).map_err(Into::into).and_then(|tree| work(&tree));
    mounted.unmount()?;
    done
}

impl Files for Tree {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, CustomizeError> {
        Ok(Self::read(self, path)?)
    }

    fn filled(&self, path: &str) -> Result<Option<u64>, CustomizeError> {
        Ok(Self::filled(self, path)?)
    }
}

/// Windows does not tell small letters from capitals.
struct WindowsTree<'a>(&'a Tree);

impl Files for WindowsTree<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, CustomizeError> {
        match self.0.spelled(path)? {
            Some(path) => Ok(self.0.read(&path)?),
            None => Ok(None),
        }
    }

    fn filled(&self, path: &str) -> Result<Option<u64>, CustomizeError> {
        match self.0.spelled(path)? {
            Some(path) => Ok(self.0.filled(&path)?),
            None => Ok(None),
        }
    }
}
