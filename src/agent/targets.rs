//! Which disks of this machine a deploy is for, and what is to be known about them.

use super::deploy::DeployRequest;
use super::{disks, script};
use crate::blockio::{ReadAt, Window};
use crate::filesystem::{self, lvm, lvm::FoundGroup};
use crate::image::{ImageVersion, Manifest};
use crate::linux::{self, DiskReader};
use crate::machine::{DiskKind, MachineDisk};
use crate::partition::{self, Severity, Trust};
use crate::plan::{self, Choices, DeployOptions, Offered, OtherTarget, Standing, StandingGroup, Target};
use crate::schema::{Destination, Firmware, Keep, KeptPartition, Layout, PhysicalVolume, Table};
use crate::units::{ByteRange, SectorSize};
use anyhow::{Context, Result, anyhow, bail};
use std::path::Path;
use std::sync::Arc;

/// A disk to plan for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanTarget {
    /// A disk of this machine, or a plain file.
    Disk(Destination),
    /// A disk that is not there, of so many bytes.
    Size(u64),
}

/// A disk to plan for, and what is meant for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRequest {
    /// Number of the image's disk; `None` where the matching rule decides.
    pub receives: Option<u32>,
    /// The disk.
    pub disk: PlanTarget,
}

/// A file that says what a deploy is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The options and the targets of a request.
pub(super) struct Decided {
    pub options: DeployOptions,
    /// The disks that receive a disk of the image.
    pub targets: Vec<Target>,
    /// What stands on them, and on others, where their tables are kept.
    pub standing: Standing,
}

/// Decides the options and the targets of a request, with what is to be known about the targets.
pub(super) fn decide_targets(
    request: &DeployRequest,
    version: &ImageVersion,
    manifest: &Manifest,
) -> Result<Decided> {
    let choices = match &request.schema {
        Some(file) => plan::read_choices(&file.text, version.image.as_ref(), manifest)
            .map_err(|fault| anyhow!("{}:{fault}", file.name))?,
        None => Choices { options: request.options.clone(), destinations: Vec::new(), keep: Vec::new() },
    };
    let requested = requested_targets(request, &choices)?;
    let keeps = choices.options.keep != Keep::Nothing || !choices.keep.is_empty();
    let (chosen, captured) =
        (request.disk_settings.sector_size, manifest.disks.first().map(|disk| disk.logical_sector_bytes));
    let offered: Vec<Offered> = requested
        .iter()
        .map(|target| {
            Ok(Offered { disk: find_disk(&target.disk, keeps, chosen, captured)?, receives: target.receives })
        })
        .collect::<Result<_>>()?;
    let mut options = with_real_paths(choices.options, &requested, &offered);
    let (mut targets, others) = plan::pair_targets(manifest.into(), &options, &offered)?;
    options.started_by = started_by(&targets);
    if let (Layout::Standard, Some(firmware)) = (options.layout, options.started_by) {
        options.standard.firmware.get_or_insert(firmware);
    }
    if !choices.keep.is_empty() {
        options.keep = kept_on(&targets, &choices.keep);
    }
    if keeps {
        for target in targets.iter_mut().filter(|target| Path::new(&target.disk.path).exists()) {
            target.found = Some(found_table(&target.disk)?);
        }
    }
    have_partitioned(request, manifest, &options, &mut targets)?;
    let standing = match options.keep {
        Keep::Table(_) if !manifest.volume_groups.is_empty() => standing(&targets, others)?,
        _ => Standing::default(),
    };
    Ok(Decided { options, targets, standing })
}

/// What started this machine, where the targets are disks of its own.
pub(super) fn started_by(targets: &[Target]) -> Option<Firmware> {
    let is_real =
        |target: &Target| target.disk.kind == DiskKind::Device && Path::new(&target.disk.path).exists();
    (!targets.is_empty() && targets.iter().all(is_real)).then(linux::firmware)
}

