//! What members miss, and what that asks for: a slower pace, or that somebody goes on without the session.

use super::State;
use crate::protocol::datagram::FRAGMENT_BYTES;
use crate::protocol::{Gap, MAX_RUNS};
use crate::units::{u64_from, usize_from};
use std::time::{Duration, Instant};

/// How often losses are counted together.
pub(super) const COUNTED: Duration = Duration::from_millis(500);
/// So many counts with too much, more than those with less, and a member is left behind: ten seconds.
pub(super) const LOSSY_COUNTS: u32 = 20;
/// A member that loses more than this part of what is sent loses, in percent.
const MUCH: u64 = 5;
/// That is too much where most others do not lose.
const TOO_MUCH: u64 = 25;

/// What the losses of the last half second ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::multicast) enum Pressure {
    /// Send faster.
    Low,
    /// Go on like this.
    Fair,
    /// Most of them lose much: send slower.
    High,
}

impl State {
    /// Notes what a member misses, so that it is sent again.
    pub(super) fn miss(&mut self, job: i64, missing: &[Gap], now: Instant) {
        let mut lost = 0u64;
        for gap in missing.iter().take(MAX_RUNS).filter(|gap| gap.position < self.next) {
            let sent = self.pieces_of(gap.position).saturating_sub(gap.first.into());
            lost = lost.saturating_add(sent.min(gap.count.into()));
            self.repairs.want(*gap, now);
        }
        if let Some(member) = self.members.get_mut(&job) {
            member.lost = member.lost.saturating_add(lost);
        }
    }

    /// In how many pieces a position was sent.
    fn pieces_of(&self, position: u32) -> u64 {
        let at = usize_from(position.into());
        let bytes = |at: usize| self.before.get(at).copied().unwrap_or_default();
        bytes(at.saturating_add(1)).saturating_sub(bytes(at)).div_ceil(u64_from(FRAGMENT_BYTES))
    }

    /// What the losses since the last count ask for; `None` where it is not time to count. At the slowest pace it is not the
    /// pace that loses.
    pub(in crate::server::multicast) fn pressure(&mut self, slowest: bool, now: Instant) -> Option<Pressure> {
        if now.saturating_duration_since(self.counted) < COUNTED || self.sent_pieces < 100 {
            return None;
        }
        let sent = self.sent_pieces;
        (self.counted, self.sent_pieces) = (now, 0);
        let of_sent = |lost: u64, percent: u64| lost.saturating_mul(100) > sent.saturating_mul(percent);
        let active = self.waiting_for().count();
        let losing = self.waiting_for().filter(|(_, member)| of_sent(member.lost, MUCH)).count();
        let pressure = match losing {
            0 => Pressure::Low,
            losing if losing.saturating_mul(2) >= active => Pressure::High,
            _ => Pressure::Fair,
        };
        let too_much = if slowest { MUCH } else { TOO_MUCH };
        // As long as the pace falls for it, nobody is blamed.
        let blamed = slowest || pressure != Pressure::High;
        for member in self.members.values_mut() {
            let lossy = blamed && of_sent(member.lost, too_much);
            member.lossy =
                if lossy { member.lossy.saturating_add(1) } else { member.lossy.saturating_sub(1) };
            member.lost = 0;
        }
        Some(pressure)
    }
}
