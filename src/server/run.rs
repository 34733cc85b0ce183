//! Starting and stopping the server.

use super::access::{self, Token};
use super::boot::{self, BootFolder};
use super::{Shared, Site, chunks, images, problem};
use crate::image::StoreError;
use crate::store::Directory;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Uploads that nobody wrote to for this long belong to a server that was killed.
const STALE_UPLOAD: Duration = Duration::from_secs(3600);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What a person chooses about the server.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Directory of everything that the server keeps; the store is `store` in it, made where it is missing.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder whose files are served to boot loaders under `/boot/`, without a token.
    pub boot: Option<PathBuf>,
    /// What clients have to say; without it the store is open to everyone who reaches the server.
    pub token: Option<String>,
    /// Certificate and key; without them the server speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// How long a client may be silent while it sends.
    pub stall: Duration,
}

/// PEM files for TLS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl ServeOptions {
    /// Plain HTTP without a token.
    #[must_use]
    pub fn new(data: PathBuf, listen: SocketAddr) -> Self {
        Self { data, listen, boot: None, token: None, tls: None, stall: Duration::from_secs(30) }
    }
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The machine does not let it.
    #[error("{doing}")]
    Io {
        /// What was being done: `listening on 0.0.0.0:8080`.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// What the person chose cannot be used.
    #[error("{fact}")]
    Refused {
        /// Why, and the way out.
        fact: String,
    },
    /// Its store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn failed(doing: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
    let doing = doing.into();
    move |source| ServerError::Io { doing, source }
}

/// A server that runs on threads of its own; dropping it stops it.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    tls: bool,
    handle: Handle<SocketAddr>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl RunningServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of its store.
    #[must_use]
    pub fn store_url(&self) -> String {
        format!("{}://{}/store", if self.tls { "https" } else { "http" }, self.address)
    }

    /// The URL of its boot files, where it serves some; ends in `/`.
    #[must_use]
    pub fn boot_url(&self) -> String {
        format!("{}://{}/boot/", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Stops it: no new connections, and the requests under way have a few seconds to end.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.handle.graceful_shutdown(Some(STOP_WITHIN));
        self.join()
    }

    /// Waits until it ends.
    pub fn wait(mut self) -> Result<(), ServerError> {
        self.join()
    }

    /// What stops it from another thread or a signal.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + use<> {
        let handle = self.handle.clone();
        move || handle.graceful_shutdown(Some(STOP_WITHIN))
    }

    fn join(&mut self) -> Result<(), ServerError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let ended =
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the server ended badly")));
        ended.map_err(failed(format!("serving on {}", self.address)))
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.handle.shutdown();
        let _ = self.join();
    }
}

/// Serves until the server ends; `ready` learns of it once it listens.
pub fn serve(options: &ServeOptions, ready: impl FnOnce(&RunningServer)) -> Result<(), ServerError> {
    let server = start(options)?;
    ready(&server);
    server.wait()
}

/// Starts a server; when this returns it listens.
pub fn start(options: &ServeOptions) -> Result<RunningServer, ServerError> {
    let tls = options.tls.as_ref().map(server_config).transpose()?;
    let boot = options.boot.as_ref().map(|folder| {
        BootFolder::new(folder.clone())
            .map_err(failed(format!("opening {}, the folder of boot files", folder.display())))
    });
    let boot = boot.transpose()?;
    let store = Directory::open(&options.data.join("store"), true)?;
    store.remove_stale_temporaries(STALE_UPLOAD, false)?;
    let checkers = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let site = Arc::new(Site {
        store,
        boot,
        token: options.token.as_deref().map(|token| Token::new(token.trim())),
        checking: Semaphore::new(checkers),
        stall: options.stall,
    });
    let listening = || failed(format!("listening on {}", options.listen));
    let listener = TcpListener::bind(options.listen).map_err(listening())?;
    listener.set_nonblocking(true).map_err(listening())?;
    let address = listener.local_addr().map_err(listening())?;
    let handle = Handle::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(checkers.min(8))
        .enable_all()
        .build()
        .map_err(failed("starting the threads of the server"))?;
    let (router, stop) = (router(site), handle.clone());
    let is_tls = tls.is_some();
    let thread = std::thread::spawn(move || {
        let served = runtime.block_on(run(listener, tls, router, stop));
        // Blocking work that is still under way must not hold up the end.
        runtime.shutdown_timeout(STOP_WITHIN);
        served
    });
    Ok(RunningServer { address, tls: is_tls, handle, thread: Some(thread) })
}

async fn run(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let service = router.into_make_service();
    match tls {
        Some(config) => {
            let mut server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(config))?
                .handle(handle)
                .http1_only();
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            server.serve(service).await
        }
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle).http1_only();
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            server.serve(service).await
        }
    }
}

/// Every path of the server.
fn router(site: Shared) -> Router {
    let store = Router::new()
        .route("/remint-store.json", get(images::store_file))
        .route("/chunks/present", post(chunks::present))
        .route("/chunks/{directory}/{file}", get(chunks::get).put(chunks::put))
        .route("/images/", get(images::list))
        .route("/images/{image}/", get(images::versions))
        .route("/images/{image}/{version}", delete(images::delete))
        .route("/images/{image}/{version}/{file}", get(images::get_file).put(images::put_file))
        .route("/captures/{capture}", put(images::begin_capture).delete(images::abandon))
        .route("/collect", post(images::collect))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn_with_state(Arc::clone(&site), access::require_token));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/boot/{*path}", get(boot::get))
        .nest("/store", store)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        // Each handler has a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(site)
}

fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, ServerError> {
    let refused = |path: &Path, what: &str, error: &dyn std::fmt::Display| ServerError::Refused {
        fact: format!("{} holds no {what}: {error}", path.display()),
    };
    let read = |path: &Path| std::fs::read(path).map_err(failed(format!("reading {}", path.display())));
    let certificate_pem = read(&files.certificate)?;
    let chain = CertificateDer::pem_slice_iter(&certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(&files.certificate, "certificate in PEM", &error))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|error| refused(&files.key, "private key in PEM", &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| refused(&files.certificate, "certificate for its key", &error))?;
    Ok(Arc::new(config))
}
