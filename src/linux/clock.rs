//! The clock of this machine.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use std::time::{Duration, SystemTime};

/// How long the kernel has been running.
#[must_use]
pub fn uptime() -> Duration {
    let now = ClockId::CLOCK_BOOTTIME.now().unwrap_or_else(|_| TimeSpec::new(0, 0));
    Duration::from(now)
}

/// Sets the clock.
///
/// # Errors
/// A sentence where the kernel refuses.
pub fn set_clock(time: SystemTime) -> Result<(), String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|error| error.to_string())?;
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from(since))
        .map_err(|error| format!("setting the clock: {error}"))
}
