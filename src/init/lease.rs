//! What a DHCP server gave, as busybox's client tells it to its script: in the environment.
//!
//! The script is this program. It sets the address, and keeps the rest for the process that waits for it.

use super::address::mask_length;
use super::{lease6, paths};
use crate::linux::cards;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// The option that names the server: the first of those that RFC 3942 leaves to sites.
pub const SERVER_OPTION: u8 = 224;
/// What this program calls itself in its requests, so that a DHCP server can answer it alone.
pub const VENDOR_CLASS: &str = "remint";

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// How many of its bits name the network.
    pub prefix: u8,
    /// The way out.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    pub name_servers: Vec<IpAddr>,
    /// Where names without a point are looked for.
    pub domains: Vec<String>,
    /// The name of this machine.
    pub hostname: Option<String>,
    /// The server's URL, from [`SERVER_OPTION`].
    pub server: Option<String>,
}

impl Lease {
    /// Reads the environment of the client's script; `None` where it holds no address.
    #[must_use]
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let address = variable("ip")?.parse().ok()?;
        let prefix = variable("mask").and_then(|bits| bits.parse().ok());
        let prefix = prefix.or_else(|| mask_length(variable("subnet")?.parse().ok()?));
        let list = |name: &str| -> Vec<String> {
            variable(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        let mut domains: Vec<String> = Vec::new();
        for domain in list("search").into_iter().chain(list("domain")) {
            if is_name(&domain) && !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        Some(Self {
            address,
            prefix: prefix.filter(|prefix| (1..=32).contains(prefix)).unwrap_or(24),
            gateway: list("router").iter().find_map(|text| text.parse().ok()),
            name_servers: list("dns").iter().filter_map(|text| text.parse().ok()).collect(),
            domains,
            hostname: variable("hostname").filter(|name| is_name(name)),
            server: variable(&format!("opt{SERVER_OPTION}")).and_then(|hex| text_of_hex(&hex)),
        })
    }

    fn file(card: &str) -> PathBuf {
        paths::run("lease").join(card)
    }

    /// The lease of a card, where it has one.
    #[must_use]
    pub fn of(card: &str) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::file(card)).ok()?).ok()
    }

    /// Forgets the lease of a card.
    pub fn forget(card: &str) {
        let _ = std::fs::remove_file(Self::file(card));
    }

    fn keep(&self, card: &str) -> std::io::Result<()> {
        paths::write_whole(&Self::file(card), &serde_json::to_vec(self)?)
    }
}

/// Does what the script of the DHCP clients has to do.
#[must_use]
pub fn handle_event() -> u8 {
    let variable = |name: &str| std::env::var(name).ok();
    // Only dhcpcd, which is for IPv6, tells by a variable what happened.
    if let Some(reason) = variable("reason") {
        return lease6::handle_event(&reason);
    }
    let (Some(event), Some(card)) = (std::env::args().nth(1), variable("interface")) else { return 1 };
    match event.as_str() {
        "deconfig" => {
            Lease::forget(&card);
            cards::remove_addresses(&card);
        }
        "bound" | "renew" => {
            let Some(lease) = Lease::read(variable) else { return 1 };
            if Lease::of(&card).is_some_and(|before| before.address != lease.address) {
                cards::remove_addresses(&card);
            }
            let set = cards::add_address(&card, lease.address.into(), lease.prefix);
            let chosen = std::fs::read_to_string(paths::run("card")).is_ok_and(|chosen| chosen == card);
            let set = match lease.gateway.filter(|_| chosen) {
                Some(gateway) => set.and_then(|()| cards::set_gateway(&card, gateway.into())),
                None => set,
            };
            // Both outputs go to the client's log.
            if let Err(said) = set.and_then(|()| lease.keep(&card).map_err(|error| error.to_string())) {
                let _ =
                    std::io::Write::write_all(&mut std::io::stderr(), format!("remint: {said}\n").as_bytes());
                return 1;
            }
        }
        _ => {}
    }
    0
}

pub(super) fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && text.len() <= 253 && text.chars().all(fits) && !text.starts_with(['-', '.'])
}

/// Options that busybox does not know come as hexadecimal digits.
fn text_of_hex(hex: &str) -> Option<String> {
    let crate::units::Hex(bytes) = hex.trim().parse().ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace()))
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(variables: &[(&str, &str)]) -> Option<Lease> {
        Lease::read(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_clients_variables_are_read() {
        let found = lease(&[
            ("ip", "10.0.2.15"),
            ("subnet", "255.255.255.0"),
            ("mask", "24"),
            ("router", "10.0.2.2 10.0.2.9"),
            ("dns", "10.0.2.3 nonsense 10.0.2.4"),
            ("domain", "lab.example"),
            ("search", "lab.example example"),
            ("hostname", "pc5"),
            ("opt224", "687474703a2f2f733a383436302f00"),
        ])
        .unwrap();
        assert_eq!((found.address.to_string().as_str(), found.prefix), ("10.0.2.15", 24));
        assert_eq!(found.gateway.unwrap().to_string(), "10.0.2.2");
        assert_eq!(found.name_servers.len(), 2);
        assert_eq!(found.domains, ["lab.example", "example"]);
        assert_eq!(found.server.as_deref(), Some("http://s:8460/"));
        assert_eq!(found.hostname.as_deref(), Some("pc5"));
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let found = lease(&[
            ("ip", "10.0.2.15"),
            ("subnet", "255.255.0.0"),
            ("mask", "99"),
            ("domain", "a;b $(x) \u{e9}"),
            ("hostname", "-x"),
            ("opt224", "zz"),
        ])
        .unwrap();
        assert_eq!((found.prefix, found.server, found.hostname), (24, None, None));
        assert_eq!(found.domains, Vec::<String>::new());
        assert_eq!(lease(&[("ip", "10.0.2.15"), ("subnet", "255.255.0.0")]).unwrap().prefix, 16);
        assert_eq!(lease(&[("ip", "x")]), None);
        assert_eq!(lease(&[]), None);
        assert_eq!(text_of_hex("682068"), None);
        assert_eq!(text_of_hex("ff"), None);
    }
}
