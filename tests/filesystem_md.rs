//! Members of MD arrays: mirrors are captured member by member by what the array holds, everything else is refused by name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, missing_docs)]

mod aged;
#[path = "arrays/mod.rs"]
mod arrays;
mod lab;

use aged::{changed, reading};
use arrays::{VERSIONS, checksum, examined, large, member};
use lab::lvm::Lvm;
use lab::{Kind, MIB, Mount, Place, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt, read_vec};
use remint::filesystem::md::{self, Role};
use remint::filesystem::read;
use remint::schema::{FileSystemKind, State};
use remint::units::RangeSet;
use std::fs;

/// Of a field of `mdadm --examine`, what stands behind the colon.
fn field(said: &str, name: &str) -> String {
    let line = said
        .lines()
        .find(|line| line.trim_start().starts_with(name))
        .unwrap_or_else(|| panic!("{name}: {said}"));
    line.split_once(':').unwrap().1.trim().to_owned()
}

#[test]
fn a_superblock_of_every_version_is_read_as_mdadm_reads_it() {
    let others = [
        "dirty-1.2",
        "degraded-1.2",
        "resync-0.90",
        "resync-1.2",
        "recovering-1.2",
        "spare-1.2",
        "reshape-5",
    ];
    let levels = ["level-0", "level-4", "level-5", "level-6", "level-10"];
    for name in VERSIONS.iter().map(|version| version.0).chain(others).chain(levels) {
        let image = member(name, 0);
        let said = run("mdadm", &["--examine", text(&image.path)]);
        let found = md::member(&image.memory()).unwrap().unwrap();
        let uuid = field(&said, if found.version == "0.90" { "UUID" } else { "Array UUID" });
        let uuid = uuid.split_whitespace().next().unwrap().replace(':', "");
        assert_eq!(found.array_uuid.as_deref().map(|uuid| uuid.replace('-', "")), Some(uuid), "{name}");
        assert_eq!(field(&said, "Raid Level"), format!("raid{}", found.level), "{name}");
        assert_eq!(
            field(&said, "Raid Devices").split_whitespace().next(),
            Some(found.disks.to_string().as_str()),
            "{name}"
        );
        assert_eq!(field(&said, "Events"), found.events.to_string(), "{name}");
        assert_eq!(field(&said, "State") == "clean", found.in_sync, "{name}");
        let blkid = run("blkid", &["-p", "-o", "value", "-s", "VERSION", text(&image.path)]);
        assert!(blkid.starts_with(found.version), "{name}: {blkid}");
        if found.version == "0.90" {
            continue;
        }
        assert_eq!(field(&said, "Name").split_whitespace().next(), found.name.as_deref(), "{name}");
        let role = if found.role == Role::Active { "Active device".to_owned() } else { "spare".to_owned() };
        assert!(field(&said, "Device Role").starts_with(&role), "{name}: {said}");
        let sectors =
            |name: &str| field(&said, name).split_whitespace().next().unwrap().parse::<u64>().unwrap();
        let offset = if found.version == "1.0" { 0 } else { sectors("Data Offset") };
        assert_eq!(found.data.start(), offset * 512, "{name}");
        let letters = field(&said, "Array State")
            .chars()
            .take_while(|letter| *letter != ' ')
            .filter(|l| *l == 'A')
            .count();
        assert_eq!(found.active as usize, letters, "{name}");
    }
}

