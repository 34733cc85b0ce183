//! Replaying the journal of a file system on a volume that may be changed: an overlay, not the disk under it.
//!
//! | file system | by |
//! | --- | --- |
//! | ext3, ext4 | `e2fsck -E journal_only`, which replays and looks at nothing else |
//! | XFS, btrfs | the kernel: mounted and unmounted again |
//!
//! NTFS is not here: what `ntfsfix` does is to throw the log away, and what Windows committed is lost with it.

use super::as_device::as_device;
use super::loop_device::control_device;
use super::mounted::{kernel_has, kernel_name, while_mounted};
use super::{Error, fuse, is_root, program};
use crate::blockio::WriteAt;
use crate::schema::FileSystemKind;
use crate::units::SectorSize;
use std::path::Path;
use std::time::Duration;

/// A journal of a few GiB on a slow disk takes minutes.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// True where a replay is known for this file system.
#[must_use]
pub fn can_replay(kind: FileSystemKind) -> bool {
    use FileSystemKind::{Btrfs, Ext3, Ext4, Xfs};
    matches!(kind, Btrfs | Ext3 | Ext4 | Xfs)
}

/// Replays the journal of the file system on `volume`.
///
/// # Errors
/// [`Error::Unsupported`] where something is missing for it; other errors where it did not succeed. `volume` may
/// have been changed by then.
pub fn replay(volume: &dyn WriteAt, kind: FileSystemKind, sector: SectorSize) -> Result<(), Error> {
    if let Some(fact) = missing(kind) {
        return Err(Error::unsupported(fact));
    }
    as_device(volume, &format!("the {kind} to be replayed"), sector, false, |device| {
        match kernel_name(kind) {
            Some(_) => while_mounted(device, kind, |_| Ok::<(), Error>(())),
            None => run_e2fsck(device),
        }
    })
}

fn missing(kind: FileSystemKind) -> Option<String> {
    if !can_replay(kind) {
        return Some(format!("nothing here replays a journal of {kind}"));
    }
    if !is_root() {
        return Some(
            "replaying needs root, because the volume is shown to its tool as a loop device".to_owned(),
        );
    }
    if let Err(error) = control_device() {
        return Some(error.to_string());
    }
    if let Some(error) = fuse::missing() {
        return Some(error.to_string());
    }
    match kernel_name(kind) {
        Some(name) => {
            (!kernel_has(name)).then(|| format!("replaying {kind} needs a kernel that can mount it"))
        }
        None => program::find("e2fsck")
            .is_none()
            .then(|| format!("replaying {kind} needs the program e2fsck; install the package e2fsprogs")),
    }
}

fn run_e2fsck(device: &Path) -> Result<(), Error> {
    let arguments = ["-E".as_ref(), "journal_only".as_ref(), "-p".as_ref(), device.as_os_str()];
    let outcome = program::run("e2fsck", &arguments, LIMIT)?;
    match outcome.code {
        // 1 says that the file system was changed, as was asked.
        Some(0 | 1) => Ok(()),
        _ => Err(Error::refused(format!("e2fsck -E journal_only {}: {}", outcome.ending, outcome.output))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_to_be_grown_is_not_mounted_to_be_replayed() {
        for kind in [FileSystemKind::Jfs, FileSystemKind::Nilfs2, FileSystemKind::Ntfs, FileSystemKind::F2fs]
        {
            assert!(!can_replay(kind) && missing(kind).is_some(), "{kind}");
        }
    }
}
