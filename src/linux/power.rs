//! The end of this machine's run, and of the processes on it.

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// How a machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It starts again.
    Restart,
    /// It turns itself off, or halts where it cannot.
    PowerOff,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(Signal),
}

/// Requests that reach PID 1 as signals: those of Ctrl-Alt-Del and of busybox's `reboot` and `poweroff`.
#[derive(Debug)]
pub struct StopRequests(SigSet);

impl StopRequests {
    /// Keeps the signals from the calling thread and those it starts later. To be called first of all.
    #[must_use]
    pub fn listen() -> Self {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2] {
            signals.add(signal);
        }
        // Neither can fail with these signals; a machine without them is one that ignores Ctrl-Alt-Del.
        let _ = signals.thread_block();
        let _ = set_cad_enabled(false);
        Self(signals)
    }

    /// Waits for the next one.
    #[must_use]
    pub fn next(&self) -> Option<Stop> {
        match self.0.wait().ok()? {
            Signal::SIGUSR1 | Signal::SIGUSR2 => Some(Stop::PowerOff),
            _ => Some(Stop::Restart),
        }
    }
}

/// Starts a program that hears all signals, whatever the caller keeps from itself.
///
/// # Errors
/// Where it cannot be started.
pub fn spawn_hearing_signals(command: &mut Command) -> std::io::Result<Child> {
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            let _ = SigSet::all().thread_unblock();
            command.spawn()
        });
        starting.join().unwrap_or_else(|_| Err(std::io::Error::other("starting it panicked")))
    })
}

/// Waits for one child, and takes leave of every orphan that ends meanwhile.
#[must_use]
pub fn wait_and_reap(child: &Child) -> Ending {
    let wanted = i32::try_from(child.id()).unwrap_or(-1);
    loop {
        match waitpid(None::<Pid>, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == wanted => return Ending::Code(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == wanted => {
                return Ending::Signal(signal);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            // It was there when it was started: without children its end was missed.
            Err(_) => return Ending::Code(-1),
        }
    }
}

/// Asks a process to end.
pub fn ask_to_end(id: u32) {
    if let Ok(id) = i32::try_from(id) {
        // A shell that talks to a person ignores the first and hears the second.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        let _ = kill(Pid::from_raw(id), Signal::SIGHUP);
    }
}

/// Ends every process but this one, which has to be PID 1: first with a request, which has `patience`.
pub fn end_all_processes(patience: Duration) {
    if std::process::id() != 1 {
        return;
    }
    let everybody = Pid::from_raw(-1);
    for (signal, patience) in [(Signal::SIGTERM, patience), (Signal::SIGKILL, Duration::from_secs(2))] {
        let _ = kill(everybody, signal);
        // A shell hears of its end by the loss of its terminal, and what is stopped hears nothing.
        let _ = kill(everybody, Signal::SIGHUP);
        let _ = kill(everybody, Signal::SIGCONT);
        let end = Instant::now().checked_add(patience);
        while !no_child_is_left() {
            if end.is_none_or(|end| Instant::now() >= end) {
                break;
            }
            sleep(PAUSE);
        }
    }
}

/// Orphans become children of PID 1, so that without children nobody is left.
fn no_child_is_left() -> bool {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
}

/// Writes out what is in memory.
pub fn write_out() {
    nix::unistd::sync();
}

/// Stops the machine. Returns where the kernel refuses.
pub fn stop(how: Stop) {
    let _ = match how {
        Stop::Restart => reboot(RebootMode::RB_AUTOBOOT),
        Stop::PowerOff => reboot(RebootMode::RB_POWER_OFF),
    };
}

/// A kernel that panics starts the machine again after `delay`, unless the command line says otherwise.
pub fn restart_after_kernel_panic(delay: Duration) {
    const SETTING: &str = "/proc/sys/kernel/panic";
    if std::fs::read_to_string(SETTING).is_ok_and(|text| text.trim() == "0") {
        let _ = std::fs::write(SETTING, format!("{}\n", delay.as_secs()));
    }
}
