//! What a deploy will do, as a value, and how it is decided.

use super::layout::{Ground, Laid};
use super::refusal::Refusal;
use super::sectors::{self, Verdict};
use super::{identity, place};
use crate::machine::MachineDisk;
use crate::schema::{Disk, FileSystemKind, FreeSpace, Layout, PartitionWish, Role, Table};
use crate::units::{ByteRange, format_size};
use serde::Serialize;

/// What a person chooses about a deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeployOptions {
    /// How partitions are laid out.
    pub layout: Layout,
    /// What happens to space that nothing occupies.
    pub free_space: FreeSpace,
    /// False: file systems stay at their captured size ("don't expand volumes").
    pub expand: bool,
    /// Sizes of single partitions, for [`Layout::Custom`].
    pub wishes: Vec<PartitionWish>,
}

/// Everything that a deploy will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeployPlan {
    /// Name of the image.
    pub image: String,
    /// Its version.
    pub version: String,
    /// One plan for each target disk.
    pub disks: Vec<DiskPlan>,
}

/// What is done to one target disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskPlan {
    /// Number of the disk within the image.
    pub source_number: u32,
    /// Size of the disk that was captured.
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
    /// The table that is written at the end, with the target's sector numbers.
    pub table: Table,
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
}

/// Decides everything about deploying the disks of an image to `targets`, each with the number of the disk
/// that it receives (see [`super::match_disks`]).
///
/// A pure function of its arguments. Whether a target may be written at all is another question, see
/// [`super::preflight_refusals`]; the finished plan is read once more by [`super::check`].
///
/// # Errors
/// The first [`Refusal`], in the order of the image's disks.
pub fn deploy(
    image: &str,
    version: &str,
    disks: &[Disk],
    targets: &[(u32, MachineDisk)],
    options: &DeployOptions,
) -> Result<DeployPlan, Refusal> {
    refuse_mismatches(disks, targets)?;
    refuse_wishes(disks, options)?;
    let mut plans = Vec::with_capacity(disks.len());
    for disk in disks {
        let target = targets.iter().find(|(number, _)| *number == disk.number);
        let (_, target) =
            target.ok_or(Refusal::NoTarget { disk: disk.number, size_bytes: disk.size_bytes })?;
        let mut plan = deploy_disk(disk, target, options)?;
        plan.warnings.extend(identity::warnings(disk, disks));
        plans.push(plan);
    }
    Ok(DeployPlan { image: image.to_owned(), version: version.to_owned(), disks: plans })
}

fn refuse_mismatches(disks: &[Disk], targets: &[(u32, MachineDisk)]) -> Result<(), Refusal> {
    for (index, disk) in disks.iter().enumerate() {
        if disks.iter().take(index).any(|earlier| earlier.number == disk.number) {
            let what = "its number is that of another disk".to_owned();
            return Err(Refusal::Unsound { disk: disk.number, what });
        }
    }
    for (index, (number, target)) in targets.iter().enumerate() {
        if !disks.iter().any(|disk| disk.number == *number) {
            return Err(Refusal::UnknownDisk { disk: *number, target: target.path.clone() });
        }
        for (earlier, other) in targets.iter().take(index) {
            if other.path == target.path {
                return Err(Refusal::TargetTwice { target: target.path.clone() });
            }
            if earlier == number {
                return Err(Refusal::DiskTwice { disk: *number });
            }
        }
    }
    Ok(())
}

/// Refuses what is wanted of volumes that the image does not have, or twice, or where nothing can be wanted.
fn refuse_wishes(disks: &[Disk], options: &DeployOptions) -> Result<(), Refusal> {
    if options.layout != Layout::Custom && !options.wishes.is_empty() {
        return Err(Refusal::NotCustom);
    }
    let sized = || disks.iter().flat_map(|disk| &disk.volumes).filter(|volume| volume.role != Role::BootArea);
    for (index, wish) in options.wishes.iter().enumerate() {
        let volume = wish.volume.clone();
        if !sized().any(|known| known.name == volume) {
            let volumes = sized().map(|volume| volume.name.clone()).collect();
            return Err(Refusal::UnknownVolume { volume, volumes });
        }
        if options.wishes.iter().take(index).any(|earlier| earlier.volume == volume) {
            return Err(Refusal::WantedTwice { volume });
        }
    }
    Ok(())
}

fn deploy_disk(disk: &Disk, target: &MachineDisk, options: &DeployOptions) -> Result<DiskPlan, Refusal> {
    let ground = Ground::new(disk, target, &options.wishes)?;
    let mut warnings = judge_sector_size(&ground)?;
    let Laid { layout, arrangement, table, minimum_disk_bytes, warnings: of_layout } =
        ground.lay(options.layout, target)?;
    warnings.extend(of_layout);
    let volumes = place::volumes(&ground, &arrangement, layout, options.expand, &mut warnings);
    let free_space = clearing(options.free_space, target, &mut warnings);
    warnings.extend(place::unused_space(&ground, &arrangement));
    Ok(DiskPlan {
        source_number: disk.number,
        source_bytes: disk.size_bytes,
        target: target.clone(),
        layout,
        minimum_disk_bytes,
        clear: place::clear(&ground, &arrangement),
        free_space,
        volumes,
        table,
        warnings,
    })
}

/// Refuses content that does not work on the target's sectors, and warns of boot code that does not.
fn judge_sector_size(ground: &Ground<'_>) -> Result<Vec<String>, Refusal> {
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

fn clearing(free_space: FreeSpace, target: &MachineDisk, warnings: &mut Vec<String>) -> Clearing {
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
