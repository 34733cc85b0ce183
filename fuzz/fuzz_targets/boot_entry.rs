//! No bytes of a boot entry make its reader panic; what was read is written the same; and what follows a deploy once
//! follows it no more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::uefi::{
    Change, EfiSystem, Followed, HardDrive, LoadOption, PartitionId, Situation, Variables, changes, decode_order,
    encode_order, next_from_disk,
};
use remint::units::Guid;

const FILE: &str = r"\EFI\debian\shimx64.efi";

fn drive(guid: u128, start: u64) -> HardDrive {
    let id = PartitionId::Gpt { guid: Guid::from_u128(guid) };
    HardDrive { partition_number: 1, partition_start: start, partition_size: 7, id }
}

/// The input itself, or an entry with pairs of place and value changed.
fn bytes_of(input: &[u8]) -> Vec<u8> {
    let Some((0, pairs)) = input.split_first() else { return input.to_vec() };
    let mut bytes = LoadOption::of_file("debian", drive(1, 2048), FILE).encode().unwrap();
    for pair in pairs.chunks_exact(2) {
        let at = usize::from(pair[0]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = pair[1];
        }
    }
    bytes
}

fuzz_target!(|input: &[u8]| {
    let bytes = bytes_of(input);
    let order = decode_order(&bytes);
    assert_eq!(decode_order(&encode_order(&order)), order);
    let Ok(option) = LoadOption::decode(&bytes) else { return };
    assert_eq!(option.encode().unwrap(), bytes);
    let _ = option.name();
    let mut now = Variables { order, ..Variables::default() };
    now.entries.insert(u16::from(bytes[0]), option);
    let is = drive(2, 4096);
    let deployed = [Followed { was: Some(drive(1, 0).id), is }];
    let efi_systems = [EfiSystem { partition: is, files: vec![FILE.to_owned()] }];
    let first = bytes.get(1).is_some_and(|byte| byte % 2 == 1);
    let situation = |now: &Variables| {
        changes(Situation { now, deployed: &deployed, efi_systems: &efi_systems, elsewhere: &[], first, makes: true })
    };
    for change in situation(&now) {
        let _ = change.to_string();
        match change {
            Change::Entry { number, is, .. } => {
                assert_eq!(LoadOption::decode(&is.encode().unwrap()).as_ref(), Ok(&is));
                now.entries.insert(number, is);
            }
            Change::Order { is, .. } => now.order = is,
        }
    }
    assert_eq!(situation(&now), []);
    let _ = next_from_disk(&now, &[is.id]);
});
