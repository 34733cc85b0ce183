//! A file system that is mounted for a moment, so that the kernel does to it what only the kernel can.

use super::{Error, program};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// True where the kernel can mount a file system, after loading its module where there is one.
pub(super) fn kernel_has(file_system: &str) -> bool {
    let known = || {
        let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.lines().any(|line| line.split_whitespace().next_back() == Some(file_system))
    };
    known() || (program::run("modprobe", &["-q", file_system], Duration::from_secs(60)).is_ok() && known())
}

/// A mounted file system; unmounted when it is dropped.
pub(super) struct Mounted<'a> {
    at: Option<&'a Path>,
}

impl<'a> Mounted<'a> {
    /// Mounts a device.
    pub(super) fn new(device: &Path, at: &'a Path, file_system: &str, options: &str) -> Result<Self, Error> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
        mount(Some(device), at, Some(file_system), flags, Some(options))
            .map_err(Error::io(format!("mounting the {file_system} on {}", device.display())))?;
        Ok(Self { at: Some(at) })
    }

    /// What a program has mounted.
    pub(super) fn found(at: &'a Path) -> Self {
        Self { at: Some(at) }
    }

    /// Unmounts; something that looks at every new mount may hold it for a moment.
    pub(super) fn unmount(mut self) -> Result<(), Error> {
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
