//! How much memory this process takes, and how much there is.

use std::path::Path;

/// The most memory that this process ever held, in bytes; `None` where the kernel does not say.
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    high_water_mark(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Memory that programs can take without others giving some up, in bytes; `None` where the kernel does not say.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    kib_of(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// How many bytes a folder has room for; where it lies in memory, no more than a part of what is free of that. `None` where
/// the kernel does not say.
#[must_use]
pub fn room_bytes(folder: &Path) -> Option<u64> {
    // Numbers of statfs(2).
    const IN_MEMORY: [i128; 2] = [0x0102_1994, 0x8584_58F6];
    let found = nix::sys::statfs::statfs(folder).ok()?;
    let block_bytes = u64::try_from(found.block_size()).ok()?;
    let of_medium = found.blocks_available().saturating_mul(block_bytes);
    if !IN_MEMORY.contains(&i128::from(found.filesystem_type().0)) {
        return Some(of_medium);
    }
    let free = available_bytes()?;
    // A deploy needs the rest. A file system of which the kernel says no size takes what there is.
    let of_memory = free.saturating_sub(free / 4);
    Some(if found.blocks() == 0 { of_memory } else { of_memory.min(of_medium) })
}

/// `VmHWM` of a `/proc/PID/status`, which is in KiB (proc_pid_status(5)).
fn high_water_mark(status: &str) -> Option<u64> {
    kib_of(status, "VmHWM:")
}

/// A line in KiB, in bytes.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_in_bytes() {
        assert_eq!(high_water_mark("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(high_water_mark("Name:\tx\n"), None);
        assert!(peak_rss_bytes().unwrap() > 1 << 20 && available_bytes().unwrap() > 1 << 20);
    }

    #[test]
    fn a_folder_in_memory_has_room_for_less_than_all_of_it() {
        let (memory, medium) = (room_bytes(Path::new("/dev/shm")), room_bytes(Path::new("/")));
        assert!(medium.unwrap() > 1 << 20);
        let information = std::fs::read_to_string("/proc/meminfo").unwrap();
        assert!(memory.unwrap() < kib_of(&information, "MemTotal:").unwrap());
        assert_eq!(room_bytes(Path::new("/no/such/folder")), None);
    }
}
