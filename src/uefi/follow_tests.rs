//! What becomes of a firmware's entries, told in lines that a person can judge.

use super::*;
use crate::uefi::{DevicePath, Node};

const OLD: u128 = 0x52454D49_4E54_4445_4D4F_000000000001;
const NEW: u128 = 0x0F9E9BBF_338C_4D46_97C1_12A32D6BB840;
const OTHER: u128 = 0x11111111_2222_4333_8444_555555555555;
const SHIM: &str = r"\EFI\debian\shimx64.efi";

fn id(guid: u128) -> PartitionId {
    PartitionId::Gpt { guid: crate::units::Guid::from_u128(guid) }
}

fn drive(guid: u128, start: u64) -> HardDrive {
    HardDrive { partition_number: 1, partition_start: start, partition_size: 0x2_0000, id: id(guid) }
}

fn network() -> LoadOption {
    let node = |subtype, data: &[u8]| Node { kind: 3, subtype, data: data.to_vec() };
    let path =
        DevicePath { nodes: vec![node(11, &[0; 33]), node(12, &[0; 15])], tail: vec![0x7F, 0xFF, 4, 0] };
    LoadOption { path, ..LoadOption::of_file("UEFI PXEv4", drive(0, 0), "") }
}

fn settings() -> LoadOption {
    let path = DevicePath {
        nodes: vec![Node { kind: 4, subtype: 6, data: vec![7; 16] }],
        tail: vec![0x7F, 0xFF, 4, 0],
    };
    LoadOption { attributes: 0x109, path, ..LoadOption::of_file("UiApp", drive(0, 0), "") }
}

fn variables(entries: &[(u16, LoadOption)], order: &[u16]) -> Variables {
    Variables { entries: entries.iter().cloned().collect(), order: order.to_vec(), ..Variables::default() }
}

/// The changes for one ESP at sector 0x800 that was captured as [`OLD`] and is [`NEW`] now.
fn decided(now: &Variables, files: &[&str], elsewhere: &[u128]) -> Vec<String> {
    decided_for(drive(NEW, 0x800), now, files, elsewhere, false)
}

fn decided_for(
    is: HardDrive,
    now: &Variables,
    files: &[&str],
    elsewhere: &[u128],
    first: bool,
) -> Vec<String> {
    let files = files.iter().map(|file| (*file).to_owned()).collect();
    let elsewhere: Vec<PartitionId> = elsewhere.iter().map(|guid| id(*guid)).collect();
    let situation = Situation {
        now,
        deployed: &[Followed { was: Some(id(OLD)), is }],
        efi_systems: &[EfiSystem { partition: is, files }],
        elsewhere: &elsewhere,
        first,
        makes: true,
    };
    let decided = changes(situation);
    // Done, it is done: nothing is written a second time.
    let mut done = now.clone();
    for change in &decided {
        match change {
            Change::Entry { number, was, is } => {
                assert_eq!(done.entries.insert(*number, is.clone()), *was);
            }
            Change::Order { is, .. } => done.order.clone_from(is),
        }
    }
    assert_eq!(changes(Situation { now: &done, ..situation }), []);
    for (number, option) in &now.entries {
        let names_elsewhere = option.path.hard_drive().is_none_or(|drive| elsewhere.contains(&drive.id));
        assert!(!names_elsewhere || done.entries.get(number) == Some(option), "entry {number} is not ours");
    }
    decided.iter().map(ToString::to_string).collect()
}

#[test]
fn an_entry_of_the_captured_disk_follows_in_its_place() {
    let debian = LoadOption::of_file("debian", drive(OLD, 0x1000), SHIM);
    let now = variables(
        &[(0, network()), (1, LoadOption::of_file("x", drive(OTHER, 1), SHIM)), (7, debian)],
        &[1, 0, 7],
    );
    let follows = r#"Boot0007 "debian" follows to HD(1,GPT,0F9E9BBF-338C-4D46-97C1-12A32D6BB840,0x800,0x20000)\EFI\debian\shimx64.efi"#;
    assert_eq!(decided(&now, &[SHIM], &[]), [follows]);
    // The captured disk is still there: the entry is that disk's, and the new one gets its own.
    let created = follows.replace("Boot0007", "Boot0002").replace("follows to", "is new and starts");
    assert_eq!(
        decided(&now, &[SHIM], &[OLD]),
        [created.as_str(), "BootOrder is 0002,0001,0000,0007 instead of 0001,0000,0007"]
    );
}

