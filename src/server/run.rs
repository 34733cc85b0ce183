//! Starting and stopping the server.

use super::access::Token;
use super::artefacts::ArtefactFolder;
use super::boot::BootFolder;
use super::database::{self, Database};
use super::moment::Moment;
use super::tries::Tries;
use super::{Shared, Site, certificate, routes};
use crate::http::Fingerprint;
use crate::image::StoreError;
use crate::store::Directory;
use axum::Router;
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
/// How often jobs of silent machines and expired tokens are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// At every so many of these looks, what is old is forgotten.
const FORGET_EVERY_LOOKS: u32 = 30;

/// What a person chooses about the server.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Directory of everything that the server keeps; the store is `store` in it, made where it is missing.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder whose files are served to boot loaders under `/boot/`, without a token.
    pub boot: Option<PathBuf>,
    /// What opens the whole store. Without it, and without users, the store is open to everyone who reaches the server.
    pub token: Option<String>,
    /// True: the store is open although there are users.
    pub open_store: bool,
    /// What machines show to introduce themselves; without it, any machine may.
    pub boot_token: Option<String>,
    /// How it speaks HTTPS; without it the server speaks plain HTTP.
    pub tls: Option<TlsChoice>,
    /// How long a client may be silent while it sends.
    pub stall: Duration,
}

/// Which certificate the server shows.
#[derive(Debug, Clone)]
pub enum TlsChoice {
    /// One that the person has.
    Given(TlsFiles),
    /// One of its own, kept in the folder of the server.
    Own,
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
        Self {
            data,
            listen,
            boot: None,
            token: None,
            open_store: false,
            boot_token: None,
            tls: None,
            stall: Duration::from_secs(30),
        }
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
    fingerprint: Option<String>,
    handle: Handle<SocketAddr>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl RunningServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.fingerprint.is_some() { "https" } else { "http" }, self.address)
    }

    /// SHA-256 of its certificate, where it speaks HTTPS.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// The URL of its store.
    #[must_use]
    pub fn store_url(&self) -> String {
        format!("{}/store", self.url())
    }

    /// The URL of its boot files, where it serves some; ends in `/`.
    #[must_use]
    pub fn boot_url(&self) -> String {
        format!("{}/boot/", self.url())
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
    let files = options.tls.as_ref().map(|choice| match choice {
        TlsChoice::Given(files) => Ok(files.clone()),
        TlsChoice::Own => certificate::own(&options.data, options.listen),
    });
    let tls = files.transpose()?.as_ref().map(server_config).transpose()?;
    let (tls, fingerprint) =
        tls.map_or((None, None), |(config, print)| (Some(config), Some(print.to_string())));
    let boot = options.boot.as_ref().map(|folder| {
        BootFolder::new(folder.clone())
            .map_err(failed(format!("opening {}, the folder of boot files", folder.display())))
    });
    let boot = boot.transpose()?;
    let store = Directory::open(&options.data.join("store"), true)?;
    store.remove_stale_temporaries(STALE_UPLOAD, false)?;
    let database = Database::open(&options.data)?;
    let known = database
        .read(database::artefacts)
        .map_err(|problem| ServerError::Refused { fact: problem.into_detail() })?;
    let known = known.into_iter().map(|known| known.artefact.to_string()).collect();
    let artefacts = ArtefactFolder::open(&options.data, &known)?;
    let checkers = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let site = Arc::new(Site {
        store,
        artefacts,
        database,
        boot,
        token: options.token.as_deref().map(|token| Token::new(token.trim())),
        open_store: options.open_store,
        boot_token: options.boot_token.as_deref().map(|token| Token::new(token.trim())),
        fingerprint: fingerprint.clone(),
        tries: Tries::default(),
        multicast: super::multicast::Sessions::default(),
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
    let (router, stop) = (routes::router(Arc::clone(&site)), handle.clone());
    let thread = std::thread::spawn(move || {
        runtime.spawn(look_after_jobs(Arc::clone(&site)));
        let served = runtime.block_on(run(listener, tls, router, stop));
        site.multicast.stop();
        // Blocking work that is still under way must not hold up the end.
        runtime.shutdown_timeout(STOP_WITHIN);
        served
    });
    Ok(RunningServer { address, fingerprint, handle, thread: Some(thread) })
}

/// Ends the jobs of silent machines, and forgets what has expired, as long as the server runs.
async fn look_after_jobs(site: Shared) {
    let started = Moment::now();
    let mut looks = 0u32;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let forgets = looks.is_multiple_of(FORGET_EVERY_LOOKS);
        looks = looks.wrapping_add(1);
        // What fails now is tried again in a moment; who asks for a job meanwhile hears why.
        let _ = site
            .write(move |_, c| {
                let now = Moment::now();
                database::end_silent(c, started, now)?;
                if forgets {
                    database::forget_told(c, now)?;
                    database::forget_expired(c, now)?;
                }
                Ok(())
            })
            .await;
    }
}

async fn run(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
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

/// The settings of TLS, and the fingerprint of the certificate.
fn server_config(files: &TlsFiles) -> Result<(Arc<ServerConfig>, Fingerprint), ServerError> {
    let refused = |path: &Path, what: &str, error: &dyn std::fmt::Display| ServerError::Refused {
        fact: format!("{} holds no {what}: {error}", path.display()),
    };
    let read = |path: &Path| std::fs::read(path).map_err(failed(format!("reading {}", path.display())));
    let certificate_pem = read(&files.certificate)?;
    let chain = CertificateDer::pem_slice_iter(&certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(&files.certificate, "certificate in PEM", &error))?;
    let print =
        chain.first().map_or_else(|| Fingerprint::of(&[]), |certificate| Fingerprint::of(certificate));
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|error| refused(&files.key, "private key in PEM", &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| refused(&files.certificate, "certificate for its key", &error))?;
    Ok((Arc::new(config), print))
}