/// The volume groups that stand on targets whose tables are kept.
fn standing(targets: &[Target], others: Vec<MachineDisk>) -> Result<Standing> {
    let other = |disk: MachineDisk| {
        if !Path::new(&disk.path).exists() {
            bail!("no volume group stands on {}; name the disks of a group that is there", disk.path);
        }
        Ok(OtherTarget { found: found_table(&disk)?, disk })
    };
    let others: Vec<OtherTarget> = others.into_iter().map(other).collect::<Result<_>>()?;
    let known = targets.iter().filter_map(|target| Some((&target.disk, target.found.as_ref()?)));
    let mut names: Vec<(String, String, ByteRange)> = Vec::new();
    let mut windows = Vec::new();
    for (disk, found) in known.chain(others.iter().map(|other| (&other.disk, &other.found))) {
        let reader = Arc::new(DiskReader::open(&disk.path)?);
        for (name, place) in plan::places_on(disk, found) {
            let doing = || format!("looking for volume groups on {name}");
            let window = Window::new(Arc::clone(&reader), place).with_context(doing)?;
            if filesystem::is_physical_volume(&window).with_context(doing)? {
                names.push((name, disk.path.clone(), place));
                windows.push(window);
            }
        }
    }
    let volumes: Vec<(&str, &dyn ReadAt)> = names
        .iter()
        .zip(&windows)
        .map(|((name, _, _), window)| -> (&str, &dyn ReadAt) { (name, window) })
        .collect();
    let found = lvm::groups(&volumes);
    let place_of = |physical: &PhysicalVolume| {
        let known = names.iter().find(|(name, _, _)| *name == physical.volume);
        known.map(|(_, path, place)| (path.clone(), *place))
    };
    let group = |found: FoundGroup| {
        let members = found.group.physical_volumes.iter().filter_map(place_of).collect();
        StandingGroup { found, members }
    };
    Ok(Standing { others, groups: found.groups.into_iter().map(group).collect(), broken: found.broken })
}

/// Has the script partition a blank disk for each target, where the layout is that of a script.
fn have_partitioned(
    request: &DeployRequest,
    manifest: &Manifest,
    options: &DeployOptions,
    targets: &mut [Target],
) -> Result<()> {
    let Some(file) = &request.script else { return Ok(()) };
    if options.layout != Layout::Script {
        bail!("{} partitions only for the layout script; add --layout script", file.name);
    }
    for target in targets {
        if let Some(disk) = manifest.disks.iter().find(|disk| disk.number == target.number) {
            target.made = Some(script::rehearse(file, &request.image, disk, &target.disk, options)?);
        }
    }
    Ok(())
}

/// The targets that were named, else those of the schema.
fn requested_targets(request: &DeployRequest, choices: &Choices) -> Result<Vec<TargetRequest>> {
    if !request.targets.is_empty() {
        return Ok(request.targets.clone());
    }
    let target = |(number, destination): &(u32, Destination)| TargetRequest {
        receives: Some(*number),
        disk: PlanTarget::Disk(destination.clone()),
    };
    let targets: Vec<TargetRequest> = choices.destinations.iter().map(target).collect();
    match &request.schema {
        Some(file) if targets.is_empty() => {
            bail!("{} names no targets; add them there, or name the disks with --disk", file.name)
        }
        _ => Ok(targets),
    }
}

fn find_disk(
    target: &PlanTarget,
    keeps: bool,
    chosen: Option<SectorSize>,
    captured: Option<SectorSize>,
) -> Result<MachineDisk> {
    match target {
        PlanTarget::Disk(disk) if keeps => kept_disk(&disks::path_of(disk)?, chosen, captured),
        PlanTarget::Disk(disk) => target_disk(&disks::path_of(disk)?, chosen, captured),
        PlanTarget::Size(bytes) => Ok(imagined(*bytes, chosen.or(captured))),
    }
}

/// Partitions of a schema's disks, on the targets that these disks go onto.
fn kept_on(targets: &[Target], keep: &[(u32, u32)]) -> Keep {
    let of = |target: &Target| {
        let mine = keep.iter().filter(|(disk, _)| *disk == target.number);
        let path = target.disk.path.clone();
        mine.map(|(_, number)| KeptPartition { disk: Some(path.clone()), number: *number })
            .collect::<Vec<_>>()
    };
    Keep::Partitions(targets.iter().flat_map(of).collect())
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
fn with_real_paths(
    mut options: DeployOptions,
    requested: &[TargetRequest],
    offered: &[Offered],
) -> DeployOptions {
    let Keep::Partitions(kept) = &mut options.keep else { return options };
    for name in kept.iter_mut().filter_map(|kept| kept.disk.as_mut()) {
        let Ok(disk) = name.parse::<Destination>();
        let named = |target: &TargetRequest| target.disk == PlanTarget::Disk(disk.clone());
        if let Some((_, found)) = requested.iter().zip(offered).find(|(target, _)| named(target)) {
            name.clone_from(&found.disk.path);
        }
    }
    options
}

/// A disk that is only planned for.
fn imagined(size_bytes: u64, sector_size: Option<SectorSize>) -> MachineDisk {
    let name = format!("a disk of {}", crate::units::format_size(size_bytes));
    MachineDisk::new(name, size_bytes, sector_size.unwrap_or(SectorSize::B512))
}
