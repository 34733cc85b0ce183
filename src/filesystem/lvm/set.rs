//! Physical volumes put together to the groups that they belong to.
//!
//! The newest metadata count, wherever they stand. A group is whole where each of its physical volumes is there once,
//! and none of them was left behind by a change.

use super::flaw::{Broken, Flaw};
use super::group::{self, Group};
use super::label::Label;
use super::with_dashes;
use std::collections::BTreeMap;

/// A group, with the position of each of its physical volumes.
#[derive(Debug)]
pub(super) struct Whole {
    pub group: Group,
    /// For each member of the group, the position of its label.
    pub labels: Vec<usize>,
}

/// What became of some labels.
#[derive(Debug, Default)]
pub(super) struct Set {
    /// Groups that are whole.
    pub groups: Vec<Whole>,
    /// Why a physical volume cannot be captured with its group: its position, and a sentence.
    pub doubts: Vec<(usize, String)>,
    /// Groups that are not.
    pub broken: Vec<Broken>,
}

/// Puts labels together. A physical volume that is in no group has neither a group nor a doubt.
pub(super) fn assemble(labels: &[Label]) -> Set {
    let mut set = Set::default();
    let mut newest: BTreeMap<String, Vec<Group>> = BTreeMap::new();
    for (position, label) in labels.iter().enumerate() {
        let groups: Vec<Option<Group>> = label.texts.iter().map(|text| group::read(text)).collect();
        if groups.iter().any(Option::is_none) {
            let what =
                "its LVM metadata are of a form that is not understood; capture it with --when-dirty raw";
            set.doubts.push((position, what.to_owned()));
        }
        for group in groups.into_iter().flatten() {
            let known = newest.entry(group.uuid.clone()).or_default();
            if !known.contains(&group) {
                known.push(group);
            }
        }
    }
    for (_, mut texts) in newest {
        texts.sort_by_key(|group| std::cmp::Reverse(group.sequence));
        let doubtful =
            texts.iter().zip(texts.iter().skip(1)).next().is_some_and(|(a, b)| a.sequence == b.sequence);
        let mut texts = texts.into_iter();
        let Some(group) = texts.next() else { continue };
        let older: Vec<Group> = texts.collect();
        judge(labels, group, &older, doubtful, &mut set);
    }
    let doubtful: Vec<usize> = set.doubts.iter().map(|(position, _)| *position).collect();
    let (in_doubt, groups) = std::mem::take(&mut set.groups)
        .into_iter()
        .partition(|whole: &Whole| whole.labels.iter().any(|position| doubtful.contains(position)));
    set.groups = groups;
    set.broken.extend(in_doubt.into_iter().map(|whole| Broken {
        name: whole.group.name,
        uuid: with_dashes(&whole.group.uuid),
        flaw: Flaw::Problem("the metadata of one of its physical volumes are doubtful".to_owned()),
    }));
    set
}

/// Adds a group to those that are whole, or says of its physical volumes what is wrong.
fn judge(labels: &[Label], group: Group, older: &[Group], doubtful: bool, set: &mut Set) {
    let found = |uuid: &str| {
        let positions = labels.iter().enumerate().filter(|(_, label)| label.uuid == uuid);
        positions.map(|(position, _)| position).collect::<Vec<usize>>()
    };
    let places: Vec<Vec<usize>> = group.members.iter().map(|member| found(&member.uuid)).collect();
    match flaw(labels, &group, &places, doubtful) {
        None => {
            let labels = places.into_iter().flatten().collect();
            set.groups.push(Whole { group: group.clone(), labels });
        }
        Some(flaw) => {
            let broken = Broken { name: group.name.clone(), uuid: with_dashes(&group.uuid), flaw };
            let sentence = broken.for_a_capture();
            set.doubts.extend(places.concat().into_iter().map(|position| (position, sentence.clone())));
            set.broken.push(broken);
        }
    }
    let of = format!("the volume group {}", group.name);
    let raw = "or capture it with --when-dirty raw";
    // What an older description has and the newest has not any more.
    for member in older.iter().flat_map(|group| &group.members) {
        if group.members.iter().any(|now| now.uuid == member.uuid) {
            continue;
        }
        for position in found(&member.uuid) {
            let sentence = format!(
                "it was a physical volume of {of}, which goes on without it; wipe it with pvremove, leave it out with \
                 --only, {raw}"
            );
            set.doubts.push((position, sentence));
        }
    }
}

/// What keeps a group from being used, whose members were found at these positions.
fn flaw(labels: &[Label], group: &Group, places: &[Vec<usize>], doubtful: bool) -> Option<Flaw> {
    let members = || group.members.iter().zip(places);
    let missing: Vec<String> = members()
        .filter(|(_, places)| places.is_empty())
        .map(|(member, _)| {
            let seen = member.device.as_ref().map(|device| format!(" (last seen as {device})"));
            format!("{}{}", with_dashes(&member.uuid), seen.unwrap_or_default())
        })
        .collect();
    let bad_place = members().any(|(member, places)| {
        places.iter().filter_map(|position| labels.get(*position)).any(|label| {
            // The label stands in front, and extents do not lie on what describes them.
            member.data.start() < group::SECTOR_BYTES.saturating_mul(4)
                || member.data.end() > label.size_bytes
                || label.areas.iter().any(|area| area.overlaps(member.data))
        })
    });
    if doubtful {
        Some(Flaw::Twins)
    } else if !missing.is_empty() {
        Some(Flaw::Missing { missing, of: group.members.len() })
    } else if places.iter().any(|places| places.len() > 1) {
        Some(Flaw::Twice)
    } else if group.members.iter().any(|member| member.was_missing) {
        Some(Flaw::Behind)
    } else if let Some(problem) = &group.problem {
        Some(Flaw::Problem(problem.clone()))
    } else if bad_place {
        Some(Flaw::Misplaced)
    } else {
        None
    }
}
