//! What arrived of a session, what is missing, and how far this machine is. No clock, no socket.
//!
//! Invariants: the frames that are held, whole or in part, take no more than the window and one frame; what a datagram says counts only where
//! it is what the image's own indexes say of that position; no chunk is waited for without an end.

use crate::image::{ChunkId, Sequence, frame_limit_bytes};
use crate::protocol::datagram::{FRAGMENT_BYTES, Fragment, fragments};
use crate::protocol::{Gap, MAX_RUNS, Positions};
use crate::units::{u64_from, usize_from};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What was sent and is not here after so long is fetched: it was asked for several times by then.
const GIVE_UP: Duration = Duration::from_millis(1500);
/// What is missing is asked for again after so long: what was sent again is here by then, or lost.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How many positions one look for gaps passes.
const LOOKED_AT: usize = 4096;

/// What becomes of a chunk that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Here is its frame.
    Frame(Vec<u8>),
    /// It is not listened for, or was given up: fetch it.
    Fetch,
    /// It may come.
    Wait,
}

#[derive(Debug)]
struct Partial {
    frame: Vec<u8>,
    arrived: Vec<bool>,
    left: usize,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    since: Instant,
    asked: Option<Instant>,
}

/// The state of a machine in a session.
#[derive(Debug)]
pub(super) struct Receiving {
    sequence: Sequence,
    /// For each position whether it is listened for and was not taken.
    wanted: Vec<bool>,
    window_bytes: u64,
    /// The first position that is wanted; the total where none is.
    position: u32,
    /// What lies before it was sent.
    passed: u32,
    partial: BTreeMap<u32, Partial>,
    held_bytes: u64,
    missing: BTreeMap<u32, Missing>,
}

impl Receiving {
    /// A machine that listens for these positions, and holds so many bytes of frames.
    pub(super) fn new(sequence: Sequence, listened: &[u32], window_bytes: u64) -> Self {
        let mut wanted = vec![false; usize_from(sequence.total().into())];
        for position in listened {
            if let Some(wanted) = wanted.get_mut(usize_from((*position).into())) {
                *wanted = true;
            }
        }
        let (partial, missing) = (BTreeMap::new(), BTreeMap::new());
        let mut receiving =
            Self { sequence, wanted, window_bytes, position: 0, passed: 0, partial, held_bytes: 0, missing };
        receiving.advance();
        receiving
    }

    pub(super) fn total(&self) -> u32 {
        self.sequence.total()
    }

    pub(super) fn position(&self) -> u32 {
        self.position
    }

    /// What the sender may be ahead: a part of the window is kept for what arrives out of order.
    pub(super) fn window_bytes(&self) -> u64 {
        self.window_bytes.saturating_sub(self.window_bytes / 8)
    }

    /// True where nothing is waited for any more.
    pub(super) fn is_done(&self) -> bool {
        self.position >= self.total()
    }

    fn is_wanted(&self, position: u32) -> bool {
        self.wanted.get(usize_from(position.into())).copied().unwrap_or(false)
    }

    fn advance(&mut self) {
        let from = usize_from(self.position.into());
        let next = self.wanted.iter().skip(from).position(|wanted| *wanted);
        let next = next.and_then(|ahead| from.checked_add(ahead)).and_then(|next| u32::try_from(next).ok());
        self.position = next.unwrap_or_else(|| self.total());
    }

    /// What is wanted, as ranges; where there are too many, those between which least lies are put together.
    pub(super) fn wanted(&self) -> Vec<Positions> {
        let mut ranges: Vec<Positions> = Vec::new();
        for (position, _) in (0u32..).zip(&self.wanted).filter(|(_, wanted)| **wanted) {
            let end = position.saturating_add(1);
            match ranges.last_mut() {
                Some(last) if last.end == position => last.end = end,
                _ => ranges.push(Positions { first: position, end }),
            }
        }
        let mut between: Vec<u32> = ranges
            .windows(2)
            .filter_map(|pair| Some(pair.get(1)?.first.saturating_sub(pair.first()?.end)))
            .collect();
        between.sort_unstable_by(|a, b| b.cmp(a));
        // Gaps as long as this one, and shorter ones, are closed.
        let Some(closed) = between.get(MAX_RUNS.saturating_sub(1)).copied() else { return ranges };
        let mut fewer: Vec<Positions> = Vec::new();
        for range in ranges {
            match fewer.last_mut() {
                Some(last) if range.first.saturating_sub(last.end) <= closed => last.end = range.end,
                _ => fewer.push(range),
            }
        }
        fewer
    }

    /// The sender is so far.
    pub(super) fn sender_at(&mut self, position: u32) {
        self.passed = self.passed.max(position.min(self.total()));
    }

