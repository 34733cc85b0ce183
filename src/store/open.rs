//! From what a person writes to a store.

use super::{Directory, Fingerprint, Http};
use crate::image::{Store, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How a store is reached.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The token that the server asks for.
    pub token: Option<String>,
    /// A PEM file with one more authority to trust.
    pub ca: Option<PathBuf>,
    /// The one certificate to trust, instead of all authorities.
    pub fingerprint: Option<Fingerprint>,
    /// Makes a store in a directory that holds none. Servers make their own.
    pub create: bool,
    /// For how long a request that fails is tried again.
    pub retry_for: Duration,
    /// Somebody set it who does not want to wait for another try.
    pub stop: Arc<AtomicBool>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            token: None,
            ca: None,
            fingerprint: None,
            create: false,
            retry_for: Duration::from_secs(180),
            stop: Arc::default(),
        }
    }
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
