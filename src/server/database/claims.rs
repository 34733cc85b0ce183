//! Claiming: whose turn it is, and what happens to those that fall silent.

use super::super::moment::Moment;
use super::super::multicast::Sessions;
use super::super::problem::Problem;
use super::{JobRow, Purpose, artefacts_of, end, find_job, give_token, row, rows, settings, word};
use crate::protocol::{Claim, Job, JobState, Operation, Outcome, Place, Settings};
use rusqlite::Connection;

/// When a machine in the queue is to ask again.
const ASK_AGAIN_SECONDS: u32 = 5;
/// A machine that does not ask for so long has left the queue.
const PLACE_SECONDS: u32 = ASK_AGAIN_SECONDS.saturating_mul(3);
/// How long a job's token lives after its machine was heard.
pub(in crate::server) const JOB_TOKEN_SECONDS: u32 = 24 * 3600;
/// Where the store lies on this server.
const STORE: &str = "/store";

/// Gives a machine its job, or its place in the queue.
pub(in crate::server) fn claim(
    c: &Connection,
    sessions: &Sessions,
    job: &JobRow,
    now: Moment,
) -> Result<Claim, Problem> {
    let settings = settings(c)?;
    if job.state != JobState::Running
        && !sessions.waits_for(job, &settings)
        && let Some(place) = wait(c, sessions, &settings, job, now)?
    {
        return Ok(Claim::Queued(place));
    }
    c.execute("DELETE FROM tokens WHERE job = ?1", [job.id])?;
    c.execute(
        "UPDATE jobs SET state = 'running', started = coalesce(started, ?2), heard = ?2, queued = NULL WHERE id = ?1",
        (job.id, now),
    )?;
    let (token, _) = give_token(c, Purpose::Job(job.id), now, JOB_TOKEN_SECONDS)?;
    let artefacts = artefacts_of(c, &job.profile)?;
    Ok(Claim::Granted(Box::new(Job {
        id: job.id.unsigned_abs(),
        operation: job.operation,
        image: job.image.clone(),
        version: job.version.clone(),
        store: STORE.to_owned(),
        token,
        profile: job.profile.clone(),
        artefacts,
        // The last that may fail: a session that is offered stays.
        multicast: sessions.offer(job, &settings)?,
    })))
}

/// Takes a place in the queue, or keeps it; `None` where it is the job's turn.
fn wait(
    c: &Connection,
    sessions: &Sessions,
    settings: &Settings,
    job: &JobRow,
    now: Moment,
) -> Result<Option<Place>, Problem> {
    let at_once = match job.operation {
        Operation::Capture => settings.captures_at_once,
        Operation::Deploy => settings.deploys_at_once,
    };
    leave_places(c, now)?;
    let queued =
        row(
            c,
            "SELECT queued FROM jobs WHERE id = ?1",
            [job.id],
            |row| Ok(row.get::<_, Option<Moment>>(0)?),
        )?;
    let since = queued.flatten().unwrap_or(now);
    let operation = word(&job.operation)?;
    let question = "SELECT count(*) FROM jobs WHERE state = 'queued' AND operation = ?1
         AND id <> ?2 AND (queued, id) < (?3, ?2)";
    let ahead: u32 =
        row(c, question, (&operation, job.id, since), |row| Ok(row.get(0)?))?.unwrap_or_default();
    let running = "SELECT id FROM jobs WHERE state = 'running' AND operation = ?1";
    let running: Vec<i64> = rows(c, running, [&operation], |row| Ok(row.get(0)?))?;
    let taken = match job.operation {
        Operation::Capture => running.len(),
        Operation::Deploy => sessions.places(&running),
    };
    let taken = u32::try_from(taken).unwrap_or(u32::MAX);
    if taken.saturating_add(ahead) < at_once {
        return Ok(None);
    }
    c.execute(
        "UPDATE jobs SET state = 'queued', queued = ?2, asked = ?3 WHERE id = ?1",
        (job.id, since, now),
    )?;
    Ok(Some(Place { ahead: ahead.into(), ask_again_seconds: ASK_AGAIN_SECONDS }))
}

