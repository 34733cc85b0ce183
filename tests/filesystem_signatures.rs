//! What has no reader is known by its signature, containers before their content; swap can be made anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs
)]

use remint::blockio::{MemoryDisk, ReadAt, WriteAt};
use remint::filesystem::{self, Reading, swap_header};
use remint::schema::{FileSystemKind, State};
use remint::units::RangeSet;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use tempfile::NamedTempFile;

const MIB: u64 = 1 << 20;
const UUID: &str = "6a1a9f2e-4a37-4b55-8f29-3b30a0ce8a51";
const UUID_BYTES: [u8; 16] =
    [0x6A, 0x1A, 0x9F, 0x2E, 0x4A, 0x37, 0x4B, 0x55, 0x8F, 0x29, 0x3B, 0x30, 0xA0, 0xCE, 0x8A, 0x51];

/// A file that holds a volume.
struct FileDisk(File);

impl ReadAt for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

fn sparse_file(size_bytes: u64) -> NamedTempFile {
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    let file = tempfile::Builder::new().permissions(private).tempfile_in("/dev/shm").unwrap();
    file.as_file().set_len(size_bytes).unwrap();
    file
}

fn path_of(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Runs a program that reads the passphrase, or nothing, from its input.
fn run(program: &str, arguments: &[&str]) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let _ = child.stdin.take().unwrap().write_all(b"passphrase");
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn blkid(path: &str) -> BTreeMap<String, String> {
    run("blkid", &["-p", "-o", "export", path])
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace('\\', "")))
        .collect()
}

fn read_file(path: &str) -> Option<Reading> {
    filesystem::read(&FileDisk(File::open(path).unwrap())).unwrap()
}

/// Reads the volume and compares with what blkid prints, where blkid knows it by this type.
fn check(path: &str, kind: FileSystemKind, blkid_type: Option<&str>) -> Reading {
    let reading = read_file(path).unwrap_or_else(|| panic!("{kind} is not recognised"));
    let file_system = &reading.file_system;
    assert_eq!(file_system.kind, kind);
    assert_eq!((reading.used.as_ref(), file_system.used_bytes), (None, None));
    let size = fs::metadata(path).unwrap().len();
    assert_eq!((file_system.size_bytes, file_system.minimum_bytes), (size, size));
    if let Some(blkid_type) = blkid_type {
        let known = blkid(path);
        assert_eq!(known["TYPE"], blkid_type);
        assert_eq!(file_system.uuid.as_ref(), known.get("UUID"), "{kind}");
        assert_eq!(file_system.label.as_ref(), known.get("LABEL"), "{kind}");
    }
    reading
}

#[test]
fn encrypted_volumes_are_encrypted() {
    for (kind, options) in [
        (FileSystemKind::Luks1, vec!["--type", "luks1", "--iter-time", "1"]),
        (FileSystemKind::Luks2, vec!["--type", "luks2", "--label", "a label"]),
    ] {
        let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        let file = sparse_file(40 * MIB);
        let options =
            if kind == FileSystemKind::Luks2 { [options, quick.to_vec()].concat() } else { options };
        let path = path_of(&file);
        run("cryptsetup", &[&["luksFormat", "-q"], options.as_slice(), &[path, "-"]].concat());
        let reading = check(path, kind, Some("crypto_LUKS"));
        assert_eq!(reading.file_system.state, State::Encrypted);
        assert!(reading.file_system.findings[0].contains("cryptsetup"));
        // An old superblock inside the area that the header does not use changes nothing.
        file.as_file()
            .write_all_at(&swap_header(4096, 40 * MIB, None, None).unwrap()[1024..4096], 1024)
            .unwrap();
        assert_eq!(read_file(path).unwrap().file_system.kind, kind);
        if kind == FileSystemKind::Luks2 {
            file.as_file().write_all_at(&[0; 4096], 0).unwrap();
            let damaged = read_file(path).unwrap().file_system;
            assert_eq!((damaged.kind, damaged.uuid), (kind, reading.file_system.uuid));
        }
    }
}

