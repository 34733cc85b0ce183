//! A disk of this program shown to other programs as a file, through the kernel's FUSE.
//!
//! Invariants:
//!
//! - The file has the size of the disk, and only its bytes can be changed.
//! - Nothing stays: it is mounted where no path leads, and handed on as an open descriptor. When this program ends,
//!   however, the mount is gone and the kernel ends every request with an error.
//! - A program that dies, hangs or keeps the file open cannot keep this one: serving ends with the work, at the
//!   latest after [`LAST_REQUESTS`].
//!
//! The protocol is spoken by our own code: the libraries for it serve what lives as long as the program, and end
//! when the last user lets go of the file.

mod protocol;

use super::{Error, ioctl, program};
use crate::blockio::WriteAt;
use crate::units::{ByteRange, u64_from, usize_from};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use protocol::{FILE, NAME, Operation, ROOT, Reply, Request};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const DEVICE: &str = "/dev/fuse";
/// How often the end of the work is looked for while nobody asks for anything.
const POLL: u16 = 100;
/// How long requests are answered after the work is done: the kernel gives back what it holds.
const LAST_REQUESTS: Duration = Duration::from_secs(10);
/// Loading a module takes a moment.
const LOADING: Duration = Duration::from_secs(60);

/// Shows `disk` as a file while `work` runs, which is given the file, open for reading and writing.
///
/// Returns what `work` returned, and the first error that reading or writing the disk met: programs that use the
/// file only say that there was one.
///
/// # Errors
/// [`Error::Unsupported`] where the kernel has no FUSE or this process may not mount.
pub fn serve<T>(disk: &dyn WriteAt, work: impl FnOnce(&File) -> T) -> Result<(T, Option<io::Error>), Error> {
    // Where this process is killed, the connection has to end before the devices that stand on the file are closed.
    let connection = ioctl::to_high_descriptor(open_device()?);
    let root = ioctl::mount_fuse(&connection).map_err(|error| match error {
        Errno::ENOSYS | Errno::EINVAL => Error::unsupported(format!(
            "this kernel does not mount a file of our own ({error}); use Linux 5.5 or later"
        )),
        error => Error::io("mounting a file of our own with FUSE")(error),
    })?;
    let done = AtomicBool::new(false);
    let failure = Mutex::new(None);
    let result = thread::scope(|scope| {
        // Ends the service whichever way this scope is left.
        let _end = RaiseOnDrop(&done);
        let server = Server { disk, done: &done, failure: &failure };
        // The thread owns the connection: where it ends, requests end.
        scope.spawn(move || server.run(&connection));
        let file = openat(&root, NAME, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
        drop(root);
        let file = File::from(file.map_err(Error::io("opening a file of our own"))?);
        Ok(work(&file))
    })?;
    Ok((result, failure.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// What stands in the way of serving anything; `None` where nothing does.
pub(super) fn missing() -> Option<Error> {
    open_device().err()
}

/// Opens the device of FUSE, after loading the kernel's module where there is one.
fn open_device() -> Result<File, Error> {
    let open = || OpenOptions::new().read(true).write(true).open(DEVICE);
    let opened = open().or_else(|_| {
        // Linux fixes the numbers of this device: 10, 229.
        let _ = program::run("modprobe", &["-q", "fuse"], LOADING);
        let _ = mknod(DEVICE, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(10, 229));
        open()
    });
    opened.map_err(|error| {
        Error::unsupported(format!(
            "FUSE cannot be used ({DEVICE}: {error}); run as root with a kernel that has it"
        ))
    })
}

struct RaiseOnDrop<'a>(&'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Answers the kernel.
struct Server<'a> {
    disk: &'a dyn WriteAt,
    done: &'a AtomicBool,
    failure: &'a Mutex<Option<io::Error>>,
}

impl Server<'_> {
    /// Answers until the kernel lets go of the file, or for a while after the work is done.
    fn run(&self, connection: &File) {
        // What is written here is on the way of pages that the kernel wants to be rid of: this thread must not wait
        // for such pages itself.
        ioctl::become_io_flusher();
        let mut buffer = vec![0; protocol::REQUEST_BYTES];
        let mut reply = Reply::default();
        let mut end = None;
        loop {
            if self.done.load(Ordering::Acquire) {
                let end = *end.get_or_insert_with(|| Instant::now().checked_add(LAST_REQUESTS));
                if end.is_none_or(|end| Instant::now() >= end) {
                    return;
                }
            }
            let mut waiting = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waiting, PollTimeout::from(POLL)) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(_) => return,
            }
            let mut reader = connection;
            match reader.read(&mut buffer) {
                Ok(length) => {
                    let request = buffer.get(..length).unwrap_or_default();
                    if self.answer(request, &mut reply) {
                        // ENOENT: whoever asked was interrupted and does not wait any more.
                        let mut writer = connection;
                        let _ = writer.write_all(reply.message());
                    }
                }
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    // ENOENT: the request was taken back before it was read.
                    Some(Errno::EINTR | Errno::EAGAIN | Errno::ENOENT) => {}
                    // ENODEV: nobody has the file any more.
                    _ => return,
                },
            }
        }
    }

    /// Makes the reply to a request; false where there is none.
    fn answer(&self, bytes: &[u8], reply: &mut Reply) -> bool {
        let Ok(request) = Request::parse(bytes) else { return false };
        if request.operation == Operation::Silent {
            return false;
        }
        let unique = request.unique;
        if let Err(errno) = self.carry_out(&request, reply) {
            reply.start(unique, errno);
        }
        true
    }

    fn carry_out(&self, request: &Request<'_>, reply: &mut Reply) -> Result<(), i32> {
        let size_bytes = self.disk.size_bytes();
        let started = reply.start(request.unique, 0);
        match request.operation {
            Operation::Init { major: 7.., max_readahead, flags } => {
                started.init(max_readahead, flags);
            }
            Operation::Init { .. } => return Err(libc::EPROTO),
            Operation::Lookup { name } if request.node == ROOT && name == NAME.as_bytes() => {
                started.entry(size_bytes);
            }
            Operation::Lookup { .. } => return Err(libc::ENOENT),
            Operation::SetAttributes { size_bytes: Some(wanted) } if wanted != size_bytes => {
                return Err(libc::EPERM);
            }
            Operation::GetAttributes | Operation::SetAttributes { .. } => {
                started.attributes(request.node, size_bytes);
            }
            Operation::Open if request.node == FILE => {
                started.opened();
            }
            Operation::Read { offset, length } => self.read(offset, length, started)?,
            Operation::Write { offset, bytes } => {
                self.disk.write_at(offset, bytes).map_err(|error| self.failed(error))?;
                started.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            }
            Operation::Zero { range: Some(range) } => {
                self.disk.write_zeros(range).map_err(|error| self.failed(error))?;
            }
            Operation::Zero { range: None } => return Err(libc::EOPNOTSUPP),
            Operation::Synchronise => self.disk.flush().map_err(|error| self.failed(error))?,
            Operation::Acknowledge => {}
            Operation::Open | Operation::Unknown | Operation::Silent => return Err(libc::ENOSYS),
        }
        Ok(())
    }

    /// Reads as far as the disk reaches.
    fn read(&self, offset: u64, length: u32, reply: &mut Reply) -> Result<(), i32> {
        let left = self.disk.size_bytes().saturating_sub(offset);
        let length = u64::from(length).min(left).min(u64_from(protocol::REQUEST_BYTES));
        let range = ByteRange::at(offset, length).unwrap_or_default();
        let room = reply.room(usize_from(range.length()));
        self.disk.read_at(range.start(), room).map_err(|error| self.failed(error))
    }

    /// Remembers the first error, and what the kernel is told.
    fn failed(&self, error: io::Error) -> i32 {
        let errno = match error.kind() {
            io::ErrorKind::StorageFull => libc::ENOSPC,
            _ => error.raw_os_error().unwrap_or(libc::EIO),
        };
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        errno
    }
}