/// Takes the places of those that do not ask any more.
fn leave_places(c: &Connection, now: Moment) -> Result<(), Problem> {
    c.execute(
        "UPDATE jobs SET state = 'pending', queued = NULL WHERE state = 'queued' AND asked < ?1",
        [now.before(PLACE_SECONDS)],
    )?;
    Ok(())
}

/// Ends the jobs of machines that fell silent. Nobody is blamed for the time in which the server did not run: it
/// counts from `started`.
pub(in crate::server) fn end_silent(c: &Connection, started: Moment, now: Moment) -> Result<(), Problem> {
    let seconds = settings(c)?.silence_seconds;
    let limit = now.before(seconds);
    leave_places(c, now)?;
    let silent = "SELECT id FROM jobs WHERE state = 'running' AND max(coalesce(heard, created), ?1) < ?2";
    let message = format!("its machine was not heard for {seconds} seconds");
    end_each(c, silent, started, limit, Outcome::Failed, &message, now)?;
    // What a person chose at a console and did not begin must not happen to whoever starts the machine next week.
    let left = "SELECT id FROM jobs WHERE state = 'pending' AND session IS NOT NULL
         AND max(created, coalesce(asked, 0), ?1) < ?2";
    end_each(c, left, started, limit, Outcome::Cancelled, "its machine did not begin", now)
}

