//! How often and how long a request is tried again.

use super::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(15);
const STOP_LOOKED_FOR_EVERY: Duration = Duration::from_millis(100);
const MOST_ATTEMPTS: u32 = 40;

/// Why an attempt has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another attempt may succeed.
    Passing(io::Error),
    /// No other attempt can succeed.
    Final(Error),
}

/// Makes attempts until one has a result or none can have one, for `for_at_most`; `attempt` is told whether it is
/// the first. `doing` says what all of it is for, as in `storing chunk ab12`.
///
/// # Errors
/// What makes further attempts useless; or the last failure, where there were enough of them or `stop` is set.
pub(super) fn until_answered<T>(
    for_at_most: Duration,
    stop: &AtomicBool,
    doing: impl FnOnce() -> String,
    mut attempt: impl FnMut(bool) -> Result<T, Failure>,
) -> Result<T, Error> {
    let mut attempts = Attempts::new(for_at_most);
    loop {
        let source = match attempt(attempts.first()) {
            Ok(result) => return Ok(result),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error)) => error,
        };
        if !attempts.wait(stop) {
            return Err(Error::Io { doing: doing(), source });
        }
    }
}

/// The attempts of one request: exponential back-off with jitter, bounded in number and in time.
#[derive(Debug)]
struct Attempts {
    until: Instant,
    made: u32,
}

/// A number that differs from call to call and from process to process. Not for secrets.
#[must_use]
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Attempts {
    /// Attempts that begin now; the last one begins before `for_at_most` is over.
    fn new(for_at_most: Duration) -> Self {
        let now = Instant::now();
        Self { until: now.checked_add(for_at_most).unwrap_or(now), made: 1 }
    }

    /// True while the first attempt is made.
    fn first(&self) -> bool {
        self.made == 1
    }

    /// Sleeps before another attempt; false where there is to be none, because there were enough or because
    /// `stop` is set.
    fn wait(&mut self, stop: &AtomicBool) -> bool {
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

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let stop = AtomicBool::new(false);
        let mut seen = Vec::new();
        let result = until_answered(Duration::from_secs(60), &stop, String::new, |first| {
            seen.push(first);
            if first { Err(Failure::Passing(io::Error::other("busy"))) } else { Ok(7) }
        });
        assert_eq!((result.unwrap(), seen), (7, vec![true, false]));
        let refusal = || Error::Refused { fact: "no".to_owned() };
        let result: Result<(), _> =
            until_answered(Duration::from_secs(60), &stop, String::new, |_| Err(Failure::Final(refusal())));
        assert!(matches!(result, Err(Error::Refused { .. })));
        let result: Result<(), _> = until_answered(
            Duration::ZERO,
            &stop,
            || "asking".to_owned(),
            |_| Err(Failure::Passing(io::Error::other("gone"))),
        );
        assert!(matches!(result, Err(Error::Io { doing, .. }) if doing == "asking"));
    }
}
