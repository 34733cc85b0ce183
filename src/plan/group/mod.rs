//! Volume groups: laid out like a disk of their own, inside the places that their physical volumes have.
//!
//! First the disks are laid out, with each physical volume at least as large as its part of what the logical volumes
//! need; then the logical volumes share the extents that there are. What was free stays free in proportion, and gives
//! way first.

mod claims;
mod extents;

use super::captured::Captured;
use super::deploy::{DeployOptions, DeployPlan, DiskPlan, VolumeAction, VolumePlan};
use super::identity::{self, NewName};
use super::layout::{Piece, Tie};
use super::place;
use super::refusal::{Part, Refusal};
use super::sectors::{self, Verdict};
use super::sizing::{self, Sizing, Why};
use super::step::Step;
use crate::schema::{
    Content, Disk, FileSystemKind, Layout, LogicalVolume, PartitionWish, Role, VolumeGroup, WantedSize,
};
use crate::units::{ByteRange, format_size};
use serde::Serialize;

/// What is done with one volume group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupPlan {
    /// The group as it will be described on the targets: its physical volumes with their new extents, its logical
    /// volumes with their new sizes and places.
    pub group: VolumeGroup,
    /// Where each of its physical volumes lies.
    pub members: Vec<MemberPlan>,
    /// What is written to each of its logical volumes; places are counted from the start of each.
    pub volumes: Vec<VolumePlan>,
    /// Names of the image's logical volumes that the target does not get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// What has another UUID than it was captured with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub new_names: Vec<NewName>,
    /// What a person should know before confirming.
    pub warnings: Vec<String>,
}

/// A physical volume on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemberPlan {
    /// Position of the disk in the plan.
    pub disk: usize,
    /// Its bytes on that disk.
    pub place: ByteRange,
}

/// A group without some of its logical volumes.
pub(super) fn without(group: &VolumeGroup, names: &[String]) -> VolumeGroup {
    let mut group = group.clone();
    group.logical_volumes.retain(|logical| !names.contains(&logical.volume.name));
    group
}

/// The rule for the size of a logical volume.
pub(super) fn sizing_of(logical: &LogicalVolume, options: &DeployOptions) -> Result<Sizing, Refusal> {
    let volume = &logical.volume;
    match options.wishes.iter().find(|wish| wish.volume == volume.name) {
        Some(wish) => sizing::granted(wish.size, volume),
        None => Ok(match sizing::of_partition(None, Some(volume), volume.size_bytes) {
            Sizing::Fixed(Why::Small) => Sizing::Fixed(Why::SmallLogical),
            sizing => sizing,
        }),
    }
}

/// The disks of an image with what their physical volumes need at least, by the rules and wishes for the logical volumes
/// on them. Each has its part in proportion to its extents.
pub(super) fn with_minimums(captured: Captured<'_>, options: &DeployOptions) -> Result<Vec<Disk>, Refusal> {
    let mut disks = captured.disks.to_vec();
    for group in captured.groups {
        let mut least = 0u64;
        for logical in &group.logical_volumes {
            least = least.saturating_add(claims::least(
                sizing_of(logical, options)?,
                logical,
                group.extent_bytes,
            ));
        }
        let all = claims::total(group);
        for physical in &group.physical_volumes {
            let part =
                u128::from(least).saturating_mul(physical.extents.into()).div_ceil(u128::from(all.max(1)));
            let bytes =
                part.saturating_mul(group.extent_bytes.into()).saturating_add(physical.start_bytes.into());
            let minimum_bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let volumes = disks.iter_mut().flat_map(|disk| &mut disk.volumes);
            for volume in volumes.filter(|volume| volume.name == physical.volume) {
                if let Content::PhysicalVolume(found) = &mut volume.content {
                    found.minimum_bytes = minimum_bytes;
                }
            }
        }
    }
    Ok(disks)
}

/// The wishes, and a share for every physical volume of which nothing is wished while something is of a logical volume
/// on it: it has to make room.
pub(super) fn with_shares(captured: Captured<'_>, options: &DeployOptions) -> Vec<PartitionWish> {
    let mut wishes = options.wishes.clone();
    let is_wished = |name: &str| options.wishes.iter().any(|wish| wish.volume == name);
    for group in captured.groups.iter().filter(|group| group.volumes().any(|volume| is_wished(&volume.name)))
    {
        for physical in group.physical_volumes.iter().filter(|physical| !is_wished(&physical.volume)) {
            wishes.push(PartitionWish { volume: physical.volume.clone(), size: WantedSize::Share });
        }
    }
    wishes
}

