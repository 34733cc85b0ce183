//! What is done to deployed file systems when they have their places and sizes, before the table is written.

use super::copies::WishedCopy;
use super::deploy::{DeployPlan, NewContent};
use super::settings::{Settings, SystemVolume};
use super::windows::{MovedPartition, WindowsName};
use super::{identity, keep};
use crate::schema::{Disk, FileSystemKind, Firmware, Role, Table, Volume};
use crate::units::{ByteRange, Guid};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;

/// One step. The steps of a plan are taken in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Let what names partitions follow where they have new names.
    PartitionNames {
        /// Path of the target.
        target: String,
        /// Name of the volume with the files.
        volume: String,
        /// Its file system.
        file_system: FileSystemKind,
        /// False: nobody can look into it, and a person has to.
        looked_into: bool,
    },
    /// Let what a Windows notes of partitions follow: its boot configuration (BCD) and its drive letters.
    WindowsPartitions {
        /// Path of the target.
        target: String,
        /// Name of the volume that may hold them.
        volume: String,
        /// Its file system.
        file_system: FileSystemKind,
        /// False: nobody can look into it, and a person has to.
        looked_into: bool,
        /// The partitions that Windows knows by another name now.
        moved: Vec<MovedPartition>,
    },
    /// Note in a boot sector where its partition begins: by that its code finds the rest of itself.
    BootSector {
        /// Path of the target.
        target: String,
        /// Name of the volume.
        volume: String,
        /// First sector of the captured partition.
        was: u32,
        /// First sector of the partition.
        is: u32,
    },
    /// Move the database of a dynamic disk of Windows to the end of its disk, which is larger.
    DynamicDisk {
        /// Path of the target.
        target: String,
        /// Name of the volume that is the disk.
        volume: String,
    },
    /// Tell the systems on the targets what they are called, and what their answer files hold.
    Settings {
        /// What they are told.
        settings: Settings,
        /// The volumes that may hold one.
        volumes: Vec<SystemVolume>,
    },
    /// Give the systems on the targets SSH host keys of their own.
    SshHostKeys {
        /// The volumes that may hold one.
        volumes: Vec<SystemVolume>,
    },
    /// Copy files.
    CopyFiles {
        /// Into which volume.
        on: SystemVolume,
        /// What.
        copy: WishedCopy,
    },
    /// Run a script of a person.
    Script {
        /// Its name.
        name: String,
        /// Which it is, for whoever runs it.
        number: usize,
        /// The volume that is mounted for it.
        on: Option<SystemVolume>,
        /// True: the deploy fails with it.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        fatal: bool,
    },
    /// Make a file system in a partition that the image does not have.
    MakeFileSystem {
        /// Path of the target.
        target: String,
        /// Number of the partition.
        partition: u32,
        /// Its bytes.
        place: ByteRange,
        /// What comes into it.
        content: NewContent,
    },
    /// Put boot files in place, so that a firmware starts the system on a volume.
    BootFiles(BootFiles),
    /// Take LVM's list of devices away: it names the disk that was captured, and LVM would use no other.
    ForgetDevices {
        /// Path of the target that the volume, or the first physical volume of its group, is on.
        target: String,
        /// Name of a volume that may hold a system.
        volume: String,
        /// Its file system.
        kind: FileSystemKind,
    },
    /// Have the path that a firmware starts where it knows nothing else start what an EFI system partition holds.
    FallbackLoader {
        /// Path of the target.
        target: String,
        /// Number of the partition.
        partition: u32,
        /// Its bytes.
        place: ByteRange,
    },
}

/// Boot files for a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootFiles {
    /// Path of the target.
    pub target: String,
    /// Name of the volume with the system.
    pub volume: String,
    /// Which system.
    pub system: System,
    /// What starts it.
    pub firmware: Firmware,
    /// The file system of the volume.
    pub file_system: FileSystemKind,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Where the boot loader goes.
    pub loader: Loader,
    /// What the captured system called the partition (PARTUUID).
    pub partition_was: Option<String>,
    /// The names of partitions of the captured disk that are not there any more.
    pub gone: Vec<Names>,
    /// What a new boot configuration of a Windows says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<BootConfiguration>,
}

/// What a boot configuration (BCD) names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BootConfiguration {
    /// The partition with the boot manager.
    pub system: WindowsName,
    /// The partition with Windows.
    pub windows: WindowsName,
    /// The object that starts Windows.
    pub loader: Guid,
    /// The object that wakes it up.
    pub resume: Guid,
}

