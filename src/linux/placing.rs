//! Putting files into a mounted file system that somebody else made, without leaving it.
//!
//! Invariants: links of the file system are followed as its own system would follow them, and never out of it; a file has its
//! name only when it is whole, with owner, mode and time; the same copied again is the same.

use super::Error;
use super::confined::{self, Within};
use crate::customize::archive::{Entry, What};
use crate::progress::Monitor;
use crate::schema::{FileMode, FileSystemKind, Owner, UNFINISHED};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const OWN: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// What a folder may be that nobody says anything about.
const FOLDER_MODE: u32 = 0o755;

/// Whose what is copied is, and who may do what with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    pub(super) owner: Option<Owner>,
    pub(super) mode: Option<FileMode>,
}

/// What was put into a file system, and what it could not keep.
#[derive(Debug, Default)]
pub(super) struct Put {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Symbolic links that it does not have.
    pub(super) links_left_out: u64,
    /// True where something had an owner or a mode that it does not keep.
    pub(super) rights_lost: bool,
}

/// What is read until somebody asks to stop.
pub(super) struct Watched<'a, R> {
    pub(super) inner: R,
    pub(super) monitor: &'a dyn Monitor,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.monitor.cancelled() {
            return Err(io::Error::other("stopped on request"));
        }
        self.inner.read(buffer)
    }
}

/// A mounted file system that takes files.
pub(super) struct Placing<'a> {
    monitor: &'a dyn Monitor,
    root: File,
    name: String,
    /// Where all of it comes, from the root.
    below: PathBuf,
    rights: Rights,
    /// False: it has no owners, no modes and no links.
    is_unix: bool,
    /// True: small letters and capitals are the same to its own system, but not to what it is mounted with here.
    ignores_case: bool,
    /// The last folder, which the next file is in as a rule.
    last: Option<(PathBuf, File)>,
    /// Where case does not count: the names in the last folder, by their small letters.
    spelled: Option<(PathBuf, BTreeMap<String, OsString>)>,
    /// Folders that were made, with what they are to be when everything is in them.
    made: Vec<(PathBuf, Entry)>,
    pub(super) put: Put,
}

impl<'a> Placing<'a> {
    /// For the file system that is mounted at a path; `name` is for messages.
    pub(super) fn new(
        root: &Path,
        name: &str,
        kind: FileSystemKind,
        below: &str,
        rights: Rights,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, Error> {
        use FileSystemKind::{Fat12, Fat16, Fat32, Ntfs};
        let opened = File::open(root).map_err(Error::io(format!("opening the root of {name}")))?;
        Ok(Self {
            monitor,
            root: opened,
            name: name.to_owned(),
            below: PathBuf::from(below),
            rights,
            is_unix: !matches!(kind, Ntfs | Fat12 | Fat16 | Fat32),
            ignores_case: kind == Ntfs,
            last: None,
            spelled: None,
            made: Vec::new(),
            put: Put::default(),
        })
    }

    /// Makes the folder that an archive is unpacked in.
    pub(super) fn make_root(&mut self) -> Result<(), Error> {
        self.folder(&self.below.clone()).map(drop)
    }

    /// Puts one entry of an archive, or a file, in its place.
    pub(super) fn put(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), Error> {
        let path = self.below.join(&entry.path);
        let doing = format!("copying /{} to {}", path.display(), self.name);
        match self.put_at(&path, entry, content) {
            Ok(()) => Ok(()),
            Err(PutError::Inner(error)) => Err(error),
            Err(PutError::Io(source)) => {
                self.forget_unfinished();
                Err(Error::Io { doing, source })
            }
        }
    }

    fn put_at(&mut self, path: &Path, entry: &Entry, content: &mut dyn Read) -> Result<(), PutError> {
        if entry.what == What::Folder {
            return self.put_folder(path, entry);
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(PutError::Io(io::ErrorKind::InvalidInput.into()));
        };
        let name = self.spelled(parent, name)?;
        let folder = self.folder(parent)?;
        match &entry.what {
            What::File { .. } => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
                remove(&folder, OsStr::new(UNFINISHED))?;
                let made = openat(&folder, UNFINISHED, flags | OFlag::O_CLOEXEC, OWN)?;
                let mut file = File::from(made);
                self.put.bytes = self.put.bytes.saturating_add(io::copy(content, &mut file)?);
                self.put.files = self.put.files.saturating_add(1);
                self.keep_rights(&file, entry)?;
            }
            What::Link { .. } if !self.is_unix => {
                self.put.links_left_out = self.put.links_left_out.saturating_add(1);
                return Ok(());
            }
            What::Link { to } => {
                remove(&folder, OsStr::new(UNFINISHED))?;
                symlinkat(to.as_path(), &folder, UNFINISHED)?;
                let (user, group) = self.owner(entry);
                fchownat(&folder, UNFINISHED, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW)?;
                let time = TimeSpec::new(entry.modified, 0);
                utimensat(&folder, UNFINISHED, &time, &time, UtimensatFlags::NoFollowSymlink)?;
            }
            What::Same { as_file, .. } => self.put_same(&folder, &self.below.join(as_file))?,
            What::Folder => {}
        }
        renameat(&folder, UNFINISHED, &folder, name.as_os_str())?;
        // Of two names of one file nothing is renamed (rename(2)).
        remove(&folder, OsStr::new(UNFINISHED))?;
        self.note_spelling(parent, name);
        Ok(())
    }

