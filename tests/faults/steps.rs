//! A step that fails: the deploy is finished with problems and names it, the others are taken, and what names partitions names those
//! of the table that is written. Only what is vital fails a deploy.

use super::boot_entries::Untouched;
use super::deploy::{Marker, assert_plain, machine_disk};
use super::disk::{Target, Tear};
use super::image::{ONE_WORKER, version};
use super::source::MIB;
use super::trigger::{StopAt, Trigger};
use super::{for_every_call, gpt, group, two_disks};
use remint::blockio::{Window, WriteAt};
use remint::customize::references::rewrite;
use remint::customize::{CustomizeError, Customizer, Deployed, Firmware, Taken};
use remint::filesystem::lvm;
use remint::image::{Manifest, Store};
use remint::partition::{self, Trust};
use remint::plan::{self, DeployOptions, DeployPlan, Step, Target as Onto};
use remint::progress::{Monitor, Silent};
use remint::restore::{self, Error, Failure, Surroundings};
use remint::schema::{Layout, Table};
use remint::uefi::{Change, PartitionId, Variables, hard_drives};
use remint::units::SectorSize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Nothing was done.
    Whole,
    /// Half of what names partitions followed, which is said.
    Half,
    /// So does every later one.
    Forever,
    /// One text followed and cannot be put back, and every later one fails.
    Torn,
    /// A file system stays mounted.
    Held,
}

/// A system on every volume, with a text that names all captured partitions and groups, and another that does.
struct Systems {
    fails: Trigger,
    manner: Manner,
    texts: Mutex<BTreeMap<String, [String; 2]>>,
    taken: Mutex<Vec<String>>,
}

impl Systems {
    fn new(plan: &DeployPlan, captured: &BTreeSet<String>, fails: Trigger, manner: Manner) -> Self {
        let text: String = captured.iter().map(|id| format!("ID={id}\n")).collect();
        let names = plan.steps.iter().filter(|step| step.changes_names());
        let texts = names.map(|step| (step.volume().into_owned(), [text.clone(), text.clone()])).collect();
        Self { fails, manner, texts: Mutex::new(texts), taken: Mutex::default() }
    }
}

impl Customizer for Systems {
    fn missing(&self, _: &Step, _: &DeployPlan) -> Option<String> {
        None
    }
    fn take(&self, step: &Step, deployed: Deployed<'_>, _: &dyn Monitor) -> Result<Taken, CustomizeError> {
        let fails = self.fails.strikes();
        if fails && self.manner == Manner::Held {
            let source = std::io::Error::from_raw_os_error(16);
            return Err(CustomizeError::StaysMounted { doing: "unmounting it".to_owned(), source });
        }
        if fails && self.manner == Manner::Torn {
            return Err(CustomizeError::NotPutBack { fact: "one is not put back".to_owned() });
        }
        if fails && (self.manner != Manner::Half || !step.changes_names()) {
            return Err(CustomizeError::Refused { fact: "there is no room".to_owned() });
        }
        self.taken.lock().unwrap().push(step.to_string());
        if let Step::PartitionNames { target, volume, .. } = step {
            let names = plan::names_for(deployed.plan, target);
            let mut texts = self.texts.lock().unwrap();
            for text in texts.get_mut(volume).unwrap().iter_mut().take(if fails { 1 } else { 2 }) {
                if let Some((new, _)) = rewrite(text.as_bytes(), &names) {
                    *text = String::from_utf8(new).unwrap();
                }
            }
        }
        let problems = if fails { vec![format!("{} followed by half", step.volume())] } else { Vec::new() };
        Ok(Taken { problems, keeps_names: fails, ..Taken::default() })
    }
}

/// By what systems name what a table and its groups hold.
fn names_of_table(table: &Table) -> BTreeSet<String> {
    match table {
        Table::Gpt(gpt) => {
            gpt.partitions.iter().map(|entry| entry.partition_guid.to_string().to_lowercase()).collect()
        }
        Table::Mbr(mbr) => {
            let name = |number| format!("{:08x}-{number:02x}", mbr.disk_signature);
            // The extended one is no partition that anything names.
            mbr.partitions.iter().map(|entry| entry.number).filter(|number| *number != 2).map(name).collect()
        }
        Table::None => BTreeSet::new(),
    }
}

