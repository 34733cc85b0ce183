//! Changing the size of file systems with their own tools.
//!
//! The tools see the volume as a loop device of exactly its size, so they cannot touch its neighbours.
//! (`resize2fs` also takes `FILE?offset=N`, but then cuts the file off behind the file system.) A volume that is
//! shrunk has its old size for them: the loop device stands on a file of our own (`fuse`).
//!
//! | file system | growing | shrinking |
//! | --- | --- | --- |
//! | ext2, ext3, ext4 | `e2fsck -f -p`, which `resize2fs` insists on, then `resize2fs` | the same, and `e2fsck -f -n` |
//! | NTFS | `ntfsresize`; it marks the volume for Windows to check at its next start | the same, with a size |
//! | XFS | mounted, `xfs_growfs` | no |
//! | F2FS | `resize.f2fs`, then `fsck.f2fs`, which changes nothing | no: see `docs/filesystems.md` |
//! | btrfs | mounted, `btrfs filesystem resize` | the same |
//! | JFS | mounted, then once more with `resize` | no |
//! | NILFS2 | mounted, with a request to the kernel | no |

use super::loop_device::{LoopDevice, control_device};
use super::mounted::{kernel_has, kernel_name, remount, while_mounted};
use super::program::{self, Outcome};
use super::{Error, fuse, ioctl, is_root};
use crate::blockio::WriteAt;
use crate::machine::{DiskKind, MachineDisk};
use crate::resize::{Change, ResizeError, Resizer};
use crate::schema::FileSystemKind;
use crate::units::ByteRange;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// The tools that are installed on this machine.
#[derive(Debug, Clone, Copy)]
pub struct Tools {
    /// How long one tool may take: a check of a large file system on a slow disk takes hours.
    pub limit: Duration,
}

impl Default for Tools {
    fn default() -> Self {
        Self { limit: Duration::from_secs(24 * 60 * 60) }
    }
}

impl Resizer for Tools {
    fn missing(&self, change: Change, kind: FileSystemKind, on: &MachineDisk) -> Option<String> {
        let way_out = way_out(change);
        let Some(programs) = programs(change, kind) else {
            return Some(match change {
                Change::Grow => format!("no tool grows {kind}; pass --no-expand to keep its captured size"),
                Change::Shrink => format!("no tool shrinks {kind}; use a disk as large as the captured one"),
            });
        };
        let what = if on.kind == DiskKind::File { "a volume inside a plain file" } else { "a volume" };
        if !is_root() {
            return Some(format!(
                "{change} {kind} needs root, because {what} is shown to its tool as a loop device; run as root \
                 {way_out}"
            ));
        }
        if let Some(program) = programs.iter().find(|program| program::find(program.name).is_none()) {
            return Some(format!(
                "{change} {kind} needs the program {}; install the package {} {way_out}",
                program.name, program.package
            ));
        }
        if let Err(error) = control_device() {
            return Some(format!("{change} {kind} needs loop devices: {error}, {way_out}"));
        }
        if let Some(name) = kernel_name(kind).filter(|name| !kernel_has(name)) {
            return Some(format!(
                "{change} {kind} needs a kernel that can mount it; load its module (modprobe {name}) {way_out}"
            ));
        }
        if change == Change::Shrink { no_fuse(change, kind) } else { None }
    }

    fn missing_shown(&self, change: Change, kind: FileSystemKind, on: &MachineDisk) -> Option<String> {
        self.missing(change, kind, on).or_else(|| no_fuse(change, kind))
    }

    fn grow(&self, disk: &MachineDisk, place: ByteRange, kind: FileSystemKind) -> Result<(), ResizeError> {
        let step = self.step(Change::Grow, disk, place, kind)?;
        let volume = LoopDevice::attach(&disk.path, place, false, disk.logical_sector_bytes)?;
        step.grow(volume.path())?;
        Ok(volume.detach()?)
    }

    fn grow_shown(
        &self,
        volume: &dyn WriteAt,
        disk: &MachineDisk,
        kind: FileSystemKind,
    ) -> Result<(), ResizeError> {
        let place = ByteRange::new(0, volume.size_bytes());
        let step = self.step(Change::Grow, disk, place, kind)?;
        step.served(volume, |device| step.grow(device))
    }

    fn shrink(
        &self,
        volume: &dyn WriteAt,
        disk: &MachineDisk,
        place: ByteRange,
        kind: FileSystemKind,
    ) -> Result<(), ResizeError> {
        let step = self.step(Change::Shrink, disk, place, kind)?;
        step.served(volume, |device| step.shrink(device))
    }
}

/// What a person can do where a size cannot be changed.
const fn way_out(change: Change) -> &'static str {
    match change {
        Change::Grow => "or pass --no-expand",
        Change::Shrink => "or use a disk as large as the captured one",
    }
}

fn no_fuse(change: Change, kind: FileSystemKind) -> Option<String> {
    let missing = |error| format!("{change} {kind} needs FUSE: {error}, {}", way_out(change));
    fuse::missing().map(missing)
}

