//! A person's scripts beside a deploy. They come from a profile or the command line, never from an image.
//!
//! Invariants: one at a time, in their order; what a script prints, and how it ends, is told; none runs when somebody has asked
//! to stop; none keeps a deploy from an end for longer than its limit.

use super::outcome::ExitCode;
use crate::customize::CustomizeError;
use crate::image::Manifest;
use crate::linux::Script;
use crate::plan::{self, DeployPlan, Step};
use crate::progress::{Event, Monitor};
use crate::schema::{DeployScript, ScriptTime};
use anyhow::{Context, Result};
use serde_json::json;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// A script that is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WishedScript {
    /// Its name, for messages.
    pub name: String,
    script: DeployScript,
}

/// A script that failed where the deploy should fail with it.
#[derive(Debug, thiserror::Error)]
pub enum ScriptFailure {
    /// Nothing was written to a target by then.
    #[error("the script {name} {fact}; nothing was written")]
    BeforeImaging {
        /// Its name.
        name: String,
        /// What it did: a clause.
        fact: String,
    },
    /// The targets are what the plan says.
    #[error("the script {name} {fact}; the disk is complete")]
    AfterImaging {
        /// Its name.
        name: String,
        /// What it did: a clause.
        fact: String,
    },
}

impl ScriptFailure {
    fn new(script: &WishedScript, fact: String) -> Self {
        let name = script.name.clone();
        match script.script.when {
            ScriptTime::AfterImaging => Self::AfterImaging { name, fact },
            ScriptTime::BeforeImaging | ScriptTime::BeforeFileCopy => Self::BeforeImaging { name, fact },
        }
    }

    pub(super) const fn exit_code(&self) -> ExitCode {
        match self {
            Self::BeforeImaging { .. } => ExitCode::Failed,
            Self::AfterImaging { .. } => ExitCode::TargetChanged,
        }
    }
}

/// The scripts of a profile, in the order in which they run.
pub(super) fn in_order(scripts: &[DeployScript]) -> Vec<WishedScript> {
    let numbered = scripts.iter().zip(1usize..);
    let mut wished: Vec<WishedScript> = numbered
        .map(|(script, number)| WishedScript {
            name: format!("number {number} of the profile"),
            script: script.clone(),
        })
        .collect();
    wished.sort_by_key(|wished| (wished.script.when, wished.script.priority));
    wished
}

/// What a plan says of its scripts; nothing where it has none.
pub(super) fn explain(scripts: &[WishedScript]) -> String {
    let line = |wished: &WishedScript| {
        let DeployScript { when, limit_seconds, fatal, volume, .. } = &wished.script;
        let mounted = volume.as_ref().map_or_else(String::new, |volume| format!(" with {volume} mounted"));
        let fatal = if *fatal { ", and the deploy fails with it" } else { "" };
        format!("  {}: {}{mounted}, for at most {limit_seconds} s{fatal}\n", wished.name, when.name())
    };
    let lines: String = scripts.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\nScripts:\n{lines}") }
}

/// The scripts that are steps of the plan.
pub(super) fn before_file_copy(scripts: &[WishedScript]) -> Vec<plan::WishedScript> {
    let numbered = scripts.iter().zip(0usize..);
    let steps = numbered.filter(|(wished, _)| wished.script.when == ScriptTime::BeforeFileCopy);
    steps
        .map(|(wished, number)| {
            let (name, volume) = (wished.name.clone(), wished.script.volume.clone());
            plan::WishedScript { name, volume, number, fatal: wished.script.fatal }
        })
        .collect()
}

/// Runs a script that is a step of the plan, perhaps with a volume mounted. Returns a sentence where it failed.
///
/// # Errors
/// Where it failed and must not.
pub(super) fn run_in_step(
    wished: &WishedScript,
    plan: &DeployPlan,
    manifest: &Manifest,
    mount: Option<&Path>,
    monitor: &dyn Monitor,
) -> Result<Option<String>, CustomizeError> {
    let WishedScript { name, script } = wished;
    let fault =
        run_one(wished, plan, manifest, mount, monitor).unwrap_or_else(|error| Some(format!("{error:#}")));
    let sentence = fault.map(|fact| format!("the script {name} {fact}"));
    match sentence {
        Some(fact) if script.fatal => Err(CustomizeError::Refused { fact }),
        problem => Ok(problem),
    }
}

/// Runs the scripts of one time. Returns a sentence for each that failed.
///
/// # Errors
/// [`ScriptFailure`] where one failed that must not.
pub(super) fn run(
    scripts: &[WishedScript],
    when: ScriptTime,
    plan: &DeployPlan,
    manifest: &Manifest,
    monitor: &dyn Monitor,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for wished in scripts.iter().filter(|wished| wished.script.when == when) {
        let fault = if monitor.cancelled() {
            Some("was not run, because somebody asked to stop".to_owned())
        } else {
            run_one(wished, plan, manifest, None, monitor)?
        };
        match fault {
            Some(fact) if wished.script.fatal => return Err(ScriptFailure::new(wished, fact).into()),
            Some(fact) => problems.push(format!("the script {} {fact}", wished.name)),
            None => {}
        }
    }
    Ok(problems)
}

