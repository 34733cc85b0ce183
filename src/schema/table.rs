//! Partition tables as data. What text could lose is kept in binary.

use crate::units::{Guid, Hex, Lba};
use serde::{Deserialize, Serialize};

/// The partition table of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Table {
    /// GUID partition table.
    Gpt(Gpt),
    /// Master boot record with primary, extended and logical partitions.
    Mbr(Mbr),
    /// No table: the disk is empty, or one volume fills it.
    None,
}

/// A GUID partition table (UEFI 2.10, chapter 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpt {
    /// GUID of the disk.
    pub disk_guid: Guid,
    /// Number of entries in the array.
    pub entry_count: u32,
    /// Size of one entry; 128 or a larger power of two.
    pub entry_size_bytes: u32,
    /// First sector of the primary entry array; 2 on nearly every disk.
    pub entries_lba: Lba,
    /// First sector that a partition may use.
    pub first_usable_lba: Lba,
    /// Last sector that a partition may use.
    pub last_usable_lba: Lba,
    /// The first 512 bytes of sector 0: boot code, disk signature and the protective or hybrid MBR.
    pub boot_sector: Hex,
    /// The partitions in use, in the order of their entries.
    pub partitions: Vec<GptPartition>,
}

/// One entry of a GUID partition table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GptPartition {
    /// Position of the entry in the array, from 1.
    pub number: u32,
    /// Partition type.
    pub type_guid: Guid,
    /// GUID of this partition (PARTUUID).
    pub partition_guid: Guid,
    /// First sector.
    pub first_lba: Lba,
    /// Last sector, inclusive.
    pub last_lba: Lba,
    /// Attribute bits.
    pub attributes: u64,
    /// The name as text; characters that are not valid UTF-16 are replaced.
    pub name: String,
    /// The 72 bytes of the name as they stand on the disk. The truth where `name` had to be repaired.
    pub name_utf16le: Hex,
}

/// A master boot record and its chain of extended boot records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mbr {
    /// The 4-byte disk signature at byte 440.
    pub disk_signature: u32,
    /// Bytes 0 to 439 of sector 0.
    pub boot_code: Hex,
    /// Bytes 444 and 445 of sector 0, zero but for copy-protected disks.
    pub reserved: u16,
    /// Partitions: the primary ones and the extended container by their place in the table (1 to 4),
    /// then the logical ones in chain order (from 5).
    pub partitions: Vec<MbrPartition>,
}

/// One partition of an MBR disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MbrPartition {
    /// Number as Linux counts: 1 to 4, logical ones from 5.
    pub number: u32,
    /// Status byte: 0x80 is active.
    pub status: u8,
    /// Partition type byte.
    pub type_code: u8,
    /// First sector on the disk.
    pub first_lba: Lba,
    /// Length in sectors.
    pub sectors: u64,
    /// The three bytes of the first CHS address, as found.
    pub first_chs: [u8; 3],
    /// The three bytes of the last CHS address, as found.
    pub last_chs: [u8; 3],
    /// What kind of entry this is.
    pub role: MbrRole,
}

/// The kinds of entry in an MBR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MbrRole {
    /// In the table itself.
    Primary,
    /// The container of the logical partitions (type 05, 0f or 85).
    Extended,
    /// In the chain.
    Logical {
        /// Sector of the extended boot record that describes it.
        ebr_lba: Lba,
        /// Bytes 0 to 445 of that record; empty where they are all zero.
        ebr_code: Hex,
    },
}
