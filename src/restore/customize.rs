//! The steps of a plan, one after the other.

use super::preflight::Prepared;
use super::{Error, Surroundings, finish, start};
use crate::blockio::WriteAt;
use crate::customize::{Deployed, Taken};
use crate::progress::{Event, Phase};
use crate::units::ByteRange;

/// Takes every step. Returns what they leave behind.
pub(super) fn customize(
    prepared: &Prepared<'_>,
    targets: &[&dyn WriteAt],
    around: &Surroundings<'_>,
) -> Result<Vec<Taken>, Error> {
    let plan = prepared.plan;
    let mut taken = Vec::new();
    if plan.steps.is_empty() {
        return Ok(taken);
    }
    start(Phase::Customize, None, around.monitor);
    for step in &plan.steps {
        if around.monitor.cancelled() {
            return Err(Error::Cancelled);
        }
        let phase = Phase::Customize;
        around.monitor.event(Event::VolumeStarted {
            phase,
            volume: step.volume().into_owned(),
            content: step.to_string(),
            total_bytes: 0,
        });
        let result =
            around.customizer.take(step, Deployed { plan, targets, is_rehearsal: false }, around.monitor);
        taken.push(result.map_err(|source| Error::Customize {
            volume: step.volume().into_owned(),
            step: step.to_string(),
            source: Box::new(source),
        })?);
        around.monitor.event(Event::VolumeFinished { phase, volume: step.volume().into_owned() });
    }
    for target in targets {
        target.flush().map_err(|source| Error::Write {
            what: "flushing what was changed in the volumes".into(),
            range: ByteRange::new(0, target.size_bytes()),
            source,
        })?;
    }
    finish(Phase::Customize, around.monitor);
    Ok(taken)
}
