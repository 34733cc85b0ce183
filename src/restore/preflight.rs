//! Everything that can be known before the first write.

use super::{Error, commit, groups};
use crate::blockio::Overlay;
use crate::customize::Customizer;
use crate::filesystem::lvm;
use crate::image::{ChunkId, ImageVersion, Index, Manifest, Store, StoredContent};
use crate::partition::{self, Piece};
use crate::plan::{
    self, DeployPlan, DiskPlan, GroupPlan, NoWayBack, Resize, Stays, Step, VolumeAction, VolumePlan,
};
use crate::resize::{Change, Resizer};
use crate::schema::{self, FileSystemKind, Table};
use crate::units::{ByteRange, MIB, RangeSet};

/// A plan that was found sound, with what is needed to carry it out.
pub struct Prepared<'a> {
    pub(super) plan: &'a DeployPlan,
    pub(super) manifest: &'a Manifest,
    pub(super) store: &'a dyn Store,
    pub(super) version: ImageVersion,
    tables: Vec<Tables>,
    /// For each group of the plan and each of its physical volumes, what describes the group.
    descriptions: Vec<Vec<Vec<lvm::Piece>>>,
    captured_names: Result<CapturedNames, NoWayBack>,
    total_bytes: u64,
}

/// What is written instead where something could not follow to new identifiers.
struct CapturedNames {
    /// The plan with the captured ones.
    plan: DeployPlan,
    /// By its steps what followed goes back.
    back: DeployPlan,
    tables: Vec<Tables>,
    descriptions: Vec<Vec<Vec<lvm::Piece>>>,
}

/// What makes the targets recognisable, in the end.
#[derive(Clone, Copy)]
pub(super) struct Ending<'a> {
    /// The plan as it was carried out.
    pub plan: &'a DeployPlan,
    tables: &'a [Tables],
    /// What describes the groups, for each group of the plan and each of its physical volumes.
    pub descriptions: &'a [Vec<Vec<lvm::Piece>>],
}

impl<'a> Ending<'a> {
    /// Each disk with the bytes of its new table, in the order in which they are written.
    pub fn tables(self) -> impl Iterator<Item = (&'a DiskPlan, &'a [Piece])> {
        self.plan.disks.iter().zip(self.tables).map(|(disk, tables)| (disk, tables.new.as_slice()))
    }
}

/// The tables of one target, in the pieces that are written.
#[derive(Default)]
struct Tables {
    /// The new one; nothing where the one that stands there stays.
    new: Vec<Piece>,
    /// The one that stands there until then, where partitions stay.
    meanwhile: Vec<Piece>,
}

/// The chunk list and used map of one volume, checked against each other.
pub(super) struct VolumeData {
    pub index: Index,
    pub used: RangeSet,
}

/// Room for what a kernel writes to a file system that it only looks at.
const WRITTEN_BY_A_LOOK: u64 = 16 * MIB;
/// How many chunks the store is asked about at once.
const ASK_AT_ONCE: usize = 4096;

/// Checks everything that can be checked without writing.
///
/// # Errors
/// What stands in the way of the plan; nothing was written.
pub fn prepare<'a>(
    plan: &'a DeployPlan,
    manifest: &'a Manifest,
    store: &'a dyn Store,
    version: ImageVersion,
    resizer: &dyn Resizer,
    customizer: &dyn Customizer,
) -> Result<Prepared<'a>, Error> {
    refuse_schema(manifest)?;
    plan::check(plan, manifest).map_err(Error::Plan)?;
    for disk in &plan.disks {
        check_tools(&disk.volumes, |change, kind| resizer.missing(change, kind, &disk.target))?;
    }
    let tables = plan.disks.iter().map(encode_tables).collect::<Result<Vec<Tables>, Error>>()?;
    for step in &plan.steps {
        if let Some(missing) = customizer.missing(step, plan) {
            let (volume, step) = (step.volume().into_owned(), step.to_string());
            return Err(Error::MissingForStep { volume, step, missing });
        }
    }
    let logical = plan.logical_volumes();
    for logical in &logical {
        check_tools(std::slice::from_ref(logical.planned), |change, kind| {
            resizer.missing_shown(change, kind, &groups::as_disk(plan, logical))
        })?;
    }
    let descriptions = describe_groups(plan)?;
    let captured_names = CapturedNames::of(plan, manifest)?;
    let mut prepared =
        Prepared { plan, manifest, store, version, tables, descriptions, captured_names, total_bytes: 0 };
    let of_disks = plan.disks.iter().flat_map(|disk| &disk.volumes);
    for volume in of_disks.chain(logical.iter().map(|logical| logical.planned)) {
        let captured = prepared.captured(volume)?;
        if volume.action == VolumeAction::RecreateSwap {
            commit::swap_header(captured, volume)?;
        }
        if let Some(scope) = scope(volume) {
            let bytes = prepared.check_data(volume, scope)?;
            prepared.total_bytes = prepared.total_bytes.saturating_add(bytes);
        }
    }
    prepared.judge_steps(customizer)?;
    Ok(prepared)
}

