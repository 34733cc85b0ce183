//! Deploys with a step between the last volume and the table: whatever fails, nothing can start from the target, unless only the step does.

use super::deploy::{Deploy, Outcome};
use super::disk::{Target, Tear};
use super::trigger::{StopAt, Trigger};
use super::{GPT_TARGET, for_every_call, gpt};
use remint::blockio::WriteAt;
use remint::customize::{BOOT_CODE_BYTES, BootCode, CustomizeError, Customizer, Deployed, Taken};
use remint::plan::{BootFiles, DeployPlan, Loader, NewContent, NewPartition, Step, System};
use remint::progress::{Event, Monitor, Silent};
use remint::restore;
use remint::schema::{FileSystemKind, Firmware, FreeSpace};
use std::io;

/// What the test's step writes at this place of its volume.
pub const STAMP: [u8; 512] = [0x5B; 512];
pub const STAMP_AT: u64 = 8192;
/// The code that it wants in sector 0.
pub const CODE: [u8; BOOT_CODE_BYTES] = [0xC0; BOOT_CODE_BYTES];

/// A step of which a sector comes to stand in its volume.
#[derive(Default)]
pub struct Stamp {
    pub missing: Option<String>,
    pub fails: bool,
    /// Only where a file system is made.
    pub fails_to_make: bool,
    pub problem: Option<String>,
}

impl Customizer for Stamp {
    fn missing(&self, _: &Step, _: &DeployPlan) -> Option<String> {
        self.missing.clone()
    }
    fn take(
        &self,
        step: &Step,
        deployed: Deployed<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Taken, CustomizeError> {
        if self.fails || (self.fails_to_make && matches!(step, Step::MakeFileSystem { .. })) {
            return Err(CustomizeError::Unsupported { fact: "no loader is there".to_owned() });
        }
        let failed = |source: io::Error| CustomizeError::Io { doing: "stamping".to_owned(), source };
        for (disk, target) in deployed.plan.disks.iter().zip(deployed.targets) {
            let volume = disk.volumes.iter().find(|planned| planned.volume == step.volume()).unwrap();
            target.write_at(volume.place.start() + STAMP_AT, &STAMP).map_err(failed)?;
            target.flush().map_err(failed)?;
            let (volume, message) = (step.volume().into_owned(), "it has a stamp".to_owned());
            monitor.event(Event::Changed { volume, message });
        }
        let Step::BootFiles(files) = step else { panic!("{step}") };
        let boot_code = Some(BootCode { target: files.target.clone(), code: CODE });
        Ok(Taken { problems: self.problem.iter().cloned().collect(), boot_code, ..Taken::default() })
    }
}

/// A deploy with a step for the second partition.
fn stamped(stamp: Stamp) -> Deploy<'static> {
    let mut deploy = Deploy::new(gpt(), &GPT_TARGET, FreeSpace::Keep);
    let target = deploy.plan.disks[0].target.path.clone();
    let place = deploy.plan.disks[0].volumes.iter().find(|volume| volume.volume == "d0-p2").unwrap().place;
    // The partition counts as a new one too, so that the loader has a place.
    let (content, reason) = (NewContent::Empty, String::new());
    deploy.plan.disks[0].made.push(NewPartition { partition: 2, place, content, reason });
    let files = BootFiles {
        target,
        volume: "d0-p2".to_owned(),
        system: System::Linux,
        firmware: Firmware::Uefi,
        file_system: FileSystemKind::Ext2,
        uuid: None,
        loader: Loader::EfiSystem { place, serial: 0 },
        partition_was: None,
        gone: Vec::new(),
        configuration: None,
    };
    deploy.take(Step::BootFiles(files), stamp);
    deploy
}

#[test]
fn a_step_is_taken_before_the_table_is_there_and_its_problem_is_told() {
    let deploy = stamped(Stamp { problem: Some("look at it".to_owned()), ..Stamp::default() });
    let targets: Vec<Target> = deploy.before.iter().map(|before| Target::recording(before)).collect();
    let outcome = deploy.run(&targets, &deploy.image.store, &Silent);
    assert!(matches!(&outcome, Outcome::Problems(problems) if problems == &["look at it"]), "{outcome:?}");
    deploy.judge(&targets, &outcome, "stamped");
    deploy.judge_power_cuts(&targets);
}

