//! What is encrypted, or a part of a pool, is never taken for something else, and says what opens it: BitLocker in every form,
//! VeraCrypt, Storage Spaces. `cryptsetup` and `blkid` are the witnesses for BitLocker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs
)]

mod lab;

use lab::{MIB, Noise, run, text};
use remint::blockio::{MemoryDisk, ReadAt, WriteAt};
use remint::filesystem;
use remint::inspect::{DiskFacts, Inspection, read_disk};
use remint::partition::Trust;
use remint::progress::Silent;
use remint::schema::{Content, FileSystem, FileSystemKind, State};
use remint::units::SectorSize;
use std::os::unix::fs::FileExt;
use tempfile::NamedTempFile;

const WHOLE: [u8; 16] =
    [0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01];
const USED_SPACE_ONLY: [u8; 16] =
    [0x3B, 0x4D, 0xA8, 0x92, 0x80, 0xDD, 0x0E, 0x4D, 0x9E, 0x4E, 0xB1, 0xE3, 0x28, 0x4E, 0xAE, 0xD8];
const VOLUME: &str = "12345678-9ABC-DEF0-1122-334455667788";
const VOLUME_BYTES: [u8; 16] =
    [0x78, 0x56, 0x34, 0x12, 0xBC, 0x9A, 0xF0, 0xDE, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];

fn entry(kind: u16, value: u16, body: &[u8]) -> Vec<u8> {
    let size = (8 + body.len()) as u16;
    [&[size, kind, value, 1].map(u16::to_le_bytes).concat(), body].concat()
}

/// The volume's key under one protector.
fn protected(kind: u16) -> Vec<u8> {
    let inner = match kind {
        0 => entry(0, 1, &[0x5A; 36]),
        _ => entry(0, 3, &[&[0; 20], entry(0, 5, &[7; 60]).as_slice()].concat()),
    };
    let key = entry(0, 5, &[9; 60]);
    entry(2, 8, &[[3; 16].as_slice(), &[0; 10], &kind.to_le_bytes(), &inner, &key].concat())
}

/// What stands at one of the three places of the metadata.
fn metadata(state: u16, method: u16, protectors: &[u16], places: [u64; 3]) -> Vec<u8> {
    let label: Vec<u8> = "LAB-7 C: 2026\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut entries = entry(7, 2, &label);
    entries.extend(protectors.iter().flat_map(|kind| protected(*kind)));
    entries.extend(entry(3, 5, &[4; 60]));
    entries.extend(entry(15, 15, &[6 * MIB, 8192].map(u64::to_le_bytes).concat()));
    let size = (48 + entries.len()) as u32;
    let mut block = b"-FVE-FS-\x40\0\x02\0".to_vec();
    block.extend([state, state].map(u16::to_le_bytes).concat());
    block.extend((8 * MIB).to_le_bytes());
    block.extend([0, 16u32].map(u32::to_le_bytes).concat());
    block.extend(places.map(u64::to_le_bytes).concat());
    block.extend((6 * MIB).to_le_bytes());
    block.extend([size, 1, 48, size].map(u32::to_le_bytes).concat());
    block.extend(VOLUME_BYTES);
    block.extend([1, u32::from(method)].map(u32::to_le_bytes).concat());
    block.extend([0; 8]);
    block.extend(entries);
    block
}

fn sector(jump: &[u8; 3], name: &[u8; 8], at: usize, identifier: &[u8; 16], places: [u64; 3]) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[..3].copy_from_slice(jump);
    sector[3..11].copy_from_slice(name);
    sector[11..14].copy_from_slice(&[0, 2, 8]);
    sector[at..at + 16].copy_from_slice(identifier);
    sector[at + 16..at + 40].copy_from_slice(&places.map(u64::to_le_bytes).concat());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

const PLACES: [u64; 3] = [MIB, 2 * MIB, 3 * MIB];

/// A volume of Windows 7 and later.
fn volume(identifier: &[u8; 16], state: u16, method: u16, protectors: &[u16]) -> NamedTempFile {
    let file = lab::file(8 * MIB);
    let first = sector(b"\xEB\x58\x90", b"-FVE-FS-", 160, identifier, PLACES);
    file.as_file().write_all_at(&first, 0).unwrap();
    for place in PLACES {
        let block = metadata(state, method, protectors, PLACES);
        file.as_file().write_all_at(&block, place).unwrap();
    }
    file
}

