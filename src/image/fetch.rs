//! A chunk from a store, verified.

use super::{ChunkError, ChunkId, Decoder, Store, StoreError, frame_limit_bytes};
use crate::units::u64_from;

/// Why there is no verified content.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it gave is not the chunk.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// Replaces `out` by the content of a chunk, which has `expected_bytes`. Returns the bytes of its frame. A store that has
/// a better source than the one that it asked first is asked for another copy, once.
///
/// # Errors
/// What the store says, or what is wrong with the chunk; `out` is empty then.
pub fn fetch_chunk(
    store: &dyn Store,
    id: ChunkId,
    expected_bytes: u64,
    decoder: &mut Decoder,
    out: &mut Vec<u8>,
) -> Result<u64, FetchError> {
    out.clear();
    let limit_bytes = frame_limit_bytes(expected_bytes);
    let frame = store.get_chunk(id, limit_bytes)?;
    let Err(error) = decoder.decode(id, &frame, expected_bytes, out) else {
        return Ok(u64_from(frame.len()));
    };
    let Some(better) = store.get_chunk_again(id, limit_bytes)? else { return Err(error.into()) };
    decoder.decode(id, &better, expected_bytes, out)?;
    Ok(u64_from(frame.len()).saturating_add(u64_from(better.len())))
}
