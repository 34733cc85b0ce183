//! What a machine says of the job that it has.

use super::{Error, json, random_key, request, succeeded, understood};
use crate::http::{Connection, Request, Secret};
use crate::protocol::{
    EventBatch, EventsAnswer, Finish, IDEMPOTENCY_KEY, MAX_LOG_BYTES, MulticastAnswer, MulticastReport,
};
use crate::schema::ArtefactId;
use reqwest::header::{CONTENT_TYPE, HeaderName, RANGE};
use reqwest::{Method, StatusCode};
use std::io;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// How long one batch of events may take: its answer may say that the job is to stop.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(8);

/// The same for a report of a session: who says nothing for ten seconds is left behind.
const MULTICAST_TIMEOUT: Duration = Duration::from_secs(4);

/// The link to one job, for as long as its token is accepted.
#[derive(Debug)]
pub struct JobLink {
    connection: Connection,
    id: u64,
    token: Secret,
    /// The key of the end: a job ends once.
    finish_key: String,
}

impl JobLink {
    pub(super) fn new(connection: Connection, id: u64, token: Secret) -> Result<Self, Error> {
        Ok(Self { connection, id, token, finish_key: random_key()? })
    }

    /// Sends events, or with none a sign of life. Tries once: who has more to say comes again.
    ///
    /// # Errors
    /// [`Error::Gone`] where the job is no longer this machine's.
    pub fn events(&self, batch: &EventBatch) -> Result<EventsAnswer, Error> {
        let body = json(batch)?;
        let mut asked = self.request(Method::POST, "events", "reporting")?.body(&body);
        asked.timeout = EVENTS_TIMEOUT;
        let asked = asked.header(CONTENT_TYPE, "application/json")?;
        self.not_this_machines(understood(&asked, self.connection.answer(&asked)?))
    }

    /// A part of an artefact of the job: so many bytes at most, from `at` on. Tries for `patience`.
    ///
    /// # Errors
    /// [`Error::Gone`] where the job is no longer this machine's; where the server does not have it.
    pub fn artefact_part(
        &self,
        artefact: ArtefactId,
        at: u64,
        bytes: u64,
        patience: Duration,
    ) -> Result<Vec<u8>, Error> {
        let doing = format!("fetching the artefact {artefact}");
        let path = format!("jobs/{}/artefacts/{artefact}", self.id);
        let mut asked = request(Method::GET, &path, &doing).token(&self.token)?;
        let last = at.saturating_add(bytes).saturating_sub(1);
        asked = asked.header(RANGE, &format!("bytes={at}-{last}"))?;
        asked.limit_bytes = bytes;
        let answer = self.connection.trying_for(patience).answer(&asked)?;
        if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::GONE) {
            return self.not_this_machines(succeeded(&asked, answer)).map(|answer| answer.body);
        }
        let answer = succeeded(&asked, answer)?;
        // A server that knows no ranges sends all of it.
        if answer.status != StatusCode::PARTIAL_CONTENT && at > 0 {
            let fact = "the server sends no part of a file".to_owned();
            return Err(Error::Answer { doing, fact });
        }
        Ok(answer.body)
    }

    /// Sends the log, of a longer one the end. Tries for `patience`.
    ///
    /// # Errors
    /// Where the server cannot be reached, or does not take it.
    pub fn log(&self, text: &str, patience: Duration) -> Result<(), Error> {
        let excess = text.len().saturating_sub(MAX_LOG_BYTES);
        let begin = (excess..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let body = text.get(begin..).unwrap_or_default().as_bytes();
        let asked = self.request(Method::PUT, "log", "sending the log")?.body(body);
        let asked = asked.header(CONTENT_TYPE, "text/plain; charset=utf-8")?;
        let answer = self.connection.trying_for(patience).answer(&asked)?;
        self.not_this_machines(succeeded(&asked, answer)).map(drop)
    }

    /// Says how the job ended. Tries for `patience`.
    ///
    /// # Errors
    /// Where the server cannot be reached, or knows better.
    pub fn finish(&self, finish: &Finish, patience: Duration) -> Result<(), Error> {
        let body = json(finish)?;
        let asked = self.request(Method::POST, "finish", "reporting the end")?.body(&body);
        let asked = asked.header(CONTENT_TYPE, "application/json")?;
        let asked = asked.header(HeaderName::from_static(IDEMPOTENCY_KEY), &self.finish_key)?;
        let answer = self.connection.trying_for(patience).answer(&asked)?;
        self.not_this_machines(succeeded(&asked, answer)).map(drop)
    }

    /// Says how far this machine is in its session. Tries once.
    ///
    /// # Errors
    /// [`Error::Gone`] where the job is no longer this machine's.
    pub fn multicast(&self, report: &MulticastReport) -> Result<MulticastAnswer, Error> {
        let body = json(report)?;
        let mut asked = self.request(Method::POST, "multicast", "listening")?.body(&body);
        asked.timeout = MULTICAST_TIMEOUT;
        let asked = asked.header(CONTENT_TYPE, "application/json")?;
        self.not_this_machines(understood(&asked, self.connection.answer(&asked)?))
    }

    /// The address that this machine has on its way to the server. Nothing is sent.
    ///
    /// # Errors
    /// Where there is no way, or none with IPv4.
    pub fn own_address(&self) -> io::Result<Ipv4Addr> {
        let base = self.connection.base();
        let host = base.host_str().unwrap_or_default();
        let port = base.port_or_known_default().unwrap_or(80);
        let mut servers = (host.trim_matches(['[', ']']), port).to_socket_addrs()?;
        let server = servers.find(std::net::SocketAddr::is_ipv4);
        let server = server.ok_or_else(|| io::Error::other("the server is not reached by IPv4"))?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(server)?;
        match socket.local_addr()?.ip() {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(_) => Err(io::Error::other("the server is not reached by IPv4")),
        }
    }

    fn request<'a>(&self, method: Method, what: &str, doing: &str) -> Result<Request<'a>, Error> {
        let doing = format!("{doing} of job {}", self.id);
        Ok(request(method, &format!("jobs/{}/{what}", self.id), &doing).token(&self.token)?)
    }

    /// The token of a job ends when the job is claimed again, so one that is not accepted means that the job is
    /// somebody else's now; a job that never was is as much gone.
    fn not_this_machines<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Err(Error::Unauthorised { said, .. } | Error::Missing { said, .. } | Error::Unknown { said }) => {
                Err(Error::Gone { said })
            }
            other => other,
        }
    }
}
