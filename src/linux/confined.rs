//! Opening a path that somebody else made up, without leaving a folder.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// A path with `..` in it, or in a link on its way, is not resolved while anything on the machine is mounted, unmounted
/// or renamed: openat2(2) then says `EAGAIN`, and to ask again. The test below has a neighbour that does nothing but rename.
const MOST_ATTEMPTS: u32 = 1000;

/// What a path that leads out of the folder means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// The folder is the root of a system: absolute links and `..` are followed as that system would follow them.
    Root,
    /// It is an error, `EXDEV`.
    Folder,
}

/// Opens what a path means below an open folder. Links of `/proc` are not followed.
///
/// # Errors
///
/// What openat2(2) says: `ENOENT`, `ENOTDIR`, `ELOOP`, `EXDEV`; `ENOSYS` before Linux 5.6; `EAGAIN` where the machine
/// renames and mounts without a pause.
pub fn open(
    folder: impl AsFd,
    path: impl AsRef<Path>,
    within: Within,
    flags: OFlag,
    mode: Mode,
) -> Result<File, Errno> {
    let bounds = match within {
        Within::Root => ResolveFlag::RESOLVE_IN_ROOT,
        Within::Folder => ResolveFlag::RESOLVE_BENEATH,
    };
    let resolve = bounds | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
    let mut attempts = 1;
    loop {
        match openat2(folder.as_fd(), path.as_ref(), how).map(File::from) {
            Err(Errno::EAGAIN) if attempts < MOST_ATTEMPTS => attempts += 1,
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn what_is_renamed_meanwhile_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        fs::create_dir_all(folder.path().join("boot/extlinux")).unwrap();
        fs::create_dir(&one).unwrap();
        fs::write(folder.path().join("file"), "here").unwrap();
        symlink("../../file", folder.path().join("boot/extlinux/link")).unwrap();
        let opened = File::open(folder.path()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    fs::rename(&one, &other).unwrap();
                    fs::rename(&other, &one).unwrap();
                }
            });
            let path = "boot/extlinux/link";
            let failed = [Within::Root, Within::Folder].into_iter().find_map(|within| {
                let open = |_| open(&opened, path, within, OFlag::O_RDONLY, Mode::empty()).err();
                (0..20_000).find_map(open)
            });
            done.store(true, Ordering::Relaxed);
            assert_eq!(failed, None);
        });
    }
}
