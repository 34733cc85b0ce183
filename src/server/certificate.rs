//! A certificate of the server's own, for those who have none: made once, kept in the folder of the server, and known to
//! machines by its fingerprint.

use super::{ServerError, TlsFiles};
use rcgen::{CertificateParams, DnType, KeyPair};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The files of the certificate, which is made where there is none.
pub(super) fn own(data: &Path, listen: SocketAddr) -> Result<TlsFiles, ServerError> {
    let folder = data.join("tls");
    let files = TlsFiles { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    let doing =
        |source| ServerError::Io { doing: format!("making a certificate in {}", folder.display()), source };
    if files.certificate.try_exists().map_err(doing)? && files.key.try_exists().map_err(doing)? {
        return Ok(files);
    }
    fs::create_dir_all(&folder).map_err(doing)?;
    let (certificate, key) = made(listen).map_err(|error| doing(io::Error::other(error)))?;
    // The key first: a certificate without its key is made anew, a key without its certificate too.
    write(&files.key, &key, 0o600)
        .and_then(|()| write(&files.certificate, &certificate, 0o644))
        .map_err(doing)?;
    Ok(files)
}

/// Certificate and key in PEM. It names the host and the addresses by which it is likely to be reached, and never
/// ends: it is trusted by its fingerprint, also by a machine whose clock is wrong.
fn made(listen: SocketAddr) -> Result<(String, String), rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Some(host) = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok())
        && !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    {
        names.push(host);
    }
    if !listen.ip().is_unspecified() {
        names.push(listen.ip().to_string());
    }
    names.sort();
    names.dedup();
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, "Remint");
    let key = KeyPair::generate()?;
    Ok((parameters.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that a crash left may have another mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}
