//! `remint plan` and `remint deploy`.

use super::boot_loaders;
use super::computer_name::{ComputerName, check_for_windows};
use super::disks::DiskSettings;
use super::file_copy::{Artefacts, Customizing};
use super::images::{ImageReference, StoreSettings, load_manifest, open_store, resolve};
use super::multicast::{Invitation, MulticastStore, Wanted};
use super::script::ScriptFile;
use super::scripts::{self, WishedScript};
use super::targets::{Decided, SchemaFile, TargetRequest, decide_targets};
use crate::blockio::WriteAt;
use crate::image::{ImageVersion, Manifest, Store};
use crate::linux::{self, DiskWriter, EfiVariables, Tools};
use crate::plan::{self, DeployOptions, DeployPlan, Refusal, Seed, Targets};
use crate::progress::{Event, Monitor, Phase};
use crate::restore::{self, Failure, Surroundings};
use crate::schema::{DeploySchema, FileCopy, ScriptTime};
use anyhow::{Context, Result, anyhow};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

/// What a person asks for.
#[derive(Debug, Clone)]
pub struct DeployRequest {
    /// The image.
    pub image: ImageReference,
    /// Where it is.
    pub store: StoreSettings,
    /// The targets; where there are none, those of the schema.
    pub targets: Vec<TargetRequest>,
    /// How the targets are looked at.
    pub disk_settings: DiskSettings,
    /// How they are laid out, unless a schema says it.
    pub options: DeployOptions,
    /// The schema.
    pub schema: Option<SchemaFile>,
    /// The script that partitions, for the layout of that name.
    pub script: Option<ScriptFile>,
    /// Scripts that run beside it, in their order.
    pub scripts: Vec<WishedScript>,
    /// Files that are copied.
    pub copies: Vec<FileCopy>,
    /// The artefacts that they come from.
    pub artefacts: Artefacts,
    /// What the systems are called from now on.
    pub computer_name: Option<ComputerName>,
}

/// A deploy that was planned, and not begun.
pub struct PreparedDeploy {
    /// The plan.
    pub plan: DeployPlan,
    /// The image.
    pub manifest: Manifest,
    version: ImageVersion,
    store: Arc<dyn Store>,
    scripts: Vec<WishedScript>,
    /// How its chunks came, where it was in a session of several machines.
    came: OnceLock<String>,
    artefacts: Artefacts,
}

/// Plans a deploy. Nothing is written.
pub fn prepare_deploy(request: &DeployRequest, monitor: &dyn Monitor) -> Result<PreparedDeploy> {
    let store = open_store(&request.store, false)?;
    let version = resolve(store.as_ref(), &request.image)?;
    let manifest = load_manifest(store.as_ref(), &version)?;
    let Decided { mut options, targets, standing } = decide_targets(request, &version, &manifest)?;
    options.seed = Some(options.seed.map_or_else(|| linux::random_bits().map(Seed::from_bytes), Ok)?);
    let wished = request.computer_name.as_ref();
    // A schema says nothing of them.
    options.answers.clone_from(&request.options.answers);
    options.empty_page_files = request.options.empty_page_files;
    options.boot_drivers.clone_from(&request.options.boot_drivers);
    options.new_ssh_host_keys = request.options.new_ssh_host_keys;
    options.boot_loader = request.options.boot_loader;
    options.computer_name = wished.map(|wished| wished.resolve(linux::inventory)).transpose()?;
    options.copies = request.artefacts.measure(&request.copies, &targets, monitor)?;
    options.scripts = scripts::before_file_copy(&request.scripts);
    let targets = Targets { disks: &targets, standing: Some(&standing) };
    let plan = plan::deploy(version.image.as_ref(), version.version.as_ref(), &manifest, targets, &options);
    let plan = plan.map_err(|refusal| match &request.schema {
        Some(file) => at_its_line(file, refusal),
        None => refusal.into(),
    })?;
    check_for_windows(&plan)?;
    Ok(PreparedDeploy {
        plan,
        manifest,
        version,
        store,
        scripts: request.scripts.clone(),
        artefacts: request.artefacts.clone(),
        came: OnceLock::new(),
    })
}

/// Writes down what a request chooses, as a schema that a person can edit. Targets are not needed.
pub fn export_schema(request: &DeployRequest) -> Result<DeploySchema> {
    let store = open_store(&request.store, false)?;
    let version = resolve(store.as_ref(), &request.image)?;
    let manifest = load_manifest(store.as_ref(), &version)?;
    let (options, targets) = if request.targets.is_empty() {
        (request.options.clone(), Vec::new())
    } else {
        let Decided { options, targets, .. } = decide_targets(request, &version, &manifest)?;
        (options, targets)
    };
    Ok(plan::export(version.image.as_ref(), &manifest, &targets, &options)?)
}

