//! The boot process: what stands on the kernel's command line, from drivers to the end of the job.

use super::ending::{Chosen, Ended};
use super::network::{Attempt, Network, Outcome, Tried};
use super::parameters::{LogLevel, Mode, Parameters};
use super::server::{self, Server};
use super::{drivers, images, job, menu, network_report, paths, say, say_step, work};
use crate::linux::terminal::{self, Consoles};
use crate::linux::{cards, keymaps};
use std::time::{Duration, Instant};

/// How long a menu or a shell waits for a network that nobody may need.
const OPTIONAL_NETWORK: Duration = Duration::from_secs(15);
const OPTIONAL_SERVER: Duration = Duration::from_secs(5);

/// Everything that is known so far.
pub(super) struct Session {
    pub(super) parameters: Parameters,
    pub(super) consoles: Consoles,
    pub(super) network: Option<Network>,
    pub(super) server: Option<Server>,
    pub(super) tried: Tried,
}

/// Why the work could not begin.
pub(super) enum Obstacle {
    /// A sentence.
    Failed(String),
    /// A person chose something else.
    Chosen(Chosen),
}

impl From<Chosen> for Obstacle {
    fn from(chosen: Chosen) -> Self {
        Self::Chosen(chosen)
    }
}

impl From<String> for Obstacle {
    fn from(fact: String) -> Self {
        Self::Failed(fact)
    }
}

/// Runs the boot process; its exit code says how it ended.
pub(super) fn main() -> u8 {
    let text = std::fs::read_to_string(paths::private("command-line")).unwrap_or_default();
    let parameters = Parameters::read(&text);
    let consoles = Consoles::open(parameters.console.as_deref());
    let firmware = if terminal::is_uefi() { "UEFI" } else { "BIOS" };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    say_step(&format!("remint {} on Linux {}, {firmware}", env!("CARGO_PKG_VERSION"), kernel.trim()));
    let mut session = Session { parameters, consoles, network: None, server: None, tried: Tried::new() };
    match session.run() {
        Ok(ended) => ended.code(),
        Err(Obstacle::Chosen(chosen)) => Ended::Chosen(chosen).code(),
        Err(Obstacle::Failed(fact)) => {
            say(&format!("error: {fact}"));
            Ended::Failed.code()
        }
    }
}

impl Session {
    fn run(&mut self) -> Result<Ended, Obstacle> {
        for warning in &self.parameters.warnings {
            say(&format!("warning: {warning}"));
        }
        if let Some(keymap) = &self.parameters.keymap
            && let Err(said) = keymaps::load(keymap)
        {
            say(&format!("warning: remint.keymap: {said}"));
        }
        if !self.parameters.errors.is_empty() {
            for error in &self.parameters.errors {
                say(&format!("error: {error}"));
            }
            // What cannot be read may be what keeps a disk from being overwritten.
            if self.parameters.mode == Mode::Run {
                return Err(Obstacle::Failed("the kernel's command line is not understood".to_owned()));
            }
        }
        drivers::load();
        if let Some(place) = &self.parameters.images
            && let Err(fact) = images::mount(place)
        {
            if self.parameters.mode == Mode::Run {
                return Err(Obstacle::Failed(fact));
            }
            say(&format!("warning: {fact}"));
        }
        match self.parameters.mode {
            Mode::Run => self.work(),
            Mode::Menu => {
                self.try_network();
                Ok(menu::run(self))
            }
            Mode::Shell => {
                self.try_network();
                menu::shell(self, None);
                Ok(menu::run(self))
            }
        }
    }

    /// Does the job or runs the script, or asks the server for one, once there is what they need.
    pub(super) fn work(&mut self) -> Result<Ended, Obstacle> {
        if self.parameters.needs_network() || self.parameters.needs_server() {
            self.need_network()?;
            self.need_server()?;
        }
        let named = job::devices(&self.parameters.job);
        let any = self.parameters.asks_the_server() || work::needs_disks(&self.parameters.job);
        drivers::wait_for_disks(&named, any);
        match work::run(self)? {
            Some(ended) => Ok(ended),
            None => Ok(menu::run(self)),
        }
    }

