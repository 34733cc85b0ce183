//! The master file table: finds records by number, and the attributes of a file over all of its records.
//!
//! A file whose attributes do not fit in its base record has an attribute list. Its entries:
//!
//! ```text
//! 0x00 type   0x04 length   0x06 name length   0x07 name offset   0x08 lowest VCN   0x10 record
//! ```

use super::attribute::{Attribute, is_name, kind};
use super::boot_sector::BootSector;
use super::mft_record::{self, Record, Reference};
use super::runlist::Run;
use super::stream::Stream;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::units::{read_slice, read_u8, read_u16le, read_u32le, read_u64le, usize_from};
use std::cell::RefCell;

/// The largest attribute list that NTFS allows.
const MAX_LIST_BYTES: u64 = 256 << 10;
const LIST: &str = "an NTFS attribute list";

/// The records of the system files.
pub(super) mod number {
    pub(in super::super) const MFT: u64 = 0;
    pub(in super::super) const MFT_MIRROR: u64 = 1;
    pub(in super::super) const LOG_FILE: u64 = 2;
    pub(in super::super) const VOLUME: u64 = 3;
    pub(in super::super) const ROOT: u64 = 5;
    pub(in super::super) const BITMAP: u64 = 6;
    pub(in super::super) const BOOT: u64 = 7;
    pub(in super::super) const BAD_CLUSTERS: u64 = 8;
}

/// The opened table of a volume.
pub(super) struct Mft<'a> {
    pub(super) volume: &'a dyn ReadAt,
    pub(super) boot: BootSector,
    data: Stream,
    /// Every run that was put together so far, with the number of its file.
    opened: RefCell<Vec<(u64, Run)>>,
}

/// An extent of an attribute, as an attribute list names it.
struct Extent {
    lowest_vcn: u64,
    record: Reference,
}

impl<'a> Mft<'a> {
    /// Opens the table: its record 0 says where the table itself stands.
    pub(super) fn open(volume: &'a dyn ReadAt, boot: BootSector) -> Result<Self, Error> {
        let at = boot.cluster_start(boot.mft_lcn);
        let bytes = read_structure(volume, mft_record::STRUCTURE, at, usize_from(boot.record_bytes))?;
        let base = Record::parse(number::MFT, at, bytes)?;
        base.check(Reference(0), None)?;
        let first = base.find(kind::DATA, "", 0)?.ok_or_else(|| base.corrupt("$MFT has no data"))?;
        let data = Stream::start(&base, &first, boot.cluster_bytes, boot.cluster_count)?;
        if data.runs().first().and_then(|run| run.lcn) != Some(boot.mft_lcn) {
            return Err(base.corrupt("its first run is not where the boot sector says"));
        }
        let mut mft = Self { volume, boot, data, opened: RefCell::default() };
        // Each extent lies in a record that the extents before it reach.
        for extent in mft.extents(&base, kind::DATA, "")?.unwrap_or_default() {
            if extent.lowest_vcn != 0 {
                let record = mft.extent_record(&base, &extent)?;
                let attribute = extent_in(&record, kind::DATA, "", &extent)?;
                mft.data.append(&record, &attribute, boot.cluster_count)?;
            }
        }
        mft.data.check_complete(&base)?;
        Ok(mft)
    }

    /// How many records the table has room for.
    pub(super) fn record_count(&self) -> u64 {
        self.data.data_bytes.checked_div(self.boot.record_bytes).unwrap_or_default()
    }

    /// Reads a record that is in use.
    pub(super) fn record(&self, number: u64) -> Result<Record, Error> {
        let offset = number.saturating_mul(self.boot.record_bytes);
        let bytes =
            self.data.read(self.volume, mft_record::STRUCTURE, offset, usize_from(self.boot.record_bytes))?;
        Record::parse(number, self.data.position(offset), bytes)
    }

    /// True where a record says of itself that nothing is in it.
    pub(super) fn is_unused(&self, number: u64) -> Result<bool, Error> {
        let offset = number.saturating_mul(self.boot.record_bytes);
        let bytes = self.data.read(self.volume, mft_record::STRUCTURE, offset, 512)?;
        mft_record::is_unused(&bytes).map_err(Error::short(mft_record::STRUCTURE, self.data.position(offset)))
    }

    /// The base record that a reference means.
    pub(super) fn base(&self, reference: Reference) -> Result<Record, Error> {
        let record = self.record(reference.number())?;
        record.check(reference, None)?;
        Ok(record)
    }

