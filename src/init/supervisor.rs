//! PID 1: mounts, one child that does the work, orphans, and the end.
//!
//! It decides little, so that little can go wrong here: what can fail is in the boot process.

use super::ending::Ended;
use super::journal::Journal;
use super::parameters::{Action, LogLevel, Parameters};
use super::{BOOT, DRIVERS, LEASE, paths};
use crate::agent::{self, DiskSettings};
use crate::linux::power::{self, Ending, Stop, StopRequests};
use crate::linux::terminal::{self, Consoles};
use crate::linux::{EfiVariables, clock, kernel_log, mounts};
use crate::parallel::lock;
use crate::uefi;
use crate::units::with_causes;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a message stands before the machine restarts or turns itself off after a failure.
const COUNTDOWN: Duration = Duration::from_secs(15);
/// How long a job may take to stop in order.
const PATIENCE: Duration = Duration::from_secs(20);
const KERNEL_PANIC: Duration = Duration::from_secs(60);
/// How often a question looks up for Ctrl-Alt-Del.
const LISTENING: Duration = Duration::from_secs(1);

/// Runs the machine, and never returns.
pub(super) fn main() -> ! {
    if std::panic::catch_unwind(run).is_err() {
        // The panic's own message went to the console.
        let text =
            format!("\nremint: error: the supervisor panicked; restarting in {} s\n", COUNTDOWN.as_secs());
        Consoles::open(None).write(text.as_bytes());
        std::thread::sleep(COUNTDOWN);
        power::write_out();
        power::stop(Stop::Restart);
    }
    loop {
        // PID 1 must not end.
        std::thread::sleep(KERNEL_PANIC);
    }
}

struct Supervisor {
    journal: Journal,
    parameters: Parameters,
    /// What Ctrl-Alt-Del or a program asked for, and the child that has to hear of it.
    asked: Arc<Mutex<Asked>>,
}

#[derive(Default)]
struct Asked {
    stop: Option<Stop>,
    child: Option<u32>,
}

/// What follows.
enum Next {
    Retry,
    Stop(Action),
}

fn run() {
    let requests = StopRequests::listen();
    let mut problems = mounts::mount_basics();
    power::restart_after_kernel_panic(KERNEL_PANIC);
    let text = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let parameters = Parameters::read(&text);
    let level = parameters.log_level.unwrap_or(LogLevel::Info);
    problems.extend(hide_secrets_of_kernel_log(&text, &parameters));
    terminal::set_kernel_console_level(match level {
        LogLevel::Debug => 8,
        LogLevel::Info | LogLevel::Warning => 4,
        LogLevel::Error => 3,
    });
    let _ = std::fs::create_dir_all(paths::run(""));
    let consoles = Consoles::open(parameters.console.as_deref());
    let journal = Journal::new(consoles, parameters.blanker(), level);
    for problem in problems {
        journal.say(&format!("warning: {problem}"));
    }
    if let Err(error) = prepare(&text, &parameters) {
        journal.say(&format!("warning: {error:#}"));
    }
    let asked = Arc::new(Mutex::new(Asked::default()));
    let hearing = Arc::clone(&asked);
    std::thread::spawn(move || {
        while let Some(stop) = requests.next() {
            let mut asked = lock(&hearing);
            asked.stop = Some(stop);
            asked.child.into_iter().for_each(power::ask_to_end);
        }
    });
    Supervisor { journal, parameters, asked }.supervise();
}

/// The kernel's log begins with the command line, and logs are what people send to each other.
fn hide_secrets_of_kernel_log(text: &str, parameters: &Parameters) -> Option<String> {
    let blanker = parameters.blanker();
    if blanker.blank(text) == text {
        return None;
    }
    // What is written anew was shown already.
    terminal::set_kernel_console_level(1);
    let hidden = kernel_log::rewrite(|text| blanker.blank(text));
    let sentence = |error| {
        let chain = with_causes(&error);
        format!("the kernel's log (dmesg) holds secrets of the command line, do not send it: {chain}")
    };
    hidden.err().map(sentence)
}

