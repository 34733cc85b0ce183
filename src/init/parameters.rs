//! What the kernel's command line tells this program; pure, and never a panic, whatever stands there.

use super::address::{AddressRequest, Device, Mac, Method, parse_device, parse_ip, parse_vlan};
use super::command_line::{Word, words};
use super::images;
use super::job::{self, Command};
use crate::http::{Blanker, Fingerprint, Secret};
use std::net::IpAddr;
use std::time::Duration;

/// Every parameter, as docs/boot.md lists them.
pub const NAMES: [&str; 19] = [
    "remint.server",
    "remint.fingerprint",
    "remint.ca",
    "remint.token",
    "remint.mode",
    "remint.job",
    "remint.script",
    "remint.images",
    "remint.end",
    "remint.failure",
    "remint.retry",
    "remint.console",
    "remint.keymap",
    "remint.loglevel",
    "ip",
    "vlan",
    "nameserver",
    "BOOTIF",
    "console",
];
/// How long the network and the server are tried where nobody says.
const DEFAULT_RETRY: Duration = Duration::from_secs(120);
const LONGEST_RETRY_SECONDS: u64 = 7 * 24 * 3600;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The job or script, or where there is none that of the server, unattended.
    Run,
    /// The menu on the console.
    Menu,
    /// A shell on the console.
    Shell,
}

/// What is done when everything is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Restart.
    Reboot,
    /// Turn off.
    PowerOff,
    /// Restart from the local disk.
    Local,
    /// A shell on the console.
    Shell,
    /// The message stays on the screen.
    Wait,
}

impl Action {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
            Self::Local => "local",
            Self::Shell => "shell",
            Self::Wait => "wait",
        }
    }
}

/// How much of this program's own messages the console shows. The log has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Errors.
    Error,
    /// Warnings too.
    Warning,
    /// What happens.
    Info,
    /// Everything, and the kernel's messages.
    Debug,
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// The server, as written.
    pub server: Option<String>,
    /// The only certificate to trust.
    pub fingerprint: Option<Fingerprint>,
    /// A file or URL with one more authority.
    pub ca: Option<String>,
    /// What the server asks for.
    pub token: Option<Secret>,
    /// What to do.
    pub mode: Mode,
    /// The job.
    pub job: Vec<Command>,
    /// Where the script is.
    pub script: Option<String>,
    /// The partition with images.
    pub images: Option<images::Place>,
    /// What follows success.
    pub end: Action,
    /// What follows failure.
    pub failure: Action,
    /// How long the network and the server are tried.
    pub retry: Duration,
    /// The console that a person sits at.
    pub console: Option<String>,
    /// Keyboard layout.
    pub keymap: Option<String>,
    /// How much is shown.
    pub log_level: Option<LogLevel>,
    /// Addresses.
    pub addresses: Vec<AddressRequest>,
    /// Named VLANs.
    pub vlans: Vec<(String, Device)>,
    /// Name servers.
    pub name_servers: Vec<IpAddr>,
    /// The card that booted.
    pub booted: Option<Mac>,
    /// What looks like a mistake and can be left out.
    pub warnings: Vec<String>,
    /// What nothing sensible can be done with.
    pub errors: Vec<String>,
    secrets: Vec<Secret>,
}

impl Parameters {
    /// Reads the kernel's command line.
    #[must_use]
    pub fn read(command_line: &str) -> Self {
        let mut parameters = Self {
            server: None,
            fingerprint: None,
            ca: None,
            token: None,
            mode: Mode::Menu,
            job: Vec::new(),
            script: None,
            images: None,
            end: Action::Reboot,
            failure: Action::Wait,
            retry: DEFAULT_RETRY,
            console: None,
            keymap: None,
            log_level: None,
            addresses: Vec::new(),
            vlans: Vec::new(),
            name_servers: Vec::new(),
            booted: None,
            warnings: Vec::new(),
            errors: Vec::new(),
            secrets: Vec::new(),
        };
        let mut mode = None;
        for word in words(command_line) {
            // A sentence about a value may quote it, and a token is not to be quoted.
            if let Err(fact) = parameters.take(&word, &mut mode) {
                parameters.errors.push(format!("{}: {fact}", word.name));
            }
        }
        let has_work = !parameters.job.is_empty() || parameters.script.is_some();
        parameters.mode = mode.unwrap_or(if has_work { Mode::Run } else { Mode::Menu });
        parameters.check();
        let blanker = parameters.blanker();
        for text in parameters.errors.iter_mut().chain(&mut parameters.warnings) {
            *text = blanker.blank(text);
        }
        parameters
    }

