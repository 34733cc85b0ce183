//! What is noteworthy about a table that could be read.

use crate::schema::Gpt;
use crate::units::Lba;
use std::fmt;

/// One fact about a table that a person should know. Its `Display` is a sentence with its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The primary GPT cannot be used; the backup was.
    PrimaryDamaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The backup GPT cannot be used or is missing.
    BackupDamaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The backup GPT is sound but not in the last sector: the disk was enlarged.
    BackupNotAtEnd {
        /// Where it is.
        found: Lba,
        /// Where it belongs.
        last: Lba,
    },
    /// Both GPTs are sound but say different things; the primary was used.
    BackupDiffers,
    /// A valid GPT behind a sector 0 that does not announce it.
    ProtectiveMbrMissing,
    /// The protective MBR also names partitions; the GPT is the truth.
    Hybrid {
        /// The type bytes of the other entries.
        types: Vec<u8>,
    },
    /// Sector 0 contradicts a valid GPT and nobody said which to trust. The table that was returned is the
    /// one of sector 0.
    Conflict {
        /// What sector 0 is.
        sector_zero: &'static str,
        /// The GPT that was not used.
        gpt: Box<Gpt>,
        /// True where only the backup is left of it.
        backup_only: bool,
    },
    /// Sector 0 contradicts a valid GPT, which was left aside as asked. Its primary header in sector 1, where
    /// there is one, must not be written to another disk.
    GptIgnored {
        /// True where only the backup is left of it.
        backup_only: bool,
    },
    /// Sector 0 contradicts a valid GPT, which was believed as asked.
    SectorZeroIgnored {
        /// What sector 0 is.
        sector_zero: &'static str,
    },
    /// The disk has no table, but an old backup GPT at its end.
    StaleBackup {
        /// Number of partitions that it names.
        partitions: usize,
    },
    /// Two partitions share sectors.
    Overlap {
        /// Number of the one that starts first.
        first: u32,
        /// Number of the other.
        second: u32,
    },
    /// A partition covers sectors of the table itself.
    OverlapsTable {
        /// Its number.
        number: u32,
    },
    /// A partition reaches beyond the end of the disk.
    BeyondEnd {
        /// Its number.
        number: u32,
        /// Its last sector.
        last: Lba,
        /// The last sector of the disk.
        disk_last: Lba,
    },
    /// A partition has no sectors.
    Empty {
        /// Its number.
        number: u32,
    },
    /// A partition lies outside the range that the GPT allows for partitions.
    OutsideUsable {
        /// Its number.
        number: u32,
    },
    /// A logical partition is not wholly inside its extended partition.
    OutsideContainer {
        /// Its number.
        number: u32,
        /// Number of the extended partition.
        container: u32,
    },
    /// The chain of extended boot records cannot be followed to its end; logical partitions behind the
    /// break are unknown.
    ChainBroken {
        /// The sector at which it breaks.
        at: Lba,
        /// How.
        fact: String,
    },
    /// More than one extended partition.
    SeveralContainers,
    /// Sector 0 ends like a partition table but holds none that could be true.
    ImplausibleTable {
        /// Why not.
        fact: String,
    },
    /// There are more findings of this kind than anyone would read.
    More {
        /// How many were left out.
        count: usize,
    },
}

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Something is wrong, but what is captured is right.
    Warning,
    /// A capture may miss something or take the wrong thing: it is refused unless a person decided.
    Refusal,
}

