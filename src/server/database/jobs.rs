//! Jobs: made, looked at, withdrawn, ended.

use super::super::moment::Moment;
use super::super::problem::Problem;
use super::machines::identity;
use super::{
    Machine, at_most, below, exists, image, json, key, mark_failure, note, of_json, of_word, profile, row,
    rows, word,
};
use crate::image::{ImageName, ImageVersion, Manifest, layout};
use crate::protocol::{
    Action, Finish, Inventory, JobFilter, JobRecord, JobState, JobSummary, Operation, Outcome, ProfileName,
};
use crate::schema::Profile;
use crate::store::Directory;
use rusqlite::{Connection, Row};

/// A job.
#[derive(Debug)]
pub(in crate::server) struct JobRow {
    pub(in crate::server) id: i64,
    pub(in crate::server) operation: Operation,
    pub(in crate::server) machine: Option<i64>,
    pub(in crate::server) session: Option<i64>,
    pub(in crate::server) machine_name: String,
    pub(in crate::server) image: String,
    pub(in crate::server) profile_name: String,
    pub(in crate::server) profile: Profile,
    pub(in crate::server) version: Option<String>,
    pub(in crate::server) announced: Option<String>,
    pub(in crate::server) state: JobState,
    pub(in crate::server) cancel: Option<String>,
    outcome: Option<Outcome>,
    message: Option<String>,
    by: String,
    created: Moment,
    started: Option<Moment>,
    ended: Option<Moment>,
    heard: Option<Moment>,
    progress: Option<String>,
}

const COLUMNS: &str = "SELECT id, operation, machine, session, machine_name, image, profile_name, profile, version,
    announced, state, cancel, outcome, message, wished_by, created, started, ended, heard, progress FROM jobs";

impl JobRow {
    fn read(row: &Row<'_>) -> Result<Self, Problem> {
        Ok(Self {
            id: row.get(0)?,
            operation: of_word(&row.get::<_, String>(1)?)?,
            machine: row.get(2)?,
            session: row.get(3)?,
            machine_name: row.get(4)?,
            image: row.get(5)?,
            profile_name: row.get(6)?,
            profile: of_json(&row.get::<_, String>(7)?)?,
            version: row.get(8)?,
            announced: row.get(9)?,
            state: of_word(&row.get::<_, String>(10)?)?,
            cancel: row.get(11)?,
            outcome: row.get::<_, Option<String>>(12)?.map(|outcome| of_word(&outcome)).transpose()?,
            message: row.get(13)?,
            by: row.get(14)?,
            created: row.get(15)?,
            started: row.get(16)?,
            ended: row.get(17)?,
            heard: row.get(18)?,
            progress: row.get(19)?,
        })
    }

    /// A job as it is offered.
    pub(in crate::server) fn summary(&self) -> JobSummary {
        JobSummary {
            id: self.id.unsigned_abs(),
            operation: self.operation,
            image: self.image.clone(),
            profile: self.profile_name.clone(),
        }
    }

    /// A job as administrators see it.
    pub(in crate::server) fn record(self) -> Result<JobRecord, Problem> {
        Ok(JobRecord {
            id: self.id.unsigned_abs(),
            operation: self.operation,
            machine: self.machine_name,
            image: self.image,
            profile: self.profile_name,
            state: self.state,
            outcome: self.outcome,
            message: self.message.or(self.cancel),
            by: self.by,
            created: self.created.text(),
            started: self.started.map(Moment::text),
            ended: self.ended.map(Moment::text),
            heard: self.heard.map(Moment::text),
            progress: self.progress.as_deref().map(of_json).transpose()?,
            version: self.version,
        })
    }
}

/// The job of this number, where there ever was one.
pub(in crate::server) fn find_job(c: &Connection, id: u64) -> Result<Option<JobRow>, Problem> {
    row(c, &format!("{COLUMNS} WHERE id = ?1"), [key(id)], JobRow::read)
}

/// The job of this number, for an administrator.
pub(in crate::server) fn job(c: &Connection, id: u64) -> Result<JobRow, Problem> {
    find_job(c, id)?.ok_or_else(|| Problem::not_found(&format!("job {id}")))
}

