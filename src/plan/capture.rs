//! What a capture will read: every volume's policy applied, before anything is stored.

use super::dynamic_disk;
use crate::inspect::Inspection;
use crate::schema::{Content, Disk, Role, State, Volume, VolumeGroup, WhenDirty};
use crate::units::{ByteRange, RangeSet, format_size};
use std::collections::BTreeMap;

/// What a person chooses about a capture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaptureOptions {
    /// What happens to volumes whose used map cannot be trusted.
    pub when_dirty: WhenDirty,
    /// Names of the volumes to capture; empty for all. The boot area is always captured.
    pub only: Vec<String>,
    /// Names of the volumes that keep their size when the image is deployed.
    pub fixed: Vec<String>,
    /// True: the disks are described and nothing of them is read; what cannot be trusted is described as it is.
    pub schema_only: bool,
}

/// A disk that was inspected, with what is known of each of its volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFound {
    /// The disk.
    pub disk: Disk,
    /// For each volume, its used map.
    pub used: Vec<Option<RangeSet>>,
    /// For each volume, the bytes of which those that are free have to be zeros wherever it is deployed.
    pub zeros: Vec<ByteRange>,
}

impl From<Inspection> for DiskFound {
    fn from(Inspection { disk, used, zeros, .. }: Inspection) -> Self {
        Self { disk, used, zeros }
    }
}

/// What is read from one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCapture {
    /// The disk as the manifest will describe it.
    pub disk: Disk,
    /// For each volume of `disk`, the bytes that are read, from the start of the volume; `None` where
    /// nothing is stored (swap, left out).
    pub read: Vec<Option<RangeSet>>,
    /// For each volume, the bytes of which those that are not read are zeros wherever it is deployed.
    pub zeros: Vec<ByteRange>,
}

/// A volume group that was found, with what is known of each of its logical volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFound {
    /// The group.
    pub group: VolumeGroup,
    /// For each logical volume, its used map.
    pub used: Vec<Option<RangeSet>>,
    /// For each logical volume that cannot be read by itself, why.
    pub problems: Vec<Option<String>>,
}

/// What is read of one volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCapture {
    /// The group as the manifest will describe it.
    pub group: VolumeGroup,
    /// For each logical volume, the bytes that are read; `None` where nothing is stored.
    pub read: Vec<Option<RangeSet>>,
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturePlan {
    /// Of the disks.
    pub disks: Vec<DiskCapture>,
    /// Of the volume groups.
    pub groups: Vec<GroupCapture>,
    /// True: the disks are described, and nothing is read.
    pub schema_only: bool,
    /// Volumes of which a capture with data would be refused.
    pub untrusted: Vec<Untrusted>,
}

/// Why a capture is refused. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureRefusal {
    /// Volumes whose used map cannot be trusted.
    #[error("{}", untrusted_sentence(volumes))]
    Untrusted {
        /// Each with its state and what is wrong.
        volumes: Vec<Untrusted>,
    },
    /// A name that `--only` or `--fixed` gives is not there.
    #[error("there is no volume \"{name}\" on the disks; there are {}", available.join(", "))]
    NoSuchVolume {
        /// The name.
        name: String,
        /// The names that are there.
        available: Vec<String>,
    },
    /// Of a dynamic disk of Windows some partitions are wanted, and not those that they are nothing without.
    #[error(
        "{name} is part of a Windows dynamic disk, and nothing without the rest of it: name {} with --only too, or leave all of it \
         out",
        missing.join(" and ")
    )]
    Torn {
        /// The name of one that is wanted.
        name: String,
        /// The names of the others.
        missing: Vec<String>,
    },
    /// A volume is to keep its size that is no partition, logical volume or whole disk.
    #[error(
        "{name} has no size that could change; --fixed is for partitions, logical volumes and disks without a table"
    )]
    NotSized {
        /// The name.
        name: String,
    },
}

/// A volume whose used map cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrusted {
    /// Name of the volume.
    pub volume: String,
    /// What is on it: `NTFS "Windows"`.
    pub content: String,
    /// Its state.
    pub state: State,
    /// What is wrong and what to do.
    pub findings: Vec<String>,
}

fn untrusted_sentence(volumes: &[Untrusted]) -> String {
    let mut text = String::from("not captured, because the used blocks are not certain:");
    for volume in volumes {
        text.push_str(&format!("\n  {} ({}) is {}", volume.volume, volume.content, volume.state));
        for finding in &volume.findings {
            text.push_str(&format!("\n    {finding}"));
        }
    }
    text.push_str(
        "\nPut it right, leave the volume out with --only, or capture every block with --when-dirty raw",
    );
    text
}

