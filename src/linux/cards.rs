//! The network cards of this machine, and what is told to them.

use super::program::{self, Outcome};
use super::sysfs::entry_names;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NETWORK: &str = "/sys/class/net";
const LIMIT: Duration = Duration::from_secs(10);
/// `ARPHRD_ETHER` of linux/if_arp.h.
const ETHERNET: &str = "1";

/// A wired network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Kernel name.
    pub name: String,
    /// Hardware address, as the kernel writes it.
    pub mac: String,
    /// Its driver.
    pub driver: Option<String>,
    /// True where the other end of the cable answers; `None` where the card cannot know yet.
    pub carrier: Option<bool>,
    /// Megabits a second.
    pub speed: Option<u32>,
}

/// The wired cards that have a driver, in the order of their numbers.
#[must_use]
pub fn cards() -> Vec<Card> {
    cards_of(Path::new(NETWORK))
}

fn cards_of(network: &Path) -> Vec<Card> {
    let mut cards: Vec<Card> =
        entry_names(network).into_iter().filter_map(|name| card(network, name)).collect();
    cards.sort_by_cached_key(|card| (card.name.len(), card.name.clone()));
    cards
}

fn card(network: &Path, name: String) -> Option<Card> {
    let directory = network.join(&name);
    let text = |attribute: &str| {
        fs::read_to_string(directory.join(attribute)).ok().map(|text| text.trim().to_owned())
    };
    let wireless = directory.join("wireless").exists() || directory.join("phy80211").exists();
    // What has no device behind it was made by software: bridges, tunnels, VLANs.
    if wireless || !directory.join("device").exists() || text("type").as_deref() != Some(ETHERNET) {
        return None;
    }
    let driver = fs::read_link(directory.join("device/driver")).ok();
    let driver = driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    Some(Card {
        mac: text("address").unwrap_or_default(),
        driver,
        // A card that is down gives an error here.
        carrier: text("carrier").map(|carrier| carrier == "1"),
        speed: text("speed")
            .and_then(|speed| speed.parse().ok())
            .filter(|speed| *speed > 0 && *speed < 10_000_000),
        name,
    })
}

/// True where the other end of the cable answers on an interface, which may be a VLAN.
#[must_use]
pub fn has_carrier(name: &str) -> bool {
    fs::read_to_string(Path::new(NETWORK).join(name).join("carrier")).is_ok_and(|text| text.trim() == "1")
}

/// Network hardware on the PCI bus that no driver took: `8086:15b8 at 0000:00:1f.6`.
#[must_use]
pub fn cards_without_driver() -> Vec<String> {
    let bus = Path::new("/sys/bus/pci/devices");
    let mut found = Vec::new();
    for address in entry_names(bus) {
        let directory = bus.join(&address);
        let text = |attribute: &str| {
            let text = fs::read_to_string(directory.join(attribute)).unwrap_or_default();
            text.trim().trim_start_matches("0x").to_owned()
        };
        // 02xxxx is the class of network controllers.
        if text("class").starts_with("02") && !directory.join("driver").exists() {
            found.push(format!("{}:{} at {address}", text("vendor"), text("device")));
        }
    }
    found
}

/// Brings a card up, so that it looks for the other end of its cable.
///
/// # Errors
/// A sentence where the kernel refuses.
pub fn up(name: &str) -> Result<(), String> {
    ip(&["link", "set", "dev", name, "up"])
}

/// Gives a card an address.
///
/// # Errors
/// A sentence where the kernel refuses.
pub fn add_address(name: &str, address: IpAddr, prefix: u8) -> Result<(), String> {
    let text = format!("{address}/{prefix}");
    let mut words = vec!["addr", "add", text.as_str(), "dev", name];
    if address.is_ipv4() {
        words.extend(["broadcast", "+"]);
    }
    match ip(&words) {
        // A lease that is renewed brings the address that is there.
        Err(said) if said.contains("exists") => Ok(()),
        other => other,
    }
}

/// Takes all addresses of version 4 from a card.
pub fn remove_addresses(name: &str) {
    let _ = ip(&["-4", "addr", "flush", "dev", name]);
}

