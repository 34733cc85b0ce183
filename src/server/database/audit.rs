//! Who did what.

use super::super::moment::Moment;
use super::super::problem::Problem;
use super::{at_most, below, rows};
use crate::protocol::{AuditEntry, Page};
use rusqlite::Connection;

/// Adds a line.
pub(in crate::server) fn note(c: &Connection, now: Moment, who: &str, what: &str) -> Result<(), Problem> {
    c.execute("INSERT INTO audit (time, who, what) VALUES (?1, ?2, ?3)", (now, who, what))?;
    Ok(())
}

/// A page of lines, newest first.
pub(in crate::server) fn audit_trail(c: &Connection, page: Page) -> Result<Vec<AuditEntry>, Problem> {
    let question = "SELECT id, time, who, what FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    rows(c, question, (below(page.before), at_most(page.limit)?), |row| {
        Ok(AuditEntry {
            id: row.get::<_, i64>(0)?.unsigned_abs(),
            time: row.get::<_, Moment>(1)?.text(),
            who: row.get(2)?,
            what: row.get(3)?,
        })
    })
}
