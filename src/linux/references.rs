//! The names of partitions in deployed file systems: mounted, looked through, and put right where there are old ones.
//!
//! Invariants:
//!
//! - No path leads out of the file system, whatever links it holds (`openat2` with `RESOLVE_IN_ROOT`).
//! - A file system in which nothing is to be changed is mounted read-only, and nothing is written to it.
//! - A file is changed in its place, so that owner, mode, attributes and hard links stay, and its time is put back.
//! - Where one file cannot be changed, none is: those that were are put back.

use super::confined::{self, Within};
use super::loop_device::control_device;
use super::mounted::{MountFolder, Mounted, how, kernel_has};
use super::{Error, ioctl, is_root, overwriting};
use crate::customize::references::{FILES, MOST_BYTES, MOST_ENTRIES, rewrite, stands_for};
use crate::plan::NewName;
use crate::schema::FileSystemKind;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Number of the inode that a subvolume of btrfs begins with (`BTRFS_FIRST_FREE_OBJECTID`).
const SUBVOLUME_INODE: u64 = 256;

/// What stands in the way of looking into a file system: a clause.
pub(super) fn missing(kind: FileSystemKind) -> Option<String> {
    let (name, _) = how(kind)?;
    if !is_root() {
        return Some(format!("mounting {kind} needs root; run as root"));
    }
    if let Err(error) = control_device() {
        return Some(error.to_string());
    }
    (!kernel_has(name)).then(|| format!("this kernel cannot mount {kind}; load its module (modprobe {name})"))
}

/// What was changed in a file system, and what was not although it may need it: sentences.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub(super) changed: Vec<String>,
    pub(super) problems: Vec<String>,
    /// True: something may name partitions as they were captured.
    pub(super) keeps_names: bool,
}

/// Puts the names of partitions right in the file system on a device.
pub(super) fn follow(device: &Path, kind: FileSystemKind, names: &[NewName]) -> Result<Followed, Error> {
    let Some((name, options)) = how(kind) else { return Ok(Followed::default()) };
    let folder = MountFolder::new("names")?;
    let mounted = Mounted::read_only(device, folder.path(), name, options)?;
    let looked = look_through_all(folder.path(), kind, names);
    mounted.unmount()?;
    let (to_change, problems) = looked?;
    let mut followed = Followed { changed: Vec::new(), keeps_names: !problems.is_empty(), problems };
    if !to_change.is_empty() {
        let mounted = Mounted::new(device, folder.path(), name, options)?;
        let changed = change_all(&to_change, names);
        mounted.unmount()?;
        followed.changed = changed?;
    }
    Ok(followed)
}

/// Puts the names in all files right, or in none. Returns the sentences about them.
fn change_all(files: &[RootAndPath], names: &[NewName]) -> Result<Vec<String>, Error> {
    let mut sentences = Vec::new();
    for (position, (root, path)) in files.iter().enumerate() {
        match change(root, path, names) {
            Ok(sentence) => sentences.extend(sentence),
            Err(error) => {
                let back: Vec<NewName> = names
                    .iter()
                    .map(|name| NewName { of: name.of.clone(), old: name.new.clone(), new: name.old.clone() })
                    .collect();
                for (root, path) in files.iter().take(position) {
                    change(root, path, &back).map_err(|also| {
                        let (error, also) = (error.with_causes(), also.with_causes());
                        Error::NotPutBack {
                            fact: format!("{error}; what was changed before is not put back: {also}"),
                        }
                    })?;
                }
                return Err(error);
            }
        }
    }
    Ok(sentences)
}

/// A root, and a file in it.
type RootAndPath = (PathBuf, PathBuf);

/// The files of all roots in which something is to be changed, each with its root, and sentences about those that nobody
/// could look into.
fn look_through_all(
    mounted: &Path,
    kind: FileSystemKind,
    names: &[NewName],
) -> Result<(Vec<RootAndPath>, Vec<String>), Error> {
    let mut roots = vec![mounted.to_path_buf()];
    if kind == FileSystemKind::Btrfs {
        roots.extend(subvolumes(mounted)?);
    }
    let (mut to_change, mut problems) = (Vec::new(), Vec::new());
    for root in roots {
        let (files, unseen) = look_through(&root, names)?;
        to_change.extend(files.into_iter().map(|path| (root.clone(), path)));
        problems.extend(unseen);
    }
    Ok((to_change, problems))
}

/// The subvolumes of a btrfs that may be roots of systems: those in its top, and what snapper keeps of them, one of which is
/// the root of openSUSE. One that is read-only is a snapshot, and stays as it was when it was taken.
fn subvolumes(mounted: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = folders(mounted)?;
    for top in found.clone() {
        let kept = top.join(".snapshots");
        // A link would lead out of the file system.
        let is_folder = fs::symlink_metadata(&kept).is_ok_and(|found| found.is_dir());
        let kept = if is_folder { folders(&kept)? } else { Vec::new() };
        found.extend(kept.into_iter().map(|number| number.join("snapshot")).take(MOST_ENTRIES));
    }
    let mut writable = Vec::new();
    for folder in found {
        if is_writable_subvolume(&folder)? {
            writable.push(folder);
        }
    }
    writable.sort_unstable();
    Ok(writable)
}

/// The folders in a folder; what links to one is none.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let listing = || Error::io(format!("listing {}", folder.display()));
    let entries = fs::read_dir(folder).map_err(listing())?.take(MOST_ENTRIES);
    let entries: Vec<fs::DirEntry> = entries.collect::<Result<_, _>>().map_err(listing())?;
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    Ok(entries.iter().filter(|entry| is_folder(entry)).map(fs::DirEntry::path).collect())
}

