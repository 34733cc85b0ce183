//! Why a deploy cannot be planned: each refusal names the thing, the numbers and the way out.

use crate::machine::MachineDisk;
use crate::schema::FileSystemKind;
use crate::units::{SectorSize, format_size};
use serde::Serialize;
use std::fmt;

/// The part of a disk that a refusal or a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "part", content = "number", rename_all = "kebab-case")]
pub enum Part {
    /// A partition, by its number.
    Partition(u32),
    /// The volume that fills a disk without a table.
    WholeDisk,
    /// The partition table itself.
    Table,
    /// A logical volume.
    Logical {
        /// Number of its group.
        group: u32,
        /// Its number within the group.
        number: u32,
    },
}

impl Refusal {
    /// The volume whose choice is refused.
    #[must_use]
    pub fn volume(&self) -> Option<&str> {
        match self {
            Self::WantedTwice { volume } | Self::Stays { volume, .. } | Self::BelowMinimum { volume, .. } => {
                Some(volume)
            }
            Self::CannotLeaveOut { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(number) => write!(f, "partition {number}"),
            Self::WholeDisk => f.write_str("the volume that fills the disk"),
            Self::Table => f.write_str("the partition table"),
            Self::Logical { group, number } => write!(f, "logical volume g{group}-l{number}"),
        }
    }
}

/// A reason not to deploy. Nothing has been changed when one is returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "kebab-case")]
pub enum Refusal {
    /// The target cannot hold the partitions.
    #[error(
        "{target} is too small for disk {disk} of the image: it has {target_bytes} bytes, at least \
         {minimum_bytes} ({}) are needed with this layout, {missing_bytes} are missing; {part}, which needs \
         {part_bytes} bytes{}, is the first that does not fit; use a disk of at least that size",
        format_size(*minimum_bytes),
        reason.as_ref().map_or_else(String::new, |reason| format!(" because {reason}"))
    )]
    TooSmall {
        /// Number of the disk within the image.
        disk: u32,
        /// Path of the target.
        target: String,
        /// Size of the target in whole sectors.
        target_bytes: u64,
        /// The smallest size that is accepted.
        minimum_bytes: u64,
        /// The difference.
        missing_bytes: u64,
        /// The first part, in disk order, that does not fit.
        part: Part,
        /// The bytes that this part needs at least.
        part_bytes: u64,
        /// Why it needs them: a clause.
        reason: Option<String>,
    },
    /// A whole disk that is a member of an array, and a target of another size: what the array keeps at its end, and counts from
    /// there, would not be found.
    #[error(
        "disk {disk} of the image is as a whole a member of an array ({kind}) and needs a disk of exactly its size: it had \
         {disk_bytes} bytes, {target} has {target_bytes}; use a disk of that size, or make the array anew (mdadm --create) and \
         deploy an image of the assembled array to it"
    )]
    MemberOfOtherSize {
        /// Number of the disk within the image.
        disk: u32,
        /// Which kind of member.
        kind: FileSystemKind,
        /// Its size when it was captured.
        disk_bytes: u64,
        /// Path of the target.
        target: String,
        /// The target's size.
        target_bytes: u64,
    },
    /// A dynamic disk of Windows, and a target that keeps partitions.
    #[error(
        "disk {disk} of the image is a Windows dynamic disk, whose database counts from the start of the disk, and needs {target} \
         for itself: keep no partition of it, or use another disk"
    )]
    DynamicDiskKeeps {
        /// Number of the disk within the image.
        disk: u32,
        /// Path of the target.
        target: String,
    },
    /// The database of a dynamic disk that was captured raw cannot move to the end of a larger target.
    #[error(
        "disk {disk} of the image is a Windows dynamic disk with a private header that could not be read, so its database cannot \
         move to the end of {target}, which has {target_bytes} bytes: use a disk of {disk_bytes} bytes"
    )]
    DynamicDiskUnread {
        /// Number of the disk within the image.
        disk: u32,
        /// Its size.
        disk_bytes: u64,
        /// Path of the target.
        target: String,
        /// Its size.
        target_bytes: u64,
    },
    /// Some devices of a btrfs on several, and not all.
    #[error(
        "the btrfs{label} on {deployed} has devices on {missing} too, which are not deployed: what an earlier deploy left of those \
         would be joined with the new ones, and wrong data read; deploy all of its devices, or none (--without for each of \
         them)"
    )]
    PartOfBtrfs {
        /// A space and its label in quotes; empty where it has none.
        label: String,
        /// Names of the volumes that would be deployed.
        deployed: String,
        /// Names of those that would not.
        missing: String,
    },
    /// An MBR cannot describe sectors from 2^32 on.
    #[error(
        "{part} of disk {disk} would end at byte {end_bytes}, but an MBR reaches only to byte {limit_bytes} on \
         a disk with {sector_bytes}-byte sectors; use a disk with the sector size of the original"
    )]
    BeyondMbr {
        /// Number of the disk within the image.
        disk: u32,
        /// The part that reaches too far.
        part: Part,
        /// Its end.
        end_bytes: u64,
        /// The end of what an MBR can describe.
        limit_bytes: u64,
        /// Sector size of the target.
        sector_bytes: SectorSize,
    },
    /// The content of a volume does not work on the target's sector size.
    #[error(
        "{part} of disk {disk} cannot move from {from_bytes}-byte to {to_bytes}-byte sectors: {reason}; use a \
         disk with {from_bytes}-byte sectors, or capture the image without it"
    )]
    SectorSize {
        /// Number of the disk within the image.
        disk: u32,
        /// The volume.
        part: Part,
        /// Logical sector size of the original.
        from_bytes: SectorSize,
        /// Logical sector size of the target.
        to_bytes: SectorSize,
        /// What ties the content to the sector size: a clause.
        reason: String,
    },
    /// It is not certain which volume is the system.
    #[error(
        "it is not certain which volume holds the system that the layout standard is for; name it with --volume: {}",
        volumes.join(", ")
    )]
    WhichSystem {
        /// The volumes of the image, described.
        volumes: Vec<String>,
    },
    /// A volume that cannot hold a system.
    #[error(
        "{volume} holds no system that the layout standard knows: Linux on ext2, ext3, ext4, XFS or btrfs, or Windows on \
         NTFS; name another volume, or use another layout"
    )]
    NoSystem {
        /// The volume.
        volume: String,
    },
    /// Nobody says what starts the machine.
    #[error("a standard layout depends on what starts the machine; say --firmware bios or --firmware uefi")]
    NoFirmware,
    /// Nobody brought random bits: an error in this program.
    #[error("new GUIDs are needed, and nothing to derive them from was given; please report this")]
    NoSeed,
    /// A BIOS cannot start from these sectors.
    #[error(
        "a BIOS starts from 512-byte sectors only, and {target} has {sector_bytes}-byte ones; use --firmware uefi, or \
         another disk"
    )]
    BiosSectors {
        /// Path of the target.
        target: String,
        /// Its sectors.
        sector_bytes: SectorSize,
    },
    /// A standard layout is asked for together with what it excludes.
    #[error(
        "a standard layout holds one volume on a disk of its own; leave --keep, --keep-table and --without away"
    )]
    StandardAlone,
    /// Something of a standard layout is chosen for another one.
    #[error("--volume is for the layout standard; add --layout standard, or leave it away")]
    NotStandard,
    /// Layout `original` cannot keep a place that the target's sectors cannot express.
    #[error(
        "{part} of disk {disk} cannot keep its place at byte {start_bytes} ({length_bytes} bytes): {reason}; \
         use the layout dynamic"
    )]
    Unplaceable {
        /// Number of the disk within the image.
        disk: u32,
        /// The part.
        part: Part,
        /// Its first byte.
        start_bytes: u64,
        /// Its length.
        length_bytes: u64,
        /// Why: a clause.
        reason: String,
    },
    /// The image contradicts itself.
    #[error(
        "disk {disk} of the image is not described soundly: {what}; verify the image or capture it again"
    )]
    Unsound {
        /// Number of the disk within the image.
        disk: u32,
        /// The contradiction: a clause.
        what: String,
    },
    /// A disk of the image that no target was named for.
    #[error(
        "disk {disk} of the image ({}) has no target; name one disk of this machine for each disk of the image",
        format_size(*size_bytes)
    )]
    NoTarget {
        /// Number of the disk within the image.
        disk: u32,
        /// Its size.
        size_bytes: u64,
    },
    /// A target for a disk that the image does not have.
    #[error("{target} is meant for disk {disk}, but the image has no such disk; leave that target out")]
    UnknownDisk {
        /// The number that was asked for.
        disk: u32,
        /// Path of the target.
        target: String,
    },
    /// A target that no disk of the image is left for.
    #[error(
        "no disk of the image is left for {target}; leave it out, or name the disk that it is to be a copy of, as in \
         d0={target}"
    )]
    NoUse {
        /// Path of the target.
        target: String,
    },
    /// Two disks of the image on one target.
    #[error("{target} is the target of more than one disk of the image; name another disk for each")]
    TargetTwice {
        /// Path of the target.
        target: String,
    },
    /// Several disks of this machine could be meant.
    #[error(
        "disk {disk} of the image matches none of {candidates} disks of this machine by serial number, WWN or \
         exact size, so it is not clear which is meant; name as many disks as the image has, in its order, or say it, as in \
         d{disk}=/dev/sda"
    )]
    Ambiguous {
        /// Number of the disk within the image.
        disk: u32,
        /// How many disks are left to choose from.
        candidates: usize,
    },
    /// Something is wanted of a volume that the image does not have.
    #[error("the image has no volume {volume}; it has {}", volumes.join(", "))]
    UnknownVolume {
        /// The name that was given.
        volume: String,
        /// The names of those whose size can be chosen.
        volumes: Vec<String>,
    },
    /// Two things are wanted of one volume.
    #[error("two sizes are given for {volume}; give one")]
    WantedTwice {
        /// Its name.
        volume: String,
    },
    /// Sizes are given for a layout that keeps them.
    #[error("sizes of partitions are for the layout custom; leave them out, or use that layout")]
    NotCustom,
    /// The content of a volume has to keep its size.
    #[error("{volume} cannot change its size, because {reason}; leave its size out")]
    Stays {
        /// Its name.
        volume: String,
        /// A clause.
        reason: String,
    },
    /// A volume is to be smaller than it can be.
    #[error(
        "{volume} needs at least {minimum_bytes} bytes ({}), and {wanted_bytes} are asked for; ask for more, or \
         leave its size out",
        format_size(*minimum_bytes)
    )]
    BelowMinimum {
        /// Its name.
        volume: String,
        /// The least it needs.
        minimum_bytes: u64,
        /// What is asked for.
        wanted_bytes: u64,
    },
    /// A partition that is named does not stand on the target.
    #[error("{target} has no partition {number}; {}", numbered(numbers))]
    NoPartition {
        /// Path of the target.
        target: String,
        /// The number that was given.
        number: u32,
        /// Those that it has.
        numbers: Vec<u32>,
    },
    /// A partition cannot stay.
    #[error("partition {number} of {target} cannot be kept: {reason}")]
    CannotKeep {
        /// Path of the target.
        target: String,
        /// Its number.
        number: u32,
        /// A clause with the way out, where there is one.
        reason: String,
    },
    /// A partition is to stay on a disk that is no target, or on any of several.
    #[error("it is not clear which disk {kept} is on; write DISK:NUMBER with one of the targets: {}", targets.join(", "))]
    KeepWhere {
        /// What was given.
        kept: String,
        /// Paths of the targets.
        targets: Vec<String>,
    },
    /// What is to be deployed does not fit around what stays.
    #[error(
        "{part} of disk {disk}, which needs {part_bytes} bytes ({}), finds no room on {target} beside what is kept \
         there (partition {}); leave partitions of the image out with --without, or keep less",
        format_size(*part_bytes), listed(kept)
    )]
    NoRoom {
        /// Number of the disk within the image.
        disk: u32,
        /// Path of the target.
        target: String,
        /// The first part, in disk order, that does not fit.
        part: Part,
        /// The bytes that it needs at least.
        part_bytes: u64,
        /// Numbers of the partitions that stay.
        kept: Vec<u32>,
    },
    /// Layout `original` wants the place of something that stays.
    #[error(
        "{part} of disk {disk} would lie on partition {number} of {target}, which is to be kept; use the layout dynamic"
    )]
    KeptInTheWay {
        /// Number of the disk within the image.
        disk: u32,
        /// Path of the target.
        target: String,
        /// The part.
        part: Part,
        /// Number of the partition that stays.
        number: u32,
    },
    /// The table is to stay, and there is none.
    #[error(
        "{target} has no partition table that could be kept; leave out --keep-table and --only to lay the disk out anew"
    )]
    NoTable {
        /// Path of the target.
        target: String,
    },
    /// Sizes are given, and the table is to stay.
    #[error("sizes of partitions cannot be chosen where the table of the target is kept; leave them out")]
    TableStays,
    /// No partition of the target matches a volume.
    #[error(
        "no partition of {target} is the one that {volume} was captured from: none has its GUID, or its number and type; \
         name it as {volume}=NUMBER ({})",
        numbered(numbers)
    )]
    NoMatch {
        /// Name of the volume.
        volume: String,
        /// Path of the target.
        target: String,
        /// Numbers of the partitions that the target has.
        numbers: Vec<u32>,
    },
    /// Two volumes for one partition.
    #[error(
        "{volume} and {other} would both go into partition {number} of {target}; name another one for one of them"
    )]
    PartitionTwice {
        /// Name of the volume.
        volume: String,
        /// The other one.
        other: String,
        /// Path of the target.
        target: String,
        /// The partition.
        number: u32,
    },
    /// The partition for a volume is too small.
    #[error(
        "partition {number} of {target} has {has_bytes} bytes, and {volume} needs {needs_bytes} ({}); make it larger, \
         or name another one as {volume}=NUMBER",
        format_size(*needs_bytes)
    )]
    PlaceTooSmall {
        /// Name of the volume.
        volume: String,
        /// Path of the target.
        target: String,
        /// The partition.
        number: u32,
        /// Its size.
        has_bytes: u64,
        /// What the volume needs.
        needs_bytes: u64,
    },
    /// A member of an array, and a place of another size: what the array keeps at the end of its member would not be found.
    #[error(
        "{place} has {has_bytes} bytes, and {volume} is a member of an array ({kind}) and needs exactly {needs_bytes}; make \
         a place of that size, and name it where it is not the one that {volume} was captured from"
    )]
    MemberPlace {
        /// Name of the volume.
        volume: String,
        /// Which kind of member.
        kind: FileSystemKind,
        /// The partition with its disk, or the logical volume.
        place: String,
        /// Its size.
        has_bytes: u64,
        /// What the member had when it was captured.
        needs_bytes: u64,
    },
    /// No logical volume of the targets matches.
    #[error(
        "{} {volume}; {}",
        if *by_rule {
            format!("no logical volume of the targets has the UUIDs of the one that was captured, or its name {logical}, for")
        } else {
            format!("the targets have no logical volume {logical} for")
        },
        match there.as_slice() {
            [] => "there is no whole volume group; name all disks of the group with --disk".to_owned(),
            there => format!("name one as {volume}=GROUP/VOLUME: {}", there.join(", ")),
        }
    )]
    NoLogicalVolume {
        /// Name of the volume in the image.
        volume: String,
        /// What was looked for.
        logical: String,
        /// True where nobody named it.
        by_rule: bool,
        /// Those that there are.
        there: Vec<String>,
    },
    /// Two volumes for one logical volume.
    #[error("{volume} and {other} would both go into {logical}; name another one for one of them")]
    LogicalTwice {
        /// Name of the volume.
        volume: String,
        /// The other one.
        other: String,
        /// The logical volume.
        logical: String,
    },
    /// The logical volume for a volume is too small.
    #[error(
        "{logical} has {has_bytes} bytes, and {volume} needs {needs_bytes} ({}); make it larger (lvextend), or name another \
         one as {volume}=GROUP/VOLUME",
        format_size(*needs_bytes)
    )]
    LogicalTooSmall {
        /// Name of the volume.
        volume: String,
        /// The logical volume.
        logical: String,
        /// Its size.
        has_bytes: u64,
        /// What the volume needs.
        needs_bytes: u64,
    },
    /// A logical volume whose extents are not all that would have to be written.
    #[error("{logical} cannot be overwritten by itself: {reason}")]
    NotWritable {
        /// The logical volume.
        logical: String,
        /// A clause with the way out.
        reason: String,
    },
    /// A volume group of the targets that is not whole.
    #[error("the volume group {group} on the targets cannot be written to: {reason}")]
    GroupNotWhole {
        /// Its name.
        group: String,
        /// A clause with the way out.
        reason: String,
    },
    /// A target of which nothing is written.
    #[error("nothing that is restored goes onto {target}; leave it out")]
    NothingFor {
        /// Path of the target.
        target: String,
    },
    /// A volume that was chosen cannot be restored by itself.
    #[error("{volume} cannot be restored by itself: {reason}")]
    NotRestorable {
        /// Its name.
        volume: String,
        /// A clause.
        reason: String,
    },
    /// A part of the image cannot be left out.
    #[error("{name} cannot be left out: {reason}")]
    CannotLeaveOut {
        /// What was named.
        name: String,
        /// A clause with the way out.
        reason: String,
    },
    /// Files are to come into a volume that is not deployed, or into one of several.
    #[error(
        "files are to be copied into {wanted}, {}; write one of {}, the number of its partition, or GROUP/NAME",
        if *several { "which is the number of several partitions" } else { "which is not deployed" },
        volumes.join(", ")
    )]
    NoVolumeForCopies {
        /// What was named.
        wanted: String,
        /// True: it is the number of partitions on several targets.
        several: bool,
        /// Names of those that are deployed.
        volumes: Vec<String>,
    },
    /// Files cannot be copied into a volume.
    #[error("no files can be copied into {volume}: {reason}")]
    NotForCopies {
        /// Its name.
        volume: String,
        /// A clause.
        reason: String,
    },
    /// A file system does not take what is to be copied.
    #[error("{name} cannot be copied into {volume}: {reason}")]
    CopyNotTaken {
        /// What is copied.
        name: String,
        /// Name of the volume.
        volume: String,
        /// A clause.
        reason: String,
    },
    /// Too little room for the files that are to be copied.
    #[error(
        "{volume} will have {} free, and what is to be copied there needs {}; copy less, or make it larger",
        format_size(*free_bytes),
        format_size(*needed_bytes)
    )]
    NoRoomForCopies {
        /// Its name.
        volume: String,
        /// What the copies need.
        needed_bytes: u64,
        /// What it will have.
        free_bytes: u64,
    },
    /// The layout script without what a script made.
    #[error("the layout script needs a script that partitions {target}; name it with --script FILE")]
    NoScript {
        /// Path of the target.
        target: String,
    },
    /// A script made no table.
    #[error(
        "the script made no partition table for {target}; have it make a GPT or an MBR, with sgdisk or sfdisk"
    )]
    NothingMade {
        /// Path of the target.
        target: String,
    },
    /// Something is to stay on a disk that a script partitions.
    #[error("a script partitions a blank disk, so nothing of the target can be kept; choose another layout")]
    ScriptKeeps,
    /// New identifiers where none can be given.
    #[error("no new identifiers can be given, because {reason}; leave --new-ids out")]
    NoNewIds {
        /// A clause.
        reason: String,
    },
    /// A script made no place for a volume.
    #[error(
        "the script made no partition for {volume} on {target} ({}); have it make one with the same number, \
         write the line {volume}=NUMBER into $REMINT_PLACES, or leave the volume out with --without {volume}",
        numbered(numbers)
    )]
    NotPlaced {
        /// Name of the volume.
        volume: String,
        /// Path of the target.
        target: String,
        /// Numbers of the partitions that it made.
        numbers: Vec<u32>,
    },
    /// A volume group cannot be deployed.
    #[error("the volume group g{group} ({name}) cannot be deployed: {reason}")]
    Group {
        /// Its number.
        group: u32,
        /// Its name.
        name: String,
        /// A clause with the way out.
        reason: String,
    },
    /// The target cannot be written.
    #[error("{target} is read-only; remove its write protection or choose another disk")]
    ReadOnly {
        /// Path of the target.
        target: String,
    },
    /// This system runs from the target.
    #[error("{target} is the disk that this system was started from; choose another disk")]
    BootMedium {
        /// Path of the target.
        target: String,
    },
    /// Something uses the target.
    #[error("{target} is in use: {}; release it or choose another disk", holders.join(", "))]
    InUse {
        /// Path of the target.
        target: String,
        /// Who uses it: a clause each.
        holders: Vec<String>,
    },
}

fn listed(numbers: &[u32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Which partitions there are, as a clause.
fn numbered(numbers: &[u32]) -> String {
    match numbers {
        [] => "there is none".to_owned(),
        [number] => format!("there is partition {number}"),
        _ => format!("there are partitions {}", listed(numbers)),
    }
}

/// Everything about a disk itself that forbids to write to it, whatever the image holds.
///
/// [`super::deploy`] does not ask this, so that a plan can be looked at for a disk that is still in use;
/// whoever carries a plan out asks first.
#[must_use]
pub fn preflight_refusals(target: &MachineDisk) -> Vec<Refusal> {
    let path = || target.path.clone();
    let mut refusals = Vec::new();
    if target.read_only {
        refusals.push(Refusal::ReadOnly { target: path() });
    }
    if target.boot_medium {
        refusals.push(Refusal::BootMedium { target: path() });
    }
    if !target.holders.is_empty() {
        let holders = target.holders.iter().map(ToString::to_string).collect();
        refusals.push(Refusal::InUse { target: path(), holders });
    }
    refusals
}
