//! Arrays over all disks that are looked at together: which members are there, and which of them the others left behind.
//!
//! One member alone cannot tell that its array went on without it. Members that can are believed only here.

use super::{Inspection, whole_arrays};
use crate::blockio::{ReadAt, Window};
use crate::filesystem::md::{self, Role, Superblock};
use crate::schema::{Content, FileSystemKind, State};
use crate::units::ByteRange;
use std::collections::{BTreeMap, BTreeSet};

/// A member and where it was found: the disk, and the volume on it.
pub(super) struct Found {
    pub(super) disk: usize,
    pub(super) volume: usize,
    pub(super) name: String,
    is_chosen: bool,
    pub(super) superblock: Superblock,
}

/// Keeps members from being captured by themselves that only all of them together show to be wrong. Returns what else a
/// person should know: the position of a disk, with a sentence. `only` names the volumes that are wanted; empty for all. Of
/// the others is seen only which members were left behind.
pub fn read_arrays(
    sources: &[&dyn ReadAt],
    inspections: &mut [&mut Inspection],
    only: &[String],
) -> Vec<(usize, String)> {
    let mut arrays: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for (disk, (source, inspection)) in sources.iter().zip(inspections.iter()).enumerate() {
        for (volume, described) in inspection.disk.volumes.iter().enumerate() {
            let is_member =
                described.content.file_system().is_some_and(|found| found.kind == FileSystemKind::MdMember);
            let place = ByteRange::at(described.start_bytes, described.size_bytes).filter(|_| is_member);
            let window = place.and_then(|place| Window::new(*source, place).ok());
            // What cannot be read has been said.
            let superblock = window.and_then(|window| md::member(&window).ok().flatten());
            if let Some(superblock) = superblock.filter(|superblock| superblock.role == Role::Active)
                && let Some(uuid) = superblock.array_uuid.clone()
            {
                let name = described.name.clone();
                let is_chosen = only.is_empty() || only.contains(&name);
                arrays.entry(uuid).or_default().push(Found { disk, volume, name, is_chosen, superblock });
            }
        }
    }
    let there = if only.is_empty() { "here" } else { "captured" };
    arrays.into_values().flat_map(|members| judge(&members, sources, inspections, there)).collect()
}

fn judge(
    members: &[Found],
    sources: &[&dyn ReadAt],
    inspections: &mut [&mut Inspection],
    are_there: &str,
) -> Vec<(usize, String)> {
    let newest = members.iter().map(|member| member.superblock.events).max().unwrap_or_default();
    // The kernel takes a member that misses one event.
    let is_behind = |member: &Found| member.superblock.events.saturating_add(1) < newest;
    let current: Vec<&Found> = members.iter().filter(|member| !is_behind(member)).collect();
    for member in members.iter().filter(|member| is_behind(member)) {
        let ahead: Vec<&str> = current.iter().map(|member| member.name.as_str()).collect();
        let fact = format!(
            "the array went on without it: it is at event {}, {} at event {newest}; leave it out with --only and add it to \
             the array again (mdadm --add), or capture every member with --when-dirty raw",
            member.superblock.events,
            ahead.join(" and ")
        );
        refuse(member, fact, inspections);
    }
    let (current, others): (Vec<&Found>, Vec<&Found>) =
        current.into_iter().partition(|member| member.is_chosen);
    for member in &current {
        let twin = current.iter().find(|other| {
            other.superblock.number == member.superblock.number
                && (other.disk, other.volume) != (member.disk, member.volume)
        });
        if let Some(twin) = twin {
            let fact = format!(
                "it is the same member of its array as {}: leave one of them out with --only",
                twin.name
            );
            refuse(member, fact, inspections);
        }
    }
    let there = current.iter().map(|member| member.superblock.number).collect::<BTreeSet<u32>>().len();
    if refuse_split(&current, there, inspections) {
        return Vec::new();
    }
    if current.iter().any(|member| member.superblock.level != 1) {
        // Of a level that is not read, that was said.
        if current.iter().all(|member| member.superblock.lies_on_all()) {
            match there == current.len() {
                true => whole_arrays::read(sources, inspections, &current, &others),
                false => whole_arrays::refuse_beside_twins(inspections, &current),
            }
        }
        return Vec::new();
    }
    let lacks_some =
        |member: &&&Found| u32::try_from(there).is_ok_and(|there| there < member.superblock.disks);
    let missing = |member: &&Found| {
        let sentence = format!(
            "Volume {} is one of {} members of its array, of which {there} are {are_there}: deployed from these the array is \
             degraded, and mdadm --assemble starts it with --run or --scan only; mdadm --add gives it the others again.",
            member.name, member.superblock.disks
        );
        (member.disk, sentence)
    };
    current.iter().filter(lacks_some).map(missing).collect()
}

/// Refuses members of which some say that others among them are not in the array any more, at the same event or one apart: each part
/// may have gone on by itself. True where that is so.
fn refuse_split(current: &[&Found], there: usize, inspections: &mut [&mut Inspection]) -> bool {
    let misses_some =
        |member: &&&Found| u32::try_from(there).is_ok_and(|there| member.superblock.active < there);
    let went_on: Vec<&str> = current.iter().filter(misses_some).map(|member| member.name.as_str()).collect();
    for member in current.iter().filter(|_| !went_on.is_empty()) {
        let others: Vec<&str> =
            current.iter().map(|other| other.name.as_str()).filter(|name| *name != member.name).collect();
        let fact = format!(
            "{} and {} are at the same event or one apart, but by {} the array went on without another of them: find out which is \
             right (mdadm --examine), leave the others out with --only and add them to the array again (mdadm --add), or \
             capture every member with --when-dirty raw",
            member.name,
            others.join(" and "),
            went_on.join(" and ")
        );
        refuse(member, fact, inspections);
    }
    !went_on.is_empty()
}

/// Takes the map away from a member, so that it is captured only where every block is asked for.
pub(super) fn refuse(member: &Found, fact: String, inspections: &mut [&mut Inspection]) {
    let Some(inspection) = inspections.get_mut(member.disk) else { return };
    if let Some(used) = inspection.used.get_mut(member.volume) {
        *used = None;
    }
    if let Some(volume) = inspection.disk.volumes.get_mut(member.volume)
        && let Some(mut found) = volume.content.file_system().cloned()
    {
        found.state = State::Unsupported;
        found.used_bytes = None;
        // Of the others more is known by now than when it was said that they are needed.
        let count = found.findings.len();
        found.findings.retain(|finding| !md::asks_for_all(finding));
        let is_told_anew = found.findings.len() < count;
        let of_what = match is_told_anew {
            true => format!("a member of the {}: ", member.superblock.array()),
            false => String::new(),
        };
        found.findings.push(format!("{of_what}{fact}"));
        let reason = "its array is not read from these members".to_owned();
        volume.content = Content::Raw { reason, file_system: Some(found) };
    }
}
