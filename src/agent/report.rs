//! What a person or a script wants to know, as text and as JSON.

use super::disks::{Inspected, InspectedDisk};
use super::images::ImageSummary;
use crate::image::Manifest;
use crate::inspect::{DiskView, Inspection, groups_text, table_text, view_disk};
use crate::machine::MachineDisk;
use crate::schema::VolumeGroup;
use crate::units::format_size;
use serde::Serialize;

/// What `remint inspect --json` prints: `docs/schema/inspect.schema.json`.
#[derive(Debug, Serialize)]
pub struct InspectionJson<'a> {
    disks: Vec<InspectedDiskJson<'a>>,
    /// The volume groups on them.
    volume_groups: Vec<&'a VolumeGroup>,
}

#[derive(Debug, Serialize)]
struct InspectedDiskJson<'a> {
    /// The device or file, and who holds it.
    machine: &'a MachineDisk,
    /// What it holds.
    #[serde(flatten)]
    held: DiskView<'a>,
}

/// Inspected disks for a script.
#[must_use]
pub fn inspection_json(inspected: &Inspected) -> InspectionJson<'_> {
    let disks = inspected.disks.iter();
    let disks =
        disks.map(|disk| InspectedDiskJson { machine: &disk.machine, held: view_disk(&disk.inspection) });
    let volume_groups = inspected.groups.iter().map(|found| &found.group).collect();
    InspectionJson { disks: disks.collect(), volume_groups }
}

/// Inspected disks for a person.
#[must_use]
pub fn inspection_text(inspected: &Inspected) -> String {
    let mut text = inspected.disks.iter().map(disk_text).collect::<Vec<_>>().join("\n");
    let groups: Vec<VolumeGroup> = inspected.groups.iter().map(|found| found.group.clone()).collect();
    text.push_str(&groups_text(&groups));
    for problem in inspected.groups.iter().flat_map(|found| found.problems.iter().flatten()) {
        text.push_str(&format!("Note: {problem}\n"));
    }
    text
}

fn disk_text(disk: &InspectedDisk) -> String {
    let machine = &disk.machine;
    let mut facts = vec![machine.transport.clone().unwrap_or_else(|| "unknown transport".to_owned())];
    let marks = [
        (machine.removable, "removable"),
        (machine.read_only, "read-only"),
        (machine.boot_medium, "this system was started from it"),
    ];
    facts.extend(marks.iter().filter(|(holds, _)| *holds).map(|(_, mark)| (*mark).to_owned()));
    let mut text = format!("{} ({})\n", machine.path, facts.join(", "));
    for holder in &machine.holders {
        text.push_str(&format!("in use: {holder}\n"));
    }
    text.push_str(&table_text(std::slice::from_ref(&disk.inspection)));
    text
}

/// A manifest for a person.
#[must_use]
pub fn manifest_text(manifest: &Manifest) -> String {
    let mut text = format!(
        "{}@{}, captured {} by {} {}\n",
        manifest.image, manifest.version, manifest.created, manifest.program, manifest.program_version
    );
    if let Some(comment) = &manifest.comment {
        text.push_str(&format!("{comment}\n"));
    }
    if manifest.schema_only {
        text.push_str("A schema without data: `plan` works with it, `deploy` refuses it.\n");
    }
    let fixed: Vec<&str> =
        manifest.volumes().filter(|volume| volume.fixed).map(|volume| volume.name.as_str()).collect();
    if !fixed.is_empty() {
        text.push_str(&format!("Keep their size in every layout: {}.\n", fixed.join(", ")));
    }
    let inspections: Vec<Inspection> = manifest.disks.iter().cloned().map(Inspection::of_captured).collect();
    text.push('\n');
    text.push_str(&table_text(&inspections));
    text.push_str(&groups_text(&manifest.volume_groups));
    for stored in &manifest.stored {
        for range in &stored.bad_ranges {
            text.push_str(&format!("\n{}: {range} could not be read and are zeros\n", stored.volume));
        }
    }
    text
}

/// A listing for a person.
#[must_use]
pub fn listing_text(images: &[ImageSummary]) -> String {
    if images.is_empty() {
        return "no images\n".to_owned();
    }
    let headings = ["IMAGE", "VERSION", "DISKS", "DISK SIZE", "USED", "ADDED", "COMMENT"].map(str::to_owned);
    let rows = images.iter().map(|image| {
        [
            image.image.clone(),
            image.version.clone(),
            image.disks.to_string(),
            format_size(image.disk_bytes),
            format_size(image.used_bytes),
            if image.schema_only { "schema only".to_owned() } else { format_size(image.stored_bytes) },
            image.comment.clone().unwrap_or_default(),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(headings).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let line = |row: &[String; 7]| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
