//! A deployed disk is changed as a profile says, again and again with the same result; a dry run says the same and changes
//! nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::lvm::Lvm;
use lab::windows::{SYSTEM, hive_with_services};
use lab::{Kind, MIB, Mount, Place, remint_ends, run, text};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const NTFS: Kind = Kind { name: "NTFS", family: "ntfs", make: &["mkntfs", "-Q", "-F", "-q"] };
const ANSWERS: &str = "Windows/Panther/unattend.xml";
const AHCI: &str = "Windows/System32/drivers/storahci.sys";

/// A disk with a Linux, a Windows with an answer file, and a Linux in a volume group.
struct Disk {
    folder: tempfile::TempDir,
    places: Vec<Place>,
}

impl Disk {
    fn new() -> Self {
        let folder = lab::folder();
        let disk = folder.path().join("disk.img");
        let script =
            "label: gpt\nsize=32MiB\nsize=40MiB\nsize=64MiB, type=E6D6D379-F507-44C2-A23C-238F2A3DF928\n";
        let places = lab::partitioned_disk(&disk, 140 * MIB, 512, script);
        let made = Self { folder, places };
        let linux: [(&str, &[u8]); 3] = [
            ("etc/hostname", b"golden\n"),
            ("etc/hosts", b"127.0.1.1 golden\n"),
            ("etc/os-release", b"ID=debian\n"),
        ];
        let registry = hive_with_services(made.folder.path(), &["storahci"], false);
        let answers = "<unattend><ComputerName>*</ComputerName><TimeZone>UTC</TimeZone></unattend>";
        let part = made.build(&EXT4, "system", made.places[0].length, &linux);
        lab::put(&disk, made.places[0].start, &part);
        let part = made.build(
            &NTFS,
            "windows",
            made.places[1].length,
            &[(ANSWERS, answers.as_bytes()), (SYSTEM, &registry), (AHCI, b"MZ")],
        );
        lab::put(&disk, made.places[1].start, &part);
        let lvm = made.lvm();
        lvm.run("pvcreate", &["-ff", lvm.device(0)]);
        lvm.run("vgcreate", &["vg", lvm.device(0)]);
        lvm.create("vg", "root", &["-L", "32m"]);
        let part = made.build(&EXT4, "logical", 32 * MIB, &linux);
        lvm.put("vg/root", &part);
        drop(lvm);
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lvm(&self) -> Lvm {
        Lvm::new(&[(&self.path("disk.img"), self.places[2])])
    }

    fn build(&self, kind: &Kind, name: &str, size: u64, files: &[(&str, &[u8])]) -> PathBuf {
        let (tree, part) = (self.path(&format!("files-{name}")), self.path(name));
        for (file, bytes) in
            files.iter().chain(&[("deep/file", b"x".as_slice()), ("noise-65536", &[7; 65536])])
        {
            fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
            fs::write(tree.join(file), bytes).unwrap();
        }
        kind.build(&part, size, &tree);
        part
    }

    fn customize(&self, profile: &Value, options: &[&str], code: i32) -> String {
        let file = self.path("profile.json");
        fs::write(&file, profile.to_string()).unwrap();
        let disk = self.path("disk.img");
        remint_ends(code, &[&["customize", text(&disk), "--profile", text(&file)], options].concat())
    }

    fn read(&self, position: usize, kind: &Kind, file: &str) -> String {
        let place = self.places[position];
        let mount = Mount::new(&self.path("disk.img"), place.start, place.length, kind.family, true);
        fs::read_to_string(mount.path().join(file)).unwrap()
    }

    fn hash(&self) -> String {
        lab::hash_of(&self.path("disk.img"))
    }
}

/// What a run says with `--json`, beside what it tells meanwhile.
fn said(output: &str) -> Value {
    let (_, begun) = output.split_once("{\n").unwrap();
    let (inside, _) = begun.rsplit_once('}').unwrap();
    serde_json::from_str(&format!("{{{inside}}}")).unwrap()
}

#[test]
fn the_steps_of_a_profile_are_tried_out_taken_and_repeated() {
    let disk = Disk::new();
    let (ran, before) = (disk.path("ran"), disk.hash());
    let profile = json!({
        "capture": {"compression": "9"},
        "deploy": {
            "layout": "original",
            "computer_name": "pc-07",
            "answers": [{"element": "TimeZone", "value": "W. Europe Standard Time"}],
            "boot_drivers": ["storahci"],
            "scripts": [{"when": "after-imaging", "text": format!("echo \"$REMINT_COMPUTER_NAME\" >> {}", text(&ran))}],
        },
    });
    let tried = said(&disk.customize(&profile, &["--dry-run", "--json"], 0));
    assert_eq!((disk.hash(), ran.exists()), (before.clone(), false), "a dry run changed something");
    assert_eq!(tried["dry_run"], true);
    let changes = |value: &Value| -> Vec<String> {
        let of = |change: &Value| {
            format!("{} {}", change["volume"].as_str().unwrap(), change["message"].as_str().unwrap())
        };
        value["changes"].as_array().unwrap().iter().map(of).collect()
    };
    let starts = "d0-p2 the system is called pc-07, and Windows starts with the driver storahci";
    assert!(changes(&tried).iter().any(|change| change.starts_with(starts)), "{tried}");
    for volume in ["d0-p1", "d0-p2", "g0-l1"] {
        assert!(changes(&tried).iter().any(|change| change.starts_with(volume)), "{volume}: {tried}");
    }

    // Nobody is there to agree.
    disk.customize(&profile, &[], 2);
    assert_eq!(disk.hash(), before);
    let done = said(&disk.customize(&profile, &["--yes", "--json"], 0));
    assert_eq!(changes(&done), changes(&tried), "a dry run said something else");
    assert_eq!(fs::read_to_string(&ran).unwrap(), "pc-07\n");
    for (position, kind) in [(0, &EXT4), (1, &NTFS)] {
        kind.check(&disk.path("disk.img"), disk.places[position].start, disk.places[position].length);
    }
    assert_eq!(disk.read(0, &EXT4, "etc/hostname"), "pc-07\n");
    let answers =
        "<unattend><ComputerName>pc-07</ComputerName><TimeZone>W. Europe Standard Time</TimeZone></unattend>";
    assert_eq!(disk.read(1, &NTFS, ANSWERS), answers);
    let logical = disk.path("after.img");
    let size = disk.lvm().take("vg/root", &logical);
    EXT4.check(&logical, 0, size);
    let mount = Mount::new(&logical, 0, size, "ext4", true);
    assert_eq!(fs::read_to_string(mount.path().join("etc/hosts")).unwrap(), "127.0.1.1 pc-07\n");
    drop(mount);

    let again = disk.customize(&profile, &["--yes"], 0);
    assert!(again.contains("nothing had to be changed"), "{again}");
    assert_eq!(fs::read_to_string(&ran).unwrap(), "pc-07\npc-07\n");
    // A plan would have been refused for this, and so is a step.
    let bad = json!({"deploy": {"computer_name": "no good"}});
    assert!(disk.customize(&bad, &["--yes"], 1).contains("is no name for a computer"));
    let nothing = json!({"deploy": {"layout": "original"}});
    assert!(disk.customize(&nothing, &["--yes"], 1).contains("asks for nothing"));
}

#[test]
fn a_group_with_a_volume_of_its_own_kind_is_left_and_a_script_that_must_not_fail_stops_what_is_behind_it() {
    let disk = Disk::new();
    let lvm = disk.lvm();
    lvm.create("vg", "frozen", &["-L", "4m", "-p", "r"]);
    drop(lvm);
    let of_group =
        |disk: &Disk| lab::bytes(&disk.path("disk.img"), disk.places[2].start, disk.places[2].length);
    let before = of_group(&disk);
    let ran = disk.path("ran");
    let profile = json!({"deploy": {
        "computer_name": "pc-07",
        "scripts": [
            {"when": "before-file-copy", "text": "exit 7", "fatal": true},
            {"when": "after-imaging", "text": format!("touch {}", text(&ran))},
        ],
    }});
    let hash = disk.hash();
    let output = disk.customize(&profile, &["--yes"], 4);
    assert!(output.contains("stopped: ") && output.contains("ended with exit code 7"), "{output}");
    assert_eq!((disk.hash(), ran.exists()), (hash, false), "what stood behind the script was done");

    let profile = json!({"deploy": {
        "computer_name": "pc-07",
        "scripts": [{"when": "after-imaging", "text": "exit 8", "fatal": true}],
    }});
    let output = disk.customize(&profile, &["--yes", "--json"], 4);
    let value = said(&output);
    assert!(value["stopped"].as_str().unwrap().contains("ended with exit code 8"), "{value}");
    assert!(value["problems"][0].as_str().unwrap().contains("because of frozen: it is read-only"), "{value}");
    assert!(!value["changes"].as_array().unwrap().is_empty(), "{value}");
    assert!(of_group(&disk) == before, "a volume of such a group was changed");
    assert_eq!(disk.read(0, &EXT4, "etc/hostname"), "pc-07\n");
}

#[test]
fn what_is_not_clean_is_named_and_left_and_a_step_that_fails_keeps_the_disk() {
    let disk = Disk::new();
    let place = disk.places[0];
    let part = disk.path("dirty");
    fs::write(&part, lab::bytes(&disk.path("disk.img"), place.start, place.length)).unwrap();
    run("debugfs", &["-w", "-R", "set_super_value state 0", text(&part)]);
    lab::put(&disk.path("disk.img"), place.start, &part);
    let of_part = |disk: &Disk| lab::bytes(&disk.path("disk.img"), place.start, place.length);
    let before = of_part(&disk);
    let profile = json!({"deploy": {
        "computer_name": "pc-07",
        "scripts": [{"when": "after-imaging", "text": "exit 7"}],
    }});
    let output = disk.customize(&profile, &["--yes"], 3);
    let words = one_line(&output);
    assert!(words.contains("d0-p1: its ext4 is") && words.contains("is not changed"), "{output}");
    assert!(words.contains("ended with exit code 7"), "{output}");
    assert!(of_part(&disk) == before, "a file system that is not clean was changed");
    assert!(disk.read(1, &NTFS, ANSWERS).contains("<ComputerName>pc-07</ComputerName>"));
    run("sgdisk", &["--verify", text(&disk.path("disk.img"))]);
}

fn one_line(output: &str) -> String {
    output.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Fills a volume to its last block.
fn fill(folder: &std::path::Path) {
    let mut file = fs::File::create(folder.join("filler")).unwrap();
    for size in [1 << 20, 4096] {
        while std::io::Write::write_all(&mut file, &vec![5; size]).and_then(|()| file.sync_all()).is_ok() {}
    }
}

#[test]
fn a_file_that_finds_no_room_to_get_longer_stays_as_it_was() {
    let disk = Disk::new();
    let (mut hosts, mut answers) =
        ("127.0.1.1 golden\n".to_owned(), "<unattend><TimeZone>UTC</TimeZone>".to_owned());
    // Up to the end of their last blocks.
    hosts.push_str(&format!("#{}\n", "x".repeat(8192 - hosts.len() - 2)));
    answers.push_str(&format!("<!--{}--></unattend>", "x".repeat(8192 - answers.len() - 18)));
    assert_eq!((hosts.len(), answers.len()), (8192, 8192));
    for (position, kind, file, text) in [(0, &EXT4, "etc/hosts", &hosts), (1, &NTFS, ANSWERS, &answers)] {
        let place = disk.places[position];
        let mount = Mount::new(&disk.path("disk.img"), place.start, place.length, kind.family, false);
        fs::write(mount.path().join(file), text).unwrap();
        fill(mount.path());
    }
    let time = json!({"deploy": {"answers": [{"element": "TimeZone", "value": "W. Europe Standard Time"}]}});
    let output = disk.customize(&time, &["--yes"], 3);
    assert!(one_line(&output).contains("No space left on device"), "{output}");
    assert!(disk.read(1, &NTFS, ANSWERS) == answers, "the file of a Windows is torn");
    let name = json!({"deploy": {"computer_name": "a-longer-name"}});
    let output = disk.customize(&name, &["--yes"], 3);
    assert!(one_line(&output).contains("No space left on device"), "{output}");
    assert!(disk.read(0, &EXT4, "etc/hosts") == hosts, "the file of a Linux is torn");
    for (position, kind) in [(0, &EXT4), (1, &NTFS)] {
        kind.check(&disk.path("disk.img"), disk.places[position].start, disk.places[position].length);
    }
}
