//! A deploy's choices as a file: written for a person to edit, read with an error that names line and column.

mod export;
mod locate;

pub use export::export;

use super::captured::Captured;
use super::deploy::DeployOptions;
use super::shrinking::Shrinking;
use crate::schema::{
    BootLoaderChoice, DEPLOY_SCHEMA_FORMAT, DeploySchema, Destination, Disk, DiskChoice, Keep, LogicalChoice,
    ParseWishError, PartitionChoice, PartitionWish, Role, StandardChoice, VolumeGroup,
};
use crate::units::u64_from;
use locate::{Step, locate};
use std::collections::BTreeSet;

/// No file of choices is larger.
const MOST_BYTES: u64 = 16 << 20;

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// Options of the deploy. What is kept is in [`Choices::keep`], because the targets are not known yet.
    pub options: DeployOptions,
    /// Disks of the machine, each with the number of the image's disk that it receives.
    pub destinations: Vec<(u32, Destination)>,
    /// Partitions that stay, by the number of the image's disk and their own.
    pub keep: Vec<(u32, u32)>,
}

/// A file that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {what}")]
pub struct SchemaFault {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong there, and what is allowed: a sentence.
    pub what: String,
}

/// Reads a file for an image.
///
/// # Errors
/// A [`SchemaFault`] with the place of the first thing that is wrong.
pub fn read_choices<'a>(
    text: &str,
    image: &str,
    captured: impl Into<Captured<'a>>,
) -> Result<Choices, SchemaFault> {
    let captured: Captured<'_> = captured.into();
    if u64_from(text.len()) > MOST_BYTES {
        let what = format!("a schema of {} bytes; at most {MOST_BYTES} are read", text.len());
        return Err(SchemaFault { line: 1, column: 1, what });
    }
    let schema: DeploySchema = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = error.to_string();
        let place = format!(" at line {line} column {column}");
        SchemaFault { line, column, what: what.trim_end_matches(place.as_str()).to_owned() }
    })?;
    judge(&schema, image, captured).and_then(|()| choices(schema)).map_err(|(path, what)| {
        let (line, column) = locate(text, &path);
        SchemaFault { line, column, what }
    })
}

/// The place of the value that chooses something about a volume, for refusals that come from the plan.
#[must_use]
pub fn place_of_volume(text: &str, volume: &str) -> Option<(usize, usize)> {
    let schema: DeploySchema = serde_json::from_str(text).ok()?;
    let of_disks = schema.disks.iter().enumerate().flat_map(|(index, disk)| {
        let choices = disk.partitions.iter().enumerate();
        choices.map(move |(p, choice)| (("disks", index), ("partitions", p), &choice.volume, &choice.size))
    });
    let of_groups = schema.volume_groups.iter().enumerate().flat_map(|(index, group)| {
        let choices = group.volumes.iter().enumerate();
        choices
            .map(move |(p, choice)| (("volume_groups", index), ("volumes", p), &choice.volume, &choice.size))
    });
    let mut all = of_disks.chain(of_groups);
    let (outer, inner, _, size) = all.find(|(_, _, name, _)| *name == volume)?;
    let key = if size.is_some() { "size" } else { "volume" };
    let steps =
        [Step::Key(outer.0), Step::Index(outer.1), Step::Key(inner.0), Step::Index(inner.1), Step::Key(key)];
    Some(locate(text, &steps))
}

type Misplaced = (Vec<Step>, String);

fn judge(schema: &DeploySchema, image: &str, captured: Captured<'_>) -> Result<(), Misplaced> {
    let disks = captured.disks;
    if schema.format != DEPLOY_SCHEMA_FORMAT {
        let what =
            format!("format {} is not known; this program reads {DEPLOY_SCHEMA_FORMAT}", schema.format);
        return Err((vec![Step::Key("format")], what));
    }
    if schema.image != image {
        let what = format!("this file is for the image {}, not for {image}; export one for it", schema.image);
        return Err((vec![Step::Key("image")], what));
    }
    let mut seen = BTreeSet::new();
    for (index, choice) in schema.disks.iter().enumerate() {
        let at = |key| vec![Step::Key("disks"), Step::Index(index), Step::Key(key)];
        let numbers = disks.iter().map(|disk| disk.number.to_string()).collect::<Vec<_>>().join(", ");
        let Some(disk) = disks.iter().find(|disk| disk.number == choice.disk) else {
            return Err((at("disk"), format!("the image has no disk {}; it has {numbers}", choice.disk)));
        };
        if !seen.insert(choice.disk) {
            return Err((at("disk"), format!("disk {} is there twice; leave one out", choice.disk)));
        }
        if choice.keep.contains(&0) {
            return Err((at("keep"), "partitions are counted from 1".to_owned()));
        }
        judge_partitions(choice, disk, index)?;
    }
    judge_groups(schema, captured.groups)?;
    if schema.keep_boot_entries && schema.boot_first {
        let what = "the boot entries stay as they are (keep_boot_entries), and boot_first beside that would not count; \
                    leave one of them out";
        return Err((vec![Step::Key("boot_first")], what.to_owned()));
    }
    match disks.iter().find(|disk| !seen.contains(&disk.number)) {
        None => Ok(()),
        Some(disk) => {
            let what = format!(
                "nothing is said about disk {}; to leave it out, write \"deploy\": false",
                disk.number
            );
            Err((vec![Step::Key("disks")], what))
        }
    }
}

