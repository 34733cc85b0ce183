//! A part of a disk as a block device of its own, for programs that cannot be told an offset.
//!
//! The kernel detaches it when the last user closes it, so nothing stays behind when this program is killed.
//! Its data goes through the page cache of the disk under it, so both see the same bytes once it is flushed.

use super::{Error, ioctl};
use crate::units::{ByteRange, SectorSize};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

const CONTROL: &str = "/dev/loop-control";
/// Other programs take free loop devices at the same time: attempts until one is ours.
const ATTEMPTS: u32 = 64;
/// How often, 20 ms apart, a detached device is asked whether its last user closed it: 10 seconds.
const DETACH_POLLS: u32 = 500;

/// A loop device; detached when it is dropped.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    number: u32,
    /// `None` once detached.
    device: Option<File>,
}

impl LoopDevice {
    /// Attaches a range of a block device or plain file. `sector_size` is what the new device reports as its
    /// logical sector size.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the kernel has no loop devices or this process may not use them.
    pub fn attach(
        path: impl AsRef<Path>,
        range: ByteRange,
        read_only: bool,
        sector_size: SectorSize,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let backing = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .open(path)
            .map_err(Error::io(format!("opening {}", path.display())))?;
        Self::attach_file(&backing, &path.display().to_string(), range, read_only, sector_size)
    }

    /// Attaches a range of an open file, which has a name for messages.
    pub(super) fn attach_file(
        backing: &File,
        name: &str,
        range: ByteRange,
        read_only: bool,
        sector_size: SectorSize,
    ) -> Result<Self, Error> {
        let flags = if read_only { ioctl::LOOP_READ_ONLY } else { 0 };
        Self::attach_with(backing, name, range, flags, sector_size)
    }

    /// Attaches all of an open file of this size as a disk that can be partitioned: the kernel takes the table
    /// that is written, and the tools that tell it of partitions are not refused.
    pub(super) fn attach_disk(
        backing: &File,
        name: &str,
        size_bytes: u64,
        sector_size: SectorSize,
    ) -> Result<Self, Error> {
        let whole = ByteRange::new(0, size_bytes);
        Self::attach_with(backing, name, whole, ioctl::LOOP_PARTITIONS, sector_size)
    }

    fn attach_with(
        backing: &File,
        name: &str,
        range: ByteRange,
        flags: u32,
        sector_size: SectorSize,
    ) -> Result<Self, Error> {
        let control = control_device()?;
        let read_only = flags & ioctl::LOOP_READ_ONLY != 0;
        let flags = ioctl::LOOP_AUTOCLEAR | flags;
        for attempt in 0..ATTEMPTS {
            let number =
                ioctl::free_loop_number(&control).map_err(Error::io("asking for a free loop device"))?;
            let node = device_node(number)?;
            let device = match OpenOptions::new().read(true).write(!read_only).open(&node) {
                // Somebody else is just detaching it (ENXIO while the kernel tears it down).
                Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => {
                    sleep(Duration::from_millis(u64::from(attempt.min(20))));
                    continue;
                }
                other => other.map_err(Error::io(format!("opening {}", node.display())))?,
            };
            match ioctl::configure_loop(&device, backing, range, sector_size.into(), flags) {
                Ok(()) => {
                    let kept = only_held(&node, device)?;
                    return Ok(Self { path: node, number, device: Some(kept) });
                }
                Err(Errno::EBUSY | Errno::EAGAIN | Errno::EINTR | Errno::ENXIO) => {
                    sleep(Duration::from_millis(u64::from(attempt.min(20))));
                }
                Err(error) => {
                    let doing = format!("attaching {range} of {name} to {}", node.display());
                    return Err(Error::io(doing)(error));
                }
            }
        }
        Err(Error::unsupported(format!(
            "no loop device stayed free for {name} in {ATTEMPTS} attempts; try again"
        )))
    }

    /// The device, `/dev/loop3`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes and detaches, and returns when the device is gone.
    ///
    /// # Errors
    /// Where what was written could not be flushed, or a program keeps the device open for 10 seconds.
    pub fn detach(mut self) -> Result<(), Error> {
        self.release()
    }

    fn release(&mut self) -> Result<(), Error> {
        let Some(device) = self.device.take() else { return Ok(()) };
        let name = self.path.display();
        let flushed = device.sync_all().map_err(Error::io(format!("flushing {name}")));
        let cleared = ioctl::clear_loop(&device).map_err(Error::io(format!("detaching {name}")));
        let identity = sequence(self.number);
        drop(device);
        flushed?;
        cleared?;
        for _ in 0..DETACH_POLLS {
            // Another process may attach the same device again: then it has a new sequence number.
            if !is_attached(self.number) || sequence(self.number) != identity {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        Err(Error::refused(format!(
            "{name} cannot be detached because a program keeps it open; find it with \"fuser {name}\""
        )))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // The kernel detaches at the last close in any case; a caller who needs to know calls `detach`.
        let _ = self.release();
    }
}

/// The device, held open for reading only: a kernel without `CONFIG_BLK_DEV_WRITE_MOUNTED` mounts nothing from a device
/// that somebody has open for writing. Attaching needs a writer; detaching and flushing do not.
fn only_held(node: &Path, writer: File) -> Result<File, Error> {
    let reader = File::open(node).map_err(Error::io(format!("opening {}", node.display())))?;
    // Only now: the kernel detaches a device that nobody has open.
    drop(writer);
    Ok(reader)
}

fn is_attached(number: u32) -> bool {
    Path::new(&format!("/sys/block/loop{number}/loop/backing_file")).exists()
}

/// Kernels since 5.15 count attachments; older ones do not say.
fn sequence(number: u32) -> Option<String> {
    fs::read_to_string(format!("/sys/block/loop{number}/diskseq")).ok()
}

/// Opens the device that hands out loop devices.
pub(super) fn control_device() -> Result<File, Error> {
    let open = || OpenOptions::new().read(true).write(true).open(CONTROL);
    open()
        .or_else(|error| {
            // Linux fixes the numbers of this device: 10, 237.
            let made = mknod(CONTROL, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(10, 237));
            if error.kind() == std::io::ErrorKind::NotFound && made.is_ok() { open() } else { Err(error) }
        })
        .map_err(|error| {
            Error::unsupported(format!(
                "loop devices cannot be used ({CONTROL}: {error}); run as root with a kernel that has them"
            ))
        })
}

/// The node of a loop device, made where /dev is not kept by the kernel.
fn device_node(number: u32) -> Result<PathBuf, Error> {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    if path.exists() {
        return Ok(path);
    }
    let doing = || format!("making {}", path.display());
    let numbers = fs::read_to_string(format!("/sys/block/loop{number}/dev")).map_err(Error::io(doing()))?;
    let (major, minor) = numbers
        .trim()
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| Error::unsupported(format!("{}: sysfs gives no device number", doing())))?;
    match mknod(&path, SFlag::S_IFBLK, Mode::S_IRUSR | Mode::S_IWUSR, makedev(major, minor)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(path),
        Err(error) => Err(Error::io(doing())(error)),
    }
}
