//! HFS, the file system of the Macintosh before HFS+: the used map is its volume bitmap.
//!
//! Invariants:
//!
//! - A block is used where the bitmap says so. It is believed only where it has as many free blocks as the master directory
//!   block counts, and calls the files of both trees used.
//! - The map is true only where the volume says that it was unmounted.
//! - The alternate master directory block stands near the end of the volume, so the whole volume is the file system.
//!
//! Big endian. Offsets and names are those of the master directory block in "Inside Macintosh: Files".
//!
//! ```text
//! 0      1 KiB                     drVBMSt      drAlBlSt                         1 KiB before the end
//! | boot | master directory block | bitmap ... | allocation blocks: trees, files | alternate | 512 bytes |
//! ```

use super::bitmap::insert_set_bits;
use super::error::read_structure;
use super::judgement::{Identity, Judgement, settle};
use super::{Error, Reading};
use crate::blockio::ReadAt;
use crate::schema::FileSystemKind;
use crate::units::{
    ByteRange, KIB, OutOfBounds, RangeSet, read_slice, read_u8, read_u16be, read_u32be, usize_from,
};

const STRUCTURE: &str = "HFS master directory block";
const BITMAP: &str = "HFS volume bitmap";
const AT: u64 = KIB;
const LENGTH: usize = 162;
/// The unit of everything that is not in allocation blocks.
const SECTOR: u64 = 512;
/// `drAtrb`
const UNMOUNTED: u16 = 1 << 8;
const INCONSISTENT: u16 = 1 << 11;
/// `drXTExtRec` and `drCTExtRec`, with three extents each.
const TREES: [usize; 2] = [134, 150];
const EXTENTS: usize = 3;
const MAX_NAME: u8 = 27;

/// The fields that matter for a used map.
struct Volume {
    attributes: u16,
    /// Where the bitmap is, and where the blocks begin.
    bitmap_at: u64,
    blocks_at: u64,
    blocks: u64,
    block_bytes: u64,
    free_blocks: u64,
    /// First block and number of blocks of what both trees are in.
    trees: Vec<(u64, u64)>,
    label: Option<String>,
}

/// Sees a master directory block with sane sizes that is no wrapper of an HFS+.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<FileSystemKind>, Error> {
    Ok(find(volume)?.map(|_| FileSystemKind::Hfs))
}

fn find(volume: &dyn ReadAt) -> Result<Option<Volume>, Error> {
    if volume.size_bytes() < AT.saturating_add(SECTOR) {
        return Ok(None);
    }
    let bytes = read_structure(volume, STRUCTURE, AT, LENGTH)?;
    if !bytes.starts_with(b"BD") || read_slice(&bytes, 0x7C, 2) == Ok(b"H+") {
        return Ok(None);
    }
    let found = Volume::parse(&bytes).map_err(Error::short(STRUCTURE, AT))?;
    Ok(Some(found).filter(Volume::goes_together))
}

/// Reads master directory block and bitmap.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Reading, Error> {
    let Some(found) = find(volume)? else {
        return Err(Error::corrupt(STRUCTURE, AT, "it is not there"));
    };
    let judged = settle(judge(volume, &found))?;
    let size_bytes = volume.size_bytes();
    Ok(judged.of(Identity {
        kind: FileSystemKind::Hfs,
        uuid: None,
        label: found.label,
        block_size_bytes: found.block_bytes,
        size_bytes,
    }))
}

