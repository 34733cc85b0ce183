//! What a session knows of its machines, and what it does next. No clock, no socket: whoever asks says what time it is.
//!
//! Invariants: nobody is waited for without an end; the sender is never further ahead of a member than that member can hold;
//! what is missing is sent again once for all that miss it.

mod losses;
mod seats;

use super::repairs::Repairs;
use crate::image::Sequence;
use crate::protocol::{MAX_RUNS, MulticastAnswer, MulticastReport, Positions};
use crate::units::{u64_from, usize_from};
use losses::LOSSY_COUNTS;
pub(super) use losses::Pressure;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A member that is not heard is left behind after so long: it reports several times a second.
const SILENT: Duration = Duration::from_secs(10);
/// One that is waited for and does not move: a disk may take its time to make room.
const MOTIONLESS: Duration = Duration::from_secs(20);
/// So long a member may keep the others waiting in all, and half of the time of the session.
const HELD_UP: Duration = Duration::from_secs(15);

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits for machines.
    Gathering,
    /// It sends.
    Sending,
    /// Nobody listens any more.
    Over,
}

/// What the sender is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing for the moment.
    Wait,
    /// Send the chunk at this position.
    Send(u32),
    /// Send pieces of it again: first and count of each run.
    Again(u32, Vec<(u16, u16)>),
    /// Nothing any more.
    End,
}

/// How many machines a session waits for, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) machines: u32,
    pub(super) wait: Duration,
}

#[derive(Debug)]
struct Member {
    name: String,
    window_bytes: u64,
    wanted: Vec<Positions>,
    position: u32,
    heard: Instant,
    moved: Instant,
    held_up: Duration,
    lost: u64,
    lossy: u32,
    done: bool,
}

impl Member {
    fn wants(&self, position: u32) -> bool {
        let behind = self.wanted.partition_point(|range| range.end <= position);
        position >= self.position && self.wanted.get(behind).is_some_and(|range| range.first <= position)
    }
}

/// A session.
#[derive(Debug)]
pub(super) struct State {
    patience: Patience,
    sequence: Option<Arc<Sequence>>,
    phase: Phase,
    /// Nobody came or went since then.
    quiet_since: Instant,
    first_ready: Option<Instant>,
    began: Instant,
    /// The jobs that it was offered to, and when.
    offered: BTreeMap<i64, Instant>,
    members: BTreeMap<i64, Member>,
    /// Who was left behind, and why.
    left: BTreeMap<i64, String>,
    /// Who goes on without the session, and was not left behind: it was not taken in, or went by itself.
    alone: BTreeSet<i64>,
    next: u32,
    /// Bytes of frames that were sent before each position, up to the next one.
    before: Vec<u64>,
    repairs: Repairs,
    blocked_at: Option<Instant>,
    counted: Instant,
    sent_pieces: u64,
}

