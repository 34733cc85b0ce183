//! What the JSON of a LUKS2 header says.
//!
//! Numbers of 64 bits are texts there. What is not understood is said, and keeps the volume from being opened only where that would
//! be a guess.

use super::cipher::Cipher;
use super::hash::{Kdf, from_base64};
use super::header::{Data, Digest, Header, KEY_BYTES, Keyslot, STRIPES, word};
use super::header_2::Half;
use crate::units::{ByteRange, usize_from};
use serde_json::{Map, Value};

const SECTORS: [u64; 4] = [512, 1024, 2048, 4096];
/// What more of each kind than a header can have is not looked at: it has 32 keyslots and 32 tokens at most.
const MOST: usize = 32;
/// Every salt that cryptsetup makes or takes has this length.
const SALT_BYTES: usize = 32;
/// A digest has this length, or that of its hash.
const SHORT_DIGEST_BYTES: usize = 20;

pub(super) fn read(half: &Half, volume_bytes: u64, found: &mut Header) {
    let json = &half.json;
    found.keyslots = objects(json, "keyslots").filter_map(|(number, slot)| keyslot(number, slot)).collect();
    found.facts.extend(objects(json, "tokens").map(|(_, token)| format!("token {}", name(token, "type"))));
    let config = json.get("config").unwrap_or(&Value::Null);
    found.facts.extend(texts(config.get("flags")).map(|flag| format!("flag {}", word(flag))));
    found.facts.extend(half.subsystem.iter().map(|name| format!("subsystem {name}")));
    found.obstacle = data(half, volume_bytes, found).err();
}

/// Finds the data, and what keeps them from being decrypted.
fn data(half: &Half, volume_bytes: u64, found: &mut Header) -> Result<(), String> {
    let json = &half.json;
    let config = json.get("config").unwrap_or(&Value::Null);
    let required: Vec<String> =
        texts(config.get("requirements").and_then(|required| required.get("mandatory"))).map(word).collect();
    let is_under_way = |name: &String| name.contains("reencrypt");
    let areas = || objects(json, "keyslots").any(|(_, slot)| name(slot, "type") == "reencrypt");
    if required.iter().any(is_under_way) || areas() {
        found.warnings.push(
            "its re-encryption has not ended: let it end with cryptsetup reencrypt --resume-only, and capture it then"
                .to_owned(),
        );
        return Err("is being encrypted anew".to_owned());
    }
    if !required.is_empty() {
        return Err(format!("requires what Remint does not have ({})", required.join(", ")));
    }
    let mut segments = objects(json, "segments");
    let (number, segment) = match (segments.next(), segments.next()) {
        (Some(segment), None) => segment,
        (None, _) => return Err("says of no data where they are".to_owned()),
        (Some(_), Some(_)) => return Err("has several stretches of data".to_owned()),
    };
    let kind = name(segment, "type");
    if let Some(integrity) = segment.get("integrity") {
        found.facts.push(format!("integrity {}", name(integrity, "type")));
        return Err("checks every sector with dm-integrity, whose journal only the kernel reads".to_owned());
    }
    if kind != "crypt" {
        return Err(format!("has data of the kind {kind}, which Remint does not decrypt"));
    }
    let range = place(segment, half, volume_bytes)?;
    let sector_bytes = number_of(segment, "sector_size").filter(|bytes| SECTORS.contains(bytes));
    let Some(sector_bytes) = sector_bytes else {
        return Err("has sectors of a size that none has".to_owned());
    };
    let Some(first_sector) = number_of(segment, "iv_tweak") else {
        return Err("does not say the number of its first sector (iv_tweak)".to_owned());
    };
    let whole = range.length().checked_div(sector_bytes).unwrap_or(0).saturating_mul(sector_bytes);
    let range = ByteRange::new(range.start(), range.start().saturating_add(whole));
    found.digests = objects(json, "digests").filter_map(|(_, found)| digest(found, number)).collect();
    let is_of_data =
        |slot: &&Keyslot| found.digests.iter().any(|digest| digest.keyslots.contains(&slot.number));
    let key_bytes = found.keyslots.iter().find(is_of_data).map_or(0, |slot| slot.key_bytes);
    found.data = Some(Data {
        range,
        cipher: name(segment, "encryption"),
        key_bytes,
        sector_bytes: usize_from(sector_bytes),
        first_sector,
    });
    let stray = found.keyslots.iter().find(|slot| slot.area.end() > range.start().min(volume_bytes));
    match stray {
        Some(Keyslot { number, area, .. }) => {
            Err(format!("has a keyslot {number} at {area}, which is not in front of its data"))
        }
        // Without a keyslot of its own, no key has a length.
        None if key_bytes == 0 => Ok(()),
        None => Cipher::obstacle(&name(segment, "encryption"), key_bytes).map_or(Ok(()), Err),
    }
}

