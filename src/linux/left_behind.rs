//! What a script leaves in a mounted file system or a folder of its own: processes that use it, and mounts below it.
//!
//! Invariants: nobody is killed for using another file system; what is mounted elsewhere, too, stays mounted there.

use super::mounts;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Processes may start others while they are looked for; how often they are looked for.
const ROUNDS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Kills every process that has something below a mount point open, or works there, and unmounts what is mounted below or over
/// it. `device` is the number of the file system's device (`st_dev`) from before the script: where the mount point has another
/// one since, the script has unmounted it, and that device is somebody else's. What resists is found when the mount point
/// itself is unmounted.
pub(super) fn end(mount_point: &Path, device: u64) {
    for _ in 0..ROUNDS {
        let is_there = fs::metadata(mount_point).is_ok_and(|metadata| metadata.dev() == device);
        let users = users(mount_point, is_there.then_some(device));
        for user in &users {
            let _ = kill(*user, Signal::SIGKILL);
        }
        let left = mounts_in(mount_point, true);
        detach(&left);
        if users.is_empty() && left.is_empty() {
            return;
        }
        sleep(PAUSE);
    }
}

/// Unmounts what is mounted in a folder. False where something stays mounted there.
pub(super) fn unmount_all(folder: &Path) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else { return false };
    for _ in 0..ROUNDS {
        let left = mounts_in(&folder, false);
        if left.is_empty() {
            return true;
        }
        detach(&left);
    }
    mounts_in(&folder, false).is_empty()
}

fn users(mount_point: &Path, device: Option<u64>) -> Vec<Pid> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let uses = |number: &u32| {
        let process = PathBuf::from(format!("/proc/{number}"));
        let fixed = ["cwd", "root", "exe"].map(|name| process.join(name));
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let mut links = fixed.into_iter().chain(files.map(|entry| entry.path()));
        links.any(|link| {
            let inside = |target: PathBuf| target.starts_with(mount_point);
            let is_on = |device| fs::metadata(&link).is_ok_and(|it| it.dev() == device);
            fs::read_link(&link).is_ok_and(inside) || device.is_some_and(is_on)
        })
    };
    let found = numbers.filter(|number| *number != own).filter(uses);
    found.filter_map(|number| i32::try_from(number).ok()).map(Pid::from_raw).collect()
}

/// What is mounted in a folder, in the order in which it was; without the first mount at the folder itself where that
/// `is_ours`.
fn mounts_in(folder: &Path, is_ours: bool) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = mounts::points().into_iter().map(PathBuf::from).collect();
    paths.retain(|path| path.starts_with(folder));
    if let Some(ours) = paths.iter().position(|path| path == folder).filter(|_| is_ours) {
        paths.remove(ours);
    }
    paths
}

fn detach(mounts: &[PathBuf]) {
    for path in mounts {
        // Otherwise what is below something that is mounted elsewhere, too, is unmounted there with it.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let _ = mount(None::<&str>, path, None::<&str>, private, None::<&str>);
    }
    for path in mounts.iter().rev() {
        let _ = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
}
