//! The headers of an allocation group: a copy of the superblock, then the AGF, the AGI and the AGFL, one
//! sector each.
//!
//! Offsets and names are those of `struct xfs_agf` and `struct xfs_agi` in the kernel's
//! `fs/xfs/libxfs/xfs_format.h`. The AGFL is not read: its blocks are in no free-space tree, so they stay
//! in use.

use super::super::Error;
use super::super::error::read_structure;
use super::checksum;
use super::superblock::Superblock;
use crate::blockio::ReadAt;
use crate::units::{OutOfBounds, read_array, read_slice, read_u32be, u64_from};

/// Sectors of the four headers.
pub(super) const HEADER_SECTORS: u32 = 4;

/// A header whose first fields and UUID are checked in the same way.
struct Form {
    structure: &'static str,
    magic: &'static [u8; 4],
    sector: usize,
    uuid_at: usize,
    crc_at: usize,
}

const AGF: Form = Form { structure: "XFS AGF", magic: b"XAGF", sector: 1, uuid_at: 64, crc_at: 216 };
const AGI: Form = Form { structure: "XFS AGI", magic: b"XAGI", sector: 2, uuid_at: 296, crc_at: 312 };

/// Root of a B-tree and its number of levels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    pub(super) block: u32,
    pub(super) levels: u32,
}

/// What the AGF says about free space.
#[derive(Debug, Clone)]
pub(super) struct AllocationGroup {
    pub(super) number: u32,
    /// Blocks of the group, as the geometry has it and the AGF confirms.
    pub(super) blocks: u32,
    /// `agf_roots[XFS_BTNUM_BNOi]`: free extents by their position.
    pub(super) by_block: Root,
    /// `agf_roots[XFS_BTNUM_CNTi]`: free extents by their length.
    pub(super) by_count: Root,
    /// `agf_freeblks`: blocks in either tree.
    pub(super) freeblks: u32,
    /// Where the AGF stands, in bytes.
    pub(super) agf_at: u64,
    /// False where the superblock copy of the group contradicts the primary one.
    pub(super) copy_agrees: bool,
}

/// Reads and checks the headers of a group.
pub(super) fn read(
    volume: &dyn ReadAt,
    superblock: &Superblock,
    number: u32,
) -> Result<AllocationGroup, Error> {
    let at = superblock.block_at(number, 0);
    let sector_bytes = usize::from(superblock.sectsize);
    let length = sector_bytes.saturating_mul(4);
    let headers = read_structure(volume, "XFS allocation group headers", at, length)?;
    let (agf, agf_at) = check_header(&AGF, superblock, number, &headers)?;
    check_header(&AGI, superblock, number, &headers)?;
    let fields = |field: usize| read_u32be(agf, field);
    let parse = || -> Result<AllocationGroup, OutOfBounds> {
        Ok(AllocationGroup {
            number,
            blocks: superblock.group_blocks(number),
            by_block: Root { block: fields(16)?, levels: fields(28)? },
            by_count: Root { block: fields(20)?, levels: fields(32)? },
            freeblks: fields(52)?,
            agf_at,
            copy_agrees: superblock.agrees_with(&headers),
        })
    };
    parse().map_err(Error::short(AGF.structure, agf_at))
}

/// The sector of one header and its position, after its magic, version, number, length, checksum and UUID
/// were compared with what they must be.
fn check_header<'a>(
    form: &Form,
    superblock: &Superblock,
    number: u32,
    headers: &'a [u8],
) -> Result<(&'a [u8], u64), Error> {
    let sector_bytes = usize::from(superblock.sectsize);
    let offset = form.sector.saturating_mul(sector_bytes);
    let at = superblock.block_at(number, 0).saturating_add(u64_from(offset));
    let short = Error::short(form.structure, at);
    let sector = read_slice(headers, offset, sector_bytes).map_err(&short)?;
    let word = |field: usize| read_u32be(sector, field).map_err(&short);
    let corrupt = |fact: String| Err(Error::corrupt(form.structure, at, fact));
    if read_slice(sector, 0, 4).map_err(&short)? != form.magic {
        return corrupt(format!("its magic number is {:#010x}", word(0)?));
    }
    if superblock.has_checksums() {
        checksum::check(sector, form.crc_at, form.structure, at)?;
        if read_array(sector, form.uuid_at).map_err(&short)? != superblock.metadata_uuid() {
            return corrupt("it carries the UUID of another file system".to_owned());
        }
    }
    let (version, seqno, length) = (word(4)?, word(8)?, word(12)?);
    let blocks = superblock.group_blocks(number);
    if (version, seqno, length) != (1, number, blocks) {
        return corrupt(format!(
            "it says version {version}, group {seqno}, {length} blocks; it should be version 1, group {number}, {blocks} blocks"
        ));
    }
    Ok((sector, at))
}
