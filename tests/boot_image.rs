//! Promises about what a machine boots into, judged on what `make boot-image` built: the agent needs nothing but a
//! kernel; the initramfs holds what its lists say and all that these need; its bytes follow from its input alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{OnceLock, mpsc};

const LOADER: &str = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What was built, or the way to have it.
fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("boot").join(name);
    assert!(path.exists(), "{} is not there: run `make initramfs`", path.display());
    path
}

fn budget(name: &str) -> u64 {
    let text = fs::read_to_string(repository().join("initramfs/budget")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The image, unpacked once for all tests of this file.
fn unpacked() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot-image");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir(&root).unwrap();
        let unpack = "zstd --quiet --decompress --stdout \"$0\" | cpio --quiet --extract --make-directories";
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", unpack]).arg(built("initramfs.img"));
        run(command.current_dir(&root));
        root
    })
}

/// Every file and link inside, relative to the root.
fn inside() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![unpacked().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(unpacked()).unwrap().to_owned());
            }
        }
    }
    found
}

/// Where a path leads when the image is the root, following links. None: nowhere.
fn resolve(path: &Path) -> Option<PathBuf> {
    let mut todo: Vec<String> = path.iter().rev().map(|part| part.to_str().unwrap().to_owned()).collect();
    let (mut at, mut links) = (PathBuf::new(), 0);
    while let Some(part) = todo.pop() {
        match part.as_str() {
            "/" => at = PathBuf::new(),
            "." => {}
            ".." => drop(at.pop()),
            name => {
                let next = at.join(name);
                let kind = fs::symlink_metadata(unpacked().join(&next)).ok()?.file_type();
                if kind.is_symlink() {
                    links += 1;
                    assert!(links < 20, "{} goes round in circles", path.display());
                    let target = fs::read_link(unpacked().join(&next)).unwrap();
                    todo.extend(target.iter().rev().map(|part| part.to_str().unwrap().to_owned()));
                } else {
                    at = next;
                }
            }
        }
    }
    Some(at)
}

fn word(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// The types of the segments that the program header lists.
fn segments(elf: &[u8]) -> Vec<usize> {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "64 bits, least significant byte first");
    let (table, size, count) = (word(elf, 0x20, 8), word(elf, 0x36, 2), word(elf, 0x38, 2));
    (0..count).map(|number| word(elf, table + number * size, 4)).collect()
}

#[test]
fn the_agent_is_one_static_program_within_its_budget() {
    let path = built("remint");
    let elf = fs::read(&path).unwrap();
    assert_eq!(word(&elf, 0x12, 2), 62, "for x86-64");
    let segments = segments(&elf);
    assert!(segments.contains(&1), "something is loaded");
    assert!(!segments.contains(&3), "it has an interpreter");
    assert!(!segments.contains(&2), "it has a dynamic section");
    let size = fs::metadata(&path).unwrap().len();
    assert!(size <= budget("agent"), "{size} bytes, the budget is {}", budget("agent"));
    assert!(size > 1_000_000, "{size} bytes are no program");
    let sections = run(Command::new("readelf").args(["--section-headers", "--wide"]).arg(&path));
    assert!(sections.contains(".eh_frame") && sections.contains(".gcc_except_table"), "panics unwind");
    assert!(!sections.contains(".debug_info"), "it carries debug information");
    assert!(run(Command::new(&path).arg("--version")).starts_with("remint "));
}

#[test]
fn the_agent_hashes_with_the_processors_instructions() {
    let mut objdump = Command::new("objdump");
    let code = run(objdump.args(["--disassemble", "--no-show-raw-insn"]).arg(built("remint")));
    assert!(code.contains("sha256rnds2"), "SHA-256 would be computed in software");
    assert!(code.contains("cpuid"), "and is chosen where the processor has it");
}

#[test]
fn the_agent_finds_names() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let (came, coming) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        came.send(()).unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let mut command = Command::new(built("remint"));
    let output = command.args(["images", &format!("http://localhost:{port}/store")]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "there is no store: {output:?}");
    assert!(coming.try_recv().is_ok(), "the name leads to the server: {output:?}");
}

