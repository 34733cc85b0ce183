//! Tokens: whose they are, and until when.

use super::super::moment::Moment;
use super::super::problem::Problem;
use super::super::secret::{TokenHash, new_token};
use super::{of_word, row};
use crate::protocol::Role;
use rusqlite::Connection;

/// What a token is for. Each has one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Purpose<'a> {
    /// A machine's session.
    Session(i64),
    /// A person at a machine.
    Person(i64, &'a str),
    /// A machine's job.
    Job(i64),
    /// A user.
    User(&'a str),
}

/// Who shows a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) enum Bearer {
    /// A machine; with a person at its console, where one has logged in.
    Machine { session: i64, person: Option<Person> },
    /// A machine at its job.
    Job(i64),
    /// A user.
    User(Person),
}

/// A user, as a token has him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Person {
    pub(in crate::server) name: String,
    pub(in crate::server) role: Role,
}

/// A new token, and when it ends.
pub(in crate::server) fn give_token(
    c: &Connection,
    purpose: Purpose<'_>,
    now: Moment,
    seconds: u32,
) -> Result<(String, Moment), Problem> {
    let (token, hash) = new_token()?;
    let (session, job, user) = match purpose {
        Purpose::Session(session) => (Some(session), None, None),
        Purpose::Person(session, user) => (Some(session), None, Some(user)),
        Purpose::Job(job) => (None, Some(job), None),
        Purpose::User(user) => (None, None, Some(user)),
    };
    let expires = now.after(seconds);
    c.execute(
        "INSERT INTO tokens (hash, session, job, user, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        (hash, session, job, user, expires),
    )?;
    Ok((token, expires))
}

/// Who shows a token that is good now.
pub(in crate::server) fn bearer(
    c: &Connection,
    hash: &TokenHash,
    now: Moment,
) -> Result<Option<Bearer>, Problem> {
    let question =
        "SELECT session, job, users.name, users.role FROM tokens LEFT JOIN users ON users.name = tokens.user
         WHERE hash = ?1 AND expires > ?2";
    let found = row(c, question, (hash, now), |row| {
        let role = row.get::<_, Option<String>>(3)?.map(|role| of_word(&role)).transpose()?;
        let person = row.get::<_, Option<String>>(2)?.zip(role).map(|(name, role)| Person { name, role });
        Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?, person))
    })?;
    Ok(found.and_then(|found| match found {
        (Some(session), _, person) => Some(Bearer::Machine { session, person }),
        (None, Some(job), _) => Some(Bearer::Job(job)),
        (None, None, person) => person.map(Bearer::User),
    }))
}

/// Ends one token.
pub(in crate::server) fn end_token(c: &Connection, hash: &TokenHash) -> Result<(), Problem> {
    c.execute("DELETE FROM tokens WHERE hash = ?1", [hash])?;
    Ok(())
}

/// Lets the tokens of a job live on: its machine works.
pub(in crate::server) fn prolong_job(
    c: &Connection,
    job: i64,
    now: Moment,
    seconds: u32,
) -> Result<(), Problem> {
    c.execute("UPDATE tokens SET expires = ?2 WHERE job = ?1", (job, now.after(seconds)))?;
    Ok(())
}

/// How long a first answer is remembered.
const ANSWERS_SECONDS: u32 = 24 * 3600;

/// Forgets what has expired: tokens, the sessions that no token leads to, first answers.
pub(in crate::server) fn forget_expired(c: &Connection, now: Moment) -> Result<(), Problem> {
    c.execute("DELETE FROM tokens WHERE expires <= ?1", [now])?;
    c.execute(
        "DELETE FROM sessions WHERE id NOT IN (SELECT session FROM tokens WHERE session IS NOT NULL)",
        [],
    )?;
    c.execute("DELETE FROM answers WHERE given <= ?1", [now.before(ANSWERS_SECONDS)])?;
    Ok(())
}
