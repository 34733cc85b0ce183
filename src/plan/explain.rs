//! A plan as text that a person can judge: 80 columns, readable without colour.

use super::captured::Captured;
use super::captured_names::with_captured_names;
use super::copies::WishedCopy;
use super::deploy::{Clearing, DeployPlan, DiskPlan};
use super::existing_group::ExistingGroup;
use super::group::{GroupPlan, MemberPlan};
use super::keep::Stays;
use super::picture::{Cell, bar, bars};
use super::rows::{self, Change, Row};
use super::step::Step;
use crate::machine::MachineDisk;
use crate::schema::{Disk, Layout, Table, VolumeGroup};
use crate::units::{ByteRange, SectorSize, format_size};
use std::fmt::Write as _;

/// Width of everything that is printed.
const COLUMNS: usize = 80;
/// Width of the bar of the larger of the two disks.
const BAR_COLUMNS: u64 = 78;
/// A bar is not narrower than this, however small its disk is beside the other one.
const LEAST_BAR_COLUMNS: u64 = 30;
/// What is longer changes too little for a long word behind it.
const MOST_CONTENT_COLUMNS: usize = 10;

/// What is said where the firmware's boot entries follow.
const BOOT_ENTRIES: &str = "Boot entries of the firmware: those of captured partitions follow, and one is made where \
                            none starts what is deployed here.";

/// And where that comes first.
const FIRST: &str = " What starts this disk comes first in their order, before the network too.";

/// What is said of new identifiers.
const GOES_BACK: &str = " Where one volume cannot follow, all disks keep the captured identifiers, unless another disk of \
                         the machine has one of them.";

/// Prints a plan for the disks of its image.
#[must_use]
pub fn explain<'a>(plan: &DeployPlan, captured: impl Into<Captured<'a>>) -> String {
    let captured: Captured<'_> = captured.into();
    let disks = captured.disks;
    let mut text = format!("Image {}, version {}\n", plan.image, plan.version);
    if let Some(sentence) = plan.shrinking.sentence() {
        wrap(&mut text, "", sentence);
    }
    let goes_back = with_captured_names(plan).is_ok();
    for disk_plan in &plan.disks {
        let source = disks.iter().find(|disk| Some(disk.number) == disk_plan.source_number);
        text.push('\n');
        explain_disk(disk_plan, source, goes_back, &mut text);
        if let Some(entries) =
            plan.boot_entries.iter().find(|entries| entries.target == disk_plan.target.path)
        {
            let order = if entries.first { FIRST } else { "" };
            wrap(&mut text, "  ", &format!("{BOOT_ENTRIES}{order}"));
        }
    }
    for group in &plan.groups {
        let source = captured.groups.iter().find(|source| source.number == group.group.number);
        text.push('\n');
        explain_group(plan, group, source, &mut text);
    }
    for existing in &plan.existing_groups {
        text.push('\n');
        explain_existing(existing, captured, &mut text);
    }
    for loader in &plan.boot_loaders {
        text.push('\n');
        wrap(&mut text, "", &loader.to_string());
    }
    explain_copies(plan, &mut text);
    for step in &plan.steps {
        if let Step::Settings { settings, .. } = step {
            text.push('\n');
            wrap(&mut text, "", &format!("What the systems on them are told: {}.", settings.explained()));
        }
    }
    text
}

/// What is copied, where to.
fn explain_copies(plan: &DeployPlan, text: &mut String) {
    let copies = plan.steps.iter().filter_map(|step| match step {
        Step::CopyFiles { on, copy } => Some((on, copy)),
        _ => None,
    });
    for (position, (on, WishedCopy { copy, name, amount, .. })) in copies.enumerate() {
        if position == 0 {
            text.push_str("\nFiles that are copied:\n");
        }
        let place = format!("{} of {} ({}, {})", copy.to, on.volume, on.file_system, on.target);
        wrap(text, "  ", &format!("{name}: {} to {place}", amount.sentence()));
    }
}