/// Hands the command line to the boot process, hides it from everybody else, and lays out the names by which this
/// program is called.
fn prepare(text: &str, parameters: &Parameters) -> anyhow::Result<()> {
    paths::write_private("command-line", text.as_bytes())?;
    let shown = paths::run("command-line");
    std::fs::write(&shown, parameters.blanker().blank(text))?;
    mounts::cover(Path::new("/proc/cmdline"), &shown)?;
    let program = std::fs::read_link("/proc/self/exe")?;
    std::os::unix::fs::symlink(program, paths::run(LEASE))?;
    mounts::mount_efi_variables()?;
    Ok(())
}

impl Supervisor {
    fn supervise(&self) {
        loop {
            let ending = self.run_boot_process();
            // What it left behind must not go on writing, nor answer on the console, while a person is asked.
            power::end_all_processes(PATIENCE);
            let asked = lock(&self.asked).stop.take();
            let next = match (asked, Ended::of(ending)) {
                (Some(Stop::Restart), _) => self.perform(Action::Reboot, false),
                (Some(Stop::PowerOff), _) => self.perform(Action::PowerOff, false),
                (None, Ok(Ended::Done)) => self.perform(self.parameters.end, false),
                (None, Ok(Ended::Chosen(chosen))) => self.perform(chosen.into(), false),
                (None, Ok(Ended::Failed)) => self.fail(None, self.parameters.failure),
                (None, Ok(Ended::FailedThen(chosen))) => self.fail(None, chosen.into()),
                (None, Err(fact)) => self.fail(Some(&fact), self.parameters.failure),
            };
            match next {
                Next::Retry => {
                    // The process that loads drivers: the boot process does so itself.
                    power::end_all_processes(PATIENCE);
                    self.journal.say("once more");
                }
                Next::Stop(action) => self.stop(action),
            }
        }
    }

    fn run_boot_process(&self) -> Ending {
        let (ended, has_ended) = channel();
        std::thread::scope(|scope| {
            let started = std::io::pipe().and_then(|(reader, writer)| {
                let errors = writer.try_clone()?;
                let mut command = Command::new("/proc/self/exe");
                command.arg0(BOOT).stdin(Stdio::null()).stdout(writer).stderr(errors);
                let child = power::spawn_hearing_signals(&mut command)?;
                Ok((reader, child))
            });
            let (reader, child) = match started {
                Ok(started) => started,
                Err(error) => {
                    self.journal.say(&format!("error: starting the boot process: {error}"));
                    return Ending::Code(-1);
                }
            };
            lock(&self.asked).child = Some(child.id());
            scope.spawn(move || self.journal.follow(reader, &has_ended));
            let ending = power::wait_and_reap(&child);
            lock(&self.asked).child = None;
            let _ = ended.send(());
            ending
        })
    }

    fn fail(&self, fact: Option<&str>, action: Action) -> Next {
        if let Some(fact) = fact {
            self.journal.say(&format!("error: {fact}"));
        }
        self.journal.say(&format!("error: failed; the log is {} on this machine", paths::LOG));
        self.perform(action, true)
    }

    fn perform(&self, action: Action, failed: bool) -> Next {
        self.journal.say(&format!("end: {}", action.name()));
        match action {
            Action::Shell => {
                self.watch_devices();
                self.shell(None);
                self.ask()
            }
            Action::Wait => {
                self.watch_devices();
                self.ask()
            }
            other if failed => {
                let seconds = COUNTDOWN.as_secs();
                self.journal.say(&format!("{} in {seconds} s; press a key for a menu", other.name()));
                self.journal.consoles.forget_input();
                if !self.journal.consoles.wait_for_key(COUNTDOWN) {
                    return Next::Stop(other);
                }
                self.watch_devices();
                self.ask()
            }
            other => Next::Stop(other),
        }
    }

