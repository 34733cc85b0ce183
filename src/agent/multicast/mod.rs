//! A store of which the chunks come by multicast as far as they do, and over HTTP otherwise.
//!
//! Invariants: whatever becomes of the session, the deploy gets its chunks; every wait has an end; the memory for what arrives
//! is bounded. What arrives is believed only as far as its content has the hash that was asked for.

mod order;
mod receiving;
mod session;

use crate::client::JobLink;
use crate::image::{ChunkId, ImageName, ImageVersion, Manifest, Sequence, Store, StoreError, VersionName};
use crate::linux::{self, GroupReceiver};
use crate::parallel::lock;
use crate::progress::{Event, Monitor};
use crate::protocol::MulticastOffer;
use crate::units::{MIB, format_size, u64_from};
use receiving::Receiving;
use session::Session;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};

/// The most memory for what arrived and was not written yet, in bytes: more than two seconds of a link of 1 Gbit/s.
const LARGEST_WINDOW: u64 = 256 * MIB;
/// With less than this a machine does not take part: one chunk may have 16 MiB.
const SMALLEST_WINDOW: u64 = 48 * MIB;

/// What a machine needs to be in a session.
#[derive(Debug)]
pub struct Invitation {
    /// The session.
    pub offer: MulticastOffer,
    /// What is said of it goes this way.
    pub link: JobLink,
    /// Somebody set it who wants the job to stop.
    pub stop: Arc<AtomicBool>,
}

/// What a machine takes of an image.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The image.
    pub manifest: &'a Manifest,
    /// Its name.
    pub version: &'a ImageVersion,
    /// The chunks, in the order in which they are asked for.
    pub asked: &'a [ChunkId],
}

/// Where datagrams come from.
pub trait Datagrams: Send {
    /// Waits a moment for a datagram; its length, or `None`.
    ///
    /// # Errors
    /// Where none can come any more.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>>;
}

impl Datagrams for GroupReceiver {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        Self::receive(self, buffer)
    }
}

/// A store of one image, with a session that may be joined.
pub struct MulticastStore {
    store: Arc<dyn Store>,
    session: OnceLock<Session>,
    by_multicast: AtomicU64,
    fetched: AtomicU64,
    wrong: AtomicU64,
    /// The chunk that each thread was given last, where it came by multicast.
    given: Mutex<HashMap<ThreadId, ChunkId>>,
}

impl std::fmt::Debug for MulticastStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MulticastStore").field("session", &self.session).finish_non_exhaustive()
    }
}

