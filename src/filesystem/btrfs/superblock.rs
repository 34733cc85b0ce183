//! The superblock of btrfs: identity, sizes, features, and where the trees begin.
//!
//! Little endian, 4 KiB at 64 KiB, with copies at 64 MiB and 256 GiB where the device reaches so far. Names and offsets
//! are those of `struct btrfs_super_block` in the kernel's `include/uapi/linux/btrfs_tree.h`. A mount takes the first one
//! and no other, and so does this reader.

use super::checksum::Checksum;
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::filesystem::error::read_structure;
use crate::filesystem::signature::identity::{text_at, uuid_text};
use crate::units::{
    ByteRange, OutOfBounds, read_array, read_slice, read_u8, read_u16le, read_u32le, read_u64le, u64_from,
    usize_from,
};

pub(super) const STRUCTURE: &str = "btrfs superblock";
/// `BTRFS_SUPER_INFO_OFFSET` and the two mirrors.
pub(super) const PLACES: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];
/// `BTRFS_SUPER_INFO_SIZE`
pub(super) const LENGTH: usize = 4096;
/// `BTRFS_MAGIC`, at byte 0x40.
pub(super) const MAGIC: &[u8; 8] = b"_BHRfS_M";
/// `BTRFS_MAX_LEVEL`
pub(super) const MAX_LEVELS: u8 = 8;
/// `BTRFS_SYSTEM_CHUNK_ARRAY_SIZE`
const MAX_SYS_CHUNK_ARRAY: u32 = 2048;

/// `BTRFS_FEATURE_INCOMPAT_*`
mod incompat {
    pub(super) const METADATA_UUID: u64 = 1 << 10;
    pub(super) const ZONED: u64 = 1 << 12;
    /// Everything up to zoned block devices, and simple quotas.
    pub(super) const KNOWN: u64 = 0x1FFF | 1 << 16;
}

/// `BTRFS_FEATURE_COMPAT_RO_*`
mod compat_ro {
    pub(super) const FREE_SPACE_TREE: u64 = 1 << 0;
    pub(super) const FREE_SPACE_TREE_VALID: u64 = 1 << 1;
    pub(super) const BLOCK_GROUP_TREE: u64 = 1 << 3;
    /// The three above and fs-verity.
    pub(super) const KNOWN: u64 = 0xF;
}

/// `BTRFS_SUPER_FLAG_*`
mod flags {
    pub(super) const ERROR: u64 = 1 << 2;
    pub(super) const SEEDING: u64 = 1 << 32;
    /// Two forms of `METADUMP`.
    pub(super) const METADUMP: u64 = 3 << 33;
    /// Changes of the file system's UUID, of the place of block groups and of checksums, which `btrfstune` makes.
    pub(super) const CHANGING: u64 = 1 << 35 | 1 << 36 | 7 << 38;
}

/// The fields that matter for a used map, by their names in the specification.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    pub(super) fsid: [u8; 16],
    bytenr: u64,
    flags: u64,
    pub(super) generation: u64,
    pub(super) root: u64,
    pub(super) chunk_root: u64,
    pub(super) log_root: u64,
    pub(super) num_devices: u64,
    pub(super) sectorsize: u32,
    pub(super) nodesize: u32,
    sys_chunk_array_size: u32,
    pub(super) chunk_root_generation: u64,
    compat_ro_flags: u64,
    incompat_flags: u64,
    pub(super) root_level: u8,
    pub(super) chunk_root_level: u8,
    pub(super) devid: u64,
    /// `dev_item.total_bytes`: what of this device the file system has.
    pub(super) total_bytes: u64,
    /// `dev_item.uuid`
    pub(super) dev_uuid: [u8; 16],
    label: Option<String>,
    metadata_uuid: [u8; 16],
    pub(super) sys_chunk_array: Vec<u8>,
    pub(super) checksum: Checksum,
    /// What one commit writes to every device.
    pub(super) shared: Vec<u8>,
}

