//! A job's commands, one after the other, or a script, or the server's job, with what they need in their environment.

use super::boot::{Obstacle, Session};
use super::ending::Ended;
use super::job::{self, Command};
use super::server;
use super::{paths, say, say_step};
use crate::agent::NextStep;
use crate::http;
use crate::units::with_causes;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, ExitStatus, Stdio};

const MAX_SCRIPT_BYTES: u64 = 1 << 20;
/// The commands that look at a disk of this machine.
const WITH_DISKS: [&str; 4] = ["inspect", "capture", "deploy", "plan"];

/// True where a job has nothing to do on a machine without a disk.
pub(super) fn needs_disks(commands: &[Command]) -> bool {
    let first = |command: &Command| command.arguments.first().cloned().unwrap_or_default();
    commands.iter().any(|command| WITH_DISKS.contains(&first(command).as_str()))
}

/// What programs of this session find in their environment, so that no secret is on a command line.
pub(super) fn environment(session: &Session) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOME", "/root".to_owned()),
        ("REMINT_LOG", paths::LOG.to_owned()),
    ];
    if let Some(server) = &session.server {
        variables.push(("REMINT_SERVER", server.url.clone()));
        if let Some(ca) = &server.ca {
            variables.push(("REMINT_CA_FILE", ca.to_string_lossy().into_owned()));
        }
    }
    if let Some(fingerprint) = session.parameters.fingerprint {
        variables.push(("REMINT_FINGERPRINT", fingerprint.to_string()));
    }
    if let Some(token) = &session.parameters.token {
        match paths::write_private("token", token.reveal().as_bytes()) {
            Ok(path) => variables.push(("REMINT_TOKEN_FILE", path.to_string_lossy().into_owned())),
            Err(error) => say(&format!("warning: keeping the token for commands: {error}")),
        }
    }
    variables
}

/// Does the work; `None` where there is none and a person may choose some.
pub(super) fn run(session: &Session) -> Result<Option<Ended>, Obstacle> {
    let ended = |done: bool| Some(if done { Ended::Done } else { Ended::Failed });
    match &session.parameters.script {
        Some(script) => run_script(session, script).map(ended),
        None if session.parameters.asks_the_server() => Ok(run_from_server(session)),
        None => Ok(ended(run_job(session))),
    }
}

/// Does the job that the server has for this machine, and what is to be done then by its word.
fn run_from_server(session: &Session) -> Option<Ended> {
    let completion = paths::run("completion");
    let _ = std::fs::remove_file(&completion);
    let server = session.server.as_ref().map(|server| server.url.clone()).unwrap_or_default();
    say_step(&format!("asking {server} for a job"));
    let mut program = process::Command::new("/proc/self/exe");
    program.arg0("remint").args(["run", "--server", &server, "--completion"]).arg(&completion);
    if session.is_quiet() {
        program.arg("--quiet");
    }
    let succeeded = run_program(session, program, "job");
    ended_by(succeeded, &std::fs::read_to_string(completion).unwrap_or_default())
}

/// What the server's word means; `None` for the menu.
fn ended_by(succeeded: bool, said: &str) -> Option<Ended> {
    match (NextStep::ALL.into_iter().find(|next| next.name() == said.trim()), succeeded) {
        (Some(NextStep::Menu), _) => None,
        (Some(NextStep::End(end)), true) => Some(Ended::Chosen(end.into())),
        (Some(NextStep::End(end)), false) => Some(Ended::FailedThen(end.into())),
        (None, true) => Some(Ended::Done),
        (None, false) => Some(Ended::Failed),
    }
}

fn run_job(session: &Session) -> bool {
    let mut succeeded = true;
    let mut all_succeeded = true;
    for command in &session.parameters.job {
        if !succeeded && !command.always {
            continue;
        }
        let server = session.server.as_ref().map(|server| server.url.as_str()).unwrap_or_default();
        let words: Vec<String> =
            command.arguments.iter().map(|word| job::with_server(word, server)).collect();
        say_step(&format!("job: remint {}", words.join(" ")));
        let mut program = process::Command::new("/proc/self/exe");
        program.arg0("remint").args(&words);
        if session.is_quiet() {
            program.arg("--quiet");
        }
        succeeded = run_program(session, program, "job");
        all_succeeded &= succeeded;
    }
    all_succeeded
}

fn run_script(session: &Session, script: &str) -> Result<bool, Obstacle> {
    let server = session.server.as_ref();
    let url = server.map_or(script.to_owned(), |server| job::with_server(script, &server.url));
    say_step(&format!("fetching the script {url}"));
    let ca = server.and_then(|server| server.ca.clone());
    let mut access = server::access(&session.parameters, ca, session.parameters.retry);
    // The token is for the server alone.
    if !server.is_some_and(|server| url.starts_with(&format!("{}/", server.url))) {
        access.token = None;
    }
    let bytes = http::fetch(&url, MAX_SCRIPT_BYTES, &access)
        .map_err(|error| format!("remint.script: {}", with_causes(&error)))?;
    let path = paths::write_private("script", &bytes).map_err(|error| format!("remint.script: {error}"))?;
    say_step("running the script");
    let mut program = process::Command::new("sh");
    program.arg(path);
    Ok(run_program(session, program, "script"))
}

fn run_program(session: &Session, mut program: process::Command, what: &str) -> bool {
    // Nobody is asked anything: what would ask finds no terminal.
    program.stdin(Stdio::null()).envs(environment(session)).current_dir("/");
    match program.status() {
        Ok(status) if status.success() => {
            say_step(&format!("{what} done"));
            true
        }
        Ok(status) => {
            say(&format!("error: {what} {}", ending(status)));
            false
        }
        Err(error) => {
            say(&format!("error: {what}: starting it: {error}"));
            false
        }
    }
}

/// How a program ended, with what this project's exit codes mean.
fn ending(status: ExitStatus) -> String {
    let meaning = match status.code() {
        Some(2) => ": it was called in a wrong way",
        Some(3) => ": it finished with problems",
        Some(4) => ": the target was changed and is not usable",
        _ => "",
    };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}{meaning}"),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_commands_wait_for_disks() {
        assert!(needs_disks(&job::parse("images @/store; capture x --to @/store").unwrap()));
        assert!(!needs_disks(&job::parse("images @/store").unwrap()));
    }

    #[test]
    fn the_servers_word_goes_before_the_command_lines() {
        use super::super::ending::Chosen;
        assert_eq!(ended_by(true, "local\n"), Some(Ended::Chosen(Chosen::Local)));
        assert_eq!(ended_by(false, "poweroff\n"), Some(Ended::FailedThen(Chosen::PowerOff)));
        assert_eq!(ended_by(true, "menu\n"), None);
        assert_eq!((ended_by(true, ""), ended_by(false, "")), (Some(Ended::Done), Some(Ended::Failed)));
    }

    #[test]
    fn an_end_is_told_in_words() {
        assert_eq!(
            ending(ExitStatus::from_raw(3 << 8)),
            "failed with exit code 3: it finished with problems"
        );
        assert_eq!(ending(ExitStatus::from_raw(9)), "was killed by signal 9");
    }
}
