//! The steps of a plan, one after the other.

use super::preflight::Prepared;
use super::{Error, Surroundings, finish, start};
use crate::blockio::{Window, WriteAt};
use crate::customize::{BootCode, CustomizeError, Deployed, Taken, not_taken};
use crate::plan::{self, BootFiles, DeployPlan, NoWayBack, Step, System};
use crate::progress::{Event, Phase};
use crate::units::{ByteRange, MIB};

/// What the steps leave behind.
#[derive(Default)]
pub(super) struct Customized {
    /// A sentence for each thing that needs attention.
    pub problems: Vec<String>,
    /// Code for sectors 0.
    pub codes: Vec<BootCode>,
    /// True: disks, partitions and volume groups are to have the captured identifiers, not the new ones.
    pub keeps_names: bool,
    /// Targets and places on them that were to get a new file system, and have none.
    not_made: Vec<(String, ByteRange)>,
}

/// What names partitions in a volume, behind a step that was to let it follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// It names them as the plan does.
    Follow,
    /// The step failed, and it names them as before.
    Stay,
    /// What could follow does; what could not names them as they were captured.
    Partly,
    /// The step failed, and nobody knows.
    Unknown,
}

impl Customized {
    /// On the way back the same may be found once more.
    fn note(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// A disk that does not start comes first, because nothing else matters as much.
    fn note_first(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.insert(0, problem);
        }
    }

    /// What becomes of a step that was not taken.
    fn fail(&mut self, step: &Step, plan: &DeployPlan, why: String) {
        match step {
            Step::BootFiles(files) => self.note_first(does_not_start(files, &why)),
            _ => self.note(told(step, plan, why)),
        }
    }

    /// Why a step cannot be begun: what it writes into was not made.
    fn lacks(&self, step: &Step) -> Option<CustomizeError> {
        let (target, place) = match step {
            Step::BootFiles(files) => (&files.target, files.loader.place()),
            Step::FallbackLoader { target, place, .. } => (target, *place),
            _ => return None,
        };
        let mut not_made = self.not_made.iter();
        not_made.any(|(path, other)| path == target && other.overlaps(place)).then(|| {
            CustomizeError::Refused {
                fact: "the new file system that it writes into could not be made".to_owned(),
            }
        })
    }
}

fn does_not_start(files: &BootFiles, why: &str) -> String {
    let by_hand = match files.system {
        System::Linux => "have grub-install make them from a rescue system",
        System::Windows => "have bcdboot make them from Windows' installation medium",
    };
    format!("{} does not start by itself: {why}; deploy again, or {by_hand}", files.target)
}

/// A sentence about a step; with its target, where another one receives the same disk.
fn told(step: &Step, plan: &DeployPlan, sentence: String) -> String {
    let of = |target: &str| {
        plan.disks.iter().find(|disk| disk.target.path == target).and_then(|disk| disk.source_number)
    };
    match step.target().and_then(|target| Some((target, of(target)?))) {
        Some((target, number))
            if plan.disks.iter().filter(|disk| disk.source_number == Some(number)).count() > 1 =>
        {
            format!("{target}: {sentence}")
        }
        _ => sentence,
    }
}

/// Takes every step. One that fails is a problem, unless it is vital, or its disk cannot be let go.
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
        let names = take(step, plan, targets, around, &mut done)?;
        if names == Names::Follow || done.keeps_names {
            continue;
        }
        match way_back(prepared, around) {
            Ok(back) => {
                done.keeps_names = true;
                done.note(format!(
                    "every disk, partition and volume group keeps the identifiers that it was captured with, because what names them \
                     in {} could not follow to new ones; put that right and deploy again where they have to differ",
                    step.volume()
                ));
                go_back(back, (position, names), targets, around, &mut done)?;
            }
            // The step has told what does not start.
            Err(None) => {}
            Err(Some(why)) => done.note(told(
                step,
                plan,
                format!(
                    "{} does not follow to the new identifiers of partitions, and a system on it does not start until it does: see its \
                     fstab and its boot loader; the captured ones cannot stay, because {why}",
                    step.volume()
                ),
            )),
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

/// The plan by whose steps what followed goes back. Not where another disk of the machine has one of the captured identifiers: the
/// machine might take one disk for the other, and of a volume group neither would start. An error is why not; `None` where nothing
/// is new.
fn way_back<'a>(
    prepared: &'a Prepared<'_>,
    around: &Surroundings<'_>,
) -> Result<&'a DeployPlan, Option<String>> {
    let back = prepared.way_back().map_err(|why| match why {
        NoWayBack::NothingNew => None,
        why => Some(why.to_string()),
    })?;
    let targets: Vec<&str> = prepared.plan.disks.iter().map(|disk| disk.target.path.as_str()).collect();
    let elsewhere = around.firmware.partitions_elsewhere(&targets).and_then(|partitions| {
        let partitions = partitions.into_iter().map(|id| plan::id_in_files(&id));
        Ok(partitions.chain(around.firmware.groups_elsewhere(&targets)?).collect::<Vec<_>>())
    });
    let ids = plan::captured_ids(prepared.plan);
    match elsewhere {
        Ok(elsewhere) if elsewhere.iter().any(|id| ids.contains(id)) => {
            Err(Some("another disk of this machine has one of them".to_owned()))
        }
        Ok(_) => Ok(back),
        Err(error) => Err(Some(format!(
            "whether another disk of this machine has one of them could not be seen ({})",
            error.with_causes()
        ))),
    }
}