fn end_each(
    c: &Connection,
    question: &str,
    started: Moment,
    limit: Moment,
    outcome: Outcome,
    message: &str,
    now: Moment,
) -> Result<(), Problem> {
    for id in rows(c, question, (started, limit), |row| Ok(row.get::<_, i64>(0)?))? {
        if let Some(job) = find_job(c, id.unsigned_abs())? {
            end(c, &job, outcome, message, now)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::secret::hash_of;
    use super::super::{
        Batch, Bearer, Database, For, Wish, add_image, add_job, add_machine, bearer, events_of,
        forget_expired, forget_told, job, log_of, machine_by_name, put_log, set_settings, take_events, wish,
    };
    use super::*;
    use crate::protocol::{EventFilter, Inventory, ProfileName};
    use crate::store::Directory;

    /// Two jobs of the machine `pc`: one that an administrator wished, and one that a person at a console chose.
    fn two_jobs(folder: &std::path::Path, now: Moment) -> (Database, i64, i64) {
        let database = Database::open(folder).unwrap();
        let store = Directory::open(&folder.join("store"), true).unwrap();
        let (wished, chosen) = database
            .write(|c| {
                add_image(c, &"lab".parse().unwrap())?;
                let machine = add_machine(c, "pc", &Inventory::default(), None, now)?.id;
                let name = ProfileName { image: "lab".to_owned(), profile: None };
                let wish: Wish = wish(c, &store, Operation::Capture, &name)?;
                let wished = For { machine: Some(machine), session: None, name: "pc" };
                let chosen = For { machine: None, session: Some(1), name: "unregistered" };
                Ok((add_job(c, &wish, wished, "root", now)?, add_job(c, &wish, chosen, "machine", now)?))
            })
            .unwrap();
        (database, wished, chosen)
    }

    fn state(database: &Database, id: i64) -> (JobState, Option<Outcome>) {
        let record = database.read(|c| job(c, id.unsigned_abs())?.record()).unwrap();
        (record.state, record.outcome)
    }

    #[test]
    fn a_machine_that_falls_silent_has_failed_and_the_time_without_a_server_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let began = Moment::now();
        let (database, wished, chosen) = two_jobs(folder.path(), began);
        let look = |started: Moment, now: Moment| database.write(|c| end_silent(c, started, now)).unwrap();
        database.write(|c| claim(c, &Sessions::default(), &job(c, wished.unsigned_abs())?, began)).unwrap();
        look(began, began.after(3599));
        assert_eq!(state(&database, wished), (JobState::Running, None));
        let restarted = began.after(5000);
        look(restarted, restarted.after(3599));
        assert_eq!(state(&database, wished), (JobState::Running, None), "nobody could hear it");
        assert_eq!(state(&database, chosen), (JobState::Pending, None));
        look(restarted, restarted.after(3601));
        assert_eq!(state(&database, wished), (JobState::Ended, Some(Outcome::Failed)));
        assert_eq!(state(&database, chosen), (JobState::Ended, Some(Outcome::Cancelled)), "nobody began it");
        let machine = database.read(|c| machine_by_name(c, "pc")).unwrap();
        assert_eq!(machine.failed_job, Some(wished), "it does not try again by itself");
    }

    #[test]
    fn a_job_that_takes_days_keeps_its_token_for_as_long_as_its_machine_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let began = Moment::now();
        let (database, wished, _) = two_jobs(folder.path(), began);
        let claimed = database
            .write(|c| claim(c, &Sessions::default(), &job(c, wished.unsigned_abs())?, began))
            .unwrap();
        let Claim::Granted(granted) = claimed else { panic!("{claimed:?}") };
        let hash = hash_of(&granted.token);
        let batch: Batch = serde_json::from_str(r#"{"first": 0, "events": []}"#).unwrap();
        for hours in (1..100).step_by(20) {
            let now = began.after(hours * 3600);
            let known = |now| database.read(|c| bearer(c, &hash, now)).unwrap();
            assert_eq!(known(now), Some(Bearer::Job(wished)), "after {hours} hours");
            assert_eq!(known(now.after(JOB_TOKEN_SECONDS)), None, "not for ever");
            let heard = |c: &Connection| take_events(c, &job(c, wished.unsigned_abs())?, &batch, now);
            database.write(heard).unwrap();
            database.write(|c| forget_expired(c, now)).unwrap();
        }
    }

    #[test]
    fn what_was_told_of_a_job_is_forgotten_long_after_its_end_and_the_job_is_not() {
        const DAY: u32 = 24 * 3600;
        let folder = tempfile::tempdir().unwrap();
        let began = Moment::now();
        let (database, wished, chosen) = two_jobs(folder.path(), began);
        let told = |id: i64| {
            let filter = EventFilter::default();
            let read = |c: &Connection| Ok((events_of(c, id, filter)?.len(), log_of(c, id)?));
            database.read(read).unwrap()
        };
        let event = r#"{"first": 0, "events": [{"time": "x", "event": "note", "message": "m"}]}"#;
        for id in [wished, chosen] {
            let batch: Batch = serde_json::from_str(event).unwrap();
            let tell = |c: &Connection| {
                take_events(c, &job(c, id.unsigned_abs())?, &batch, began)?;
                put_log(c, id, "the log", began)
            };
            database.write(tell).unwrap();
        }
        database.write(|c| end(c, &job(c, wished.unsigned_abs())?, Outcome::Done, "done", began)).unwrap();
        let forget = |now: Moment| database.write(|c| forget_told(c, now)).unwrap();
        let all = (1, "the log".to_owned());
        forget(began.after(89 * DAY));
        assert_eq!(told(wished), all);
        let keep = |days| Settings { keep_events_days: days, ..Settings::default() };
        database.write(|c| set_settings(c, &keep(0))).unwrap();
        forget(began.after(5000 * DAY));
        assert_eq!(told(wished), all, "0 is for ever");
        database.write(|c| set_settings(c, &keep(7))).unwrap();
        forget(began.after(8 * DAY));
        assert_eq!(told(wished), (0, String::new()));
        assert_eq!(state(&database, wished), (JobState::Ended, Some(Outcome::Done)));
        assert_eq!(told(chosen), all, "it has not ended");
    }

    #[test]
    fn an_action_waits_for_its_machine_as_long_as_it_takes() {
        let folder = tempfile::tempdir().unwrap();
        let began = Moment::now();
        let (database, wished, _) = two_jobs(folder.path(), began);
        database.write(|c| end_silent(c, began, began.after(1_000_000))).unwrap();
        assert_eq!(state(&database, wished), (JobState::Pending, None));
    }
}
