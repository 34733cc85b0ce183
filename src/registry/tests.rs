use super::*;
use crate::units::usize_from;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// A hive with keys and values of every kind that is written here.
fn filled() -> Hive {
    let mut hive = Hive::empty("NewStoreRoot").unwrap();
    let root = hive.root();
    let objects = hive.make_key(root, "Objects").unwrap();
    for name in ["{9dea862c-5cdd-4e70-acc1-f32b344d4795}", "{A}", "b", "\u{e4}\u{f6}\u{fc}"] {
        let key = hive.make_key(objects, name).unwrap();
        hive.set(key, "short", REG_DWORD, &7u32.to_le_bytes()).unwrap();
        hive.set(key, "text", REG_SZ, &utf16("winload.exe")).unwrap();
        hive.set(key, "Gr\u{f6}\u{df}e", REG_BINARY, &vec![0xA5; 5000]).unwrap();
        hive.set(key, "nothing", REG_BINARY, &[]).unwrap();
    }
    hive
}

#[test]
fn what_was_written_is_read() {
    let hive = Hive::read(filled().into_bytes()).unwrap();
    let objects = hive.find(hive.root(), &["OBJECTS"]).unwrap().unwrap();
    let names: Vec<String> = hive.keys(objects).unwrap().into_iter().map(|(name, _)| name).collect();
    // Windows searches the list by halves: it is sorted by the capitals of the names.
    assert_eq!(names, ["b", "{9dea862c-5cdd-4e70-acc1-f32b344d4795}", "{A}", "\u{e4}\u{f6}\u{fc}"]);
    let key = hive.find(objects, &["\u{c4}\u{d6}\u{dc}"]).unwrap().unwrap();
    let values = hive.values(key).unwrap();
    let data = |name: &str| {
        let value = values.iter().find(|value| value.name == name).unwrap();
        (value.kind, hive.data(value))
    };
    assert_eq!(values.len(), 4);
    assert_eq!(data("short"), (REG_DWORD, vec![7, 0, 0, 0]));
    assert_eq!(data("text"), (REG_SZ, utf16("winload.exe")));
    assert_eq!(data("Gr\u{f6}\u{df}e"), (REG_BINARY, vec![0xA5; 5000]));
    assert_eq!(data("nothing"), (REG_BINARY, vec![]));
    assert_eq!(hive.find(hive.root(), &["Objects", "{C}"]).unwrap(), None);
}

#[test]
fn values_shrink_and_grow_and_their_room_is_used_again() {
    let mut hive = Hive::read(filled().into_bytes()).unwrap();
    let key = hive.find(hive.root(), &["Objects", "b"]).unwrap().unwrap();
    let before = hive.clone().into_bytes().len();
    for round in 0..200usize {
        let length = [3, 900, 4, 12, 4000, 0, 16_000, 1][round % 8];
        let data: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        hive.set(key, "Text", REG_BINARY, &data).unwrap();
        hive = Hive::read(hive.into_bytes()).unwrap();
        let value = hive.value_named(key, "text").unwrap().unwrap();
        assert_eq!(hive.data(&value), data, "round {round}");
    }
    assert!(hive.into_bytes().len() <= before + 32_768, "what was freed is used again");
    assert!(filled().set(key, "text", REG_BINARY, &vec![0; 16_345]).is_err());
}

#[test]
fn a_change_of_the_same_length_touches_nothing_else() {
    let bytes = filled().into_bytes();
    let mut hive = Hive::read(bytes.clone()).unwrap();
    assert!(!hive.is_changed());
    let key = hive.find(hive.root(), &["Objects", "{A}"]).unwrap().unwrap();
    let value = hive.value_named(key, "text").unwrap().unwrap();
    hive.overwrite(&value, &utf16("winload.efi")).unwrap();
    assert!(hive.overwrite(&value, b"short").is_err());
    let changed = hive.into_bytes();
    let differs: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != changed[*at]).collect();
    assert_eq!(changed.len(), bytes.len());
    // Both sequence numbers, the checksum, and "xe" for "fi" in UTF-16.
    let (header, data): (Vec<usize>, Vec<usize>) = differs.into_iter().partition(|at| *at < 512);
    assert!(header.iter().all(|at| matches!(at, 4..12 | 508..512)), "{header:?}");
    assert_eq!(data.len(), 2, "{data:?}");
    assert_eq!(Hive::read(bytes.clone()).unwrap().into_bytes(), bytes, "nothing changed, nothing written");
}

