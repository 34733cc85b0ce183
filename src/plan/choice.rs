//! What a person chose, held against the image and the targets: names that are not there, things that exclude each
//! other.

use super::captured::Captured;
use super::deploy::DeployOptions;
use super::keep::Target;
use super::refusal::Refusal;
use super::{existing, standard};
use crate::schema::{
    ChosenPlace, ChosenVolume, Content, Disk, Keep, KeptPartition, Layout, MbrRole, Role, Table, Volume,
    VolumeGroup,
};

/// Refuses everything that can be refused before a layout is tried.
pub(super) fn refuse_contradictions(
    captured: Captured<'_>,
    targets: &[Target],
    options: &DeployOptions,
) -> Result<(), Refusal> {
    refuse_mismatches(captured.disks, targets)?;
    refuse_wishes(captured, options)?;
    refuse_left_out(captured, options)?;
    refuse_standard(options)?;
    refuse_new_ids(options)?;
    match &options.keep {
        Keep::Nothing => Ok(()),
        _ if options.layout == Layout::Script => Err(Refusal::ScriptKeeps),
        Keep::Partitions(kept) => refuse_kept(kept, targets),
        Keep::Table(chosen) => refuse_chosen(captured, chosen),
    }
}

fn refuse_mismatches(disks: &[Disk], targets: &[Target]) -> Result<(), Refusal> {
    for (index, disk) in disks.iter().enumerate() {
        if disks.iter().take(index).any(|earlier| earlier.number == disk.number) {
            let what = "its number is that of another disk".to_owned();
            return Err(Refusal::Unsound { disk: disk.number, what });
        }
    }
    for (index, target) in targets.iter().enumerate() {
        let path = || target.disk.path.clone();
        if !disks.iter().any(|disk| disk.number == target.number) {
            return Err(Refusal::UnknownDisk { disk: target.number, target: path() });
        }
        if targets.iter().take(index).any(|earlier| earlier.disk.path == target.disk.path) {
            return Err(Refusal::TargetTwice { target: path() });
        }
    }
    Ok(())
}

/// Refuses what is wanted of volumes that the image does not have, or twice, or where nothing can be wanted.
fn refuse_wishes(captured: Captured<'_>, options: &DeployOptions) -> Result<(), Refusal> {
    if options.wishes.is_empty() {
        return Ok(());
    }
    if let Keep::Table(_) = options.keep {
        return Err(Refusal::TableStays);
    }
    if options.layout != Layout::Custom {
        return Err(Refusal::NotCustom);
    }
    for (index, wish) in options.wishes.iter().enumerate() {
        refuse_unknown(captured, &wish.volume)?;
        if options.wishes.iter().take(index).any(|earlier| earlier.volume == wish.volume) {
            return Err(Refusal::WantedTwice { volume: wish.volume.clone() });
        }
    }
    Ok(())
}

/// A standard layout is a whole new disk with one volume; its choices mean nothing to the others.
fn refuse_standard(options: &DeployOptions) -> Result<(), Refusal> {
    match (options.layout == Layout::Standard, &options.keep) {
        (true, Keep::Nothing) if options.without.is_empty() => Ok(()),
        (true, _) => Err(Refusal::StandardAlone),
        (false, _) if options.standard.volume.is_some() => Err(Refusal::NotStandard),
        (false, _) => Ok(()),
    }
}

fn refuse_unknown(captured: Captured<'_>, volume: &str) -> Result<(), Refusal> {
    let sized = || captured.volumes().filter(|volume| volume.role != Role::BootArea);
    if sized().any(|known| known.name == volume) {
        return Ok(());
    }
    let volumes = sized().map(|volume| volume.name.clone()).collect();
    Err(Refusal::UnknownVolume { volume: volume.to_owned(), volumes })
}

/// New identifiers are for tables that are made here.
fn refuse_new_ids(options: &DeployOptions) -> Result<(), Refusal> {
    let refuse = |reason: &str| Err(Refusal::NoNewIds { reason: reason.to_owned() });
    match &options.keep {
        _ if !options.new_ids => Ok(()),
        Keep::Table(_) => refuse("the table of the target stays as it is"),
        _ if options.layout == Layout::Script => refuse("the script gives the disk its identifiers"),
        _ if options.layout == Layout::Standard => refuse("a standard layout has new ones anyway"),
        _ if options.seed.is_none() => Err(Refusal::NoSeed),
        Keep::Nothing | Keep::Partitions(_) => Ok(()),
    }
}

fn refuse_kept(kept: &[KeptPartition], targets: &[Target]) -> Result<(), Refusal> {
    let clear = |kept: &&KeptPartition| match &kept.disk {
        Some(disk) => targets.iter().any(|target| target.disk.path == *disk),
        None => targets.len() == 1,
    };
    match kept.iter().find(|kept| !clear(kept)) {
        None => Ok(()),
        Some(kept) => Err(Refusal::KeepWhere {
            kept: kept.to_string(),
            targets: targets.iter().map(|target| target.disk.path.clone()).collect(),
        }),
    }
}