/// A page of jobs, newest first.
pub(in crate::server) fn jobs(c: &Connection, filter: &JobFilter) -> Result<Vec<JobRow>, Problem> {
    let question = format!(
        "{COLUMNS} WHERE (?1 IS NULL OR machine_name = ?1 COLLATE NOCASE) AND (?2 IS NULL OR image = ?2)
         AND (NOT ?3 OR state <> 'ended') AND id < ?4 ORDER BY id DESC LIMIT ?5"
    );
    let JobFilter { machine, image, open, before, limit } = filter;
    let values = (machine, image, open, below(*before), at_most(*limit)?);
    rows(c, &question, values, JobRow::read)
}

/// The job of a machine that has not ended.
pub(in crate::server) fn open_job_of(c: &Connection, machine: i64) -> Result<Option<JobRow>, Problem> {
    row(c, &format!("{COLUMNS} WHERE machine = ?1 AND state <> 'ended'"), [machine], JobRow::read)
}

/// The job that a machine does by itself when it starts. What a person chose at its console and did not begin is none:
/// it must not happen to whoever starts the machine next.
pub(in crate::server) fn waiting_job_of(c: &Connection, machine: i64) -> Result<Option<JobRow>, Problem> {
    let open = open_job_of(c, machine)?;
    Ok(open.filter(|job| job.session.is_none() || job.state == JobState::Running))
}

/// A job that has not ended and is about an image, or about one of its profiles.
pub(in crate::server) fn open_job_for(
    c: &Connection,
    image: &str,
    profile: Option<&str>,
) -> Result<Option<i64>, Problem> {
    let question = "SELECT id FROM jobs WHERE state <> 'ended' AND image = ?1 AND profile_name = coalesce(?2, profile_name)";
    row(c, question, (image, profile), |row| Ok(row.get(0)?))
}

/// What a machine does at its next boot.
pub(in crate::server) fn action_of(c: &Connection, machine: &Machine) -> Result<Option<Action>, Problem> {
    if let Some(job) = open_job_of(c, machine.id)? {
        return Ok(Some(Action::Pending { job: job.id.unsigned_abs(), operation: job.operation }));
    }
    let Some(failed) = machine.failed_job else { return Ok(None) };
    let question = "SELECT message FROM jobs WHERE id = ?1";
    let message = row(c, question, [failed], |row| Ok(row.get::<_, Option<String>>(0)?))?;
    Ok(Some(Action::Failed { job: failed.unsigned_abs(), message: message.flatten().unwrap_or_default() }))
}

/// A job that is to be made: everything about it is decided.
#[derive(Debug, Clone)]
pub(in crate::server) struct Wish {
    pub(in crate::server) operation: Operation,
    pub(in crate::server) image: String,
    pub(in crate::server) profile_name: String,
    pub(in crate::server) profile: Profile,
    version: Option<String>,
}

/// Decides what a job will do, or says why it cannot be done.
pub(in crate::server) fn wish(
    c: &Connection,
    store: &Directory,
    operation: Operation,
    name: &ProfileName,
) -> Result<Wish, Problem> {
    let image = image(c, &name.image)?;
    let profile = profile(c, name)?;
    if !image.enabled {
        return Err(Problem::conflict(format!("image {} is disabled; enable it first", image.name)));
    }
    let version = match operation {
        Operation::Capture => {
            super::refuse_protected(c, image.name.as_ref(), "captured again")?;
            None
        }
        Operation::Deploy => match Manifest::newest(store, &image.name)? {
            Some((_, Some(manifest))) if manifest.schema_only => {
                let fact = format!(
                    "image {} holds a schema and no data, so there is nothing to deploy; capture it with a profile \
                     without schema_only",
                    image.name
                );
                return Err(Problem::conflict(fact));
            }
            Some((version, _)) => Some(version.version.into()),
            None => {
                let fact = format!("image {} was never captured, so there is nothing to deploy", image.name);
                return Err(Problem::conflict(fact));
            }
        },
    };
    let (profile_name, profile) = (profile.name, profile.profile);
    Ok(Wish { operation, image: image.name.into(), profile_name, profile, version })
}

