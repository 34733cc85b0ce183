//! The volumes of a group: what each holds, and which bytes of which disk are used by it.

use super::SECTOR_BYTES;
use super::database::Database;
use super::set::Member;
use super::volume::{self, Volume};
use crate::blockio::{Column, Mapped, ReadAt, Stretch};
use crate::filesystem::inside::{self, Inside};
use crate::schema::State;
use crate::units::{ByteRange, RangeSet, format_size, u64_from, with_causes};

/// What becomes of one disk of a group.
#[derive(Default)]
pub(super) struct Fate {
    pub(super) extents: RangeSet,
    /// In no order.
    pub(super) used: Vec<ByteRange>,
    /// What lies on it.
    pub(super) volumes: Vec<String>,
    /// What keeps it from being captured by what is used.
    pub(super) faults: Vec<(State, String)>,
    pub(super) hints: Vec<String>,
}

/// Looks into every volume.
pub(super) fn look(members: &[&Member<'_>], database: &Database, volumes: &[Volume]) -> Vec<Fate> {
    let mut fates: Vec<Fate> = members.iter().map(|_| Fate::default()).collect();
    // For each disk of the database, the member that it is.
    let of_disk: Vec<Option<usize>> = database
        .disks
        .iter()
        .map(|disk| members.iter().position(|member| member.header.disk_guid == disk.guid))
        .collect();
    for volume in volumes {
        let group = Group { members, of_disk: &of_disk, database };
        let on = group.place_extents(volume, &mut fates);
        let outcome = group.look_into(volume, &mut fates);
        for position in on {
            let Some(fate) = fates.get_mut(position) else { continue };
            match &outcome {
                Ok((what, hints)) => {
                    let size = format_size(volume.size_bytes);
                    fate.volumes.push(format!("{} ({}, {size}): {what}", volume.name, volume.form));
                    fate.hints.extend(hints.iter().cloned());
                }
                Err((state, fact)) => fate.faults.push((*state, fact.clone())),
            }
        }
    }
    fates
}

/// A copy of a volume as a disk whose disks are the members of its group.
struct Opened<'a> {
    volume: Mapped<&'a dyn ReadAt>,
    /// The bytes of its extents that are not in it, each with the member.
    rest: Vec<(usize, ByteRange)>,
}

struct Group<'a> {
    members: &'a [&'a Member<'a>],
    of_disk: &'a [Option<usize>],
    database: &'a Database,
}

impl<'a> Group<'a> {
    fn member_of(&self, disk: usize) -> Option<usize> {
        self.of_disk.get(disk).copied().flatten()
    }

    /// The bytes of a disk that are an extent; `None` where the disk is not here, or ends before.
    fn on_disk(&self, extent: volume::Extent) -> Option<(usize, ByteRange)> {
        let member = self.member_of(extent.disk)?;
        let public = self.members.get(member)?.header.public;
        let start = public.start().checked_add(extent.place.start())?;
        let place = ByteRange::at(start, extent.place.length())?;
        public.contains(place).then_some((member, place))
    }

    /// Notes where a volume lies. Returns the members that it lies on.
    fn place_extents(&self, volume: &Volume, fates: &mut [Fate]) -> Vec<usize> {
        let mut on = Vec::new();
        for extent in volume.copies.iter().flat_map(|copy| &copy.extents) {
            let Some(member) = self.member_of(extent.disk) else { continue };
            if let (Some(fate), Some((_, place))) = (fates.get_mut(member), self.on_disk(*extent)) {
                fate.extents.insert(place);
            }
            if !on.contains(&member) {
                on.push(member);
            }
        }
        on
    }

