//! The small menu of the console: a network by hand, a look at the disks, a shell, the log, the end.
//!
//! Lines of text and answers of a line, so that it works on a serial line and on 80x25, and on every console at
//! once.

use super::address::{self, AddressRequest, Method};
use super::boot::Session;
use super::ending::{Chosen, Ended};
use super::parameters::{self, Mode};
use super::{paths, say, show, work};
use crate::agent::{self, DiskSettings, ExitCode};
use crate::linux::{cards, terminal};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// A question that interrupts unattended work is given up after so long: a noisy serial line may have asked it.
const UNATTENDED: Duration = Duration::from_secs(120);
/// At the menu itself a person is waited for. The menu is shown again after so long.
const ATTENDED: Duration = Duration::from_secs(3600);

/// The menu, until a person chooses how it ends.
pub(super) fn run(session: &mut Session) -> Ended {
    loop {
        let has_job = !session.parameters.job.is_empty() || session.parameters.script.is_some();
        show(&overview(session));
        let Some(answer) = session.consoles.read_line(ATTENDED) else { continue };
        match answer.text.to_lowercase().as_str() {
            "n" => network(session, ATTENDED),
            "m" if session.server.is_some() => {
                if let Some(chosen) = server_menu(session, &answer.console) {
                    return Ended::Chosen(chosen);
                }
            }
            "i" => inspect(),
            "r" if has_job => match session.work() {
                Ok(ended) => return ended,
                Err(super::boot::Obstacle::Chosen(chosen)) => return Ended::Chosen(chosen),
                Err(super::boot::Obstacle::Failed(fact)) => say(&format!("error: {fact}")),
            },
            "s" => shell(session, Some(&answer.console)),
            "l" => log(),
            "b" => return Ended::Chosen(Chosen::Reboot),
            "d" => return Ended::Chosen(Chosen::Local),
            "p" => return Ended::Chosen(Chosen::PowerOff),
            _ => {}
        }
    }
}

/// A person pressed a key while the network or the server was waited for. True where the network is to be
/// another one; without an answer, the waiting goes on.
///
/// # Errors
/// What the person chose instead.
pub(super) fn step_in(session: &mut Session) -> Result<bool, Chosen> {
    loop {
        session.report_network();
        show("n network by hand, s shell, l log, b reboot, p power off, Enter goes on waiting: ");
        let Some(answer) = session.consoles.read_line(UNATTENDED) else { return Ok(false) };
        match answer.text.to_lowercase().as_str() {
            "n" => return Ok(network_request(session, UNATTENDED)),
            "s" => shell(session, Some(&answer.console)),
            "l" => log(),
            "b" => return Err(Chosen::Reboot),
            "p" => return Err(Chosen::PowerOff),
            "" => return Ok(false),
            _ => {}
        }
    }
}

fn overview(session: &Session) -> String {
    let mut text = format!("\nRemint {}\n", env!("CARGO_PKG_VERSION"));
    let network = session.network.as_ref().map_or("none", |network| network.interface.as_str());
    let server = session.server.as_ref().map_or("none", |server| server.url.as_str());
    text.push_str(&format!("  network: {network}   server: {server}\n\n"));
    let mut entry = |key: &str, meaning: &str| text.push_str(&format!("  {key}  {meaning}\n"));
    if session.server.is_some() {
        entry("m", "images: deploy, capture, register");
    }
    entry("n", "network: the cards, choose one, give an address");
    entry("i", "inspect the disks");
    if session.parameters.mode != Mode::Run && !session.parameters.job.is_empty() {
        entry("r", "run the job of the kernel's command line");
    } else if session.parameters.script.is_some() {
        entry("r", "run the script of the kernel's command line");
    }
    entry("s", "shell");
    entry("l", "log");
    entry("b", "reboot");
    entry("d", "reboot from the local disk");
    entry("p", "power off");
    text.push_str("\nYour choice: ");
    text
}

fn network(session: &mut Session, limit: Duration) {
    session.report_network();
    if network_request(session, limit) {
        session.give_up_network();
        session.try_network();
    }
}