#[test]
fn the_image_is_within_its_budget_and_is_what_its_list_says() {
    let size = fs::metadata(built("initramfs.img")).unwrap().len();
    assert!(size <= budget("initramfs"), "{size} bytes, the budget is {}", budget("initramfs"));
    let list = fs::read_to_string(built("initramfs.list")).unwrap();
    let mut listed = BTreeMap::new();
    for line in list.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert!(fields.len() == 3 && !fields[2].is_empty(), "{line}");
        listed.insert(
            PathBuf::from(fields[0].split(" -> ").next().unwrap()),
            fields[1].parse::<u64>().unwrap(),
        );
    }
    let found: BTreeSet<PathBuf> = inside().into_iter().collect();
    assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), found);
    let mut sum = 0;
    for (path, size) in &listed {
        let metadata = fs::symlink_metadata(unpacked().join(path)).unwrap();
        let kind = metadata.file_type();
        assert!(kind.is_file() || kind.is_symlink(), "{}: needs root to unpack", path.display());
        assert!(!kind.is_block_device() && metadata.permissions().mode() & 0o6000 == 0, "{}", path.display());
        if kind.is_file() {
            assert_eq!(metadata.len(), *size, "{}", path.display());
            sum += size;
        }
    }
    assert!(sum <= budget("unpacked"), "{sum} bytes unpacked, the budget is {}", budget("unpacked"));
}

