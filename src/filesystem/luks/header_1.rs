//! The header of LUKS1.
//!
//! ```text
//! 0     magic, version, cipher, mode, hash, start of the data, key length, digest of the key, UUID
//! 208   eight keyslots of 48 bytes: state, iterations, salt, start of their area, stripes
//! 4096  the areas of the keyslots, then the data
//! ```
//!
//! Source: LUKS1 On-Disk Format 1.2.3.

use super::cipher::Cipher;
use super::hash::{Hash, Kdf};
use super::header::{Data, Digest, Header, KEY_BYTES, Keyslot, STRIPES, word};
use crate::filesystem::signature::identity::text_at;
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, OutOfBounds, read_slice, read_u32be, usize_from};

pub(super) const BYTES: usize = 592;
const KEYSLOTS: [usize; 8] = [208, 256, 304, 352, 400, 448, 496, 544];
const ENABLED: u32 = 0x00AC_71F3;
const SECTOR_BYTES: u64 = 512;
const DIGEST_BYTES: usize = 20;
const SALT_BYTES: usize = 32;

/// Reads a header of which the magic and the version are known.
pub(super) fn read(header: &[u8], volume_bytes: u64) -> Header {
    let mut found = Header::new(FileSystemKind::Luks1, text_at(header, 168, 40), None);
    match fields(header, volume_bytes, &mut found) {
        Ok(obstacle) => found.obstacle = obstacle,
        Err(field) => found.obstacle = Some(format!("is cut off ({field})")),
    }
    found
}

/// Reads what is behind the UUID's name; a clause where that contradicts itself.
fn fields(header: &[u8], volume_bytes: u64, found: &mut Header) -> Result<Option<String>, OutOfBounds> {
    let name = |at| text_at(header, at, 32).map(|text| word(&text)).unwrap_or_default();
    let cipher = format!("{}-{}", name(8), name(40));
    let hash = name(72);
    let start = u64::from(read_u32be(header, 104)?).saturating_mul(SECTOR_BYTES);
    let key_bytes = u64::from(read_u32be(header, 108)?);
    if key_bytes == 0 || key_bytes > KEY_BYTES {
        return Ok(Some(format!("has a key of {key_bytes} bytes, which no LUKS has")));
    }
    let key_bytes = usize_from(key_bytes);
    // A detached header has no data behind it.
    let room = if start == 0 { volume_bytes } else { start.min(volume_bytes) };
    let pbkdf2 = |at| Ok(Kdf::Pbkdf2 { hash: hash.clone(), iterations: read_u32be(header, at)?.into() });
    for (number, at) in (0u64..).zip(KEYSLOTS) {
        let field = |offset: usize| at.saturating_add(offset);
        if read_u32be(header, at)? != ENABLED {
            continue;
        }
        let area = u64::from(read_u32be(header, field(40))?).saturating_mul(SECTOR_BYTES);
        let stripes = u64::from(read_u32be(header, field(44))?);
        let length = stripes.saturating_mul(key_bytes.try_into().unwrap_or(KEY_BYTES));
        let area = ByteRange::new(area, area.saturating_add(length));
        if stripes == 0 || stripes > STRIPES || area.end() > room {
            return Ok(Some(format!(
                "has a keyslot {number} of {stripes} stripes at {area}, which is not in front of its data"
            )));
        }
        found.keyslots.push(Keyslot {
            number,
            kdf: pbkdf2(field(4))?,
            salt: read_slice(header, field(8), SALT_BYTES)?.to_vec(),
            key_bytes,
            stripes: usize_from(stripes),
            hash: hash.clone(),
            area,
            cipher: cipher.clone(),
            area_key_bytes: key_bytes,
        });
    }
    found.digests.push(Digest {
        keyslots: found.keyslots.iter().map(|slot| slot.number).collect(),
        kdf: pbkdf2(164)?,
        salt: read_slice(header, 132, SALT_BYTES)?.to_vec(),
        digest: read_slice(header, 112, DIGEST_BYTES)?.to_vec(),
    });
    if start == 0 {
        return Ok(Some("has its data on another device: its header is a detached one".to_owned()));
    }
    let whole = volume_bytes.saturating_sub(volume_bytes % SECTOR_BYTES);
    if start >= whole {
        return Ok(Some(format!("has its data at byte {start}, beyond the end of the volume")));
    }
    let obstacle = Cipher::obstacle(&cipher, key_bytes).or_else(|| {
        Hash::named(&hash).is_none().then(|| format!("needs the hash {hash}, which Remint does not have"))
    });
    found.data = Some(Data {
        range: ByteRange::new(start, whole),
        cipher,
        key_bytes,
        sector_bytes: usize_from(SECTOR_BYTES),
        first_sector: 0,
    });
    Ok(obstacle)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with a key of 64 bytes, and its data from 2 MiB on.
    fn usual() -> [u8; BYTES] {
        let mut header = [0u8; BYTES];
        header[8..11].copy_from_slice(b"aes");
        header[40..51].copy_from_slice(b"xts-plain64");
        header[72..78].copy_from_slice(b"sha256");
        header[104..108].copy_from_slice(&4096u32.to_be_bytes());
        header[108..112].copy_from_slice(&64u32.to_be_bytes());
        header
    }

    /// Enables a keyslot of 4000 stripes, the first one, with its area at this sector.
    fn enable(header: &mut [u8; BYTES], sector: u32) {
        header[208..212].copy_from_slice(&ENABLED.to_be_bytes());
        header[248..252].copy_from_slice(&sector.to_be_bytes());
        header[252..256].copy_from_slice(&4000u32.to_be_bytes());
    }

    #[test]
    fn one_without_an_enabled_keyslot_is_still_one() {
        let found = read(&usual(), 4 << 20);
        assert_eq!((found.obstacle, found.keyslots.len()), (None, 0));
        assert_eq!(found.data.unwrap().range, ByteRange::new(2 << 20, 4 << 20));
    }

    #[test]
    fn what_keeps_it_closed_is_said_by_its_name() {
        for (start_sector, keyslot_sector, cipher, hash, part) in [
            (4096u32, 8u32, "twofish", "sha256", "another cipher"),
            (4096, 8, "aes", "whirlpool", "needs the hash whirlpool"),
            (0, 8, "aes", "sha256", "detached"),
            // No keyslot reaches into the data, or beyond the end of a volume that is a header alone.
            (500, 8, "aes", "sha256", "not in front of its data"),
            (0, 8000, "aes", "sha256", "a keyslot 0"),
        ] {
            let mut header = usual();
            header[8..8 + cipher.len()].copy_from_slice(cipher.as_bytes());
            header[72..72 + hash.len()].copy_from_slice(hash.as_bytes());
            header[104..108].copy_from_slice(&start_sector.to_be_bytes());
            enable(&mut header, keyslot_sector);
            let why = read(&header, 4 << 20).obstacle.unwrap();
            assert!(why.contains(part), "{why}");
        }
    }
}
