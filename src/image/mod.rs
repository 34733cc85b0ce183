//! The stored format: manifest, index, used map, chunk, version. `docs/image-format.md` fixes every byte.
//!
//! Invariants: nothing stored is ever changed in place; the manifest is published last; what is read back
//! is checked against its length and hash before anyone sees it.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod store;

pub use store::{ChunkId, ImageName, ImageVersion, Store, StoreError, VersionName};
