//! Attributes of an MFT record.
//!
//! ```text
//! 0x00 type      0x08 non-resident?   resident              non-resident
//! 0x04 length    0x09 name length     0x10 value length     0x10 lowest VCN    0x28 allocated size
//!                0x0A name offset     0x14 value offset     0x18 highest VCN   0x30 data size
//!                0x0C flags                                 0x20 runs offset   0x38 initialized size
//! ```

use crate::units::{OutOfBounds, read_slice, read_u8, read_u16le, read_u32le, read_u64le, usize_from};

/// The types that are read here.
pub(super) mod kind {
    pub(in super::super) const ATTRIBUTE_LIST: u32 = 0x20;
    pub(in super::super) const VOLUME_NAME: u32 = 0x60;
    pub(in super::super) const VOLUME_INFORMATION: u32 = 0x70;
    pub(in super::super) const DATA: u32 = 0x80;
    pub(in super::super) const INDEX_ROOT: u32 = 0x90;
    pub(in super::super) const INDEX_ALLOCATION: u32 = 0xA0;
    pub(in super::super) const BITMAP: u32 = 0xB0;
    pub(in super::super) const END: u32 = 0xFFFF_FFFF;
}

/// Flags: the mask of the compression methods.
pub(super) const COMPRESSED: u16 = 0x00FF;
/// Flags: encrypted by EFS.
pub(super) const ENCRYPTED: u16 = 0x4000;

/// One attribute, or one extent of it.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u32,
    /// UTF-16LE.
    pub(super) name: &'a [u8],
    pub(super) flags: u16,
    pub(super) form: Form<'a>,
}

/// Where the value stands.
#[derive(Debug)]
pub(super) enum Form<'a> {
    /// In the record.
    Resident(&'a [u8]),
    /// In clusters of its own.
    NonResident {
        lowest_vcn: u64,
        data_bytes: u64,
        initialized_bytes: u64,
        /// The mapping pairs.
        pairs: &'a [u8],
    },
}

impl<'a> Attribute<'a> {
    /// Parses an attribute from all of its bytes.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, OutOfBounds> {
        let name_length = usize::from(read_u8(bytes, 0x09)?).saturating_mul(2);
        let name = match name_length {
            0 => &[],
            _ => read_slice(bytes, usize::from(read_u16le(bytes, 0x0A)?), name_length)?,
        };
        let form = if read_u8(bytes, 0x08)? == 0 {
            let length = usize_from(read_u32le(bytes, 0x10)?.into());
            Form::Resident(read_slice(bytes, usize::from(read_u16le(bytes, 0x14)?), length)?)
        } else {
            let pairs_at = usize::from(read_u16le(bytes, 0x20)?);
            Form::NonResident {
                lowest_vcn: read_u64le(bytes, 0x10)?,
                data_bytes: read_u64le(bytes, 0x30)?,
                initialized_bytes: read_u64le(bytes, 0x38)?,
                pairs: read_slice(bytes, pairs_at, bytes.len().saturating_sub(pairs_at))?,
            }
        };
        Ok(Self { kind: read_u32le(bytes, 0x00)?, name, flags: read_u16le(bytes, 0x0C)?, form })
    }

    /// True where this is the attribute, or its extent that starts at a VCN.
    pub(super) fn is(&self, kind: u32, name: &str, lowest_vcn: u64) -> bool {
        let starts = match self.form {
            Form::Resident(_) => 0,
            Form::NonResident { lowest_vcn, .. } => lowest_vcn,
        };
        self.kind == kind && starts == lowest_vcn && is_name(self.name, name)
    }
}

/// True where UTF-16LE bytes spell a name exactly.
pub(super) fn is_name(utf16le: &[u8], name: &str) -> bool {
    utf16le.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).eq(name.encode_utf16())
}

/// The text of UTF-16LE bytes; what is not valid text is replaced.
pub(super) fn text(utf16le: &[u8]) -> String {
    let units = utf16le.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
