//! An inspection as a table for people.

use super::Inspection;
use crate::partition::kinds::PartitionType;
use crate::schema::{Content, Disk, LogicalVolume, Mapping, MbrRole, Role, Table, Volume, VolumeGroup};
use crate::units::format_size;
use std::fmt::Write as _;

const HEADINGS: [&str; 11] =
    ["NO", "START", "SIZE", "TYPE", "NAME", "CONTENT", "LABEL", "UUID", "USED", "MINIMUM", "STATE"];

/// One line of the table, as many cells as there are headings.
type Row = [String; 11];

/// The disks, their volumes and what is to be said about them, as text that ends in a line end.
#[must_use]
pub fn table_text(inspections: &[Inspection]) -> String {
    let mut text = String::new();
    for (position, inspection) in inspections.iter().enumerate() {
        if position > 0 {
            text.push('\n');
        }
        disk_text(&mut text, inspection);
    }
    text
}

fn disk_text(text: &mut String, inspection: &Inspection) {
    let disk = &inspection.disk;
    let _ = writeln!(text, "Disk {}: {}", disk.number, heading(disk));
    let _ = writeln!(text, "{}", table_line(&disk.table));
    let rows = rows(disk);
    if !rows.is_empty() {
        text.push('\n');
        rows_text(text, &rows);
    }
    let sentences = sentences(inspection);
    if !sentences.is_empty() {
        text.push('\n');
    }
    for sentence in sentences {
        let _ = writeln!(text, "{sentence}");
    }
}

/// Volume groups and their logical volumes, as text that ends in a line end where there are any.
#[must_use]
pub fn groups_text(groups: &[VolumeGroup]) -> String {
    let mut text = String::new();
    for group in groups {
        let extents =
            group.physical_volumes.iter().map(|physical| physical.extents).fold(0, u64::saturating_add);
        let members: Vec<&str> =
            group.physical_volumes.iter().map(|physical| physical.volume.as_str()).collect();
        let _ = writeln!(
            text,
            "\nVolume group {}: {}, {} in extents of {} on {}",
            group.number,
            group.name,
            format_size(extents.saturating_mul(group.extent_bytes)),
            format_size(group.extent_bytes),
            members.join(", ")
        );
        let rows: Vec<Row> = group.logical_volumes.iter().map(logical_row).collect();
        if !rows.is_empty() {
            text.push('\n');
            rows_text(&mut text, &rows);
        }
        for volume in group.volumes() {
            for finding in volume.content.file_system().map(|found| &found.findings).into_iter().flatten() {
                let _ = writeln!(text, "{}: {}", volume.name, printable(finding));
            }
        }
    }
    text
}

fn logical_row(logical: &LogicalVolume) -> Row {
    let kind = match logical.mapping {
        Mapping::Linear => "linear",
        Mapping::Striped => "striped",
        Mapping::Mirrored => "mirrored",
        Mapping::Kernel => "mapped by the kernel",
    };
    let size = format_size(logical.volume.size_bytes);
    let front = [logical.volume.name.clone(), String::new(), size, kind.to_owned(), logical.name.clone()];
    row(front, &logical.volume)
}

/// Size, sectors and what the device says about itself.
fn heading(disk: &Disk) -> String {
    let mut parts = vec![format!("{} ({} bytes)", format_size(disk.size_bytes), disk.size_bytes)];
    let (logical, physical) = (disk.logical_sector_bytes, disk.physical_sector_bytes);
    parts.push(match logical == physical {
        true => format!("sectors of {logical} bytes"),
        false => format!("sectors of {logical} bytes on {physical}"),
    });
    parts.extend(disk.model.as_deref().map(printable));
    parts.extend(disk.serial.as_deref().map(|serial| format!("serial {}", printable(serial))));
    parts.extend(disk.wwn.as_deref().map(|wwn| format!("WWN {}", printable(wwn))));
    parts.join(", ")
}

fn table_line(table: &Table) -> String {
    match table {
        Table::Gpt(gpt) => format!("GPT, disk GUID {}, {} entries", gpt.disk_guid, gpt.entry_count),
        Table::Mbr(mbr) => format!("MBR, disk signature {:08x}", mbr.disk_signature),
        Table::None => "No partition table".to_owned(),
    }
}

