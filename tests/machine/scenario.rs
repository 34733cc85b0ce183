//! A scenario: one machine, what it boots from, and the lines on its console that prove what was promised.
//! `tests/scenarios/README.md` describes the files.

use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub promise: String,
    pub firmware: Firmware,
    pub boot: Boot,
    #[serde(default = "boot_ipxe")]
    pub boot_file: String,
    #[serde(default)]
    pub network: Network,
    #[serde(default)]
    pub server: Server,
    /// What the boot medium or the network boot adds to the kernel's command line.
    #[serde(default)]
    pub command_line: String,
    #[serde(default = "gib")]
    pub memory_mib: u32,
    pub seconds: u64,
    pub ends: Ends,
    pub console: Vec<String>,
    #[serde(default)]
    pub never: Vec<String>,
    #[serde(default)]
    pub disk: Vec<Disk>,
    #[serde(default)]
    pub card: Vec<Card>,
    #[serde(default)]
    pub key: Vec<Key>,
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// True where the console shows `remint inspect`: every disk has to be in it with all it is.
    #[serde(default)]
    pub inspected: bool,
    /// Files that `make pxe` makes and this machine does not find.
    #[serde(default)]
    pub without: Vec<String>,
    /// settings.cfg of the USB stick.
    pub settings: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    Bios,
    Uefi,
    /// With the keys of Microsoft enrolled, and enforced.
    UefiSecureBoot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    Network,
    Iso,
    Usb,
    /// The emulator loads kernel and initramfs itself: quick, for what is about the agent only.
    Kernel,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    #[default]
    Http,
    /// With a certificate of its own; the command line says `{fingerprint}`.
    Https,
    /// There is none, and the machine has no network to reach one.
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The emulator's own, which reaches this machine.
    #[default]
    User,
    /// `tests/machine/proxy-network`.
    ProxyDhcp,
}

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    Poweroff,
    Reboot,
    /// It stays as it is; the harness turns it off after the last line.
    Stays,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    pub bus: Bus,
    #[serde(default = "sector_512")]
    pub sector: u32,
    #[serde(default = "size_64")]
    pub size_mib: u64,
    pub content: Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bus {
    Nvme,
    Ahci,
    Virtio,
    VirtioScsi,
    /// A RAID controller.
    Megasas,
    Usb,
    /// USB Attached SCSI.
    Uas,
    Sd,
}

impl Bus {
    /// Its name in `remint inspect`.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Ahci => "sata",
            Self::Virtio | Self::VirtioScsi => "virtio",
            Self::Megasas => "scsi",
            Self::Usb | Self::Uas => "usb",
            Self::Sd => "mmc",
        }
    }
}

/// One partition in a GPT, with this in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    Blank,
    Ext4,
    Xfs,
    Ntfs,
    Fat,
    Swap,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub model: String,
    #[serde(default = "yes")]
    pub connected: bool,
}

impl Content {
    /// Its name in `remint inspect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blank => "",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Ntfs => "ntfs",
            Self::Fat => "fat16",
            Self::Swap => "swap",
        }
    }
}

/// Something typed on the serial line once a line was shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub after: String,
    pub text: String,
}

fn boot_ipxe() -> String {
    "boot.ipxe".to_owned()
}
fn gib() -> u32 {
    1024
}
fn sector_512() -> u32 {
    512
}
fn size_64() -> u64 {
    64
}
fn yes() -> bool {
    true
}

impl Scenario {
    pub fn read(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let refuse = |fact: &str| Err(fact.to_owned());
        if scenario.console.is_empty() {
            return refuse("console: without a line that proves it, nothing is proven");
        }
        if scenario.boot == Boot::Network && scenario.card.is_empty() {
            return refuse("boot = \"network\" needs a card");
        }
        if scenario.network == Network::ProxyDhcp && scenario.card.len() != 1 {
            return refuse("the network proxy-dhcp has one card");
        }
        if scenario.disk.iter().any(|disk| disk.sector != 512 && matches!(disk.bus, Bus::Ahci | Bus::Sd)) {
            return refuse("the emulator has 512-byte sectors only on ahci and sd");
        }
        Ok(scenario)
    }
}

/// True where a line holds a pattern; `*` stands for any text inside the line.
pub fn shows(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    pattern.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}
