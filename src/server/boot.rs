//! The folder of boot files: kernel, initramfs and the scripts that load them, for firmware that knows neither
//! tokens nor TLS.
//!
//! It is read only and holds no secret. Nothing outside the folder is served: the kernel itself refuses a path
//! that would leave it (openat2, `RESOLVE_BENEATH`), through a symbolic link or otherwise. A link that stays
//! inside is followed, so that `vmlinuz` can be one.

use super::problem::Problem;
use super::{Shared, files};
use crate::linux::confined::{self, Within};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The folder, by its path: `make pxe` puts a new one in its place while the server runs.
#[derive(Debug)]
pub(super) struct BootFolder(PathBuf);

impl BootFolder {
    /// Checks that the folder is there.
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let folder = Self(path);
        folder.open()?;
        Ok(folder)
    }

    fn open(&self) -> io::Result<OwnedFd> {
        Ok(open(&self.0, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
    }

    /// A regular file below the folder.
    fn file(&self, path: &str) -> Result<File, Problem> {
        let missing = || Problem::not_found("such a boot file");
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(missing());
        }
        let folder = self
            .open()
            .map_err(|error| Problem::internal(format!("opening the folder of boot files: {error}")))?;
        // Opening a pipe that nobody writes to must not wait.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
        let file = confined::open(&folder, path, Within::Folder, flags, Mode::empty());
        let file = file.map_err(|error| match error {
            Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::ENAMETOOLONG
            | Errno::ELOOP
            | Errno::EXDEV
            | Errno::EINVAL
            | Errno::ENXIO => missing(),
            Errno::ENOSYS => Problem::internal("boot files need Linux 5.6 or later (openat2)"),
            error => Problem::internal(format!("opening boot file {path}: {error}")),
        })?;
        let metadata = file
            .metadata()
            .map_err(|error| Problem::internal(format!("looking at boot file {path}: {error}")))?;
        if metadata.is_file() { Ok(file) } else { Err(missing()) }
    }
}

/// What a boot loader or a browser is told about a file: UEFI's HTTP boot runs `application/efi`.
fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("efi") => "application/efi",
        Some("ipxe" | "cfg" | "conf" | "txt" | "list") => "text/plain; charset=utf-8",
        None if name == "SHA256SUMS" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// GET and HEAD of a boot file.
pub(super) async fn get(
    State(site): State<Shared>,
    method: Method,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(Path(path)) = path else { return Err(Problem::not_found("such a boot file")) };
    if site.boot.is_none() {
        return Err(Problem::not_found("a folder of boot files (remint serve --boot DIR)"));
    }
    let content_type = content_type(&path);
    let opened = {
        let site = Shared::clone(&site);
        tokio::task::spawn_blocking(move || site.boot.as_ref().map(|folder| folder.file(&path)))
    };
    match opened.await {
        Ok(Some(file)) => files::answer(file?, &method, &headers, content_type),
        _ => Err(Problem::internal("a thread of the server ended badly")),
    }
}
