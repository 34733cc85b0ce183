//! Which partitions keep their size, and why; which share what is left, and how small they can be.

use super::dynamic_disk;
use super::refusal::Refusal;
use super::special::Special;
use crate::schema::{Content, FileSystem, FileSystemKind, State, Volume, WantedSize};
use crate::units::{GIB, MIB};
use std::fmt;

/// Partitions below this size keep it.
pub(super) const FIXED_BELOW_BYTES: u64 = 5 * GIB;

/// The rule for the size of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sizing {
    /// Its original size.
    Fixed(Why),
    /// A share of what is left, in proportion to its original size.
    Shared {
        /// The least it needs.
        minimum_bytes: u64,
    },
    /// A size that a person chose.
    Chosen {
        /// In bytes.
        bytes: u64,
    },
    /// A part of the target that a person chose; less where the disk does not have it.
    Part {
        /// Hundredths of a percent.
        hundredths: u32,
        /// The least it needs.
        minimum_bytes: u64,
    },
}

/// Why a size that was wanted cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unwanted {
    /// The content has to keep its size.
    Stays(Why),
    /// It needs more.
    Below {
        /// The least it needs.
        minimum_bytes: u64,
    },
}

/// The rule for a partition of which a person wants something. Only the content decides whether it is possible:
/// what a partition's type or its small size would decide is what the person changes.
pub(super) fn wanted(size: WantedSize, volume: &Volume) -> Result<Sizing, Unwanted> {
    if size == WantedSize::Keep || size == WantedSize::Bytes(volume.size_bytes) {
        return match of_content(Some(volume)) {
            // Its logical volumes are to have more than it had.
            Sizing::Shared { minimum_bytes } if minimum_bytes > volume.size_bytes => {
                Err(Unwanted::Below { minimum_bytes })
            }
            _ => Ok(Sizing::Fixed(Why::Wanted)),
        };
    }
    let minimum_bytes = match of_content(Some(volume)) {
        Sizing::Shared { minimum_bytes } => minimum_bytes,
        Sizing::Fixed(why) => return Err(Unwanted::Stays(why)),
        Sizing::Chosen { .. } | Sizing::Part { .. } => volume.size_bytes,
    };
    match size {
        WantedSize::Bytes(bytes) if bytes < minimum_bytes => Err(Unwanted::Below { minimum_bytes }),
        WantedSize::Bytes(bytes) => Ok(Sizing::Chosen { bytes }),
        WantedSize::Percent(hundredths) => Ok(Sizing::Part { hundredths, minimum_bytes }),
        WantedSize::Share | WantedSize::Keep => Ok(Sizing::Shared { minimum_bytes }),
    }
}

/// The same, with a refusal that names the volume.
pub(super) fn granted(size: WantedSize, volume: &Volume) -> Result<Sizing, Refusal> {
    let name = || volume.name.clone();
    wanted(size, volume).map_err(|unwanted| match unwanted {
        Unwanted::Stays(why) => Refusal::Stays { volume: name(), reason: why.to_string() },
        Unwanted::Below { minimum_bytes } => {
            let wanted_bytes = match size {
                WantedSize::Bytes(bytes) => bytes,
                WantedSize::Keep => volume.size_bytes,
                WantedSize::Share | WantedSize::Percent(_) => 0,
            };
            Refusal::BelowMinimum { volume: name(), minimum_bytes, wanted_bytes }
        }
    })
}

/// Why a size is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Type(Special),
    Swap,
    Raw(Option<FileSystemKind>),
    NoTool(FileSystemKind),
    NotClean(State),
    NotCaptured,
    Small,
    SmallLogical,
    Container,
    Captured,
    Wanted,
}

impl fmt::Display for Why {
    /// A clause that follows "because".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(special) => write!(f, "it is {}", special.name()),
            Self::Swap => f.write_str("it is swap space"),
            Self::Raw(Some(kind)) => write!(f, "its content ({kind}) was captured raw"),
            Self::Raw(None) => f.write_str("its content is unknown and was captured raw"),
            Self::NoTool(FileSystemKind::BtrfsSet) => {
                f.write_str("it is one of several devices of a btrfs, which keep their size")
            }
            Self::NoTool(kind) => write!(f, "no tool grows {kind}"),
            Self::NotClean(state) => write!(f, "its file system was {state} when it was captured"),
            Self::NotCaptured => f.write_str("its content was not captured"),
            Self::Small => f.write_str("partitions below 5 GiB do"),
            Self::SmallLogical => f.write_str("logical volumes below 5 GiB do"),
            Self::Captured => f.write_str("that was asked for when it was captured"),
            Self::Wanted => f.write_str("that was asked for"),
            Self::Container => f.write_str("it holds no logical partition"),
        }
    }
}

