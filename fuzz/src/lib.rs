//! What the fuzz targets share: inputs that are small changes of real volumes, and the promises that are kept
//! whatever the bytes are.
//!
//! libFuzzer is slow on inputs of megabytes, and a byte that it changes anywhere in them is hardly ever one that
//! a reader looks at. So an input is a list of changes to a seed: a real file system, made by its own tools and
//! held in memory. The places that the reader looked at on the untouched seed are known, and changes are made
//! there.

mod change;
mod checksum;
pub mod json;
pub mod promise;
mod seed;
mod volume;

pub use checksum::{gpt as repair_gpt, metadata as repair_metadata};
pub use seed::{Seed, Seeds};
pub use volume::{Restored, Volume};
