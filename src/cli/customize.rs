//! `remint customize`.

use super::arguments::DiskArguments;
use super::commands::{Usage, ask_for};
use super::layout::read_text;
use super::listener::Listener;
use super::print;
use anyhow::{Context, Result};
use clap::Args;
use remint::agent::{
    self, Artefacts, CustomizeRequest, Customized, DiskSettings, ExitCode, PreparedCustomize,
};
use remint::schema::{Destination, Profile};
use serde_json::json;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Nobody writes a larger profile.
const MOST_PROFILE_BYTES: u64 = 16 << 20;

#[derive(Debug, Args)]
pub struct Customize {
    /// The disks: all of those that belong together, as /dev/sda, serial:NUMBER or wwn:NAME
    #[arg(value_name = "DISK", required = true)]
    pub disks: Vec<Destination>,
    /// The profile (docs/profile.md): the name of the computer, the answers and boot drivers of Windows, copies and scripts count;
    /// boot entries of the firmware that name the disk follow, unless keep_boot_entries is true
    #[arg(long, value_name = "FILE")]
    pub profile: PathBuf,
    /// A file or folder that the profile copies, which knows it by its SHA-256; may be given several times
    #[arg(long = "artefact", value_name = "PATH")]
    pub artefacts: Vec<PathBuf>,
    /// Say what the steps would change, and change nothing; scripts are not run
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask: for scripts
    #[arg(long)]
    pub yes: bool,
    /// Print what was changed as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub disk: DiskArguments,
}

pub fn customize(arguments: &Customize, listener: &Listener) -> Result<ExitCode> {
    let mut artefacts = Artefacts::default();
    for path in &arguments.artefacts {
        artefacts.add(super::artefact::open(path, false)?.0);
    }
    let request = CustomizeRequest {
        disks: arguments.disks.clone(),
        disk_settings: DiskSettings { sector_size: arguments.disk.sector_size, ..DiskSettings::default() },
        choices: read_profile(&arguments.profile)?.deploy,
        artefacts,
    };
    listener.work_begins();
    let prepared = agent::prepare_customize(&request, listener)?;
    let done = if arguments.dry_run {
        prepared.rehearse(listener)?
    } else {
        if !arguments.yes {
            prepared.refuse_unwritable()?;
            confirm(&prepared)?;
        }
        prepared.carry_out(listener)?
    };
    let text = text_of(&done, arguments.dry_run);
    listener.finished(text.trim_end(), !done.problems.is_empty() || done.stopped.is_some());
    print(&if arguments.json { json_of(&done, arguments.dry_run)? } else { text });
    Ok(match (&done.stopped, done.problems.is_empty()) {
        (Some(_), _) => ExitCode::TargetChanged,
        (None, true) => ExitCode::Done,
        (None, false) => ExitCode::Problems,
    })
}

fn read_profile(file: &Path) -> Result<Profile> {
    let (name, text) = read_text(file, "profile", MOST_PROFILE_BYTES)?;
    serde_json::from_str(&text).with_context(|| format!("reading the profile {name}"))
}

fn confirm(prepared: &PreparedCustomize) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        let fact = "nobody is there to confirm that the disk may be changed; in a script, pass --yes";
        return Err(Usage::new(fact).into());
    }
    print(&prepared.explain());
    for disk in prepared.disks() {
        ask_for(&disk.path, &format!("Files on {} will be changed", disk.path))?;
    }
    Ok(())
}

fn text_of(done: &Customized, is_rehearsal: bool) -> String {
    let mut text = String::new();
    for (volume, message) in &done.changes {
        text.push_str(&format!("{volume}: {message}\n"));
    }
    for problem in &done.problems {
        text.push_str(&format!("! {problem}\n"));
    }
    if let Some(fact) = &done.stopped {
        text.push_str(&format!("! stopped: {fact}\n"));
    }
    text.push_str(match (is_rehearsal, done.changes.is_empty()) {
        (true, true) => "nothing would be changed\n",
        (true, false) => "this would be changed; nothing was\n",
        (false, true) if done.problems.is_empty() && done.stopped.is_none() => "nothing had to be changed\n",
        (false, true) => "nothing was changed\n",
        (false, false) => "changed\n",
    });
    text
}

fn json_of(done: &Customized, is_rehearsal: bool) -> Result<String> {
    let changes: Vec<_> =
        done.changes.iter().map(|(volume, message)| json!({"volume": volume, "message": message})).collect();
    let value = json!({
        "dry_run": is_rehearsal,
        "changes": changes,
        "problems": done.problems,
        "stopped": done.stopped,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}
