//! The superblock: 1024 bytes at byte 1024 of the volume, its fields as they stand there.
//!
//! Field names and offsets follow the kernel's `Documentation/filesystems/ext4/super.rst`. Nothing here is
//! judged but the magic and the block size, without which nothing else has a meaning; `geometry` judges the
//! numbers.

use crate::blockio::ReadAt;
use crate::filesystem::error::{Error, read_structure};
use crate::schema::FileSystemKind;
use crate::units::checksum::crc32c;
use crate::units::{KIB, OutOfBounds, read_array, read_slice, read_u8, read_u16le, read_u32le, read_u64le};

/// Byte of the volume at which the superblock stands; so many bytes before it belong to a boot loader.
pub(super) const SUPERBLOCK_AT: u64 = 1024;
/// Length of the superblock in bytes.
pub(super) const SUPERBLOCK_BYTES: u64 = 1024;
const STRUCTURE: &str = "ext superblock";
const MAGIC: u16 = 0xEF53;
const CHECKSUM_AT: usize = 0x3FC;
const CHECKSUM_TYPE_CRC32C: u8 = 1;

/// Bits of `s_feature_compat`.
pub(super) mod compat {
    pub(in super::super) const HAS_JOURNAL: u32 = 0x4;
    pub(in super::super) const SPARSE_SUPER2: u32 = 0x200;
}

/// Bits of `s_feature_incompat`.
pub(super) mod incompat {
    pub(in super::super) const RECOVER: u32 = 0x4;
    pub(in super::super) const JOURNAL_DEV: u32 = 0x8;
    pub(in super::super) const META_BG: u32 = 0x10;
    pub(in super::super) const EXTENTS: u32 = 0x40;
    pub(in super::super) const BIT64: u32 = 0x80;
    pub(in super::super) const MMP: u32 = 0x100;
    pub(in super::super) const FLEX_BG: u32 = 0x200;
    pub(in super::super) const CSUM_SEED: u32 = 0x2000;
    /// `filetype`, `recover`, `meta_bg`: all that ext3 knows.
    pub(super) const EXT3: u32 = 0x2 | RECOVER | META_BG;
    /// Everything up to Linux 6.12 but `compression`, plus Lustre's `dirdata`: none changes a bitmap.
    pub(super) const KNOWN: u32 =
        EXT3 | JOURNAL_DEV | EXTENTS | BIT64 | MMP | FLEX_BG | 0x400 | 0x1000 | CSUM_SEED | 0x3_C000;
}

/// Bits of `s_feature_ro_compat`.
pub(super) mod ro_compat {
    pub(in super::super) const SPARSE_SUPER: u32 = 0x1;
    pub(in super::super) const GDT_CSUM: u32 = 0x10;
    pub(in super::super) const BIGALLOC: u32 = 0x200;
    pub(in super::super) const METADATA_CSUM: u32 = 0x400;
    pub(in super::super) const ORPHAN_PRESENT: u32 = 0x1_0000;
    /// `sparse_super`, `large_file`, `btree_dir`: all that ext3 knows.
    pub(super) const EXT3: u32 = 0x7;
    /// Everything up to Linux 6.12 but `snapshot` and `replica`, which no released kernel has.
    pub(super) const KNOWN: u32 =
        EXT3 | 0x8 | GDT_CSUM | 0x20 | 0x40 | 0x100 | BIGALLOC | METADATA_CSUM | 0xF000 | ORPHAN_PRESENT;
}

/// Bits of `s_state`.
pub(super) mod state {
    pub(in super::super) const VALID_FS: u16 = 0x1;
    pub(in super::super) const ERROR_FS: u16 = 0x2;
}