/// A refusal of something that a schema wants, with the line where it stands.
fn at_its_line(file: &SchemaFile, refusal: Refusal) -> anyhow::Error {
    match refusal.volume().and_then(|volume| plan::place_of_volume(&file.text, volume)) {
        Some((line, column)) => anyhow!("{}:{line}:{column}: {refusal}", file.name),
        None => refusal.into(),
    }
}

impl PreparedDeploy {
    /// The plan as text.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = plan::explain(&self.plan, &self.manifest);
        text.push_str(&scripts::explain(&self.scripts));
        if self.manifest.schema_only {
            text.push_str("\n! This version holds a schema and no data: it cannot be deployed.\n");
        }
        text
    }

    /// What was made when it is carried out, as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let targets: Vec<&str> = self.plan.disks.iter().map(|disk| disk.target.path.as_str()).collect();
        let came = self.came.get().map(|came| format!(", {came}")).unwrap_or_default();
        format!("deployed {} to {}{came}", self.version, targets.join(", "))
    }

    /// Refuses an image without data, and targets that may not be written to: mounted, in use, read-only, the boot
    /// medium. Asked before a person is asked.
    pub fn refuse_unwritable(&self) -> Result<()> {
        restore::refuse_schema(&self.manifest)?;
        let refusal = self.plan.disks.iter().flat_map(|disk| plan::preflight_refusals(&disk.target)).next();
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Checks everything that can be checked without writing, then writes, with the scripts before and after it. Returns
    /// sentences about what
    /// needs attention although the deploy is done. With an invitation, chunks are taken from a session of many machines as
    /// far as they come there.
    pub fn carry_out(
        &self,
        workers: NonZeroUsize,
        invitation: Option<Invitation>,
        monitor: &dyn Monitor,
    ) -> Result<Vec<String>> {
        monitor.event(Event::PhaseStarted { phase: Phase::Preflight, total_bytes: None });
        self.refuse_unwritable()?;
        let (resizer, firmware) = (Tools::default(), EfiVariables::default());
        let (artefacts, scripts, manifest) = (&self.artefacts, self.scripts.as_slice(), &self.manifest);
        let customizer = Customizing { artefacts, scripts, manifest };
        let version = self.version.clone();
        let multicast = MulticastStore::new(Arc::clone(&self.store));
        let store: &dyn Store = if invitation.is_some() { &multicast } else { self.store.as_ref() };
        let prepared = restore::prepare(&self.plan, &self.manifest, store, version, &resizer, &customizer)
            .map_err(Failure::from)?;
        let failed_before = self.run_scripts(ScriptTime::BeforeImaging, monitor)?;
        if monitor.cancelled() {
            return Err(Failure::from(restore::Error::Cancelled).into());
        }
        let writers = self.plan.disks.iter().map(|disk| DiskWriter::open(&disk.target));
        let writers: Vec<DiskWriter> = writers.collect::<Result<_, _>>().context("opening the target")?;
        monitor.event(Event::PhaseFinished { phase: Phase::Preflight });
        let targets: Vec<&dyn WriteAt> = writers.iter().map(|writer| -> &dyn WriteAt { writer }).collect();
        let around = Surroundings {
            resizer: &resizer,
            customizer: &customizer,
            firmware: &firmware,
            workers,
            monitor,
        };
        if let Some(invitation) = invitation {
            let asked = prepared.asked().map_err(Failure::from)?;
            let wanted = Wanted { manifest: &self.manifest, version: &self.version, asked: &asked };
            multicast.join(invitation, wanted, monitor);
            // Until it begins, a machine that is only waiting keeps what is on its disks.
            multicast.wait_to_begin(monitor);
        }
        let result = restore::run(&prepared, &targets, &around);
        if let Some(came) = multicast.leave(monitor) {
            let _ = self.came.set(came);
        }
        drop(writers);
        // After a failure too: the kernel shall not go on showing partitions that are gone.
        let not_reread = self.tell_the_kernel();
        let finished = result?;
        let mut problems = [failed_before, finished.problems, not_reread].concat();
        boot_loaders::install(finished.plan, &customizer, true, &mut problems, monitor);
        match self.run_scripts(ScriptTime::AfterImaging, monitor) {
            Ok(failed_after) => Ok([problems, failed_after].concat()),
            Err(failure) => {
                // What else needs attention must not be lost with the script.
                let subject = "deploy".to_owned();
                let warn = |message| monitor.event(Event::Warning { subject: subject.clone(), message });
                problems.into_iter().for_each(warn);
                Err(failure)
            }
        }
    }

    fn run_scripts(&self, when: ScriptTime, monitor: &dyn Monitor) -> Result<Vec<String>> {
        scripts::run(&self.scripts, when, &self.plan, &self.manifest, monitor)
    }

    /// Has the kernel read the new tables.
    fn tell_the_kernel(&self) -> Vec<String> {
        let reread = |disk: &plan::DiskPlan| {
            linux::reread_table(&disk.target.path).err().map(|error| error.to_string())
        };
        self.plan.disks.iter().filter_map(reread).collect()
    }
}