    fn take(&mut self, word: &Word, mode: &mut Option<Mode>) -> Result<(), String> {
        let value = word.value.as_deref();
        let text =
            || value.map(str::trim).filter(|text| !text.is_empty()).ok_or("it has no value".to_owned());
        match word.name.as_str() {
            "remint.server" => self.server = Some(text()?.to_owned()),
            "remint.fingerprint" => {
                self.fingerprint = Some(text()?.parse().map_err(|error| format!("{error}"))?);
            }
            "remint.ca" => self.ca = Some(text()?.to_owned()),
            "remint.token" => {
                let token = Secret::new(text()?);
                self.secrets.push(token.clone());
                self.token = Some(token);
            }
            "remint.mode" => {
                let modes = [("run", Mode::Run), ("menu", Mode::Menu), ("shell", Mode::Shell)];
                *mode = Some(one_of(text()?, &modes)?);
            }
            "remint.job" => self.job = job::parse(text()?).map_err(|error| error.to_string())?,
            "remint.script" => self.script = Some(text()?.to_owned()),
            "remint.images" => self.images = Some(images::parse(text()?)?),
            "remint.end" => {
                let actions = [Action::Reboot, Action::PowerOff, Action::Local, Action::Shell];
                self.end = one_of(text()?, &actions.map(|action| (action.name(), action)))?;
            }
            "remint.failure" => {
                let actions = [Action::Reboot, Action::PowerOff, Action::Local, Action::Shell, Action::Wait];
                self.failure = one_of(text()?, &actions.map(|action| (action.name(), action)))?;
            }
            "remint.retry" => self.retry = seconds(text()?)?,
            "remint.console" => self.console = Some(console(text()?)?),
            "remint.keymap" => self.keymap = Some(keymap(text()?)?),
            "remint.loglevel" => {
                let levels = [
                    ("error", LogLevel::Error),
                    ("warning", LogLevel::Warning),
                    ("info", LogLevel::Info),
                    ("debug", LogLevel::Debug),
                ];
                self.log_level = Some(one_of(text()?, &levels)?);
            }
            "ip" => self.addresses.push(parse_ip(value.unwrap_or_default())?),
            "vlan" => self.vlans.push(parse_vlan(text()?)?),
            "nameserver" => {
                let address = text()?.trim_matches(['[', ']']);
                let address = address.parse().map_err(|_| format!("\"{address}\" is no IP address"))?;
                self.name_servers.push(address);
            }
            // PXE of a machine without the card's address gives an empty one; that is no mistake of a person.
            "BOOTIF" if value.is_none_or(str::is_empty) => {}
            "BOOTIF" => {
                self.booted = Mac::parse_bootif(value.unwrap_or_default());
                if self.booted.is_none() {
                    let fact = "is no hardware address (01-aa-bb-cc-dd-ee-ff); it is left out";
                    self.warnings.push(format!("BOOTIF={} {fact}", value.unwrap_or_default()));
                }
            }
            name => self.warn_if_ours(name),
        }
        Ok(())
    }

    /// The kernel and other programs have parameters too; what begins with `remint` is meant for this one.
    fn warn_if_ours(&mut self, name: &str) {
        let lower = name.to_lowercase();
        if !lower.starts_with("remint") && lower != "bootif" {
            return;
        }
        let likeness = |known: &&&str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
        let nearest = NAMES.iter().min_by_key(likeness).copied().unwrap_or_default();
        self.warnings.push(format!("{name} is not known; did you mean {nearest}?"));
    }

    fn check(&mut self) {
        if !self.job.is_empty() && self.script.is_some() {
            self.errors.push("remint.job and remint.script: give one of them".to_owned());
        }
        let off = self.addresses.iter().any(|request| request.method == Method::Off);
        if off && self.addresses.len() > 1 {
            self.errors.push("ip: off stands beside an address".to_owned());
        }
    }

    /// True where the network must stay down.
    #[must_use]
    pub fn network_is_off(&self) -> bool {
        self.addresses.iter().any(|request| request.method == Method::Off)
    }

    /// True where the server is asked what to do: there is work to be done, and the command line names none.
    #[must_use]
    pub fn asks_the_server(&self) -> bool {
        self.mode == Mode::Run && self.job.is_empty() && self.script.is_none()
    }

    /// True where the work cannot begin without a network.
    #[must_use]
    pub fn needs_network(&self) -> bool {
        self.asks_the_server()
            || job::needs_network(&self.job)
            || self.script.is_some()
            || self.ca.as_deref().is_some_and(|ca| ca.contains("://"))
    }

    /// True where the work cannot begin without knowing the server.
    #[must_use]
    pub fn needs_server(&self) -> bool {
        let relative = |text: &Option<String>| text.as_deref().is_some_and(|text| text.starts_with('@'));
        self.asks_the_server() || job::needs_server(&self.job) || relative(&self.script) || relative(&self.ca)
    }

    /// Blanks out what these parameters hold that nobody should read.
    #[must_use]
    pub fn blanker(&self) -> Blanker {
        Blanker::new(self.secrets.iter().cloned())
    }
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("\"{text}\" is none of {}", names.join(", "))
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok();
    let seconds = seconds.filter(|seconds| *seconds <= LONGEST_RETRY_SECONDS);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("\"{text}\" is not a number of seconds up to {LONGEST_RETRY_SECONDS}"))
}

fn console(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("/dev/").unwrap_or(text);
    // The speed of a serial line is set by the kernel's own console=.
    let name = name.split_once(',').map_or(name, |(name, _)| name);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= 32 && name.chars().all(fits) {
        Ok(name.to_owned())
    } else {
        Err(format!("\"{text}\" is no console; write for example ttyS0 or tty1"))
    }
}

fn keymap(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    if text.len() <= 64 && text.chars().all(fits) && !text.starts_with(['-', '.']) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is no keyboard layout; write for example de or fr-latin1"))
    }
}

/// A card's name as a person or the command line writes it.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn device(text: &str) -> Result<Device, String> {
    parse_device(text.trim())
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
