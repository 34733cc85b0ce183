//! Volume groups inside the layouts: plans that a person can judge, exact minimums, wishes and refusals.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod plan_images;

use plan_images::{machine_with_groups as machine, target};
use remint::machine::MachineDisk;
use remint::plan::{self, Captured, DeployOptions, DeployPlan, Fault, Refusal, Shrinking, Target};
use remint::schema::{Layout, VolumeGroup};
use remint::units::{ByteRange, SectorSize};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SMALL: SectorSize = SectorSize::B512;

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
fn logical_volumes_keep_their_sizes_when_that_is_wanted_and_free_extents_go() {
    let (disks, groups) = machine();
    let captured = Captured { disks: &disks, groups: &groups };
    for shrinking in [Shrinking::NotLogical, Shrinking::None] {
        let options = DeployOptions { shrinking, ..options(Layout::Dynamic, &[]) };
        let minimums = deploy(captured, &nvme([4 << 40, 4 << 40]), &options).unwrap();
        let minimums: Vec<u64> = minimums.disks.iter().map(|disk| disk.minimum_disk_bytes).collect();
        let plan = deploy(captured, &nvme([minimums[0], minimums[1]]), &options).unwrap();
        let sizes = |groups: &[VolumeGroup]| -> Vec<u64> {
            groups.iter().flat_map(VolumeGroup::volumes).map(|volume| volume.size_bytes).collect()
        };
        let planned: Vec<VolumeGroup> = plan.groups.iter().map(|group| group.group.clone()).collect();
        assert!(sizes(&planned).iter().zip(sizes(&groups)).all(|(now, was)| *now >= was));
        let said =
            deploy(captured, &nvme([minimums[0] - 512, minimums[1]]), &options).unwrap_err().to_string();
        assert!(said.contains("volumes are not to become smaller"), "{said}");
        if shrinking == Shrinking::NotLogical {
            insta::assert_snapshot!(plan::explain(&plan, captured));
        }
        let mut shrunk = plan;
        shrunk.groups[0].volumes[0].place = ByteRange::new(0, 4096);
        let faults = plan::check(&shrunk, captured).unwrap_err();
        assert!(faults.iter().any(|fault| matches!(fault, Fault::Shrunk { .. })), "{faults:?}");
    }
}