    /// A stream of a system file, which must have it.
    pub(super) fn system_stream(&self, number: u64, kind: u32, name: &str) -> Result<Stream, Error> {
        let base = self.base(Reference(number))?;
        self.stream(&base, kind, name)?
            .ok_or_else(|| base.corrupt(format!("a system file without its attribute {kind:#x}")))
    }

    /// A stream of the file with this base record, put together from all of its records.
    pub(super) fn stream(&self, base: &Record, kind: u32, name: &str) -> Result<Option<Stream>, Error> {
        let (cluster_bytes, cluster_count) = (self.boot.cluster_bytes, self.boot.cluster_count);
        let mut stream: Option<Stream> = None;
        match self.extents(base, kind, name)? {
            None => {
                if let Some(attribute) = base.find(kind, name, 0)? {
                    stream = Some(Stream::start(base, &attribute, cluster_bytes, cluster_count)?);
                }
            }
            Some(extents) => {
                for extent in extents {
                    let record = self.extent_record(base, &extent)?;
                    let attribute = extent_in(&record, kind, name, &extent)?;
                    match &mut stream {
                        Some(stream) => stream.append(&record, &attribute, cluster_count)?,
                        None if extent.lowest_vcn != 0 => {
                            return Err(base.corrupt("the first extent of a stream is missing"));
                        }
                        None => {
                            stream = Some(Stream::start(&record, &attribute, cluster_bytes, cluster_count)?);
                        }
                    }
                }
            }
        }
        if let Some(stream) = &stream {
            stream.check_complete(base)?;
            self.remember(base, stream);
        }
        Ok(stream)
    }

    fn remember(&self, base: &Record, stream: &Stream) {
        self.opened.borrow_mut().extend(stream.runs().iter().map(|run| (base.number, *run)));
    }

    /// The runs of everything that was read so far, with the numbers of the files.
    pub(super) fn opened(&self) -> Vec<(u64, Run)> {
        let mut runs = self.opened.take();
        runs.sort_unstable_by_key(|(number, run)| (*number, run.lcn));
        runs
    }

    /// True where the attributes of a file are spread over several records.
    pub(super) fn has_list(base: &Record) -> Result<bool, Error> {
        Ok(base.find(kind::ATTRIBUTE_LIST, "", 0)?.is_some())
    }

    /// The extents of an attribute, from the attribute list; `None` where the file has no list.
    fn extents(&self, base: &Record, kind: u32, name: &str) -> Result<Option<Vec<Extent>>, Error> {
        let Some(attribute) = base.find(kind::ATTRIBUTE_LIST, "", 0)? else { return Ok(None) };
        let list = Stream::start(base, &attribute, self.boot.cluster_bytes, self.boot.cluster_count)?;
        if list.data_bytes > MAX_LIST_BYTES {
            return Err(base.corrupt(format!("an attribute list of {} bytes", list.data_bytes)));
        }
        self.remember(base, &list);
        let bytes = list.read(self.volume, LIST, 0, usize_from(list.data_bytes))?;
        let short = Error::short(LIST, list.position(0));
        let mut extents = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = usize::from(read_u16le(rest, 0x04).map_err(&short)?);
            if length < 0x18 {
                return Err(base.corrupt(format!("an entry of {length} bytes in its attribute list")));
            }
            let entry = read_slice(rest, 0, length).map_err(&short)?;
            let name_bytes = usize::from(read_u8(entry, 0x06).map_err(&short)?).saturating_mul(2);
            let name_at = usize::from(read_u8(entry, 0x07).map_err(&short)?);
            let found =
                if name_bytes == 0 { &[] } else { read_slice(entry, name_at, name_bytes).map_err(&short)? };
            if read_u32le(entry, 0x00).map_err(&short)? == kind && is_name(found, name) {
                extents.push(Extent {
                    lowest_vcn: read_u64le(entry, 0x08).map_err(&short)?,
                    record: Reference(read_u64le(entry, 0x10).map_err(&short)?),
                });
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        extents.sort_by_key(|extent| extent.lowest_vcn);
        Ok(Some(extents))
    }

    fn extent_record(&self, base: &Record, extent: &Extent) -> Result<Record, Error> {
        let record = self.record(extent.record.number())?;
        let part_of = (record.number != base.number).then_some(base.number);
        record.check(extent.record, part_of)?;
        Ok(record)
    }
}

fn extent_in<'r>(record: &'r Record, kind: u32, name: &str, extent: &Extent) -> Result<Attribute<'r>, Error> {
    record.find(kind, name, extent.lowest_vcn)?.ok_or_else(|| {
        record.corrupt(format!(
            "the extent at cluster {} of attribute {kind:#x} is not where the attribute list says",
            extent.lowest_vcn
        ))
    })
}