/// The fields that a reader needs; low and high halves are put together.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    bytes: Vec<u8>,
    pub(super) s_inodes_count: u32,
    pub(super) s_blocks_count: u64,
    pub(super) s_first_data_block: u32,
    pub(super) block_bytes: u64,
    pub(super) s_log_block_size: u32,
    pub(super) s_log_cluster_size: u32,
    pub(super) s_blocks_per_group: u32,
    pub(super) s_clusters_per_group: u32,
    pub(super) s_inodes_per_group: u32,
    pub(super) s_state: u16,
    pub(super) s_rev_level: u32,
    pub(super) s_inode_size: u16,
    pub(super) s_feature_compat: u32,
    pub(super) s_feature_incompat: u32,
    pub(super) s_feature_ro_compat: u32,
    pub(super) s_uuid: [u8; 16],
    s_volume_name: [u8; 16],
    pub(super) s_reserved_gdt_blocks: u16,
    pub(super) s_journal_uuid: [u8; 16],
    pub(super) s_journal_inum: u32,
    pub(super) s_journal_dev: u32,
    pub(super) s_last_orphan: u32,
    pub(super) s_desc_size: u16,
    pub(super) s_first_meta_bg: u32,
    pub(super) s_mmp_block: u64,
    pub(super) s_log_groups_per_flex: u8,
    s_checksum_type: u8,
    pub(super) s_backup_bgs: [u32; 2],
    s_checksum_seed: u32,
}

impl Superblock {
    /// Reads it; `None` where there is none, or where its first fields say that it is a remnant.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Self>, Error> {
        if volume.size_bytes() < SUPERBLOCK_AT.saturating_add(SUPERBLOCK_BYTES) {
            return Ok(None);
        }
        let bytes = read_structure(volume, STRUCTURE, SUPERBLOCK_AT, 1024)?;
        if read_u16le(&bytes, 0x38).ok() != Some(MAGIC) {
            return Ok(None);
        }
        let superblock = Self::parse(bytes).map_err(Error::short(STRUCTURE, SUPERBLOCK_AT))?;
        let is_plausible = superblock.s_log_block_size <= 6
            && superblock.s_rev_level <= 1
            && superblock.s_blocks_count > 0
            && superblock.s_blocks_per_group > 0;
        Ok(is_plausible.then_some(superblock))
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, OutOfBounds> {
        let b = bytes.as_slice();
        let s_feature_incompat = read_u32le(b, 0x60)?;
        let blocks_hi = if s_feature_incompat & incompat::BIT64 == 0 { 0 } else { read_u32le(b, 0x150)? };
        let s_log_block_size = read_u32le(b, 0x18)?;
        Ok(Self {
            s_inodes_count: read_u32le(b, 0x0)?,
            s_blocks_count: u64::from(blocks_hi) << 32 | u64::from(read_u32le(b, 0x4)?),
            s_first_data_block: read_u32le(b, 0x14)?,
            block_bytes: KIB.checked_shl(s_log_block_size).unwrap_or_default(),
            s_log_block_size,
            s_log_cluster_size: read_u32le(b, 0x1C)?,
            s_blocks_per_group: read_u32le(b, 0x20)?,
            s_clusters_per_group: read_u32le(b, 0x24)?,
            s_inodes_per_group: read_u32le(b, 0x28)?,
            s_state: read_u16le(b, 0x3A)?,
            s_rev_level: read_u32le(b, 0x4C)?,
            s_inode_size: read_u16le(b, 0x58)?,
            s_feature_compat: read_u32le(b, 0x5C)?,
            s_feature_incompat,
            s_feature_ro_compat: read_u32le(b, 0x64)?,
            s_uuid: read_array(b, 0x68)?,
            s_volume_name: read_array(b, 0x78)?,
            s_reserved_gdt_blocks: read_u16le(b, 0xCE)?,
            s_journal_uuid: read_array(b, 0xD0)?,
            s_journal_inum: read_u32le(b, 0xE0)?,
            s_journal_dev: read_u32le(b, 0xE4)?,
            s_last_orphan: read_u32le(b, 0xE8)?,
            s_desc_size: read_u16le(b, 0xFE)?,
            s_first_meta_bg: read_u32le(b, 0x104)?,
            s_mmp_block: read_u64le(b, 0x168)?,
            s_log_groups_per_flex: read_u8(b, 0x174)?,
            s_checksum_type: read_u8(b, 0x175)?,
            s_backup_bgs: [read_u32le(b, 0x24C)?, read_u32le(b, 0x250)?],
            s_checksum_seed: read_u32le(b, 0x270)?,
            bytes,
        })
    }