#[test]
fn the_agent_is_init_and_every_tool_is_there() {
    assert_eq!(resolve(Path::new("init")), Some(PathBuf::from("usr/bin/remint")));
    let programs = "e2fsck mke2fs mkfs.ext4 resize2fs tune2fs dumpe2fs debugfs ntfs-3g ntfsresize ntfsfix mkntfs \
        xfs_repair mkfs.xfs xfs_growfs xfs_db btrfs mkfs.btrfs fsck.fat mkfs.fat mkfs.vfat fsck.f2fs mkfs.f2fs \
        resize.f2fs mkfs.exfat lvm lvs vgchange pvcreate dmsetup mdadm sgdisk gdisk fdisk sfdisk parted efibootmgr \
        kexec modprobe insmod lsmod busybox sh vi less ip udhcpc dhcpcd ping nslookup wget tar dd mount umount \
        losetup blkid lsblk wipefs blockdev mount.nfs mount.nfs4 mount.cifs mount.ntfs loadkeys dmesg mkswap \
        ethtool lspci nvme hdparm reboot poweroff remint";
    for program in programs.split_whitespace() {
        let found =
            ["usr/bin", "usr/sbin"].iter().find_map(|folder| resolve(&Path::new(folder).join(program)));
        let found = found.unwrap_or_else(|| panic!("{program} is not inside"));
        let mode = fs::metadata(unpacked().join(&found)).unwrap().permissions().mode();
        assert!(mode & 0o111 == 0o111, "{program} cannot be started");
    }
    let certificates = fs::read_to_string(unpacked().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(certificates.matches("BEGIN CERTIFICATE").count() > 50);
    for keymap in ["qwertz/de-latin1", "azerty/fr-latin1", "qwerty/uk", "qwerty/us"] {
        let path = format!("usr/share/keymaps/i386/{keymap}.kmap.gz");
        assert!(unpacked().join(&path).exists(), "{path}");
    }
}

#[test]
fn nothing_inside_needs_something_outside() {
    let root = unpacked();
    let library_path = root.join("usr/lib/x86_64-linux-gnu");
    let (mut programs, mut scripts) = (0, 0);
    for path in inside() {
        let full = root.join(&path);
        if fs::symlink_metadata(&full).unwrap().is_symlink() {
            let target = fs::read_link(&full).unwrap();
            let machine = target.to_str().unwrap().contains("proc/self");
            assert!(machine || resolve(&path).is_some(), "{} leads nowhere", path.display());
            continue;
        }
        // What the kernel or a boot loader links to itself.
        if ["usr/lib/modules", "usr/lib/grub"].iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let bytes = fs::read(&full).unwrap();
        if bytes.starts_with(b"#!") {
            let line =
                String::from_utf8_lossy(bytes.split(|byte| *byte == b'\n').next().unwrap()).into_owned();
            let interpreter = line.trim_start_matches("#!").split_whitespace().next().unwrap();
            assert!(resolve(Path::new(interpreter)).is_some(), "{} needs {interpreter}", path.display());
            scripts += 1;
        }
        if !bytes.starts_with(b"\x7fELF") || !segments(&bytes).contains(&2) {
            continue;
        }
        // The image's own loader says where it takes each library from.
        let mut loader = Command::new(root.join(LOADER));
        loader.args(["--inhibit-cache", "--library-path"]).arg(&library_path).arg("--list").arg(&full);
        for line in run(&mut loader).lines() {
            let from = line.split(" => ").last().unwrap().split_whitespace().next().unwrap();
            let allowed =
                from.starts_with("linux-vdso") || from == "statically" || Path::new(from).starts_with(root);
            assert!(allowed, "{} takes {line}", path.display());
        }
        programs += 1;
    }
    assert!(
        programs > 100 && scripts > 3,
        "only {programs} programs and libraries and {scripts} scripts were found"
    );
}

fn module_name(path: &str) -> String {
    path.rsplit('/').next().unwrap().split(".ko").next().unwrap().replace('-', "_")
}

#[test]
fn drivers_of_every_class_are_there_with_what_they_depend_on() {
    let versions: Vec<PathBuf> = fs::read_dir(unpacked().join("usr/lib/modules"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(versions.len(), 1, "one kernel");
    let version = versions[0].file_name().unwrap().to_str().unwrap();
    let whole = built("modules").join("lib/modules").join(version);
    let here = |name: &str| versions[0].join(name);
    for index in
        ["modules.dep", "modules.dep.bin", "modules.alias.bin", "modules.softdep", "modules.builtin.bin"]
    {
        assert!(here(index).exists(), "{index}");
    }
    // What the tree it was taken from says, not what was found out about the part that is inside.
    let mut names = BTreeSet::new();
    for line in fs::read_to_string(whole.join("modules.dep")).unwrap().lines() {
        let (module, needs) = line.split_once(':').unwrap();
        if here(module).exists() {
            names.insert(module_name(module));
            for need in needs.split_whitespace() {
                assert!(here(need).exists(), "{module} needs {need}");
            }
            let original = fs::read(whole.join(module)).unwrap();
            assert!(fs::read(here(module)).unwrap() == original, "{module} is as it was signed");
        }
    }
    let mut builtin = BTreeSet::new();
    for line in fs::read_to_string(here("modules.builtin")).unwrap().lines() {
        builtin.insert(module_name(line));
    }
    let modules = "ahci ata_piix nvme vmd virtio_blk virtio_scsi virtio_pci sd_mod sr_mod megaraid_sas mpt3sas hpsa \
        aacraid smartpqi usb_storage uas xhci_pci ehci_pci sdhci_pci mmc_block hv_storvsc vmw_pvscsi \
        e1000 e1000e igb igc ixgbe i40e ice r8169 tg3 bnx2 bnx2x bnxt_en mlx5_core atlantic alx sky2 forcedeth \
        virtio_net vmxnet3 hv_netvsc r8152 ax88179_178a asix cdc_ether cdc_ncm smsc95xx realtek 8021q bonding \
        ext4 xfs btrfs vfat exfat ntfs3 fuse nfs nfsv3 nfsv4 cifs nls_utf8 nls_iso8859_1 isofs f2fs overlay efivarfs \
        dm_mod dm_snapshot dm_thin_pool dm_crypt raid1 raid456 md_mod loop crc32c_generic \
        usbhid hid_generic hid_logitech_dj hyperv_keyboard i2c_hid_acpi bochs virtio_gpu qxl ast mgag200 vmwgfx";
    for module in modules.split_whitespace() {
        assert!(names.contains(module) || builtin.contains(module), "the driver {module} is not inside");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot-image-again");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let again = folder.join("initramfs.img");
    let mut command = Command::new("bash");
    // Another time zone, language and mask for new files.
    command.args(["-c", "umask 077; exec scripts/initramfs"]).current_dir(repository());
    command.env("OUT", &again).env("TZ", "Asia/Tokyo").env("LC_ALL", "C.UTF-8");
    command.env("CARGO_TARGET_DIR", built("").parent().unwrap());
    run(&mut command);
    let digest = |path: &Path| Sha256::digest(fs::read(path).unwrap());
    assert_eq!(
        digest(&again),
        digest(&built("initramfs.img")),
        "packed again it is different; where it was packed with other settings, run `make initramfs` first"
    );
    assert_eq!(fs::read(folder.join("initramfs.list")).unwrap(), fs::read(built("initramfs.list")).unwrap());
    fs::remove_dir_all(&folder).unwrap();
}
