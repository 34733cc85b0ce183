//! The layout `standard`: that of a fresh installation for a firmware, holding the one volume that is the system.
//!
//! What a fresh installation would have made is described as a disk ([`fresh`]), and this disk is laid out by the rules
//! of the other layouts: so the smallest disk is exact, and the system gets everything that the rest leaves.

mod fresh;
mod system;

pub(super) use system::{only_disk, system};

use super::deploy::{self, DeployOptions, DiskPlan, NewContent, NewPartition};
use super::dynamic_disk;
use super::keep::{Stays, Target};
use super::layout::{Ground, Laid};
use super::place;
use super::refusal::Refusal;
use super::seed::Seed;
use super::sizing::{self, Sizing};
use super::step::{BootConfiguration, BootFiles, Loader, Step, System};
use super::windows;
use crate::machine::MachineDisk;
use crate::schema::{Content, Disk, Firmware, Layout, PartitionWish, Role, Table, Volume, WantedSize};
use crate::units::{ByteRange, SectorSize, format_size};
use fresh::{Fresh, Kind};

/// The numbers of the partitions that Windows starts from, with UEFI and with a BIOS.
const WINDOWS_EFI_SYSTEM: u32 = 2;
const WINDOWS_SYSTEM: u32 = 1;

/// Decides a standard layout for a disk of the image, of which `options` or the image itself say which volume is the
/// system. Every `copy` of the disk gets identifiers of its own.
pub(super) fn deploy_disk(
    disk: &Disk,
    disks: &[Disk],
    target: &Target,
    copy: usize,
    options: &DeployOptions,
) -> Result<(DiskPlan, Vec<Step>), Refusal> {
    let volume = system(disks, options)?.1;
    dynamic_disk::refuse_elsewhere(volume)?;
    let firmware = options.standard.firmware.ok_or(Refusal::NoFirmware)?;
    let seed = options.seed.ok_or(Refusal::NoSeed)?.of_copy(copy);
    let target_disk = &target.disk;
    if firmware == Firmware::Bios && target_disk.logical_sector_bytes != SectorSize::B512 {
        let (target, sector_bytes) = (target_disk.path.clone(), target_disk.logical_sector_bytes);
        return Err(Refusal::BiosSectors { target, sector_bytes });
    }
    let (kind, on_mbr_bytes) = kind(disk, volume, firmware, &seed, target_disk)?;
    let fresh = Fresh::new(disk, volume, kind, target_disk.logical_sector_bytes, &seed);
    let wishes = wishes(volume);
    let ground = Ground::new(&fresh.disk, target_disk, &wishes, Vec::new())?;
    let mut warnings = deploy::judge_sector_size(&ground)?;
    let Laid { layout, arrangement, table, minimum_disk_bytes, warnings: of_layout } =
        ground.lay(Layout::Standard, target_disk)?;
    warnings.extend(of_layout);
    let volumes = place::volumes(&ground, &arrangement, layout, options.expand, &mut warnings);
    let free_space = deploy::clearing(options.free_space, target_disk, &mut warnings);
    warnings.extend(place::unused_space(&ground, &arrangement));
    warnings.extend(not_deployed(disks, volume));
    let places = ground.pieces.iter().zip(&arrangement.places);
    let made: Vec<NewPartition> =
        places.filter_map(|(piece, place)| fresh.made(piece.number()?, *place)).collect();
    let number = volumes.iter().find_map(|planned| planned.partition);
    let configuration = number.and_then(|number| configuration(kind, &table, number, target_disk, &seed));
    let steps = steps(disk, volume, kind, &made, target_disk, configuration);
    let plan = DiskPlan {
        source_number: Some(disk.number),
        source_bytes: disk.size_bytes,
        target: target_disk.clone(),
        layout,
        minimum_disk_bytes: on_mbr_bytes.unwrap_or(minimum_disk_bytes),
        clear: place::clear(&ground, &arrangement),
        free_space,
        volumes,
        made,
        stays: Stays::Nothing,
        table,
        without: Vec::new(),
        script_output: None,
        new_names: Vec::new(),
        warnings,
    };
    Ok((plan, steps))
}

