//! Every path of the server.

use super::{
    Shared, access, administration, artefacts, boot, chunks, console, images, network_boot, problem, work,
};
use crate::protocol::BASE;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use std::sync::Arc;

/// All of them.
pub(super) fn router(site: Shared) -> Router {
    let store = Router::new()
        .route("/remint-store.json", get(images::store_file))
        .route("/chunks/present", post(chunks::present))
        .route("/chunks/{directory}/{file}", get(chunks::get).put(chunks::put))
        .route("/images/", get(images::list))
        .route("/images/{image}/", get(images::versions))
        .route("/images/{image}/{version}", delete(images::delete))
        .route("/images/{image}/{version}/{file}", get(images::get_file).put(images::put_file))
        .route("/captures/{capture}", put(images::begin_capture).delete(images::abandon))
        .route("/collect", post(images::collect))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn_with_state(Arc::clone(&site), access::guard_store));
    let jobs = Router::new()
        .route("/hello", get(console::hello))
        .route("/sessions", post(console::open_session))
        .route("/login", post(console::log_in))
        .route("/machines", post(console::register))
        .route("/images", get(console::images))
        .route("/jobs", post(console::make_job))
        .route("/jobs/{id}", delete(work::withdraw))
        .route("/jobs/{id}/claim", post(work::claim))
        .route("/jobs/{id}/artefacts/{artefact}", get(artefacts::fetch))
        .route("/jobs/{id}/events", post(work::events))
        .route("/jobs/{id}/log", put(work::log))
        .route("/jobs/{id}/finish", post(work::finish))
        .route("/jobs/{id}/multicast", post(work::multicast))
        .nest("/admin", administration::router());
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/boot/machine.ipxe", get(network_boot::script))
        .route("/boot/{*path}", get(boot::get))
        .nest(BASE, jobs)
        .nest("/store", store)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        // Each handler has a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(site)
}
