//! Which volumes files are copied into, and whether there is room for them.
//!
//! Both are decided before anything is written. What a file system will have free is not known to the byte then: it is
//! estimated from what was captured, with something held back for what the file system itself needs.

use super::captured::Captured;
use super::deploy::{DeployOptions, DeployPlan, Resize, VolumeAction, VolumePlan};
use super::hard_names::HardNames;
use super::refusal::Refusal;
use super::settings::SystemVolume;
use super::step::Step;
use crate::schema::{Content, FileCopy, FileSystem, FileSystemKind};
use crate::units::{MIB, format_size};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Held back of every file system: a part of it for tables that grow with it, and so much of a small one for its journal.
const HELD_BACK_PART: u64 = 32;
const HELD_BACK_SMALL_PART: u64 = 16;
const HELD_BACK_SMALL_BYTES: u64 = 256 * MIB;
/// Where a file system does not say its block size.
const USUAL_BLOCK_BYTES: u64 = 4096;
/// A FAT notes the size of a file in 32 bits.
const MOST_FILE_BYTES_ON_FAT: u64 = 0xFFFF_FFFF;

/// A copy that is wished for, with what was found in its artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WishedCopy {
    /// The wish.
    pub copy: FileCopy,
    /// What the artefact is called, for messages.
    pub name: String,
    /// What it holds.
    pub amount: Amount,
    /// Names in it that not every file system takes.
    pub names: HardNames,
}

/// How much is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Amount {
    /// Plain files.
    pub files: u64,
    /// Folders and links.
    pub others: u64,
    /// What the files hold.
    pub bytes: u64,
    /// What those hold that have a second name, counted once more for each.
    pub linked_bytes: u64,
    /// What the largest of them holds.
    pub largest_bytes: u64,
}

impl Amount {
    /// At most so much of a file system with blocks of this size, in bytes: each file ends within a block, and has a name. Where
    /// a file has one name only, it is there once for each.
    #[must_use]
    pub fn needed_bytes(&self, block_bytes: u64, has_links: bool) -> u64 {
        let blocks = self.files.saturating_add(self.others);
        let again = if has_links { 0 } else { self.linked_bytes };
        self.bytes.saturating_add(again).saturating_add(blocks.saturating_mul(block_bytes))
    }

    /// As in `12 files, 3.40 MiB`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let files = if self.files == 1 { "1 file".to_owned() } else { format!("{} files", self.files) };
        format!("{files}, {}", format_size(self.bytes))
    }
}

/// A script that runs before files are copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WishedScript {
    /// Its name, for messages.
    pub name: String,
    /// The volume that is mounted for it.
    pub volume: Option<String>,
    /// Which it is, for whoever runs it.
    pub number: usize,
    /// True: the deploy fails with it.
    pub fatal: bool,
}

/// What is done to deployed files before everything else, so that the other steps see the files that were copied.
///
/// # Errors
/// Where a volume is not deployed, or not one that files are copied into, or has too little room.
pub(super) fn steps(
    captured: Captured<'_>,
    plan: &DeployPlan,
    options: &DeployOptions,
) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    for script in &options.scripts {
        let on = match &script.volume {
            // On two targets with the same volume it runs for each.
            Some(wanted) => find(captured, plan, wanted)?.into_iter().map(|found| Some(found.on)).collect(),
            None => vec![None],
        };
        steps.extend(on.into_iter().map(|on| {
            let (name, number, fatal) = (script.name.clone(), script.number, script.fatal);
            Step::Script { name, number, on, fatal }
        }));
    }
    let mut needed: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut wished: Vec<&WishedCopy> = options.copies.iter().collect();
    wished.sort_by_key(|wished| wished.copy.priority);
    for wished in wished {
        for found in find(captured, plan, &wished.copy.volume)? {
            let SystemVolume { target, volume, file_system } = &found.on;
            if let Some(reason) = not_taken(wished, *file_system) {
                let (name, volume) = (wished.name.clone(), volume.clone());
                return Err(Refusal::CopyNotTaken { name, volume, reason });
            }
            let all = needed.entry((target.clone(), volume.clone())).or_default();
            *all = all.saturating_add(wished.amount.needed_bytes(found.block_bytes, !is_fat(*file_system)));
            if *all > found.free_bytes {
                let (volume, needed_bytes, free_bytes) = (volume.clone(), *all, found.free_bytes);
                return Err(Refusal::NoRoomForCopies { volume, needed_bytes, free_bytes });
            }
            steps.push(Step::CopyFiles { on: found.on, copy: wished.clone() });
        }
    }
    Ok(steps)
}

/// A volume that files can be copied into.
struct Found {
    on: SystemVolume,
    block_bytes: u64,
    free_bytes: u64,
}

