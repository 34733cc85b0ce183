//! Work that goes on: how far it is, how fast, and what was said.

use super::wish::Wish;
use crate::progress::{Event, Phase};
use std::collections::VecDeque;
use std::time::Duration;

/// How many sentences are kept.
const MOST_MESSAGES: usize = 50;

/// What is known of it.
#[derive(Debug, Clone)]
pub struct Work {
    /// What was wished.
    pub wish: Wish,
    /// What is being done.
    pub phase: Option<Phase>,
    /// The volume that is worked on, with what is on it.
    pub volume: String,
    /// Bytes of the phase.
    pub done_bytes: u64,
    /// All bytes of the phase, where that is known.
    pub total_bytes: Option<u64>,
    /// Bytes sent or fetched.
    pub transferred_bytes: u64,
    /// When the phase began.
    pub phase_began: Duration,
    /// When the work began.
    pub began: Duration,
    /// The last sentences.
    pub messages: VecDeque<String>,
    /// True where it was asked to stop.
    pub cancelled: bool,
    /// True while a person is asked whether it is to stop.
    pub asks_to_cancel: bool,
}

impl Work {
    /// Work that begins.
    #[must_use]
    pub fn new(wish: Wish, now: Duration) -> Self {
        Self {
            wish,
            phase: None,
            volume: String::new(),
            done_bytes: 0,
            total_bytes: None,
            transferred_bytes: 0,
            phase_began: now,
            began: now,
            messages: VecDeque::new(),
            cancelled: false,
            asks_to_cancel: false,
        }
    }

    /// Bytes a second in this phase, where enough time has passed to say so.
    #[must_use]
    pub fn rate(&self, now: Duration) -> Option<u64> {
        let milliseconds = u64::try_from(now.saturating_sub(self.phase_began).as_millis()).ok()?;
        if milliseconds < 1000 {
            return None;
        }
        self.done_bytes.checked_mul(1000)?.checked_div(milliseconds)
    }

    /// How long this phase may still take.
    #[must_use]
    pub fn left(&self, now: Duration) -> Option<Duration> {
        let left = self.total_bytes?.checked_sub(self.done_bytes)?;
        let rate = self.rate(now).filter(|rate| *rate > 0)?;
        left.checked_div(rate).map(Duration::from_secs)
    }

    /// Hundredths done.
    #[must_use]
    pub fn percent(&self) -> Option<u64> {
        let total = self.total_bytes.filter(|total| *total > 0)?;
        Some(u64::try_from(u128::from(self.done_bytes) * 100 / u128::from(total)).unwrap_or(100).min(100))
    }

    pub(super) fn say(&mut self, message: String) {
        if self.messages.len() >= MOST_MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// Takes an event of the work.
    pub(super) fn take(&mut self, event: Event, now: Duration) {
        match event {
            Event::PhaseStarted { phase, total_bytes } => {
                self.phase = Some(phase);
                self.phase_began = now;
                (self.done_bytes, self.total_bytes) = (0, total_bytes);
                self.volume.clear();
            }
            Event::VolumeStarted { volume, content, .. } => self.volume = format!("{volume} ({content})"),
            Event::Advanced { done_bytes, total_bytes, transferred_bytes, .. } => {
                (self.done_bytes, self.total_bytes) = (done_bytes, Some(total_bytes));
                self.transferred_bytes = transferred_bytes;
            }
            Event::Warning { subject, message } => self.say(format!("warning: {subject}: {message}")),
            Event::Changed { volume, message } => self.say(format!("{volume}: {message}")),
            event @ Event::Script { .. } => event.line().into_iter().for_each(|line| self.say(line)),
            Event::Finished { message, .. } | Event::Failed { message, .. } => self.say(message),
            _ => {}
        }
    }
}
