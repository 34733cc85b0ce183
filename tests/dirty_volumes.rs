//! A volume or table that cannot be trusted is refused by name with its state and a way out; what a person asks
//! for instead is what is captured and deployed.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod lab;

use lab::{Kind, MIB};
use lab::{Mount, Noise, Place, bytes, overwrite, remint_ends, run, text};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const EXT4: Kind = Kind { name: "ext4", family: "ext4", make: &["mkfs.ext4", "-q", "-F"] };

fn made(folder: &Path, size_bytes: u64, make: &[&str]) -> PathBuf {
    let path = folder.join("part.img");
    let _ = fs::remove_file(&path);
    File::create(&path).unwrap().set_len(size_bytes).unwrap();
    run(make[0], &[&make[1..], &[text(&path)]].concat());
    path
}

/// Copied while it is mounted: its journal is to be replayed.
fn ext4_in_use(folder: &Path, size: u64) -> PathBuf {
    let path = made(folder, size, &["mkfs.ext4", "-q", "-F", "-L", "busy"]);
    let copy = folder.join("copy.img");
    let mount = Mount::new(&path, 0, size, "ext4", false);
    let mut file = File::create(mount.path().join("new")).unwrap();
    file.write_all(&Noise::new(1).bytes(100_000)).unwrap();
    file.sync_all().unwrap();
    run("sync", &[text(&path)]);
    run("cp", &["--sparse=always", text(&path), text(&copy)]);
    drop((file, mount));
    copy
}

/// Shut down, as by a failing disk, with changes that are only in its log.
fn xfs_shut_down(folder: &Path, size: u64) -> PathBuf {
    let path = made(folder, size, &["mkfs.xfs", "-q", "-f"]);
    let mount = Mount::new(&path, 0, size, "xfs", false);
    fs::write(mount.path().join("new"), Noise::new(2).bytes(100_000)).unwrap();
    run("xfs_io", &["-x", "-c", "shutdown -f", text(mount.path())]);
    drop(mount);
    path
}

/// As a snapshot finds it while it is mounted: a file was synced into the log tree.
fn btrfs_in_use(folder: &Path, size: u64) -> PathBuf {
    let path = made(folder, size, &["mkfs.btrfs", "-q", "-f"]);
    let mount = Mount::new(&path, 0, size, "btrfs", false);
    let file = mount.path().join("new");
    fs::write(&file, Noise::new(3).bytes(100_000)).unwrap();
    File::open(&file).unwrap().sync_all().unwrap();
    let copy = folder.join("copy.img");
    fs::copy(&path, &copy).unwrap();
    drop(mount);
    fs::rename(&copy, &path).unwrap();
    path
}

fn ntfs_with_a_torn_log(folder: &Path, size: u64) -> PathBuf {
    let path = made(folder, size, &["mkntfs", "-q", "-Q", "-F"]);
    // mkntfs fills the log with ones; nothing else has so many.
    let mut bytes = fs::read(&path).unwrap();
    let log = bytes.chunks(64 << 10).position(|part| part.iter().all(|byte| *byte == 0xFF)).unwrap();
    let log = (0..=log * (64 << 10)).rev().step_by(4096).take_while(|at| bytes[*at] == 0xFF).last().unwrap();
    bytes[log..log + 4096].fill(0);
    fs::write(&path, bytes).unwrap();
    path
}

fn ntfs_hibernated(folder: &Path, size: u64) -> PathBuf {
    let path = made(folder, size, &["mkntfs", "-q", "-Q", "-F"]);
    let mount = Mount::new(&path, 0, size, "ntfs", false);
    let mut image = b"hibr".to_vec();
    image.resize(64 << 10, 7);
    fs::write(mount.path().join("hiberfil.sys"), image).unwrap();
    drop(mount);
    path
}

fn fat_not_unmounted(folder: &Path, size: u64) -> PathBuf {
    let path = made(folder, size, &["mkfs.fat", "-F", "32", "-s", "1"]);
    // Bit 0 of the state byte, which Linux sets while a FAT is mounted.
    overwrite(&path, 0x41, &[1]);
    path
}

fn swap_hibernated(folder: &Path, size: u64) -> PathBuf {
    let path = made(folder, size, &["mkswap"]);
    overwrite(&path, 4086, b"S1SUSPEND\0");
    path
}

fn encrypted(folder: &Path, size: u64) -> PathBuf {
    let path = folder.join("part.img");
    let _ = fs::remove_file(&path);
    File::create(&path).unwrap().set_len(size).unwrap();
    let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", text(&path), "-"];
    let mut child = Command::new("cryptsetup")
        .args(["luksFormat", "-q", "--type", "luks2"])
        .args(quick)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"secret").unwrap();
    assert!(child.wait().unwrap().success());
    path
}

