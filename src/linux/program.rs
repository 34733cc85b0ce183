//! Running another program: no terminal, no input, a bounded part of its output, a time limit.

use super::Error;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// Where system programs are, also where a person's PATH leaves them out.
const DIRECTORIES: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of the end of its output is kept.
const OUTPUT_BYTES: usize = 16 << 10;
/// How much of a line is told.
const MOST_LINE_BYTES: usize = 1 << 10;
/// How much is read from a program ahead of what is taken.
const CHUNKS_AHEAD: usize = 16;
/// How long output is awaited after the program itself has ended.
const OUTPUT_WAIT: Duration = Duration::from_secs(5);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Its exit code; `None` where it was killed.
    pub(super) code: Option<i32>,
    /// How it ended, for a sentence: `ended with exit code 1`.
    pub(super) ending: String,
    /// The end of what it printed on both outputs, in the order printed.
    pub(super) output: String,
}

/// Where a program is, if it is installed.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    DIRECTORIES.split(':').map(|directory| Path::new(directory).join(name)).find(|path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

/// Runs a program to its end, or for `limit`: then it is killed, with the programs that it started.
///
/// # Errors
/// [`Error::Unsupported`] where it is not installed.
pub(super) fn run<A: AsRef<OsStr>>(name: &str, arguments: &[A], limit: Duration) -> Result<Outcome, Error> {
    run_watched(Path::new("/"), &[], name, arguments, &Watch::for_at_most(limit))
}

/// How a program is watched while it runs.
pub(super) struct Watch<'a> {
    /// How long it may take.
    pub(super) limit: Duration,
    /// Takes each line of its output as it is printed.
    pub(super) each_line: Option<&'a dyn Fn(&str)>,
    /// True once it is to be stopped.
    pub(super) cancelled: Option<&'a dyn Fn() -> bool>,
    /// True: what it started and left in its group is killed when it ends by itself, too.
    pub(super) kills_leftovers: bool,
}

impl Watch<'_> {
    /// For so long, and nothing else.
    pub(super) const fn for_at_most(limit: Duration) -> Self {
        Self { limit, each_line: None, cancelled: None, kills_leftovers: false }
    }
}

/// How it came to an end.
enum End {
    Itself(ExitStatus),
    Late,
    Cancelled,
}

/// The same in a directory, with variables in its environment, and watched.
///
/// # Errors
/// [`Error::Unsupported`] where it is not installed.
pub(super) fn run_watched<A: AsRef<OsStr>>(
    directory: &Path,
    variables: &[(&str, OsString)],
    name: &str,
    arguments: &[A],
    watch: &Watch<'_>,
) -> Result<Outcome, Error> {
    let path =
        find(name).ok_or_else(|| Error::unsupported(format!("the program {name} is not installed")))?;
    run_by(&path, arguments, variables, watch, |mut command| command.current_dir(directory).spawn())
}

/// The same for a program at a path, which `start` starts, perhaps with another root than ours.
pub(super) fn run_by<A: AsRef<OsStr>>(
    path: &Path,
    arguments: &[A],
    variables: &[(&str, OsString)],
    watch: &Watch<'_>,
    start: impl FnOnce(Command) -> io::Result<Child>,
) -> Result<Outcome, Error> {
    let doing = || format!("running {}", path.display());
    let (reader, writer) = io::pipe().map_err(Error::io(doing()))?;
    let both = writer.try_clone().map_err(Error::io(doing()))?;
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(both);
    // A setting of the caller's environment must not change what a tool does to a disk.
    command.env_clear().env("PATH", DIRECTORIES).env("LC_ALL", "C");
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    // Its own group: a Ctrl-C that stops this program must not stop a tool in the middle of its work.
    command.process_group(0);
    // The command holds the writing end of the pipe, which has to be closed for the reader to see its end: `start` drops it.
    let mut child = start(command).map_err(Error::io(doing()))?;
    let mut output = Output::new(reader, watch.each_line);
    let end = wait(&mut child, watch, &mut output).map_err(Error::io(doing()))?;
    let (code, ending) = match end {
        End::Late => (None, format!("did not end within {} seconds and was stopped", watch.limit.as_secs())),
        End::Cancelled => (None, "was stopped on request".to_owned()),
        End::Itself(status) => match (status.code(), status.signal()) {
            (Some(code), _) => (Some(code), format!("ended with exit code {code}")),
            (None, signal) => (None, format!("was killed by signal {}", signal.unwrap_or_default())),
        },
    };
    Ok(Outcome { code, ending, output: output.finish() })
}

/// What a program prints, while it runs.
struct Output<'a> {
    chunks: Receiver<Vec<u8>>,
    each_line: Option<&'a dyn Fn(&str)>,
    /// The end of everything.
    tail: VecDeque<u8>,
    /// The beginning of a line that is not at its end.
    line: Vec<u8>,
}

