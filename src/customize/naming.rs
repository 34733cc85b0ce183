//! The name of a computer, in the system on a deployed volume, with all else that a Windows is told.
//!
//! - Linux: `/etc/hostname`, the lines of `/etc/hosts` that have the old name, and `/etc/machine-id`, which is emptied: systemd
//!   makes a new one at the next start (machine-id(5)).
//! - Windows: `ComputerName` in its answer files, and the registry. Both, because an answer file may be one that Windows' setup
//!   has used up: it reads it only in an image that was prepared (sysprep).
//!
//! Taken again, nothing changes.

use super::CustomizeError;
use super::answers::{self, ANSWERS, OLD_ANSWERS};
use super::boot_drivers;
use crate::plan::Settings;
use crate::registry::{Error, Hive, Key, REG_SZ};

/// NetBIOS knows 15 characters, and Windows takes no longer name for a computer.
pub const MOST_WINDOWS_CHARACTERS: usize = 15;
const SYSTEM_HIVE: &str = "Windows/System32/config/SYSTEM";
/// What is called so in a set of controls.
const IN_REGISTRY: [(&[&str], &str); 4] = [
    (&["Control", "ComputerName", "ComputerName"], "ComputerName"),
    (&["Control", "ComputerName", "ActiveComputerName"], "ComputerName"),
    (&["Services", "Tcpip", "Parameters"], "Hostname"),
    (&["Services", "Tcpip", "Parameters"], "NV Hostname"),
];

/// The files of a volume; where Windows does so, small letters and capitals do not count.
pub trait Files {
    /// A file; `None` where it is not there.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, CustomizeError>;

    /// Bytes of a plain file; 0 where anything else has this name, `None` where nothing has.
    ///
    /// # Errors
    /// Where it cannot be seen.
    fn filled(&self, path: &str) -> Result<Option<u64>, CustomizeError>;
}

/// What becomes of a system.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The files that get another content, with a sentence for each.
    pub changed: Vec<ChangedFile>,
    /// The elements that its answer files have, of those that there are answers for.
    pub answered: Vec<String>,
    /// What a person has to look after.
    pub problems: Vec<String>,
}

/// A file with another content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its path, without a slash in front.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// What that says.
    pub said: String,
}

