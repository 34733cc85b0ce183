//! Judge what a plan writes to logical volumes that stand on the targets: their extents, and nothing else.

use super::{Fault, entries_of, volumes};
use crate::plan::captured::Captured;
use crate::plan::deploy::{DeployPlan, DiskPlan, VolumeAction};
use crate::plan::existing_group::{ExistingGroup, IntoLogical, extents_on};
use crate::plan::keep::Stays;
use crate::schema::{Content, LogicalVolume, Mapping, Role, Table, VolumeGroup};
use crate::units::{ByteRange, RangeSet};

/// Every group lies on targets whose tables stay, every volume in one of its own, and what the disks give to them is
/// exactly their extents.
pub(super) fn check(plan: &DeployPlan, captured: Captured<'_>, faults: &mut Vec<Fault>) {
    for existing in &plan.existing_groups {
        check_group(plan, existing, faults);
        for (index, into) in existing.volumes.iter().enumerate() {
            let earlier = existing.volumes.iter().take(index);
            if earlier.clone().any(|other| other.logical == into.logical) {
                faults.push(Fault::Disagree { volume: into.planned.volume.clone() });
            }
            check_volume(existing, into, captured, faults);
        }
    }
    for (position, disk) in plan.disks.iter().enumerate() {
        check_extents(position, disk, plan, faults);
    }
}

fn check_group(plan: &DeployPlan, existing: &ExistingGroup, faults: &mut Vec<Fault>) {
    let group = &existing.group;
    let mut fault = |what| faults.push(Fault::ExistingGroup { group: group.name.clone(), what });
    if group.fault().is_some() {
        fault("its volumes do not lie in its physical volumes");
    }
    if !super::group::apart(group) {
        fault("two of its volumes overlap");
    }
    if existing.volumes.is_empty() {
        fault("nothing of it is written");
    }
    if existing.members.len() != group.physical_volumes.len() {
        return fault("not all of its physical volumes have a place");
    }
    for (index, (member, physical)) in existing.members.iter().zip(&group.physical_volumes).enumerate() {
        let data = physical.extents.checked_mul(group.extent_bytes);
        let end = data.and_then(|data| physical.start_bytes.checked_add(data));
        if end.is_none_or(|end| end > member.place.length()) {
            fault("its extents reach beyond a physical volume");
        }
        let is_place = plan.disks.get(member.disk).is_some_and(|disk| is_place(disk, member.place));
        let earlier = existing.members.iter().take(index);
        let overlaps =
            |other: &crate::plan::MemberPlan| other.disk == member.disk && other.place.overlaps(member.place);
        if !is_place || earlier.clone().any(overlaps) {
            fault("one of its physical volumes is elsewhere");
        }
    }
}

/// True for a whole partition of a table that stays, or a whole disk without a table, that no other volume goes into.
fn is_place(disk: &DiskPlan, place: ByteRange) -> bool {
    let Stays::Table { found, .. } = &disk.stays else { return false };
    let is_there = match found {
        Table::None => place == ByteRange::new(0, disk.target.size_bytes),
        table => {
            let entries = entries_of(table, disk.target.logical_sector_bytes, &mut Vec::new());
            entries.iter().any(|entry| entry.place == place && !entry.container)
        }
    };
    is_there && !disk.volumes.iter().any(|volume| volume.place.overlaps(place))
}

fn check_volume(
    existing: &ExistingGroup,
    into: &IntoLogical,
    captured: Captured<'_>,
    faults: &mut Vec<Fault>,
) {
    let planned = &into.planned;
    let disagree = || Fault::Disagree { volume: planned.volume.clone() };
    let logical = existing.group.logical_volumes.iter().find(|logical| logical.volume.name == into.logical);
    let source =
        captured.groups.iter().flat_map(VolumeGroup::volumes).find(|volume| volume.name == planned.volume);
    let (Some(logical), Some(source)) = (logical.filter(|logical| is_plain(logical)), source) else {
        faults.push(disagree());
        return;
    };
    let whole = ByteRange::new(0, logical.volume.size_bytes);
    if planned.place != whole
        || planned.partition.is_some()
        || !matches!(source.role, Role::Logical { .. })
        || source.content == Content::LeftOut
    {
        faults.push(disagree());
    }
    if planned.action == VolumeAction::Write
        && whole.length() < source.size_bytes
        && !volumes::shrinks(planned, source)
    {
        faults.push(Fault::SizeChanged { volume: planned.volume.clone() });
    }
    volumes::check_action(planned, source, faults);
    volumes::check_resize(planned, source, faults);
}

/// Linear and striped volumes are their extents, and those that somebody may write.
fn is_plain(logical: &LogicalVolume) -> bool {
    matches!(logical.mapping, Mapping::Linear | Mapping::Striped)
        && !logical.segments.is_empty()
        && logical.status.iter().any(|word| word == "WRITE")
}

/// What a disk gives to logical volumes is what they have on it, and lies on nothing else that is written.
fn check_extents(position: usize, disk: &DiskPlan, plan: &DeployPlan, faults: &mut Vec<Fault>) {
    let Stays::Table { extents, .. } = &disk.stays else { return };
    let given: RangeSet = extents.iter().copied().collect();
    let range = given.ranges().first().copied().unwrap_or_default();
    let spared = |what: &str| Fault::Spared { what: what.to_owned(), range };
    if given != extents_on(position, &plan.existing_groups) {
        faults.push(spared("what is written of logical volumes"));
    }
    let whole = ByteRange::new(0, disk.target.size_bytes);
    let outside = extents.iter().any(|extent| !whole.contains(*extent));
    if outside || disk.volumes.iter().any(|volume| given.within(volume.place).next().is_some()) {
        faults.push(spared("a logical volume"));
    }
    let mut members = plan.existing_groups.iter().flat_map(|existing| &existing.members);
    let is_member = members.any(|member| member.disk == position);
    if disk.source_number.is_none() && (!is_member || !disk.volumes.is_empty()) {
        faults.push(spared("a target that receives no disk of the image"));
    }
}
