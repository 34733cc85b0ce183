//! Decide everything: what to capture and where each volume goes. Pure, checked, explained.
//!
//! A finished plan leaves no choice for the time it is carried out. Of a deploy: [`match_disks`] pairs the
//! image's disks with the machine's, [`deploy`] decides or refuses, [`check`] reads the finished plan once
//! more without the code that made it, [`explain`] prints it.

mod array;
mod boot_entries;
mod boot_loader;
mod btrfs_set;
mod capture;
mod captured;
mod captured_names;
mod check;
mod choice;
mod copies;
mod deploy;
mod destination;
mod document;
mod dynamic_disk;
mod existing;
mod existing_group;
mod explain;
mod group;
mod hard_names;
mod identity;
mod keep;
mod layout;
mod logical;
mod matching;
mod picture;
mod place;
mod refusal;
mod rows;
mod scripted;
mod sectors;
mod seed;
mod settings;
mod sharing;
mod shrinking;
mod sizing;
mod special;
mod standard;
mod standing;
mod step;
mod windows;

pub use boot_entries::BootEntries;
pub use boot_loader::BootLoader;
pub use capture::{
    CaptureOptions, CapturePlan, CaptureRefusal, DiskCapture, DiskFound, GroupCapture, GroupFound, Untrusted,
    capture, describe,
};
pub use captured::Captured;
pub use captured_names::{NoWayBack, captured_ids, way_back, with_captured_names};
pub use check::{Fault, check};
pub use choice::deployed;
pub use copies::{Amount, WishedCopy, WishedScript};
pub use deploy::{
    Clearing, DeployOptions, DeployPlan, DiskPlan, NewContent, NewPartition, Resize, VolumeAction,
    VolumePlan, deploy,
};
pub use destination::{Offered, assign};
pub use document::{Choices, SchemaFault, export, place_of_volume, read_choices};
pub use existing_group::{ExistingGroup, IntoLogical, kept_from_writing};
pub use explain::explain;
pub use group::{GroupPlan, MemberPlan};
pub use hard_names::HardNames;
pub use identity::{NewName, id_in_files, names_for};
pub use keep::{Made, Stays, Target};
pub use logical::PlannedLogical;
pub use matching::match_disks;
pub use refusal::{Part, Refusal, preflight_refusals};
pub use scripted::partitions_for_a_script;
pub use seed::{ParseSeedError, Seed};
pub use settings::{Settings, SystemVolume};
pub use shrinking::Shrinking;
pub use standing::{OtherTarget, Standing, StandingGroup, Targets, pair_targets, places_on};
pub use step::{BootConfiguration, BootFiles, Loader, Names, Step, System};
pub use windows::{MovedPartition, WindowsName};
