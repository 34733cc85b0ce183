//! A record: one volume, component, partition or disk, or the group.
//!
//! ```text
//! 0  status u16   2  flags u8   3  kind u8, with its revision   4  length of what follows u32   8  fields
//! ```
//!
//! Fields follow each other. A number or a text has its length in front of it, in one byte.

use crate::units::{Guid, read_slice, read_u8, read_u16be, read_u32be, usize_from};

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) id: u64,
    pub(super) name: String,
    /// "ACTIVE" where it can be used.
    pub(super) state: String,
    /// 3: of copies or extents; 4: RAID 5.
    pub(super) kind: u8,
    /// How many components it has.
    pub(super) components: u64,
    pub(super) sectors: u64,
}

/// One copy of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) id: u64,
    pub(super) state: String,
    /// 1: striped, 2: one extent behind the other, 3: RAID 5.
    pub(super) kind: u8,
    /// How many partitions it has.
    pub(super) partitions: u64,
    /// The volume.
    pub(super) parent: u64,
    /// Sectors of a stripe, and how many columns there are.
    pub(super) stripes: Option<(u64, u64)>,
}

/// An extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) id: u64,
    /// First sector, from the start of the public region of its disk.
    pub(super) start: u64,
    /// First sector of the volume that is in it; of a striped one 0.
    pub(super) volume_offset: u64,
    pub(super) sectors: u64,
    /// The component.
    pub(super) parent: u64,
    pub(super) disk: u64,
    /// Which column it is.
    pub(super) column: u64,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) guid: Guid,
}

/// Any record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Volume(Volume),
    Component(Component),
    Partition(Partition),
    Disk(Disk),
    Group,
}

/// What keeps a record from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A field lies outside of it, or is none.
    Short,
    /// It is of a kind that nobody knows.
    Unknown(u8),
}

/// Optional fields that are there.
const STRIPES: u8 = 0x10;
const COLUMN: u8 = 0x08;

/// Reads a record, and its status: 0 where it is not being changed.
pub(super) fn read(bytes: &[u8]) -> Result<(u16, Record), Fault> {
    let (status, flags, kind) = (
        read_u16be(bytes, 0).map_err(|_| Fault::Short)?,
        read_u8(bytes, 2).map_err(|_| Fault::Short)?,
        read_u8(bytes, 3).map_err(|_| Fault::Short)?,
    );
    let length = read_u32be(bytes, 4).map_err(|_| Fault::Short)?;
    let body = read_slice(bytes, 8, usize_from(length.into())).map_err(|_| Fault::Short)?;
    let mut fields = Fields(body);
    let record = match kind {
        0x51 => fields.volume().map(Record::Volume),
        0x32 => fields.component(flags).map(Record::Component),
        0x33 => fields.partition(flags).map(Record::Partition),
        0x34 | 0x44 => fields.disk(kind == 0x44).map(Record::Disk),
        0x35 | 0x45 => Some(Record::Group),
        kind => return Err(Fault::Unknown(kind)),
    };
    Ok((status, record.ok_or(Fault::Short)?))
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A field with its length in front of it.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self.sized().filter(|digits| digits.len() <= 8)?;
        Some(digits.iter().fold(0, |number, digit| (number << 8) | u64::from(*digit)))
    }

    fn long(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(*self.take(8)?.first_chunk()?))
    }

    fn text(&mut self) -> Option<String> {
        self.sized().map(text)
    }

    fn volume(&mut self) -> Option<Volume> {
        let (id, name) = (self.number()?, self.text()?);
        // "gen" or "raid5", and whether it gets a drive letter.
        self.sized()?;
        self.sized()?;
        let state = text(self.take(14)?);
        let kind = self.byte()?;
        // Its number, zeros and flags.
        self.take(6)?;
        let components = self.number()?;
        // Numbers of the changes that it was in.
        self.take(16)?;
        let sectors = self.number()?;
        Some(Volume { id, name, state, kind, components, sectors })
    }

    fn component(&mut self, flags: u8) -> Option<Component> {
        let id = self.number()?;
        self.sized()?;
        let (state, kind) = (self.text()?, self.byte()?);
        self.take(4)?;
        let partitions = self.number()?;
        self.take(16)?;
        let parent = self.number()?;
        self.take(1)?;
        let stripes = if flags & STRIPES == 0 { None } else { Some((self.number()?, self.number()?)) };
        Some(Component { id, state, kind, partitions, parent, stripes })
    }

    fn partition(&mut self, flags: u8) -> Option<Partition> {
        let id = self.number()?;
        self.sized()?;
        self.take(12)?;
        let (start, volume_offset, sectors) = (self.long()?, self.long()?, self.number()?);
        let (parent, disk) = (self.number()?, self.number()?);
        let column = if flags & COLUMN == 0 { 0 } else { self.number()? };
        Some(Partition { id, start, volume_offset, sectors, parent, disk, column })
    }

    fn disk(&mut self, is_binary: bool) -> Option<Disk> {
        let (id, name) = (self.number()?, self.text()?);
        let guid = if is_binary {
            Guid::from_u128(u128::from_be_bytes(*self.take(16)?.first_chunk()?))
        } else {
            self.text()?.parse().ok()?
        };
        Some(Disk { id, name, guid })
    }
}

/// A text, up to a zero byte.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}
