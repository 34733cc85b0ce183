//! `remint plan` and `remint deploy`.

use super::disks::DiskSettings;
use super::images::{ImageReference, StoreSettings, load_manifest, open_store, resolve};
use crate::blockio::WriteAt;
use crate::image::{ImageVersion, Manifest, Store};
use crate::linux::{self, DiskReader, DiskWriter, Tools};
use crate::machine::{DiskKind, MachineDisk};
use crate::partition::{self, Severity, Trust};
use crate::plan::{self, DeployOptions, DeployPlan};
use crate::progress::{Event, Monitor, Phase};
use crate::restore::{self, Failure, Surroundings};
use crate::schema::{Keep, Table};
use crate::units::SectorSize;
use anyhow::{Context, Result, bail};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// A disk to plan for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanTarget {
    /// A disk of this machine, or a plain file.
    Disk(String),
    /// A disk that is not there, of so many bytes.
    Size(u64),
}

/// What a person asks for.
#[derive(Debug, Clone)]
pub struct DeployRequest {
    /// The image.
    pub image: ImageReference,
    /// Where it is.
    pub store: StoreSettings,
    /// The targets.
    pub targets: Vec<PlanTarget>,
    /// How the targets are looked at.
    pub disk_settings: DiskSettings,
    /// How they are laid out.
    pub options: DeployOptions,
}

/// A deploy that was planned, and not begun.
pub struct PreparedDeploy {
    /// The plan.
    pub plan: DeployPlan,
    /// The image.
    pub manifest: Manifest,
    version: ImageVersion,
    store: Arc<dyn Store>,
}

/// Plans a deploy. Nothing is written.
pub fn prepare_deploy(request: &DeployRequest) -> Result<PreparedDeploy> {
    let store = open_store(&request.store, false)?;
    let version = resolve(store.as_ref(), &request.image)?;
    let manifest = load_manifest(store.as_ref(), &version)?;
    let chosen = request.disk_settings.sector_size;
    let captured = manifest.disks.first().map(|disk| disk.logical_sector_bytes);
    let machine: Vec<MachineDisk> = request
        .targets
        .iter()
        .map(|target| match target {
            PlanTarget::Disk(path) if request.options.keep == Keep::Nothing => {
                target_disk(path, chosen, captured)
            }
            PlanTarget::Disk(path) => kept_disk(path, chosen, captured),
            PlanTarget::Size(bytes) => Ok(imagined(*bytes, chosen.or(captured))),
        })
        .collect::<Result<_>>()?;
    let options = with_real_paths(request, &machine);
    let mut targets = plan::match_disks(&plan::deployed(&manifest.disks, &options), &machine)?;
    if options.keep != Keep::Nothing {
        for target in targets.iter_mut().filter(|target| std::path::Path::new(&target.disk.path).exists()) {
            target.found = Some(found_table(&target.disk)?);
        }
    }
    let plan =
        plan::deploy(version.image.as_ref(), version.version.as_ref(), &manifest.disks, &targets, &options)?;
    Ok(PreparedDeploy { plan, manifest, version, store })
}

/// A target that a person named. A plain file has no sector size of its own: where nobody chose one, it takes
/// that of the captured disk.
fn target_disk(path: &str, chosen: Option<SectorSize>, captured: Option<SectorSize>) -> Result<MachineDisk> {
    let disk = linux::disk(path, chosen)?;
    match disk.kind {
        DiskKind::File if chosen.is_none() => Ok(linux::disk(path, captured)?),
        _ => Ok(disk),
    }
}

/// A target of which something stays: the table that stands on it says how large its sectors are.
fn kept_disk(path: &str, chosen: Option<SectorSize>, captured: Option<SectorSize>) -> Result<MachineDisk> {
    let disk = target_disk(path, chosen, captured)?;
    match partition::detect_sector_size(&DiskReader::open(&disk.path)?) {
        Some(sector) if disk.kind == DiskKind::File && chosen.is_none() => {
            Ok(linux::disk(path, Some(sector))?)
        }
        _ => Ok(disk),
    }
}