#[test]
fn a_logical_volume_that_was_fixed_at_the_capture_keeps_its_size_unless_another_is_wanted() {
    let (disks, mut groups) = machine();
    let biggest = groups.iter_mut().flat_map(|group| &mut group.logical_volumes);
    let fixed = &mut biggest.max_by_key(|logical| logical.volume.size_bytes).unwrap().volume;
    fixed.fixed = true;
    let (name, was) = (fixed.name.clone(), fixed.size_bytes);
    let captured = Captured { disks: &disks, groups: &groups };
    let size = |wishes: &[&str]| {
        let layout = if wishes.is_empty() { Layout::Dynamic } else { Layout::Custom };
        let plan = deploy(captured, &nvme([4 << 40, 4 << 40]), &options(layout, wishes)).unwrap();
        let mut volumes = plan.groups.iter().flat_map(|group| group.group.volumes());
        volumes.find(|volume| volume.name == name).unwrap().size_bytes
    };
    assert_eq!(size(&[]), was);
    assert!(size(&[&format!("{name}=share")]) > was);
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

#[test]
fn a_logical_volume_can_be_left_out_and_the_others_get_its_room() {
    let (disks, groups) = machine();
    let captured = Captured { disks: &disks, groups: &groups };
    let without = |names: &[&str]| DeployOptions {
        without: names.iter().map(|name| (*name).to_owned()).collect(),
        ..options(Layout::Dynamic, &[])
    };
    let plan = deploy(captured, &nvme([200 * GIB, 40 * GIB]), &without(&["g0-l1", "g1-l1"])).unwrap();
    insta::assert_snapshot!(plan::explain(&plan, captured));
    let all = deploy(captured, &nvme([200 * GIB, 40 * GIB]), &options(Layout::Dynamic, &[])).unwrap();
    let less =
        |position: usize| (plan.disks[position].minimum_disk_bytes, all.disks[position].minimum_disk_bytes);
    assert!(less(0).0 < less(0).1 && less(1).0 < less(1).1, "its minimum is not asked for: {:?}", less(0));
    // The original layout leaves a hole.
    let original = DeployOptions { layout: Layout::Original, ..without(&["g0-l1"]) };
    let plan = deploy(captured, &nvme([200 * GIB, 40 * GIB]), &original).unwrap();
    assert_eq!(plan.groups[0].group.logical_volumes[..], groups[0].logical_volumes[1..]);
    let mut forgotten = plan.clone();
    forgotten.groups[0].without.clear();
    assert!(plan::check(&forgotten, captured).is_err());

    let schema = plan::export("example", captured, &[], &without(&["g0-l1"])).unwrap();
    let text = serde_json::to_string_pretty(&schema).unwrap();
    assert_eq!(text.matches("\"deploy\": false").count(), 1);
    let choices = plan::read_choices(&text, "example", captured).unwrap();
    assert_eq!(choices.options.without, ["g0-l1"]);
    let fault = plan::read_choices(&text.replace("\"deploy\": false", "\"deploy\": 7"), "example", captured);
    assert!(fault.unwrap_err().to_string().contains("expected a boolean"));

    let wished = DeployOptions { without: vec!["g0-l2".into()], ..options(Layout::Custom, &["g0-l2=40GiB"]) };
    let refusal = deploy(captured, &nvme([200 * GIB, 40 * GIB]), &wished).unwrap_err();
    assert_eq!(refusal.volume(), Some("g0-l2"), "{refusal}");
    let refusal = deploy(captured, &nvme([200 * GIB, 40 * GIB]), &without(&["g0-l7"])).unwrap_err();
    assert!(refusal.to_string().contains("no volume g0-l7"), "{refusal}");
}

#[test]
fn every_copy_of_a_group_has_new_uuids_and_the_names_stay() {
    let (disks, groups) = machine();
    let captured = Captured { disks: &disks[..1], groups: &groups[..1] };
    let options = DeployOptions {
        new_ids: true,
        seed: Some("000102030405060708090a0b0c0d0e0f".parse().unwrap()),
        without: vec!["d0-p3".into()],
        ..options(Layout::Dynamic, &[])
    };
    let twice: Vec<Target> =
        ["/dev/sda", "/dev/sdb"].map(|path| Target::new(0, target(path, 400 * GIB, SMALL))).into();
    let plan = plan::deploy("example", "1", captured, &twice, &options).unwrap();
    assert_eq!(plan::check(&plan, captured), Ok(()));
    insta::assert_snapshot!(plan::explain(&plan, captured));
    let mut seen = std::collections::BTreeSet::new();
    for group in plan.groups.iter().map(|plan| &plan.group).chain(&groups[..1]) {
        let uuids = group.logical_volumes.iter().map(|logical| &logical.uuid);
        let uuids = uuids.chain(group.physical_volumes.iter().map(|physical| &physical.uuid));
        for uuid in uuids.chain([&group.uuid]) {
            assert!(remint::schema::is_lvm_uuid(uuid) && seen.insert(uuid.clone()), "{uuid}");
        }
    }
    // A system's files follow by the names of their own copy.
    let names = plan::names_for(&plan, "/dev/sdb");
    let new = |of: &str, old: &str| {
        names.iter().find(|name| name.of == of && name.old == old).map(|name| name.new.clone())
    };
    assert_eq!(new("g0", &groups[0].uuid), Some(plan.groups[1].group.uuid.clone()));
    let undashed = |group: &VolumeGroup| {
        format!("dm-uuid-LVM-{}{}", group.uuid, group.logical_volumes[1].uuid).replace('-', "")
    };
    let together = names.iter().find(|name| name.old.replace('-', "") == undashed(&groups[0])).unwrap();
    assert_eq!(together.new.replace('-', ""), undashed(&plan.groups[1].group));

    let mut same = plan.clone();
    same.groups[1].group.uuid = same.groups[0].group.uuid.clone();
    assert!(plan::check(&same, captured).is_err());
    let mut forgotten = plan;
    forgotten.groups[0].new_names.pop();
    assert!(plan::check(&forgotten, captured).is_err());
}