/// Decides everything about the groups of an image, whose disks are laid out. Every copy of a disk gets a copy of the
/// groups that are on that disk alone. What a person left out has no part in the room of the others.
pub(super) fn plan(
    captured: Captured<'_>,
    disks: &[DiskPlan],
    options: &DeployOptions,
) -> Result<Vec<GroupPlan>, Refusal> {
    let mut plans = Vec::new();
    for group in captured.groups {
        let places: Vec<Vec<MemberPlan>> =
            group.physical_volumes.iter().map(|physical| places_of(&physical.volume, disks)).collect();
        let copies = places.iter().map(Vec::len).max().unwrap_or_default();
        let refuse = |reason: &str| {
            let (group, name) = (group.number, group.name.clone());
            Err(Refusal::Group { group, name, reason: reason.to_owned() })
        };
        if copies == 0 {
            continue;
        }
        if places.iter().any(Vec::is_empty) {
            return refuse("only some of its physical volumes are deployed; deploy all of them, or none");
        }
        let one_disk = one_disk(group, captured);
        if !one_disk && copies > 1 {
            return refuse(
                "it stands on several disks, of which copies cannot be told apart; deploy one copy",
            );
        }
        for copy in 0..copies {
            let members: Vec<MemberPlan> =
                places.iter().filter_map(|places| places.get(copy).copied()).collect();
            plans.push(plan_group(captured, group, (copy, members), disks, options)?);
        }
    }
    Ok(plans)
}

/// The file systems on which a system's list of LVM's devices may stand, which names the captured disk.
pub(super) fn steps(captured: Captured<'_>, plan: &DeployPlan) -> Vec<Step> {
    let step = |path: &str, planned: &VolumePlan| {
        use FileSystemKind::{Ext2, Ext3, Ext4, Xfs};
        let volume = captured.volumes().find(|volume| volume.name == planned.volume)?;
        let Content::FileSystem(found) = &volume.content else { return None };
        matches!(found.kind, Ext2 | Ext3 | Ext4 | Xfs).then(|| Step::ForgetDevices {
            target: path.to_owned(),
            volume: planned.volume.clone(),
            kind: found.kind,
        })
    };
    let mut steps = Vec::new();
    // A system outside of the groups lists their disks too.
    for disk in plan.disks.iter().filter(|_| !plan.groups.is_empty()) {
        steps.extend(disk.volumes.iter().filter_map(|planned| step(&disk.target.path, planned)));
    }
    let logical = plan.logical_volumes();
    steps.extend(logical.iter().filter_map(|logical| step(logical.target(plan), logical.planned)));
    steps
}

/// The places of a volume on the targets, one for each copy of its disk.
fn places_of(volume: &str, disks: &[DiskPlan]) -> Vec<MemberPlan> {
    let of_disk = |(disk, plan): (usize, &DiskPlan)| {
        let planned = plan.volumes.iter().find(|planned| planned.volume == volume)?;
        (planned.action == VolumeAction::MakePhysicalVolume)
            .then_some(MemberPlan { disk, place: planned.place })
    };
    disks.iter().enumerate().filter_map(of_disk).collect()
}

fn one_disk(group: &VolumeGroup, captured: Captured<'_>) -> bool {
    let on = |disk: &&Disk| {
        group
            .physical_volumes
            .iter()
            .any(|physical| disk.volumes.iter().any(|volume| volume.name == physical.volume))
    };
    captured.disks.iter().filter(on).count() <= 1
}