/// The volumes of the plan that a name means: one, or the same one on several targets.
fn find(captured: Captured<'_>, plan: &DeployPlan, wanted: &str) -> Result<Vec<Found>, Refusal> {
    let number: Option<u32> = wanted.parse().ok();
    let of_disks = plan.disks.iter().flat_map(|disk| {
        let target = disk.target.path.as_str();
        disk.volumes.iter().map(move |planned| (target, planned, planned.partition, String::new()))
    });
    let logical = plan.logical_volumes();
    let of_groups =
        logical.iter().map(|logical| (logical.target(plan), logical.planned, None, logical.name()));
    let all: Vec<(&str, &VolumePlan, Option<u32>, String)> = of_disks.chain(of_groups).collect();
    let mut named: Vec<&(&str, &VolumePlan, Option<u32>, String)> =
        all.iter().filter(|(_, planned, ..)| planned.volume == wanted).collect();
    if named.is_empty() {
        let is_it = |partition: &Option<u32>, logical: &String| {
            (partition.is_some() && *partition == number) || (!logical.is_empty() && logical == wanted)
        };
        named = all.iter().filter(|(_, _, partition, logical)| is_it(partition, logical)).collect();
    }
    let mut names: Vec<&str> = named.iter().map(|(_, planned, ..)| planned.volume.as_str()).collect();
    names.dedup();
    if names.len() != 1 {
        let mut volumes: Vec<String> = all.iter().map(|(_, planned, ..)| planned.volume.clone()).collect();
        volumes.dedup();
        return Err(Refusal::NoVolumeForCopies {
            wanted: wanted.to_owned(),
            several: names.len() > 1,
            volumes,
        });
    }
    named.into_iter().map(|(target, planned, ..)| judge(captured, target, planned)).collect()
}

fn judge(captured: Captured<'_>, target: &str, planned: &VolumePlan) -> Result<Found, Refusal> {
    let volume = captured.volumes().find(|volume| volume.name == planned.volume);
    let refused = |reason: String| Refusal::NotForCopies { volume: planned.volume.clone(), reason };
    let content = volume.map_or(&Content::LeftOut, |volume| &volume.content);
    let found = match content {
        Content::FileSystem(found) if planned.action == VolumeAction::Write => found,
        Content::Raw { .. } => {
            return Err(refused(
                "it was captured raw, and what it holds is not looked into; capture it clean, as the file system that it is"
                    .to_owned(),
            ));
        }
        Content::LeftOut => {
            return Err(refused("it was left out of the capture and is empty".to_owned()));
        }
        _ => return Err(refused("it has no file system of its own".to_owned())),
    };
    if !takes_files(found.kind) {
        let reason = format!(
            "{} is not written to; files go into ext2, ext3, ext4, XFS, btrfs, FAT and NTFS",
            found.kind
        );
        return Err(refused(reason));
    }
    if let Some(journal) = found.journal() {
        return Err(refused(format!(
            "its journal is the volume {journal}, and a mount writes to whatever device has the number that it notes for it; leave out what is to be done in this one"
        )));
    }
    Ok(Found {
        on: SystemVolume {
            target: target.to_owned(),
            volume: planned.volume.clone(),
            file_system: found.kind,
        },
        block_bytes: if found.block_size_bytes == 0 { USUAL_BLOCK_BYTES } else { found.block_size_bytes },
        free_bytes: free_bytes(found, planned),
    })
}

const fn is_fat(kind: FileSystemKind) -> bool {
    matches!(kind, FileSystemKind::Fat12 | FileSystemKind::Fat16 | FileSystemKind::Fat32)
}

/// What a file system has against a copy: a clause.
fn not_taken(wished: &WishedCopy, kind: FileSystemKind) -> Option<String> {
    let mut names = wished.names.clone();
    names.note(Path::new(&wished.copy.place()), false);
    let is_windows = is_fat(kind) || kind == FileSystemKind::Ntfs;
    let name = if is_windows { names.on_windows } else { names.on_linux };
    let largest_bytes = wished.amount.largest_bytes;
    name.or_else(|| {
        (is_fat(kind) && largest_bytes > MOST_FILE_BYTES_ON_FAT)
            .then(|| format!("one file has {}, and on {kind} none has 4 GiB", format_size(largest_bytes)))
    })
}

const fn takes_files(kind: FileSystemKind) -> bool {
    use FileSystemKind::{Btrfs, Ext2, Ext3, Ext4, Fat12, Fat16, Fat32, Ntfs, Xfs};
    matches!(kind, Ext2 | Ext3 | Ext4 | Xfs | Btrfs | Fat12 | Fat16 | Fat32 | Ntfs)
}

/// What the file system will have free when it is deployed, with something held back.
fn free_bytes(found: &FileSystem, planned: &VolumePlan) -> u64 {
    let size_bytes = match planned.resize {
        Some(Resize::Grow { to_bytes, .. } | Resize::Shrink { to_bytes, .. }) => to_bytes,
        None => found.size_bytes,
    };
    let small = (size_bytes / HELD_BACK_SMALL_PART).min(HELD_BACK_SMALL_BYTES);
    let held_back = (size_bytes / HELD_BACK_PART).saturating_add(small);
    let used_bytes = found.used_bytes.unwrap_or(found.size_bytes);
    size_bytes.saturating_sub(used_bytes).saturating_sub(held_back)
}
