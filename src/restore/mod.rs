//! Carry out a restore plan through traits: preflight, clear, write, grow or shrink, customize, commit, abandon.
//!
//! Invariants:
//!
//! - Nothing is written before everything that can be known beforehand is checked: the plan, the indexes,
//!   the used maps, the presence of every chunk, the tools that are needed, the bytes of the new table.
//! - Every chunk is verified before one byte of it is written.
//! - A step that fails is a problem of a finished deploy, but for a vital one and a file system that stays mounted. Where it was to
//!   let what names partitions follow, the table and the volume groups get the captured identifiers, unless something else has them.
//! - Volume groups are described when all of their volumes are written and resized, each label after its metadata.
//! - The table is written after everything else, sector 0 last. Until then the disk is plainly
//!   unbootable, and after a failure it is made so again.
//! - What the firmware keeps is written last of all, and nothing of it makes a deploy fail.
//! - What the plan keeps of the target is behind a guard that lets no write through. A kept partition can be
//!   reached by a table at any moment. Of a volume group that stays, only the extents of the volumes that are
//!   restored are let through.

mod boot_entries;
mod clear;
mod commit;
mod customize;
mod error;
mod groups;
mod guard;
mod preflight;
mod shrink;
mod volume;

pub use boot_entries::follow as follow_boot_entries;
pub use error::{Error, Failure, Left};
pub use preflight::{Prepared, prepare, refuse_schema};

use crate::blockio::WriteAt;
use crate::customize::{Customizer, Firmware};
use crate::machine::MachineDisk;
use crate::partition::{self, Trust};
use crate::plan::{DeployPlan, DiskPlan, Resize, VolumeAction, VolumePlan};
use crate::progress::{Event, Monitor, Phase};
use crate::resize::{Change, Resizer};
use crate::units::ByteRange;
use groups::Logical;
use guard::Guarded;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;
use volume::Site;

/// What is needed to carry out a plan, apart from the plan.
pub struct Surroundings<'a> {
    /// What changes the size of file systems.
    pub resizer: &'a dyn Resizer,
    /// What takes the steps of the plan.
    pub customizer: &'a dyn Customizer,
    /// What starts the machine.
    pub firmware: &'a dyn Firmware,
    /// Number of threads that fetch, decompress, verify and write.
    pub workers: NonZeroUsize,
    /// Who listens.
    pub monitor: &'a dyn Monitor,
}

/// Counters that the workers share.
struct Totals {
    total_bytes: u64,
    done_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
}

/// A deploy that is done.
#[derive(Debug)]
pub struct Finished<'a> {
    /// What stands on the targets: the plan, or the same with captured identifiers where something could not follow to new ones.
    pub plan: &'a DeployPlan,
    /// A sentence for each thing that needs attention although the deploy is done.
    pub problems: Vec<String>,
}

/// Carries out a prepared plan on `targets`, one disk for each of the plan's, in its order.
///
/// # Errors
/// A [`Failure`] says what went wrong and whether a target was changed. A changed target has no table, or one of what
/// stays alone.
pub fn run<'a>(
    prepared: &'a Prepared<'_>,
    targets: &[&dyn WriteAt],
    around: &Surroundings<'_>,
) -> Result<Finished<'a>, Failure> {
    let totals = Totals {
        total_bytes: prepared.total_bytes(),
        done_bytes: AtomicU64::new(0),
        fetched_bytes: AtomicU64::new(0),
    };
    if targets.len() != prepared.plan.disks.len() {
        return Err(Failure::before(Error::Targets {
            expected: prepared.plan.disks.len(),
            given: targets.len(),
        }));
    }
    for (disk, target) in prepared.plan.disks.iter().zip(targets) {
        if target.size_bytes() != disk.target.size_bytes {
            return Err(Failure::before(Error::SizeChanged {
                disk: disk.target.path.clone(),
                planned_bytes: disk.target.size_bytes,
                found_bytes: target.size_bytes(),
            }));
        }
    }
    let guarded: Vec<Guarded<'_>> = prepared
        .plan
        .disks
        .iter()
        .zip(targets)
        .map(|(disk, target)| Guarded::new(*target, disk.spared()))
        .collect();
    let targets: Vec<&dyn WriteAt> = guarded.iter().map(|target| -> &dyn WriteAt { target }).collect();
    let targets = targets.as_slice();
    for (disk, target) in prepared.plan.disks.iter().zip(targets) {
        check_found(disk, *target).map_err(Failure::before)?;
    }
    groups::check_found(prepared.plan, targets).map_err(Failure::before)?;
    let mut begun = 0usize;
    let result = carry_out(prepared, targets, &totals, around, &mut begun);
    let result = result.map_err(|error| match error {
        // A request that was not tried again, or files that were not copied on, because somebody asked to stop.
        Error::Store(_) | Error::Resize { change: Change::Shrink, .. } | Error::Customize { .. }
            if around.monitor.cancelled() =>
        {
            Error::Cancelled
        }
        error => error,
    });
    result.map_err(|error| abandon(prepared, targets, begun, error))
}

