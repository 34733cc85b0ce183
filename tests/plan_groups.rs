//! Volume groups inside the layouts: plans that a person can judge, exact minimums, wishes and refusals.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod plan_images;

use plan_images::{EFI_SYSTEM, bare_disk, file_system, gpt_disk, holds, part, target};
use remint::machine::MachineDisk;
use remint::plan::{self, Captured, DeployOptions, DeployPlan, Fault, Refusal, Target};
use remint::schema::{
    Content, Disk, FileSystemKind, Layout, LogicalVolume, Mapping, PhysicalVolume, Role, Segment, Stripe,
    Volume, VolumeGroup,
};
use remint::units::SectorSize;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const EXTENT: u64 = 4 * MIB;
const LVM: u128 = 0xE6D6_D379_F507_44C2_A23C_238F_2A3D_F928;
const SMALL: SectorSize = SectorSize::B512;

fn physical(group: &str, size_bytes: u64) -> Content {
    let mut found = file_system(FileSystemKind::LvmPhysicalVolume, size_bytes);
    found.label = Some(group.to_owned());
    Content::PhysicalVolume(found)
}

fn uuid(letter: char, number: u32) -> String {
    let group = |length: usize| letter.to_string().repeat(length);
    format!("{}-{}-{}-{}-{}-{}-{number:06}", group(6), group(4), group(4), group(4), group(4), group(4))
}

/// A group whose volumes lie one behind the other, each as a whole on the physical volume that it names.
fn group(
    number: u32,
    name: &str,
    members: &[(&str, u64)],
    volumes: &[(&str, usize, Content)],
) -> VolumeGroup {
    let letter = char::from(b'a' + u8::try_from(number).unwrap());
    let mut next = vec![0; members.len()];
    let logical = |(position, (name, member, content)): (u32, &(&str, usize, Content))| {
        let size_bytes = content.file_system().unwrap().size_bytes;
        let (first, extents) = (next[*member], size_bytes / EXTENT);
        next[*member] += extents;
        let stripes = vec![Stripe { physical_volume: u32::try_from(*member).unwrap(), first_extent: first }];
        LogicalVolume {
            name: (*name).to_owned(),
            uuid: uuid(letter, 100 + position),
            mapping: Mapping::Linear,
            status: vec!["READ".into(), "WRITE".into(), "VISIBLE".into()],
            flags: vec![],
            tags: vec![],
            allocation_policy: None,
            creation_time: Some(1_700_000_000),
            creation_host: Some("debian".into()),
            segments: vec![Segment { extents, stripe_bytes: 0, stripes }],
            volume: Volume {
                name: format!("g{number}-l{position}"),
                role: Role::Logical { group: number, number: position },
                start_bytes: 0,
                size_bytes,
                content: content.clone(),
            },
        }
    };
    let logical_volumes = (1..).zip(volumes).map(logical).collect();
    let member = |(position, (volume, size_bytes)): (u32, &(&str, u64))| PhysicalVolume {
        volume: (*volume).to_owned(),
        uuid: uuid(letter, position),
        start_bytes: MIB,
        extents: (size_bytes - MIB) / EXTENT,
        status: vec!["ALLOCATABLE".into()],
        tags: vec![],
    };
    VolumeGroup {
        number,
        name: name.to_owned(),
        uuid: uuid(letter, 999),
        sequence: 7,
        extent_bytes: EXTENT,
        status: vec!["RESIZEABLE".into(), "READ".into(), "WRITE".into()],
        tags: vec![],
        system_id: None,
        allocation_policy: None,
        physical_volumes: (0..).zip(members).map(member).collect(),
        logical_volumes,
    }
}

