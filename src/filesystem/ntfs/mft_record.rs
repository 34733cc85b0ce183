//! One record of the master file table: a file, or a part of a file with many attributes.
//!
//! ```text
//! 0x00 "FILE"          0x14 offset of the first attribute   0x20 base record, 0 in a base record
//! 0x10 sequence number 0x16 flags: 1 in use, 2 directory
//!                      0x18 bytes in use
//! ```

use super::attribute::{Attribute, kind};
use super::fixup;
use crate::filesystem::Error;
use crate::units::{OutOfBounds, read_slice, read_u16le, read_u32le, read_u64le, u64_from, usize_from};

pub(super) const STRUCTURE: &str = "an NTFS MFT record";
const IN_USE: u16 = 0x0001;

/// True where the bytes of a record say that it is not in use.
pub(super) fn is_unused(bytes: &[u8]) -> Result<bool, OutOfBounds> {
    Ok(bytes.starts_with(b"FILE") && read_u16le(bytes, 0x16)? & IN_USE == 0)
}

/// A reference to a record: 48 bits of number, 16 bits of sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference(pub(super) u64);

impl Reference {
    /// The number of the record.
    pub(super) fn number(self) -> u64 {
        self.0 & 0x0000_FFFF_FFFF_FFFF
    }

    /// How often the record was reused; 0 where it is not to be checked.
    pub(super) fn sequence(self) -> u64 {
        self.0 >> 48
    }
}

/// A record that is in use, with its update sequence undone.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) number: u64,
    /// Where it stands on the volume, in bytes.
    pub(super) at: u64,
    bytes: Vec<u8>,
    attributes_at: usize,
    bytes_in_use: usize,
}

impl Record {
    /// Checks a record that was read.
    pub(super) fn parse(number: u64, at: u64, mut bytes: Vec<u8>) -> Result<Self, Error> {
        fixup::restore(STRUCTURE, at, b"FILE", &mut bytes)?;
        let short = Error::short(STRUCTURE, at);
        let flags = read_u16le(&bytes, 0x16).map_err(&short)?;
        let bytes_in_use = read_u32le(&bytes, 0x18).map_err(&short)?;
        let attributes_at = usize::from(read_u16le(&bytes, 0x14).map_err(&short)?);
        let record = Self { number, at, bytes_in_use: usize_from(bytes_in_use.into()), attributes_at, bytes };
        if flags & IN_USE == 0 {
            return Err(record.corrupt("it is not in use"));
        }
        if record.bytes_in_use > record.bytes.len() {
            return Err(record.corrupt(format!("{bytes_in_use} bytes in use of {}", record.bytes.len())));
        }
        Ok(record)
    }

    /// A contradiction in this record.
    pub(super) fn corrupt(&self, fact: impl AsRef<str>) -> Error {
        Error::corrupt(STRUCTURE, self.at, format!("record {}: {}", self.number, fact.as_ref()))
    }

    /// Refuses a record that is not the one a reference means.
    pub(super) fn check(&self, reference: Reference, base: Option<u64>) -> Result<(), Error> {
        let short = Error::short(STRUCTURE, self.at);
        let sequence = u64::from(read_u16le(&self.bytes, 0x10).map_err(&short)?);
        if reference.sequence() != 0 && reference.sequence() != sequence {
            let meant = reference.sequence();
            return Err(self.corrupt(format!("sequence number {sequence}, a reference means {meant}")));
        }
        let found = Reference(read_u64le(&self.bytes, 0x20).map_err(&short)?).number();
        if found != base.unwrap_or(0) {
            return Err(self.corrupt(format!("it is part of record {found}, not of {}", base.unwrap_or(0))));
        }
        Ok(())
    }

    /// The attributes, in the order of the record; the walk ends with the first error.
    pub(super) fn attributes(&self) -> impl Iterator<Item = Result<Attribute<'_>, Error>> {
        let mut position = Some(self.attributes_at);
        std::iter::from_fn(move || {
            let at = position.take()?;
            match self.attribute_at(at) {
                Ok(Some((attribute, next))) => {
                    position = Some(next);
                    Some(Ok(attribute))
                }
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            }
        })
    }

    fn attribute_at(&self, at: usize) -> Result<Option<(Attribute<'_>, usize)>, Error> {
        let short = Error::short(STRUCTURE, self.at.saturating_add(u64_from(at)));
        let used = self.bytes.get(..self.bytes_in_use).unwrap_or_default();
        if read_u32le(used, at).map_err(&short)? == kind::END {
            return Ok(None);
        }
        let length = usize_from(read_u32le(used, at.saturating_add(4)).map_err(&short)?.into());
        if length < 0x18 || !length.is_multiple_of(8) {
            return Err(self.corrupt(format!("an attribute of {length} bytes at byte {at}")));
        }
        let attribute = read_slice(used, at, length).and_then(Attribute::parse).map_err(&short)?;
        Ok(Some((attribute, at.saturating_add(length))))
    }

    /// An attribute of this record, or its extent that starts at a VCN.
    pub(super) fn find(
        &self,
        kind: u32,
        name: &str,
        lowest_vcn: u64,
    ) -> Result<Option<Attribute<'_>>, Error> {
        for attribute in self.attributes() {
            let attribute = attribute?;
            if attribute.is(kind, name, lowest_vcn) {
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }

    /// The bytes that carry meaning, without what may differ between two copies of the record.
    pub(super) fn comparable(mut self) -> Vec<u8> {
        fixup::blank(&mut self.bytes);
        self.bytes.truncate(self.bytes_in_use);
        self.bytes
    }
}
