//! Images sent to many machines at once. `docs/multicast.md` describes sessions; what they know of their machines is [`state`],
//! what goes over the network [`sender`].
//!
//! Sessions live as long as the server does: one that was killed has none, and its machines go on by themselves.

mod repairs;
mod sender;
mod state;

use super::database::JobRow;
use super::problem::Problem;
use super::{Shared, Site};
use crate::image::ImageVersion;
use crate::linux;
use crate::parallel::lock;
use crate::protocol::{MulticastAnswer, MulticastOffer, MulticastReport, Operation, SessionId, Settings};
use state::{Patience, Phase, State};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Sessions that have groups of their own; more share them.
const GROUPS: usize = 16;
/// A session that no machine joined for so long is given up.
const NOBODY_CAME: Duration = Duration::from_secs(1800);

/// All sessions of this server.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: Mutex<Vec<Arc<Session>>>,
    stop: AtomicBool,
    /// How many send: they share what may be sent in a second.
    sending: AtomicUsize,
}

/// One session.
#[derive(Debug)]
struct Session {
    id: SessionId,
    version: ImageVersion,
    way: Way,
    patience: Patience,
    state: Mutex<State>,
    has_sender: AtomicBool,
}

/// Where it is sent, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    /// Which of the groups it is.
    slot: usize,
    group: SocketAddrV4,
    interface: Ipv4Addr,
    ttl: u8,
    bytes_per_second: u64,
}

impl Way {
    /// As the settings have it; `None` where nothing is sent.
    fn of(settings: &Settings, slot: usize) -> Option<Self> {
        let base: Ipv4Addr = settings.multicast_group.parse().ok()?;
        let ahead = u32::try_from(slot % GROUPS).ok()?;
        let group = Ipv4Addr::from_bits(base.to_bits().checked_add(ahead)?);
        Some(Self {
            slot,
            group: SocketAddrV4::new(group, settings.multicast_port),
            interface: settings.multicast_interface.parse().unwrap_or(Ipv4Addr::UNSPECIFIED),
            ttl: settings.multicast_ttl,
            bytes_per_second: settings.multicast_bytes_per_second,
        })
    }
}

/// What of the settings nothing could be sent with, as a sentence.
pub(super) fn fault_of(settings: &Settings) -> Option<String> {
    let group = &settings.multicast_group;
    let interface = &settings.multicast_interface;
    let last = u32::try_from(GROUPS).unwrap_or_default().saturating_sub(1);
    let usable = |address: Ipv4Addr| {
        let end = address.to_bits().checked_add(last).map(Ipv4Addr::from_bits);
        address.is_multicast() && end.is_some_and(|end| end.is_multicast())
    };
    if !group.is_empty() && !group.parse().is_ok_and(usable) {
        return Some(format!(
            "multicast_group \"{group}\" is no group of IPv4 with {last} more behind it; 239.255.77.1 is one"
        ));
    }
    if !interface.is_empty() && interface.parse::<Ipv4Addr>().is_err() {
        return Some(format!(
            "multicast_interface \"{interface}\" is no address of IPv4; give the one that this server has there"
        ));
    }
    if settings.multicast_port == 0 || settings.multicast_ttl == 0 {
        return Some("multicast_port and multicast_ttl are 1 or more".to_owned());
    }
    (settings.multicast_bytes_per_second < sender::SLOWEST)
        .then(|| format!("multicast_bytes_per_second is {} or more", sender::SLOWEST))
}

/// What a job would join.
struct Wished<'a> {
    version: ImageVersion,
    patience: Patience,
    /// Today's.
    settings: &'a Settings,
}

impl<'a> Wished<'a> {
    /// `None` where its profile says nothing of it, or it takes no image.
    fn of(job: &JobRow, settings: &'a Settings) -> Option<Self> {
        let multicast = job.profile.deploy.multicast.filter(|_| job.operation == Operation::Deploy)?;
        let (image, version) = (job.image.parse().ok()?, job.version.as_ref()?.parse().ok()?);
        let wait = Duration::from_secs(multicast.wait_seconds.into());
        let patience = Patience { machines: multicast.machines, wait };
        Some(Self { version: ImageVersion { image, version }, patience, settings })
    }
}

