//! Who did what.

use super::super::moment::Moment;
use super::super::problem::Problem;
use super::rows;
use crate::protocol::AuditEntry;
use rusqlite::Connection;

/// The most lines that are shown at once.
const SHOWN: i64 = 1000;

/// Adds a line.
pub(in crate::server) fn note(c: &Connection, now: Moment, who: &str, what: &str) -> Result<(), Problem> {
    c.execute("INSERT INTO audit (time, who, what) VALUES (?1, ?2, ?3)", (now, who, what))?;
    Ok(())
}

/// The newest lines, newest first.
pub(in crate::server) fn audit_trail(c: &Connection) -> Result<Vec<AuditEntry>, Problem> {
    rows(c, "SELECT time, who, what FROM audit ORDER BY id DESC LIMIT ?1", [SHOWN], |row| {
        Ok(AuditEntry { time: row.get::<_, Moment>(0)?.text(), who: row.get(1)?, what: row.get(2)? })
    })
}
