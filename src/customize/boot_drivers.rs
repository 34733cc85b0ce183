//! The storage drivers that a Windows starts with, in its registry.
//!
//! A Windows that finds its disk at a controller whose driver it does not start with stops with 0x7B. It starts with a driver
//! whose service has `Start` 0 in the set of controls that it uses, and that no `StartOverride` starts later; up to Windows 7
//! the device also has to be known: by an entry of the critical device database for its identifier. Sources: Microsoft's KB
//! 922976 (`Start` of msahci and iaStorV), KB 314082 (the database, with the entries for IDE), "Critical Device Database TIP"
//! (blog of Microsoft's debugging team, 2010-03-25). Invariants:
//!
//! - Only services of storage drivers that are there are changed, and only where their file is there too, where `ImagePath` says:
//!   a service that starts with Windows and has no file keeps it from starting.
//! - What is said to be done is done in the set of controls that Windows starts with; what a usual driver lacks is passed over in
//!   silence only where the Windows does not have it at all.

use super::CustomizeError;
use super::boot_devices::{self, Devices, MOST_VALUES, shown, text_of};
use super::naming::Files;
use crate::registry::{Error, Hive, Key, REG_DWORD};
use crate::schema::BootDriver;
use std::collections::BTreeMap;

/// Where the files of drivers are, where nothing else is said.
const FOLDER: &str = "Windows/System32/drivers";
/// What a driver's file needs beside it: a boot driver that lacks what it imports keeps Windows from starting too.
const IMPORTS: [(&str, &str); 2] = [("pciide", "pciidex"), ("intelide", "pciidex")];
/// The names in `Select` of the sets of controls that Windows uses. It starts with the default one, which is the current one where
/// nothing failed (Microsoft's KB 100010).
const SELECTED: [&str; 4] = ["Default", "Current", "Failed", "LastKnownGood"];

/// What becomes of a registry.
#[derive(Debug)]
pub(super) struct Enabled {
    /// The hive.
    pub bytes: Vec<u8>,
    /// The drivers that Windows starts with now, and did not.
    pub started: Vec<&'static str>,
    /// Those that are set to start now, and that an older Windows gives no device to.
    pub without_devices: Vec<&'static str>,
    /// What a person has to look after.
    pub problems: Vec<String>,
}

/// A set of controls.
#[derive(Debug, Clone, Copy)]
pub(super) struct ControlSet {
    /// Its key.
    pub key: Key,
    /// True for the one that Windows starts with.
    is_first: bool,
}