/// Refuses an image without data: whatever its plan says, there is nothing to write.
///
/// # Errors
/// [`Error::SchemaOnly`].
pub fn refuse_schema(manifest: &Manifest) -> Result<(), Error> {
    if manifest.schema_only {
        let version = ImageVersion { image: manifest.image.clone(), version: manifest.version.clone() };
        return Err(Error::SchemaOnly { version });
    }
    Ok(())
}

fn encode_tables(disk: &DiskPlan) -> Result<Tables, Error> {
    let encode = |table: &Table| {
        partition::encode(table, disk.target.size_bytes, disk.target.logical_sector_bytes)
            .map_err(|source| Error::Table { disk: disk.target.path.clone(), source })
    };
    Ok(match &disk.stays {
        Stays::Nothing => Tables { new: encode(&disk.table)?, ..Tables::default() },
        Stays::Partitions { meanwhile, .. } => {
            Tables { new: encode(&disk.table)?, meanwhile: encode(meanwhile)? }
        }
        Stays::Table { .. } => Tables::default(),
    })
}

fn describe_groups(plan: &DeployPlan) -> Result<Vec<Vec<Vec<lvm::Piece>>>, Error> {
    let describe = |group: &GroupPlan| {
        let sizes: Vec<u64> = group.members.iter().map(|member| member.place.length()).collect();
        Ok(lvm::pieces(&group.group, &sizes)?)
    };
    plan.groups.iter().map(describe).collect()
}

impl CapturedNames {
    /// Within, why the captured identifiers cannot be had.
    fn of(plan: &DeployPlan, manifest: &Manifest) -> Result<Result<Self, NoWayBack>, Error> {
        let captured = match plan::with_captured_names(plan) {
            Ok(captured) if plan::check(&captured, manifest).is_err() => return Ok(Err(NoWayBack::Unsound)),
            Ok(captured) => captured,
            Err(why) => return Ok(Err(why)),
        };
        Ok(Ok(Self {
            back: plan::way_back(plan),
            tables: captured.disks.iter().map(encode_tables).collect::<Result<_, _>>()?,
            descriptions: describe_groups(&captured)?,
            plan: captured,
        }))
    }
}

fn check_tools(
    volumes: &[VolumePlan],
    missing: impl Fn(Change, FileSystemKind) -> Option<String>,
) -> Result<(), Error> {
    for volume in volumes {
        let (change, kind) = match volume.resize {
            Some(Resize::Grow { kind, .. }) => (Change::Grow, kind),
            Some(Resize::Shrink { kind, .. }) => (Change::Shrink, kind),
            None => continue,
        };
        if let Some(missing) = missing(change, kind) {
            return Err(Error::Missing { volume: volume.volume.clone(), missing });
        }
    }
    Ok(())
}

/// The bytes of the captured volume that are needed; `None` where nothing is.
pub(super) fn scope(volume: &VolumePlan) -> Option<ByteRange> {
    match volume.action {
        VolumeAction::Write => Some(ByteRange::new(0, u64::MAX)),
        VolumeAction::WriteGap { gap } => Some(gap),
        VolumeAction::MakePhysicalVolume | VolumeAction::RecreateSwap | VolumeAction::LeaveEmpty => None,
    }
}

