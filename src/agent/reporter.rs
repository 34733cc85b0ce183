//! Listens to a job for three at once: the console, the log, and the server, which hears of it every few seconds.
//!
//! Invariants: the work never waits for the server. One that is away is told everything when it is back. What it answers
//! may stop the work, and so may whoever is at the console; the first reason counts.

use super::job_log::JobLog;
use super::outbox::Outbox;
use crate::client::{Error, JobLink};
use crate::http::Blanker;
use crate::parallel::lock;
use crate::progress::{Event, Monitor, Phase};
use crate::units::with_causes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How often events are sent.
const SEND_EVERY: Duration = Duration::from_secs(2);
/// How often the server hears from a machine that has nothing to say.
const SIGN_OF_LIFE: Duration = Duration::from_secs(4);
/// How often progress is shown again where nothing moves, and how often a phase that measures none is.
const SHOW_EVERY: Duration = Duration::from_secs(1);
const SHOW_PHASE_EVERY: Duration = Duration::from_secs(10);
/// How long what is left is tried to be sent when the work is over.
const FAREWELL: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(100);

/// Why the work was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Somebody wished it at the server.
    Cancelled(String),
    /// The server has no such job any more.
    Gone(String),
    /// Somebody wished it at the machine.
    Here,
}

impl Stopped {
    /// Why, as a sentence.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Cancelled(reason) => format!("stopped by the server: {reason}"),
            Self::Gone(said) => format!("the server does not have this job any more: {said}"),
            Self::Here => "stopped at the machine".to_owned(),
        }
    }
}

pub(super) struct Reporter<'a> {
    console: &'a dyn Monitor,
    /// Set when the work should stop; what fetches and stores looks at it too.
    stop: Arc<AtomicBool>,
    stopped: Mutex<Option<Stopped>>,
    outbox: Mutex<Outbox>,
    log: Mutex<JobLog>,
    pulse: Mutex<Pulse>,
    over: AtomicBool,
}

/// What is going on, and when that was last shown.
struct Pulse {
    phase: Option<(Phase, Instant)>,
    progress: Option<Event>,
    shown: Instant,
    changed_target: bool,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(console: &'a dyn Monitor, stop: Arc<AtomicBool>, blanker: Blanker) -> Self {
        let pulse = Pulse { phase: None, progress: None, shown: Instant::now(), changed_target: false };
        Self {
            console,
            stop,
            stopped: Mutex::default(),
            outbox: Mutex::default(),
            log: Mutex::new(JobLog::new(blanker)),
            pulse: Mutex::new(pulse),
            over: AtomicBool::new(false),
        }
    }

    /// Why the work was stopped, if it was.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        lock(&self.stopped).clone()
    }

    /// True once a deploy has begun to change its target.
    pub(super) fn changed_target(&self) -> bool {
        lock(&self.pulse).changed_target
    }

    /// What was said, without secrets.
    pub(super) fn log_text(&self) -> String {
        lock(&self.log).text()
    }

    /// Adds what somebody else said to the log.
    pub(super) fn add_to_log(&self, text: &str) {
        let mut log = lock(&self.log);
        text.lines().for_each(|line| log.push_line(line));
    }

    /// The work is over, with this event as its last: what is left is sent, and no more comes.
    pub(super) fn end(&self, last: Event) {
        self.take(last, true);
        self.over.store(true, Ordering::Relaxed);
    }

    fn take(&self, event: Event, is_last: bool) {
        let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        if let Some(line) = event.line() {
            lock(&self.log).push(&time, &line);
        }
        lock(&self.pulse).take(&event);
        {
            let mut outbox = lock(&self.outbox);
            outbox.push(time, event.clone());
            if is_last {
                outbox.close();
            }
        }
        self.console.event(event);
    }

    fn is_gone(&self) -> bool {
        matches!(self.stopped(), Some(Stopped::Gone(_)))
    }

    /// Somebody at the machine does not want the work.
    pub(super) fn stop_here(&self) {
        self.stop_for(Stopped::Here);
    }

    fn stop_for(&self, reason: Stopped) {
        let first = {
            let mut stopped = lock(&self.stopped);
            let first = stopped.is_none();
            stopped.get_or_insert_with(|| reason.clone());
            first
        };
        self.stop.store(true, Ordering::Relaxed);
        if first && !self.over.load(Ordering::Relaxed) {
            self.event(Event::Warning { subject: "job".to_owned(), message: reason.sentence() });
        }
    }

    /// Sends what happens, and hears what the server says to it, until the work is over and all is sent, or cannot be.
    pub(super) fn keep_sending(&self, link: &JobLink) {
        let mut sender =
            Sender { reporter: self, link, due: Instant::now(), away: false, heard: Instant::now() };
        let mut over_since = None;
        loop {
            let over = self.over.load(Ordering::Relaxed);
            if over && over_since.is_none() {
                over_since = Some(Instant::now());
                sender.due = Instant::now();
            }
            if !over && self.console.cancelled() {
                self.stop_for(Stopped::Here);
            }
            let gone = !sender.send_if_due();
            let late = over_since.is_some_and(|since| since.elapsed() >= FAREWELL);
            if over && (gone || late || lock(&self.outbox).is_empty()) {
                return;
            }
            if !over {
                self.show_again();
            }
            std::thread::sleep(TICK);
        }
    }

    /// A console on which nothing moves looks dead.
    fn show_again(&self) {
        let mut pulse = lock(&self.pulse);
        let Some((phase, since)) = pulse.phase else { return };
        let silent = pulse.shown.elapsed();
        let event = match pulse.progress.clone() {
            Some(progress) if silent >= SHOW_EVERY => progress,
            None if silent >= SHOW_PHASE_EVERY => {
                let message = format!("still {}, for {} s", phase.verb(), since.elapsed().as_secs());
                Event::Note { message }
            }
            _ => return,
        };
        pulse.shown = Instant::now();
        drop(pulse);
        self.console.event(event);
    }
}

