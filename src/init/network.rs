//! A network: all wired cards at once, the booted one preferred.
//!
//! Every card is brought up and watched. Where a cable answers, a DHCP client starts. The lease of the card that
//! booted counts at once; another one's after [`BOOTED_GRACE`]. Where no DHCP server answers, IPv6 is asked for as well.
//! What was not chosen is put down again, so that there is one network with one way out.

use super::address::{AddressRequest, CardName, Mac, Method};
use super::lease::{Lease, SERVER_OPTION, VENDOR_CLASS};
use super::network_requests::{automatic, requests};
use super::network6::{Answer6, Clients6};
use super::parameters::Parameters;
use super::{LEASE, paths, say, say_step};
use crate::linux::cards::{self, Card};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long the card that booted is waited for once another one has its address.
pub(super) const BOOTED_GRACE: Duration = Duration::from_secs(5);
/// How long a network without DHCP is asked before IPv6 is tried.
const IPV6_DELAY: Duration = Duration::from_secs(2);
/// How long DHCP is waited for once a card has an address of version 6.
const ROUTER_GRACE: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(100);
/// After so long a person is told what is going on.
const PATIENCE: Duration = Duration::from_secs(12);

/// A network that is up.
#[derive(Debug)]
pub(super) struct Network {
    /// The interface.
    pub(super) interface: String,
    /// Where names without a point are looked for.
    pub(super) domains: Vec<String>,
    /// What the DHCP server says about the imaging server.
    pub(super) server: Option<String>,
    /// Renews the lease.
    client: Option<Child>,
}

impl Network {
    /// Takes it down.
    pub(super) fn give_up(self) {
        let _ = std::fs::remove_file(paths::run("card"));
        stop_client(&self.interface, self.client);
    }

    /// One that is only known, for tests.
    #[cfg(test)]
    pub(super) fn known(domains: &[&str], server: Option<&str>) -> Self {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        Self { interface: "eth0".to_owned(), domains, server: server.map(str::to_owned), client: None }
    }
}

fn stop_client(interface: &str, client: Option<Child>) {
    if let Some(mut client) = client {
        cards::stop_client(&mut client);
    }
    Lease::forget(interface);
    cards::remove_addresses(interface);
}

/// How an attempt ended.
pub(super) enum Outcome {
    /// With a network.
    Up(Network),
    /// Somebody pressed a key.
    Interrupted,
    /// It took too long.
    TimedOut,
}

/// What was tried on each interface, for the report.
pub(super) type Tried = BTreeMap<String, String>;

/// The interfaces of an attempt.
pub(super) struct Attempt<'a> {
    parameters: &'a Parameters,
    requests: Vec<AddressRequest>,
    up: BTreeSet<String>,
    clients: BTreeMap<String, Child>,
    clients6: Clients6,
    pub(super) tried: Tried,
    fixed: BTreeSet<String>,
    first_asked: Option<Instant>,
    first_lease: Option<Instant>,
}

/// What a network says about itself.
#[derive(Default)]
struct Told {
    how: &'static str,
    name_servers: Vec<IpAddr>,
    domains: Vec<String>,
    hostname: Option<String>,
    server: Option<String>,
    /// Renews it.
    client: Option<Child>,
}

impl<'a> Attempt<'a> {
    /// An attempt as the parameters ask for it.
    pub(super) fn new(parameters: &'a Parameters) -> Self {
        Self {
            parameters,
            requests: requests(parameters),
            up: BTreeSet::new(),
            clients: BTreeMap::new(),
            clients6: Clients6::default(),
            tried: Tried::new(),
            fixed: BTreeSet::new(),
            first_asked: None,
            first_lease: None,
        }
    }

    /// Tries for `limit`. `interrupted` waits for a short while, and is true where a person wants to be asked.
    pub(super) fn run(&mut self, limit: Duration, interrupted: &dyn Fn(Duration) -> bool) -> Outcome {
        let begin = Instant::now();
        let mut told = false;
        loop {
            let cards = cards::cards();
            for card in &cards {
                self.bring_up(card);
            }
            for request in self.requests.clone() {
                if let Some(network) = self.serve(&request, &cards) {
                    return Outcome::Up(network);
                }
            }
            if let Some(network) = self.choose_lease(&cards) {
                return Outcome::Up(network);
            }
            if begin.elapsed() >= limit {
                return Outcome::TimedOut;
            }
            if begin.elapsed() >= PATIENCE && !told {
                told = true;
                say_step(&format!("no network yet: {}", super::network_report::line(&cards, &self.tried)));
                say("press a key for the menu");
            }
            if interrupted(POLL) {
                return Outcome::Interrupted;
            }
        }
    }