impl Prepared<'_> {
    /// Bytes that will be written to all targets.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The bytes of the table that stands there while the deploy runs; none where no partition stays.
    pub(super) fn meanwhile_of(&self, disk: &DiskPlan) -> &[Piece] {
        let position = self.plan.disks.iter().position(|other| std::ptr::eq(other, disk));
        let tables = position.and_then(|position| self.tables.get(position));
        tables.map(|tables| tables.meanwhile.as_slice()).unwrap_or_default()
    }

    /// The plan by whose steps what followed to new identifiers goes back.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn way_back(&self) -> Result<&DeployPlan, NoWayBack> {
        self.captured_names.as_ref().map(|names| &names.back).map_err(|why| *why)
    }

    /// What is written in the end. With `keeps_names` that are the captured identifiers.
    pub(super) fn ending(&self, keeps_names: bool) -> Ending<'_> {
        let (plan, tables, descriptions) = match &self.captured_names {
            Ok(names) if keeps_names => (&names.plan, &names.tables, &names.descriptions),
            _ => (self.plan, &self.tables, &self.descriptions),
        };
        Ending { plan, tables, descriptions }
    }

    /// The captured volume that a plan names.
    pub(super) fn captured(&self, volume: &VolumePlan) -> Result<&schema::Volume, Error> {
        let found = self.manifest.volumes().find(|candidate| candidate.name == volume.volume);
        found.ok_or_else(|| not_stored(volume))
    }

    /// Loads the index and the used map of a volume.
    pub(super) fn load(&self, volume: &VolumePlan) -> Result<VolumeData, Error> {
        let index = self.manifest.load_index(self.store, &self.version, &volume.volume)?;
        let used = self.manifest.load_used(self.store, &self.version, &volume.volume)?;
        Ok(VolumeData { index, used })
    }

    /// The chunks that writing the volumes asks for, in the order in which it does.
    ///
    /// # Errors
    /// What the store says of its indexes and used maps.
    pub fn asked(&self) -> Result<Vec<ChunkId>, Error> {
        let of_disks = self.plan.disks.iter().flat_map(|disk| &disk.volumes);
        let logical = self.plan.logical_volumes();
        let mut asked = Vec::new();
        for volume in of_disks.chain(logical.iter().map(|logical| logical.planned)) {
            let Some(scope) = scope(volume) else { continue };
            let scope = scope.intersection(ByteRange::new(0, volume_end(volume)));
            let data = self.load(volume)?;
            let needed = data
                .index
                .pieces()
                .filter(|(piece, _)| data.used.within(piece.intersection(scope)).next().is_some());
            asked.extend(needed.map(|(_, id)| id));
        }
        Ok(asked)
    }

    /// Has the steps that need a certain system judge the captured one.
    fn judge_steps(&self, customizer: &dyn Customizer) -> Result<(), Error> {
        let of_disks = self.plan.disks.iter().flat_map(|disk| &disk.volumes);
        for step in &self.plan.steps {
            let Step::BootFiles(files) = step else { continue };
            let Some(volume) = of_disks.clone().find(|volume| volume.volume == files.volume) else {
                continue;
            };
            let data = self.load(volume)?;
            let stored = StoredContent::new(self.store, &data.index, &data.used);
            let captured = Overlay::new(stored, WRITTEN_BY_A_LOOK, None);
            customizer.judge(step, self.plan, &captured).map_err(|source| Error::Customize {
                volume: step.volume().into_owned(),
                step: step.to_string(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    /// Checks the files of a volume and that every chunk it needs is there. Returns the bytes to write.
    fn check_data(&self, volume: &VolumePlan, scope: ByteRange) -> Result<u64, Error> {
        let data = self.load(volume)?;
        let shrinks = matches!(volume.resize, Some(Resize::Shrink { .. }));
        let end = volume_end(volume);
        if !shrinks && data.used.iter().any(|used| used.intersection(scope).end() > end) {
            let fact = "a used block lies beyond the end of its place on the target".to_owned();
            return Err(Error::Corrupt { what: volume.volume.clone(), fact });
        }
        let mut needed: Vec<ChunkId> = data
            .index
            .pieces()
            .filter(|(piece, _)| data.used.within(piece.intersection(scope)).next().is_some())
            .map(|(_, id)| id)
            .collect();
        needed.sort_unstable();
        needed.dedup();
        let mut count = 0usize;
        for ids in needed.chunks(ASK_AT_ONCE) {
            count =
                count.saturating_add(self.store.have_chunks(ids)?.iter().filter(|stored| !**stored).count());
        }
        if count > 0 {
            return Err(Error::MissingChunks { volume: volume.volume.clone(), count });
        }
        let written = data.used.within(scope.intersection(ByteRange::new(0, end)));
        Ok(written.map(ByteRange::length).fold(0, u64::saturating_add))
    }
}

/// First byte of the captured volume that has no place on the target. A gap keeps its offsets.
fn volume_end(volume: &VolumePlan) -> u64 {
    match volume.action {
        VolumeAction::WriteGap { gap } => gap.end(),
        _ => volume.place.length(),
    }
}

fn not_stored(volume: &VolumePlan) -> Error {
    Error::Corrupt { what: volume.volume.clone(), fact: "the manifest does not describe it".into() }
}