#[test]
fn both_members_come_back_from_their_used_blocks_on_noise() {
    for (name, start, length) in VERSIONS {
        for position in [0, 1] {
            let image = member(name, position);
            let before = image.reading();
            assert_eq!(
                (before.file_system.kind, before.file_system.state),
                (FileSystemKind::MdMember, State::Clean)
            );
            aged::leaves_out(&before, 8 * MIB);
            let says = &before.file_system.findings[0];
            assert!(
                says.contains(&format!("member {position} of the MD array"))
                    && says.contains("holds ext4 \"inside\""),
                "{says}"
            );
            let restored = image.restored(before.used.as_ref().unwrap());
            assert_eq!(restored.reading(), before);
            assert_eq!(examined(&restored.path), examined(&image.path), "{name}");
            let device = lab::Loop::new(&restored.path, start, length, false);
            run("e2fsck", &["-f", "-n", &device.0]);
            drop(device);
            let mount = Mount::new(&restored.path, start, length, "ext4", true);
            let sums = fs::read_to_string(arrays::beside(&format!("{name}.sums"))).unwrap();
            assert!(sums.lines().count() > 80);
            for line in sums.lines() {
                let (sum, file) = line.split_once("  ").unwrap();
                assert_eq!(lab::hash_of(&mount.path().join(file)), sum, "{name} {file}");
            }
        }
    }
}

const fn kind(name: &'static str, family: &'static str, make: &'static [&'static str]) -> Kind {
    Kind { name, family, make }
}

#[test]
fn whatever_file_system_a_mirror_holds_every_file_comes_back() {
    let kinds = [
        kind("ext4", "ext4", &["mkfs.ext4", "-q", "-F"]),
        kind("XFS", "xfs", &["mkfs.xfs", "-q", "-f"]),
        kind("NTFS", "ntfs", &["mkntfs", "-q", "-Q", "-F", "-s", "512", "-p", "0"]),
        kind("FAT32", "fat", &["mkfs.fat", "-F", "32"]),
        kind("btrfs", "btrfs", &["mkfs.btrfs", "-q", "-f"]),
    ];
    let folder = lab::folder();
    let files = folder.path().join("files");
    lab::real_files(&files, 12 * MIB);
    for (number, kind) in kinds.into_iter().enumerate() {
        let (image, data) = large(["large-1.0", "large-1.2"][number % 2]);
        let part = folder.path().join("part");
        kind.build(&part, data.length(), &files);
        lab::put(&image.path, data.start(), &part);
        fs::remove_file(&part).unwrap();
        let before = image.reading();
        let says = &before.file_system.findings[0];
        assert_eq!(before.file_system.state, State::Clean, "{says}");
        assert!(says.contains(&format!("the array holds {}", kind.name)), "{says}");
        aged::leaves_out(&before, 200 * MIB);
        let expected = kind.files(&image.path, data.start(), data.length());
        let restored = image.restored(before.used.as_ref().unwrap());
        assert_eq!(restored.reading(), before);
        assert_eq!(examined(&restored.path), examined(&image.path));
        kind.check(&restored.path, data.start(), data.length());
        assert_eq!(kind.files(&restored.path, data.start(), data.length()), expected, "{}", kind.name);
    }
}