/// A machine with a system in one group, and data in another one that reaches onto a second disk.
fn machine() -> (Vec<Disk>, Vec<VolumeGroup>) {
    let (system, data) = (100 * GIB, 60 * GIB);
    let parts = [
        part(1, MIB, 512 * MIB, EFI_SYSTEM, holds(FileSystemKind::Fat32, 512 * MIB)),
        part(2, GIB, system, LVM, physical("debian-vg", system)),
        part(3, GIB + system, data, LVM, physical("data", data)),
    ];
    let one = gpt_disk(0, 200 * GIB, SMALL, &parts);
    let other = bare_disk(1, 40 * GIB, SMALL, physical("data", 40 * GIB));
    let groups = vec![
        group(
            0,
            "debian-vg",
            &[("d0-p2", system)],
            &[
                ("home--old", 0, holds(FileSystemKind::Ext4, 20 * GIB)),
                ("root", 0, holds(FileSystemKind::Ext4, 60 * GIB)),
                ("swap_1", 0, holds(FileSystemKind::Swap, 8 * GIB)),
            ],
        ),
        group(
            1,
            "data",
            &[("d0-p3", data), ("d1-disk", 40 * GIB)],
            &[
                ("archive", 1, holds(FileSystemKind::Xfs, 30 * GIB)),
                ("work", 0, holds(FileSystemKind::Ext4, 50 * GIB)),
            ],
        ),
    ];
    (vec![one, other], groups)
}

fn options(layout: Layout, wishes: &[&str]) -> DeployOptions {
    DeployOptions {
        wishes: wishes.iter().map(|wish| wish.parse().unwrap()).collect(),
        ..DeployOptions::of(layout)
    }
}

fn deploy(
    captured: Captured<'_>,
    targets: &[MachineDisk],
    options: &DeployOptions,
) -> Result<DeployPlan, Refusal> {
    let targets: Vec<Target> =
        (0..).zip(targets).map(|(number, disk)| Target::new(number, disk.clone())).collect();
    let plan = plan::deploy("example", "1", captured, &targets, options)?;
    assert_eq!(plan::check(&plan, captured), Ok(()));
    Ok(plan)
}

fn nvme(sizes: [u64; 2]) -> [MachineDisk; 2] {
    [target("/dev/nvme0n1", sizes[0], SMALL), target("/dev/nvme1n1", sizes[1], SMALL)]
}

#[test]
fn groups_grow_with_their_disks_and_swap_keeps_its_size() {
    let (disks, groups) = machine();
    let captured = Captured { disks: &disks, groups: &groups };
    let plan = deploy(captured, &nvme([400 * GIB, 80 * GIB]), &options(Layout::Dynamic, &[])).unwrap();
    insta::assert_snapshot!(plan::explain(&plan, captured));
}

#[test]
fn groups_shrink_with_their_disks_to_what_their_volumes_need() {
    let (disks, groups) = machine();
    let captured = Captured { disks: &disks, groups: &groups };
    let plan = deploy(captured, &nvme([100 * GIB, 30 * GIB]), &options(Layout::Dynamic, &[])).unwrap();
    insta::assert_snapshot!(plan::explain(&plan, captured));

    // The smallest disks are exact.
    let minimums: Vec<u64> = plan.disks.iter().map(|disk| disk.minimum_disk_bytes).collect();
    let least = nvme([minimums[0], minimums[1]]);
    deploy(captured, &least, &options(Layout::Dynamic, &[])).unwrap();
    for (one, other) in [(512, 0), (0, 512)] {
        let less = nvme([minimums[0] - one, minimums[1] - other]);
        let refusal = deploy(captured, &less, &options(Layout::Dynamic, &[])).unwrap_err();
        assert!(matches!(refusal, Refusal::TooSmall { .. }), "{refusal}");
        assert!(refusal.to_string().contains("its logical volumes need that much"), "{refusal}");
    }
}

