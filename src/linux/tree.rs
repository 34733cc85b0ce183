//! The files of a mounted system, which cannot lead out of it: its links are followed as that system would follow them.

use super::Error;
use super::confined::{self, Within};
use super::overwriting;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// No file that is read here is larger: boot loaders have a few MiB.
const MOST_BYTES: u64 = 64 << 20;

/// The root of a system.
pub(super) struct Tree {
    root: File,
    name: String,
}

impl Tree {
    /// Opens the root. Paths within it have no slash in front.
    pub(super) fn open(root: &Path, name: &str) -> Result<Self, Error> {
        let opened = File::open(root).map_err(Error::io(format!("opening the root of {name}")))?;
        Ok(Self { root: opened, name: name.to_owned() })
    }

    /// Reads a plain file; `None` where it is not there.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let doing = || format!("reading /{path} of {}", self.name);
        let file = match self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(error) => return Err(Error::io(doing())(error)),
        };
        let metadata = file.metadata().map_err(Error::io(doing()))?;
        if !metadata.is_file() || metadata.len() > MOST_BYTES {
            return Err(Error::refused(format!(
                "/{path} of {} is no plain file of at most 64 MiB",
                self.name
            )));
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(Error::io(doing()))?;
        Ok(Some(bytes))
    }

    /// Bytes of a plain file; 0 where anything else has this name, `None` where nothing has.
    pub(super) fn filled(&self, path: &str) -> Result<Option<u64>, Error> {
        match self.resolve(path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(_) => Ok(Some(self.length(path)?.unwrap_or_default())),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(Error::io(format!("looking at /{path} of {}", self.name))(error)),
        }
    }

    /// The size of a plain file in bytes; `None` where there is none.
    pub(super) fn length(&self, path: &str) -> Result<Option<u64>, Error> {
        let doing = || format!("looking at /{path} of {}", self.name);
        match self.resolve(path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(file) => {
                let metadata = file.metadata().map_err(Error::io(doing()))?;
                Ok(metadata.is_file().then_some(metadata.len()))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(Error::io(doing())(error)),
        }
    }

    /// Reads a text; `None` where it is not there.
    pub(super) fn read_text(&self, path: &str) -> Result<Option<String>, Error> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| Error::refused(format!("/{path} of {} is no text in UTF-8", self.name)))
    }

    /// The names in a folder, with true for folders; none where it is not there.
    pub(super) fn list(&self, path: &str) -> Result<Vec<(String, bool)>, Error> {
        let doing = || format!("listing /{path} of {}", self.name);
        let folder = match self.folder(path) {
            Ok(folder) => folder,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(doing())(error)),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(magic_path(&folder)).map_err(Error::io(doing()))? {
            let entry = entry.map_err(Error::io(doing()))?;
            let kind = entry.file_type().map_err(Error::io(doing()))?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, kind.is_dir()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a folder, with those that it is in.
    pub(super) fn make_folder(&self, path: &str) -> Result<(), Error> {
        let doing = |part: &str| format!("making the folder /{part} of {}", self.name);
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for part in ends.filter_map(|end| path.get(..end)) {
            match self.folder(part) {
                Ok(_) => continue,
                Err(Errno::ENOENT) => {}
                Err(error) => return Err(Error::io(doing(part))(error)),
            }
            let (parent, name) = part.rsplit_once('/').unwrap_or(("", part));
            let parent = self.folder(parent).map_err(Error::io(doing(part)))?;
            fs::create_dir(magic_path(&parent).join(name)).map_err(Error::io(doing(part)))?;
        }
        Ok(())
    }

    /// Writes a file, in its place where it is there: it keeps its owner, its mode and its attributes. A new one that cannot be
    /// written is not there, or empty where a link leads to it.
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK;
        let (file, is_new) = match self.resolve(path, flags, Mode::empty()) {
            Err(Errno::ENOENT) => {
                let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
                (self.resolve(path, flags | OFlag::O_CREAT, mode), true)
            }
            found => (found, false),
        };
        let file = file.map_err(Error::io(self.writing(path)))?;
        let written = overwriting::overwrite(&file, bytes, &self.writing(path));
        if is_new && written.is_err() {
            // Where a link leads to it, the link stays, and what it leads to is empty.
            match self.resolve(path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()) {
                Ok(found) if found.metadata().is_ok_and(|found| found.is_symlink()) => {
                    file.set_len(0).map_err(Error::io(self.writing(path)))?;
                }
                _ => self.remove(path)?,
            }
        }
        written
    }

    /// Writes other bytes over a file that is there, in its place.
    pub(super) fn overwrite(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let file = match self.resolve(path, OFlag::O_RDWR | OFlag::O_NONBLOCK, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::EROFS) => {
                let fact = format!("{} can only be read: it was not shut down cleanly", self.name);
                return Err(Error::refused(fact));
            }
            Err(error) => return Err(Error::io(self.writing(path))(error)),
        };
        overwriting::overwrite(&file, bytes, &self.writing(path))
    }

    fn writing(&self, path: &str) -> String {
        format!("writing /{path} of {}", self.name)
    }

    /// Removes a file, or a link; what is not there stays so.
    pub(super) fn remove(&self, path: &str) -> Result<(), Error> {
        let doing = || format!("removing /{path} of {}", self.name);
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.folder(parent).map_err(Error::io(doing()))?;
        match fs::remove_file(magic_path(&parent).join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(doing())(error)),
            _ => Ok(()),
        }
    }

    /// The path of a file as it is written there, where small letters and capitals do not count.
    pub(super) fn spelled(&self, path: &str) -> Result<Option<String>, Error> {
        let mut spelled = String::new();
        for part in path.split('/') {
            let names = self.list(&spelled)?;
            let Some((name, _)) = names.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(part)) else {
                return Ok(None);
            };
            if !spelled.is_empty() {
                spelled.push('/');
            }
            spelled.push_str(&name);
        }
        Ok(Some(spelled))
    }

    fn folder(&self, path: &str) -> Result<File, Errno> {
        let path = if path.is_empty() { "." } else { path };
        self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
    }

    fn resolve(&self, path: &str, flags: OFlag, mode: Mode) -> Result<File, Errno> {
        confined::open(&self.root, path, Within::Root, flags, mode)
    }
}

