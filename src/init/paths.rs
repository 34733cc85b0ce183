//! Where the boot image keeps what it knows while it runs.

use std::path::{Path, PathBuf};

/// The log of everything that was said, without secrets.
pub(super) const LOG: &str = "/run/remint/log";

/// A file of this run.
pub(super) fn run(name: &str) -> PathBuf {
    PathBuf::from("/run/remint").join(name)
}

/// A file of this run that may hold secrets.
pub(super) fn private(name: &str) -> PathBuf {
    run("private").join(name)
}

/// Writes a file that only root reads.
pub(super) fn write_private(name: &str, bytes: &[u8]) -> std::io::Result<PathBuf> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(run("private"))?;
    let path = private(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&path)?.write_all(bytes)?;
    Ok(path)
}

/// Writes a file whole or not at all: somebody is waiting for it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, bytes)?;
    std::fs::rename(unfinished, path)
}
