//! The serial line of a machine: kept in a log, read line by line, typed on.

use super::scenario::shows;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

pub struct Console {
    bytes: Receiver<Vec<u8>>,
    keyboard: ChildStdin,
    /// Everything since the last expected line, without control sequences.
    open: String,
    pub first_event: Option<Duration>,
    /// Every complete line so far.
    pub lines: Vec<String>,
    started: Instant,
}

/// Why an expected line is not there.
pub enum Missing {
    Ended,
    TimedOut,
    Forbidden(String),
}

impl Console {
    pub fn new(output: ChildStdout, keyboard: ChildStdin, log: &Path) -> Self {
        let (sender, bytes) = channel();
        let mut log = File::create(log).unwrap();
        let mut output = output;
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let _ = log.write_all(&buffer[..length]);
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            bytes,
            keyboard,
            open: String::new(),
            first_event: None,
            lines: Vec::new(),
            started: Instant::now(),
        }
    }

    /// Waits for a line that shows the pattern. Lines before it are gone through for what must never appear. A
    /// line counts once it is complete; a question without a line end counts when it is all there is.
    pub fn wait_for(&mut self, pattern: &str, never: &[&str], deadline: Instant) -> Result<String, Missing> {
        loop {
            while let Some(end) = self.open.find('\n') {
                let line: String = self.open.drain(..=end).collect();
                let line = plain(&line);
                self.judge(&line, never)?;
                if shows(&line, pattern) {
                    return Ok(line);
                }
            }
            let rest = plain(&self.open);
            if shows(&rest, pattern) {
                self.judge(&rest, never)?;
                // What is typed now is echoed behind it, and is another line.
                self.open.clear();
                return Ok(rest);
            }
            self.receive(deadline)?;
        }
    }

    /// Goes through what is still to come, until the machine ends.
    pub fn read_to_end(&mut self, never: &[&str], deadline: Instant) -> Result<(), Missing> {
        let mut result = Ok(());
        loop {
            match self.receive(deadline) {
                Ok(()) => {}
                Err(Missing::Ended) => break,
                Err(other) => return Err(other),
            }
        }
        for line in std::mem::take(&mut self.open).lines() {
            result = result.and_then(|()| self.judge(&plain(line), never));
        }
        result
    }

    /// The last lines that were shown, for whoever has to understand a failure.
    pub fn last_lines(&self, count: usize) -> String {
        let open = plain(&self.open);
        let shown: Vec<&str> = self.lines.iter().map(String::as_str).chain([open.as_str()]).collect();
        let first = shown.len().saturating_sub(count);
        shown[first..].iter().map(|line| format!("    | {line}\n")).collect()
    }

    fn judge(&mut self, line: &str, never: &[&str]) -> Result<(), Missing> {
        if self.first_event.is_none() && line.contains("remint: boot ") {
            self.first_event = Some(self.started.elapsed());
        }
        self.lines.push(line.to_owned());
        match never.iter().find(|pattern| shows(line, pattern)) {
            Some(_) => Err(Missing::Forbidden(line.to_owned())),
            None => Ok(()),
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), Missing> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.bytes.recv_timeout(left) {
            Ok(bytes) => {
                self.open.push_str(&String::from_utf8_lossy(&bytes));
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Err(Missing::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(Missing::Ended),
        }
    }

    pub fn type_text(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }
}

/// A line without the control sequences of terminals.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\u{1b}' => {
                // ESC [ parameters, and a letter that ends them; or ESC and one character.
                if characters.next_if_eq(&'[').is_some() {
                    while characters.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
                } else {
                    characters.next();
                }
            }
            // A percentage that is counted up in its place.
            '\u{8}' => drop(text.pop()),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}