fn judge_partitions(choice: &DiskChoice, disk: &Disk, index: usize) -> Result<(), Misplaced> {
    let list = || vec![Step::Key("disks"), Step::Index(index), Step::Key("partitions")];
    let names: Vec<&str> =
        disk.volumes.iter().filter(|v| v.role != Role::BootArea).map(|volume| volume.name.as_str()).collect();
    let mut seen = BTreeSet::new();
    for (position, PartitionChoice { volume, .. }) in choice.partitions.iter().enumerate() {
        let at = || [list(), vec![Step::Index(position), Step::Key("volume")]].concat();
        if !names.contains(&volume.as_str()) {
            let what =
                format!("disk {} has no volume \"{volume}\"; it has {}", disk.number, names.join(", "));
            return Err((at(), what));
        }
        if !seen.insert(volume.as_str()) {
            return Err((at(), format!("{volume} is there twice; leave one out")));
        }
    }
    match names.iter().find(|name| choice.deploy && !seen.contains(**name)) {
        None => Ok(()),
        Some(name) => {
            Err((list(), format!("nothing is said about {name}; to leave it out, write \"deploy\": false")))
        }
    }
}

/// What is said of logical volumes is said once, of those that the image has.
fn judge_groups(schema: &DeploySchema, groups: &[VolumeGroup]) -> Result<(), Misplaced> {
    let mut seen = BTreeSet::new();
    for (index, choice) in schema.volume_groups.iter().enumerate() {
        let at = |steps: &[Step]| [&[Step::Key("volume_groups"), Step::Index(index)][..], steps].concat();
        let Some(group) = groups.iter().find(|group| group.number == choice.group) else {
            let what = format!("the image has no volume group {}; leave it out", choice.group);
            return Err((at(&[Step::Key("group")]), what));
        };
        let names: Vec<&str> = group.volumes().map(|volume| volume.name.as_str()).collect();
        for (position, LogicalChoice { volume, .. }) in choice.volumes.iter().enumerate() {
            let place = || at(&[Step::Key("volumes"), Step::Index(position), Step::Key("volume")]);
            if !names.contains(&volume.as_str()) {
                let (group, has) = (group.number, names.join(", "));
                return Err((
                    place(),
                    format!("volume group {group} has no volume \"{volume}\"; it has {has}"),
                ));
            }
            if !seen.insert(volume.as_str()) {
                return Err((place(), format!("{volume} is there twice; leave one out")));
            }
        }
    }
    Ok(())
}

fn choices(schema: DeploySchema) -> Result<Choices, Misplaced> {
    let mut options = DeployOptions {
        layout: schema.layout,
        free_space: schema.free_space,
        expand: schema.expand,
        shrinking: Shrinking::of(schema.shrink, schema.shrink_lvm),
        wishes: Vec::new(),
        keep: Keep::Nothing,
        without: Vec::new(),
        standard: StandardChoice { volume: schema.volume, firmware: schema.firmware },
        new_ids: schema.new_ids,
        keep_boot_entries: schema.keep_boot_entries,
        boot_first: schema.boot_first,
        computer_name: None,
        answers: Vec::new(),
        empty_page_files: false,
        boot_drivers: Vec::new(),
        new_ssh_host_keys: false,
        boot_loader: BootLoaderChoice::Auto,
        copies: Vec::new(),
        scripts: Vec::new(),
        started_by: None,
        seed: None,
    };
    let (mut destinations, mut keep) = (Vec::new(), Vec::new());
    for (index, disk) in schema.disks.into_iter().enumerate() {
        if !disk.deploy {
            options.without.push(format!("d{}", disk.disk));
            continue;
        }
        destinations.extend(disk.targets.into_iter().map(|target| (disk.disk, target)));
        keep.extend(disk.keep.into_iter().map(|number| (disk.disk, number)));
        for (position, PartitionChoice { volume, deploy, size, .. }) in
            disk.partitions.into_iter().enumerate()
        {
            if !deploy {
                options.without.push(volume);
            } else if let Some(size) = size {
                let size = size.parse().map_err(|error: ParseWishError| {
                    let partition = [Step::Key("partitions"), Step::Index(position), Step::Key("size")];
                    ([&[Step::Key("disks"), Step::Index(index)][..], &partition].concat(), error.to_string())
                })?;
                options.wishes.push(PartitionWish { volume, size });
            }
        }
    }
    for (index, group) in schema.volume_groups.into_iter().enumerate() {
        for (position, LogicalChoice { volume, deploy, size, .. }) in group.volumes.into_iter().enumerate() {
            if !deploy {
                options.without.push(volume);
                continue;
            }
            let Some(size) = size else { continue };
            let size = size.parse().map_err(|error: ParseWishError| {
                let steps = [Step::Key("volumes"), Step::Index(position), Step::Key("size")];
                ([&[Step::Key("volume_groups"), Step::Index(index)][..], &steps].concat(), error.to_string())
            })?;
            options.wishes.push(PartitionWish { volume, size });
        }
    }
    Ok(Choices { options, destinations, keep })
}
