//! The database in the private region: its table of contents, its head, and the records that they lead to.
//!
//! ```text
//! sector 1, 2, and the third and second from the end   table of contents: where "config" begins, how long it is
//! config + 0                                           head: state, sequence numbers, how many records of each kind
//! config + what the head says                          blocks; a record is one of them or several
//!
//! TOCBLOCK   0x08 checksum   0x24, 0x46 name of 8 bytes, flags u16, first sector u64, sectors u64
//! VMDB       0x04 blocks, with those that the head would take   0x08 bytes of a block   0x0C first block, in bytes
//!            0x10 state u16   0x12 version u16, u16   0x35 GUID of the group   0x75 committed u64   0x7D pending u64
//!            0x85 volumes, components, partitions, disks, u32 each
//! VBLK       0x04 number of the block   0x08 record   0x0C which part u16   0x0E of how many u16; 0: unused
//! ```

use super::SECTOR_BYTES;
use super::header::{Header, is_sealed};
use super::record::{self, Component, Disk, Partition, Record, Volume};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::text_at;
use crate::units::{ByteRange, Guid, read_slice, read_u16be, read_u32be, read_u64be, u64_from, usize_from};
use std::collections::BTreeMap;

const TABLE: &str = "TOCBLOCK";
const HEAD: &str = "VMDB";
const BLOCK: &str = "VBLK";
/// Where a block says what its record is; the record follows.
const BLOCK_HEAD: usize = 16;
/// Linux knows records of up to four blocks.
const MAX_BLOCKS: u16 = 4;
/// The state of a database in which nothing is being changed.
const AT_REST: u16 = 1;

/// All that a database says of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Database {
    /// Number of the last change.
    pub(super) sequence: u64,
    /// False where a change was not finished.
    pub(super) at_rest: bool,
    pub(super) disks: Vec<Disk>,
    pub(super) volumes: Vec<Volume>,
    pub(super) components: Vec<Component>,
    pub(super) partitions: Vec<Partition>,
}

/// Reads the database that a header names.
pub(super) fn read(disk: &dyn ReadAt, header: &Header) -> Result<Database, Error> {
    // What a private region can be is bounded where its header is read.
    let start = header.private.start();
    let region = read_structure(disk, HEAD, start, usize_from(header.private.length()))?;
    let config = config(&region, header)?;
    let at = start.saturating_add(config.start());
    let bytes = read_slice(&region, usize_from(config.start()), usize_from(config.length()))
        .map_err(Error::short(HEAD, at))?;
    parse(bytes, at, header.group_guid)
}

/// The bytes of the private region that its tables of contents call "config". Windows keeps two or four of them.
fn config(region: &[u8], header: &Header) -> Result<ByteRange, Error> {
    let at = header.private.start();
    let sectors = header.private.length().checked_div(SECTOR_BYTES).unwrap_or_default();
    let places = [Some(1), Some(2), sectors.checked_sub(3), sectors.checked_sub(2)];
    let mut found: Option<ByteRange> = None;
    for sector in places.into_iter().flatten() {
        let offset = usize_from(sector.saturating_mul(SECTOR_BYTES));
        let Ok(table) = read_slice(region, offset, usize_from(SECTOR_BYTES)) else { continue };
        if !table.starts_with(b"TOCBLOCK") || !is_sealed(table) {
            continue;
        }
        let place =
            [0x24, 0x46].into_iter().find(|field| text_at(table, *field, 8).as_deref() == Some("config"));
        let place = place.and_then(|field| {
            let start = read_u64be(table, field.checked_add(10)?).ok()?.checked_mul(SECTOR_BYTES)?;
            let length = read_u64be(table, field.checked_add(18)?).ok()?.checked_mul(SECTOR_BYTES)?;
            ByteRange::at(start, length).filter(|place| place.end() <= u64_from(region.len()))
        });
        let place =
            place.ok_or_else(|| Error::corrupt(TABLE, at, "it does not say where the database is"))?;
        if found.is_some_and(|found| found != place) {
            return Err(Error::corrupt(TABLE, at, "its copies say something else"));
        }
        found = Some(place);
    }
    found.ok_or_else(|| Error::corrupt(TABLE, at, "there is none that can be believed"))
}

