//! What a deploy will do, as a value, and how it is decided.

use super::boot_entries::BootEntries;
use super::boot_loader::BootLoader;
use super::captured::Captured;
use super::copies::{WishedCopy, WishedScript};
use super::existing_group::{self, ExistingGroup};
use super::group::{self, GroupPlan};
use super::identity::NewName;
use super::keep::{self, Kept, Stays, Target};
use super::layout::{Ground, Laid};
use super::refusal::Refusal;
use super::sectors::{self, Verdict};
use super::seed::Seed;
use super::shrinking::{self, Shrinking};
use super::standing::Targets;
use super::step::Step;
use super::{
    array, boot_entries, boot_loader, btrfs_set, choice, copies, dynamic_disk, existing, identity, place,
    scripted, settings, standard, windows,
};
use crate::machine::MachineDisk;
use crate::schema::{
    Answer, BootDriver, BootLoaderChoice, Disk, FileSystemKind, Firmware, FreeSpace, Keep, Layout,
    PartitionWish, StandardChoice, Table, VolumeGroup,
};
use crate::units::{ByteRange, format_size};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;

/// What a person chooses about a deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeployOptions {
    /// How partitions are laid out.
    pub layout: Layout,
    /// What happens to space that nothing occupies.
    pub free_space: FreeSpace,
    /// False: file systems stay at their captured size ("don't expand volumes").
    pub expand: bool,
    /// Which volumes may become smaller than they were captured.
    pub shrinking: Shrinking,
    /// Sizes of single partitions, for [`Layout::Custom`].
    pub wishes: Vec<PartitionWish>,
    /// What of the targets stays.
    pub keep: Keep,
    /// Partitions (`d0-p4`), logical volumes (`g0-l1`) and disks (`d1`) of the image that are not deployed.
    pub without: Vec<String>,
    /// Which volume, and for which firmware, for [`Layout::Standard`].
    pub standard: StandardChoice,
    /// True: disks and partitions get new identifiers, and what refers to the old ones follows.
    pub new_ids: bool,
    /// True: the boot entries of this machine's firmware stay as they are ("don't update NVRAM").
    pub keep_boot_entries: bool,
    /// True: where boot entries follow, what is deployed comes first in their order, before the network too.
    pub boot_first: bool,
    /// What the systems on the targets are called from now on.
    pub computer_name: Option<String>,
    /// What elements of the answer files of a Windows on the targets hold from now on.
    pub answers: Vec<Answer>,
    /// True: page files, and the file of hibernation, of a Windows on the targets are emptied.
    pub empty_page_files: bool,
    /// Storage drivers that a Windows on the targets starts with.
    pub boot_drivers: Vec<BootDriver>,
    /// True: the systems on the targets get SSH host keys of their own.
    pub new_ssh_host_keys: bool,
    /// Whether the deployed system installs its boot loader anew.
    pub boot_loader: BootLoaderChoice,
    /// Files that are copied into the volumes.
    pub copies: Vec<WishedCopy>,
    /// Scripts that run before that.
    pub scripts: Vec<WishedScript>,
    /// What started this machine, where the targets are disks of its own.
    pub started_by: Option<Firmware>,
    /// What new GUIDs and signatures are derived from; needed where the layout has new partitions.
    pub seed: Option<Seed>,
}

impl DeployOptions {
    /// Nothing but the layout is chosen.
    #[must_use]
    pub const fn of(layout: Layout) -> Self {
        Self {
            layout,
            free_space: FreeSpace::Discard,
            expand: true,
            shrinking: Shrinking::All,
            wishes: Vec::new(),
            keep: Keep::Nothing,
            without: Vec::new(),
            standard: StandardChoice { volume: None, firmware: None },
            new_ids: false,
            keep_boot_entries: false,
            boot_first: false,
            computer_name: None,
            answers: Vec::new(),
            empty_page_files: false,
            boot_drivers: Vec::new(),
            new_ssh_host_keys: false,
            boot_loader: BootLoaderChoice::Auto,
            copies: Vec::new(),
            scripts: Vec::new(),
            started_by: None,
            seed: None,
        }
    }
}

/// Everything that a deploy will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeployPlan {
    /// Name of the image.
    pub image: String,
    /// Its version.
    pub version: String,
    /// Which volumes might have become smaller than they were captured.
    #[serde(skip_serializing_if = "Shrinking::is_usual")]
    pub shrinking: Shrinking,
    /// One plan for each target disk.
    pub disks: Vec<DiskPlan>,
    /// One plan for each volume group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupPlan>,
    /// One plan for each volume group that stands on the targets and of which volumes are overwritten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub existing_groups: Vec<ExistingGroup>,
    /// Numbers of the image's disks that are not deployed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<u32>,
    /// What is done to the file systems before the tables are written, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Of which targets the boot entries of the firmware follow, when the tables are written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boot_entries: Vec<BootEntries>,
    /// On which targets the deployed system installs its boot loader, when the tables are written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boot_loaders: Vec<BootLoader>,
}

