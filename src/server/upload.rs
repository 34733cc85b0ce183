//! Taking what a client sends, bounded in size and in silence.

use super::problem::Problem;
use super::{Shared, Site};
use crate::http::Kind;
use crate::schema::ArtefactId;
use crate::store::Directory;
use crate::units::u64_from;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// So much of a body that is too long is read and thrown away: who still sends when the connection ends does not come to
/// read the answer.
const PASSED_OVER_BYTES: u64 = 16 << 20;

/// A body under way.
struct Parts {
    parts: BodyDataStream,
    stall: Duration,
    received_bytes: u64,
    /// What the client says that it will send.
    announced_bytes: u64,
    limit_bytes: u64,
}

impl Parts {
    fn of(site: &Site, headers: &HeaderMap, body: Body, limit_bytes: u64) -> Self {
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            parts: body.into_data_stream(),
            stall: site.stall,
            received_bytes: 0,
            announced_bytes: length.unwrap_or_default(),
            limit_bytes,
        }
    }

    /// The next part; `None` at the end that the client meant.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.announced_bytes > self.limit_bytes {
            return Err(self.too_large().await);
        }
        let part = timeout(self.stall, self.parts.next())
            .await
            .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, Kind::Io, "the client stopped sending"))?;
        let Some(part) = part else { return Ok(None) };
        let part = part.map_err(|error| Problem::bad_request(format!("the body ended early: {error}")))?;
        self.received_bytes = self.received_bytes.saturating_add(u64_from(part.len()));
        if self.received_bytes > self.limit_bytes {
            return Err(self.too_large().await);
        }
        Ok(Some(part))
    }

    /// The refusal, once there is somebody to read it.
    async fn too_large(&mut self) -> Problem {
        let mut passed_over: u64 = 0;
        while passed_over < PASSED_OVER_BYTES
            && let Ok(Some(Ok(part))) = timeout(self.stall, self.parts.next()).await
        {
            passed_over = passed_over.saturating_add(u64_from(part.len()));
        }
        Problem::too_large(self.limit_bytes)
    }
}

/// A body as a file that vanishes unless it is accepted.
pub(super) async fn to_file(
    site: &Shared,
    headers: &HeaderMap,
    body: Body,
    limit_bytes: u64,
) -> Result<NamedTempFile, Problem> {
    let temporary = site.blocking(Directory::temporary).await?;
    let full = |error: std::io::Error| {
        Problem::from(crate::image::StoreError::Io { doing: "storing an upload".to_owned(), source: error })
    };
    let mut file = tokio::fs::File::from_std(temporary.as_file().try_clone().map_err(full)?);
    let mut parts = Parts::of(site, headers, body, limit_bytes);
    while let Some(part) = parts.next().await? {
        file.write_all(&part).await.map_err(full)?;
    }
    file.flush().await.map_err(full)?;
    Ok(temporary)
}

/// A body as an artefact, with its hash and its size; it vanishes unless it is kept.
pub(super) async fn to_artefact(
    site: &Shared,
    headers: &HeaderMap,
    body: Body,
) -> Result<(NamedTempFile, ArtefactId, u64), Problem> {
    let (temporary, room_bytes) =
        site.work(|site| Ok((site.artefacts.temporary()?, site.artefacts.room_bytes()))).await?;
    let full = |error: std::io::Error| {
        Problem::from(crate::image::StoreError::Io { doing: "storing an artefact".to_owned(), source: error })
    };
    let mut file = tokio::fs::File::from_std(temporary.as_file().try_clone().map_err(full)?);
    let mut parts = Parts::of(site, headers, body, room_bytes);
    if parts.announced_bytes > room_bytes {
        // There is somebody to read it then.
        parts.too_large().await;
        return Err(Problem::full("there is no room for the artefact"));
    }
    let mut hash = Sha256::new();
    while let Some(part) = parts.next().await? {
        hash.update(&part);
        file.write_all(&part).await.map_err(full)?;
    }
    file.flush().await.map_err(full)?;
    if parts.received_bytes < parts.announced_bytes {
        return Err(Problem::bad_request("the body ended early"));
    }
    // Here, where nobody waits for it, and not in the transaction that keeps it.
    file.sync_all().await.map_err(full)?;
    Ok((temporary, ArtefactId(hash.finalize().into()), parts.received_bytes))
}

/// A body in memory.
pub(super) async fn to_memory(
    site: &Shared,
    headers: &HeaderMap,
    body: Body,
    limit_bytes: u64,
) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut parts = Parts::of(site, headers, body, limit_bytes);
    while let Some(part) = parts.next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// A body of JSON.
pub(super) async fn to_json<T: DeserializeOwned>(
    site: &Shared,
    headers: &HeaderMap,
    body: Body,
    limit_bytes: u64,
) -> Result<T, Problem> {
    of_json(&to_memory(site, headers, body, limit_bytes).await?)
}

/// Bytes as JSON.
pub(super) fn of_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad_request(format!("not the expected JSON: {error}")))
}

/// Waits until one more upload may be decoded, then does it.
pub(super) async fn checked<T: Send + 'static>(
    site: &Shared,
    work: impl FnOnce(&Directory) -> Result<T, crate::image::StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let Ok(_permit) = site.checking.acquire().await else {
        return Err(Problem::internal("the server is stopping"));
    };
    site.blocking(work).await
}
