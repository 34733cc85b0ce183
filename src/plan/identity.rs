//! Identifiers that have to be unique within one machine: GUIDs, disk signatures, and the names of partitions that come
//! of them.

use super::btrfs_set;
use super::captured::Captured;
use super::captured_names;
use super::deploy::{DeployPlan, DiskPlan, VolumeAction, VolumePlan};
use super::group::GroupPlan;
use super::seed::Seed;
use super::step::Step;
use crate::schema::{Content, Disk, FileSystemKind, Layout, MbrRole, Role, Table, VolumeGroup};
use crate::uefi::PartitionId;
use serde::Serialize;

/// Something that has another identifier than when it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewName {
    /// The disk (`d0`), partition (`d0-p2`), volume group (`g0`) or logical volume (`g0-l1`) of the image.
    pub of: String,
    /// As it was captured: a GUID in small letters, the signature of an MBR, a partition of that (`1a2b3c4d-01`), or a
    /// UUID of LVM.
    pub old: String,
    /// As it is now.
    pub new: String,
}

/// What names a disk; `None` where its table has nothing of the kind.
pub(super) fn disk_id(table: &Table) -> Option<String> {
    match table {
        Table::Gpt(gpt) => Some(gpt.disk_guid.to_string().to_lowercase()),
        Table::Mbr(mbr) if mbr.disk_signature != 0 => Some(format!("{:08x}", mbr.disk_signature)),
        Table::Mbr(_) | Table::None => None,
    }
}

/// The identifier of a partition as a [`NewName`] has it; that of its disk on an MBR.
#[must_use]
pub fn id_in_files(id: &PartitionId) -> String {
    match id {
        PartitionId::Gpt { guid } => guid.to_string().to_lowercase(),
        PartitionId::Mbr { signature, .. } => format!("{signature:08x}"),
    }
}

/// What Linux calls a partition (PARTUUID).
pub(super) fn partition_id(table: &Table, number: u32) -> Option<String> {
    match table {
        Table::Gpt(gpt) => {
            let entry = gpt.partitions.iter().find(|entry| entry.number == number)?;
            Some(entry.partition_guid.to_string().to_lowercase())
        }
        Table::Mbr(mbr) if mbr.disk_signature != 0 => {
            let entry = mbr.partitions.iter().find(|entry| entry.number == number)?;
            Some(format!("{:08x}-{:02x}", mbr.disk_signature, entry.number))
        }
        Table::Mbr(_) | Table::None => None,
    }
}

/// A disk of the image with new identifiers; `copy` counts the targets that receive it.
pub(super) fn renewed(disk: &Disk, copy: usize, seed: Seed) -> Disk {
    let copy = if copy == 0 { String::new() } else { format!(" copy {copy}") };
    let mut disk = disk.clone();
    let name = format!("d{}", disk.number);
    match &mut disk.table {
        Table::Gpt(gpt) => {
            gpt.disk_guid = seed.guid(&format!("{name}{copy}"));
            for entry in &mut gpt.partitions {
                entry.partition_guid = seed.guid(&format!("{name}-p{}{copy}", entry.number));
            }
        }
        // A disk without a signature has nothing that could be mistaken.
        Table::Mbr(mbr) if mbr.disk_signature != 0 => {
            mbr.disk_signature = seed.mbr_signature(&format!("{name}{copy}"));
        }
        Table::Mbr(_) | Table::None => {}
    }
    disk
}

/// What of a disk has another identifier on the target.
pub(super) fn new_names(disk: &Disk, plan: &DiskPlan) -> Vec<NewName> {
    let name = format!("d{}", disk.number);
    let numbers: Vec<(u32, u32)> = if plan.layout == Layout::Script {
        let moved = |volume: &crate::schema::Volume| {
            let Role::Partition { number } = volume.role else { return None };
            let planned = plan.volumes.iter().find(|planned| planned.volume == volume.name)?;
            Some((number, planned.partition?))
        };
        disk.volumes.iter().filter_map(moved).collect()
    } else {
        numbers(&disk.table)
            .into_iter()
            .filter(|number| !plan.without.contains(number))
            .map(|n| (n, n))
            .collect()
    };
    let partition = |(was, is): (u32, u32)| {
        let (old, new) = (partition_id(&disk.table, was)?, partition_id(&plan.table, is)?);
        Some(NewName { of: format!("{name}-p{was}"), old, new })
    };
    let whole = disk_id(&disk.table).zip(disk_id(&plan.table));
    let whole = whole.map(|(old, new)| NewName { of: name.clone(), old, new });
    let names = whole.into_iter().chain(numbers.into_iter().filter_map(partition));
    names.filter(|name| name.old != name.new).collect()
}

