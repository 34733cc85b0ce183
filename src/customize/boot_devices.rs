//! The database of critical devices, by which Windows up to 7 knows which driver its disk needs before it has looked for devices.
//!
//! Invariants: an entry that gives a device to another driver stays, and a service that no entry names is told.

use crate::registry::{Error, Hive, Key, REG_SZ, Value};

/// Where the database is, in a set of controls.
pub(super) const DATABASE: [&str; 2] = ["Control", "CriticalDeviceDatabase"];
/// Device classes: controllers of IDE, and of SCSI and all the rest (Microsoft's "System-Defined Device Setup Classes").
const HDC: &str = "{4D36E96A-E325-11CE-BFC1-08002BE10318}";
const SCSI_ADAPTER: &str = "{4D36E97B-E325-11CE-BFC1-08002BE10318}";
/// What each driver drives: identifiers of devices with `#` for `\`. Those of IDE are from KB 314082; classes of PCI are AHCI
/// (01, 06, 01) and NVMe (01, 08, 02), and the others are virtio's (1AF4, section 4.1.2 of its specification) and VMware's.
const DEVICES: [(&str, &str, &[&str]); 8] = [
    ("msahci", HDC, &["pci#cc_010601"]),
    ("stornvme", SCSI_ADAPTER, &["pci#cc_010802"]),
    ("pciide", HDC, &["pci#cc_0101"]),
    (
        "intelide",
        HDC,
        &[
            "pci#ven_8086&dev_1222",
            "pci#ven_8086&dev_1230",
            "pci#ven_8086&dev_2411",
            "pci#ven_8086&dev_2421",
            "pci#ven_8086&dev_7010",
            "pci#ven_8086&dev_7111",
            "pci#ven_8086&dev_7199",
        ],
    ),
    ("atapi", HDC, &["primary_ide_channel", "secondary_ide_channel", "*pnp0600", "*azt0502"]),
    ("viostor", SCSI_ADAPTER, &["pci#ven_1af4&dev_1001", "pci#ven_1af4&dev_1042"]),
    ("vioscsi", SCSI_ADAPTER, &["pci#ven_1af4&dev_1004", "pci#ven_1af4&dev_1048"]),
    ("pvscsi", SCSI_ADAPTER, &["pci#ven_15ad&dev_07c0"]),
];

/// No key that is changed or asked here has more values.
pub(super) const MOST_VALUES: usize = 64;
/// So much of a hive's text stands in a sentence.
const MOST_SHOWN: usize = 64;

/// What came of the devices of a service.
pub(super) struct Devices {
    /// True where an entry was made.
    pub is_new: bool,
    /// Sentences about devices that belong to another driver.
    pub kept: Vec<String>,
    /// True where a set has a database, and no entry of it names the service.
    pub lacking: bool,
}

/// Has the databases of these sets of controls give a service its devices. A set without a database gets none.
pub(super) fn give(
    hive: &mut Hive,
    sets: impl Iterator<Item = Key>,
    service: &str,
) -> Result<Devices, Error> {
    let mut given = Devices { is_new: false, kept: Vec::new(), lacking: false };
    for set in sets {
        let Some(database) = hive.find(set, &DATABASE)? else { continue };
        let mut is_named = false;
        for (_, class, devices) in DEVICES.iter().filter(|(name, _, _)| *name == service) {
            for device in *devices {
                let entry = hive.find(database, &[device])?;
                match entry.map(|entry| belongs(hive, entry)).transpose()?.flatten() {
                    None => {
                        let entry = hive.make_key(database, device)?;
                        hive.set(entry, "ClassGUID", REG_SZ, &wide(class))?;
                        hive.set(entry, "Service", REG_SZ, &wide(service))?;
                        given.is_new = true;
                        is_named = true;
                    }
                    Some(other) if other.eq_ignore_ascii_case(service) => is_named = true,
                    Some(other) => {
                        let other = shown(&other);
                        given.kept.push(format!(
                            "the device {device} belongs to the driver {other}, and not to {service}"
                        ));
                    }
                }
            }
        }
        if !is_named {
            given.lacking |= !names_service(hive, database, service)?;
        }
    }
    Ok(given)
}

/// True where an entry of a database gives a device to a service.
fn names_service(hive: &Hive, database: Key, service: &str) -> Result<bool, Error> {
    for (_, entry) in hive.keys(database)? {
        if belongs(hive, entry)?.is_some_and(|other| other.eq_ignore_ascii_case(service)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a person is told of a service that no device is given to.
pub(super) fn lacking(service: &str) -> String {
    format!(
        "Windows may not find its disk with the driver {service}: the service is set to start, and no entry in the database of \
         critical devices, which Windows 7 and older ask, gives it a device; have Windows install the driver (dism \
         /Add-Driver), which makes the entries"
    )
}

/// The driver that an entry of the database gives its device to.
pub(super) fn belongs(hive: &Hive, entry: Key) -> Result<Option<String>, Error> {
    let values = hive.values_up_to(entry, MOST_VALUES)?;
    let found = values.into_iter().find(|value| value.name.eq_ignore_ascii_case("Service"));
    Ok(found.map(|value| text_of(hive, &value)))
}

/// A text as the registry holds it, to its end.
pub(super) fn text_of(hive: &Hive, value: &Value) -> String {
    let data = hive.data(value);
    let units = data.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

/// The beginning of a text of the hive, as a sentence can hold it.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(MOST_SHOWN).collect::<String>().escape_debug().to_string()
}

pub(super) fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}