/// Applies the policy to what was found on the disks.
///
/// `found` has each disk with what is used of its volumes, and `groups` the volume groups on them, as `inspect` returns them.
///
/// # Errors
/// A [`CaptureRefusal`] that names every volume at fault.
pub fn capture(
    found: Vec<DiskFound>,
    groups: Vec<GroupFound>,
    options: &CaptureOptions,
) -> Result<CapturePlan, CaptureRefusal> {
    check_names(&found, &groups, options)?;
    let mut untrusted = Vec::new();
    let mut physical = BTreeMap::new();
    let mut captured = Vec::new();
    for group in groups {
        captured.extend(capture_group(group, options, &mut physical, &mut untrusted));
    }
    let mut disks = Vec::new();
    for DiskFound { mut disk, used, zeros } in found {
        let mut read = Vec::new();
        for (volume, used) in disk.volumes.iter_mut().zip(used) {
            let chosen = volume.role == Role::BootArea
                || options.only.is_empty()
                || options.only.contains(&volume.name);
            read.push(match physical.get(&volume.name) {
                Some(fate) => decide_physical(volume, *fate),
                None if chosen => decide(volume, used, options.when_dirty, &mut untrusted),
                None => leave_out(volume),
            });
        }
        disks.push(DiskCapture { disk, read, zeros });
    }
    let schema_only = options.schema_only;
    if !schema_only && !untrusted.is_empty() {
        return Err(CaptureRefusal::Untrusted { volumes: untrusted });
    }
    let mut plan = CapturePlan { disks, groups: captured, schema_only, untrusted };
    for volume in plan.volumes_mut() {
        volume.fixed |= options.fixed.contains(&volume.name);
    }
    if schema_only {
        read_nothing(&mut plan, &physical);
    }
    Ok(plan)
}

impl CapturePlan {
    fn volumes_mut(&mut self) -> impl Iterator<Item = &mut Volume> {
        let of_disks = self.disks.iter_mut().flat_map(|disk| &mut disk.disk.volumes);
        let logical = self.groups.iter_mut().flat_map(|group| &mut group.group.logical_volumes);
        of_disks.chain(logical.map(|logical| &mut logical.volume))
    }
}

/// Of every volume nothing is read. A physical volume without its group has no other description than that of raw blocks.
fn read_nothing(plan: &mut CapturePlan, of_groups: &BTreeMap<String, Fate>) {
    for disk in &mut plan.disks {
        disk.read.fill(None);
        for volume in &mut disk.disk.volumes {
            if let Content::PhysicalVolume(found) = &volume.content
                && !of_groups.contains_key(&volume.name)
            {
                let reason = "its volume group is not whole".to_owned();
                volume.content = Content::Raw { reason, file_system: Some(found.clone()) };
            }
        }
    }
    plan.groups.iter_mut().for_each(|group| group.read.fill(None));
}

fn check_names(
    found: &[DiskFound],
    groups: &[GroupFound],
    options: &CaptureOptions,
) -> Result<(), CaptureRefusal> {
    let volumes = || {
        let logical = groups.iter().flat_map(|found| found.group.volumes());
        found.iter().flat_map(|found| &found.disk.volumes).chain(logical)
    };
    for name in options.only.iter().chain(&options.fixed) {
        let Some(volume) = volumes().find(|volume| volume.name == *name) else {
            let available = volumes().map(|volume| volume.name.clone()).collect();
            return Err(CaptureRefusal::NoSuchVolume { name: name.clone(), available });
        };
        if volume.role == Role::BootArea && options.fixed.contains(name) {
            return Err(CaptureRefusal::NotSized { name: name.clone() });
        }
    }
    match found.iter().find_map(|found| dynamic_disk::torn(&found.disk, &options.only)) {
        Some((name, missing)) => Err(CaptureRefusal::Torn { name, missing }),
        None => Ok(()),
    }
}

/// What becomes of a physical volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is described by its group.
    Described,
    /// Every block of it is read.
    Whole,
    LeftOut,
}

