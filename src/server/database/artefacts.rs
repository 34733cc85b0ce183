//! Artefacts: what they are called, and which profiles and jobs name them. What they hold are files beside the database.

use super::super::moment::Moment;
use super::super::problem::Problem;
use super::{exists, row, rows};
use crate::protocol::{ArtefactRecord, JobArtefact, ProfileName};
use crate::schema::{ArtefactId, DeployChoices, Profile};
use rusqlite::{Connection, Row};

const COLUMNS: &str = "SELECT digest, bytes, name, added FROM artefacts";

fn id(text: &str) -> Result<ArtefactId, Problem> {
    text.parse().map_err(|error| Problem::internal(format!("the database: {error}")))
}

fn read(row: &Row<'_>) -> Result<ArtefactRecord, Problem> {
    Ok(ArtefactRecord {
        artefact: id(&row.get::<_, String>(0)?)?,
        bytes: row.get::<_, i64>(1)?.unsigned_abs(),
        name: row.get(2)?,
        added: row.get::<_, Moment>(3)?.text(),
        profiles: Vec::new(),
    })
}

/// The profiles that name an artefact.
fn named_by(c: &Connection, artefact: ArtefactId) -> Result<Vec<ProfileName>, Problem> {
    let question = "SELECT DISTINCT profiles.image, profiles.name FROM profiles,
         json_each(profiles.profile, '$.deploy.copies') AS copy WHERE copy.value ->> '$.artefact' = ?1
         ORDER BY profiles.image, profiles.id";
    let name = |row: &Row<'_>| Ok(ProfileName { image: row.get(0)?, profile: Some(row.get(1)?) });
    rows(c, question, [artefact.to_string()], name)
}

fn with_profiles(c: &Connection, mut record: ArtefactRecord) -> Result<ArtefactRecord, Problem> {
    record.profiles = named_by(c, record.artefact)?;
    Ok(record)
}

/// Every artefact, by name.
pub(in crate::server) fn artefacts(c: &Connection) -> Result<Vec<ArtefactRecord>, Problem> {
    let found = rows(c, &format!("{COLUMNS} ORDER BY name, digest"), [], read)?;
    found.into_iter().map(|record| with_profiles(c, record)).collect()
}

/// One artefact.
pub(in crate::server) fn artefact(c: &Connection, artefact: ArtefactId) -> Result<ArtefactRecord, Problem> {
    let found = row(c, &format!("{COLUMNS} WHERE digest = ?1"), [artefact.to_string()], read)?;
    let record = found.ok_or_else(|| Problem::not_found(&format!("artefact {artefact}")))?;
    with_profiles(c, record)
}

/// Whether an artefact is known.
pub(in crate::server) fn has_artefact(c: &Connection, artefact: ArtefactId) -> Result<bool, Problem> {
    exists(c, "SELECT 1 FROM artefacts WHERE digest = ?1", [artefact.to_string()])
}

/// Notes an artefact, or another name for it. True where it is new.
pub(in crate::server) fn put_artefact(
    c: &Connection,
    artefact: ArtefactId,
    bytes: u64,
    name: &str,
    now: Moment,
) -> Result<bool, Problem> {
    let new = !has_artefact(c, artefact)?;
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    c.execute(
        "INSERT INTO artefacts (digest, bytes, name, added) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (digest) DO UPDATE SET name = excluded.name",
        (artefact.to_string(), bytes, name, now),
    )?;
    Ok(new)
}

/// Forgets an artefact, unless a profile or a job that has not ended names it.
pub(in crate::server) fn delete_artefact(c: &Connection, artefact: ArtefactId) -> Result<(), Problem> {
    self::artefact(c, artefact)?;
    if let Some(profile) = named_by(c, artefact)?.first() {
        return Err(Problem::conflict(format!(
            "the profile {profile} names the artefact {artefact}; take it out there first"
        )));
    }
    let question = "SELECT jobs.id FROM jobs, json_each(jobs.profile, '$.deploy.copies') AS copy
         WHERE jobs.state <> 'ended' AND copy.value ->> '$.artefact' = ?1 LIMIT 1";
    if let Some(job) = row(c, question, [artefact.to_string()], |row| Ok(row.get::<_, i64>(0)?))? {
        return Err(Problem::conflict(format!(
            "job {job} waits for the artefact {artefact}; withdraw it first"
        )));
    }
    c.execute("DELETE FROM artefacts WHERE digest = ?1", [artefact.to_string()])?;
    Ok(())
}

/// Refuses choices that name an artefact which is not here.
pub(in crate::server) fn refuse_missing_artefacts(
    c: &Connection,
    choices: &DeployChoices,
) -> Result<(), Problem> {
    for copy in &choices.copies {
        if !has_artefact(c, copy.artefact)? {
            return Err(Problem::conflict(format!(
                "the artefact {} is not here; add it first (remint admin artefacts add FILE)",
                copy.artefact
            )));
        }
    }
    Ok(())
}

/// The artefacts that a job needs, each once.
pub(in crate::server) fn artefacts_of(
    c: &Connection,
    profile: &Profile,
) -> Result<Vec<JobArtefact>, Problem> {
    let mut wanted: Vec<ArtefactId> = profile.deploy.copies.iter().map(|copy| copy.artefact).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let needed = wanted.into_iter().map(|wanted| {
        let ArtefactRecord { artefact, bytes, name, .. } = artefact(c, wanted)?;
        Ok(JobArtefact { artefact, bytes, name })
    });
    needed.collect()
}