/// A path to an open folder that no link can change.
fn magic_path(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn links_do_not_lead_out_of_the_tree() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(folder.path().join("outside"), "outside").unwrap();
        let outside = folder.path().join("outside");
        symlink(&outside, root.join("etc/absolute")).unwrap();
        symlink("../../outside", root.join("etc/relative")).unwrap();
        symlink("/etc/real", root.join("etc/inside")).unwrap();
        fs::write(root.join("etc/real"), "real").unwrap();
        let tree = Tree::open(&root, "a test").unwrap();
        assert_eq!(tree.read_text("etc/inside").unwrap().as_deref(), Some("real"));
        for link in ["etc/absolute", "etc/relative", "../outside", "/etc/nothing", "etc/real/x"] {
            assert_eq!(tree.read(link).unwrap(), None, "{link}");
        }
        tree.write("etc/relative", b"new").unwrap();
        tree.make_folder("boot/efi").unwrap();
        tree.make_folder("boot/efi").unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "outside");
        let names = tree.list("").unwrap();
        assert!(names.contains(&("boot".to_owned(), true)), "{names:?}");
        assert!(tree.read("etc").is_err());
        for (path, bytes) in
            [("etc/real", Some(4)), ("etc/inside", Some(0)), ("boot", Some(0)), ("etc/none", None)]
        {
            assert_eq!(tree.filled(path).unwrap(), bytes, "{path}");
        }
    }

    #[test]
    fn a_file_gets_longer_and_shorter_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "golden").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let tree = Tree::open(folder.path(), "a test").unwrap();
        for content in ["much longer than before", "short", "", "again"] {
            tree.overwrite("file", content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
            tree.write("file", &content.as_bytes().repeat(3)).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content.repeat(3));
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(tree.overwrite("new", b"x").is_err());
    }
}
