//! A network: all wired cards at once, the booted one preferred.
//!
//! Every card is brought up and watched. Where a cable answers, a DHCP client starts. The lease of the card that
//! booted counts at once; another one's after [`BOOTED_GRACE`]. What was not chosen is put down again, so that
//! there is one network with one way out.

use super::address::{AddressRequest, CardName, Device, Mac, Method};
use super::lease::{Lease, SERVER_OPTION, VENDOR_CLASS};
use super::parameters::Parameters;
use super::{LEASE, paths, say, say_step};
use crate::linux::cards::{self, Card};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long the card that booted is waited for once another one has its address.
pub(super) const BOOTED_GRACE: Duration = Duration::from_secs(5);
/// How long DHCP is waited for once a card has an address of version 6 from a router.
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
        let _ = client.kill().and_then(|()| client.wait());
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
    pub(super) tried: Tried,
    fixed: BTreeSet<String>,
    first_lease: Option<Instant>,
    first_router: Option<Instant>,
}

impl<'a> Attempt<'a> {
    /// An attempt as the parameters ask for it.
    pub(super) fn new(parameters: &'a Parameters) -> Self {
        Self {
            parameters,
            requests: requests(parameters),
            up: BTreeSet::new(),
            clients: BTreeMap::new(),
            tried: Tried::new(),
            fixed: BTreeSet::new(),
            first_lease: None,
            first_router: None,
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
                let (address, prefix) = cards::global_address6(&interface)?;
                Some(self.established(&interface, address, prefix, "router advertisement", None, request))
            }),
            Method::Static { address, prefix, gateway } => {
                let card = connected.first()?;
                let interface = self.interface(request, card)?;
                self.set_fixed(&interface, address, prefix, gateway)?;
                Some(self.established(&interface, address, prefix, "fixed address", None, request))
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
            }
            Err(said) => {
                self.tried.insert(interface, said);
            }
        }
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
        // Without an answer of DHCP, what a router announced is as good a network.
        let by_router =
            self.clients.keys().find_map(|name| Some((name.clone(), cards::global_address6(name)?)));
        let (interface, (address, prefix)) = by_router?;
        let since = *self.first_router.get_or_insert_with(Instant::now);
        let request = self.requests.first().cloned()?;
        (since.elapsed() >= ROUTER_GRACE)
            .then(|| self.established(&interface, address, prefix, "router advertisement", None, &request))
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
        self.established(interface, lease.address.into(), lease.prefix, "dhcp", Some(lease), &request)
    }

    /// Puts down what was not chosen, and tells the system about what was.
    fn established(
        &mut self,
        interface: &str,
        address: IpAddr,
        prefix: u8,
        how: &str,
        lease: Option<&Lease>,
        request: &AddressRequest,
    ) -> Network {
        let kept = lease.and_then(|_| self.clients.remove(interface));
        for (name, client) in std::mem::take(&mut self.clients) {
            // What was set by hand on a card stays there.
            if name != interface {
                stop_client(&name, Some(client));
            } else {
                let mut client = client;
                let _ = client.kill().and_then(|()| client.wait());
            }
        }
        let mut servers = self.parameters.name_servers.clone();
        servers.extend(&request.name_servers);
        servers.extend(lease.into_iter().flat_map(|lease| &lease.name_servers));
        let domains = lease.map(|lease| lease.domains.clone()).unwrap_or_default();
        if let Err(said) = cards::write_name_servers(&servers, &domains) {
            say(&format!("warning: {said}"));
        }
        let named = request.hostname.as_deref().or(lease.and_then(|lease| lease.hostname.as_deref()));
        if let Some(hostname) = named {
            cards::set_hostname(hostname);
        }
        say_step(&format!("network {interface} {address}/{prefix} via {how}"));
        let server = lease.and_then(|lease| lease.server.clone());
        self.tried.insert(interface.to_owned(), format!("{address}/{prefix} via {how}"));
        Network { interface: interface.to_owned(), domains, server, client: kept }
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
        for client in self.clients.values_mut() {
            let _ = client.kill().and_then(|()| client.wait());
        }
    }
}

fn automatic(device: Option<Device>) -> AddressRequest {
    AddressRequest { device, method: Method::Automatic, hostname: None, name_servers: Vec::new() }
}

/// What is asked for, with named VLANs put in: DHCP on every card where nobody asks for anything.
fn requests(parameters: &Parameters) -> Vec<AddressRequest> {
    let mut requests = parameters.addresses.clone();
    if requests.is_empty() {
        requests.push(automatic(None));
    }
    let named = |device: &Device| {
        let CardName::Kernel(card) = &device.card else { return None };
        let text = device.vlan.map_or(card.clone(), |vlan| format!("{card}.{vlan}"));
        parameters.vlans.iter().find(|(name, _)| *name == text).map(|(_, vlan)| vlan.clone())
    };
    for request in &mut requests {
        request.device = match &request.device {
            Some(device) => Some(named(device).unwrap_or_else(|| device.clone())),
            None => parameters.vlans.first().map(|(_, device)| device.clone()),
        };
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(text: &str) -> Vec<Option<String>> {
        let parameters = Parameters::read(text);
        assert_eq!(parameters.errors, Vec::<String>::new());
        requests(&parameters)
            .into_iter()
            .map(|request| request.device.map(|device| device.to_string()))
            .collect()
    }

    #[test]
    fn vlans_are_found_by_their_name_or_number() {
        assert_eq!(devices(""), [None]);
        assert_eq!(devices("vlan=vlan7:eth1"), [Some("eth1.7".to_owned())]);
        assert_eq!(devices("vlan=vlan7:eth1 ip=vlan7:dhcp"), [Some("eth1.7".to_owned())]);
        assert_eq!(devices("vlan=eth1.0007:eth1 ip=dhcp"), [Some("eth1.7".to_owned())]);
        assert_eq!(devices("ip=10.0.0.5/24:::::eth0.9"), [Some("eth0.9".to_owned())]);
        assert_eq!(devices("ip=eth0:dhcp ip=eth1:auto6"), [Some("eth0".to_owned()), Some("eth1".to_owned())]);
    }
}