/// Where a segment lies, cut off at the end of the volume only where it is as long as that lets it be.
fn place(segment: &Value, half: &Half, volume_bytes: u64) -> Result<ByteRange, String> {
    let start = number_of(segment, "offset").unwrap_or(0);
    if start == 0 {
        return Err("has its data on another device: its header is a detached one".to_owned());
    }
    let end = match segment.get("size") {
        Some(Value::String(size)) if size == "dynamic" => volume_bytes,
        _ => number_of(segment, "size").and_then(|size| start.checked_add(size)).unwrap_or(0),
    };
    let headers = half.size_bytes.saturating_mul(2);
    if start < headers || !start.is_multiple_of(512) || start >= end || end > volume_bytes {
        return Err(format!("has its data at {start}..{end}, where the volume has no room for them"));
    }
    Ok(ByteRange::new(start, end))
}

fn keyslot(number: &str, slot: &Value) -> Option<Keyslot> {
    let (kdf, af, area) = (slot.get("kdf")?, slot.get("af")?, slot.get("area")?);
    let is_known =
        name(slot, "type") == "luks2" && name(af, "type") == "luks1" && name(area, "type") == "raw";
    let bounded =
        |value: Option<u64>, most: u64| value.filter(|value| (1..=most).contains(value)).map(usize_from);
    let start = number_of(area, "offset")?;
    let (key_bytes, stripes) =
        (bounded(number_of(slot, "key_size"), KEY_BYTES)?, bounded(number_of(af, "stripes"), STRIPES)?);
    let length = u64::try_from(key_bytes.checked_mul(stripes)?).ok()?;
    let (kdf, salt) = (key_derivation(kdf), salt(kdf)?);
    let is_long_enough = number_of(area, "size").is_some_and(|bytes| bytes >= length);
    (is_known && is_long_enough).then_some(Keyslot {
        number: number.parse().ok()?,
        kdf,
        salt,
        key_bytes,
        stripes,
        hash: name(af, "hash"),
        area: ByteRange::at(start, length)?,
        cipher: name(area, "encryption"),
        area_key_bytes: bounded(number_of(area, "key_size"), KEY_BYTES)?,
    })
}

/// A digest of the key of a segment.
fn digest(found: &Value, segment: &str) -> Option<Digest> {
    if !texts(found.get("segments")).any(|number| number == segment) {
        return None;
    }
    let kdf = key_derivation(found);
    let is_long = |length| kdf.digest_bytes().is_none_or(|bytes| length == bytes);
    let digest = from_base64(found.get("digest")?.as_str()?)?;
    (digest.len() == SHORT_DIGEST_BYTES || is_long(digest.len())).then_some(())?;
    Some(Digest {
        keyslots: texts(found.get("keyslots")).filter_map(|number| number.parse().ok()).collect(),
        kdf,
        salt: salt(found)?,
        digest,
    })
}

fn salt(found: &Value) -> Option<Vec<u8>> {
    from_base64(found.get("salt")?.as_str()?).filter(|salt| salt.len() == SALT_BYTES)
}

