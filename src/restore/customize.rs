//! The steps of a plan, one after the other.

use super::preflight::Prepared;
use super::{Error, Surroundings, finish, start};
use crate::blockio::WriteAt;
use crate::customize::{BootCode, Deployed, Taken, not_taken};
use crate::plan::{DeployPlan, Step};
use crate::progress::{Event, Phase};
use crate::units::ByteRange;

/// What the steps leave behind.
#[derive(Default)]
pub(super) struct Customized {
    /// A sentence for each thing that needs attention.
    pub problems: Vec<String>,
    /// Code for sectors 0.
    pub codes: Vec<BootCode>,
    /// True: disks, partitions and volume groups are to have the captured identifiers, not the new ones.
    pub keeps_names: bool,
}

impl Customized {
    /// On the way back the same may be found once more.
    fn note(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Takes every step. One that fails is a problem, unless it is vital.
pub(super) fn customize(
    prepared: &Prepared<'_>,
    targets: &[&dyn WriteAt],
    around: &Surroundings<'_>,
) -> Result<Customized, Error> {
    let mut done = Customized::default();
    if prepared.plan.steps.is_empty() {
        return Ok(done);
    }
    start(Phase::Customize, None, around.monitor);
    for position in 0..prepared.plan.steps.len() {
        let plan = prepared.ending(done.keeps_names).plan;
        let Some(step) = plan.steps.get(position) else { break };
        let follows = take(step, plan, targets, around, &mut done)?;
        if follows || done.keeps_names {
            continue;
        }
        if let Some(back) = prepared.way_back() {
            done.keeps_names = true;
            done.problems.push(format!(
                "every disk, partition and volume group keeps the identifiers that it was captured with, because what names them \
                 in {} could not follow to new ones; put that right and deploy again where they have to differ",
                step.volume()
            ));
            go_back(back, position, targets, around, &mut done)?;
        }
    }
    for target in targets {
        target.flush().map_err(|source| Error::Write {
            what: "flushing what was changed in the volumes".into(),
            range: ByteRange::new(0, target.size_bytes()),
            source,
        })?;
    }
    finish(Phase::Customize, around.monitor);
    Ok(done)
}

/// Has everything that followed in the steps up to one that failed name what it named before.
fn go_back(
    back: &DeployPlan,
    failed: usize,
    targets: &[&dyn WriteAt],
    around: &Surroundings<'_>,
    done: &mut Customized,
) -> Result<(), Error> {
    let steps = (0..=failed).zip(&back.steps).filter(|(_, step)| step.changes_names());
    for (position, step) in steps {
        // What failed before was told, and changed nothing, or not all.
        if !take(step, back, targets, around, done)? && position < failed {
            done.problems.push(format!(
                "{} may name partitions by identifiers that none of them has: see its fstab and its boot loader before it is started",
                step.volume()
            ));
        }
    }
    Ok(())
}

/// Takes one step. False where something could not follow to the names that partitions have in the plan.
fn take(
    step: &Step,
    plan: &DeployPlan,
    targets: &[&dyn WriteAt],
    around: &Surroundings<'_>,
    done: &mut Customized,
) -> Result<bool, Error> {
    if around.monitor.cancelled() {
        return Err(Error::Cancelled);
    }
    let (phase, volume) = (Phase::Customize, || step.volume().into_owned());
    let (content, total_bytes) = (step.to_string(), 0);
    around.monitor.event(Event::VolumeStarted { phase, volume: volume(), content, total_bytes });
    let deployed = Deployed { plan, targets, is_rehearsal: false };
    let follows = match around.customizer.take(step, deployed, around.monitor) {
        Ok(Taken { problems, boot_code, keeps_names }) => {
            problems.into_iter().for_each(|problem| done.note(problem));
            done.codes.extend(boot_code);
            !keeps_names
        }
        // Files that were not copied on, because somebody asked to stop.
        Err(_) if around.monitor.cancelled() => return Err(Error::Cancelled),
        Err(source) if step.is_vital() => {
            let source = Box::new(source);
            return Err(Error::Customize { volume: volume(), step: step.to_string(), source });
        }
        Err(error) => {
            done.note(not_taken(step, &error));
            !step.changes_names()
        }
    };
    around.monitor.event(Event::VolumeFinished { phase, volume: volume() });
    Ok(follows)
}