impl Finding {
    /// What follows from it.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Hybrid { .. }
            | Self::GptIgnored { .. }
            | Self::SectorZeroIgnored { .. }
            | Self::Empty { .. }
            | Self::OutsideUsable { .. }
            | Self::ImplausibleTable { .. } => Severity::Note,
            Self::PrimaryDamaged { .. }
            | Self::BackupDamaged { .. }
            | Self::BackupNotAtEnd { .. }
            | Self::BackupDiffers
            | Self::ProtectiveMbrMissing
            | Self::StaleBackup { .. } => Severity::Warning,
            Self::Conflict { .. }
            | Self::OutsideContainer { .. }
            | Self::SeveralContainers
            | Self::Overlap { .. }
            | Self::OverlapsTable { .. }
            | Self::BeyondEnd { .. }
            | Self::ChainBroken { .. }
            | Self::More { .. } => Severity::Refusal,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrimaryDamaged { reason } => {
                write!(f, "The primary GPT is damaged ({reason}); its backup was used.")
            }
            Self::BackupDamaged { reason } => {
                write!(f, "The backup GPT cannot be used ({reason}); the primary was.")
            }
            Self::BackupNotAtEnd { found, last } => write!(
                f,
                "The backup GPT is in sector {found}, not in the last sector {last}: the disk was enlarged."
            ),
            Self::BackupDiffers => {
                f.write_str("The primary and the backup GPT are both sound but differ; the primary was used.")
            }
            Self::ProtectiveMbrMissing => f.write_str(
                "Sector 0 has no protective MBR, so other programs may not see the GPT that was read.",
            ),
            Self::Hybrid { types } => {
                f.write_str("The MBR is hybrid: it also names partitions of type ")?;
                for (position, code) in types.iter().enumerate() {
                    write!(f, "{}{code:02x}", if position == 0 { "" } else { ", " })?;
                }
                f.write_str("; the GPT was believed.")
            }
            Self::Conflict { sector_zero, gpt, backup_only } => write!(
                f,
                "Two tables contradict each other: sector 0 is {sector_zero} without a protective entry, and \
                 there is {} with {}. Decide which is true: capture with --trust gpt, or with --trust mbr, which leaves the GPT aside.",
                if *backup_only { "an old backup GPT" } else { "a valid GPT" },
                partitions(gpt.partitions.len()),
            ),
            Self::GptIgnored { .. } => f.write_str("A valid GPT was left aside, as asked."),
            Self::SectorZeroIgnored { sector_zero } => {
                write!(f, "Sector 0 is {sector_zero} and contradicts the GPT, which was believed, as asked.")
            }
            Self::StaleBackup { partitions: count } => write!(
                f,
                "The disk has no table, but a backup GPT with {} at its end; it was not used. Where it is the true one, \
                 capture with --trust gpt.",
                partitions(*count)
            ),
            Self::ImplausibleTable { fact } => {
                write!(f, "Sector 0 ends in 55AA but holds no partition table: {fact}.")
            }
            Self::SeveralContainers => f.write_str(
                "There is more than one extended partition, which no deploy could write; repair the table first.",
            ),
            Self::More { count } => write!(
                f,
                "{count} more findings about partitions are not shown; repair the table first."
            ),
            _ => self.fmt_partition(f),
        }
    }
}

impl Finding {
    /// The findings about one partition or record.
    fn fmt_partition(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { first, second } => {
                write!(f, "Partitions {first} and {second} overlap; repair the table first.")
            }
            Self::OverlapsTable { number } => {
                write!(
                    f,
                    "Partition {number} covers sectors of the partition table itself; repair the table first."
                )
            }
            Self::BeyondEnd { number, last, disk_last } => write!(
                f,
                "Partition {number} reaches to sector {last}, beyond the last sector {disk_last} of the disk: copy a \
                 disk that was cut off again, or repair the table first."
            ),
            Self::Empty { number } => write!(f, "Partition {number} has no sectors; it is left out."),
            Self::OutsideUsable { number } => {
                write!(f, "Partition {number} lies outside the range that the GPT gives to partitions.")
            }
            Self::OutsideContainer { number, container } => {
                write!(
                    f,
                    "Logical partition {number} reaches outside extended partition {container}; repair the table \
                     first."
                )
            }
            Self::ChainBroken { at, fact } => write!(
                f,
                "The chain of logical partitions breaks at sector {at}: {fact}; what comes behind is unknown. Repair \
                 the table first."
            ),
            _ => Ok(()),
        }
    }
}

fn partitions(count: usize) -> String {
    if count == 1 { "1 partition".to_owned() } else { format!("{count} partitions") }
}
