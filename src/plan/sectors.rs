//! Whether the content of a volume works on a disk with another logical sector size.

use super::special::Special;
use crate::schema::{Content, FileSystemKind, Volume};
use crate::units::SectorSize;

/// The answer for one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works.
    Fine,
    /// It is carried over, but something will not work: a clause.
    Warn(String),
    /// It would not work: a clause.
    Refuse(String),
}

/// Judges a move between disks of different sector sizes.
pub(super) fn judge(volume: &Volume, special: Option<Special>, from: SectorSize, to: SectorSize) -> Verdict {
    if from == to {
        return Verdict::Fine;
    }
    match (&volume.content, special) {
        (Content::LeftOut | Content::Swap(_) | Content::PhysicalVolume(_), _) => Verdict::Fine,
        // Windows leaves its reserved partition empty.
        (Content::Raw { file_system: None, .. }, Some(Special::MicrosoftReserved)) => Verdict::Fine,
        (Content::Raw { file_system: None, .. }, Some(boot @ (Special::BiosBoot | Special::PowerPcBoot))) => {
            Verdict::Warn(format!("{} holds code for {from}-byte sectors, which does not boot", boot.name()))
        }
        (content, _) => match content.file_system() {
            Some(fs) => judge_file_system(fs.kind, fs.block_size_bytes, from, to),
            None => Verdict::Refuse("its content is unknown and may depend on the sector size".to_owned()),
        },
    }
}

fn judge_file_system(kind: FileSystemKind, block_bytes: u64, from: SectorSize, to: SectorSize) -> Verdict {
    use FileSystemKind::{Btrfs, BtrfsSet, Ext2, Ext3, Ext4, Fat12, Fat16, Fat32, Ntfs, Swap, Xfs};
    let refuse = |why: &str| Verdict::Refuse(format!("{kind} {why}"));
    match kind {
        Swap => Verdict::Fine,
        Btrfs | BtrfsSet | Ext2 | Ext3 | Ext4 if block_bytes >= to.bytes() => Verdict::Fine,
        Btrfs | BtrfsSet | Ext2 | Ext3 | Ext4 => refuse("has blocks smaller than a sector of the target"),
        Xfs if to.bytes() < from.bytes() => Verdict::Fine,
        Xfs => refuse("was made for smaller sectors and does not mount on larger ones"),
        Ntfs | Fat12 | Fat16 | Fat32 => refuse("stores the sector size in its boot sector"),
        _ => refuse("may depend on the sector size"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{FileSystem, Role, State};
    use FileSystemKind::{Btrfs, BtrfsSet, Ext4, Luks2, Ntfs, Xfs};

    fn raw(kind: Option<(FileSystemKind, u64)>) -> Volume {
        let file_system = kind.map(|(kind, block_size_bytes)| FileSystem {
            kind,
            uuid: None,
            label: None,
            block_size_bytes,
            size_bytes: 1 << 30,
            used_bytes: None,
            minimum_bytes: 1 << 30,
            state: State::Clean,
            findings: vec![],
        });
        let content = Content::Raw { reason: String::new(), file_system };
        let role = Role::Partition { number: 1 };
        Volume {
            name: "d0-p1".into(),
            role,
            start_bytes: 1 << 20,
            size_bytes: 1 << 30,
            content,
            fixed: false,
        }
    }

    #[test]
    fn content_decides_whether_a_volume_may_change_its_sector_size() {
        let (small, large) = (SectorSize::B512, SectorSize::B4096);
        let refused = |kind, block, from, to| {
            matches!(judge(&raw(Some((kind, block))), None, from, to), Verdict::Refuse(_))
        };
        assert!(!refused(Ext4, 4096, small, large));
        assert!(refused(Ext4, 1024, small, large));
        assert!(!refused(Btrfs, 4096, small, large));
        assert!(refused(Btrfs, 2048, small, large));
        assert!(!refused(BtrfsSet, 4096, small, large));
        assert!(refused(BtrfsSet, 2048, small, large));
        assert!(!refused(Ext4, 1024, large, small));
        assert!(refused(Xfs, 4096, small, large));
        assert!(!refused(Xfs, 4096, large, small));
        assert!(refused(Ntfs, 4096, large, small));
        assert!(refused(Luks2, 512, small, large));
        assert!(!refused(Luks2, 512, small, small));
        assert_eq!(judge(&raw(None), Some(Special::MicrosoftReserved), small, large), Verdict::Fine);
        assert!(matches!(judge(&raw(None), Some(Special::BiosBoot), small, large), Verdict::Warn(_)));
        assert!(matches!(judge(&raw(None), None, small, large), Verdict::Refuse(_)));
    }
}
