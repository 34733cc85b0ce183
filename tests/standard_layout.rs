//! A system gets the partitions and the boot files of another firmware; where it is no system that can be started, it is refused.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::windows::{Name, element, is_sound, names, simple, value};
use lab::{Kind, MIB, Place, remint_ends, text};
use std::fs;
use std::path::{Path, PathBuf};

const EXT4: Kind = Kind {
    name: "ext4",
    family: "ext4",
    make: &["mkfs.ext4", "-q", "-F", "-b", "4096", "-U", "7e2f3c52-6a11-4f0e-9a55-0c1d5a7e0b01"],
};
const NTFS: Kind = Kind { name: "NTFS", family: "ntfs", make: &["mkntfs", "-Q", "-F", "-q"] };
const ROOT: &str = "UUID=7e2f3c52-6a11-4f0e-9a55-0c1d5a7e0b01";
const FSTAB: &str =
    "/dev/sda1 / ext4 errors=remount-ro 0 1\n/dev/sda2 none swap sw 0 0\nUUID=0-0 /srv xfs nofail 0 0\n";
const MENU: &str = "menuentry 'x' {\n  linux /boot/vmlinuz root=/dev/sda1 ro quiet\n}\n";

/// An image of a disk with one system and a partition that is left behind.
struct Lab {
    folder: tempfile::TempDir,
    store: String,
}

