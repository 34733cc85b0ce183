//! `ip=` and `vlan=` of the kernel's command line.
//!
//! `ip=METHOD`, `ip=DEVICE:METHOD`, or the kernel's own
//! `ip=CLIENT:SERVER:GATEWAY:NETMASK:HOST:DEVICE:METHOD:DNS0:DNS1`. CLIENT may carry its prefix length, IPv6
//! addresses stand in brackets. DEVICE may have a VLAN behind a point: `eth0.5`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// What `ip=` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRequest {
    /// On which card; the one that booted, or the first that works, where nobody says.
    pub device: Option<Device>,
    /// How.
    pub method: Method,
    /// The name that is told to the DHCP server.
    pub hostname: Option<String>,
    /// Name servers.
    pub name_servers: Vec<IpAddr>,
}

/// How a card gets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// DHCP for IPv4, router advertisement for IPv6.
    Automatic,
    /// Router advertisement or DHCPv6 only.
    Automatic6,
    /// A fixed address.
    Static {
        /// The address.
        address: IpAddr,
        /// How many bits of it name the network.
        prefix: u8,
        /// The way out.
        gateway: Option<IpAddr>,
    },
    /// No network at all.
    Off,
}

/// A card, and possibly a VLAN on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Which card.
    pub card: CardName,
    /// The VLAN's number.
    pub vlan: Option<u16>,
}

/// How a card is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardName {
    /// The kernel's name.
    Kernel(String),
    /// Its hardware address.
    Mac(Mac),
    /// The one of `BOOTIF=`.
    Booted,
}

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Reads six bytes in hexadecimal with `separator` between them.
    #[must_use]
    pub fn parse(text: &str, separator: char) -> Option<Self> {
        let bytes: Option<Vec<u8>> = text
            .split(separator)
            .map(|byte| if byte.len() == 2 { u8::from_str_radix(byte, 16).ok() } else { None })
            .collect();
        Some(Self(bytes?.try_into().ok()?))
    }

    /// Reads `BOOTIF=01-52-54-00-12-34-56`, as PXELINUX and iPXE's `${netX/mac:hexhyp}` give it.
    #[must_use]
    pub fn parse_bootif(text: &str) -> Option<Self> {
        let text = text.replace(':', "-");
        let without_type = if text.len() > 17 { text.split_once('-')?.1 } else { &text };
        Self::parse(without_type, '-')
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.write_str(&bytes.join(":"))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.card {
            CardName::Kernel(name) => f.write_str(name)?,
            CardName::Mac(mac) => write!(f, "{mac}")?,
            CardName::Booted => f.write_str("BOOTIF")?,
        }
        self.vlan.map_or(Ok(()), |vlan| write!(f, ".{vlan}"))
    }
}

/// Reads the value of `ip=`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_ip(text: &str) -> Result<AddressRequest, String> {
    let fields = fields(text)?;
    let field = |index: usize| fields.get(index).map(String::as_str).filter(|field| !field.is_empty());
    if fields.len() > 10 {
        return Err(format!("it has {} parts, and 10 are the most", fields.len()));
    }
    let none = |method| AddressRequest { device: None, method, hostname: None, name_servers: Vec::new() };
    if let [only] = fields.as_slice() {
        return match only.as_str() {
            "" => Ok(none(Method::Automatic)),
            address if starts_address(address) => Ok(none(static_method(address, None, None)?)),
            word => Ok(none(method(word)?)),
        };
    }
    // As dracut has it: eth0:dhcp
    if let Some(first) = field(0)
        && !starts_address(first)
    {
        let device = Some(parse_device(first)?);
        if fields.len() > 2 {
            return Err(format!("\"{first}\" is no address; write DEVICE:dhcp, or the address first"));
        }
        return Ok(AddressRequest { device, ..none(method(field(1).unwrap_or("dhcp"))?) });
    }
    let device = field(5).map(parse_device).transpose()?;
    let hostname = field(4).map(hostname).transpose()?;
    // The tenth is a time server, which is not needed: the clock is the server's.
    let name_servers =
        [field(7), field(8)].into_iter().flatten().map(address).collect::<Result<Vec<_>, _>>()?;
    let method = match field(0) {
        Some(client) => {
            let _ = method(field(6).unwrap_or("off"))?;
            static_method(client, field(3), field(2))?
        }
        None => method(field(6).unwrap_or("dhcp"))?,
    };
    Ok(AddressRequest { device, method, hostname, name_servers })
}

