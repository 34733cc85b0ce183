//! Growing file systems with their own tools.
//!
//! The tools see the volume as a loop device of exactly its size, so they cannot touch its neighbours.
//! (`resize2fs` also takes `FILE?offset=N`, but then cuts the file off behind the file system.)
//!
//! | file system | tools |
//! | --- | --- |
//! | ext2, ext3, ext4 | `e2fsck -f -p`, which `resize2fs` insists on, then `resize2fs` |
//! | NTFS | `ntfsresize`; it marks the volume for Windows to check at its next start |
//! | XFS | mounted, `xfs_growfs` |

use super::loop_device::{LoopDevice, control_device};
use super::program::{self, Outcome};
use super::{Error, is_root};
use crate::machine::{DiskKind, MachineDisk};
use crate::resize::{ResizeError, Resizer};
use crate::schema::FileSystemKind;
use crate::units::ByteRange;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::ffi::OsStr;
use std::path::Path;
use std::thread::sleep;
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
    fn missing(&self, kind: FileSystemKind, on: &MachineDisk) -> Option<String> {
        let Some(programs) = programs(kind) else {
            return Some(format!("no tool grows {kind}; pass --no-expand to keep its captured size"));
        };
        let way_out = "or pass --no-expand";
        let what = if on.kind == DiskKind::File { "a volume inside a plain file" } else { "a volume" };
        if !is_root() {
            return Some(format!(
                "growing {kind} needs root, because {what} is shown to its tool as a loop device; run as root \
                 {way_out}"
            ));
        }
        if let Some(program) = programs.iter().find(|program| program::find(program.name).is_none()) {
            return Some(format!(
                "growing {kind} needs the program {}; install the package {} {way_out}",
                program.name, program.package
            ));
        }
        if let Err(error) = control_device() {
            return Some(format!("growing {kind} needs loop devices: {error}, {way_out}"));
        }
        (kind == FileSystemKind::Xfs && !kernel_has("xfs")).then(|| {
            format!("growing XFS needs a kernel that can mount it; load its module (modprobe xfs) {way_out}")
        })
    }

    fn grow(&self, disk: &MachineDisk, place: ByteRange, kind: FileSystemKind) -> Result<(), ResizeError> {
        if let Some(fact) = self.missing(kind, disk) {
            return Err(ResizeError::Unsupported { fact });
        }
        if place.end() > disk.size_bytes || place.is_empty() {
            return Err(ResizeError::Refused { fact: format!("{place} is not on {}", disk.path) });
        }
        let volume = LoopDevice::attach(&disk.path, place, false, disk.logical_sector_bytes)?;
        let step = Step { disk, place, kind, limit: self.limit };
        let device = volume.path();
        match kind {
            FileSystemKind::Ntfs => step.grow_ntfs(device)?,
            FileSystemKind::Xfs => step.grow_xfs(device)?,
            _ => step.grow_ext(device)?,
        }
        Ok(volume.detach()?)
    }
}

impl From<Error> for ResizeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { doing, source } => Self::Io { doing, source },
            Error::Refused { fact } => Self::Refused { fact },
            Error::Unsupported { fact } => Self::Unsupported { fact },
        }
    }
}

/// A program and the Debian package that has it.
struct Needed {
    name: &'static str,
    package: &'static str,
}

/// The programs that grow a file system; `None` where there are none.
fn programs(kind: FileSystemKind) -> Option<&'static [Needed]> {
    match kind {
        FileSystemKind::Ext2 | FileSystemKind::Ext3 | FileSystemKind::Ext4 => Some(&[
            Needed { name: "e2fsck", package: "e2fsprogs" },
            Needed { name: "resize2fs", package: "e2fsprogs" },
        ]),
        FileSystemKind::Ntfs => Some(&[Needed { name: "ntfsresize", package: "ntfs-3g" }]),
        FileSystemKind::Xfs => Some(&[Needed { name: "xfs_growfs", package: "xfsprogs" }]),
        _ => None,
    }
}

/// True where the kernel can mount a file system, after loading its module where there is one.
fn kernel_has(file_system: &str) -> bool {
    let known = || {
        let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.lines().any(|line| line.split_whitespace().next_back() == Some(file_system))
    };
    known() || (program::run("modprobe", &["-q", file_system], Duration::from_secs(60)).is_ok() && known())
}

/// What is being grown, for messages.
struct Step<'a> {
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
            tool: tool.to_owned(),
            outcome: ending,
            kind: self.kind,
            place: self.place,
            disk: self.disk.path.clone(),
            output: if output.is_empty() { "it printed nothing".to_owned() } else { output },
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

    fn grow_xfs(&self, device: &Path) -> Result<(), ResizeError> {
        let place = tempfile::Builder::new()
            .prefix("remint-grow-")
            .tempdir()
            .map_err(Error::io("making a directory to mount XFS at"))?;
        let mounted = Mounted::new(device, place.path(), "xfs", "nouuid")?;
        let grown = self.run("xfs_growfs", &["-d".as_ref(), place.path().as_os_str()], &[0]);
        let unmounted = mounted.unmount();
        grown?;
        Ok(unmounted?)
    }
}

/// A mounted file system; unmounted when it is dropped.
struct Mounted<'a> {
    at: Option<&'a Path>,
}

impl<'a> Mounted<'a> {
    fn new(device: &Path, at: &'a Path, file_system: &str, options: &str) -> Result<Self, Error> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
        mount(Some(device), at, Some(file_system), flags, Some(options))
            .map_err(Error::io(format!("mounting the {file_system} on {}", device.display())))?;
        Ok(Self { at: Some(at) })
    }

    /// Unmounts; something that looks at every new mount may hold it for a moment.
    fn unmount(mut self) -> Result<(), Error> {
        let Some(at) = self.at else { return Ok(()) };
        let mut wait_ms = 10;
        loop {
            match umount2(at, MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {
                    self.at = None;
                    return Ok(());
                }
                Err(nix::errno::Errno::EBUSY) if wait_ms < 5000 => {
                    sleep(Duration::from_millis(wait_ms));
                    wait_ms = wait_ms.saturating_mul(2);
                }
                Err(error) => return Err(Error::io(format!("unmounting {}", at.display()))(error)),
            }
        }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            // Only reached on failure, which is already being reported.
            let _ = umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        }
    }
}
