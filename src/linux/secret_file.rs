//! Reading a secret from a file that a person named.
//!
//! Invariants:
//!
//! - Nothing but a file or a pipe is opened: to open a device may do something (a watchdog starts, a tape rewinds), or never end.
//! - A wait for the other end of a pipe ends, by itself or where whoever listens wants that.
//! - No copy of the secret is left behind.

use super::Error;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a pipe may take to give all that comes. A program that fetches a secret from somewhere is done by then.
const WAIT: Duration = Duration::from_secs(60);
/// How often whoever listens is asked, in milliseconds.
const ASKED: u16 = 100;
const PIECE_BYTES: usize = 64 << 10;

/// Reads a file or a pipe up to its end, and no more than one byte more than `most` bytes.
///
/// # Errors
/// Where it is neither, cannot be read, gives no end in a minute, or `is_over` says so.
pub fn read_secret(
    path: &Path,
    most: usize,
    is_over: &dyn Fn() -> bool,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    read_within(path, most, WAIT, is_over)
}

fn read_within(
    path: &Path,
    most: usize,
    wait: Duration,
    is_over: &dyn Fn() -> bool,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let doing = || format!("reading {}", path.display());
    check(path, &std::fs::metadata(path).map_err(Error::io(doing()))?)?;
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let mut file = opened.map_err(Error::io(doing()))?;
    // What has the name now may be something else.
    check(path, &file.metadata().map_err(Error::io(doing()))?)?;
    let most = most.saturating_add(1);
    // Room for all of it at once: no copy of a part is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    let mut piece = Zeroizing::new(vec![0u8; PIECE_BYTES]);
    let begun = Instant::now();
    while bytes.len() < most {
        if is_over() {
            return Err(Error::refused(format!("{}: stopped", doing())));
        }
        if begun.elapsed() > wait {
            return Err(Error::refused(format!(
                "{}: its end did not come in {} seconds; name a file, or a pipe into which somebody writes",
                doing(),
                wait.as_secs()
            )));
        }
        if !is_ready(&file).map_err(Error::io(doing()))? {
            continue;
        }
        let room = PIECE_BYTES.min(most.saturating_sub(bytes.len()));
        let part = piece.get_mut(..room).unwrap_or_default();
        match file.read(part) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(Error::io(doing())(error)),
        }
    }
    Ok(bytes)
}

fn check(path: &Path, found: &Metadata) -> Result<(), Error> {
    let kind = found.file_type();
    if kind.is_file() || kind.is_fifo() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{} is neither a file nor a pipe, and nothing else is opened; name a file",
        path.display()
    )))
}

/// True where there is something to read, or an end of it; waits a moment for that. A pipe that nobody opened for writing yet has neither.
fn is_ready(file: &File) -> io::Result<bool> {
    let mut waiting = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    match poll(&mut waiting, PollTimeout::from(ASKED)) {
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::io::Write;
    use std::path::PathBuf;

    const SHORT: Duration = Duration::from_millis(300);

    fn pipe(folder: &Path) -> PathBuf {
        let path = folder.join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        path
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_waited_for_no_longer_than_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(folder.path());
        // Nobody writes.
        let said = read_within(&path, 9, SHORT, &|| false).unwrap_err().to_string();
        assert!(said.contains("its end did not come") && said.contains("name a file"), "{said}");
        let said = read_within(&path, 9, WAIT, &|| true).unwrap_err().to_string();
        assert!(said.contains("stopped"), "{said}");
        // Somebody writes late, in two parts.
        let writing = std::thread::spawn({
            let path = path.clone();
            move || {
                std::thread::sleep(SHORT);
                let mut pipe = OpenOptions::new().write(true).open(path).unwrap();
                pipe.write_all(b"correct ").unwrap();
                std::thread::sleep(SHORT);
                pipe.write_all(b"horse").unwrap();
            }
        });
        assert_eq!(read_secret(&path, 99, &|| false).unwrap().as_slice(), b"correct horse");
        writing.join().unwrap();
        // Somebody writes and does not stop.
        let end = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        (&end).write_all(b"part").unwrap();
        assert!(read_within(&path, 9, SHORT, &|| false).is_err());
    }

    #[test]
    fn no_more_is_read_than_there_may_be_and_nothing_of_what_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, vec![7; 200_000]).unwrap();
        assert_eq!(read_secret(&file, 200_000, &|| false).unwrap().len(), 200_000);
        assert_eq!(read_secret(&file, 99, &|| false).unwrap().len(), 100);
        for path in [Path::new("/dev/zero"), folder.path()] {
            let said = read_secret(path, 99, &|| false).unwrap_err().to_string();
            assert!(said.contains("neither a file nor a pipe"), "{said}");
        }
        let said = read_secret(&folder.path().join("none"), 99, &|| false).unwrap_err().with_causes();
        assert!(said.contains("No such file"), "{said}");
    }
}
