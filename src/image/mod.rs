//! The stored format: manifest, index, used map, chunk, version. `docs/image-format.md` fixes every byte.
//!
//! Invariants: nothing stored is ever changed in place; the manifest is published last; what is read back
//! is checked against its length and hash before anyone sees it.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod chunk;
mod content;
mod cutting;
mod fetch;
mod index;
pub mod layout;
mod load;
mod manifest;
mod manifest_check;
mod sequence;
mod store;
mod used_map;
mod zeros;

pub use chunk::{ChunkError, Decoder, Encoder, ParseChunkIdError, check_frame};
pub use content::StoredContent;
pub use cutting::{Cut, Piece, chunk_bytes, cut};
pub use fetch::{FetchError, fetch_chunk};
pub use index::{ChunkSizes, Entry, Index, IndexError};
pub use manifest::{Manifest, ManifestError, StoredFile, StoredVolume, seal};
pub use sequence::{MAX_SHARED_BYTES, Place, Sequence};
pub use store::{
    ChunkId, CollectOptions, CollectReport, ImageName, ImageVersion, ParseNameError, Store, StoreError,
    VersionName,
};
pub use used_map::{UsedMap, UsedMapError};
pub use zeros::encode_zeros;

use crate::units::MIB;

/// The largest content of one chunk; casync knows no larger one.
pub const MAX_CHUNK_BYTES: u64 = 128 * MIB;
/// The largest frame of one chunk: content that does not compress, and what zstd adds to it.
pub const MAX_FRAME_BYTES: u64 = 130 * MIB;
/// The largest number of chunks of one volume.
pub const MAX_CHUNKS: u64 = 1 << 21;
/// The largest index file.
pub const MAX_INDEX_BYTES: u64 = 104 + 40 * MAX_CHUNKS;
/// The largest used map file.
pub const MAX_USED_MAP_BYTES: u64 = 256 * MIB;
/// The largest manifest.
pub const MAX_MANIFEST_BYTES: u64 = 16 * MIB;

/// The largest frame of a chunk whose content has this length.
#[must_use]
pub fn frame_limit_bytes(content_bytes: u64) -> u64 {
    // zstd adds at most 3 bytes to a block of 128 KiB, and less than 64 KiB to a frame.
    content_bytes.saturating_add(content_bytes / 1024).saturating_add(64 << 10).min(MAX_FRAME_BYTES)
}
