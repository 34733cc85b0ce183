//! All members of an array, of a level other than RAID 1, together.

use super::array::Array;
use super::judge::{self, Checked};
use super::{Superblock, reading};
use crate::blockio::ReadAt;
use crate::filesystem::inside;
use crate::filesystem::judgement::settle;
use crate::filesystem::{Error, Reading};
use crate::units::ByteRange;
use std::mem::take;

/// What was found out about one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it is, and what is used of it.
    pub reading: Reading,
    /// Its bytes in rows with parity: those that are free have to be zeros wherever it is deployed. Empty where there is no parity, or
    /// no map.
    pub rows: ByteRange,
}

/// Reads an array from all its members, each with its name for sentences and its superblock; in any order. Returns one answer for
/// each, in that order.
///
/// # Errors
/// [`Error::Io`] where a member cannot be read.
pub fn read_together(members: &[(&str, &dyn ReadAt, Superblock)]) -> Result<Vec<Member>, Error> {
    let checked: Vec<Result<Checked<'_>, Error>> =
        members.iter().map(|(_, volume, superblock)| judge::check(*volume, superblock)).collect();
    let is_sound = |checked: &Result<Checked<'_>, Error>| matches!(checked, Ok(Checked::Sound { .. }));
    let in_doubt: Vec<&str> = members
        .iter()
        .zip(&checked)
        .filter(|(_, checked)| !is_sound(checked))
        .map(|((name, ..), _)| *name)
        .collect();
    if !in_doubt.is_empty() {
        let why = "whose data lie on all its members together, of which one or more cannot be read";
        return each(members, checked, &format!("{why}: {}", in_doubt.join(" and ")));
    }
    let mut sound: Vec<(u32, usize)> =
        (0..).zip(members).map(|(at, member)| (member.2.position, at)).collect();
    sound.sort_unstable();
    let ordered = sound.iter().filter_map(|(_, at)| {
        let (_, _, superblock) = members.get(*at)?;
        match checked.get(*at)? {
            Ok(Checked::Sound { data, .. }) => Some((superblock, *data)),
            _ => None,
        }
    });
    let array = match Array::new(ordered.collect()) {
        Ok(array) => array,
        Err(why) => return each(members, checked, &format!("that {why}")),
    };
    let inside = inside::look(&array)?;
    let used = inside.judged.map.as_ref();
    let places = used.map(|used| array.places(used)).transpose();
    let mut places = places.map_err(|source| Error::Io { structure: "MD array", at: 0, source })?;
    let rows = array.with_parity().filter(|_| places.is_some()).unwrap_or_default();
    // Where members differ in size, one may keep bytes of a row whatever the array holds: then all do.
    let kept: Vec<ByteRange> = members.iter().zip(&checked).flat_map(|member| kept(member, rows)).collect();
    for place in places.iter_mut().flatten() {
        kept.iter().for_each(|range| place.insert(*range));
    }
    let mut found: Vec<Option<Member>> = vec![None; members.len()];
    for (number, (_, at)) in sound.into_iter().enumerate() {
        let (Some((_, volume, superblock)), Some(Ok(Checked::Sound { around, .. }))) =
            (members.get(at), checked.get(at))
        else {
            continue;
        };
        let used = places.as_mut().map(|places| places.get_mut(number).map(take).unwrap_or_default());
        let judged = judge::told(superblock, &inside, used, around);
        let start = superblock.data.start();
        let rows = ByteRange::at(start, rows.length()).filter(|rows| !rows.is_empty()).unwrap_or_default();
        if let Some(place) = found.get_mut(at) {
            *place = Some(Member { reading: reading(*volume, Some(superblock), judged), rows });
        }
    }
    Ok(found.into_iter().flatten().collect())
}

/// What a member keeps whatever the array holds, as far as it lies in these rows; counted from where its data begin.
fn kept(
    ((_, _, superblock), checked): (&(&str, &dyn ReadAt, Superblock), &Result<Checked<'_>, Error>),
    rows: ByteRange,
) -> Vec<ByteRange> {
    let Ok(Checked::Sound { around, .. }) = checked else { return Vec::new() };
    let start = superblock.data.start();
    let Some(on_the_volume) = ByteRange::at(start, rows.length()) else { return Vec::new() };
    let moved = |range: ByteRange| {
        ByteRange::new(range.start().saturating_sub(start), range.end().saturating_sub(start))
    };
    around.within(on_the_volume).map(moved).collect()
}

/// Refuses all members: those in doubt for their own reason, the others because of `why`.
fn each(
    members: &[(&str, &dyn ReadAt, Superblock)],
    checked: Vec<Result<Checked<'_>, Error>>,
    why: &str,
) -> Result<Vec<Member>, Error> {
    let answers = members.iter().zip(checked).map(|((_, volume, superblock), checked)| {
        let judged = settle(match checked {
            Ok(Checked::Sound { .. }) => Err(judge::refused(superblock, why, judge::ASSEMBLE)),
            Ok(Checked::Settled(judgement)) => Ok(judgement),
            Err(error) => Err(error),
        })?;
        Ok(Member { reading: reading(*volume, Some(superblock), judged), rows: ByteRange::default() })
    });
    answers.collect()
}
