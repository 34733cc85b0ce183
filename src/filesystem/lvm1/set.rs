//! A group, from all its physical volumes.

use super::metadata::{Physical, Volume};
use crate::blockio::{Column, Mapped, ReadAt, Stretch};
use crate::filesystem::Error;
use crate::filesystem::inside::{self, Inside};
use crate::schema::State;
use crate::units::{ByteRange, RangeSet, format_size, u64_from, usize_from};
use std::collections::BTreeMap;

const STRUCTURE: &str = "LVM1 volume";
/// Stripes are no smaller than a page, or a map would have more ranges than there are blocks in it.
const MIN_STRIPE_BYTES: u64 = 4096;

/// What is used of the physical volumes of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// For each physical volume, in the order in which they were given.
    pub used: Vec<RangeSet>,
    /// What the group holds, and hints: sentences.
    pub findings: Vec<String>,
}

/// Where an extent stands: the physical volume, and its number there.
type Place = (usize, u64);

/// Reads a group from all its physical volumes. The inner error is why it is not captured by what is used: a state, and a sentence
/// with its way out.
///
/// # Errors
/// [`Error::Io`] where a physical volume cannot be read.
pub fn read_together(members: &[(&dyn ReadAt, Physical)]) -> Result<Result<Group, (State, String)>, Error> {
    let damaged = |fact: String| Ok(Err((State::Damaged, fact)));
    let Some((_, first)) = members.first() else {
        return damaged("the group has no physical volumes".to_owned());
    };
    if members.iter().any(|(_, member)| member.said != first.said || member.all != first.all) {
        let fact = "the physical volumes of the group say different things of it: find out which is right (vgcfgbackup \
                    of an LVM2 before 2.02.178 shows it)";
        return Ok(Err((State::Unsupported, fact.to_owned())));
    }
    let mut places: BTreeMap<(u16, u16), Place> = BTreeMap::new();
    for (position, (_, member)) in members.iter().enumerate() {
        for (at, (number, extent)) in (0u64..).zip(&member.table).filter(|(_, (number, _))| *number != 0) {
            if places.insert((*number, *extent), (position, at)).is_some() {
                return damaged(format!("extent {extent} of volume {number} is there twice"));
            }
        }
    }
    let mut used: Vec<Vec<ByteRange>> =
        members.iter().map(|(volume, member)| outside(*volume, member).iter().collect()).collect();
    let (mut names, mut hints, mut extents) = (Vec::new(), Vec::new(), 0usize);
    for volume in &first.said.volumes {
        let named = |fact: &str| format!("the volume {}/{} {fact}", first.group, volume.name);
        if volume.has_snapshots {
            let fact = "has snapshots, or is one, which only LVM itself reads: remove them (lvremove)";
            return Ok(Err((State::Unsupported, named(fact))));
        }
        let stretches = match stretches(volume, &places, members) {
            Ok(stretches) => stretches,
            Err(fact) => return damaged(named(&fact)),
        };
        extents = extents.saturating_add(usize_from(volume.extents.into()));
        let disks: Vec<&dyn ReadAt> = members.iter().map(|(volume, _)| *volume).collect();
        let Ok(mapped) = Mapped::new(disks, stretches) else {
            return damaged(named("has extents that do not lie on its physical volumes"));
        };
        let Inside { what, judged } = inside::look(&mapped)?;
        let Some(map) = judged.map else {
            let (holds, findings) = (named(&format!("holds {what}")), judged.findings.join("; "));
            let fact = format!(
                "{holds}: {findings}; do that with a Linux that reads LVM1, for nothing is replayed in its volumes"
            );
            return Ok(Err((judged.state, fact)));
        };
        let places = mapped.places(&map);
        for (member, place) in places.map_err(|source| Error::Io { structure: STRUCTURE, at: 0, source })? {
            if let Some(used) = used.get_mut(member) {
                used.push(place);
            }
        }
        names.push(format!("{} ({}): {what}", volume.name, format_size(mapped.size_bytes())));
        hints.extend(judged.findings.iter().map(|hint| named(&format!("has a hint: {hint}"))));
    }
    if extents != places.len() {
        return damaged("extents belong to volumes that the group does not have".to_owned());
    }
    let what = format!(
        "the LVM1 group {} on {} physical volumes has {}",
        first.group,
        members.len(),
        names.join(", ")
    );
    let used = used.into_iter().map(RangeSet::from_iter).collect();
    Ok(Ok(Group { used, findings: [what].into_iter().chain(hints).collect() }))
}

/// All of a physical volume but its extents.
fn outside(volume: &dyn ReadAt, member: &Physical) -> RangeSet {
    let mut used = RangeSet::of(ByteRange::new(0, volume.size_bytes()));
    used.remove(member.extents);
    used
}

/// Where a volume lies. The error is a clause that follows its name.
fn stretches(
    volume: &Volume,
    places: &BTreeMap<(u16, u16), Place>,
    members: &[(&dyn ReadAt, Physical)],
) -> Result<Vec<Stretch>, String> {
    let lost = || "lacks some of its extents".to_owned();
    let number =
        volume.number.checked_add(1).and_then(|number| u16::try_from(number).ok()).ok_or_else(lost)?;
    let stripes = volume.stripes;
    let in_column = volume.extents.checked_div(stripes).unwrap_or_default();
    let is_sound =
        stripes == 1 || (volume.stripe_bytes >= MIN_STRIPE_BYTES && volume.stripe_bytes.is_power_of_two());
    if in_column.checked_mul(stripes) != Some(volume.extents) || in_column == 0 || !is_sound {
        return Err(format!(
            "has {} extents in {stripes} stripes of {} bytes",
            volume.extents, volume.stripe_bytes
        ));
    }
    let mut found: Vec<Stretch> = Vec::new();
    for extent in 0..in_column {
        let mut columns = Vec::new();
        let mut extent_bytes = 0;
        for stripe in 0..stripes {
            let wanted = stripe.checked_mul(in_column).and_then(|before| before.checked_add(extent));
            let wanted = wanted.and_then(|wanted| u16::try_from(wanted).ok()).ok_or_else(lost)?;
            let (disk, at) = *places.get(&(number, wanted)).ok_or_else(lost)?;
            let (_, member) = members.get(disk).ok_or_else(lost)?;
            extent_bytes = member.said.extent_bytes;
            let start_bytes = at.saturating_mul(extent_bytes).saturating_add(member.extents.start());
            columns.push(Column { disk, start_bytes });
        }
        let length_bytes = extent_bytes.saturating_mul(u64_from(columns.len()));
        match found.last_mut().filter(|last| follows(last, &columns, u64_from(columns.len()))) {
            Some(last) => last.length_bytes = last.length_bytes.saturating_add(length_bytes),
            None => found.push(Stretch { length_bytes, stripe_bytes: volume.stripe_bytes, columns }),
        }
    }
    Ok(found)
}

/// True where each column goes on where that of the stretch ends.
fn follows(stretch: &Stretch, columns: &[Column], count: u64) -> bool {
    let each = stretch.length_bytes.checked_div(count).unwrap_or_default();
    stretch.columns.iter().zip(columns).all(|(before, next)| {
        before.disk == next.disk && before.start_bytes.checked_add(each) == Some(next.start_bytes)
    })
}