fn numbers(table: &Table) -> Vec<u32> {
    match table {
        Table::Gpt(gpt) => gpt.partitions.iter().map(|entry| entry.number).collect(),
        Table::Mbr(mbr) => {
            let volumes = mbr.partitions.iter().filter(|entry| entry.role != MbrRole::Extended);
            volumes.map(|entry| entry.number).collect()
        }
        Table::None => Vec::new(),
    }
}

/// Gives a group, its physical and its logical volumes new UUIDs. Names stay.
pub(super) fn renew_group(group: &mut VolumeGroup, seed: Seed) -> Vec<NewName> {
    let mut names = Vec::new();
    let group_name = format!("g{}", group.number);
    let mut renew = |of: &str, uuid: &mut String| {
        // A disk has a GUID of its own under this name.
        let new = seed.lvm_uuid(of);
        names.push(NewName { of: of.to_owned(), old: std::mem::replace(uuid, new.clone()), new });
    };
    renew(&group_name, &mut group.uuid);
    group.physical_volumes.iter_mut().for_each(|physical| renew(&physical.volume, &mut physical.uuid));
    group.logical_volumes.iter_mut().for_each(|logical| renew(&logical.volume.name, &mut logical.uuid));
    names
}

/// The new names of a group as files write them: alone, as in GRUB's `lvmid/GROUP/VOLUME`, and without dashes and
/// together, as udev names a logical volume.
fn names_in_files(plan: &GroupPlan) -> Vec<NewName> {
    let mut names = plan.new_names.clone();
    let Some(group) = plan.new_names.first() else { return names };
    let of_logical = |name: &&NewName| plan.volumes.iter().any(|planned| planned.volume == name.of);
    for volume in plan.new_names.iter().filter(of_logical) {
        let id = |group: &str, volume: &str| {
            format!("dm-uuid-LVM-{}{}", group.replace('-', ""), volume.replace('-', ""))
        };
        let (old, new) = (id(&group.old, &volume.old), id(&group.new, &volume.new));
        names.push(NewName { of: volume.of.clone(), old, new });
    }
    names
}

/// The new names of partitions and volume groups, for a system on one of the targets. Where one disk was deployed
/// twice, its own copy is meant; a name that means several partitions of other disks is left out.
#[must_use]
pub fn names_for(plan: &DeployPlan, target: &str) -> Vec<NewName> {
    let partitions = |disk: &DiskPlan| {
        let names = disk.new_names.iter().filter(|name| Some(&name.of) != disk_name(disk).as_ref());
        names.cloned().collect::<Vec<_>>()
    };
    let (own, others): (Vec<&DiskPlan>, Vec<&DiskPlan>) =
        plan.disks.iter().partition(|disk| disk.target.path == target);
    let is_own = |group: &&GroupPlan| {
        let mut disks = group.members.iter().filter_map(|member| plan.disks.get(member.disk));
        disks.any(|disk| disk.target.path == target)
    };
    let (own_groups, other_groups): (Vec<&GroupPlan>, Vec<&GroupPlan>) = plan.groups.iter().partition(is_own);
    let mut names: Vec<NewName> = own.into_iter().flat_map(partitions).collect();
    names.extend(own_groups.into_iter().flat_map(names_in_files));
    let others = others.into_iter().flat_map(partitions);
    let others: Vec<NewName> = others.chain(other_groups.into_iter().flat_map(names_in_files)).collect();
    for name in &others {
        let known = names.iter().any(|other| other.old == name.old);
        let several = others.iter().filter(|other| other.old == name.old).count() > 1;
        if !known && !several {
            names.push(name.clone());
        }
    }
    names
}

/// The steps by which what names partitions follows, where something has a new name.
pub(super) fn steps(captured: Captured<'_>, plan: &DeployPlan) -> Vec<Step> {
    let of_disks = plan.disks.iter().map(|disk| &disk.new_names);
    if of_disks.chain(plan.groups.iter().map(|group| &group.new_names)).all(Vec::is_empty) {
        return Vec::new();
    }
    let step = |path: &str, planned: &VolumePlan| {
        let volume = captured.volumes().find(|volume| volume.name == planned.volume)?;
        let (file_system, looked_into) = match &volume.content {
            _ if planned.action != VolumeAction::Write => return None,
            // A mount would write to the journal, and it might be the wrong one.
            Content::FileSystem(found) => (found.kind, looks_into(found.kind) && found.journal().is_none()),
            Content::Raw { file_system: Some(found), .. } => (found.kind, false),
            _ => return None,
        };
        // What a Windows notes has a step of its own.
        if file_system == FileSystemKind::Ntfs {
            return None;
        }
        let (target, volume) = (path.to_owned(), planned.volume.clone());
        Some(Step::PartitionNames { target, volume, file_system, looked_into })
    };
    let mut steps = Vec::new();
    for disk in &plan.disks {
        steps.extend(disk.volumes.iter().filter_map(|planned| step(&disk.target.path, planned)));
    }
    let logical = plan.logical_volumes();
    steps.extend(logical.iter().filter_map(|logical| step(logical.target(plan), logical.planned)));
    steps
}