/// Where the physical volumes of a group lie.
fn members(plan: &DeployPlan, members: &[MemberPlan], group: &VolumeGroup) -> String {
    let members = members.iter().zip(&group.physical_volumes).map(|(member, physical)| {
        let disk = plan.disks.get(member.disk).map_or("", |disk| disk.target.path.as_str());
        format!("{} on {disk}", physical.volume)
    });
    members.collect::<Vec<_>>().join(", ")
}

/// A group that stays, and what is written to its volumes.
fn explain_existing(existing: &ExistingGroup, captured: Captured<'_>, text: &mut String) {
    let group = &existing.group;
    let places: Vec<&str> = group.physical_volumes.iter().map(|physical| physical.volume.as_str()).collect();
    wrap(text, "", &format!("Volume group \"{}\" on the targets: {}", group.name, places.join(", ")));
    wrap(text, "  ", "Its description stays, and everything outside the logical volumes below");
    let rows = rows::existing(existing, captured);
    picture(text, &group_heading("after", group), &rows, group_bytes(group), group_bytes(group));
    text.push('\n');
    for (row, logical) in rows.iter().zip(&group.logical_volumes) {
        let (number, name) = (row.name(), &logical.volume.name);
        let sentence = match existing.volumes.iter().find(|into| into.logical == *name) {
            Some(into) => format!("{number} <- {}: {}", into.planned.volume, into.planned.reason),
            None => {
                let size = format_size(row.place.length());
                format!("{number}: {name} stays as it is: not a byte of its {size} is written.")
            }
        };
        wrap(text, "  ", &sentence);
    }
    for warning in &existing.warnings {
        wrap(text, "  ! ", warning);
    }
}

fn group_bytes(group: &VolumeGroup) -> u64 {
    let extents = group.physical_volumes.iter().map(|physical| physical.extents);
    extents.fold(0, u64::saturating_add).saturating_mul(group.extent_bytes)
}

fn group_heading(when: &str, group: &VolumeGroup) -> String {
    let (size, extent) = (format_size(group_bytes(group)), format_size(group.extent_bytes));
    format!("{when:<6} {size} in extents of {extent}")
}

/// A group as a picture before and after, and what becomes of its volumes.
fn explain_group(plan: &DeployPlan, group: &GroupPlan, source: Option<&VolumeGroup>, text: &mut String) {
    let new = &group.group;
    let left_out = source.into_iter().flat_map(|source| &source.logical_volumes);
    let left_out = left_out.filter(|logical| group.without.contains(&logical.volume.name));
    let members = members(plan, &group.members, new);
    wrap(text, "", &format!("Volume group g{} \"{}\": {members}", new.number, new.name));
    let scale = source.map_or(0, group_bytes).max(group_bytes(new));
    let before = source.map_or_else(Vec::new, |source| rows::logical(source, &[]));
    let after = rows::logical(new, &before);
    if let Some(source) = source {
        picture(text, &group_heading("before", source), &before, group_bytes(source), scale);
    }
    picture(text, &group_heading("after", new), &after, group_bytes(new), scale);
    text.push('\n');
    for (planned, logical) in group.volumes.iter().zip(&new.logical_volumes) {
        wrap(text, "  ", &format!("{} \"{}\": {}", planned.volume, logical.name, planned.reason));
    }
    for logical in left_out {
        let size = format_size(logical.volume.size_bytes);
        wrap(text, "  ", &format!("{} \"{}\", {size}: not deployed.", logical.volume.name, logical.name));
    }
    if let Some(name) = group.new_names.first() {
        let new = format!("New identifiers: the group is {} instead of {}", name.new, name.old);
        wrap(text, "  ", &format!("{new}, and each of its physical and logical volumes has a new UUID."));
    }
    for warning in &group.warnings {
        wrap(text, "  ! ", warning);
    }
}

