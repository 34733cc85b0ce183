//! A plan as text that a person can judge: 80 columns, readable without colour.

use super::deploy::{Clearing, DeployPlan, DiskPlan, VolumeAction, VolumePlan};
use super::keep::Stays;
use super::picture::{Cell, bar};
use crate::schema::{Content, Disk, Layout, MbrRole, Role, Table, Volume};
use crate::units::{ByteRange, Lba, SectorSize, format_size};
use std::fmt::Write as _;

/// Width of everything that is printed.
const COLUMNS: usize = 80;
/// Width of the bar of the larger of the two disks.
const BAR_COLUMNS: u64 = 78;
/// A bar is not narrower than this, however small its disk is beside the other one.
const LEAST_BAR_COLUMNS: u64 = 30;

/// Prints a plan for the disks of its image.
#[must_use]
pub fn explain(plan: &DeployPlan, disks: &[Disk]) -> String {
    let mut text = format!("Image {}, version {}\n", plan.image, plan.version);
    for disk_plan in &plan.disks {
        let source = disks.iter().find(|disk| disk.number == disk_plan.source_number);
        text.push('\n');
        explain_disk(disk_plan, source, &mut text);
    }
    text
}

fn explain_disk(plan: &DiskPlan, source: Option<&Disk>, text: &mut String) {
    let target = &plan.target;
    let name = [target.model.as_deref(), target.serial.as_deref().map(str::trim)];
    let name = name.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
    let name = if name.is_empty() { name } else { format!(" ({name})") };
    wrap(text, "", &format!("Disk {} -> {}{name}", plan.source_number, target.path));
    let staying = plan.staying();
    if let Stays::Table { .. } = plan.stays {
        wrap(
            text,
            "  ",
            "Layout: the table of the target stays, and everything outside the partitions below",
        );
    } else {
        wrap(text, "  ", &format!("Layout: {}; {}", method(plan.layout), free_space(plan.free_space)));
    }
    // What a script makes of a disk of another size, only the script knows.
    if plan.layout != Layout::Script && !matches!(plan.stays, Stays::Table { .. }) {
        let minimum = plan.minimum_disk_bytes;
        let minimum = format!("Smallest disk that this fits on: {} ({minimum} bytes)", format_size(minimum));
        wrap(text, "  ", &minimum);
    }
    for line in plan.script_output.iter().flat_map(|output| output.lines()) {
        wrap(text, "  | ", line);
    }
    let before = source.map(|source| {
        let rows = rows(&source.table, source.logical_sector_bytes, source.size_bytes, &captured(source));
        ("before", source.size_bytes, source.logical_sector_bytes, rows)
    });
    let after_rows = source.map_or_else(Vec::new, |source| {
        let contents = planned(plan, source, &staying);
        rows(&plan.table, target.logical_sector_bytes, whole_place(plan), &contents)
    });
    let after = ("after", target.size_bytes, target.logical_sector_bytes, after_rows);
    let scale = plan.source_bytes.max(target.size_bytes);
    for (when, size_bytes, sector, rows) in before.iter().chain([&after]) {
        let _ = writeln!(text, "\n  {when:<6} {} with {sector}-byte sectors", format_size(*size_bytes));
        picture(text, rows, *size_bytes, scale);
    }
    let moved = source.map_or_else(Vec::new, |source| of_new_numbers(plan, source));
    let compared = before.as_ref().map_or(&[][..], |before| &before.3);
    let compared = if plan.layout == Layout::Standard { &moved } else { compared };
    list(text, &after.3, compared, target.logical_sector_bytes);
    text.push('\n');
    for new in &plan.made {
        let name = partition_name(&plan.table, Some(new.partition));
        wrap(text, "  ", &format!("New{name}: {}", new.reason));
    }
    for volume in &plan.volumes {
        let name = partition_name(&plan.table, volume.partition);
        wrap(text, "  ", &format!("{}{name}: {}", volume.volume, volume.reason));
    }
    for (number, place) in staying.iter().filter_map(|number| Some((number, place_of(&after.3, *number)?))) {
        let name = partition_name(&plan.table, Some(*number));
        let size = format_size(place.length());
        wrap(
            text,
            "  ",
            &format!("Partition {number}{name} stays as it is: not a byte of its {size} is written."),
        );
    }
    for warning in &plan.warnings {
        wrap(text, "  ! ", warning);
    }
}