fn names_of(plan: &DeployPlan, targets: &[Target]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, (disk, target)) in plan.disks.iter().zip(targets).enumerate() {
        let reading = partition::read(target, SectorSize::B512, Trust::Undecided).unwrap();
        assert_eq!(reading.findings, [], "{}", disk.target.path);
        names.extend(names_of_table(&reading.table));
        for member in plan.groups.iter().flat_map(|group| &group.members).filter(|it| it.disk == index) {
            let window = Window::new(target, member.place).unwrap();
            let found = lvm::groups(&[("d0-p1", &window)]);
            assert_eq!(found.doubts, []);
            names.extend(names_of_group(&found.groups[0].group));
        }
    }
    names
}

fn names_of_group(group: &remint::schema::VolumeGroup) -> BTreeSet<String> {
    let logical = group.logical_volumes.iter().map(|logical| logical.uuid.clone());
    logical.chain([group.uuid.clone()]).collect()
}

/// An image on targets of these sizes, with new identifiers and a name.
struct Lab<'a> {
    manifest: &'a Manifest,
    store: &'a dyn Store,
    plan: DeployPlan,
    captured: BTreeSet<String>,
    sizes: Vec<usize>,
    elsewhere: Elsewhere,
}

/// What stands on other disks of the machine.
#[derive(Clone, Default)]
struct Elsewhere {
    partitions: Vec<PartitionId>,
    groups: Vec<String>,
    is_unknown: bool,
}

impl Firmware for Elsewhere {
    fn read(&self) -> Result<Variables, CustomizeError> {
        Untouched.read()
    }
    fn partitions_elsewhere(&self, _: &[&str]) -> Result<Vec<PartitionId>, CustomizeError> {
        let fact = "no disk can be listed".to_owned();
        if self.is_unknown { Err(CustomizeError::Refused { fact }) } else { Ok(self.partitions.clone()) }
    }
    fn groups_elsewhere(&self, _: &[&str]) -> Result<Vec<String>, CustomizeError> {
        Ok(self.groups.clone())
    }
    fn write(&self, change: &Change) -> Result<(), CustomizeError> {
        Untouched.write(change)
    }
}

impl<'a> Lab<'a> {
    fn new(manifest: &'a Manifest, store: &'a dyn Store, sizes: &[usize]) -> Self {
        let machine: Vec<_> = (0..).zip(sizes).map(|(number, size)| machine_disk(number, *size)).collect();
        let mut targets = plan::match_disks(&manifest.disks, &machine[..manifest.disks.len()]).unwrap();
        // What is left receives copies of the first.
        let copies = machine.iter().skip(manifest.disks.len());
        targets.extend(copies.map(|disk| Onto::new(manifest.disks[0].number, disk.clone())));
        let options = DeployOptions {
            new_ids: true,
            seed: Some("000102030405060708090a0b0c0d0e0f".parse().unwrap()),
            computer_name: Some("pc-07".to_owned()),
            new_ssh_host_keys: true,
            ..DeployOptions::of(Layout::Dynamic)
        };
        let plan = plan::deploy("machine", "1", manifest, &targets, &options).unwrap();
        let mut captured: BTreeSet<String> =
            manifest.disks.iter().flat_map(|disk| names_of_table(&disk.table)).collect();
        captured.extend(manifest.volume_groups.iter().flat_map(names_of_group));
        let (sizes, elsewhere) = (sizes.to_vec(), Elsewhere::default());
        Self { manifest, store, plan, captured, sizes, elsewhere }
    }

    fn run(
        &self,
        customizer: &dyn Customizer,
        monitor: &dyn Monitor,
    ) -> (Result<Vec<String>, Failure>, Vec<Target>) {
        let targets: Vec<Target> = self
            .sizes
            .iter()
            .map(|size| Target::new(&super::source::noise(*size, 9), Trigger::never(), Tear::Before))
            .collect();
        let resizer = Marker { plan: &self.plan, targets: &targets };
        let prepared =
            restore::prepare(&self.plan, self.manifest, self.store, version("1"), &resizer, customizer)
                .unwrap();
        let disks: Vec<&dyn WriteAt> = targets.iter().map(|target| -> &dyn WriteAt { target }).collect();
        let (firmware, workers) = (&self.elsewhere, ONE_WORKER);
        let around = Surroundings { resizer: &resizer, customizer, firmware, workers, monitor };
        let result = restore::run(&prepared, &disks, &around).map(|finished| {
            let mut said: BTreeSet<String> =
                finished.plan.disks.iter().flat_map(|disk| names_of_table(&disk.table)).collect();
            said.extend(finished.plan.groups.iter().flat_map(|group| names_of_group(&group.group)));
            assert_eq!(said, names_of(&self.plan, &targets));
            finished.problems
        });
        (result, targets)
    }
}