#[test]
fn a_target_call_that_fails_beside_a_step_ends_in_a_plain_target_or_a_good_one_with_or_without_the_step() {
    let deploy = stamped(Stamp::default());
    for tear in [Tear::Before, Tear::Half] {
        for_every_call(|n| {
            let targets = deploy.targets(0, || Trigger::once(n), tear);
            let outcome = deploy.run(&targets, &deploy.image.store, &Silent);
            let what = format!("{tear:?}, call {n}");
            match &outcome {
                Outcome::Problems(problems) if problems[0].contains("does not start by itself") => {
                    deploy.judge_without_step(&targets, &what);
                }
                _ => deploy.judge(&targets, &outcome, &what),
            }
            targets[0].fired()
        });
    }
}

#[test]
fn boot_files_that_cannot_be_made_are_the_first_problem_of_a_disk_with_its_table() {
    let mut deploy = stamped(Stamp::default());
    deploy.fail_steps(Stamp { fails: true, ..Stamp::default() });
    let targets = deploy.sound_targets();
    let outcome = deploy.run(&targets, &deploy.image.store, &Silent);
    deploy.judge(&targets, &outcome, "a step that fails");
    let Outcome::Problems(problems) = outcome else { panic!("{outcome:?}") };
    let path = &deploy.plan.disks[0].target.path;
    assert_eq!(
        problems,
        [format!(
            "{path} does not start by itself: making boot files for UEFI (d0-p2) failed: no loader is there; deploy again, or have \
             grub-install make them from a rescue system"
        )]
    );
}

#[test]
fn nothing_is_written_into_a_file_system_that_could_not_be_made() {
    let mut deploy = stamped(Stamp::default());
    let new = deploy.plan.disks[0].made[0].clone();
    let target = deploy.plan.disks[0].target.path.clone();
    let made = Step::MakeFileSystem { target, partition: 2, place: new.place, content: new.content };
    deploy.plan.steps.insert(0, made);
    deploy.fail_steps(Stamp { fails_to_make: true, ..Stamp::default() });
    let targets = deploy.sound_targets();
    let Outcome::Problems(problems) = deploy.run(&targets, &deploy.image.store, &Silent) else { panic!() };
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("does not start by itself: making boot files for UEFI"), "{problems:?}");
    assert!(
        problems[0].contains("the new file system that it writes into could not be made"),
        "{problems:?}"
    );
    assert!(problems[1].contains("(new partition 2) failed: no loader is there"), "{problems:?}");
    let bytes = targets[0].bytes();
    let start = new.place.start() as usize;
    assert!(bytes[start..start + (1 << 16)].iter().all(|byte| *byte == 0), "something is recognised there");
}

#[test]
fn a_deploy_with_a_step_stops_on_request_at_any_moment() {
    let deploy = stamped(Stamp::default());
    for_every_call(|n| {
        let stop = StopAt(Trigger::once(n));
        let targets = deploy.sound_targets();
        let outcome = deploy.run(&targets, &deploy.image.store, &stop);
        deploy.judge(&targets, &outcome, &format!("event {n}"));
        stop.0.fired()
    });
}

#[test]
fn what_a_step_lacks_and_a_step_about_nothing_are_refused_before_anything_is_written() {
    let lacking = stamped(Stamp { missing: Some("install it".to_owned()), ..Stamp::default() });
    let mut wrong = stamped(Stamp::default());
    let Step::BootFiles(files) = &mut wrong.plan.steps[0] else { panic!() };
    "d0-p77".clone_into(&mut files.volume);
    for (deploy, says) in [(lacking, "install it"), (wrong, "d0-p77")] {
        let targets = deploy.sound_targets();
        let outcome = deploy.run(&targets, &deploy.image.store, &Silent);
        deploy.judge(&targets, &outcome, says);
        let Outcome::Refused(error) = outcome else { panic!("{outcome:?}") };
        assert!(error.to_string().contains(says), "{error}");
        assert!(matches!(error, restore::Error::MissingForStep { .. } | restore::Error::Plan(_)));
    }
}
