//! Groups of machines.

use super::super::problem::Problem;
use super::{Machine, check_name, exists, machine_by_name, rows};
use crate::protocol::GroupRecord;
use rusqlite::Connection;

/// Every group, by name.
pub(in crate::server) fn groups(c: &Connection) -> Result<Vec<GroupRecord>, Problem> {
    let names = rows(c, "SELECT name FROM machine_groups ORDER BY name", [], |row| Ok(row.get(0)?))?;
    names.into_iter().map(|name| group(c, name)).collect()
}

/// A group.
pub(in crate::server) fn group(c: &Connection, name: String) -> Result<GroupRecord, Problem> {
    let question = "SELECT machines.name FROM members JOIN machines ON machines.id = members.machine
         WHERE group_name = ?1 ORDER BY machines.name";
    let machines = rows(c, question, [&name], |row| Ok(row.get(0)?))?;
    Ok(GroupRecord { name, machines })
}

/// Makes a group of exactly these machines. True where it is new.
pub(in crate::server) fn put_group(c: &Connection, name: &str, machines: &[String]) -> Result<bool, Problem> {
    check_name("group", name)?;
    let new = !is_group(c, name)?;
    c.execute("INSERT INTO machine_groups (name) VALUES (?1) ON CONFLICT DO NOTHING", [name])?;
    c.execute("DELETE FROM members WHERE group_name = ?1", [name])?;
    for machine in machines {
        let machine = machine_by_name(c, machine)?;
        let insert = "INSERT INTO members (group_name, machine) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        c.execute(insert, (name, machine.id))?;
    }
    Ok(new)
}

/// Deletes a group; its machines stay.
pub(in crate::server) fn delete_group(c: &Connection, name: &str) -> Result<(), Problem> {
    match c.execute("DELETE FROM machine_groups WHERE name = ?1", [name])? {
        0 => Err(Problem::not_found(&format!("group {name}"))),
        _ => Ok(()),
    }
}

fn is_group(c: &Connection, name: &str) -> Result<bool, Problem> {
    exists(c, "SELECT 1 FROM machine_groups WHERE name = ?1", [name])
}

/// The machines of a group.
pub(in crate::server) fn machines_of_group(c: &Connection, name: &str) -> Result<Vec<Machine>, Problem> {
    if !is_group(c, name)? {
        return Err(Problem::not_found(&format!("group {name}")));
    }
    group(c, name.to_owned())?.machines.iter().map(|name| machine_by_name(c, name)).collect()
}