impl<'a> Output<'a> {
    fn new(mut reader: io::PipeReader, each_line: Option<&'a dyn Fn(&str)>) -> Self {
        let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
        spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => {
                        let chunk = buffer.iter().take(length).copied().collect();
                        // Where nobody listens any more, what goes on running must still not fail at printing.
                        let _ = sender.send(chunk);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        });
        Self { chunks, each_line, tail: VecDeque::new(), line: Vec::new() }
    }

    /// Takes what is printed during a pause. False where nothing will be any more.
    fn take_for(&mut self, pause: Duration) -> bool {
        let begun = Instant::now();
        loop {
            match self.chunks.recv_timeout(pause.saturating_sub(begun.elapsed())) {
                Ok(chunk) => self.push(&chunk),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
            if begun.elapsed() >= pause {
                return true;
            }
        }
    }

    fn push(&mut self, chunk: &[u8]) {
        self.tail.extend(chunk);
        self.tail.drain(..self.tail.len().saturating_sub(OUTPUT_BYTES));
        if self.each_line.is_some() {
            for byte in chunk {
                match byte {
                    b'\n' | b'\r' => self.tell(),
                    byte if self.line.len() < MOST_LINE_BYTES => self.line.push(*byte),
                    _ => {}
                }
            }
        }
    }

    fn tell(&mut self) {
        let line = printable(&String::from_utf8_lossy(&std::mem::take(&mut self.line)));
        if let Some(each_line) = self.each_line
            && !line.is_empty()
        {
            each_line(&line);
        }
    }

    /// Waits for what is on its way, and hands over the end of everything.
    fn finish(mut self) -> String {
        self.take_for(OUTPUT_WAIT);
        self.tell();
        let bytes: Vec<u8> = self.tail.into();
        printable(&String::from_utf8_lossy(&bytes))
    }
}

/// Output as one text without what only makes sense on a terminal.
fn printable(output: &str) -> String {
    let lines = output.split(['\n', '\r']).map(|line| line.replace(char::is_control, " "));
    let lines: Vec<String> =
        lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// Waits for the end, and kills a program that is late or is to be stopped.
fn wait(child: &mut Child, watch: &Watch<'_>, output: &mut Output<'_>) -> io::Result<End> {
    let deadline = Instant::now().checked_add(watch.limit);
    let mut pause = Duration::from_millis(1);
    loop {
        if has_ended(child)? {
            if watch.kills_leftovers {
                kill_group(child);
            }
            return child.wait().map(End::Itself);
        }
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if late || watch.cancelled.is_some_and(|cancelled| cancelled()) {
            kill(child)?;
            return Ok(if late { End::Late } else { End::Cancelled });
        }
        let begun = Instant::now();
        if !output.take_for(pause) {
            sleep(pause.saturating_sub(begun.elapsed()));
        }
        pause = pause.saturating_mul(2).min(Duration::from_millis(100));
    }
}

/// True where a program has ended. It is not reaped by that, so its number still is its own and its group's.
fn has_ended(child: &Child) -> io::Result<bool> {
    let Ok(id) = i32::try_from(child.id()) else { return Ok(false) };
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(Pid::from_raw(id)), flags) {
        Ok(status) => Ok(status != WaitStatus::StillAlive),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn kill_group(child: &Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        // It may be gone already.
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
}

fn kill(child: &mut Child) -> io::Result<()> {
    kill_group(child);
    child.kill()?;
    // A process that is stuck in the kernel cannot be killed: it is not waited for longer.
    for _ in 0..100 {
        if child.try_wait()?.is_some() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Outcome {
        run("sh", &["-c", script], limit).unwrap()
    }

    #[test]
    fn a_program_tells_its_exit_code_and_both_outputs() {
        let outcome = shell("echo one; echo two >&2; cat; exit 3", Duration::from_secs(20));
        assert_eq!(outcome.code, Some(3));
        assert_eq!(outcome.output, "one\ntwo");
        assert_eq!(outcome.ending, "ended with exit code 3");
    }

    #[test]
    fn only_the_end_of_much_output_is_kept() {
        let outcome = shell("yes | head -c 1000000; echo end", Duration::from_secs(20));
        assert!(outcome.output.len() <= OUTPUT_BYTES);
        assert!(outcome.output.ends_with("\nend"));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        let start = Instant::now();
        let outcome = shell("echo begun; sleep 60 & sleep 60", Duration::from_millis(300));
        assert!(start.elapsed() < Duration::from_secs(4));
        assert_eq!((outcome.code, outcome.output.as_str()), (None, "begun"));
    }

    #[test]
    fn a_program_that_is_not_installed_is_named() {
        let error = run("no-such-program", &["x"], Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "the program no-such-program is not installed");
        assert!(find("sh").is_some());
    }
}
