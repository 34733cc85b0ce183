//! Single logical volumes into groups that stand on the targets: not a byte outside of their extents is written.
//!
//! A volume of the image goes into the one that it was captured from, by UUID, else into that of the same name in the
//! group of the same name, else into the one that a person named. Only linear and striped volumes are written: of all
//! others the kernel knows more than their extents.

use super::captured::Captured;
use super::deploy::{DeployOptions, DiskPlan, VolumePlan};
use super::existing;
use super::group::MemberPlan;
use super::keep::Stays;
use super::layout::{Piece, Tie};
use super::refusal::{Part, Refusal};
use super::sectors::{self, Verdict};
use super::standing::{Standing, StandingGroup, Targets};
use super::{logical, place, sizing};
use crate::filesystem::lvm::Flaw;
use crate::schema::{
    ChosenPlace, ChosenVolume, Content, Keep, LogicalVolume, Mapping, Role, Volume, VolumeGroup,
};
use crate::units::{ByteRange, RangeSet, SectorSize, u64_from};
use serde::Serialize;

/// What is done with a group that stands on the targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExistingGroup {
    /// The group as it stands there, its volumes under the names `GROUP/VOLUME`. Nothing of it is changed.
    pub group: VolumeGroup,
    /// Where each of its physical volumes lies.
    pub members: Vec<MemberPlan>,
    /// What is written.
    pub volumes: Vec<IntoLogical>,
    /// What a person should know before confirming.
    pub warnings: Vec<String>,
}

/// A volume of the image that goes into a logical volume that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IntoLogical {
    /// The logical volume: `GROUP/VOLUME`.
    pub logical: String,
    /// What is written to it; its place is counted from its own start.
    pub planned: VolumePlan,
}

/// Decides where the chosen logical volumes go, and says of each disk plan what of its disk belongs to them.
pub(super) fn plan(
    captured: Captured<'_>,
    targets: Targets<'_>,
    disks: &mut [DiskPlan],
    options: &DeployOptions,
) -> Result<Vec<ExistingGroup>, Refusal> {
    let Keep::Table(chosen) = &options.keep else { return Ok(Vec::new()) };
    let none = Standing::default();
    let standing = targets.standing.unwrap_or(&none);
    let mut plans: Vec<(usize, ExistingGroup)> = Vec::new();
    for (source, captured_volume, wanted) in volumes_of(captured, chosen)? {
        let (index, found) = find(standing, source, captured_volume, wanted)?;
        let Some(group) = standing.groups.get(index) else { continue };
        refuse_unwritable(group, found)?;
        let position = match plans.iter().position(|(other, _)| *other == index) {
            Some(position) => position,
            None => {
                plans.push((index, on_disks(group, disks)?));
                plans.len().saturating_sub(1)
            }
        };
        let Some((_, plan)) = plans.get_mut(position) else { continue };
        let volume = &captured_volume.volume;
        let name = own_name(group, found);
        if let Some(other) = plan.volumes.iter().find(|other| other.logical == name) {
            let (volume, other) = (volume.name.clone(), other.planned.volume.clone());
            return Err(Refusal::LogicalTwice { volume, other, logical: name });
        }
        plan.warnings.extend(judge_sectors(captured, source, volume, &plan.members, disks)?);
        let planned = volume_plan(volume, found, &name, options.expand, &mut plan.warnings)?;
        plan.volumes.push(IntoLogical { logical: name, planned });
    }
    let plans: Vec<ExistingGroup> = plans.into_iter().map(|(_, plan)| plan).collect();
    spare_the_rest(&plans, disks)?;
    Ok(plans)
}

/// The logical volumes of the image to restore, each with its group and the place that a person named for it.
type Wanted<'a> = (&'a VolumeGroup, &'a LogicalVolume, Option<&'a ChosenPlace>);

fn volumes_of<'a>(captured: Captured<'a>, chosen: &'a [ChosenVolume]) -> Result<Vec<Wanted<'a>>, Refusal> {
    let mut volumes = Vec::new();
    for group in captured.groups {
        for logical in &group.logical_volumes {
            let name = &logical.volume.name;
            let choice = chosen.iter().find(|choice| choice.volume == *name);
            let is_stored = logical.volume.content != Content::LeftOut;
            match choice {
                Some(_) if !is_stored => {
                    let reason = "the image does not hold its content; choose another volume".to_owned();
                    return Err(Refusal::NotRestorable { volume: name.clone(), reason });
                }
                Some(choice) => volumes.push((group, logical, choice.place.as_ref())),
                None if chosen.is_empty() && is_stored => volumes.push((group, logical, None)),
                None => {}
            }
        }
    }
    Ok(volumes)
}

