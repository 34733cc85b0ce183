//! What an IPv6 network says about itself, as dhcpcd tells it to its script: in the environment.
//!
//! Two speak: routers by their advertisements, and DHCPv6 servers. What each said last is kept for the process that
//! waits for it; addresses and routes are set by dhcpcd itself.

use super::lease::is_name;
use super::paths;
use crate::linux::cards;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

/// Advertisements and options of one that are looked at.
const MOST: usize = 8;

/// What both said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease6 {
    announced: Names,
    leased: Option<Names>,
    /// True where the address is a DHCPv6 server's.
    pub managed: bool,
}

/// Name servers, and where names without a point are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Names {
    servers: Vec<IpAddr>,
    domains: Vec<String>,
}

impl Names {
    fn read(servers: &str, domains: &str) -> Self {
        // An address of the link alone means nothing without its card.
        let usable = |address: &Ipv6Addr| !address.is_unicast_link_local() && !address.is_unspecified();
        let servers = servers.split_whitespace().filter_map(|text| text.parse().ok()).filter(usable);
        let domains = domains.split_whitespace().map(|name| name.trim_end_matches('.'));
        Self {
            servers: servers.map(IpAddr::V6).collect(),
            domains: domains.filter(|name| is_name(name)).map(str::to_owned).collect(),
        }
    }
}

impl Lease6 {
    /// Takes in an event of dhcpcd (dhcpcd-run-hooks(8)); `variable` reads its environment.
    pub fn take(&mut self, reason: &str, variable: impl Fn(&str) -> Option<String>) {
        match reason {
            "ROUTERADVERT" => {
                let all = |option: &str, field: &str| {
                    let numbers =
                        (1..=MOST).flat_map(|router| (1..=MOST).map(move |number| (router, number)));
                    let values = numbers.filter_map(|(router, number)| {
                        let name = format!("nd{router}_{option}{number}_");
                        let withdrawn = variable(&format!("{name}lifetime")).is_some_and(|time| time == "0");
                        variable(&format!("{name}{field}")).filter(|_| !withdrawn)
                    });
                    values.collect::<Vec<_>>().join(" ")
                };
                self.announced = Names::read(&all("rdnss", "servers"), &all("dnssl", "search"));
            }
            "BOUND6" | "RENEW6" | "REBIND6" | "REBOOT6" | "INFORM6" => {
                let text = |name: &str| variable(name).unwrap_or_default();
                self.managed = reason != "INFORM6";
                self.leased =
                    Some(Names::read(&text("new_dhcp6_name_servers"), &text("new_dhcp6_domain_search")));
            }
            "EXPIRE6" | "STOP6" | "STOPPED" => (self.leased, self.managed) = (None, false),
            _ => {}
        }
    }

    /// Name servers, those of DHCPv6 first.
    #[must_use]
    pub fn name_servers(&self) -> Vec<IpAddr> {
        self.of_both(|names| &names.servers)
    }

    /// Where names without a point are looked for.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        self.of_both(|names| &names.domains)
    }

    fn of_both<T: Clone + PartialEq>(&self, list: impl Fn(&Names) -> &Vec<T>) -> Vec<T> {
        let mut both = Vec::new();
        for item in self.leased.iter().chain([&self.announced]).flat_map(&list) {
            if !both.contains(item) {
                both.push(item.clone());
            }
        }
        both
    }

    fn file(interface: &str) -> PathBuf {
        paths::run("lease6").join(interface)
    }

    /// What is known on an interface; nothing where nobody spoke.
    #[must_use]
    pub fn of(interface: &str) -> Self {
        let bytes = std::fs::read(Self::file(interface)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Forgets it.
    pub fn forget(interface: &str) {
        let _ = std::fs::remove_file(Self::file(interface));
    }
}

/// Does what dhcpcd's script has to do.
#[must_use]
pub fn handle_event(reason: &str) -> u8 {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(interface) = variable("interface").filter(|name| cards::is_interface(name)) else { return 1 };
    let mut lease = Lease6::of(&interface);
    lease.take(reason, variable);
    match paths::write_whole(&Lease6::file(&interface), &serde_json::to_vec(&lease).unwrap_or_default()) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lease: &mut Lease6, reason: &str, variables: &[(&str, &str)]) {
        lease.take(reason, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        });
    }

    #[test]
    fn routers_and_servers_are_both_heard() {
        let mut lease = Lease6::default();
        let advertisement = [
            ("nd1_rdnss1_servers", "2001:db8::53 fe80::1 nonsense 10.0.0.1"),
            ("nd1_rdnss1_lifetime", "1800"),
            ("nd1_rdnss2_servers", "2001:db8::99"),
            ("nd1_rdnss2_lifetime", "0"),
            ("nd2_dnssl1_search", "lab.example. $(x)"),
        ];
        taken(&mut lease, "ROUTERADVERT", &advertisement);
        assert_eq!(lease.name_servers(), ["2001:db8::53".parse::<IpAddr>().unwrap()]);
        assert_eq!((lease.domains(), lease.managed), (vec!["lab.example".to_owned()], false));
        let answer = [
            ("new_dhcp6_name_servers", "2001:db8::1 2001:db8::53"),
            ("new_dhcp6_domain_search", "x.example"),
        ];
        taken(&mut lease, "BOUND6", &answer);
        assert_eq!(lease.name_servers().len(), 2);
        assert_eq!(lease.name_servers()[0].to_string(), "2001:db8::1");
        assert_eq!(
            (lease.domains(), lease.managed),
            (vec!["x.example".to_owned(), "lab.example".to_owned()], true)
        );
        taken(&mut lease, "EXPIRE6", &[]);
        assert_eq!((lease.name_servers().len(), lease.managed), (1, false));
        taken(&mut lease, "CARRIER", &[]);
        taken(&mut lease, "INFORM6", &answer);
        assert_eq!((lease.name_servers().len(), lease.managed), (2, false));
    }
}