fn judge(volume: &dyn ReadAt, found: &Volume) -> Result<Judgement, Error> {
    let size_bytes = volume.size_bytes();
    if found.end() > size_bytes {
        return Err(Error::corrupt(
            STRUCTURE,
            AT,
            format!(
                "{} blocks of {} bytes do not lie on the volume, which has {size_bytes} bytes",
                found.blocks, found.block_bytes
            ),
        ));
    }
    if found.attributes & UNMOUNTED == 0 || found.attributes & INCONSISTENT != 0 {
        let fact = "it was not unmounted, or is marked as inconsistent; mount it and unmount it once on a Mac, or check it \
                    there, or capture it with --when-dirty raw";
        return Ok(Judgement::Dirty { fact: fact.to_owned() });
    }
    let mut used = found.read_bitmap(volume)?;
    used.insert(ByteRange::new(0, found.blocks_at));
    used.insert(ByteRange::new(found.end().min(alternate_at(size_bytes)), size_bytes));
    Ok(Judgement::Clean { map: used, hints: Vec::new() })
}

/// Where the alternate master directory block stands.
const fn alternate_at(volume_bytes: u64) -> u64 {
    (volume_bytes / SECTOR).saturating_sub(2).saturating_mul(SECTOR)
}

impl Volume {
    fn parse(bytes: &[u8]) -> Result<Self, OutOfBounds> {
        let short = |at: usize| read_u16be(bytes, at).map(u64::from);
        let mut trees = Vec::new();
        for tree in TREES {
            for extent in 0..EXTENTS {
                let at = tree.saturating_add(extent.saturating_mul(4));
                trees.push((short(at)?, short(at.saturating_add(2))?));
            }
        }
        let length = read_u8(bytes, 36)?.min(MAX_NAME);
        let name = String::from_utf8_lossy(read_slice(bytes, 37, length.into())?).into_owned();
        Ok(Self {
            attributes: read_u16be(bytes, 10)?,
            bitmap_at: short(14)?.saturating_mul(SECTOR),
            blocks_at: short(28)?.saturating_mul(SECTOR),
            blocks: short(18)?,
            block_bytes: read_u32be(bytes, 20)?.into(),
            free_blocks: short(34)?,
            trees,
            label: (!name.is_empty()).then_some(name),
        })
    }

    /// Its sizes are those of an HFS: the signature is short.
    fn goes_together(&self) -> bool {
        let bitmap_end = self.bitmap_at.saturating_add(self.blocks.div_ceil(8));
        self.block_bytes > 0
            && self.block_bytes.is_multiple_of(SECTOR)
            && self.blocks > 0
            && self.free_blocks <= self.blocks
            && self.bitmap_at > AT
            && bitmap_end <= self.blocks_at
    }

    const fn end(&self) -> u64 {
        self.blocks_at.saturating_add(self.blocks.saturating_mul(self.block_bytes))
    }

    /// The bytes of the volume that a run of blocks has.
    const fn bytes_of(&self, first: u64, count: u64) -> ByteRange {
        let start = self.blocks_at.saturating_add(first.saturating_mul(self.block_bytes));
        ByteRange::new(start, start.saturating_add(count.saturating_mul(self.block_bytes)))
    }

    fn read_bitmap(&self, volume: &dyn ReadAt) -> Result<RangeSet, Error> {
        let bits = read_structure(volume, BITMAP, self.bitmap_at, usize_from(self.blocks.div_ceil(8)))?;
        let bits: Vec<u8> = bits.into_iter().map(u8::reverse_bits).collect();
        let mut blocks = RangeSet::new();
        insert_set_bits(&mut blocks, &bits, 0, self.blocks, 1);
        let free = self.blocks.saturating_sub(blocks.total_bytes());
        if free != self.free_blocks {
            let fact =
                format!("{free} blocks are free, but the master directory block counts {}", self.free_blocks);
            return Err(Error::corrupt(BITMAP, self.bitmap_at, fact));
        }
        let used: RangeSet = blocks.iter().map(|run| self.bytes_of(run.start(), run.length())).collect();
        for (first, count) in &self.trees {
            let place = self.bytes_of(*first, *count);
            if *count > 0 && !used.contains(place) {
                let fact = format!("it says that {place} are free, where the catalog or the extents file is");
                return Err(Error::corrupt(BITMAP, self.bitmap_at, fact));
            }
        }
        Ok(used)
    }
}