/// What is done to one target disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskPlan {
    /// Number of the disk within the image; `None` where only logical volumes on this target are written.
    pub source_number: Option<u32>,
    /// Size of the disk that was captured; 0 where there is none.
    pub source_bytes: u64,
    /// The disk that is overwritten.
    pub target: MachineDisk,
    /// The method that made the layout.
    pub layout: Layout,
    /// The smallest disk, in bytes, that this image fits on with this method and sector size.
    pub minimum_disk_bytes: u64,
    /// Areas that are zeroed first, so that no old signature or table survives: ascending, disjoint.
    pub clear: Vec<ByteRange>,
    /// What happens to free space.
    pub free_space: Clearing,
    /// What is written to the volumes, in disk order.
    pub volumes: Vec<VolumePlan>,
    /// Partitions that the image does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<NewPartition>,
    /// The table that is written at the end, with the target's sector numbers.
    pub table: Table,
    /// What of the target's present content stays.
    #[serde(skip_serializing_if = "Stays::is_nothing")]
    pub stays: Stays,
    /// Numbers of the image's partitions that the target does not get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<u32>,
    /// What the script printed that made the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_output: Option<String>,
    /// What has another identifier than it was captured with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub new_names: Vec<NewName>,
    /// What a person should know before confirming.
    pub warnings: Vec<String>,
}

/// How free space is treated, with everything about the device known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clearing {
    /// The whole disk is discarded before anything is written.
    Discard,
    /// What stood there stays there.
    Keep,
    /// Everything that no used block occupies is overwritten with zeros.
    Zero,
}

/// What is done with one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumePlan {
    /// Its name in the image.
    pub volume: String,
    /// Number of its partition in the target's table, if it is one.
    pub partition: Option<u32>,
    /// Its bytes on the target disk.
    pub place: ByteRange,
    /// What is written there.
    pub action: VolumeAction,
    /// How its file system changes size afterwards.
    pub resize: Option<Resize>,
    /// Why it has this place and size: a sentence.
    pub reason: String,
}

/// A partition that the image does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewPartition {
    /// Its number in the target's table.
    pub partition: u32,
    /// Its bytes on the target disk.
    pub place: ByteRange,
    /// What comes into it.
    pub content: NewContent,
    /// Why it is there: a sentence.
    pub reason: String,
}

/// What comes into a new partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "content", rename_all = "kebab-case")]
pub enum NewContent {
    /// An empty FAT32.
    Fat32 {
        /// Its serial number, which Linux takes for a UUID.
        serial: u32,
    },
    /// An empty NTFS.
    Ntfs,
    /// Nothing.
    Empty,
}

impl NewContent {
    /// As in a list of what partitions hold.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fat32 { .. } => "new FAT32",
            Self::Ntfs => "new NTFS",
            Self::Empty => "reserved",
        }
    }
}

impl fmt::Display for NewContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is written to a volume's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum VolumeAction {
    /// The used blocks, at the offset they were captured from.
    Write,
    /// Of a boot area, only these bytes of the captured stretch: what stands between the table and the
    /// first partition. Byte offsets are the same on both disks.
    WriteGap {
        /// The bytes, from the start of the disk.
        gap: ByteRange,
    },
    /// Label and metadata of its volume group, when everything else is written.
    MakePhysicalVolume,
    /// A new swap header with the captured UUID and label.
    RecreateSwap,
    /// Nothing: the volume was left out of the capture.
    LeaveEmpty,
}

/// A change of size of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "resize", rename_all = "kebab-case")]
pub enum Resize {
    /// Grow it to the size of its volume.
    Grow {
        /// Which file system.
        kind: FileSystemKind,
        /// Its captured size in bytes.
        from_bytes: u64,
        /// The size of its volume in bytes.
        to_bytes: u64,
    },
    /// Shrink it to the size of its volume, while it is written.
    Shrink {
        /// Which file system.
        kind: FileSystemKind,
        /// The size of the captured volume in bytes.
        from_bytes: u64,
        /// The size of its volume in bytes.
        to_bytes: u64,
    },
}

