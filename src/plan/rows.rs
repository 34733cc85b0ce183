//! What lies on a disk before and after a deploy, and what becomes of each partition.

use super::captured::Captured;
use super::deploy::{DiskPlan, VolumeAction, VolumePlan};
use super::existing_group::ExistingGroup;
use crate::schema::{Content, Disk, Layout, MbrRole, Role, Table, Volume, VolumeGroup};
use crate::units::{ByteRange, Lba, MIB, RangeSet, SectorSize};
use std::cmp::Ordering;

/// Less than this is alignment and boot records, not free space.
const LEAST_FREE_BYTES: u64 = 3 * MIB;

/// A partition, or the volume that fills the disk.
pub(super) struct Row {
    /// Its number; `None` is the volume that fills a disk.
    pub(super) number: Option<u32>,
    /// Its bytes.
    pub(super) place: ByteRange,
    /// What it holds.
    pub(super) content: &'static str,
    /// What it becomes; `None` on the disk that was captured.
    pub(super) change: Option<Change>,
    /// Its place on the disk that was captured.
    pub(super) before: Option<ByteRange>,
}

impl Row {
    /// What it is called in a picture and in a table.
    pub(super) fn name(&self) -> String {
        self.number.map_or_else(|| "-".to_owned(), |number| number.to_string())
    }
}

/// What becomes of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A partition of the target that is not touched.
    Kept,
    /// A partition of the target of which logical volumes are written.
    Partly,
    /// One that the captured disk has not.
    New,
    /// It is written, and compares so with the captured one: its size, and its first byte.
    Written {
        /// Greater where it grows.
        size: Ordering,
        /// Greater where it moves towards the end.
        place: Ordering,
    },
}

impl Change {
    fn between(old: ByteRange, new: ByteRange, sector: SectorSize) -> Self {
        // A whole sector of the target is no change.
        let captured = old.length().checked_next_multiple_of(sector.bytes()).unwrap_or(u64::MAX);
        let size = if new.length() == captured { Ordering::Equal } else { new.length().cmp(&old.length()) };
        Self::Written { size, place: new.start().cmp(&old.start()) }
    }

    /// As few characters as can be, for the picture.
    pub(super) fn marks(self) -> String {
        let (size, place) = match self {
            Self::Kept => return "#".to_owned(),
            Self::Partly => return "~".to_owned(),
            Self::New => return "*".to_owned(),
            Self::Written { size, place } => (size, place),
        };
        let of = |ordering: Ordering, less, greater| match ordering {
            Ordering::Less => less,
            Ordering::Equal => "",
            Ordering::Greater => greater,
        };
        match of(size, "-", "+").to_owned() + of(place, "<", ">") {
            marks if marks.is_empty() => "=".to_owned(),
            marks => marks,
        }
    }

    /// The same in words, for the table.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Partly => "in part",
            Self::New => "new",
            Self::Written { size: Ordering::Equal, place: Ordering::Equal } => "stays",
            Self::Written { size: Ordering::Equal, .. } => "moves",
            Self::Written { size: Ordering::Less, place: Ordering::Equal } => "shrinks",
            Self::Written { size: Ordering::Greater, place: Ordering::Equal } => "grows",
            Self::Written { size: Ordering::Less, .. } => "shrinks, moves",
            Self::Written { size: Ordering::Greater, .. } => "grows, moves",
        }
    }
}

/// What the marks of these rows mean, each that occurs once.
pub(super) fn legend(rows: &[Row]) -> String {
    let marks: String = rows.iter().filter_map(|row| row.change).map(Change::marks).collect();
    let meanings = [
        ('+', "grows"),
        ('-', "shrinks"),
        ('>', "moves to the right"),
        ('<', "moves to the left"),
        ('=', "stays"),
        ('#', "is not touched"),
        ('~', "is written in part"),
        ('*', "is new"),
    ];
    let known = meanings.iter().filter(|(mark, _)| marks.contains(*mark));
    known.map(|(mark, meaning)| format!("{mark} {meaning}")).collect::<Vec<_>>().join("   ")
}

/// As the disk was captured.
pub(super) fn captured(source: &Disk) -> Vec<Row> {
    let of = |number| source.volumes.iter().find(|volume| number_of(volume) == Some(number)).map(content);
    let whole = source.volumes.iter().find(|volume| volume.role == Role::WholeDisk);
    let whole_bytes = whole.map(|_| source.size_bytes);
    let rows = entries(&source.table, source.logical_sector_bytes, whole_bytes);
    let row = |(number, place)| Row {
        number,
        place,
        content: of(number).unwrap_or("left out"),
        change: None,
        before: None,
    };
    rows.into_iter().map(row).collect()
}

/// As the target will be, with what becomes of what was captured.
pub(super) fn planned(plan: &DiskPlan, source: Option<&Disk>, captured: &[Row]) -> Vec<Row> {
    let staying = plan.staying();
    let sector = plan.target.logical_sector_bytes;
    let row = |(number, place): (Option<u32>, ByteRange)| {
        if number.is_some_and(|number| staying.contains(&number)) {
            return Row { number, place, content: "not touched", change: Some(Change::Kept), before: None };
        }
        if plan.is_in_part(place) {
            return Row { number, place, content: "LVM", change: Some(Change::Partly), before: None };
        }
        if let Some(made) = plan.made.iter().find(|made| Some(made.partition) == number) {
            return Row {
                number,
                place,
                content: made.content.name(),
                change: Some(Change::New),
                before: None,
            };
        }
        let planned = plan.volumes.iter().find(|volume| volume.partition == number && is_no_gap(volume));
        let volumes = source.map(|source| source.volumes.as_slice()).unwrap_or_default();
        let volume = planned.and_then(|planned| volumes.iter().find(|volume| volume.name == planned.volume));
        if volume.is_none() && (planned.is_some() || plan.layout == Layout::Script) {
            return Row { number, place, content: "empty", change: Some(Change::New), before: None };
        }
        let old = volume.and_then(number_of).unwrap_or(number);
        let before = captured.iter().find(|row| row.number == old).map(|row| row.place);
        let change = before.map(|before| Change::between(before, place, sector));
        Row { number, place, content: volume.map_or("left out", content), change, before }
    };
    entries(&plan.table, sector, whole_place(plan)).into_iter().map(row).collect()
}

