//! What a machine gets for its model when it starts and nobody has given it anything to do: an image, once.
//!
//! Invariants: a machine that had a job on this server, whatever became of it, gets none here, so nothing is imaged again
//! by itself; what an administrator has assigned to a machine counts more than its model; what is disabled or was never
//! captured is given to nobody; a machine whose cards are not its own alone is left to people.

use super::Site;
use super::database::{self, For, Machine, Session, Wish};
use super::moment::Moment;
use super::problem::Problem;
use crate::protocol::{Inventory, Operation, ProfileName};
use crate::store::Directory;
use rusqlite::Connection;

/// Who wished for such a job, in the history and in the audit trail. No user can have this name.
const BY: &str = "model match";
/// So many of these jobs may wait: who makes up machines does not fill the medium.
const MOST_OPEN: u32 = 1000;
/// A name that others have gets a number; so many are tried.
const MOST_NAMES: u32 = 100;
/// The longest model that is compared, in bytes.
const MAX_MODEL: usize = 256;

/// The job that a machine gets without being asked, where there is one; `machine` where the server knows it.
pub(super) fn wish_for(
    c: &Connection,
    store: &Directory,
    machine: Option<&Machine>,
    said: &Inventory,
) -> Result<Option<Wish>, Problem> {
    let model = said.model.as_deref().filter(|model| model.len() <= MAX_MODEL);
    let (Some(model), false) = (model, said.macs.is_empty()) else { return Ok(None) };
    if !database::settings(c)?.model_match
        || database::had_a_job(c, machine.map(|machine| machine.id), said)?
        || database::count_open_by(c, BY)? >= MOST_OPEN
        || (machine.is_none() && has_foreign_card(c, said)?)
    {
        return Ok(None);
    }
    for name in database::profiles_for_model(c, model)? {
        match database::wish(c, store, Operation::Deploy, &name) {
            Ok(wish) => return Ok(is_meant_for(c, machine, &wish)?.then_some(wish)),
            // There is nothing to deploy yet.
            Err(problem) if problem.is_conflict() => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(None)
}

/// Whether a card of a machine that nobody knows is one of a machine that somebody knows.
fn has_foreign_card(c: &Connection, said: &Inventory) -> Result<bool, Problem> {
    for card in &said.macs {
        if database::machine_by_card(c, card)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether nothing else is assigned to a machine.
fn is_meant_for(c: &Connection, machine: Option<&Machine>, wish: &Wish) -> Result<bool, Problem> {
    let Some(assigned) = machine.and_then(|machine| machine.assigned.as_ref()) else { return Ok(true) };
    if assigned.image != wish.image {
        return Ok(false);
    }
    // Where no profile is named, the first one is meant.
    let named = assigned.profile.clone().or(database::profile_names(c, &assigned.image)?.into_iter().next());
    Ok(named.as_ref() == Some(&wish.profile_name))
}

/// Gives the machine of a session that has just begun the job for its model, and registers it for that where nobody knows it.
pub(super) fn give_job(
    site: &Site,
    c: &Connection,
    session: &mut Session,
    now: Moment,
) -> Result<(), Problem> {
    let known = session.machine.as_ref();
    let Some(wish) = wish_for(c, &site.store, known, &session.inventory)? else { return Ok(()) };
    let machine = match known {
        Some(machine) => machine.clone(),
        None => register(c, session, &wish, now)?,
    };
    let whose = For { machine: Some(machine.id), session: None, name: &machine.name };
    database::add_job(c, &wish, whose, BY, now)?;
    session.machine = Some(machine);
    Ok(())
}

/// Registers the machine of a session under a name made from its first card.
fn register(c: &Connection, session: &Session, wish: &Wish, now: Moment) -> Result<Machine, Problem> {
    let assigned = ProfileName { image: wish.image.clone(), profile: Some(wish.profile_name.clone()) };
    let inventory = &session.inventory;
    let card = inventory.macs.first().map(String::as_str).unwrap_or_default();
    let name = free_name(c, card)?;
    let machine = database::add_machine(c, &name, inventory, Some(&assigned), now)?;
    database::machine_seen(c, machine.id, inventory, now)?;
    database::bind_session(c, session.id, machine.id)?;
    database::note(c, now, BY, &format!("machine {name}: registered for {assigned}"))?;
    Ok(machine)
}

/// `machine-52-54-00-12-34-56`; the first number behind it that is free where others have such names.
fn free_name(c: &Connection, card: &str) -> Result<String, Problem> {
    let plain = format!("machine-{}", card.replace(':', "-"));
    let numbered = (2..=MOST_NAMES).map(|number| format!("{plain}-{number}"));
    for name in std::iter::once(plain.clone()).chain(numbered) {
        if !database::has_machine_named(c, &name)? {
            return Ok(name);
        }
    }
    Err(Problem::conflict(format!("{MOST_NAMES} machines have names like {plain}; give some of them others")))
}