/// For whom a job is: a machine that is registered, or the session of one that is not.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct For<'a> {
    pub(in crate::server) machine: Option<i64>,
    pub(in crate::server) session: Option<i64>,
    pub(in crate::server) name: &'a str,
}

/// Makes a job. A machine has one that has not ended; a failure before is forgotten.
pub(in crate::server) fn add_job(
    c: &Connection,
    wish: &Wish,
    whose: For<'_>,
    by: &str,
    now: Moment,
) -> Result<i64, Problem> {
    if let Some(machine) = whose.machine {
        if let Some(open) = open_job_of(c, machine)? {
            return Err(Problem::conflict(format!(
                "{} has the job {} ({} {}) already; withdraw it first",
                whose.name, open.id, open.operation, open.image
            )));
        }
        mark_failure(c, machine, None)?;
    }
    c.execute(
        "INSERT INTO jobs (operation, machine, session, machine_name, image, profile_name, profile, version, wished_by,
         created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        rusqlite::params![
            word(&wish.operation)?,
            whose.machine,
            whose.session,
            whose.name,
            wish.image,
            wish.profile_name,
            json(&wish.profile)?,
            wish.version,
            by,
            now
        ],
    )?;
    let id = c.last_insert_rowid();
    remember(c, whose.machine, whose.session)?;
    let what = format!("job {id}: {} {}/{} on {}", wish.operation, wish.image, wish.profile_name, whose.name);
    note(c, now, by, &what)?;
    Ok(id)
}

/// Remembers cards, serial number and UUID of a machine or a session that had a job, for when they are known no more.
pub(in crate::server) fn remember(
    c: &Connection,
    machine: Option<i64>,
    session: Option<i64>,
) -> Result<(), Problem> {
    c.execute(
        "INSERT OR IGNORE INTO cards_with_jobs
         SELECT mac FROM cards WHERE machine = ?1 AND machine IN (SELECT machine FROM jobs)
         UNION SELECT card.value FROM sessions, json_each(inventory, '$.macs') AS card WHERE sessions.id = ?2",
        (machine, session),
    )?;
    c.execute(
        "INSERT OR IGNORE INTO identities_with_jobs
         SELECT trim(inventory ->> '$.serial'), lower(trim(inventory ->> '$.uuid')) FROM (
             SELECT inventory FROM machines WHERE id = ?1 AND id IN (SELECT machine FROM jobs)
             UNION SELECT inventory FROM sessions WHERE id = ?2)
         WHERE inventory ->> '$.serial' IS NOT NULL AND inventory ->> '$.uuid' IS NOT NULL",
        (machine, session),
    )?;
    Ok(())
}

/// Whether a machine, or one that had one of these cards or this serial number and UUID, ever had a job here, whatever
/// became of it.
pub(in crate::server) fn had_a_job(
    c: &Connection,
    machine: Option<i64>,
    said: &Inventory,
) -> Result<bool, Problem> {
    if exists(c, "SELECT 1 FROM jobs WHERE machine = ?1 LIMIT 1", [machine])? {
        return Ok(true);
    }
    for card in &said.macs {
        if exists(c, "SELECT 1 FROM cards_with_jobs WHERE mac = ?1", [card])? {
            return Ok(true);
        }
    }
    let (Some(serial), Some(uuid)) = identity(said) else { return Ok(false) };
    let known = "SELECT 1 FROM identities_with_jobs WHERE serial = ?1 AND uuid = ?2";
    exists(c, known, [serial, uuid.to_lowercase().as_str()])
}

/// How many jobs that have not ended were wished for by somebody.
pub(in crate::server) fn count_open_by(c: &Connection, by: &str) -> Result<u32, Problem> {
    let question = "SELECT count(*) FROM jobs WHERE state <> 'ended' AND wished_by = ?1";
    Ok(row(c, question, [by], |row| Ok(row.get(0)?))?.unwrap_or_default())
}

