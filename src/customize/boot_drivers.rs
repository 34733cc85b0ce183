//! The storage drivers that a Windows starts with, in its registry.
//!
//! A Windows that finds its disk at a controller whose driver it does not start with stops with 0x7B. It starts with a driver
//! whose service has `Start` 0 in the set of controls that it uses, and that no `StartOverride` starts later; up to Windows 7
//! the device also has to be known: by an entry of the critical device database for its identifier. Sources: Microsoft's KB
//! 922976 (`Start` of msahci and iaStorV), KB 314082 (the database, with the entries for IDE), "Critical Device Database TIP"
//! (blog of Microsoft's debugging team, 2010-03-25). Invariants:
//!
//! - Only services of storage drivers that are there are changed, and only where their file is there too: a service that
//!   starts with Windows and has no file keeps it from starting.
//! - An entry of the database that gives a device to another driver stays.

use super::CustomizeError;
use super::naming::Files;
use crate::registry::{Error, Hive, Key, REG_DWORD, REG_SZ};
use crate::schema::BootDriver;

/// Where the files of drivers are.
const FOLDER: &str = "Windows/System32/drivers";
/// Where the database is, in a set of controls.
const DATABASE: [&str; 2] = ["Control", "CriticalDeviceDatabase"];
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

/// What becomes of a registry.
#[derive(Debug)]
pub(super) struct Enabled {
    /// The hive.
    pub bytes: Vec<u8>,
    /// The drivers that Windows starts with now, and did not.
    pub started: Vec<&'static str>,
    /// What a person has to look after.
    pub problems: Vec<String>,
}

/// The sets of controls that `Select` names: the current one, and those that Windows falls back to.
pub(super) fn control_sets(hive: &Hive) -> Result<Vec<Key>, Error> {
    let root = hive.root();
    let select = hive.find(root, &["Select"])?;
    let mut numbers = Vec::new();
    for value in select.map(|select| hive.values(select)).transpose()?.unwrap_or_default() {
        if let Ok(number) = <[u8; 4]>::try_from(hive.data(&value)) {
            numbers.push(u32::from_le_bytes(number));
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    let mut sets = Vec::new();
    for number in numbers {
        sets.extend(hive.find(root, &[&format!("ControlSet{number:03}")])?);
    }
    Ok(sets)
}

/// Has a Windows start with drivers that it has.
///
/// # Errors
/// Where its files cannot be looked at.
pub(super) fn enable(
    files: &dyn Files,
    bytes: Vec<u8>,
    drivers: &[BootDriver],
) -> Result<Enabled, CustomizeError> {
    let (mut started, mut problems) = (Vec::new(), Vec::new());
    let not_set = |why: &Error| {
        format!(
            "the drivers that Windows starts with were not set: {why}; start it once at its old controller and shut it down, or \
             set them there"
        )
    };
    let found = Hive::read(bytes.clone()).and_then(|hive| Ok((control_sets(&hive)?, hive)));
    let (sets, mut hive) = match found {
        Ok((sets, hive)) if !sets.is_empty() => (sets, hive),
        Ok(_) => {
            problems.push(not_set(&Error::Unsupported("it has no set of controls".to_owned())));
            return Ok(Enabled { bytes, started, problems });
        }
        Err(error) => {
            problems.push(not_set(&error));
            return Ok(Enabled { bytes, started, problems });
        }
    };
    let mut has_usual = false;
    for driver in drivers {
        for service in driver.services() {
            let lacking = if files.has(&format!("{FOLDER}/{service}.sys"))? {
                // What fails in the middle changes nothing.
                let mut changed = hive.clone();
                match start(&mut changed, &sets, service) {
                    Ok(Some(Started { is_new, kept })) => {
                        hive = changed;
                        has_usual |= driver.is_usual();
                        started.extend(is_new.then_some(service).filter(|_| !started.contains(&service)));
                        problems.extend(kept);
                        None
                    }
                    Ok(None) => Some(format!("its registry has no service {service}")),
                    Err(error) => Some(error.to_string()),
                }
            } else {
                Some(format!("it has no /{FOLDER}/{service}.sys"))
            };
            let said = lacking.filter(|_| !driver.is_usual());
            problems
                .extend(said.map(|why| format!("Windows does not start with the driver {service}: {why}")));
        }
        if driver.is_usual() && !has_usual {
            problems.push(format!("it has none of the drivers {}", driver.services().join(", ")));
        }
    }
    Ok(Enabled { bytes: hive.into_bytes(), started, problems })
}

/// What came of one driver.
struct Started {
    /// True where anything was changed.
    is_new: bool,
    /// Sentences about devices that belong to another driver.
    kept: Vec<String>,
}

/// Has Windows start with a service; `None` where no set of controls has it.
fn start(hive: &mut Hive, sets: &[Key], service: &str) -> Result<Option<Started>, Error> {
    let (mut is_there, mut is_new, mut kept) = (false, false, Vec::new());
    for set in sets {
        let Some(key) = hive.find(*set, &["Services", service])? else { continue };
        is_there = true;
        is_new |= zero(hive, key, "Start")?;
        if let Some(later) = hive.find(key, &["StartOverride"])? {
            for value in hive.values(later)?.into_iter().filter(|value| value.kind == REG_DWORD) {
                is_new |= zero(hive, later, &value.name)?;
            }
        }
        let Some(database) = hive.find(*set, &DATABASE)? else { continue };
        for (_, class, devices) in DEVICES.iter().filter(|(name, _, _)| *name == service) {
            for device in *devices {
                match belongs(hive, database, device)? {
                    None => {
                        let entry = hive.make_key(database, device)?;
                        hive.set(entry, "ClassGUID", REG_SZ, &wide(class))?;
                        hive.set(entry, "Service", REG_SZ, &wide(service))?;
                        is_new = true;
                    }
                    Some(other) if other.eq_ignore_ascii_case(service) => {}
                    Some(other) => {
                        kept.push(format!(
                            "the device {device} belongs to the driver {other}, and not to {service}"
                        ));
                    }
                }
            }
        }
    }
    kept.dedup();
    Ok(is_there.then_some(Started { is_new, kept }))
}

/// Has a number be 0. True where it was not.
fn zero(hive: &mut Hive, key: Key, name: &str) -> Result<bool, Error> {
    let known = hive.value_named(key, name)?;
    if known.is_some_and(|known| known.kind == REG_DWORD && hive.data(&known) == [0; 4]) {
        return Ok(false);
    }
    hive.set(key, name, REG_DWORD, &[0; 4])?;
    Ok(true)
}

/// The driver that an entry of the database gives a device to.
fn belongs(hive: &Hive, database: Key, device: &str) -> Result<Option<String>, Error> {
    let Some(entry) = hive.find(database, &[device])? else { return Ok(None) };
    let Some(value) = hive.value_named(entry, "Service")? else { return Ok(None) };
    let units: Vec<u16> =
        hive.data(&value).as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    Ok(Some(String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned()))
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
#[path = "boot_drivers_tests.rs"]
mod tests;
