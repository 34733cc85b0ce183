//! The reference server: the contract in its smallest honest form. `docs/protocol.md` describes it.
//!
//! It serves the store in `DATA/store` under `/store`, a folder of boot files under `/boot`, and machines, images, jobs and
//! users in `DATA/remint.sqlite` under `/api/v1`. Invariants: nothing that was sent is visible before it was checked; an
//! upload that ends early leaves nothing; no text of a request becomes a path, only names that were read from it; a
//! change of what the server knows is one transaction.

mod access;
mod administration;
mod artefacts;
mod boot;
mod certificate;
mod chunks;
mod console;
mod database;
mod files;
mod first_user;
mod images;
mod login;
mod model_match;
mod moment;
mod multicast;
mod network_boot;
mod problem;
mod request;
mod routes;
mod run;
mod secret;
mod tries;
mod upload;
mod work;

pub use first_user::make_administrator;
pub use run::{RunningServer, ServeOptions, ServerError, TlsChoice, TlsFiles, serve, start};

use crate::image::StoreError;
use crate::store::Directory;
use access::Token;
use artefacts::ArtefactFolder;
use boot::BootFolder;
use database::Database;
use problem::Problem;
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tries::Tries;

/// What every request needs.
struct Site {
    store: Directory,
    artefacts: ArtefactFolder,
    database: Database,
    /// What opens the whole store.
    token: Option<Token>,
    /// True: the store is open to everyone even where there are users.
    open_store: bool,
    /// What a machine shows to introduce itself.
    boot_token: Option<Token>,
    /// Of the certificate, where the server speaks TLS.
    fingerprint: Option<String>,
    tries: Tries,
    multicast: multicast::Sessions,
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
        self.work(move |site| Ok(work(&site.store)?)).await
    }

    /// The same, for work that needs more than the store.
    async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let site = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&site)).await;
        done.unwrap_or_else(|_| Err(Problem::internal("a thread of the server ended badly")))
    }

    /// One transaction.
    async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &Connection) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.work(move |site| site.database.write(|c| work(site, c))).await
    }

    /// One look at what the database holds.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &Connection) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.work(move |site| site.database.read(|c| work(site, c))).await
    }
}
