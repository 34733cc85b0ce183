//! What a script leaves in a mounted file system: processes that use it, and mounts below it.

use super::sysfs::unescape;
use nix::mount::{MntFlags, umount2};
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

/// Kills every process that has something below a mount point open, or works there, and unmounts what is mounted below it.
/// What resists is found when the mount point itself is unmounted.
pub(super) fn end(mount_point: &Path) {
    let Ok(device) = fs::metadata(mount_point).map(|metadata| metadata.dev()) else { return };
    for _ in 0..ROUNDS {
        let users = users(mount_point, device);
        for user in &users {
            let _ = kill(*user, Signal::SIGKILL);
        }
        let below = below(mount_point);
        for path in below.iter().rev() {
            let _ = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        }
        if users.is_empty() && below.is_empty() {
            return;
        }
        sleep(PAUSE);
    }
}

fn users(mount_point: &Path, device: u64) -> Vec<Pid> {
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
            fs::read_link(&link).is_ok_and(inside) || fs::metadata(&link).is_ok_and(|it| it.dev() == device)
        })
    };
    let found = numbers.filter(|number| *number != own).filter(uses);
    found.filter_map(|number| i32::try_from(number).ok()).map(Pid::from_raw).collect()
}

/// What is mounted below a mount point, in the order in which it was.
fn below(mount_point: &Path) -> Vec<PathBuf> {
    let list = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let paths =
        list.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| PathBuf::from(unescape(path)));
    paths.filter(|path| path.starts_with(mount_point) && path != mount_point).collect()
}
