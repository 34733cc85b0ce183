//! From what a person writes to a store.

use super::{Directory, Http};
use crate::http::Access;
use crate::image::{Store, StoreError};
use std::path::Path;
use std::sync::Arc;

/// How a store is reached.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// How its server is reached.
    pub access: Access,
    /// Makes a store in a directory that holds none. Servers make their own.
    pub create: bool,
}

/// Opens the store at a path or an `http` or `https` URL.
pub fn open(location: &str, options: &OpenOptions) -> Result<Arc<dyn Store>, StoreError> {
    let scheme = location.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        None => Ok(Arc::new(Directory::open(Path::new(location), options.create)?)),
        Some("http" | "https") => Ok(Arc::new(Http::open(location, options)?)),
        Some(other) => Err(StoreError::Refused {
            fact: format!("Remint does not know stores of \"{other}://\"; give a path, http:// or https://"),
        }),
    }
}
