//! The thread of one session: reads chunks from the store and sends them at a pace.

use super::state::{Pressure, State, Step};
use super::{NOBODY_CAME, Phase, Session};
use crate::image::{Manifest, Place, Sequence, Store, StoreError, frame_limit_bytes};
use crate::protocol::datagram::{Datagram, Fragment, MAX_DATAGRAM, Status, fragment_of, fragments};
use crate::server::Site;
use crate::units::u64_from;
use crate::units::with_causes;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The slowest pace, in bytes a second: what only slower machines can take is better fetched.
pub(super) const SLOWEST: u64 = 1_000_000;
/// How often the sender says how far it is.
const SAID_EVERY: Duration = Duration::from_millis(250);
/// A moment, where there is nothing to do.
const MOMENT: Duration = Duration::from_millis(2);
/// The same while machines are waited for, or nobody may have come.
const LONG_MOMENT: Duration = Duration::from_millis(50);
/// Datagrams that cannot be sent, one after the other, before the session is given up.
const FAILURES: u32 = 200;

/// Sends until nobody listens.
pub(super) fn run(site: &Site, session: &Session) {
    let mut sender = match Sender::new(site, session) {
        Ok(sender) => sender,
        Err(error) => {
            session.state().end();
            return site.tell_end(session, 0, 0, Some(&with_causes(&error)));
        }
    };
    let fault = sender.send_all().err().map(|error| format!("sending to {}: {error}", session.way.group));
    session.state().end();
    if sender.began {
        site.multicast.sending.fetch_sub(1, Ordering::Relaxed);
    }
    if sender.began || fault.is_some() {
        site.tell_end(session, sender.sent_bytes, sender.again_bytes, fault.as_deref());
    }
}

struct Sender<'a> {
    site: &'a Site,
    session: &'a Session,
    sequence: Arc<Sequence>,
    image: String,
    socket: UdpSocket,
    pace: Pace,
    said: Option<Instant>,
    began: bool,
    failures: u32,
    sent_bytes: u64,
    again_bytes: u64,
    datagram: Vec<u8>,
}

impl<'a> Sender<'a> {
    fn new(site: &'a Site, session: &'a Session) -> Result<Self, StoreError> {
        let doing = format!("sending to {}", session.way.group);
        let socket = open(session).map_err(|source| StoreError::Io { doing, source })?;
        let manifest = Manifest::load(&site.store, &session.version)?;
        let sequence = Arc::new(Sequence::load(&site.store, &manifest, &session.version)?);
        session.state().know(Arc::clone(&sequence));
        Ok(Self {
            site,
            session,
            sequence,
            image: session.version.to_string(),
            socket,
            pace: Pace::new(session.way.bytes_per_second, Instant::now()),
            said: None,
            began: false,
            failures: 0,
            sent_bytes: 0,
            again_bytes: 0,
            datagram: Vec::with_capacity(MAX_DATAGRAM),
        })
    }

    fn send_all(&mut self) -> io::Result<()> {
        while !self.site.multicast.is_stopped() {
            let now = Instant::now();
            let (step, phase) = {
                let mut state = self.session.state();
                let step = state.step(now);
                self.adapt(&mut state, now);
                if state.is_stale(now, NOBODY_CAME) {
                    return Ok(());
                }
                (step, state.phase())
            };
            if phase == Phase::Sending && !self.began {
                self.began = true;
                self.site.multicast.sending.fetch_add(1, Ordering::Relaxed);
            }
            match step {
                Step::End => return Ok(()),
                Step::Send(position) => self.send_chunk(position)?,
                Step::Again(position, runs) => self.send_again(position, &runs)?,
                Step::Wait => {
                    self.say()?;
                    std::thread::sleep(if phase == Phase::Gathering { LONG_MOMENT } else { MOMENT });
                }
            }
        }
        Ok(())
    }

    /// Sends slower or faster, and shares what may be sent with the other sessions.
    fn adapt(&mut self, state: &mut State, now: Instant) {
        let sharing = u64_from(self.site.multicast.sending.load(Ordering::Relaxed).max(1));
        self.pace.limit = (self.session.way.bytes_per_second / sharing).max(SLOWEST);
        if let Some(pressure) = state.pressure(self.pace.is_slowest(), now) {
            self.pace.adapt(pressure);
        }
    }

    fn read(&self, position: u32) -> Option<(Place, Vec<u8>)> {
        let place = *self.sequence.get(position)?;
        // One that cannot be read is fetched by those who need it, and they say what is wrong.
        let frame = self.site.store.get_chunk(place.id, frame_limit_bytes(place.length.into())).ok()?;
        Some((place, frame))
    }

    fn send_chunk(&mut self, position: u32) -> io::Result<()> {
        let (mut sent, mut pieces) = (0, 0);
        if let Some((place, frame)) = self.read(position) {
            let count = fragments(frame.len()).unwrap_or_default();
            self.send_run(position, &place, &frame, 0, count)?;
            (sent, pieces) = (u64_from(frame.len()), count.into());
        }
        self.session.state().sent(position, sent, pieces);
        Ok(())
    }

