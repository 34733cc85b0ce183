//! A job's commands, or a script, one after the other, with what they need in their environment.

use super::boot::{Obstacle, Session};
use super::job::{self, Command};
use super::server::{self, chain};
use super::{paths, say, say_step};
use crate::http;
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

/// Does the work; true where all of it succeeded.
pub(super) fn run(session: &Session) -> Result<bool, Obstacle> {
    match &session.parameters.script {
        Some(script) => run_script(session, script),
        None => Ok(run_job(session)),
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
        .map_err(|error| format!("remint.script: {}", chain(&error)))?;
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
    fn an_end_is_told_in_words() {
        assert_eq!(
            ending(ExitStatus::from_raw(3 << 8)),
            "failed with exit code 3: it finished with problems"
        );
        assert_eq!(ending(ExitStatus::from_raw(9)), "was killed by signal 9");
    }
}