fn memory(file: &NamedTempFile) -> MemoryDisk {
    let bytes = std::fs::read(file.path()).unwrap();
    let disk = MemoryDisk::new(bytes.len() as u64);
    disk.write_at(0, &bytes).unwrap();
    disk
}

fn read(disk: &dyn ReadAt) -> FileSystem {
    filesystem::read(disk).unwrap().unwrap().file_system
}

fn bitlocker(disk: &dyn ReadAt) -> String {
    let found = read(disk);
    assert_eq!((found.kind, found.state), (FileSystemKind::Bitlocker, State::Encrypted));
    let said = found.findings.join("; ");
    assert!(said.contains("manage-bde -off") && said.contains("--when-dirty raw"), "{said}");
    said
}

#[test]
fn a_bitlocker_says_how_it_is_encrypted_and_what_opens_it() {
    for (identifier, method, name, protectors, words) in [
        (&WHOLE, 0x8004, "AES-XTS 128", vec![0x0100, 0x0800], "opened by the TPM, a recovery password"),
        (&USED_SPACE_ONLY, 0x8005, "AES-XTS 256", vec![0x2000], "opened by a password"),
        (
            &WHOLE,
            0x8000,
            "AES-CBC 128 with diffuser",
            vec![0x0500, 0x0200],
            "the TPM with a PIN, a startup key",
        ),
        (&WHOLE, 0x8003, "AES-CBC 256", vec![0x0800, 0], "a recovery password, a key that lies open on it"),
    ] {
        let file = volume(identifier, 4, method, &protectors);
        let said = bitlocker(&memory(&file));
        assert!(said.contains(name) && said.contains(words), "{said}");
        assert_eq!(said.contains("used space only"), identifier == &USED_SPACE_ONLY, "{said}");
        assert_eq!(said.contains("whoever has its image can read it"), protectors.contains(&0), "{said}");
        let only_here =
            !protectors.contains(&0x2000) && !protectors.contains(&0x0200) && !protectors.contains(&0);
        assert_eq!(said.contains("on another machine"), only_here, "{said}");
        let path = text(file.path());
        let found = read(&memory(&file));
        assert_eq!(found.uuid.as_deref().map(str::to_uppercase), Some(VOLUME.to_owned()));
        let witness = run("cryptsetup", &["bitlkDump", path]);
        assert!(witness.to_uppercase().contains(VOLUME), "{witness}");
        assert_eq!(witness.matches("Protection:").count(), protectors.len(), "{witness}");
        assert!(run("blkid", &["-p", path]).contains("TYPE=\"BitLocker\""));
    }
}

#[test]
fn a_bitlocker_whose_encryption_has_not_ended_says_so() {
    assert!(bitlocker(&memory(&volume(&WHOLE, 5, 0x8004, &[0]))).contains("is under way"));
    assert!(!bitlocker(&memory(&volume(&WHOLE, 4, 0x8004, &[0]))).contains("is under way"));
}

#[test]
fn each_copy_of_the_metadata_is_enough_and_none_is_too() {
    let disk = memory(&volume(&WHOLE, 4, 0x8004, &[0x0100]));
    for (number, place) in PLACES.into_iter().enumerate() {
        assert!(bitlocker(&disk).contains("the TPM"), "copy {number}");
        disk.write_at(place, &[0; 512]).unwrap();
    }
    assert!(bitlocker(&disk).contains("none of the three copies"));
    // One that only begins like one hides no other.
    let disk = memory(&volume(&WHOLE, 4, 0x8004, &[0]));
    disk.write_at(PLACES[0] + 64, &[0; 48]).unwrap();
    assert!(bitlocker(&disk).contains("whoever has its image can read it"));
}

