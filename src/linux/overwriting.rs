//! Other content for a file in its place, so that its owner, mode, attributes and hard links stay.
//!
//! Invariant: where that fails, the file is as it was, or the error says that it is not.

use super::Error;
use crate::units::{u64_from, usize_from};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Of a longer file only what is written over is kept in memory.
const MOST_KEPT: u64 = 64 << 20;

/// Gives a file this content; it is open for reading and writing. What makes it longer is written first, so that a volume
/// without room for that keeps the file as it was: a deployed disk may hold the only copy. `doing` is for messages.
///
/// # Errors
/// [`Error::NotPutBack`] where the file does not get its old content back.
pub(super) fn overwrite(file: &File, bytes: &[u8], doing: &str) -> Result<(), Error> {
    let old_bytes = file.metadata().map_err(Error::io(doing))?.len();
    // What is behind that is only cut off, when everything else is on the disk.
    let kept =
        if old_bytes > MOST_KEPT { bytes.len().min(usize_from(old_bytes)) } else { usize_from(old_bytes) };
    let mut old = vec![0; kept];
    file.read_exact_at(&mut old, 0).map_err(Error::io(doing))?;
    let (error, is_cut) = match write_all(file, old_bytes, bytes) {
        Ok(()) => match cut(file, bytes) {
            Ok(()) => return Ok(()),
            Err(error) => (error, u64_from(bytes.len()) < old_bytes),
        },
        Err(error) => (error, false),
    };
    let is_lost = is_cut && u64_from(old.len()) < old_bytes;
    // As far as it was overwritten it can be written once more, also on a file system that writes to another place each time.
    let _ = file.write_all_at(&old, 0);
    let put_back = file.set_len(old_bytes).and_then(|()| file.sync_all());
    let fact = format!("{doing}: {error}; it does not get its old content back");
    match put_back.and_then(|()| holds(file, old_bytes, &old)) {
        Ok(true) if !is_lost => Err(Error::io(doing)(error)),
        Ok(_) => Err(Error::NotPutBack { fact }),
        Err(also) => Err(Error::NotPutBack { fact: format!("{fact}: {also}") }),
    }
}

/// Writes everything but the end of a file.
fn write_all(file: &File, old_bytes: u64, bytes: &[u8]) -> io::Result<()> {
    let (inside, behind) = bytes.split_at_checked(usize_from(old_bytes)).unwrap_or((bytes, &[]));
    if !behind.is_empty() {
        file.write_all_at(behind, old_bytes)?;
        file.sync_all()?;
    }
    file.write_all_at(inside, 0)?;
    file.sync_all()
}

fn cut(file: &File, bytes: &[u8]) -> io::Result<()> {
    if file.metadata()?.len() == u64_from(bytes.len()) {
        return Ok(());
    }
    file.set_len(u64_from(bytes.len()))?;
    file.sync_all()
}

/// Whether a file has this length, and begins so.
fn holds(file: &File, length: u64, content: &[u8]) -> io::Result<bool> {
    let mut bytes = vec![0; content.len()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(file.metadata()?.len() == length && bytes == content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::fs::{self, OpenOptions};

    /// A file in memory that the kernel keeps from something, which fails with EPERM (`F_ADD_SEALS`, fcntl(2)).
    fn sealed(content: &[u8], length: u64, seal: SealFlag) -> File {
        let file = File::from(memfd_create("file", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        file.write_all_at(content, 0).unwrap();
        file.set_len(length).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seal)).unwrap();
        file
    }

    #[test]
    fn what_fails_half_way_leaves_the_old_content() {
        for (seal, content) in [
            (SealFlag::F_SEAL_GROW, "longer than before"),
            // Everything is written over by then.
            (SealFlag::F_SEAL_SHRINK, "short"),
            (SealFlag::F_SEAL_SHRINK, ""),
            (SealFlag::F_SEAL_WRITE, "replaced"),
        ] {
            let file = sealed(b"captured", 8, seal);
            let error = overwrite(&file, content.as_bytes(), "changing /file").unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{content}: {error:?}");
            assert!(error.with_causes().starts_with("changing /file: Operation not permitted"), "{error:?}");
            assert!(holds(&file, 8, b"captured").unwrap(), "{content}");
        }
    }

    #[test]
    fn what_may_be_cut_off_and_was_not_kept_is_named() {
        let file = sealed(b"captured", MOST_KEPT + 4096, SealFlag::F_SEAL_SHRINK);
        let error = overwrite(&file, b"short", "changing /file").unwrap_err();
        assert!(matches!(error, Error::NotPutBack { .. }), "{error:?}");
        assert!(error.to_string().ends_with("it does not get its old content back"), "{error}");
        assert!(holds(&file, MOST_KEPT + 4096, b"captured").unwrap());
    }

    #[test]
    fn a_file_gets_every_length_and_one_that_cannot_be_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "captured").unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        for content in ["longer than before", "short", "", "again"] {
            overwrite(&file, content.as_bytes(), "changing /file").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        let file = File::open(&path).unwrap();
        let said = overwrite(&file, b"another", "changing /file").unwrap_err().to_string();
        assert!(said.starts_with("changing /file: "), "{said}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "again");
    }
}
