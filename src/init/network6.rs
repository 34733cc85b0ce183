//! IPv6 on the cards: dhcpcd hears the routers and, where these say so, asks DHCPv6.

use super::lease6::Lease6;
use super::{LEASE, paths, say};
use crate::linux::cards;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long name servers are waited for once there is an address: DHCPv6 may bring them a moment later.
const NAMES_GRACE: Duration = Duration::from_secs(3);

/// The clients of an attempt.
#[derive(Default)]
pub(super) struct Clients6 {
    clients: BTreeMap<String, Child>,
    /// Since when an interface has an address.
    addressed: BTreeMap<String, Instant>,
}

/// An interface that is up.
pub(super) struct Answer6 {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    pub(super) lease: Lease6,
    pub(super) since: Instant,
}

impl Answer6 {
    /// Where the address is from.
    pub(super) fn how(&self) -> &'static str {
        if self.lease.managed { "DHCPv6" } else { "router advertisement" }
    }
}

impl Clients6 {
    /// Starts a client on an interface that has none. Without one, the kernel itself still hears routers.
    pub(super) fn start(&mut self, interface: &str) -> Result<(), String> {
        if self.clients.contains_key(interface) {
            return Ok(());
        }
        Lease6::forget(interface);
        let log = paths::run(&format!("dhcp6-{interface}.log"));
        let client = cards::start_dhcp6(interface, &paths::run(LEASE), &log)?;
        say(&format!("debug: asking by router solicitation and DHCPv6 on {interface}"));
        self.clients.insert(interface.to_owned(), client);
        Ok(())
    }

    /// What an interface got, once all of it is there.
    pub(super) fn answer(&mut self, interface: &str) -> Option<Answer6> {
        let (address, prefix) = cards::global_address6(interface)?;
        let since = *self.addressed.entry(interface.to_owned()).or_insert_with(Instant::now);
        let lease = Lease6::of(interface);
        let all = !lease.name_servers().is_empty() || since.elapsed() >= NAMES_GRACE;
        all.then_some(Answer6 { address, prefix, lease, since })
    }

    /// Gives away the client of the interface that is used.
    pub(super) fn take(&mut self, interface: &str) -> Option<Child> {
        self.clients.remove(interface)
    }
}

impl Drop for Clients6 {
    fn drop(&mut self) {
        for client in self.clients.values_mut() {
            cards::stop_client(client);
        }
    }
}
