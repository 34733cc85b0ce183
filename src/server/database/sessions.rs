//! Sessions of machines: who introduced itself, with what.

use super::super::moment::Moment;
use super::super::problem::Problem;
use super::{Machine, find_machine, json, machine, machine_seen, of_json, row};
use crate::protocol::Inventory;
use rusqlite::Connection;

/// A machine that introduced itself.
#[derive(Debug)]
pub(in crate::server) struct Session {
    pub(in crate::server) id: i64,
    pub(in crate::server) machine: Option<Machine>,
    pub(in crate::server) inventory: Inventory,
}

impl Session {
    /// What people call the machine: its name, or its first card.
    pub(in crate::server) fn name(&self) -> String {
        match (&self.machine, self.inventory.macs.first()) {
            (Some(machine), _) => machine.name.clone(),
            (None, Some(mac)) => format!("unregistered {mac}"),
            (None, None) => "unregistered".to_owned(),
        }
    }
}

/// How many sessions a machine may have: its own, one after a restart, and some that nobody ends.
const OF_ONE_MACHINE: i64 = 16;
/// How many machines that nobody knows may have one, so that who makes up machines does not fill the medium.
const OF_UNKNOWN: i64 = 5000;

/// A new session; what the machine says of itself is kept where it is known.
pub(in crate::server) fn open_session(
    c: &Connection,
    inventory: Inventory,
    now: Moment,
) -> Result<Session, Problem> {
    let machine = find_machine(c, &inventory)?;
    if let Some(machine) = &machine {
        machine_seen(c, machine.id, &inventory, now)?;
    }
    c.execute(
        "INSERT INTO sessions (machine, inventory, created, card) VALUES (?1, ?2, ?3, ?4)",
        (machine.as_ref().map(|machine| machine.id), json(&inventory)?, now, inventory.macs.first()),
    )?;
    let id = c.last_insert_rowid();
    c.execute(
        "DELETE FROM sessions WHERE machine IS ?1 AND id NOT IN
         (SELECT id FROM sessions WHERE machine IS ?1 ORDER BY id DESC LIMIT ?2)",
        (
            machine.as_ref().map(|machine| machine.id),
            if machine.is_some() { OF_ONE_MACHINE } else { OF_UNKNOWN },
        ),
    )?;
    Ok(Session { id, machine, inventory })
}

/// The session of this number.
pub(in crate::server) fn session(c: &Connection, id: i64) -> Result<Session, Problem> {
    let found = row(c, "SELECT machine, inventory FROM sessions WHERE id = ?1", [id], |row| {
        Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, String>(1)?))
    })?;
    let (known, inventory) = found.ok_or_else(|| Problem::unauthorized("this session has ended"))?;
    let machine = known.map(|id| machine(c, id)).transpose()?.flatten();
    Ok(Session { id, machine, inventory: of_json(&inventory)? })
}

/// What a machine that booted from this card said of itself the last time.
pub(in crate::server) fn last_said(c: &Connection, card: &str) -> Result<Option<Inventory>, Problem> {
    let question = "SELECT inventory FROM sessions WHERE card = ?1 ORDER BY id DESC LIMIT 1";
    row(c, question, [card], |row| of_json(&row.get::<_, String>(0)?))
}

/// The machine of a session is registered now.
pub(in crate::server) fn bind_session(c: &Connection, id: i64, machine: i64) -> Result<(), Problem> {
    c.execute("UPDATE sessions SET machine = ?2 WHERE id = ?1", (id, machine))?;
    Ok(())
}