impl Lab {
    fn new(kind: &Kind, table: &str, files: &[(&str, Vec<u8>)]) -> Self {
        let folder = lab::folder();
        let tree = folder.path().join("files");
        for (name, bytes) in files {
            let path = tree.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::create_dir_all(tree.join("deep")).unwrap();
        fs::write(tree.join("noise-65536"), lab::Noise::new(1).bytes(65536)).unwrap();
        let (disk, part) = (folder.path().join("disk.img"), folder.path().join("part.img"));
        let places = lab::partitioned_disk(&disk, 100 * MIB, 512, table);
        kind.build(&part, places[0].length, &tree);
        lab::put(&disk, places[0].start, &part);
        let store = text(&folder.path().join("store")).to_owned();
        remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
        Self { folder, store }
    }

    fn linux(files: &[(&str, Vec<u8>)]) -> Self {
        let known = [
            ("etc/fstab", FSTAB.as_bytes().to_vec()),
            ("etc/os-release", b"NAME=x\nID=debian\n".to_vec()),
            ("boot/grub/grub.cfg", MENU.as_bytes().to_vec()),
            ("boot/vmlinuz", lab::Noise::new(2).bytes(3_000_000)),
        ];
        let table = "label: dos\nsize=64MiB, type=83, bootable\nsize=8MiB, type=82\n";
        Self::new(&EXT4, table, &[known.as_slice(), files].concat())
    }

    fn windows() -> Self {
        let file = |name, seed| (name, lab::Noise::new(seed).bytes(40_000));
        let files = [
            file("Windows/Boot/EFI/bootmgfw.efi", 1),
            file("Windows/Boot/EFI/de-DE/bootmgfw.efi.mui", 2),
            file("Windows/Boot/PCAT/bootmgr", 3),
            file("Windows/Boot/PCAT/bootnxt", 4),
            file("Windows/Boot/Fonts/segoe_slboot.ttf", 5),
            file("Windows/System32/winload.efi", 6),
            file("Windows/System32/winload.exe", 7),
        ];
        Self::new(&NTFS, "label: dos\nsize=64MiB, type=07, bootable\nsize=8MiB, type=07\n", &files)
    }

    fn deploy(&self, code: i32, firmware: &str, size_bytes: u64) -> (PathBuf, String) {
        let target = self.folder.path().join("target.img");
        lab::noisy_disk(&target, size_bytes);
        let arguments = ["deploy", "lab", "--from", &self.store, "--disk", text(&target), "--yes"];
        let standard = ["--layout", "standard", "--volume", "d0-p1", "--firmware", firmware];
        let said = remint_ends(code, &[arguments.as_slice(), &standard].concat());
        (target, said)
    }
}

/// A file of a FAT, by mtools.
fn fat_file(disk: &Path, esp: Place, name: &str) -> Vec<u8> {
    let folder = lab::folder();
    let to = folder.path().join("file");
    lab::run("mcopy", &["-i", &format!("{}@@{}", text(disk), esp.start), &format!("::/{name}"), text(&to)]);
    fs::read(to).unwrap()
}

fn check_fat(disk: &Path, esp: Place) {
    let part = lab::folder();
    let file = part.path().join("esp");
    fs::write(&file, lab::bytes(disk, esp.start, esp.length)).unwrap();
    lab::run("fsck.fat", &["-n", text(&file)]);
}

#[test]
fn a_linux_from_a_bios_gets_an_efi_system_partition_with_its_own_loaders() {
    let (shim, grub) = (lab::Noise::new(7).bytes(900_001), lab::Noise::new(8).bytes(2_000_003));
    let lab = Lab::linux(&[
        ("usr/lib/shim/shimx64.efi.signed", shim.clone()),
        ("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", grub.clone()),
        ("etc/initramfs-tools/conf.d/resume", b"RESUME=/dev/sda2\n".to_vec()),
        ("etc/default/grub", b"GRUB_CMDLINE_LINUX=\"quiet resume=/dev/sda2\"\n".to_vec()),
    ]);
    let (target, said) = lab.deploy(0, "uefi", 700 * MIB);
    let places = lab::partitions(&target, 512);
    assert_eq!(places.len(), 2, "{said}");
    let (esp, root) = (places[0], places[1]);
    check_fat(&target, esp);
    for (name, bytes) in
        [("BOOT/BOOTX64.EFI", &shim), ("BOOT/grubx64.efi", &grub), ("debian/shimx64.efi", &shim)]
    {
        assert!(fat_file(&target, esp, &format!("EFI/{name}")) == *bytes, "{name}");
    }
    let menu = String::from_utf8(fat_file(&target, esp, "EFI/debian/grub.cfg")).unwrap();
    assert!(menu.starts_with("search.fs_uuid 7e2f3c52-6a11-4f0e-9a55-0c1d5a7e0b01 root\n"), "{menu}");
    EXT4.check(&target, root.start, root.length);
    let mount = lab::Mount::new(&target, root.start, root.length, "ext4", true);
    let fstab = fs::read_to_string(mount.path().join("etc/fstab")).unwrap();
    let lines: Vec<&str> = fstab.lines().collect();
    assert_eq!(lines[0], format!("{ROOT} / ext4 errors=remount-ro 0 1"));
    assert!(lines[1].starts_with('#') && lines[1].ends_with("/dev/sda2 none swap sw 0 0"), "{fstab}");
    assert_eq!(lines[2], "UUID=0-0 /srv xfs nofail 0 0");
    assert!(lines[3].ends_with(" /boot/efi vfat umask=0077 0 1"), "{fstab}");
    assert!(mount.path().join("boot/efi").is_dir());
    let menu = fs::read_to_string(mount.path().join("boot/grub/grub.cfg")).unwrap();
    assert_eq!(menu, MENU.replace("/dev/sda1", ROOT).replace("quiet\n", "quiet noresume\n"));
    let read = |name: &str| fs::read_to_string(mount.path().join(name)).unwrap();
    assert_eq!(read("etc/initramfs-tools/conf.d/resume"), "RESUME=none\n");
    assert_eq!(read("etc/default/grub"), "GRUB_CMDLINE_LINUX=\"quiet noresume\"\n");
    assert!(fs::read(mount.path().join("boot/vmlinuz")).unwrap() == lab::Noise::new(2).bytes(3_000_000));
}

#[test]
fn a_linux_gets_grub_for_a_bios_in_front_of_its_partition() {
    lab::run("scripts/boot-loaders", &[]);
    let loaders = PathBuf::from(std::env::var("CARGO_TARGET_DIR").unwrap_or("target".into()))
        .join("boot/loaders/i386-pc");
    let mut files = Vec::new();
    for entry in fs::read_dir(loaders).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("usr/lib/grub/i386-pc/{}", path.file_name().unwrap().to_str().unwrap());
        files.push((name, fs::read(path).unwrap()));
    }
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let (target, said) = Lab::linux(&files).deploy_and_keep("bios", 120 * MIB);
    let places = lab::partitions(&target.path, 512);
    assert_eq!(places.len(), 1, "{said}");
    EXT4.check(&target.path, places[0].start, places[0].length);
    let sectors = lab::bytes(&target.path, 0, MIB);
    assert_eq!(sectors[0x5C..0x64], 1u64.to_le_bytes());
    assert_eq!(sectors[510..512], [0x55, 0xAA]);
    assert_eq!(sectors[512 + 500..512 + 508], 2u64.to_le_bytes());
    let mount = lab::Mount::new(&target.path, places[0].start, places[0].length, "ext4", true);
    let folder = mount.path().join("boot/grub/i386-pc");
    assert!(folder.join("normal.mod").is_file());
    let core = fs::read(folder.join("core.img")).unwrap();
    assert!(sectors[512..512 + core.len()] == core[..]);
    let fstab = fs::read_to_string(mount.path().join("etc/fstab")).unwrap();
    assert!(!fstab.contains("/boot/efi"), "{fstab}");
}