fn key_derivation(kdf: &Value) -> Kdf {
    let number = |name| number_of(kdf, name).unwrap_or(0);
    let argon2 = |is_id| Kdf::Argon2 {
        is_id,
        passes: number("time"),
        memory_kib: number("memory"),
        lanes: number("cpus"),
    };
    match name(kdf, "type").as_str() {
        "pbkdf2" => Kdf::Pbkdf2 { hash: name(kdf, "hash"), iterations: number("iterations") },
        "argon2i" => argon2(false),
        "argon2id" => argon2(true),
        other => Kdf::Other(other.to_owned()),
    }
}

/// The members of an object of the header, each with its number.
fn objects<'a>(json: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let members = json.get(name).and_then(Value::as_object).map(Map::iter);
    members.into_iter().flatten().take(MOST).map(|(number, member)| (number.as_str(), member))
}

/// The texts in a list.
fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().take(MOST).filter_map(Value::as_str)
}

fn name(object: &Value, field: &str) -> String {
    object.get(field).and_then(Value::as_str).map(word).unwrap_or_default()
}

/// A number, which is a text where it may need 64 bits.
fn number_of(object: &Value, field: &str) -> Option<u64> {
    let value = object.get(field)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::FileSystemKind;
    use serde_json::json;

    /// A header as cryptsetup makes it.
    fn usual() -> Value {
        let salt = "J9Ao4isb/sosWt02NRC+JhkVwW71a9clmpc90cgwxQA=";
        json!({
            "keyslots": {"0": {
                "type": "luks2", "key_size": 64, "kdf": {"type": "argon2id", "time": 4, "memory": 1024, "cpus": 2, "salt": salt},
                "af": {"type": "luks1", "stripes": 4000, "hash": "sha256"},
                "area": {"type": "raw", "offset": "32768", "size": "258048", "encryption": "aes-xts-plain64", "key_size": 64}
            }},
            "tokens": {"0": {"type": "systemd-tpm2", "keyslots": ["0"]}},
            "segments": {"0": {
                "type": "crypt", "offset": "16777216", "size": "dynamic", "iv_tweak": "0", "encryption": "aes-xts-plain64",
                "sector_size": 4096
            }},
            "digests": {"0": {
                "type": "pbkdf2", "keyslots": ["0"], "segments": ["0"], "hash": "sha256", "iterations": 1000, "salt": salt,
                "digest": "zRgpFmHk2IdikUhfSxVjZIe7qDstwlBBj1GQxJLQZR0="
            }},
            "config": {"json_size": "12288", "keyslots_size": "16744448", "flags": ["allow-discards"]}
        })
    }

    fn header(json: Value) -> Header {
        let half = Half::of_json(0x4000, json);
        let mut found = Header::new(FileSystemKind::Luks2, None, None);
        read(&half, 64 << 20, &mut found);
        found
    }

    #[test]
    fn a_header_says_how_its_data_are_encrypted_and_what_opens_them() {
        let found = header(usual());
        assert_eq!(
            found.words(),
            "LUKS2 (aes-xts-plain64 with a key of 512 bits, sectors of 4096 bytes, 48.0 MiB of data from byte 16777216; keyslot 0: \
             argon2id with 4 passes over 1.00 MiB in 2 threads; token systemd-tpm2; flag allow-discards)"
        );
        assert_eq!(found.obstacle, None);
        assert_eq!((found.digests.len(), found.digests[0].digest.len()), (1, 32));
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        for (pointer, value, part) in [
            ("/config/requirements", json!({"mandatory": ["online-reencrypt-v2"]}), "encrypted anew"),
            ("/config/requirements", json!({"mandatory": ["moon-phase"]}), "moon-phase"),
            ("/keyslots/1", json!({"type": "reencrypt"}), "encrypted anew"),
            ("/segments/0/integrity", json!({"type": "hmac(sha256)"}), "dm-integrity"),
            ("/segments/0/type", json!("linear"), "the kind linear"),
            ("/segments/0/type", json!("hw-opal-crypt"), "the kind hw-opal-crypt"),
            ("/segments/1", json!({"type": "crypt"}), "several stretches"),
            ("/segments", json!({}), "says of no data"),
            ("/segments/0/offset", json!("0"), "detached"),
            ("/segments/0/offset", json!("16384"), "no room"),
            ("/segments/0/offset", json!("67108864"), "no room"),
            ("/segments/0/offset", json!("18446744073709551615"), "no room"),
            ("/segments/0/size", json!("67108864"), "no room"),
            ("/segments/0/sector_size", json!(8192), "sectors of a size"),
            ("/segments/0/encryption", json!("serpent-xts-plain64"), "serpent-xts-plain64"),
            ("/segments/0/iv_tweak", json!("many"), "iv_tweak"),
            ("/segments/0/iv_tweak", json!(null), "iv_tweak"),
            ("/keyslots/0/area/offset", json!("16700000"), "not in front of its data"),
        ] {
            let mut json = usual();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            json.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
            let found = header(json);
            let why = found.obstacle.clone().unwrap_or_default();
            assert!(why.contains(part), "{pointer}: {why}");
            let said = crate::filesystem::luks::findings(&found).join("; ");
            assert!(said.contains("--when-dirty raw") && !said.contains("--luks-key"), "{said}");
            assert_eq!(said.contains("--resume-only"), part == "encrypted anew", "{said}");
        }
    }

    #[test]
    fn a_digest_that_no_luks_has_is_none() {
        let base64 = |bytes: usize| json!("A".repeat(bytes / 3 * 4));
        for (pointer, value, is_one) in [
            ("/digests/0/digest", json!("zRgpFmHk2IdikUhfSxVjZIe7qDs="), true),
            ("/digests/0/digest", base64(48), false),
            ("/digests/0/digest", base64(3072), false),
            ("/digests/0/digest", json!(""), false),
            ("/digests/0/salt", base64(48), false),
            ("/digests/0/hash", json!("sha512"), false),
        ] {
            let mut json = usual();
            *json.pointer_mut(pointer).unwrap() = value;
            assert_eq!(header(json).digests.len(), usize::from(is_one), "{pointer}");
        }
    }

    #[test]
    fn data_of_a_fixed_size_end_where_that_says_and_begin_with_the_number_of_their_first_sector() {
        let mut json = usual();
        json["segments"]["0"]["size"] = json!("8192000");
        json["segments"]["0"]["iv_tweak"] = json!("4294967296");
        let data = header(json).data.unwrap();
        assert_eq!((data.range, data.first_sector), (ByteRange::new(16 << 20, 24_969_216), 1 << 32));
        // A sector that is not whole is none.
        let mut json = usual();
        json["segments"]["0"]["size"] = json!("8192512");
        assert_eq!(header(json).data.unwrap().range.end(), 24_969_216);
    }

    #[test]
    fn a_keyslot_that_no_luks_has_is_none() {
        for (pointer, value) in [
            ("/keyslots/0/key_size", json!(513)),
            ("/keyslots/0/key_size", json!(0)),
            ("/keyslots/0/af/stripes", json!(4001)),
            ("/keyslots/0/area/size", json!("255999")),
            ("/keyslots/0/area/offset", json!("18446744073709551615")),
            ("/keyslots/0/area/key_size", json!(u64::MAX)),
            ("/keyslots/0/kdf/salt", json!("not base 64")),
            ("/keyslots/0/kdf/salt", json!("J9Ao4isb")),
            ("/keyslots/0/kdf", json!(null)),
            ("/keyslots", json!([1, 2])),
        ] {
            let mut json = usual();
            *json.pointer_mut(pointer).unwrap() = value;
            assert!(header(json).keyslots.is_empty(), "{pointer}");
        }
    }
}
