//! A file system that is mounted for a moment, so that the kernel does to it what only the kernel can.

use super::{Error, mounts, program};
use crate::blockio::ReadAt;
use crate::filesystem;
use crate::schema::FileSystemKind;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Whatever is mounted here came from somewhere else.
const BASIC_FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOATIME);

/// What the kernel calls a file system, and the options with which it mounts one for us; `None` for what it does not mount.
///
/// XFS is mounted beside another one with its UUID. Of a btrfs the whole is mounted whichever subvolume is the default one; a
/// balance that was interrupted does not go on, and nothing is told to the device about what became free.
pub(super) const fn how(kind: FileSystemKind) -> Option<(&'static str, &'static str)> {
    match kind {
        // The driver for ext4 serves all three.
        FileSystemKind::Ext2 | FileSystemKind::Ext3 | FileSystemKind::Ext4 => Some(("ext4", "")),
        FileSystemKind::Xfs => Some(("xfs", "nouuid")),
        FileSystemKind::Btrfs => Some(("btrfs", "subvolid=5,skip_balance,nodiscard")),
        FileSystemKind::Jfs => Some(("jfs", "")),
        FileSystemKind::Nilfs2 => Some(("nilfs2", "")),
        FileSystemKind::Fat12 | FileSystemKind::Fat16 | FileSystemKind::Fat32 => Some(("vfat", "")),
        _ => None,
    }
}

/// Where distributions keep the root of a system within a btrfs: on top, or in the subvolume that Debian, Ubuntu or Fedora make.
/// openSUSE's is a snapshot, which is the default subvolume ([`default_subvolume`]).
pub(super) const BTRFS_ROOTS: [&str; 4] = ["", "@rootfs/", "@/", "root/"];

/// Where the root of a system may be within a file system.
pub(super) const fn roots_of(kind: FileSystemKind) -> &'static [&'static str] {
    match kind {
        FileSystemKind::Btrfs => &BTRFS_ROOTS,
        _ => &[""],
    }
}

/// The subvolume of a btrfs that is mounted where nobody names one, as a path with a slash behind it; `None` where that is the
/// whole, and where the device cannot be mounted.
///
/// # Errors
/// Where it stays mounted.
pub(super) fn default_subvolume(device: &Path, folder: &Path) -> Result<Option<String>, Error> {
    let Ok(mounted) = Mounted::read_only(device, folder, "btrfs", "skip_balance,nodiscard") else {
        return Ok(None);
    };
    let root = mounts::root_of(folder);
    mounted.unmount()?;
    let path = root.as_deref().map(|root| root.trim_matches('/')).filter(|path| !path.is_empty());
    Ok(path.map(|path| format!("{path}/")))
}

/// The file systems that the kernel changes or replays by being mounted, by the name that it has for them.
pub(super) fn kernel_name(kind: FileSystemKind) -> Option<&'static str> {
    use FileSystemKind::{Btrfs, Jfs, Nilfs2, Xfs};
    let changes = matches!(kind, Btrfs | Jfs | Nilfs2 | Xfs);
    how(kind).filter(|_| changes).map(|(name, _)| name)
}

/// Mounts a device at a folder of its own for as long as `work` takes.
pub(super) fn while_mounted<E: From<Error>>(
    device: &Path,
    kind: FileSystemKind,
    work: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let Some((name, options)) = how(kind) else {
        return Err(Error::unsupported(format!("{kind} is not mounted here")).into());
    };
    let folder = MountFolder::new("mounted")?;
    let mounted = Mounted::new(device, folder.path(), name, options)?;
    let done = work(folder.path());
    mounted.unmount()?;
    done
}

/// Changes the options of what is mounted at `folder`, which may make the kernel change the file system.
pub(super) fn remount(device: &Path, folder: &Path, options: &str) -> Result<(), Error> {
    let flags = BASIC_FLAGS | MsFlags::MS_NOEXEC | MsFlags::MS_REMOUNT;
    let done = mount(Some(device), folder, None::<&str>, flags, Some(options));
    done.map_err(Error::io(format!("mounting {} once more with {options}", device.display())))
}

/// True where the kernel can mount a file system, after loading its module where there is one.
pub(super) fn kernel_has(file_system: &str) -> bool {
    let known = || {
        let list = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.lines().any(|line| line.split_whitespace().next_back() == Some(file_system))
    };
    known() || (program::run("modprobe", &["-q", file_system], Duration::from_secs(60)).is_ok() && known())
}

/// So many mounts at one folder are taken away.
const MOST_MOUNTS: u32 = 1000;

/// A folder to mount at, removed when it is dropped. Nothing in it ever is: where something is mounted there still, that is
/// somebody's file system.
pub(super) struct MountFolder {
    path: PathBuf,
}