#[test]
fn a_bitlocker_of_vista_and_one_to_go_are_known() {
    let disk = MemoryDisk::new(8 * MIB);
    let mut vista = sector(b"\xEB\x52\x90", b"-FVE-FS-", 160, &[0; 16], [0; 3]);
    // In clusters of 4 KiB.
    vista[56..64].copy_from_slice(&(MIB / 4096).to_le_bytes());
    disk.write_at(0, &vista).unwrap();
    let mut block = metadata(4, 0x8000, &[0x0100], PLACES);
    block[10] = 1;
    disk.write_at(MIB, &block).unwrap();
    assert!(bitlocker(&disk).contains("AES-CBC 128 with diffuser, opened by the TPM"));

    // To Go: what is seen without the key is a real FAT32, that Windows made.
    let file = lab::file(40 * MIB);
    run("mkfs.fat", &["-F", "32", "-s", "1", text(file.path())]);
    file.as_file().write_all_at(b"MSWIN4.1", 3).unwrap();
    assert_eq!(read(&memory(&file)).kind, FileSystemKind::Fat32);
    let places = [30, 31, 32].map(|place| place * MIB);
    file.as_file().write_all_at(&places.map(u64::to_le_bytes).concat(), 440).unwrap();
    assert_eq!(read(&memory(&file)).kind, FileSystemKind::Fat32, "places without metadata mean nothing");
    file.as_file().write_all_at(&metadata(4, 0x8002, &[0x2000], places), places[1]).unwrap();
    assert!(bitlocker(&memory(&file)).contains("BitLocker To Go, AES-CBC 128, opened by a password"));
    assert!(run("blkid", &["-p", text(file.path())]).contains("TYPE="));
    // The identifier alone is enough, where the metadata are gone.
    file.as_file().write_all_at(&[0; 512], places[1]).unwrap();
    file.as_file().write_all_at(&WHOLE, 424).unwrap();
    assert!(bitlocker(&memory(&file)).contains("none of the three copies"));
}

#[test]
fn damaged_metadata_of_bitlocker_end_in_an_answer() {
    let disk = memory(&volume(&WHOLE, 4, 0x8004, &[0x0100, 0x0800, 0]));
    let block = metadata(4, 0x8004, &[0x0100, 0x0800, 0], PLACES);
    for at in 0..block.len() as u64 {
        for value in [0u8, 1, 0x7F, 0xFF] {
            let mut old = [0];
            disk.read_at(MIB + at, &mut old).unwrap();
            disk.write_at(MIB + at, &[value]).unwrap();
            bitlocker(&disk);
            disk.write_at(MIB + at, &old).unwrap();
        }
    }
}

fn facts() -> DiskFacts {
    DiskFacts {
        number: 0,
        logical_sector_bytes: SectorSize::B512,
        physical_sector_bytes: SectorSize::B512,
        model: None,
        serial: None,
        wwn: None,
    }
}

fn inspect(file: &NamedTempFile) -> Inspection {
    read_disk(&memory(file), facts(), Trust::Undecided, &Silent).unwrap()
}

#[test]
fn a_system_that_veracrypt_encrypted_is_said_and_its_noise_is_named() {
    let file = lab::file(16 * MIB);
    run("sh", &["-c", &format!("echo '2048,,7' | sfdisk -q {}", file.path().display())]);
    file.as_file().write_all_at(&Noise::new(1).bytes(4 << 20), MIB).unwrap();
    let said = inspect(&file);
    assert!(!said.findings.iter().any(|finding| finding.contains("boot loader")), "{:?}", said.findings);
    let Content::Raw { reason, file_system: None } = &said.disk.volumes[1].content else {
        panic!("{said:?}")
    };
    assert!(reason.contains("VeraCrypt"), "{reason}");
    file.as_file().write_all_at(b" VeraCrypt Boot Loader\r\n", 7).unwrap();
    let said = inspect(&file).findings.join("; ");
    assert!(said.contains("boot loader of VeraCrypt") && said.contains("layout original"), "{said}");
}

#[test]
fn a_disk_of_a_storage_pool_is_named_by_its_type_and_by_its_header() {
    let file = lab::file(16 * MIB);
    let path = text(file.path());
    run(
        "sgdisk",
        &[
            "-n",
            "1:2048:10239",
            "-t",
            "1:E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D",
            "-n",
            "2:10240:18431",
            "-t",
            "2:0700",
            path,
        ],
    );
    // A file system that an earlier use left at the place where the pool's header is gone.
    let left = lab::file(4 * MIB);
    run("mkfs.ext4", &["-q", "-F", text(left.path())]);
    file.as_file().write_all_at(&std::fs::read(left.path()).unwrap(), MIB).unwrap();
    file.as_file().write_all_at(b"SPACEDB \x02\0\0\x40", 5 * MIB).unwrap();
    let inspection = inspect(&file);
    for number in [1, 2] {
        let volume = &inspection.disk.volumes[number];
        let Content::Raw { file_system: Some(found), .. } = &volume.content else { panic!("{volume:?}") };
        assert_eq!((found.kind, found.state), (FileSystemKind::StorageSpaces, State::Unsupported));
        assert!(
            found.findings[0].contains("storage pool of Windows")
                && found.findings[0].contains("all of them")
        );
        assert_eq!(inspection.used[number], None);
    }
}
