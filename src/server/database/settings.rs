//! What holds for the whole server.

use super::super::multicast;
use super::super::problem::Problem;
use super::{json, of_json, row};
use crate::protocol::Settings;
use rusqlite::Connection;

/// The shortest silence that may end a job: three missed signs of life.
const MIN_SILENCE_SECONDS: u32 = 15;

/// The settings; the usual ones where nobody chose.
pub(in crate::server) fn settings(c: &Connection) -> Result<Settings, Problem> {
    let body = row(c, "SELECT body FROM settings", [], |row| Ok(row.get::<_, String>(0)?))?;
    body.map_or_else(|| Ok(Settings::default()), |body| of_json(&body))
}

/// Sets them all.
pub(in crate::server) fn set_settings(c: &Connection, settings: &Settings) -> Result<(), Problem> {
    if settings.silence_seconds < MIN_SILENCE_SECONDS {
        let detail = format!("silence_seconds is at least {MIN_SILENCE_SECONDS}");
        return Err(Problem::bad_request(detail));
    }
    if let Some(fault) = multicast::fault_of(settings) {
        return Err(Problem::bad_request(fault));
    }
    c.execute(
        "INSERT INTO settings (only, body) VALUES (1, ?1) ON CONFLICT (only) DO UPDATE SET body = excluded.body",
        [json(settings)?],
    )?;
    Ok(())
}