/// Which of the layouts, and the smallest disk where that is one with another table. A BIOS starts Linux from an MBR
/// where that reaches over the whole disk, and from a GPT behind it.
fn kind(
    disk: &Disk,
    volume: &Volume,
    firmware: Firmware,
    seed: &Seed,
    target: &MachineDisk,
) -> Result<(Kind, Option<u64>), Refusal> {
    Ok(match (System::of(volume), firmware) {
        (System::Windows, Firmware::Bios) => (Kind::WindowsBios, None),
        (System::Windows, Firmware::Uefi) => (Kind::WindowsUefi, None),
        (System::Linux, Firmware::Uefi) => (Kind::LinuxUefi, None),
        (System::Linux, Firmware::Bios) => {
            let sector = target.logical_sector_bytes;
            let fresh = Fresh::new(disk, volume, Kind::LinuxBiosMbr, sector, seed);
            let ground = Ground::new(&fresh.disk, target, &wishes(volume), Vec::new())?;
            match ground.smallest_disk_bytes() {
                Some(_) if ground.reaches_all() => (Kind::LinuxBiosMbr, None),
                smallest => (Kind::LinuxBiosGpt, smallest),
            }
        }
    })
}

/// The system gets what is left, whatever its size was, if its content can change its size.
fn wishes(volume: &Volume) -> Vec<PartitionWish> {
    match sizing::of_volume(Some(volume)) {
        Sizing::Shared { .. } => vec![PartitionWish { volume: volume.name.clone(), size: WantedSize::Share }],
        _ => Vec::new(),
    }
}

fn not_deployed(disks: &[Disk], system: &Volume) -> Option<String> {
    let others = disks.iter().flat_map(|disk| &disk.volumes);
    let others = others.filter(|volume| volume.role != Role::BootArea && volume.name != system.name);
    let others = others.filter(|volume| !matches!(volume.content, Content::LeftOut));
    let names: Vec<String> = others
        .map(|volume| {
            let kind = volume.content.file_system().map_or("unknown", |fs| fs.kind.name());
            format!("{} ({kind}, {})", volume.name, format_size(volume.size_bytes))
        })
        .collect();
    (!names.is_empty()).then(|| {
        format!("A standard layout holds one volume, {}. Not deployed: {}.", system.name, names.join(", "))
    })
}

/// What a new boot configuration names, where the system is a Windows on partition `number`.
fn configuration(
    kind: Kind,
    table: &Table,
    number: u32,
    target: &MachineDisk,
    seed: &Seed,
) -> Option<BootConfiguration> {
    let system = match kind {
        Kind::WindowsUefi => WINDOWS_EFI_SYSTEM,
        Kind::WindowsBios => WINDOWS_SYSTEM,
        Kind::LinuxUefi | Kind::LinuxBiosGpt | Kind::LinuxBiosMbr => return None,
    };
    let name = |number| windows::name(table, number, target.logical_sector_bytes);
    let (loader, resume) = (seed.guid("windows loader"), seed.guid("windows resume"));
    Some(BootConfiguration { system: name(system)?, windows: name(number)?, loader, resume })
}

fn steps(
    disk: &Disk,
    volume: &Volume,
    kind: Kind,
    made: &[NewPartition],
    target: &MachineDisk,
    configuration: Option<BootConfiguration>,
) -> Vec<Step> {
    let path = || target.path.clone();
    let formatted = made.iter().filter(|new| new.content != NewContent::Empty);
    let mut steps: Vec<Step> = formatted
        .map(|new| Step::MakeFileSystem {
            target: path(),
            partition: new.partition,
            place: new.place,
            content: new.content,
        })
        .collect();
    let new = |number: u32| made.iter().find(|new| new.partition == number);
    let loader = match kind {
        Kind::WindowsUefi => new(WINDOWS_EFI_SYSTEM).map(efi_system),
        Kind::LinuxUefi => new(1).map(efi_system),
        Kind::WindowsBios => new(WINDOWS_SYSTEM).map(|new| Loader::SystemPartition { place: new.place }),
        Kind::LinuxBiosGpt => new(1).map(|new| Loader::Core { place: new.place }),
        Kind::LinuxBiosMbr => Some(Loader::Core {
            place: ByteRange::new(target.logical_sector_bytes.bytes(), super::layout::ALIGNMENT_BYTES),
        }),
    };
    let Some(file_system) = volume.content.file_system() else { return steps };
    steps.extend(loader.map(|loader| {
        Step::BootFiles(BootFiles {
            target: path(),
            volume: volume.name.clone(),
            system: System::of(volume),
            firmware: kind.firmware(),
            file_system: file_system.kind,
            uuid: file_system.uuid.clone(),
            loader,
            partition_was: super::step::partition_id(&disk.table, volume.role),
            gone: super::step::gone(disk, volume),
            configuration,
        })
    }));
    steps
}

fn efi_system(new: &NewPartition) -> Loader {
    let serial = if let NewContent::Fat32 { serial } = new.content { serial } else { 0 };
    Loader::EfiSystem { place: new.place, serial }
}
