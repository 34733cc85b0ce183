//! Users of the server.

use super::super::problem::Problem;
use super::{exists, of_word, row, rows, word};
use crate::protocol::{Role, UserRecord};
use rusqlite::Connection;

/// Every user, by name.
pub(in crate::server) fn users(c: &Connection) -> Result<Vec<UserRecord>, Problem> {
    rows(c, "SELECT name, role FROM users ORDER BY name", [], |row| {
        Ok(UserRecord { name: row.get(0)?, role: of_word(&row.get::<_, String>(1)?)? })
    })
}

/// Whether there is any.
pub(in crate::server) fn has_users(c: &Connection) -> Result<bool, Problem> {
    exists(c, "SELECT 1 FROM users LIMIT 1", [])
}

/// A user and the hash of his password.
pub(in crate::server) fn user(c: &Connection, name: &str) -> Result<Option<(UserRecord, String)>, Problem> {
    row(c, "SELECT name, role, password FROM users WHERE name = ?1", [name], |row| {
        let user = UserRecord { name: row.get(0)?, role: of_word(&row.get::<_, String>(1)?)? };
        Ok((user, row.get(2)?))
    })
}

/// A name that a user or a machine can have: 1 to 63 letters, digits and hyphens, none of them at the ends.
pub(in crate::server) fn check_name(what: &str, name: &str) -> Result<(), Problem> {
    let sound = (1..=63).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if sound {
        return Ok(());
    }
    let name: String = name.chars().take(80).collect();
    let detail = format!(
        "\"{name}\" cannot be the name of a {what}: 1 to 63 letters, digits and hyphens, none of them at the ends"
    );
    Err(Problem::bad_request(detail))
}

/// Makes or changes a user; a new role or password ends what he was logged in with. True where he is new.
pub(in crate::server) fn put_user(
    c: &Connection,
    name: &str,
    role: Option<Role>,
    password_hash: Option<&str>,
) -> Result<bool, Problem> {
    let Some((known, hash)) = user(c, name)? else {
        check_name("user", name)?;
        let (Some(role), Some(hash)) = (role, password_hash) else {
            return Err(Problem::bad_request(format!("{name} is new, and needs a role and a password")));
        };
        c.execute(
            "INSERT INTO users (name, role, password) VALUES (?1, ?2, ?3)",
            (name, word(&role)?, hash),
        )?;
        return Ok(true);
    };
    let role = role.unwrap_or(known.role);
    if known.role == Role::Administrator && role != Role::Administrator {
        refuse_last_administrator(c, &known.name)?;
    }
    let hash = password_hash.unwrap_or(&hash);
    c.execute("UPDATE users SET role = ?2, password = ?3 WHERE name = ?1", (name, word(&role)?, hash))?;
    c.execute("DELETE FROM tokens WHERE user = ?1", [name])?;
    Ok(false)
}

/// Deletes a user, with what he was logged in with.
pub(in crate::server) fn delete_user(c: &Connection, name: &str) -> Result<(), Problem> {
    let Some((known, _)) = user(c, name)? else { return Err(Problem::not_found(&format!("user {name}"))) };
    if known.role == Role::Administrator {
        refuse_last_administrator(c, &known.name)?;
    }
    c.execute("DELETE FROM users WHERE name = ?1", [name])?;
    Ok(())
}

fn refuse_last_administrator(c: &Connection, name: &str) -> Result<(), Problem> {
    if exists(c, "SELECT 1 FROM users WHERE role = 'administrator' AND name <> ?1", [name])? {
        return Ok(());
    }
    Err(Problem::conflict(format!("{name} is the last administrator; make another one first")))
}
