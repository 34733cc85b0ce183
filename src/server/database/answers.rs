//! First answers, for those who ask twice with the same idempotency key.

use super::super::moment::Moment;
use super::super::problem::Problem;
use super::super::request::Once;
use super::{json, of_json, row};
use rusqlite::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Does `work`, unless `owner` has asked the same with the same key: then the answer is the first one. `work` and the
/// memory of its answer are one transaction with what surrounds them.
pub(in crate::server) fn once<T: Serialize + DeserializeOwned>(
    c: &Connection,
    now: Moment,
    owner: &str,
    once: &Once,
    work: impl FnOnce() -> Result<T, Problem>,
) -> Result<T, Problem> {
    let Some(key) = &once.key else { return work() };
    let first =
        row(c, "SELECT request, answer FROM answers WHERE owner = ?1 AND key = ?2", (owner, key), |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?))
        })?;
    match first {
        Some((request, answer)) if request == once.request => of_json(&answer),
        Some(_) => Err(Problem::conflict("this idempotency key was used for another request")),
        None => {
            let answer = work()?;
            c.execute(
                "INSERT INTO answers (owner, key, request, answer, given) VALUES (?1, ?2, ?3, ?4, ?5)",
                (owner, key, once.request, json(&answer)?, now),
            )?;
            Ok(answer)
        }
    }
}
