//! Judge the volume groups of a plan.

use super::{Fault, volumes};
use crate::plan::captured::Captured;
use crate::plan::deploy::{DeployPlan, VolumeAction};
use crate::plan::group::{GroupPlan, without};
use crate::schema::{Layout, LogicalVolume, PhysicalVolume, VolumeGroup, is_lvm_uuid};

/// Every physical volume belongs to one planned group, and every planned group is the captured one, on its physical
/// volumes and without overlaps.
pub(super) fn check(plan: &DeployPlan, captured: Captured<'_>, faults: &mut Vec<Fault>) {
    for (index, group) in plan.groups.iter().enumerate() {
        let mut earlier = plan.groups.iter().take(index).filter(|other| !other.new_names.is_empty());
        if earlier.any(|other| other.group.uuid == group.group.uuid) {
            let (number, what) = (group.group.number, "a copy of it has the same new UUID");
            faults.push(Fault::Group { group: number, what });
        }
        let number = group.group.number;
        match captured.groups.iter().find(|captured| captured.number == number) {
            Some(source) => {
                let source = without(source, &group.without);
                check_group(plan, group, &with_new_names(source, group, faults), captured, faults);
            }
            None => faults.push(Fault::Group { group: number, what: "the image does not have it" }),
        }
    }
    for (position, disk) in plan.disks.iter().enumerate() {
        for volume in disk.volumes.iter().filter(|v| v.action == VolumeAction::MakePhysicalVolume) {
            let members = plan.groups.iter().flat_map(|group| &group.members);
            let times =
                members.filter(|member| member.disk == position && member.place == volume.place).count();
            if times != 1 {
                faults.push(Fault::Volume { volume: volume.volume.clone(), times });
            }
        }
    }
}

fn check_group(
    plan: &DeployPlan,
    group: &GroupPlan,
    source: &VolumeGroup,
    captured: Captured<'_>,
    faults: &mut Vec<Fault>,
) {
    let new = &group.group;
    let mut fault = |what| faults.push(Fault::Group { group: source.number, what });
    let identity = |group: &VolumeGroup| {
        let physical: Vec<PhysicalVolume> =
            group.physical_volumes.iter().cloned().map(unsized_member).collect();
        let logical: Vec<[String; 3]> = group.logical_volumes.iter().map(names).collect();
        let words = (group.status.clone(), group.tags.clone(), group.system_id.clone());
        (group.name.clone(), group.uuid.clone(), group.extent_bytes, group.sequence, words, physical, logical)
    };
    if identity(new) != identity(source) {
        fault("its names, UUIDs or extent size were changed");
    }
    if new.fault().is_some() {
        fault("its volumes do not lie in its physical volumes");
    }
    if !apart(new) {
        fault("two of its volumes overlap");
    }
    if group.members.len() != new.physical_volumes.len() || group.volumes.len() != new.logical_volumes.len() {
        return fault("not all of its volumes are planned");
    }
    let mut original = true;
    for (member, physical) in group.members.iter().zip(&new.physical_volumes) {
        let disk = plan.disks.get(member.disk);
        let planned =
            disk.and_then(|disk| disk.volumes.iter().find(|volume| volume.volume == physical.volume));
        let source_disk = captured.disks.iter().find(|d| d.volumes.iter().any(|v| v.name == physical.volume));
        let sound = planned.is_some_and(|planned| {
            planned.place == member.place && planned.action == VolumeAction::MakePhysicalVolume
        });
        if !sound || source_disk.map(|disk| disk.number) != disk.and_then(|disk| disk.source_number) {
            fault("one of its physical volumes is elsewhere");
        }
        original &= disk.is_some_and(|disk| disk.layout == Layout::Original);
        let data = physical.extents.checked_mul(new.extent_bytes);
        let end = data.and_then(|data| physical.start_bytes.checked_add(data));
        if end.is_none_or(|end| end > member.place.length()) {
            fault("its extents reach beyond a physical volume");
        }
    }
    for ((planned, new), old) in group.volumes.iter().zip(&new.logical_volumes).zip(&source.logical_volumes) {
        let volume = &old.volume;
        if planned.volume != volume.name
            || planned.partition.is_some()
            || planned.place.start() != 0
            || planned.place.length() != new.volume.size_bytes
            || new.volume.content != volume.content
        {
            faults.push(Fault::Disagree { volume: volume.name.clone() });
        }
        if original && new.segments != old.segments {
            faults
                .push(Fault::Group { group: source.number, what: "a volume is not on its original extents" });
        }
        if new.segments.is_empty()
            || (planned.place.length() < volume.size_bytes && !volumes::shrinks(planned, volume))
            || (planned.place.length() > volume.size_bytes && !volumes::can_grow(&volume.content))
        {
            faults.push(Fault::SizeChanged { volume: volume.name.clone() });
        }
        volumes::check_action(planned, volume, faults);
        volumes::check_resize(planned, volume, faults);
    }
}

/// The captured group as it would be with the new UUIDs, which the new one is held against.
fn with_new_names(source: VolumeGroup, plan: &GroupPlan, faults: &mut Vec<Fault>) -> VolumeGroup {
    let mut group = source;
    if plan.new_names.is_empty() {
        return group;
    }
    let mut sound = true;
    let mut renew = |of: &str, uuid: &mut String| {
        let name = plan.new_names.iter().find(|name| name.of == of && name.old == *uuid);
        match name.filter(|name| is_lvm_uuid(&name.new) && name.new != name.old) {
            Some(name) => uuid.clone_from(&name.new),
            None => sound = false,
        }
    };
    renew(&format!("g{}", group.number), &mut group.uuid);
    group.physical_volumes.iter_mut().for_each(|physical| renew(&physical.volume, &mut physical.uuid));
    group.logical_volumes.iter_mut().for_each(|logical| renew(&logical.volume.name, &mut logical.uuid));
    if !sound {
        let what = "not each of its UUIDs is a new one";
        faults.push(Fault::Group { group: group.number, what });
    }
    group
}

fn unsized_member(physical: PhysicalVolume) -> PhysicalVolume {
    PhysicalVolume { extents: 0, ..physical }
}

fn names(logical: &LogicalVolume) -> [String; 3] {
    [logical.name.clone(), logical.uuid.clone(), logical.volume.name.clone()]
}

/// True where no extent belongs to two volumes.
pub(super) fn apart(group: &VolumeGroup) -> bool {
    let mut places = Vec::new();
    for segment in group.logical_volumes.iter().flat_map(|logical| &logical.segments) {
        let Some(each) = segment.extents_each() else { return false };
        places
            .extend(segment.stripes.iter().map(|stripe| (stripe.physical_volume, stripe.first_extent, each)));
    }
    places.sort_unstable();
    places
        .iter()
        .zip(places.iter().skip(1))
        .all(|(one, next)| one.0 != next.0 || one.1.checked_add(one.2).is_some_and(|behind| behind <= next.1))
}
