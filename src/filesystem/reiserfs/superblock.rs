//! The ReiserFS superblock: identity, geometry, state, and where the journal is.
//!
//! Little endian, 64 KiB into the volume. Offsets and names are those of `struct reiserfs_super_block_v1` and
//! `struct reiserfs_super_block` in the kernel's `fs/reiserfs/reiserfs.h`. There is no checksum.

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::{text_at, uuid_at};
use crate::units::{ByteRange, KIB, OutOfBounds, read_slice, read_u16le, read_u32le, u64_from};

const STRUCTURE: &str = "ReiserFS superblock";
/// `REISERFS_DISK_OFFSET_IN_BYTES` and `REISERFS_OLD_DISK_OFFSET_IN_BYTES`
const AT: u64 = 64 * KIB;
const OLD_AT: u64 = 8 * KIB;
const LENGTH: usize = 204;
const MAGIC_AT: usize = 52;
/// `REISERFS_VALID_FS`
const VALID_FS: u16 = 1;
/// The newest `s_version`.
const MAX_VERSION: u16 = 2;
/// A number of bitmaps that does not fit in its field is zero there.
const MAX_COUNTED_BITMAPS: u64 = 0xFFFF;

/// The forms, by their magic numbers: `ReIsErFs`, `ReIsEr2Fs`, and `ReIsEr3Fs` with a journal of another size or place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    V3_5,
    V3_6,
    Relocated,
}

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    at: u64,
    form: Form,
    pub(super) block_count: u64,
    pub(super) free_blocks: u64,
    root_block: u64,
    pub(super) journal_1st_block: u64,
    journal_dev: u32,
    pub(super) journal_size: u64,
    pub(super) block_bytes: u64,
    umount_state: u16,
    fs_state: u16,
    bmap_nr: u64,
    version: u16,
    pub(super) uuid: Option<String>,
    pub(super) label: Option<String>,
}

/// Where there is a superblock with a sane block size, and its bytes.
pub(super) fn find(volume: &dyn ReadAt) -> Result<Option<(u64, Vec<u8>)>, Error> {
    for at in [AT, OLD_AT] {
        if at.saturating_add(u64_from(LENGTH)) > volume.size_bytes() {
            continue;
        }
        let bytes = read_structure(volume, STRUCTURE, at, LENGTH)?;
        let block = read_u16le(&bytes, 44).unwrap_or(0);
        if form_of(&bytes).is_some() && block.is_power_of_two() && (512..=32768).contains(&block) {
            return Ok(Some((at, bytes)));
        }
    }
    Ok(None)
}

fn form_of(superblock: &[u8]) -> Option<Form> {
    match read_slice(superblock, MAGIC_AT, 9).ok()? {
        b"ReIsEr2Fs" => Some(Form::V3_6),
        b"ReIsEr3Fs" => Some(Form::Relocated),
        [b'R', b'e', b'I', b's', b'E', b'r', b'F', b's', _] => Some(Form::V3_5),
        _ => None,
    }
}

impl Superblock {
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Self, Error> {
        let Some((at, bytes)) = find(volume)? else {
            return Err(Error::corrupt(STRUCTURE, AT, "it is not there"));
        };
        let form = form_of(&bytes).unwrap_or(Form::V3_5);
        Self::parse(&bytes, at, form).map_err(Error::short(STRUCTURE, at))
    }

    fn parse(bytes: &[u8], at: u64, form: Form) -> Result<Self, OutOfBounds> {
        let field = |at: usize| read_u32le(bytes, at).map(u64::from);
        let version = read_u16le(bytes, 72)?;
        // Format 3.5 ends before them.
        let is_named = form != Form::V3_5 && version >= MAX_VERSION;
        Ok(Self {
            at,
            form,
            block_count: field(0)?,
            free_blocks: field(4)?,
            root_block: field(8)?,
            journal_1st_block: field(12)?,
            journal_dev: read_u32le(bytes, 16)?,
            journal_size: field(20)?,
            block_bytes: read_u16le(bytes, 44)?.into(),
            umount_state: read_u16le(bytes, 50)?,
            fs_state: read_u16le(bytes, 62)?,
            bmap_nr: read_u16le(bytes, 70)?.into(),
            version,
            uuid: uuid_at(bytes, 84).filter(|_| is_named),
            label: text_at(bytes, 100, 16).filter(|_| is_named),
        })
    }