#[test]
fn a_volume_group_in_a_mirror_is_captured_by_its_logical_volumes() {
    let (image, data) = large("large-1.2");
    let place = Place { number: 1, start: data.start(), length: data.length() };
    let lvm = Lvm::new(&[(&image.path, place)]);
    lvm.run("pvcreate", &[lvm.device(0)]);
    lvm.run("vgcreate", &["-s", "1M", "vg", lvm.device(0)]);
    lvm.create("vg", "swap", &["-L", "64M"]);
    lvm.create("vg", "root", &["-L", "40M"]);
    lvm.create("vg", "other", &["-L", "20M"]);
    lvm.run("lvextend", &["-L", "+60M", "vg/root"]);
    let part = image.folder.path().join("part");
    let make = |volume: &str, command: &[&str]| {
        lab::noisy_disk(&part, lvm.size(volume));
        run(command[0], &[&command[1..], &[text(&part)]].concat());
        lvm.put(volume, &part);
    };
    make("vg/root", &["mkfs.ext4", "-q", "-F", "-L", "root", "-d", "/usr/share/doc/bash"]);
    make("vg/swap", &["mkswap"]);
    lab::noisy_disk(&part, lvm.size("vg/other"));
    lvm.put("vg/other", &part);
    drop(lvm);
    let before = image.reading();
    let says = &before.file_system.findings[0];
    assert!(
        says.contains("the volume group vg (other: nothing that is recognised, and is captured whole, root: ext4 \"root\", swap: swap"),
        "{says}"
    );
    let used = before.used.as_ref().unwrap().total_bytes();
    assert!((20 * MIB..50 * MIB).contains(&used), "{used}");
    let restored = image.restored(before.used.as_ref().unwrap());
    assert_eq!(restored.reading(), before);
    let (lvm, old) = (Lvm::new(&[(&restored.path, place)]), Lvm::new(&[(&image.path, place)]));
    lvm.run("vgck", &["vg"]);
    assert_eq!(lvm.report("lvs", "lv_name,lv_uuid,lv_size"), old.report("lvs", "lv_name,lv_uuid,lv_size"));
    lvm.take("vg/root", &part);
    run("e2fsck", &["-f", "-n", text(&part)]);
    let other = image.folder.path().join("other");
    lvm.take("vg/other", &part);
    old.take("vg/other", &other);
    assert_eq!(lab::hash_of(&part), lab::hash_of(&other));
    // A volume that is not at rest keeps the whole member from being captured.
    let (root, journal) = (old.places("vg/root")[0].1, 1024 + 0x60);
    drop((lvm, old));
    let disk = image.memory();
    let incompat = read_vec(&disk, root + journal, 1).unwrap()[0];
    let (state, said) = changed(&disk, &[(root + journal, &[incompat | 4])]);
    assert!(state != State::Clean && said.contains("vg/root: its ext4:"), "{state} {said}");
    assert!(said.contains("never on a member") && said.contains("mdadm --zero-superblock"), "{said}");
}

/// What is refused, in which state, and words of the reason.
const REFUSED: [(&str, usize, State, &str); 12] = [
    ("dirty-1.2", 0, State::Dirty, "was written to when it stopped"),
    ("dirty-1.2", 1, State::Dirty, "mdadm --stop"),
    ("resync-0.90", 0, State::Dirty, "superblock 0.90"),
    ("resync-1.2", 0, State::Dirty, "not equal to the others yet"),
    ("recovering-1.2", 0, State::Unsupported, "is being rebuilt"),
    ("reshape-5", 0, State::Unsupported, "is being reshaped"),
    ("level-0", 0, State::Unsupported, "RAID 0 of 4 disks"),
    ("level-4", 0, State::Unsupported, "RAID 4 of 4 disks"),
    ("level-5", 0, State::Unsupported, "--disk /dev/md0"),
    ("level-6", 0, State::Unsupported, "RAID 6 of 4 disks"),
    ("level-10", 0, State::Unsupported, "RAID 10 of 4 disks"),
    ("level-5", 0, State::Unsupported, "--when-dirty raw"),
];

#[test]
fn what_one_member_cannot_answer_for_is_refused_by_name_with_a_way_out() {
    for (name, position, state, words) in REFUSED {
        let found = member(name, position).reading();
        assert_eq!((found.file_system.state, found.used), (state, None), "{name}");
        let said = found.file_system.findings.concat();
        assert!(said.contains(words) && said.contains("mdadm --zero-superblock"), "{name}: {said}");
    }
    // Of a spare nothing but its superblock is needed.
    let spare = member("spare-1.2", 0);
    let found = spare.reading();
    assert_eq!(found.file_system.state, State::Clean);
    assert!(found.used.as_ref().unwrap().total_bytes() <= 64 << 10);
    assert_eq!(examined(&spare.restored(found.used.as_ref().unwrap()).path), examined(&spare.path));
    // The one that went on says that it is alone.
    let said = member("degraded-1.2", 0).reading().file_system.findings.concat();
    assert!(said.contains("it was last written with 1 of them"), "{said}");
}