impl MountFolder {
    /// Makes one; `purpose` becomes a part of its name.
    pub(super) fn new(purpose: &str) -> Result<Self, Error> {
        let doing = || Error::io("making a folder to mount a file system at");
        let made =
            tempfile::Builder::new().prefix(&format!("remint-{purpose}-")).tempdir().map_err(doing())?;
        // As the kernel lists it among its mounts.
        let path = fs::canonicalize(made.path()).map_err(doing())?;
        let _ = made.keep();
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for MountFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

fn is_mounted(at: &Path) -> bool {
    mounts::points().iter().any(|point| Path::new(point) == at)
}

/// An ext whose journal is on another device is not mounted: the kernel opens for that whatever has the number that the superblock
/// names, and writes to it, which may be the journal of the disk that was captured.
fn refuse_a_journal_elsewhere(device: &Path, file_system: &str) -> Result<(), Error> {
    if file_system != "ext4" {
        return Ok(());
    }
    let volume = DeviceFile::open(device).map_err(Error::io(format!("opening {}", device.display())))?;
    match filesystem::external_journal(&volume) {
        Ok(Some(uuid)) => Err(Error::refused(format!(
            "the journal of the ext4 on {} is on another disk (UUID {uuid}), which a mount would write to, and it might be the wrong \
             one: nothing is changed in such a file system; do without names, copies, scripts and new identifiers for it",
            device.display()
        ))),
        // What cannot be read says so when it is mounted.
        _ => Ok(()),
    }
}

/// A device to look at.
struct DeviceFile {
    file: File,
    size_bytes: u64,
}

impl DeviceFile {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let size_bytes = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size_bytes })
    }
}

impl ReadAt for DeviceFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// A mounted file system; unmounted when it is dropped.
pub(super) struct Mounted<'a> {
    at: Option<&'a Path>,
}

impl<'a> Mounted<'a> {
    /// Mounts a device.
    pub(super) fn new(device: &Path, at: &'a Path, file_system: &str, options: &str) -> Result<Self, Error> {
        Self::with(MsFlags::MS_NOEXEC, device, at, file_system, options)
    }

    /// Mounts a device whose programs may be run.
    pub(super) fn with_programs(
        device: &Path,
        at: &'a Path,
        file_system: &str,
        options: &str,
    ) -> Result<Self, Error> {
        Self::with(MsFlags::empty(), device, at, file_system, options)
    }

    /// Mounts a device to be looked at.
    pub(super) fn read_only(
        device: &Path,
        at: &'a Path,
        file_system: &str,
        options: &str,
    ) -> Result<Self, Error> {
        Self::with(MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC, device, at, file_system, options)
    }

    fn with(
        more: MsFlags,
        device: &Path,
        at: &'a Path,
        file_system: &str,
        options: &str,
    ) -> Result<Self, Error> {
        refuse_a_journal_elsewhere(device, file_system)?;
        let flags = BASIC_FLAGS | more;
        // Another process may hold what was mounted from this device a moment ago, with other flags.
        let try_it = || {
            let mut wait_ms = 10;
            loop {
                match mount(Some(device), at, Some(file_system), flags, Some(options)) {
                    Err(Errno::EBUSY) if wait_ms < 2000 => sleep(Duration::from_millis(wait_ms)),
                    ended => return ended,
                }
                wait_ms = wait_ms.saturating_mul(2);
            }
        };
        let doing = format!("mounting the {file_system} on {}", device.display());
        match try_it() {
            // Of two devices with one UUID the kernel keeps the one that it knows, if only from having looked at it. And it
            // takes a device for what was on one of its number before, where another one with its UUID is mounted (EINVAL).
            Err(Errno::EEXIST | Errno::EINVAL) if file_system == "btrfs" => {
                program::run("btrfs", &["device", "scan", "--forget"], Duration::from_secs(60))?;
                try_it().map_err(|errno| match errno {
                    Errno::EEXIST => Error::refused(format!(
                        "{doing}: another btrfs with its UUID is mounted, and this kernel keeps no two of them apart; \
                         unmount the other one and try again"
                    )),
                    other => Error::io(doing)(other),
                })?;
            }
            ended => ended.map_err(Error::io(doing))?,
        }
        Ok(Self { at: Some(at) })
    }

    /// What a program has mounted.
    pub(super) fn found(at: &'a Path) -> Self {
        Self { at: Some(at) }
    }

    /// Unmounts it, with what was mounted over it since, or nothing where it was unmounted already. Something that looks at every
    /// new mount may hold it for a moment.
    ///
    /// # Errors
    /// [`Error::StaysMounted`], which goes before whatever else failed.
    pub(super) fn unmount(mut self) -> Result<(), Error> {
        let Some(at) = self.at else { return Ok(()) };
        let (mut wait_ms, mut unmounted) = (10, 0);
        let held = |error: Errno| Error::StaysMounted {
            doing: format!("unmounting {}", at.display()),
            source: error.into(),
        };
        loop {
            match umount2(at, MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) if !is_mounted(at) => {
                    self.at = None;
                    return Ok(());
                }
                Ok(()) if unmounted < MOST_MOUNTS => unmounted = unmounted.saturating_add(1),
                Ok(()) => return Err(held(Errno::EBUSY)),
                Err(Errno::EBUSY) if wait_ms < 5000 => {
                    sleep(Duration::from_millis(wait_ms));
                    wait_ms = wait_ms.saturating_mul(2);
                }
                Err(error) => return Err(held(error)),
            }
        }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            // Only reached on failure, which is already being reported.
            for _ in 0..MOST_MOUNTS {
                let detached = umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
                if detached.is_err() || !is_mounted(at) {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_to_mount_at_goes_when_it_is_empty_and_nothing_in_it_ever_does() {
        let (empty, full) = (MountFolder::new("test").unwrap(), MountFolder::new("test").unwrap());
        let (was_empty, was_full) = (empty.path().to_owned(), full.path().to_owned());
        fs::create_dir(was_full.join("volume")).unwrap();
        fs::write(was_full.join("volume/file"), "x").unwrap();
        drop((empty, full));
        assert!(!was_empty.exists());
        assert_eq!(fs::read_to_string(was_full.join("volume/file")).unwrap(), "x");
        fs::remove_dir_all(was_full).unwrap();
    }
}
