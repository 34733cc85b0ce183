//! Plans that keep something of the target: as golden texts, as refusals, and as rules over generated tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod plan_images;

use FileSystemKind::{Ext4, Fat32, Ntfs, Swap};
use plan_images::*;
use proptest::prelude::*;
use remint::filesystem::lvm::{Broken, Flaw, FoundGroup};
use remint::plan::{
    self, Captured, DeployOptions, DeployPlan, OtherTarget, Refusal, Standing, StandingGroup, Target, Targets,
};
use remint::schema::{
    Disk, FileSystemKind, FreeSpace, Keep, Layout, Mapping, StandardChoice, Table, VolumeGroup,
};
use remint::units::{GIB, Guid, MIB, SectorSize};

const SMALL: SectorSize = SectorSize::B512;

/// Windows: EFI system partition, reserved, C:, recovery.
fn windows() -> Disk {
    gpt_disk(
        0,
        120 * GIB,
        SMALL,
        &[
            part(1, MIB, 260 * MIB, EFI_SYSTEM, holds(Fat32, 260 * MIB)),
            part(2, 261 * MIB, 16 * MIB, RESERVED, unknown()),
            part(3, 277 * MIB, 100 * GIB, BASIC_DATA, holds(Ntfs, 100 * GIB - 512)),
            part(4, 277 * MIB + 100 * GIB, 700 * MIB, RECOVERY, holds(Ntfs, 700 * MIB - 512)),
        ],
    )
}

/// A machine that was deployed before: the same, with a partition of data behind.
fn with_data(data: &[(u32, u64, u64)]) -> Table {
    let mut parts = vec![
        part(1, MIB, 260 * MIB, EFI_SYSTEM, unknown()),
        part(2, 261 * MIB, 16 * MIB, RESERVED, unknown()),
        part(3, 277 * MIB, 110 * GIB, BASIC_DATA, unknown()),
        part(4, 277 * MIB + 110 * GIB, 700 * MIB, RECOVERY, unknown()),
    ];
    for (number, start, size) in data {
        parts.retain(|part| part.number != *number);
        parts.push(Part { name: "Data", ..part(*number, *start, *size, BASIC_DATA, unknown()) });
    }
    let mut table = gpt_disk(0, 500 * GIB, SMALL, &parts).table;
    if let Table::Gpt(gpt) = &mut table {
        for entry in gpt.partitions.iter_mut().filter(|entry| data.iter().any(|(n, _, _)| *n == entry.number))
        {
            entry.partition_guid = Guid::from_u128(0xDA7A_0000 + u128::from(entry.number));
        }
    }
    table
}

fn options(layout: Layout, keep: Keep) -> DeployOptions {
    DeployOptions { free_space: FreeSpace::Keep, keep, ..DeployOptions::of(layout) }
}

fn deploy(disk: &Disk, found: Option<Table>, options: &DeployOptions) -> Result<DeployPlan, Refusal> {
    let target = Target { found, ..Target::new(0, target("/dev/sda", 500 * GIB, SMALL)) };
    let disks = std::slice::from_ref(disk);
    let plan = plan::deploy("example", "1", disks, &[target], options)?;
    assert_eq!(plan::check(&plan, disks), Ok(()));
    Ok(plan)
}

fn keep(partitions: &[&str]) -> Keep {
    Keep::Partitions(partitions.iter().map(|text| text.parse().unwrap()).collect())
}

fn only(volumes: &[&str]) -> Keep {
    Keep::Table(volumes.iter().map(|text| text.parse().unwrap()).collect())
}

fn text(disk: &Disk, found: Table, keep: Keep) -> String {
    let plan = deploy(disk, Some(found), &options(Layout::Dynamic, keep)).unwrap();
    plan::explain(&plan, std::slice::from_ref(disk))
}

#[test]
fn a_partition_of_data_stays_and_the_others_are_laid_out_around_it() {
    let found = with_data(&[(5, 200 * GIB, 250 * GIB)]);
    insta::assert_snapshot!(text(&windows(), found, keep(&["5"])));
}

