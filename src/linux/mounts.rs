//! What a system without a system needs mounted, and that nothing stays mounted when it ends.

use super::Error;
use super::sysfs::unescape;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::Path;

/// Source, directory, type, options: in this order.
const BASICS: [(&str, &str, &str, MsFlags, &str); 6] = [
    ("proc", "/proc", "proc", MsFlags::empty(), ""),
    ("sysfs", "/sys", "sysfs", MsFlags::empty(), ""),
    ("devtmpfs", "/dev", "devtmpfs", MsFlags::MS_NOSUID, "mode=0755"),
    ("devpts", "/dev/pts", "devpts", MsFlags::MS_NOSUID, "mode=0620,gid=5,ptmxmode=0666"),
    ("tmpfs", "/run", "tmpfs", MsFlags::MS_NOSUID, "mode=0755"),
    ("tmpfs", "/tmp", "tmpfs", MsFlags::MS_NOSUID, "mode=1777"),
];

/// Mounts what programs expect. What is mounted already stays.
///
/// Gives a sentence for each that could not be mounted: a machine does its work without some of them.
#[must_use]
pub fn mount_basics() -> Vec<String> {
    let mut problems = Vec::new();
    for (source, directory, kind, flags, options) in BASICS {
        let _ = fs::create_dir_all(directory);
        let flags = if kind == "devtmpfs" { flags } else { flags | MsFlags::MS_NODEV };
        let options = Some(options).filter(|options| !options.is_empty());
        match mount(Some(source), directory, Some(kind), flags, options) {
            Ok(()) | Err(nix::errno::Errno::EBUSY) => {}
            Err(error) => problems.push(format!("mounting {directory}: {error}")),
        }
    }
    let links = [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ];
    for (target, link) in links {
        let _ = std::os::unix::fs::symlink(target, link);
    }
    problems
}

/// Mounts the variables of UEFI firmware, where there are some. The kernel loads what it needs for it.
///
/// # Errors
/// Where they are there and cannot be mounted.
pub fn mount_efi_variables() -> Result<(), Error> {
    const DIRECTORY: &str = "/sys/firmware/efi/efivars";
    if !Path::new(DIRECTORY).exists() {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("efivarfs"), DIRECTORY, Some("efivarfs"), flags, None::<&str>) {
        Ok(()) | Err(nix::errno::Errno::EBUSY) => Ok(()),
        Err(error) => Err(Error::io(format!("mounting {DIRECTORY}"))(error)),
    }
}

/// Puts a file in the place of another for everybody who reads it from now on.
///
/// # Errors
/// Where the kernel refuses.
pub fn cover(file: &Path, with: &Path) -> Result<(), Error> {
    mount(Some(with), file, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(Error::io(format!("covering {}", file.display())))
}

/// Unmounts everything but the basics, what was mounted last first. What is busy becomes read-only.
///
/// Gives a sentence for each that stays mounted.
#[must_use]
pub fn unmount_all() -> Vec<String> {
    let mut problems = Vec::new();
    for directory in points().iter().rev().filter(|point| holds_data(point)) {
        if umount2(directory.as_str(), MntFlags::empty()).is_err() {
            let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            let _ = mount(None::<&str>, directory.as_str(), None::<&str>, read_only, None::<&str>);
            if let Err(error) = umount2(directory.as_str(), MntFlags::MNT_DETACH) {
                problems.push(format!("unmounting {directory}: {error}"));
            }
        }
    }
    problems
}

/// Where something is mounted, in the order in which it was; a folder is named as often as something is mounted at it.
pub(super) fn points() -> Vec<String> {
    let list = fs::read("/proc/self/mountinfo").unwrap_or_default();
    points_in(&String::from_utf8_lossy(&list)).collect()
}

/// The same for a thread that has mounts of its own.
pub(super) fn points_of_this_thread() -> Vec<String> {
    let list = fs::read("/proc/thread-self/mountinfo").unwrap_or_default();
    points_in(&String::from_utf8_lossy(&list)).collect()
}

/// What of a file system is mounted at a folder, as a path in it; `None` where nothing is.
pub(super) fn root_of(point: &Path) -> Option<String> {
    let list = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let list = String::from_utf8_lossy(&list).into_owned();
    let last = list
        .lines()
        .rfind(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(&unescape(at)) == point))?;
    last.split(' ').nth(3).map(unescape)
}

/// The mount points of a `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn points_in(mountinfo: &str) -> impl Iterator<Item = String> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape)
}

/// Whether a mount point holds data, and is not one of the basics.
fn holds_data(point: &str) -> bool {
    let kept = ["/", "/proc", "/sys", "/dev", "/dev/pts", "/run", "/tmp"];
    !kept.contains(&point) && !point.starts_with("/proc/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_data_is_unmounted() {
        let text = "1 1 0:2 / / rw - rootfs rootfs rw\n22 1 0:21 / /proc rw - proc proc rw\n\
                    23 22 0:30 /remint/x /proc/cmdline rw - tmpfs tmpfs rw\n\
                    30 1 8:1 / /mnt/my\\040disk rw - ext4 /dev/sda1 rw\nshort line\n\
                    31 1 0:33 / /sys/firmware/efi/efivars rw - efivarfs efivarfs rw\n";
        let data: Vec<String> = points_in(text).filter(|point| holds_data(point)).collect();
        assert_eq!(data, ["/mnt/my disk", "/sys/firmware/efi/efivars"]);
    }
}
