//! Taking the steps of a plan on the deployed file systems.

use super::loop_device::control_device;
use super::mounted::kernel_has;
use super::{
    Error, boot_files, fuse, is_root, lvm_devices, program, references, settings, ssh_keys, windows_files,
    windows_partitions,
};
use crate::blockio::{Window, WriteAt};
use crate::customize::{
    CustomizeError, Customizer, Deployed, Taken, boot_sector, dynamic_disk, efi_system, fat,
    references as following,
};
use crate::filesystem::{self, FatFiles};
use crate::machine::MachineDisk;
use crate::plan::{self, BootFiles, DeployPlan, MovedPartition, NewContent, NewName, Step, System};
use crate::progress::{Event, Monitor};
use crate::schema::FileSystemKind;
use crate::units::{ByteRange, SectorSize};

/// This machine's kernel and programs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Customizations;

impl Customizer for Customizations {
    fn missing(&self, step: &Step, plan: &DeployPlan) -> Option<String> {
        match step {
            Step::MakeFileSystem { content: NewContent::Fat32 { .. } | NewContent::Empty, .. } => None,
            Step::MakeFileSystem { content: NewContent::Ntfs, .. } => missing_devices("a new NTFS").or_else(|| {
                program::find("mkntfs").is_none().then(|| {
                    "a new NTFS needs the program mkntfs; install the package ntfs-3g, or deploy from the boot image"
                        .to_owned()
                })
            }),
            Step::BootFiles(files) => missing_devices("making a disk bootable").or_else(|| missing_for(files)),
            // Where they cannot be taken, a sentence says so in the end.
            Step::ForgetDevices { .. } | Step::FallbackLoader { .. } => None,
            // Where it is found out later, no volume gets its new identifiers.
            Step::PartitionNames { volume, file_system, looked_into: true, .. } => {
                let mut logical = plan.logical_volumes().into_iter();
                let is_logical = logical.any(|logical| logical.planned.volume == *volume);
                let fuse = || fuse::missing().filter(|_| is_logical).map(|error| error.to_string());
                // In a FAT they are found all the same, and few have any.
                references::missing(*file_system).or_else(fuse).filter(|_| !is_fat(*file_system))
            }
            Step::WindowsPartitions { file_system: FileSystemKind::Ntfs, looked_into: true, moved, .. } => {
                let has_another_name = moved.iter().any(MovedPartition::has_another_name);
                has_another_name.then(windows_partitions::missing).flatten()
            }
            Step::Settings { volumes, .. } => settings::missing_for(volumes, "changing the settings of a system"),
            Step::SshHostKeys { volumes } => settings::missing_for(volumes, "making SSH host keys"),
            Step::CopyFiles { .. } | Step::Script { .. } => Some(not_here(step)),
            Step::PartitionNames { looked_into: false, .. }
            | Step::WindowsPartitions { .. }
            | Step::BootSector { .. }
            | Step::DynamicDisk { .. } => None,
        }
    }

    fn judge(&self, step: &Step, plan: &DeployPlan, captured: &dyn WriteAt) -> Result<(), CustomizeError> {
        let Step::BootFiles(files) = step else { return Ok(()) };
        // Without FUSE the same is found out later, when the target has no table.
        if fuse::missing().is_some() {
            return Ok(());
        }
        let disk = plan.disks.iter().find(|disk| disk.target.path == files.target);
        let sector = disk.map_or(SectorSize::B512, |disk| disk.target.logical_sector_bytes);
        match files.system {
            System::Linux => boot_files::judge(files, captured, sector),
            System::Windows => windows_files::judge(files, captured, sector),
        }
    }

