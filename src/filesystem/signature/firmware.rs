//! Disks whose firmware or controller puts them into an array: known by what stands at their end.
//!
//! The array's content begins at sector 0 of a mirrored disk, with a partition table that looks like any other. So whole disks
//! are asked, and no partitions.
//!
//! Sources: util-linux `libblkid/src/superblocks/*_raid.c`, for each format the place, the signature and the checksum that it
//! verifies; SNIA, "Common RAID Disk Data Format Specification", 2.0, 5.1.

use super::{Found, peek};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::schema::{FileSystemKind, State};
use crate::units::{read_slice, read_u8, read_u16le, read_u32be, read_u32le, read_u64be, read_u64le};

const SECTOR: u64 = 512;
/// Smaller disks are in no array.
const LEAST_BYTES: u64 = 64 << 10;
const DDF: &str = "DDF";
const DDF_MAGIC: u32 = 0xDE11_DE11;
/// Sectors before the end where Promise's controllers may have put theirs.
const PROMISE_SECTORS: [u64; 13] = [63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087];
const HIGHPOINT: [u32; 2] = [0x5A78_16F3, 0x5A78_16FD];

/// A format: where its sector is, counted from the end in sectors of 512 bytes, and how it is known.
struct Format {
    name: &'static str,
    sectors: &'static [u64],
    knows: fn(&[u8]) -> bool,
}

const FORMATS: &[Format] = &[
    Format {
        name: "Intel Matrix Storage (RST, VROC)",
        // The last but one, of disks with sectors of 512 and of 4096 bytes.
        sectors: &[2, 16],
        knows: |s| s.starts_with(b"Intel Raid ISM Cfg Sig. "),
    },
    Format { name: DDF, sectors: &[1, 257], knows: is_ddf },
    Format { name: "NVIDIA", sectors: &[2], knows: |s| s.starts_with(b"NVIDIA") },
    Format { name: "Silicon Image Medley", sectors: &[1], knows: is_silicon },
    Format { name: "LSI MegaRAID", sectors: &[1], knows: |s| s.starts_with(b"$XIDE$") },
    Format { name: "Adaptec HostRAID", sectors: &[1], knows: is_adaptec },
    Format { name: "JMicron", sectors: &[1], knows: is_jmicron },
    Format { name: "VIA", sectors: &[1], knows: is_via },
    Format { name: "HighPoint", sectors: &[11], knows: |s| is_highpoint(s, 0) },
    Format {
        name: "Promise FastTrak",
        sectors: &PROMISE_SECTORS,
        knows: |s| s.starts_with(b"Promise Technology, Inc."),
    },
];

/// Recognises a member by what its controller left at its end.
pub(super) fn member(disk: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let sectors = disk.size_bytes() / SECTOR;
    if disk.size_bytes() < LEAST_BYTES {
        return Ok(None);
    }
    for format in FORMATS {
        for from_end in format.sectors {
            let at = sectors.checked_sub(*from_end).and_then(|sector| sector.checked_mul(SECTOR));
            let Some(sector) = at.map(|at| peek(disk, at, 512)).transpose()?.flatten() else { continue };
            if (format.knows)(&sector) && (format.name != DDF || has_ddf_header(disk, &sector)?) {
                return Ok(Some(found(format.name)));
            }
        }
    }
    // Of the older controllers of HighPoint, near the start.
    let early = peek(disk, 9 * SECTOR, 512)?;
    Ok(early.filter(|sector| is_highpoint(sector, 32)).map(|_| found("HighPoint")))
}

fn found(format: &str) -> Found {
    let finding = format!(
        "a member of an array of the firmware or of a controller ({format}): what its table says holds for the array, not for \
         this disk. Start the array (mdadm --assemble --scan for Intel's and DDF, dmraid -ay for others) and capture that as a \
         disk (--disk /dev/md126), or capture every member with --when-dirty raw, to be deployed to the same disks only; if the \
         array is history, remove its metadata (wipefs DEVICE lists them), or believe the table with --trust gpt or --trust mbr"
    );
    Found::container(FileSystemKind::FirmwareRaid).state(State::Unsupported, finding)
}

fn is_ddf(sector: &[u8]) -> bool {
    read_u32be(sector, 0) == Ok(DDF_MAGIC) || read_u32le(sector, 0) == Ok(DDF_MAGIC)
}

/// The header that an anchor names is there: an anchor alone is what an array left that is no more.
fn has_ddf_header(disk: &dyn ReadAt, anchor: &[u8]) -> Result<bool, Error> {
    let read = if read_u32be(anchor, 0) == Ok(DDF_MAGIC) { read_u64be } else { read_u64le };
    let at = match read(anchor, 96) {
        Ok(0) => return Ok(true),
        Ok(lba) => lba.checked_mul(SECTOR),
        Err(_) => None,
    };
    let header = at.map(|at| peek(disk, at, 4)).transpose()?.flatten();
    Ok(header.is_some_and(|header| anchor.starts_with(&header)))
}

fn is_silicon(sector: &[u8]) -> bool {
    let words = read_slice(sector, 0, 0x13E).unwrap_or_default().as_chunks::<2>().0;
    let sum = words.iter().fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes(*word)));
    read_u32le(sector, 0x60) == Ok(0x2F00_0000)
        && read_u8(sector, 0x116).is_ok_and(|number| number < 8)
        && read_u16le(sector, 0x13E) == Ok(sum.wrapping_neg())
}

fn is_adaptec(sector: &[u8]) -> bool {
    read_u32be(sector, 0) == Ok(0x37FC_4D1E) && read_slice(sector, 256, 4) == Ok(b"DPTM".as_slice())
}

fn is_jmicron(sector: &[u8]) -> bool {
    let words = read_slice(sector, 0, 128).unwrap_or_default().as_chunks::<2>().0;
    let sum = words.iter().fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes(*word)));
    sector.starts_with(b"JM") && sum <= 1 && read_u8(sector, 0x30).is_ok_and(|mode| mode <= 5)
}

fn is_via(sector: &[u8]) -> bool {
    let sum =
        read_slice(sector, 0, 50).unwrap_or_default().iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    read_u16le(sector, 0) == Ok(0xAA55)
        && read_u8(sector, 2).is_ok_and(|version| version <= 2)
        && read_u8(sector, 50) == Ok(sum)
}

fn is_highpoint(sector: &[u8], at: usize) -> bool {
    read_u32le(sector, at).is_ok_and(|magic| HIGHPOINT.contains(&magic))
}