    pub(super) fn has_compat(&self, bit: u32) -> bool {
        self.s_feature_compat & bit != 0
    }

    pub(super) fn has_incompat(&self, bit: u32) -> bool {
        self.s_feature_incompat & bit != 0
    }

    pub(super) fn has_ro_compat(&self, bit: u32) -> bool {
        self.s_feature_ro_compat & bit != 0
    }

    /// Which member of the family, by the features that each driver knows (the rule of libblkid).
    pub(super) fn kind(&self) -> FileSystemKind {
        let is_old = self.s_feature_incompat & !incompat::EXT3 == 0
            && self.s_feature_ro_compat & !ro_compat::EXT3 == 0;
        if self.has_incompat(incompat::JOURNAL_DEV) {
            FileSystemKind::ExtJournal
        } else if !is_old {
            FileSystemKind::Ext4
        } else if self.has_compat(compat::HAS_JOURNAL) {
            FileSystemKind::Ext3
        } else {
            FileSystemKind::Ext2
        }
    }

    /// The UUID as `blkid` prints it; `None` where it is all zeros.
    pub(super) fn uuid(&self) -> Option<String> {
        let digits = format!("{:032x}", u128::from_be_bytes(self.s_uuid));
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        (self.s_uuid != [0; 16])
            .then(|| [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
    }

    /// The label; `None` where it is empty.
    pub(super) fn label(&self) -> Option<String> {
        let text = self.s_volume_name.split(|byte| *byte == 0).next().unwrap_or_default();
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }

    /// The seed of every checksum but the superblock's own.
    pub(super) fn checksum_seed(&self) -> u32 {
        if self.has_incompat(incompat::CSUM_SEED) { self.s_checksum_seed } else { crc32c(!0, &self.s_uuid) }
    }

    /// Judges the checksum, where there is one.
    pub(super) fn check_checksum(&self) -> Result<(), Error> {
        if !self.has_ro_compat(ro_compat::METADATA_CSUM) {
            return Ok(());
        }
        if self.s_checksum_type != CHECKSUM_TYPE_CRC32C {
            let kind = self.s_checksum_type;
            return Err(Error::unsupported(format!(
                "the metadata checksums are of type {kind}, and Remint knows crc32c only; capture the volume raw"
            )));
        }
        let short = Error::short(STRUCTURE, SUPERBLOCK_AT);
        let stored = read_u32le(&self.bytes, CHECKSUM_AT).map_err(&short)?;
        let computed = crc32c(!0, read_slice(&self.bytes, 0, CHECKSUM_AT).map_err(&short)?);
        if stored == computed {
            return Ok(());
        }
        let fact = format!("its checksum is {computed:#010x} but {stored:#010x} is stored");
        Err(Error::corrupt(STRUCTURE, SUPERBLOCK_AT, fact))
    }

    /// Refuses features that may give a bitmap another meaning.
    pub(super) fn check_features(&self) -> Result<(), Error> {
        let unknown_incompat = self.s_feature_incompat & !incompat::KNOWN;
        let unknown_ro_compat = self.s_feature_ro_compat & !ro_compat::KNOWN;
        if unknown_incompat == 0 && unknown_ro_compat == 0 {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "the file system has features that Remint does not know (incompat {unknown_incompat:#x}, \
             ro_compat {unknown_ro_compat:#x}); capture the volume raw"
        )))
    }
}
