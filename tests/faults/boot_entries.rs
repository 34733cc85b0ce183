//! The boot entries of a firmware follow a deploy that is done, and no other; a firmware that refuses is a problem.

use super::disk::{Target, Tear};
use super::image::{Capture, Image, ONE_WORKER, version};
use super::source::{self, MIB, noise};
use super::trigger::Trigger;
use fatfs::{FatType, FormatVolumeOptions};
use remint::blockio::{MemoryDisk, Window, WriteAt, read_vec};
use remint::customize::fat::{self, NewFile};
use remint::customize::{CustomizeError, Firmware, RehearsedFirmware, efi_system};
use remint::linux::{Customizations, Tools};
use remint::machine::MachineDisk;
use remint::plan::{self, DeployOptions, DeployPlan, Step, check};
use remint::progress::{Event, Monitor};
use remint::restore::{self, Failure, Surroundings};
use remint::schema::{self, Keep, Layout, Table};
use remint::uefi::{Change, DevicePath, HardDrive, LoadOption, Node, PartitionId, Variables, hard_drives};
use remint::units::{ByteRange, Guid, SectorSize};
use std::io::{self, Cursor};
use std::sync::{Mutex, OnceLock};

const SHIM: &str = r"\EFI\debian\shimx64.efi";
/// Every so many calls to the target fail.
const STRIDE: u64 = 23;
const TARGET_BYTES: usize = 24 * MIB;

/// A firmware that nobody asks for entries, of a machine without another disk.
pub struct Untouched;

impl Firmware for Untouched {
    fn read(&self) -> Result<Variables, CustomizeError> {
        unimplemented!("no entry follows")
    }
    fn partitions_elsewhere(&self, _: &[&str]) -> Result<Vec<PartitionId>, CustomizeError> {
        Ok(Vec::new())
    }
    fn groups_elsewhere(&self, _: &[&str]) -> Result<Vec<String>, CustomizeError> {
        Ok(Vec::new())
    }
    fn write(&self, _: &Change) -> Result<(), CustomizeError> {
        unimplemented!("no entry follows")
    }
}

/// How a firmware takes what is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Refuses,
    Forgets,
}

struct Memory {
    variables: Mutex<Variables>,
    elsewhere: Vec<PartitionId>,
    mood: Mood,
}

impl Firmware for Memory {
    fn read(&self) -> Result<Variables, CustomizeError> {
        Ok(self.variables.lock().unwrap().clone())
    }
    fn partitions_elsewhere(&self, targets: &[&str]) -> Result<Vec<PartitionId>, CustomizeError> {
        assert_eq!(targets, ["/dev/sda"]);
        Ok(self.elsewhere.clone())
    }
    fn groups_elsewhere(&self, targets: &[&str]) -> Result<Vec<String>, CustomizeError> {
        assert_eq!(targets, ["/dev/sda"]);
        Ok(Vec::new())
    }
    fn write(&self, change: &Change) -> Result<(), CustomizeError> {
        match self.mood {
            Mood::Forgets => return Ok(()),
            Mood::Refuses => {
                let source = io::Error::from_raw_os_error(28);
                return Err(CustomizeError::Io { doing: "writing the variable Boot0004".to_owned(), source });
            }
            Mood::Good => {}
        }
        let mut variables = self.variables.lock().unwrap();
        match change {
            Change::Entry { number, is, .. } => drop(variables.entries.insert(*number, is.clone())),
            Change::Order { is, .. } => variables.order.clone_from(is),
        }
        Ok(())
    }
}

/// A disk of 12 MiB with an EFI system partition of 4 MiB, in which Debian is and the fallback path is not.
fn image() -> &'static Image {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let disk = DISK.get_or_init(|| {
            let table = "label: gpt\nstart=2048, size=8192, type=U\nstart=10240, size=8192, type=L\n";
            let mut disk = source::partitioned(12 * MIB, table);
            let mut esp = vec![0; 4 * MIB];
            let options = FormatVolumeOptions::new().fat_type(FatType::Fat12);
            fatfs::format_volume(Cursor::new(&mut esp), options).unwrap();
            let volume = MemoryDisk::from_bytes(&esp);
            let loader = |name: &str| NewFile { path: format!("EFI/debian/{name}"), bytes: noise(3000, 5) };
            fat::write(&volume, &[loader("shimx64.efi"), loader("grubx64.efi")]).unwrap();
            source::put(&mut disk, MIB, &read_vec(&volume, 0, 4 * MIB).unwrap());
            source::put(&mut disk, 5 * MIB, &noise(MIB, 6));
            disk
        });
        Capture::of(&[disk]).image()
    })
}

fn efi_system(table: &Table) -> HardDrive {
    hard_drives(table)[0]
}