    fn take(
        &self,
        step: &Step,
        deployed: Deployed<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Taken, CustomizeError> {
        match step {
            Step::CopyFiles { .. } | Step::Script { .. } => {
                Err(CustomizeError::Refused { fact: not_here(step) })
            }
            Step::MakeFileSystem { target, place, content, .. } => make(target, *place, *content, deployed),
            Step::BootFiles(files) => match files.system {
                System::Linux => boot_files::take(files, deployed, monitor),
                System::Windows => windows_files::take(files, deployed, monitor),
            },
            Step::FallbackLoader { target, place, .. } => {
                ensure_fallback(step, target, *place, deployed, monitor)
            }
            Step::ForgetDevices { target, volume, kind } => {
                let problems = lvm_devices::forget(target, volume, *kind, deployed, monitor)?;
                Ok(Taken { problems, ..Taken::default() })
            }
            Step::WindowsPartitions { volume, looked_into: false, moved, .. } => {
                // Where identifiers stay as they were captured, nothing has to follow.
                let said =
                    format!("{volume}: {}", windows_partitions::not_looked_into("it was captured raw"));
                let problems = if moved.is_empty() { Vec::new() } else { vec![said] };
                Ok(Taken { problems, ..Taken::default() })
            }
            Step::WindowsPartitions { target, volume, file_system, moved, .. } => {
                let kind = *file_system;
                Ok(windows_partitions::follow(target, volume, kind, moved, deployed, monitor)?)
            }
            Step::Settings { settings: told, volumes } => {
                let problems = settings::tell(told, volumes, deployed, monitor)?;
                Ok(Taken { problems, ..Taken::default() })
            }
            Step::SshHostKeys { volumes } => {
                let problems = ssh_keys::renew(volumes, deployed, monitor)?;
                Ok(Taken { problems, ..Taken::default() })
            }
            Step::BootSector { target, volume, was, is } => {
                follow_boot_sector(target, volume, (*was, *is), deployed, monitor)
            }
            Step::DynamicDisk { target, volume } => move_database(target, volume, deployed, monitor),
            Step::PartitionNames { target, volume, file_system, looked_into } => {
                Ok(follow(target, volume, *file_system, *looked_into, deployed, monitor)?)
            }
        }
    }
}

/// What takes a person's files or scripts is taken by whoever has them.
fn not_here(step: &Step) -> String {
    format!("{step} is nothing that this machine does by itself; please report this")
}

/// Has the boot sector of one volume say where its partition begins.
fn follow_boot_sector(
    path: &str,
    volume: &str,
    (was, is): (u32, u32),
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Taken, CustomizeError> {
    let (target, place) = written_place(path, volume, deployed)?;
    let window = Window::new(target, place).map_err(Error::io(format!("looking at {volume}")))?;
    if boot_sector::follow(&window, was, is)? > 0 {
        let message = format!("its boot sector says that the partition begins at sector {is}");
        monitor.event(Event::Changed { volume: volume.to_owned(), message });
    }
    Ok(Taken::default())
}

/// Has the database of a dynamic disk stand at the end of the disk.
fn move_database(
    path: &str,
    volume: &str,
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Taken, CustomizeError> {
    let (target, _) = written_place(path, volume, deployed)?;
    if dynamic_disk::follow(target)? {
        let message = "the database of its group of dynamic disks stands at the end of the disk".to_owned();
        monitor.event(Event::Changed { volume: volume.to_owned(), message });
    }
    Ok(Taken::default())
}

/// A volume of the plan on its target.
pub(super) fn written_place<'a>(
    path: &str,
    volume: &str,
    deployed: Deployed<'a>,
) -> Result<(&'a dyn WriteAt, ByteRange), Error> {
    let mut disks = deployed.plan.disks.iter().zip(deployed.targets);
    let found = disks.find_map(|(disk, target)| {
        let planned = disk.volumes.iter().find(|planned| planned.volume == volume)?;
        (disk.target.path == path).then_some((*target, planned.place))
    });
    found.ok_or_else(|| {
        Error::refused(format!("the plan has no volume {volume} on {path}; please report this"))
    })
}

/// Lets what names partitions follow in one file system.
fn follow(
    target: &str,
    volume: &str,
    kind: FileSystemKind,
    looked_into: bool,
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Taken, Error> {
    let names = plan::names_for(deployed.plan, target);
    if names.is_empty() {
        return Ok(Taken::default());
    }
    let missing = if looked_into { references::missing(kind) } else { None };
    if let Some(missing) = missing.as_deref().filter(|_| is_fat(kind))
        && let Ok(named) = named_in_fat(target, volume, &names, deployed)
    {
        let problem = |path| format!("{volume}: /{path} names partitions as they were captured: {missing}");
        let (keeps_names, problems) = (!named.is_empty(), named.into_iter().map(problem).collect());
        return Ok(Taken { problems, keeps_names, ..Taken::default() });
    }
    if !looked_into || missing.is_some() {
        let keeps_names = missing.is_some();
        let problems = vec![not_looked_into(volume, kind, missing)];
        return Ok(Taken { problems, keeps_names, ..Taken::default() });
    }
    let (followed, kept) =
        lvm_devices::on_device(target, volume, deployed, |device| references::follow(device, kind, &names))?;
    for message in followed.changed {
        monitor.event(Event::Changed { volume: volume.to_owned(), message });
    }
    let problems = followed.problems.into_iter().map(|problem| format!("{volume}: {problem}"));
    let problems = problems.chain(kept).collect();
    Ok(Taken { problems, keeps_names: followed.keeps_names, ..Taken::default() })
}

const fn is_fat(kind: FileSystemKind) -> bool {
    matches!(kind, FileSystemKind::Fat12 | FileSystemKind::Fat16 | FileSystemKind::Fat32)
}

/// The files of a FAT that name partitions by their old names, without mounting it.
fn named_in_fat(
    target: &str,
    volume: &str,
    names: &[NewName],
    deployed: Deployed<'_>,
) -> Result<Vec<String>, Error> {
    let (target, place) = written_place(target, volume, deployed)?;
    let window = Window::new(target, place).map_err(Error::io(format!("looking into {volume}")))?;
    let refused = |error: filesystem::Error| Error::refused(error.to_string());
    let fat = FatFiles::open(&window).map_err(refused)?.ok_or_else(|| Error::refused("it is no FAT"))?;
    following::named_in_fat(&fat, names).map_err(refused)
}

/// Has the fallback path start what is deployed. Without it an entry of the firmware still does.
fn ensure_fallback(
    step: &Step,
    path: &str,
    place: ByteRange,
    deployed: Deployed<'_>,
    monitor: &dyn Monitor,
) -> Result<Taken, CustomizeError> {
    let mut disks = deployed.plan.disks.iter().zip(deployed.targets);
    let target = disks.find(|(disk, _)| disk.target.path == path).map(|(_, target)| *target);
    let window = target.and_then(|target| Window::new(target, place).ok());
    let made = window.map_or_else(|| Ok(Vec::new()), |window| efi_system::ensure_fallback(&window));
    match made {
        Ok(made) => {
            for message in made {
                monitor.event(Event::Changed { volume: step.volume().into_owned(), message });
            }
            Ok(Taken::default())
        }
        // What was being written may be half there.
        Err(error @ CustomizeError::Io { .. }) => Err(error),
        Err(error) => {
            let fact = format!(
                "the EFI system partition of {path} gets no \\EFI\\BOOT\\BOOTX64.EFI: {}; where the \
                 firmware forgets its entries, the disk does not start",
                error.with_causes()
            );
            Ok(Taken { problems: vec![fact], ..Taken::default() })
        }
    }
}

fn not_looked_into(volume: &str, kind: FileSystemKind, missing: Option<String>) -> String {
    let why = missing.map_or_else(String::new, |missing| format!(" ({missing})"));
    format!(
        "{volume} ({kind}) was not looked into{why}: if it holds a system, see that its fstab and boot loader name \
         partitions (PARTUUID) as they are now"
    )
}

pub(super) fn missing_devices(what: &str) -> Option<String> {
    if !is_root() {
        return Some(format!("{what} needs root, because file systems are mounted for it; run as root"));
    }
    control_device().err().map(|error| format!("{what} needs loop devices: {error}"))
}

fn missing_for(files: &BootFiles) -> Option<String> {
    match files.system {
        System::Windows => windows_files::missing("making the boot files of Windows"),
        System::Linux => {
            let kernel = boot_files::kernel_name(files.file_system);
            if kernel_has(kernel) {
                return boot_files::missing(files);
            }
            Some(format!(
                "making a disk bootable needs a kernel that can mount {}; load its module (modprobe {kernel}), or deploy \
                 from the boot image",
                files.file_system
            ))
        }
    }
}

fn make(
    path: &str,
    place: ByteRange,
    content: NewContent,
    deployed: Deployed<'_>,
) -> Result<Taken, CustomizeError> {
    let mut disks = deployed.plan.disks.iter().zip(deployed.targets);
    let found = disks.find(|(disk, _)| disk.target.path == path);
    let (disk, target) = found.ok_or_else(|| CustomizeError::Refused {
        fact: format!("{path} is no target of this plan; please report this"),
    })?;
    let machine: &MachineDisk = &disk.target;
    match content {
        NewContent::Fat32 { serial } => {
            let doing = || format!("making a FAT32 in {place} of {path}");
            let window = Window::new(*target, place).map_err(Error::io(doing()))?;
            fat::format(&window, serial, machine.logical_sector_bytes).map_err(Error::io(doing()))?;
        }
        NewContent::Ntfs => windows_files::make_ntfs(machine, place)?,
        NewContent::Empty => {}
    }
    Ok(Taken::default())
}

impl From<Error> for CustomizeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { doing, source } => Self::Io { doing, source },
            Error::Refused { fact } => Self::Refused { fact },
            Error::Unsupported { fact } => Self::Unsupported { fact },
            Error::StaysMounted { doing, source } => Self::StaysMounted { doing, source },
            Error::NotPutBack { fact } => Self::NotPutBack { fact },
        }
    }
}