#[test]
fn a_kept_partition_takes_the_place_of_the_one_with_its_number() {
    let found = with_data(&[(4, 300 * GIB, 100 * GIB)]);
    insta::assert_snapshot!(text(&windows(), found, keep(&["4"])));
}

#[test]
fn two_kept_partitions_leave_three_holes() {
    let found = with_data(&[(7, 60 * GIB, 20 * GIB), (5, 300 * GIB, 100 * GIB)]);
    insta::assert_snapshot!(text(&windows(), found, keep(&["5", "/dev/sda:7"])));
}

#[test]
fn single_volumes_go_into_partitions_that_are_there() {
    let found = with_data(&[(5, 200 * GIB, 250 * GIB)]);
    insta::assert_snapshot!(text(&windows(), found, only(&["d0-p3", "d0-p4=5"])));
}

#[test]
fn what_cannot_be_kept_is_refused_with_the_reason() {
    let data = || with_data(&[(5, 200 * GIB, 250 * GIB)]);
    let refused = |found: Option<Table>, layout, keep: Keep| {
        deploy(&windows(), found, &options(layout, keep)).unwrap_err().to_string()
    };
    let dynamic = |found: Table, keep: Keep| refused(Some(found), Layout::Dynamic, keep);
    let in_the_way = with_data(&[(5, 10 * GIB, 470 * GIB)]);
    let mut same_guid = data();
    if let Table::Gpt(gpt) = &mut same_guid {
        gpt.partitions.retain(|entry| entry.number != 3);
        gpt.partitions.iter_mut().for_each(|entry| {
            if entry.number == 5 {
                entry.partition_guid = Guid::from_u128(0xA003);
            }
        });
    }
    let mbr = || mbr_disk(0, 500 * GIB, SMALL, &[part(1, MIB, GIB, 0x83, unknown())], MIB).table;
    let wished = DeployOptions {
        wishes: vec!["d0-p3=200GiB".parse().unwrap()],
        ..options(Layout::Custom, Keep::Table(vec![]))
    };
    insta::assert_snapshot!(
        [
            dynamic(data(), keep(&["6"])),
            dynamic(data(), keep(&["/dev/sdb:5"])),
            dynamic(same_guid, keep(&["5"])),
            dynamic(in_the_way.clone(), keep(&["5"])),
            refused(Some(in_the_way), Layout::Original, keep(&["5"])),
            dynamic(mbr(), keep(&["1"])),
            refused(None, Layout::Dynamic, keep(&["1"])),
            refused(None, Layout::Dynamic, only(&["d0-p3"])),
            dynamic(data(), only(&["d0-p3=9"])),
            dynamic(data(), only(&["d0-p9"])),
            dynamic(data(), only(&["d0-boot"])),
            dynamic(data(), only(&["d0-p3=1"])),
            dynamic(data(), only(&["d0-p3", "d0-p4=3"])),
            dynamic(mbr(), only(&["d0-p1"])),
            dynamic(data(), only(&["d0-p1", "d0-p1=2"])),
            deploy(&windows(), Some(data()), &wished).unwrap_err().to_string(),
        ]
        .join("\n")
    );
}

