//! Being PID 1 of the boot image: from the kernel's first process to a clean end.
//!
//! One program, four processes. The **supervisor** (PID 1) mounts what everything needs, starts the boot process,
//! shows and logs what it says, takes leave of orphans, and carries out what is to happen at the end. The **boot
//! process** does everything that can fail: drivers, network, server, job, menu. The **lease script** is called by
//! the DHCP clients. The **driver process** loads drivers of new devices while a person is asked what to do after the
//! boot process has ended.
//!
//! Invariants:
//!
//! - However the boot process ends, by an error, a panic or a signal, the supervisor says so and acts.
//! - Every wait is bounded, but for a person at a console.
//! - What is shown or logged holds no token and no password.
//!
//! ```text
//! kernel ─► supervisor ─► boot process ─► drivers ─► network ─► server, clock ─► job │ script │ menu │ shell
//!               │  ▲                                     ▲
//!               │  └── how it ended                      └── lease script ◄─ udhcpc and dhcpcd, one for each card
//!               └─► reboot │ poweroff │ local │ shell │ wait
//! ```

mod address;
mod boot;
mod command_line;
mod drivers;
mod ending;
mod images;
mod job;
mod journal;
mod lease;
mod lease6;
mod menu;
mod network;
mod network6;
mod network_report;
mod network_requests;
mod parameters;
mod paths;
mod server;
mod supervisor;
mod work;

pub use lease::SERVER_OPTION;
pub use parameters::{NAMES, Parameters};

use crate::linux::clock;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// What this process is in the boot image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// PID 1.
    Supervisor,
    /// The process that does the work.
    Boot,
    /// The script of the DHCP clients.
    Lease,
    /// The process that loads drivers when the boot process has ended.
    Drivers,
}

const BOOT: &str = "remint-boot";
const LEASE: &str = "remint-lease";
const DRIVERS: &str = "remint-drivers";

/// What this process is, by its number and the name it was called by; `None` for the program that people call.
#[must_use]
pub fn role() -> Option<Role> {
    let called = std::env::args_os().next()?;
    role_of(std::process::id(), Path::new(&called).file_name()?.to_str()?)
}

fn role_of(id: u32, name: &str) -> Option<Role> {
    match name {
        // In a container the program may be the first process too, under its own name.
        "init" if id == 1 => Some(Role::Supervisor),
        BOOT => Some(Role::Boot),
        LEASE => Some(Role::Lease),
        DRIVERS => Some(Role::Drivers),
        _ => None,
    }
}

impl Role {
    /// Does what the process is for. The supervisor never returns.
    #[must_use]
    pub fn play(self) -> ExitCode {
        match self {
            Self::Supervisor => supervisor::main(),
            Self::Boot => boot::main().into(),
            Self::Lease => lease::handle_event().into(),
            Self::Drivers => drivers::watch().into(),
        }
    }
}

/// Says a line. Standard output of the boot process is read by the supervisor, which shows and logs it.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Without a supervisor there is nobody to say it to.
    let _ = writeln!(out, "remint: {text}").and_then(|()| out.flush());
}

/// Says a step of the boot, with the time since the kernel started.
fn say_step(text: &str) {
    say(&format!("boot {:.1} s: {text}", clock::uptime().as_secs_f64()));
}

/// Stands before each line that a person is shown and the log does not keep.
const NOT_LOGGED: char = '\u{1}';

/// Shows a text to a person: a menu, a question. The log is about what happened.
fn show(text: &str) {
    let marked: String = text.split_inclusive('\n').map(|line| format!("{NOT_LOGGED}{line}")).collect();
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(marked.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_init_is_the_supervisor() {
        assert_eq!(role_of(1, "init"), Some(Role::Supervisor));
        assert_eq!(role_of(1, "remint"), None);
        assert_eq!(role_of(77, "init"), None);
        assert_eq!(role_of(77, "remint-boot"), Some(Role::Boot));
        assert_eq!(role_of(77, "remint-lease"), Some(Role::Lease));
        assert_eq!(role_of(77, "remint-drivers"), Some(Role::Drivers));
    }
}