/// A change of a superblock of version 1 with its checksum put right.
fn sealed(disk: &MemoryDisk, at: u64, field: u64, bytes: &[u8]) -> (State, String) {
    let old = read_vec(disk, at, 4096).unwrap();
    disk.write_at(at + field, bytes).unwrap();
    disk.write_at(at + 216, &checksum(&read_vec(disk, at, 4096).unwrap()).to_le_bytes()).unwrap();
    let answer = changed(disk, &[]);
    disk.write_at(at, &old).unwrap();
    answer
}

#[test]
fn features_roles_and_places_that_cannot_be_are_named() {
    let disk = member("clean-1.2", 0).memory();
    for (field, bytes, state, words) in [
        (8, &[9, 0, 0, 0][..], State::Unsupported, "bad blocks"),
        (8, &[1, 1, 0, 0], State::Unsupported, "cluster"),
        (8, &[17, 0, 0, 0], State::Unsupported, "takes the place of another member"),
        (8, &[1, 4, 0, 0], State::Unsupported, "has a journal"),
        (8, &[1, 0, 1, 0], State::Unsupported, "does not know"),
        (256, &[0xFE, 0xFF], State::Unsupported, "that failed"),
        (256, &[0xFD, 0xFF], State::Unsupported, "holds its journal"),
        (72, &[0xFF; 4], State::Unsupported, "linear of 2 disks"),
        (128, &[0; 8], State::Damaged, "overlap"),
        (136, &[0xFF; 8], State::Damaged, "a size or a place"),
        (80, &[0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0], State::Damaged, "a size or a place"),
        (96, &[0, 0x10, 0, 0], State::Damaged, "overlap"),
        (96, &[2, 0, 0, 0], State::Damaged, "MD bitmap"),
        (220, &[0xFF, 0xFF, 0, 0], State::Damaged, "checksum"),
    ] {
        let (found, said) = sealed(&disk, 4096, field, bytes);
        assert!(found == state && said.contains(words), "{field} {bytes:x?}: {found} {said}");
    }
    let (state, said) = changed(&disk, &[(4096 + 33, b"x")]);
    assert!(state == State::Damaged && said.contains("checksum"), "{said}");
    let (state, said) = changed(&member("clean-0.90", 0).memory(), &[(16 * MIB - 65536 + 20, b"x")]);
    assert!(state == State::Damaged && said.contains("checksum"), "{said}");
}

/// Where an array was, something else may be by now, and nobody removed the superblock.
#[test]
fn a_superblock_that_was_left_behind_hides_nothing_that_is_alive() {
    let is_refused = |(state, said): (State, String), words: &str| {
        let way_out = said.contains("mdadm --zero-superblock");
        assert!(state == State::Unsupported && way_out && said.contains(words), "{state} {said}");
    };
    // Hot spares that hold a file system, and a member of version 0.90 that was not rebuilt.
    let mut disks = Vec::new();
    for (name, at) in [("clean-1.0", 16 * MIB - 8192), ("clean-1.1", 0), ("clean-1.2", 4096)] {
        let disk = member(name, 0).memory();
        is_refused(
            sealed(&disk, at, 256, &[0xFF; 4]),
            "that is a spare, or was not rebuilt yet, and ext4 is on it",
        );
        disks.push(disk);
    }
    let oldest = member("clean-0.90", 0).memory();
    let at = 16 * MIB - 65536;
    let number = u64::from(read_vec(&oldest, at + 992 * 4, 1).unwrap()[0]);
    oldest.write_at(at + (128 + 32 * number + 4) * 4, &[0; 4]).unwrap();
    let sum = arrays::checksum_0(&read_vec(&oldest, at, 4096).unwrap());
    oldest.write_at(at + 152, &sum.to_le_bytes()).unwrap();
    assert_eq!(md::member(&oldest).unwrap().unwrap().role, Role::Spare);
    is_refused(changed(&oldest, &[]), "ext4 is on it");
    let spare = member("spare-1.2", 0).memory();
    let ext4 = read_vec(&disks[2], MIB + 1024, 1024).unwrap();
    is_refused(changed(&spare, &[(1024, &ext4)]), "ext4 is on it");
    is_refused(changed(&spare, &[(MIB + 1024, &ext4)]), "ext4 is on it");
    is_refused(changed(&spare, &[(512, b"EFI PART")]), "a partition table (GPT) is on it");
    // What begins with the volume, while the data of the array begin later.
    let uberblock = [0x0C, 0xB1, 0xBA, 0, 0, 0, 0, 0];
    let uberblocks: Vec<(u64, &[u8])> = (128..132).map(|kib| (kib << 10, uberblock.as_slice())).collect();
    for disk in &disks[1..] {
        is_refused(changed(disk, &uberblocks), "begin at byte 1048576 only, and ZFS");
    }
    is_refused(changed(&disks[2], &[(1024, &ext4)]), "and ext4 begins with the volume");
    is_refused(
        changed(&disks[2], &[(512, b"EFI PART")]),
        "and a partition table (GPT) begins with the volume",
    );
    // A file system over all of what was a member, the end of which the array does not have.
    let image = member("clean-1.0", 0);
    let superblock = lab::bytes(&image.path, 16 * MIB - 8192, 4096);
    run("mkntfs", &["-q", "-Q", "-F", "-s", "512", "-p", "0", text(&image.path)]);
    lab::overwrite(&image.path, 16 * MIB - 8192, &superblock);
    let found = image.reading();
    let said = found.file_system.findings.concat();
    assert!(found.file_system.state != State::Clean && found.used.is_none(), "{said}");
    assert!(said.contains("never on a member") && said.contains("mdadm --zero-superblock"), "{said}");
}