impl MulticastStore {
    /// A store that only fetches until its session is joined.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        let none = || AtomicU64::new(0);
        let (session, given) = (OnceLock::new(), Mutex::default());
        Self { store, session, by_multicast: none(), fetched: none(), wrong: none(), given }
    }

    /// Joins the session, on the network by which the server is reached. Where that cannot be done, a warning says why, and
    /// everything is fetched.
    pub fn join(&self, invitation: Invitation, wanted: Wanted<'_>, monitor: &dyn Monitor) {
        let group = SocketAddrV4::new(invitation.offer.group, invitation.offer.port);
        let address = invitation.link.own_address();
        let joined = address.and_then(|address| GroupReceiver::join(group, address));
        let joined = joined.map_err(|error| format!("{group} cannot be joined: {error}"));
        let joined = joined.and_then(|source| {
            let window =
                linux::available_bytes().map_or(SMALLEST_WINDOW, |bytes| bytes / 4).min(LARGEST_WINDOW);
            if window < SMALLEST_WINDOW {
                return Err(format!("{} of memory are too few to listen with", format_size(window)));
            }
            self.join_from(Box::new(source), window, invitation, wanted, monitor)
        });
        if let Err(fact) = joined {
            warn(monitor, &fact);
        }
    }

    /// The same, with datagrams from anywhere, and so many bytes for frames that were not taken yet.
    ///
    /// # Errors
    /// Why the machine is not in the session, as a sentence.
    pub fn join_from(
        &self,
        source: Box<dyn Datagrams>,
        window_bytes: u64,
        invitation: Invitation,
        Wanted { manifest, version, asked }: Wanted<'_>,
        monitor: &dyn Monitor,
    ) -> Result<(), String> {
        let sequence = Sequence::load(self.store.as_ref(), manifest, version);
        let sequence = sequence.map_err(|error| format!("the order of its chunks: {error}"))?;
        let listened = order::listened(&sequence, asked.iter().copied());
        if listened.is_empty() {
            return Ok(());
        }
        let receiving = Receiving::new(sequence, &listened, window_bytes);
        let (machines, seconds) = (invitation.offer.machines, invitation.offer.wait_seconds);
        let session = Session::begin(source, invitation, version.to_string(), receiving)?;
        monitor.event(Event::Note {
            message: format!("multicast: waiting for up to {machines} machines, {seconds} seconds at most"),
        });
        // There is one at most.
        self.session.set(session).map_err(|_| "it was joined before".to_owned())
    }

    /// Waits until the session sends, is over for this machine, or somebody wants to stop. Bounded: a session that does not
    /// begin is given up.
    pub fn wait_to_begin(&self, monitor: &dyn Monitor) {
        if let Some(session) = self.session.get() {
            session.wait_to_begin(&|| monitor.cancelled());
        }
    }

    /// Leaves the session, and says what came of it; nothing where it was never joined.
    pub fn leave(&self, monitor: &dyn Monitor) -> Option<String> {
        let session = self.session.get()?;
        if let Some(why) = session.leave() {
            warn(monitor, &why);
        }
        let (received, fetched) = self.bytes();
        let mut sentence =
            format!("{} by multicast and {} over HTTP", format_size(received), format_size(fetched));
        let wrong = self.wrong.load(Ordering::Relaxed);
        if wrong > 0 {
            sentence.push_str(&format!("; {wrong} chunks arrived with another content and were fetched"));
        }
        monitor.event(Event::Note { message: format!("multicast: the chunks came with {sentence}") });
        Some(sentence)
    }

    /// Bytes of frames that came by multicast, and that were fetched.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.by_multicast.load(Ordering::Relaxed), self.fetched.load(Ordering::Relaxed))
    }

    fn fetch(&self, id: ChunkId, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let frame = self.store.get_chunk(id, limit_bytes)?;
        self.count_fetched(&frame);
        Ok(frame)
    }

    fn count_fetched(&self, frame: &[u8]) {
        self.fetched.fetch_add(u64_from(frame.len()), Ordering::Relaxed);
    }
}

fn warn(monitor: &dyn Monitor, fact: &str) {
    let message = format!("{fact}; what is left is fetched over HTTP");
    monitor.event(Event::Warning { subject: "multicast".to_owned(), message });
}

impl Store for MulticastStore {
    fn location(&self) -> String {
        self.store.location()
    }

    fn have_chunks(&self, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError> {
        self.store.have_chunks(ids)
    }

    fn put_chunk(&self, id: ChunkId, frame: &[u8]) -> Result<(), StoreError> {
        self.store.put_chunk(id, frame)
    }

    fn get_chunk(&self, id: ChunkId, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let arrived = self.session.get().and_then(|session| session.wait_for(id));
        let arrived = arrived.filter(|frame| u64_from(frame.len()) <= limit_bytes);
        let mut given = lock(&self.given);
        let me = thread::current().id();
        let Some(frame) = arrived else {
            given.remove(&me);
            drop(given);
            return self.fetch(id, limit_bytes);
        };
        given.insert(me, id);
        self.by_multicast.fetch_add(u64_from(frame.len()), Ordering::Relaxed);
        Ok(frame)
    }

    fn get_chunk_again(&self, id: ChunkId, limit_bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let given = lock(&self.given).remove(&thread::current().id());
        if given == Some(id) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
            return self.fetch(id, limit_bytes).map(Some);
        }
        let again = self.store.get_chunk_again(id, limit_bytes)?;
        again.iter().for_each(|frame| self.count_fetched(frame));
        Ok(again)
    }

    fn images(&self) -> Result<Vec<ImageName>, StoreError> {
        self.store.images()
    }

    fn versions(&self, image: &ImageName) -> Result<Vec<VersionName>, StoreError> {
        self.store.versions(image)
    }

    fn begin_capture(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.store.begin_capture(version)
    }

    fn put_file(&self, version: &ImageVersion, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.put_file(version, file, bytes)
    }

    fn get_file(&self, version: &ImageVersion, file: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.store.get_file(version, file, limit_bytes)
    }

    fn publish(&self, version: &ImageVersion, manifest: &[u8]) -> Result<(), StoreError> {
        self.store.publish(version, manifest)
    }

    fn abandon(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.store.abandon(version)
    }

    fn delete_version(&self, version: &ImageVersion) -> Result<(), StoreError> {
        self.store.delete_version(version)
    }
}
