//! Versions 1.0, 1.1 and 1.2: the same bytes at three places.
//!
//! ```text
//!   0 magic         80 size of the data used    136 size of the data     192 time of the last change
//!   4 version, 1    92 members                  144 own place            200 events
//!   8 features      96 place of the bitmap      152 recovered so far     208 equal so far
//!  16 UUID         128 start of the data        160 own number           216 checksum
//!  32 name                                      186 size of bad blocks   220 roles that follow
//!  72 level, 76 layout, 88 chunk                188 place of bad blocks  256 roles, two bytes each
//! ```
//!
//! Sizes and places are sectors of 512 bytes.

use super::superblock::{BYTES, MAGIC, Role, SECTOR_BYTES, STRUCTURE, Superblock};
use crate::filesystem::Error;
use crate::filesystem::signature::identity::{text_at, uuid_at};
use crate::units::{ByteRange, read_slice, read_u16le, read_u32le, read_u64le, u64_from, usize_from};

const ROLES_AT: usize = 256;
const MOST_ROLES: u32 = 1920;
const ROLE_SPARE: u16 = 0xFFFF;
const ROLE_JOURNAL: u16 = 0xFFFD;
/// The largest role of a member that holds data.
const ROLE_MAX: u16 = 0xFF00;

/// Bits of `feature_map`.
mod feature {
    pub(super) const BITMAP: u32 = 1;
    pub(super) const RECOVERY_OFFSET: u32 = 2;
    pub(super) const RESHAPE: u32 = 4;
    pub(super) const BAD_BLOCKS: u32 = 8;
    pub(super) const REPLACEMENT: u32 = 16;
    pub(super) const BACKWARDS: u32 = 32;
    pub(super) const NEW_OFFSET: u32 = 64;
    pub(super) const RECOVERY_BITMAP: u32 = 128;
    pub(super) const CLUSTERED: u32 = 256;
    pub(super) const JOURNAL: u32 = 512;
    pub(super) const PPL: u32 = 1024;
    pub(super) const SEVERAL_PPLS: u32 = 2048;
    pub(super) const RAID_0_LAYOUT: u32 = 4096;
    pub(super) const KNOWN: u32 = 0x1FFF;
}

/// `None` where there is no superblock, or one that says that it stands elsewhere: the remains of another array.
pub(super) fn parse(
    bytes: &[u8],
    at: u64,
    version: &'static str,
    volume_bytes: u64,
) -> Option<Result<Superblock, Error>> {
    let stands_here = read_u64le(bytes, 144).ok()?.checked_mul(SECTOR_BYTES) == Some(at);
    if read_u32le(bytes, 0) != Ok(MAGIC) || read_u32le(bytes, 4) != Ok(1) || !stands_here {
        return None;
    }
    let contradiction = |fact: &str| Error::corrupt(STRUCTURE, at, fact);
    if checksum(bytes) != read_u32le(bytes, 216).ok() {
        return Some(Err(contradiction(&format!("the checksum of version {version} is wrong"))));
    }
    Some(fields(bytes, at, version).ok_or_else(|| contradiction("a size or a place in it is none")).and_then(
        |found| match lies_well(&found, volume_bytes) {
            true => Ok(found),
            false => Err(contradiction("data, superblock and bitmap overlap, or lie outside of the volume")),
        },
    ))
}

/// The sum of all words up to the end of the roles, the checksum itself left out.
fn checksum(bytes: &[u8]) -> Option<u32> {
    let roles = read_u32le(bytes, 220).ok().filter(|roles| *roles <= MOST_ROLES)?;
    let length = usize_from(u64::from(roles).saturating_mul(2)).saturating_add(ROLES_AT);
    let covered = read_slice(bytes, 0, length).ok()?;
    let (words, rest) = covered.as_chunks::<4>();
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u32::from_le_bytes(*word).into()));
    let rest = rest.first_chunk::<2>().map_or(0, |half| u16::from_le_bytes(*half));
    let sum = sum.wrapping_add(rest.into()).wrapping_sub(read_u32le(bytes, 216).ok()?.into());
    u32::try_from((sum & 0xFFFF_FFFF).wrapping_add(sum >> 32) & 0xFFFF_FFFF).ok()
}

