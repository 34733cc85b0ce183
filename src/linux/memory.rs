//! How much memory this process takes, and how much there is.

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
}