/// The names by which `/etc/fstab` knows a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Names {
    /// UUID of its file system.
    pub uuid: Option<String>,
    /// Label of its file system.
    pub label: Option<String>,
    /// Its own GUID, or the disk's signature with its number.
    pub partition_uuid: Option<String>,
    /// Its own name.
    pub partition_label: Option<String>,
}

/// The systems that a standard layout knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants are names")]
pub enum System {
    Linux,
    Windows,
}

impl System {
    pub(super) fn of(volume: &Volume) -> Self {
        match volume.content.file_system().map(|fs| fs.kind) {
            Some(FileSystemKind::Ntfs) => Self::Windows,
            _ => Self::Linux,
        }
    }
}

/// Where a boot loader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "loader", rename_all = "kebab-case")]
pub enum Loader {
    /// Into the EFI system partition that was made.
    EfiSystem {
        /// Its bytes.
        place: ByteRange,
        /// Serial number of its FAT.
        serial: u32,
    },
    /// Into a stretch that belongs to it alone, with a first part in sector 0: GRUB for BIOS.
    Core {
        /// The stretch.
        place: ByteRange,
    },
    /// Into an active partition: Windows' boot manager for BIOS.
    SystemPartition {
        /// Its bytes.
        place: ByteRange,
    },
}

impl Loader {
    /// The bytes that the loader may take.
    #[must_use]
    pub const fn place(&self) -> ByteRange {
        match self {
            Self::EfiSystem { place, .. } | Self::Core { place } | Self::SystemPartition { place } => *place,
        }
    }
}

impl Step {
    /// Name of the volume that it is about, for messages.
    #[must_use]
    pub fn volume(&self) -> Cow<'_, str> {
        match self {
            Self::MakeFileSystem { partition, .. } => format!("new partition {partition}").into(),
            Self::BootFiles(files) => files.volume.as_str().into(),
            Self::ForgetDevices { volume, .. } => volume.as_str().into(),
            Self::FallbackLoader { partition, .. } => format!("partition {partition}").into(),
            Self::CopyFiles { on, .. } | Self::Script { on: Some(on), .. } => on.volume.as_str().into(),
            Self::Script { name, on: None, .. } => name.as_str().into(),
            Self::Settings { settings, .. } => settings.subject().into(),
            Self::SshHostKeys { .. } => "SSH host keys".into(),
            Self::PartitionNames { volume, .. }
            | Self::WindowsPartitions { volume, .. }
            | Self::BootSector { volume, .. }
            | Self::DynamicDisk { volume, .. } => volume.as_str().into(),
        }
    }

    /// Path of the target that it is about, where that is one.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::PartitionNames { target, .. }
            | Self::WindowsPartitions { target, .. }
            | Self::BootSector { target, .. }
            | Self::DynamicDisk { target, .. }
            | Self::MakeFileSystem { target, .. }
            | Self::ForgetDevices { target, .. }
            | Self::FallbackLoader { target, .. } => Some(target),
            Self::BootFiles(files) => Some(&files.target),
            Self::CopyFiles { on, .. } | Self::Script { on: Some(on), .. } => Some(&on.target),
            Self::Script { on: None, .. } | Self::Settings { .. } | Self::SshHostKeys { .. } => None,
        }
    }

    /// True where a deploy fails with it: a script that a person declared fatal. What else fails is a problem of a finished deploy.
    #[must_use]
    pub const fn is_vital(&self) -> bool {
        matches!(self, Self::Script { fatal: true, .. })
    }

    /// True where it lets files follow to the names that partitions have now.
    #[must_use]
    pub const fn changes_names(&self) -> bool {
        matches!(
            self,
            Self::PartitionNames { looked_into: true, .. }
                | Self::WindowsPartitions { looked_into: true, .. }
        )
    }

    /// True where everything that the step names is in its plan, and nothing that it writes belongs to another.
    pub(super) fn is_in(&self, plan: &DeployPlan) -> bool {
        let on = |target: &str| plan.disks.iter().find(|disk| disk.target.path == target);
        let has = |target: &str, volume: &str| {
            let mut of_disk = on(target).into_iter().flat_map(|disk| &disk.volumes);
            let logical = plan.logical_volumes();
            of_disk.any(|planned| planned.volume == volume)
                || logical
                    .iter()
                    .any(|logical| logical.planned.volume == volume && logical.target(plan) == target)
        };
        match self {
            Self::MakeFileSystem { target, partition, place, content } => on(target).is_some_and(|disk| {
                let new = disk.made.iter().find(|new| new.partition == *partition);
                new.is_some_and(|new| (new.place, new.content) == (*place, *content))
            }),
            Self::FallbackLoader { target, partition, place } => on(target).is_some_and(|disk| {
                let places = keep::places(&disk.table, disk.target.logical_sector_bytes);
                places.contains(&(*partition, *place)) && !disk.staying().contains(partition)
            }),
            Self::BootFiles(files) => on(&files.target).is_some_and(|disk| {
                let place = files.loader.place();
                let sector = disk.target.logical_sector_bytes;
                let taken = keep::places(&disk.table, sector);
                let of_its_own = match files.loader {
                    Loader::Core { .. } if matches!(disk.table, Table::Mbr(_)) => {
                        place.start() >= sector.bytes()
                            && taken.iter().all(|(_, other)| !other.overlaps(place))
                    }
                    _ => disk.made.iter().any(|new| new.place == place),
                };
                of_its_own && disk.volumes.iter().any(|planned| planned.volume == files.volume)
            }),
            Self::WindowsPartitions { target, volume, .. }
            | Self::BootSector { target, volume, .. }
            | Self::DynamicDisk { target, volume } => {
                on(target).is_some_and(|disk| disk.volumes.iter().any(|planned| planned.volume == *volume))
            }
            Self::ForgetDevices { target, volume, .. } | Self::PartitionNames { target, volume, .. } => {
                has(target, volume)
            }
            Self::CopyFiles { on, .. } => has(&on.target, &on.volume),
            Self::Script { on, .. } => on.iter().all(|on| has(&on.target, &on.volume)),
            Self::Settings { volumes, .. } | Self::SshHostKeys { volumes } => {
                volumes.iter().all(|system| has(&system.target, &system.volume))
            }
        }
    }
}