/// Warns of the volumes that may hold a system and that nobody looks into, where something has a new name.
pub(super) fn warn(captured: Captured<'_>, plan: &mut DeployPlan) {
    let of_plan = captured_names::warning(plan);
    let mut with_names = plan.disks.iter_mut().filter(|disk| !disk.new_names.is_empty());
    let first = with_names.next().map(|disk| &mut disk.warnings);
    let first = first.or_else(|| {
        let mut with_names = plan.groups.iter_mut().filter(|group| !group.new_names.is_empty());
        with_names.next().map(|group| &mut group.warnings)
    });
    let Some(first) = first else { return };
    first.extend(of_plan);
    for disk in &mut plan.disks {
        disk.warnings.extend(disk.volumes.iter().filter_map(|planned| not_looked_into(captured, planned)));
    }
    for group in &mut plan.groups {
        group.warnings.extend(group.volumes.iter().filter_map(|planned| not_looked_into(captured, planned)));
    }
}

/// The warning of a volume that may hold a system, and that nobody looks into.
fn not_looked_into(captured: Captured<'_>, planned: &VolumePlan) -> Option<String> {
    use FileSystemKind::{
        Bcachefs, Bitlocker, F2fs, Jfs, Luks1, Luks2, MdMember, Nilfs2, Ntfs, Reiserfs, Zfs,
    };
    let volume = captured.volumes().find(|volume| volume.name == planned.volume)?;
    let (found, is_raw) = match &volume.content {
        _ if planned.action != VolumeAction::Write => return None,
        Content::FileSystem(found) => (found, false),
        Content::Raw { file_system: Some(found), .. } => (found, true),
        _ => return None,
    };
    let why = match found.kind {
        // With a key too: what was captured is what is encrypted.
        Luks1 | Luks2 | Bitlocker => "it is encrypted",
        MdMember => "it is a member of an array",
        F2fs | Jfs | Nilfs2 | Reiserfs | Bcachefs | Zfs => {
            "names are not looked for in file systems of its kind"
        }
        kind if is_raw && (looks_into(kind) || kind == Ntfs) => "it was captured raw",
        kind if looks_into(kind) && found.journal().is_some() => "its journal is on another volume",
        // What has several devices or is a dynamic disk has a sentence of its own, and no system starts from the others.
        _ => return None,
    };
    Some(format!(
        "{} ({}) is not looked into, because {why}: a system on it that names partitions by their old identifiers does not start \
         before it names the new ones.",
        planned.volume, found.kind
    ))
}

/// What the disk of the image is called that a target receives.
fn disk_name(disk: &DiskPlan) -> Option<String> {
    disk.source_number.map(|number| format!("d{number}"))
}

/// The file systems in which names of partitions are looked for.
const fn looks_into(kind: FileSystemKind) -> bool {
    use FileSystemKind::{Btrfs, Ext2, Ext3, Ext4, Fat12, Fat16, Fat32, Xfs};
    matches!(kind, Btrfs | Ext2 | Ext3 | Ext4 | Xfs | Fat12 | Fat16 | Fat32)
}

/// Warns where another disk of the image has the same GUID or signature: a machine that has both will take
/// one for the other.
pub(super) fn warnings(disk: &Disk, disks: &[Disk]) -> Vec<String> {
    let Some(mine) = identifier(disk) else { return Vec::new() };
    disks
        .iter()
        .filter(|other| other.number < disk.number && identifier(other).as_ref() == Some(&mine))
        .map(|other| {
            format!(
                "Disk {} has the same {mine} as disk {}: a machine with both of them may take one for the other; \
                 --new-ids gives each its own.",
                disk.number, other.number
            )
        })
        .collect()
}

/// Warns where the same disk of the image goes onto another disk of the machine as well.
pub(super) fn copy_warning(disk: &Disk, other_target: &str) -> Option<String> {
    let mine = identifier(disk)?;
    let way_out = if btrfs_set::is_on(disk) {
        "take one of them out; --new-ids does not reach the btrfs on several devices"
    } else {
        "--new-ids gives each its own"
    };
    Some(format!(
        "{other_target} receives the same disk {} with the same {mine}: while both are in one machine, it may take one \
         for the other; {way_out}.",
        disk.number
    ))
}

fn identifier(disk: &Disk) -> Option<String> {
    match &disk.table {
        Table::Gpt(gpt) => Some(format!("GUID {}", gpt.disk_guid)),
        Table::Mbr(mbr) if mbr.disk_signature != 0 => Some(format!("signature {:08x}", mbr.disk_signature)),
        Table::Mbr(_) | Table::None => None,
    }
}
