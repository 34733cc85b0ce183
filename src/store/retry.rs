//! How often and how long a request is tried again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(15);
const STOP_LOOKED_FOR_EVERY: Duration = Duration::from_millis(100);
const MOST_ATTEMPTS: u32 = 40;

/// The attempts of one request: exponential back-off with jitter, bounded in number and in time.
#[derive(Debug)]
pub(super) struct Attempts {
    until: Instant,
    made: u32,
}

/// A number that differs from call to call and from process to process. Not for secrets.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Attempts {
    /// Attempts that begin now; the last one begins before `for_at_most` is over.
    pub(super) fn new(for_at_most: Duration) -> Self {
        let now = Instant::now();
        Self { until: now.checked_add(for_at_most).unwrap_or(now), made: 1 }
    }

    /// True while the first attempt is made.
    pub(super) fn first(&self) -> bool {
        self.made == 1
    }

    /// Sleeps before another attempt; false where there is to be none, because there were enough or because
    /// `stop` is set.
    pub(super) fn wait(&mut self, stop: &AtomicBool) -> bool {
        let delay = FIRST_DELAY.saturating_mul(1 << (self.made - 1).min(7)).min(LONGEST_DELAY);
        // Between half and all of it, so that machines that failed together do not come back together.
        let percent = u32::try_from(random() % 51).unwrap_or_default();
        let delay = delay.saturating_mul(50 + percent) / 100;
        let due = Instant::now().checked_add(delay);
        if self.made >= MOST_ATTEMPTS || due.is_none_or(|due| due > self.until) {
            return false;
        }
        while let Some(left) = due.and_then(|due| due.checked_duration_since(Instant::now())) {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::sleep(left.min(STOP_LOOKED_FOR_EVERY));
        }
        self.made += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_to_stop_does_not_wait_for_another_attempt() {
        let mut attempts = Attempts::new(Duration::from_secs(3600));
        assert!(attempts.wait(&AtomicBool::new(false)));
        assert!(!attempts.wait(&AtomicBool::new(true)));
    }
}