/// Decides everything about deploying the disks of an image to `targets` (see [`super::match_disks`]).
///
/// A pure function of its arguments. Whether a target may be written at all is another question, see
/// [`super::preflight_refusals`]; the finished plan is read once more by [`super::check`].
///
/// # Errors
/// The first [`Refusal`], in the order of the image's disks.
pub fn deploy<'a>(
    image: &str,
    version: &str,
    captured: impl Into<Captured<'a>>,
    targets: impl Into<Targets<'a>>,
    options: &DeployOptions,
) -> Result<DeployPlan, Refusal> {
    let (captured, targets): (Captured<'_>, Targets<'_>) = (captured.into(), targets.into());
    choice::refuse_contradictions(captured, targets.disks, options)?;
    let unshrunk = shrinking::unshrunk(captured, options.shrinking);
    let mut plan = deploy_captured(image, version, unshrunk.as_captured(), targets, options)
        .map_err(|refusal| shrinking::with_reason(refusal, captured, options))?;
    shrinking::describe_as_captured(&mut plan, captured);
    Ok(plan)
}

/// The same for an image of which every volume says the least size that it may have.
fn deploy_captured(
    image: &str,
    version: &str,
    captured: Captured<'_>,
    targets: Targets<'_>,
    options: &DeployOptions,
) -> Result<DeployPlan, Refusal> {
    let groups: Vec<VolumeGroup> =
        captured.groups.iter().map(|found| group::without(found, &options.without)).collect();
    let disks = group::with_minimums(Captured { groups: &groups, ..captured }, options)?;
    let of_disks = DeployOptions { wishes: group::with_shares(captured, options), ..options.clone() };
    let (mut plans, of_layout) = deploy_disks(&disks, targets.disks, &of_disks)?;
    plans
        .extend(targets.others().iter().map(|other| existing::untouched(&other.disk, &other.found, options)));
    let without = choice::disks_left_out(&disks, options)?;
    let groups = group::plan(captured, &plans, options)?;
    let existing_groups = existing_group::plan(captured, targets, &mut plans, options)?;
    let boot_entries = boot_entries::plan(captured, &plans, options);
    let boot_loaders = boot_loader::plan(captured, &plans, options);
    let (image, version) = (image.to_owned(), version.to_owned());
    let mut plan = DeployPlan {
        image,
        version,
        shrinking: options.shrinking,
        disks: plans,
        groups,
        existing_groups,
        without,
        steps: Vec::new(),
        boot_entries,
        boot_loaders,
    };
    // First of all: what follows in a volume's files follows in those that were copied, too.
    let mut steps = copies::steps(captured, &plan, options)?;
    steps.extend(of_layout);
    steps.extend(group::steps(captured, &plan));
    steps.extend(identity::steps(captured, &plan));
    steps.extend(windows::steps(captured, &plan));
    steps.extend(dynamic_disk::steps(captured, &plan));
    steps.extend(settings::steps(captured, &plan, options));
    steps.extend(boot_entries::steps(&plan.boot_entries));
    plan.steps = steps;
    btrfs_set::judge(captured, &mut plan, options)?;
    identity::warn(captured, &mut plan);
    Ok(plan)
}

fn deploy_disks(
    disks: &[Disk],
    targets: &[Target],
    options: &DeployOptions,
) -> Result<(Vec<DiskPlan>, Vec<Step>), Refusal> {
    let without = choice::disks_left_out(disks, options)?;
    let (mut plans, mut steps) = (Vec::with_capacity(disks.len()), Vec::new());
    for disk in disks.iter().filter(|disk| !without.contains(&disk.number)) {
        let mine: Vec<&Target> = targets.iter().filter(|target| target.number == disk.number).collect();
        if mine.is_empty() {
            return Err(Refusal::NoTarget { disk: disk.number, size_bytes: disk.size_bytes });
        }
        for (position, target) in mine.iter().enumerate() {
            let renewed = match options.seed.filter(|_| options.new_ids) {
                Some(seed) => Cow::Owned(identity::renewed(disk, position, seed)),
                None => Cow::Borrowed(disk),
            };
            let mut plan = match &options.keep {
                _ if options.layout == Layout::Script => scripted::deploy_disk(disk, target, options)?,
                Keep::Nothing if options.layout == Layout::Standard => {
                    let (plan, of_disk) = standard::deploy_disk(disk, disks, target, position, options)?;
                    steps.extend(of_disk);
                    plan
                }
                Keep::Nothing => deploy_disk(&renewed, target, Vec::new(), options)?,
                Keep::Partitions(wanted) => {
                    deploy_disk(&renewed, target, keep::find(target, wanted, &renewed)?, options)?
                }
                Keep::Table(chosen) => existing::restore_into(disk, target, chosen, options)?,
            };
            plan.warnings.extend(dynamic_disk::warnings(disk, disks, &without, options.new_ids));
            if options.new_ids || options.layout == Layout::Script {
                plan.new_names = identity::new_names(disk, &plan);
            } else if options.layout != Layout::Standard {
                plan.warnings.extend(identity::warnings(disk, disks));
                let copies = mine.iter().take(position).map(|copy| copy.disk.path.as_str());
                plan.warnings.extend(copies.filter_map(|copy| identity::copy_warning(disk, copy)));
            }
            plans.push(plan);
        }
    }
    array::warn(disks, &mut plans);
    Ok((plans, steps))
}

