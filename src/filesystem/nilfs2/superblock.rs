//! The NILFS2 superblock: identity, geometry, state, and the log that was written last.
//!
//! Little endian, 1 KiB into the volume and again near the end of the device. Offsets and names are those of `struct
//! nilfs_super_block` in the kernel's `include/uapi/linux/nilfs2_ondisk.h`, rules those of its `fs/nilfs2/the_nilfs.c`.

use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::{text_at, uuid_at};
use crate::units::checksum::crc32;
use crate::units::{
    ByteRange, KIB, OutOfBounds, read_slice, read_u16le, read_u32le, read_u64le, u64_from, usize_from,
};

const STRUCTURE: &str = "NILFS2 superblock";
/// `NILFS_SUPER_MAGIC`
const MAGIC: u16 = 0x3434;
/// `NILFS_SB_OFFSET_BYTES`
const PRIMARY_AT: u64 = KIB;
const LENGTH: usize = 1024;
/// `NILFS_SB2_OFFSET_BYTES` is rounded to this.
const BACKUP_BYTES: u64 = 4 * KIB;
/// `NILFS_CURRENT_REV`
const REVISION: u32 = 2;
/// `NILFS_SEG_MIN_BLOCKS`
const MIN_BLOCKS_PER_SEGMENT: u64 = 16;
/// `NILFS_MIN_INODE_SIZE`, `NILFS_MIN_DAT_ENTRY_SIZE` and `NILFS_MIN_SEGMENT_USAGE_SIZE`
const MIN_INODE_BYTES: u64 = 128;
const MIN_DAT_ENTRY_BYTES: u64 = 32;
const MIN_SEGMENT_USAGE_BYTES: u64 = 16;

const VALID_FS: u16 = 0x0001;
const ERROR_FS: u16 = 0x0002;
const RESIZE_FS: u16 = 0x0004;

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    at: u64,
    rev_level: u32,
    pub(super) crc_seed: u32,
    pub(super) block_bytes: u64,
    pub(super) nsegments: u64,
    pub(super) dev_size: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_segment: u64,
    last_cno: u64,
    /// Block at which the last log begins.
    pub(super) last_pseg: u64,
    pub(super) last_seq: u64,
    state: u16,
    pub(super) inode_size: u64,
    pub(super) dat_entry_size: u64,
    pub(super) segment_usage_size: u64,
    feature_incompat: u64,
    pub(super) uuid: Option<String>,
    pub(super) label: Option<String>,
}

/// The superblock that counts, and what is to be said about the other one.
pub(super) struct Found {
    pub(super) superblock: Superblock,
    pub(super) hint: Option<String>,
}

/// Where the kernel looks for the backup on a device of this size.
fn backup_at(device_bytes: u64) -> Option<u64> {
    device_bytes.checked_div(BACKUP_BYTES)?.checked_sub(1)?.checked_mul(BACKUP_BYTES)
}

/// Where backups may stand: near the end of the device that the superblock names, and near that of the volume.
pub(super) fn backup_places(dev_size: u64, volume_bytes: u64) -> impl Iterator<Item = ByteRange> {
    [dev_size, volume_bytes]
        .into_iter()
        .filter_map(backup_at)
        .filter_map(|at| ByteRange::at(at, BACKUP_BYTES))
}

/// True where the first superblock is there, or its magic number and a whole backup.
pub(super) fn is_there(volume: &dyn ReadAt) -> Result<bool, Error> {
    if volume.size_bytes() < PRIMARY_AT.saturating_add(u64_from(LENGTH)) {
        return Ok(false);
    }
    let bytes = read_structure(volume, STRUCTURE, PRIMARY_AT, LENGTH)?;
    if read_u16le(&bytes, 6) != Ok(MAGIC) {
        return Ok(false);
    }
    if checksum_agrees(&bytes) {
        return Ok(true);
    }
    let Some(at) = backup_at(volume.size_bytes()) else { return Ok(false) };
    let backup = read_structure(volume, STRUCTURE, at, LENGTH)?;
    Ok(read_u16le(&backup, 6) == Ok(MAGIC) && checksum_agrees(&backup))
}

/// The sum counts itself as zeros.
fn checksum_agrees(superblock: &[u8]) -> bool {
    let fields = (read_u16le(superblock, 8), read_u32le(superblock, 12), read_u32le(superblock, 16));
    let (Ok(length), Ok(seed), Ok(sum)) = fields else { return false };
    let Ok(counted) = read_slice(superblock, 0, usize_from(length.into())) else { return false };
    let (Some(before), Some(behind)) = (counted.get(..16), counted.get(20..)) else { return false };
    crc32(crc32(crc32(seed, before), &[0; 4]), behind) == sum
}