/// The rule for a partition of this type and size.
pub(super) fn of_partition(special: Option<Special>, volume: Option<&Volume>, size_bytes: u64) -> Sizing {
    if let Some(special) = special {
        return Sizing::Fixed(Why::Type(special));
    }
    match of_volume(volume) {
        Sizing::Shared { .. } if size_bytes < FIXED_BELOW_BYTES => Sizing::Fixed(Why::Small),
        sizing => sizing,
    }
}

/// The rule for a volume that is alone on its disk, whatever its size.
pub(super) fn of_volume(volume: Option<&Volume>) -> Sizing {
    match of_content(volume) {
        Sizing::Shared { .. } if volume.is_some_and(|volume| volume.fixed) => Sizing::Fixed(Why::Captured),
        sizing => sizing,
    }
}

/// What the content of a volume allows, whatever anybody wants.
pub(super) fn of_content(volume: Option<&Volume>) -> Sizing {
    let Some(volume) = volume else { return Sizing::Fixed(Why::NotCaptured) };
    match &volume.content {
        Content::Swap(_) => Sizing::Fixed(Why::Swap),
        Content::LeftOut => Sizing::Fixed(Why::NotCaptured),
        Content::Raw { file_system, .. } => Sizing::Fixed(Why::Raw(file_system.as_ref().map(|fs| fs.kind))),
        Content::PhysicalVolume(fs) => Sizing::Shared { minimum_bytes: fs.minimum_bytes },
        // Its database moves to the end of a larger disk.
        Content::FileSystem(_) if dynamic_disk::is_whole(volume) => {
            Sizing::Shared { minimum_bytes: minimum_bytes(volume) }
        }
        Content::FileSystem(fs) if !grows(fs.kind) => Sizing::Fixed(Why::NoTool(fs.kind)),
        Content::FileSystem(fs) if fs.state != State::Clean => Sizing::Fixed(Why::NotClean(fs.state)),
        Content::FileSystem(_) => Sizing::Shared { minimum_bytes: minimum_bytes(volume) },
    }
}

/// The smallest size of a volume that may change its size: that of its file system where a tool shrinks it, its
/// captured size where none does. An image that claims less than a MiB is not believed.
pub(super) fn minimum_bytes(volume: &Volume) -> u64 {
    match &volume.content {
        Content::FileSystem(fs) if shrinks(fs.kind) => fs.minimum_bytes.max(MIB).min(volume.size_bytes),
        _ => volume.size_bytes,
    }
}

/// True where a tool shrinks this file system.
pub(super) fn shrinks(kind: FileSystemKind) -> bool {
    use FileSystemKind::{Btrfs, Ext2, Ext3, Ext4, Ntfs};
    matches!(kind, Btrfs | Ext2 | Ext3 | Ext4 | Ntfs)
}

/// Why a partition cannot be made smaller than its least size: a clause that follows "because".
pub(super) fn least(sizing: Sizing, volume: Option<&Volume>) -> String {
    match (sizing, volume.and_then(|volume| volume.content.file_system())) {
        (Sizing::Fixed(why), _) => why.to_string(),
        (Sizing::Chosen { .. }, _) => "that was asked for".to_owned(),
        (_, Some(fs)) if fs.kind == FileSystemKind::LvmPhysicalVolume => {
            "its logical volumes need that much".to_owned()
        }
        (_, Some(fs)) if shrinks(fs.kind) && fs.minimum_bytes >= fs.size_bytes => {
            format!("its {} file system cannot be made smaller", fs.kind)
        }
        (_, Some(fs)) if shrinks(fs.kind) => format!("its {} file system needs that much", fs.kind),
        (_, Some(fs)) => format!("no tool shrinks {}", fs.kind),
        (_, None) => "it keeps its size".to_owned(),
    }
}