#[test]
fn parts_of_an_image_can_be_left_out() {
    let without = |names: &[&str]| DeployOptions {
        without: names.iter().map(|name| (*name).to_owned()).collect(),
        standard: StandardChoice { volume: None, firmware: None },
        new_ids: false,
        seed: None,
        ..options(Layout::Dynamic, Keep::Nothing)
    };
    let plan = deploy(&windows(), None, &without(&["d0-p4", "d0-p2"])).unwrap();
    insta::assert_snapshot!(plan::explain(&plan, &[windows()]));

    let logical = mbr_disk(
        0,
        120 * GIB,
        SMALL,
        &[
            part(1, MIB, 30 * GIB, 0x83, holds(Ext4, 30 * GIB)),
            part(5, 31 * GIB, 8 * GIB, 0x82, holds(Swap, 8 * GIB)),
            part(6, 40 * GIB, 20 * GIB, 0x83, holds(Ext4, 20 * GIB)),
        ],
        MIB,
    );
    let refused = |disk: &Disk, names: &[&str]| deploy(disk, None, &without(names)).unwrap_err().to_string();
    insta::assert_snapshot!(
        [refused(&logical, &["d0-p5"]), refused(&windows(), &["d0-boot"]), refused(&windows(), &["d3"])]
            .join("\n")
    );

    // Of an image of two disks only the second is deployed, and needs only its own target.
    let second = Disk { number: 1, ..bare_disk(1, 100 * GIB, SMALL, holds(Ext4, 100 * GIB)) };
    let disks = [windows(), second];
    let options = without(&["d0"]);
    let deployed = plan::deployed(&disks, &options).unwrap();
    assert_eq!(deployed.iter().map(|disk| disk.number).collect::<Vec<_>>(), [1]);
    let targets = plan::match_disks(&deployed, &[target("/dev/sdb", 200 * GIB, SMALL)]).unwrap();
    let plan = plan::deploy("example", "1", &disks, &targets, &options).unwrap();
    assert_eq!(plan::check(&plan, &disks), Ok(()));
    assert_eq!((plan.disks.len(), plan.disks[0].source_number), (1, Some(1)));
}

/// What stands on the targets: the system's group on a partition of a disk with other contents, with a larger `root`,
/// and the other group on two disks, under other UUIDs.
fn standing_groups() -> (Disk, [VolumeGroup; 2]) {
    let parts = [
        part(1, MIB, 512 * MIB, EFI_SYSTEM, unknown()),
        part(2, GIB, 150 * GIB, 0xE6D6_D379_F507_44C2_A23C_238F_2A3D_F928, unknown()),
        part(3, 151 * GIB, 60 * GIB, 0xE6D6_D379_F507_44C2_A23C_238F_2A3D_F928, unknown()),
    ];
    let system = group(
        0,
        "debian-vg",
        &[("/dev/sda:2", 150 * GIB)],
        &[
            ("home--old", 0, holds(Ext4, 10 * GIB)),
            ("root", 0, holds(Ext4, 80 * GIB)),
            ("swap_1", 0, holds(Swap, 4 * GIB)),
        ],
    );
    let data = group(
        5,
        "data",
        &[("/dev/sda:3", 60 * GIB), ("/dev/sdb", 40 * GIB)],
        &[("archive", 1, holds(Ext4, 30 * GIB)), ("work", 0, holds(Ext4, 55 * GIB))],
    );
    (gpt_disk(0, 500 * GIB, SMALL, &parts), [system, data])
}

/// What is found of them.
fn standing() -> Standing {
    let (disk, groups) = standing_groups();
    let places = |name: &str| {
        let place = plan::places_on(&target("/dev/sda", 500 * GIB, SMALL), &disk.table);
        place.into_iter().find(|(other, _)| other == name).map(|(_, place)| ("/dev/sda".to_owned(), place))
    };
    let whole = ("/dev/sdb".to_owned(), remint::units::ByteRange::new(0, 40 * GIB));
    let found = |group: VolumeGroup| {
        let members = group.physical_volumes.iter();
        let members =
            members.map(|physical| places(&physical.volume).unwrap_or_else(|| whole.clone())).collect();
        let count = group.logical_volumes.len();
        let found = FoundGroup { group, kernel: vec![None; count], origins: vec![false; count] };
        StandingGroup { found, members }
    };
    Standing {
        others: vec![OtherTarget { disk: target("/dev/sdb", 40 * GIB, SMALL), found: Table::None }],
        groups: groups.into_iter().map(found).collect(),
        broken: vec![],
    }
}

