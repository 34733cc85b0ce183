//! The private header: which disk of which group this is, and where its database stands.
//!
//! ```text
//! 0x000  "PRIVHEAD"                 0x11B  public region: first sector, sectors, u64 each
//! 0x008  checksum u32               0x12B  private region: first sector, sectors, u64 each
//! 0x00C  version u16, u16
//! 0x020  last copy, in the private region, u64
//! 0x028  middle copy, u64
//! 0x030  GUID of the disk, text of 64 bytes
//! 0x0B0  GUID of the group          0x0F0  name of the group, text of 32 bytes
//! ```
//!
//! Numbers are big-endian, places are in sectors of 512 bytes. The checksum is the sum of the bytes of the sector without it,
//! as found in every header that Windows wrote.

use super::{Home, SECTOR_BYTES};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::text_at;
use crate::units::{ByteRange, Guid, MIB, read_u16be, read_u32be, read_u64be, usize_from};

pub(super) const STRUCTURE: &str = "PRIVHEAD";
/// The first sector for it on an MBR disk: `OFF_PRIV1`.
const FIRST_SECTOR: u64 = 6;
const CHECKSUM: usize = 0x08;
const PRIVATE_START: usize = 0x12B;
/// Windows 2000 and XP, and Vista and later.
const VERSIONS: [(u16, u16); 2] = [(2, 11), (2, 12)];
/// Windows has 1 MiB. More is not read into memory.
const MAX_PRIVATE_BYTES: u64 = 16 * MIB;

/// A private header. Ranges are bytes of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) disk_guid: Guid,
    pub(super) group_guid: Guid,
    pub(super) group_name: String,
    /// Where extents of volumes can lie.
    pub(super) public: ByteRange,
    /// Where the database stands.
    pub(super) private: ByteRange,
    /// Where else the header stands, in bytes of the disk; the one in the middle first.
    pub(super) copies: [u64; 2],
}

/// The first header of a disk, in bytes from its start.
pub(super) fn first_at(home: Home) -> Option<u64> {
    match home {
        Home::Disk => Some(FIRST_SECTOR.saturating_mul(SECTOR_BYTES)),
        Home::Partition(place) => place.end().checked_sub(SECTOR_BYTES),
    }
}

/// Reads the header of a disk, and holds its copies against it. That in the middle of the database has to be there, as Linux
/// wants it; one at the end of an MBR disk may be missing.
pub(super) fn read(disk: &dyn ReadAt, home: Home) -> Result<Header, Error> {
    let at = first_at(home).unwrap_or_default();
    let header = parse(disk, at)?.ok_or_else(|| corrupt(at, "there is none"))?;
    if let Home::Partition(place) = home
        && !place.contains(header.private)
    {
        return Err(corrupt(at, format!("it names {}, and stands in {place}", header.private)));
    }
    if header.public.overlaps(ByteRange::new(at, at.saturating_add(SECTOR_BYTES))) {
        return Err(corrupt(at, format!("it stands in its public region {}", header.public)));
    }
    let [middle, last] = header.copies;
    let copies = [parse(disk, middle)?.ok_or_else(|| corrupt(middle, "there is none"))?];
    for copy in copies.into_iter().chain(parse(disk, last)?) {
        if copy != header {
            return Err(corrupt(at, "its copies say something else"));
        }
    }
    Ok(header)
}

/// A header; `None` where none stands there.
fn parse(disk: &dyn ReadAt, at: u64) -> Result<Option<Header>, Error> {
    let bytes = read_structure(disk, STRUCTURE, at, usize_from(SECTOR_BYTES))?;
    if !bytes.starts_with(b"PRIVHEAD") {
        return Ok(None);
    }
    let short = Error::short(STRUCTURE, at);
    if !is_sealed(&bytes) {
        return Err(corrupt(at, "its checksum is wrong"));
    }
    let version = (read_u16be(&bytes, 0x0C).map_err(&short)?, read_u16be(&bytes, 0x0E).map_err(&short)?);
    if !VERSIONS.contains(&version) {
        let (major, minor) = version;
        return Err(Error::unsupported(format!(
            "its private header has version {major}.{minor}, and 2.11 and 2.12 are known"
        )));
    }
    let number = |field: usize| read_u64be(&bytes, field).map_err(&short);
    let range = |start: u64, sectors: u64| {
        let start = start.checked_mul(SECTOR_BYTES)?;
        ByteRange::at(start, sectors.checked_mul(SECTOR_BYTES)?)
            .filter(|range| !range.is_empty() && range.end() <= disk.size_bytes())
    };
    let public = range(number(0x11B)?, number(0x123)?);
    let private = range(number(PRIVATE_START)?, number(0x133)?);
    let (public, private) =
        public.zip(private).ok_or_else(|| corrupt(at, "its regions do not lie on the disk"))?;
    if public.overlaps(private) || private.length() > MAX_PRIVATE_BYTES {
        return Err(corrupt(at, format!("its private region is {private}, its public region {public}")));
    }
    let copy = |sectors: u64| {
        let at = sectors.checked_mul(SECTOR_BYTES)?.checked_add(private.start())?;
        ByteRange::at(at, SECTOR_BYTES).filter(|copy| private.contains(*copy)).map(ByteRange::start)
    };
    let (middle, last) = copy(number(0x28)?)
        .zip(copy(number(0x20)?))
        .ok_or_else(|| corrupt(at, "its copies do not lie in its private region"))?;
    let guid = |field: usize| {
        let guid = text_at(&bytes, field, 64).and_then(|text| text.parse::<Guid>().ok());
        guid.filter(|guid| !guid.is_zero()).ok_or_else(|| corrupt(at, format!("byte {field} is no GUID")))
    };
    Ok(Some(Header {
        disk_guid: guid(0x30)?,
        group_guid: guid(0xB0)?,
        group_name: text_at(&bytes, 0xF0, 32).unwrap_or_default(),
        public,
        private,
        copies: [middle, last],
    }))
}

/// The header with its database at another place.
pub(super) fn at_another_place(sector: &[u8], private_start: u64) -> Option<Vec<u8>> {
    let mut sector = sector.to_vec();
    let field = sector.get_mut(PRIVATE_START..PRIVATE_START.saturating_add(8))?;
    field.copy_from_slice(&private_start.checked_div(SECTOR_BYTES)?.to_be_bytes());
    let sum = checksum(&sector);
    sector.get_mut(CHECKSUM..CHECKSUM.saturating_add(4))?.copy_from_slice(&sum.to_be_bytes());
    Some(sector)
}

/// True where the checksum of a header or a table of contents is right.
pub(super) fn is_sealed(sector: &[u8]) -> bool {
    read_u32be(sector, CHECKSUM) == Ok(checksum(sector))
}

/// The sum of all bytes but those of the checksum.
fn checksum(sector: &[u8]) -> u32 {
    let end = CHECKSUM.saturating_add(4);
    let bytes = sector.iter().enumerate().filter(|(at, _)| !(CHECKSUM..end).contains(at));
    bytes.fold(0u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)))
}

fn corrupt(at: u64, fact: impl Into<String>) -> Error {
    Error::corrupt(STRUCTURE, at, fact)
}
