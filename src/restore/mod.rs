//! Carry out a restore plan through traits: preflight, clear, write, grow, commit, abandon.
//!
//! Invariants:
//!
//! - Nothing is written before everything that can be known beforehand is checked: the plan, the indexes,
//!   the used maps, the presence of every chunk, the tools that are needed, the bytes of the new table.
//! - Every chunk is verified before one byte of it is written.
//! - The table is written after everything else, sector 0 last. Until then the disk is plainly
//!   unbootable, and after a failure it is made so again.

mod commit;
mod error;
mod preflight;
mod volume;

pub use error::{Error, Failure};
pub use preflight::{Prepared, prepare};

use crate::blockio::WriteAt;
use crate::plan::{Clearing, DiskPlan, Resize, VolumeAction, VolumePlan};
use crate::progress::{Event, Monitor, Phase};
use crate::resize::Resizer;
use crate::units::{ByteRange, RangeSet};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;

/// What is needed to carry out a plan, apart from the plan.
pub struct Surroundings<'a> {
    /// What grows file systems.
    pub resizer: &'a dyn Resizer,
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

/// Carries out a prepared plan on `targets`, one disk for each of the plan's, in its order.
///
/// # Errors
/// A [`Failure`] says what went wrong and whether a target was changed. A changed target has no table.
pub fn run(
    prepared: &Prepared<'_>,
    targets: &[&dyn WriteAt],
    around: &Surroundings<'_>,
) -> Result<(), Failure> {
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
    let mut begun = 0usize;
    let result = carry_out(prepared, targets, &totals, around, &mut begun);
    let result = result.map_err(|error| match error {
        // A request that was not tried again because somebody asked to stop.
        Error::Store(_) if around.monitor.cancelled() => Error::Cancelled,
        error => error,
    });
    result.map_err(|error| abandon(prepared, targets.get(..begun).unwrap_or(targets), error))
}

/// Carries everything out. `begun` counts the targets that were, or may have been, written to.
fn carry_out(
    prepared: &Prepared<'_>,
    targets: &[&dyn WriteAt],
    totals: &Totals,
    around: &Surroundings<'_>,
    begun: &mut usize,
) -> Result<(), Error> {
    for (disk, target) in prepared.plan.disks.iter().zip(targets) {
        if around.monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        *begun = begun.saturating_add(1);
        clear(disk, *target, around.monitor)?;
    }
    start(Phase::Write, Some(totals.total_bytes), around.monitor);
    for (disk, target) in prepared.plan.disks.iter().zip(targets) {
        write_volumes(prepared, disk, *target, totals, around)?;
    }
    finish(Phase::Write, around.monitor);
    for (disk, target) in prepared.plan.disks.iter().zip(targets) {
        grow(disk, *target, around)?;
    }
    start(Phase::Commit, None, around.monitor);
    for (disk, target) in prepared.plan.disks.iter().zip(targets) {
        commit::write_table(disk, prepared.table_of(disk), *target)?;
    }
    finish(Phase::Commit, around.monitor);
    Ok(())
}

/// Leaves every target that was begun plainly unbootable after a failure. One that was not keeps what it has.
fn abandon(prepared: &Prepared<'_>, begun: &[&dyn WriteAt], error: Error) -> Failure {
    if begun.is_empty() {
        return Failure::before(error);
    }
    let mut not_cleared = Vec::new();
    for (disk, target) in prepared.plan.disks.iter().zip(begun) {
        if let Err(error) = commit::clear_what_can_be(*target) {
            not_cleared.push(format!("{}: {error}", disk.target.path));
        }
    }
    Failure::after(error, not_cleared)
}

