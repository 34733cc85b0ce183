//! A deployed system is called what was wished for, on every file system that may hold one, and the answer files of a Windows
//! hold what was, and it starts with the drivers that were; nothing else is changed.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::windows::{SYSTEM, hive, hive_with_services, hivexsh, is_sound};
use lab::{Kind, MIB, Mount, remint_ends, text};
use remint::registry::Hive;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F", "-b", "4096"] };
const XFS: Kind = Kind { name: "XFS", family: "xfs", make: &["mkfs.xfs", "-q", "-f"] };
const BTRFS: Kind = Kind { name: "btrfs", family: "btrfs", make: &["mkfs.btrfs", "-q", "-f", "-M"] };
const NTFS: Kind = Kind { name: "NTFS", family: "ntfs", make: &["mkntfs", "-Q", "-F", "-q"] };
const ANSWERS: &str = "Windows/Panther/Unattend.xml";

/// An image of a disk with one volume, and what is deployed of it.
struct Lab {
    folder: tempfile::TempDir,
    kind: &'static Kind,
}

impl Lab {
    fn new(kind: &'static Kind, size_mib: u64, files: &[(&str, &[u8])]) -> Self {
        let folder = lab::folder();
        let tree = folder.path().join("files");
        for (name, bytes) in
            files.iter().chain(&[("deep/file", b"x".as_slice()), ("noise-65536", &[7; 65536])])
        {
            fs::create_dir_all(tree.join(name).parent().unwrap()).unwrap();
            fs::write(tree.join(name), bytes).unwrap();
        }
        let lab = Self { folder, kind };
        let part = lab.path("part.img");
        let table = format!("label: dos\nsize={size_mib}MiB, type=83\n");
        let places = lab::partitioned_disk(&lab.path("disk.img"), (size_mib + 2) * MIB, 512, &table);
        kind.build(&part, places[0].length, &tree);
        lab::put(&lab.path("disk.img"), places[0].start, &part);
        remint_ends(
            0,
            &["capture", "lab", "--to", text(&lab.path("store")), "--disk", text(&lab.path("disk.img"))],
        );
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn deploy(&self, name: &str, code: i32) -> String {
        self.deploy_with(&["--computer-name", name], code)
    }

    fn deploy_with(&self, options: &[&str], code: i32) -> String {
        let target = self.path("target.img");
        lab::noisy_disk(&target, fs::metadata(self.path("disk.img")).unwrap().len());
        let (store, target) = (self.path("store"), text(&target).to_owned());
        let arguments =
            ["deploy", "lab", "--from", text(&store), "--disk", &target, "--yes", "--events", "json"];
        remint_ends(code, &[arguments.as_slice(), options].concat())
    }

    /// The deployed file system is sound, and differs from the captured one in these files alone.
    fn differs_in(&self, expected: &[&str]) {
        let (disk, target) = (self.path("disk.img"), self.path("target.img"));
        let place = lab::partitions(&target, 512)[0];
        self.kind.check(&target, place.start, place.length);
        let was = self.kind.files(&disk, place.start, place.length);
        let is = self.kind.files(&target, place.start, place.length);
        assert!(was.keys().eq(is.keys()), "{:?} {:?}", was.keys(), is.keys());
        let changed = was.iter().filter(|(name, facts)| is[*name] != **facts);
        let changed: Vec<&str> = changed.map(|(name, _)| name.as_str()).collect();
        assert_eq!(changed, expected);
    }

    fn deployed(&self, file: &str) -> Vec<u8> {
        let target = self.path("target.img");
        let place = lab::partitions(&target, 512)[0];
        let mount = Mount::new(&target, place.start, place.length, self.kind.family, true);
        fs::read(mount.path().join(file)).unwrap()
    }
}

#[test]
fn a_linux_gets_a_name() {
    let hosts = b"127.0.0.1\tlocalhost\n127.0.1.1\tgolden.lab golden\n";
    for (kind, size_mib, root) in
        [(&EXT4, 32, ""), (&XFS, 320, ""), (&BTRFS, 140, ""), (&BTRFS, 140, "@rootfs/")]
    {
        let name = |file: &str| format!("{root}etc/{file}");
        let names = [name("hostname"), name("hosts"), name("machine-id"), name("os-release")];
        let contents: [&[u8]; 4] =
            [b"golden\n", hosts, b"0123456789abcdef0123456789abcdef\n", b"ID=debian\n"];
        let files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(contents).collect();
        let lab = Lab::new(kind, size_mib, &files);
        let said = lab.deploy("pc-07", 0);
        assert!(said.contains("the system is called pc-07 in /etc/hostname"), "{said}");
        lab.differs_in(&[&names[0], &names[1], &names[2]]);
        assert_eq!(lab.deployed(&names[0]), b"pc-07\n");
        assert_eq!(lab.deployed(&names[1]), b"127.0.0.1\tlocalhost\n127.0.1.1\tpc-07.lab pc-07\n");
        assert_eq!(lab.deployed(&names[2]), b"");
    }
}

fn in_registry(hive: &Path, key: &str, value: &str) -> String {
    let output = Command::new("hivexget").args([text(hive), key, value]).output().unwrap();
    assert!(output.status.success(), "{key} {value}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_windows_gets_a_name() {
    let answers = "<?xml version=\"1.0\" encoding=\"utf-16\"?>\r\n<unattend><ComputerName>*</ComputerName></unattend>\r\n";
    let encoded: Vec<u8> = format!("\u{feff}{answers}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let lab = Lab::new(&NTFS, 40, &[(SYSTEM, &hive()), (ANSWERS, &encoded)]);
    lab.deploy("ROOM5-07", 0);
    lab.differs_in(&[ANSWERS, SYSTEM]);
    let expected = format!("\u{feff}{}", answers.replace('*', "ROOM5-07"));
    assert_eq!(
        lab.deployed(ANSWERS),
        expected.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    );
    let copy = lab.path("SYSTEM");
    fs::write(&copy, lab.deployed(SYSTEM)).unwrap();
    assert!(lab::run("hivexml", &[text(&copy)]).contains("</hive>"));
    for set in ["ControlSet001", "ControlSet002"] {
        let name = format!("\\{set}\\Control\\ComputerName\\ComputerName");
        assert_eq!(in_registry(&copy, &name, "ComputerName"), "ROOM5-07");
        let network = format!("\\{set}\\Services\\Tcpip\\Parameters");
        for value in ["Hostname", "NV Hostname"] {
            assert_eq!(in_registry(&copy, &network, value), "ROOM5-07");
        }
    }
    // Windows takes no longer one, and that is known before anything is written.
    let target = lab.path("target.img");
    let before = lab::traces(&target);
    let (store, target_name) = (lab.path("store"), text(&target).to_owned());
    let arguments =
        ["deploy", "lab", "--from", text(&store), "--disk", &target_name, "--yes", "--computer-name"];
    let said = remint_ends(1, &[arguments.as_slice(), &["A-NAME-OF-SIXTEEN"]].concat());
    assert!(said.contains("at most 15"), "{said}");
    assert_eq!(before, lab::traces(&target));
}

#[test]
fn a_windows_starts_with_the_drivers_for_another_controller() {
    let folder = lab::folder();
    let driver = |name: &str| format!("Windows/System32/Drivers/{name}.SYS");
    let (ahci, disk) = (driver("MSAHCI"), driver("disk"));
    let registry = hive_with_services(folder.path(), &["msahci", "iaStorV", "disk"], true);
    let lab = Lab::new(&NTFS, 40, &[(SYSTEM, &registry), (&ahci, b"MZ"), (&disk, b"MZ")]);
    let said = lab.deploy_with(&["--boot-drivers", "usual", "--computer-name", "ROOM5-07"], 0);
    let expected = "the system is called ROOM5-07, and Windows starts with the driver msahci in /Windows/System32/config/SYSTEM";
    assert!(said.contains(expected), "{said}");
    lab.differs_in(&[SYSTEM]);
    let copy = lab.path("SYSTEM");
    fs::write(&copy, lab.deployed(SYSTEM)).unwrap();
    is_sound(&copy);
    for set in ["ControlSet001", "ControlSet002"] {
        let service = |name: &str| format!("\\{set}\\Services\\{name}");
        assert_eq!(in_registry(&copy, &service("msahci"), "Start"), "0");
        assert_eq!(in_registry(&copy, &service("msahci\\StartOverride"), "0"), "0");
        for other in ["iaStorV", "disk"] {
            assert_eq!(in_registry(&copy, &service(other), "Start"), "3", "{other}");
        }
        let device = format!("\\{set}\\Control\\CriticalDeviceDatabase\\pci#cc_010601");
        assert_eq!(in_registry(&copy, &device, "Service"), "msahci");
        let class = in_registry(&copy, &device, "ClassGUID");
        assert_eq!(class, "{4D36E96A-E325-11CE-BFC1-08002BE10318}");
    }

    let (store, target) = (lab.path("store"), lab.path("target.img"));
    let arguments =
        ["plan", "lab", "--from", text(&store), "--disk", text(&target), "--boot-drivers", "usual,iastorv"];
    let plan = remint_ends(0, &arguments);
    let words = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("are told: the drivers that Windows starts with (usual, iaStorV)."), "{plan}");

    // A driver whose file is not there would keep Windows from starting.
    let said = lab.deploy_with(&["--boot-drivers", "iaStorV"], 3);
    assert!(said.contains("it has no /Windows/System32/drivers/iaStorV.sys"), "{said}");
    lab.differs_in(&[]);
    let data = Lab::new(&NTFS, 40, &[("deep/SYSTEM", b"x")]);
    let said = data.deploy_with(&["--boot-drivers", "usual"], 3);
    assert!(said.contains("no volume holds a Windows whose drivers"), "{said}");
    data.differs_in(&[]);
}

#[test]
fn a_database_with_many_devices_takes_more_of_them_as_other_readers_see() {
    let folder = lab::folder();
    let driver = "Windows/System32/drivers/msahci.sys";
    let mut hive = Hive::read(hive_with_services(folder.path(), &["msahci"], true)).unwrap();
    let names: Vec<String> = (0..700).map(|number| format!("pci#ven_1234&dev_{number:04}")).collect();
    for set in ["ControlSet001", "ControlSet002"] {
        let path = [set, "Control", "CriticalDeviceDatabase"];
        let database = hive.find(hive.root(), &path).unwrap().unwrap();
        for name in &names {
            hive.make_key(database, name).unwrap();
        }
    }
    let lab = Lab::new(&NTFS, 40, &[(SYSTEM, &hive.into_bytes()), (driver, b"MZ")]);
    lab.deploy_with(&["--boot-drivers", "usual"], 0);
    let copy = lab.path("SYSTEM");
    fs::write(&copy, lab.deployed(SYSTEM)).unwrap();
    is_sound(&copy);
    for set in ["ControlSet001", "ControlSet002"] {
        let database = format!(r"\{set}\Control\CriticalDeviceDatabase");
        let listed = hivexsh(&copy, &format!("cd {database}\nls\n"));
        assert!(names.iter().all(|name| listed.lines().any(|line| line.trim() == name)), "{listed}");
        assert_eq!(in_registry(&copy, &format!(r"{database}\pci#cc_010601"), "Service"), "msahci");
    }
}

#[test]
fn a_disk_without_a_system_has_nothing_to_name_and_says_so() {
    let lab = Lab::new(&EXT4, 32, &[("etc/fstab", b"x")]);
    let said = lab.deploy("pc-07", 3);
    assert!(said.contains("no volume holds a system that could be called pc-07"), "{said}");
    lab.differs_in(&[]);
}

#[test]
fn the_answer_files_of_a_windows_are_filled_in() {
    let answers = "<?xml version=\"1.0\"?>\r\n<u><w:TimeZone>old</w:TimeZone><Pass/><ComputerName>*</ComputerName></u>\r\n";
    let lab = Lab::new(&NTFS, 40, &[(SYSTEM, &hive()), (ANSWERS, answers.as_bytes())]);
    let zone = ["--answer", "TimeZone=no", "--answer", "TimeZone=Z\u{fc}rich & <Genf>"];
    let said = lab.deploy_with(&[zone.as_slice(), &["--answer", "Pass=s3cret"]].concat(), 0);
    assert!(
        said.contains("what was answered is set (TimeZone, Pass) in /Windows/Panther/unattend.xml"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
    lab.differs_in(&[ANSWERS]);
    let filled =
        answers.replace("old", "Z&#xFC;rich &amp; &lt;Genf&gt;").replace("<Pass/>", "<Pass>s3cret</Pass>");
    assert_eq!(String::from_utf8(lab.deployed(ANSWERS)).unwrap(), filled);
    // The name comes last, and what is nowhere is said.
    let options = ["--computer-name", "PC-7", "--answer", "ComputerName=NO", "--answer", "Owner=x"];
    let said = lab.deploy_with(&options, 3);
    assert!(said.contains("no answer file of a deployed Windows has an element Owner"), "{said}");
    lab.differs_in(&[ANSWERS, SYSTEM]);
    assert_eq!(String::from_utf8(lab.deployed(ANSWERS)).unwrap(), answers.replace('*', "PC-7"));
}

#[test]
fn page_files_are_emptied_on_the_target_alone() {
    let page = vec![7u8; 3 << 20];
    let files: [(&str, &[u8]); 4] = [
        ("PageFile.sys", &page),
        ("hiberfil.sys", &[0; 70_000]),
        ("data/pagefile.sys", b"somebody's"),
        ("swapfile.sys", b""),
    ];
    let lab = Lab::new(&NTFS, 40, &files);
    let source = lab::hash_of(&lab.path("disk.img"));
    let said = lab.deploy_with(&["--empty-page-files"], 0);
    assert!(said.contains("/PageFile.sys was emptied (3.00 MiB)"), "{said}");
    assert!(!said.contains("swapfile"), "{said}");
    lab.differs_in(&["PageFile.sys", "hiberfil.sys"]);
    assert!(lab.deployed("PageFile.sys").is_empty() && lab.deployed("hiberfil.sys").is_empty());
    assert_eq!(lab::hash_of(&lab.path("disk.img")), source);
    // Beside a name, a volume with page files is no system.
    let said = lab.deploy_with(&["--empty-page-files", "--computer-name", "PC-07"], 3);
    assert!(said.contains("no volume holds a system that could be called PC-07"), "{said}");
    lab.differs_in(&["PageFile.sys", "hiberfil.sys"]);
}

#[test]
fn a_disk_without_a_windows_has_no_answer_files_and_says_so() {
    let lab = Lab::new(&EXT4, 32, &[("etc/hostname", b"golden\n")]);
    let said = lab.deploy_with(&["--answer", "TimeZone=UTC"], 3);
    assert!(said.contains("no answer file of a deployed Windows has an element TimeZone"), "{said}");
    lab.differs_in(&[]);
}

#[test]
fn an_answer_that_is_none_is_refused_without_its_value() {
    let arguments = ["plan", "lab", "--from", "/nowhere", "--disk", "/nowhere", "--answer"];
    for wrong in ["1Password=s3cret", "s3cret"] {
        let said = remint_ends(1, &[arguments.as_slice(), &[wrong]].concat());
        assert!(said.contains("answer file") && !said.contains("s3cret"), "{said}");
    }
}
