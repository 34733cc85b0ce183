//! What is taken away from a target before anything is written to it: everything by which firmware or a system
//! could recognise what stood there, apart from what stays.

use super::Error;
use super::preflight::{self, Prepared};
use super::{commit, finish, start};
use crate::blockio::WriteAt;
use crate::plan::{Clearing, DiskPlan, Stays};
use crate::progress::{Event, Monitor, Phase};
use crate::units::{ByteRange, RangeSet};
use std::io;

/// Clears a target. Where partitions stay, a table of only these takes the place of the old one first, so that they
/// can be reached at any moment.
pub(super) fn clear(
    prepared: &Prepared<'_>,
    disk: &DiskPlan,
    target: &dyn WriteAt,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    start(Phase::Clear, None, monitor);
    let failed = |range: ByteRange| {
        move |source: io::Error| Error::Write { what: "clearing old signatures".into(), range, source }
    };
    let whole = ByteRange::new(0, target.size_bytes());
    let meanwhile = prepared.meanwhile_of(disk);
    if !meanwhile.is_empty() {
        commit::write_table(disk, meanwhile, target)?;
    }
    let untouched = commit::untouched(disk, meanwhile);
    if !matches!(disk.stays, Stays::Table { .. }) {
        commit::clear_tables(&untouched, target).map_err(failed(whole))?;
    }
    if disk.free_space == Clearing::Discard {
        discard(disk, &untouched, target, monitor);
    }
    for range in disk.clear.iter().flat_map(|range| untouched.gaps(*range).ranges().to_vec()) {
        target.write_zeros(range).map_err(failed(range))?;
    }
    if disk.free_space == Clearing::Zero {
        for gap in unoccupied(disk, &untouched, target.size_bytes()).iter() {
            zero_in_steps(target, gap, monitor)?;
        }
    }
    target.flush().map_err(failed(whole))?;
    finish(Phase::Clear, monitor);
    Ok(())
}

fn discard(disk: &DiskPlan, untouched: &RangeSet, target: &dyn WriteAt, monitor: &dyn Monitor) {
    let whole = ByteRange::new(0, target.size_bytes());
    let result = untouched.gaps(whole).iter().try_for_each(|gap| target.discard(gap));
    if let Err(error) = result {
        monitor.event(Event::Warning {
            subject: disk.target.path.clone(),
            message: format!("the device did not discard its old content, free space keeps it: {error}"),
        });
    }
}

/// The stretches of the disk that belong to no volume whose content is written, for there its free space is
/// zeroed as well.
fn unoccupied(disk: &DiskPlan, untouched: &RangeSet, size_bytes: u64) -> RangeSet {
    let written = disk.volumes.iter().filter(|volume| preflight::scope(volume).is_some());
    let places: RangeSet = written.map(|volume| volume.place).collect();
    places.union(untouched).gaps(ByteRange::new(0, size_bytes))
}

/// Zeroes in steps, so that a request to stop is heard on a large disk.
pub(super) fn zero_in_steps(
    target: &dyn WriteAt,
    range: ByteRange,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
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