/// Withdraws a job that has not begun, or has one that runs stopped by its machine.
pub(in crate::server) fn withdraw(
    c: &Connection,
    job: &JobRow,
    by: &str,
    now: Moment,
) -> Result<(), Problem> {
    match job.state {
        JobState::Ended => Err(Problem::conflict(format!("job {} has ended", job.id))),
        JobState::Running => {
            let sentence = format!("cancelled by {by}");
            c.execute("UPDATE jobs SET cancel = coalesce(cancel, ?2) WHERE id = ?1", (job.id, &sentence))?;
            note(c, now, by, &format!("job {}: cancelled", job.id))
        }
        JobState::Pending | JobState::Queued => {
            note(c, now, by, &format!("job {}: withdrawn", job.id))?;
            end(c, job, Outcome::Cancelled, &format!("withdrawn by {by}"), now)
        }
    }
}

/// Ends a job, and with it the action of its machine. A failure marks the machine: it does not try again by itself.
pub(in crate::server) fn end(
    c: &Connection,
    job: &JobRow,
    outcome: Outcome,
    message: &str,
    now: Moment,
) -> Result<(), Problem> {
    c.execute(
        "UPDATE jobs SET state = 'ended', outcome = ?2, message = ?3, ended = ?4, queued = NULL WHERE id = ?1",
        (job.id, word(&outcome)?, message, now),
    )?;
    forget_answers(c, job)?;
    if let Some(machine) = job.machine {
        mark_failure(c, machine, (outcome == Outcome::Failed).then_some(job.id))?;
    }
    Ok(())
}

/// What a job put into answer files may have been a password: only which elements they were is kept.
fn forget_answers(c: &Connection, job: &JobRow) -> Result<(), Problem> {
    let mut profile = job.profile.clone();
    if profile.deploy.answers.is_empty() {
        return Ok(());
    }
    profile.deploy.answers.iter_mut().for_each(|answer| answer.value.clear());
    c.execute("UPDATE jobs SET profile = ?2 WHERE id = ?1", (job.id, json(&profile)?))?;
    Ok(())
}

/// The longest sentence that is kept.
const MAX_MESSAGE: usize = 4096;

/// Ends a job as its machine says. A capture that is not in the store has failed, whatever its machine says.
pub(in crate::server) fn finish(
    c: &Connection,
    store: &Directory,
    job: &JobRow,
    said: &Finish,
    now: Moment,
) -> Result<(), Problem> {
    let mut message: String = said.message.chars().take(MAX_MESSAGE).collect();
    for problem in said.problems.iter().take(100) {
        message.push('\n');
        message.extend(problem.chars().take(MAX_MESSAGE));
    }
    let mut outcome = said.outcome;
    if job.operation == Operation::Capture && matches!(outcome, Outcome::Done | Outcome::Problems) {
        let published = said.version.as_ref().filter(|version| job.announced.as_ref() == Some(*version));
        if published.is_some_and(|version| is_published(store, &job.image, version)) {
            c.execute("UPDATE jobs SET version = ?2 WHERE id = ?1", (job.id, published))?;
            // After a schema comes the capture that it was sent for.
            let with_data = !job.profile.capture.schema_only;
            c.execute("UPDATE images SET protected = 1 WHERE name = ?1 AND ?2", (&job.image, with_data))?;
        } else {
            outcome = Outcome::Failed;
            message = format!(
                "the machine says that it captured the image, but what it names is not in the store: {message}"
            );
        }
    }
    c.execute("UPDATE jobs SET target_changed = ?2 WHERE id = ?1", (job.id, said.target_changed))?;
    note(c, now, &format!("machine {}", job.machine_name), &format!("job {}: {}", job.id, word(&outcome)?))?;
    end(c, job, outcome, &message, now)
}

fn is_published(store: &Directory, image: &str, version: &str) -> bool {
    let version =
        image.parse::<ImageName>().and_then(|image| Ok(ImageVersion { image, version: version.parse()? }));
    version.is_ok_and(|version| store.open_version_file(&version, layout::MANIFEST_FILE).is_ok())
}

/// Notes which version a capture announces: from now on the only one that its token may write.
pub(in crate::server) fn announce(c: &Connection, job: i64, version: &str) -> Result<(), Problem> {
    c.execute("UPDATE jobs SET announced = ?2 WHERE id = ?1", (job, version))?;
    Ok(())
}