fn clean(folder: &Path, size: u64) -> PathBuf {
    made(folder, size, &["mkfs.ext4", "-q", "-F"])
}

type Maker = fn(&Path, u64) -> PathBuf;

/// What is on the disk: size in MiB, how it is made, what the refusal says about it.
const VOLUMES: [(u64, Maker, &[&str]); 9] = [
    (24, ext4_in_use, &["ext4 \"busy\") is dirty", "journal"]),
    (320, xfs_shut_down, &["XFS", "is dirty", "log"]),
    (130, btrfs_in_use, &["btrfs", "is dirty", "log tree"]),
    (16, ntfs_with_a_torn_log, &["NTFS", "is dirty"]),
    (16, ntfs_hibernated, &["NTFS", "is hibernated", "Windows"]),
    (40, fat_not_unmounted, &["FAT32", "is dirty"]),
    (8, swap_hibernated, &["swap", "is hibernated"]),
    (24, encrypted, &["LUKS2", "is encrypted", "cryptsetup"]),
    (16, clean, &[]),
];

fn dirty_disk(folder: &Path) -> (PathBuf, Vec<Place>) {
    let disk = folder.join("disk.img");
    let lines = VOLUMES.iter().map(|(size, ..)| format!("size={size}MiB, type={LINUX}"));
    let script = format!("label: gpt\n{}", lines.collect::<Vec<_>>().join("\n"));
    let places = lab::partitioned_disk(&disk, 620 * MIB, 512, &script);
    for (place, (_, make, _)) in places.iter().zip(VOLUMES) {
        lab::put(&disk, place.start, &make(folder, place.length));
    }
    (disk, places)
}

#[test]
fn what_is_not_certain_is_refused_by_name_and_captured_whole_when_asked() {
    let folder = lab::folder();
    let (disk, places) = dirty_disk(folder.path());
    let before = lab::hash_of(&disk);
    let store = folder.path().join("store");
    let capture = ["capture", "lab", "--to", text(&store), "--disk", text(&disk), "--compress", "fast"];
    let refuse = [capture.as_slice(), &["--when-dirty", "refuse"]].concat();
    let said = remint_ends(1, &refuse);
    for (number, (_, _, parts)) in (1..).zip(VOLUMES) {
        let name = format!("d0-p{number} (");
        let about =
            said.split("\n  d0-").map(|part| format!("d0-{part}")).find(|part| part.starts_with(&name));
        match about {
            Some(about) => assert!(parts.iter().all(|part| about.contains(part)), "{parts:?}: {about}"),
            None => assert!(parts.is_empty(), "{name} is not refused: {said}"),
        }
    }
    assert!(said.contains("--only") && said.contains("--when-dirty raw"), "{said}");
    // Each of them is refused alone, too; the clean one is not.
    for number in 1..9 {
        let only = format!("d0-p{number}");
        let said = remint_ends(1, &[refuse.as_slice(), &["--only", &only]].concat());
        assert!(said.contains(&only), "{said}");
    }
    // Where nobody says, journals are replayed beside the disk; what is left is refused.
    let said = remint_ends(1, &capture);
    let refused = said.split_once("not captured").unwrap().1;
    for number in 1..9 {
        assert_eq!(refused.contains(&format!("d0-p{number} (")), number > 3, "{number}: {said}");
    }
    assert_eq!(lab::published(&store), 0);
    remint_ends(0, &[capture.as_slice(), &["--only", "d0-p9"]].concat());
    assert_eq!(lab::published(&store), 1);

    remint_ends(0, &[capture.as_slice(), &["--when-dirty", "raw"]].concat());
    let target = folder.path().join("target.img");
    lab::noisy_disk(&target, 640 * MIB);
    remint_ends(0, &["deploy", "lab", "--from", text(&store), "--disk", text(&target), "--yes"]);
    let there = lab::partitions(&target, 512);
    for (here, there) in places.iter().zip(&there).take(8) {
        let same = bytes(&disk, here.start, here.length) == bytes(&target, there.start, here.length);
        assert!(same, "volume {} did not come back", here.number);
    }
    EXT4.check(&target, there[8].start, there[8].length);
    assert_eq!(lab::hash_of(&disk), before);
}

/// A disk of 64 MiB with a GPT of two partitions: ext4 with files, and noise.
fn gpt_disk(folder: &Path) -> PathBuf {
    let disk = folder.join("disk.img");
    let script = format!("label: gpt\nsize=24MiB, type={LINUX}\nsize=8MiB, type={LINUX}");
    let places = lab::partitioned_disk(&disk, 64 * MIB, 512, &script);
    let (part, files) = (folder.join("part.img"), folder.join("files"));
    fs::create_dir_all(files.join("deep")).unwrap();
    fs::write(files.join("noise-65536"), Noise::new(1).bytes(65536)).unwrap();
    fs::write(files.join("content"), Noise::new(2).bytes(100_000)).unwrap();
    EXT4.build(&part, places[0].length, &files);
    lab::put(&disk, places[0].start, &part);
    overwrite(&disk, places[1].start, &Noise::new(3).bytes(8 << 20));
    disk
}