#[test]
fn a_key_with_many_keys_has_them_all_in_order_and_gets_more() {
    let mut hive = Hive::empty("ROOT").unwrap();
    let root = hive.root();
    let name = |number: usize| format!("pci#ven_1234&dev_{:04}", number * 7919 % 1200);
    for number in 0..1200 {
        let key = hive.make_key(root, &name(number)).unwrap();
        hive.set(key, "Service", REG_SZ, &utf16(&name(number))).unwrap();
    }
    let bytes = hive.into_bytes();
    // The lists that were written on the way have 5.8 MB; they are given back, and used again.
    assert!(bytes.len() < 2_000_000, "{}", bytes.len());
    let hive = Hive::read(bytes).unwrap();
    let names: Vec<String> = hive.keys(hive.root()).unwrap().into_iter().map(|(name, _)| name).collect();
    let expected: Vec<String> = (0..1200).map(|number| format!("pci#ven_1234&dev_{number:04}")).collect();
    assert_eq!(names, expected);
    for number in 0..1200 {
        let key = hive.find(hive.root(), &[&name(number)]).unwrap().unwrap();
        let value = hive.value_named(key, "Service").unwrap().unwrap();
        assert_eq!(hive.data(&value), utf16(&name(number)));
    }
}

#[test]
fn a_hive_that_waits_for_its_log_is_refused_by_its_numbers() {
    let mut bytes = filled().into_bytes();
    let sum = u32::from_le_bytes(bytes[508..512].try_into().unwrap());
    bytes[4] ^= 1;
    bytes[508..512].copy_from_slice(&(sum ^ 1).to_le_bytes());
    let error = Hive::read(bytes).unwrap_err();
    assert!(matches!(error, Error::Dirty { .. }), "{error}");
    assert!(error.to_string().contains("start Windows once"));
    assert_eq!(Hive::read(b"regf".to_vec()), Err(Error::NotAHive));
    assert_eq!(Hive::read(vec![0; 9000]), Err(Error::NotAHive));
}

/// Walks everything that there is, and changes a value.
fn exercise(bytes: Vec<u8>) -> Result<usize, Error> {
    let mut hive = Hive::read(bytes)?;
    let mut seen = 0usize;
    let mut keys = vec![(hive.root(), 0u8)];
    while let Some((key, depth)) = keys.pop() {
        for value in hive.values(key)? {
            seen = seen.saturating_add(hive.data(&value).len());
        }
        if depth < 3 {
            keys.extend(hive.keys(key)?.into_iter().map(|(_, key)| (key, depth.saturating_add(1))));
        }
        if keys.len() > 10_000 {
            break;
        }
    }
    let root = hive.root();
    hive.set(root, "new", REG_BINARY, &[1; 300])?;
    let key = hive.make_key(root, "other")?;
    hive.set(key, "new", REG_SZ, &utf16("x"))?;
    Hive::read(hive.into_bytes())?;
    Ok(seen)
}

#[test]
fn damage_is_an_error_or_a_hive_and_never_a_panic() {
    let whole = filled().into_bytes();
    assert!(exercise(whole.clone()).unwrap() > 20_000);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize_from(state % u64::try_from(below).unwrap())
    };
    let mut errors = 0;
    for round in 0..10_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random(3) {
            // Most of the hive is data: what is interesting is in front of it.
            let at = if round % 2 == 0 { random(bytes.len()) } else { 4096 + random(1200) };
            bytes[at] = match random(4) {
                0 => 0,
                1 => 0xFF,
                2 => bytes[at] ^ (1 << random(8)),
                _ => u8::try_from(random(256)).unwrap(),
            };
        }
        if round % 7 == 0 {
            bytes.truncate(random(bytes.len()));
        }
        // The checksum keeps damage of the header out, so it is put right.
        if bytes.len() > 512 {
            let words = bytes[..508].as_chunks::<4>().0;
            let sum = words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
            bytes[508..512].copy_from_slice(&sum.to_le_bytes());
        }
        errors += usize::from(exercise(bytes).is_err());
    }
    assert!(errors > 1000, "{errors}");
}