#[test]
fn an_entry_of_a_partition_that_moved_within_the_disk_follows() {
    let mut windows = LoadOption::of_file("Windows", drive(NEW, 0x800), r"\EFI\Microsoft\Boot\bootmgfw.efi");
    windows.optional_data = b"WINDOWS\0".to_vec();
    windows.path.nodes.insert(0, Node { kind: 2, subtype: 1, data: vec![0xD0, 0x41, 3, 0x0A, 0, 0, 0, 0] });
    let now = variables(&[(3, windows.clone())], &[3]);
    let situation = Situation {
        now: &now,
        deployed: &[Followed { was: Some(id(NEW)), is: drive(NEW, 0x900) }],
        efi_systems: &[],
        elsewhere: &[],
        first: false,
        makes: true,
    };
    let is = LoadOption { path: windows.path.moved_to(drive(NEW, 0x900)), ..windows.clone() };
    assert_eq!(is.optional_data, b"WINDOWS\0");
    assert_eq!(changes(situation), [Change::Entry { number: 3, was: Some(windows), is }]);
}

#[test]
fn what_matches_already_is_not_written() {
    let debian = LoadOption::of_file("debian", drive(NEW, 0x800), &SHIM.to_uppercase());
    assert_eq!(decided(&variables(&[(4, debian.clone())], &[4]), &[SHIM], &[]), [""; 0]);
    // A stale entry beside it would become its double.
    let stale = LoadOption::of_file("old", drive(OLD, 0x800), &SHIM.to_uppercase());
    assert_eq!(decided(&variables(&[(4, debian.clone()), (5, stale)], &[5, 4]), &[SHIM], &[]), [""; 0]);
    // It is there, and nobody tries it.
    let lost = variables(&[(4, debian), (6, network())], &[6]);
    assert_eq!(decided(&lost, &[SHIM], &[]), ["BootOrder is 0006,0004 instead of 0006"]);
}

#[test]
fn a_new_entry_stands_behind_the_network_where_that_stood_first() {
    let disk = || LoadOption::of_file("x", drive(OTHER, 0x800), SHIM);
    let made = |order: &[u16]| {
        let entries = [(0, settings()), (1, network()), (2, network()), (3, disk())];
        decided(&variables(&entries, order), &[SHIM], &[OTHER]).pop().unwrap()
    };
    assert_eq!(made(&[1, 2, 3]), "BootOrder is 0001,0002,0004,0003 instead of 0001,0002,0003");
    assert_eq!(made(&[0, 1, 3, 2]), "BootOrder is 0000,0001,0004,0003,0002 instead of 0000,0001,0003,0002");
    assert_eq!(made(&[3, 1, 2]), "BootOrder is 0004,0003,0001,0002 instead of 0003,0001,0002");
    assert_eq!(made(&[0, 3]), "BootOrder is 0004,0000,0003 instead of 0000,0003");
    assert_eq!(made(&[]), "BootOrder is 0004 instead of nothing");
}

#[test]
fn what_was_deployed_comes_first_where_that_is_wanted() {
    let debian = LoadOption::of_file("debian", drive(NEW, 0x800), SHIM);
    let other = || LoadOption::of_file("x", drive(OTHER, 0x800), SHIM);
    let first = |entries: &[(u16, LoadOption)], order: &[u16]| {
        decided_for(drive(NEW, 0x800), &variables(entries, order), &[SHIM], &[OTHER], true)
    };
    // Made, before the network and whatever the firmware has.
    let said = first(&[(0, settings()), (1, network()), (3, other())], &[0, 1, 3]);
    assert_eq!(said.last().unwrap(), "BootOrder is 0002,0000,0001,0003 instead of 0000,0001,0003");
    // There, behind the network; of two the one that was tried before the other.
    let entries = [(1, network()), (4, debian.clone()), (5, debian)];
    assert_eq!(first(&entries, &[1, 5, 4]), ["BootOrder is 0005,0001,0004 instead of 0001,0005,0004"]);
    assert_eq!(first(&entries, &[1]), ["BootOrder is 0004,0005,0001 instead of 0001"]);
    assert_eq!(first(&entries, &[4, 1, 5]), [""; 0]);
}