    /// Whoever is asked may plug in a keyboard or a disk, which need drivers. The boot process, which loaded them, has
    /// ended.
    fn watch_devices(&self) {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(DRIVERS).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Err(error) = power::spawn_hearing_signals(&mut command) {
            self.journal.say(&format!("warning: devices that are plugged in now get no driver: {error}"));
        }
    }

    /// Asks a person what to do. The machine stays as it is until there is an answer.
    fn ask(&self) -> Next {
        loop {
            self.journal.ask("What now?  s shell, l log, t try again, b reboot, d local disk, p power off: ");
            let answer = loop {
                if let Some(stop) = lock(&self.asked).stop.take() {
                    return Next::Stop(if stop == Stop::Restart { Action::Reboot } else { Action::PowerOff });
                }
                if let Some(answer) = self.journal.consoles.read_line(LISTENING) {
                    break answer;
                }
            };
            match answer.text.to_lowercase().as_str() {
                "s" | "shell" => self.shell(Some(&answer.console)),
                "l" | "log" => self.show_log(),
                "t" | "try" => return Next::Retry,
                "b" | "reboot" => return Next::Stop(Action::Reboot),
                "d" | "local" => return Next::Stop(Action::Local),
                "p" | "poweroff" => return Next::Stop(Action::PowerOff),
                _ => {}
            }
        }
    }

    fn shell(&self, console: Option<&Path>) {
        let Some(console) = console.or_else(|| self.journal.consoles.first()) else {
            self.journal.say("error: there is no console for a shell");
            return;
        };
        self.journal.say(&format!("shell on {}; leave it with exit", console.display()));
        let started = terminal::shell(console).and_then(|mut shell| power::spawn_hearing_signals(&mut shell));
        match started {
            Ok(child) => {
                lock(&self.asked).child = Some(child.id());
                let _ = power::wait_and_reap(&child);
                lock(&self.asked).child = None;
            }
            Err(error) => self.journal.say(&format!("error: starting a shell: {error}")),
        }
    }

    fn show_log(&self) {
        let text = std::fs::read_to_string(paths::LOG).unwrap_or_default();
        self.journal.consoles.write(terminal::last_lines(&text, 20).as_bytes());
    }

    fn stop(&self, action: Action) {
        if action == Action::Local {
            match next_boot_from_disk() {
                Ok(Some(number)) => {
                    self.journal
                        .say(&format!("the firmware starts entry {number:04X}, of the local disk, next"));
                }
                Ok(None) => {}
                Err(said) => self.journal.say(&format!("warning: {said}")),
            }
        }
        power::end_all_processes(PATIENCE);
        power::write_out();
        for problem in mounts::unmount_all() {
            self.journal.say(&format!("warning: {problem}"));
        }
        power::write_out();
        self.journal.say(&format!("stopping after {:.1} s", clock::uptime().as_secs_f64()));
        power::stop(if action == Action::PowerOff { Stop::PowerOff } else { Stop::Restart });
        self.journal.say("error: the kernel does not stop the machine; it is safe to turn it off now");
    }
}

/// Tells UEFI firmware to start the local disk next. On BIOS the boot order decides, and gives `None`.
fn next_boot_from_disk() -> Result<Option<u16>, String> {
    if !terminal::is_uefi() {
        return Ok(None);
    }
    let variables = EfiVariables::default();
    let now = variables.read().map_err(|error| error.with_causes())?;
    let found = agent::inspect(&[], DiskSettings::default(), &[]).map_err(|error| format!("{error:#}"))?;
    let partitions = agent::partition_ids(&found.disks);
    match uefi::next_from_disk(&now, &partitions) {
        Some(number) => {
            variables.start_next(number).map_err(|error| error.with_causes())?;
            Ok(Some(number))
        }
        None => {
            Err("the firmware has no boot entry for a disk of this machine; its boot order decides"
                .to_owned())
        }
    }
}
