//! A file for what has no room in memory.

use super::Error;
use crate::blockio::{ReadAt, WriteAt};
use crate::units::ByteRange;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A new file that grows as it is written. It has no name any more: it is gone when this program ends, however.
#[derive(Debug)]
pub struct SpillFile {
    file: File,
}

impl SpillFile {
    /// Makes the file.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is something of this name already.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let name = path.display();
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::refused(format!(
                "{name} is there already and is not overwritten; name a file that is not there yet"
            )),
            _ => Error::io(format!("making {name}"))(error),
        })?;
        fs::remove_file(path).map_err(Error::io(format!("taking away the name of {name}")))?;
        Ok(Self { file })
    }
}

impl ReadAt for SpillFile {
    /// As much as a file may have; that its file system is full is said when it is.
    fn size_bytes(&self) -> u64 {
        i64::MAX.unsigned_abs()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl WriteAt for SpillFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn write_zeros(&self, _: ByteRange) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn discard(&self, _: ByteRange) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nothing of it has to outlive the program.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockio::read_vec;

    #[test]
    fn a_spill_file_leaves_no_name_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spill");
        let spill = SpillFile::create(&path).unwrap();
        assert!(!path.exists());
        spill.write_at(8192, b"kept").unwrap();
        assert_eq!(read_vec(&spill, 8192, 4).unwrap(), b"kept");
        fs::write(&path, "mine").unwrap();
        assert!(SpillFile::create(&path).unwrap_err().to_string().contains("there already"));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
