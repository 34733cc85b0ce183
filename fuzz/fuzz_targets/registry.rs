//! No bytes of a hive make its reader, its editor or what tells a Windows its name and its drivers panic, and what was changed is
//! read as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::customize::CustomizeError;
use remint::customize::naming::{self, Files};
use remint::plan::Settings;
use remint::registry::{Hive, Key, REG_BINARY, REG_DWORD, REG_SZ};

/// A Windows with this hive, and with every file of a driver.
struct Windows(Vec<u8>);

impl Files for Windows {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, CustomizeError> {
        Ok(path.ends_with("/SYSTEM").then(|| self.0.clone()))
    }

    fn filled(&self, _: &str) -> Result<Option<u64>, CustomizeError> {
        Ok(Some(7))
    }
}

/// What a Windows is told becomes a hive that can be read.
fn tell(bytes: &[u8]) {
    let boot_drivers = ["usual", "viostor"].map(|driver| driver.parse().unwrap()).to_vec();
    let settings = Settings { name: Some("PC-07".to_owned()), boot_drivers, ..Settings::default() };
    let told = naming::windows(&Windows(bytes.to_vec()), &settings).unwrap().unwrap();
    for file in told.changed {
        Hive::read(file.bytes).unwrap();
    }
}

/// A key and values are made in a key, and what came of it is looked at again.
fn change(mut hive: Hive, key: Key) {
    let made = hive.make_key(key, "made");
    for key in [Some(key), made.ok()].into_iter().flatten() {
        let _ = hive.set(key, "Start", REG_DWORD, &[0; 4]);
        let _ = hive.set(key, "long", REG_BINARY, &[6; 90]);
    }
    // Keys may lie over each other, so nothing is promised of their content.
    let Ok(hive) = Hive::read(hive.into_bytes()) else { return };
    for (_, key) in hive.keys(key).unwrap_or_default().into_iter().take(50) {
        for value in hive.values(key).unwrap_or_default() {
            assert_eq!(hive.data(&value).len(), value.length());
        }
    }
}

/// The input itself, or a hive with triples of place (16 bits) and value changed, its checksum right.
fn bytes_of(input: &[u8]) -> Vec<u8> {
    let Some((0, triples)) = input.split_first() else { return input.to_vec() };
    let mut hive = Hive::empty("ROOT").unwrap();
    for name in ["Objects", "MountedDevices"] {
        let key = hive.make_key(hive.root(), name).unwrap();
        hive.set(key, "short", REG_BINARY, &[1]).unwrap();
        hive.set(key, "long", REG_BINARY, &[2; 200]).unwrap();
    }
    let select = hive.make_key(hive.root(), "Select").unwrap();
    hive.set(select, "Current", REG_DWORD, &[1, 0, 0, 0]).unwrap();
    let set = hive.make_key(hive.root(), "ControlSet001").unwrap();
    let (services, control) =
        (hive.make_key(set, "Services").unwrap(), hive.make_key(set, "Control").unwrap());
    for service in ["msahci", "viostor"] {
        let service = hive.make_key(services, service).unwrap();
        hive.set(service, "Start", REG_DWORD, &[3, 0, 0, 0]).unwrap();
        let later = hive.make_key(service, "StartOverride").unwrap();
        hive.set(later, "0", REG_DWORD, &[3, 0, 0, 0]).unwrap();
    }
    let database = hive.make_key(control, "CriticalDeviceDatabase").unwrap();
    let entry = hive.make_key(database, "pci#ven_1af4&dev_1001").unwrap();
    hive.set(entry, "Service", REG_SZ, b"o\0d\0d\0\0\0").unwrap();
    let mut bytes = hive.into_bytes();
    for triple in triples.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([triple[0], triple[1]]));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = triple[2];
        }
    }
    let sum = bytes[..508].chunks_exact(4).fold(0, |sum, word| {
        sum ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]])
    });
    bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fuzz_target!(|input: &[u8]| {
    let bytes = bytes_of(input);
    tell(&bytes);
    let Ok(mut hive) = Hive::read(bytes) else { return };
    let mut keys = vec![(hive.root(), 0)];
    let mut seen = 0;
    while let Some((key, depth)) = keys.pop() {
        for value in hive.values(key).unwrap_or_default() {
            assert_eq!(hive.data(&value).len(), value.length());
        }
        if seen < 50 {
            change(hive.clone(), key);
        }
        seen += 1;
        if depth < 3 && seen < 2000 {
            keys.extend(hive.keys(key).unwrap_or_default().into_iter().map(|(_, key)| (key, depth + 1)));
        }
    }
    let root = hive.root();
    if hive.set(root, "new", REG_BINARY, &[5; 70]).is_ok() {
        let hive = Hive::read(hive.into_bytes()).unwrap();
        if let Ok(Some(value)) = hive.value_named(root, "new") {
            assert_eq!(hive.data(&value), [5; 70]);
        }
    }
});
