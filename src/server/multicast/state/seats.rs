//! Which jobs a session holds: together they take one place. Who is not in it goes on over HTTP, and takes its own.

use super::{Phase, State};
use crate::protocol::{MulticastAnswer, MulticastReport};
use crate::units::u64_from;
use std::time::{Duration, Instant};

/// Who was offered a session and is not ready after so long counts for itself: nobody knows whether it still prepares, or
/// fetches already. It may join all the same.
pub(in crate::server::multicast) const READY_WITHIN: Duration = Duration::from_secs(300);

impl State {
    /// The session is offered to a job.
    pub(in crate::server::multicast) fn offer(&mut self, job: i64, now: Instant) {
        self.quiet_since = now;
        self.offered.insert(job, now);
    }

    /// A machine whose job was claimed again begins anew.
    pub(in crate::server::multicast) fn forget(&mut self, job: i64) {
        self.offered.remove(&job);
        self.members.remove(&job);
        self.left.remove(&job);
        self.alone.remove(&job);
    }

    /// Whether a job was offered this session.
    pub(in crate::server::multicast) fn is_offered(&self, job: i64) -> bool {
        self.offered.contains_key(&job)
    }

    /// Whether a job takes no place of its own.
    pub(in crate::server::multicast) fn holds(&self, job: i64, now: Instant) -> bool {
        if self.left.contains_key(&job) || self.alone.contains(&job) {
            return false;
        }
        let member = self.members.get(&job);
        match self.phase {
            Phase::Gathering => {
                let soon = |offered: &Instant| now.saturating_duration_since(*offered) < READY_WITHIN;
                member.is_some() || self.offered.get(&job).is_some_and(soon)
            }
            Phase::Sending => member.is_some(),
            Phase::Over => member.is_some_and(|member| member.done),
        }
    }

    /// Whether as many jobs are in it as it waits for: another one would come too late.
    pub(in crate::server::multicast) fn is_full(&self, now: Instant) -> bool {
        let held = self.offered.keys().filter(|job| self.holds(**job, now)).count();
        u64_from(held) >= self.patience.machines.into()
    }

    /// A machine is not taken in.
    pub(super) fn refuse(&mut self, job: i64, why: Option<String>) -> MulticastAnswer {
        self.alone.insert(job);
        MulticastAnswer { member: false, message: why, machines: 0 }
    }

    /// A member does not get the rest from here.
    pub(super) fn leave(&mut self, job: i64, why: String) -> MulticastAnswer {
        self.members.remove(&job);
        self.left.insert(job, why.clone());
        MulticastAnswer { member: false, message: Some(why), machines: 0 }
    }

    /// A machine does not listen any more: it has all, or goes on by itself.
    pub(super) fn let_go(&mut self, job: i64, said: &MulticastReport, now: Instant) -> MulticastAnswer {
        if self.phase == Phase::Gathering {
            self.members.remove(&job);
            self.quiet_since = now;
        }
        let has_all = said.position >= said.total;
        match self.members.get_mut(&job) {
            Some(member) => {
                member.done = true;
                if has_all { MulticastAnswer::default() } else { self.refuse(job, None) }
            }
            None => self.refuse(job, None),
        }
    }
}