/// A list may name one cell as often as it is long: each time it would be read anew.
#[test]
fn a_list_that_holds_more_than_the_hive_is_damage() {
    let name = "n".repeat(400);
    let mut hive = Hive::empty("ROOT").unwrap();
    let root = hive.root();
    hive.set(root, &name, REG_BINARY, &vec![1; 4000]).unwrap();
    let cell = hive.values(root).unwrap()[0].cell;
    let list = hive.allocate(4000).unwrap();
    let content = hive.cell(list).unwrap();
    (0..1000).for_each(|index| hive.put(content.start + index * 4, &cell.to_le_bytes()));
    let node = hive.node(root).unwrap();
    hive.put(node.start + keys::VALUES, &1000u32.to_le_bytes());
    hive.put(node.start + keys::VALUE_LIST, &list.to_le_bytes());
    let error = hive.values(root).unwrap_err().to_string();
    assert!(error.contains("it holds more than the hive"), "{error}");
    assert!(hive.values_up_to(root, 999).unwrap_err().to_string().contains("1000 values"));

    let mut hive = Hive::empty("ROOT").unwrap();
    let inner = hive.make_key(root, &"k".repeat(250)).unwrap();
    let list = hive.allocate(404).unwrap();
    let content = hive.cell(list).unwrap();
    hive.put(content.start, &[b'l', b'i', 100, 0]);
    (0..100).for_each(|index| hive.put(content.start + 4 + index * 4, &inner.0.to_le_bytes()));
    let node = hive.node(root).unwrap();
    hive.put(node.start + keys::SUBKEY_LIST, &list.to_le_bytes());
    let error = hive.keys(root).unwrap_err().to_string();
    assert!(error.contains("it holds more than the hive"), "{error}");
}

#[test]
fn the_name_of_a_key_has_at_most_255_characters_whatever_they_are() {
    let mut hive = Hive::empty("ROOT").unwrap();
    let root = hive.root();
    for letter in ["k", "ö"] {
        hive.make_key(root, &letter.repeat(255)).unwrap();
        let error = hive.make_key(root, &letter.repeat(256)).unwrap_err().to_string();
        assert!(error.ends_with("cannot be a name in a registry"), "{error}");
    }
}

const KEYS: [&str; 5] = ["Services", "select", "b b", "Ä", "pci#ven_8086&dev_7111"];
const VALUES: [&str; 4] = ["Start", "0", "", "größer"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is made and set, in whichever order, each value holds what was set last, and there is nothing else.
    #[test]
    fn a_hive_holds_what_was_set_last(
        changes in vec((0..KEYS.len(), any::<bool>(), 0..VALUES.len(), vec(any::<u8>(), 0..300)), 1..50)
    ) {
        let mut hive = Hive::empty("ROOT").unwrap();
        let mut expected = BTreeMap::new();
        for (key, is_deep, value, data) in changes {
            // As in Windows, capitals and small letters are the same name.
            let name = if is_deep { KEYS[key].to_uppercase() } else { KEYS[key].to_owned() };
            let mut at = hive.make_key(hive.root(), &name).unwrap();
            if is_deep {
                at = hive.make_key(at, "inside").unwrap();
            }
            let value = VALUES[value];
            // The value without a name is there or not; it is not made.
            if value.is_empty() {
                prop_assert!(hive.set(at, value, REG_BINARY, &data).is_err());
                continue;
            }
            hive.set(at, value, REG_BINARY, &data).unwrap();
            expected.insert((KEYS[key], is_deep, value), data);
            hive = Hive::read(hive.into_bytes()).unwrap();
        }
        let mut found = BTreeMap::new();
        for key in KEYS {
            let Some(outer) = hive.find(hive.root(), &[key]).unwrap() else { continue };
            let inner = hive.find(outer, &["Inside"]).unwrap();
            for (at, is_deep) in [(Some(outer), false), (inner, true)] {
                for value in at.map(|at| hive.values(at).unwrap()).unwrap_or_default() {
                    let name = VALUES.into_iter().find(|name| *name == value.name).unwrap();
                    found.insert((key, is_deep, name), hive.data(&value));
                }
            }
        }
        prop_assert_eq!(found, expected);
        prop_assert!(hive.keys(hive.root()).unwrap().len() <= KEYS.len());
    }
}