impl Tools {
    /// What is to be done, where it can be.
    fn step<'a>(
        &self,
        change: Change,
        disk: &'a MachineDisk,
        place: ByteRange,
        kind: FileSystemKind,
    ) -> Result<Step<'a>, ResizeError> {
        if let Some(fact) = self.missing(change, kind, disk) {
            return Err(ResizeError::Unsupported { fact });
        }
        if place.end() > disk.size_bytes || place.is_empty() {
            return Err(ResizeError::Refused { fact: format!("{place} is not on {}", disk.path) });
        }
        Ok(Step { change, disk, place, kind, limit: self.limit })
    }
}

impl From<Error> for ResizeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { doing, source } => Self::Io { doing, source },
            Error::Refused { fact } => Self::Refused { fact },
            Error::Unsupported { fact } => Self::Unsupported { fact },
            Error::NotPutBack { fact } => Self::Refused { fact },
            Error::StaysMounted { doing, source } => Self::Io { doing, source },
        }
    }
}

/// A program and the Debian package that has it.
struct Needed {
    name: &'static str,
    package: &'static str,
}

/// The programs that change the size of a file system; `None` where there are none.
fn programs(change: Change, kind: FileSystemKind) -> Option<&'static [Needed]> {
    match kind {
        FileSystemKind::Ext2 | FileSystemKind::Ext3 | FileSystemKind::Ext4 => Some(&[
            Needed { name: "e2fsck", package: "e2fsprogs" },
            Needed { name: "resize2fs", package: "e2fsprogs" },
        ]),
        FileSystemKind::Ntfs => Some(&[Needed { name: "ntfsresize", package: "ntfs-3g" }]),
        FileSystemKind::Xfs if change == Change::Grow => {
            Some(&[Needed { name: "xfs_growfs", package: "xfsprogs" }])
        }
        FileSystemKind::F2fs if change == Change::Grow => Some(&[
            Needed { name: "resize.f2fs", package: "f2fs-tools" },
            Needed { name: "fsck.f2fs", package: "f2fs-tools" },
        ]),
        FileSystemKind::Btrfs => Some(&[Needed { name: "btrfs", package: "btrfs-progs" }]),
        FileSystemKind::Jfs | FileSystemKind::Nilfs2 if change == Change::Grow => Some(&[]),
        _ => None,
    }
}

/// The number of a device within its btrfs, which the tool wants to be told: it need not be 1.
fn btrfs_device(device: &Path) -> Result<u64, Error> {
    // `dev_item.devid` in the first superblock.
    const DEVID_AT: u64 = (64 << 10) + 0xC9;
    let mut devid = [0; 8];
    let read = File::open(device).and_then(|file| file.read_exact_at(&mut devid, DEVID_AT));
    read.map_err(Error::io(format!("reading the superblock of {}", device.display())))?;
    Ok(u64::from_le_bytes(devid))
}

/// What is being done, for messages.
struct Step<'a> {
    change: Change,
    disk: &'a MachineDisk,
    place: ByteRange,
    kind: FileSystemKind,
    limit: Duration,
}

