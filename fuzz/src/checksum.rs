//! Puts checksums right behind a change, which libFuzzer cannot do.

use crate::volume::Volume;
use remint::blockio::{ReadAt, read_vec};
use sha2::{Digest, Sha256};

const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ polynomial } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The UUID of the seeds, as scripts/fuzz-seeds makes them.
const BTRFS_UUID: [u8; 16] = *b"btrfs-fuzz-seeds";

static CRC32: [u32; 256] = table(0xEDB8_8320);
static CRC32C: [u32; 256] = table(0x82F6_3B78);

fn crc(table: &[u32; 256], bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)])
}

/// Sets the little-endian CRC-32C at `at` of a structure; ext leaves out the final inversion and ends there.
fn seal_xfs(bytes: &mut [u8], at: usize) {
    if let Some(field) = bytes.get_mut(at..at + 4) {
        field.fill(0);
        let sum = !crc(&CRC32C, bytes);
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Superblocks and checkpoints of F2FS: the sum begins with the magic number and is not inverted.
fn seal_f2fs(bytes: &mut [u8], at: usize) {
    let sum = bytes[..at].iter().fold(0xF2F5_2010, |crc: u32, byte| crc >> 8 ^ CRC32[usize::from(crc as u8 ^ byte)]);
    bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Superblocks of NILFS2: the sum begins with a seed of their own and counts itself as zeros.
fn seal_nilfs2(bytes: &mut [u8]) {
    let counted = usize::from(u16::from_le_bytes([bytes[8], bytes[9]])).clamp(20, bytes.len());
    let seed = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    bytes[16..20].fill(0);
    let sum = bytes[..counted].iter().fold(seed, |crc, byte| crc >> 8 ^ CRC32[usize::from(crc as u8 ^ byte)]);
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
}

/// The boot region of exFAT, whose last sector repeats its sum.
fn seal_exfat(region: &mut [u8]) {
    let (counted, stored) = region.split_at_mut(region.len() / 12 * 11);
    let counted = counted.iter().enumerate().filter(|(index, _)| !matches!(index, 106 | 107 | 112));
    let sum = counted.fold(0u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
    stored.chunks_exact_mut(4).for_each(|place| place.copy_from_slice(&sum.to_le_bytes()));
}

/// Superblocks and nodes of btrfs: the sum stands first, and counts what is behind its field of 32 bytes. A node is
/// known by the UUID of the seeds.
fn seal_btrfs(buffer: &mut [u8]) {
    let is_superblock = buffer.get(0x40..0x48) == Some(b"_BHRfS_M");
    let is_node = buffer.len() >= 4096 && buffer.get(0x20..0x30) == Some(BTRFS_UUID.as_slice());
    if is_superblock || is_node {
        let sum = !crc(&CRC32C, &buffer[32..]);
        buffer[..4].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Superblocks of MD: the sum of all words, in version 1 as far as the roles reach.
fn seal_md(buffer: &mut [u8]) {
    let word = |at: usize| u32::from_le_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]]);
    let (place, covered) = if word(4) == 0 { (152, 4096) } else { (216, 256 + word(220).min(1920) as usize * 2) };
    let words = buffer[..covered].chunks(4).enumerate().filter(|(number, _)| number * 4 != place);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let sum: u64 = words.map(|(_, word)| number(word)).sum();
    let sum = (sum as u32).wrapping_add((sum >> 32) as u32);
    buffer[place..place + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Objects of APFS: Fletcher's sum, first.
fn seal_apfs(object: &mut [u8]) {
    let modulus = u64::from(u32::MAX);
    let words = object[8..].chunks_exact(4).map(|word| u64::from(u32::from_le_bytes([word[0], word[1], word[2], word[3]])));
    let sums = words.fold((0, 0), |(first, second), word| {
        let first = (first + word) % modulus;
        (first, (second + first) % modulus)
    });
    let low = modulus - (sums.0 + sums.1) % modulus;
    let high = modulus - (sums.0 + low) % modulus;
    object[..8].copy_from_slice(&(high << 32 | low).to_le_bytes());
}

/// Headers of LUKS2: SHA-256 of all of one, its own field as zeros.
fn seal_luks(header: &mut [u8]) {
    header[448..512].fill(0);
    let sum = Sha256::digest(&*header);
    header[448..480].copy_from_slice(&sum);
}

/// The types of the objects of APFS that are read, with their flags.
const APFS: [u32; 9] = [
    0x8000_0001, 0x4000_0002, 0x4000_0003, 0x8000_0005, 0x4000_0006, 0x4000_0007, 0x4000_000B, 0x4000_000C, 0x0000_000D,
];

/// The structures that say what they are: superblocks of MD, ext, XFS, F2FS, NILFS2 and btrfs, checkpoints of F2FS, the boot region
/// of exFAT, headers and free-space B-trees of XFS, nodes of btrfs, headers of LUKS2.
pub fn metadata(at: u64, buffer: &mut [u8]) {
    let length = buffer.len();
    if length >= 4096 {
        seal_btrfs(buffer);
    }
    if length >= 0x4000 && (buffer.starts_with(b"LUKS\xBA\xBE\0\x02") || buffer.starts_with(b"SKUL\xBA\xBE\0\x02")) {
        seal_luks(buffer);
    }
    if length >= 4096 && length % 4096 == 0 && APFS.contains(&u32::from_le_bytes([buffer[24], buffer[25], buffer[26], buffer[27]])) {
        seal_apfs(buffer);
    }
    if length == 4096 && buffer.starts_with(&[0xFC, 0x4E, 0x2B, 0xA9]) {
        seal_md(buffer);
    }
    if length == 1024 && buffer[0x38..0x3A] == [0x53, 0xEF] {
        let sum = crc(&CRC32C, &buffer[..0x3FC]);
        buffer[0x3FC..].copy_from_slice(&sum.to_le_bytes());
    }
    if length == 1024 && buffer[6..8] == [0x34, 0x34] {
        seal_nilfs2(buffer);
    }
    if length == 4096 && buffer[164..168] == [0xFC, 0x0F, 0, 0] {
        seal_f2fs(buffer, 4092);
    }
    if length == 3072 && buffer.starts_with(&[0x10, 0x20, 0xF5, 0xF2]) {
        seal_f2fs(buffer, 3068);
    }
    if at == 0 && buffer.get(3..11) == Some(b"EXFAT   ") && length.is_multiple_of(12 * 512) {
        seal_exfat(buffer);
    }
    if buffer.starts_with(b"AB3B") || buffer.starts_with(b"AB3C") {
        seal_xfs(buffer, 52);
    }
    let sector = if length.is_multiple_of(2048) && buffer.get(length / 4..length / 4 + 4) == Some(b"XAGF") {
        length / 4
    } else if buffer.starts_with(b"XFSB") {
        length
    } else {
        return;
    };
    for part in buffer.chunks_mut(sector) {
        match part.get(..4) {
            Some(b"XFSB") => seal_xfs(part, 224),
            Some(b"XAGF") => seal_xfs(part, 216),
            Some(b"XAGI") => seal_xfs(part, 312),
            _ => {}
        }
    }
}

/// Both copies of a GPT, for sectors of either size.
pub fn gpt(disk: &mut Volume<'_>) {
    let size = disk.size_bytes();
    for sector in [512, 4096] {
        for at in [Some(sector), (size / sector * sector).checked_sub(sector)].into_iter().flatten() {
            if let Ok(header) = read_vec(&*disk, at, sector as usize)
                && header.starts_with(b"EFI PART")
            {
                seal_gpt(disk, at, sector, header);
            }
        }
    }
}

fn seal_gpt(disk: &mut Volume<'_>, at: u64, sector: u64, mut header: Vec<u8>) {
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let entries_at = u64::from_le_bytes(header[72..80].try_into().unwrap()).saturating_mul(sector);
    let array_bytes = u64::from(u32_at(80)) * u64::from(u32_at(84));
    let header_bytes = (u32_at(12) as usize).min(header.len());
    if array_bytes <= 1 << 20
        && let Ok(array) = read_vec(&*disk, entries_at, array_bytes as usize)
    {
        header[88..92].copy_from_slice(&(!crc(&CRC32, &array)).to_le_bytes());
    }
    header[16..20].fill(0);
    let sum = !crc(&CRC32, &header[..header_bytes]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    disk.patch(at + 16, header[16..20].to_vec());
    disk.patch(at + 88, header[88..92].to_vec());
}
