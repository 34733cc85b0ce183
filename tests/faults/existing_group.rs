//! A logical volume restored into a group that stands on the targets: whatever fails, nothing outside of its extents
//! changes, and it is whole or empty.

use super::boot_entries::Untouched;
use super::deploy::{assert_same, machine_disk};
use super::disk::{Target, Tear};
use super::group::{self, Nothing};
use super::image::{ONE_WORKER, version};
use super::source::{self, MIB};
use super::store::{FailingStore, MemoryStore, Trouble};
use super::trigger::Trigger;
use super::{POLICIES, for_every_call};
use remint::blockio::{Mapped, MemoryDisk, ReadAt, Window, WriteAt};
use remint::filesystem::lvm;
use remint::image::{Manifest, Store};
use remint::machine::MachineDisk;
use remint::plan::{self, DeployOptions, DeployPlan, OtherTarget, Standing, StandingGroup, Stays, Targets};
use remint::progress::Silent;
use remint::resize::{Change, ResizeError, Resizer};
use remint::restore::{self, Failure, Left, Surroundings};
use remint::schema::{
    Content, FileSystemKind, FreeSpace, Keep, Layout, LogicalVolume, Mapping, PhysicalVolume, Role, Segment,
    Stripe, Table, Volume, VolumeGroup,
};
use remint::units::{ByteRange, RangeSet, SectorSize};
use std::sync::OnceLock;

const EXTENT: u64 = 128 << 10;
/// A disk with a partition, and one that is a physical volume as a whole.
const SIZES: [usize; 2] = [9 * MIB, 6 * MIB];
const PLACES: [(usize, u64, u64); 2] = [(0, 2 << 20, 6 << 20), (1, 0, 6 << 20)];

fn uuid(number: u32) -> String {
    format!("Target-ghij-klmn-opqr-stuv-wxyz-{number:06}")
}

/// The group of the image under other UUIDs: a striped `root` of 2.5 MiB behind another volume, and a linear `noise`
/// in two stretches.
fn standing_group() -> VolumeGroup {
    let segment = |extents: u64, columns: &[(u32, u64)]| Segment {
        extents,
        stripe_bytes: if columns.len() > 1 { 16 << 10 } else { 0 },
        stripes: columns
            .iter()
            .map(|(physical_volume, first_extent)| Stripe {
                physical_volume: *physical_volume,
                first_extent: *first_extent,
            })
            .collect(),
    };
    let logical = |number: u32, name: &str, segments: Vec<Segment>| {
        let extents: u64 = segments.iter().map(|segment| segment.extents).sum();
        let striped = segments.iter().any(|segment| segment.stripes.len() > 1);
        LogicalVolume {
            name: name.to_owned(),
            uuid: uuid(number),
            mapping: if striped { Mapping::Striped } else { Mapping::Linear },
            status: ["READ", "WRITE", "VISIBLE"].map(str::to_owned).into(),
            flags: vec![],
            tags: vec![],
            allocation_policy: None,
            creation_time: None,
            creation_host: None,
            segments,
            volume: Volume {
                name: format!("vg-0/{name}"),
                role: Role::Logical { group: 0, number },
                start_bytes: 0,
                size_bytes: extents * EXTENT,
                content: Content::LeftOut,
                fixed: false,
            },
        }
    };
    let physical = |number: u32, volume: &str| PhysicalVolume {
        volume: volume.to_owned(),
        uuid: uuid(900 + number),
        start_bytes: MIB as u64,
        extents: 40,
        status: vec!["ALLOCATABLE".to_owned()],
        tags: vec![],
    };
    VolumeGroup {
        number: 0,
        name: "vg-0".to_owned(),
        uuid: uuid(999),
        sequence: 3,
        extent_bytes: EXTENT,
        status: ["RESIZEABLE", "READ", "WRITE"].map(str::to_owned).into(),
        tags: vec![],
        system_id: None,
        allocation_policy: None,
        physical_volumes: vec![physical(0, "/dev/target0:1"), physical(1, "/dev/target1")],
        logical_volumes: vec![
            logical(1, "data", vec![segment(3, &[(0, 0)])]),
            logical(2, "noise", vec![segment(3, &[(1, 30)]), segment(2, &[(0, 33)])]),
            logical(3, "root", vec![segment(16, &[(0, 4), (1, 2)]), segment(4, &[(1, 20)])]),
        ],
    }
}

