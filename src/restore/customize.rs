//! The steps of a plan, one after the other.

use super::preflight::Prepared;
use super::{Error, Surroundings, finish, start};
use crate::blockio::WriteAt;
use crate::customize::Deployed;
use crate::progress::{Event, Phase};
use crate::units::ByteRange;

/// Takes every step. Returns sentences about what needs attention.
pub(super) fn customize(
    prepared: &Prepared<'_>,
    targets: &[&dyn WriteAt],
    around: &Surroundings<'_>,
) -> Result<Vec<String>, Error> {
    let plan = prepared.plan;
    let mut problems = Vec::new();
    if plan.steps.is_empty() {
        return Ok(problems);
    }
    start(Phase::Customize, None, around.monitor);
    for step in &plan.steps {
        if around.monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        let phase = Phase::Customize;
        around.monitor.event(Event::VolumeStarted {
            phase,
            volume: step.volume().to_owned(),
            content: step.to_string(),
            total_bytes: 0,
        });
        let taken = around.customizer.take(step, Deployed { plan, targets }, around.monitor);
        problems.extend(taken.map_err(|source| Error::Customize {
            volume: step.volume().to_owned(),
            step: step.to_string(),
            source: Box::new(source),
        })?);
        around.monitor.event(Event::VolumeFinished { phase, volume: step.volume().to_owned() });
    }
    for target in targets {
        target.flush().map_err(|source| Error::Write {
            what: "flushing what was changed in the volumes".into(),
            range: ByteRange::new(0, target.size_bytes()),
            source,
        })?;
    }
    finish(Phase::Customize, around.monitor);
    Ok(problems)
}