/// The sets of controls that `Select` names: the one that Windows starts with, and those that it falls back to.
pub(super) fn control_sets(hive: &Hive) -> Result<Vec<ControlSet>, Error> {
    let root = hive.root();
    let Some(select) = hive.find(root, &["Select"])? else { return Ok(Vec::new()) };
    let mut numbers = BTreeMap::new();
    for name in SELECTED {
        let Some(value) = hive.value_named(select, name)? else { continue };
        if let Ok(number) = <[u8; 4]>::try_from(hive.data(&value)) {
            let is_first = matches!(name, "Default" | "Current") && numbers.is_empty();
            *numbers.entry(u32::from_le_bytes(number)).or_insert(false) |= is_first;
        }
    }
    let mut sets = Vec::new();
    for (number, is_first) in numbers {
        let key = hive.find(root, &[&format!("ControlSet{number:03}")])?;
        sets.extend(key.map(|key| ControlSet { key, is_first }));
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
    let not_set = |bytes: Vec<u8>, why: &Error| {
        let problem = format!(
            "the drivers that Windows starts with were not set: {why}; start it once at its old controller and shut it down, or \
             set them there"
        );
        Ok(Enabled { bytes, started: Vec::new(), without_devices: Vec::new(), problems: vec![problem] })
    };
    let found = Hive::read(bytes.clone()).and_then(|hive| Ok((control_sets(&hive)?, hive)));
    let (sets, hive) = match found {
        Ok((sets, hive)) if sets.iter().any(|set| set.is_first) => (sets, hive),
        Ok(_) => {
            return not_set(bytes, &Error::Unsupported("it has no set of controls to start with".to_owned()));
        }
        Err(error) => return not_set(bytes, &error),
    };
    let mut work =
        Work { files, hive, sets, started: Vec::new(), without_devices: Vec::new(), problems: Vec::new() };
    for driver in drivers {
        let mut has_any = false;
        for service in driver.services() {
            match work.enable(service) {
                Ok(()) => has_any = true,
                Err(Lack::Missing(_)) if driver.is_usual() => {}
                Err(Lack::Unseen(error)) => return Err(error),
                Err(Lack::Missing(why) | Lack::Wrong(why)) => {
                    has_any = true;
                    work.problem(format!("Windows does not start with the driver {service}: {why}"));
                }
            }
        }
        if !has_any {
            work.problem(format!("it has none of the drivers {}", driver.services().join(", ")));
        }
    }
    let Work { hive, started, without_devices, problems, .. } = work;
    Ok(Enabled { bytes: hive.into_bytes(), started, without_devices, problems })
}

/// Why nothing is changed for a service.
enum Lack {
    /// The Windows does not have it.
    Missing(String),
    /// It has it, and it cannot be started.
    Wrong(String),
    /// Its files cannot be looked at.
    Unseen(CustomizeError),
}

impl From<Error> for Lack {
    fn from(error: Error) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl From<CustomizeError> for Lack {
    fn from(error: CustomizeError) -> Self {
        Self::Unseen(error)
    }
}

/// A set of controls with a service whose files are there.
#[derive(Clone, Copy)]
struct Place {
    set: Key,
    service: Key,
}

/// A hive while drivers are set.
struct Work<'a> {
    files: &'a dyn Files,
    hive: Hive,
    sets: Vec<ControlSet>,
    started: Vec<&'static str>,
    without_devices: Vec<&'static str>,
    problems: Vec<String>,
}

impl Work<'_> {
    /// Has Windows start with a service, and know its devices. What fails in the middle of either changes nothing of it.
    fn enable(&mut self, service: &'static str) -> Result<(), Lack> {
        let places = self.places(service)?;
        let mut changed = self.hive.clone();
        let mut is_new = start(&mut changed, &places)?;
        self.hive = changed;
        let mut changed = self.hive.clone();
        let sets = places.iter().map(|place| place.set);
        let has_devices = match boot_devices::give(&mut changed, sets, service) {
            Ok(Devices { is_new: are_new, kept, lacking }) => {
                is_new |= are_new;
                self.hive = changed;
                let is_told = !kept.is_empty();
                kept.into_iter().for_each(|sentence| self.problem(sentence));
                if lacking && !is_told {
                    self.problem(boot_devices::lacking(service));
                }
                !lacking
            }
            Err(error) => {
                self.problem(format!(
                    "the service {service} starts with Windows, and its devices did not come into the database of critical \
                     devices, without which Windows 7 and older do not find their disk: {error}"
                ));
                false
            }
        };
        let list = if has_devices { &mut self.started } else { &mut self.without_devices };
        if is_new && !list.contains(&service) {
            list.push(service);
        }
        Ok(())
    }

    /// The sets that have a service with all its files. The one that Windows starts with has to be among them.
    fn places(&self, service: &str) -> Result<Vec<Place>, Lack> {
        let mut places = Vec::new();
        for set in &self.sets {
            let found = match self.hive.find(set.key, &["Services", service])? {
                Some(key) => self.look_at_files(key, service).map(|()| key),
                None => {
                    let fact = format!("the set of controls that it starts with has no service {service}");
                    Err(Lack::Missing(fact))
                }
            };
            match found {
                Ok(key) => places.push(Place { set: set.key, service: key }),
                Err(Lack::Missing(_)) if !set.is_first => {}
                Err(lack) => return Err(lack),
            }
        }
        Ok(places)
    }

    fn look_at_files(&self, key: Key, service: &str) -> Result<(), Lack> {
        let imports = IMPORTS.iter().filter(|(name, _)| *name == service);
        let beside = imports.map(|(_, file)| format!("{FOLDER}/{file}.sys"));
        for path in [image_path(&self.hive, key, service)?].into_iter().chain(beside) {
            match self.files.filled(&path)? {
                None => return Err(Lack::Missing(format!("it has no /{}", shown(&path)))),
                Some(0) => {
                    let fact = format!("/{} is empty, or no plain file that can be read", shown(&path));
                    return Err(Lack::Wrong(fact));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn problem(&mut self, sentence: String) {
        if !self.problems.contains(&sentence) {
            self.problems.push(sentence);
        }
    }
}

/// The file of a driver, from the root of its volume: `ImagePath` counts from Windows' folder, however that is called in it
/// (Microsoft's "HKLM\SYSTEM\CurrentControlSet\Services registry tree").
fn image_path(hive: &Hive, service: Key, name: &str) -> Result<String, Lack> {
    let value = hive.value_named(service, "ImagePath")?;
    let text = value.map(|value| text_of(hive, &value)).unwrap_or_default();
    if text.is_empty() {
        return Ok(format!("{FOLDER}/{name}.sys"));
    }
    let is = |part: &str, names: &[&str]| names.iter().any(|name| part.eq_ignore_ascii_case(name));
    let parts: Vec<&str> = text.split('\\').collect();
    let inside = match parts.as_slice() {
        ["", root, inside @ ..] if is(root, &["SystemRoot", "Windows"]) => inside,
        [root, inside @ ..] if is(root, &["%SystemRoot%", "%windir%"]) => inside,
        all => all,
    };
    let is_name =
        |part: &&str| !matches!(*part, "" | "." | "..") && !part.contains(['/', ':', '%', '"', '\0']);
    if inside.is_empty() || !inside.iter().all(is_name) {
        return Err(Lack::Wrong(format!("its ImagePath \"{}\" is understood by nobody here", shown(&text))));
    }
    Ok(format!("Windows/{}", inside.join("/")))
}

/// Has Windows start with a service in these sets. True where that is new.
fn start(hive: &mut Hive, places: &[Place]) -> Result<bool, Error> {
    let mut is_new = false;
    for place in places {
        is_new |= zero(hive, place.service, "Start")?;
        if let Some(later) = hive.find(place.service, &["StartOverride"])? {
            let values = hive.values_up_to(later, MOST_VALUES)?;
            for value in values.into_iter().filter(|value| value.kind == REG_DWORD) {
                is_new |= zero(hive, later, &value.name)?;
            }
        }
    }
    Ok(is_new)
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

#[cfg(test)]
#[path = "boot_drivers_tests.rs"]
mod tests;