fn options(change: impl FnOnce(&mut DeployOptions)) -> DeployOptions {
    let mut options = DeployOptions {
        started_by: Some(schema::Firmware::Uefi),
        new_ids: true,
        seed: Some("000102030405060708090a0b0c0d0e0f".parse().unwrap()),
        ..DeployOptions::of(Layout::Dynamic)
    };
    change(&mut options);
    options
}

fn planned_on(disk: MachineDisk, options: &DeployOptions) -> DeployPlan {
    let disks = &image().manifest.disks;
    let mut targets = plan::match_disks(disks, &[disk]).unwrap();
    if options.keep != Keep::Nothing {
        targets[0].found = Some(disks[0].table.clone());
    }
    plan::deploy("machine", "1", disks, &targets, options).unwrap()
}

/// A plan with the step for the fallback path alone: the others depend on what this machine's kernel can mount.
fn planned() -> DeployPlan {
    let disk = MachineDisk::new("/dev/sda", TARGET_BYTES as u64, SectorSize::B512);
    let mut plan = planned_on(disk, &options(|_| ()));
    plan.steps.retain(|step| matches!(step, Step::FallbackLoader { .. }));
    plan
}

/// Debian's entry as the captured machine had it, behind the network.
fn firmware(mood: Mood) -> Memory {
    let entry = LoadOption::of_file("debian", efi_system(&image().manifest.disks[0].table), SHIM);
    let variables =
        Variables { entries: [(4, entry)].into_iter().collect(), order: vec![4], ..Variables::default() };
    Memory { variables: Mutex::new(variables), elsewhere: Vec::new(), mood }
}