/// The targets: noise, and the group on it.
fn before() -> &'static [Vec<u8>; 2] {
    static DISKS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    DISKS.get_or_init(|| {
        let mut disks = [source::noise(SIZES[0], 51), source::noise(SIZES[1], 52)];
        let table = source::partitioned(SIZES[0], "label: gpt\nstart=4096, size=12288, type=V\n");
        for range in [0..MIB, SIZES[0] - MIB..SIZES[0]] {
            disks[0][range.clone()].copy_from_slice(&table[range]);
        }
        let pieces = lvm::pieces(&standing_group(), &PLACES.map(|place| place.2)).unwrap();
        for ((disk, start, _), pieces) in PLACES.iter().zip(pieces) {
            disks[*disk][*start as usize..][..512].fill(0);
            for piece in pieces {
                disks[*disk][*start as usize + piece.at as usize..][..piece.bytes.len()]
                    .copy_from_slice(&piece.bytes);
            }
        }
        disks
    })
}

/// What a tool that grows a shown volume writes near its end.
const GROWN: [u8; 512] = [0x67; 512];

struct Grower;

impl Resizer for Grower {
    fn missing(&self, _: Change, _: FileSystemKind, _: &MachineDisk) -> Option<String> {
        panic!("no partition is resized")
    }
    fn missing_shown(&self, change: Change, _: FileSystemKind, disk: &MachineDisk) -> Option<String> {
        assert_eq!((change, disk.path.as_str()), (Change::Grow, "vg-0/root"));
        None
    }
    fn grow_shown(&self, shown: &dyn WriteAt, _: &MachineDisk, _: FileSystemKind) -> Result<(), ResizeError> {
        let failed = |source| ResizeError::Io { doing: "growing".to_owned(), source };
        shown.write_at(shown.size_bytes() - 4096, &GROWN).map_err(failed)?;
        shown.flush().map_err(failed)
    }
    fn grow(&self, _: &MachineDisk, _: ByteRange, _: FileSystemKind) -> Result<(), ResizeError> {
        panic!("no partition is resized")
    }
    fn shrink(
        &self,
        _: &dyn WriteAt,
        _: &MachineDisk,
        _: ByteRange,
        _: FileSystemKind,
    ) -> Result<(), ResizeError> {
        panic!("nothing shrinks")
    }
}

struct Into {
    manifest: &'static Manifest,
    store: &'static MemoryStore,
    plan: DeployPlan,
    /// The bytes of each target that may change.
    extents: [RangeSet; 2],
}

impl Into {
    fn new(free_space: FreeSpace) -> Self {
        let (manifest, store) = group::shared_image();
        let disks = before();
        let table = remint::partition::read(
            &disks[0].as_slice(),
            SectorSize::B512,
            remint::partition::Trust::Undecided,
        );
        let windows = PLACES.map(|(disk, at, length)| {
            Window::new(disks[disk].as_slice(), ByteRange::new(at, at + length)).unwrap()
        });
        let targets = [0, 1].map(|number| machine_disk(number, SIZES[number as usize]));
        let names = [format!("{}:1", targets[0].path), targets[1].path.clone()];
        let volumes: Vec<(&str, &dyn ReadAt)> = names
            .iter()
            .zip(&windows)
            .map(|(name, window)| -> (&str, &dyn ReadAt) { (name, window) })
            .collect();
        let found = lvm::groups(&volumes).groups.remove(0);
        let members = PLACES
            .map(|(disk, at, length)| (targets[disk].path.clone(), ByteRange::new(at, at + length)))
            .to_vec();
        let [one, other] = targets;
        let standing = Standing {
            others: vec![
                OtherTarget { disk: one, found: table.unwrap().table },
                OtherTarget { disk: other, found: Table::None },
            ],
            groups: vec![StandingGroup { found, members }],
            broken: vec![],
        };
        let keep = Keep::Table(["g0-l1", "g0-l2"].map(|name| name.parse().unwrap()).to_vec());
        let options = DeployOptions { free_space, keep, ..DeployOptions::of(Layout::Dynamic) };
        let targets = Targets { disks: &[], standing: Some(&standing) };
        let plan = plan::deploy("machine", "1", manifest, targets, &options).unwrap();
        let mut extents = [RangeSet::new(), RangeSet::new()];
        for logical in plan.logical_volumes() {
            for stretch in logical.stretches().unwrap() {
                let each = stretch.length_bytes / stretch.columns.len() as u64;
                for column in stretch.columns {
                    extents[column.disk].insert(ByteRange::at(column.start_bytes, each).unwrap());
                }
            }
        }
        Self { manifest, store, plan, extents }
    }

