//! Who may do what. A token has one purpose: a machine's session gives it its own jobs, a job's token gives the store as
//! far as that job needs it, a user's token gives what his role allows.

use super::database::{self, Bearer, JobRow, Person, Session};
use super::moment::Moment;
use super::problem::Problem;
use super::request::{Asker, shown_token};
use super::secret::hash_of;
use super::{Shared, Site};
use crate::image::ImageVersion;
use crate::protocol::{JobState, Operation, Role};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::hint::black_box;

/// The hash of a token: of one length, so that comparing takes one time.
pub(super) struct Token([u8; 32]);

impl Token {
    pub(super) fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Compares in a time that does not depend on where the two differ.
    pub(super) fn is(&self, given: &[u8; 32]) -> bool {
        let difference = self.0.iter().zip(given).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        black_box(difference) == 0
    }
}

const NOT_KNOWN: &str = "this server asks for a token, and this is not it";

fn bearer(c: &Connection, asker: &Asker, now: Moment) -> Result<Bearer, Problem> {
    let found = asker.token.map(|hash| database::bearer(c, &hash, now)).transpose()?;
    found.flatten().ok_or_else(|| Problem::unauthorized(NOT_KNOWN))
}

/// A user of at least this role.
pub(super) fn user(c: &Connection, asker: &Asker, now: Moment, least: Role) -> Result<Person, Problem> {
    match bearer(c, asker, now)? {
        Bearer::User(person) if person.role >= least => Ok(person),
        Bearer::User(person) => Err(Problem::forbidden(format!(
            "{} may not do this: it takes the role {}",
            person.name,
            match least {
                Role::Reader => "reader",
                Role::Operator => "operator",
                Role::Administrator => "administrator",
            }
        ))),
        Bearer::Machine { .. } | Bearer::Job(_) => {
            Err(Problem::forbidden("a machine's token is not for administration"))
        }
    }
}

/// A machine that introduced itself, and the person at its console.
pub(super) fn machine(
    c: &Connection,
    asker: &Asker,
    now: Moment,
) -> Result<(Session, Option<Person>), Problem> {
    match bearer(c, asker, now)? {
        Bearer::Machine { session, person } => Ok((database::session(c, session)?, person)),
        Bearer::Job(_) | Bearer::User(_) => {
            Err(Problem::forbidden("this takes the token of a machine's session"))
        }
    }
}

/// The job of this number, for a machine that may claim it.
pub(super) fn claimable(c: &Connection, session: &Session, id: u64) -> Result<JobRow, Problem> {
    let job = known_job(c, id)?;
    let own = match job.machine {
        Some(machine) => session.machine.as_ref().is_some_and(|own| own.id == machine),
        None => job.session == Some(session.id),
    };
    still_open(job, own)
}

/// The job of this number, for the machine that works on it.
pub(super) fn working(c: &Connection, asker: &Asker, id: u64, now: Moment) -> Result<JobRow, Problem> {
    let job = own_job(c, asker, id, now)?;
    if job.state == JobState::Running { Ok(job) } else { Err(ended(&job)) }
}

/// The same, though it may have ended.
pub(super) fn own_job(c: &Connection, asker: &Asker, id: u64, now: Moment) -> Result<JobRow, Problem> {
    let Bearer::Job(own) = bearer(c, asker, now)? else {
        return Err(Problem::forbidden("this takes the token that came with the job"));
    };
    let job = known_job(c, id)?;
    if job.id == own { Ok(job) } else { Err(not_yours(id)) }
}

fn known_job(c: &Connection, id: u64) -> Result<JobRow, Problem> {
    database::find_job(c, id)?.ok_or_else(|| Problem::unknown(format!("there never was a job {id}")))
}

fn still_open(job: JobRow, own: bool) -> Result<JobRow, Problem> {
    match job.state {
        _ if !own => Err(not_yours(job.id.unsigned_abs())),
        JobState::Ended => Err(ended(&job)),
        _ => Ok(job),
    }
}

fn not_yours(id: u64) -> Problem {
    Problem::gone(format!("job {id} is not one of this machine"))
}

fn ended(job: &JobRow) -> Problem {
    Problem::gone(format!("job {} does not run: it has ended, or was withdrawn", job.id))
}

/// What a request to the store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    /// `remint-store.json`, chunks read, chunks asked for.
    Shared,
    /// A chunk stored.
    Chunk,
    /// The list of images.
    List,
    /// Something of an image read.
    Image(&'a str),
    /// A file of a version stored.
    File(&'a str, &'a str),
    /// A capture announced or abandoned.
    Capture(&'a str),
    /// Something deleted or collected.
    Delete,
}

impl<'a> Part<'a> {
    /// What a method and a path below `/store` mean; whatever is not known counts as deleting.
    fn of(method: &Method, path: &'a str) -> Self {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["remint-store.json"] if reads => Self::Shared,
            ["chunks", "present"] if *method == Method::POST => Self::Shared,
            ["chunks", ..] if reads => Self::Shared,
            ["chunks", ..] if *method == Method::PUT => Self::Chunk,
            ["images", ""] if reads => Self::List,
            ["images", image, ..] if reads => Self::Image(image),
            ["images", image, version, _] if *method == Method::PUT => Self::File(image, version),
            ["captures", capture] if matches!(*method, Method::PUT | Method::DELETE) => {
                Self::Capture(capture)
            }
            _ => Self::Delete,
        }
    }
}

