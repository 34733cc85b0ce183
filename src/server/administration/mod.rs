//! Administration over REST: each handler says which role it takes, does one transaction, and leaves a line in the audit
//! trail where it changes something.

mod artefacts;
mod images;
mod jobs;
mod machines;
mod users;

use super::Shared;
use axum::Router;
use axum::routing::{get, post, put};

/// Every path below `/api/v1/admin`.
pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/login", post(users::log_in).delete(users::log_out))
        .route("/machines", get(machines::list).post(machines::add))
        .route("/machines/{name}", get(machines::show).patch(machines::change).delete(machines::delete))
        .route("/machines/{name}/action", put(machines::set_action))
        .route("/groups", get(machines::groups))
        .route("/groups/{name}", put(machines::put_group).delete(machines::delete_group))
        .route("/images", get(images::list))
        .route("/images/{name}", get(images::show).put(images::put).delete(images::delete))
        .route("/images/{name}/history", get(images::history))
        .route("/images/{name}/profiles", get(images::profiles))
        .route(
            "/images/{name}/profiles/{profile}",
            get(images::profile).put(images::put_profile).delete(images::delete_profile),
        )
        .route("/artefacts", get(artefacts::list))
        .route("/artefacts/{artefact}", put(artefacts::put).delete(artefacts::delete))
        .route("/jobs", get(jobs::list).post(jobs::add))
        .route("/jobs/{id}", get(jobs::show).delete(jobs::withdraw))
        .route("/jobs/{id}/events", get(jobs::events))
        .route("/jobs/{id}/log", get(jobs::log))
        .route("/users", get(users::list))
        .route("/users/{name}", put(users::put).delete(users::delete))
        .route("/settings", get(users::settings).put(users::set_settings))
        .route("/audit", get(users::audit))
}

/// The status of something that was put.
fn status(new: bool) -> axum::http::StatusCode {
    if new { axum::http::StatusCode::CREATED } else { axum::http::StatusCode::OK }
}
