use super::*;

const SETS: [&str; 3] = ["ControlSet001", "ControlSet002", "ControlSet003"];

/// The files that are there.
struct Present(&'static [&'static str]);

impl Files for Present {
    fn read(&self, _: &str) -> Result<Option<Vec<u8>>, CustomizeError> {
        Ok(None)
    }

    fn has(&self, path: &str) -> Result<bool, CustomizeError> {
        Ok(self.0.iter().any(|name| path == format!("{FOLDER}/{name}.sys")))
    }
}

/// `Select` names the first two sets of three. They have these services, which start later, and a database or none.
fn hive(services: &[&str], has_database: bool) -> Vec<u8> {
    let mut hive = Hive::empty("ROOT").unwrap();
    let select = hive.make_key(hive.root(), "Select").unwrap();
    for (name, number) in [("Current", 1u32), ("LastKnownGood", 2)] {
        hive.set(select, name, REG_DWORD, &number.to_le_bytes()).unwrap();
    }
    for set in SETS {
        let set = hive.make_key(hive.root(), set).unwrap();
        let all = hive.make_key(set, "Services").unwrap();
        for service in services {
            let service = hive.make_key(all, service).unwrap();
            hive.set(service, "Start", REG_DWORD, &[3, 0, 0, 0]).unwrap();
            let later = hive.make_key(service, "StartOverride").unwrap();
            hive.set(later, "0", REG_DWORD, &[3, 0, 0, 0]).unwrap();
        }
        if has_database {
            let control = hive.make_key(set, "Control").unwrap();
            let database = hive.make_key(control, "CriticalDeviceDatabase").unwrap();
            let entry = hive.make_key(database, "PCI#CC_0101").unwrap();
            hive.set(entry, "Service", REG_SZ, &wide("oddide")).unwrap();
        }
    }
    hive.into_bytes()
}

fn wished(names: &[&str]) -> Vec<BootDriver> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn number(bytes: &[u8], path: &[&str], value: &str) -> u8 {
    let hive = Hive::read(bytes.to_vec()).unwrap();
    let key = hive.find(hive.root(), path).unwrap().unwrap();
    hive.data(&hive.value_named(key, value).unwrap().unwrap())[0]
}

#[test]
fn a_windows_starts_with_a_driver_that_it_has_in_every_set_that_it_may_use() {
    let files = Present(&["storahci", "stornvme"]);
    let before = hive(&["StorAHCI", "stornvme", "disk"], false);
    let done = enable(&files, before.clone(), &wished(&["storahci", "stornvme"])).unwrap();
    assert_eq!(done.started, ["storahci", "stornvme"]);
    assert_eq!(done.problems, [""; 0]);
    for (set, is) in SETS.iter().zip([0, 0, 3]) {
        for service in ["storahci", "stornvme"] {
            assert_eq!(number(&done.bytes, &[set, "Services", service], "Start"), is, "{set} {service}");
            assert_eq!(number(&done.bytes, &[set, "Services", service, "StartOverride"], "0"), is);
        }
        assert_eq!(number(&done.bytes, &[set, "Services", "disk"], "Start"), 3);
    }
    // Without a database none is made.
    let after = Hive::read(done.bytes.clone()).unwrap();
    assert_eq!(after.find(after.root(), &[SETS[0], "Control"]).unwrap(), None);
    let again = enable(&files, done.bytes.clone(), &wished(&["storahci", "stornvme", "usual"])).unwrap();
    assert!(again.bytes == done.bytes && again.started.is_empty(), "{:?}", again.started);
}

#[test]
fn an_older_windows_gets_to_know_the_devices_and_what_belongs_to_another_driver_stays() {
    let files = Present(&["msahci", "pciide", "atapi"]);
    let done =
        enable(&files, hive(&["msahci", "pciide", "atapi"], true), &wished(&["usual", "msahci"])).unwrap();
    assert_eq!(done.started, ["msahci", "pciide", "atapi"]);
    assert_eq!(done.problems, ["the device pci#cc_0101 belongs to the driver oddide, and not to pciide"]);
    let after = Hive::read(done.bytes.clone()).unwrap();
    for (set, is_there) in SETS.iter().zip([true, true, false]) {
        let database = after.find(after.root(), &[&[*set], DATABASE.as_slice()].concat()).unwrap().unwrap();
        for (device, service) in [("pci#cc_010601", "msahci"), ("Primary_IDE_Channel", "atapi")] {
            let known = belongs(&after, database, device).unwrap();
            assert_eq!(known.as_deref(), is_there.then_some(service), "{set} {device}");
        }
        assert_eq!(belongs(&after, database, "pci#cc_0101").unwrap().as_deref(), Some("oddide"));
        // For what is not in the image.
        assert_eq!(belongs(&after, database, "pci#cc_010802").unwrap(), None);
    }
    let again = enable(&files, done.bytes.clone(), &wished(&["usual"])).unwrap();
    assert!(again.bytes == done.bytes && again.started.is_empty());
}

#[test]
fn what_is_not_in_the_image_is_said_and_changes_nothing() {
    let before = hive(&["storahci"], true);
    for (files, drivers, said) in [
        (Present(&[]), ["storahci"], "it has no /Windows/System32/drivers/storahci.sys"),
        (Present(&["stornvme"]), ["stornvme"], "its registry has no service stornvme"),
        (Present(&["stornvme"]), ["usual"], "it has none of the drivers storahci, msahci, stornvme"),
    ] {
        let done = enable(&files, before.clone(), &wished(&drivers)).unwrap();
        assert!(done.bytes == before && done.started.is_empty(), "{said}");
        assert!(done.problems.len() == 1 && done.problems[0].contains(said), "{:?}", done.problems);
    }
    let files = Present(&["storahci"]);
    let mut dirty = before.clone();
    dirty[4] ^= 1;
    dirty[508] ^= 1;
    for bytes in [dirty, Hive::empty("ROOT").unwrap().into_bytes(), b"no hive".to_vec()] {
        let done = enable(&files, bytes.clone(), &wished(&["storahci"])).unwrap();
        assert!(done.bytes == bytes && done.problems[0].contains("were not set: "), "{:?}", done.problems);
    }
}

#[test]
fn any_byte_of_a_hive_may_be_another() {
    let files = Present(&["msahci", "pciide"]);
    let hive = hive(&["msahci", "pciide"], true);
    for at in (0..hive.len()).filter(|at| hive[*at] != 0 || *at % 7 == 0) {
        for value in [0, 0xFF, hive[at] ^ 0x80] {
            let mut bytes = hive.clone();
            bytes[at] = value;
            let done = enable(&files, bytes, &wished(&["msahci", "usual"])).unwrap();
            if !done.started.is_empty() {
                assert!(Hive::read(done.bytes).is_ok(), "byte {at} as {value}");
            }
        }
    }
}
