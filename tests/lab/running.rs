//! Programs that run while a test looks on: `remint` with its events, and its server.

use super::text;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use remint::progress::Event;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes that is waited for, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// `remint --events json`, running; killed when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    out: Option<thread::JoinHandle<String>>,
}

/// How it ended.
pub struct Ended {
    /// Exit code; `None` where it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Every line of standard error as the event that it is.
    pub events: Vec<Event>,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(&[], arguments)
    }

    /// With variables of its environment.
    pub fn start_with(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remint"));
        command.args(["--events", "json"]).args(arguments).env("LC_ALL", "C");
        command.envs(variables.iter().copied());
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut stdout = child.stdout.take().unwrap();
        let out = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, lines, seen: Vec::new(), out: Some(out) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads events up to one that is looked for.
    pub fn wait_for(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                panic!("{error}: what was waited for did not happen: {:#?}", self.seen)
            });
            let event = event(&line);
            self.seen.push(line);
            if wanted(&event) {
                return event;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        let out = self.out.take().unwrap().join().unwrap();
        let mut lines = std::mem::take(&mut self.seen);
        lines.extend(self.lines.iter());
        Ended { code, out, events: lines.iter().map(|line| event(line)).collect() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event(line: &str) -> Event {
    let event: Event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_ne!(event, Event::Unknown, "{line}");
    event
}

impl Ended {
    /// The sentence of its failure, which has to be the last event.
    pub fn failure(&self) -> (&str, bool) {
        match self.events.last() {
            Some(Event::Failed { message, target_changed }) => (message, *target_changed),
            other => panic!("{other:?} {:#?}", self.events),
        }
    }

    /// Bytes that were sent or fetched in all.
    pub fn transferred(&self) -> u64 {
        let bytes = |event: &Event| match event {
            Event::Advanced { transferred_bytes, .. } => Some(*transferred_bytes),
            _ => None,
        };
        self.events.iter().filter_map(bytes).max().unwrap_or(0)
    }
}

/// `remint serve`; killed without warning when dropped.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    /// Starts a server; `port` 0 is any.
    pub fn start(data: &Path, port: u16) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut child = Command::new(env!("CARGO_BIN_EXE_remint"))
                .args(["serve", "--data", text(data), "--listen", &listen])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
                return Self { url: url.to_owned(), child };
            }
            // The port of the server before may not be free yet.
            assert!(Instant::now() < deadline, "no server: {line}");
            child.wait().unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn port(&self) -> u16 {
        let behind = self.url.rsplit(':').next().unwrap();
        behind.split('/').next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `remint`, watched for the most memory that it and the programs it starts take.
pub struct Watched;

impl Watched {
    /// Runs to the end, which has to be a good one. The peaks in bytes by the names of the programs. The kernel keeps
    /// a peak, so it is enough to look at it until the end.
    pub fn run(arguments: &[&str]) -> std::collections::BTreeMap<String, u64> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remint"));
        let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut peaks = std::collections::BTreeMap::new();
        while child.try_wait().unwrap().is_none() {
            for id in std::iter::once(child.id()).chain(children(child.id())) {
                let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
                let field = |name: &str| {
                    status
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(|value| value.trim().to_owned())
                };
                let (Some(name), Some(peak)) = (field("Name:"), field("VmHWM:")) else { continue };
                let kib: u64 = peak.trim_end_matches("kB").trim().parse().unwrap();
                let known = peaks.entry(name).or_insert(0);
                *known = kib.saturating_mul(1024).max(*known);
            }
            thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
        peaks
    }
}

/// The processes that a process started.
fn children(parent: u32) -> Vec<u32> {
    let folder = format!("/proc/{parent}/task");
    let threads = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let lists =
        threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}
