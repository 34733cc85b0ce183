//! What machines tell of their jobs.

use super::super::moment::Moment;
use super::super::problem::Problem;
use super::{JOB_TOKEN_SECONDS, JobRow, at_most, json, key, of_json, prolong_job, row, rows, settings};
use crate::progress::Event;
use crate::protocol::{EventFilter, EventsAnswer, JobEvent, MAX_EVENTS, TimedEvent};
use crate::units::u64_from;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value;

/// Of a job that has told so much, every further step of progress is only kept as the last one.
const PROGRESS_KEPT_BYTES: i64 = 4 << 20;
/// And nothing more of one that has told so much.
const KEPT_BYTES: i64 = 16 << 20;
/// The longest text of a time.
const MAX_TIME: usize = 64;
const DAY_SECONDS: u32 = 24 * 3600;
/// Of how many jobs at most what was told is forgotten in one transaction, for which everybody else waits.
const FORGOTTEN_AT_ONCE: i64 = 20;

/// A batch of events as it came: what a newer agent tells is kept as it is.
#[derive(Debug, Deserialize)]
pub(in crate::server) struct Batch {
    first: u64,
    events: Vec<Value>,
}

/// Takes what is new of a batch, and says what is expected next.
pub(in crate::server) fn take_events(
    c: &Connection,
    job: &JobRow,
    batch: &Batch,
    now: Moment,
) -> Result<EventsAnswer, Problem> {
    if batch.events.len() > MAX_EVENTS {
        return Err(Problem::bad_request(format!("more than {MAX_EVENTS} events in one batch")));
    }
    let question = "SELECT next_event, event_bytes FROM jobs WHERE id = ?1";
    let counted = row(c, question, [job.id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let (next, mut bytes) = counted.unwrap_or_default();
    let mut next = next.unsigned_abs();
    let mut progress = None;
    if batch.first <= next {
        let known = usize::try_from(next.saturating_sub(batch.first)).unwrap_or(usize::MAX);
        for event in batch.events.iter().skip(known) {
            let timed: TimedEvent = serde_json::from_value(event.clone())
                .map_err(|error| Problem::bad_request(format!("event {next}: {error}")))?;
            if timed.time.len() > MAX_TIME {
                return Err(Problem::bad_request(format!("event {next}: its time is no time")));
            }
            let text = json(event)?;
            let is_progress = matches!(timed.event, Event::Advanced { .. });
            if bytes < if is_progress { PROGRESS_KEPT_BYTES } else { KEPT_BYTES } {
                let insert = "INSERT INTO events (job, number, received, body) VALUES (?1, ?2, ?3, ?4)";
                c.execute(insert, (job.id, key(next), now, &text))?;
                bytes = bytes.saturating_add(key(u64_from(text.len())));
            }
            if is_progress {
                progress = Some(json(&timed.event)?);
            }
            next = next.saturating_add(1);
        }
    }
    c.execute(
        "UPDATE jobs SET next_event = ?2, event_bytes = ?3, progress = coalesce(?4, progress), heard = ?5 WHERE id = ?1",
        (job.id, key(next), bytes, progress, now),
    )?;
    prolong_job(c, job.id, now, JOB_TOKEN_SECONDS)?;
    Ok(EventsAnswer { next, cancel: job.cancel.clone() })
}

/// Forgets what machines told of jobs that ended long ago, of a few of them at a time: nobody waits for it.
pub(in crate::server) fn forget_told(c: &Connection, now: Moment) -> Result<(), Problem> {
    let days = settings(c)?.keep_events_days;
    if days == 0 {
        return Ok(());
    }
    let limit = now.before(days.saturating_mul(DAY_SECONDS));
    let old = "SELECT id FROM jobs WHERE state = 'ended' AND ended < ?1
         AND (event_bytes > 0 OR id IN (SELECT job FROM logs)) LIMIT ?2";
    for job in rows(c, old, (limit, FORGOTTEN_AT_ONCE), |row| Ok(row.get::<_, i64>(0)?))? {
        c.execute("DELETE FROM events WHERE job = ?1", [job])?;
        c.execute("DELETE FROM logs WHERE job = ?1", [job])?;
        c.execute("UPDATE jobs SET event_bytes = 0 WHERE id = ?1", [job])?;
    }
    Ok(())
}

/// A page of a job's events, from a number on.
pub(in crate::server) fn events_of(
    c: &Connection,
    job: i64,
    filter: EventFilter,
) -> Result<Vec<JobEvent>, Problem> {
    let question =
        "SELECT number, received, body FROM events WHERE job = ?1 AND number >= ?2 ORDER BY number LIMIT ?3";
    rows(c, question, (job, key(filter.first), at_most(filter.limit)?), |row| {
        Ok(JobEvent {
            number: row.get::<_, i64>(0)?.unsigned_abs(),
            received: row.get::<_, Moment>(1)?.text(),
            event: of_json(&row.get::<_, String>(2)?)?,
        })
    })
}

/// Keeps the log of a job's machine; the last one counts.
pub(in crate::server) fn put_log(c: &Connection, job: i64, text: &str, now: Moment) -> Result<(), Problem> {
    c.execute(
        "INSERT INTO logs (job, body) VALUES (?1, ?2) ON CONFLICT (job) DO UPDATE SET body = excluded.body",
        (job, text),
    )?;
    c.execute("UPDATE jobs SET heard = ?2 WHERE id = ?1", (job, now))?;
    Ok(())
}

/// The log of a job's machine; empty where it sent none.
pub(in crate::server) fn log_of(c: &Connection, job: i64) -> Result<String, Problem> {
    Ok(row(c, "SELECT body FROM logs WHERE job = ?1", [job], |row| Ok(row.get(0)?))?.unwrap_or_default())
}