/// One row for each volume and each extended partition, in disk order.
fn rows(disk: &Disk) -> Vec<Row> {
    let mut rows: Vec<(u64, Row)> =
        disk.volumes.iter().map(|volume| (volume.start_bytes, volume_row(disk, volume))).collect();
    if let Table::Mbr(mbr) = &disk.table {
        let unit = disk.logical_sector_bytes.bytes();
        for container in mbr.partitions.iter().filter(|p| p.role == MbrRole::Extended) {
            let start = container.first_lba.0.saturating_mul(unit);
            let mut row = Row::default();
            let cells = [
                container.number.to_string(),
                format_size(start),
                format_size(container.sectors.saturating_mul(unit)),
                PartitionType::Mbr(container.type_code).to_string(),
            ];
            for (cell, value) in row.iter_mut().zip(cells) {
                *cell = value;
            }
            rows.push((start, row));
        }
    }
    rows.sort_by_key(|(start, _)| *start);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn volume_row(disk: &Disk, volume: &Volume) -> Row {
    let (number, (type_name, name)) = match volume.role {
        Role::Partition { number } => (number.to_string(), type_and_name(&disk.table, number)),
        Role::BootArea => ("boot".to_owned(), ("boot area".to_owned(), String::new())),
        Role::WholeDisk => ("disk".to_owned(), ("whole disk".to_owned(), String::new())),
        Role::Logical { number, .. } => (number.to_string(), (String::new(), String::new())),
    };
    row([number, format_size(volume.start_bytes), format_size(volume.size_bytes), type_name, name], volume)
}

/// A row with what a volume holds, behind what is said of it in front.
fn row([number, start, size, type_name, name]: [String; 5], volume: &Volume) -> Row {
    let Some(file_system) = volume.content.file_system() else {
        let content = if volume.content == Content::LeftOut { "left out" } else { "raw" };
        let empty = String::new;
        let content = content.to_owned();
        return [number, start, size, type_name, name, content, empty(), empty(), empty(), empty(), empty()];
    };
    [
        number,
        start,
        size,
        type_name,
        name,
        match volume.content {
            Content::Raw { .. } => format!("{} (raw)", file_system.kind),
            _ => file_system.kind.to_string(),
        },
        file_system.label.as_deref().map(printable).unwrap_or_default(),
        file_system.uuid.as_deref().map(printable).unwrap_or_default(),
        file_system.used_bytes.map(format_size).unwrap_or_default(),
        format_size(file_system.minimum_bytes),
        file_system.state.to_string(),
    ]
}

fn type_and_name(table: &Table, number: u32) -> (String, String) {
    let found = match table {
        Table::Gpt(gpt) => gpt
            .partitions
            .iter()
            .find(|p| p.number == number)
            .map(|p| (PartitionType::Gpt(p.type_guid).to_string(), printable(&p.name))),
        Table::Mbr(mbr) => mbr.partitions.iter().find(|p| p.number == number).map(|p| {
            let active = if p.status == 0x80 { " (active)" } else { "" };
            (format!("{}{active}", PartitionType::Mbr(p.type_code)), String::new())
        }),
        Table::None => None,
    };
    found.unwrap_or_default()
}

/// Text from a disk, fit for a terminal: control characters are shown, not obeyed.
fn printable(text: &str) -> String {
    text.trim_end().chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The rows under their headings; a column that is empty in every row is left out.
fn rows_text(text: &mut String, rows: &[Row]) {
    let headings: Row = HEADINGS.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&headings).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let is_filled =
        |column: &usize| rows.iter().any(|row| row.get(*column).is_some_and(|cell| !cell.is_empty()));
    let columns: Vec<(usize, usize)> =
        (0..HEADINGS.len()).filter(is_filled).map(|column| (column, width(column))).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::from("  ");
        for (column, width) in &columns {
            let cell = row.get(*column).map_or("", String::as_str);
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// Everything that is to be said below the table.
fn sentences(inspection: &Inspection) -> Vec<String> {
    let mut sentences: Vec<String> = inspection
        .findings
        .iter()
        .map(|finding| match inspection.refusals.contains(finding) {
            true => format!("Refused: {finding}"),
            false => format!("Note: {finding}"),
        })
        .collect();
    for volume in &inspection.disk.volumes {
        let findings = volume.content.file_system().map(|file_system| file_system.findings.as_slice());
        for finding in findings.unwrap_or_default() {
            sentences.push(format!("{}: {}", volume.name, printable(finding)));
        }
    }
    sentences
}
