//! Virtual machines under test: what a scenario file says, made and run.

pub mod console;
pub mod crashed;
pub mod disks;
pub mod qemu;
pub mod scenario;
pub mod site;

use console::Missing;
use qemu::{Machine, Media};
use scenario::{Boot, Content, Ends, Firmware, Scenario, shows};
use site::Site;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What no machine may ever say.
const NEVER: [&str; 4] = ["Kernel panic", "BUG: ", "Oops: ", "panicked at"];

/// `target/boot`, where the boot environment was made; with KERNEL=own that of our own kernel (docs/kernel.md).
pub fn boot_folder() -> PathBuf {
    if own_kernel() { made_folder().join("own") } else { made_folder() }
}

/// `target/boot`, where all that is there with any kernel is made.
pub fn made_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("boot")
}

/// Whether the machines boot our own kernel.
fn own_kernel() -> bool {
    std::env::var("KERNEL").is_ok_and(|kernel| kernel == "own")
}

/// Why a scenario cannot be tried on this machine, where it cannot.
pub fn impossible(file: &Path) -> Option<&'static str> {
    let machines = Scenario::read(&std::fs::read_to_string(file).ok()?).ok()?;
    let any = |wanted: &dyn Fn(&Scenario) -> bool| machines.iter().any(wanted);
    let has = |machine: &Scenario, content| machine.disk.iter().any(|disk| disk.content == content);
    if own_kernel() && any(&|machine| machine.firmware == Firmware::UefiSecureBoot) {
        Some("nobody signed our own kernel")
    } else if any(&|machine| machine.network.script().is_some_and(|script| !qemu::own_network_works(script)))
    {
        Some("a network of its own needs root, namespaces, bridges and taps")
    } else if nix::unistd::geteuid().is_root() {
        None
    } else if any(&|machine| machine.disk.iter().any(|disk| disk.content.debian(machine.firmware).is_some()))
    {
        Some("installing a Debian needs root")
    } else if any(&|machine| has(machine, Content::Crashed)) {
        Some("mounting file systems needs root")
    } else {
        None
    }
}

/// Why a scenario did not show what it promises.
pub struct Failure {
    /// What was not shown, and where the console is kept.
    pub fact: String,
    /// True where the emulated firmware and kernel did not get as far as the agent's first line.
    pub never_began: bool,
}

impl<T: Into<String>> From<T> for Failure {
    fn from(fact: T) -> Self {
        Self { fact: fact.into(), never_began: false }
    }
}

/// Runs a scenario.
pub fn run(name: &str, file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let machines = Scenario::read(&text)?;
    let boot = boot_folder();
    let logs = boot.join("logs");
    std::fs::create_dir_all(&logs).map_err(|error| error.to_string())?;
    // Beside the kernel, so that links to it can be made.
    let folder = tempfile::Builder::new().prefix("machine-").tempdir_in(&boot).unwrap();
    let mut site: Option<Site> = None;
    let mut figures = vec![];
    for (number, scenario) in machines.iter().enumerate() {
        let needed: &[&str] = match scenario.boot {
            Boot::Iso => &["remint.iso"],
            Boot::Usb => &["remint-usb.img"],
            Boot::Network | Boot::Kernel => &["vmlinuz", "initramfs.img"],
            Boot::Disk => &[],
        };
        for file in needed {
            if !boot.join(file).exists() {
                return Err(format!("{} is missing: run make boot-image", boot.join(file).display()).into());
            }
        }
        // What the administrator needs, and the same server for all of them.
        make_disks(scenario, folder.path());
        let site = match &mut site {
            Some(site) => {
                site.serve(scenario);
                site
            }
            none => none.insert(Site::new(scenario, folder.path())),
        };
        let log = if number == 0 { format!("{name}.log") } else { format!("{name}-{}.log", number + 1) };
        figures.push(run_machine(scenario, site, folder.path(), &logs.join(log))?);
    }
    Ok(figures.join("; then: "))
}

/// The files of a machine's disks.
fn disk_files(scenario: &Scenario, folder: &Path) -> Vec<PathBuf> {
    scenario.disk.iter().enumerate().map(|(number, disk)| disks::file(disk, number, folder)).collect()
}

fn make_disks(scenario: &Scenario, folder: &Path) {
    for (number, (disk, file)) in scenario.disk.iter().zip(&disk_files(scenario, folder)).enumerate() {
        if disk.name.is_none() || !file.exists() {
            disks::make(disk, number, scenario.firmware, file);
        }
    }
}

