//! Groups of LVM1 over all disks that are looked at together: looked into where all their physical volumes are there, and
//! refused with the way out where not.

use super::Inspection;
use super::copies::Copies;
use crate::blockio::{ReadAt, Window};
use crate::filesystem::lvm1::{self, Group, Physical};
use crate::schema::{Content, FileSystemKind, State};
use crate::units::{ByteRange, RangeSet, with_causes};
use std::collections::{BTreeMap, BTreeSet};

/// What every refusal ends with.
const WAY_OUT: &str = "or convert the group with vgconvert -M2 of an LVM2 before 2.02.178, or capture all of its disks in one image, \
                       each with --when-dirty raw";

/// A physical volume: the disk, and the volume on it.
struct Found<'a> {
    disk: usize,
    volume: usize,
    name: String,
    is_chosen: bool,
    window: Window<&'a dyn ReadAt>,
    physical: Physical,
}

/// Finds out what is used of physical volumes of LVM1. `only` names the volumes that are wanted; empty for all.
pub fn read_lvm1(sources: &[&dyn ReadAt], inspections: &mut [&mut Inspection], only: &[String]) {
    let mut groups: BTreeMap<BTreeSet<String>, Vec<Found<'_>>> = BTreeMap::new();
    for disk in 0..inspections.len() {
        for (volume, name, place) in volumes(inspections, disk) {
            let window = sources.get(disk).and_then(|source| Window::new(*source, place).ok());
            let Some(window) = window else { continue };
            match lvm1::read(&window) {
                Ok(Some(physical)) => {
                    let is_chosen = only.is_empty() || only.contains(&name);
                    let found = Found { disk, volume, name, is_chosen, window, physical };
                    groups.entry(found.physical.all.clone()).or_default().push(found);
                }
                // What is in no group was recognised, and is refused.
                Ok(None) => {}
                Err(error) => refuse(inspections, (disk, volume), State::Damaged, &with_causes(&error)),
            }
        }
    }
    for (all, found) in groups {
        judge(&all, &found, inspections);
    }
}

/// The physical volumes of LVM1 on a disk: position, name and place.
fn volumes(inspections: &[&mut Inspection], disk: usize) -> Vec<(usize, String, ByteRange)> {
    let volumes =
        inspections.get(disk).into_iter().flat_map(|inspection| inspection.disk.volumes.iter().enumerate());
    let is_physical = |content: &Content| {
        content.file_system().is_some_and(|found| found.kind == FileSystemKind::Lvm1PhysicalVolume)
    };
    volumes
        .filter(|(_, volume)| is_physical(&volume.content))
        .filter_map(|(at, volume)| {
            Some((at, volume.name.clone(), ByteRange::at(volume.start_bytes, volume.size_bytes)?))
        })
        .collect()
}

fn judge<'a>(all: &BTreeSet<String>, found: &'a [Found<'_>], inspections: &mut [&mut Inspection]) {
    let (chosen, others): (Vec<&'a Found<'_>>, Vec<&'a Found<'_>>) =
        found.iter().partition(|found| found.is_chosen);
    let by_uuid = |found: &&'a Found<'_>| (found.physical.uuid.as_str(), found.name.as_str());
    let there: Copies<'_, &str> = chosen.iter().map(by_uuid).collect();
    let mut refuse_all = |state: State, fact: &str| {
        for found in &chosen {
            refuse(inspections, (found.disk, found.volume), state, fact);
        }
    };
    let twins: Vec<String> = there
        .twins()
        .iter()
        .map(|names| format!("{names} have the UUID of one physical volume of its group"))
        .collect();
    if !twins.is_empty() {
        let fact = format!("{}: leave all but one out with --only", twins.join(", "));
        return refuse_all(State::Unsupported, &fact);
    }
    if there.parts() < all.len() {
        // A copy of one that is chosen adds nothing.
        let is_chosen = |uuid: &str| chosen.iter().any(|found| found.physical.uuid == uuid);
        let others: Copies<'_, &str> =
            others.iter().map(by_uuid).filter(|(uuid, _)| !is_chosen(uuid)).collect();
        let fact = match others.parts() {
            0 => format!(
                "{} of the {} physical volumes of its group are here: name the disks of the others with --disk too",
                there.parts(),
                all.len()
            ),
            _ => format!("{} belong to the same group: name them with --only too", others.one_of_each()),
        };
        return refuse_all(State::Unsupported, &fact);
    }
    let members: Vec<(&dyn ReadAt, Physical)> = chosen
        .iter()
        .map(|found| -> (&dyn ReadAt, Physical) { (&found.window, found.physical.clone()) })
        .collect();
    match lvm1::read_together(&members) {
        Ok(Ok(Group { used, findings })) => {
            for (found, used) in chosen.iter().zip(used) {
                apply(found, used, findings.clone(), inspections);
            }
        }
        Ok(Err((state, fact))) => refuse_all(state, &fact),
        Err(error) => {
            let fact = format!("its group could not be read ({})", with_causes(&error));
            refuse_all(State::Unsupported, &fact);
        }
    }
}

fn apply(found: &Found<'_>, used: RangeSet, findings: Vec<String>, inspections: &mut [&mut Inspection]) {
    let Some(inspection) = inspections.get_mut(found.disk) else { return };
    if let Some(volume) = inspection.disk.volumes.get_mut(found.volume)
        && let Some(mut file_system) = volume.content.file_system().cloned()
    {
        file_system.state = State::Clean;
        file_system.used_bytes = Some(used.total_bytes());
        file_system.findings = findings;
        volume.content = Content::FileSystem(file_system);
    }
    if let Some(place) = inspection.used.get_mut(found.volume) {
        *place = Some(used);
    }
}

fn refuse(inspections: &mut [&mut Inspection], (disk, volume): (usize, usize), state: State, fact: &str) {
    let volume = inspections.get_mut(disk).and_then(|inspection| inspection.disk.volumes.get_mut(volume));
    if let Some(found) = volume.and_then(|volume| volume.content.file_system_mut()) {
        found.state = state;
        found.findings = vec![format!("{fact}; {WAY_OUT}")];
    }
}