    /// Reads each copy of a volume, and notes what is used of it. What it holds, with hints; or why it cannot be captured.
    fn look_into(
        &self,
        volume: &Volume,
        fates: &mut [Fate],
    ) -> Result<(String, Vec<String>), (State, String)> {
        let named = |fact: &str| format!("the volume {} {fact}", volume.name);
        let unsupported = |fact: &str| (State::Unsupported, named(fact));
        let unread = |error: &dyn std::error::Error| {
            unsupported(&format!("could not be read ({})", with_causes(error)))
        };
        if let Some(obstacle) = &volume.obstacle {
            return Err(unsupported(obstacle));
        }
        let mut first: Option<(String, State, Vec<String>, Option<RangeSet>)> = None;
        for copy in &volume.copies {
            let is_here = |extent: &&volume::Extent| self.member_of(extent.disk).is_some();
            let here = copy.extents.iter().filter(is_here).count();
            if here == 0 && volume.copies.len() > 1 {
                continue;
            }
            if here < copy.extents.len() {
                return Err(unsupported(&format!(
                    "lies on {} too, which is not here: name that disk with --disk as well",
                    self.missing(copy)
                )));
            }
            let Opened { volume: mapped, rest } = self.open(volume, copy).ok_or_else(|| {
                (State::Damaged, named("has extents that do not lie in the public region of their disk"))
            })?;
            let Inside { what, judged } = inside::look(&mapped).map_err(|error| unread(&error))?;
            let used = judged.map.as_ref().map(|map| mapped.places(map)).transpose();
            let used = used.map_err(|error| unread(&error))?.unwrap_or_default();
            for (member, place) in rest.into_iter().chain(used) {
                if let Some(fate) = fates.get_mut(member) {
                    fate.used.push(place);
                }
            }
            let looked = (what, judged.state, judged.findings, judged.map);
            match &first {
                Some(before) if *before != looked => {
                    return Err(unsupported(
                        "is a mirror whose copies say different things: let Windows make them equal, and shut it down",
                    ));
                }
                Some(_) => {}
                None => first = Some(looked),
            }
        }
        match first {
            None => Err(unsupported("has no copy here")),
            Some((what, State::Clean, hints, Some(_))) => {
                Ok((what, hints.into_iter().map(|hint| named(&format!("has a hint: {hint}"))).collect()))
            }
            Some((what, state, findings, _)) => {
                let findings = findings.join("; ");
                Err((state, format!("{}: {findings}; do that in Windows", named(&format!("holds {what}")))))
            }
        }
    }

    fn open(&self, volume: &Volume, copy: &volume::Copy) -> Option<Opened<'a>> {
        let places: Vec<(usize, ByteRange)> =
            copy.extents.iter().map(|extent| self.on_disk(*extent)).collect::<Option<_>>()?;
        let column = |(disk, place): &(usize, ByteRange)| Column { disk: *disk, start_bytes: place.start() };
        let mut rest = Vec::new();
        let stretches = match copy.stripe_bytes {
            Some(stripe_bytes) => {
                let each = volume.size_bytes.checked_div(u64_from(places.len()))?;
                for (disk, place) in &places {
                    rest.push((*disk, ByteRange::new(place.start().checked_add(each)?, place.end())));
                }
                let columns = places.iter().map(column).collect();
                vec![Stretch { length_bytes: volume.size_bytes, stripe_bytes, columns }]
            }
            None => {
                let stretch = |place: &(usize, ByteRange)| Stretch {
                    length_bytes: place.1.length(),
                    stripe_bytes: SECTOR_BYTES,
                    columns: vec![column(place)],
                };
                places.iter().map(stretch).collect()
            }
        };
        let disks: Vec<&'a dyn ReadAt> = self.members.iter().map(|member| member.source.disk).collect();
        Some(Opened { volume: Mapped::new(disks, stretches).ok()?, rest })
    }

    /// The names of the disks of a copy that are not here.
    fn missing(&self, copy: &volume::Copy) -> String {
        let missing = copy.extents.iter().filter(|extent| self.member_of(extent.disk).is_none());
        let mut names: Vec<&str> =
            missing.filter_map(|extent| Some(self.database.disks.get(extent.disk)?.name.as_str())).collect();
        names.dedup();
        names.join(" and ")
    }
}