/// A target that lives as long as its lab.
struct Kept {
    path: PathBuf,
    _lab: Lab,
}

impl Lab {
    fn deploy_and_keep(self, firmware: &str, size_bytes: u64) -> (Kept, String) {
        let (path, said) = self.deploy(0, firmware, size_bytes);
        (Kept { path, _lab: self }, said)
    }
}

#[test]
fn a_system_that_cannot_be_started_is_refused_and_the_target_keeps_every_byte() {
    for (name, content, says) in [
        ("boot/grub/grub.cfg", "blscfg\n", "blscfg"),
        (
            "etc/fstab",
            "/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 /usr ext4 defaults 0 2\n",
            "/usr is on a partition of its own",
        ),
    ] {
        let lab = Lab::linux(&[(name, content.as_bytes().to_vec())]);
        for (firmware, size) in [("uefi", 700 * MIB), ("bios", 120 * MIB)] {
            let (target, said) = lab.deploy(1, firmware, size);
            assert!(said.contains(says), "{said}");
            let before = lab.folder.path().join("before.img");
            lab::noisy_disk(&before, size);
            assert!(fs::read(&before).unwrap() == fs::read(&target).unwrap(), "{said}");
        }
    }
}

const BOOT_MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";

/// The text of an element, by libhivex; of a list the first.
fn word(bcd: &Path, object: &str, kind: &str) -> String {
    let key = format!("\\Objects\\{object}\\Elements\\{kind}");
    let said = String::from_utf8(value(bcd, &key, "Element")).unwrap();
    said.lines().next().unwrap_or_default().to_owned()
}