fn into_groups(chosen: &[&str], standing: &Standing) -> Result<DeployPlan, Refusal> {
    let (disks, groups) = machine_with_groups();
    let captured = Captured { disks: &disks, groups: &groups };
    let found = standing_groups().0.table;
    let sda = Target { found: Some(found.clone()), ..Target::new(0, target("/dev/sda", 500 * GIB, SMALL)) };
    let options = options(Layout::Dynamic, only(chosen));
    let deployed = plan::deployed(&disks, &options).unwrap();
    let mut standing = standing.clone();
    let targets: Vec<Target> = deployed.iter().map(|_| sda.clone()).collect();
    if targets.is_empty() {
        standing.others.insert(0, OtherTarget { disk: sda.disk, found });
    }
    let targets = Targets { disks: &targets, standing: Some(&standing) };
    let plan = plan::deploy("example", "1", captured, targets, &options)?;
    assert_eq!(plan::check(&plan, captured), Ok(()));
    Ok(plan)
}

fn explained(plan: &DeployPlan) -> String {
    let (disks, groups) = machine_with_groups();
    plan::explain(plan, Captured { disks: &disks, groups: &groups })
}

#[test]
fn single_logical_volumes_go_into_groups_that_are_there() {
    let mut alone = standing();
    alone.others.clear();
    let plan = into_groups(&["d0-p1", "g0-l2"], &alone).unwrap();
    insta::assert_snapshot!(explained(&plan));
    // By names, where the UUIDs are others; one that a person named; all that is written in JSON.
    let plan = into_groups(&["g1-l2", "g0-l1=data/archive"], &standing()).unwrap();
    insta::assert_snapshot!(explained(&plan));
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["existing_groups"][0]["volumes"][1]["logical"], "data/work");
    assert_eq!(json["disks"][0]["source_number"], serde_json::Value::Null);
    let extents = &json["disks"][1]["stays"]["extents"];
    assert_eq!(extents.as_array().map(Vec::len), Some(1), "{extents}");
}

#[test]
fn what_cannot_go_into_a_group_is_refused_with_the_reason() {
    let refused = |chosen: &[&str], change: &dyn Fn(&mut Standing)| {
        let mut standing = standing();
        change(&mut standing);
        into_groups(chosen, &standing).unwrap_err().to_string()
    };
    let root = |change: &dyn Fn(&mut FoundGroup)| {
        refused(&["g0-l2"], &|standing| {
            standing.others.clear();
            change(&mut standing.groups[0].found);
        })
    };
    let broken = |flaw: Flaw| {
        refused(&["g0-l2"], &|standing| {
            let group = standing.groups.remove(0).found.group;
            standing.broken.push(Broken { name: group.name, uuid: group.uuid, flaw: flaw.clone() });
        })
    };
    insta::assert_snapshot!(
        [
            refused(&["g0-l2=2"], &|_| {}),
            refused(&["d0-p1=data/work"], &|_| {}),
            refused(&["d0-p2"], &|_| {}),
            refused(&["g0-l9"], &|_| {}),
            refused(&["g0-l2=data/root"], &|_| {}),
            refused(&["g0-l2"], &|standing| standing.groups.clear()),
            refused(&["g0-l2"], &|standing| standing.groups[0].found.group.name = "other".into()),
            refused(&["g0-l2", "g0-l1=debian-vg/root"], &|_| {}),
            refused(&["g1-l1=debian-vg/swap_1"], &|_| {}),
            refused(&["g0-l2"], &|_| {}),
            refused(&["g1-l2"], &|standing| standing.others.clear()),
            broken(Flaw::Missing { missing: vec!["kX-1 (last seen as /dev/sdc1)".into()], of: 2 }),
            broken(Flaw::Twice),
            broken(Flaw::Behind),
            root(&|found| found.kernel[1] = Some("a thin volume".into())),
            root(&|found| found.group.logical_volumes[1].mapping = Mapping::Mirrored),
            root(&|found| found.origins[1] = true),
            root(&|found| found.group.logical_volumes[1].status.retain(|word| word != "WRITE")),
            root(&|found| found.group.status.push("EXPORTED".into())),
        ]
        .join("\n")
    );
}