    fn bring_up(&mut self, card: &Card) {
        if self.up.insert(card.name.clone()) {
            let driver = card.driver.as_deref().unwrap_or("no driver");
            say(&format!("debug: card {} ({driver}, {})", card.name, card.mac));
            if let Err(said) = cards::up(&card.name) {
                self.tried.insert(card.name.clone(), said);
            }
        }
    }

    /// Does for one request what can be done now; gives a network that needs nobody's answer.
    fn serve(&mut self, request: &AddressRequest, cards: &[Card]) -> Option<Network> {
        let mut fitting: Vec<&Card> = cards.iter().filter(|card| self.fits(request, card)).collect();
        // The one that booted first, the others in their order.
        fitting.sort_by_key(|card| !self.is_booted(card));
        let connected: Vec<&Card> =
            fitting.iter().copied().filter(|card| card.carrier == Some(true)).collect();
        match request.method {
            Method::Off => None,
            Method::Automatic => {
                for card in connected {
                    self.start_client(request, card);
                }
                None
            }
            Method::Automatic6 => connected.iter().find_map(|card| {
                let interface = self.interface(request, card)?;
                self.start_client6(&interface);
                let answer = self.clients6.answer(&interface)?;
                Some(self.use_answer6(&interface, answer, request))
            }),
            Method::Static { address, prefix, gateway } => {
                let card = connected.first()?;
                let interface = self.interface(request, card)?;
                self.set_fixed(&interface, address, prefix, gateway)?;
                let told = Told { how: "fixed address", ..Told::default() };
                Some(self.established(&interface, address, prefix, told, request))
            }
        }
    }

    fn set_fixed(
        &mut self,
        interface: &str,
        address: IpAddr,
        prefix: u8,
        gateway: Option<IpAddr>,
    ) -> Option<()> {
        if self.fixed.insert(interface.to_owned()) {
            let set = cards::add_address(interface, address, prefix);
            let set =
                set.and_then(|()| gateway.map_or(Ok(()), |gateway| cards::set_gateway(interface, gateway)));
            if let Err(said) = set {
                self.tried.insert(interface.to_owned(), said);
                return None;
            }
            return Some(());
        }
        None
    }

    /// The interface that a request means on a card: the card itself, or its VLAN, which is made.
    fn interface(&mut self, request: &AddressRequest, card: &Card) -> Option<String> {
        let Some(vlan) = request.device.as_ref().and_then(|device| device.vlan) else {
            return Some(card.name.clone());
        };
        let made = cards::add_vlan(&card.name, vlan).and_then(|name| cards::up(&name).map(|()| name));
        match made {
            Ok(name) => Some(name),
            Err(said) => {
                self.tried.insert(card.name.clone(), said);
                None
            }
        }
    }

    fn start_client(&mut self, request: &AddressRequest, card: &Card) {
        let Some(interface) = self.interface(request, card) else { return };
        if self.clients.contains_key(&interface) || !cards::has_carrier(&interface) {
            return;
        }
        Lease::forget(&interface);
        let log = paths::run(&format!("dhcp-{interface}.log"));
        let hostname = request.hostname.as_deref();
        let started =
            cards::start_dhcp(&interface, &paths::run(LEASE), &log, &[SERVER_OPTION], hostname, VENDOR_CLASS);
        match started {
            Ok(client) => {
                say(&format!("debug: asking by DHCP on {interface}"));
                self.tried.insert(interface.clone(), "asked by DHCP, no answer".to_owned());
                self.clients.insert(interface, client);
                self.first_asked.get_or_insert_with(Instant::now);
            }
            Err(said) => {
                self.tried.insert(interface, said);
            }
        }
    }

    fn start_client6(&mut self, interface: &str) {
        let said = match self.clients6.start(interface) {
            Ok(()) if self.clients.contains_key(interface) => {
                "asked by DHCP and for IPv6, no answer".to_owned()
            }
            Ok(()) => "asked for IPv6, no answer".to_owned(),
            Err(said) => said,
        };
        self.tried.insert(interface.to_owned(), said);
    }

