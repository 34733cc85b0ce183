//! What a Windows has on its disk.

use remint::registry::{Hive, REG_DWORD, REG_SZ};

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

/// Text as the registry holds it: UTF-16 with its end.
pub fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}
