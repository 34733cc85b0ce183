//! Arrays whose data lie on all their members together: looked into where all are there, and refused with the way out where not.

use super::Inspection;
use super::arrays::{Found, refuse};
use super::copies::Copies;
use super::volume::{Understood, content};
use crate::blockio::{ReadAt, Window};
use crate::filesystem::md;
use crate::filesystem::nested_table;
use crate::schema::Role;
use crate::units::ByteRange;
use std::collections::BTreeSet;

/// Looks into an array of which `chosen` are the members that are wanted, and `others` those that are there and left out.
pub(super) fn read(
    sources: &[&dyn ReadAt],
    inspections: &mut [&mut Inspection],
    chosen: &[&Found],
    others: &[&Found],
) {
    let Some(first) = chosen.first() else { return };
    let disks = first.superblock.disks;
    let there: BTreeSet<u32> = chosen.iter().map(|member| member.superblock.position).collect();
    let is_whole = there.len() == chosen.len() && there.iter().copied().eq(0..disks);
    if !is_whole {
        return refuse_all(chosen, &missing(chosen, others, first, disks), inspections);
    }
    if chosen.iter().any(|member| member.superblock.events != first.superblock.events) {
        let fact = "its members are at events of their own, so that one of them may lack what was written last: assemble the array \
                    (mdadm --assemble --scan) and stop it (mdadm --stop)";
        return refuse_all(chosen, fact, inspections);
    }
    let windows: Vec<Window<&dyn ReadAt>> =
        chosen.iter().filter_map(|member| window(sources, inspections, member)).collect();
    if let Some(claimed) = chosen.iter().find(|member| is_claimed(sources, inspections, member)) {
        let fact = format!(
            "the disk of {} has a partition table too, and is no plain member of its array: assemble the array and capture it as a \
             disk (--disk /dev/md0)",
            claimed.name
        );
        return refuse_all(chosen, &fact, inspections);
    }
    let members: Vec<(&str, &dyn ReadAt, md::Superblock)> = chosen
        .iter()
        .zip(&windows)
        .map(|(member, window)| -> (&str, &dyn ReadAt, md::Superblock) {
            (&member.name, window, member.superblock.clone())
        })
        .collect();
    match md::read_together(&members) {
        Ok(found) => {
            for (member, found) in chosen.iter().zip(found) {
                apply(member, found, inspections);
            }
        }
        Err(error) => {
            let error = crate::units::with_causes(&error);
            let fact = format!(
                "its array could not be read ({error}): assemble it and capture it as a disk (--disk /dev/md0)"
            );
            refuse_all(chosen, &fact, inspections);
        }
    }
}

/// Refuses members of an array of which another one is there more than once; of that one it was said.
pub(super) fn refuse_beside_twins(inspections: &mut [&mut Inspection], chosen: &[&Found]) {
    let twins = chosen.iter().map(|member| by_number(member)).collect::<Copies<'_, u32>>().twins();
    let is_once = |member: &&&Found| {
        chosen.iter().filter(|other| other.superblock.number == member.superblock.number).count() == 1
    };
    let others: Vec<&Found> = chosen.iter().filter(is_once).copied().collect();
    let fact = format!(
        "another member of its array is there twice ({}): leave all but one out with --only",
        twins.join(", ")
    );
    refuse_all(&others, &fact, inspections);
}

/// The number of a member in its array, with its name.
fn by_number(member: &Found) -> (u32, &str) {
    (member.superblock.number, &member.name)
}

fn refuse_all(chosen: &[&Found], fact: &str, inspections: &mut [&mut Inspection]) {
    let fact = format!("{fact}, or capture every member with --when-dirty raw; {}", md::HISTORY);
    chosen.iter().for_each(|member| refuse(member, fact.clone(), inspections));
}

fn window<'a>(
    sources: &[&'a dyn ReadAt],
    inspections: &[&mut Inspection],
    member: &Found,
) -> Option<Window<&'a dyn ReadAt>> {
    let volume = inspections.get(member.disk)?.disk.volumes.get(member.volume)?;
    let place = ByteRange::at(volume.start_bytes, volume.size_bytes)?;
    Window::new(*sources.get(member.disk)?, place).ok()
}

/// True where a whole disk has a table that the superblock was believed against: which of them counts, a person has to say.
fn is_claimed(sources: &[&dyn ReadAt], inspections: &[&mut Inspection], member: &Found) -> bool {
    let volumes = inspections.get(member.disk).map(|inspection| inspection.disk.volumes.as_slice());
    let is_whole_disk = volumes
        .and_then(|volumes| volumes.get(member.volume))
        .is_some_and(|volume| volume.role == Role::WholeDisk);
    let table = sources.get(member.disk).map(|disk| nested_table(*disk));
    is_whole_disk && !matches!(table, Some(Ok(None)))
}

/// What is to be said of members that are not all.
fn missing(chosen: &[&Found], others: &[&Found], first: &Found, disks: u32) -> String {
    // A copy of one that is chosen adds nothing.
    let is_chosen = |number: u32| chosen.iter().any(|member| member.superblock.number == number);
    let left_out: Copies<'_, u32> =
        others.iter().map(|member| by_number(member)).filter(|(number, _)| !is_chosen(*number)).collect();
    let there = chosen.len().saturating_add(left_out.parts());
    if u32::try_from(there) == Ok(disks) {
        let names = left_out.one_of_each();
        return format!(
            "{names} belong to the same array: name them with --only too, or leave out all of it"
        );
    }
    let lost = match first.superblock.level {
        -1 | 0 => "where it has lost one, its data are gone",
        _ => {
            "where it has lost some, add new ones (mdadm --add) and let it become whole (mdadm --wait), or capture it running, as a \
             disk (--disk /dev/md0)"
        }
    };
    format!(
        "{there} of the {disks} members of its array are here: name the disks of the others with --disk too; {lost}"
    )
}

fn apply(member: &Found, found: md::Member, inspections: &mut [&mut Inspection]) {
    let Some(inspection) = inspections.get_mut(member.disk) else { return };
    let Understood { content, used, .. } = content(found.reading);
    if let Some(volume) = inspection.disk.volumes.get_mut(member.volume) {
        volume.content = content;
    }
    if let Some(place) = inspection.used.get_mut(member.volume) {
        *place = used;
    }
    if let Some(zeros) = inspection.zeros.get_mut(member.volume) {
        *zeros = found.rows;
    }
}
