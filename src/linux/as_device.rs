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
    let (done, failure) = fuse::serve(volume, |file| {
        let whole = ByteRange::new(0, volume.size_bytes());
        let shown = LoopDevice::attach_file(file, name, whole, read_only, sector)?;
        let done = work(shown.path())?;
        shown.detach()?;
        Ok(done)
    })?;
    match failure {
        Some(source) => Err(Error::Io { doing: format!("reading and writing {name}"), source }.into()),
        None => done,
    }
}