/// Version 6 has a byte where others have a bit.
#[test]
fn a_bitmap_of_another_version_is_refused() {
    let disk = member("clean-1.2", 0).memory();
    assert_eq!(read_vec(&disk, 8192, 8).unwrap(), b"bitm\x04\0\0\0");
    for version in [5, 6, 7] {
        let (state, said) = changed(&disk, &[(8192 + 4, &[version])]);
        assert!(state == State::Unsupported && said.contains(&format!("has version {version}")), "{said}");
    }
    assert_eq!(changed(&disk, &[(8192 + 4, &[3])]).0, State::Clean);
}

/// An older array may have left a superblock that is still valid.
#[test]
fn of_two_superblocks_none_is_believed_and_one_that_stands_elsewhere_is_none() {
    let (new, old) = (member("clean-1.2", 0).memory(), member("clean-1.0", 0).memory());
    let at = 16 * MIB - 8192;
    let superblock = read_vec(&old, at, 4096).unwrap();
    let (state, said) = changed(&new, &[(at, &superblock)]);
    assert!(state == State::Unsupported && said.contains("several MD superblocks"), "{said}");
    assert!(said.contains("superblock 1.0)") && said.contains("superblock 1.2)"), "{said}");
    // One byte further it is the rest of a larger member: the mirrored file system is what there is.
    let elsewhere = MemoryDisk::new(20 * MIB);
    elsewhere.write_at(0, &read_vec(&old, 0, 16 << 20).unwrap()).unwrap();
    assert_eq!(reading(&elsewhere).file_system.kind, FileSystemKind::Ext4);
    // A target that has an old superblock where the new member has free space must not keep it.
    let before = reading(&new);
    let target = MemoryDisk::new(16 * MIB);
    target.write_at(at, &superblock).unwrap();
    restore(&new, before.used.as_ref().unwrap(), &target);
    assert_eq!(reading(&target), before);
}

fn restore(from: &MemoryDisk, used: &RangeSet, to: &MemoryDisk) {
    for range in used.iter() {
        to.write_at(range.start(), &read_vec(from, range.start(), range.length() as usize).unwrap()).unwrap();
    }
}

