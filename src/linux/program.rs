//! Running another program: no terminal, no input, a bounded part of its output, a time limit.

use super::Error;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// Where system programs are, also where a person's PATH leaves them out.
const DIRECTORIES: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of the end of its output is kept.
const OUTPUT_BYTES: usize = 16 << 10;
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
    run_in(Path::new("/"), &[], name, arguments, limit)
}

/// The same in a directory, with variables in its environment.
///
/// # Errors
/// [`Error::Unsupported`] where it is not installed.
pub(super) fn run_in<A: AsRef<OsStr>>(
    directory: &Path,
    variables: &[(&str, OsString)],
    name: &str,
    arguments: &[A],
    limit: Duration,
) -> Result<Outcome, Error> {
    let path =
        find(name).ok_or_else(|| Error::unsupported(format!("the program {name} is not installed")))?;
    let doing = || format!("running {}", path.display());
    let (reader, writer) = io::pipe().map_err(Error::io(doing()))?;
    let both = writer.try_clone().map_err(Error::io(doing()))?;
    let mut command = Command::new(&path);
    command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(both);
    // A setting of the caller's environment must not change what a tool does to a disk.
    command.env_clear().env("PATH", DIRECTORIES).env("LC_ALL", "C").current_dir(directory);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    // Its own group: a Ctrl-C that stops this program must not stop a tool in the middle of its work.
    command.process_group(0);
    let mut child = command.spawn().map_err(Error::io(doing()))?;
    // The command holds the writing end of the pipe, which has to be closed for the reader to see its end.
    drop(command);
    let output = collect(reader);
    let status = wait(&mut child, limit).map_err(Error::io(doing()))?;
    let output = output.recv_timeout(OUTPUT_WAIT).unwrap_or_default();
    let (code, ending) = match status {
        None => (None, format!("did not end within {} seconds and was stopped", limit.as_secs())),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => (Some(code), format!("ended with exit code {code}")),
            (None, signal) => (None, format!("was killed by signal {}", signal.unwrap_or_default())),
        },
    };
    Ok(Outcome { code, ending, output })
}

/// Reads everything, so that the program never waits for its output, and hands over the end of it.
fn collect(mut reader: io::PipeReader) -> Receiver<String> {
    let (sender, receiver) = channel();
    spawn(move || {
        let mut tail = VecDeque::new();
        let mut buffer = [0; 4096];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => tail.extend(buffer.iter().take(length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
            tail.drain(..tail.len().saturating_sub(OUTPUT_BYTES));
        }
        let bytes: Vec<u8> = tail.into();
        // The receiver may have stopped waiting.
        let _ = sender.send(printable(&String::from_utf8_lossy(&bytes)));
    });
    receiver
}

/// Output as one text without what only makes sense on a terminal.
fn printable(output: &str) -> String {
    let lines = output.split(['\n', '\r']).map(|line| line.replace(char::is_control, " "));
    let lines: Vec<String> =
        lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// Waits for the end; `None` where the program had to be killed.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now().checked_add(limit);
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            kill(child)?;
            return Ok(None);
        }
        sleep(pause);
        pause = pause.saturating_mul(2).min(Duration::from_millis(100));
    }
}

fn kill(child: &mut Child) -> io::Result<()> {
    if let Ok(id) = i32::try_from(child.id()) {
        // The group may be gone already; then waiting below returns at once.
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
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