/// What was captured of each volume, under the number that its partition has now.
fn of_new_numbers(plan: &DiskPlan, source: &Disk) -> Vec<Row> {
    let rows = plan.volumes.iter().filter_map(|planned| {
        let volume = source.volumes.iter().find(|volume| volume.name == planned.volume)?;
        let place = ByteRange::at(volume.start_bytes, volume.size_bytes)?;
        Some(Row { number: planned.partition, place, content: content(volume) })
    });
    rows.collect()
}

/// The name that a GPT gives to a partition, in quotes, without what would disturb a terminal.
fn partition_name(table: &Table, number: Option<u32>) -> String {
    let Table::Gpt(gpt) = table else { return String::new() };
    let partition = gpt.partitions.iter().find(|partition| Some(partition.number) == number);
    let printable = |c: char| if c.is_control() { '?' } else { c };
    match partition.map(|partition| partition.name.chars().map(printable).collect::<String>()) {
        Some(name) if !name.is_empty() => format!(" \"{name}\""),
        _ => String::new(),
    }
}

const fn method(layout: Layout) -> &'static str {
    match layout {
        Layout::Original => "original",
        Layout::Dynamic => "dynamic",
        Layout::Custom => "custom",
        Layout::Script => "that of the script",
        Layout::Standard => "standard",
    }
}

const fn free_space(clearing: Clearing) -> &'static str {
    match clearing {
        Clearing::Discard => "the disk is discarded before it is written",
        Clearing::Keep => "free space keeps what stood there",
        Clearing::Zero => "free space is overwritten with zeros",
    }
}

/// A partition, or the volume that fills the disk.
struct Row {
    number: Option<u32>,
    place: ByteRange,
    content: &'static str,
}

impl Row {
    fn name(&self) -> String {
        self.number.map_or_else(|| "-".to_owned(), |number| number.to_string())
    }
}

fn content(volume: &Volume) -> &'static str {
    match &volume.content {
        Content::LeftOut => "left out",
        content => content.file_system().map_or("unknown", |fs| fs.kind.name()),
    }
}

/// The size that the volume of a disk without a table has on the target.
fn whole_place(plan: &DiskPlan) -> u64 {
    plan.volumes.iter().find(|volume| volume.partition.is_none()).map_or(0, |volume| volume.place.end())
}