/// Where something stays, the table that it was planned with still stands there.
fn check_found(disk: &DiskPlan, target: &dyn WriteAt) -> Result<(), Error> {
    let Some(found) = disk.stays.found() else { return Ok(()) };
    let path = || disk.target.path.clone();
    let now = partition::read(target, disk.target.logical_sector_bytes, Trust::Undecided)
        .map_err(|source| Error::Table { disk: path(), source })?;
    if now.table == *found { Ok(()) } else { Err(Error::TableChanged { disk: path() }) }
}

/// Carries everything out. `begun` counts the targets that were, or may have been, written to.
fn carry_out<'a>(
    prepared: &'a Prepared<'_>,
    targets: &[&dyn WriteAt],
    totals: &Totals,
    around: &Surroundings<'_>,
    begun: &mut usize,
) -> Result<Finished<'a>, Error> {
    let groups = groups::open(prepared.plan, targets)?;
    for (disk, target) in prepared.plan.disks.iter().zip(targets) {
        if around.monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        *begun = begun.saturating_add(1);
        clear::clear(prepared, disk, *target, around.monitor)?;
    }
    groups.iter().try_for_each(Logical::clear)?;
    flush(targets, "flushing what was cleared")?;
    start(Phase::Write, Some(totals.total_bytes), around.monitor);
    for (disk, target) in prepared.plan.disks.iter().zip(targets) {
        let site = Site::on_disk(disk, *target);
        disk.volumes.iter().try_for_each(|planned| write_volume(prepared, planned, site, totals, around))?;
    }
    for logical in &groups {
        write_volume(prepared, logical.planned, logical.site(), totals, around)?;
    }
    flush(targets, "flushing the volumes")?;
    finish(Phase::Write, around.monitor);
    resize(prepared, targets, &groups, around)?;
    let customize::Customized { mut problems, codes, keeps_names, .. } =
        customize::customize(prepared, targets, around)?;
    start(Phase::Commit, None, around.monitor);
    let ending = prepared.ending(keeps_names);
    groups::describe(ending, targets)?;
    for ((disk, table), target) in ending.tables().zip(targets) {
        let mine = codes.iter().rfind(|code| code.target == disk.target.path);
        let pieces = commit::with_code(table, mine.map(|code| code.code.as_slice()));
        commit::write_table(disk, &pieces, *target)?;
    }
    let plan = ending.plan;
    problems.extend(boot_entries::follow(plan, targets, around.firmware, true, around.monitor));
    finish(Phase::Commit, around.monitor);
    Ok(Finished { plan, problems })
}