impl Monitor for Reporter<'_> {
    fn event(&self, event: Event) {
        self.take(event, false);
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.console.cancelled()
    }
}

impl Pulse {
    fn take(&mut self, event: &Event) {
        self.shown = Instant::now();
        match event {
            Event::PhaseStarted { phase, .. } => {
                (self.phase, self.progress) = (Some((*phase, self.shown)), None);
                self.changed_target |= *phase == Phase::Clear;
            }
            Event::Advanced { .. } => self.progress = Some(event.clone()),
            Event::PhaseFinished { .. } | Event::Finished { .. } | Event::Failed { .. } => {
                (self.phase, self.progress) = (None, None);
            }
            _ => {}
        }
    }
}

/// What one thread knows that speaks to the server.
struct Sender<'a> {
    reporter: &'a Reporter<'a>,
    link: &'a JobLink,
    due: Instant,
    away: bool,
    heard: Instant,
}

impl Sender<'_> {
    /// Sends one batch where it is time; false where the server does not have the job any more.
    fn send_if_due(&mut self) -> bool {
        if self.reporter.is_gone() {
            return false;
        }
        let has_events = !lock(&self.reporter.outbox).is_empty();
        let sign_of_life = self.due.elapsed() >= SIGN_OF_LIFE.saturating_sub(SEND_EVERY);
        if Instant::now() < self.due || !(has_events || sign_of_life) {
            return true;
        }
        let batch = lock(&self.reporter.outbox).batch();
        let begun = Instant::now();
        let result = self.link.events(&batch);
        // The first answer only says where the count goes on.
        let pause = if batch.events.is_empty() && has_events { Duration::ZERO } else { SEND_EVERY };
        self.due = begun.checked_add(if result.is_ok() { pause } else { SEND_EVERY }).unwrap_or(begun);
        match result {
            Ok(answer) => {
                lock(&self.reporter.outbox).answered(answer.next);
                self.is_back();
                if let Some(reason) = answer.cancel {
                    self.reporter.stop_for(Stopped::Cancelled(reason));
                }
                true
            }
            Err(Error::Gone { said }) => {
                self.reporter.stop_for(Stopped::Gone(said));
                false
            }
            Err(error) => {
                self.is_away(&error);
                true
            }
        }
    }

    fn is_back(&mut self) {
        if std::mem::take(&mut self.away) {
            let message = format!("the server answers again, after {} s", self.heard.elapsed().as_secs());
            self.reporter.event(Event::Note { message });
        }
        self.heard = Instant::now();
    }

    fn is_away(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.away, true) {
            let message = format!("{}; the work goes on, and what happens is sent later", with_causes(error));
            self.reporter.event(Event::Warning { subject: "server".to_owned(), message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn the_first_reason_counts_and_is_said_once() {
        let stop = Arc::new(AtomicBool::new(false));
        let reporter = Reporter::new(&Silent, Arc::clone(&stop), Blanker::default());
        assert!(!reporter.cancelled());
        reporter.stop_for(Stopped::Cancelled("by anna".to_owned()));
        reporter.stop_for(Stopped::Gone("x".to_owned()));
        assert!(reporter.cancelled() && stop.load(Ordering::Relaxed));
        assert_eq!(reporter.stopped(), Some(Stopped::Cancelled("by anna".to_owned())));
        assert_eq!(reporter.log_text().lines().count(), 1);
    }

    #[test]
    fn a_target_counts_as_changed_once_it_is_being_cleared() {
        let reporter = Reporter::new(&Silent, Arc::default(), Blanker::default());
        reporter.event(Event::PhaseStarted { phase: Phase::Preflight, total_bytes: None });
        assert!(!reporter.changed_target());
        reporter.event(Event::PhaseStarted { phase: Phase::Clear, total_bytes: None });
        assert!(reporter.changed_target());
    }
}