    /// Gives a file that was put another name, or where a file has one name only, puts it again.
    fn put_same(&mut self, folder: &File, known: &Path) -> Result<(), PutError> {
        let (Some(parent), Some(name)) = (known.parent(), known.file_name()) else {
            return Err(PutError::Io(io::ErrorKind::InvalidInput.into()));
        };
        let (spelled, last) = (self.spelled.take(), self.last.take());
        let name = self.spelled(parent, name)?;
        let from = self.folder(parent)?;
        (self.spelled, self.last) = (spelled, last);
        remove(folder, OsStr::new(UNFINISHED))?;
        match linkat(&from, name.as_os_str(), folder, UNFINISHED, AtFlags::empty()) {
            Err(Errno::EPERM | Errno::EOPNOTSUPP | Errno::EMLINK) => {
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let source = File::from(openat(&from, name.as_os_str(), flags, Mode::empty())?);
                let mut source = Watched { inner: source, monitor: self.monitor };
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
                let made = openat(folder, UNFINISHED, flags | OFlag::O_CLOEXEC, OWN)?;
                let copied = io::copy(&mut source, &mut File::from(made))?;
                self.put.bytes = self.put.bytes.saturating_add(copied);
                Ok(())
            }
            linked => Ok(linked?),
        }
    }

    /// Makes a folder. One that is there stays as it is.
    fn put_folder(&mut self, path: &Path, entry: &Entry) -> Result<(), PutError> {
        let known = self.made.len();
        self.folder(path)?;
        // It was made last, behind those that it is in.
        if self.made.len() > known
            && let Some((_, made)) = self.made.last_mut()
        {
            *made = entry.clone();
        } else if let Some((_, made)) = self.made.iter_mut().rfind(|(made, _)| made == path) {
            *made = entry.clone();
        }
        Ok(())
    }

    /// Gives the folders that were made their owners, modes and times, the inner ones first.
    pub(super) fn finish(mut self) -> Result<Put, Error> {
        self.last = None;
        for (path, entry) in std::mem::take(&mut self.made).into_iter().rev() {
            if self.monitor.cancelled() {
                return Err(Error::refused("stopped on request"));
            }
            let doing = format!("finishing the folder /{} of {}", path.display(), self.name);
            let folder = self.folder(&path)?;
            self.keep_rights(&folder, &entry).map_err(Error::io(doing))?;
        }
        Ok(self.put)
    }