/// Reads both superblocks. The one with the newer checkpoint counts, as for the kernel.
pub(super) fn read(volume: &dyn ReadAt) -> Result<Found, Error> {
    let primary = read_at(volume, PRIMARY_AT);
    let backup = backup_at(volume.size_bytes()).map_or_else(
        || Err(Error::corrupt(STRUCTURE, 0, "the volume is too small for a backup of it")),
        |at| read_at(volume, at),
    );
    let found = match (primary, backup) {
        (Err(error @ Error::Io { .. }), _) | (_, Err(error @ Error::Io { .. })) => return Err(error),
        (Ok(primary), Ok(backup)) => {
            let newer = if backup.last_cno > primary.last_cno { &backup } else { &primary };
            if primary.geometry() != backup.geometry() {
                return Err(newer.corrupt("the other one is that of another file system or of another size"));
            }
            Found { superblock: newer.clone(), hint: None }
        }
        (Ok(superblock), Err(error)) => Found { superblock, hint: Some(hint("backup", &error)) },
        (Err(error), Ok(superblock)) => Found { superblock, hint: Some(hint("first", &error)) },
        (Err(error), Err(_)) => return Err(error),
    };
    found.superblock.check_geometry(volume.size_bytes())?;
    found.superblock.check_other_backup(volume)?;
    Ok(found)
}

/// What makes a file system that was made for so many bytes right on a larger device, where Linux looks for the backup nearer
/// to the end: a backup that is newer goes to the place of the first superblock, and what was left at the new place goes.
pub(in crate::filesystem) fn for_a_larger_device(
    volume: &dyn ReadAt,
    made_for_bytes: u64,
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let places = [made_for_bytes, volume.size_bytes()].map(backup_at);
    let [Some(own), Some(other)] = places else { return Ok(Vec::new()) };
    if own == other {
        return Ok(Vec::new());
    }
    let nothing = vec![0; usize_from(BACKUP_BYTES)];
    let mut writes = vec![(other, nothing)];
    let (primary, backup) = (read_at(volume, PRIMARY_AT), read_at(volume, own));
    let is_newer = match (&primary, &backup) {
        (Ok(primary), Ok(backup)) => {
            primary.geometry() == backup.geometry() && backup.last_cno > primary.last_cno
        }
        (Err(_), Ok(_)) => true,
        _ => false,
    };
    for read in [primary, backup] {
        if let Err(error @ Error::Io { .. }) = read {
            return Err(error);
        }
    }
    if is_newer {
        writes.push((PRIMARY_AT, read_structure(volume, STRUCTURE, own, LENGTH)?));
    }
    Ok(writes)
}

fn hint(which: &str, error: &Error) -> String {
    format!("the {which} of two superblocks is damaged, which does no harm while the other is there: {error}")
}

fn read_at(volume: &dyn ReadAt, at: u64) -> Result<Superblock, Error> {
    let bytes = read_structure(volume, STRUCTURE, at, LENGTH)?;
    let short = Error::short(STRUCTURE, at);
    let magic = read_u16le(&bytes, 6).map_err(&short)?;
    if magic != MAGIC {
        return Err(Error::corrupt(STRUCTURE, at, format!("its magic number is {magic:#06x}")));
    }
    if !checksum_agrees(&bytes) {
        return Err(Error::corrupt(STRUCTURE, at, "its checksum is wrong"));
    }
    Superblock::parse(&bytes, at).map_err(short)
}

impl Superblock {
    fn parse(bytes: &[u8], at: u64) -> Result<Self, OutOfBounds> {
        let size = |at: usize| read_u16le(bytes, at).map(u64::from);
        Ok(Self {
            at,
            rev_level: read_u32le(bytes, 0x00)?,
            crc_seed: read_u32le(bytes, 0x0C)?,
            block_bytes: KIB.checked_shl(read_u32le(bytes, 0x14)?).unwrap_or(0),
            nsegments: read_u64le(bytes, 0x18)?,
            dev_size: read_u64le(bytes, 0x20)?,
            first_data_block: read_u64le(bytes, 0x28)?,
            blocks_per_segment: read_u32le(bytes, 0x30)?.into(),
            last_cno: read_u64le(bytes, 0x38)?,
            last_pseg: read_u64le(bytes, 0x40)?,
            last_seq: read_u64le(bytes, 0x48)?,
            state: read_u16le(bytes, 0x74)?,
            inode_size: size(0x90)?,
            dat_entry_size: size(0x92)?,
            segment_usage_size: size(0x96)?,
            uuid: uuid_at(bytes, 0x98),
            label: text_at(bytes, 0xA8, 80),
            feature_incompat: read_u64le(bytes, 0x110)?,
        })
    }

    fn geometry(&self) -> impl PartialEq {
        let sizes = (self.inode_size, self.dat_entry_size, self.segment_usage_size, self.crc_seed);
        let segments = (self.nsegments, self.blocks_per_segment, self.first_data_block);
        (self.rev_level, self.block_bytes, segments, self.dev_size, sizes, self.uuid.clone())
    }

    fn corrupt(&self, fact: impl Into<String>) -> Error {
        Error::corrupt(STRUCTURE, self.at, fact)
    }

