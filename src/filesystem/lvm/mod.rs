//! LVM2: which volume groups stand on some volumes, of which extents their logical volumes are made, and the bytes that
//! describe a group anew.
//!
//! Invariants:
//!
//! - A group is only read where all of its physical volumes are there, each once, and agree; otherwise a sentence says
//!   of each what is missing.
//! - Extents that a description places twice, outside a physical volume or on its metadata are not believed.
//! - A logical volume is read from its extents only where they are its content: linear and striped volumes, the first
//!   copy of a mirror, a copy of a RAID1 that the kernel noted as whole. What else there is, only the kernel maps.

mod flaw;
mod group;
mod label;
mod leg;
mod set;
mod text;
mod volume;
mod write;

pub use flaw::{Broken, Flaw};
pub use write::{Piece, WriteError, pieces};

use crate::blockio::{Column, Mapped, ReadAt, Stretch};
use crate::schema::{Content, LogicalVolume, Mapping, PhysicalVolume, Role, Segment, Volume, VolumeGroup};
use crate::units::usize_from;
use volume::{Leg, Logical, Made};

/// A group that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundGroup {
    /// Itself. What its logical volumes hold was not looked at: their content is [`Content::LeftOut`].
    pub group: VolumeGroup,
    /// For each of its logical volumes that only the kernel can read, what it is, as `a thin volume`.
    pub kernel: Vec<Option<String>>,
    /// For each, whether a snapshot is built on its present content.
    pub origins: Vec<bool>,
}

/// The groups on some volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that are whole.
    pub groups: Vec<FoundGroup>,
    /// Names of physical volumes that cannot be captured with their group, each with a sentence that says why.
    pub doubts: Vec<(String, String)>,
    /// What a person should know about others: name and sentence.
    pub findings: Vec<(String, String)>,
    /// Groups that are not whole.
    pub broken: Vec<Broken>,
}

/// Finds the groups whose physical volumes are among `volumes`, each of which has a name in the image.
#[must_use]
pub fn groups(volumes: &[(&str, &dyn ReadAt)]) -> Found {
    let mut found = Found::default();
    let (mut labels, mut labelled) = (Vec::new(), Vec::new());
    for (name, volume) in volumes {
        match label::read(*volume) {
            None => {}
            Some(Err(doubt)) => found.doubts.push(((*name).to_owned(), doubt)),
            Some(Ok(label)) => {
                let findings = label.findings.iter().map(|finding| ((*name).to_owned(), finding.clone()));
                found.findings.extend(findings);
                labels.push(label);
                labelled.push((*name, *volume));
            }
        }
    }
    let set = set::assemble(&labels);
    found.broken = set.broken;
    let name_of = |position: usize| labelled.get(position).map_or("", |(name, _)| *name).to_owned();
    found.doubts.extend(set.doubts.into_iter().map(|(position, sentence)| (name_of(position), sentence)));
    let mut wholes = set.groups;
    wholes.sort_by_key(|whole| whole.labels.iter().copied().min());
    for (number, whole) in (0u32..).zip(wholes) {
        let disks: Vec<&dyn ReadAt> = whole
            .labels
            .iter()
            .filter_map(|position| labelled.get(*position).map(|(_, volume)| *volume))
            .collect();
        let names: Vec<String> = whole.labels.iter().map(|position| name_of(*position)).collect();
        let group = found_group(number, whole.group, &names, &disks);
        match group.group.fault() {
            None => found.groups.push(group),
            Some(fault) => {
                let VolumeGroup { name, uuid, .. } = group.group;
                let broken = Broken { name, uuid, flaw: Flaw::Contradiction(fault) };
                let sentence = broken.for_a_capture();
                found.doubts.extend(names.into_iter().map(|name| (name, sentence.clone())));
                found.broken.push(broken);
            }
        }
    }
    found
}

fn found_group(number: u32, group: group::Group, names: &[String], disks: &[&dyn ReadAt]) -> FoundGroup {
    let extent_bytes = group.extent_bytes;
    let starts: Vec<u64> = group.members.iter().map(|member| member.data.start()).collect();
    let physical_volumes = group.members.into_iter().zip(names).map(|(member, name)| PhysicalVolume {
        volume: name.clone(),
        uuid: with_dashes(&member.uuid),
        start_bytes: member.data.start(),
        extents: member.extents,
        status: member.status,
        tags: member.tags,
    });
    let (mut logical_volumes, mut kernel, mut origins) = (Vec::new(), Vec::new(), Vec::new());
    for (position, logical) in (1u32..).zip(group.volumes) {
        origins.push(logical.is_origin);
        let read = extents_of(&logical.made, extent_bytes, &starts, disks);
        let (mapping, segments, what) = match read {
            Ok((mapping, segments)) => (mapping, segments, None),
            Err(what) => (Mapping::Kernel, Vec::new(), Some(what)),
        };
        logical_volumes.push(logical_volume((number, position), logical, extent_bytes, mapping, segments));
        kernel.push(what);
    }
    let group = VolumeGroup {
        number,
        name: group.name,
        uuid: with_dashes(&group.uuid),
        sequence: group.sequence,
        extent_bytes,
        status: group.status,
        tags: group.tags,
        system_id: group.system_id,
        allocation_policy: group.allocation_policy,
        physical_volumes: physical_volumes.collect(),
        logical_volumes,
    };
    FoundGroup { group, kernel, origins }
}