/// True where a tool grows this file system.
pub(super) fn grows(kind: FileSystemKind) -> bool {
    use FileSystemKind::{Btrfs, Ext2, Ext3, Ext4, F2fs, Jfs, Nilfs2, Ntfs, Xfs};
    matches!(kind, Btrfs | Ext2 | Ext3 | Ext4 | F2fs | Jfs | Nilfs2 | Ntfs | Xfs)
}

/// The size that a file system can be grown to at most.
///
/// F2FS, NTFS as Windows implements it, and ext without its `64bit` feature, count blocks in 32 bits; an ext file
/// system that is larger already has the feature.
pub(super) fn largest_bytes(file_system: &FileSystem) -> u64 {
    use FileSystemKind::{Ext2, Ext3, Ext4, F2fs, Ntfs};
    let limit = file_system.block_size_bytes.saturating_mul(u64::from(u32::MAX));
    match file_system.kind {
        F2fs | Ntfs => limit,
        Ext2 | Ext3 | Ext4 if file_system.size_bytes <= limit => limit,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Role;

    fn file_system(kind: FileSystemKind, state: State) -> FileSystem {
        FileSystem {
            kind,
            uuid: None,
            label: None,
            block_size_bytes: 4096,
            size_bytes: 9 * GIB,
            used_bytes: None,
            minimum_bytes: GIB,
            state,
            findings: vec![],
        }
    }

    fn volume(content: Content) -> Volume {
        let role = Role::Partition { number: 1 };
        Volume {
            name: "d0-p1".into(),
            role,
            start_bytes: 1 << 20,
            size_bytes: 9 * GIB,
            content,
            fixed: false,
        }
    }

    #[test]
    fn only_clean_file_systems_with_a_tool_and_five_gib_share() {
        use FileSystemKind::{Fat32, Ntfs, Xfs};
        let ntfs = volume(Content::FileSystem(file_system(Ntfs, State::Clean)));
        let shared = Sizing::Shared { minimum_bytes: GIB };
        assert_eq!(of_partition(None, Some(&ntfs), 5 * GIB), shared);
        assert_eq!(of_partition(None, Some(&ntfs), 5 * GIB - 1), Sizing::Fixed(Why::Small));
        assert_eq!(of_content(Some(&ntfs)), shared);
        let recovery = Some(Special::WindowsRecovery);
        let fixed = Sizing::Fixed(Why::Type(Special::WindowsRecovery));
        assert_eq!(of_partition(recovery, Some(&ntfs), 9 * GIB), fixed);
        for (content, why) in [
            (Content::FileSystem(file_system(Fat32, State::Clean)), Why::NoTool(Fat32)),
            (Content::FileSystem(file_system(Xfs, State::Dirty)), Why::NotClean(State::Dirty)),
            (Content::Raw { reason: "dirty".into(), file_system: None }, Why::Raw(None)),
            (Content::Swap(file_system(FileSystemKind::Swap, State::Clean)), Why::Swap),
            (Content::LeftOut, Why::NotCaptured),
        ] {
            assert_eq!(of_partition(None, Some(&volume(content)), 9 * GIB), Sizing::Fixed(why));
        }
    }

    #[test]
    fn only_what_a_tool_shrinks_may_become_smaller() {
        use FileSystemKind::{Btrfs, Ext4, Ntfs, Xfs};
        for (kind, expected) in [(Ext4, GIB), (Ntfs, GIB), (Btrfs, GIB), (Xfs, 9 * GIB)] {
            let of = volume(Content::FileSystem(file_system(kind, State::Clean)));
            assert_eq!(minimum_bytes(&of), expected, "{kind}");
        }
        let mut liar = file_system(Ext4, State::Clean);
        liar.minimum_bytes = 0;
        assert_eq!(minimum_bytes(&volume(Content::FileSystem(liar.clone()))), MIB);
        liar.minimum_bytes = u64::MAX;
        assert_eq!(minimum_bytes(&volume(Content::FileSystem(liar))), 9 * GIB);
    }

    #[test]
    fn file_systems_that_count_in_32_bits_have_a_largest_size() {
        let mut ext4 = file_system(FileSystemKind::Ext4, State::Clean);
        assert_eq!(largest_bytes(&ext4), 4096 * ((1 << 32) - 1));
        ext4.size_bytes = 1 << 45;
        assert_eq!(largest_bytes(&ext4), u64::MAX);
    }
}
