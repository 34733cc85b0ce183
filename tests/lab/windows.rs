//! What a Windows has on its disk, and what other people's readers see of it.

use super::{run, run_allowing, text};
use remint::registry::{Hive, REG_DWORD, REG_SZ};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Its registry, from the root of its volume.
pub const SYSTEM: &str = "Windows/System32/config/SYSTEM";

/// A SYSTEM with two control sets, of a computer that is called OLD.
pub fn hive() -> Vec<u8> {
    let mut hive = Hive::empty("ROOT").unwrap();
    let select = hive.make_key(hive.root(), "Select").unwrap();
    for (name, number) in [("Current", 1u32), ("LastKnownGood", 2)] {
        hive.set(select, name, REG_DWORD, &number.to_le_bytes()).unwrap();
    }
    for set in ["ControlSet001", "ControlSet002"] {
        let set = hive.make_key(hive.root(), set).unwrap();
        let control = hive.make_key(set, "Control").unwrap();
        let name = hive.make_key(control, "ComputerName").unwrap();
        let name = hive.make_key(name, "ComputerName").unwrap();
        hive.set(name, "ComputerName", REG_SZ, &wide("OLD")).unwrap();
        let services = hive.make_key(set, "Services").unwrap();
        let services = hive.make_key(services, "Tcpip").unwrap();
        hive.make_key(services, "Parameters").unwrap();
    }
    hive.into_bytes()
}

/// The same with services that start later than Windows does, and the database of devices that Windows 7 has; filled by libhivex.
pub fn hive_with_services(folder: &Path, services: &[&str], has_database: bool) -> Vec<u8> {
    let file = folder.join("with-services");
    fs::write(&file, hive()).unwrap();
    let mut script = String::new();
    for set in ["ControlSet001", "ControlSet002"] {
        if has_database {
            script.push_str(&format!("cd \\{set}\\Control\nadd CriticalDeviceDatabase\n"));
        }
        for service in services {
            let number = |name: &str, number: u32| format!("setval 1\n{name}\ndword:{number:08x}\n");
            script.push_str(&format!("cd \\{set}\\Services\nadd {service}\ncd {service}\n"));
            script.push_str(&number("Start", 3));
            script.push_str("add StartOverride\ncd StartOverride\n");
            script.push_str(&number("0", 3));
        }
    }
    hivexsh(&file, &format!("{script}commit\n"));
    fs::read(file).unwrap()
}

/// Text as the registry holds it: UTF-16 with its end.
pub fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// How Windows names a partition, in the two places where it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// In an element of a boot configuration: 16 bytes, the kind of table, the disk in 16 bytes.
    pub element: Vec<u8>,
    pub letter: Vec<u8>,
}

pub fn guid_bytes(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2).unwrap(), 16).unwrap();
    // Mixed-endian: the first three numbers are little-endian.
    [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(byte).to_vec()
}

/// The names of the partitions of a disk, as `sfdisk` sees them.
pub fn names(disk: &Path) -> Vec<Name> {
    let table: serde_json::Value = serde_json::from_str(&run("sfdisk", &["--json", text(disk)])).unwrap();
    let table = &table["partitiontable"];
    let id = table["id"].as_str().unwrap();
    let name = |entry: &serde_json::Value| match entry["uuid"].as_str() {
        Some(uuid) => Name {
            element: [guid_bytes(uuid), vec![0; 8], guid_bytes(id)].concat(),
            letter: [b"DMIO:ID:".to_vec(), guid_bytes(uuid)].concat(),
        },
        None => {
            let signature = u32::from_str_radix(id.trim_start_matches("0x"), 16).unwrap().to_le_bytes();
            let offset = (entry["start"].as_u64().unwrap() * 512).to_le_bytes();
            let kind = [0, 0, 0, 0, 1, 0, 0, 0];
            Name {
                element: [&offset[..], &[0; 8], &kind, &signature, &[0; 12]].concat(),
                letter: [&signature[..], &offset].concat(),
            }
        }
    };
    table["partitions"].as_array().unwrap().iter().map(name).collect()
}

/// "partition=C:", 88 bytes.
pub fn simple(name: &Name) -> Vec<u8> {
    let head = [&[0; 16][..], &[6, 0, 0, 0], &[0; 4], &[0x48, 0, 0, 0], &[0; 4]].concat();
    [head, name.element.clone(), vec![0; 16]].concat()
}

/// What a hive says of an element, by libhivex.
pub fn element(hive: &Path, object: &str, kind: &str) -> Vec<u8> {
    value(hive, &format!("\\Objects\\{object}\\Elements\\{kind}"), "Element")
}

pub fn value(hive: &Path, key: &str, name: &str) -> Vec<u8> {
    let output = Command::new("hivexget").args([text(hive), key, name]).output().unwrap();
    assert!(output.status.success(), "{key} {name}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Has `hivexsh` do something with a hive.
pub fn hivexsh(hive: &Path, script: &str) -> String {
    let mut child = Command::new("hivexsh")
        .args(["-w", text(hive)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{script}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Two readers of other people find nothing wrong.
pub fn is_sound(hive: &Path) {
    assert!(run("hivexml", &[text(hive)]).contains("</hive>"));
    let export = hive.with_extension("reg");
    run_allowing("reged", &["-x", text(hive), "X", "\\", text(&export)], &[0, 2]);
    assert!(fs::read_to_string(export).unwrap().starts_with("Windows Registry Editor"));
}