fn parse(config: &[u8], at: u64, group: Guid) -> Result<Database, Error> {
    let corrupt = |fact: String| Error::corrupt(HEAD, at, fact);
    let short = Error::short(HEAD, at);
    if !config.starts_with(b"VMDB") {
        return Err(corrupt("there is none".to_owned()));
    }
    let half = |field: usize| read_u16be(config, field).map_err(&short);
    let word = |field: usize| read_u32be(config, field).map_err(&short);
    let long = |field: usize| read_u64be(config, field).map_err(&short);
    if (half(0x12)?, half(0x14)?) != (4, 10) {
        let (major, minor) = (half(0x12)?, half(0x14)?);
        return Err(Error::unsupported(format!(
            "its database has version {major}.{minor}, and 4.10 is known"
        )));
    }
    if text_at(config, 0x35, 64).and_then(|text| text.parse().ok()) != Some(group) {
        return Err(corrupt("it is that of another group".to_owned()));
    }
    let (records, complete) = records(config, at, [word(0x04)?, word(0x08)?, word(0x0C)?])?;
    let mut database = Database {
        sequence: long(0x75)?,
        at_rest: half(0x10)? == AT_REST && long(0x75)? == long(0x7D)? && complete,
        disks: Vec::new(),
        volumes: Vec::new(),
        components: Vec::new(),
        partitions: Vec::new(),
    };
    for (status, record) in records {
        database.at_rest &= status == 0;
        match record {
            Record::Volume(volume) => database.volumes.push(volume),
            Record::Component(component) => database.components.push(component),
            Record::Partition(partition) => database.partitions.push(partition),
            Record::Disk(disk) => database.disks.push(disk),
            Record::Group => {}
        }
    }
    let counted =
        [database.volumes.len(), database.components.len(), database.partitions.len(), database.disks.len()];
    let said = [word(0x85)?, word(0x89)?, word(0x8D)?, word(0x91)?];
    // In the middle of a change there may be more.
    if database.at_rest && counted.map(u64_from) != said.map(u64::from) {
        return Err(corrupt(format!(
            "it counts {said:?} volumes, components, partitions and disks, and has {counted:?}"
        )));
    }
    Ok(database)
}

/// Every record with its status, in the order of their numbers, and whether every part of each is there.
fn records(config: &[u8], at: u64, head: [u32; 3]) -> Result<(Vec<(u16, Record)>, bool), Error> {
    let [count, block_bytes, first] = head.map(|word| usize_from(word.into()));
    let is_sound = (32..=512).contains(&block_bytes)
        && first.checked_rem(block_bytes) == Some(0)
        && count.checked_mul(block_bytes).is_some_and(|end| end <= config.len() && first <= end);
    if !is_sound {
        let fact = format!("it has {count} blocks of {block_bytes} bytes, the first at {first}");
        return Err(Error::corrupt(HEAD, at, fact));
    }
    let mut parts: BTreeMap<u32, (u16, BTreeMap<u16, &[u8]>)> = BTreeMap::new();
    let blocks = config.chunks_exact(block_bytes).enumerate().take(count);
    for (number, block) in blocks.skip(first.checked_div(block_bytes).unwrap_or_default()) {
        let at = at.saturating_add(u64_from(number.saturating_mul(block_bytes)));
        let corrupt = |fact: String| Error::corrupt(BLOCK, at, fact);
        let short = Error::short(BLOCK, at);
        let said = read_u32be(block, 0x04).map_err(&short)?;
        if !block.starts_with(b"VBLK") || u64::from(said) != u64_from(number) {
            return Err(corrupt(format!("it is not block {number}")));
        }
        let record = read_u32be(block, 0x08).map_err(&short)?;
        let (part, of) = (read_u16be(block, 0x0C).map_err(&short)?, read_u16be(block, 0x0E).map_err(&short)?);
        if of == 0 {
            continue;
        }
        let known = parts.entry(record).or_insert_with(|| (of, BTreeMap::new()));
        let body = block.get(BLOCK_HEAD..).unwrap_or_default();
        if part >= of || of > MAX_BLOCKS || known.0 != of || known.1.insert(part, body).is_some() {
            return Err(corrupt(format!("it is part {part} of {of} of record {record}")));
        }
    }
    let mut records = Vec::new();
    let mut complete = true;
    for (number, (of, bodies)) in parts {
        if bodies.len() != usize::from(of) {
            complete = false;
            continue;
        }
        let body: Vec<u8> = bodies.into_values().flatten().copied().collect();
        records.push(record::read(&body).map_err(|fact| match fact {
            record::Fault::Short => Error::corrupt(BLOCK, at, format!("record {number} is cut off")),
            record::Fault::Unknown(kind) => {
                Error::unsupported(format!("its database has a record of the unknown kind {kind:#04x}"))
            }
        })?);
    }
    Ok((records, complete))
}
