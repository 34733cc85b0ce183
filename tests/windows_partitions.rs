//! What a Windows notes of partitions follows where it gets another layout or new identifiers: its boot configuration, its
//! drive letters, and the boot sectors. The hives are filled by libhivex, and judged by it and by chntpw's `reged`.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::windows::{Name, element, guid_bytes, hivexsh, is_sound, names, simple, value};
use lab::{MIB, Place, remint_ends, text};
use remint::registry::Hive;
use std::fs;
use std::path::{Path, PathBuf};

const BOOT_MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
const LOADER: &str = "{5189b25c-5558-4bf2-bca4-289b11bd29e2}";
const RECOVERY: &str = "{572bcd56-ffa7-11d9-aae0-0007e994107d}";
const MEMORY_TEST: &str = "{b2721d73-1db4-4c62-bf78-c548a880142d}";
const ESP: &str = "C12A7328-F81F-11D2-BA4B-00C93EC93B08";
const DATA: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";

/// "boot", which names nothing.
fn boot() -> Vec<u8> {
    [&[0; 16][..], &[5, 0, 0, 0], &[0; 4], &[0x48, 0, 0, 0], &[0; 60]].concat()
}

/// "ramdisk=[C:]\Recovery\WindowsRE\Winre.wim": the partition stands at byte 84.
fn ramdisk(name: &Name) -> Vec<u8> {
    let path: Vec<u8> =
        "\\Recovery\\WindowsRE\\Winre.wim\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    [
        vec![7; 16],
        vec![0; 16],
        vec![3; 36],
        [6, 0, 0, 0].to_vec(),
        vec![0; 4],
        vec![0x48, 0, 0, 0],
        vec![0; 4],
    ]
    .concat()
    .into_iter()
    .chain(name.element.clone())
    .chain(vec![0; 16])
    .chain(path)
    .collect()
}

type Element<'a> = (&'a str, &'a str, Vec<u8>);

/// A boot configuration with its usual objects.
fn elements(system: &Name, windows: &Name, recovery: &Name, elsewhere: &Name) -> Vec<Element<'static>> {
    let path: Vec<u8> =
        "\\Windows\\system32\\winload.exe\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        (BOOT_MANAGER, "11000001", simple(system)),
        (BOOT_MANAGER, "25000004", vec![30, 0, 0, 0, 0, 0, 0, 0]),
        (LOADER, "11000001", simple(windows)),
        (LOADER, "12000002", path),
        (LOADER, "21000001", simple(windows)),
        (RECOVERY, "11000001", ramdisk(recovery)),
        (RECOVERY, "21000001", ramdisk(recovery)),
        (RECOVERY, "31000003", simple(recovery)),
        (MEMORY_TEST, "11000001", boot()),
        (MEMORY_TEST, "31000003", simple(elsewhere)),
    ]
}

const RECOVERY_SETTINGS: &str = "Windows/System32/Recovery/ReAgent.xml";

/// What Windows notes of its recovery environment, on a partition of a disk as `sfdisk` sees it.
fn recovery_settings(disk: &Path, place: Place) -> String {
    let table: serde_json::Value =
        serde_json::from_str(&lab::run("sfdisk", &["--json", text(disk)])).unwrap();
    let id = table["partitiontable"]["id"].as_str().unwrap();
    let (id, guid) = match id.strip_prefix("0x") {
        Some(signature) => {
            (u32::from_str_radix(signature, 16).unwrap(), "00000000-0000-0000-0000-000000000000".to_owned())
        }
        None => (0, id.to_ascii_lowercase()),
    };
    format!(
        "<?xml version='1.0' encoding='utf-8'?>\r\n<WindowsRE version=\"2.0\">\r\n  <WinreLocation path=\"\\Recovery\\WindowsRE\" id=\"{id}\" offset=\"{}\" guid=\"{{{guid}}}\"/>\r\n  <ImageLocation path=\"\" id=\"0\" offset=\"0\" guid=\"{{00000000-0000-0000-0000-000000000000}}\"/>\r\n</WindowsRE>\r\n",
        place.start
    )
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hex:3:{}", bytes.join(","))
}