fn plan_group(
    captured: Captured<'_>,
    captured_group: &VolumeGroup,
    (copy, members): (usize, Vec<MemberPlan>),
    disks: &[DiskPlan],
    options: &DeployOptions,
) -> Result<GroupPlan, Refusal> {
    let mut warnings = Vec::new();
    let group = &without(captured_group, &options.without);
    judge_sectors(captured, group, &members, disks)?;
    let layout = members.iter().filter_map(|member| disks.get(member.disk)).map(|disk| disk.layout);
    let original = layout.clone().all(|layout| layout == Layout::Original);
    let layout = layout.into_iter().next().filter(|_| original).unwrap_or(options.layout);
    let capacities: Vec<u64> = group
        .physical_volumes
        .iter()
        .zip(&members)
        .map(|(physical, member)| {
            let bytes = member.place.length().saturating_sub(physical.start_bytes);
            bytes.checked_div(group.extent_bytes).unwrap_or_default()
        })
        .collect();
    let mut described = group.clone();
    let sizings: Vec<Sizing> =
        group.logical_volumes.iter().map(|logical| sizing_of(logical, options)).collect::<Result<_, _>>()?;
    if original {
        extents::keep(&mut described)?;
    } else {
        let total = capacities.iter().copied().fold(0, u64::saturating_add);
        let sizes = claims::sizes(group, &sizings, total, claims::free(captured_group))
            .ok_or_else(|| no_room(group, total))?;
        for (physical, extents) in described.physical_volumes.iter_mut().zip(&capacities) {
            physical.extents = *extents;
        }
        extents::place(&mut described, &sizes).ok_or_else(|| no_room(group, total))?;
    }
    warnings.extend(extents::lost_mappings(group, original));
    let mut volumes = Vec::new();
    for ((old, new), sizing) in group.logical_volumes.iter().zip(&described.logical_volumes).zip(sizings) {
        let piece = Piece {
            part: Part::Logical { group: group.number, number: number_of(old) },
            old: ByteRange::new(0, old.volume.size_bytes),
            tie: Tie::WholeDisk,
            special: None,
            volume: Some(&old.volume),
            sizing,
        };
        let place = ByteRange::new(0, new.volume.size_bytes);
        let shrunk = place::shrink(&old.volume, place);
        let resize = match shrunk {
            None if options.expand && !original => place::grow(&piece, &old.volume, place, &mut warnings),
            shrunk => shrunk,
        };
        volumes.push(place::volume_plan(&piece, &old.volume, place, layout, resize));
        if old.volume.content == Content::LeftOut {
            warnings.push(format!("The image does not hold the content of {}: it stays empty.", piece.part));
        }
    }
    let left_out = captured_group.volumes().filter(|volume| options.without.contains(&volume.name));
    let left_out = left_out.map(|volume| volume.name.clone()).collect();
    let mut new_names = Vec::new();
    if let Some(seed) = options.seed.filter(|_| options.new_ids) {
        new_names = identity::renew_group(&mut described, seed.of_copy(copy));
        warnings.push(format!(
            "The volume group keeps its name {}: a machine with another one of that name has to tell them apart by UUID \
             (vgrename UUID NAME). A GRUB for a BIOS that reads its files from a logical volume names it by UUID and has to \
             be installed anew.",
            described.name
        ));
    }
    Ok(GroupPlan { group: described, members, volumes, without: left_out, new_names, warnings })
}

fn number_of(logical: &LogicalVolume) -> u32 {
    if let Role::Logical { number, .. } = logical.volume.role { number } else { 0 }
}

fn no_room(group: &VolumeGroup, extents: u64) -> Refusal {
    let room = format_size(extents.saturating_mul(group.extent_bytes));
    Refusal::Group {
        group: group.number,
        name: group.name.clone(),
        reason: format!(
            "its volumes do not fit into the {room} that its physical volumes have; use larger disks"
        ),
    }
}

/// Refuses content that does not work on the sectors of the target.
fn judge_sectors(
    captured: Captured<'_>,
    group: &VolumeGroup,
    members: &[MemberPlan],
    disks: &[DiskPlan],
) -> Result<(), Refusal> {
    for plan in members.iter().filter_map(|member| disks.get(member.disk)) {
        let Some(source) = captured.disks.iter().find(|disk| Some(disk.number) == plan.source_number) else {
            continue;
        };
        let (from_bytes, to_bytes) = (source.logical_sector_bytes, plan.target.logical_sector_bytes);
        for logical in &group.logical_volumes {
            let part = Part::Logical { group: group.number, number: number_of(logical) };
            if let Verdict::Refuse(reason) = sectors::judge(&logical.volume, None, from_bytes, to_bytes) {
                return Err(Refusal::SectorSize { disk: source.number, part, from_bytes, to_bytes, reason });
            }
        }
    }
    Ok(())
}