fn labs() -> Vec<Lab<'static>> {
    let (manifest, store) = group::shared_image();
    let image =
        |image: &'static super::Image, sizes: &[usize]| Lab::new(&image.manifest, &image.store, sizes);
    vec![
        image(gpt(), &super::GPT_TARGET),
        image(two_disks(), &super::TWO_TARGETS),
        Lab::new(manifest, store, &[12 * MIB + 512]),
    ]
}

#[test]
fn whichever_step_fails_the_deploy_is_finished_and_everything_names_what_is_there() {
    for lab in labs() {
        let steps = &lab.plan.steps;
        assert!(steps.len() > 3, "{steps:?}");
        for manner in [Manner::Whole, Manner::Half] {
            for (failing, step) in (1..).zip(steps) {
                let systems = Systems::new(&lab.plan, &lab.captured, Trigger::once(failing), manner);
                let (result, targets) = lab.run(&systems, &Silent);
                let (what, problems) = (format!("{manner:?} {step}, {}", step.volume()), result.unwrap());
                let halved = manner == Manner::Half && step.changes_names();
                let said = if halved {
                    format!("{} followed by half", step.volume())
                } else {
                    format!("making {step} ({}) failed: there is no room", step.volume())
                };
                assert_eq!(problems[0], said, "{what}: {problems:?}");
                let kept = problems.iter().any(|problem| problem.contains("keeps the identifiers"));
                assert_eq!((problems.len(), kept), if step.changes_names() { (2, true) } else { (1, false) });
                let names = names_of(&lab.plan, &targets);
                assert_eq!(names == lab.captured, step.changes_names(), "{what}");
                for (volume, texts) in &*systems.texts.lock().unwrap() {
                    for text in texts {
                        let named: BTreeSet<String> =
                            text.lines().map(|line| line.trim_start_matches("ID=").to_owned()).collect();
                        assert_eq!(named, names, "{what}: {volume}");
                    }
                }
                for other in steps.iter().filter(|other| *other != step) {
                    assert!(systems.taken.lock().unwrap().contains(&other.to_string()), "{what}: {other}");
                }
            }
        }
    }
}

#[test]
fn what_can_not_go_back_either_is_told_by_name() {
    for lab in labs() {
        let renamed: Vec<usize> =
            (0..lab.plan.steps.len()).filter(|at| lab.plan.steps[*at].changes_names()).collect();
        let [.., before, last] = renamed[..] else { continue };
        let fails = Trigger::from(last as u64 + 1);
        let systems = Systems::new(&lab.plan, &lab.captured, fails, Manner::Forever);
        let problems = lab.run(&systems, &Silent).0.unwrap();
        let said = format!("{} may name partitions by identifiers", lab.plan.steps[before].volume());
        assert!(problems.iter().any(|problem| problem.starts_with(&said)), "{problems:?}");
    }
}

#[test]
fn a_step_that_leaves_something_that_cannot_be_put_back_is_told_by_name_too() {
    let lab = labs().remove(0);
    let first = lab.plan.steps.iter().position(Step::changes_names).unwrap();
    let systems = Systems::new(&lab.plan, &lab.captured, Trigger::from(first as u64 + 1), Manner::Torn);
    let problems = lab.run(&systems, &Silent).0.unwrap();
    let said = format!("{} may name partitions by identifiers", lab.plan.steps[first].volume());
    assert!(problems.iter().any(|problem| problem.starts_with(&said)), "{problems:?}");
}

#[test]
fn a_file_system_that_stays_mounted_fails_the_deploy_and_nothing_more_is_written() {
    for lab in labs() {
        for (failing, step) in (1..).zip(&lab.plan.steps) {
            let systems = Systems::new(&lab.plan, &lab.captured, Trigger::once(failing), Manner::Held);
            let (result, targets) = lab.run(&systems, &Silent);
            let failure = result.unwrap_err();
            assert!(matches!(&failure.error, Error::Customize { .. }), "{step}: {failure:?}");
            assert_eq!(systems.taken.lock().unwrap().len() as u64, failing - 1, "{step}");
            targets.iter().for_each(|target| assert_plain(target, &step.to_string()));
        }
    }
}