/// Whether a folder is a subvolume that may be changed. The flag is its own, however the file system is mounted.
fn is_writable_subvolume(folder: &Path) -> Result<bool, Error> {
    let doing = || Error::io(format!("looking at {}", folder.display()));
    let is_folder = OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY;
    let opened = match OpenOptions::new().read(true).custom_flags(is_folder.bits()).open(folder) {
        // What snapper keeps in a numbered folder may be gone.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        opened => opened.map_err(doing())?,
    };
    if opened.metadata().map_err(doing())?.ino() != SUBVOLUME_INODE {
        return Ok(false);
    }
    let is_read_only = ioctl::btrfs_subvolume_is_read_only(&opened);
    is_read_only.map(|read_only| !read_only).map_err(|errno| doing()(errno.into()))
}

/// The files in which something is to be changed, and sentences about those that nobody could look into.
fn look_through(root: &Path, names: &[NewName]) -> Result<(Vec<PathBuf>, Vec<String>), Error> {
    let (mut to_change, mut problems) = (Vec::new(), Vec::new());
    let top = File::open(root).map_err(Error::io(format!("opening {}", root.display())))?;
    let mut paths = Vec::new();
    for pattern in FILES {
        paths.extend(expand(&top, pattern)?);
    }
    for path in paths {
        let Some(file) = open_within(&top, &path, OFlag::O_RDONLY)? else { continue };
        let metadata = file.metadata().map_err(reading(&path))?;
        if !metadata.is_file() {
            continue;
        }
        if metadata.len() > MOST_BYTES {
            problems.push(format!(
                "/{} has {} bytes and was not looked into; see whether it names partitions by PARTUUID",
                path.display(),
                metadata.len()
            ));
            continue;
        }
        if rewrite(&content(&file, &path)?, names).is_some() {
            to_change.push(path);
        }
    }
    Ok((to_change, problems))
}

/// The paths that a pattern stands for, as far as their folders are there.
fn expand(top: &File, pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let mut paths = vec![PathBuf::new()];
    for part in pattern.split('/') {
        let mut longer = Vec::new();
        for path in &paths {
            longer.extend(matching(top, path, part)?);
        }
        longer.truncate(MOST_ENTRIES);
        paths = longer;
    }
    Ok(paths)
}

/// The entries of a folder that a part of a pattern stands for; none where it is not there.
fn matching(top: &File, folder: &Path, part: &str) -> Result<Vec<PathBuf>, Error> {
    if !part.contains('*') {
        return Ok(vec![folder.join(part)]);
    }
    let Some(open) = open_within(top, folder, OFlag::O_RDONLY | OFlag::O_DIRECTORY)? else {
        return Ok(Vec::new());
    };
    // By the descriptor: the way to the folder is not walked a second time.
    let listing = || Error::io(format!("listing /{}", folder.display()));
    let entries = fs::read_dir(format!("/proc/self/fd/{}", open.as_raw_fd())).map_err(listing())?;
    let mut found = Vec::new();
    for entry in entries.take(MOST_ENTRIES) {
        // No file that is looked for has a name that is no text.
        let name = entry.map_err(listing())?.file_name().into_string();
        found.extend(name.ok().filter(|name| stands_for(part, name)).map(|name| folder.join(name)));
    }
    found.sort();
    Ok(found)
}

/// Opens what a path means inside of a file system; `None` where it is not there.
fn open_within(top: &File, path: &Path, flags: OFlag) -> Result<Option<File>, Error> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    // A pipe must not be waited for.
    match confined::open(top, path, Within::Root, flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, Mode::empty())
    {
        Ok(file) => Ok(Some(file)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => Ok(None),
        Err(error) if flags.contains(OFlag::O_RDWR) => Err(Error::io(changing(path))(error)),
        Err(error) => Err(reading(path)(error)),
    }
}

/// Puts the names in one file right. Returns the sentence about it.
fn change(root: &Path, path: &Path, names: &[NewName]) -> Result<Option<String>, Error> {
    let top = File::open(root).map_err(Error::io(format!("opening {}", root.display())))?;
    let Some(file) = open_within(&top, path, OFlag::O_RDWR)? else { return Ok(None) };
    // Another path may have led to the same file.
    let Some((text, count)) = rewrite(&content(&file, path)?, names) else { return Ok(None) };
    let metadata = file.metadata().map_err(Error::io(changing(path)))?;
    let times = FileTimes::new();
    let times = metadata.accessed().map_or(times, |time| times.set_accessed(time));
    let times = metadata.modified().map_or(times, |time| times.set_modified(time));
    overwriting::overwrite(&file, &text, &changing(path))?;
    // Without its old time it is as good.
    let _ = file.set_times(times).and_then(|()| file.sync_all());
    let path = path.display();
    Ok(Some(match count {
        1 => format!("In /{path} a partition is named by its identifier on this disk."),
        _ => format!("In /{path} partitions are named by their identifiers on this disk, {count} times."),
    }))
}

fn content(file: &File, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(reading(path))?;
    Ok(bytes)
}

fn changing(path: &Path) -> String {
    format!("changing /{}", path.display())
}

fn reading<E: Into<std::io::Error>>(path: &Path) -> impl FnOnce(E) -> Error {
    Error::io(format!("reading /{}", path.display()))
}