/// Decides what is read of a group, and what becomes of its physical volumes. One that is named stands for its whole
/// group. `None` where nothing of the group is captured by itself.
fn capture_group(
    found: GroupFound,
    options: &CaptureOptions,
    physical: &mut BTreeMap<String, Fate>,
    untrusted: &mut Vec<Untrusted>,
) -> Option<GroupCapture> {
    let GroupFound { mut group, used, problems } = found;
    let named = |name: &String| options.only.contains(name);
    let all = group.is_wanted_whole(&options.only);
    let chosen: Vec<bool> = group.volumes().map(|volume| all || named(&volume.name)).collect();
    let stuck = || chosen.iter().zip(&problems).any(|(chosen, problem)| *chosen && problem.is_some());
    let fate = if !all && !chosen.contains(&true) {
        Fate::LeftOut
    } else if options.when_dirty == WhenDirty::Raw && stuck() {
        Fate::Whole
    } else {
        Fate::Described
    };
    physical.extend(group.physical_volumes.iter().map(|member| (member.volume.clone(), fate)));
    if fate != Fate::Described {
        return None;
    }
    let mut read = Vec::new();
    let name = group.name.clone();
    for (((logical, used), problem), chosen) in
        group.logical_volumes.iter_mut().zip(used).zip(problems).zip(chosen)
    {
        let volume = &mut logical.volume;
        read.push(match problem {
            _ if !chosen => leave_out(volume),
            Some(problem) => {
                untrusted.push(Untrusted {
                    volume: volume.name.clone(),
                    content: format!("logical volume {name}/{}", logical.name),
                    state: State::Unsupported,
                    findings: vec![problem],
                });
                None
            }
            None => decide(volume, used, options.when_dirty, untrusted),
        });
    }
    Some(GroupCapture { group, read })
}

fn leave_out(volume: &mut Volume) -> Option<RangeSet> {
    volume.content = Content::LeftOut;
    None
}

fn decide_physical(volume: &mut Volume, fate: Fate) -> Option<RangeSet> {
    match fate {
        Fate::Described => None,
        Fate::LeftOut => leave_out(volume),
        Fate::Whole => {
            let file_system = volume.content.file_system().cloned();
            let reason =
                "a volume of its group cannot be read by itself; every block was asked for".to_owned();
            volume.content = Content::Raw { reason, file_system };
            Some(RangeSet::of(ByteRange::new(0, volume.size_bytes)))
        }
    }
}

/// Decides the content of one volume and returns the bytes to read.
fn decide(
    volume: &mut Volume,
    used: Option<RangeSet>,
    when_dirty: WhenDirty,
    untrusted: &mut Vec<Untrusted>,
) -> Option<RangeSet> {
    let whole = || Some(RangeSet::of(ByteRange::new(0, volume.size_bytes)));
    let Some(file_system) = volume.content.file_system().cloned() else { return used.or_else(whole) };
    let trusted = file_system.state == State::Clean;
    match (&volume.content, used, when_dirty) {
        (Content::Swap(_) | Content::PhysicalVolume(_), ..) if trusted => None,
        (Content::FileSystem(_), Some(used), _) if trusted => Some(used),
        (Content::Raw { .. }, ..) if trusted => whole(),
        (_, _, WhenDirty::Raw) => {
            let reason = format!("{} is {}; every block was asked for", file_system.kind, file_system.state);
            let read = whole();
            volume.content = Content::Raw { reason, file_system: Some(file_system) };
            read
        }
        // What could be replayed has been, and is clean by now.
        (_, _, WhenDirty::Refuse | WhenDirty::Replay) => {
            untrusted.push(Untrusted {
                volume: volume.name.clone(),
                content: describe(&volume.content),
                state: file_system.state,
                findings: file_system.findings,
            });
            None
        }
    }
}