fn explain_disk(plan: &DiskPlan, source: Option<&Disk>, goes_back: bool, text: &mut String) {
    let target = &plan.target;
    let name = [target.model.as_deref(), target.serial.as_deref().map(str::trim)];
    let name = name.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
    let name = if name.is_empty() { name } else { format!(" ({name})") };
    let from = plan.source_number.map_or_else(|| "Disk".to_owned(), |number| format!("Disk {number} ->"));
    wrap(text, "", &format!("{from} {}{name}", target.path));
    if let Stays::Table { extents, .. } = &plan.stays {
        let written = match (plan.volumes.is_empty(), extents.is_empty()) {
            (true, _) => "logical volumes",
            (false, true) => "partitions",
            (false, false) => "partitions and logical volumes",
        };
        let stays =
            format!("Layout: the table of the target stays, and everything outside the {written} below");
        wrap(text, "  ", &stays);
    } else {
        wrap(text, "  ", &format!("Layout: {}; {}", method(plan.layout), free_space(plan.free_space)));
    }
    // What a script makes of a disk of another size, only the script knows.
    if plan.layout != Layout::Script && !matches!(plan.stays, Stays::Table { .. }) {
        let minimum = plan.minimum_disk_bytes;
        let minimum = format!("Smallest disk that this fits on: {} ({minimum} bytes)", format_size(minimum));
        wrap(text, "  ", &minimum);
    }
    explain_names(plan, goes_back, text);
    for line in plan.script_output.iter().flat_map(|output| output.lines()) {
        wrap(text, "  | ", line);
    }
    let before = source.map_or_else(Vec::new, rows::captured);
    let after = rows::planned(plan, source, &before);
    let missing = source.map_or_else(Vec::new, |source| rows::missing(plan, source, &before));
    let scale = plan.source_bytes.max(target.size_bytes);
    if let Some(source) = source {
        let heading = heading("before", source.size_bytes, source.logical_sector_bytes);
        picture(text, &heading, &before, source.size_bytes, scale);
    }
    let heading = heading("after", target.size_bytes, target.logical_sector_bytes);
    picture(text, &heading, &after, target.size_bytes, scale);
    list(text, &after, &missing, target);
    text.push('\n');
    for new in &plan.made {
        let name = partition_name(&plan.table, Some(new.partition));
        wrap(text, "  ", &format!("New{name}: {}", new.reason));
    }
    for volume in &plan.volumes {
        let name = partition_name(&plan.table, volume.partition);
        wrap(text, "  ", &format!("{}{name}: {}", volume.volume, volume.reason));
    }
    for row in after.iter().filter(|row| row.change == Some(Change::Kept)) {
        let (number, name) = (row.name(), partition_name(&plan.table, row.number));
        let size = format_size(row.place.length());
        let stays = format!("Partition {number}{name} stays as it is: not a byte of its {size} is written.");
        wrap(text, "  ", &stays);
    }
    for warning in &plan.warnings {
        wrap(text, "  ! ", warning);
    }
}

