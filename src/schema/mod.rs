//! The contract with the server, data only: what disks hold, and what a person may choose about them.
//!
//! A manifest is made of these types ([`Disk`] and below), a profile of the options in [`options`].
//! Everything here leads to a write one day, so unknown fields are denied.

mod answer;
mod boot_driver;
mod copy;
mod disk;
mod document;
mod file_system;
mod group;
mod keep;
mod multicast;
mod options;
mod profile;
mod script;
mod table;
mod wish;

pub use answer::{Answer, AnswerFault};
pub use boot_driver::{BootDriver, BootDriverFault};
pub use copy::{
    ArtefactId, CopyFault, CopyKind, FileCopy, FileMode, MOST_PARTS, Owner, ParseArtefactIdError,
    ParseRightsError, UNFINISHED, is_unfinished,
};
pub use disk::{Content, Disk, Role, Volume};
pub use document::{
    DEPLOY_SCHEMA_FORMAT, DeploySchema, Destination, DiskChoice, GroupChoice, LogicalChoice, NamedTarget,
    PartitionChoice,
};
pub use file_system::{FileSystem, FileSystemKind, State};
pub use group::{
    LogicalVolume, Mapping, PhysicalVolume, Segment, Stripe, VolumeGroup, is_lvm_name, is_lvm_uuid,
    is_lvm_word,
};
pub use keep::{ChosenPlace, ChosenVolume, Keep, KeptPartition, ParseKeepError};
pub use multicast::Multicast;
pub use options::{
    BootLoaderChoice, Compression, Firmware, FreeSpace, Layout, OnReadError, ParseCompressionError,
    StandardChoice, WhenDirty,
};
pub use profile::{
    CaptureChoices, Completion, DeployChoices, MachineEnd, NetworkBoot, Profile, TrustedTable,
};
pub use script::{DeployScript, SCRIPT_LIMIT_SECONDS, ScriptTime};
pub use table::{Gpt, GptPartition, Mbr, MbrPartition, MbrRole, Table};
pub use wish::{ParseWishError, PartitionWish, WantedSize};