    fn check_geometry(&self, volume_bytes: u64) -> Result<(), Error> {
        let holds = |smallest: u64, entry: u64| entry >= smallest && entry <= self.block_bytes;
        let blocks = self.nsegments.checked_mul(self.blocks_per_segment);
        let segments_end = blocks.and_then(|blocks| blocks.checked_mul(self.block_bytes));
        let backup = backup_at(self.dev_size).unwrap_or(0);
        let is_sound = (KIB..=64 * KIB).contains(&self.block_bytes)
            && self.blocks_per_segment >= MIN_BLOCKS_PER_SEGMENT
            && self.nsegments > 0
            && self.first_data_block < self.blocks_per_segment
            && self.first_byte() >= PRIMARY_AT.saturating_add(u64_from(LENGTH))
            && segments_end.is_some_and(|end| end <= backup)
            && holds(MIN_INODE_BYTES, self.inode_size)
            && holds(MIN_DAT_ENTRY_BYTES, self.dat_entry_size)
            && holds(MIN_SEGMENT_USAGE_BYTES, self.segment_usage_size);
        if !is_sound {
            return Err(self.corrupt(format!(
                "{} segments of {} blocks of {} bytes, from block {} on, with inodes of {}, DAT entries of {} and \
                 segment usages of {} bytes, do not make a file system of {} bytes",
                self.nsegments,
                self.blocks_per_segment,
                self.block_bytes,
                self.first_data_block,
                self.inode_size,
                self.dat_entry_size,
                self.segment_usage_size,
                self.dev_size
            )));
        }
        if self.dev_size > volume_bytes {
            return Err(self.corrupt(format!(
                "the file system has {} bytes, but the volume only {volume_bytes}",
                self.dev_size
            )));
        }
        Ok(())
    }

    /// On a volume that is larger than the file system, the kernel looks for the backup near the end of the volume,
    /// and what stands where it was, waits there for a volume of the right size.
    fn check_other_backup(&self, volume: &dyn ReadAt) -> Result<(), Error> {
        let [Some(own), Some(other)] = [self.dev_size, volume.size_bytes()].map(backup_at) else {
            return Ok(());
        };
        if own == other {
            return Ok(());
        }
        if self.at == other || read_at(volume, other).is_ok() {
            return Err(Error::unsupported(
                "it has a backup of its superblock near the end of the volume and says that it ends before; run \
                 nilfs-resize on it, mounted, or capture it raw",
            ));
        }
        match read_at(volume, own) {
            Ok(backup) if backup.geometry() != self.geometry() => {
                Err(backup.corrupt("it is that of another file system or of another size"))
            }
            Ok(backup) if backup.last_cno > self.last_cno => Err(Error::unsupported(
                "its volume became larger, so that Linux does not see the newer one of its superblocks; mount it and \
                 unmount it once, or capture it raw",
            )),
            Err(error @ Error::Io { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Refuses the forms that Remint does not know.
    pub(super) fn check_features(&self) -> Result<(), Error> {
        if self.rev_level != REVISION {
            return Err(Error::unsupported(format!(
                "it has revision {} of NILFS, and Remint knows {REVISION}; capture it raw",
                self.rev_level
            )));
        }
        match self.feature_incompat {
            0 => Ok(()),
            unknown => Err(Error::unsupported(format!(
                "it has features that Remint does not know ({unknown:#x}); capture it raw"
            ))),
        }
    }

    /// What the file system says of itself where it is broken.
    pub(super) fn check_error_flag(&self) -> Result<(), Error> {
        if self.state & ERROR_FS == 0 {
            return Ok(());
        }
        Err(self.corrupt("NILFS_ERROR_FS is set: the kernel met an error"))
    }

    /// Why the last log may not be the whole truth.
    pub(super) fn unfinished(&self) -> Option<&'static str> {
        if self.state & VALID_FS == 0 {
            Some("was not unmounted, so that a mount looks for logs that are newer than its superblock")
        } else if self.state & RESIZE_FS != 0 {
            Some("is in the middle of a change of its size")
        } else {
            None
        }
    }

    /// First byte of the first segment.
    pub(super) fn first_byte(&self) -> u64 {
        self.first_data_block.saturating_mul(self.block_bytes)
    }

    /// The segment to which a block belongs, if it belongs to one.
    pub(super) fn segment_of(&self, block: u64) -> Option<u64> {
        let segment = block.checked_div(self.blocks_per_segment)?;
        (segment < self.nsegments && block >= self.first_data_block).then_some(segment)
    }

    /// First block of a segment, and the one behind it.
    pub(super) fn segment_blocks(&self, segment: u64) -> (u64, u64) {
        let start = segment.saturating_mul(self.blocks_per_segment);
        (start.max(self.first_data_block), start.saturating_add(self.blocks_per_segment))
    }

    /// The bytes of a segment.
    pub(super) fn segment(&self, segment: u64) -> ByteRange {
        let (start, end) = self.segment_blocks(segment);
        ByteRange::new(self.bytes_of(start), self.bytes_of(end))
    }

    /// Where a block stands on the volume.
    pub(super) fn bytes_of(&self, block: u64) -> u64 {
        block.saturating_mul(self.block_bytes)
    }
}