#[test]
fn the_oldest_version_is_read_in_both_byte_orders() {
    let little = member("clean-0.90", 0).memory();
    let expected = md::member(&little).unwrap().unwrap();
    let at = 16 * MIB - 65536;
    let mut bytes = read_vec(&little, at, 4096).unwrap();
    bytes.chunks_mut(4).for_each(<[u8]>::reverse);
    // Two words make the number of events, the high one first where bytes are big-endian.
    for pair in [39 * 4, 41 * 4] {
        let (low, high) = bytes[pair..pair + 8].split_at_mut(4);
        low.swap_with_slice(high);
    }
    little.write_at(at, &bytes).unwrap();
    assert_eq!(md::member(&little).unwrap().unwrap(), expected);
}

#[test]
fn arrays_in_arrays_and_tables_in_arrays_end_and_are_captured_whole() {
    // A member whose array begins with another member.
    let (image, data) = large("large-1.2");
    let disk = image.memory();
    let inner = member("clean-1.1", 0);
    disk.write_at(data.start(), &fs::read(&inner.path).unwrap()).unwrap();
    let found = reading(&disk);
    assert!(
        found.file_system.findings[0].contains("the member of another array"),
        "{:?}",
        found.file_system.findings
    );
    assert!(found.used.unwrap().total_bytes() >= data.length());
    let table = image.folder.path().join("table");
    lab::partitioned_disk(&table, data.length(), 512, "label: gpt\nsize=20MiB\n");
    let bytes = fs::read(&table).unwrap();
    let disk = image.memory();
    disk.write_at(data.start(), &bytes).unwrap();
    let found = reading(&disk);
    assert!(
        found.file_system.findings[0].contains("a partition table (GPT)"),
        "{:?}",
        found.file_system.findings
    );
    assert!(found.used.unwrap().total_bytes() >= data.length());
}

#[test]
fn a_luks_in_a_mirror_says_how_a_key_reaches_it() {
    let (image, data) = large("large-1.2");
    let (volume, key) = (image.folder.path().join("luks"), image.folder.path().join("key"));
    fs::write(&key, "correct horse").unwrap();
    fs::File::create(&volume).unwrap().set_len(data.length()).unwrap();
    let options = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", text(&key)];
    run("cryptsetup", &[["luksFormat", "-q"].as_slice(), &options, &[text(&volume)]].concat());
    let disk = image.memory();
    disk.write_at(data.start(), &fs::read(&volume).unwrap()).unwrap();
    let found = read(&disk).unwrap().unwrap();
    assert_eq!((found.file_system.state, found.used), (State::Encrypted, None));
    let said = found.file_system.findings.join("; ");
    assert!(
        said.contains("encrypted with LUKS2 (") && said.contains("--disk /dev/md0) with --luks-key"),
        "{said}"
    );
    assert!(!said.contains("name a file"), "{said}");
}

/// Ten thousand changes of each version, every second one with its checksum put right.
#[test]
fn damage_is_survived_and_never_takes_a_file_out_of_the_map() {
    for (name, start, length) in VERSIONS {
        let disk = member(name, 0).memory();
        let whole = reading(&disk).used.unwrap();
        let found = md::member(&disk).unwrap().unwrap();
        let seal = |disk: &MemoryDisk| {
            let bytes = read_vec(disk, found.at, 4096).unwrap();
            if found.version == "0.90" {
                disk.write_at(found.at + 152, &arrays::checksum_0(&bytes).to_le_bytes()).unwrap();
            } else {
                disk.write_at(found.at + 216, &checksum(&bytes).to_le_bytes()).unwrap();
            }
        };
        // A superblock may be changed into one of other data; where it is not, no used block may go missing.
        let data = read(
            &remint::blockio::Window::new(&disk, remint::units::ByteRange::at(start, length).unwrap())
                .unwrap(),
        )
        .unwrap()
        .unwrap();
        assert_eq!(data.file_system.kind, FileSystemKind::Ext4);
        aged::survives_damage(&disk, seal, |used| {
            md::member(&disk).unwrap().is_none_or(|now| {
                now.data != found.data
                    || whole.iter().all(|range| used.contains(range))
                    || used.total_bytes() + 4096 * 4 >= length
            })
        });
        assert!(disk.size_bytes() >= length);
    }
}