    /// Opens a folder, and makes it where it is not there.
    fn folder(&mut self, path: &Path) -> Result<File, Error> {
        let doing = format!("making the folder /{} of {}", path.display(), self.name);
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return folder.try_clone().map_err(Error::io(doing));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let open = |path: &Path| {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            confined::open(&self.root, path, Within::Root, flags, Mode::empty())
        };
        let folder = match open(path) {
            Ok(folder) => folder,
            Err(Errno::ENOENT) => {
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(Error::io(doing)(Errno::ENOENT));
                };
                let name = self.spelled(parent, name)?;
                let above = self.folder(parent)?;
                let mode = Mode::from_bits_truncate(FOLDER_MODE);
                match mkdirat(&above, name.as_os_str(), mode) {
                    Ok(()) => {
                        let (path, mode) = (path.to_owned(), FOLDER_MODE);
                        let what = What::Folder;
                        let modified = now();
                        let entry = Entry { path: PathBuf::new(), what, mode, user: 0, group: 0, modified };
                        self.made.push((path, entry));
                        self.note_spelling(parent, name.clone());
                    }
                    // Its own system spells it another way.
                    Err(Errno::EEXIST) => {}
                    Err(error) => return Err(Error::io(doing)(error)),
                }
                let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
                let opened = openat(&above, name.as_os_str(), flags, Mode::empty());
                File::from(opened.map_err(Error::io(doing.clone()))?)
            }
            Err(error) => return Err(Error::io(doing)(error)),
        };
        let kept = folder.try_clone().map_err(Error::io(doing))?;
        self.last = Some((path.to_owned(), kept));
        Ok(folder)
    }

    /// A name as the folder that it is in has it already, where small letters and capitals do not count.
    fn spelled(&mut self, parent: &Path, name: &OsStr) -> Result<OsString, Error> {
        if !self.ignores_case {
            return Ok(name.to_owned());
        }
        if self.spelled.as_ref().is_none_or(|(known, _)| known != parent) {
            let folder = self.folder(parent)?;
            let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
            let doing = || format!("listing /{} of {}", parent.display(), self.name);
            let mut names = BTreeMap::new();
            for entry in fs::read_dir(path).map_err(Error::io(doing()))? {
                let name = entry.map_err(Error::io(doing()))?.file_name();
                names.insert(name.to_string_lossy().to_lowercase(), name);
            }
            self.spelled = Some((parent.to_owned(), names));
        }
        let names = self.spelled.as_ref().map(|(_, names)| names);
        let known = names.and_then(|names| names.get(&name.to_string_lossy().to_lowercase()));
        Ok(known.cloned().unwrap_or_else(|| name.to_owned()))
    }

    fn note_spelling(&mut self, parent: &Path, name: OsString) {
        if let Some((known, names)) = &mut self.spelled
            && known == parent
        {
            names.insert(name.to_string_lossy().to_lowercase(), name);
        }
    }

    fn owner(&self, entry: &Entry) -> (Uid, Gid) {
        let owner = self.rights.owner.unwrap_or(Owner { user: entry.user, group: entry.group });
        (Uid::from_raw(owner.user), Gid::from_raw(owner.group))
    }

    fn mode(&self, entry: &Entry) -> u32 {
        match (self.rights.mode, &entry.what) {
            (None, _) => entry.mode,
            (Some(FileMode(mode)), What::Folder) => mode | (mode & 0o444) >> 2,
            (Some(FileMode(mode)), _) => mode,
        }
    }

    fn keep_rights(&mut self, file: &File, entry: &Entry) -> Result<(), io::Error> {
        if self.is_unix {
            let (user, group) = self.owner(entry);
            // Owner first: changing it takes the set-user-ID bit away.
            fchown(file, Some(user), Some(group))?;
            fchmod(file, Mode::from_bits_truncate(self.mode(entry)))?;
        } else {
            let own = entry.user != 0 || entry.group != 0 || entry.mode & 0o111 != 0;
            let is_file = matches!(entry.what, What::File { .. });
            self.put.rights_lost |= self.rights.owner.is_some() || self.rights.mode.is_some();
            self.put.rights_lost |= own && is_file;
        }
        let time = TimeSpec::new(entry.modified, 0);
        match futimens(file, &time, &time) {
            // FAT knows no time before 1980 and none behind 2107.
            Err(Errno::EINVAL | Errno::ERANGE) if !self.is_unix => Ok(()),
            done => Ok(done?),
        }
    }

    /// Nothing that is half there stays: it would be there when the same is copied again.
    fn forget_unfinished(&self) {
        if let Some((_, folder)) = &self.last {
            let _ = remove(folder, OsStr::new(UNFINISHED));
        }
    }
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