#[test]
fn targets_without_a_disk_of_the_image_hold_the_group() {
    let (disks, groups) = machine_with_groups();
    let captured = Captured { disks: &disks, groups: &groups };
    let offered = |paths: &[(&str, Option<u32>)]| {
        let offered = |(path, receives): &(&str, Option<u32>)| plan::Offered {
            disk: target(path, 500 * GIB, SMALL),
            receives: *receives,
        };
        paths.iter().map(offered).collect::<Vec<_>>()
    };
    let paired = |chosen: &[&str], paths: &[(&str, Option<u32>)]| {
        let options = options(Layout::Dynamic, only(chosen));
        plan::pair_targets(captured, &options, &offered(paths)).map(|(targets, others)| {
            let targets = targets.into_iter().map(|target| (target.number, target.disk.path));
            (targets.collect::<Vec<_>>(), others.into_iter().map(|disk| disk.path).collect::<Vec<_>>())
        })
    };
    let (sda, sdb) = ("/dev/sda".to_owned(), "/dev/sdb".to_owned());
    let two = [("/dev/sda", None), ("/dev/sdb", None)];
    assert_eq!(paired(&["g1-l1"], &two), Ok((vec![], vec![sda.clone(), sdb.clone()])));
    assert_eq!(paired(&["g1-l1", "d0-p1"], &two[..1]), Ok((vec![(0, sda.clone())], vec![])));
    // Which of two disks gets the partition, a person has to say.
    assert!(matches!(paired(&["g1-l1", "d0-p1"], &two), Err(Refusal::Ambiguous { disk: 0, .. })));
    let said = [("/dev/sda", None), ("/dev/sdb", Some(0))];
    assert_eq!(paired(&["g1-l1", "d0-p1"], &said), Ok((vec![(0, sdb)], vec![sda])));
    assert!(matches!(paired(&["g1-l1"], &[two[0], two[0]]), Err(Refusal::TargetTwice { .. })));
    assert!(matches!(paired(&["g1-l1"], &[("/dev/sda", Some(9))]), Err(Refusal::UnknownDisk { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_kept_stays_at_its_place_and_the_smallest_disk_is_exact(
        first in (1u64..300, 1u64..100, 5u32..9),
        second in (1u64..300, 1u64..100, 9u32..12),
        odd in 0u64..4096,
        two in any::<bool>(),
    ) {
        let start = first.0 * GIB + odd * 512;
        let behind = start + first.1 * GIB + second.0 * MIB;
        let mut data = vec![(first.2, start, first.1 * GIB)];
        data.extend(two.then_some((second.2, behind, second.1 * GIB)));
        prop_assume!(behind + second.1 * GIB < 499 * GIB);
        let names: Vec<String> = data.iter().map(|(number, _, _)| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = with_data(&data);
        let options = options(Layout::Dynamic, keep(&names));
        let on = |size_bytes: u64| {
            let target = Target { found: Some(found.clone()), ..Target::new(0, target("/dev/sda", size_bytes, SMALL)) };
            plan::deploy("example", "1", &[windows()], &[target], &options)
        };
        let Ok(plan) = on(500 * GIB) else { return Ok(()) };
        prop_assert_eq!(plan::check(&plan, &[windows()]), Ok(()));
        let text = plan::explain(&plan, &[windows()]);
        prop_assert!(text.lines().all(|line| line.chars().count() <= 80), "{}", text);
        let (Table::Gpt(new), Table::Gpt(old)) = (&plan.disks[0].table, &found) else { panic!() };
        for (number, _, _) in &data {
            let entry = |gpt: &remint::schema::Gpt| gpt.partitions.iter().find(|e| e.number == *number).cloned();
            prop_assert!(entry(new).is_some() && entry(new) == entry(old));
        }
        let spared = plan.disks[0].spared();
        prop_assert!(plan.disks[0].volumes.iter().all(|volume| spared.within(volume.place).next().is_none()));
        let minimum = plan.disks[0].minimum_disk_bytes;
        prop_assert_eq!(on(minimum).map(|plan| plan.disks[0].minimum_disk_bytes), Ok(minimum));
        prop_assert!(on(minimum - 512).is_err());
    }
}