/// Deploys to a larger disk; returns it.
fn deployed(folder: &Path, store: &str) -> PathBuf {
    let target = folder.join("target.img");
    lab::noisy_disk(&target, 70 * MIB);
    remint_ends(0, &["deploy", "lab", "--from", store, "--disk", text(&target), "--yes"]);
    target
}

#[test]
fn one_good_copy_of_a_gpt_is_enough_and_a_deploy_writes_two() {
    for (broken, word) in [(512, "primary GPT is damaged"), (64 * MIB - 512, "backup GPT cannot be used")] {
        let folder = lab::folder();
        let disk = gpt_disk(folder.path());
        overwrite(&disk, broken, &[0; 512]);
        let before = lab::hash_of(&disk);
        let store = text(&folder.path().join("store")).to_owned();
        assert!(remint_ends(0, &["inspect", text(&disk)]).contains(word));
        let said = remint_ends(0, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
        assert!(said.contains("warning: ") && said.contains(word) && said.contains(text(&disk)), "{said}");
        let target = deployed(folder.path(), &store);
        let said = run("sgdisk", &["--verify", text(&target)]);
        assert!(said.contains("No problems found"), "{said}");
        let there = lab::partitions(&target, 512);
        assert_eq!(there.len(), 2);
        EXT4.check(&target, there[0].start, there[0].length);
        assert_eq!(lab::hash_of(&disk), before, "the source was repaired");
    }
}

#[test]
fn a_gpt_without_a_good_copy_is_refused() {
    let folder = lab::folder();
    let disk = gpt_disk(folder.path());
    overwrite(&disk, 512, &[0; 512]);
    overwrite(&disk, 64 * MIB - 512, &[0; 512]);
    let store = text(&folder.path().join("store")).to_owned();
    for arguments in
        [&["inspect", text(&disk)][..], &["capture", "lab", "--to", &store, "--disk", text(&disk)]]
    {
        let said = remint_ends(1, arguments);
        for part in [text(&disk), "primary", "backup", "gdisk"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

/// An entry of an MBR.
fn entry(type_code: u8, start: u32, sectors: u32) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[4] = type_code;
    entry[8..12].copy_from_slice(&start.to_le_bytes());
    entry[12..].copy_from_slice(&sectors.to_le_bytes());
    entry
}

fn has_gpt(disk: &Path) -> bool {
    let size = fs::metadata(disk).unwrap().len();
    [512, size - 512].into_iter().any(|at| bytes(disk, at, 8) == b"EFI PART")
}

#[test]
fn two_tables_that_contradict_each_other_are_nobodys_guess() {
    let folder = lab::folder();
    let disk = gpt_disk(folder.path());
    let sectors = 24 * 2048;
    overwrite(&disk, 446, &[entry(0x83, 2048, sectors), [0; 16], [0; 16], [0; 16]].concat());
    let store = text(&folder.path().join("store")).to_owned();
    let capture = ["capture", "lab", "--to", &store, "--disk", text(&disk)];
    let said = remint_ends(1, &capture);
    for part in [text(&disk), "contradict", "--trust gpt", "--trust mbr"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let inspected = remint_ends(0, &["inspect", text(&disk)]);
    assert!(inspected.contains("contradict"), "{inspected}");

    for (trust, label, partitions) in [("gpt", "gpt", 2), ("mbr", "dos", 1)] {
        remint_ends(0, &[capture.as_slice(), &["--trust", trust]].concat());
        let target = deployed(folder.path(), &store);
        let dump = run("sfdisk", &["--dump", text(&target)]);
        assert!(dump.contains(&format!("label: {label}\n")), "{dump}");
        assert_eq!(has_gpt(&target), trust == "gpt", "what was not trusted is not there any more");
        let there = lab::partitions(&target, 512);
        assert_eq!(there.len(), partitions);
        EXT4.check(&target, there[0].start, 24 * MIB);
        let inspected = remint_ends(0, &["inspect", text(&target)]);
        assert!(!inspected.contains("contradict"), "{inspected}");
        if trust == "gpt" {
            assert!(run("sgdisk", &["--verify", text(&target)]).contains("No problems found"));
        }
    }
}

#[test]
fn partitions_that_cannot_be_are_refused_by_name() {
    let folder = lab::folder();
    let disk = folder.path().join("disk.img");
    let store = text(&folder.path().join("store")).to_owned();
    let refused = |parts: &[&str]| {
        let said = remint_ends(1, &["capture", "lab", "--to", &store, "--disk", text(&disk)]);
        assert!(said.contains(text(&disk)) && parts.iter().all(|part| said.contains(part)), "{said}");
        assert!(remint_ends(0, &["inspect", text(&disk)]).contains(parts[0]));
    };
    let table = |entries: [[u8; 16]; 4]| {
        File::create(&disk).unwrap().set_len(32 * MIB).unwrap();
        overwrite(&disk, 446, &entries.concat());
        overwrite(&disk, 510, &[0x55, 0xAA]);
    };
    table([entry(0x83, 2048, 20_000), entry(0x83, 12_000, 20_000), [0; 16], [0; 16]]);
    refused(&["Partitions 1 and 2 overlap"]);
    table([entry(0x83, 2048, 2048), [0; 16], entry(0x07, 8192, 80_000), [0; 16]]);
    refused(&["Partition 3 reaches to sector 88191, beyond the last sector 65535"]);
    // A GPT disk that was copied to a smaller one.
    let whole = gpt_disk(folder.path());
    fs::OpenOptions::new().write(true).open(&whole).unwrap().set_len(30 * MIB).unwrap();
    refused(&["Partition 2 reaches to sector 67583"]);
}

#[test]
fn an_ntfs_that_is_only_marked_dirty_comes_back_with_every_file_and_the_mark() {
    let kind = Kind { name: "NTFS", family: "ntfs", make: &["mkntfs", "-q", "-Q", "-F"] };
    let folder = lab::folder();
    let disk = made(folder.path(), 40 * MIB, kind.make);
    let mount = Mount::new(&disk, 0, 40 * MIB, "ntfs", false);
    lab::real_files(mount.path(), 5 * MIB);
    drop(mount);
    run("ntfsfix", &[text(&disk)]);
    let marked = |disk: &Path| remint_ends(0, &["inspect", text(disk)]).contains("marked dirty");
    assert!(marked(&disk));
    let store = folder.path().join("store");
    remint_ends(0, &["capture", "lab", "--to", text(&store), "--disk", text(&disk)]);
    let files = kind.files(&disk, 0, 40 * MIB);
    // As large, and larger: it can also be grown.
    for size in [40 * MIB, 64 * MIB] {
        let target = folder.path().join("target.img");
        lab::noisy_disk(&target, size);
        remint_ends(0, &["deploy", "lab", "--from", text(&store), "--disk", text(&target), "--yes"]);
        assert!(marked(&target), "{size}");
        assert!(kind.files(&target, 0, size) == files, "{size}: not every file is the same");
    }
}

#[test]
fn a_mounted_disk_is_refused_until_a_person_allows_it() {
    let folder = lab::folder();
    let disk = made(folder.path(), 24 * MIB, &["mkfs.ext4", "-q", "-F"]);
    let store = text(&folder.path().join("store")).to_owned();
    let mount = Mount::new(&disk, 0, 24 * MIB, "ext4", true);
    let capture = ["capture", "lab", "--to", &store, "--disk", text(&disk)];
    let said = remint_ends(1, &capture);
    for part in [text(&disk), "is in use", "mounted at", text(mount.path()), "--allow-in-use"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(lab::published(Path::new(&store)), 0);
    let said = remint_ends(0, &[capture.as_slice(), &["--allow-in-use"]].concat());
    assert!(said.contains("warning: ") && said.contains("mounted at"), "{said}");
}

#[test]
fn file_systems_with_the_same_uuid_are_named_wherever_they_are() {
    let folder = lab::folder();
    let (one, other) = (folder.path().join("one.img"), folder.path().join("other.img"));
    let uuid = "0dd00000-0000-4000-8000-000000000001";
    fs::rename(made(folder.path(), 16 * MIB, &["mkfs.ext4", "-q", "-F", "-U", uuid]), &one).unwrap();
    fs::copy(&one, &other).unwrap();
    let names = format!("d0-disk and d1-disk have the same UUID {uuid}");
    let both = remint_ends(0, &["inspect", text(&one), text(&other)]);
    assert_eq!(both.matches(&names).count(), 2, "at each of the two: {both}");
    assert!(!remint_ends(0, &["inspect", text(&one)]).contains("same UUID"));

    let store = text(&folder.path().join("store")).to_owned();
    let capture = ["capture", "lab", "--to", &store, "--disk", text(&one), "--disk", text(&other)];
    let said = remint_ends(0, &capture);
    assert!(said.contains("warning: ") && said.contains(&names) && said.contains("--only"), "{said}");
    // One of them alone is no conflict, nor are two that were given UUIDs of their own.
    let said = remint_ends(0, &[capture.as_slice(), &["--only", "d1-disk"]].concat());
    assert!(!said.contains("same UUID"), "{said}");
    run("tune2fs", &["-f", "-U", "0dd00000-0000-4000-8000-000000000002", text(&other)]);
    assert!(!remint_ends(0, &capture).contains("same UUID"));
}