/// Which identifiers are new; with `goes_back` only where all volumes can follow.
fn explain_names(plan: &DiskPlan, goes_back: bool, text: &mut String) {
    let Some(disk) = plan.source_number.map(|number| format!("d{number}")) else { return };
    let (whole, partitions): (Vec<_>, Vec<_>) = plan.new_names.iter().partition(|name| name.of == disk);
    let whole = whole.first().map(|name| format!("the disk is {} instead of {}", name.new, name.old));
    let count = match partitions.len() {
        0 => None,
        1 => Some("1 partition has a new name".to_owned()),
        count => Some(format!("{count} partitions have new names")),
    };
    let all: Vec<String> = whole.into_iter().chain(count).collect();
    if !all.is_empty() {
        let follow = "in fstab, crypttab, GRUB and systemd-boot what names a partition (PARTUUID) follows";
        let unless = if goes_back { GOES_BACK } else { "" };
        wrap(text, "  ", &format!("New identifiers: {}; {follow}.{unless}", all.join(", and ")));
    }
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

fn heading(when: &str, size_bytes: u64, sector: SectorSize) -> String {
    format!("{when:<6} {} with {sector}-byte sectors", format_size(size_bytes))
}

/// Draws a disk or a group to scale, and its cells in several lines where they are too many for one.
fn picture(text: &mut String, heading: &str, rows: &[Row], size_bytes: u64, scale: u64) {
    let columns = u128::from(BAR_COLUMNS).saturating_mul(size_bytes.into()).checked_div(scale.into());
    let columns =
        columns.and_then(|columns| u64::try_from(columns).ok()).unwrap_or(BAR_COLUMNS).max(LEAST_BAR_COLUMNS);
    let mut cells = cells(rows, size_bytes, scale);
    // The narrowest bar that shows every cell with its marks, else one with numbers only.
    let fitting = |cells: &[Cell]| (columns..=BAR_COLUMNS).find_map(|columns| bar(cells, columns));
    let mut drawn = fitting(&cells);
    let is_marked = drawn.is_some();
    if !is_marked {
        cells.iter_mut().for_each(Cell::shorten);
        drawn = fitting(&cells);
    }
    let note = if drawn.is_none() && !rows.is_empty() { ", not to scale" } else { "" };
    let _ = writeln!(text, "\n  {heading}{note}");
    if rows.is_empty() {
        let _ = writeln!(text, "  (no partition)");
        return;
    }
    let bars = drawn.map_or_else(|| bars(&cells, BAR_COLUMNS), |drawn| vec![drawn]);
    for line in bars.iter().flatten() {
        let _ = writeln!(text, "  {line}");
    }
    let legend = rows::legend(rows);
    if !legend.is_empty() && is_marked {
        let _ = writeln!(text, "  {legend}");
    }
}

fn cells(rows: &[Row], size_bytes: u64, scale: u64) -> Vec<Cell> {
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
        let marked = format!("{number}{}", row.change.map(Change::marks).unwrap_or_default());
        let named = format!("{marked} {content}");
        let names = vec![format!("{named} {}", format_size(bytes)), named, marked];
        cells.push(Cell { names, bytes, free: false });
        cursor = row.place.end();
    }
    free(&mut cells, size_bytes.saturating_sub(cursor));
    cells
}

/// What lies where on the target, what became of it, and what did not come.
fn list(text: &mut String, after: &[Row], missing: &[&Row], target: &MachineDisk) {
    if after.is_empty() {
        return;
    }
    text.push('\n');
    let widest = after.iter().chain(missing.iter().copied()).map(|row| row.content.len()).max();
    let width = widest.unwrap_or_default().clamp("content".len(), MOST_CONTENT_COLUMNS);
    let mut line = |cells: [&str; 5], content: &str, change: &str| {
        let [name, first, last, size, before] = cells;
        let line =
            format!("  {name:>4} {first:>12} {last:>12} {size:>8} {before:>8}  {content:<width$}  {change}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line(["part", "first sector", "last sector", "size", "before"], "content", "change");
    let sector = target.logical_sector_bytes;
    let sectors = |place: ByteRange| {
        let last = sector.lba_of(place.end()).0.saturating_sub(1);
        (sector.lba_of(place.start()).0.to_string(), last.to_string(), format_size(place.length()))
    };
    let mut free = rows::free(after, target.size_bytes).into_iter().peekable();
    let mut free_before = |start: u64, line: &mut dyn FnMut([&str; 5], &str, &str)| {
        while let Some(gap) = free.next_if(|gap| gap.start() < start) {
            let (first, last, size) = sectors(gap);
            line(["-", &first, &last, &size, "-"], "free", "");
        }
    };
    for row in after {
        free_before(row.place.start(), &mut line);
        let (first, last, size) = sectors(row.place);
        let before = row.before.map_or_else(|| "-".to_owned(), |before| format_size(before.length()));
        let change = row.change.map_or("", Change::words);
        line([&row.name(), &first, &last, &size, &before], row.content, change);
    }
    free_before(u64::MAX, &mut line);
    for row in missing {
        let before = format_size(row.place.length());
        line([&row.name(), "-", "-", "-", &before], row.content, "not deployed");
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
