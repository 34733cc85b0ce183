//! Volume groups: found over all disks that are looked at together, and what their logical volumes hold.
//!
//! A physical volume whose group is whole holds nothing of its own. One whose group is not stays a volume that a capture
//! refuses unless every block of it is asked for.

use super::Inspection;
use super::volume::{Understood, understand_volume};
use crate::blockio::{Mapped, ReadAt, Window};
use crate::filesystem::lvm;
use crate::schema::{Content, Disk, FileSystemKind, LogicalVolume, Mapping, State, Volume, VolumeGroup};
use crate::units::{ByteRange, RangeSet};

/// What the kernel maps of volume groups on this machine.
pub trait KernelVolumes {
    /// Opens a logical volume that the kernel maps at this moment, by the UUIDs of its group and its own; `None` where
    /// it does not.
    fn open(&self, group_uuid: &str, volume_uuid: &str) -> Option<Box<dyn ReadAt>>;
}

/// A machine that maps nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoKernelVolumes;

impl KernelVolumes for NoKernelVolumes {
    fn open(&self, _: &str, _: &str) -> Option<Box<dyn ReadAt>> {
        None
    }
}

/// All that was found out about one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInspection {
    /// The group.
    pub group: VolumeGroup,
    /// For each logical volume, the bytes that a capture has to read; `None` where it has to read all.
    pub used: Vec<Option<RangeSet>>,
    /// For each logical volume that cannot be read by itself, why: what it is and the way out.
    pub problems: Vec<Option<String>>,
}

/// Finds the groups on some disks, and says of each physical volume what it is.
pub fn read_groups(
    sources: &[&dyn ReadAt],
    inspections: &mut [&mut Inspection],
    kernel: &dyn KernelVolumes,
) -> Vec<GroupInspection> {
    let mut places: Vec<(String, Window<&dyn ReadAt>)> = Vec::new();
    for (source, inspection) in sources.iter().zip(inspections.iter()) {
        for volume in inspection.disk.volumes.iter().filter(|volume| is_physical(volume)) {
            let place = ByteRange::at(volume.start_bytes, volume.size_bytes);
            if let Some(Ok(window)) = place.map(|place| Window::new(*source, place)) {
                places.push((volume.name.clone(), window));
            }
        }
    }
    let volumes: Vec<(&str, &dyn ReadAt)> =
        places.iter().map(|(name, window)| -> (&str, &dyn ReadAt) { (name, window) }).collect();
    let found = lvm::groups(&volumes);
    for (name, sentence) in &found.doubts {
        for file_system in named(inspections, name).filter_map(|volume| volume.content.file_system_mut()) {
            file_system.state = State::Unsupported;
            file_system.findings.push(sentence.clone());
        }
    }
    for (name, finding) in found.findings {
        for file_system in named(inspections, &name).filter_map(|volume| volume.content.file_system_mut()) {
            file_system.findings.push(finding.clone());
        }
    }
    let mut groups = Vec::new();
    for lvm::FoundGroup { group, kernel: only_kernel, .. } in found.groups {
        for physical in &group.physical_volumes {
            named(inspections, &physical.volume).for_each(|volume| make_physical(volume, &group));
        }
        let disks: Vec<(&Disk, &dyn ReadAt)> =
            inspections.iter().zip(sources).map(|(inspection, source)| (&inspection.disk, *source)).collect();
        groups.push(look_into(group, &only_kernel, &disks, kernel));
    }
    groups
}

fn is_physical(volume: &Volume) -> bool {
    volume.content.file_system().is_some_and(|found| found.kind == FileSystemKind::LvmPhysicalVolume)
}

fn named<'a>(inspections: &'a mut [&mut Inspection], name: &str) -> impl Iterator<Item = &'a mut Volume> {
    let volumes = inspections.iter_mut().flat_map(|inspection| &mut inspection.disk.volumes);
    volumes.filter(move |volume| volume.name == name)
}

/// A physical volume has nothing of its own.
fn make_physical(volume: &mut Volume, group: &VolumeGroup) {
    if let Some(mut found) = volume.content.file_system().cloned() {
        found.label = Some(group.name.clone());
        found.block_size_bytes = group.extent_bytes;
        volume.content = Content::PhysicalVolume(found);
    }
}

/// Finds out what the logical volumes hold.
fn look_into(
    mut group: VolumeGroup,
    only_kernel: &[Option<String>],
    disks: &[(&Disk, &dyn ReadAt)],
    kernel: &dyn KernelVolumes,
) -> GroupInspection {
    let (mut used, mut problems) = (Vec::new(), Vec::new());
    let mut contents = Vec::new();
    for (logical, what) in group.logical_volumes.iter().zip(only_kernel) {
        let (content, map, problem) = match (open_logical(&group, logical, disks, kernel), what) {
            (Some(source), _) => {
                let (content, used) = look_at(source.as_ref());
                (content, used, None)
            }
            (None, what) => {
                let what = what.clone().unwrap_or_else(|| "a volume that is not on its disks".to_owned());
                let problem = format!(
                    "{}/{} is {what}, which only the kernel can read: activate it (vgchange -ay {}) and pass --allow-in-use, \
                     leave it out with --only, or capture its whole disks with --when-dirty raw",
                    group.name, logical.name, group.name
                );
                (
                    Content::Raw { reason: "only the kernel can read it".to_owned(), file_system: None },
                    None,
                    Some(problem),
                )
            }
        };
        contents.push(content);
        used.push(map);
        problems.push(problem);
    }
    for (logical, content) in group.logical_volumes.iter_mut().zip(contents) {
        logical.volume.content = content;
    }
    GroupInspection { group, used, problems }
}

/// What a logical volume holds, and its used map.
#[must_use]
pub fn look_at(source: &dyn ReadAt) -> (Content, Option<RangeSet>) {
    let Understood { content, used, finding } = understand_volume(source, true);
    (with_finding(content, finding), used)
}

/// What could not be read is said with the reason for which all of it is captured.
fn with_finding(content: Content, finding: Option<String>) -> Content {
    match (content, finding) {
        (Content::Raw { file_system, .. }, Some(finding)) => Content::Raw { reason: finding, file_system },
        (content, _) => content,
    }
}

/// A logical volume as a disk, from its extents or as the kernel maps it; `None` where it cannot be read.
pub fn open_logical<'a>(
    group: &VolumeGroup,
    logical: &LogicalVolume,
    disks: &[(&Disk, &'a dyn ReadAt)],
    kernel: &dyn KernelVolumes,
) -> Option<Box<dyn ReadAt + 'a>> {
    if logical.mapping == Mapping::Kernel {
        let source = kernel.open(&group.uuid, &logical.uuid)?;
        return (source.size_bytes() == logical.volume.size_bytes).then_some(source);
    }
    let origin = |name: &str| {
        disks.iter().enumerate().find_map(|(position, (disk, _))| {
            let volume = disk.volumes.iter().find(|volume| volume.name == name)?;
            Some((position, volume.start_bytes))
        })
    };
    let origins: Vec<(usize, u64)> = group
        .physical_volumes
        .iter()
        .map(|physical| {
            let (disk, start) = origin(&physical.volume)?;
            Some((disk, start.checked_add(physical.start_bytes)?))
        })
        .collect::<Option<_>>()?;
    let stretches = lvm::stretches(&logical.segments, group.extent_bytes, &origins)?;
    let sources: Vec<&'a dyn ReadAt> = disks.iter().map(|(_, source)| *source).collect();
    Some(Box::new(Mapped::new(sources, stretches).ok()?))
}
