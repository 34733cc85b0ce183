//! The disks of a machine: files, and the devices that the emulator makes of them.

use super::scenario::{Bus, Content, Disk, Firmware};
use crate::lab;
use nix::unistd::{Whence, lseek};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where the file of a disk is.
pub fn file(disk: &Disk, number: usize, folder: &Path) -> PathBuf {
    disk.name.as_ref().map_or_else(|| folder.join(format!("disk{number}")), |name| named(name, folder))
}

/// Where the file of the disk of this name is.
pub fn named(name: &str, folder: &Path) -> PathBuf {
    folder.join(format!("disk-{name}"))
}

/// Makes the file of a disk. Where it is one partition in a GPT, that is labelled `LAB` and the disk's number.
pub fn make(disk: &Disk, number: usize, firmware: Firmware, file: &Path) {
    let sector = u64::from(disk.sector);
    match disk.content {
        Content::Blank => return File::create(file).unwrap().set_len(disk.size_mib * lab::MIB).unwrap(),
        Content::Noise => return make_noise(file, disk.size_mib * lab::MIB + 7 * sector),
        Content::Crashed => return super::crashed::make(file, disk.size_mib * lab::MIB),
        _ => {}
    }
    if let Some(kind) = disk.content.debian(firmware) {
        lab::run("cp", &["--sparse=always", lab::text(&debian(kind)), lab::text(file)]);
        return;
    }
    let part = file.with_extension("part");
    let aged = disk.content.aged().map(|name| aged(name, &part));
    let size = aged.map(|bytes| format!(", size={}KiB", bytes / 1024)).unwrap_or_default();
    let script = format!("label: gpt\nfirst-lba: 256\nstart=1MiB{size}\n");
    let place = lab::partitioned_disk(file, disk.size_mib * lab::MIB, sector, &script)[0];
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&part)
        .unwrap()
        .set_len(place.length)
        .unwrap();
    let sector = disk.sector.to_string();
    let xfs_sector = format!("size={sector}");
    let (path, label) = (lab::text(&part), format!("LAB{number}"));
    match disk.content {
        Content::Ext4 => lab::run("mkfs.ext4", &["-q", "-b", "4096", "-L", &label, path]),
        Content::Xfs => lab::run("mkfs.xfs", &["-q", "--unsupported", "-s", &xfs_sector, "-L", &label, path]),
        Content::Ntfs => lab::run("mkntfs", &["-q", "-Q", "-F", "-s", &sector, "-L", &label, path]),
        Content::Fat => lab::run("mkfs.fat", &["-S", &sector, "-n", &label, path]),
        Content::Swap => lab::run("mkswap", &["-L", &label, path]),
        Content::Raw => {
            let bytes = lab::Noise::new(43).bytes(usize::try_from(place.length).unwrap());
            std::fs::write(&part, bytes).unwrap();
            String::new()
        }
        _ => String::new(),
    };
    lab::put(file, place.start, &part);
    std::fs::remove_file(&part).unwrap();
}

/// Unpacks one of `tests/aged`; returns its size.
fn aged(name: &str, to: &Path) -> u64 {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/aged/{name}.zst"));
    lab::run("zstd", &["-q", "-d", "-f", "--long=27", lab::text(&packed), "-o", lab::text(to)]);
    std::fs::metadata(to).unwrap().len()
}