#[test]
fn sizes_of_logical_volumes_can_be_chosen() {
    let (disks, groups) = machine();
    let captured = Captured { disks: &disks, groups: &groups };
    let custom =
        |wishes: &[&str]| deploy(captured, &nvme([400 * GIB, 80 * GIB]), &options(Layout::Custom, wishes));
    let plan = custom(&["g0-l1=150GiB", "g0-l2=keep", "d0-p3=keep", "g1-l2=10%"]).unwrap();
    let sizes = |plan: &DeployPlan| {
        let volumes = plan.groups.iter().flat_map(|group| &group.volumes);
        volumes.map(|volume| (volume.volume.clone(), volume.place.length() / MIB)).collect::<Vec<_>>()
    };
    let found = sizes(&plan);
    assert_eq!(found[0], ("g0-l1".to_owned(), 150 * 1024));
    assert_eq!(found[1], ("g0-l2".to_owned(), 60 * 1024));
    assert_eq!(found[2], ("g0-l3".to_owned(), 8 * 1024));
    assert!(found[4].1 >= 25 * 1024, "not below the minimum: {found:?}");
    assert!(
        plan.disks[0]
            .volumes
            .iter()
            .any(|volume| volume.volume == "d0-p3" && volume.place.length() == 60 * GIB)
    );
    for (wishes, expected) in [
        (&["g0-l3=9GiB"][..], "g0-l3 cannot change its size, because it is swap space"),
        (&["g0-l2=1GiB"], "g0-l2 needs at least"),
        (&["g0-l9=1GiB"], "the image has no volume g0-l9"),
        (&["g0-l2=500GiB"], "is too small for disk 0"),
        (&["g0-l2=110GiB", "d0-p2=keep"], "d0-p2 needs at least"),
    ] {
        let refusal = custom(wishes).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
    let exported = plan::export("example", captured, &[], &options(Layout::Custom, &["g0-l1=25%"])).unwrap();
    let text = serde_json::to_string_pretty(&exported).unwrap();
    let choices = plan::read_choices(&text, "example", captured).unwrap();
    assert!(
        choices.options.wishes.iter().any(|wish| wish.volume == "g0-l1" && wish.size.to_string() == "25%")
    );
    let fault = plan::read_choices(&text.replace("g1-l1", "g1-l7"), "example", captured).unwrap_err();
    assert!(fault.what.contains("volume group 1 has no volume \"g1-l7\"") && fault.line > 10, "{fault}");
}

#[test]
fn the_original_layout_keeps_every_extent_and_what_is_elsewhere_is_seen() {
    let (disks, groups) = machine();
    let captured = Captured { disks: &disks, groups: &groups };
    let plan = deploy(captured, &nvme([200 * GIB, 40 * GIB]), &options(Layout::Original, &[])).unwrap();
    for (plan, group) in plan.groups.iter().zip(&groups) {
        assert_eq!(plan.group, *group);
    }
    let faults = |change: &dyn Fn(&mut DeployPlan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan::check(&plan, captured).unwrap_err()
    };
    let is_group = |faults: Vec<Fault>| faults.iter().any(|fault| matches!(fault, Fault::Group { .. }));
    assert!(is_group(faults(
        &|plan| plan.groups[0].group.logical_volumes[1].segments[0].stripes[0].first_extent = 0
    )));
    assert!(is_group(faults(&|plan| plan.groups[0].group.physical_volumes[0].extents += 100_000)));
    assert!(is_group(faults(&|plan| plan.groups[1].members.swap(0, 1))));
    assert!(is_group(faults(&|plan| plan.groups[0].group.uuid = plan.groups[1].group.uuid.clone())));
    assert!(!faults(&|plan| drop(plan.groups.pop())).is_empty());
    assert!(!faults(&|plan| plan.groups[0].volumes[2].place = plan.groups[0].volumes[1].place).is_empty());
}

#[test]
fn only_whole_groups_are_deployed() {
    let (disks, groups) = machine();
    let captured = Captured { disks: &disks, groups: &groups };
    let without = DeployOptions { without: vec!["d1".into()], ..options(Layout::Dynamic, &[]) };
    let one = [target("/dev/sda", 400 * GIB, SMALL)];
    let refusal = deploy(captured, &one, &without).unwrap_err().to_string();
    assert!(refusal.contains("g1 (data)") && refusal.contains("deploy all of them, or none"), "{refusal}");
    let without =
        DeployOptions { without: vec!["d1".into(), "d0-p3".into()], ..options(Layout::Dynamic, &[]) };
    let plan = deploy(captured, &one, &without).unwrap();
    assert_eq!(plan.groups.iter().map(|plan| plan.group.number).collect::<Vec<_>>(), [0]);
    // Copies of a disk have copies of the groups that stand on it alone.
    let twice: Vec<Target> =
        ["/dev/sda", "/dev/sdb"].map(|path| Target::new(0, target(path, 400 * GIB, SMALL))).into();
    let plan = plan::deploy("example", "1", captured, &twice, &without).unwrap();
    assert_eq!(plan::check(&plan, captured), Ok(()));
    assert_eq!(plan.groups.iter().map(|plan| plan.members[0].disk).collect::<Vec<_>>(), [0, 1]);
}