/// What was captured and does not come to the target.
pub(super) fn missing<'a>(plan: &DiskPlan, source: &Disk, captured: &'a [Row]) -> Vec<&'a Row> {
    let comes = |row: &&Row| {
        let volume = source.volumes.iter().find(|volume| number_of(volume) == Some(row.number));
        let is_planned = |name: &str| plan.volumes.iter().any(|planned| planned.volume == name);
        let is_entry = row.number.is_some_and(|number| !plan.without.contains(&number));
        volume.map_or(is_entry && plan.stays.is_nothing(), |volume| is_planned(&volume.name))
    };
    captured.iter().filter(|row| !comes(row)).collect()
}

/// The stretches between and behind rows that nothing occupies and that are worth a word.
pub(super) fn free(rows: &[Row], size_bytes: u64) -> Vec<ByteRange> {
    let taken: RangeSet = rows.iter().map(|row| row.place).collect();
    let gaps = taken.gaps(ByteRange::new(0, size_bytes));
    // In front of the first one is the table, and a boot loader perhaps.
    gaps.iter().filter(|gap| gap.start() > 0 && gap.length() >= LEAST_FREE_BYTES).collect()
}

/// The volumes of a group that stands on the targets, with what is written to them.
pub(super) fn existing(existing: &ExistingGroup, captured: Captured<'_>) -> Vec<Row> {
    let mut behind = 0u64;
    let mut rows = Vec::new();
    for (number, logical) in (1u32..).zip(&existing.group.logical_volumes) {
        let start = behind;
        behind = behind.saturating_add(logical.volume.size_bytes);
        let place = ByteRange::new(start, behind);
        let mut row = Row {
            number: Some(number),
            place,
            content: "not touched",
            change: Some(Change::Kept),
            before: None,
        };
        let into = existing.volumes.iter().find(|into| into.logical == logical.volume.name);
        let volume =
            into.and_then(|into| captured.volumes().find(|volume| volume.name == into.planned.volume));
        if let Some(volume) = volume {
            let size = place.length().cmp(&volume.size_bytes);
            row.content = content(volume);
            row.change = Some(Change::Written { size, place: Ordering::Equal });
        }
        rows.push(row);
    }
    rows
}

/// The volumes of a group, one behind the other, compared with those of before.
pub(super) fn logical(group: &VolumeGroup, before: &[Row]) -> Vec<Row> {
    let mut behind = 0u64;
    let mut rows = Vec::new();
    for volume in group.volumes() {
        let number = if let Role::Logical { number, .. } = volume.role { number } else { 0 };
        let start = behind;
        behind = behind.saturating_add(volume.size_bytes);
        let place = ByteRange::new(start, behind);
        let old = before.iter().find(|row| row.number == Some(number)).map(|row| row.place);
        // Where its extents lie is nothing to a person.
        let change = old
            .map(|old| Change::Written { size: place.length().cmp(&old.length()), place: Ordering::Equal });
        rows.push(Row { number: Some(number), place, content: content(volume), change, before: old });
    }
    rows
}

/// The partition that a volume is; `Some(None)` is the whole disk.
fn number_of(volume: &Volume) -> Option<Option<u32>> {
    match volume.role {
        Role::Partition { number } => Some(Some(number)),
        Role::WholeDisk => Some(None),
        _ => None,
    }
}

fn content(volume: &Volume) -> &'static str {
    match &volume.content {
        Content::LeftOut => "left out",
        content => content.file_system().map_or("unknown", |fs| fs.kind.name()),
    }
}

/// The size that the volume of a disk without a table has on the target.
fn whole_place(plan: &DiskPlan) -> Option<u64> {
    let whole = ByteRange::new(0, plan.target.size_bytes);
    if plan.is_in_part(whole) {
        return Some(whole.end());
    }
    plan.volumes.iter().find(|volume| volume.partition.is_none()).map(|volume| volume.place.end())
}

fn is_no_gap(volume: &VolumePlan) -> bool {
    !matches!(volume.action, VolumeAction::WriteGap { .. })
}

/// The entries of a table in disk order, or the volume of `whole_bytes` where there is none.
fn entries(table: &Table, sector: SectorSize, whole_bytes: Option<u64>) -> Vec<(Option<u32>, ByteRange)> {
    let place = |first: Lba, behind: u64| {
        let byte = |lba| sector.byte_of(Lba(lba)).unwrap_or(u64::MAX);
        ByteRange::new(byte(first.0), byte(behind))
    };
    let mut entries: Vec<(Option<u32>, ByteRange)> = match table {
        Table::Gpt(gpt) => gpt
            .partitions
            .iter()
            .map(|p| (Some(p.number), place(p.first_lba, p.last_lba.0.saturating_add(1))))
            .collect(),
        Table::Mbr(mbr) => mbr
            .partitions
            .iter()
            .filter(|p| p.role != MbrRole::Extended)
            .map(|p| (Some(p.number), place(p.first_lba, p.first_lba.0.saturating_add(p.sectors))))
            .collect(),
        Table::None => whole_bytes.iter().map(|bytes| (None, ByteRange::new(0, *bytes))).collect(),
    };
    entries.sort_by_key(|(_, place)| *place);
    entries
}
