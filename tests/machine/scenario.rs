//! A scenario: a machine, what it boots from, and the lines on its console that prove what was promised; and the
//! machines that come after it, where it takes several.
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
    /// What the machine's clock says when it starts; the right time without it.
    pub clock: Option<String>,
    /// What the firmware keeps goes from machine to machine under this name. It is new for the first of them.
    pub variables: Option<String>,
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
    /// Commands of `remint` that an administrator types beside the server before this machine is started.
    #[serde(default)]
    pub administrator: Vec<String>,
    /// settings.cfg of the USB stick.
    pub settings: Option<String>,
    /// What the machine's SMBIOS calls its model; what the emulator calls it without it.
    pub model: Option<String>,
    #[serde(default)]
    pub at: Vec<At>,
    #[serde(default)]
    pub told: Vec<Told>,
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
    /// Its own disks.
    Disk,
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
    /// `tests/machine/ipv6-network`.
    Ipv6Managed,
    /// `tests/machine/room-network`.
    Room,
}

impl Network {
    /// The script that makes it, where the emulator does not.
    pub fn script(self) -> Option<&'static str> {
        match self {
            Self::User => None,
            Self::ProxyDhcp => Some("tests/machine/proxy-network"),
            Self::Ipv6Managed => Some("tests/machine/ipv6-network"),
            Self::Room => Some("tests/machine/room-network"),
        }
    }
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
    /// A disk that goes from machine to machine has a name. It is made for the first of them.
    pub name: Option<String>,
    /// True where this machine must leave every byte as it is.
    #[serde(default)]
    pub unchanged: bool,
    /// True where it has to hold every synced file of a crashed disk in the end, in smaller partitions.
    #[serde(default)]
    pub restored: bool,
    /// The disk whose partition its own has to begin with in the end, to the byte.
    pub holds: Option<String>,
    /// True where it must have no partition table in the end.
    #[serde(default)]
    pub without_table: bool,
    /// How many MiB a second can be written to it.
    pub slow_mib: Option<u32>,
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
    /// It lies beside the server, for the administrator, and is in no machine.
    None,
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
            Self::None => "",
        }
    }
}

/// What is on a disk: nothing, one partition in a GPT with this in it, or something whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    Blank,
    Ext4,
    Xfs,
    Ntfs,
    Fat,
    Swap,
    /// A partition full of what is no file system, so that it comes back as it was wherever it goes.
    Raw,
    /// The real system that `scripts/debian-disk` makes for this firmware.
    Debian,
    /// The same on LVM, for UEFI.
    DebianLvm,
    /// The same on XFS, for UEFI.
    DebianXfs,
    /// The same on btrfs, with systemd-boot.
    DebianBtrfs,
    /// ext4, NTFS and XFS, of which two lost power.
    Crashed,
    /// What Linux aged (`tests/aged`), in a partition of just its size.
    AgedJfs,
    AgedNilfs2,
    /// What somebody else left there, at the beginning, in the middle and at the end.
    Noise,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub model: String,
    #[serde(default = "yes")]
    pub connected: bool,
}

impl Content {
    /// Which of the systems of `scripts/debian-disk` it is, on a machine that starts so.
    pub fn debian(self, firmware: Firmware) -> Option<&'static str> {
        match (self, firmware) {
            (Self::Debian, Firmware::Bios) => Some("bios"),
            (Self::Debian, Firmware::Uefi | Firmware::UefiSecureBoot) => Some("uefi"),
            (Self::DebianLvm, _) => Some("lvm"),
            (Self::DebianXfs, _) => Some("xfs"),
            (Self::DebianBtrfs, _) => Some("btrfs"),
            _ => None,
        }
    }

    /// Which of `tests/aged` it is.
    pub fn aged(self) -> Option<&'static str> {
        match self {
            Self::AgedJfs => Some("jfs"),
            Self::AgedNilfs2 => Some("nilfs2"),
            _ => None,
        }
    }

    /// Its name in `remint inspect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blank | Self::Raw | Self::Crashed | Self::Noise => "",
            Self::Debian | Self::DebianLvm | Self::DebianXfs | Self::DebianBtrfs => "",
            Self::AgedJfs => "JFS",
            Self::AgedNilfs2 => "NILFS2",
            Self::Ext4 => "ext4",
            Self::Xfs => "XFS",
            Self::Ntfs => "NTFS",
            Self::Fat => "FAT16",
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

/// Something done beside the server once a line was shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    pub after: String,
    /// What the administrator types.
    #[serde(default)]
    pub administrator: Vec<String>,
    /// The server is killed, and after so many seconds started again, at the same address and with the same data.
    pub server_away_seconds: Option<u64>,
    /// The next line of `console` has to follow so soon.
    pub within_seconds: Option<u64>,
}

/// What an administrator is told once the machine has ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// A command of `remint`.
    pub command: String,
    /// A line of what it prints.
    pub shows: String,
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
    /// Reads a scenario: its machine, and those under `then`, which have what it has where they say nothing else.
    pub fn read(text: &str) -> Result<Vec<Self>, String> {
        let mut first: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut tables = vec![];
        if let Some(then) = first.remove("then") {
            let then: Vec<toml::Table> = then.try_into().map_err(|error| format!("then: {error}"))?;
            tables.extend(then.into_iter().map(|own| {
                let mut whole = first.clone();
                whole.extend(own);
                whole
            }));
        }
        tables.insert(0, first);
        tables.into_iter().map(Self::read_one).collect()
    }

    fn read_one(table: toml::Table) -> Result<Self, String> {
        let scenario: Self = table.try_into().map_err(|error: toml::de::Error| error.to_string())?;
        let refuse = |fact: &str| Err(fact.to_owned());
        if scenario.console.is_empty() {
            return refuse("console: without a line that proves it, nothing is proven");
        }
        if scenario.boot == Boot::Network && scenario.card.is_empty() {
            return refuse("boot = \"network\" needs a card");
        }
        if scenario.network.script().is_some() && scenario.card.len() != 1 {
            return refuse("a network of its own has one card");
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