/// Every byte of a disk, holes of its file passed over. A block of zeros is no other than a hole: a file system may make
/// one of the other at any time.
pub fn fingerprint(file: &Path) -> String {
    const BLOCK: usize = 4096;
    let disk = File::open(file).unwrap();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * BLOCK];
    let mut end = 0;
    while let Ok(start) = lseek(&disk, end, Whence::SeekData) {
        end = lseek(&disk, start, Whence::SeekHole).unwrap();
        let mut at = u64::try_from(start).unwrap();
        let stop = u64::try_from(end).unwrap();
        while at < stop {
            let length = usize::try_from(stop - at).unwrap().min(buffer.len());
            let read = &mut buffer[..length];
            disk.read_exact_at(read, at).unwrap();
            for block in read.chunks(BLOCK) {
                if block.iter().any(|byte| *byte != 0) {
                    hash.update(at.to_le_bytes());
                    hash.update(block);
                }
                at += u64::try_from(block.len()).unwrap();
            }
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the first partition of a disk begins with that of another one, to its last byte.
pub fn holds(file: &Path, other: &Path) -> Result<(), String> {
    let (own, wanted) = (lab::partitions(file, 512), lab::partitions(other, 512));
    match (own.first(), wanted.first()) {
        (Some(own), Some(wanted)) if own.length < wanted.length => {
            Err(format!("its partition has {} bytes, and {} were wanted", own.length, wanted.length))
        }
        (Some(own), Some(wanted))
            if lab::bytes(file, own.start, wanted.length)
                != lab::bytes(other, wanted.start, wanted.length) =>
        {
            Err("its partition does not hold what was captured".to_owned())
        }
        (Some(_), Some(_)) => Ok(()),
        _ => Err("a partition is missing".to_owned()),
    }
}

/// Whether a disk has neither an MBR nor a GPT, nor a copy of one at its end.
pub fn has_no_table(file: &Path) -> Result<(), String> {
    let size = std::fs::metadata(file).unwrap().len();
    let signature = |at: u64, signature: &[u8]| {
        lab::bytes(file, at, u64::try_from(signature.len()).unwrap()) == signature
    };
    for (what, found) in [
        ("an MBR", signature(510, &[0x55, 0xaa])),
        ("a GPT", signature(512, b"EFI PART")),
        ("a copy of a GPT", signature(size / 512 * 512 - 512, b"EFI PART")),
    ] {
        if found {
            return Err(format!("it has {what}"));
        }
    }
    Ok(())
}

/// A disk that somebody else used: noise where tables and boot loaders are, in the middle, and where copies are.
fn make_noise(file: &Path, size_bytes: u64) {
    File::create(file).unwrap().set_len(size_bytes).unwrap();
    let mut noise = lab::Noise::new(41);
    let length = 32 * lab::MIB;
    for start in [0, size_bytes / 3, size_bytes - length] {
        lab::overwrite(file, start, &noise.bytes(usize::try_from(length).unwrap()));
    }
}

/// One of the small real systems, made now where it is not there.
pub fn debian(kind: &str) -> PathBuf {
    let file = super::made_folder().join("debian").join(format!("{kind}.img"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/debian-disk");
    lab::run(lab::text(&script), &[]);
    file
}

/// A copy of the USB stick with other settings.
pub fn settle(stick: &Path, copy: &Path, settings: &str) {
    lab::run("cp", &["--sparse=always", lab::text(stick), lab::text(copy)]);
    let text = copy.with_extension("settings");
    std::fs::write(&text, settings).unwrap();
    // The first one holds GRUB for BIOS.
    let start = lab::partitions(copy, 512)[1].start;
    let image = format!("{}@@{start}", lab::text(copy));
    lab::run("mcopy", &["-o", "-i", &image, lab::text(&text), "::/remint/settings.cfg"]);
}

/// Whether `remint inspect` showed a disk as what it is: its bus, its sectors, its file system.
pub fn shown(disk: &Disk, number: usize, console: &[String]) -> Result<(), String> {
    let (label, kind) = (format!(" LAB{number} "), format!(" {} ", disk.content.name()));
    let missing = |what: &str| format!("disk {number} ({:?}): {what}", disk.bus);
    let row = console.iter().position(|line| line.contains(&label) && line.contains(&kind));
    let row = row.ok_or_else(|| missing(&format!("no line with{label}and{kind}")))?;
    let before = |start: &str| console[..row].iter().rev().find(|line| line.starts_with(start));
    let sectors = format!("sectors of {} bytes", disk.sector);
    let (device, disk_line) = (before("/dev/").ok_or_else(|| missing("no device"))?, before("Disk "));
    let transport = format!("({}", disk.bus.transport());
    if !device.contains(&transport) {
        return Err(missing(&format!("not {transport} but {device}")));
    }
    match disk_line.filter(|line| line.contains(&sectors)) {
        Some(_) => Ok(()),
        None => Err(missing(&format!("not {sectors} but {disk_line:?}"))),
    }
}

/// The emulator's options for a disk; `number` counts the disks of the machine.
pub fn options(disk: &Disk, number: usize, file: &Path) -> Vec<String> {
    let mut drive = format!("if=none,id=disk{number},format=raw,cache=unsafe,file={}", file.display());
    if let Some(rate) = disk.slow_mib {
        drive.push_str(&format!(",throttling.bps-write={}", u64::from(rate) * lab::MIB));
    }
    let size = format!("logical_block_size={0},physical_block_size={0}", disk.sector);
    let on_bus = |controller: &str, device: &str| {
        vec![
            format!("{controller},id=bus{number}"),
            format!("{device},drive=disk{number},serial=LAB{number}"),
        ]
    };
    let devices = match disk.bus {
        Bus::Nvme => vec![format!("nvme,drive=disk{number},serial=LAB{number},{size}")],
        Bus::Virtio => vec![format!("virtio-blk-pci,drive=disk{number},serial=LAB{number},{size}")],
        Bus::Ahci => on_bus("ahci", &format!("ide-hd,bus=bus{number}.0,{size}")),
        Bus::VirtioScsi => on_bus("virtio-scsi-pci", &format!("scsi-hd,bus=bus{number}.0,{size}")),
        Bus::Megasas => on_bus("megasas", &format!("scsi-hd,bus=bus{number}.0,{size}")),
        // usb-storage itself has 512-byte sectors only.
        Bus::Usb | Bus::Uas => vec![
            format!("qemu-xhci,id=bus{number}"),
            format!(
                "{},id=usb{number},bus=bus{number}.0",
                if disk.bus == Bus::Uas { "usb-uas" } else { "usb-bot" }
            ),
            format!("scsi-hd,bus=usb{number}.0,drive=disk{number},serial=LAB{number},{size}"),
        ],
        Bus::Sd => vec!["sdhci-pci".to_owned(), format!("sd-card,drive=disk{number}")],
        Bus::None => return vec![],
    };
    let mut options = vec!["-drive".to_owned(), drive];
    options.extend(devices.into_iter().flat_map(|device| ["-device".to_owned(), device]));
    options
}