/// The table that stands on a target of which something is to stay.
fn found_table(disk: &MachineDisk) -> Result<Table> {
    let reader = DiskReader::open(&disk.path)?;
    let reading = partition::read(&reader, disk.logical_sector_bytes, Trust::Undecided)
        .with_context(|| format!("reading the partition table of {}", disk.path))?;
    match reading.findings.iter().find(|finding| finding.severity() == Severity::Refusal) {
        Some(finding) => bail!(
            "nothing of {} can be kept, because its partition table is doubtful: {finding}; put it right first",
            disk.path
        ),
        None => Ok(reading.table),
    }
}

/// The options, with partitions to keep named by the paths under which their disks were found.
fn with_real_paths(request: &DeployRequest, machine: &[MachineDisk]) -> DeployOptions {
    let mut options = request.options.clone();
    let Keep::Partitions(kept) = &mut options.keep else { return options };
    for name in kept.iter_mut().filter_map(|kept| kept.disk.as_mut()) {
        let named = |target: &PlanTarget| *target == PlanTarget::Disk(name.clone());
        let found = request.targets.iter().zip(machine).find(|(target, _)| named(target));
        if let Some((_, disk)) = found {
            name.clone_from(&disk.path);
        }
    }
    options
}

/// A disk that is only planned for.
fn imagined(size_bytes: u64, sector_size: Option<SectorSize>) -> MachineDisk {
    let sector = sector_size.unwrap_or(SectorSize::B512);
    MachineDisk {
        path: format!("a disk of {}", crate::units::format_size(size_bytes)),
        kind: DiskKind::Device,
        size_bytes,
        logical_sector_bytes: sector,
        physical_sector_bytes: sector,
        model: None,
        serial: None,
        wwn: None,
        transport: None,
        removable: false,
        read_only: false,
        can_discard: false,
        boot_medium: false,
        holders: Vec::new(),
    }
}

impl PreparedDeploy {
    /// The plan as text.
    #[must_use]
    pub fn explain(&self) -> String {
        plan::explain(&self.plan, &self.manifest.disks)
    }

    /// Refuses targets that may not be written to: mounted, in use, read-only, the boot medium. Asked before a
    /// person is asked.
    pub fn refuse_unwritable(&self) -> Result<()> {
        let refusal = self.plan.disks.iter().flat_map(|disk| plan::preflight_refusals(&disk.target)).next();
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Checks everything that can be checked without writing, then writes. Returns sentences about what
    /// needs attention although the deploy is done.
    pub fn carry_out(&self, workers: NonZeroUsize, monitor: &dyn Monitor) -> Result<Vec<String>> {
        monitor.event(Event::PhaseStarted { phase: Phase::Preflight, total_bytes: None });
        self.refuse_unwritable()?;
        let resizer = Tools::default();
        let version = self.version.clone();
        let prepared = restore::prepare(&self.plan, &self.manifest, self.store.as_ref(), version, &resizer)
            .map_err(Failure::from)?;
        let writers = self.plan.disks.iter().map(|disk| DiskWriter::open(&disk.target));
        let writers: Vec<DiskWriter> = writers.collect::<Result<_, _>>().context("opening the target")?;
        monitor.event(Event::PhaseFinished { phase: Phase::Preflight });
        let targets: Vec<&dyn WriteAt> = writers.iter().map(|writer| -> &dyn WriteAt { writer }).collect();
        let result = restore::run(&prepared, &targets, &Surroundings { resizer: &resizer, workers, monitor });
        drop(writers);
        // After a failure too: the kernel shall not go on showing partitions that are gone.
        let problems = self.tell_the_kernel();
        result.map(|()| problems).map_err(Into::into)
    }

    /// Has the kernel read the new tables.
    fn tell_the_kernel(&self) -> Vec<String> {
        let reread = |disk: &plan::DiskPlan| {
            linux::reread_table(&disk.target.path).err().map(|error| error.to_string())
        };
        self.plan.disks.iter().filter_map(reread).collect()
    }
}
