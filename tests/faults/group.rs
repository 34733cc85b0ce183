//! A volume group on its way: whatever fails, nothing of it can be found on the target, or all of it is there.

use super::boot_entries::Untouched;
use super::deploy::{Marker, assert_plain, machine_disk};
use super::disk::{Target, Tear};
use super::image::{ONE_WORKER, inspect, version};
use super::source::{self, MIB};
use super::store::MemoryStore;
use super::trigger::Trigger;
use super::{POLICIES, for_every_call};
use remint::blockio::{Mapped, ReadAt, WriteAt};
use remint::capture::{self, Capture, Options};
use remint::customize::{CustomizeError, Customizer, Deployed, Taken};
use remint::filesystem::lvm;
use remint::image::Manifest;
use remint::inspect::{self, Inspection, NoKernelVolumes};
use remint::plan::{self, CaptureOptions, DeployOptions, DeployPlan, GroupFound, Step};
use remint::progress::{Monitor, Silent};
use remint::restore::{self, Surroundings};
use remint::schema::{
    Compression, Content, FileSystemKind, FreeSpace, Layout, LogicalVolume, Mapping, OnReadError,
    PhysicalVolume, Role, Segment, Stripe, Volume, VolumeGroup,
};
use std::sync::OnceLock;

/// Whoever takes no step.
pub struct Nothing;

impl Customizer for Nothing {
    fn missing(&self, _: &Step, _: &DeployPlan) -> Option<String> {
        None
    }
    fn take(&self, _: &Step, _: Deployed<'_>, _: &dyn Monitor) -> Result<Taken, CustomizeError> {
        Ok(Taken::default())
    }
}

const EXTENT: usize = 256 << 10;
const START: usize = MIB;
const SOURCE_BYTES: usize = 10 * MIB;
const TARGET_BYTES: usize = 12 * MIB + 512;

fn uuid(number: u32) -> String {
    format!("abcdef-ghij-klmn-opqr-stuv-wxyz-{number:06}")
}

/// The group: ext2 in two stretches with noise between them, and swap.
fn group() -> VolumeGroup {
    let logical = |number: u32, name: &str, stretches: &[(u64, u64)]| {
        let segment = |(first_extent, extents): &(u64, u64)| Segment {
            extents: *extents,
            stripe_bytes: 0,
            stripes: vec![Stripe { physical_volume: 0, first_extent: *first_extent }],
        };
        let extents: u64 = stretches.iter().map(|(_, extents)| extents).sum();
        LogicalVolume {
            name: name.to_owned(),
            uuid: uuid(number),
            mapping: Mapping::Linear,
            status: ["READ", "WRITE", "VISIBLE"].map(str::to_owned).into(),
            flags: vec![],
            tags: vec!["a-tag".to_owned()],
            allocation_policy: None,
            creation_time: Some(1_700_000_000),
            creation_host: Some("a \"host\" \\ of somebody".to_owned()),
            segments: stretches.iter().map(segment).collect(),
            volume: Volume {
                name: format!("g0-l{number}"),
                role: Role::Logical { group: 0, number },
                start_bytes: 0,
                size_bytes: extents * EXTENT as u64,
                content: Content::LeftOut,
                fixed: false,
            },
        }
    };
    VolumeGroup {
        number: 0,
        name: "vg-0".to_owned(),
        uuid: uuid(900),
        sequence: 42,
        extent_bytes: EXTENT as u64,
        status: ["RESIZEABLE", "READ", "WRITE"].map(str::to_owned).into(),
        tags: vec![],
        system_id: None,
        allocation_policy: None,
        physical_volumes: vec![PhysicalVolume {
            volume: "d0-p1".to_owned(),
            uuid: uuid(901),
            start_bytes: START as u64,
            extents: 24,
            status: vec!["ALLOCATABLE".to_owned()],
            tags: vec![],
        }],
        logical_volumes: vec![
            logical(1, "noise", &[(4, 2)]),
            logical(2, "root", &[(0, 4), (6, 4)]),
            logical(3, "swap", &[(12, 4)]),
        ],
    }
}

