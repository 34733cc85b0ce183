use super::boot_devices::{DATABASE, belongs, wide};
use super::*;
use crate::registry::{REG_BINARY, REG_SZ};

const SETS: [&str; 3] = ["ControlSet001", "ControlSet002", "ControlSet003"];

/// The files that are there: drivers by their names, others by their paths. What ends with `?` is empty.
struct Present(&'static [&'static str]);

impl Files for Present {
    fn read(&self, _: &str) -> Result<Option<Vec<u8>>, CustomizeError> {
        Ok(None)
    }

    fn filled(&self, path: &str) -> Result<Option<u64>, CustomizeError> {
        let is = |name: &str| {
            let whole = if name.contains('/') { name.to_owned() } else { format!("{FOLDER}/{name}.sys") };
            path.eq_ignore_ascii_case(&whole)
        };
        let found = self.0.iter().find(|name| is(name.trim_end_matches('?')));
        Ok(found.map(|name| if name.ends_with('?') { 0 } else { 7 }))
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

/// The same with something else in its first set.
fn other(bytes: Vec<u8>, change: impl FnOnce(&mut Hive, Key)) -> Vec<u8> {
    let mut hive = Hive::read(bytes).unwrap();
    let set = hive.find(hive.root(), &[SETS[0]]).unwrap().unwrap();
    change(&mut hive, set);
    hive.into_bytes()
}

fn service(hive: &Hive, set: Key, name: &str) -> Key {
    hive.find(set, &["Services", name]).unwrap().unwrap()
}

fn device(hive: &Hive, database: Key, name: &str) -> Option<String> {
    let entry = hive.find(database, &[name]).unwrap();
    entry.and_then(|entry| belongs(hive, entry).unwrap())
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
    let files = Present(&["msahci", "pciide", "pciidex", "atapi"]);
    let done =
        enable(&files, hive(&["msahci", "pciide", "atapi"], true), &wished(&["usual", "msahci"])).unwrap();
    assert_eq!((done.started, done.without_devices), (vec!["msahci", "atapi"], vec!["pciide"]));
    assert_eq!(done.problems, ["the device pci#cc_0101 belongs to the driver oddide, and not to pciide"]);
    let after = Hive::read(done.bytes.clone()).unwrap();
    for (set, is_there) in SETS.iter().zip([true, true, false]) {
        let database = after.find(after.root(), &[&[*set], DATABASE.as_slice()].concat()).unwrap().unwrap();
        for (name, service) in [("pci#cc_010601", "msahci"), ("Primary_IDE_Channel", "atapi")] {
            let known = device(&after, database, name);
            assert_eq!(known.as_deref(), is_there.then_some(service), "{set} {name}");
        }
        assert_eq!(device(&after, database, "pci#cc_0101").as_deref(), Some("oddide"));
        // For what is not in the image.
        assert_eq!(device(&after, database, "pci#cc_010802"), None);
    }
    let again = enable(&files, done.bytes.clone(), &wished(&["usual"])).unwrap();
    assert!(again.bytes == done.bytes && again.started.is_empty());
}

#[test]
fn what_is_not_in_the_image_is_said_and_changes_nothing() {
    let before = hive(&["storahci"], true);
    for (files, drivers, said) in [
        (Present(&[]), ["storahci"], "it has no /Windows/System32/drivers/storahci.sys"),
        (
            Present(&["stornvme"]),
            ["stornvme"],
            "the set of controls that it starts with has no service stornvme",
        ),
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
    let files = Present(&["msahci", "pciide", "pciidex"]);
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

#[test]
fn what_a_database_cannot_take_is_said_and_the_service_starts() {
    let files = Present(&["msahci", "pciide", "pciidex", "iaStorV"]);
    // The rights of its keys are nowhere: none can be added.
    let mut closed = hive(&["msahci", "pciide", "iaStorV"], true);
    let name = b"CriticalDeviceDatabase";
    let at = closed.windows(name.len()).position(|window| window == name).unwrap();
    closed[at - 32..at - 28].copy_from_slice(&32u32.to_le_bytes());
    let done = enable(&files, closed, &wished(&["usual"])).unwrap();
    assert_eq!((done.started.len(), done.without_devices), (0, vec!["msahci", "pciide"]));
    assert_eq!(number(&done.bytes, &[SETS[0], "Services", "msahci"], "Start"), 0);
    assert_eq!(done.problems.len(), 2, "{:?}", done.problems);
    let says = |at: usize, text: &str| assert!(done.problems[at].contains(text), "{:?}", done.problems);
    says(0, "the service msahci starts with Windows, and its devices did not come into the database");
    says(0, "security descriptor");
    says(1, "belongs to the driver oddide, and not to pciide");

    // Nobody here knows which devices it has; an entry for one is enough.
    let done = enable(&files, hive(&["iaStorV"], true), &wished(&["iaStorV"])).unwrap();
    assert_eq!((done.started.len(), done.without_devices), (0, vec!["iaStorV"]));
    assert!(
        done.problems.len() == 1 && done.problems[0].contains("gives it a device"),
        "{:?}",
        done.problems
    );
    let mut known = Hive::read(hive(&["iaStorV"], true)).unwrap();
    for set in SETS {
        let set = known.find(known.root(), &[set]).unwrap().unwrap();
        let database = known.find(set, &DATABASE).unwrap().unwrap();
        let entry = known.make_key(database, "pci#ven_8086&dev_2822").unwrap();
        known.set(entry, "service", REG_SZ, &wide("IASTORV")).unwrap();
    }
    let done = enable(&files, known.into_bytes(), &wished(&["iaStorV"])).unwrap();
    assert_eq!((done.started, done.problems.len()), (vec!["iaStorV"], 0));
}

#[test]
fn only_the_set_that_windows_starts_with_makes_it_start_with_a_driver() {
    let files = Present(&["storahci"]);
    let elsewhere = |bytes: Vec<u8>, name: &str, number: u32| {
        other(bytes, |hive, _| {
            let select = hive.find(hive.root(), &["Select"]).unwrap().unwrap();
            hive.set(select, name, REG_DWORD, &number.to_le_bytes()).unwrap();
        })
    };
    // A set without services is the one that is started next.
    let before = elsewhere(hive(&["storahci"], false), "Default", 4);
    let mut empty = Hive::read(before).unwrap();
    empty.make_key(empty.root(), "ControlSet004").unwrap();
    let before = empty.into_bytes();
    let done = enable(&files, before.clone(), &wished(&["storahci"])).unwrap();
    assert!(done.bytes == before && done.started.is_empty());
    assert!(done.problems[0].contains("that it starts with has no service storahci"), "{:?}", done.problems);
    let done = enable(&files, before, &wished(&["usual"])).unwrap();
    assert!(done.problems[0].starts_with("it has none of the drivers "), "{:?}", done.problems);
    // What else stands in Select is no set, and one that is not there is none to start with.
    let done = enable(&files, elsewhere(hive(&["storahci"], false), "x", 3), &wished(&["usual"])).unwrap();
    assert_eq!(number(&done.bytes, &[SETS[2], "Services", "storahci"], "Start"), 3);
    let done =
        enable(&files, elsewhere(hive(&["storahci"], false), "Default", 9), &wished(&["usual"])).unwrap();
    assert!(done.problems[0].contains("no set of controls to start with"), "{:?}", done.problems);
}

#[test]
fn the_file_is_looked_for_where_the_service_says_and_has_to_be_one() {
    const STORE: &str = "Windows/System32/DriverStore/FileRepository/viostor.inf_amd64/viostor.sys";
    let start = |present: &'static [&'static str], path: &str, driver: &str| {
        let bytes = other(hive(&[driver], false), |hive, set| {
            let key = service(hive, set, driver);
            hive.set(key, "ImagePath", REG_SZ, &wide(path)).unwrap();
        });
        let done = enable(&Present(present), bytes, &wished(&[driver])).unwrap();
        (done.started.len(), done.problems.concat())
    };
    let relative = r"System32\DriverStore\FileRepository\viostor.inf_amd64\viostor.sys";
    for prefix in ["", r"\SystemRoot\", r"%SystemRoot%\", r"%windir%\", r"\Windows\"] {
        assert_eq!(
            start(&[STORE], &format!("{prefix}{relative}"), "viostor"),
            (1, String::new()),
            "{prefix}"
        );
        let (started, said) = start(&["viostor"], &format!("{prefix}{relative}"), "viostor");
        assert!(started == 0 && said.contains("it has no /Windows/System32/DriverStore/"), "{said}");
    }
    assert_eq!(start(&["viostor"], r"system32\drivers\VIOSTOR.SYS", "viostor").0, 1);
    assert_eq!(start(&["viostor"], "", "viostor").0, 1);
    for path in
        [r"\??\C:\Windows\viostor.sys", r"..\viostor.sys", r"system32\\x", r"C:\x.sys", "a/b", r"\SystemRoot"]
    {
        let (started, said) = start(&["viostor"], path, "viostor");
        assert!(started == 0 && said.contains("its ImagePath"), "{path}: {said}");
    }
    let (started, said) = start(&["viostor"], &format!("\u{1b}[2J{}", "x".repeat(300)), "viostor");
    assert!(started == 0 && !said.contains('\u{1b}') && said.len() < 200, "{said}");
    // Nothing that could be started is worse than no driver, of the usual ones too.
    for drivers in ["storahci", "usual"] {
        let done = enable(&Present(&["storahci?"]), hive(&["storahci"], false), &wished(&[drivers])).unwrap();
        assert!(done.started.is_empty() && done.problems.len() == 1, "{:?}", done.problems);
        assert!(done.problems[0].contains("storahci.sys is empty"), "{:?}", done.problems);
    }
    let done = enable(&Present(&["pciide"]), hive(&["pciide"], false), &wished(&["pciide"])).unwrap();
    assert!(
        done.problems[0].ends_with("it has no /Windows/System32/drivers/pciidex.sys"),
        "{:?}",
        done.problems
    );
}

#[test]
fn a_hive_that_was_made_to_be_slow_or_to_speak_is_not_heard() {
    let files = Present(&["pciide", "pciidex", "storahci"]);
    let many = other(hive(&["storahci"], false), |hive, set| {
        let later = hive.find(service(hive, set, "storahci"), &["StartOverride"]).unwrap().unwrap();
        for number in 1..=MOST_VALUES {
            hive.set(later, &number.to_string(), REG_DWORD, &[3, 0, 0, 0]).unwrap();
        }
    });
    let done = enable(&files, many.clone(), &wished(&["usual"])).unwrap();
    assert!(done.bytes == many && done.problems.len() == 1, "{:?}", done.problems);
    assert!(done.problems[0].contains("a key has 65 values"), "{:?}", done.problems);

    let rude = format!("\u{1b}[2J\n{}", "x".repeat(300));
    let bytes = other(hive(&["pciide"], true), |hive, set| {
        let database = hive.find(set, &DATABASE).unwrap().unwrap();
        let entry = hive.make_key(database, "pci#cc_0101").unwrap();
        hive.set(entry, "Service", REG_BINARY, &wide(&rude)).unwrap();
    });
    let done = enable(&files, bytes, &wished(&["pciide", "usual", "pciide"])).unwrap();
    // One sentence for each driver that has the device, however often it is asked for.
    assert_eq!(done.problems.len(), 2, "{:?}", done.problems);
    for problem in &done.problems {
        assert!(problem.len() < 160 && !problem.contains(char::is_control), "{problem:?}");
    }
}
