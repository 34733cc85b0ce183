//! The reference server: the contract in its smallest honest form. `docs/protocol.md` describes it.
//!
//! It serves the store in `DATA/store` under `/store`, and a folder of boot files under `/boot`. Invariants: nothing that was sent is visible before it
//! was checked; an upload that ends early leaves nothing; no text of a request becomes a path, only names that
//! were read from it.

mod access;
mod boot;
mod chunks;
mod files;
mod images;
mod problem;
mod run;
mod upload;

pub use run::{RunningServer, ServeOptions, ServerError, TlsFiles, serve, start};

use crate::image::StoreError;
use crate::store::Directory;
use access::Token;
use boot::BootFolder;
use problem::Problem;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What every request needs.
struct Site {
    store: Directory,
    token: Option<Token>,
    boot: Option<BootFolder>,
    /// How many uploads are decoded at a time: each may take the memory of its window.
    checking: Semaphore,
    /// How long a client may be silent while it sends.
    stall: Duration,
}

type Shared = Arc<Site>;

impl Site {
    /// Does the blocking work of a request on another thread.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Directory) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let site = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&site.store)).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Problem::internal("a thread of the server ended badly")),
        }
    }
}