/// A loop device that goes away with the test.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn a_physical_volume_is_known_before_what_it_holds() {
    let file = sparse_file(40 * MIB);
    let device = Loop(run("losetup", &["-f", "--show", path_of(&file)]).trim().to_owned());
    let only_it = format!("devices {{ filter = [\"a|^{}$|\", \"r|.*|\"] use_devicesfile = 0 }}", device.0);
    run("pvcreate", &["-q", "-y", "--config", &only_it, &device.0]);
    drop(device);
    let reading = check(path_of(&file), FileSystemKind::LvmPhysicalVolume, Some("LVM2_member"));
    assert_eq!(reading.file_system.state, State::Clean);
    // A swap signature that was left standing is not the truth.
    file.as_file().write_all_at(&swap_header(4096, 40 * MIB, None, None).unwrap()[1024..4096], 1024).unwrap();
    assert_eq!(read_file(path_of(&file)), Some(reading));
}

#[test]
fn a_physical_volume_of_lvm1_is_refused_by_name() {
    let uuid = b"abcdefghijklmnopqrstuvwxyzABCDEF";
    let header: [Patch<'_>; 5] = [(0, b"HM\x02\0"), (8, &[0, 4]), (12, &[0, 16]), (44, uuid), (172, b"old")];
    let file = crafted(8 * MIB, &header);
    let reading = check(path_of(&file), FileSystemKind::Lvm1PhysicalVolume, None);
    let file_system = reading.file_system;
    assert_eq!((file_system.state, file_system.label.as_deref()), (State::Unsupported, Some("old")));
    let known = blkid(path_of(&file));
    assert_eq!((known["TYPE"].as_str(), known.get("UUID")), ("LVM1_member", file_system.uuid.as_ref()));
    let finding = &file_system.findings[0];
    assert!(finding.contains("vgconvert") && finding.contains("--when-dirty raw"), "{finding}");
    // Two letters alone are no header.
    for at in [2, 12, 44] {
        file.as_file().write_all_at(&[0xEE, 0, 0], at).unwrap();
        if at == 12 {
            file.as_file().write_all_at(&[0; 4], at).unwrap();
        }
        assert_eq!(read_file(path_of(&file)), None, "{at}");
        header.iter().for_each(|(at, bytes)| file.as_file().write_all_at(bytes, *at).unwrap());
    }
}

/// One write of bytes at a place.
type Patch<'a> = (u64, &'a [u8]);