fn boot_configuration(folder: &Path, elements: &[Element<'_>]) -> Vec<u8> {
    let file = folder.join("BCD");
    fs::write(&file, Hive::empty("NewStoreRoot").unwrap().into_bytes()).unwrap();
    let mut script = "add Objects\n".to_owned();
    for object in [BOOT_MANAGER, LOADER, RECOVERY, MEMORY_TEST] {
        script.push_str(&format!(
            "cd \\Objects\nadd {object}\ncd {object}\nadd Description\nadd Elements\ncd Elements\n"
        ));
        for (_, kind, data) in elements.iter().filter(|(of, ..)| *of == object) {
            script.push_str(&format!("add {kind}\ncd {kind}\nsetval 1\nElement\n{}\ncd ..\n", hex(data)));
        }
    }
    hivexsh(&file, &format!("{script}commit\n"));
    fs::read(file).unwrap()
}

fn system_hive(folder: &Path, letters: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let file = folder.join("SYSTEM");
    fs::write(&file, Hive::empty("ROOT").unwrap().into_bytes()).unwrap();
    let mut script = format!("add Select\nadd MountedDevices\ncd MountedDevices\nsetval {}\n", letters.len());
    letters.iter().for_each(|(name, data)| script.push_str(&format!("{name}\n{}\n", hex(data))));
    hivexsh(&file, &format!("{script}commit\n"));
    fs::read(file).unwrap()
}

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Makes a file system as Windows does: it knows where its partition begins.
fn make(part: &Path, place: Place, family: &str, files: &Path) {
    lab::noisy_disk(part, place.length);
    let start = u32::try_from(place.start / 512).unwrap();
    if family == "ntfs" {
        let geometry = ["-Q", "-F", "-q", "-H", "255", "-S", "63", "-s", "512", "-p"];
        lab::run("mkntfs", &[geometry.as_slice(), &[&start.to_string(), text(part)]].concat());
        let mount = lab::Mount::new(part, 0, place.length, "ntfs", false);
        lab::run("cp", &["-a", &format!("{}/.", text(files)), text(mount.path())]);
        return;
    }
    lab::run("mkfs.fat", &["-F", "32", "-s", "1", text(part)]);
    for entry in fs::read_dir(files).unwrap() {
        lab::run("mcopy", &["-s", "-Q", "-i", text(part), text(&entry.unwrap().path()), "::/"]);
    }
    // mkfs.fat cannot be told.
    for copy in [0, 6 * 512] {
        lab::overwrite(part, copy + 0x1C, &start.to_le_bytes());
    }
}

/// A disk with a Windows: a partition that starts it, its own, and one for recovery.
struct Lab {
    folder: tempfile::TempDir,
    store: String,
    was: Vec<Name>,
}

/// Of another disk, which is not captured.
fn elsewhere() -> Name {
    Name {
        element: [guid_bytes(DATA), vec![0; 8], guid_bytes(ESP)].concat(),
        letter: [b"DMIO:ID:".to_vec(), guid_bytes(ESP)].concat(),
    }
}

const LETTERS: [&str; 3] = ["\\DosDevices\\C:", "\\DosDevices\\D:", "\\DosDevices\\E:"];

impl Lab {
    fn new(table: &str, system: &str, configuration: &str) -> Self {
        let folder = lab::folder();
        let (disk, part) = (folder.path().join("disk.img"), folder.path().join("part.img"));
        let places = lab::partitioned_disk(&disk, 200 * MIB, 512, table);
        let was = names(&disk);
        let bcd = boot_configuration(folder.path(), &elements(&was[0], &was[1], &was[2], &elsewhere()));
        let letters = [was[1].letter.clone(), was[2].letter.clone(), elsewhere().letter];
        let hive = system_hive(folder.path(), &LETTERS.iter().copied().zip(letters).collect::<Vec<_>>());
        for (index, place) in places.iter().enumerate() {
            let files = folder.path().join(format!("files-{index}"));
            write(&files, "deep/noise", &lab::Noise::new(3).bytes(90_000));
            match index {
                0 => write(&files, configuration, &bcd),
                1 => {
                    write(&files, "Windows/System32/Config/SYSTEM", &hive);
                    write(&files, RECOVERY_SETTINGS, recovery_settings(&disk, places[2]).as_bytes());
                }
                _ => write(&files, "Recovery/WindowsRE/Winre.wim", b"x"),
            }
            let family = if index == 0 { system } else { "ntfs" };
            make(&part, *place, family, &files);
            lab::put(&disk, place.start, &part);
        }
        let store = text(&folder.path().join("store")).to_owned();
        let before = lab::traces(&disk);
        remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
        assert_eq!(before, lab::traces(&disk));
        Self { folder, store, was }
    }

    /// Deploys to a larger disk: what is behind the growing partition begins elsewhere.
    fn deploy(&self, codes: &[i32], more: &[&str]) -> (PathBuf, String) {
        let target = self.folder.path().join("target.img");
        lab::noisy_disk(&target, 260 * MIB);
        let arguments = ["deploy", "lab", "--from", &self.store, "--disk", text(&target)];
        let options = ["--layout", "custom", "--partition", "d0-p2=share", "--yes", "--events", "json"];
        let output = lab::remint(&[arguments.as_slice(), &options, more].concat());
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(codes.contains(&output.status.code().unwrap()), "{said}");
        (target, said)
    }

    /// A file of a deployed volume, in a folder of its own.
    fn file(&self, target: &Path, place: Place, family: &str, name: &str) -> PathBuf {
        let copy = self.folder.path().join("seen");
        if family == "fat" {
            let part = self.folder.path().join("seen.part");
            fs::write(&part, lab::bytes(target, place.start, place.length)).unwrap();
            let _ = fs::remove_file(&copy);
            lab::run("mcopy", &["-i", text(&part), &format!("::/{name}"), text(&copy)]);
        } else {
            let mount = lab::Mount::new(target, place.start, place.length, "ntfs", true);
            fs::copy(mount.path().join(name), &copy).unwrap();
        }
        copy
    }

    /// Windows finds its recovery environment where it is now.
    fn finds_recovery(&self, target: &Path) {
        let places = lab::partitions(target, 512);
        let settings = self.file(target, places[1], "ntfs", RECOVERY_SETTINGS);
        assert_eq!(fs::read_to_string(settings).unwrap(), recovery_settings(target, places[2]));
    }

    /// Everything names the partitions of the target, and nothing else is changed.
    fn judge(&self, target: &Path, family: &str, configuration: &str, said: &str) {
        let is = names(target);
        assert!(is.iter().zip(&self.was).all(|(is, was)| is != was), "every partition has another name");
        let places = lab::partitions(target, 512);
        let hive = self.file(target, places[0], family, configuration);
        is_sound(&hive);
        for (object, kind, data) in elements(&is[0], &is[1], &is[2], &elsewhere()) {
            assert_eq!(element(&hive, object, kind), data, "{object} {kind}");
        }
        let hive = self.file(target, places[1], "ntfs", "Windows/System32/Config/SYSTEM");
        is_sound(&hive);
        let letters = [&is[1].letter, &is[2].letter, &elsewhere().letter];
        for (name, letter) in LETTERS.into_iter().zip(letters) {
            assert_eq!(&value(&hive, "\\MountedDevices", name), letter, "{name}");
        }
        assert!(
            said.contains(&format!("in /{configuration} partitions are named as they are now, 6 times")),
            "{said}"
        );
        assert!(
            said.contains("in /Windows/System32/Config/SYSTEM partitions are named as they are now, 2 times")
        );
        self.finds_recovery(target);
    }
}

fn hidden_sectors(target: &Path, place: Place, at: u64) -> u64 {
    u32::from_le_bytes(lab::bytes(target, place.start + at + 0x1C, 4).try_into().unwrap()).into()
}

const MBR: &str = "label: dos\nlabel-id: 0x1a2b3c4d\nsize=20MiB, type=7, bootable\nsize=100MiB, type=7\nsize=30MiB, type=27\n";

#[test]
fn on_an_mbr_a_windows_follows_its_partitions_where_they_begin_elsewhere() {
    let lab = Lab::new(MBR, "ntfs", "Boot/BCD");
    let (target, said) = lab.deploy(&[0], &[]);
    lab.finds_recovery(&target);
    let (is, places) = (names(&target), lab::partitions(&target, 512));
    assert_eq!(is[..2], lab.was[..2]);
    assert_ne!(is[2], lab.was[2]);
    let hive = lab.file(&target, places[0], "ntfs", "Boot/BCD");
    for (object, kind, data) in elements(&is[0], &is[1], &is[2], &elsewhere()) {
        assert_eq!(element(&hive, object, kind), data, "{object} {kind}");
    }
    // The boot sector and its copy, which is the last of the partition.
    for place in &places {
        assert_eq!(hidden_sectors(&target, *place, 0), place.start / 512);
        assert_eq!(hidden_sectors(&target, *place, place.length - 512), place.start / 512);
    }
    assert!(said.contains("its boot sector says that the partition begins at sector"), "{said}");
    // And where the disk has another signature, all of them.
    let (target, said) = lab.deploy(&[0], &["--new-ids"]);
    lab.judge(&target, "ntfs", "Boot/BCD", &said);
}

#[test]
fn on_a_gpt_a_windows_follows_its_new_identifiers() {
    let table =
        format!("label: gpt\nsize=40MiB, type={ESP}\nsize=100MiB, type={DATA}\nsize=30MiB, type={DATA}\n");
    let lab = Lab::new(&table, "fat", "EFI/Microsoft/Boot/BCD");
    // With the same identifiers only the place is another one.
    let (target, said) = lab.deploy(&[0], &[]);
    assert_eq!(names(&target), lab.was);
    lab.finds_recovery(&target);
    assert!(said.contains("in /Windows/System32/Recovery/ReAgent.xml a partition is named"), "{said}");
    assert!(!said.contains("/EFI/Microsoft/Boot/BCD"), "{said}");
    let (target, said) = lab.deploy(&[0], &["--new-ids"]);
    lab.judge(&target, "fat", "EFI/Microsoft/Boot/BCD", &said);
    let places = lab::partitions(&target, 512);
    for (index, copy) in [(0, 0), (0, 6 * 512), (2, 0)] {
        assert_eq!(hidden_sectors(&target, places[index], copy), places[index].start / 512);
    }
}

#[test]
fn a_configuration_that_cannot_be_changed_is_a_problem_with_its_way_out() {
    let lab = Lab::new(MBR, "ntfs", "Boot/BCD");
    // A hive that waits for its log: Windows was not shut down.
    let disk = lab.folder.path().join("disk.img");
    let places = lab::partitions(&disk, 512);
    {
        let mount = lab::Mount::new(&disk, places[0].start, places[0].length, "ntfs", false);
        let path = mount.path().join("Boot/BCD");
        let mut bytes = fs::read(&path).unwrap();
        bytes[4] ^= 1;
        bytes[508] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    remint_ends(0, &["capture", "lab", "--to", &lab.store, "--disk", text(&disk)]);
    let (target, said) = lab.deploy(&[3], &[]);
    assert!(said.contains("/Boot/BCD names partitions as they were") && said.contains("bcdboot"), "{said}");
    assert_eq!(lab::partitions(&target, 512).len(), 3, "the disk has its table");
    // To new identifiers nothing follows where one cannot: it starts as it did.
    let (target, said) = lab.deploy(&[3], &["--new-ids"]);
    assert!(said.contains("keeps the identifiers that it was captured with"), "{said}");
    let id = |disk: &Path| lab::run("sfdisk", &["--disk-id", text(disk)]);
    assert_eq!(id(&target), id(&disk));
    lab.finds_recovery(&target);
}
