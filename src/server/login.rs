//! Logging in with a name and a password, at a machine or from anywhere.

use super::database::{self, Person};
use super::problem::Problem;
use super::request::Asker;
use super::{Shared, secret};
use crate::protocol::Login;
use std::time::Instant;

/// The user of this name with this password. Tries are bounded, and so is how many passwords are hashed at a time.
pub(super) async fn check(site: &Shared, asker: &Asker, login: Login) -> Result<Person, Problem> {
    site.tries.count(&login.user, asker.address, Instant::now())?;
    let Ok(_permit) = site.checking.acquire().await else {
        return Err(Problem::internal("the server is stopping"));
    };
    let address = asker.address;
    site.work(move |site| {
        let known = site.database.read(|c| database::user(c, &login.user))?;
        let hash = known.as_ref().map(|(_, hash)| hash.as_str());
        if !secret::is_password(&login.password, hash) {
            return Err(Problem::unauthorized("there is no user of this name with this password"));
        }
        let Some((user, _)) = known else { return Err(Problem::internal("a user was lost")) };
        site.tries.forgive(&login.user, address);
        Ok(Person { name: user.name, role: user.role })
    })
    .await
}