/// Reads the value of `vlan=`: `NAME:DEVICE`, where NAME ends with the number, as dracut has it.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_vlan(text: &str) -> Result<(String, Device), String> {
    let (name, device) =
        text.split_once(':').ok_or_else(|| "write NAME:DEVICE, as in vlan5:eth0".to_owned())?;
    let before_digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.strip_prefix(before_digits).and_then(vlan_number);
    let vlan = number.ok_or_else(|| format!("\"{name}\" does not end with a VLAN from 1 to 4094"))?;
    let device = parse_device(device)?;
    if device.vlan.is_some() {
        return Err(format!("{device} is a VLAN already"));
    }
    Ok((name.to_owned(), Device { vlan: Some(vlan), ..device }))
}

/// Reads the name of a card, with or without a VLAN: `eth0`, `eth0.5`, `52-54-00-12-34-56.5`, `BOOTIF.5`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_device(text: &str) -> Result<Device, String> {
    let (card, vlan) = match text.rsplit_once('.') {
        Some((card, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty() => {
            let vlan =
                vlan_number(number).ok_or_else(|| format!("{number} is no VLAN; they go from 1 to 4094"))?;
            (card, Some(vlan))
        }
        _ => (text, None),
    };
    // IFNAMSIZ: 15 bytes, no slash, no white space.
    let usable = |c: char| !c.is_whitespace() && c != '/' && !c.is_control();
    if card.eq_ignore_ascii_case("bootif") {
        Ok(Device { card: CardName::Booted, vlan })
    } else if let Some(mac) = Mac::parse(card, '-') {
        Ok(Device { card: CardName::Mac(mac), vlan })
    } else if card.is_empty() || card.len() > 15 || card.starts_with(['-', '.']) || !card.chars().all(usable)
    {
        Err(format!("\"{text}\" cannot be the name of a network card"))
    } else {
        Ok(Device { card: CardName::Kernel(card.to_owned()), vlan })
    }
}

fn vlan_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|number| (1..=4094).contains(number))
}

/// Parts a text at colons that are not in brackets.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut in_brackets = false;
    for c in text.chars() {
        match c {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            ':' if !in_brackets => fields.push(String::new()),
            c => fields.last_mut().map(|field| field.push(c)).unwrap_or_default(),
        }
    }
    if in_brackets { Err("a bracket is not closed".to_owned()) } else { Ok(fields) }
}