    /// Brings the network up, for as long as the parameters say; a person may step in.
    fn need_network(&mut self) -> Result<(), Obstacle> {
        if self.network.is_some() {
            return Ok(());
        }
        if self.parameters.network_is_off() {
            return Err(Obstacle::Failed("the job needs a network, and ip=off forbids it".to_owned()));
        }
        let limit = self.parameters.retry;
        let mut begin = Instant::now();
        loop {
            match self.attempt(limit.saturating_sub(begin.elapsed())) {
                Outcome::Up(network) => {
                    self.network = Some(network);
                    return Ok(());
                }
                Outcome::TimedOut => {
                    self.report_network();
                    return Err(Obstacle::Failed(format!("no network after {} seconds", limit.as_secs())));
                }
                Outcome::Interrupted => {
                    if menu::step_in(self)? {
                        begin = Instant::now();
                    }
                }
            }
        }
    }

    fn attempt(&mut self, limit: Duration) -> Outcome {
        let mut attempt = Attempt::new(&self.parameters);
        let outcome = attempt.run(limit, &|pause| self.consoles.wait_for_key(pause));
        self.tried = std::mem::take(&mut attempt.tried);
        outcome
    }

    /// For a person: with a network where there is one, without it otherwise.
    pub(super) fn try_network(&mut self) {
        if self.network.is_some() || self.parameters.network_is_off() {
            return;
        }
        match self.attempt(OPTIONAL_NETWORK.min(self.parameters.retry)) {
            Outcome::Up(network) => {
                self.network = Some(network);
                if let Ok((url, _)) = server::find(&self.parameters, self.network.as_ref())
                    && let Err(fact) = self.reach(&url, OPTIONAL_SERVER)
                {
                    say(&format!("warning: {url}: {fact}"));
                }
            }
            Outcome::Interrupted => {}
            Outcome::TimedOut => self.report_network(),
        }
    }

    fn need_server(&mut self) -> Result<(), Obstacle> {
        let limit = self.parameters.retry;
        let mut begin = Instant::now();
        loop {
            let (url, from) = match server::find(&self.parameters, self.network.as_ref()) {
                Ok(found) => found,
                Err(fact) if self.parameters.needs_server() => return Err(Obstacle::Failed(fact)),
                Err(_) => return Ok(()),
            };
            say(&format!("debug: the server {url} is known from {from}"));
            let reached = self.reach(&url, limit.saturating_sub(begin.elapsed()));
            if reached.map_err(|fact| format!("the server {url}, from {from}: {fact}"))? {
                return Ok(());
            }
            if menu::step_in(self)? {
                self.give_up_network();
                self.need_network()?;
                begin = Instant::now();
            }
        }
    }

    /// Asks the server; false where a person interrupted it.
    fn reach(&mut self, url: &str, limit: Duration) -> Result<bool, String> {
        let ca = self.parameters.ca.as_deref();
        let ca = ca.map(|text| server::authority(text, Some(url), limit)).transpose()?;
        let pause = |pause| self.consoles.wait_for_key(pause);
        self.server = server::reach(url, ca, &self.parameters, limit, &pause)?;
        Ok(self.server.is_some())
    }

    /// Takes the network down, for another one.
    pub(super) fn give_up_network(&mut self) {
        self.server = None;
        if let Some(network) = self.network.take() {
            network.give_up();
        }
    }

    /// Says which cards there are, and what was tried.
    pub(super) fn report_network(&self) {
        for line in network_report::table(&cards::cards(), &cards::cards_without_driver(), &self.tried) {
            say(&format!("  {line}"));
        }
    }

    /// True where the programs of a job should only say what is wrong.
    pub(super) fn is_quiet(&self) -> bool {
        self.parameters.log_level.is_some_and(|level| level < LogLevel::Info)
    }
}