impl Session {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn offer(&self) -> MulticastOffer {
        MulticastOffer {
            session: self.id,
            group: *self.way.group.ip(),
            port: self.way.group.port(),
            machines: self.patience.machines,
            wait_seconds: u32::try_from(self.patience.wait.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// Whether it gathers what is wished for, and needs one more.
    fn gathers_for(&self, wished: &Wished<'_>, now: Instant) -> bool {
        let today = Way::of(wished.settings, self.way.slot);
        let state = self.state();
        self.version == wished.version
            && self.patience == wished.patience
            && today.as_ref() == Some(&self.way)
            && state.phase() == Phase::Gathering
            && !state.is_full(now)
    }
}

impl Sessions {
    /// Whether a session waits for machines like that of a job: then the job takes no place of its own.
    pub(super) fn waits_for(&self, job: &JobRow, settings: &Settings) -> bool {
        let now = Instant::now();
        let wished = Wished::of(job, settings);
        wished.is_some_and(|wished| lock(&self.all).iter().any(|session| session.gathers_for(&wished, now)))
    }

    /// How many places these running jobs take: those of one session together take one. Who goes on over HTTP takes its own.
    pub(super) fn places(&self, running: &[i64]) -> usize {
        let now = Instant::now();
        let mut alone: BTreeSet<i64> = running.iter().copied().collect();
        let mut places = 0usize;
        lock(&self.all).retain(|session| {
            let state = session.state();
            let before = alone.len();
            alone.retain(|job| !state.holds(*job, now));
            let some = alone.len() < before;
            places = places.saturating_add(some.into());
            some || state.phase() != Phase::Over
        });
        places.saturating_add(alone.len())
    }

    /// Offers a job the session that gathers for its image, or a new one; nothing where its profile or the settings say so.
    /// [`Self::start`] has to follow.
    pub(super) fn offer(&self, job: &JobRow, settings: &Settings) -> Result<Option<MulticastOffer>, Problem> {
        let Some(wished) = Wished::of(job, settings) else { return Ok(None) };
        let now = Instant::now();
        let mut all = lock(&self.all);
        // A machine that was started anew begins anew.
        all.iter().for_each(|session| session.state().forget(job.id));
        if let Some(session) = all.iter().find(|session| session.gathers_for(&wished, now)) {
            session.state().offer(job.id, now);
            return Ok(Some(session.offer()));
        }
        let taken: BTreeSet<SocketAddrV4> = all
            .iter()
            .filter(|session| session.state().phase() != Phase::Over)
            .map(|session| session.way.group)
            .collect();
        let free = (0..GROUPS)
            .filter_map(|slot| Way::of(settings, slot))
            .find(|way| !taken.contains(&way.group))
            .or_else(|| Way::of(settings, 0));
        let Some(way) = free else { return Ok(None) };
        let random = linux::random_bits().map_err(|error| Problem::internal(error.to_string()))?;
        let [a, b, c, d, e, f, g, h, ..] = random;
        let Wished { version, patience, .. } = wished;
        let mut state = State::new(patience, now);
        state.offer(job.id, now);
        let session = Session {
            id: SessionId(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
            version,
            way,
            patience,
            state: Mutex::new(state),
            has_sender: AtomicBool::new(false),
        };
        let offer = session.offer();
        all.push(Arc::new(session));
        Ok(Some(offer))
    }

    /// Starts the senders of new sessions.
    pub(super) fn start(site: &Shared) {
        let all = lock(&site.multicast.all);
        for session in all.iter().filter(|session| !session.has_sender.swap(true, Ordering::Relaxed)) {
            let (site, session) = (Arc::clone(site), Arc::clone(session));
            std::thread::spawn(move || sender::run(&site, &session));
        }
    }

    /// What a machine says of the session that it is in, and what it is told.
    pub(super) fn report(&self, job: &JobRow, said: &MulticastReport) -> MulticastAnswer {
        let found = lock(&self.all).iter().find(|session| session.id == said.session).cloned();
        let Some(session) = found else { return MulticastAnswer::default() };
        let mut state = session.state();
        if !state.is_offered(job.id) {
            return MulticastAnswer::default();
        }
        state.report(job.id, &job.machine_name, said, Instant::now())
    }

    /// Ends them all, soon.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Site {
    /// Says in the audit trail how a session ended.
    fn tell_end(&self, session: &Session, sent_bytes: u64, again_bytes: u64, fault: Option<&str>) {
        use super::database;
        use super::moment::Moment;
        use crate::units::format_size;
        let state = session.state();
        let (members, left) = state.summary();
        let mut text = format!(
            "{}: {members} machines, {} sent, {} of that again",
            session.version,
            format_size(sent_bytes),
            format_size(again_bytes)
        );
        if !left.is_empty() {
            text.push_str(&format!("; left behind: {}", left.join(", ")));
        }
        if let Some(fault) = fault {
            text.push_str(&format!("; ended by {fault}"));
        }
        drop(state);
        // What cannot be written now is said by the machines as well.
        let _ = self.database.write(|c| database::note(c, Moment::now(), "multicast", &text));
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