fn refuse_chosen(captured: Captured<'_>, chosen: &[ChosenVolume]) -> Result<(), Refusal> {
    for (index, choice) in chosen.iter().enumerate() {
        let found = captured.volumes().find(|volume| volume.name == choice.volume);
        match found {
            None => refuse_unknown(captured, &choice.volume)?,
            Some(volume) => {
                let is_logical = matches!(volume.role, Role::Logical { .. });
                let reason = match choice.place {
                    Some(ChosenPlace::Partition(_)) if is_logical => {
                        "it is a logical volume; name one of the target for it, as GROUP/VOLUME"
                    }
                    Some(ChosenPlace::Logical { .. }) if !is_logical => {
                        "it is no logical volume; name a partition of the target for it, by its number"
                    }
                    _ => "",
                };
                if !reason.is_empty() {
                    let (volume, reason) = (choice.volume.clone(), reason.to_owned());
                    return Err(Refusal::NotRestorable { volume, reason });
                }
            }
        }
        if chosen.iter().take(index).any(|earlier| earlier.volume == choice.volume) {
            let reason = "it is named twice; name it once".to_owned();
            return Err(Refusal::NotRestorable { volume: choice.volume.clone(), reason });
        }
    }
    Ok(())
}

fn disk_name(disk: &Disk) -> String {
    format!("d{}", disk.number)
}

fn refuse_left_out(captured: Captured<'_>, options: &DeployOptions) -> Result<(), Refusal> {
    for name in &options.without {
        let volume = captured.volumes().find(|volume| volume.name == *name);
        let refuse =
            |reason: &str| Err(Refusal::CannotLeaveOut { name: name.clone(), reason: reason.to_owned() });
        match volume.map(|volume| volume.role) {
            Some(Role::Partition { .. } | Role::Logical { .. }) => {}
            Some(Role::BootArea | Role::WholeDisk) => {
                return refuse(
                    "only partitions, logical volumes and whole disks can be; write d0 for disk 0",
                );
            }
            None if captured.disks.iter().any(|disk| disk_name(disk) == *name) => {}
            None => refuse_unknown(captured, name)?,
        }
        if options.wishes.iter().any(|wish| wish.volume == *name) {
            return refuse("a size is given for it; leave one of the two away");
        }
        if matches!(options.keep, Keep::Table(_)) {
            return refuse("the table is kept; name the volumes to restore with --only instead");
        }
    }
    Ok(())
}

/// The disks of the image that are not deployed: those that a person left out, and, where tables are kept, those of
/// which no volume goes into a partition.
pub(super) fn disks_left_out(disks: &[Disk], options: &DeployOptions) -> Result<Vec<u32>, Refusal> {
    let only = standard::only_disk(disks, options)?;
    let left_out = |disk: &&Disk| match &options.keep {
        Keep::Table(chosen) => {
            let is_chosen = |volume: &Volume| match chosen.as_slice() {
                [] => existing::is_restorable(volume),
                chosen => chosen.iter().any(|choice| choice.volume == volume.name),
            };
            !disk.volumes.iter().any(is_chosen)
        }
        _ => options.without.contains(&disk_name(disk)) || only.is_some_and(|only| only != disk.number),
    };
    Ok(disks.iter().filter(left_out).map(|disk| disk.number).collect())
}

/// True where logical volumes go into groups that stand on the targets.
pub(super) fn restores_logical_volumes(captured: Captured<'_>, options: &DeployOptions) -> bool {
    let Keep::Table(chosen) = &options.keep else { return false };
    let is_wanted = |volume: &Volume| match chosen.as_slice() {
        [] => volume.content != Content::LeftOut,
        chosen => chosen.iter().any(|choice| choice.volume == volume.name),
    };
    captured.groups.iter().flat_map(VolumeGroup::volumes).any(is_wanted)
}

/// The disks of an image that are deployed, each of which needs a target.
///
/// # Errors
/// Where a standard layout is wanted, and it is not certain for which volume.
pub fn deployed(disks: &[Disk], options: &DeployOptions) -> Result<Vec<Disk>, Refusal> {
    let without = disks_left_out(disks, options)?;
    Ok(disks.iter().filter(|disk| !without.contains(&disk.number)).cloned().collect())
}

/// The partitions of a disk that a person left out.
pub(super) fn partitions_left_out(disk: &Disk, options: &DeployOptions) -> Result<Vec<u32>, Refusal> {
    let mut numbers = Vec::new();
    for volume in disk.volumes.iter().filter(|volume| options.without.contains(&volume.name)) {
        let Role::Partition { number } = volume.role else { continue };
        let logical = match &disk.table {
            Table::Mbr(mbr) => {
                let mut logicals =
                    mbr.partitions.iter().filter(|entry| matches!(entry.role, MbrRole::Logical { .. }));
                logicals.any(|entry| entry.number == number)
            }
            Table::Gpt(_) | Table::None => false,
        };
        if logical {
            let reason = "it is a logical partition, and those behind it would get other numbers".to_owned();
            return Err(Refusal::CannotLeaveOut { name: volume.name.clone(), reason });
        }
        numbers.push(number);
    }
    Ok(numbers)
}