/// What the partitions of a disk hold; without a number, the volume that fills it.
type Contents = Vec<(Option<u32>, &'static str)>;

/// As the disk was captured.
fn captured(source: &Disk) -> Contents {
    let number = |role| if let Role::Partition { number } = role { Some(number) } else { None };
    let volumes = source.volumes.iter().filter(|volume| volume.role != Role::BootArea);
    volumes.map(|volume| (number(volume.role), content(volume))).collect()
}

/// As the target will be.
fn planned(plan: &DiskPlan, source: &Disk, staying: &[u32]) -> Contents {
    let of = |name: &str| source.volumes.iter().find(|volume| volume.name == name).map_or("unknown", content);
    let volumes = plan.volumes.iter().filter(|volume| is_no_gap(volume));
    let written = volumes.map(|volume| (volume.partition, of(&volume.volume)));
    let made = plan.made.iter().map(|new| (Some(new.partition), new.content.name()));
    let mut contents: Contents =
        written.chain(made).chain(staying.iter().map(|number| (Some(*number), "stays"))).collect();
    if plan.layout == Layout::Script {
        // Behind the others, so that what is written is found first.
        let places = super::keep::places(&plan.table, plan.target.logical_sector_bytes);
        contents.extend(places.into_iter().map(|(number, _)| (Some(number), "empty")));
    }
    contents
}

fn is_no_gap(volume: &VolumePlan) -> bool {
    !matches!(volume.action, VolumeAction::WriteGap { .. })
}

fn place_of(rows: &[Row], number: u32) -> Option<ByteRange> {
    rows.iter().find(|row| row.number == Some(number)).map(|row| row.place)
}

/// What lies on a disk, in disk order; `whole_bytes` is the size of the volume where there is no table.
fn rows(table: &Table, sector: SectorSize, whole_bytes: u64, contents: &Contents) -> Vec<Row> {
    let place = |first: Lba, behind: u64| {
        let byte = |lba| sector.byte_of(Lba(lba)).unwrap_or(u64::MAX);
        ByteRange::new(byte(first.0), byte(behind))
    };
    let row = |number: u32, place: ByteRange| {
        let held = contents.iter().find(|(held, _)| *held == Some(number));
        Row { number: Some(number), place, content: held.map_or("left out", |(_, content)| content) }
    };
    let mut rows: Vec<Row> = match table {
        Table::Gpt(gpt) => gpt
            .partitions
            .iter()
            .map(|p| row(p.number, place(p.first_lba, p.last_lba.0.saturating_add(1))))
            .collect(),
        Table::Mbr(mbr) => mbr
            .partitions
            .iter()
            .filter(|p| p.role != MbrRole::Extended)
            .map(|p| row(p.number, place(p.first_lba, p.first_lba.0.saturating_add(p.sectors))))
            .collect(),
        Table::None => contents
            .iter()
            .map(|(_, content)| Row { number: None, place: ByteRange::new(0, whole_bytes), content })
            .collect(),
    };
    rows.sort_by_key(|row| row.place);
    rows
}

fn picture(text: &mut String, rows: &[Row], size_bytes: u64, scale: u64) {
    let mut cells = Vec::new();
    let mut cursor = 0;
    let free = |cells: &mut Vec<Cell>, bytes: u64| {
        // Less than half a column is alignment, not space.
        if bytes > scale / 160 {
            let names = vec![format!("free {}", format_size(bytes)), "free".to_owned(), ".".to_owned()];
            cells.push(Cell { names, bytes, free: true });
        }
    };
    for row in rows {
        free(&mut cells, row.place.start().saturating_sub(cursor));
        let bytes = row.place.length();
        let (number, content) = (row.name(), row.content);
        let long = format!("{number} {content} {}", format_size(bytes));
        cells.push(Cell { names: vec![long, format!("{number} {content}"), number], bytes, free: false });
        cursor = row.place.end();
    }
    free(&mut cells, size_bytes.saturating_sub(cursor));
    let columns = u128::from(BAR_COLUMNS).saturating_mul(size_bytes.into()).checked_div(scale.into());
    let columns =
        columns.and_then(|columns| u64::try_from(columns).ok()).unwrap_or(BAR_COLUMNS).max(LEAST_BAR_COLUMNS);
    let drawn = bar(&cells, columns).or_else(|| narrowest(&cells, columns));
    match drawn {
        Some(lines) => lines.iter().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        }),
        None if rows.is_empty() => {
            let _ = writeln!(text, "  (no partition)");
        }
        None => {
            let _ = writeln!(text, "  (too many partitions for a picture)");
        }
    }
}

/// The narrowest bar that shows every cell, where there are too many for a bar to scale.
fn narrowest(cells: &[Cell], columns: u64) -> Option<[String; 3]> {
    (columns..=BAR_COLUMNS).find_map(|columns| bar(cells, columns))
}

fn list(text: &mut String, after: &[Row], before: &[Row], sector: SectorSize) {
    if after.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n  {:>4} {:>14} {:>14} {:>10} {:>10}  content",
        "part", "first sector", "last sector", "size", "before"
    );
    for row in after {
        let old = before.iter().find(|old| old.number == row.number).map(|old| old.place.length());
        let last = sector.lba_of(row.place.end()).0.saturating_sub(1);
        let _ = writeln!(
            text,
            "  {:>4} {:>14} {:>14} {:>10} {:>10}  {}",
            row.name(),
            sector.lba_of(row.place.start()).0,
            last,
            format_size(row.place.length()),
            old.map_or_else(|| "-".to_owned(), format_size),
            row.content
        );
    }
}

/// Appends a paragraph, folded at spaces; lines after the first are indented by two more.
fn wrap(text: &mut String, indent: &str, paragraph: &str) {
    let mut line = indent.to_owned();
    let mut empty = true;
    for word in paragraph.split(' ') {
        if !empty && line.chars().count().saturating_add(word.chars().count()).saturating_add(1) > COLUMNS {
            let _ = writeln!(text, "{line}");
            line = " ".repeat(indent.chars().count().saturating_add(2));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(text, "{line}");
}
