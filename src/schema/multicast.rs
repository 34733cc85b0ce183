//! A deploy of many machines at once.

use serde::{Deserialize, Serialize};

/// When a session begins. A machine that comes later is in the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Multicast {
    /// As soon as so many machines are ready.
    pub machines: u32,
    /// So many seconds after the first one is ready, however many there are then.
    pub wait_seconds: u32,
}

impl Multicast {
    /// The longest time that machines may be asked to wait, in seconds.
    pub const LONGEST_WAIT: u32 = 3600;
    /// The most machines that can be waited for.
    pub const MOST_MACHINES: u32 = 1000;

    /// What is wrong with it, as a sentence.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let sound =
            (1..=Self::MOST_MACHINES).contains(&self.machines) && self.wait_seconds <= Self::LONGEST_WAIT;
        (!sound).then(|| {
            format!(
                "multicast waits for 1 to {} machines and for at most {} seconds, not for {} and {}",
                Self::MOST_MACHINES,
                Self::LONGEST_WAIT,
                self.machines,
                self.wait_seconds
            )
        })
    }
}

impl Default for Multicast {
    fn default() -> Self {
        Self { machines: Self::MOST_MACHINES, wait_seconds: 60 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_a_minute_and_what_never_begins_is_refused() {
        let read = |text: &str| serde_json::from_str::<Multicast>(text).unwrap();
        assert_eq!(read("{}"), Multicast { machines: 1000, wait_seconds: 60 });
        assert_eq!(read(r#"{"machines": 30}"#).fault(), None);
        for wrong in [r#"{"machines": 0}"#, r#"{"machines": 1001}"#, r#"{"wait_seconds": 3601}"#] {
            assert!(read(wrong).fault().is_some(), "{wrong}");
        }
    }
}