/// Sends what has no other way through a gateway.
///
/// # Errors
/// A sentence where the kernel refuses.
pub fn set_gateway(name: &str, gateway: IpAddr) -> Result<(), String> {
    let family = if gateway.is_ipv4() { "-4" } else { "-6" };
    let gateway = gateway.to_string();
    let direct = ip(&[family, "route", "replace", "default", "via", &gateway, "dev", name]);
    // A gateway outside its network, as providers of single addresses have it, is reached on the wire.
    direct.or_else(|_| {
        ip(&[family, "route", "replace", &gateway, "dev", name])?;
        ip(&[family, "route", "replace", "default", "via", &gateway, "dev", name])
    })
}

/// Makes a VLAN on a card and gives its name.
///
/// # Errors
/// A sentence where the kernel refuses.
pub fn add_vlan(card: &str, number: u16) -> Result<String, String> {
    let name = format!("{card}.{number}");
    let there = || Path::new(NETWORK).join(&name).exists();
    if there() {
        return Ok(name);
    }
    let number = number.to_string();
    let made = ip(&["link", "add", "link", card, "name", &name, "type", "vlan", "id", &number])
        .or_else(|_| run("vconfig", &["add", card, &number]));
    match made {
        _ if there() => Ok(name),
        Ok(()) => Err(format!("the VLAN {name} was not made")),
        Err(said) => Err(said),
    }
}

/// The address of version 6 that a card got from its network, once it is known to be its alone.
#[must_use]
pub fn global_address6(name: &str) -> Option<(IpAddr, u8)> {
    parse_if_inet6(&fs::read_to_string("/proc/net/if_inet6").ok()?, name)
}

/// Lines of `ADDRESS INDEX PREFIX SCOPE FLAGS NAME`, numbers in hexadecimal (proc_net(5)).
fn parse_if_inet6(text: &str, wanted: &str) -> Option<(IpAddr, u8)> {
    /// Global, and the site-local addresses that some routers still announce.
    const BEYOND_THE_LINK: [&str; 2] = ["00", "40"];
    /// `IFA_F_TENTATIVE` and `IFA_F_DADFAILED`.
    const NOT_USABLE: u8 = 0x40 | 0x08;
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (address, _, prefix) = (words.next()?, words.next()?, words.next()?);
        let (scope, flags, name) = (words.next()?, words.next()?, words.next()?);
        let flags = u8::from_str_radix(flags, 16).ok()?;
        if !BEYOND_THE_LINK.contains(&scope) || flags & NOT_USABLE != 0 || name != wanted {
            return None;
        }
        let address = u128::from_str_radix(address, 16).ok()?;
        Some((IpAddr::from(address.to_be_bytes()), u8::from_str_radix(prefix, 16).ok()?))
    })
}

