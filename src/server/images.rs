//! Images, their versions and files, and the captures that make them.

use super::problem::Problem;
use super::request::Asker;
use super::{Shared, access, database, files, upload};
use crate::image::{
    CollectOptions, CollectReport, ImageName, ImageVersion, MAX_INDEX_BYTES, MAX_MANIFEST_BYTES,
    MAX_USED_MAP_BYTES, Store, layout,
};
use crate::store::{Directory, wire};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;

type Parts<T> = Result<Path<T>, PathRejection>;

const MAX_SMALL_BODY_BYTES: u64 = 64 << 10;

fn version(image: &str, version: &str) -> Result<ImageVersion, Problem> {
    let parsed = image.parse().and_then(|image| Ok(ImageVersion { image, version: version.parse()? }));
    parsed.map_err(|_| Problem::not_found("such a version"))
}

/// GET of `remint-store.json`.
pub(super) async fn store_file(
    State(site): State<Shared>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let file = site.blocking(Directory::open_store_file).await?;
    files::answer(file, &method, &headers, "application/json")
}

/// GET of the list of images.
pub(super) async fn list(State(site): State<Shared>) -> Result<Json<wire::Images>, Problem> {
    let images = site.blocking(Store::images).await?;
    Ok(Json(wire::Images { images: images.into_iter().map(String::from).collect() }))
}

/// GET of the list of an image's versions.
pub(super) async fn versions(
    State(site): State<Shared>,
    path: Parts<String>,
) -> Result<Json<wire::Versions>, Problem> {
    let image = path.ok().and_then(|Path(image)| image.parse::<ImageName>().ok());
    let image = image.ok_or_else(|| Problem::not_found("such an image"))?;
    let versions = site.blocking(move |store| store.versions(&image)).await?;
    Ok(Json(wire::Versions { versions: versions.into_iter().map(String::from).collect() }))
}

fn file_of(path: Parts<(String, String, String)>) -> Result<(ImageVersion, String), Problem> {
    let Ok(Path((image, name, file))) = path else { return Err(Problem::not_found("such a file")) };
    let version = version(&image, &name)?;
    if file == layout::MANIFEST_FILE || layout::is_volume_file(&file) {
        return Ok((version, file));
    }
    Err(Problem::not_found("such a file"))
}

/// GET of a version's file.
pub(super) async fn get_file(
    State(site): State<Shared>,
    method: Method,
    path: Parts<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (version, name) = file_of(path)?;
    let content_type =
        if name == layout::MANIFEST_FILE { "application/json" } else { "application/octet-stream" };
    let file = site.blocking(move |store| store.open_version_file(&version, &name)).await?;
    files::answer(file, &method, &headers, content_type)
}

/// PUT of a version's file, while the version is not published; PUT of `image.json` publishes it.
pub(super) async fn put_file(
    State(site): State<Shared>,
    path: Parts<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let (version, name) = file_of(path)?;
    if name == layout::MANIFEST_FILE {
        let bytes = upload::to_memory(&site, &headers, body, MAX_MANIFEST_BYTES).await?;
        upload::checked(&site, move |store| store.publish(&version, &bytes)).await?;
    } else {
        let limit = if name.ends_with(".caibx") { MAX_INDEX_BYTES } else { MAX_USED_MAP_BYTES };
        let file = upload::to_file(&site, &headers, body, limit).await?;
        site.blocking(move |store| store.accept_file(&version, &name, file)).await?;
    }
    Ok(StatusCode::CREATED)
}

/// DELETE of a version.
pub(super) async fn delete(
    State(site): State<Shared>,
    path: Parts<(String, String)>,
) -> Result<StatusCode, Problem> {
    let Ok(Path((image, name))) = path else { return Err(Problem::not_found("such a version")) };
    let version = version(&image, &name)?;
    site.work(move |site| {
        // In one transaction, so that no job is made meanwhile that waits for it.
        site.database.write(|c| {
            database::refuse_protected(c, version.image.as_ref(), "deleted")?;
            database::refuse_awaited(c, &version)?;
            Ok(site.store.delete_version(&version)?)
        })
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn capture(path: Parts<String>) -> Result<ImageVersion, Problem> {
    path.ok().and_then(|Path(name)| name.parse().ok()).ok_or_else(|| Problem::not_found("such a capture"))
}

/// PUT of a capture: announces it.
pub(super) async fn begin_capture(
    State(site): State<Shared>,
    path: Parts<String>,
    asker: Asker,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let version = capture(path)?;
    let said: wire::Announcement = upload::to_json(&site, &headers, body, MAX_SMALL_BODY_BYTES).await?;
    site.work(move |site| {
        let job = site.database.read(|c| {
            let job = access::job_of(c, &asker)?;
            if job.is_none() {
                database::refuse_protected(c, version.image.as_ref(), "captured again")?;
            }
            Ok(job)
        })?;
        site.store.begin_capture_as(&version, &said.holder)?;
        match job {
            Some(job) => site.database.write(|c| database::announce(c, job, version.version.as_ref())),
            None => Ok(()),
        }
    })
    .await?;
    Ok(StatusCode::CREATED)
}

/// DELETE of a capture: abandons it.
pub(super) async fn abandon(State(site): State<Shared>, path: Parts<String>) -> Result<StatusCode, Problem> {
    let version = capture(path)?;
    site.blocking(move |store| store.abandon(&version)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// POST of an order to collect garbage.
pub(super) async fn collect(
    State(site): State<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CollectReport>, Problem> {
    let options: CollectOptions = upload::to_json(&site, &headers, body, MAX_SMALL_BODY_BYTES).await?;
    Ok(Json(site.blocking(move |store| store.collect(&options)).await?))
}