    fn run(&self, targets: &[Target], store: &dyn Store) -> Result<(), Failure> {
        let (resizer, customizer) = (Grower, Nothing);
        let prepared =
            restore::prepare(&self.plan, self.manifest, store, version("1"), &resizer, &customizer)
                .map_err(Failure::from)?;
        let (workers, monitor) = (ONE_WORKER, &Silent);
        let around = Surroundings {
            resizer: &resizer,
            customizer: &customizer,
            firmware: &Untouched,
            workers,
            monitor,
        };
        let targets: Vec<&dyn WriteAt> = targets.iter().map(|target| -> &dyn WriteAt { target }).collect();
        restore::run(&prepared, &targets, &around).map(drop)
    }

    /// The content of a logical volume of the image on the targets.
    fn content(&self, name: &str, targets: &[Target]) -> Vec<u8> {
        let logical = self.plan.logical_volumes();
        let logical = logical.iter().find(|logical| logical.planned.volume == name).unwrap();
        let disks: Vec<MemoryDisk> =
            targets.iter().map(|target| MemoryDisk::from_bytes(&target.bytes())).collect();
        let mapped = Mapped::new(disks, logical.stretches().unwrap()).unwrap();
        let mut content = vec![0; mapped.size_bytes() as usize];
        mapped.read_at(0, &mut content).unwrap();
        content
    }

    fn judge(&self, targets: &[Target], result: &Result<(), Failure>, what: &str) {
        for ((target, before), extents) in targets.iter().zip(before()).zip(&self.extents) {
            let now = target.bytes();
            for range in extents.gaps(ByteRange::new(0, before.len() as u64)).iter() {
                let range = range.start() as usize..range.end() as usize;
                assert_same(&now[range.clone()], &before[range], what);
            }
        }
        let noise = self.content("g0-l1", targets);
        let root = self.content("g0-l2", targets);
        match result {
            Ok(()) => {
                let sources = group::contents();
                assert_same(&noise[..sources[0].len()], &sources[0], what);
                let used = remint::filesystem::read(&sources[1].as_slice()).unwrap().unwrap().used.unwrap();
                for range in used.iter() {
                    let range = range.start() as usize..range.end() as usize;
                    assert_same(&root[range.clone()], &sources[1][range], what);
                }
                let end = root.len() - 4096;
                assert_same(&root[end..end + 512], &GROWN, what);
            }
            Err(failure) if failure.target_changed && failure.not_cleared.is_empty() => {
                assert_eq!(failure.left, Left::Table, "{what}");
                for content in [&noise, &root] {
                    let end = content.len().min(MIB);
                    assert!(content[..end].iter().all(|byte| *byte == 0), "{what}: something is recognised");
                }
            }
            Err(failure) if !failure.target_changed => {
                assert!(targets.iter().all(|target| !target.touched()), "{what}");
            }
            // A target that died.
            Err(_) => {}
        }
    }
}

fn targets(failing: usize, trigger: Trigger, tear: Tear) -> Vec<Target> {
    let mut triggers = [Trigger::never(), Trigger::never()];
    triggers[failing] = trigger;
    before().iter().zip(triggers).map(|(before, trigger)| Target::new(before, trigger, tear)).collect()
}

#[test]
fn logical_volumes_are_restored_and_nothing_else_changes() {
    for policy in POLICIES {
        let into = Into::new(policy);
        let targets = targets(0, Trigger::never(), Tear::Before);
        let result = into.run(&targets, into.store);
        assert!(result.is_ok(), "{result:?}");
        into.judge(&targets, &result, &format!("{policy:?}"));
    }
}