fn deploy_disk(
    disk: &Disk,
    target: &Target,
    kept: Vec<Kept>,
    options: &DeployOptions,
) -> Result<DiskPlan, Refusal> {
    let mut without = choice::partitions_left_out(disk, options)?;
    let replaced = kept.iter().map(|kept| kept.number).filter(|number| keep::has_partition(disk, *number));
    let mut warnings = Vec::new();
    for number in replaced {
        warnings.push(format!(
            "What the image has as partition {number} is not deployed: partition {number} of the target stays instead."
        ));
        without.push(number);
    }
    without.sort_unstable();
    without.dedup();
    let disk = &keep::without(disk, &without);
    let target_disk = &target.disk;
    let ground = Ground::new(disk, target_disk, &options.wishes, kept)?;
    warnings.extend(judge_sector_size(&ground)?);
    let Laid { layout, arrangement, table, minimum_disk_bytes, warnings: of_layout } =
        ground.lay(options.layout, target_disk)?;
    warnings.extend(of_layout);
    let volumes = place::volumes(&ground, &arrangement, layout, options.expand, &mut warnings);
    let free_space = clearing(options.free_space, target_disk, &mut warnings);
    warnings.extend(place::unused_space(&ground, &arrangement));
    Ok(DiskPlan {
        source_number: Some(disk.number),
        source_bytes: disk.size_bytes,
        target: target_disk.clone(),
        layout,
        minimum_disk_bytes,
        clear: place::clear(&ground, &arrangement),
        free_space,
        volumes,
        made: Vec::new(),
        stays: stays(&ground.kept, target, &table),
        table,
        without,
        script_output: None,
        new_names: Vec::new(),
        warnings,
    })
}

fn stays(kept: &[Kept], target: &Target, table: &Table) -> Stays {
    let Some(found) = target.found.as_ref().filter(|_| !kept.is_empty()) else { return Stays::Nothing };
    let mut numbers: Vec<u32> = kept.iter().map(|kept| kept.number).collect();
    numbers.sort_unstable();
    Stays::Partitions { numbers, found: found.clone(), meanwhile: keep::meanwhile(table, kept) }
}

/// Refuses content that does not work on the target's sectors, and warns of boot code that does not.
pub(super) fn judge_sector_size(ground: &Ground<'_>) -> Result<Vec<String>, Refusal> {
    let (from_bytes, to_bytes) = (ground.source.logical_sector_bytes, ground.sector);
    let mut warnings = Vec::new();
    if from_bytes == to_bytes {
        return Ok(warnings);
    }
    for piece in &ground.pieces {
        let Some(volume) = piece.volume else { continue };
        match sectors::judge(volume, piece.special, from_bytes, to_bytes) {
            Verdict::Fine => {}
            Verdict::Warn(what) => warnings.push(format!("Of {}: {what}.", piece.part)),
            Verdict::Refuse(reason) => {
                let disk = ground.source.number;
                return Err(Refusal::SectorSize { disk, part: piece.part, from_bytes, to_bytes, reason });
            }
        }
    }
    let code = match &ground.source.table {
        Table::Gpt(gpt) => gpt.boot_sector.0.as_slice(),
        Table::Mbr(mbr) => mbr.boot_code.0.as_slice(),
        Table::None => &[],
    };
    if code.iter().take(440).any(|byte| *byte != 0) {
        warnings.push(format!(
            "The boot code in front of the partitions was made for {from_bytes}-byte sectors; it is written, but \
             a BIOS will not boot from {to_bytes}-byte sectors with it."
        ));
    }
    Ok(warnings)
}

pub(super) fn clearing(free_space: FreeSpace, target: &MachineDisk, warnings: &mut Vec<String>) -> Clearing {
    match free_space {
        FreeSpace::Discard if target.can_discard => Clearing::Discard,
        FreeSpace::Discard => {
            warnings.push(format!(
                "{} ({}) cannot discard, so data of its previous use may remain in free space; choose to zero \
                 free space if nobody may read them.",
                target.path,
                format_size(target.size_bytes)
            ));
            Clearing::Keep
        }
        FreeSpace::Keep => Clearing::Keep,
        FreeSpace::Zero => Clearing::Zero,
    }
}