/// Lets a request pass to the store whose token allows it.
pub(super) async fn guard_store(State(site): State<Shared>, request: Request, next: Next) -> Response {
    let given = shown_token(request.headers()).map(hash_of);
    if site.token.as_ref().zip(given).is_some_and(|(token, given)| token.is(&given)) {
        return next.run(request).await;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let judged = site.work(move |site| judge(site, given.as_ref(), &method, &path)).await;
    match judged {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn judge(site: &Site, given: Option<&[u8; 32]>, method: &Method, path: &str) -> Result<(), Problem> {
    let path = path.strip_prefix("/store").unwrap_or(path);
    let part = Part::of(method, path);
    site.database.read(|c| {
        let found = given.map(|hash| database::bearer(c, hash, Moment::now())).transpose()?;
        match found.flatten() {
            Some(Bearer::User(person)) => judge_user(&person, part),
            Some(Bearer::Job(id)) => match database::find_job(c, id.unsigned_abs())? {
                Some(job) if job.state == JobState::Running => judge_job(&job, part, method),
                _ => Err(Problem::gone("the job of this token has ended")),
            },
            _ if site.token.is_none() && (site.open_store || !database::has_users(c)?) => Ok(()),
            Some(Bearer::Machine { .. }) => {
                Err(Problem::forbidden("the store takes the token of a job, not of a session"))
            }
            None => Err(Problem::unauthorized(NOT_KNOWN)),
        }
    })
}

/// Readers read, operators also capture, administrators also delete.
fn judge_user(person: &Person, part: Part<'_>) -> Result<(), Problem> {
    let least = match part {
        Part::Shared | Part::List | Part::Image(_) => Role::Reader,
        Part::Chunk | Part::File(..) | Part::Capture(_) => Role::Operator,
        Part::Delete => Role::Administrator,
    };
    if person.role >= least {
        return Ok(());
    }
    Err(Problem::forbidden(format!("the role of {} does not allow this", person.name)))
}

/// A deploy reads its image; a capture reads it too, and writes the one version that it has announced.
fn judge_job(job: &JobRow, part: Part<'_>, method: &Method) -> Result<(), Problem> {
    let captures = job.operation == Operation::Capture;
    let allowed = match part {
        Part::Shared => true,
        Part::Image(image) => image == job.image,
        Part::Chunk => captures,
        Part::File(image, version) => {
            captures && image == job.image && job.announced.as_deref() == Some(version)
        }
        Part::Capture(capture) => {
            let named =
                capture.parse::<ImageVersion>().ok().filter(|named| named.image.as_ref() == job.image);
            let own = |named: ImageVersion| {
                *method == Method::PUT || job.announced.as_deref() == Some(named.version.as_ref())
            };
            captures && named.is_some_and(own)
        }
        Part::List | Part::Delete => false,
    };
    if allowed {
        return Ok(());
    }
    Err(Problem::forbidden(format!("job {} ({} {}) has no business there", job.id, job.operation, job.image)))
}

/// The job, where a request to the store shows a job's token.
pub(super) fn job_of(c: &Connection, asker: &Asker) -> Result<Option<i64>, Problem> {
    let found = asker.token.map(|hash| database::bearer(c, &hash, Moment::now())).transpose()?;
    Ok(match found.flatten() {
        Some(Bearer::Job(job)) => Some(job),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_counts_as_deleting() {
        for (method, path, part) in [
            (Method::GET, "/remint-store.json", Part::Shared),
            (Method::HEAD, "/chunks/ab12/x", Part::Shared),
            (Method::PUT, "/chunks/ab12/x", Part::Chunk),
            (Method::POST, "/chunks/present", Part::Shared),
            (Method::GET, "/images/", Part::List),
            (Method::GET, "/images/lab/", Part::Image("lab")),
            (Method::GET, "/images/lab/1/image.json", Part::Image("lab")),
            (Method::PUT, "/images/lab/1/image.json", Part::File("lab", "1")),
            (Method::DELETE, "/images/lab/1", Part::Delete),
            (Method::PUT, "/captures/lab@1", Part::Capture("lab@1")),
            (Method::POST, "/collect", Part::Delete),
            (Method::PATCH, "/images/lab/1/image.json", Part::Delete),
        ] {
            assert_eq!(Part::of(&method, path), part, "{method} {path}");
        }
    }
}
