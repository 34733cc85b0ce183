//! Being in a session: a thread that listens, one that reports, and whoever waits for a chunk.

use super::receiving::{Asked, Receiving};
use super::{Datagrams, Invitation};
use crate::client::{Error, JobLink};
use crate::image::ChunkId;
use crate::parallel::lock;
use crate::protocol::datagram::{Datagram, MAX_DATAGRAM};
use crate::protocol::{MulticastReport, SessionId};
use crate::units::with_causes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often this machine says how far it is.
const REPORTED_EVERY: Duration = Duration::from_millis(200);
/// The server says four times a second how far it is. Where nothing arrives for so long, nothing will.
const NOTHING_HEARD: Duration = Duration::from_secs(10);
/// Where nothing new arrives for so long although somebody waits. The server leaves behind who stands still long before.
const STANDS_STILL: Duration = Duration::from_secs(40);
/// So long a session may gather beyond what was agreed.
const GATHERS_TOO_LONG: Duration = Duration::from_secs(15);
/// Reports that fail for so long: the server is away.
const AWAY: Duration = Duration::from_secs(8);
const TICK: Duration = Duration::from_millis(100);

/// A session that this machine is in.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    id: SessionId,
    group: String,
    /// `IMAGE@VERSION`.
    image: String,
    wait: Duration,
    stop: Arc<AtomicBool>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    receiving: Receiving,
    joined: Instant,
    heard: Option<Instant>,
    sending: bool,
    /// When something new arrived.
    moved: Instant,
    /// Nothing is waited for any more.
    over: bool,
    /// Why, where that was not meant.
    why: Option<String>,
}

impl State {
    fn give_up(&mut self, why: Option<String>) {
        if !self.over {
            (self.over, self.why) = (true, why);
        }
    }
}