fn run_machine(scenario: &Scenario, site: &mut Site, folder: &Path, log: &Path) -> Result<String, Failure> {
    let boot = boot_folder();
    let files = disk_files(scenario, folder);
    let unchanged = || scenario.disk.iter().zip(&files).filter(|(disk, _)| disk.unchanged);
    let before: Vec<String> = unchanged().map(|(_, file)| disks::fingerprint(file)).collect();
    if let Some(settings) = &scenario.settings {
        disks::settle(&boot.join("remint-usb.img"), &folder.join("stick"), &site.fill(settings));
    }
    let command_line = site.fill(&format!("console=ttyS0 {}", scenario.command_line));
    let media = Media { folder, boot: &boot, tftp: &site.tftp, command_line: &command_line };
    // Looked for before the time runs.
    qemu::accelerator();
    let started = Instant::now();
    let deadline = started + Duration::from_secs(scenario.seconds);
    let mut machine = Machine::start(scenario, &media, log);
    let explain = |fact| format!("{fact}\n  promise: {}\n  console: {}", scenario.promise, log.display());
    if let Err(fact) = judge(scenario, site, &mut machine, deadline) {
        // What a deployed disk does not do is never the emulator's fault.
        let never_began = machine.console.first_event.is_none() && scenario.boot != Boot::Disk;
        let last = machine.console.last_lines(12);
        return Err(Failure { fact: format!("{}\n  its last lines:\n{last}", explain(fact)), never_began });
    }
    let first = machine
        .console
        .first_event
        .map_or(String::new(), |time| format!("first event after {:.1} s, ", time.as_secs_f64()));
    drop(machine);
    let after: Vec<String> = unchanged().map(|(_, file)| disks::fingerprint(file)).collect();
    if before != after {
        return Err(explain("a disk that had to stay as it is was changed".to_owned()).into());
    }
    for (number, (disk, file)) in scenario.disk.iter().zip(&files).enumerate() {
        let explain = |fact| explain(format!("disk {number}: {fact}"));
        if disk.restored {
            crashed::is_whole_on(file).map_err(explain)?;
        }
        if let Some(name) = &disk.holds {
            disks::holds(file, &disks::named(name, folder)).map_err(explain)?;
        }
        if disk.without_table {
            disks::has_no_table(file).map_err(explain)?;
        }
    }
    for told in &scenario.told {
        let (said, wanted) = (site.administer(&told.command), site.fill(&told.shows));
        if !said.lines().any(|line| shows(line, &wanted)) {
            return Err(explain(format!("remint {} does not say \"{wanted}\":\n{said}", told.command)).into());
        }
    }
    Ok(format!("{first}over after {:.1} s", started.elapsed().as_secs_f64()))
}

fn judge(
    scenario: &Scenario,
    site: &mut Site,
    machine: &mut Machine,
    deadline: Instant,
) -> Result<(), String> {
    let never: Vec<&str> = NEVER.into_iter().chain(scenario.never.iter().map(String::as_str)).collect();
    let explain = |missing: Missing, wanted: &str| match missing {
        Missing::Ended => format!("the machine ended before its console showed: {wanted}"),
        Missing::TimedOut => format!("after {} s its console had not shown: {wanted}", scenario.seconds),
        Missing::Forbidden(line) => format!("its console showed what it must not: {line}"),
    };
    let mut keys = scenario.key.iter().peekable();
    let mut steps = scenario.at.iter().peekable();
    let mut soon: Option<(Instant, u64)> = None;
    for pattern in &scenario.console {
        let pattern = site.fill(pattern);
        let until = soon.map_or(deadline, |(until, _)| until.min(deadline));
        machine.console.wait_for(&pattern, &never, until).map_err(|missing| match (missing, soon) {
            (Missing::TimedOut, Some((_, seconds))) => {
                format!("within {seconds} s of the line before its console did not show: {pattern}")
            }
            (missing, _) => explain(missing, &pattern),
        })?;
        soon = None;
        if let Some(key) = keys.next_if(|key| site.fill(&key.after) == pattern) {
            machine.console.type_text(&key.text);
        }
        if let Some(at) = steps.next_if(|at| site.fill(&at.after) == pattern) {
            soon = at.within_seconds.map(|seconds| (Instant::now() + Duration::from_secs(seconds), seconds));
            at.administrator.iter().for_each(|command| drop(site.administer(command)));
            if let Some(seconds) = at.server_away_seconds {
                site.restart_server(Duration::from_secs(seconds));
            }
        }
    }
    let left = keys.next().map(|key| &key.after).or(steps.next().map(|at| &at.after));
    if let Some(after) = left {
        return Err(format!("after \"{after}\": that is none of the lines of console, in their order"));
    }
    let disks = scenario.disk.iter().enumerate().filter(|_| scenario.inspected);
    let unseen: Vec<String> =
        disks.filter_map(|(number, disk)| disks::shown(disk, number, &machine.console.lines).err()).collect();
    if !unseen.is_empty() {
        return Err(unseen.join("\n"));
    }
    if scenario.ends == Ends::Stays {
        return Ok(());
    }
    machine
        .console
        .read_to_end(&never, deadline)
        .map_err(|missing| explain(missing, "the end of the machine"))?;
    match machine.end(deadline)? {
        ended if ended == scenario.ends => Ok(()),
        ended => Err(format!("it ended by {ended:?}, not by {:?}", scenario.ends)),
    }
}
