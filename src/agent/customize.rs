//! `remint customize`: the steps of a profile on disks that are deployed already.
//!
//! What the disks hold is described as a capture would describe it, and planned for the same disks, so that every volume has
//! the place that it has. Of that plan only what changes files is done. Invariants:
//!
//! - A dry run opens the disks for reading only. Its steps are taken on an overlay in memory, so that it says what they would
//!   change because they did it there.
//! - The boot entries of the firmware follow as behind a deploy, by the same code; in a dry run those that it would have. None is
//!   made: the machine may be a workbench that is to start something else. They follow only where the fallback path is in order.
//! - A file system that is not clean is not changed, and named. So is a volume group with anything that stands in more than
//!   one place, or that only the kernel can write.
//! - A step that fails does not keep the others from being taken, but for a script that must not fail.

use super::boot_loaders;
use super::choices::check_deploy;
use super::computer_name::{ComputerName, check_for_windows};
use super::disks::{self, DiskSettings, Inspected};
use super::file_copy::{Artefacts, Customizing};
use super::scripts::{self, ScriptFailure, WishedScript};
use super::targets::started_by;
use crate::blockio::{Overlay, WriteAt};
use crate::customize::{Customizer, Deployed, Firmware, RehearsedFirmware, not_taken};
use crate::image::Manifest;
use crate::inspect::GroupInspection;
use crate::linux::{self, DiskReader, DiskWriter, EfiVariables};
use crate::machine::MachineDisk;
use crate::plan::{self, CaptureOptions, DeployOptions, DeployPlan, GroupFound, Step, SystemVolume, Target};
use crate::progress::{Event, Monitor, Phase};
use crate::restore;
use crate::schema::{
    Compression, DeployChoices, Destination, FreeSpace, Layout, ScriptTime, State, WhenDirty,
};
use crate::units::MIB;
use anyhow::{Context, Result, bail};
use std::sync::{Mutex, PoisonError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What a script is told that there is in place of an image and its version.
const NAME: &str = "customize";
/// What a dry run may change on one disk.
const KEPT_BYTES: u64 = 256 * MIB;

/// What a person asks for.
#[derive(Debug, Clone)]
pub struct CustomizeRequest {
    /// The disks, all of those that belong together.
    pub disks: Vec<Destination>,
    /// How they are looked at.
    pub disk_settings: DiskSettings,
    /// What is chosen; what it says about imaging does not count.
    pub choices: DeployChoices,
    /// The artefacts that it copies.
    pub artefacts: Artefacts,
}

/// Steps that were planned, and not begun.
pub struct PreparedCustomize {
    /// The disks, and the steps.
    pub plan: DeployPlan,
    manifest: Manifest,
    scripts: Vec<WishedScript>,
    artefacts: Artefacts,
    /// Sentences about volumes that are not looked into.
    passed_over: Vec<String>,
}

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Customized {
    /// What was changed: a volume, and a sentence.
    pub changes: Vec<(String, String)>,
    /// A sentence for each thing that needs attention.
    pub problems: Vec<String>,
    /// Why it went no further, where a script failed that must not.
    pub stopped: Option<String>,
}

/// Looks at the disks and plans the steps. Nothing is written.
///
/// # Errors
/// Where a disk cannot be read or is doubtful, and where choices contradict each other or this machine.
pub fn prepare_customize(request: &CustomizeRequest, monitor: &dyn Monitor) -> Result<PreparedCustomize> {
    let choices = &request.choices;
    check_deploy(choices)?;
    let Inspected { disks, groups, .. } = disks::inspect(&request.disks, request.disk_settings, &[])?;
    for disk in &disks {
        disks::refuse_or_warn(disk, monitor)?;
    }
    let targets: Vec<Target> =
        (0u32..).zip(&disks).map(|(number, disk)| Target::new(number, disk.machine.clone())).collect();
    let (mut plain, mut passed_over) = (Vec::new(), Vec::new());
    for found in groups {
        match kept_from_writing(&found) {
            None => plain.push(found),
            Some(why) => {
                let name = &found.group.name;
                passed_over
                    .push(format!("volume group {name}: none of its volumes is changed, because of {why}"));
            }
        }
    }
    let manifest = described(disks, plain)?;
    let name = choices.computer_name.as_deref().map(ComputerName::new);
    // Beside a schema, the others do not count.
    let (keep_boot_entries, boot_first) = match &choices.schema {
        Some(schema) => (schema.keep_boot_entries, schema.boot_first),
        None => (choices.keep_boot_entries, choices.boot_first),
    };
    let scripts = scripts::in_order(&choices.scripts);
    let options = DeployOptions {
        free_space: FreeSpace::Keep,
        expand: false,
        keep_boot_entries,
        boot_first,
        started_by: started_by(&targets),
        computer_name: name.map(|name| name.resolve(linux::inventory)).transpose()?,
        answers: choices.answers.clone(),
        empty_page_files: choices.empty_page_files,
        boot_drivers: choices.boot_drivers.clone(),
        new_ssh_host_keys: choices.new_ssh_host_keys,
        boot_loader: choices.boot_loader,
        copies: request.artefacts.measure(&choices.copies, &targets, monitor)?,
        scripts: scripts::before_file_copy(&scripts),
        ..DeployOptions::of(Layout::Original)
    };
    let mut plan = plan::deploy(NAME, NAME, &manifest, targets.as_slice(), &options)
        .context("planning the steps for what is on the disks")?;
    plan.steps.retain(is_taken);
    passed_over.extend(leave_what_is_not_clean(&mut plan, &manifest));
    check_for_windows(&plan)?;
    let at_the_end = plan.boot_entries.len().saturating_add(plan.boot_loaders.len());
    if plan.steps.is_empty() && at_the_end == 0 && scripts.is_empty() {
        bail!(
            "the profile asks for nothing that is done to a deployed disk: no name, no answers, no boot \
             drivers, no SSH host keys, no copies, no scripts, no boot loader, and no boot entries"
        );
    }
    let prepared =
        PreparedCustomize { plan, manifest, scripts, artefacts: request.artefacts.clone(), passed_over };
    let missing =
        prepared.plan.steps.iter().find_map(|step| prepared.customizer().missing(step, &prepared.plan));
    missing.map_or(Ok(()), |fact| Err(anyhow::anyhow!("{fact}")))?;
    Ok(prepared)
}

/// The steps that change nothing but files.
const fn is_taken(step: &Step) -> bool {
    matches!(
        step,
        Step::Settings { .. }
            | Step::SshHostKeys { .. }
            | Step::CopyFiles { .. }
            | Step::Script { .. }
            | Step::FallbackLoader { .. }
    )
}

/// The first volume of a group that does not stand in one place where it can be written without the kernel's help, and why.
/// The group is planned as a whole, or not at all.
fn kept_from_writing(found: &GroupInspection) -> Option<String> {
    let mut volumes = found.group.logical_volumes.iter().zip(&found.problems);
    volumes.find_map(|(logical, problem)| {
        let why = problem.clone().or_else(|| plan::kept_from_writing(&found.group, logical, None))?;
        Some(format!("{}: {why}", logical.name))
    })
}

/// The disks as a capture without data describes them.
fn described(disks: Vec<disks::InspectedDisk>, groups: Vec<GroupInspection>) -> Result<Manifest> {
    let found = disks.into_iter().map(|disk| disk.inspection.into()).collect();
    let groups = groups.into_iter().map(|found| {
        let GroupInspection { group, used, problems } = found;
        GroupFound { group, used, problems }
    });
    let options =
        CaptureOptions { schema_only: true, when_dirty: WhenDirty::Refuse, ..CaptureOptions::default() };
    let held = plan::capture(found, groups.collect(), &options)?;
    let created = OffsetDateTime::now_utc().format(&Rfc3339).context("writing the time")?;
    let mut manifest = Manifest::new(NAME.parse()?, NAME.parse()?, created, Compression::default());
    manifest.disks = held.disks.into_iter().map(|disk| disk.disk).collect();
    manifest.volume_groups = held.groups.into_iter().map(|group| group.group).collect();
    Ok(manifest)
}

/// Takes volumes out of the steps whose file systems are not clean: writing to them could destroy what waits in them.
fn leave_what_is_not_clean(plan: &mut DeployPlan, manifest: &Manifest) -> Vec<String> {
    let mut passed_over = Vec::new();
    let state_of = |volume: &SystemVolume| {
        let found = manifest.volumes().find(|candidate| candidate.name == volume.volume);
        found.and_then(|found| found.content.file_system()).map_or(State::Unsupported, |found| found.state)
    };
    let mut is_clean = |volume: &SystemVolume| {
        let state = state_of(volume);
        if state != State::Clean {
            passed_over.push(format!(
                "{}: its {} is {state} and is not changed; start its system and shut it down, or check it first",
                volume.volume, volume.file_system
            ));
        }
        state == State::Clean
    };
    plan.steps.retain_mut(|step| match step {
        Step::Settings { volumes, .. } | Step::SshHostKeys { volumes } => {
            volumes.retain(&mut is_clean);
            true
        }
        Step::CopyFiles { on, .. } | Step::Script { on: Some(on), .. } => is_clean(on),
        _ => true,
    });
    passed_over.dedup();
    passed_over
}

impl PreparedCustomize {
    fn customizer(&self) -> Customizing<'_> {
        let Self { artefacts, scripts, manifest, .. } = self;
        Customizing { artefacts, scripts, manifest }
    }

    /// What will be done, as text.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = String::new();
        for step in &self.plan.steps {
            match step {
                Step::Settings { volumes, .. } | Step::SshHostKeys { volumes } => {
                    let names: Vec<&str> = volumes.iter().map(|volume| volume.volume.as_str()).collect();
                    let verb = if matches!(step, Step::Settings { .. }) { "Set" } else { "Make" };
                    text.push_str(&format!("{verb} {step}, looking into {}\n", names.join(", ")));
                }
                Step::CopyFiles { on, copy } => {
                    let (to, amount) = (&copy.copy.to, copy.amount.sentence());
                    text.push_str(&format!("Copy {} to {to} of {}: {amount}\n", copy.name, on.volume));
                }
                Step::FallbackLoader { target, .. } => {
                    text.push_str(&format!(
                        "Have {step} start what is on {target}, where nothing is there\n"
                    ));
                }
                _ => {}
            }
        }
        for entries in &self.plan.boot_entries {
            let to = &entries.target;
            text.push_str(&format!("Have the boot entries follow that the firmware has for {to}\n"));
        }
        for loader in &self.plan.boot_loaders {
            text.push_str(&format!("{loader}\n"));
        }
        for fact in &self.passed_over {
            text.push_str(&format!("! {fact}\n"));
        }
        text.push_str(&scripts::explain(&self.scripts));
        text
    }

    /// The disks that are written to.
    pub fn disks(&self) -> impl Iterator<Item = &MachineDisk> {
        self.plan.disks.iter().map(|disk| &disk.target)
    }

    /// Refuses disks that may not be written to: mounted, in use, read-only, the boot medium.
    ///
    /// # Errors
    /// The first reason.
    pub fn refuse_unwritable(&self) -> Result<()> {
        let refusal = self.disks().flat_map(plan::preflight_refusals).next();
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Takes the steps, with the scripts before and after them.
    ///
    /// # Errors
    /// Where a disk cannot be opened for writing, and where a script fails before anything was written that must not.
    pub fn carry_out(&self, monitor: &dyn Monitor) -> Result<Customized> {
        self.refuse_unwritable()?;
        let failed_before = self.run_scripts(ScriptTime::BeforeImaging, monitor)?;
        let writers = self.disks().map(DiskWriter::open);
        let writers: Vec<DiskWriter> = writers.collect::<Result<_, _>>().context("opening the disk")?;
        let targets: Vec<&dyn WriteAt> = writers.iter().map(|writer| -> &dyn WriteAt { writer }).collect();
        let firmware = EfiVariables::default();
        let mut done = self.take(&targets, &firmware, false, monitor);
        for (disk, writer) in self.disks().zip(&writers) {
            writer.flush().with_context(|| format!("flushing {}", disk.path))?;
        }
        drop(targets);
        drop(writers);
        if done.stopped.is_none() {
            let noting = Noting { monitor, changes: Mutex::default() };
            boot_loaders::install(&self.plan, &self.customizer(), false, &mut done.problems, &noting);
            done.changes.extend(noting.changes.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        done.problems = [failed_before, done.problems].concat();
        if done.stopped.is_none() {
            match self.run_scripts(ScriptTime::AfterImaging, monitor) {
                Ok(failed_after) => done.problems.extend(failed_after),
                // What was done must not be lost with the script.
                Err(error) => match error.downcast::<ScriptFailure>()? {
                    ScriptFailure::AfterImaging { name, fact }
                    | ScriptFailure::BeforeImaging { name, fact } => {
                        done.stopped = Some(format!("the script {name} {fact}"));
                    }
                },
            }
        }
        Ok(done)
    }

    /// Finds out what the steps would change, and changes nothing. Scripts are not run: nobody knows what they would do.
    ///
    /// # Errors
    /// Where a disk cannot be read.
    pub fn rehearse(&self, monitor: &dyn Monitor) -> Result<Customized> {
        let readers = self.disks().map(|disk| DiskReader::open(&disk.path));
        let readers: Vec<DiskReader> = readers.collect::<Result<_, _>>()?;
        let overlays: Vec<Overlay<'_, &DiskReader>> =
            readers.iter().map(|reader| Overlay::new(reader, KEPT_BYTES, None)).collect();
        let targets: Vec<&dyn WriteAt> = overlays.iter().map(|overlay| -> &dyn WriteAt { overlay }).collect();
        let firmware = EfiVariables::default();
        let mut done = self.take(&targets, &RehearsedFirmware::new(&firmware), true, monitor);
        for loader in &self.plan.boot_loaders {
            match linux::would_install_boot_loader(loader) {
                Ok(what) => done.changes.extend(what),
                Err(problem) => done.problems.push(problem),
            }
        }
        if overlays.iter().any(Overlay::overflowed) {
            done.problems
                .push("not everything could be tried out: it needs more memory than there is for it".into());
        }
        Ok(done)
    }

    fn take(
        &self,
        targets: &[&dyn WriteAt],
        firmware: &dyn Firmware,
        is_rehearsal: bool,
        monitor: &dyn Monitor,
    ) -> Customized {
        let noting = Noting { monitor, changes: Mutex::default() };
        let mut problems = self.passed_over.clone();
        let deployed = Deployed { plan: &self.plan, targets, is_rehearsal };
        monitor.event(Event::PhaseStarted { phase: Phase::Customize, total_bytes: None });
        let (mut stopped, mut without_fallback) = (None, false);
        for step in &self.plan.steps {
            if monitor.cancelled() {
                problems.push(format!("{step}: not begun, because somebody asked to stop"));
                continue;
            }
            if is_rehearsal && matches!(step, Step::Script { .. }) {
                continue;
            }
            match self.customizer().take(step, deployed, &noting) {
                Ok(taken) => problems.extend(taken.problems),
                Err(error) if step.is_vital() || error.stays_mounted() => {
                    stopped = Some(not_taken(step, &error));
                    break;
                }
                Err(error) => {
                    without_fallback |= matches!(step, Step::FallbackLoader { .. });
                    problems.push(not_taken(step, &error));
                }
            }
        }
        let kept_by = match (monitor.cancelled(), without_fallback) {
            (true, _) => Some("not looked at, because somebody asked to stop"),
            (_, true) => Some("not changed, because what stands at the fallback path may be half written"),
            _ => None,
        };
        if let Some(why) = kept_by.filter(|_| stopped.is_none() && !self.plan.boot_entries.is_empty()) {
            problems.push(format!("the boot entries of the firmware: {why}"));
        } else if stopped.is_none() {
            problems.extend(restore::follow_boot_entries(&self.plan, targets, firmware, false, &noting));
        }
        monitor.event(Event::PhaseFinished { phase: Phase::Customize });
        let changes = noting.changes.into_inner().unwrap_or_else(PoisonError::into_inner);
        Customized { changes, problems, stopped }
    }

    fn run_scripts(&self, when: ScriptTime, monitor: &dyn Monitor) -> Result<Vec<String>> {
        scripts::run(&self.scripts, when, &self.plan, &self.manifest, monitor)
    }
}

/// Notes what is changed, and passes everything on.
struct Noting<'a> {
    monitor: &'a dyn Monitor,
    changes: Mutex<Vec<(String, String)>>,
}

impl Monitor for Noting<'_> {
    fn event(&self, event: Event) {
        if let Event::Changed { volume, message } = &event {
            let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            changes.push((volume.clone(), message.clone()));
        }
        self.monitor.event(event);
    }

    fn cancelled(&self) -> bool {
        self.monitor.cancelled()
    }
}

#[cfg(test)]
#[path = "customize_tests.rs"]
mod tests;