#[test]
fn nothing_outside_of_a_logical_volume_changes_whatever_call_fails() {
    for (trigger, tear) in [
        (Trigger::once as fn(u64) -> Trigger, Tear::Before),
        (Trigger::once, Tear::Half),
        (Trigger::from, Tear::Half),
    ] {
        for policy in [FreeSpace::Keep, FreeSpace::Zero] {
            let into = Into::new(policy);
            for failing in [0, 1] {
                for_every_call(|n| {
                    let targets = targets(failing, trigger(n), tear);
                    let result = into.run(&targets, into.store);
                    into.judge(
                        &targets,
                        &result,
                        &format!("{policy:?}, {tear:?}, target {failing}, call {n}"),
                    );
                    targets[failing].fired()
                });
            }
        }
    }
}

#[test]
fn nothing_outside_of_a_logical_volume_changes_whatever_the_store_does() {
    let into = Into::new(FreeSpace::Keep);
    for trouble in [Trouble::Error, Trouble::Missing, Trouble::Flipped] {
        for_every_call(|n| {
            let store = FailingStore { inner: into.store, trigger: Trigger::once(n), trouble };
            let targets = targets(0, Trigger::never(), Tear::Before);
            let result = into.run(&targets, &store);
            into.judge(&targets, &result, &format!("{trouble:?}, call {n}"));
            store.trigger.fired()
        });
    }
}

#[test]
fn a_group_that_changed_since_the_plan_is_refused_untouched() {
    let into = Into::new(FreeSpace::Keep);
    let mut changed = standing_group();
    changed.sequence += 1;
    changed.logical_volumes[2].segments[1].stripes[0].first_extent += 1;
    let pieces = lvm::pieces(&changed, &PLACES.map(|place| place.2)).unwrap();
    let mut disks = before().clone();
    for ((disk, start, _), pieces) in PLACES.iter().zip(pieces) {
        for piece in pieces {
            disks[*disk][*start as usize + piece.at as usize..][..piece.bytes.len()]
                .copy_from_slice(&piece.bytes);
        }
    }
    let targets: Vec<Target> =
        disks.iter().map(|disk| Target::new(disk, Trigger::never(), Tear::Before)).collect();
    let failure = into.run(&targets, into.store).unwrap_err();
    assert!(
        matches!(failure.error, restore::Error::GroupChanged { .. }) && !failure.target_changed,
        "{failure:?}"
    );
    assert!(targets.iter().all(|target| !target.touched()));
}

#[test]
fn a_plan_that_writes_outside_of_a_logical_volume_is_found_by_the_checker() {
    let into = Into::new(FreeSpace::Keep);
    assert_eq!(plan::check(&into.plan, into.manifest), Ok(()));
    let damaged = |damage: &dyn Fn(&mut DeployPlan)| {
        let mut plan = into.plan.clone();
        damage(&mut plan);
        plan::check(&plan, into.manifest).is_err()
    };
    let extents = |plan: &mut DeployPlan, change: &dyn Fn(&mut Vec<ByteRange>)| {
        if let Stays::Table { extents, .. } = &mut plan.disks[0].stays {
            change(extents);
        }
    };
    assert!(damaged(&|plan| extents(plan, &|extents| extents.push(ByteRange::new(0, 512)))));
    assert!(damaged(&|plan| extents(plan, &|extents| extents.clear())));
    let group = |plan: &mut DeployPlan, change: &dyn Fn(&mut plan::ExistingGroup)| {
        change(&mut plan.existing_groups[0]);
    };
    assert!(damaged(&|plan| group(plan, &|group| group.members.swap(0, 1))));
    assert!(damaged(&|plan| group(plan, &|group| group.volumes[0].logical = "vg-0/data".to_owned())));
    assert!(damaged(
        &|plan| group(plan, &|group| group.volumes[1].logical = group.volumes[0].logical.clone())
    ));
    assert!(
        damaged(&|plan| group(plan, &|group| group.group.logical_volumes[2].mapping = Mapping::Mirrored))
    );
    assert!(damaged(&|plan| group(plan, &|group| {
        group.group.logical_volumes[2].segments[1].stripes[0].first_extent = 2;
    })));
    assert!(damaged(&|plan| plan.disks[1].stays = Stays::Nothing));
    assert!(damaged(&|plan| drop(plan.existing_groups.pop())));
}