    /// The lease to use, where it is time to choose one.
    fn choose_lease(&mut self, cards: &[Card]) -> Option<Network> {
        let leases: Vec<(String, Lease)> =
            self.clients.keys().filter_map(|name| Some((name.clone(), Lease::of(name)?))).collect();
        let booted = cards.iter().find(|card| self.is_booted(card)).map(|card| card.name.clone());
        let of_booted = |name: &str| {
            booted.as_deref().is_some_and(|booted| name == booted || name.starts_with(&format!("{booted}.")))
        };
        if let Some((interface, lease)) = leases.iter().find(|(name, _)| of_booted(name)).or(leases.first()) {
            let since = *self.first_lease.get_or_insert_with(Instant::now);
            let wait = booted.is_some() && !of_booted(interface) && since.elapsed() < BOOTED_GRACE;
            return if wait { None } else { Some(self.use_lease(interface, lease)) };
        }
        // Without an answer of DHCP, IPv6 is as good a network.
        if self.first_asked.is_none_or(|since| since.elapsed() < IPV6_DELAY) {
            return None;
        }
        let interfaces: Vec<String> = self.clients.keys().cloned().collect();
        interfaces.iter().for_each(|interface| self.start_client6(interface));
        let request = self.requests.first().cloned()?;
        let mut answers =
            interfaces.into_iter().filter_map(|name| Some((self.clients6.answer(&name)?, name)));
        let (answer, interface) = answers.next()?;
        (answer.since.elapsed() >= ROUTER_GRACE).then(|| self.use_answer6(&interface, answer, &request))
    }

    fn use_lease(&mut self, interface: &str, lease: &Lease) -> Network {
        // From now on a renewal sets the way out as well.
        let _ = std::fs::write(paths::run("card"), interface);
        if let Some(gateway) = lease.gateway
            && let Err(said) = cards::set_gateway(interface, gateway.into())
        {
            say(&format!("warning: {said}"));
        }
        let request = self.requests.first().cloned().unwrap_or_else(|| automatic(None));
        let told = Told {
            how: "dhcp",
            name_servers: lease.name_servers.clone(),
            domains: lease.domains.clone(),
            hostname: lease.hostname.clone(),
            server: lease.server.clone(),
            client: self.clients.remove(interface),
        };
        self.established(interface, lease.address.into(), lease.prefix, told, &request)
    }

    fn use_answer6(&mut self, interface: &str, answer: Answer6, request: &AddressRequest) -> Network {
        let told = Told {
            how: answer.how(),
            name_servers: answer.lease.name_servers(),
            domains: answer.lease.domains(),
            client: self.clients6.take(interface),
            ..Told::default()
        };
        self.established(interface, answer.address, answer.prefix, told, request)
    }

    /// Puts down what was not chosen, and tells the system about what was.
    fn established(
        &mut self,
        interface: &str,
        address: IpAddr,
        prefix: u8,
        told: Told,
        request: &AddressRequest,
    ) -> Network {
        for (name, mut client) in std::mem::take(&mut self.clients) {
            // What was set by hand on a card stays there.
            if name != interface {
                stop_client(&name, Some(client));
            } else {
                cards::stop_client(&mut client);
            }
        }
        drop(std::mem::take(&mut self.clients6));
        let mut servers = self.parameters.name_servers.clone();
        servers.extend(&request.name_servers);
        servers.extend(told.name_servers);
        if let Err(said) = cards::write_name_servers(&servers, &told.domains) {
            say(&format!("warning: {said}"));
        }
        if let Some(hostname) = request.hostname.as_deref().or(told.hostname.as_deref()) {
            cards::set_hostname(hostname);
        }
        let how = told.how;
        say_step(&format!("network {interface} {address}/{prefix} via {how}"));
        self.tried.insert(interface.to_owned(), format!("{address}/{prefix} via {how}"));
        Network {
            interface: interface.to_owned(),
            domains: told.domains,
            server: told.server,
            client: told.client,
        }
    }

    fn fits(&self, request: &AddressRequest, card: &Card) -> bool {
        match request.device.as_ref().map(|device| &device.card) {
            None => true,
            Some(CardName::Kernel(name)) => *name == card.name,
            Some(CardName::Mac(mac)) => Mac::parse(&card.mac, ':') == Some(*mac),
            // Without the kernel being told which one it was, any may have been.
            Some(CardName::Booted) => self.parameters.booted.is_none() || self.is_booted(card),
        }
    }

    fn is_booted(&self, card: &Card) -> bool {
        self.parameters.booted.is_some() && Mac::parse(&card.mac, ':') == self.parameters.booted
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // Those of a network that came up were taken out: they go on renewing its lease.
        self.clients.values_mut().for_each(cards::stop_client);
    }
}