/// Asks how the network is to be; false where the person leaves it.
fn network_request(session: &mut Session, limit: Duration) -> bool {
    let names: Vec<String> = cards::cards().into_iter().map(|card| card.name).collect();
    let question = format!("Card, with .NUMBER for a VLAN ({}; Enter: any): ", names.join(", "));
    let Some(request) = ask(session, &question, limit, |text| {
        let device = if text.is_empty() { None } else { Some(parameters::device(text)?) };
        Ok(AddressRequest { device, method: Method::Automatic, hostname: None, name_servers: Vec::new() })
    }) else {
        return false;
    };
    let question = "Address (Enter: by DHCP; or as in 10.0.0.5/24): ";
    let Some(method) = ask(session, question, limit, |text| match text {
        "" => Ok(Method::Automatic),
        text => address::parse_ip(&bracketed(text)).map(|request| request.method),
    }) else {
        return false;
    };
    let mut request = AddressRequest { method, ..request };
    if let Method::Static { address, prefix, .. } = method {
        let optional = |text: &str| match text {
            "" => Ok(None),
            text => text.parse::<IpAddr>().map(Some).map_err(|_| format!("\"{text}\" is no IP address")),
        };
        let same_family = |text: &str| match optional(text)? {
            Some(gateway) if gateway.is_ipv4() != address.is_ipv4() => {
                Err("it is of another family".to_owned())
            }
            gateway => Ok(gateway),
        };
        let Some(gateway) = ask(session, "Gateway (Enter: none): ", limit, same_family) else { return false };
        let Some(server) = ask(session, "Name server (Enter: none): ", limit, optional) else { return false };
        request.method = Method::Static { address, prefix, gateway };
        request.name_servers.extend(server);
    }
    session.parameters.addresses = vec![request];
    session.parameters.vlans.clear();
    true
}

/// An address of version 6 without its brackets has colons of its own.
fn bracketed(text: &str) -> String {
    match text.split_once('/') {
        Some((host, length)) if host.contains(':') && !host.starts_with('[') => format!("[{host}]/{length}"),
        None if text.contains(':') && !text.starts_with('[') => format!("[{text}]"),
        _ => text.to_owned(),
    }
}

/// Asks until the answer is understood, a few times.
fn ask<T>(
    session: &Session,
    question: &str,
    limit: Duration,
    understand: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    for _ in 0..5 {
        show(question);
        match understand(&session.consoles.read_line(limit)?.text) {
            Ok(answer) => return Some(answer),
            Err(fact) => say(&fact),
        }
    }
    None
}

fn inspect() {
    match agent::inspect(&[], DiskSettings::default(), &[]) {
        Ok(found) if found.disks.is_empty() && found.problems.is_empty() => {
            say("this machine has no disk, or none with a driver");
        }
        Ok(found) => {
            show(&agent::inspection_text(&found));
            found.problems.iter().for_each(|problem| say(&format!("error: {problem}")));
        }
        Err(error) => say(&format!("error: {error:#} (exit code {})", u8::from(ExitCode::Failed))),
    }
}

fn log() {
    let text = std::fs::read_to_string(paths::LOG).unwrap_or_default();
    show(&terminal::last_lines(&text, 18));
}

/// The menu of images, on the console where it was asked for. What the person chose at its end, where that ends this
/// menu too.
fn server_menu(session: &mut Session, console: &Path) -> Option<Chosen> {
    let file = paths::run("chosen");
    let _ = std::fs::remove_file(&file);
    // Not by `/proc/self/exe`: what starts it in a session of its own is another program by then.
    let ended =
        std::env::current_exe().and_then(|this| terminal::program(console, &this)).and_then(|mut program| {
            program.args(["menu", "--completion"]).arg(&file).envs(work::environment(session)).status()
        });
    if let Err(error) = ended {
        say(&format!("error: starting the menu of images: {error}"));
    }
    let chosen = std::fs::read_to_string(file).unwrap_or_default();
    match chosen.trim() {
        "reboot" => Some(Chosen::Reboot),
        "poweroff" => Some(Chosen::PowerOff),
        "local" => Some(Chosen::Local),
        "shell" => {
            shell(session, Some(console));
            None
        }
        "network" => {
            network(session, ATTENDED);
            None
        }
        _ => None,
    }
}

/// A shell on a console, with what it needs to speak to the server.
pub(super) fn shell(session: &Session, console: Option<&Path>) {
    let Some(console) = console.or_else(|| session.consoles.first()) else {
        say("error: there is no console for a shell");
        return;
    };
    say(&format!("shell on {}; leave it with exit", console.display()));
    let ended =
        terminal::shell(console).and_then(|mut shell| shell.envs(work::environment(session)).status());
    if let Err(error) = ended {
        say(&format!("error: starting a shell: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_typed_without_brackets() {
        assert_eq!(bracketed("2001:db8::5/64"), "[2001:db8::5]/64");
        assert_eq!(bracketed("10.0.0.5/24"), "10.0.0.5/24");
        assert!(address::parse_ip(&bracketed("2001:db8::5/64")).is_ok());
    }
}