impl Session {
    /// Tells the server that this machine is ready, and listens from now on.
    pub(super) fn begin(
        source: Box<dyn Datagrams>,
        invitation: Invitation,
        image: String,
        receiving: Receiving,
    ) -> Result<Self, String> {
        let Invitation { offer, link, stop } = invitation;
        let now = Instant::now();
        let first = MulticastReport {
            session: offer.session,
            total: receiving.total(),
            position: receiving.position(),
            window_bytes: receiving.window_bytes(),
            wanted: Some(receiving.wanted()),
            missing: Vec::new(),
            leaving: false,
        };
        let answer = link.multicast(&first).map_err(|error| with_causes(&error))?;
        if !answer.member {
            return Err(answer
                .message
                .unwrap_or_else(|| "the server has no such session any more".to_owned()));
        }
        let shared = Arc::new(Shared {
            id: offer.session,
            group: format!("{}:{}", offer.group, offer.port),
            image,
            wait: Duration::from_secs(offer.wait_seconds.into()),
            stop,
            state: Mutex::new(State {
                receiving,
                joined: now,
                heard: None,
                sending: false,
                moved: now,
                over: false,
                why: None,
            }),
            changed: Condvar::new(),
        });
        let (listening, reporting) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || listening.listen(source.as_ref())),
            std::thread::spawn(move || reporting.report(&link)),
        ];
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Waits until the session sends, or is over for this machine, or somebody wants to stop. Whoever reports ends it where
    /// nothing begins.
    pub(super) fn wait_to_begin(&self, cancelled: &dyn Fn() -> bool) {
        let mut state = self.shared.state();
        while !state.sending && !state.over && !cancelled() && !self.shared.stop.load(Ordering::Relaxed) {
            let waited = self.shared.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a chunk; `None` where it has to be fetched.
    pub(super) fn wait_for(&self, id: ChunkId) -> Option<Vec<u8>> {
        let begun = Instant::now();
        let mut state = self.shared.state();
        loop {
            let now = Instant::now();
            if state.over || self.shared.stop.load(Ordering::Relaxed) {
                return None;
            }
            match state.receiving.ask(id, now) {
                Asked::Frame(frame) => return Some(frame),
                Asked::Fetch => return None,
                Asked::Wait => {}
            }
            if state.sending && now.saturating_duration_since(state.moved.max(begun)) >= STANDS_STILL {
                state.give_up(Some(format!(
                    "the session stands still for {} seconds",
                    STANDS_STILL.as_secs()
                )));
                continue;
            }
            let waited = self.shared.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Stops listening. Why that was so before, where it was not meant.
    pub(super) fn leave(&self) -> Option<String> {
        let why = {
            let mut state = self.shared.state();
            state.give_up(None);
            state.why.take()
        };
        self.shared.changed.notify_all();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            let _ = thread.join();
        }
        why
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn listen(&self, source: &dyn Datagrams) {
        // One byte more than a datagram of ours has: one that is longer is none.
        let mut buffer = vec![0; MAX_DATAGRAM.saturating_add(1)];
        while !self.state().over {
            match source.receive(&mut buffer) {
                Ok(length) => self.take(length.and_then(|length| buffer.get(..length)).unwrap_or_default()),
                Err(error) => self.give_up(Some(format!("listening to {}: {error}", self.group))),
            }
        }
    }

    fn take(&self, bytes: &[u8]) {
        let now = Instant::now();
        match Datagram::read(bytes) {
            Some(Datagram::Fragment(fragment)) if fragment.session == self.id => {
                let mut state = self.state();
                (state.heard, state.sending) = (Some(now), true);
                if state.receiving.take(&fragment) > 0 {
                    state.moved = now;
                    if state.receiving.is_whole(fragment.position) {
                        self.changed.notify_all();
                    }
                }
            }
            Some(Datagram::Status(status)) if status.session == self.id && status.image == self.image => {
                let mut state = self.state();
                state.heard = Some(now);
                state.sending |= status.sending;
                if status.sending {
                    state.receiving.sender_at(status.position);
                }
            }
            _ => {}
        }
    }

    fn give_up(&self, why: Option<String>) {
        self.state().give_up(why);
        self.changed.notify_all();
    }

    /// Why nothing more is to be expected.
    fn hopeless(&self, state: &State, now: Instant) -> Option<String> {
        let since = |then: Instant| now.saturating_duration_since(then);
        if since(state.heard.unwrap_or(state.joined)) >= NOTHING_HEARD {
            let seconds = NOTHING_HEARD.as_secs();
            return Some(match state.heard {
                None => format!(
                    "nothing that is sent to {} arrives here; a switch or a router keeps it",
                    self.group
                ),
                Some(_) => format!("nothing was heard of {} for {seconds} seconds", self.group),
            });
        }
        let late = !state.sending && since(state.joined) >= self.wait + GATHERS_TOO_LONG;
        late.then(|| "the session does not begin".to_owned())
    }

    /// Tells the server how far this machine is, until it has all or is told to go on without the session.
    fn report(&self, link: &JobLink) {
        let mut answered = Instant::now();
        loop {
            let now = Instant::now();
            let (report, over) = {
                let mut state = self.state();
                if let Some(why) = self.hopeless(&state, now) {
                    state.give_up(Some(why));
                }
                if state.receiving.is_done() || self.stop.load(Ordering::Relaxed) {
                    state.give_up(None);
                }
                let report = MulticastReport {
                    session: self.id,
                    total: state.receiving.total(),
                    position: state.receiving.position(),
                    window_bytes: state.receiving.window_bytes(),
                    wanted: None,
                    missing: if state.over { Vec::new() } else { state.receiving.gaps(now) },
                    leaving: state.over,
                };
                (report, state.over)
            };
            let told = link.multicast(&report);
            if over {
                self.changed.notify_all();
                return;
            }
            match told {
                Ok(answer) if answer.member => answered = now,
                Ok(answer) => {
                    let gone = || "the server has no such session any more".to_owned();
                    self.give_up(Some(answer.message.unwrap_or_else(gone)));
                    return;
                }
                // The job itself is told so too.
                Err(Error::Gone { .. }) => return self.give_up(None),
                Err(error) if now.saturating_duration_since(answered) >= AWAY => {
                    return self.give_up(Some(with_causes(&error)));
                }
                Err(_) => {}
            }
            let state = self.state();
            if !state.over {
                let until = now + REPORTED_EVERY;
                let pause = until.saturating_duration_since(Instant::now());
                drop(self.changed.wait_timeout_while(state, pause, |state| !state.over));
            }
        }
    }
}
