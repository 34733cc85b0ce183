//! The consoles of this machine, all of them at once: what is said is said on each, and a person may answer on any.
//!
//! Invariants: nobody waits for a console. One that takes no output (a serial line whose other end says stop) is
//! left out until it takes some again. One that is hung up is opened anew: the kernel hangs a console up for
//! everybody when a shell on it ends.

use super::{program, sysfs};
use crate::parallel::lock;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    FlushArg, InputFlags, LocalFlags, OutputFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr,
};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a console may keep the others waiting.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a console that is hung up is left alone.
const HUNG_UP: Duration = Duration::from_millis(50);
const LONGEST_LINE: usize = 1024;

/// Every console that could be opened. The one that a person is expected at comes first.
#[derive(Debug)]
pub struct Consoles(Vec<Console>);

#[derive(Debug)]
struct Console {
    path: PathBuf,
    file: Mutex<Arc<File>>,
    stuck: AtomicBool,
}

/// What a person typed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The line, without its end.
    pub text: String,
    /// The console.
    pub console: PathBuf,
}

impl Consoles {
    /// Opens the consoles of the kernel, and `preferred`, which need not be one of them.
    #[must_use]
    pub fn open(preferred: Option<&str>) -> Self {
        let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        Self(names(&active, preferred).iter().filter_map(|name| Console::open(name)).collect())
    }

    /// Where a person is expected.
    #[must_use]
    pub fn first(&self) -> Option<&Path> {
        self.0.first().map(|console| console.path.as_path())
    }

    /// Shows bytes on all of them.
    pub fn write(&self, bytes: &[u8]) {
        for console in &self.0 {
            console.write(bytes);
        }
    }

    /// Waits until somebody presses a key on any of them. The key is not shown.
    #[must_use]
    pub fn wait_for_key(&self, limit: Duration) -> bool {
        let quiet: Vec<_> = self.0.iter().map(KeyMode::enter).collect();
        let pressed = self.wait_for_input(limit).is_some();
        for console in self.0.iter().filter(|_| pressed) {
            let _ = tcflush(console.file(), FlushArg::TCIFLUSH);
        }
        drop(quiet);
        pressed
    }

    /// Forgets what was typed before it was asked for.
    pub fn forget_input(&self) {
        for console in &self.0 {
            let _ = tcflush(console.file(), FlushArg::TCIFLUSH);
        }
    }

    /// Reads a line from any of them; `None` where nobody types for `limit`.
    #[must_use]
    pub fn read_line(&self, limit: Duration) -> Option<Answer> {
        self.0.iter().for_each(Console::take_lines);
        let console = self.wait_for_input(limit)?;
        let mut buffer = [0; LONGEST_LINE];
        // In the canonical mode one read gives one line.
        let length = console.file().as_ref().read(&mut buffer).unwrap_or(0);
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        Some(Answer { text: text.trim().to_owned(), console: console.path.clone() })
    }

    fn wait_for_input(&self, limit: Duration) -> Option<&Console> {
        let deadline = Instant::now().checked_add(limit)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let files: Vec<Arc<File>> = self.0.iter().map(Console::file).collect();
            let mut waiting: Vec<PollFd<'_>> =
                files.iter().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN)).collect();
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut waiting, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
            let mut hung_up = false;
            for (console, state) in self.0.iter().zip(&waiting) {
                let state = state.revents().unwrap_or(PollFlags::empty());
                if state.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
                    hung_up = true;
                    console.open_again();
                } else if state.contains(PollFlags::POLLIN) {
                    return Some(console);
                }
            }
            if hung_up {
                // One that stays hung up is reported at once, every time.
                std::thread::sleep(left.min(HUNG_UP));
            }
            if Instant::now() >= deadline {
                return None;
            }
        }
    }
}

impl Console {
    fn open(name: &str) -> Option<Self> {
        let path = Path::new("/dev").join(name);
        let file = open(&path).ok()?;
        tcgetattr(&file).ok()?;
        Some(Self { path, file: Mutex::new(Arc::new(file)), stuck: AtomicBool::new(false) })
    }

    fn file(&self) -> Arc<File> {
        Arc::clone(&lock(&self.file))
    }

    /// Has the kernel give whole lines and show what is typed, however a shell that was killed left it.
    fn take_lines(&self) {
        let file = self.file();
        let Ok(before) = tcgetattr(&file) else { return };
        let mut lines = before.clone();
        lines
            .local_flags
            .insert(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE | LocalFlags::ISIG);
        lines.input_flags.insert(InputFlags::ICRNL);
        lines.output_flags.insert(OutputFlags::OPOST | OutputFlags::ONLCR);
        if lines != before {
            let _ = tcsetattr(&file, SetArg::TCSANOW, &lines);
        }
    }