/// Every identifier is a new one, though a step that lets names follow failed, and its volume is named.
fn assert_new(lab: &Lab<'_>, why: &str) {
    let failing = lab.plan.steps.iter().position(Step::changes_names).unwrap();
    let systems = Systems::new(&lab.plan, &lab.captured, Trigger::once(failing as u64 + 1), Manner::Whole);
    let (result, targets) = lab.run(&systems, &Silent);
    let problems = result.unwrap();
    let said = format!("{} does not follow to the new identifiers", lab.plan.steps[failing].volume());
    let said =
        problems.iter().find(|problem| problem.contains(&said)).unwrap_or_else(|| panic!("{problems:?}"));
    assert!(said.contains(why) && said.contains("does not start until it does"), "{said}");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(names_of(&lab.plan, &targets).is_disjoint(&lab.captured));
}

#[test]
fn no_disk_becomes_the_twin_of_another_one_of_the_machine() {
    let why = "another disk of this machine has one of them";
    for mut lab in labs() {
        let drives = hard_drives(&lab.manifest.disks[0].table);
        if !drives.is_empty() {
            lab.elsewhere.partitions = vec![drives[0].id];
            assert_new(&lab, why);
        }
        lab.elsewhere = Elsewhere { is_unknown: true, ..Elsewhere::default() };
        assert_new(&lab, "no disk can be listed");
        lab.elsewhere = Elsewhere::default();
        if let Some(group) = lab.manifest.volume_groups.first() {
            lab.elsewhere.groups = vec![group.physical_volumes[0].uuid.clone()];
            assert_new(&lab, why);
        }
    }
}

#[test]
fn of_two_copies_of_one_disk_each_keeps_its_own_identifiers_and_is_told_by_its_path() {
    let (manifest, store) = group::shared_image();
    let twice = [12 * MIB + 512, 12 * MIB + 512];
    let image = gpt();
    let labs = [
        Lab::new(&image.manifest, &image.store, &[super::GPT_TARGET[0], super::GPT_TARGET[0]]),
        Lab::new(manifest, store, &twice),
    ];
    for lab in labs {
        assert_new(&lab, "one of them would be there twice on the targets");
        let systems = Systems::new(&lab.plan, &lab.captured, Trigger::once(1), Manner::Whole);
        let problems = lab.run(&systems, &Silent).0.unwrap();
        assert!(problems[0].starts_with(&format!("{}: ", lab.plan.disks[0].target.path)), "{problems:?}");
    }
}

/// A lab with a script in front of its steps.
fn with_script(fatal: bool) -> Lab<'static> {
    let mut lab = labs().remove(0);
    let script = Step::Script { name: "check".to_owned(), number: 0, on: None, fatal };
    lab.plan.steps.insert(0, script);
    lab
}

#[test]
fn a_script_fails_the_deploy_where_it_is_fatal_and_is_a_problem_elsewhere() {
    for fatal in [true, false] {
        let lab = with_script(fatal);
        let systems = Systems::new(&lab.plan, &lab.captured, Trigger::once(1), Manner::Whole);
        match lab.run(&systems, &Silent) {
            (Ok(problems), _) => {
                assert!(!fatal);
                assert_eq!(problems, ["making the script check run (check) failed: there is no room"]);
            }
            (Err(failure), targets) => {
                assert!(fatal && matches!(failure.error, Error::Customize { .. }), "{failure:?}");
                assert_plain(&targets[0], "a fatal script");
            }
        }
    }
}

#[test]
fn a_deploy_whose_steps_fail_stops_on_request_at_any_moment() {
    for lab in labs() {
        for_every_call(|n| {
            let stop = StopAt(Trigger::once(n));
            let systems = Systems::new(&lab.plan, &lab.captured, Trigger::from(1), Manner::Forever);
            let (result, targets) = lab.run(&systems, &stop);
            if let Err(failure) = result {
                assert!(matches!(failure.error, Error::Cancelled), "event {n}: {failure:?}");
                targets.iter().filter(|target| target.touched()).for_each(|target| {
                    assert_plain(target, &format!("event {n}"));
                });
            }
            stop.0.fired()
        });
    }
}