impl fmt::Display for Step {
    /// As the object of "making": `boot files for UEFI`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeFileSystem { content, .. } => write!(f, "{content}"),
            Self::BootFiles(files) => write!(f, "boot files for {}", files.firmware),
            Self::ForgetDevices { .. } => f.write_str("the list of devices of LVM"),
            Self::FallbackLoader { .. } => f.write_str("the fallback path of UEFI"),
            Self::PartitionNames { .. } => f.write_str("the names of partitions follow"),
            Self::WindowsPartitions { .. } => f.write_str("what Windows notes of partitions follow"),
            Self::BootSector { .. } => f.write_str("the boot sector follow"),
            Self::DynamicDisk { .. } => f.write_str("the database of the dynamic disk move to its end"),
            Self::CopyFiles { copy, .. } => write!(f, "the copy of {} to {}", copy.name, copy.copy.to),
            Self::Script { name, .. } => write!(f, "the script {name} run"),
            Self::Settings { settings, .. } => f.write_str(&settings.to_string()),
            Self::SshHostKeys { .. } => f.write_str("new SSH host keys"),
        }
    }
}

/// What Linux calls a partition: its GUID, or the signature of its disk with its number.
pub(super) fn partition_id(table: &Table, role: Role) -> Option<String> {
    let Role::Partition { number } = role else { return None };
    identity::partition_id(table, number)
}

/// The names of all partitions of a disk but the one with the system.
pub(super) fn gone(disk: &Disk, system: &Volume) -> Vec<Names> {
    let others =
        disk.volumes.iter().filter(|volume| volume.role != Role::BootArea && volume.name != system.name);
    others
        .map(|volume| {
            let file_system = volume.content.file_system();
            let label = match (&disk.table, volume.role) {
                (Table::Gpt(gpt), Role::Partition { number }) => {
                    let entry = gpt.partitions.iter().find(|entry| entry.number == number);
                    entry.map(|entry| entry.name.clone()).filter(|name| !name.is_empty())
                }
                _ => None,
            };
            Names {
                uuid: file_system.and_then(|fs| fs.uuid.clone()),
                label: file_system.and_then(|fs| fs.label.clone()),
                partition_uuid: partition_id(&disk.table, volume.role),
                partition_label: label,
            }
        })
        .collect()
}
