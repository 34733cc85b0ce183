//! The choices of a deploy, written down for a person to edit.

use crate::machine::{DiskKind, MachineDisk};
use crate::plan::captured::Captured;
use crate::plan::deploy::DeployOptions;
use crate::plan::group;
use crate::plan::keep::Target;
use crate::plan::layout;
use crate::plan::refusal::Refusal;
use crate::plan::shrinking::{self, Shrinking};
use crate::plan::sizing::Sizing;
use crate::plan::{capture, choice};
use crate::schema::{
    DEPLOY_SCHEMA_FORMAT, DeploySchema, Destination, Disk, DiskChoice, GroupChoice, Layout, LogicalChoice,
    LogicalVolume, PartitionChoice, Role, Table, VolumeGroup, WantedSize,
};
use crate::units::format_size;

/// Where the description of the format stands.
const JSON_SCHEMA: &str = "docs/schema/deploy.schema.json";

/// Writes down what `options` choose about deploying an image, every size said: those that a person wants, and those
/// that the rules of the layout dynamic would give.
///
/// # Errors
/// [`Refusal::Unsound`] where the image contradicts itself.
pub fn export<'a>(
    image: &str,
    captured: impl Into<Captured<'a>>,
    targets: &[Target],
    options: &DeployOptions,
) -> Result<DeploySchema, Refusal> {
    let unshrunk = shrinking::unshrunk(captured.into(), options.shrinking);
    let captured = unshrunk.as_captured();
    let groups: Vec<VolumeGroup> =
        captured.groups.iter().map(|found| group::without(found, &options.without)).collect();
    let disks = group::with_minimums(Captured { groups: &groups, ..captured }, options)?;
    let disks = disks.as_slice();
    let without = choice::disks_left_out(disks, options)?;
    let disk_choice = |disk: &Disk| {
        let mine = targets.iter().filter(|target| target.number == disk.number);
        Ok(DiskChoice {
            disk: disk.number,
            about: Some(about_disk(disk)),
            deploy: !without.contains(&disk.number),
            targets: mine.map(|target| destination(&target.disk)).collect(),
            keep: Vec::new(),
            partitions: partitions(disk, options)?,
        })
    };
    Ok(DeploySchema {
        json_schema: Some(JSON_SCHEMA.to_owned()),
        format: DEPLOY_SCHEMA_FORMAT,
        image: image.to_owned(),
        layout: match options.layout {
            Layout::Original => Layout::Original,
            Layout::Script => Layout::Script,
            Layout::Dynamic | Layout::Custom => Layout::Custom,
            Layout::Standard => Layout::Standard,
        },
        volume: options.standard.volume.clone(),
        firmware: options.standard.firmware,
        free_space: options.free_space,
        expand: options.expand,
        shrink: options.shrinking != Shrinking::None,
        shrink_lvm: options.shrinking != Shrinking::NotLogical,
        new_ids: options.new_ids,
        keep_boot_entries: options.keep_boot_entries,
        boot_first: options.boot_first,
        disks: disks.iter().map(disk_choice).collect::<Result<_, Refusal>>()?,
        volume_groups: captured
            .groups
            .iter()
            .map(|found| group_choice(found, options))
            .collect::<Result<_, Refusal>>()?,
    })
}

fn group_choice(found: &VolumeGroup, options: &DeployOptions) -> Result<GroupChoice, Refusal> {
    let choice = |logical: &LogicalVolume| {
        let volume = &logical.volume;
        let sizing = group::sizing_of(logical, options)?;
        let about = vec![
            capture::describe(&volume.content),
            format!("in {}", format_size(volume.size_bytes)),
            format!("\"{}\"", logical.name),
        ];
        let (size, about) = size_and_about(&volume.name, sizing, about, options);
        let deploy = !options.without.contains(&volume.name);
        Ok(LogicalChoice { volume: volume.name.clone(), about: Some(about), deploy, size })
    };
    let extent = format_size(found.extent_bytes);
    Ok(GroupChoice {
        group: found.number,
        about: Some(format!("\"{}\", in extents of {extent}", found.name)),
        volumes: found.logical_volumes.iter().map(choice).collect::<Result<_, Refusal>>()?,
    })
}

/// The size that is wanted, or that the rules give, and what is to be said about a volume.
fn size_and_about(
    volume: &str,
    sizing: Sizing,
    mut about: Vec<String>,
    options: &DeployOptions,
) -> (Option<String>, String) {
    let wish = options.wishes.iter().find(|wish| wish.volume == volume).map(|wish| wish.size);
    let by_rule = match sizing {
        Sizing::Fixed(_) => WantedSize::Keep,
        Sizing::Shared { .. } | Sizing::Chosen { .. } | Sizing::Part { .. } => WantedSize::Share,
    };
    match sizing {
        Sizing::Fixed(why) => about.push(format!("keeps its size because {why}")),
        Sizing::Shared { minimum_bytes } => about.push(format!("at least {minimum_bytes} bytes")),
        Sizing::Chosen { .. } | Sizing::Part { .. } => {}
    }
    let size = Some(wish.unwrap_or(by_rule).to_string())
        .filter(|_| matches!(options.layout, Layout::Dynamic | Layout::Custom));
    (size, about.join(", "))
}

/// What names a disk for longer than its path does.
fn destination(disk: &MachineDisk) -> Destination {
    match (disk.kind, &disk.wwn, &disk.serial) {
        (DiskKind::Device, Some(wwn), _) => Destination::Wwn(wwn.clone()),
        (DiskKind::Device, None, Some(serial)) => Destination::Serial(serial.clone()),
        _ => Destination::Path(disk.path.clone()),
    }
}

fn about_disk(disk: &Disk) -> String {
    let kind = match &disk.table {
        Table::Gpt(_) => "GPT",
        Table::Mbr(_) => "MBR",
        Table::None => "no table",
    };
    let mut facts = vec![format_size(disk.size_bytes), kind.to_owned()];
    facts.extend(disk.model.clone());
    facts.extend(disk.serial.as_ref().map(|serial| format!("serial number {serial}")));
    facts.extend(disk.wwn.as_ref().map(|wwn| format!("WWN {wwn}")));
    facts.join(", ")
}

fn partitions(disk: &Disk, options: &DeployOptions) -> Result<Vec<PartitionChoice>, Refusal> {
    let pieces = layout::pieces_of(disk)?;
    let volumes = pieces.iter().filter_map(|piece| Some((piece, piece.volume?)));
    let choice = |(piece, volume): (&layout::Piece<'_>, &crate::schema::Volume)| {
        let mut about =
            vec![capture::describe(&volume.content), format!("in {}", format_size(volume.size_bytes))];
        about.extend(name(&disk.table, volume.role));
        let (size, about) = size_and_about(&volume.name, piece.sizing, about, options);
        PartitionChoice {
            volume: volume.name.clone(),
            about: Some(about),
            deploy: !options.without.contains(&volume.name),
            size,
        }
    };
    Ok(volumes.map(choice).collect())
}

/// The name that a GPT gives to a partition.
fn name(table: &Table, role: Role) -> Option<String> {
    let (Table::Gpt(gpt), Role::Partition { number }) = (table, role) else { return None };
    let entry = gpt.partitions.iter().find(|entry| entry.number == number)?;
    (!entry.name.is_empty()).then(|| format!("\"{}\"", entry.name))
}
