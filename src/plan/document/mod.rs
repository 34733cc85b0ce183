//! A deploy's choices as a file: written for a person to edit, read with an error that names line and column.

mod export;
mod locate;

pub use export::export;

use super::deploy::DeployOptions;
use crate::schema::{
    DEPLOY_SCHEMA_FORMAT, DeploySchema, Destination, Disk, DiskChoice, Keep, ParseWishError, PartitionChoice,
    PartitionWish, Role, StandardChoice,
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
pub fn read_choices(text: &str, image: &str, disks: &[Disk]) -> Result<Choices, SchemaFault> {
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
    judge(&schema, image, disks).and_then(|()| choices(schema)).map_err(|(path, what)| {
        let (line, column) = locate(text, &path);
        SchemaFault { line, column, what }
    })
}

/// The place of the value that chooses something about a volume, for refusals that come from the plan.
#[must_use]
pub fn place_of_volume(text: &str, volume: &str) -> Option<(usize, usize)> {
    let schema: DeploySchema = serde_json::from_str(text).ok()?;
    for (d, disk) in schema.disks.iter().enumerate() {
        if let Some(p) = disk.partitions.iter().position(|partition| partition.volume == volume) {
            let size = if disk.partitions.get(p)?.size.is_some() { "size" } else { "volume" };
            return Some(locate(
                text,
                &[
                    Step::Key("disks"),
                    Step::Index(d),
                    Step::Key("partitions"),
                    Step::Index(p),
                    Step::Key(size),
                ],
            ));
        }
    }
    None
}

type Misplaced = (Vec<Step>, String);

fn judge(schema: &DeploySchema, image: &str, disks: &[Disk]) -> Result<(), Misplaced> {
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

fn choices(schema: DeploySchema) -> Result<Choices, Misplaced> {
    let mut options = DeployOptions {
        layout: schema.layout,
        free_space: schema.free_space,
        expand: schema.expand,
        wishes: Vec::new(),
        keep: Keep::Nothing,
        without: Vec::new(),
        standard: StandardChoice { volume: schema.volume, firmware: schema.firmware },
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
    Ok(Choices { options, destinations, keep })
}
