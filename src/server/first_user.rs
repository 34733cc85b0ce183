//! The first administrator. There is no password to begin with: who can write the server's folder makes one.

use super::database::{self, Database};
use super::moment::Moment;
use super::secret;
use super::{Problem, ServerError};
use crate::protocol::Role;
use std::path::Path;

/// Makes an administrator in the folder of a server, which may be running, or gives one a new password.
///
/// # Errors
/// Where the name or the password cannot be one, or the folder cannot be written.
pub fn make_administrator(data: &Path, name: &str, password: &str) -> Result<(), ServerError> {
    let refused = |problem: Problem| ServerError::Refused { fact: problem.into_detail() };
    let hash = secret::hash_password(password).map_err(refused)?;
    let database = Database::open(data)?;
    database
        .write(|c| {
            database::put_user(c, name, Some(Role::Administrator), Some(&hash))?;
            let what = format!("user {name}: made an administrator with remint admin init");
            database::note(c, Moment::now(), "remint admin init", &what)
        })
        .map_err(refused)
}