/// What a volume holds, for a person: `ext4 "root"`, `raw, 16 MiB`.
#[must_use]
pub fn describe(content: &Content) -> String {
    match content.file_system() {
        Some(file_system) => match &file_system.label {
            Some(label) if !label.is_empty() => format!("{} \"{label}\"", file_system.kind),
            _ => format!("{}, {}", file_system.kind, format_size(file_system.size_bytes)),
        },
        None => match content {
            Content::LeftOut => "left out".to_owned(),
            _ => "raw".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{FileSystem, FileSystemKind, Table};
    use crate::units::SectorSize;

    fn volume(name: &str, kind: FileSystemKind, state: State) -> Volume {
        let file_system = FileSystem {
            kind,
            uuid: None,
            label: Some("data".into()),
            block_size_bytes: 4096,
            size_bytes: 8192,
            used_bytes: Some(4096),
            minimum_bytes: 8192,
            state,
            findings: vec!["what is wrong".into()],
        };
        let content = match kind {
            FileSystemKind::Swap => Content::Swap(file_system),
            FileSystemKind::Luks2 => {
                Content::Raw { reason: "encrypted".into(), file_system: Some(file_system) }
            }
            _ => Content::FileSystem(file_system),
        };
        Volume {
            name: name.into(),
            role: Role::Partition { number: 1 },
            start_bytes: 0,
            size_bytes: 8192,
            content,
            fixed: false,
        }
    }

    fn plan_one(volume: Volume, options: &CaptureOptions) -> Result<DiskCapture, CaptureRefusal> {
        plan_all(volume, options).map(|mut plan| plan.disks.remove(0))
    }

    fn plan_all(volume: Volume, options: &CaptureOptions) -> Result<CapturePlan, CaptureRefusal> {
        let disk = Disk {
            number: 0,
            size_bytes: 1 << 20,
            logical_sector_bytes: SectorSize::B512,
            physical_sector_bytes: SectorSize::B512,
            model: None,
            serial: None,
            wwn: None,
            table: Table::None,
            volumes: vec![volume],
        };
        let used = vec![Some(RangeSet::of(ByteRange::new(0, 4096)))];
        capture(vec![DiskFound { disk, used, zeros: vec![ByteRange::default()] }], vec![], options)
    }

    #[test]
    fn a_clean_file_system_is_read_by_its_map_and_clean_swap_not_at_all() {
        let options = CaptureOptions::default();
        let clean = plan_one(volume("d0-p1", FileSystemKind::Ext4, State::Clean), &options).unwrap();
        assert_eq!(clean.read[0].as_ref().unwrap().total_bytes(), 4096);
        let swap = plan_one(volume("d0-p1", FileSystemKind::Swap, State::Clean), &options).unwrap();
        assert_eq!(swap.read[0], None);
    }

    #[test]
    fn what_is_not_certain_is_refused_by_name_or_read_whole_when_asked() {
        for (kind, state) in [
            (FileSystemKind::Ntfs, State::Hibernated),
            (FileSystemKind::Xfs, State::Dirty),
            (FileSystemKind::Swap, State::Hibernated),
            (FileSystemKind::Luks2, State::Encrypted),
        ] {
            let refused =
                plan_one(volume("d0-p1", kind, state), &CaptureOptions::default()).unwrap_err().to_string();
            assert!(refused.contains("d0-p1") && refused.contains("what is wrong"), "{refused}");
            let raw = CaptureOptions { when_dirty: WhenDirty::Raw, ..CaptureOptions::default() };
            let plan = plan_one(volume("d0-p1", kind, state), &raw).unwrap();
            assert_eq!(plan.read[0].as_ref().unwrap().total_bytes(), 8192);
            assert!(matches!(plan.disk.volumes[0].content, Content::Raw { .. }));
        }
    }

    #[test]
    fn of_a_schema_nothing_is_read_and_nothing_is_refused_but_said() {
        let options = CaptureOptions { schema_only: true, ..CaptureOptions::default() };
        for (kind, state, doubts) in [
            (FileSystemKind::Ext4, State::Clean, 0),
            (FileSystemKind::Ntfs, State::Hibernated, 1),
            (FileSystemKind::Luks2, State::Encrypted, 1),
        ] {
            let found = volume("d0-p1", kind, state);
            let content = found.content.clone();
            let plan = plan_all(found, &options).unwrap();
            assert_eq!((&plan.disks[0].read[..], plan.untrusted.len()), (&[None][..], doubts));
            assert_eq!(plan.disks[0].disk.volumes[0].content, content);
        }
        let plan = plan_all(volume("d0-p1", FileSystemKind::Swap, State::Clean), &options).unwrap();
        assert!(plan.schema_only && matches!(plan.disks[0].disk.volumes[0].content, Content::Swap(_)));
    }

    #[test]
    fn only_the_named_volumes_are_read_and_a_wrong_name_is_an_error() {
        let only = |name: &str| CaptureOptions { only: vec![name.into()], ..CaptureOptions::default() };
        let dirty = volume("d0-p1", FileSystemKind::Xfs, State::Dirty);
        assert!(plan_one(dirty.clone(), &only("d0-p9")).unwrap_err().to_string().contains("d0-p1"));
        let mut boot = dirty;
        boot.name = "d0-p2".into();
        assert!(plan_one(boot, &only("d0-p2")).is_err(), "a chosen volume is still judged");
    }
}
