//! What a volume holds.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Every content that Remint tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants are the names of the formats")]
pub enum FileSystemKind {
    Ext2,
    Ext3,
    Ext4,
    Ntfs,
    Fat12,
    Fat16,
    Fat32,
    Xfs,
    F2fs,
    Exfat,
    Btrfs,
    /// A device of a btrfs of several.
    BtrfsSet,
    Nilfs2,
    Jfs,
    Reiserfs,
    Minix,
    Hfs,
    HfsPlus,
    Ufs,
    Apfs,
    Swap,
    // Recognised by name and captured raw.
    ExtJournal,
    Refs,
    Bcachefs,
    Zfs,
    Iso9660,
    Squashfs,
    Luks1,
    Luks2,
    Bitlocker,
    LvmPhysicalVolume,
    Lvm1PhysicalVolume,
    MdMember,
    FirmwareRaid,
    LogicalDiskManager,
    StorageSpaces,
}

impl FileSystemKind {
    /// The name that people use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Ntfs => "NTFS",
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
            Self::Xfs => "XFS",
            Self::Swap => "swap",
            Self::ExtJournal => "ext journal",
            Self::Btrfs => "btrfs",
            Self::BtrfsSet => "btrfs on several devices",
            Self::Exfat => "exFAT",
            Self::F2fs => "F2FS",
            Self::Hfs => "HFS",
            Self::HfsPlus => "HFS+",
            Self::Apfs => "APFS",
            Self::Reiserfs => "ReiserFS",
            Self::Jfs => "JFS",
            Self::Nilfs2 => "NILFS2",
            Self::Minix => "Minix",
            Self::Ufs => "UFS",
            Self::Refs => "ReFS",
            Self::Bcachefs => "bcachefs",
            Self::Zfs => "ZFS",
            Self::Iso9660 => "ISO 9660",
            Self::Squashfs => "SquashFS",
            Self::Luks1 => "LUKS1",
            Self::Luks2 => "LUKS2",
            Self::Bitlocker => "BitLocker",
            Self::LvmPhysicalVolume => "LVM physical volume",
            Self::Lvm1PhysicalVolume => "LVM1 physical volume",
            Self::MdMember => "MD array member",
            Self::FirmwareRaid => "firmware RAID member",
            Self::LogicalDiskManager => "Windows dynamic disk",
            Self::StorageSpaces => "Storage Spaces member",
        }
    }

    /// True where Remint reads the used map itself, if only of some forms.
    #[must_use]
    pub const fn has_used_map(self) -> bool {
        matches!(
            self,
            Self::Ext2
                | Self::Ext3
                | Self::Ext4
                | Self::Ntfs
                | Self::Fat12
                | Self::Fat16
                | Self::Fat32
                | Self::Xfs
                | Self::F2fs
                | Self::Exfat
                | Self::Btrfs
                | Self::BtrfsSet
                | Self::Nilfs2
                | Self::Jfs
                | Self::Reiserfs
                | Self::Minix
                | Self::Hfs
                | Self::HfsPlus
                | Self::Ufs
                | Self::Apfs
                | Self::Luks1
                | Self::Luks2
                | Self::Lvm1PhysicalVolume
                | Self::MdMember
                | Self::LogicalDiskManager
        )
    }
}

impl fmt::Display for FileSystemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the used map of a file system can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Quiescent: what stands on the disk is the whole truth.
    Clean,
    /// A journal or log is to be replayed, or the file system says it was not unmounted.
    Dirty,
    /// A hibernated system holds changes in memory that are not on the disk.
    Hibernated,
    /// Encrypted: there is nothing to read.
    Encrypted,
    /// Inconsistent.
    Damaged,
    /// Sound, but of a form whose map Remint cannot know (an external log, a real-time device).
    Unsupported,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Dirty => "dirty",
            Self::Hibernated => "hibernated",
            Self::Encrypted => "encrypted",
            Self::Damaged => "damaged",
            Self::Unsupported => "unsupported",
        })
    }
}

/// What is known about the file system of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSystem {
    /// Which.
    pub kind: FileSystemKind,
    /// UUID or serial number, as the system's own tools print it.
    pub uuid: Option<String>,
    /// Label, where it has one; characters that are not valid text are replaced.
    pub label: Option<String>,
    /// Block or cluster size.
    pub block_size_bytes: u64,
    /// Size of the file system; at most that of the volume.
    pub size_bytes: u64,
    /// Bytes that a capture has to read; `None` where no map could be read.
    pub used_bytes: Option<u64>,
    /// The smallest size it can be shrunk to; its own size where no tool shrinks it.
    pub minimum_bytes: u64,
    /// Whether its used map can be trusted.
    pub state: State,
    /// Why it is not clean, and what can be done about it: a sentence each.
    pub findings: Vec<String>,
}

/// How a finding begins that names the journal of a file system, where that is another volume.
const JOURNAL: &str = "its journal is ";

impl FileSystem {
    /// The finding that says which volume is the journal.
    #[must_use]
    pub fn journal_elsewhere(journal: &str) -> String {
        format!("{JOURNAL}{journal}: deploy both together")
    }

    /// The volume that is its journal, where that is another one.
    #[must_use]
    pub fn journal(&self) -> Option<&str> {
        self.findings.iter().find_map(|finding| finding.strip_prefix(JOURNAL)?.split(':').next())
    }
}