fn logical_volume(
    (group, number): (u32, u32),
    logical: Logical,
    extent_bytes: u64,
    mapping: Mapping,
    segments: Vec<Segment>,
) -> LogicalVolume {
    LogicalVolume {
        volume: Volume {
            name: format!("g{group}-l{number}"),
            role: Role::Logical { group, number },
            start_bytes: 0,
            size_bytes: logical.extents.saturating_mul(extent_bytes),
            content: Content::LeftOut,
            fixed: false,
        },
        name: logical.name,
        uuid: with_dashes(&logical.uuid),
        mapping,
        status: logical.status,
        flags: logical.flags,
        tags: logical.tags,
        allocation_policy: logical.allocation_policy,
        creation_time: logical.creation_time,
        creation_host: logical.creation_host,
        segments,
    }
}

/// The extents that are the content of a volume; what it is, where there are none.
fn extents_of(
    made: &Made,
    extent_bytes: u64,
    starts: &[u64],
    disks: &[&dyn ReadAt],
) -> Result<(Mapping, Vec<Segment>), String> {
    match made {
        Made::Kernel(what) => Err(what.clone()),
        Made::Extents(segments) => {
            let striped = segments.iter().any(|segment| segment.stripes.len() > 1);
            Ok((if striped { Mapping::Striped } else { Mapping::Linear }, segments.clone()))
        }
        Made::Legs(legs) => {
            let open = |segments: &[Segment]| {
                let origins: Vec<(usize, u64)> = starts.iter().copied().enumerate().collect();
                Mapped::new(disks.to_vec(), stretches(segments, extent_bytes, &origins)?).ok()
            };
            let states: Vec<Option<Mapped<&dyn ReadAt>>> =
                legs.iter().map(|leg| leg.state.as_deref().and_then(open)).collect();
            let noted: Vec<Option<&dyn ReadAt>> =
                states.iter().map(|state| state.as_ref().map(|state| -> &dyn ReadAt { state })).collect();
            let whole = match legs.as_slice() {
                // The metadata alone say which copy counts.
                [leg] if leg.state.is_none() => vec![0],
                _ => leg::whole(&noted),
            };
            let whole: Vec<&Leg> = whole.into_iter().filter_map(|position| legs.get(position)).collect();
            let readable = whole.into_iter().filter(|leg| leg.may_be_read);
            // `false` comes first, and of equals the first.
            let leg = readable.min_by_key(|leg| leg.is_written_late);
            let leg = leg.ok_or_else(|| match legs.iter().any(|leg| leg.may_be_read) {
                true => "a mirror of which no copy is known to be whole".to_owned(),
                false => "a mirror of which no copy can be read by itself".to_owned(),
            })?;
            Ok((Mapping::Mirrored, leg.data.clone()))
        }
    }
}

/// Where segments lie on disks, given for each physical volume the disk that it is on and the first byte there of its
/// first extent; `None` where they do not lie on one.
#[must_use]
pub fn stretches(segments: &[Segment], extent_bytes: u64, origins: &[(usize, u64)]) -> Option<Vec<Stretch>> {
    let stretch = |segment: &Segment| {
        let columns = segment.stripes.iter().map(|stripe| {
            let (disk, origin) = origins.get(usize_from(stripe.physical_volume.into()))?;
            let start_bytes = origin.checked_add(stripe.first_extent.checked_mul(extent_bytes)?)?;
            Some(Column { disk: *disk, start_bytes })
        });
        Some(Stretch {
            length_bytes: segment.extents.checked_mul(extent_bytes)?,
            stripe_bytes: segment.stripe_bytes,
            columns: columns.collect::<Option<_>>()?,
        })
    };
    segments.iter().map(stretch).collect()
}

/// A UUID as LVM prints it.
fn with_dashes(uuid: &str) -> String {
    let mut text = String::with_capacity(38);
    for (position, character) in uuid.chars().enumerate() {
        if matches!(position, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests;