/// A disk with that group in its only partition.
fn source() -> &'static [u8] {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| {
        let mut disk = source::partitioned(SOURCE_BYTES, "label: gpt\nstart=2048, size=16384, type=V\n");
        let group = group();
        let mut put = |at: usize, bytes: &[u8]| disk[MIB + at..][..bytes.len()].copy_from_slice(bytes);
        for piece in &lvm::pieces(&group, &[8 * MIB as u64]).unwrap()[0] {
            put(piece.at as usize, &piece.bytes);
        }
        let contents = [source::noise(2 * EXTENT, 8), source::ext("ext2", 2 * MIB, 300), source::swap(MIB)];
        for (logical, content) in group.logical_volumes.iter().zip(contents) {
            let mut content = content.as_slice();
            for segment in &logical.segments {
                let (part, rest) = content.split_at(segment.extents as usize * EXTENT);
                put(START + segment.stripes[0].first_extent as usize * EXTENT, part);
                content = rest;
            }
        }
        disk
    })
}

/// The volumes of a disk, read through the group that is found on it.
fn volumes(disk: &[u8], at: usize, length: usize) -> Option<(VolumeGroup, Vec<Vec<u8>>)> {
    let bytes = disk[at..at + length].to_vec();
    let found = lvm::groups(&[("d0-p1", &bytes.as_slice())]);
    assert_eq!(found.doubts, []);
    let group = found.groups.into_iter().next()?.group;
    let origins = [(0, group.physical_volumes[0].start_bytes)];
    let content = |logical: &LogicalVolume| {
        let stretches = lvm::stretches(&logical.segments, group.extent_bytes, &origins).unwrap();
        let mapped = Mapped::new(vec![bytes.as_slice()], stretches).unwrap();
        let mut content = vec![0; mapped.size_bytes() as usize];
        mapped.read_at(0, &mut content).unwrap();
        content
    };
    let contents = group.logical_volumes.iter().map(content).collect();
    Some((group, contents))
}

fn image() -> (Manifest, MemoryStore) {
    let disk = source();
    let mut inspection = Inspection::of_captured(inspect(&[disk]).remove(0).disk);
    let groups = inspect::read_groups(&[&disk], &mut [&mut inspection], &NoKernelVolumes);
    assert_eq!(groups.len(), 1);
    let opened: Vec<Box<dyn ReadAt>> = groups[0]
        .group
        .logical_volumes
        .iter()
        .map(|logical| {
            inspect::open_logical(&groups[0].group, logical, &[(&inspection.disk, &disk)], &NoKernelVolumes)
                .unwrap()
        })
        .collect();
    let logical = vec![opened.iter().map(|source| Some(source.as_ref())).collect()];
    let found = GroupFound {
        group: groups[0].group.clone(),
        used: groups[0].used.clone(),
        problems: groups[0].problems.clone(),
    };
    let disks = vec![inspection.clone().into()];
    let plan = plan::capture(disks, vec![found], &CaptureOptions::default()).unwrap();
    let store = MemoryStore::default();
    let options = Options {
        compression: Compression::Fast,
        on_read_error: OnReadError::Fail,
        workers: ONE_WORKER,
        comment: None,
        created: "2026-11-20T21:15:00Z".to_owned(),
    };
    let (manifest, _) = capture::run(&Capture {
        plan: &plan,
        sources: &[&disk],
        logical: &logical,
        store: &store,
        version: &version("1"),
        previous: None,
        options: &options,
        monitor: &Silent,
    })
    .unwrap();
    (manifest, store)
}

/// The same for all tests that only read it.
pub fn shared_image() -> (&'static Manifest, &'static MemoryStore) {
    static IMAGE: OnceLock<(Manifest, MemoryStore)> = OnceLock::new();
    let (manifest, store) = IMAGE.get_or_init(image);
    (manifest, store)
}