fn run_one(
    wished: &WishedScript,
    plan: &DeployPlan,
    manifest: &Manifest,
    mount: Option<&Path>,
    monitor: &dyn Monitor,
) -> Result<Option<String>> {
    let WishedScript { name, script } = wished;
    let doing = || format!("telling the script {name} what is deployed");
    let message = format!("begins, {}", script.when.name());
    monitor.event(Event::Script { script: name.clone(), message });
    let disks: Vec<&str> = plan.disks.iter().map(|disk| disk.target.path.as_str()).collect();
    let named = plan.steps.iter().find_map(|step| match step {
        Step::Settings { settings, .. } => settings.name.clone(),
        _ => None,
    });
    let variables: [(&str, OsString); 7] = [
        ("REMINT_PHASE", script.when.name().into()),
        ("REMINT_DISK", disks.first().copied().unwrap_or_default().into()),
        ("REMINT_DISKS", disks.join("\n").into()),
        ("REMINT_IMAGE", plan.image.clone().into()),
        ("REMINT_VERSION", plan.version.clone().into()),
        ("REMINT_COMPUTER_NAME", named.unwrap_or_default().into()),
        ("REMINT_MOUNT", mount.map_or_else(OsString::new, |mount| mount.as_os_str().to_owned())),
    ];
    let files = [
        ("REMINT_SCHEMA", serde_json::to_string_pretty(&manifest.disks).with_context(doing)?),
        ("REMINT_VOLUMES", serde_json::to_string_pretty(&volumes(plan, manifest)).with_context(doing)?),
    ];
    let limit = Duration::from_secs(script.limit_seconds.into());
    let script = Script { text: &script.text, variables: &variables, files: &files };
    match script.run(name, limit, monitor) {
        Ok(fault) => Ok(fault),
        Err(error) => Ok(Some(format!("could not be run: {:#}", anyhow::Error::from(error)))),
    }
}

/// Where each volume lies on the targets. A logical volume lies where LVM says.
fn volumes(plan: &DeployPlan, manifest: &Manifest) -> serde_json::Value {
    let file_system = |name: &str| {
        let volume = manifest.volumes().find(|volume| volume.name == name);
        volume.and_then(|volume| volume.content.file_system()).map(|found| found.kind)
    };
    let mut volumes = Vec::new();
    for disk in &plan.disks {
        volumes.extend(disk.volumes.iter().map(|planned| {
            json!({
                "volume": planned.volume,
                "disk": disk.target.path,
                "partition": planned.partition,
                "offset_bytes": planned.place.start(),
                "size_bytes": planned.place.length(),
                "file_system": file_system(&planned.volume),
                "logical_volume": null,
            })
        }));
    }
    volumes.extend(plan.logical_volumes().iter().map(|logical| {
        json!({
            "volume": logical.planned.volume,
            "disk": logical.target(plan),
            "partition": null,
            "offset_bytes": null,
            "size_bytes": logical.planned.place.length(),
            "file_system": file_system(&logical.planned.volume),
            "logical_volume": logical.name(),
        })
    }));
    volumes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_run_by_time_and_priority_and_then_as_they_are_said() {
        let script = |when, priority| DeployScript {
            when,
            text: "true".to_owned(),
            priority,
            limit_seconds: 60,
            fatal: priority == 9,
            volume: (when == BeforeFileCopy).then(|| "d0-p2".to_owned()),
        };
        use ScriptTime::{AfterImaging, BeforeFileCopy, BeforeImaging};
        let scripts = [
            (AfterImaging, -5),
            (BeforeImaging, 9),
            (BeforeImaging, 0),
            (BeforeImaging, 0),
            (BeforeFileCopy, 2),
        ];
        let ordered = in_order(&scripts.map(|(when, priority)| script(when, priority)));
        let names: Vec<&str> = ordered.iter().filter_map(|wished| wished.name.split(' ').nth(1)).collect();
        assert_eq!(names, ["3", "4", "2", "5", "1"]);
        let said = explain(&ordered);
        assert!(
            said.contains(
                "\n  number 2 of the profile: before-imaging, for at most 60 s, and the deploy fails"
            ),
            "{said}"
        );
        assert!(said.contains("number 5 of the profile: before-file-copy with d0-p2 mounted, for"), "{said}");
        let steps = before_file_copy(&ordered);
        assert_eq!((steps.len(), steps[0].number, steps[0].volume.as_deref()), (1, 3, Some("d0-p2")));
        assert_eq!((said.matches("fails").count(), explain(&[])), (1, String::new()));
    }
}