/// Has everything that followed in the steps up to one that failed name what it named before.
fn go_back(
    back: &DeployPlan,
    (failed, left): (usize, Names),
    targets: &[&dyn WriteAt],
    around: &Surroundings<'_>,
    done: &mut Customized,
) -> Result<(), Error> {
    let steps = (0..=failed).zip(&back.steps).filter(|(_, step)| step.changes_names());
    for (position, step) in steps {
        let before = if position < failed { Names::Follow } else { left };
        let is_back = match (before, take(step, back, targets, around, done)?) {
            (_, Names::Follow) => true,
            // Nothing of it had followed, or what had is back.
            (Names::Stay, Names::Stay | Names::Partly) | (Names::Partly, Names::Partly) => true,
            _ => false,
        };
        if !is_back {
            done.note(told(
                step,
                back,
                format!(
                    "{} may name partitions by identifiers that none of them has: see its fstab and its boot loader before it is \
                     started",
                    step.volume()
                ),
            ));
        }
    }
    Ok(())
}

/// Takes one step.
fn take(
    step: &Step,
    plan: &DeployPlan,
    targets: &[&dyn WriteAt],
    around: &Surroundings<'_>,
    done: &mut Customized,
) -> Result<Names, Error> {
    if around.monitor.cancelled() {
        return Err(Error::Cancelled);
    }
    let (phase, volume) = (Phase::Customize, || step.volume().into_owned());
    let (content, total_bytes) = (step.to_string(), 0);
    around.monitor.event(Event::VolumeStarted { phase, volume: volume(), content, total_bytes });
    let deployed = Deployed { plan, targets, is_rehearsal: false };
    let taken = match done.lacks(step) {
        Some(error) => Err(error),
        None => around.customizer.take(step, deployed, around.monitor),
    };
    let names = match taken {
        Ok(Taken { problems, boot_code, keeps_names }) => {
            problems.into_iter().for_each(|problem| done.note(told(step, plan, problem)));
            done.codes.extend(boot_code);
            if keeps_names { Names::Partly } else { Names::Follow }
        }
        // Files that were not copied on, because somebody asked to stop.
        Err(_) if around.monitor.cancelled() => return Err(Error::Cancelled),
        Err(source) if step.is_vital() || source.stays_mounted() => {
            let source = Box::new(source);
            return Err(Error::Customize { volume: volume(), step: step.to_string(), source });
        }
        Err(error) => {
            done.fail(step, plan, not_taken(step, &error));
            if let Step::MakeFileSystem { target, place, .. } = step {
                forget(plan, target, *place, targets);
                done.not_made.push((target.clone(), *place));
            }
            match error {
                _ if !step.changes_names() => Names::Follow,
                CustomizeError::NotPutBack { .. } => Names::Unknown,
                _ => Names::Stay,
            }
        }
    };
    around.monitor.event(Event::VolumeFinished { phase, volume: volume() });
    Ok(names)
}

/// Overwrites the beginning of a place whose new file system could not be made: nothing takes what stood there for it.
fn forget(plan: &DeployPlan, path: &str, place: ByteRange, targets: &[&dyn WriteAt]) {
    let mut disks = plan.disks.iter().zip(targets);
    let Some((_, target)) = disks.find(|(disk, _)| disk.target.path == path) else { return };
    let Ok(window) = Window::new(*target, place) else { return };
    // Where that fails too, flushing the target says so.
    let _ = window.write_zeros(ByteRange::new(0, place.length().min(MIB)));
}