impl State {
    pub(super) fn new(patience: Patience, now: Instant) -> Self {
        Self {
            patience,
            sequence: None,
            phase: Phase::Gathering,
            quiet_since: now,
            first_ready: None,
            began: now,
            offered: BTreeMap::new(),
            members: BTreeMap::new(),
            left: BTreeMap::new(),
            alone: BTreeSet::new(),
            next: 0,
            before: vec![0],
            repairs: Repairs::default(),
            blocked_at: None,
            counted: now,
            sent_pieces: 0,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// What lies before it was sent, or will not be.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    pub(super) fn total(&self) -> u32 {
        self.sequence.as_ref().map_or(0, |sequence| sequence.total())
    }

    /// Whether somebody listens.
    pub(super) fn is_heard(&self) -> bool {
        !self.members.is_empty()
    }

    /// How many were members, and who was left behind and why.
    pub(super) fn summary(&self) -> (usize, Vec<&str>) {
        (self.members.len().saturating_add(self.left.len()), self.left.values().map(String::as_str).collect())
    }

    pub(super) fn know(&mut self, sequence: Arc<Sequence>) {
        self.sequence = Some(sequence);
    }

    pub(super) fn end(&mut self) {
        self.phase = Phase::Over;
    }

    fn waiting_for(&self) -> impl Iterator<Item = (i64, &Member)> {
        self.members.iter().filter(|(_, member)| !member.done).map(|(job, member)| (*job, member))
    }

    /// What a machine says, and what it is told.
    pub(super) fn report(
        &mut self,
        job: i64,
        name: &str,
        said: &MulticastReport,
        now: Instant,
    ) -> MulticastAnswer {
        if let Some(why) = self.left.get(&job) {
            let message = Some(format!("{why}; it goes on by itself"));
            return MulticastAnswer { message, ..MulticastAnswer::default() };
        }
        if self.phase == Phase::Over {
            return MulticastAnswer::default();
        }
        if said.leaving {
            return self.let_go(job, said, now);
        }
        if let Some(sequence) = &self.sequence
            && sequence.total() != said.total
        {
            let fact = format!("{name} counts {} chunks where there are {}", said.total, sequence.total());
            return self.leave(job, fact);
        }
        if !self.members.contains_key(&job) {
            let Some(wanted) = &said.wanted else { return self.refuse(job, None) };
            if self.phase != Phase::Gathering {
                let why = "the session has begun without this machine".to_owned();
                return self.refuse(job, Some(why));
            }
            if let Some(fault) = fault_of(wanted) {
                return self.refuse(job, Some(fault));
            }
            self.alone.remove(&job);
            self.first_ready.get_or_insert(now);
            let member = Member {
                name: name.to_owned(),
                window_bytes: said.window_bytes,
                wanted: wanted.clone(),
                position: said.position,
                heard: now,
                moved: now,
                held_up: Duration::ZERO,
                lost: 0,
                lossy: 0,
                done: false,
            };
            self.members.insert(job, member);
        }
        let machines = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let Some(member) = self.members.get_mut(&job) else { return MulticastAnswer::default() };
        member.heard = now;
        member.window_bytes = said.window_bytes;
        if said.position > member.position {
            (member.position, member.moved) = (said.position, now);
        }
        self.miss(job, &said.missing, now);
        MulticastAnswer { member: true, message: None, machines }
    }

    /// Leaves those behind that are not heard, do not move, or keep the others waiting.
    fn leave_behind(&mut self, now: Instant) {
        let since = |then: Instant| now.saturating_duration_since(then);
        let half = since(self.began) / 2;
        let blockers = self.blockers();
        let sending = self.phase == Phase::Sending;
        let at_the_end = sending && self.next >= self.total();
        let mut gone = Vec::new();
        for (job, member) in self.waiting_for() {
            let name = &member.name;
            let waited_for = at_the_end || blockers.contains(&job);
            if since(member.heard) >= SILENT {
                gone.push((job, format!("{name} was not heard for {} seconds", SILENT.as_secs())));
            } else if sending && waited_for && since(member.moved) >= MOTIONLESS {
                gone.push((job, format!("{name} did not move for {} seconds", MOTIONLESS.as_secs())));
            } else if member.held_up >= HELD_UP && member.held_up > half {
                let seconds = member.held_up.as_secs();
                gone.push((job, format!("{name} kept the others waiting for {seconds} seconds")));
            } else if member.lossy >= LOSSY_COUNTS {
                gone.push((job, format!("{name} loses too much of what is sent")));
            }
        }
        for (job, why) in gone {
            self.leave(job, why);
        }
    }

    /// Bytes that were sent and that a member may still hold or need.
    fn in_flight(&self, member: &Member) -> u64 {
        let sent = self.before.last().copied().unwrap_or_default();
        let taken = self.before.get(usize_from(member.position.into())).copied().unwrap_or(sent);
        sent.saturating_sub(taken)
    }

    /// The members that have no room for the next chunk.
    fn blockers(&self) -> Vec<i64> {
        let next = self.sequence.as_ref().and_then(|sequence| sequence.get(self.next));
        let Some(next) = next.filter(|_| self.phase == Phase::Sending) else { return Vec::new() };
        let full = |member: &Member| {
            let held = self.in_flight(member);
            held > 0 && held.saturating_add(next.length.into()) > member.window_bytes
        };
        self.waiting_for().filter(|(_, member)| full(member)).map(|(job, _)| job).collect()
    }

    /// What is done now.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        self.leave_behind(now);
        match self.phase {
            Phase::Over => return Step::End,
            Phase::Gathering => return self.gather(now),
            Phase::Sending => {}
        }
        if self.waiting_for().next().is_none() {
            self.phase = Phase::Over;
            return Step::End;
        }
        if let Some((position, runs)) = self.repairs.due(now) {
            return Step::Again(position, runs);
        }
        // What nobody needs is not sent.
        while self.next < self.total() && !self.waiting_for().any(|(_, member)| member.wants(self.next)) {
            self.sent(self.next, 0, 0);
        }
        let blockers = self.blockers();
        self.charge(&blockers, now);
        if self.next < self.total() && blockers.is_empty() { Step::Send(self.next) } else { Step::Wait }
    }

