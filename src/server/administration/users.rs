//! Users, settings, the audit trail.

use super::super::database::{self, Purpose};
use super::super::moment::Moment;
use super::super::problem::Problem;
use super::super::request::{Asked, Asker, At, Said};
use super::super::{Shared, access, login, secret};
use super::status;
use crate::protocol::{AuditEntry, Login, Page, Role, Settings, UserLogin, UserRecord, UserRequest};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

/// How long a user stays logged in.
const USER_SECONDS: u32 = 12 * 3600;

/// `POST admin/login`.
pub(super) async fn log_in(
    State(site): State<Shared>,
    asker: Asker,
    said: Said<Login>,
) -> Result<Json<UserLogin>, Problem> {
    let person = login::check(&site, &asker, said.value).await?;
    site.write(move |_, c| {
        let now = Moment::now();
        let (token, expires) = database::give_token(c, Purpose::User(&person.name), now, USER_SECONDS)?;
        database::note(c, now, &person.name, &format!("logged in from {}", asker.address))?;
        Ok(Json(UserLogin { token, expires: expires.text(), role: person.role }))
    })
    .await
}

/// `DELETE admin/login`.
pub(super) async fn log_out(State(site): State<Shared>, asker: Asker) -> Result<StatusCode, Problem> {
    site.write(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        if let Some(token) = &asker.token {
            database::end_token(c, token)?;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `GET admin/users`.
pub(super) async fn list(State(site): State<Shared>, asker: Asker) -> Result<Json<Vec<UserRecord>>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Administrator)?;
        Ok(Json(database::users(c)?))
    })
    .await
}

/// `PUT admin/users/NAME`.
pub(super) async fn put(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
    said: Said<UserRequest>,
) -> Result<(StatusCode, Json<UserRecord>), Problem> {
    let by = asker.clone();
    site.read(move |_, c| access::user(c, &by, Moment::now(), Role::Administrator).map(drop)).await?;
    let Ok(_permit) = site.checking.acquire().await else {
        return Err(Problem::internal("the server is stopping"));
    };
    site.work(move |site| {
        let hash = said.value.password.as_deref().map(secret::hash_password).transpose()?;
        site.database.write(|c| {
            let now = Moment::now();
            let by = access::user(c, &asker, now, Role::Administrator)?;
            let new = database::put_user(c, &name, said.value.role, hash.as_deref())?;
            let done = if new { "made" } else { "changed" };
            database::note(c, now, &by.name, &format!("user {name}: {done}"))?;
            let (user, _) = database::user(c, &name)?.ok_or_else(|| Problem::internal("a user was lost"))?;
            Ok((status(new), Json(user)))
        })
    })
    .await
}

/// `DELETE admin/users/NAME`.
pub(super) async fn delete(
    State(site): State<Shared>,
    At(name): At<String>,
    asker: Asker,
) -> Result<StatusCode, Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let by = access::user(c, &asker, now, Role::Administrator)?;
        database::delete_user(c, &name)?;
        database::note(c, now, &by.name, &format!("user {name}: deleted"))?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `GET admin/settings`.
pub(super) async fn settings(State(site): State<Shared>, asker: Asker) -> Result<Json<Settings>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        Ok(Json(database::settings(c)?))
    })
    .await
}

/// `PUT admin/settings`.
pub(super) async fn set_settings(
    State(site): State<Shared>,
    asker: Asker,
    said: Said<Settings>,
) -> Result<Json<Settings>, Problem> {
    site.write(move |_, c| {
        let now = Moment::now();
        let by = access::user(c, &asker, now, Role::Administrator)?;
        database::set_settings(c, &said.value)?;
        database::note(c, now, &by.name, "settings: changed")?;
        Ok(Json(said.value))
    })
    .await
}

/// `GET admin/audit`.
pub(super) async fn audit(
    State(site): State<Shared>,
    Asked(page): Asked<Page>,
    asker: Asker,
) -> Result<Json<Vec<AuditEntry>>, Problem> {
    site.read(move |_, c| {
        access::user(c, &asker, Moment::now(), Role::Reader)?;
        Ok(Json(database::audit_trail(c, page)?))
    })
    .await
}