    fn send_again(&mut self, position: u32, runs: &[(u16, u16)]) -> io::Result<()> {
        let Some((place, frame)) = self.read(position) else { return Ok(()) };
        let before = self.sent_bytes;
        let mut pieces = 0u64;
        for (first, count) in runs {
            let count = (*count).min(fragments(frame.len()).unwrap_or_default().saturating_sub(*first));
            self.send_run(position, &place, &frame, *first, count)?;
            pieces = pieces.saturating_add(count.into());
        }
        self.again_bytes = self.again_bytes.saturating_add(self.sent_bytes.saturating_sub(before));
        self.session.state().sent_again(pieces);
        Ok(())
    }

    fn send_run(
        &mut self,
        position: u32,
        place: &Place,
        frame: &[u8],
        first: u16,
        count: u16,
    ) -> io::Result<()> {
        for number in first..first.saturating_add(count) {
            let Some(bytes) = fragment_of(frame, number) else { break };
            let fragment = Fragment {
                session: self.session.id,
                position,
                volume: place.volume,
                offset: place.offset,
                chunk: place.id.0,
                frame_bytes: u32::try_from(frame.len()).unwrap_or(u32::MAX),
                number,
                bytes,
            };
            self.put(&Datagram::Fragment(fragment))?;
            self.say()?;
        }
        Ok(())
    }

    /// Says how far the sender is, where that was not said for a while and somebody may hear it.
    fn say(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < SAID_EVERY) {
            return Ok(());
        }
        self.said = Some(now);
        let status = {
            let state = self.session.state();
            if !state.is_heard() {
                return Ok(());
            }
            (state.next(), state.total(), state.phase() == Phase::Sending)
        };
        let (position, total, sending) = status;
        let image = std::mem::take(&mut self.image);
        let status = Status { session: self.session.id, position, total, sending, image: &image };
        let put = self.put(&Datagram::Status(status));
        self.image = image;
        put
    }

    fn put(&mut self, datagram: &Datagram<'_>) -> io::Result<()> {
        datagram.write(&mut self.datagram);
        if let Some(pause) = self.pace.pause(u64_from(self.datagram.len()), Instant::now()) {
            std::thread::sleep(pause);
        }
        match self.socket.send_to(&self.datagram, self.session.way.group) {
            Ok(_) => {
                self.failures = 0;
                self.sent_bytes = self.sent_bytes.saturating_add(u64_from(self.datagram.len()));
            }
            // A full queue, or a network that is away for a moment: what is lost is asked for again.
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures > FAILURES {
                    return Err(error);
                }
                std::thread::sleep(MOMENT);
            }
        }
        Ok(())
    }
}

/// A socket that sends to the session's group by way of the network that has the interface's address: the kernel takes the
/// device of the address that a socket is bound to.
fn open(session: &Session) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((session.way.interface, 0))?;
    socket.set_multicast_ttl_v4(session.way.ttl.into())?;
    // Machines on this computer hear it too.
    socket.set_multicast_loop_v4(true)?;
    Ok(socket)
}

/// How fast is sent.
#[derive(Debug)]
struct Pace {
    /// The most bytes a second.
    limit: u64,
    /// Bytes a second now.
    rate: u64,
    /// When what was sent so far is through.
    through: Instant,
}

/// So far the sender may be ahead of its pace: sleeping for less is not exact.
const BURST: Duration = Duration::from_millis(2);

impl Pace {
    fn new(limit: u64, now: Instant) -> Self {
        Self { limit, rate: (limit / 2).max(SLOWEST), through: now }
    }

    /// Whether it can hardly be slower.
    fn is_slowest(&self) -> bool {
        self.rate <= SLOWEST.saturating_add(SLOWEST / 2)
    }

    fn adapt(&mut self, pressure: Pressure) {
        let rate = match pressure {
            Pressure::Low => self.rate.saturating_add(self.rate / 7),
            Pressure::Fair => self.rate,
            Pressure::High => self.rate.saturating_sub(self.rate / 3),
        };
        self.rate = rate.clamp(SLOWEST, self.limit.max(SLOWEST));
    }

    /// How long to wait before so many bytes are sent.
    fn pause(&mut self, bytes: u64, now: Instant) -> Option<Duration> {
        let rate = self.rate.clamp(SLOWEST, self.limit.max(SLOWEST));
        let takes = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1));
        // What was not sent in a pause is not made up for.
        self.through = self.through.max(now.checked_sub(BURST).unwrap_or(now)) + takes;
        let ahead = self.through.saturating_duration_since(now);
        (ahead > BURST).then_some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_sent_than_the_limit_allows() {
        let begin = Instant::now();
        let mut pace = Pace::new(10_000_000, begin);
        (0..50).for_each(|_| pace.adapt(Pressure::Low));
        assert_eq!(pace.rate, 10_000_000);
        assert!(!pace.is_slowest());
        let mut now = begin;
        for _ in 0..10_000 {
            now += pace.pause(1000, now).unwrap_or_default();
        }
        let took = now - begin;
        assert!((950..1050).contains(&took.as_millis()), "{took:?}");
        (0..50).for_each(|_| pace.adapt(Pressure::High));
        assert_eq!(pace.rate, SLOWEST);
        pace.adapt(Pressure::Fair);
        assert_eq!(pace.rate, SLOWEST);
        // A count without losses in between does not hide that.
        pace.adapt(Pressure::Low);
        assert!(pace.is_slowest());
    }
}
