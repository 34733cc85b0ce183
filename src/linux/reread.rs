//! Making the kernel see a table that was written.

use super::{Error, ioctl};
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// Waits between attempts: about 6 seconds in all. Programs that look at a changed disk (udev, an automounter)
/// hold its partitions for a moment.
const WAITS_MS: [u64; 8] = [20, 50, 100, 200, 400, 800, 1600, 3000];

/// Makes the kernel read the partition table of a disk again, so that its partitions appear. Nothing is
/// done for plain files and for devices that never have partitions.
///
/// Kernels since 5.17 refuse this while another descriptor holds the disk exclusively: where a
/// [`DiskWriter`](super::DiskWriter) is still open, use its method of the same name.
///
/// # Errors
/// Where a partition stays in use; the sentence says what to do. The table on the disk is not affected.
pub fn reread_table(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    let file = File::open(path).map_err(Error::io(format!("opening {}", path.display())))?;
    let metadata = file.metadata().map_err(Error::io(format!("examining {}", path.display())))?;
    if metadata.file_type().is_block_device() { reread(&file, &path.to_string_lossy()) } else { Ok(()) }
}

/// The same through a descriptor of the device that is open already.
pub(super) fn reread(device: impl AsFd, path: &str) -> Result<(), Error> {
    let mut waits = WAITS_MS.into_iter();
    loop {
        match ioctl::reread_partitions(device.as_fd()) {
            // EINVAL and ENOTTY: a device without partitions, such as a loop device.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOTTY) => return Ok(()),
            Err(Errno::EBUSY | Errno::EINTR | Errno::EAGAIN) => match waits.next() {
                Some(milliseconds) => sleep(Duration::from_millis(milliseconds)),
                None => {
                    return Err(Error::refused(format!(
                        "the kernel still uses the old partition table of {path} because one of its \
                         partitions is in use; restart the machine, or run \"partprobe {path}\" when it is free"
                    )));
                }
            },
            Err(error) => {
                return Err(
                    Error::io(format!("making the kernel read the partition table of {path} again"))(error),
                );
            }
        }
    }
}