fn fields(bytes: &[u8], at: u64, version: &'static str) -> Option<Superblock> {
    let word = |at: usize| read_u32le(bytes, at).ok();
    let sectors = |at: usize| read_u64le(bytes, at).ok()?.checked_mul(SECTOR_BYTES);
    let beside = |sectors: u32| at.checked_add_signed(i64::from(sectors.cast_signed()).checked_mul(512)?);
    let features = word(8)?;
    let (level, number) = (word(72)?.cast_signed(), word(160)?);
    let (size, room) = (sectors(80)?, sectors(136)?);
    // Members of a RAID 0 and of a linear array may differ in size, and use all of it.
    let used = if level == 0 || level == -1 { room } else { size };
    let roles: Vec<u16> = (0..word(220)?)
        .map_while(|role| {
            read_u16le(bytes, usize_from(u64::from(role).saturating_mul(2)).saturating_add(ROLES_AT)).ok()
        })
        .collect();
    let own = roles.get(usize_from(number.into())).copied().unwrap_or(ROLE_SPARE);
    let bad_blocks = match (read_u16le(bytes, 186).ok()?, word(188)?) {
        (0, _) | (_, 0) => None,
        (length, place) => Some(ByteRange::at(beside(place)?, u64::from(length).checked_mul(SECTOR_BYTES)?)?),
    };
    let active = roles.iter().filter(|role| **role < ROLE_MAX).count();
    Some(Superblock {
        version,
        at,
        array_uuid: uuid_at(bytes, 16),
        name: text_at(bytes, 32, 32),
        level,
        disks: word(92)?,
        active: u32::try_from(active).ok()?,
        number,
        role: match own {
            ROLE_SPARE => Role::Spare,
            ROLE_JOURNAL => Role::Journal,
            role if role < ROLE_MAX => Role::Active,
            _ => Role::Faulty,
        },
        position: own.into(),
        chunk_bytes: u64::from(word(88)?).checked_mul(SECTOR_BYTES)?,
        layout: Some(word(76)?).filter(|_| level != 0 || features & feature::RAID_0_LAYOUT != 0),
        events: read_u64le(bytes, 200).ok()?,
        data: ByteRange::at(sectors(128)?, used).filter(|_| used <= room)?,
        in_sync: read_u64le(bytes, 208) == Ok(u64::MAX),
        places: bad_blocks.into_iter().collect(),
        bitmap_at: if features & feature::BITMAP != 0 { Some(beside(word(96)?)?) } else { None },
        obstacle: obstacle(features),
    })
}

/// What the features say that no single member can answer for.
fn obstacle(features: u32) -> Option<&'static str> {
    let has = |bits: u32| features & bits != 0;
    match () {
        () if has(!feature::KNOWN) => Some("has features that Remint does not know"),
        () if has(feature::RESHAPE | feature::BACKWARDS | feature::NEW_OFFSET) => Some("is being reshaped"),
        () if has(feature::REPLACEMENT) => Some("takes the place of another member, and is not whole yet"),
        () if has(feature::RECOVERY_OFFSET | feature::RECOVERY_BITMAP) => {
            Some("is being rebuilt, and is not whole yet")
        }
        () if has(feature::BAD_BLOCKS) => Some("has bad blocks, whose content only other members have"),
        () if has(feature::CLUSTERED) => Some("is shared by a cluster"),
        () if has(feature::JOURNAL | feature::PPL | feature::SEVERAL_PPLS) => Some("has a journal"),
        () => None,
    }
}

/// Nothing overlaps, and everything lies on the volume.
fn lies_well(found: &Superblock, volume_bytes: u64) -> bool {
    let own = ByteRange::new(found.at, found.at.saturating_add(u64_from(BYTES)));
    let bitmap = found.bitmap_at.map(|at| ByteRange::new(at, at.saturating_add(SECTOR_BYTES)));
    let others: Vec<ByteRange> = found.places.iter().copied().chain(bitmap).collect();
    let inside = |range: &ByteRange| range.end() <= volume_bytes && !range.overlaps(found.data);
    found.data.end() <= volume_bytes && inside(&own) && others.iter().all(inside)
}
