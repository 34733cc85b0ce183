//! Who is logged in where: a file that only its owner reads.

use super::arguments::PasswordArgument;
use anyhow::{Context, Result, anyhow, bail};
use remint::linux;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The last login.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    /// URL of the server.
    pub server: String,
    /// The token; not the password.
    pub token: String,
    /// The certificate that was trusted, where it was named by its fingerprint.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// The authority that was trusted, where one was named.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

impl Kept {
    /// The login that is kept, where there is one.
    pub fn load() -> Result<Option<Self>> {
        let Ok(path) = path() else { return Ok(None) };
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .with_context(|| format!("reading the login kept in {}; log in again", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading the login kept in {}", path.display())),
        }
    }

    /// Keeps a login instead of the one before.
    pub fn save(&self) -> Result<PathBuf> {
        let path = path()?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let doing = || format!("keeping the login in {}", path.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(doing)?;
        let mut new = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .tempfile_in(folder)
            .with_context(doing)?;
        new.write_all(serde_json::to_string(self)?.as_bytes()).with_context(doing)?;
        new.persist(&path).with_context(doing)?;
        Ok(path)
    }

    /// Forgets the login that is kept.
    pub fn forget() -> Result<()> {
        let path = path()?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn path() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    let state = state.ok_or_else(|| anyhow!("HOME is not set, so there is no place to keep a login"))?;
    Ok(state.join("remint/login.json"))
}

/// A password, from its file or from the person at the terminal.
pub fn password(argument: &PasswordArgument, prompt: &str) -> Result<String> {
    if let Some(file) = &argument.password_file {
        let text = fs::read_to_string(file)
            .with_context(|| format!("reading the password in {}", file.display()))?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to be asked for a password; in a script, name a file with --password-file");
    }
    eprint!("{prompt}: ");
    let quiet = linux::without_echo().context("asking for a password")?;
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    drop(quiet);
    eprintln!();
    read.context("reading the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
