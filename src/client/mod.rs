//! The only code that talks to the imaging server: who it is, who this machine is, its job, and what becomes of it.
//!
//! Every request is that of `docs/protocol.md`; how it is made (trust, tries, bounds) is `http`'s. A session that the
//! server does not know any more is begun anew once; a request that may do something carries a key, so that doing it
//! twice is doing it once.

mod error;
mod job;
mod on_demand;

pub use error::Error;
pub use job::JobLink;

use crate::http::{Access, Answer, Connection, Request, Secret};
use crate::linux;
use crate::protocol::{
    BASE, Claim, Hello, IDEMPOTENCY_KEY, Inventory, Job, MAX_BODY_BYTES, Place, Session, SessionRequest,
    VERSION,
};
use crate::units::{Hex, u64_from};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The longest answer: a list of images, or a job with a schema in its profile.
const MAX_ANSWER_BYTES: usize = 16 * MAX_BODY_BYTES;

/// A server that was asked who it is.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    introduction: SessionRequest,
    /// The token of the session.
    token: Option<Secret>,
    /// What the server calls this machine, where it knows it.
    registered: Option<String>,
}

/// What became of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// The machine has the job.
    Granted(Box<Job>),
    /// Others come first.
    Queued(Place),
    /// The machine has the job, and it holds something that this agent does not know.
    NotUnderstood {
        /// The job's token, to say so.
        token: Secret,
        /// What is not known.
        fact: String,
    },
}

impl Client {
    /// Asks a server who it is; `access` has the boot token where the server wants one.
    ///
    /// # Errors
    /// Where it cannot be reached, is no Remint server, or speaks other versions of the protocol.
    pub fn connect(server: &str, access: &Access, machine: Inventory) -> Result<Self, Error> {
        let connection = Connection::new(server, access)?;
        let asked = request(Method::GET, "hello", "asking the server who it is");
        let answer = connection.answer(&asked)?;
        let hello: Hello = match understood(&asked, answer) {
            // Whatever else answers there, it is not the one that is looked for.
            Err(Error::Answer { .. } | Error::Missing { .. }) => {
                return Err(Error::NoServer { url: connection.base().to_string() });
            }
            other => other?,
        };
        if !hello.protocols.contains(&VERSION) {
            return Err(Error::Protocol { server: hello.server, protocols: hello.protocols });
        }
        let agent = env!("CARGO_PKG_VERSION").to_owned();
        let introduction = SessionRequest { agent, machine, unattended: false };
        Ok(Self { connection, introduction, token: None, registered: None })
    }

    /// Says that nobody is at the machine: the server may give it something to do by itself.
    #[must_use]
    pub fn unattended(mut self) -> Self {
        self.introduction.unattended = true;
        self
    }

    /// Introduces the machine.
    ///
    /// # Errors
    /// Where the server cannot be reached or does not let this machine in.
    pub fn session(&mut self) -> Result<Session, Error> {
        let body = json(&self.introduction)?;
        let asked = request(Method::POST, "sessions", "introducing this machine").body(&body);
        let asked = asked.header(CONTENT_TYPE, "application/json")?;
        let session: Session = understood(&asked, self.connection.answer(&asked)?)?;
        self.token = Some(Secret::new(&session.token));
        self.registered = session.machine.as_ref().map(|machine| machine.name.clone());
        Ok(session)
    }

    /// What the server calls this machine, where it knows it.
    #[must_use]
    pub fn registered(&self) -> Option<&str> {
        self.registered.as_deref()
    }

    /// The token of the session, for those who keep it out of logs.
    #[must_use]
    pub fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Asks for a job of this machine.
    ///
    /// # Errors
    /// [`Error::Gone`] where it was withdrawn; whatever else keeps it from being given.
    pub fn claim(&mut self, job: u64) -> Result<Claimed, Error> {
        let key = random_key()?;
        let asked = || -> Result<Request<'_>, Error> {
            let asked = request(Method::POST, &format!("jobs/{job}/claim"), &format!("claiming job {job}"));
            Ok(asked.header(HeaderName::from_static(IDEMPOTENCY_KEY), &key)?)
        };
        let answer = succeeded(&asked()?, self.answer_in_session(&asked)?)?;
        match serde_json::from_slice(&answer.body) {
            Ok(Claim::Granted(job)) => Ok(Claimed::Granted(job)),
            Ok(Claim::Queued(place)) => Ok(Claimed::Queued(place)),
            Err(error) => not_understood(job, &answer, &error),
        }
    }

    /// The link to a job that was granted.
    ///
    /// # Errors
    /// Where there are no random numbers.
    pub fn job(&self, id: u64, token: Secret) -> Result<JobLink, Error> {
        JobLink::new(self.connection.trying_for(Duration::ZERO), id, token)
    }

    /// Makes a request with the session's token; once more with a new session, where that one has ended.
    fn answer_in_session<'a>(
        &mut self,
        asked: &dyn Fn() -> Result<Request<'a>, Error>,
    ) -> Result<Answer, Error> {
        if self.token.is_none() {
            self.session()?;
        }
        let answer = self.connection.answer(&self.with_token(asked()?)?)?;
        if answer.status != reqwest::StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.session()?;
        Ok(self.connection.answer(&self.with_token(asked()?)?)?)
    }

    fn with_token<'a>(&self, asked: Request<'a>) -> Result<Request<'a>, Error> {
        match &self.token {
            Some(token) => Ok(asked.token(token)?),
            None => Ok(asked),
        }
    }
}

/// A granted job that holds what this agent does not know: enough of it is read to say so.
fn not_understood(job: u64, answer: &Answer, error: &serde_json::Error) -> Result<Claimed, Error> {
    let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str);
    match (text("answer"), text("token")) {
        (Some("granted"), Some(token)) => {
            let fact =
                format!("job {job} holds something that Remint {} does not know", env!("CARGO_PKG_VERSION"));
            Ok(Claimed::NotUnderstood { token: Secret::new(token), fact: format!("{fact}: {error}") })
        }
        _ => Err(Error::Answer { doing: format!("claiming job {job}"), fact: error.to_string() }),
    }
}

/// A request below the protocol's base.
fn request<'a>(method: Method, path: &str, doing: &str) -> Request<'a> {
    let path = format!("{}/{path}", BASE.trim_start_matches('/'));
    Request::new(method, path, doing.to_owned(), format!("the answer to {doing}"), u64_from(MAX_ANSWER_BYTES))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value)
        .map_err(|error| Error::Answer { doing: "writing JSON".to_owned(), fact: error.to_string() })
}

/// A key that makes a repeated request the same one.
fn random_key() -> Result<String, Error> {
    Ok(Hex(linux::random_bits().map_err(Error::Random)?.to_vec()).to_string())
}

/// The answer, where it is a success.
fn succeeded(asked: &Request<'_>, answer: Answer) -> Result<Answer, Error> {
    if answer.status.is_success() { Ok(answer) } else { Err(Error::of(&asked.doing, &answer)) }
}

/// What a success says.
fn understood<T: DeserializeOwned>(asked: &Request<'_>, answer: Answer) -> Result<T, Error> {
    let answer = succeeded(asked, answer)?;
    serde_json::from_slice(&answer.body)
        .map_err(|error| Error::Answer { doing: asked.doing.clone(), fact: error.to_string() })
}
