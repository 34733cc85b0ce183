//! Failed logins, bounded per user and per address: who guesses waits.

use super::problem::Problem;
use crate::parallel::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// In how long a time tries are counted.
const WINDOW: Duration = Duration::from_secs(300);
/// Failed tries for one user.
const FOR_USER: usize = 5;
/// Failed tries from one address, behind which a whole lab may be.
const FROM_ADDRESS: usize = 30;
/// How many users and addresses are remembered; beyond that everybody waits.
const REMEMBERED: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    User(String),
    Address(IpAddr),
}

/// Tries of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<HashMap<Who, Vec<Instant>>>);

impl Tries {
    /// Counts a try as failed before it is looked at, so that many at once are not too many; refuses it where there were
    /// enough.
    pub(super) fn count(&self, user: &str, address: IpAddr, now: Instant) -> Result<(), Problem> {
        let mut tries = lock(&self.0);
        tries.retain(|_, times| {
            times.retain(|time| now.saturating_duration_since(*time) < WINDOW);
            !times.is_empty()
        });
        let both = [(Who::User(name(user)), FOR_USER), (Who::Address(address), FROM_ADDRESS)];
        for (who, most) in &both {
            let times = tries.get(who).map(Vec::as_slice).unwrap_or_default();
            if times.len() >= *most {
                let oldest =
                    times.first().map_or(Duration::ZERO, |first| now.saturating_duration_since(*first));
                return Err(too_many(WINDOW.saturating_sub(oldest)));
            }
        }
        if tries.len() >= REMEMBERED {
            return Err(too_many(WINDOW));
        }
        for (who, _) in both {
            tries.entry(who).or_default().push(now);
        }
        Ok(())
    }

    /// A try was a good one: neither the user nor the address has failed.
    pub(super) fn forgive(&self, user: &str, address: IpAddr) {
        let mut tries = lock(&self.0);
        tries.remove(&Who::User(name(user)));
        if let Some(times) = tries.get_mut(&Who::Address(address)) {
            times.pop();
        }
    }
}

/// User names do not differ by case; a long one is no name and counts as one.
fn name(user: &str) -> String {
    user.chars().take(64).collect::<String>().to_ascii_lowercase()
}

fn too_many(wait: Duration) -> Problem {
    Problem::too_many("too many failed logins; wait, and try again", wait.as_secs().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_waits_and_others_do_not() {
        let tries = Tries::default();
        let (here, there): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let now = Instant::now();
        for _ in 0..FOR_USER {
            tries.count("ann", here, now).unwrap();
        }
        assert!(tries.count("Ann", there, now).is_err(), "the user's name is written otherwise");
        tries.count("bob", here, now).unwrap();
        assert!(tries.count("ann", here, now + WINDOW).is_ok(), "the time is over");
        let mut from = 0;
        while tries.count(&format!("user-{from}"), there, now + WINDOW).is_ok() {
            from += 1;
        }
        assert_eq!(from, FROM_ADDRESS);
        tries.forgive("ann", here);
        assert!(tries.count("ann", here, now + WINDOW).is_ok());
    }
}