fn starts_address(text: &str) -> bool {
    let host = text.split_once('/').map_or(text, |(host, _)| host);
    // A wrong address is told as one: no card is called 10.0.0.300.
    host.parse::<IpAddr>().is_ok()
        || text.contains('/')
        || (host.contains('.') && host.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

fn method(word: &str) -> Result<Method, String> {
    match word {
        "dhcp" | "on" | "any" | "both" => Ok(Method::Automatic),
        "dhcp6" | "auto6" | "either6" => Ok(Method::Automatic6),
        "off" | "none" => Ok(Method::Off),
        "bootp" | "rarp" => Err(format!("{word} is not spoken; use dhcp or a fixed address")),
        other => Err(format!(
            "\"{other}\" is neither an address nor one of dhcp, on, any, auto6, dhcp6, off, none"
        )),
    }
}

fn static_method(client: &str, netmask: Option<&str>, gateway: Option<&str>) -> Result<Method, String> {
    let (host, length) = match client.split_once('/') {
        Some((host, length)) => (host, Some(length)),
        None => (client, None),
    };
    let address = address(host)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match (length, netmask) {
        (Some(length), _) => length.parse().ok(),
        (None, Some(mask)) => mask.parse().ok().or_else(|| mask.parse().ok().and_then(mask_length)),
        (None, None) => None,
    };
    let wrong = || match length.or(netmask) {
        Some(text) => format!("\"{text}\" is no netmask and no prefix length for {address}"),
        None => {
            format!("{address} has no netmask; write {address}/{}", if address.is_ipv4() { 24 } else { 64 })
        }
    };
    let prefix = prefix.filter(|prefix| (1..=longest).contains(prefix)).ok_or_else(wrong)?;
    let gateway = gateway.map(self::address).transpose()?;
    if gateway.is_some_and(|gateway| gateway.is_ipv4() != address.is_ipv4()) {
        return Err("the address and the gateway are of different families".to_owned());
    }
    Ok(Method::Static { address, prefix, gateway })
}

/// The length of a netmask whose ones are all in front.
#[must_use]
pub fn mask_length(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let length = bits.leading_ones();
    (length.saturating_add(bits.trailing_zeros()) >= 32).then(|| u8::try_from(length).ok()).flatten()
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no IP address"))
}

fn hostname(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if text.len() <= 63 && text.chars().all(fits) && !text.starts_with('-') {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" cannot be the name of a computer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str, vlan: Option<u16>) -> Option<Device> {
        Some(Device { card: CardName::Kernel(name.to_owned()), vlan })
    }

    fn fixed(address: &str, prefix: u8, gateway: Option<&str>) -> Method {
        let gateway = gateway.map(|text| text.parse().unwrap());
        Method::Static { address: address.parse().unwrap(), prefix, gateway }
    }

    #[test]
    fn methods_alone_and_behind_a_card() {
        for text in ["dhcp", "on", "any", "", "::::::dhcp", ":::::eth0:"] {
            assert_eq!(parse_ip(text).unwrap().method, Method::Automatic, "{text}");
        }
        assert_eq!(parse_ip("off").unwrap().method, Method::Off);
        assert_eq!(parse_ip(":::::eth0:dhcp").unwrap().device, kernel("eth0", None));
        let request = parse_ip("eth0.5:dhcp").unwrap();
        assert_eq!((request.device, request.method), (kernel("eth0", Some(5)), Method::Automatic));
        assert_eq!(parse_ip("eth1:auto6").unwrap().method, Method::Automatic6);
        assert!(parse_ip("bootp").unwrap_err().contains("dhcp"));
        assert!(parse_ip("dhpc").unwrap_err().contains("dhpc"));
    }

    #[test]
    fn fixed_addresses_of_the_kernels_form() {
        let request =
            parse_ip("10.0.0.5:10.0.0.1:10.0.0.254:255.255.255.0:pc5:eth1.7:off:10.0.0.2:10.0.0.3:10.0.0.4")
                .unwrap();
        assert_eq!(request.method, fixed("10.0.0.5", 24, Some("10.0.0.254")));
        assert_eq!(request.device, kernel("eth1", Some(7)));
        assert_eq!(request.hostname.as_deref(), Some("pc5"));
        assert_eq!(request.name_servers.len(), 2);
        assert_eq!(parse_ip("10.0.0.5/24").unwrap().method, fixed("10.0.0.5", 24, None));
        assert_eq!(
            parse_ip("10.0.0.5/16::10.0.0.1").unwrap().method,
            fixed("10.0.0.5", 16, Some("10.0.0.1"))
        );
        assert_eq!(
            parse_ip("[2001:db8::5]/64::[2001:db8::1]::pc5:BOOTIF:off:[2001:db8::53]").unwrap(),
            AddressRequest {
                device: Some(Device { card: CardName::Booted, vlan: None }),
                method: fixed("2001:db8::5", 64, Some("2001:db8::1")),
                hostname: Some("pc5".to_owned()),
                name_servers: vec!["2001:db8::53".parse().unwrap()],
            }
        );
        assert_eq!(parse_ip("[2001:db8::5]:::48").unwrap().method, fixed("2001:db8::5", 48, None));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("10.0.0.5", "no netmask"),
            ("10.0.0.5:::255.0.255.0", "255.0.255.0"),
            ("10.0.0.5/33", "33"),
            ("10.0.0.300/24", "10.0.0.300"),
            ("10.0.0.5/24::[2001:db8::1]", "families"),
            ("[2001:db8::5", "bracket"),
            ("10.0.0.5/24:::::eth0/x", "network card"),
            ("10.0.0.5/24:::::eth0.5000", "5000"),
            ("1:2:3:4:5:6:7:8:9:10:11", "11 parts"),
            ("eth0:dhcp:1500", "address first"),
        ] {
            let said = parse_ip(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn vlans_and_hardware_addresses() {
        let eth0 = kernel("eth0", Some(5)).unwrap();
        for name in ["vlan0005", "vlan5", "eth0.0005", "eth0.5"] {
            assert_eq!(parse_vlan(&format!("{name}:eth0")).unwrap(), (name.to_owned(), eth0.clone()));
        }
        for wrong in ["vlan5", "vlan:eth0", "vlan4095:eth0", "vlan0:eth0", "vlan5:eth0.5", ":", ""] {
            assert!(parse_vlan(wrong).is_err(), "{wrong}");
        }
        let mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0xab]);
        assert_eq!(Mac::parse_bootif("01-52-54-00-12-34-ab"), Some(mac));
        assert_eq!(Mac::parse_bootif("52:54:00:12:34:AB"), Some(mac));
        assert_eq!(Mac::parse_bootif("01-52-54-00-12"), None);
        assert_eq!(Mac::parse_bootif(""), None);
        assert_eq!(
            parse_device("52-54-00-12-34-ab.9").unwrap(),
            Device { card: CardName::Mac(mac), vlan: Some(9) }
        );
        assert_eq!(mac.to_string(), "52:54:00:12:34:ab");
    }
}