/// Leaves every target that was begun plainly unbootable after a failure, with what stays. One that was not begun
/// keeps what it has.
fn abandon(prepared: &Prepared<'_>, targets: &[&dyn WriteAt], begun: usize, error: Error) -> Failure {
    let mut disks = prepared.plan.disks.iter().zip(targets).take(begun).peekable();
    let Some(left) = disks.peek().map(|(disk, _)| Left::of(&disk.stays)) else {
        return Failure::before(error);
    };
    let mut not_cleared = Vec::new();
    for (disk, target) in disks {
        if let Err(error) = commit::clear_what_can_be(disk, prepared.meanwhile_of(disk), *target) {
            not_cleared.push(format!("{}: {error}", disk.target.path));
        }
    }
    // A logical volume may lie on targets that were not begun; what it held is given up in any case.
    for logical in groups::open(prepared.plan, targets).unwrap_or_default() {
        if let Err(error) = logical.abandon() {
            not_cleared.push(format!("{}: {error}", logical.disk.path));
        }
    }
    Failure::after(error, left, not_cleared)
}

fn write_volume(
    prepared: &Prepared<'_>,
    planned: &VolumePlan,
    site: Site<'_>,
    totals: &Totals,
    around: &Surroundings<'_>,
) -> Result<(), Error> {
    match planned.action {
        VolumeAction::Write => volume::write(prepared, site, planned, None, totals, around),
        VolumeAction::WriteGap { gap } => volume::write(prepared, site, planned, Some(gap), totals, around),
        VolumeAction::RecreateSwap => commit::write_swap(prepared, planned, site.target),
        VolumeAction::MakePhysicalVolume | VolumeAction::LeaveEmpty => Ok(()),
    }
}

fn flush(targets: &[&dyn WriteAt], what: &str) -> Result<(), Error> {
    targets.iter().try_for_each(|target| {
        let range = ByteRange::new(0, target.size_bytes());
        target.flush().map_err(|source| Error::Write { what: what.into(), range, source })
    })
}

/// Grows and shrinks the file systems whose volumes have another size.
fn resize(
    prepared: &Prepared<'_>,
    targets: &[&dyn WriteAt],
    groups: &[Logical<'_>],
    around: &Surroundings<'_>,
) -> Result<(), Error> {
    let of_disks =
        prepared.plan.disks.iter().zip(targets).flat_map(|(disk, target)| {
            disk.volumes.iter().map(|volume| (volume, &disk.target, *target, false))
        });
    let of_groups =
        groups.iter().map(|logical| (logical.planned, &logical.disk, logical.site().target, true));
    let planned: Vec<(&VolumePlan, Resize, &MachineDisk, &dyn WriteAt, bool)> = of_disks
        .chain(of_groups)
        .filter_map(|(volume, disk, target, mapped)| Some((volume, volume.resize?, disk, target, mapped)))
        .collect();
    if planned.is_empty() {
        return Ok(());
    }
    start(Phase::Resize, None, around.monitor);
    for (volume, resize, disk, target, mapped) in planned {
        if around.monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        let (change, kind, to_bytes) = match resize {
            Resize::Grow { kind, to_bytes, .. } => (Change::Grow, kind, to_bytes),
            Resize::Shrink { kind, to_bytes, .. } => (Change::Shrink, kind, to_bytes),
        };
        around.monitor.event(Event::VolumeStarted {
            phase: Phase::Resize,
            volume: volume.volume.clone(),
            content: format!("{change} {kind}"),
            total_bytes: to_bytes,
        });
        let grown = match change {
            Change::Shrink => {
                shrink::shrink(prepared, disk, volume, kind, target, around)?;
                Ok(())
            }
            Change::Grow if mapped => around.resizer.grow_shown(target, disk, kind),
            Change::Grow => around.resizer.grow(disk, volume.place, kind),
        };
        grown.map_err(|source| Error::Resize {
            change,
            volume: volume.volume.clone(),
            source: Box::new(source),
        })?;
        around.monitor.event(Event::VolumeFinished { phase: Phase::Resize, volume: volume.volume.clone() });
    }
    flush(targets, "flushing the volumes of a new size")?;
    finish(Phase::Resize, around.monitor);
    Ok(())
}

fn start(phase: Phase, total_bytes: Option<u64>, monitor: &dyn Monitor) {
    monitor.event(Event::PhaseStarted { phase, total_bytes });
}

fn finish(phase: Phase, monitor: &dyn Monitor) {
    monitor.event(Event::PhaseFinished { phase });
}
