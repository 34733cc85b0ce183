//! A disk of this program shown to the kernel and to other programs as a block device, for a moment.

use super::loop_device::LoopDevice;
use super::{Error, fuse};
use crate::blockio::WriteAt;
use crate::units::{ByteRange, SectorSize};
use std::path::Path;

/// Shows `volume` as a device for as long as `work` takes. `name` is for messages.
///
/// # Errors
/// [`Error::Unsupported`] where this machine cannot; what `work` meets; and what reading or writing `volume` met, which
/// says more than the program that met it.
pub(super) fn as_device<T, E: From<Error>>(
    volume: &dyn WriteAt,
    name: &str,
    sector: SectorSize,
    read_only: bool,
    work: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let (done, kept) = shown_as_device(volume, name, sector, read_only, work)?;
    kept.map_or(Ok(done), |fact| Err(Error::refused(fact).into()))
}

/// The same. Returns what came of the work, and a sentence where a program keeps the device open when everything is done.
pub(super) fn shown_as_device<T, E: From<Error>>(
    volume: &dyn WriteAt,
    name: &str,
    sector: SectorSize,
    read_only: bool,
    work: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<(T, Option<String>), E> {
    let (done, failure) = fuse::serve(volume, |file| {
        let whole = ByteRange::new(0, volume.size_bytes());
        let shown = LoopDevice::attach_file(file, name, whole, read_only, sector)?;
        let done = work(shown.path())?;
        Ok((done, kept_by(shown, name)?))
    })?;
    let doing = || format!("reading and writing {name}");
    match failure {
        // What was changed before that is not known.
        Some(source) if done.is_ok() => {
            Err(Error::NotPutBack { fact: format!("{}: {source}", doing()) }.into())
        }
        Some(source) => Err(Error::Io { doing: doing(), source }.into()),
        None => done,
    }
}

/// Lets a device go when the work with it is done. A sentence where a program keeps it open: everything is on the disk.
pub(super) fn kept_by(shown: LoopDevice, name: &str) -> Result<Option<String>, Error> {
    match shown.detach() {
        Ok(()) => Ok(None),
        Err(Error::Refused { fact }) => {
            Ok(Some(format!("{name}: everything is done and on the disk, but {fact}")))
        }
        Err(error) => Err(Error::NotPutBack { fact: error.with_causes() }),
    }
}