/// Takes away everything by which firmware or a system could recognise what stood on the disk.
fn clear(disk: &DiskPlan, target: &dyn WriteAt, monitor: &dyn Monitor) -> Result<(), Error> {
    start(Phase::Clear, None, monitor);
    let failed = |range: ByteRange| {
        move |source: io::Error| Error::Write { what: "clearing old signatures".into(), range, source }
    };
    let whole = ByteRange::new(0, target.size_bytes());
    commit::clear_tables(target).map_err(failed(whole))?;
    if disk.free_space == Clearing::Discard
        && let Err(error) = target.discard(whole)
    {
        monitor.event(Event::Warning {
            subject: disk.target.path.clone(),
            message: format!("the device did not discard its old content, free space keeps it: {error}"),
        });
    }
    for range in &disk.clear {
        target.write_zeros(*range).map_err(failed(*range))?;
    }
    if disk.free_space == Clearing::Zero {
        for gap in unoccupied(disk, target.size_bytes()) {
            zero_in_steps(target, gap, monitor)?;
        }
    }
    target.flush().map_err(failed(whole))?;
    finish(Phase::Clear, monitor);
    Ok(())
}

/// The stretches of the disk that belong to no volume whose content is written, for there its free space is
/// zeroed as well.
fn unoccupied(disk: &DiskPlan, size_bytes: u64) -> Vec<ByteRange> {
    let written = disk.volumes.iter().filter(|volume| preflight::scope(volume).is_some());
    let places: RangeSet = written.map(|volume| volume.place).collect();
    places.gaps(ByteRange::new(0, size_bytes)).iter().collect()
}

/// Zeroes in steps, so that a request to stop is heard on a large disk.
fn zero_in_steps(target: &dyn WriteAt, range: ByteRange, monitor: &dyn Monitor) -> Result<(), Error> {
    const STEP_BYTES: u64 = 256 << 20;
    let mut position = range.start();
    while position < range.end() {
        if monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        let step = ByteRange::new(position, position.saturating_add(STEP_BYTES).min(range.end()));
        let failed = |source| Error::Write { what: "overwriting free space".into(), range: step, source };
        target.write_zeros(step).map_err(failed)?;
        position = step.end();
    }
    Ok(())
}

fn write_volumes(
    prepared: &Prepared<'_>,
    disk: &DiskPlan,
    target: &dyn WriteAt,
    totals: &Totals,
    around: &Surroundings<'_>,
) -> Result<(), Error> {
    for planned in &disk.volumes {
        match planned.action {
            VolumeAction::Write => volume::write(prepared, disk, planned, None, target, totals, around)?,
            VolumeAction::WriteGap { gap } => {
                volume::write(prepared, disk, planned, Some(gap), target, totals, around)?;
            }
            VolumeAction::RecreateSwap => commit::write_swap(prepared, disk, planned, target)?,
            VolumeAction::LeaveEmpty => {}
        }
    }
    let whole = ByteRange::new(0, target.size_bytes());
    target.flush().map_err(|source| Error::Write {
        what: "flushing the volumes".into(),
        range: whole,
        source,
    })
}

fn grow(disk: &DiskPlan, target: &dyn WriteAt, around: &Surroundings<'_>) -> Result<(), Error> {
    let planned: Vec<(&VolumePlan, Resize)> =
        disk.volumes.iter().filter_map(|volume| volume.resize.map(|resize| (volume, resize))).collect();
    if planned.is_empty() {
        return Ok(());
    }
    start(Phase::Resize, None, around.monitor);
    for (volume, Resize::Grow { kind, to_bytes, .. }) in planned {
        if around.monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        around.monitor.event(Event::VolumeStarted {
            phase: Phase::Resize,
            volume: volume.volume.clone(),
            content: format!("growing {kind}"),
            total_bytes: to_bytes,
        });
        around
            .resizer
            .grow(&disk.target, volume.place, kind)
            .map_err(|source| Error::Resize { volume: volume.volume.clone(), source: Box::new(source) })?;
        around.monitor.event(Event::VolumeFinished { phase: Phase::Resize, volume: volume.volume.clone() });
    }
    let whole = ByteRange::new(0, target.size_bytes());
    target.flush().map_err(|source| Error::Write {
        what: "flushing the grown volumes".into(),
        range: whole,
        source,
    })?;
    finish(Phase::Resize, around.monitor);
    Ok(())
}

fn start(phase: Phase, total_bytes: Option<u64>, monitor: &dyn Monitor) {
    monitor.event(Event::PhaseStarted { phase, total_bytes });
}

fn finish(phase: Phase, monitor: &dyn Monitor) {
    monitor.event(Event::PhaseFinished { phase });
}