/// An entry that starts from the network.
fn network() -> LoadOption {
    let node = |subtype, data: &[u8]| Node { kind: 3, subtype, data: data.to_vec() };
    let path =
        DevicePath { nodes: vec![node(11, &[0; 33]), node(12, &[0; 15])], tail: vec![0x7F, 0xFF, 4, 0] };
    LoadOption { path, ..LoadOption::of_file("UEFI PXEv4", efi_system(&image().manifest.disks[0].table), "") }
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Monitor for Told {
    fn event(&self, event: Event) {
        if let Event::Changed { volume, message } = event {
            self.0.lock().unwrap().push(format!("{volume}: {message}"));
        }
    }
}

fn run(plan: &DeployPlan, target: &Target, firmware: &Memory) -> (Result<Vec<String>, Failure>, Vec<String>) {
    let (image, told) = (image(), Told::default());
    let (resizer, customizer) = (Tools::default(), Customizations);
    let prepared =
        restore::prepare(plan, &image.manifest, &image.store, version("1"), &resizer, &customizer).unwrap();
    let (workers, monitor) = (ONE_WORKER, &told);
    let around = Surroundings { resizer: &resizer, customizer: &customizer, firmware, workers, monitor };
    let result = restore::run(&prepared, &[target], &around).map(|finished| finished.problems);
    let told = told.0.lock().unwrap().clone();
    (result, told)
}

fn target(trigger: Trigger) -> Target {
    Target::new(&vec![0; TARGET_BYTES], trigger, Tear::Before)
}

#[test]
fn an_entry_follows_and_the_fallback_path_is_there_before() {
    let (plan, target, firmware) = (planned(), target(Trigger::never()), firmware(Mood::Good));
    let (result, told) = run(&plan, &target, &firmware);
    assert_eq!(result.unwrap(), [""; 0]);
    let now = efi_system(&plan.disks[0].table);
    let expected = [
        r"partition 1: \EFI\BOOT\grubx64.efi is new, a copy of \EFI\debian\grubx64.efi".to_owned(),
        r"partition 1: \EFI\BOOT\BOOTX64.EFI is new, a copy of \EFI\debian\shimx64.efi".to_owned(),
        format!("firmware: Boot0004 \"debian\" follows to {now}{SHIM}"),
    ];
    assert_eq!(told, expected);
    let variables = firmware.read().unwrap();
    assert_eq!(variables.entries[&4], LoadOption::of_file("debian", now, SHIM));
    assert_eq!(variables.order, [4]);
    let window = Window::new(MemoryDisk::from_bytes(&target.bytes()), plan.boot_entries[0].place).unwrap();
    assert_eq!(efi_system::programs(&window).unwrap().len(), 4);
    // Done again, nothing differs.
    let (result, told) = run(&plan, &Target::new(&target.bytes(), Trigger::never(), Tear::Before), &firmware);
    assert_eq!(result.unwrap(), [""; 0]);
    assert_eq!(told, expected[..2]);
}

#[test]
fn an_entry_of_a_captured_disk_that_is_still_there_stays_and_another_is_made() {
    let mut firmware = firmware(Mood::Good);
    firmware.elsewhere = vec![efi_system(&image().manifest.disks[0].table).id];
    let before = firmware.read().unwrap();
    let (result, told) = run(&planned(), &target(Trigger::never()), &firmware);
    assert_eq!(result.unwrap(), [""; 0]);
    assert_eq!(told.last().unwrap(), "firmware: BootOrder is 0000,0004 instead of 0004");
    assert_eq!(firmware.read().unwrap().entries[&4], before.entries[&4]);
}

#[test]
fn what_was_deployed_comes_first_where_that_was_asked_for() {
    let other = HardDrive {
        id: PartitionId::Gpt { guid: Guid::from_u128(7) },
        ..efi_system(&planned().disks[0].table)
    };
    for (first, order) in [(false, vec![3, 4]), (true, vec![4, 3])] {
        let firmware = firmware(Mood::Good);
        {
            let mut variables = firmware.variables.lock().unwrap();
            variables.entries.insert(3, LoadOption::of_file("other", other, SHIM));
            variables.order = vec![3, 4];
        }
        let disk = MachineDisk::new("/dev/sda", TARGET_BYTES as u64, SectorSize::B512);
        let mut plan = planned_on(disk, &options(|options| options.boot_first = first));
        plan.steps.retain(|step| matches!(step, Step::FallbackLoader { .. }));
        let (result, _) = run(&plan, &target(Trigger::never()), &firmware);
        assert_eq!(result.unwrap(), [""; 0]);
        assert_eq!(firmware.read().unwrap().order, order);
    }
}

#[test]
fn a_firmware_that_refuses_or_forgets_is_a_problem_of_a_deploy_that_is_done() {
    let plan = planned();
    let now = efi_system(&plan.disks[0].table);
    let refused = "the firmware's boot entries do not follow to /dev/sda: writing the variable Boot0004: No space left on \
                   device (os error 28); the disk starts by the fallback path, or choose it in the firmware's setup";
    let forgot = format!(
        "the firmware's boot entries do not follow to /dev/sda: it took this and has something else now: Boot0004 \
         \"debian\" follows to {now}{SHIM}; the disk starts by the fallback path, or choose it in the firmware's setup"
    );
    for (mood, said) in [(Mood::Refuses, refused), (Mood::Forgets, forgot.as_str())] {
        let target = target(Trigger::never());
        let (result, _) = run(&plan, &target, &firmware(mood));
        assert_eq!(result.unwrap(), [said]);
        let reading = remint::partition::read(&target, SectorSize::B512, remint::partition::Trust::Undecided);
        assert_eq!(hard_drives(&reading.unwrap().table), hard_drives(&plan.disks[0].table));
    }
}

/// As `customize` has them follow on a disk that is deployed: planned from what the disk holds.
#[test]
fn an_entry_follows_on_a_disk_that_is_deployed_and_a_rehearsal_says_the_same() {
    let (plan, target) = (planned(), target(Trigger::never()));
    run(&plan, &target, &firmware(Mood::Good)).0.unwrap();
    let disk = MemoryDisk::from_bytes(&target.bytes());
    let bytes: &'static [u8] = Box::leak(target.bytes().into_boxed_slice());
    let held = Capture::of(&[bytes]).image().manifest.disks;
    let machine = MachineDisk::new("/dev/sda", TARGET_BYTES as u64, SectorSize::B512);
    let targets = plan::match_disks(&held, &[machine]).unwrap();
    let options =
        DeployOptions { started_by: Some(schema::Firmware::Uefi), ..DeployOptions::of(Layout::Original) };
    let same = plan::deploy("machine", "1", &held, &targets, &options).unwrap();
    let now = efi_system(&plan.disks[0].table);
    assert_eq!(same.boot_entries[0].efi_system, now);
    // The partition is the same, and was elsewhere; the network is first, and a stranger's entry is there.
    let firmware = firmware(Mood::Good);
    {
        let mut variables = firmware.variables.lock().unwrap();
        let moved = HardDrive { partition_start: 77, ..now };
        variables.entries.insert(4, LoadOption::of_file("debian", moved, SHIM));
        let stranger = HardDrive { id: PartitionId::Gpt { guid: Guid::from_u128(7) }, ..now };
        variables.entries.insert(2, LoadOption::of_file("other", stranger, SHIM));
        variables.entries.insert(3, network());
        variables.order = vec![3, 2];
    }
    let before = firmware.read().unwrap();
    let follow = |firmware: &dyn Firmware| {
        let told = Told::default();
        let targets: [&dyn WriteAt; 1] = [&disk];
        assert_eq!(restore::follow_boot_entries(&same, &targets, firmware, false, &told), [""; 0]);
        told.0.into_inner().unwrap()
    };
    let expected = [
        format!("firmware: Boot0004 \"debian\" follows to {now}{SHIM}"),
        "firmware: BootOrder is 0003,0004,0002 instead of 0003,0002".to_owned(),
    ];
    assert_eq!(follow(&RehearsedFirmware::new(&firmware)), expected);
    assert!(firmware.read().unwrap() == before, "a rehearsal wrote something");
    assert_eq!(follow(&firmware), expected);
    let after = firmware.read().unwrap();
    assert_eq!(after.entries[&4], LoadOption::of_file("debian", now, SHIM));
    assert_eq!(after.entries[&2], before.entries[&2]);
    assert_eq!(follow(&firmware), [""; 0]);
    // A workbench knows nothing of the disk: it goes on to start what it started.
    firmware.variables.lock().unwrap().entries.remove(&4);
    let before = firmware.read().unwrap();
    assert_eq!(follow(&firmware), [""; 0]);
    assert!(firmware.read().unwrap() == before, "an entry was made");
}

#[test]
fn a_deploy_that_fails_leaves_the_firmware_alone() {
    let plan = planned();
    // Reading and writing a FAT takes thousands of calls.
    super::for_every_call(|n| {
        let (target, firmware) = (target(Trigger::once(n * STRIDE)), firmware(Mood::Good));
        let before = firmware.read().unwrap();
        let (result, _) = run(&plan, &target, &firmware);
        let is_untouched = firmware.read().unwrap() == before;
        match &result {
            Ok(problems) => assert!(!is_untouched || !problems.is_empty(), "call {n}"),
            Err(failure) => assert!(is_untouched, "call {n}: {failure}"),
        }
        target.fired()
    });
}

#[test]
fn entries_follow_only_where_a_machine_with_uefi_keeps_the_disk_and_the_table_is_new() {
    let disk = || MachineDisk::new("/dev/sda", TARGET_BYTES as u64, SectorSize::B512);
    let follow = |disk: MachineDisk, change: &dyn Fn(&mut DeployOptions)| {
        let plan = planned_on(disk, &options(|options| change(options)));
        let steps = plan.steps.iter().filter(|step| matches!(step, Step::FallbackLoader { .. })).count();
        assert_eq!(steps, plan.boot_entries.len());
        assert_eq!(check(&plan, &image().manifest), Ok(()));
        let text = plan::explain(&plan, &image().manifest);
        assert_eq!(text.contains("Boot entries of the firmware"), steps > 0, "{text}");
        let is_first = plan.boot_entries.iter().any(|entries| entries.first);
        assert_eq!(text.contains("before the network too"), is_first, "{text}");
        steps > 0
    };
    assert!(follow(disk(), &|_| ()));
    assert!(follow(disk(), &|options| options.layout = Layout::Custom));
    assert!(follow(disk(), &|options| options.boot_first = true));
    assert!(!follow(disk(), &|options| options.keep_boot_entries = true));
    assert!(!follow(disk(), &|options| options.started_by = Some(schema::Firmware::Bios)));
    assert!(!follow(disk(), &|options| options.started_by = None));
    assert!(!follow(disk(), &|options| options.without = vec!["d0-p1".to_owned()]));
    assert!(!follow(MachineDisk { kind: remint::machine::DiskKind::File, ..disk() }, &|_| ()));
    assert!(!follow(MachineDisk { removable: true, ..disk() }, &|_| ()));
    for transport in ["usb", "loop"] {
        assert!(!follow(MachineDisk { transport: Some(transport.to_owned()), ..disk() }, &|_| ()));
    }
    let same_size = || MachineDisk { size_bytes: 12 * MIB as u64, ..disk() };
    let kept = |options: &mut DeployOptions| {
        (options.new_ids, options.keep) = (false, Keep::Table(Vec::new()));
    };
    assert!(!follow(same_size(), &kept));
}

#[test]
fn a_plan_whose_entries_name_something_else_is_refused() {
    type Spoil = fn(&mut DeployPlan);
    let faults: [(&str, Spoil); 5] = [
        ("it is no target", |plan| plan.boot_entries[0].target = "/dev/sdb".to_owned()),
        ("no EFI system partition", |plan| plan.boot_entries[0].partition = 2),
        ("no EFI system partition", |plan| plan.boot_entries[0].place = ByteRange::new(0, 512)),
        ("not in its table", |plan| {
            plan.boot_entries[0].followed[0].is.id = PartitionId::Gpt { guid: Guid::from_u128(1) };
        }),
        ("twice", |plan| plan.boot_entries.push(plan.boot_entries[0].clone())),
    ];
    for (says, change) in faults {
        let mut plan = planned();
        change(&mut plan);
        let faults = check(&plan, &image().manifest).unwrap_err();
        assert!(faults.iter().any(|fault| fault.to_string().contains(says)), "{says}: {faults:?}");
    }
}