fn crafted(size_bytes: u64, patches: &[Patch<'_>]) -> NamedTempFile {
    let file = sparse_file(size_bytes);
    for (at, bytes) in patches {
        file.as_file().write_all_at(bytes, *at).unwrap();
    }
    file
}

/// XDR: a pair of a name-value list.
fn pair(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    let padded = name.len().next_multiple_of(4);
    let size = (12 + padded + 8 + value.len()) as u32;
    let mut pair = [size, size, name.len() as u32].map(u32::to_be_bytes).concat();
    pair.extend(name.bytes().chain(std::iter::repeat(0)).take(padded));
    pair.extend([kind, 1].map(u32::to_be_bytes).concat());
    pair.extend(value);
    pair
}

fn text(text: &str) -> Vec<u8> {
    let mut value = (text.len() as u32).to_be_bytes().to_vec();
    value.extend(text.bytes().chain(std::iter::repeat(0)).take(text.len().next_multiple_of(4)));
    value
}

fn zfs_list(device: &str) -> Vec<u8> {
    let tree = [vec![0, 0, 0, 0, 0, 0, 0, 1], pair("type", 9, &text(device)), vec![0; 8]].concat();
    [
        vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        pair("version", 8, &5000u64.to_be_bytes()),
        pair("name", 9, &text("tank")),
        pair("pool_guid", 8, &1_234_567_890_123u64.to_be_bytes()),
        pair("vdev_children", 8, &1u64.to_be_bytes()),
        pair("vdev_tree", 19, &tree),
        vec![0; 8],
    ]
    .concat()
}

#[test]
fn a_zfs_member_is_known_by_any_label_and_whole_ones_win() {
    let uberblock = 0x00BA_B10Cu64.to_le_bytes();
    let size = 64 * MIB + 4096;
    let label = |file: &NamedTempFile, at: u64, device: &str| {
        file.as_file().write_all_at(&zfs_list(device), at + (16 << 10)).unwrap();
        for slot in 0..8 {
            file.as_file().write_all_at(&uberblock, at + (128 << 10) + slot * 4096).unwrap();
        }
    };
    let ends = [0, 256 << 10, 64 * MIB - (512 << 10), 64 * MIB - (256 << 10)];
    for at in ends {
        let file = sparse_file(size);
        label(&file, at, "disk");
        let reading = check(path_of(&file), FileSystemKind::Zfs, Some("zfs_member"));
        assert_eq!(
            (reading.file_system.label.as_deref(), reading.file_system.state),
            (Some("tank"), State::Clean)
        );
    }
    // Old labels at the end of a volume that has a new file system do not hide it.
    let file = sparse_file(size);
    run("mkfs.fat", &["-F", "16", path_of(&file), "60000"]);
    label(&file, ends[2], "disk");
    label(&file, ends[3], "disk");
    assert_eq!(read_file(path_of(&file)).unwrap().file_system.kind, FileSystemKind::Fat16);
    label(&file, ends[0], "mirror");
    let reading = read_file(path_of(&file)).unwrap();
    assert_eq!(
        (reading.file_system.kind, reading.file_system.state),
        (FileSystemKind::Zfs, State::Unsupported)
    );
}

#[test]
fn formats_without_a_tool_here_are_known_by_their_specified_bytes() {
    use FileSystemKind::{Bcachefs, Iso9660, LogicalDiskManager, Refs, Squashfs};
    let magic =
        [0xC6, 0x85, 0x73, 0xF6, 0x4E, 0x1A, 0x45, 0xCA, 0x82, 0x65, 0xF5, 0x7F, 0x48, 0xBA, 0x6D, 0x81];
    let iso = [b"\x01CD001\x01\0".as_slice(), &[b' '; 32], b"A_DISC                          "].concat();
    let dates = b"2026013123595900\0";
    let cases: Vec<(FileSystemKind, Option<&str>, Vec<Patch<'_>>)> = vec![
        (Refs, Some("ReFS"), vec![(3, b"ReFS"), (32, &[0, 2, 0, 0, 128, 0, 0, 0])]),
        (Squashfs, Some("squashfs"), vec![(0, b"hsqs"), (12, &[0, 0, 2, 0]), (28, &[4, 0, 0, 0])]),
        (
            Bcachefs,
            None,
            vec![
                (4096 + 24, &magic),
                (4096 + 56, &UUID_BYTES),
                (4096 + 72, b"label"),
                (4096 + 104, &[8]),
                (4096 + 120, &[8, 0, 0, 1]),
            ],
        ),
        (
            Iso9660,
            Some("iso9660"),
            vec![(32768, &iso), (32768 + 813, dates), (32768 + 830, dates), (34816, b"\xFFCD001\x01")],
        ),
        (LogicalDiskManager, None, vec![(3072, b"PRIVHEAD"), (3084, &[0, 2, 0, 12])]),
        (LogicalDiskManager, None, vec![(8 * MIB - 512, b"PRIVHEAD"), (8 * MIB - 500, &[0, 2, 0, 12])]),
    ];
    for (kind, blkid_type, patches) in cases {
        let file = crafted(8 * MIB, &patches);
        let reading = check(path_of(&file), kind, blkid_type);
        let expected = if kind == LogicalDiskManager { State::Unsupported } else { State::Clean };
        assert_eq!(reading.file_system.state, expected);
        if kind == Bcachefs {
            assert_eq!(reading.file_system.uuid.as_deref(), Some(UUID));
        }
    }
}

/// A sector of a controller: where it is, counted from the end, what stands in it, and what blkid calls it.
fn controllers() -> Vec<(&'static str, u64, Vec<Patch<'static>>, &'static str)> {
    vec![
        ("Intel", 2, vec![(0, b"Intel Raid ISM Cfg Sig. 1.3.00")], "isw_raid_member"),
        (
            "DDF",
            1,
            vec![(0, &[0xDE, 0x11, 0xDE, 0x11]), (8, b"Dell    "), (32, b"01.02.00")],
            "ddf_raid_member",
        ),
        (
            "DDF",
            257,
            vec![(0, &[0xDE, 0x11, 0xDE, 0x11]), (8, b"Dell    "), (32, b"01.02.00")],
            "ddf_raid_member",
        ),
        // The last but one of a disk with sectors of 4096 bytes.
        ("Intel", 16, vec![(0, b"Intel Raid ISM Cfg Sig. 1.3.00")], ""),
        ("NVIDIA", 2, vec![(0, b"NVIDIA  "), (8, &[30, 0, 0, 0]), (16, &[100])], ""),
        // 0xFFFF - (0x2F00 + 1) + 1, so that all words before it add up to nothing.
        (
            "Silicon Image",
            1,
            vec![(0x62, &[0, 0x2F]), (0x116, &[1]), (0x13E, &[0xFF, 0xD0])],
            "silicon_medley_raid_member",
        ),
        ("LSI", 1, vec![(0, b"$XIDE$")], "lsi_mega_raid_member"),
        ("Adaptec", 1, vec![(0, &[0x37, 0xFC, 0x4D, 0x1E]), (256, b"DPTM")], "adaptec_raid_member"),
        // "JM" is 0x4D4A; the checksum makes the sum of all words zero.
        ("JMicron", 1, vec![(0, b"JM"), (4, &[0xB6, 0xB2])], "jmicron_raid_member"),
        ("VIA", 1, vec![(0, &[0x55, 0xAA]), (50, &[0xFF])], "via_raid_member"),
        ("HighPoint", 11, vec![(0, &[0xF3, 0x16, 0x78, 0x5A])], "hpt45x_raid_member"),
        ("Promise", 63, vec![(0, b"Promise Technology, Inc.")], "promise_fasttrack_raid_member"),
        ("Promise", 3087, vec![(0, b"Promise Technology, Inc.")], "promise_fasttrack_raid_member"),
    ]
}

#[test]
fn what_a_controller_left_at_the_end_of_a_disk_is_known_as_blkid_knows_it() {
    let size = 8 * MIB;
    let firmware = |file: &NamedTempFile| {
        filesystem::firmware_member(&FileDisk(File::open(file.path()).unwrap())).unwrap()
    };
    for (name, from_end, patches, blkid_type) in controllers() {
        let start = size - from_end * 512;
        let patches: Vec<Patch<'_>> = patches.into_iter().map(|(at, bytes)| (start + at, bytes)).collect();
        let file = crafted(size, &patches);
        let found = firmware(&file).unwrap_or_else(|| panic!("{name}")).file_system;
        assert_eq!((found.kind, found.state), (FileSystemKind::FirmwareRaid, State::Unsupported));
        assert!(found.findings[0].contains(name), "{}", found.findings[0]);
        if !blkid_type.is_empty() {
            assert_eq!(blkid(path_of(&file))["TYPE"], blkid_type, "{name}");
        }
        // It is the end of the disk that counts, and what has a checksum is held to it.
        file.as_file().set_len(size + 4096 * 4).unwrap();
        assert_eq!(firmware(&file), None, "{name}");
    }
    for (from_end, patches) in [
        (1, vec![(0x62, [0u8, 0x2F].as_slice()), (0x116, &[1]), (0x13E, &[0xFF, 0xD1])]),
        (1, vec![(0, b"JM"), (4, &[0xB5, 0xB2])]),
        (1, vec![(0, &[0x55, 0xAA]), (50, &[0xFE])]),
        (1, vec![(0, &[0x37, 0xFC, 0x4D, 0x1E])]),
    ] {
        let start = size - from_end * 512;
        let patches: Vec<Patch<'_>> = patches.into_iter().map(|(at, bytes)| (start + at, bytes)).collect();
        assert_eq!(firmware(&crafted(size, &patches)), None);
    }
    // The anchor of a DDF counts with the header that it names, in either byte order.
    let lba = 0x3000u64;
    for (magic, number) in
        [([0xDE, 0x11, 0xDE, 0x11], lba.to_be_bytes()), ([0x11, 0xDE, 0x11, 0xDE], lba.to_le_bytes())]
    {
        let anchor: [Patch<'_>; 2] = [(size - 512, &magic), (size - 512 + 96, &number)];
        assert_eq!(firmware(&crafted(size, &anchor)), None);
        let whole = crafted(size, &[anchor[0], anchor[1], (lba * 512, &magic)]);
        assert!(firmware(&whole).unwrap().file_system.findings[0].contains("(DDF)"));
        assert_eq!(blkid(path_of(&whole))["TYPE"], "ddf_raid_member");
    }
    let early = crafted(size, &[(9 * 512 + 32, &[0xFD, 0x16, 0x78, 0x5A])]);
    assert!(firmware(&early).unwrap().file_system.findings[0].contains("HighPoint"));
    assert_eq!(firmware(&crafted(size, &[])), None);
}

/// Makes a file system as its tool does it without being told about the old one.
fn make(kind: FileSystemKind, path: &str) {
    let (program, options): (&str, &[&str]) = match kind {
        FileSystemKind::Ext4 => ("mkfs.ext4", &["-q", "-F"]),
        FileSystemKind::Ntfs => ("mkntfs", &["-q", "-Q", "-F", "-s", "512", "-p", "0"]),
        FileSystemKind::Fat32 => ("mkfs.vfat", &["-F", "32"]),
        FileSystemKind::Xfs => ("mkfs.xfs", &["-q", "-f"]),
        FileSystemKind::Btrfs => ("mkfs.btrfs", &["-q", "-f"]),
        FileSystemKind::Exfat => ("mkfs.exfat", &[]),
        FileSystemKind::Swap => ("mkswap", &["-f"]),
        other => panic!("{other}"),
    };
    run(program, &[options, &[path]].concat());
}

#[test]
fn what_the_tools_make_over_each_other_is_what_was_made_last_or_said_to_be_doubtful() {
    use FileSystemKind::{Btrfs, Exfat, Ext4, Fat32, Ntfs, Swap, Xfs};
    const KINDS: [FileSystemKind; 7] = [Ext4, Ntfs, Fat32, Xfs, Btrfs, Exfat, Swap];
    let mut doubtful = Vec::new();
    std::thread::scope(|scope| {
        let pairs = KINDS.map(|first| {
            scope.spawn(move || {
                let mut doubtful = Vec::new();
                for second in KINDS {
                    let file = sparse_file(320 * MIB);
                    make(first, path_of(&file));
                    make(second, path_of(&file));
                    let reading = read_file(path_of(&file)).unwrap();
                    if reading.file_system.state == State::Unsupported {
                        let finding = &reading.file_system.findings[0];
                        assert!(
                            finding.contains("wipefs") && finding.contains("--when-dirty raw"),
                            "{finding}"
                        );
                        assert!(
                            finding.contains(first.name()) && finding.contains(second.name()),
                            "{finding}"
                        );
                        assert_eq!(reading.used, None);
                        doubtful.push((first, second));
                    } else {
                        let found = (reading.file_system.kind, reading.file_system.state);
                        assert_eq!(found, (second, State::Clean), "{first} then {second}");
                    }
                }
                doubtful
            })
        });
        for pair in pairs {
            doubtful.extend(pair.join().unwrap());
        }
    });
    // A quick format of NTFS leaves the superblock of btrfs standing, as blkid says too.
    assert_eq!(doubtful, [(Btrfs, Ntfs)]);
}

#[test]
fn a_superblock_that_was_put_over_another_file_system_decides_nothing() {
    let live = sparse_file(64 * MIB);
    make(FileSystemKind::Ext4, path_of(&live));
    let stale = sparse_file(64 * MIB);
    make(FileSystemKind::Ntfs, path_of(&stale));
    let boot = fs::read(stale.path()).unwrap();
    live.as_file().write_all_at(&boot[..512], 0).unwrap();
    let reading = read_file(path_of(&live)).unwrap();
    assert_eq!((reading.file_system.state, reading.used), (State::Unsupported, None));
    let finding = &reading.file_system.findings[0];
    assert!(finding.contains("NTFS and of ext4"), "{finding}");
}

#[test]
fn wiping_the_old_signature_is_the_way_out() {
    let file = sparse_file(320 * MIB);
    make(FileSystemKind::Btrfs, path_of(&file));
    make(FileSystemKind::Ntfs, path_of(&file));
    assert_eq!(read_file(path_of(&file)).unwrap().file_system.state, State::Unsupported);
    run("wipefs", &["-q", "-a", "-t", "btrfs", path_of(&file)]);
    let reading = read_file(path_of(&file)).unwrap();
    assert_eq!((reading.file_system.kind, reading.file_system.state), (FileSystemKind::Ntfs, State::Clean));
}

#[test]
fn zeros_and_noise_are_nothing() {
    for size in [0, 1, 511, 512, 4096, 65536, 300 << 10, 5 * MIB] {
        assert_eq!(filesystem::read(&MemoryDisk::new(size)).unwrap(), None);
    }
    let mut seed = 3;
    let bytes: Vec<u8> = (0..MIB).map(|_| xorshift(&mut seed) as u8).collect();
    assert_eq!(filesystem::read(&bytes.as_slice()).unwrap(), None);
}

fn xorshift(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn a_swap_header_is_what_mkswap_writes() {
    for page_bytes in [4096, 8192, 16384, 32768, 65536] {
        for (size, uuid, label) in [
            (10 * page_bytes, Some(UUID), Some("swap")),
            (8 * MIB + 12345, Some(UUID), None),
            (64 * MIB, None, Some("fifteen letters")),
            // The page count does not fit in its 32 bits.
            (20 << 40, Some(UUID), Some("big")),
        ] {
            let file = sparse_file(size);
            let page = page_bytes.to_string();
            let mut arguments = vec!["-p", page.as_str(), "-U", uuid.unwrap_or("clear")];
            arguments.extend(label.iter().flat_map(|label| ["-L", label]));
            run("mkswap", &[arguments.as_slice(), &[path_of(&file)]].concat());
            let mut written = vec![0; page_bytes as usize];
            file.as_file().read_exact_at(&mut written, 0).unwrap();
            let header = swap_header(page_bytes, size, uuid, label).unwrap();
            assert!(header == written, "pages of {page_bytes} bytes, {size} bytes");

            let reading = read_file(path_of(&file)).unwrap();
            assert_eq!(reading.used, Some(RangeSet::new()));
            let file_system = reading.file_system;
            assert_eq!((file_system.kind, file_system.state), (FileSystemKind::Swap, State::Clean));
            assert_eq!((file_system.uuid.as_deref(), file_system.label.as_deref()), (uuid, label));
            assert_eq!(file_system.block_size_bytes, page_bytes);
            assert_eq!(
                file_system.size_bytes,
                size.min(u64::from(u32::MAX) * page_bytes) / page_bytes * page_bytes
            );
            let known = blkid(path_of(&file));
            assert_eq!((known["TYPE"].as_str(), known.get("UUID").map(String::as_str)), ("swap", uuid));
        }
    }
}

#[test]
fn a_swap_header_that_no_kernel_takes_is_refused() {
    assert!(swap_header(512, MIB, None, None).is_err());
    assert!(swap_header(4096, 36 << 10, None, None).is_err());
    assert!(swap_header(4096, MIB, Some("6a1a9f2e"), None).is_err());
    assert!(swap_header(4096, MIB, Some("not a uuid"), None).is_err());
    assert!(swap_header(4096, MIB, None, Some("more than sixteen")).is_err());
}

#[test]
fn a_hibernated_system_in_the_swap_space_is_seen() {
    for page_bytes in [4096u64, 65536] {
        for signature in ["S1SUSPEND\0", "S2SUSPEND\0", "ULSUSPEND\0", "LINHIB0001"] {
            let disk = MemoryDisk::new(MIB);
            disk.write_at(0, &swap_header(page_bytes, MIB, Some(UUID), Some("swap")).unwrap()).unwrap();
            disk.write_at(page_bytes - 10, signature.as_bytes()).unwrap();
            let file_system = filesystem::read(&disk).unwrap().unwrap().file_system;
            assert_eq!((file_system.kind, file_system.state), (FileSystemKind::Swap, State::Hibernated));
            assert_eq!(
                (file_system.uuid.as_deref(), file_system.label.as_deref()),
                (Some(UUID), Some("swap"))
            );
            assert!(file_system.findings[0].contains("hibernated"));
        }
    }
    let disk = MemoryDisk::new(MIB);
    disk.write_at(0, &swap_header(4096, MIB, None, None).unwrap()).unwrap();
    disk.write_at(0, &[0xED, 0xC3, 0x02, 0xE9, 0x98, 0x56, 0xE5, 0x0C]).unwrap();
    assert_eq!(filesystem::read(&disk).unwrap().unwrap().file_system.state, State::Hibernated);
}

#[test]
fn odd_swap_headers_are_judged() {
    // Larger than its volume.
    let disk = MemoryDisk::new(MIB);
    disk.write_at(0, &swap_header(4096, 2 * MIB, None, None).unwrap()).unwrap();
    let file_system = filesystem::read(&disk).unwrap().unwrap().file_system;
    assert_eq!((file_system.state, file_system.size_bytes), (State::Damaged, MIB));
    // Written by a machine of the other byte order.
    let disk = MemoryDisk::new(MIB);
    disk.write_at(1024, &[0, 0, 0, 1, 0, 0, 0, 255]).unwrap();
    disk.write_at(4086, b"SWAPSPACE2").unwrap();
    let file_system = filesystem::read(&disk).unwrap().unwrap().file_system;
    assert_eq!((file_system.state, file_system.size_bytes), (State::Clean, MIB));
    // An old signature under a file system that does not use its first 64 KiB: swap would lose the data.
    let file = sparse_file(160 * MIB);
    run("mkfs.btrfs", &["-q", path_of(&file)]);
    file.as_file().write_all_at(&swap_header(4096, 160 * MIB, None, None).unwrap(), 0).unwrap();
    assert_eq!(read_file(path_of(&file)).unwrap().file_system.kind, FileSystemKind::Btrfs);
}

/// Damage to every signature at once: nothing panics, nothing hangs.
#[test]
fn random_damage_is_survived() {
    let mut bytes = vec![0; 2 << 20];
    let length = bytes.len() as u64;
    bytes[..4096].copy_from_slice(&swap_header(4096, length, Some(UUID), Some("x")).unwrap());
    bytes[0x4000..0x4000 + zfs_list("disk").len()].copy_from_slice(&zfs_list("disk"));
    bytes[0x20000..0x20008].copy_from_slice(&0x00BA_B10Cu64.to_le_bytes());
    let mut seed = 11;
    for round in 0..3000usize {
        // The pool's label goes first, so that what it hides is reached as well.
        let place = [0x4000, 0, 0x20000][round / 1000];
        let reach = [400, 4096, 64][round / 1000];
        if round == 1000 {
            bytes[0x4000..0x5000].fill(0);
        }
        let at = (place + xorshift(&mut seed) % reach) as usize;
        let old = bytes[at];
        bytes[at] = xorshift(&mut seed) as u8;
        let _ = filesystem::read(&bytes.as_slice()).unwrap();
        bytes[at] = old;
    }
}