/// The position of the group, and the volume in it, that a volume goes into.
fn find<'a>(
    standing: &'a Standing,
    source: &VolumeGroup,
    volume: &LogicalVolume,
    wanted: Option<&ChosenPlace>,
) -> Result<(usize, &'a LogicalVolume), Refusal> {
    let name = &volume.volume.name;
    if let Some(ChosenPlace::Logical { group, volume }) = wanted {
        return by_name(standing, name, group, volume, false);
    }
    let by_uuid = standing.groups.iter().enumerate().find_map(|(index, group)| {
        let logical_volumes = &group.found.group.logical_volumes;
        let found = logical_volumes.iter().find(|logical| logical.uuid == volume.uuid)?;
        (group.found.group.uuid == source.uuid).then_some((index, found))
    });
    if let Some(found) = by_uuid {
        return Ok(found);
    }
    match standing.broken.iter().find(|broken| broken.uuid == source.uuid) {
        Some(broken) => Err(not_whole(&broken.name, &broken.flaw)),
        None => by_name(standing, name, &source.name, &volume.name, true),
    }
}

fn by_name<'a>(
    standing: &'a Standing,
    volume: &str,
    group: &str,
    name: &str,
    by_rule: bool,
) -> Result<(usize, &'a LogicalVolume), Refusal> {
    if let Some(broken) = standing.broken.iter().find(|broken| broken.name == group) {
        return Err(not_whole(&broken.name, &broken.flaw));
    }
    let mut groups = standing.groups.iter().enumerate().filter(|(_, found)| found.found.group.name == group);
    let (first, second) = (groups.next(), groups.next());
    if second.is_some() {
        let reason =
            format!("two volume groups on the targets are called {group}; leave the disks of one out");
        return Err(Refusal::NotRestorable { volume: volume.to_owned(), reason });
    }
    let found = first.and_then(|(index, found)| {
        let found = found.found.group.logical_volumes.iter().find(|logical| logical.name == name)?;
        Some((index, found))
    });
    found.ok_or_else(|| {
        let all = standing.groups.iter().flat_map(|group| {
            group.found.group.logical_volumes.iter().map(|logical| own_name(group, logical))
        });
        let (logical, there) = (format!("{group}/{name}"), all.collect());
        Refusal::NoLogicalVolume { volume: volume.to_owned(), logical, by_rule, there }
    })
}

fn own_name(group: &StandingGroup, logical: &LogicalVolume) -> String {
    format!("{}/{}", group.found.group.name, logical.name)
}

fn not_whole(group: &str, flaw: &Flaw) -> Refusal {
    let way_out = match flaw {
        Flaw::Missing { .. } => "name all of its disks with --disk",
        Flaw::Twice => "leave the copy out",
        _ => "put it right first, as LVM's own tools say (vgck)",
    };
    Refusal::GroupNotWhole { group: group.to_owned(), reason: format!("{flaw}; {way_out}") }
}

/// Why a logical volume cannot be written extent by extent: a clause with the way out. `kernel` is what it is, where only the
/// kernel knows more of it than its extents.
#[must_use]
pub fn kept_from_writing(
    group: &VolumeGroup,
    logical: &LogicalVolume,
    kernel: Option<&str>,
) -> Option<String> {
    let has = |words: &[String], word: &str| words.iter().any(|other| other == word);
    let reason = if has(&group.status, "EXPORTED") || !has(&group.status, "WRITE") {
        "its group is exported or read-only; make it writable (vgimport, vgchange)"
    } else if !has(&logical.status, "WRITE") {
        "it is read-only; make it writable (lvchange --permission rw)"
    } else if let Some(what) = kernel {
        return Some(format!(
            "it is {what}, which only the kernel can write; name another volume, or deploy the whole group"
        ));
    } else {
        match logical.mapping {
            Mapping::Mirrored => {
                "it is a mirror, of which every copy would have to be written; make it a plain volume (lvconvert), or deploy \
                 the whole group"
            }
            Mapping::Kernel => "only the kernel can write it; name another volume",
            Mapping::Linear | Mapping::Striped => return None,
        }
    };
    Some(reason.to_owned())
}

/// Refuses a volume of which more would have to be written than its extents, or that nobody may write.
fn refuse_unwritable(group: &StandingGroup, logical: &LogicalVolume) -> Result<(), Refusal> {
    let position = group.found.group.logical_volumes.iter().position(|other| other.uuid == logical.uuid);
    let kernel = position.and_then(|position| group.found.kernel.get(position)).and_then(Option::as_deref);
    let is_origin = position.and_then(|position| group.found.origins.get(position));
    let of_snapshots = || {
        let reason = "its snapshots need what it holds; remove them (lvremove), or name another volume";
        (is_origin != Some(&false)).then(|| reason.to_owned())
    };
    let reason = kept_from_writing(&group.found.group, logical, kernel).or_else(of_snapshots);
    let refusal = |reason| Refusal::NotWritable { logical: own_name(group, logical), reason };
    reason.map_or(Ok(()), |reason| Err(refusal(reason)))
}

