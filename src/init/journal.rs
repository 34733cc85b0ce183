//! What is said: on every console as far as it is wanted there, and in the log all of it, without secrets.

use super::parameters::LogLevel;
use super::{NOT_LOGGED, paths};
use crate::http::Blanker;
use crate::linux::clock;
use crate::linux::terminal::Consoles;
use crate::parallel::lock;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The log lives in memory: beyond this it begins anew, and the part before is kept beside it.
const MAX_LOG_BYTES: u64 = 4 << 20;
/// A line without an end is shown after so long: it is a question.
const QUESTION: Duration = Duration::from_millis(60);
const LONGEST_LINE: usize = 16 << 10;

/// The consoles and the log.
pub(super) struct Journal {
    pub(super) consoles: Consoles,
    blanker: Blanker,
    level: LogLevel,
    log: Mutex<Log>,
}

struct Log {
    file: Option<File>,
    bytes: u64,
    /// True where the last text had no end of a line.
    open_line: bool,
}

impl Journal {
    /// One that knows what to blank out.
    pub(super) fn new(consoles: Consoles, blanker: Blanker, level: LogLevel) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(paths::LOG).ok();
        Self { consoles, blanker, level, log: Mutex::new(Log { file, bytes: 0, open_line: false }) }
    }

    /// Says a line of the supervisor's own.
    pub(super) fn say(&self, text: &str) {
        self.pass(format!("remint: {text}\n").as_bytes());
    }

    /// Shows a question.
    pub(super) fn ask(&self, text: &str) {
        self.pass(format!("{NOT_LOGGED}{text}").as_bytes());
    }

    /// Shows and logs a line, or the beginning of one.
    fn pass(&self, bytes: &[u8]) {
        let text = self.blanker.blank(&String::from_utf8_lossy(bytes));
        if let Some(shown) = text.strip_prefix(NOT_LOGGED) {
            self.consoles.write(shown.as_bytes());
            return;
        }
        lock(&self.log).write(&text);
        if wanted(&text, self.level) {
            self.consoles.write(text.as_bytes());
        }
    }

    /// Passes on everything that comes through a pipe, until its last writer is gone or `ended` says so.
    pub(super) fn follow(&self, reader: io::PipeReader, ended: &Receiver<()>) {
        let pieces = pieces(reader);
        let mut held: Vec<u8> = Vec::new();
        loop {
            match pieces.recv_timeout(QUESTION) {
                Ok(piece) => {
                    held.extend(piece);
                    while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                        let rest = held.split_off(end.saturating_add(1));
                        self.pass(&held);
                        held = rest;
                    }
                    if held.len() < LONGEST_LINE {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.pass(&held);
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !held.is_empty() {
                self.pass(&held);
                held.clear();
            }
            // An orphan may keep the pipe open for ever: what it says after the end is not waited for.
            if ended.try_recv().is_ok() {
                return;
            }
        }
    }
}

/// Reads a pipe to its end, so that nobody who writes into it has to wait for a console.
fn pieces(mut reader: io::PipeReader) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    if sender.send(buffer.get(..length).unwrap_or_default().to_vec()).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    receiver
}

impl Log {
    fn write(&mut self, text: &str) {
        if self.bytes > MAX_LOG_BYTES {
            let _ = std::fs::rename(paths::LOG, format!("{}.before", paths::LOG));
            self.file = OpenOptions::new().create(true).append(true).open(paths::LOG).ok();
            self.bytes = 0;
        }
        let Some(file) = &mut self.file else { return };
        let stamp =
            if self.open_line { String::new() } else { format!("[{:8.2}] ", clock::uptime().as_secs_f64()) };
        // A log that cannot be written must not stop what it is about.
        let _ = file.write_all(format!("{stamp}{text}").as_bytes());
        self.open_line = !text.ends_with('\n');
        self.bytes = self.bytes.saturating_add(crate::units::u64_from(text.len()));
    }
}

/// True where the console shows a text. What programs say and what a person is asked is always shown.
fn wanted(text: &str, level: LogLevel) -> bool {
    let Some(own) = text.strip_prefix("remint: ") else { return true };
    let least = if own.starts_with("debug: ") {
        LogLevel::Debug
    } else if own.starts_with("error: ") || own.starts_with("end: ") {
        LogLevel::Error
    } else if own.starts_with("warning: ") {
        LogLevel::Warning
    } else {
        LogLevel::Info
    };
    level >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_about_our_own_lines_only() {
        for (text, level, shown) in [
            ("remint: debug: x\n", LogLevel::Info, false),
            ("remint: debug: x\n", LogLevel::Debug, true),
            ("remint: boot 1.0 s: x\n", LogLevel::Warning, false),
            ("remint: error: x\n", LogLevel::Error, true),
            ("remint: warning: x\n", LogLevel::Error, false),
            ("capturing d0-p1\n", LogLevel::Error, true),
        ] {
            assert_eq!(wanted(text, level), shown, "{text} {level:?}");
        }
    }
}