/// Other people's readers find a store in which the boot manager starts Windows from its partition.
fn starts_windows(bcd: &Path, system: &Name, windows: &Name, program: &str) {
    is_sound(bcd);
    assert_eq!(element(bcd, BOOT_MANAGER, "11000001"), simple(system));
    let loader = word(bcd, BOOT_MANAGER, "23000003");
    assert_eq!(word(bcd, BOOT_MANAGER, "24000001"), loader);
    assert_eq!(element(bcd, &loader, "11000001"), simple(windows));
    assert_eq!(element(bcd, &loader, "21000001"), simple(windows));
    assert_eq!(word(bcd, &loader, "12000002"), format!("\\Windows\\system32\\winload.{program}"));
    assert_eq!(word(bcd, &loader, "22000002"), "\\Windows");
    let locale = if program == "efi" { "de-DE" } else { "en-US" };
    assert_eq!(word(bcd, &loader, "12000005"), locale, "the language that the boot manager speaks");
    let resume = word(bcd, &loader, "23000003");
    assert_ne!(resume, loader);
    assert_eq!(element(bcd, &resume, "21000001"), simple(windows));
    assert_eq!(element(bcd, "{b2721d73-1db4-4c62-bf78-c548a880142d}", "11000001"), simple(system));
    // Whatever is inherited is there.
    let xml = lab::run("hivexml", &[text(bcd)]);
    let inherited = ["{7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e}", "{6efb52bf-1766-41db-a6b3-0ee5eff72bd7}"];
    for object in inherited {
        assert!(xml.contains(&format!("<node name=\"{object}\"")), "{object}");
    }
    // 0x10200003, a loader of Windows.
    assert_eq!(value(bcd, &format!("\\Objects\\{loader}\\Description"), "Type"), b"270532611\n");
}

#[test]
fn a_volume_without_windows_is_refused_and_the_target_keeps_every_byte() {
    let lab = Lab::new(&NTFS, "label: dos\nsize=64MiB, type=07, bootable\nsize=8MiB, type=07\n", &[]);
    let (target, said) = lab.deploy(1, "uefi", 800 * MIB);
    assert!(said.contains("holds no bootmgfw.efi"), "{said}");
    let before = lab.folder.path().join("before.img");
    lab::noisy_disk(&before, 800 * MIB);
    assert!(fs::read(&before).unwrap() == fs::read(&target).unwrap(), "{said}");
}

#[test]
fn windows_gets_its_own_boot_files_and_a_boot_configuration() {
    let lab = Lab::windows();
    let (target, said) = lab.deploy(0, "uefi", 800 * MIB);
    let places = lab::partitions(&target, 512);
    assert_eq!(places.len(), 4, "{said}");
    check_fat(&target, places[1]);
    let called = names(&target);
    let bcd = lab.folder.path().join("BCD");
    fs::write(&bcd, fat_file(&target, places[1], "EFI/Microsoft/Boot/BCD")).unwrap();
    starts_windows(&bcd, &called[1], &called[3], "efi");
    assert_eq!(word(&bcd, BOOT_MANAGER, "12000002"), "\\EFI\\Microsoft\\Boot\\bootmgfw.efi");
    let manager = lab::Noise::new(1).bytes(40_000);
    for name in ["EFI/BOOT/BOOTX64.EFI", "EFI/Microsoft/Boot/bootmgfw.efi"] {
        assert!(fat_file(&target, places[1], name) == manager, "{name}");
    }
    assert_eq!(fat_file(&target, places[1], "EFI/Microsoft/Boot/de-DE/bootmgfw.efi.mui").len(), 40_000);
    NTFS.check(&target, places[0].start, places[0].length);

    let (target, said) = lab.deploy(0, "bios", 700 * MIB);
    let places = lab::partitions(&target, 512);
    assert_eq!(places.len(), 2, "{said}");
    let called = names(&target);
    {
        let mount = lab::Mount::new(&target, places[0].start, places[0].length, "ntfs", true);
        fs::copy(mount.path().join("Boot/BCD"), &bcd).unwrap();
    }
    starts_windows(&bcd, &called[0], &called[1], "exe");
    NTFS.check(&target, places[0].start, places[0].length);
    let files = NTFS.files(&target, places[0].start, places[0].length);
    for name in ["bootmgr", "BOOTNXT", "Boot/Fonts/segoe_slboot.ttf"] {
        assert!(files.keys().any(|found| found.ends_with(name)), "{name}: {:?}", files.keys());
    }
    let (system, windows) =
        (lab::bytes(&target, places[0].start, 8192), lab::bytes(&target, places[1].start, 8192));
    assert_eq!(system[0x54..], windows[0x54..]);
    assert_eq!(u32::from_le_bytes(system[0x1C..0x20].try_into().unwrap()), 2048, "hidden sectors");
}
