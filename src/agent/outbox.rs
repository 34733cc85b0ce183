//! Events that the server does not have yet, with their numbers.
//!
//! Invariants: an event has one number, and what was sent once is not changed; none is dropped before the server said
//! that it has it. Progress is thinned: of one that stands at the end and was never sent, the next takes the place. So
//! what waits is as much as happened, not as much as was written.

use crate::progress::Event;
use crate::protocol::{EventBatch, MAX_EVENTS, TimedEvent};
use std::collections::VecDeque;

/// Half of what a server takes at once.
const MOST_BYTES: usize = 512 << 10;
/// A sentence that is longer is cut: the log has all of it.
const LONGEST_MESSAGE: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Number of the first event here; `None` until the server said where to begin.
    first: Option<u64>,
    /// How many of the first were sent, and perhaps arrived.
    sent: usize,
    events: VecDeque<TimedEvent>,
    closed: bool,
}

impl Outbox {
    /// Nothing comes after the event that was pushed last.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn push(&mut self, time: String, event: Event) {
        if self.closed {
            return;
        }
        let progress = |event: &Event| matches!(event, Event::Advanced { .. });
        if progress(&event)
            && self.events.len() > self.sent
            && self.events.back().is_some_and(|last| progress(&last.event))
        {
            self.events.pop_back();
        }
        self.events.push_back(TimedEvent { time, event: shortened(event) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What is to be sent now. The first batch of all is empty: it asks where the count goes on.
    pub(super) fn batch(&mut self) -> EventBatch {
        let Some(first) = self.first else { return EventBatch { first: 0, events: Vec::new() } };
        let mut bytes = 0usize;
        let fits = |event: &&TimedEvent| {
            bytes = bytes.saturating_add(serde_json::to_string(event).map_or(0, |text| text.len()));
            bytes <= MOST_BYTES
        };
        let events: Vec<TimedEvent> = self.events.iter().take(MAX_EVENTS).take_while(fits).cloned().collect();
        self.sent = self.sent.max(events.len());
        EventBatch { first, events }
    }

    /// The server expects the event with this number next: it has those before.
    pub(super) fn answered(&mut self, next: u64) {
        let had = self.first.and_then(|first| usize::try_from(next.checked_sub(first)?).ok());
        match had.filter(|had| *had <= self.events.len()) {
            Some(had) => {
                self.events.drain(..had);
                self.sent = self.sent.saturating_sub(had);
            }
            // The first answer, or a server that counts otherwise, as one that was set back: the count is its own.
            None => self.sent = 0,
        }
        self.first = Some(next);
    }
}

fn shortened(mut event: Event) -> Event {
    if let Event::Warning { message, .. }
    | Event::Changed { message, .. }
    | Event::Note { message }
    | Event::Finished { message, .. }
    | Event::Failed { message, .. } = &mut event
        && message.len() > LONGEST_MESSAGE
    {
        let end = (0..=LONGEST_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
        message.push_str(" ...");
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Phase;

    fn note(text: &str) -> Event {
        Event::Note { message: text.to_owned() }
    }

    fn advanced(done_bytes: u64) -> Event {
        let volume = "d0-p1".to_owned();
        Event::Advanced { phase: Phase::Write, volume, done_bytes, total_bytes: 9, transferred_bytes: 0 }
    }

    fn push(outbox: &mut Outbox, event: Event) {
        outbox.push("2026-11-27T12:00:00Z".to_owned(), event);
    }

    fn events(batch: &EventBatch) -> Vec<Event> {
        batch.events.iter().map(|timed| timed.event.clone()).collect()
    }

    #[test]
    fn an_event_is_kept_until_the_server_has_it() {
        let mut outbox = Outbox::default();
        push(&mut outbox, note("a"));
        let batch = outbox.batch();
        assert_eq!((batch.first, batch.events.len()), (0, 0), "the server says where the count goes on");
        outbox.answered(57);
        push(&mut outbox, note("b"));
        let batch = outbox.batch();
        assert_eq!((batch.first, events(&batch)), (57, vec![note("a"), note("b")]));
        assert_eq!(outbox.batch(), batch, "an answer that was lost changes nothing");
        outbox.answered(58);
        let batch = outbox.batch();
        assert_eq!((batch.first, events(&batch)), (58, vec![note("b")]));
        // A server that was set back has lost what it had, and takes what is left.
        outbox.answered(3);
        assert_eq!(outbox.batch().first, 3);
        outbox.close();
        push(&mut outbox, note("c"));
        outbox.answered(4);
        assert!(outbox.is_empty());
    }

    #[test]
    fn only_progress_is_thinned_and_only_what_was_never_sent() {
        let mut outbox = Outbox::default();
        outbox.answered(0);
        push(&mut outbox, advanced(1));
        push(&mut outbox, advanced(2));
        assert_eq!(events(&outbox.batch()), [advanced(2)]);
        push(&mut outbox, advanced(3));
        push(&mut outbox, advanced(4));
        push(&mut outbox, note("a"));
        push(&mut outbox, note("b"));
        push(&mut outbox, advanced(5));
        assert_eq!(events(&outbox.batch()), [advanced(2), advanced(4), note("a"), note("b"), advanced(5)]);
    }

    #[test]
    fn a_batch_is_bounded_and_so_is_a_message() {
        let mut outbox = Outbox::default();
        outbox.answered(0);
        for _ in 0..600 {
            push(&mut outbox, note("x"));
        }
        assert_eq!(outbox.batch().events.len(), MAX_EVENTS);
        outbox.answered(600);
        for _ in 0..100 {
            push(&mut outbox, note(&"\u{e9}".repeat(LONGEST_MESSAGE)));
        }
        let mut batches = 0;
        while !outbox.is_empty() {
            let batch = outbox.batch();
            assert!(!batch.events.is_empty() && serde_json::to_vec(&batch).unwrap().len() < 2 * MOST_BYTES);
            outbox.answered(batch.first + u64::try_from(batch.events.len()).unwrap());
            batches += 1;
        }
        assert!(batches > 2);
    }
}