/// A group of which nothing is written yet, on the disks of the plan.
fn on_disks(group: &StandingGroup, disks: &[DiskPlan]) -> Result<ExistingGroup, Refusal> {
    let member = |(path, place): &(String, ByteRange)| {
        let disk = disks.iter().position(|disk| disk.target.path == *path)?;
        Some(MemberPlan { disk, place: *place })
    };
    let members: Option<Vec<MemberPlan>> = group.members.iter().map(member).collect();
    let found = group.found.group.clone().under_its_own_names();
    match members {
        Some(members) => {
            Ok(ExistingGroup { group: found, members, volumes: Vec::new(), warnings: Vec::new() })
        }
        None => {
            let reason = "a disk of it is no target of this deploy; name all of its disks with --disk";
            Err(Refusal::GroupNotWhole { group: found.name, reason: reason.to_owned() })
        }
    }
}

/// Refuses content that does not work on the sectors of the targets; the warning where it hardly does.
fn judge_sectors(
    captured: Captured<'_>,
    source: &VolumeGroup,
    volume: &Volume,
    members: &[MemberPlan],
    disks: &[DiskPlan],
) -> Result<Option<String>, Refusal> {
    let is_part = |name: &str| source.physical_volumes.iter().any(|physical| physical.volume == name);
    let mut sources =
        captured.disks.iter().filter(|disk| disk.volumes.iter().any(|volume| is_part(&volume.name)));
    let Some(first) = sources.next() else { return Ok(None) };
    let from_bytes =
        sources.map(|disk| disk.logical_sector_bytes).fold(first.logical_sector_bytes, SectorSize::max);
    let targets = members.iter().filter_map(|member| disks.get(member.disk));
    let to_bytes = targets.map(|disk| disk.target.logical_sector_bytes).max().unwrap_or(from_bytes);
    let part = part(volume);
    match sectors::judge(volume, None, from_bytes, to_bytes) {
        Verdict::Fine => Ok(None),
        Verdict::Warn(what) => Ok(Some(format!("Of {part}: {what}."))),
        Verdict::Refuse(reason) => {
            Err(Refusal::SectorSize { disk: first.number, part, from_bytes, to_bytes, reason })
        }
    }
}

fn part(volume: &Volume) -> Part {
    match volume.role {
        Role::Logical { group, number } => Part::Logical { group, number },
        Role::Partition { number } => Part::Partition(number),
        Role::WholeDisk | Role::BootArea => Part::WholeDisk,
    }
}

fn volume_plan(
    volume: &Volume,
    found: &LogicalVolume,
    name: &str,
    expand: bool,
    warnings: &mut Vec<String>,
) -> Result<VolumePlan, Refusal> {
    let place = ByteRange::new(0, found.volume.size_bytes);
    let (has_bytes, needs_bytes) = (place.length(), existing::needed_bytes(volume));
    if has_bytes < needs_bytes {
        let (volume, logical) = (volume.name.clone(), name.to_owned());
        return Err(Refusal::LogicalTooSmall { volume, logical, has_bytes, needs_bytes });
    }
    existing::check_member(volume, has_bytes, || name.to_owned())?;
    let piece = Piece {
        part: part(volume),
        old: ByteRange::new(0, volume.size_bytes),
        tie: Tie::WholeDisk,
        special: None,
        volume: Some(volume),
        sizing: sizing::of_content(Some(volume)),
    };
    let grown = |warnings| if expand { place::grow(&piece, volume, place, warnings) } else { None };
    let resize = place::shrink(volume, place).or_else(|| grown(warnings));
    let clause = place::file_system_clause(resize, &piece, place);
    Ok(VolumePlan {
        volume: volume.name.clone(),
        partition: None,
        place,
        action: place::action(&volume.content),
        resize,
        reason: format!(
            "The logical volume {name} of the target is overwritten, and keeps its extents and its size{clause}."
        ),
    })
}

/// Tells the disks what of them is written, and refuses a target that has no part in it.
fn spare_the_rest(plans: &[ExistingGroup], disks: &mut [DiskPlan]) -> Result<(), Refusal> {
    for (position, disk) in disks.iter_mut().enumerate() {
        if let Stays::Table { extents, .. } = &mut disk.stays {
            *extents = extents_on(position, plans).ranges().to_vec();
            // A disk of a group is needed to know the group, also where nothing of the volumes is on it.
            let is_member = plans.iter().flat_map(|plan| &plan.members).any(|member| member.disk == position);
            if !is_member && disk.volumes.is_empty() {
                return Err(Refusal::NothingFor { target: disk.target.path.clone() });
            }
        }
    }
    Ok(())
}

/// The bytes of one disk that belong to the logical volumes that are written.
pub(super) fn extents_on(position: usize, plans: &[ExistingGroup]) -> RangeSet {
    let mut extents = RangeSet::new();
    for plan in plans {
        let written =
            |logical: &&LogicalVolume| plan.volumes.iter().any(|into| into.logical == logical.volume.name);
        for logical in plan.group.logical_volumes.iter().filter(written) {
            for stretch in logical::stretches(&plan.group, &plan.members, logical).unwrap_or_default() {
                let count = u64_from(stretch.columns.len());
                let each = stretch.length_bytes.checked_div(count).unwrap_or_default();
                let mine = stretch.columns.iter().filter(|column| column.disk == position);
                mine.filter_map(|column| ByteRange::at(column.start_bytes, each))
                    .for_each(|range| extents.insert(range));
            }
        }
    }
    extents
}