/// Names the Linux below a folder (empty, or with a slash at its end); `None` where there is none.
///
/// # Errors
/// Where its files cannot be read.
pub fn linux(files: &dyn Files, root: &str, name: &str) -> Result<Option<Renamed>, CustomizeError> {
    let read = |path: &str| files.read(&format!("{root}etc/{path}"));
    let text = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let hostname = text(read("hostname")?);
    if hostname.is_none() && read("os-release")?.is_none() {
        return Ok(None);
    }
    let mut renamed = Renamed::default();
    let mut change = |path: &str, content: String, said: String| {
        let path = format!("{root}etc/{path}");
        renamed.changed.push(ChangedFile { path, bytes: content.into_bytes(), said });
    };
    let mut lines = hostname.as_deref().unwrap_or_default().lines().map(str::trim);
    let old = lines.rfind(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    if old != name {
        change("hostname", format!("{name}\n"), format!("the system is called {name} in /etc/hostname"));
    }
    if let Some(hosts) = text(read("hosts")?) {
        let new = in_hosts(&hosts, old, name);
        if new != hosts {
            change("hosts", new, format!("/etc/hosts knows the system as {name}"));
        }
    }
    // What says that it has none yet (machine-id(5)) stays.
    if read("machine-id")?.is_some_and(|id| !id.is_empty() && !id.starts_with(b"uninitialized")) {
        change("machine-id", String::new(), "it gets a new /etc/machine-id when it starts".to_owned());
    }
    Ok(Some(renamed))
}

/// The lines of `/etc/hosts` with a new name where the old one stands, alone or with a domain. Every other character stays.
fn in_hosts(hosts: &str, old: &str, name: &str) -> String {
    let first = old.split('.').next().unwrap_or_default();
    if first.is_empty() || first.eq_ignore_ascii_case("localhost") {
        return hosts.to_owned();
    }
    let word = |word: &str| {
        let (host, domain) = word.find('.').and_then(|dot| word.split_at_checked(dot)).unwrap_or((word, ""));
        if host.eq_ignore_ascii_case(first) { format!("{name}{domain}") } else { word.to_owned() }
    };
    let line = |line: &str| {
        let at = line.find('#').unwrap_or(line.len());
        let (entry, comment) = line.split_at_checked(at).unwrap_or((line, ""));
        let mut words = entry.split_inclusive(char::is_whitespace);
        let mut new = String::new();
        let mut is_name = false;
        for piece in &mut words {
            let bare = piece.trim_end_matches(char::is_whitespace);
            let space = piece.get(bare.len()..).unwrap_or_default();
            new.push_str(&if is_name { word(bare) } else { bare.to_owned() });
            new.push_str(space);
            // The first word is an address.
            is_name |= !bare.is_empty();
        }
        new + comment
    };
    hosts.split_inclusive('\n').map(line).collect()
}

/// Gives the Windows on a volume its name, its answers and the drivers that it starts with; `None` where there is none.
///
/// # Errors
/// Where its files cannot be read.
pub fn windows(files: &dyn Files, settings: &Settings) -> Result<Option<Renamed>, CustomizeError> {
    let Some(hive) = files.read(SYSTEM_HIVE)? else { return Ok(None) };
    let mut renamed = Renamed::default();
    for path in ANSWERS {
        let Some(bytes) = files.read(path)? else { continue };
        match answers::fill(&bytes, settings) {
            Ok(filled) => {
                renamed.answered.extend(filled.elements);
                renamed.problems.extend(filled.problems.iter().map(|problem| format!("/{path}: {problem}")));
                if filled.bytes != bytes {
                    let said = format!("{} in /{path}", filled.said.join(", "));
                    renamed.changed.push(ChangedFile { path: path.to_owned(), bytes: filled.bytes, said });
                }
            }
            Err(why) => renamed.problems.push(format!("/{path} was not changed: {why}")),
        }
    }
    let (mut system, mut said) = (hive.clone(), Vec::new());
    if let Some(name) = &settings.name {
        let not_written = |path: &str, why: String| {
            format!("the name was not written to /{path}: {why}; give it there by hand")
        };
        let called = format!("the system is called {name}");
        if let Some(bytes) = files.read(OLD_ANSWERS)? {
            match answers::fill_old(&bytes, name) {
                Ok(Some(new)) if new != bytes => {
                    let said = format!("{called} in /{OLD_ANSWERS}");
                    renamed.changed.push(ChangedFile { path: OLD_ANSWERS.to_owned(), bytes: new, said });
                }
                Ok(_) => {}
                Err(why) => renamed.problems.push(not_written(OLD_ANSWERS, why)),
            }
        }
        match in_registry(system.clone(), name) {
            Ok(new) if new != system => {
                system = new;
                said.push(called);
            }
            Ok(_) => {}
            Err(error) => renamed.problems.push(not_written(SYSTEM_HIVE, error.to_string())),
        }
    }
    if !settings.boot_drivers.is_empty() {
        let enabled = boot_drivers::enable(files, system, &settings.boot_drivers)?;
        system = enabled.bytes;
        renamed.problems.extend(enabled.problems);
        if !enabled.started.is_empty() {
            let noun = if enabled.started.len() == 1 { "driver" } else { "drivers" };
            said.push(format!("Windows starts with the {noun} {}", enabled.started.join(", ")));
        }
        if !enabled.without_devices.is_empty() {
            let services = enabled.without_devices.join(", ");
            said.push(format!("of {services} only the start is set, not that devices belong to it"));
        }
    }
    if system != hive {
        let said = format!("{} in /{SYSTEM_HIVE}", said.join(", and "));
        renamed.changed.push(ChangedFile { path: SYSTEM_HIVE.to_owned(), bytes: system, said });
    }
    Ok(Some(renamed))
}

/// In every set of controls that Windows may use.
fn in_registry(bytes: Vec<u8>, name: &str) -> Result<Vec<u8>, Error> {
    let mut hive = Hive::read(bytes)?;
    let data: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let mut is_named = false;
    for set in boot_drivers::control_sets(&hive)? {
        for (path, value) in IN_REGISTRY {
            if let Some(key) = hive.find(set.key, path)? {
                set_where_different(&mut hive, key, value, &data)?;
                is_named = true;
            }
        }
    }
    if !is_named {
        return Err(Error::Unsupported("it has no set of controls with a name".to_owned()));
    }
    Ok(hive.into_bytes())
}

fn set_where_different(hive: &mut Hive, key: Key, name: &str, data: &[u8]) -> Result<(), Error> {
    let known = hive.value_named(key, name)?;
    if known.is_some_and(|known| known.kind == REG_SZ && hive.data(&known) == data) {
        return Ok(());
    }
    hive.set(key, name, REG_SZ, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::REG_DWORD;
    use std::collections::BTreeMap;

    struct Volume(BTreeMap<String, Vec<u8>>);

    impl Volume {
        fn new(files: &[(&str, &[u8])]) -> Self {
            Self(files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect())
        }

        fn take(&mut self, renamed: &Renamed) {
            for file in &renamed.changed {
                self.0.insert(file.path.clone(), file.bytes.clone());
            }
        }

        fn text(&self, path: &str) -> &str {
            std::str::from_utf8(&self.0[path]).unwrap()
        }
    }

    impl Files for Volume {
        fn read(&self, path: &str) -> Result<Option<Vec<u8>>, CustomizeError> {
            Ok(self.0.get(path).cloned())
        }

        fn filled(&self, path: &str) -> Result<Option<u64>, CustomizeError> {
            Ok(self.0.get(path).map(|bytes| crate::units::u64_from(bytes.len())))
        }
    }

    #[test]
    fn a_linux_has_its_name_everywhere_and_once() {
        let hosts = "127.0.0.1\tlocalhost\n127.0.1.1 \tgolden.lab.example  GOLDEN goldenrod # golden\n::1 ip6-localhost";
        let mut volume = Volume::new(&[
            ("etc/hostname", b"golden\n"),
            ("etc/hosts", hosts.as_bytes()),
            ("etc/machine-id", b"0123456789abcdef0123456789abcdef\n"),
        ]);
        let renamed = linux(&volume, "", "pc-07").unwrap().unwrap();
        assert_eq!(renamed.changed.len(), 3);
        volume.take(&renamed);
        assert_eq!(volume.text("etc/hostname"), "pc-07\n");
        let expected = hosts.replace("golden.lab", "pc-07.lab").replace("GOLDEN", "pc-07");
        assert_eq!(volume.text("etc/hosts"), expected);
        assert_eq!(volume.text("etc/machine-id"), "");
        assert_eq!(linux(&volume, "", "pc-07").unwrap().unwrap(), Renamed::default());
        assert_eq!(linux(&Volume::new(&[("etc/fstab", b"")]), "", "x").unwrap(), None);
        let inner = Volume::new(&[("@rootfs/etc/os-release", b"")]);
        assert_eq!(linux(&inner, "@rootfs/", "x").unwrap().unwrap().changed[0].path, "@rootfs/etc/hostname");
    }

    fn called(name: &str) -> Settings {
        Settings { name: Some(name.to_owned()), ..Settings::default() }
    }

    fn hive(sets: u32) -> Vec<u8> {
        let mut hive = Hive::empty("ROOT").unwrap();
        let select = hive.make_key(hive.root(), "Select").unwrap();
        for (name, number) in [("Current", 1u32), ("Default", 1), ("LastKnownGood", 2), ("Failed", 0)] {
            hive.set(select, name, REG_DWORD, &number.to_le_bytes()).unwrap();
        }
        for number in 1..=sets {
            let set = hive.make_key(hive.root(), &format!("ControlSet{number:03}")).unwrap();
            for (path, value) in IN_REGISTRY {
                let key = path.iter().fold(set, |key, part| hive.make_key(key, part).unwrap());
                hive.set(key, value, REG_SZ, &[b'X', 0, 0, 0]).unwrap();
            }
        }
        hive.into_bytes()
    }

    #[test]
    fn a_windows_has_its_name_in_its_answers_and_in_its_registry() {
        let answers = "<unattend><ComputerName>*</ComputerName></unattend>";
        let wide: Vec<u8> = format!("\u{feff}{answers}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let inf = b"[Other]\r\nComputerName=1\r\n[userdata]\r\nFullName=\"x\"\r\nComputerName = *\r\n";
        let mut volume = Volume::new(&[
            (SYSTEM_HIVE, &hive(3)),
            (ANSWERS[0], answers.as_bytes()),
            (ANSWERS[2], &wide),
            (ANSWERS[3], b"<unattend/>"),
            (OLD_ANSWERS, inf),
        ]);
        let renamed = windows(&volume, &called("PC-07")).unwrap().unwrap();
        assert_eq!((renamed.changed.len(), renamed.problems.len()), (4, 0), "{renamed:?}");
        volume.take(&renamed);
        assert_eq!(volume.text(ANSWERS[0]), answers.replace('*', "PC-07"));
        assert_eq!(volume.text(OLD_ANSWERS).matches("ComputerName =PC-07\r\n").count(), 1);
        let hive = Hive::read(volume.0[SYSTEM_HIVE].clone()).unwrap();
        let name = |set: &str, value: usize| {
            let (path, value) = IN_REGISTRY[value];
            let key = hive.find(hive.root(), &[&[set], path].concat()).unwrap().unwrap();
            hive.data(&hive.value_named(key, value).unwrap().unwrap())
        };
        let expected: Vec<u8> = "PC-07\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for index in 0..IN_REGISTRY.len() {
            assert_eq!(name("ControlSet001", index), expected);
            assert_eq!(name("ControlSet002", index), expected);
            assert_eq!(name("ControlSet003", index), [b'X', 0, 0, 0], "no Select names it");
        }
        assert_eq!(windows(&volume, &called("PC-07")).unwrap().unwrap(), Renamed::default());
    }

    #[test]
    fn what_cannot_be_named_is_a_problem_and_no_windows_is_none() {
        let mut dirty = hive(1);
        dirty[4] ^= 1;
        dirty[508] ^= 1;
        let volume = Volume::new(&[(SYSTEM_HIVE, &dirty), (ANSWERS[0], b"<a><ComputerName>x")]);
        let renamed = windows(&volume, &called("PC")).unwrap().unwrap();
        assert_eq!((renamed.changed.len(), renamed.problems.len()), (0, 2), "{renamed:?}");
        assert_eq!(windows(&Volume::new(&[]), &called("PC")).unwrap(), None);
        let none = windows(&Volume::new(&[(SYSTEM_HIVE, &hive(0))]), &called("PC")).unwrap().unwrap();
        assert!(none.problems[0].contains("no set of controls"));
    }
}
