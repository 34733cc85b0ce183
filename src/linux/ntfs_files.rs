//! The files of an NTFS, mounted with ntfs-3g for a moment.

use super::loop_device::LoopDevice;
use super::mounted::{MountFolder, Mounted};
use super::program;
use super::tree::Tree;
use crate::customize::CustomizeError;
use crate::machine::MachineDisk;
use crate::units::ByteRange;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// Mounting takes a moment.
const LIMIT: Duration = Duration::from_secs(120);

/// Mounts the NTFS at a place of a disk for a moment.
pub(super) fn with_place<T>(
    disk: &MachineDisk,
    place: ByteRange,
    read_only: bool,
    name: &str,
    work: impl FnOnce(&Tree) -> Result<T, CustomizeError>,
) -> Result<T, CustomizeError> {
    let device = LoopDevice::attach(&disk.path, place, read_only, disk.logical_sector_bytes)?;
    let done = with_ntfs(device.path(), read_only, name, work)?;
    device.detach()?;
    Ok(done)
}

/// Mounts an NTFS for a moment.
pub(super) fn with_ntfs<T>(
    device: &Path,
    read_only: bool,
    name: &str,
    work: impl FnOnce(&Tree) -> Result<T, CustomizeError>,
) -> Result<T, CustomizeError> {
    let options = if read_only { "ro,nodev,nosuid,noexec" } else { "nodev,nosuid,noexec" };
    while_mounted(device, options, |at| work(&Tree::open(at, name)?))
}

/// The same with its path, and options for ntfs-3g.
pub(super) fn while_mounted<T>(
    device: &Path,
    options: &str,
    work: impl FnOnce(&Path) -> Result<T, CustomizeError>,
) -> Result<T, CustomizeError> {
    let at = MountFolder::new("ntfs")?;
    let arguments = [OsStr::new("-o"), OsStr::new(options), device.as_os_str(), at.path().as_os_str()];
    let outcome = program::run("ntfs-3g", &arguments, LIMIT)?;
    if outcome.code != Some(0) {
        let (outcome, output) = (outcome.ending, outcome.output);
        return Err(CustomizeError::Failed { program: "ntfs-3g".to_owned(), outcome, output });
    }
    let mounted = Mounted::found(at.path());
    let result = work(at.path());
    mounted.unmount()?;
    result
}