    fn corrupt(&self, fact: impl Into<String>) -> Error {
        Error::corrupt(STRUCTURE, self.at, fact)
    }

    /// Refuses the forms whose used map this volume alone does not tell, or that Remint does not know.
    pub(super) fn check_form(&self) -> Result<(), Error> {
        if self.at != AT {
            return Err(Error::unsupported(
                "it is of the oldest form, with all its bitmaps behind a superblock at 8 KiB; capture it raw",
            ));
        }
        if self.version > MAX_VERSION {
            return Err(Error::unsupported(format!(
                "it has version {} of ReiserFS, and Remint knows {MAX_VERSION}; capture it raw",
                self.version
            )));
        }
        if self.form == Form::Relocated && self.journal_dev != 0 {
            return Err(Error::unsupported(
                "its journal is on another device; capture both raw, while it is not mounted",
            ));
        }
        Ok(())
    }

    /// Bitmaps, journal and root lie on the volume.
    pub(super) fn check_geometry(&self, volume_bytes: u64) -> Result<(), Error> {
        let bitmaps = if self.bitmaps() > MAX_COUNTED_BITMAPS { 0 } else { self.bitmaps() };
        let is_sound = self.block_count > self.bitmap(0)
            && self.bmap_nr == bitmaps
            && self.journal_1st_block > self.bitmap(0)
            && self.journal_size > 0
            && self.journal_header() < self.block_count
            && self.journal_header() < self.blocks_per_bitmap()
            && self.root_block < self.block_count
            && self.free_blocks < self.block_count;
        if !is_sound {
            return Err(self.corrupt(format!(
                "{} bitmaps, a journal of {} blocks from block {} on and a root in block {} do not go with {} blocks of \
                 {} bytes, {} of them free",
                self.bmap_nr,
                self.journal_size,
                self.journal_1st_block,
                self.root_block,
                self.block_count,
                self.block_bytes,
                self.free_blocks
            )));
        }
        if self.size_bytes() > volume_bytes {
            return Err(self.corrupt(format!(
                "the file system has {} blocks of {} bytes, but the volume only {volume_bytes} bytes",
                self.block_count, self.block_bytes
            )));
        }
        Ok(())
    }

    /// What its checker noted.
    pub(super) fn check_error_flag(&self) -> Result<(), Error> {
        if self.fs_state == 0 {
            return Ok(());
        }
        Err(self.corrupt(format!("its checker noted errors, or did not end ({:#x})", self.fs_state)))
    }

    /// Why the bitmaps may not be the whole truth.
    pub(super) fn unfinished(&self) -> Option<&'static str> {
        (self.umount_state != VALID_FS).then_some("was not unmounted")
    }

    /// Size of the file system.
    pub(super) const fn size_bytes(&self) -> u64 {
        self.block_count.saturating_mul(self.block_bytes)
    }

    /// Blocks that one bitmap covers.
    pub(super) const fn blocks_per_bitmap(&self) -> u64 {
        self.block_bytes.saturating_mul(8)
    }

    /// How many bitmaps there have to be.
    pub(super) const fn bitmaps(&self) -> u64 {
        self.block_count.div_ceil(self.block_bytes.saturating_mul(8))
    }

    /// The block of a bitmap: the first one follows the superblock, each other one is the first block that it covers.
    pub(super) fn bitmap(&self, number: u64) -> u64 {
        match number {
            0 => AT.checked_div(self.block_bytes).unwrap_or(0).saturating_add(1),
            _ => number.saturating_mul(self.blocks_per_bitmap()),
        }
    }

    /// The block behind the last one of the journal.
    pub(super) const fn journal_header(&self) -> u64 {
        self.journal_1st_block.saturating_add(self.journal_size)
    }

    /// The bytes of a block.
    pub(super) fn block(&self, number: u64) -> ByteRange {
        let bytes = |block: u64| block.saturating_mul(self.block_bytes);
        ByteRange::new(bytes(number), bytes(number.saturating_add(1)))
    }

    /// What can only be used: everything up to the first bitmap, the journal with its header, and the root.
    pub(super) fn needed(&self) -> [ByteRange; 3] {
        let start = self.block(self.journal_1st_block).start();
        [
            ByteRange::new(0, self.block(self.bitmap(0)).end()),
            ByteRange::new(start, self.block(self.journal_header()).end()),
            self.block(self.root_block),
        ]
    }
}