    fn gather(&mut self, now: Instant) -> Step {
        let ready = self.waiting_for().count();
        if ready == 0 {
            // Those that were ready have gone; the next one starts the clock again.
            self.first_ready = None;
            return Step::Wait;
        }
        let waited = self.first_ready.map_or(Duration::ZERO, |first| now.saturating_duration_since(first));
        let enough = u64_from(ready) >= self.patience.machines.into() || waited >= self.patience.wait;
        if let Some(sequence) = self.sequence.clone().filter(|_| enough) {
            let total = sequence.total();
            let beyond = |member: &Member| member.wanted.last().is_some_and(|range| range.end > total);
            let wrong = self.waiting_for().filter(|(_, member)| beyond(member));
            let wrong: Vec<i64> = wrong.map(|(job, _)| job).collect();
            for job in wrong {
                self.leave(job, "it wants more than there is".to_owned());
            }
            (self.phase, self.began, self.counted) = (Phase::Sending, now, now);
            self.members.values_mut().for_each(|member| member.moved = now);
        }
        Step::Wait
    }

    /// Notes for how long the sender waited for members while others have more than half of their room.
    fn charge(&mut self, blockers: &[i64], now: Instant) {
        let others_wait = self.waiting_for().any(|(job, member)| {
            !blockers.contains(&job) && self.in_flight(member) <= member.window_bytes / 2
        });
        let before = self.blocked_at.take();
        if blockers.is_empty() || !others_wait {
            return;
        }
        self.blocked_at = Some(now);
        let Some(waited) = before.map(|before| now.saturating_duration_since(before)) else { return };
        for job in blockers {
            if let Some(member) = self.members.get_mut(job) {
                member.held_up = member.held_up.saturating_add(waited);
            }
        }
    }

    /// A position was sent, in so many pieces.
    pub(super) fn sent(&mut self, position: u32, frame_bytes: u64, pieces: u64) {
        if position == self.next {
            let sent = self.before.last().copied().unwrap_or_default();
            self.before.push(sent.saturating_add(frame_bytes));
            self.next = self.next.saturating_add(1);
        }
        self.sent_pieces = self.sent_pieces.saturating_add(pieces);
    }

    /// Pieces were sent again.
    pub(super) fn sent_again(&mut self, pieces: u64) {
        self.sent_pieces = self.sent_pieces.saturating_add(pieces);
    }

    /// True where nobody came for so long that nobody will.
    pub(super) fn is_stale(&self, now: Instant, longest: Duration) -> bool {
        self.phase == Phase::Gathering
            && self.members.is_empty()
            && now.saturating_duration_since(self.quiet_since) >= longest
    }
}

/// What is wrong with what a machine wants, as a sentence.
fn fault_of(wanted: &[Positions]) -> Option<String> {
    let mut last = 0;
    let ascending = wanted.iter().all(|range| {
        let sound = range.first >= last && range.end > range.first;
        last = range.end;
        sound
    });
    (wanted.len() > MAX_RUNS || !ascending)
        .then(|| format!("what is wanted is up to {MAX_RUNS} ranges, ascending, and none of them empty"))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
