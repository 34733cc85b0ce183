//! Judge a plan whose table a script made: whatever it did, the table is sound and the volumes lie in it.

use super::{Fault, entries_of, gpt, mbr, stays, volumes};
use crate::plan::deploy::{DiskPlan, VolumeAction};
use crate::plan::refusal::Part;
use crate::schema::{Content, Disk, Role, Table};
use crate::units::ByteRange;

/// A table without contradictions on this disk, and every volume of the image once, in a partition of its own that is
/// large enough.
pub(super) fn check(plan: &DiskPlan, source: &Disk, faults: &mut Vec<Fault>) {
    match &plan.table {
        Table::Gpt(gpt) => gpt::check_frame(gpt, plan, faults),
        Table::Mbr(mbr) => mbr::check_frame(mbr, plan, faults),
        Table::None => faults.push(Fault::TableMisplaced { what: "there is none" }),
    }
    if !plan.stays.is_nothing() {
        faults.push(Fault::TableChanged { what: "a disk that a script partitions keeps nothing" });
    }
    let disk = ByteRange::new(0, plan.target.size_bytes);
    let entries = entries_of(&plan.table, plan.target.logical_sector_bytes, faults);
    for (index, entry) in entries.iter().enumerate() {
        let part = Part::Partition(entry.number);
        if !disk.contains(entry.place) {
            faults.push(Fault::Outside { part, place: entry.place, of: disk });
        }
        for other in entries.iter().take(index).filter(|other| !other.container && !entry.container) {
            if other.place.overlaps(entry.place) {
                faults.push(Fault::Overlap { one: Part::Partition(other.number), other: part });
            }
        }
        if entries.iter().take(index).any(|other| other.number == entry.number) {
            faults.push(Fault::TableMisplaced { what: "two partitions have one number" });
        }
    }
    stays::check_placed(plan, source, &entries, faults);
    for volume in &source.volumes {
        let planned: Vec<_> = plan.volumes.iter().filter(|planned| planned.volume == volume.name).collect();
        match planned.as_slice() {
            [one] if volume.role == Role::BootArea => {
                volumes::check_gap(plan, one, volume, &entries, faults);
            }
            [_] => {}
            [] if volume.role == Role::BootArea || volume.content == Content::LeftOut => {}
            _ => faults.push(Fault::Volume { volume: volume.name.clone(), times: planned.len() }),
        }
    }
    for gap in plan.volumes.iter().filter(|planned| matches!(planned.action, VolumeAction::WriteGap { .. })) {
        let of_gap = |name: &str| {
            source.volumes.iter().any(|volume| volume.name == name && volume.role == Role::BootArea)
        };
        if !of_gap(&gap.volume) {
            faults.push(Fault::Action { volume: gap.volume.clone() });
        }
    }
}