impl Step<'_> {
    fn run(&self, tool: &str, arguments: &[&OsStr], good: &[i32]) -> Result<(), ResizeError> {
        let outcome = program::run(tool, arguments, self.limit)?;
        if outcome.code.is_some_and(|code| good.contains(&code)) {
            Ok(())
        } else {
            Err(self.failed(tool, outcome))
        }
    }

    fn failed(&self, tool: &str, outcome: Outcome) -> ResizeError {
        let Outcome { ending, output, .. } = outcome;
        ResizeError::Failed {
            change: self.change,
            tool: tool.to_owned(),
            outcome: ending,
            kind: self.kind,
            place: self.place,
            disk: self.disk.path.clone(),
            output: if output.is_empty() { "it printed nothing".to_owned() } else { output },
            cause: None,
        }
    }

    /// Shows a volume as a device to what works on it.
    fn served(
        &self,
        volume: &dyn WriteAt,
        work: impl FnOnce(&Path) -> Result<(), ResizeError>,
    ) -> Result<(), ResizeError> {
        let (done, failure) = fuse::serve(volume, |file| {
            let whole = ByteRange::new(0, volume.size_bytes());
            let sector = self.disk.logical_sector_bytes;
            let shown = LoopDevice::attach_file(file, "the volume", whole, false, sector)?;
            work(shown.path())?;
            Ok(shown.detach()?)
        })?;
        match (done, failure) {
            (Err(ResizeError::Failed { change, tool, outcome, kind, place, disk, output, .. }), cause) => {
                Err(ResizeError::Failed { change, tool, outcome, kind, place, disk, output, cause })
            }
            // A tool may not have looked at an error, or the kernel met it when the tool was done.
            (Ok(()), Some(source)) => {
                let doing = format!("reading and writing the {} to be resized", self.kind);
                Err(ResizeError::Io { doing, source })
            }
            (done, _) => done,
        }
    }

    fn grow(&self, device: &Path) -> Result<(), ResizeError> {
        match self.kind {
            FileSystemKind::Ntfs => self.grow_ntfs(device),
            FileSystemKind::Xfs => self.grow_xfs(device),
            FileSystemKind::F2fs => self.grow_f2fs(device),
            FileSystemKind::Btrfs => self.resize_btrfs(device, "max"),
            FileSystemKind::Jfs => self.grow_jfs(device),
            FileSystemKind::Nilfs2 => self.grow_nilfs2(device),
            _ => self.grow_ext(device),
        }
    }

    fn grow_ext(&self, device: &Path) -> Result<(), ResizeError> {
        let device = device.as_os_str();
        // 1 says that something was put right, such as the times of a file system from a clock that is ahead.
        self.run("e2fsck", &["-f".as_ref(), "-p".as_ref(), device], &[0, 1])?;
        self.run("resize2fs", &[device], &[0])
    }

    fn grow_ntfs(&self, device: &Path) -> Result<(), ResizeError> {
        // Twice -f: without asking, also where the volume is still marked for a check by an earlier resize.
        let options = ["-f", "-f", "--no-progress-bar"].map(OsStr::new);
        self.run("ntfsresize", &[options.as_slice(), &[device.as_os_str()]].concat(), &[0])
    }

    /// Shrinks what is on a device of the old size.
    fn shrink(&self, device: &Path) -> Result<(), ResizeError> {
        let bytes = self.place.length();
        if self.kind == FileSystemKind::Btrfs {
            // The kernel rounds down to whole sectors of the file system.
            return self.resize_btrfs(device, &bytes.to_string());
        }
        let device = device.as_os_str();
        if self.kind == FileSystemKind::Ntfs {
            // A size without a unit is taken as exact: the backup of the boot sector goes to its last sector.
            let size = bytes.to_string();
            let options = ["-f", "-f", "--no-progress-bar", "--size", &size].map(OsStr::new);
            self.run("ntfsresize", &[options.as_slice(), &[device]].concat(), &[0])?;
            let options = ["--info", "-f", "-f", "--no-progress-bar"].map(OsStr::new);
            return self.run("ntfsresize", &[options.as_slice(), &[device]].concat(), &[0]);
        }
        self.run("e2fsck", &["-f".as_ref(), "-p".as_ref(), device], &[0, 1])?;
        // In units of 512 bytes; resize2fs rounds down to whole blocks.
        let size = format!("{}s", bytes / 512);
        self.run("resize2fs", &[device, size.as_ref()], &[0])?;
        self.run("e2fsck", &["-f".as_ref(), "-n".as_ref(), device], &[0])
    }

    /// `resize.f2fs` moves the main area, and ends with 0 also where what it made is not sound.
    fn grow_f2fs(&self, device: &Path) -> Result<(), ResizeError> {
        let device = device.as_os_str();
        self.run("resize.f2fs", &[device], &[0])?;
        self.run("fsck.f2fs", &["--dry-run".as_ref(), "-f".as_ref(), device], &[0])
    }

    fn grow_xfs(&self, device: &Path) -> Result<(), ResizeError> {
        while_mounted(device, self.kind, |folder| {
            self.run("xfs_growfs", &["-d".as_ref(), folder.as_os_str()], &[0])
        })
    }

    /// The kernel moves the log to the new end. It counts in blocks, and a JFS has blocks of 4 KiB (`fs/jfs/super.c`).
    fn grow_jfs(&self, device: &Path) -> Result<(), ResizeError> {
        let blocks = self.place.length() / 4096;
        while_mounted(device, self.kind, |folder| {
            remount(device, folder, &format!("resize={blocks}")).map_err(ResizeError::from)
        })
    }

    /// The program for it, `nilfs-resize`, asks the kernel in the same way, and needs a cleaner's lock in `/dev/shm`.
    fn grow_nilfs2(&self, device: &Path) -> Result<(), ResizeError> {
        while_mounted(device, self.kind, |folder| {
            let doing = || format!("growing the {} on {}", self.kind, device.display());
            let opened = File::open(folder).map_err(Error::io(doing()))?;
            let grown = ioctl::nilfs_resize(&opened, self.place.length());
            Ok(grown.map_err(|errno| Error::io(doing())(errno))?)
        })
    }

    /// `size` is a number of bytes or `max`.
    fn resize_btrfs(&self, device: &Path, size: &str) -> Result<(), ResizeError> {
        let size = format!("{}:{size}", btrfs_device(device)?);
        while_mounted(device, self.kind, |folder| {
            let folder = folder.as_os_str();
            // A balance that was interrupted keeps the size from being changed; 2 says that there is none.
            self.run("btrfs", &["balance".as_ref(), "cancel".as_ref(), folder], &[0, 2])?;
            self.run("btrfs", &["filesystem".as_ref(), "resize".as_ref(), size.as_ref(), folder], &[0])
        })
    }
}
