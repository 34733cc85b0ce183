//! Chunks: asked for, fetched, stored.

use super::problem::Problem;
use super::{Shared, files, upload};
use crate::image::{ChunkId, MAX_FRAME_BYTES, layout};
use crate::store::wire;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;

type ChunkPath = Result<Path<(String, String)>, PathRejection>;

/// The chunk that a path names: `ab12/ab12...ef.cacnk` and nothing else.
fn chunk(path: ChunkPath) -> Result<ChunkId, Problem> {
    let found = path.ok().and_then(|Path((directory, file))| {
        let id = layout::chunk_of_file_name(&file)?;
        (layout::chunk_file(id) == format!("{}/{directory}/{file}", layout::CHUNKS)).then_some(id)
    });
    found.ok_or_else(|| Problem::not_found("such a chunk"))
}

/// GET and HEAD of a chunk. HEAD keeps it from the collector.
pub(super) async fn get(
    State(site): State<Shared>,
    method: Method,
    path: ChunkPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = chunk(path)?;
    if method == Method::HEAD && !site.blocking(move |store| store.have_chunk(id)).await? {
        return Err(Problem::not_found(&format!("chunk {id}")));
    }
    let file = site.blocking(move |store| store.open_chunk(id)).await?;
    files::answer(file, &method, &headers, "application/zstd")
}

/// PUT of a chunk: visible once its content is known to be what its name says.
pub(super) async fn put(
    State(site): State<Shared>,
    path: ChunkPath,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let id = chunk(path)?;
    let file = upload::to_file(&site, &headers, body, MAX_FRAME_BYTES).await?;
    upload::checked(&site, move |store| store.accept_chunk(id, file)).await?;
    Ok(StatusCode::CREATED)
}

/// POST of a question: which chunks are stored? Those that are stay until the capture ends.
pub(super) async fn present(
    State(site): State<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<wire::PresentAnswer>, Problem> {
    let question: wire::PresentQuestion = upload::to_json(&site, &headers, body, 1 << 20).await?;
    if question.chunks.len() > wire::MAX_QUESTION {
        return Err(Problem::bad_request(format!("more than {} chunks in one question", wire::MAX_QUESTION)));
    }
    let ids: Result<Vec<ChunkId>, _> = question.chunks.iter().map(|text| text.parse()).collect();
    let ids = ids.map_err(|error| Problem::bad_request(format!("{error}")))?;
    let present =
        site.blocking(move |store| ids.into_iter().map(|id| store.have_chunk(id)).collect()).await?;
    Ok(Json(wire::PresentAnswer { present }))
}