impl Superblock {
    /// Reads and checks the superblock that a mount takes.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Self, Error> {
        let superblock = Self::read_first(volume)?;
        superblock.check_sizes(volume.size_bytes())?;
        Ok(superblock)
    }

    /// The same, whatever its sizes are.
    pub(super) fn read_first(volume: &dyn ReadAt) -> Result<Self, Error> {
        let [at, ..] = PLACES;
        Self::read_one(volume, at)
    }

    /// One of the copies, its magic and its checksum checked.
    fn read_one(volume: &dyn ReadAt, at: u64) -> Result<Self, Error> {
        let bytes = read_structure(volume, STRUCTURE, at, LENGTH)?;
        let short = Error::short(STRUCTURE, at);
        if read_slice(&bytes, 0x40, 8).map_err(&short)? != MAGIC {
            return Err(Error::corrupt(STRUCTURE, at, "its magic number is not there"));
        }
        let kind = read_u16le(&bytes, 0xC4).map_err(&short)?;
        let checksum = Checksum::of_kind(kind)?;
        checksum.check(&bytes, STRUCTURE, at)?;
        let superblock = Self::parse(&bytes, checksum).map_err(&short)?;
        if superblock.bytenr != at {
            let fact = format!("it says that it stands at byte {}", superblock.bytenr);
            return Err(Error::corrupt(STRUCTURE, at, fact));
        }
        Ok(superblock)
    }

    fn parse(bytes: &[u8], checksum: Checksum) -> Result<Self, OutOfBounds> {
        let array_bytes = read_u32le(bytes, 0xA0)?;
        Ok(Self {
            fsid: read_array(bytes, 0x20)?,
            bytenr: read_u64le(bytes, 0x30)?,
            flags: read_u64le(bytes, 0x38)?,
            generation: read_u64le(bytes, 0x48)?,
            root: read_u64le(bytes, 0x50)?,
            chunk_root: read_u64le(bytes, 0x58)?,
            log_root: read_u64le(bytes, 0x60)?,
            num_devices: read_u64le(bytes, 0x88)?,
            sectorsize: read_u32le(bytes, 0x90)?,
            nodesize: read_u32le(bytes, 0x94)?,
            sys_chunk_array_size: array_bytes,
            chunk_root_generation: read_u64le(bytes, 0xA4)?,
            compat_ro_flags: read_u64le(bytes, 0xB4)?,
            incompat_flags: read_u64le(bytes, 0xBC)?,
            root_level: read_u8(bytes, 0xC6)?,
            chunk_root_level: read_u8(bytes, 0xC7)?,
            devid: read_u64le(bytes, 0xC9)?,
            total_bytes: read_u64le(bytes, 0xD1)?,
            dev_uuid: read_array(bytes, 0x10B)?,
            label: text_at(bytes, 0x12B, 256),
            metadata_uuid: read_array(bytes, 0x23B)?,
            sys_chunk_array: {
                let length = array_bytes.min(MAX_SYS_CHUNK_ARRAY);
                read_slice(bytes, 0x32B, usize_from(length.into()))?.to_vec()
            },
            checksum,
            shared: shared(bytes)?,
        })
    }

    fn check_sizes(&self, volume_bytes: u64) -> Result<(), Error> {
        let [at, ..] = PLACES;
        let corrupt = |fact: String| Err(Error::corrupt(STRUCTURE, at, fact));
        let Self { sectorsize, nodesize, total_bytes, .. } = *self;
        let is_sane = |bytes: u32| bytes.is_power_of_two() && (2048..=65536).contains(&bytes);
        if !is_sane(sectorsize) || !is_sane(nodesize) || nodesize < sectorsize {
            return corrupt(format!("it has sectors of {sectorsize} bytes and nodes of {nodesize} bytes"));
        }
        if self.root_level >= MAX_LEVELS || self.chunk_root_level >= MAX_LEVELS {
            let fact = format!("its trees have {} and {} levels", self.root_level, self.chunk_root_level);
            return corrupt(fact);
        }
        if self.sys_chunk_array_size > MAX_SYS_CHUNK_ARRAY {
            return corrupt(format!("its sys_chunk_array has {} bytes", self.sys_chunk_array_size));
        }
        let [first, ..] = PLACES;
        if total_bytes > volume_bytes || total_bytes <= first {
            return corrupt(format!(
                "the file system has {total_bytes} bytes of this device, but the volume has {volume_bytes} bytes"
            ));
        }
        Ok(())
    }

    /// Refuses the forms whose used map is not known, and a file system that says it is broken.
    pub(super) fn check_features(&self) -> Result<(), Error> {
        let unsupported = |fact: &str| Err(Error::unsupported(fact));
        if self.incompat_flags & incompat::ZONED != 0 {
            return unsupported("it was made for a zoned device; capture it with --when-dirty raw");
        }
        let unknown = [
            ("incompat_flags", self.incompat_flags & !incompat::KNOWN),
            ("compat_ro_flags", self.compat_ro_flags & !compat_ro::KNOWN),
        ];
        if let Some((field, bits)) = unknown.into_iter().find(|(_, bits)| *bits != 0) {
            return Err(Error::unsupported(format!(
                "it has features that Remint does not know ({field} {bits:#x}; among incompat_flags 0x2000 is \
                 extent-tree-v2, 0x4000 raid-stripe-tree); capture it with --when-dirty raw"
            )));
        }
        if self.flags & flags::SEEDING != 0 {
            return unsupported(
                "it is a seed, on which other file systems are built: capture it with --when-dirty raw, or make it \
                 one of its own with btrfstune -S 0",
            );
        }
        if self.flags & flags::METADUMP != 0 {
            return unsupported("it is a dump of metadata without the files; there is nothing to capture");
        }
        let [at, ..] = PLACES;
        if self.flags & flags::CHANGING != 0 {
            let fact = "a change that btrfstune began was not finished; run it again";
            return Err(Error::corrupt(STRUCTURE, at, fact));
        }
        if self.flags & flags::ERROR != 0 {
            let fact = "the kernel has found errors in the file system and marked it";
            return Err(Error::corrupt(STRUCTURE, at, fact));
        }
        Ok(())
    }

    /// How many of the copies on this device are not those of this superblock. A sync of a log renews the first one
    /// only, without a new generation.
    pub(super) fn stale_copies(&self, volume: &dyn ReadAt) -> Result<u64, Error> {
        let mut stale = 0u64;
        for place in self.copies().skip(1) {
            match Self::read_one(volume, place.start()) {
                Ok(copy) if copy.generation == self.generation && copy.fsid == self.fsid => {}
                Err(error @ Error::Io { .. }) => return Err(error),
                _ => stale = stale.saturating_add(1),
            }
        }
        Ok(stale)
    }

    /// Where superblocks stand on this device.
    pub(super) fn copies(&self) -> impl Iterator<Item = ByteRange> {
        let device = ByteRange::new(0, self.total_bytes);
        let ranges = PLACES.into_iter().filter_map(|at| ByteRange::at(at, u64_from(LENGTH)));
        ranges.filter(move |range| device.contains(*range))
    }

    /// The UUID that stands in every node; the one that is shown may have been changed later.
    pub(super) const fn node_uuid(&self) -> [u8; 16] {
        if self.incompat_flags & incompat::METADATA_UUID != 0 { self.metadata_uuid } else { self.fsid }
    }

    /// True where the free space tree is there and up to date.
    pub(super) const fn has_free_space_tree(&self) -> bool {
        const BOTH: u64 = compat_ro::FREE_SPACE_TREE | compat_ro::FREE_SPACE_TREE_VALID;
        self.compat_ro_flags & BOTH == BOTH
    }

    /// True where block groups have a tree of their own.
    pub(super) const fn has_block_group_tree(&self) -> bool {
        self.compat_ro_flags & compat_ro::BLOCK_GROUP_TREE != 0
    }

    /// The UUID as the tools print it.
    pub(super) fn uuid(&self) -> Option<String> {
        uuid_text(self.fsid)
    }

    /// The label, where there is one.
    pub(super) fn label(&self) -> Option<String> {
        self.label.clone()
    }
}

/// A superblock less its checksum, its place, its device, and its log: a sync that a power cut ends has written that to some
/// devices only.
fn shared(bytes: &[u8]) -> Result<Vec<u8>, OutOfBounds> {
    let part = |from: usize, to: usize| read_slice(bytes, from, to.saturating_sub(from));
    Ok([part(0x20, 0x30)?, part(0x38, 0x60)?, part(0x70, 0xC8)?, part(0x12B, LENGTH)?].concat())
}
