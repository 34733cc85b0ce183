//! Profiles of images, and the models of machines that they are for.

use super::super::network_boot::check_network_boot;
use super::super::problem::Problem;
use super::{
    check_name, image, json, of_json, of_word, open_job_for, refuse_missing_artefacts, row, rows, word,
};
use crate::agent;
use crate::protocol::{ModelMatch, ProfileChange, ProfileName, ProfileRecord};
use crate::schema::Profile;
use rusqlite::{Connection, Row};
use std::cmp::Reverse;

const COLUMNS: &str = "SELECT image, name, description, profile, match_kind, match_text FROM profiles";

fn read(row: &Row<'_>) -> Result<ProfileRecord, Problem> {
    let kind: Option<String> = row.get(4)?;
    let matched = kind.zip(row.get::<_, Option<String>>(5)?);
    Ok(ProfileRecord {
        image: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        profile: of_json(&row.get::<_, String>(3)?)?,
        model_match: matched
            .map(|(kind, text)| Ok::<_, Problem>(ModelMatch { kind: of_word(&kind)?, text }))
            .transpose()?,
    })
}

/// Names of an image's profiles, the first one first.
pub(in crate::server) fn profile_names(c: &Connection, image: &str) -> Result<Vec<String>, Problem> {
    rows(c, "SELECT name FROM profiles WHERE image = ?1 ORDER BY id", [image], |row| Ok(row.get(0)?))
}

/// The profiles of an image, the first one first.
pub(in crate::server) fn profiles(c: &Connection, image: &str) -> Result<Vec<ProfileRecord>, Problem> {
    rows(c, &format!("{COLUMNS} WHERE image = ?1 ORDER BY id"), [image], read)
}

/// A profile of an image; the first one where none is named.
pub(in crate::server) fn profile(c: &Connection, name: &ProfileName) -> Result<ProfileRecord, Problem> {
    let question = format!("{COLUMNS} WHERE image = ?1 AND name = coalesce(?2, name) ORDER BY id LIMIT 1");
    let found = row(c, &question, (&name.image, &name.profile), read)?;
    found.ok_or_else(|| Problem::not_found(&format!("profile {name}")))
}

/// A new profile.
pub(in crate::server) fn add_profile(
    c: &Connection,
    image: &str,
    name: &str,
    description: &str,
    profile: &Profile,
    matched: Option<&ModelMatch>,
) -> Result<(), Problem> {
    let matched = matched.filter(|matched| !matched.text.trim().is_empty());
    c.execute(
        "INSERT INTO profiles (image, name, description, profile, match_kind, match_text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (image, name) DO UPDATE SET description = excluded.description, profile = excluded.profile,
         match_kind = excluded.match_kind, match_text = excluded.match_text",
        (
            image,
            name,
            description,
            json(profile)?,
            matched.map(|matched| word(&matched.kind)).transpose()?,
            matched.map(|matched| &matched.text),
        ),
    )?;
    Ok(())
}

/// Makes a profile or changes it, unless a job waits for it. True where it is new.
pub(in crate::server) fn put_profile(
    c: &Connection,
    image_name: &str,
    name: &str,
    change: ProfileChange,
) -> Result<bool, Problem> {
    check_name("profile", name)?;
    image(c, image_name)?;
    let named =
        |profile: &str| ProfileName { image: image_name.to_owned(), profile: Some(profile.to_owned()) };
    let known = profiles(c, image_name)?.into_iter().find(|profile| profile.name == name);
    let new = known.is_none();
    if !new {
        refuse_awaited(c, image_name, name, "changed")?;
    }
    let base = match (&change.clone_of, known) {
        (Some(_), _) if change.profile.is_some() => {
            return Err(Problem::bad_request("a profile is either cloned or given; choose one of both"));
        }
        (Some(origin), known) => {
            let origin = profile(c, &named(origin))?;
            Some(ProfileRecord { model_match: known.and_then(|known| known.model_match), ..origin })
        }
        (None, known) => known,
    };
    let (description, choices, matched) = match base {
        Some(base) => (base.description, base.profile, base.model_match),
        None => (String::new(), Profile::default(), None),
    };
    let choices = change.profile.unwrap_or(choices);
    check_network_boot(&choices.network_boot)?;
    agent::check(&choices).map_err(|error| Problem::bad_request(format!("{error:#}")))?;
    refuse_missing_artefacts(c, &choices.deploy)?;
    let matched = change.model_match.or(matched);
    let description = change.description.unwrap_or(description);
    add_profile(c, image_name, name, &description, &choices, matched.as_ref())?;
    Ok(new)
}

/// Deletes a profile, unless a job waits for it or it is the last one.
pub(in crate::server) fn delete_profile(c: &Connection, image: &str, name: &str) -> Result<(), Problem> {
    let named = ProfileName { image: image.to_owned(), profile: Some(name.to_owned()) };
    profile(c, &named)?;
    refuse_awaited(c, image, name, "deleted")?;
    if profile_names(c, image)?.len() < 2 {
        return Err(Problem::conflict(format!("{named} is the last profile of its image")));
    }
    c.execute("DELETE FROM profiles WHERE image = ?1 AND name = ?2", [image, name])?;
    c.execute(
        "UPDATE machines SET assigned_profile = NULL WHERE assigned_image = ?1 AND assigned_profile = ?2",
        [image, name],
    )?;
    Ok(())
}

fn refuse_awaited(c: &Connection, image: &str, name: &str, doing: &str) -> Result<(), Problem> {
    match open_job_for(c, image, Some(name))? {
        Some(job) => Err(Problem::conflict(format!(
            "job {job} waits for the profile {image}/{name}, so it is not {doing}; withdraw the job (reset the action \
             of its machine) first"
        ))),
        None => Ok(()),
    }
}

/// The profiles of enabled images that are for machines of this model, the best one first. An exact match wins over a
/// beginning, that over an end, that over a part; a longer text over a shorter one.
pub(in crate::server) fn profiles_for_model(
    c: &Connection,
    model: &str,
) -> Result<Vec<ProfileName>, Problem> {
    let question = format!(
        "{COLUMNS} WHERE match_kind IS NOT NULL AND image IN (SELECT name FROM images WHERE enabled) ORDER BY image, id"
    );
    let fitting = rows(c, &question, [], read)?.into_iter().filter_map(|profile| {
        let matched = profile.model_match.filter(|matched| matched.matches(model))?;
        Some((matched, ProfileName { image: profile.image, profile: Some(profile.name) }))
    });
    let mut fitting: Vec<_> = fitting.collect();
    fitting.sort_by_key(|(matched, _)| (matched.kind, Reverse(matched.text.trim().len())));
    Ok(fitting.into_iter().map(|(_, name)| name).collect())
}