/// What the volumes of the captured group hold.
pub fn contents() -> Vec<Vec<u8>> {
    volumes(source(), MIB, 8 * MIB).unwrap().1
}

#[test]
fn a_group_is_whole_on_the_target_or_cannot_be_found() {
    let (manifest, store) = image();
    assert_eq!(manifest.format_version, 2);
    let kinds: Vec<_> =
        manifest.volume_groups[0].volumes().map(|v| v.content.file_system().map(|fs| fs.kind)).collect();
    assert_eq!(kinds, [None, Some(FileSystemKind::Ext2), Some(FileSystemKind::Swap)]);
    let before = source::noise(TARGET_BYTES, 17);
    for free_space in POLICIES {
        let options = DeployOptions { free_space, ..DeployOptions::of(Layout::Dynamic) };
        let targets = plan::match_disks(&manifest.disks, &[machine_disk(0, TARGET_BYTES)]).unwrap();
        let plan = plan::deploy("machine", "1", &manifest, &targets, &options).unwrap();
        let attempt = |trigger: Trigger, tear: Tear| {
            let targets = [Target::new(&before, trigger, tear)];
            let resizer = Marker { plan: &plan, targets: &targets };
            let customizer = Nothing;
            let prepared =
                restore::prepare(&plan, &manifest, &store, version("1"), &resizer, &customizer).unwrap();
            let around = Surroundings {
                resizer: &resizer,
                customizer: &customizer,
                firmware: &Untouched,
                workers: ONE_WORKER,
                monitor: &Silent,
            };
            let disks: [&dyn WriteAt; 1] = [&targets[0]];
            let result = restore::run(&prepared, &disks, &around);
            let place = plan.groups[0].members[0].place;
            let (at, length) = (place.start() as usize, place.length() as usize);
            let what = format!("{free_space:?} {tear:?} {result:?}");
            match &result {
                Ok(_) => judge(&targets[0].bytes(), at, length, free_space),
                Err(_) if targets[0].touched() => {
                    assert_plain(&targets[0], &what);
                    assert!(volumes(&targets[0].bytes(), at, length).is_none(), "{what}");
                }
                Err(_) => {}
            }
            targets[0].fired()
        };
        assert!(!attempt(Trigger::never(), Tear::Before));
        for tear in [Tear::Before, Tear::Half] {
            for_every_call(|n| attempt(Trigger::once(n), tear));
        }
    }
}

/// Everything is there, and free space of the volumes is what was asked for.
fn judge(target: &[u8], at: usize, length: usize, free_space: FreeSpace) {
    let (old, sources) = volumes(source(), MIB, 8 * MIB).unwrap();
    let (new, contents) = volumes(target, at, length).unwrap();
    let names = |group: &VolumeGroup| {
        let volumes = group.logical_volumes.iter();
        let volumes =
            volumes.map(|v| (v.name.clone(), v.uuid.clone(), v.tags.clone(), v.creation_host.clone()));
        (group.name.clone(), group.uuid.clone(), group.sequence, volumes.collect::<Vec<_>>())
    };
    assert_eq!(names(&new), names(&old));
    assert_eq!(contents[0], sources[0]);
    let used = remint::filesystem::read(&sources[1].as_slice()).unwrap().unwrap().used.unwrap();
    for range in used.iter() {
        let range = range.start() as usize..range.end() as usize;
        assert_eq!(contents[1][range.clone()], sources[1][range]);
    }
    assert_eq!(contents[2][..4096], sources[2][..4096], "the swap header");
    if free_space == FreeSpace::Zero {
        let free = used.gaps(remint::units::ByteRange::new(0, sources[1].len() as u64));
        let mut free = free.iter().map(|range| &contents[1][range.start() as usize..range.end() as usize]);
        assert!(free.all(|bytes| bytes.iter().all(|byte| *byte == 0)), "free space is not zero");
    }
}