    /// Opens it anew; what fails is tried again at the next occasion.
    fn open_again(&self) {
        if let Ok(file) = open(&self.path) {
            *lock(&self.file) = Arc::new(file);
        }
    }

    fn write(&self, mut bytes: &[u8]) {
        let mut opened_again = false;
        let patience = if self.stuck.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        while !bytes.is_empty() {
            let file = self.file();
            match file.as_ref().write(bytes) {
                Ok(0) => return,
                Ok(length) => {
                    bytes = bytes.get(length..).unwrap_or_default();
                    self.stuck.store(false, Ordering::Relaxed);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let mut waiting = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
                    if matches!(poll(&mut waiting, timeout), Ok(0)) {
                        self.stuck.store(true, Ordering::Relaxed);
                        return;
                    }
                }
                Err(_) if !opened_again => {
                    opened_again = true;
                    self.open_again();
                }
                Err(_) => return,
            }
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path)
}

/// While it lives, keys of a console arrive one by one and unseen.
struct KeyMode {
    file: Arc<File>,
    before: Termios,
}

impl KeyMode {
    fn enter(console: &Console) -> Option<Self> {
        let file = console.file();
        let before = tcgetattr(&file).ok()?;
        let mut keys = before.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&file, SetArg::TCSANOW, &keys).ok()?;
        Some(Self { file, before })
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        // Nothing more can be done about a terminal that refuses its own settings.
        let _ = tcsetattr(&self.file, SetArg::TCSANOW, &self.before);
    }
}

/// The names to open: the preferred one, then the kernel's, of which the last is its favourite.
fn names(active: &str, preferred: Option<&str>) -> Vec<String> {
    // tty0 is whichever screen is in front; a shell needs one of its own.
    let screen = |name: &str| if name == "tty0" { "tty1".to_owned() } else { name.to_owned() };
    let kernels = active.split_whitespace().rev().map(screen);
    let mut names: Vec<String> = preferred.map(screen).into_iter().collect();
    for name in kernels {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A shell on a console.
///
/// # Errors
/// Where the console cannot be opened or there is no shell.
pub fn shell(console: &Path) -> std::io::Result<Command> {
    let Some(shell) = program::find("sh") else {
        return Err(std::io::Error::other("this boot image has no shell"));
    };
    let mut command = program(console, &shell)?;
    command.arg("-l").env("PS1", "remint:\\w# ");
    Ok(command)
}

/// A program on a console, in a session of its own, so that Ctrl-C reaches what runs in it.
///
/// # Errors
/// Where the console cannot be opened, or nothing can give it to a session.
pub fn program(console: &Path, path: &Path) -> std::io::Result<Command> {
    let open = || {
        let flags = OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(console)
    };
    let mut command = match (program::find("busybox"), program::find("setsid")) {
        (Some(busybox), _) => {
            let mut command = Command::new(busybox);
            command.arg("setsid");
            command
        }
        (None, Some(setsid)) => Command::new(setsid),
        _ => return Err(std::io::Error::other("this boot image has no setsid")),
    };
    let is_screen = console.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tty1"));
    command.arg("-c").arg(path);
    command.stdin(open()?).stdout(open()?).stderr(open()?).current_dir("/");
    command.env("TERM", if is_screen { "linux" } else { "vt102" });
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
    Ok(command)
}

/// The last lines of a text.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(count);
    lines.iter().skip(first).map(|line| format!("{line}\n")).collect()
}

/// Which of the kernel's messages reach the consoles: those below `level` do.
pub fn set_kernel_console_level(level: u8) {
    // Without it the console is noisier, which is no reason to stop.
    let _ = std::fs::write("/proc/sys/kernel/printk", format!("{level}\n"));
}

/// True where the machine was started by UEFI firmware.
#[must_use]
pub fn is_uefi() -> bool {
    !sysfs::entry_names(Path::new("/sys/firmware/efi")).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_console_is_first_and_none_is_there_twice() {
        assert_eq!(names("tty0 ttyS0\n", None), ["ttyS0", "tty1"]);
        assert_eq!(names("tty0 ttyS0", Some("tty0")), ["tty1", "ttyS0"]);
        assert_eq!(names("tty0 ttyS0", Some("ttyS1")), ["ttyS1", "ttyS0", "tty1"]);
        assert_eq!(names("", None), Vec::<String>::new());
    }

    #[test]
    fn without_a_console_nothing_is_written_and_waiting_ends() {
        let none = Consoles(Vec::new());
        none.write(b"nobody hears");
        assert!(!none.wait_for_key(Duration::from_millis(10)));
        assert_eq!(none.read_line(Duration::from_millis(10)), None);
    }
}