    /// Takes a piece. Returns its length where it is new, and 0 otherwise.
    pub(super) fn take(&mut self, fragment: &Fragment<'_>) -> u64 {
        let position = fragment.position;
        let Some(place) = self.sequence.get(position) else { return 0 };
        let is_it = place.id.0 == fragment.chunk
            && place.volume == fragment.volume
            && place.offset == fragment.offset;
        let frame_bytes = u64::from(fragment.frame_bytes);
        if !is_it || frame_bytes > frame_limit_bytes(place.length.into()) {
            return 0;
        }
        // What is sent again lies before.
        self.sender_at(position);
        if !self.is_wanted(position) {
            return 0;
        }
        let length = usize_from(frame_bytes);
        if !self.partial.contains_key(&position) {
            let Some(count) = fragments(length) else { return 0 };
            // The first one that is wanted has room in any case: without it nothing goes on.
            let full = self.held_bytes.saturating_add(frame_bytes) > self.window_bytes;
            if full && (position != self.position || self.held_bytes > self.window_bytes) {
                return 0;
            }
            let (frame, arrived) = (vec![0; length], vec![false; count.into()]);
            self.held_bytes = self.held_bytes.saturating_add(frame_bytes);
            self.partial.insert(position, Partial { frame, arrived, left: count.into() });
        }
        let Some(partial) = self.partial.get_mut(&position) else { return 0 };
        let number = usize::from(fragment.number);
        let from = number.saturating_mul(FRAGMENT_BYTES);
        let to = from.saturating_add(fragment.bytes.len());
        // A piece of a frame of another length is a contradiction: the first one counts, and its content is checked.
        if partial.frame.len() != length {
            return 0;
        }
        match (partial.arrived.get_mut(number), partial.frame.get_mut(from..to)) {
            (Some(arrived), Some(part)) if !*arrived => {
                part.copy_from_slice(fragment.bytes);
                *arrived = true;
                partial.left = partial.left.saturating_sub(1);
            }
            _ => return 0,
        }
        if partial.left == 0 {
            self.missing.remove(&position);
        }
        u64_from(fragment.bytes.len())
    }

    /// Whether all of a frame is here.
    pub(super) fn is_whole(&self, position: u32) -> bool {
        self.partial.get(&position).is_some_and(|partial| partial.left == 0)
    }

    /// Somebody needs a chunk now.
    pub(super) fn ask(&mut self, id: ChunkId, now: Instant) -> Asked {
        let Some(position) = self.sequence.position_of(id).filter(|position| self.is_wanted(*position))
        else {
            return Asked::Fetch;
        };
        if self.is_whole(position) {
            return self.settle(position).map_or(Asked::Fetch, Asked::Frame);
        }
        let late = |missing: &Missing| now.saturating_duration_since(missing.since) >= GIVE_UP;
        if self.missing.get(&position).is_some_and(late) {
            self.settle(position);
            return Asked::Fetch;
        }
        Asked::Wait
    }

    /// A chunk is not waited for any more; its frame as far as it is here.
    fn settle(&mut self, position: u32) -> Option<Vec<u8>> {
        if let Some(wanted) = self.wanted.get_mut(usize_from(position.into())) {
            *wanted = false;
        }
        self.missing.remove(&position);
        let partial = self.partial.remove(&position);
        if let Some(partial) = &partial {
            self.held_bytes = self.held_bytes.saturating_sub(u64_from(partial.frame.len()));
        }
        if position == self.position {
            self.advance();
        }
        partial.map(|partial| partial.frame)
    }

    /// What was sent and is not here: what is to be asked for now.
    pub(super) fn gaps(&mut self, now: Instant) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let from = usize_from(self.position.into());
        let until = self.passed;
        let behind = (self.position..until).zip(self.wanted.iter().skip(from)).take(LOOKED_AT);
        for (position, _) in behind.filter(|(_, wanted)| **wanted) {
            let partial = self.partial.get(&position);
            if partial.is_some_and(|partial| partial.left == 0) {
                continue;
            }
            let missing = self.missing.entry(position).or_insert(Missing { since: now, asked: None });
            if missing.asked.is_some_and(|asked| now.saturating_duration_since(asked) < ASK_AGAIN) {
                continue;
            }
            let before = gaps.len();
            match partial {
                None => gaps.push(Gap { position, first: 0, count: u16::MAX }),
                Some(partial) => {
                    gaps.extend(runs(&partial.arrived).map(|(first, count)| Gap { position, first, count }));
                }
            }
            if gaps.len() > MAX_RUNS {
                gaps.truncate(before);
                break;
            }
            missing.asked = Some(now);
        }
        gaps
    }
}

/// Runs of pieces that did not arrive: first and count. Of very many the first ones.
fn runs(arrived: &[bool]) -> impl Iterator<Item = (u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for (number, _) in (0u16..=u16::MAX).zip(arrived).filter(|(_, arrived)| !**arrived) {
        match runs.last_mut() {
            Some((first, count)) if first.saturating_add(*count) == number => {
                *count = count.saturating_add(1);
            }
            _ => runs.push((number, 1)),
        }
    }
    runs.truncate(MAX_RUNS / 2);
    runs.into_iter()
}

#[cfg(test)]
#[path = "receiving_tests.rs"]
mod tests;
