//! No bytes of a hive make its reader or its editor panic, and what was changed is read as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remint::registry::{Hive, REG_BINARY};

/// The input itself, or a hive with triples of place (16 bits) and value changed, its checksum right.
fn bytes_of(input: &[u8]) -> Vec<u8> {
    let Some((0, triples)) = input.split_first() else { return input.to_vec() };
    let mut hive = Hive::empty("ROOT").unwrap();
    for name in ["Objects", "MountedDevices"] {
        let key = hive.make_key(hive.root(), name).unwrap();
        hive.set(key, "short", REG_BINARY, &[1]).unwrap();
        hive.set(key, "long", REG_BINARY, &[2; 200]).unwrap();
    }
    let mut bytes = hive.into_bytes();
    for triple in triples.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([triple[0], triple[1]]));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = triple[2];
        }
    }
    let sum = bytes[..508].chunks_exact(4).fold(0, |sum, word| {
        sum ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]])
    });
    bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fuzz_target!(|input: &[u8]| {
    let Ok(mut hive) = Hive::read(bytes_of(input)) else { return };
    let mut keys = vec![(hive.root(), 0)];
    let mut seen = 0;
    while let Some((key, depth)) = keys.pop() {
        for value in hive.values(key).unwrap_or_default() {
            assert_eq!(hive.data(&value).len(), value.length());
        }
        seen += 1;
        if depth < 3 && seen < 2000 {
            keys.extend(hive.keys(key).unwrap_or_default().into_iter().map(|(_, key)| (key, depth + 1)));
        }
    }
    let root = hive.root();
    if hive.set(root, "new", REG_BINARY, &[5; 70]).is_ok() {
        let hive = Hive::read(hive.into_bytes()).unwrap();
        if let Ok(Some(value)) = hive.value_named(root, "new") {
            assert_eq!(hive.data(&value), [5; 70]);
        }
    }
});