fn remove(folder: &File, name: &OsStr) -> Result<(), io::Error> {
    debug_assert!(!name.as_bytes().contains(&b'/'));
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What went wrong, before it has a name.
enum PutError {
    Inner(Error),
    Io(io::Error),
}

impl From<Error> for PutError {
    fn from(error: Error) -> Self {
        Self::Inner(error)
    }
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for PutError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Event, Silent};
    use std::os::unix::fs::{MetadataExt, symlink};

    fn entry(path: &str, what: What) -> Entry {
        // Of whoever runs the tests.
        let (user, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Entry { path: path.into(), what, mode: 0o640, user, group, modified: 1_600_000_000 }
    }

    fn placing(root: &Path, kind: FileSystemKind, below: &str) -> Placing<'static> {
        Placing::new(root, "a test", kind, below, Rights { owner: None, mode: None }, &Silent).unwrap()
    }

    struct Stop;

    impl Monitor for Stop {
        fn event(&self, _: Event) {}

        fn cancelled(&self) -> bool {
            true
        }
    }

    #[test]
    fn somebody_who_asks_to_stop_is_heard_in_a_large_file_and_among_many_folders() {
        let folder = tempfile::tempdir().unwrap();
        let rights = Rights { owner: None, mode: None };
        let mut placing =
            Placing::new(folder.path(), "a test", FileSystemKind::Ext4, "", rights, &Stop).unwrap();
        let mut endless = Watched { inner: io::repeat(7), monitor: &Stop };
        let stopped = placing.put(&entry("sub/file", file()), &mut endless).unwrap_err();
        let Error::Io { source, .. } = &stopped else { panic!("{stopped}") };
        assert!(source.to_string().contains("stopped on request"));
        assert_eq!(fs::read_dir(folder.path().join("sub")).unwrap().count(), 0);
        assert!(placing.finish().unwrap_err().to_string().contains("stopped on request"));
    }

    fn file() -> What {
        What::File { bytes: 3 }
    }

    #[test]
    fn what_is_copied_stays_in_its_file_system_whatever_links_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "old").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../outside", root.join("relative")).unwrap();
        symlink(outside.join("file"), root.join("file")).unwrap();
        let mut placing = placing(&root, FileSystemKind::Ext4, "");
        placing.put(&entry("lib/a", file()), &mut &b"new"[..]).unwrap();
        placing.put(&entry("file", file()), &mut &b"new"[..]).unwrap();
        for path in ["absolute/file", "relative/file"] {
            // Neither is there, seen from the root of the volume.
            let _ = placing.put(&entry(path, file()), &mut &b"new"[..]);
        }
        assert_eq!(fs::read_to_string(root.join("usr/lib/a")).unwrap(), "new");
        assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "new");
        assert!(fs::symlink_metadata(root.join("file")).unwrap().is_file(), "the link was replaced");
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "old");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn files_have_their_mode_and_time_and_nothing_unfinished_stays() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("there")).unwrap();
        let mode_of_there = fs::metadata(root.join("there")).unwrap().mode();
        let meta = |path: &str| fs::symlink_metadata(root.join("there/opt").join(path)).unwrap();
        for round in 0..2 {
            let mut placing = placing(root, FileSystemKind::Ext4, "there/opt");
            placing.put(&entry("made", What::Folder), &mut io::empty()).unwrap();
            placing.put(&entry("made/file", file()), &mut &b"abc"[..]).unwrap();
            placing.put(&entry("made/link", What::Link { to: "/etc".into() }), &mut io::empty()).unwrap();
            let same = What::Same { as_file: "made/file".into(), bytes: 3 };
            placing.put(&entry("same", same.clone()), &mut io::empty()).unwrap();
            placing.put(&entry("same", same), &mut io::empty()).unwrap();
            let put = placing.finish().unwrap();
            assert_eq!((put.files, put.bytes, put.links_left_out, put.rights_lost), (1, 3, 0, false));
            for path in ["made", "made/file"] {
                assert_eq!(meta(path).mode() & 0o7777, 0o640, "{path}");
                // A folder that was there says when something in it was replaced.
                let is_kept = path == "made/file" || round == 0;
                assert_eq!(meta(path).mtime() == 1_600_000_000, is_kept, "{path}");
            }
        }
        assert_eq!(meta("made/link").mtime(), 1_600_000_000);
        assert_eq!(meta("same").ino(), meta("made/file").ino());
        assert_eq!(fs::metadata(root.join("there/opt")).unwrap().mode() & 0o7777, FOLDER_MODE);
        assert_eq!(fs::metadata(root.join("there")).unwrap().mode(), mode_of_there);
        let names = fs::read_dir(root.join("there/opt")).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let mut placing = placing(root, FileSystemKind::Ext4, "");
        assert!(placing.put(&entry("there", file()), &mut &b"abc"[..]).is_err(), "a folder is no file");
        assert!(!root.join(UNFINISHED).exists());
    }

    #[test]
    fn where_windows_does_not_tell_capitals_apart_a_name_stays_spelled_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("Users/Public")).unwrap();
        fs::write(root.join("Users/Public/ReadMe.txt"), "old").unwrap();
        let mut placing = placing(root, FileSystemKind::Ntfs, "users/PUBLIC");
        let files = [("readme.TXT", "one"), ("New.txt", "two"), ("new.TXT", "tre"), ("Sub/x", "for")];
        for (path, content) in files {
            placing.put(&entry(path, file()), &mut content.as_bytes()).unwrap();
        }
        placing.put(&entry("sub/Y", file()), &mut &b"fiv"[..]).unwrap();
        placing.put(&entry("link", What::Link { to: "x".into() }), &mut io::empty()).unwrap();
        let put = placing.finish().unwrap();
        assert_eq!((put.files, put.links_left_out), (5, 1));
        let read = |path: &str| fs::read_to_string(root.join("Users/Public").join(path)).unwrap();
        assert_eq!((read("ReadMe.txt"), read("New.txt")), ("one".to_owned(), "tre".to_owned()));
        assert_eq!((read("Sub/x"), read("Sub/Y")), ("for".to_owned(), "fiv".to_owned()));
        assert_eq!(fs::read_dir(root).unwrap().count(), 1);
    }
}