#[test]
fn one_entry_is_made_for_each_loader_and_no_number_is_taken_twice() {
    let mut now = variables(&[(0, settings())], &[0, 2]);
    now.unknown = vec![1];
    let windows = r"\EFI\Microsoft\Boot\bootmgfw.efi";
    let said = decided(&now, &[SHIM, windows, FALLBACK], &[]);
    assert_eq!(said.len(), 3);
    assert!(
        said[0].starts_with("Boot0003 \"Windows Boot Manager\" is new and starts HD(1,GPT,0F9E9BBF"),
        "{said:?}"
    );
    assert!(said[1].starts_with("Boot0004 \"debian\" is new and starts HD(1,GPT,0F9E9BBF"), "{said:?}");
    assert_eq!(said[2], "BootOrder is 0003,0004,0000,0002 instead of 0000,0002");
    let said = decided(&Variables::default(), &[FALLBACK], &[]);
    assert!(said[0].ends_with(r",0x20000)\EFI\BOOT\BOOTX64.EFI"), "{said:?}");
    assert_eq!(decided(&Variables::default(), &[], &[]), [""; 0]);
}

#[test]
fn an_entry_that_starts_nothing_of_it_is_no_reason_to_make_none() {
    let disabled = LoadOption { attributes: 0, ..LoadOption::of_file("off", drive(NEW, 0x800), SHIM) };
    let helper = LoadOption::of_file("keys", drive(NEW, 0x800), r"\EFI\debian\mmx64.efi");
    let gone = LoadOption::of_file("gone", drive(OLD, 0x800), r"\EFI\ubuntu\shimx64.efi");
    for entry in [disabled, helper, gone] {
        let now = variables(&[(0, entry)], &[0]);
        let said = decided(&now, &[SHIM, r"\EFI\debian\mmx64.efi"], &[]);
        assert_eq!(said.last().unwrap(), "BootOrder is 0001,0000 instead of 0000");
    }
    // A partition without a file means the fallback path.
    let mut bare = LoadOption::of_file("disk", drive(NEW, 0x800), "");
    bare.path.nodes.truncate(1);
    assert_eq!(decided(&variables(&[(0, bare.clone())], &[0]), &[SHIM, FALLBACK], &[]), [""; 0]);
    assert_eq!(decided(&variables(&[(0, bare)], &[0]), &[SHIM], &[]).len(), 2);
}

#[test]
fn a_partition_of_an_mbr_follows_by_signature_and_number() {
    let mbr =
        |signature, start| HardDrive { id: PartitionId::Mbr { signature, number: 1 }, ..drive(0, start) };
    let now = variables(&[(0, LoadOption::of_file("debian", mbr(7, 63), SHIM))], &[0]);
    let is = mbr(9, 2048);
    let situation = Situation {
        now: &now,
        deployed: &[Followed { was: Some(mbr(7, 63).id), is }],
        efi_systems: &[],
        elsewhere: &[],
        first: false,
        makes: true,
    };
    let said: Vec<String> = changes(situation).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [r#"Boot0000 "debian" follows to HD(1,MBR,0x00000009,0x800,0x20000)\EFI\debian\shimx64.efi"#]
    );
}

#[test]
fn the_first_active_entry_of_a_disk_that_is_there_is_next() {
    let off = LoadOption { attributes: 0, ..LoadOption::of_file("old", drive(OLD, 1), SHIM) };
    let entries = [
        (0, off),
        (1, LoadOption::of_file("debian", drive(OLD, 1), SHIM)),
        (2, LoadOption::of_file("gone", drive(OTHER, 1), SHIM)),
        (3, network()),
        (5, settings()),
    ];
    let mut now = variables(&entries, &[3, 5, 0, 9, 1, 2]);
    assert_eq!(next_from_disk(&now, &[id(OLD)]), Some(1));
    assert_eq!(next_from_disk(&now, &[]), None);
    now.current = Some(1);
    assert_eq!(next_from_disk(&now, &[id(OLD)]), None);
}