/// Where name servers stand.
///
/// # Errors
/// A sentence where the file cannot be written.
pub fn write_name_servers(servers: &[IpAddr], domains: &[String]) -> Result<(), String> {
    let mut text = String::new();
    if !domains.is_empty() {
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    let _ = fs::create_dir_all("/etc");
    fs::write("/etc/resolv.conf", text).map_err(|error| format!("writing /etc/resolv.conf: {error}"))
}

/// Tells the kernel how this machine is called.
pub fn set_hostname(name: &str) {
    let _ = nix::unistd::sethostname(name);
}

/// Starts busybox's DHCP client on a card. It asks until it is killed, and runs `script` at every answer.
///
/// # Errors
/// A sentence where it is not installed or cannot be started.
pub fn start_dhcp(
    card: &str,
    script: &Path,
    log: &Path,
    options: &[u8],
    hostname: Option<&str>,
    class: &str,
) -> Result<Child, String> {
    let (path, applet) = find_applet("udhcpc").ok_or("the program udhcpc is not installed")?;
    let mut command = Command::new(path);
    command
        .args(applet)
        .args(["-f", "-i", card, "-t", "6", "-T", "1", "-A", "2", "-V", class, "-s"])
        .arg(script);
    for option in options {
        command.args(["-O", &option.to_string()]);
    }
    if let Some(hostname) = hostname {
        command.args(["-x", &format!("hostname:{hostname}")]);
    }
    command.stdin(Stdio::null()).stdout(output(log)).stderr(output(log));
    command.spawn().map_err(|error| format!("starting udhcpc on {card}: {error}"))
}

/// Starts dhcpcd for IPv6 on a card: it sets the addresses and routes that routers and DHCPv6 servers give, until it
/// is ended, and runs `script` at every event.
///
/// # Errors
/// A sentence where it is not installed or cannot be started.
pub fn start_dhcp6(card: &str, script: &Path, log: &Path) -> Result<Child, String> {
    let path = program::find("dhcpcd").ok_or("the program dhcpcd is not installed")?;
    // It keeps there by which identifier servers know this machine.
    let _ = fs::create_dir_all("/var/lib/dhcpcd");
    let mut command = Command::new(path);
    // An identifier made of the hardware address is the same at every boot, so that servers can have a place for it.
    command.args([
        "-6",
        "--nobackground",
        "--config",
        "/dev/null",
        "--duid=ll",
        "--timeout",
        "0",
        "--script",
    ]);
    command.arg(script);
    for option in ["dhcp6_name_servers", "dhcp6_domain_search"] {
        command.args(["--option", option]);
    }
    command.arg(card).stdin(Stdio::null()).stdout(output(log)).stderr(output(log));
    command.spawn().map_err(|error| format!("starting dhcpcd on {card}: {error}"))
}

/// Ends a DHCP client, which may put down what it set up.
pub fn stop_client(client: &mut Child) {
    const PATIENCE: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(20);
    if let Ok(id) = i32::try_from(client.id()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
    }
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if !matches!(client.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    let _ = client.kill().and_then(|()| client.wait());
}

/// True where there is an interface of that name.
#[must_use]
pub fn is_interface(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('/')
        && !name.starts_with('.')
        && Path::new(NETWORK).join(name).exists()
}

/// A log that programs write to, or none.
fn output(log: &Path) -> Stdio {
    let file = fs::OpenOptions::new().create(true).append(true).open(log);
    file.map_or_else(|_| Stdio::null(), Stdio::from)
}

fn ip(words: &[&str]) -> Result<(), String> {
    run("ip", words)
}

fn run(name: &'static str, words: &[&str]) -> Result<(), String> {
    let (path, applet) = find_applet(name).ok_or_else(|| format!("the program {name} is not installed"))?;
    let program = if applet.is_some() { "busybox" } else { name };
    let all: Vec<&str> = applet.into_iter().chain(words.iter().copied()).collect();
    match program::run(program, &all, LIMIT) {
        Ok(Outcome { code: Some(0), .. }) => Ok(()),
        Ok(outcome) => Err(format!("{name} {}: {}", words.join(" "), outcome.output)),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// A program by itself, or as a part of busybox.
fn find_applet(name: &'static str) -> Option<(PathBuf, Option<&'static str>)> {
    match program::find(name) {
        Some(path) => Some((path, None)),
        None => program::find("busybox").map(|path| (path, Some(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_used_once_it_is_known_to_be_free() {
        let text = "fe80000000000000505400fffe123456 02 40 20 80     eth0\n\
                    20010db8000000000000000000000005 02 40 00 40     eth0\n\
                    20010db8000000000000000000000006 02 40 00 00     eth0\nshort\n";
        assert_eq!(parse_if_inet6(text, "eth0"), Some(("2001:db8::6".parse().unwrap(), 64)));
        assert_eq!(parse_if_inet6(text, "eth1"), None);
    }

    #[test]
    fn only_wired_hardware_counts() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, files: &[(&str, &str)]| {
            let directory = folder.path().join(name);
            fs::create_dir_all(&directory).unwrap();
            for (file, text) in files {
                match file.strip_suffix('/') {
                    Some(directory_name) => fs::create_dir_all(directory.join(directory_name)).unwrap(),
                    None => fs::write(directory.join(file), text).unwrap(),
                }
            }
        };
        make("lo", &[("type", "772\n")]);
        make(
            "eth10",
            &[("type", "1\n"), ("device/", ""), ("address", "52:54:00:00:00:01\n"), ("carrier", "0\n")],
        );
        make("eth2", &[("type", "1\n"), ("device/", ""), ("carrier", "1\n"), ("speed", "1000\n")]);
        make("wlan0", &[("type", "1\n"), ("device/", ""), ("phy80211/", "")]);
        make("br0", &[("type", "1\n")]);
        let cards = cards_of(folder.path());
        let names: Vec<&str> = cards.iter().map(|card| card.name.as_str()).collect();
        assert_eq!(names, ["eth2", "eth10"]);
        assert_eq!((cards[0].carrier, cards[0].speed), (Some(true), Some(1000)));
        assert_eq!((cards[1].carrier, cards[1].mac.as_str()), (Some(false), "52:54:00:00:00:01"));
    }
}
