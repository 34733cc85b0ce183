//! Layouts that a person can judge: each case in which today's tools fail, as golden text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod plan_images;

use FileSystemKind::{Ext4, Fat16, Fat32, Ntfs, Swap, Xfs};
use plan_images::*;
use remint::agent;
use remint::image::Manifest;
use remint::machine::{Holder, MachineDisk};
use remint::plan::{self, DeployOptions, DeployPlan, Made, NoWayBack, Refusal, Resize, Shrinking, Target};
use remint::schema::{
    Compression, Content, DeployChoices, Disk, FileSystemKind, Firmware, FreeSpace, Layout, StandardChoice,
    Table,
};
use remint::units::{GIB, Hex, KIB, Lba, MIB, SectorSize, TIB};

const SMALL: SectorSize = SectorSize::B512;
const LARGE: SectorSize = SectorSize::B4096;
/// What is sold as 500 GB, 256 GB and 1 TB.
const DISK_500_GB: u64 = 500_107_862_016;
const DISK_256_GB: u64 = 256_060_514_304;
const DISK_1_TB: u64 = 1_000_204_886_016;

const DYNAMIC: DeployOptions = DeployOptions::of(Layout::Dynamic);
const ORIGINAL: DeployOptions = {
    let mut options = DeployOptions::of(Layout::Original);
    options.free_space = FreeSpace::Keep;
    options
};

fn deploy(disks: &[Disk], targets: &[MachineDisk], options: DeployOptions) -> Result<DeployPlan, Refusal> {
    let targets: Vec<Target> =
        (0..).zip(targets.iter().cloned()).map(|(n, disk)| Target::new(n, disk)).collect();
    let plan = plan::deploy("example", "1", disks, &targets, &options)?;
    assert_eq!(plan::check(&plan, disks), Ok(()));
    Ok(plan)
}

fn text(disks: &[Disk], targets: &[MachineDisk], options: DeployOptions) -> String {
    plan::explain(&deploy(disks, targets, options).unwrap(), disks)
}

fn refusal(disk: Disk, target: MachineDisk, options: DeployOptions) -> Refusal {
    deploy(&[disk], &[target], options).unwrap_err()
}

/// Windows as its setup lays it out, on a disk sold as 500 GB.
fn windows() -> Disk {
    let recovery = DISK_500_GB - 991 * MIB - MIB;
    let recovery = recovery / MIB * MIB;
    let c = ByteSpan::between(277 * MIB, recovery);
    let named = |part: Part, name| Part { name, ..part };
    gpt_disk(
        0,
        DISK_500_GB,
        SMALL,
        &[
            named(part(1, MIB, 260 * MIB, EFI_SYSTEM, holds(Fat32, 260 * MIB)), "EFI system partition"),
            named(part(2, 261 * MIB, 16 * MIB, RESERVED, unknown()), "Microsoft reserved partition"),
            named(
                part(3, c.start, c.length, BASIC_DATA, holds(Ntfs, c.length - 512)),
                "Basic data partition",
            ),
            part(4, recovery, 991 * MIB, RECOVERY, holds(Ntfs, 991 * MIB - 512)),
        ],
    )
}

struct ByteSpan {
    start: u64,
    length: u64,
}

impl ByteSpan {
    fn between(start: u64, end: u64) -> Self {
        Self { start, length: end - start }
    }
}

/// 60 and 20 GiB behind an EFI system partition.
fn linux() -> Disk {
    gpt_disk(
        0,
        81 * GIB,
        SMALL,
        &[
            part(1, MIB, 512 * MIB, EFI_SYSTEM, holds(Fat32, 512 * MIB)),
            part(2, 513 * MIB, 60 * GIB, LINUX, holds(Ext4, 60 * GIB)),
            part(3, 513 * MIB + 60 * GIB, 20 * GIB, LINUX, holds(Xfs, 20 * GIB)),
        ],
    )
}

fn mbr_with_logicals() -> Disk {
    let at = |gib: u64| gib * GIB + MIB;
    mbr_disk(
        0,
        120 * GIB,
        SMALL,
        &[
            part(1, MIB, 30 * GIB, 0x07, holds(Ntfs, 30 * GIB - 512)),
            part(5, at(30) + MIB, 40 * GIB - MIB, 0x83, holds(Ext4, 40 * GIB - MIB)),
            part(6, at(70) + MIB, 8 * GIB - MIB, 0x82, holds(Swap, 8 * GIB - MIB)),
            part(7, at(78) + MIB, 20 * GIB - MIB, 0x83, holds(Ext4, 20 * GIB - MIB)),
        ],
        MIB,
    )
}

#[test]
fn surplus_is_shared_in_proportion_and_not_equally() {
    insta::assert_snapshot!(text(&[linux()], &[target("/dev/sda", DISK_1_TB, SMALL)], DYNAMIC));
}

#[test]
fn nothing_is_lost_when_the_last_partition_is_fixed() {
    insta::assert_snapshot!(text(&[windows()], &[target("/dev/nvme0n1", DISK_1_TB, SMALL)], DYNAMIC));
}

#[test]
fn names_with_commas_stay_whole() {
    let disk = gpt_disk(
        0,
        20 * GIB,
        SMALL,
        &[
            Part {
                name: "EFI, system \"partition\"",
                ..part(1, MIB, 100 * MIB, EFI_SYSTEM, holds(Fat32, 100 * MIB))
            },
            Part { name: "Größe, 数据", ..part(2, 101 * MIB, 19 * GIB, LINUX, holds(Ext4, 19 * GIB)) },
        ],
    );
    let plan = deploy(std::slice::from_ref(&disk), &[target("/dev/sda", 40 * GIB, SMALL)], DYNAMIC).unwrap();
    let (Table::Gpt(old), Table::Gpt(new)) = (&disk.table, &plan.disks[0].table) else { panic!("no GPT") };
    for (old, new) in old.partitions.iter().zip(&new.partitions) {
        assert_eq!((&old.name, &old.name_utf16le), (&new.name, &new.name_utf16le));
        assert_eq!((old.attributes, old.partition_guid), (new.attributes, new.partition_guid));
    }
    insta::assert_snapshot!(plan::explain(&plan, &[disk]));
}

#[test]
fn partitions_stay_in_disk_order_whatever_their_numbers() {
    let disk = gpt_disk(
        0,
        60 * GIB,
        SMALL,
        &[
            part(3, MIB, 10 * GIB, LINUX, holds(Ext4, 10 * GIB)),
            part(1, 12 * GIB, 500 * MIB, LINUX, holds(Ext4, 500 * MIB)),
            part(2, 13 * GIB, 40 * GIB, LINUX, holds(Ext4, 40 * GIB)),
        ],
    );
    insta::assert_snapshot!(text(&[disk], &[target("/dev/sda", 110 * GIB, SMALL)], DYNAMIC));
}

#[test]
fn bios_boot_partition_is_not_scaled_and_stays_at_sector_34() {
    let bios_boot = part(1, 34 * 512, MIB - 34 * 512, BIOS_BOOT, unknown());
    let disk = gpt_disk(
        0,
        32 * GIB,
        SMALL,
        &[
            bios_boot,
            part(2, MIB, 28 * GIB, LINUX, holds(Ext4, 28 * GIB)),
            part(3, MIB + 28 * GIB, 2 * GIB, LINUX, holds(Swap, 2 * GIB)),
        ],
    );
    insta::assert_snapshot!(text(&[disk], &[target("/dev/sda", 64 * GIB, SMALL)], DYNAMIC));
}

#[test]
fn logical_partitions_of_an_mbr() {
    insta::assert_snapshot!(text(&[mbr_with_logicals()], &[target("/dev/sda", 240 * GIB, SMALL)], DYNAMIC));
}

#[test]
fn logical_partitions_keep_their_boot_records_in_front_of_them() {
    let disk = mbr_with_logicals();
    let plan = deploy(&[disk], &[target("/dev/sda", 240 * GIB, SMALL)], DYNAMIC).unwrap();
    insta::assert_debug_snapshot!(mbr_rows(&plan));
}

#[test]
fn logical_partitions_out_of_order_stay_reachable() {
    // Number 6 comes first on the disk: the chain starts with the record of number 5 nevertheless.
    let disk = mbr_disk(
        0,
        40 * GIB,
        SMALL,
        &[
            part(6, 2 * MIB, 10 * GIB, 0x83, holds(Ext4, 10 * GIB)),
            part(5, 11 * GIB, 20 * GIB, 0x83, holds(Ext4, 20 * GIB)),
        ],
        MIB,
    );
    let plan = deploy(&[disk], &[target("/dev/sda", 80 * GIB, SMALL)], DYNAMIC).unwrap();
    insta::assert_debug_snapshot!(mbr_rows(&plan));
}

fn mbr_rows(plan: &DeployPlan) -> Vec<String> {
    let Table::Mbr(mbr) = &plan.disks[0].table else { panic!("no MBR") };
    mbr.partitions
        .iter()
        .map(|p| {
            let chs = Hex([p.first_chs, p.last_chs].concat());
            format!("{} {:02x} {} +{} {chs} {:?}", p.number, p.status, p.first_lba, p.sectors, p.role)
        })
        .collect()
}

#[test]
fn sectors_of_4096_bytes() {
    let disk = gpt_disk(
        0,
        32 * GIB,
        SMALL,
        &[
            part(1, 34 * 512, MIB - 34 * 512, BIOS_BOOT, unknown()),
            part(2, MIB, 20 * GIB, LINUX, holds(Ext4, 20 * GIB)),
            part(3, MIB + 20 * GIB, 2 * GIB, LINUX, holds(Swap, 2 * GIB)),
        ],
    );
    insta::assert_snapshot!(text(&[disk], &[target("/dev/sda", 64 * GIB, LARGE)], DYNAMIC));
}

#[test]
fn sectors_of_512_bytes_after_4096() {
    let disk = gpt_disk(0, 32 * GIB, LARGE, &[part(1, MIB, 20 * GIB, LINUX, holds(Xfs, 20 * GIB))]);
    insta::assert_snapshot!(text(&[disk], &[target("/dev/sda", 32 * GIB, SMALL)], DYNAMIC));
}

#[test]
fn refused_too_small_with_exact_numbers() {
    // ext4 down to its minimum of 30 GiB.
    let minimum = 50 * GIB + 513 * MIB + 33 * 512;
    let refused = refusal(linux(), target("/dev/sda", minimum - 512, SMALL), DYNAMIC);
    insta::assert_snapshot!(refused.to_string());
    let part = plan::Part::Partition(3);
    assert_eq!(
        refused,
        Refusal::TooSmall {
            disk: 0,
            target: "/dev/sda".into(),
            target_bytes: minimum - 512,
            minimum_bytes: minimum,
            missing_bytes: 512,
            part,
            part_bytes: 20 * GIB,
            reason: Some("no tool shrinks XFS".into()),
        }
    );
    let plan = deploy(&[linux()], &[target("/dev/sda", minimum, SMALL)], DYNAMIC).unwrap();
    assert_eq!(plan.disks[0].minimum_disk_bytes, minimum);
    insta::assert_snapshot!(refusal(linux(), target("/dev/sda", 40 * GIB, SMALL), ORIGINAL).to_string());
}

#[test]
fn a_smaller_disk_does_when_only_free_space_is_missing() {
    let disk = gpt_disk(
        0,
        DISK_1_TB,
        SMALL,
        &[
            part(1, MIB, 50 * GIB, BASIC_DATA, holds(Ntfs, 50 * GIB - 512)),
            part(2, 200 * GIB, 20 * GIB, BASIC_DATA, holds(Ntfs, 20 * GIB - 512)),
        ],
    );
    insta::assert_snapshot!(text(&[disk], &[target("/dev/sda", DISK_500_GB, SMALL)], DYNAMIC));
}

#[test]
fn file_systems_are_shrunk_for_a_smaller_disk() {
    insta::assert_snapshot!(text(&[windows()], &[target("/dev/sda", 256_060_514_304, SMALL)], DYNAMIC));
}

/// A partition of Windows that needs so much.
fn needing(number: u32, start: u64, size: u64, needed: u64) -> Part {
    let mut fs = file_system(Ntfs, size - 512);
    fs.minimum_bytes = needed;
    part(number, start, size, BASIC_DATA, Content::FileSystem(fs))
}

#[test]
fn every_disk_from_the_minimum_on_is_accepted() {
    // CloneDeploy erased targets of 75 and 80 GiB and refused them then; 70 are enough.
    let parts = [
        needing(1, MIB, 50 * GIB, 45 * GIB),
        needing(2, MIB + 50 * GIB, 20 * GIB, 15 * GIB),
        needing(3, MIB + 70 * GIB, 395 * GIB, 10 * GIB),
    ];
    let disk = gpt_disk(0, DISK_500_GB, SMALL, &parts);
    let minimum = 70 * GIB + MIB + 33 * 512;
    for size in [minimum, 71 * GIB, 75 * GIB, 80 * GIB] {
        let plan = deploy(std::slice::from_ref(&disk), &[target("/dev/sda", size, SMALL)], DYNAMIC).unwrap();
        assert_eq!(plan.disks[0].minimum_disk_bytes, minimum);
    }
    insta::assert_snapshot!(text(
        std::slice::from_ref(&disk),
        &[target("/dev/sda", 75 * GIB, SMALL)],
        DYNAMIC
    ));
    insta::assert_snapshot!(refusal(disk, target("/dev/sda", minimum - 512, SMALL), DYNAMIC).to_string());
}

#[test]
fn shares_are_balanced_again_where_a_minimum_binds() {
    // FOG: a disk of 400 million sectors, C needs 63 and D 105 of them; shares of 320 and 80 were clamped and D was
    // left below its minimum.
    let sectors = |millions: u64| millions * 1_000_000 * 512 / MIB * MIB;
    let parts = [
        needing(1, MIB, sectors(640), sectors(63)),
        needing(2, MIB + sectors(640), sectors(160), sectors(105)),
    ];
    let disk = gpt_disk(0, sectors(800) + 2 * MIB, SMALL, &parts);
    let plan = deploy(&[disk], &[target("/dev/sda", sectors(400), SMALL)], DYNAMIC).unwrap();
    let sizes: Vec<u64> = plan.disks[0].volumes.iter().skip(1).map(|volume| volume.place.length()).collect();
    assert!((sectors(105)..sectors(105) + MIB).contains(&sizes[1]), "{sizes:?}");
    assert!(sizes[0] > sectors(400) - sectors(105) - 4 * MIB, "{sizes:?}");
}

#[test]
fn an_image_of_two_disks() {
    let second = Disk { number: 1, ..bare_disk(1, 500 * GIB, SMALL, holds(Xfs, 500 * GIB)) };
    let targets = [target("/dev/sda", 160 * GIB, SMALL), target("/dev/sdb", TIB, SMALL)];
    insta::assert_snapshot!(text(&[linux(), second.clone()], &targets, DYNAMIC));

    let one = deploy(&[linux(), second.clone()], &targets[..1], DYNAMIC);
    assert_eq!(one, Err(Refusal::NoTarget { disk: 1, size_bytes: 500 * GIB }));
    let twice = deploy(&[linux(), second], &[targets[0].clone(), targets[0].clone()], DYNAMIC);
    assert_eq!(twice, Err(Refusal::TargetTwice { target: "/dev/sda".into() }));
}

#[test]
fn original_is_identical_on_an_equal_disk() {
    for disk in [windows(), linux(), mbr_with_logicals()] {
        let plan =
            deploy(std::slice::from_ref(&disk), &[target("/dev/sda", disk.size_bytes, SMALL)], ORIGINAL)
                .unwrap();
        assert_eq!(plan.disks[0].table, disk.table);
        assert!(plan.disks[0].volumes.iter().all(|volume| volume.resize.is_none()));
    }
}

#[test]
fn original_moves_only_the_backup_table_on_a_larger_disk() {
    let disk = windows();
    let plan =
        deploy(std::slice::from_ref(&disk), &[target("/dev/sda", DISK_1_TB, SMALL)], ORIGINAL).unwrap();
    let (Table::Gpt(old), Table::Gpt(new)) = (disk.table.clone(), &plan.disks[0].table) else {
        panic!("no GPT")
    };
    let (_, last_usable_lba) = usable(DISK_1_TB, SMALL);
    assert_eq!(*new, remint::schema::Gpt { last_usable_lba, ..old });
    insta::assert_snapshot!(plan::explain(&plan, &[disk]));
}

#[test]
fn file_systems_stay_at_their_size_when_asked() {
    let options = DeployOptions { expand: false, ..DYNAMIC };
    let plan = deploy(&[linux()], &[target("/dev/sda", 160 * GIB, SMALL)], options).unwrap();
    assert!(plan.disks[0].volumes.iter().all(|volume| volume.resize.is_none()));
    insta::assert_snapshot!(plan::explain(&plan, &[linux()]));
}

#[test]
fn nothing_becomes_smaller_when_that_is_not_wanted() {
    let (small, large) = (target("/dev/sda", DISK_256_GB, SMALL), target("/dev/sda", DISK_500_GB, SMALL));
    let options = DeployOptions { shrinking: Shrinking::None, ..DYNAMIC };
    deploy(&[windows()], std::slice::from_ref(&small), DYNAMIC).unwrap();
    insta::assert_snapshot!(refusal(windows(), small, options.clone()).to_string());
    insta::assert_snapshot!(text(&[windows()], &[large], options.clone()));
    // Half a disk is less than what the file system had, and a standard layout has a system that could shrink.
    let wishes = vec!["d0-p3=50%".parse().unwrap(), "d0-p4=share".parse().unwrap()];
    let half = DeployOptions { layout: Layout::Custom, wishes, ..options.clone() };
    let plan = deploy(&[windows()], &[target("/dev/sda", DISK_1_TB, SMALL)], half).unwrap();
    assert!(plan.disks[0].volumes.iter().all(|v| !matches!(v.resize, Some(Resize::Shrink { .. }))));
    let standard = DeployOptions {
        layout: Layout::Standard,
        standard: StandardChoice { volume: Some("d0-p3".into()), firmware: Some(Firmware::Uefi) },
        seed: Some("000102030405060708090a0b0c0d0e0f".parse().unwrap()),
        ..options
    };
    let said = refusal(windows(), target("/dev/sda", DISK_256_GB, SMALL), standard).to_string();
    assert!(said.contains("because volumes are not to become smaller"), "{said}");
}

#[test]
fn the_smallest_disk_is_known_before_there_is_a_target() {
    let manifest = |disks: Vec<Disk>| {
        let (image, version) = ("example".parse().unwrap(), "1".parse().unwrap());
        let created = "2026-11-20T21:15:00Z".to_owned();
        Manifest { disks, ..Manifest::new(image, version, created, Compression::default()) }
    };
    let smallest = |disks: &[Disk], choices: &DeployChoices| {
        agent::smallest_disks(&manifest(disks.to_vec()), choices, Some(Firmware::Bios))
    };
    let usual = DeployChoices::default;
    let original = DeployChoices { layout: Layout::Original, ..usual() };
    for (choices, options) in [
        (usual(), DYNAMIC),
        (original, ORIGINAL),
        (DeployChoices { shrink: false, ..usual() }, DeployOptions { shrinking: Shrinking::None, ..DYNAMIC }),
    ] {
        for disk in [windows(), linux(), mbr_with_logicals()] {
            let plan =
                deploy(std::slice::from_ref(&disk), &[target("/dev/sda", DISK_1_TB, SMALL)], options.clone());
            assert_eq!(smallest(&[disk], &choices), [plan.unwrap().disks[0].minimum_disk_bytes]);
        }
    }
    // One for each disk that is deployed; a standard layout has one, and its firmware is that of the machine.
    let two = [windows(), Disk { number: 1, ..linux() }];
    assert_eq!(smallest(&two, &usual()).len(), 2);
    let standard =
        |layout, volume: &str| DeployChoices { layout, volume: Some(volume.to_owned()), ..usual() };
    assert_eq!(smallest(&two, &DeployChoices { without: vec!["d0".to_owned()], ..usual() }).len(), 1);
    assert_eq!(smallest(&two, &standard(Layout::Standard, "d0-p3")).len(), 1);
    assert_eq!(smallest(&two, &standard(Layout::Standard, "d0-p9")), [0; 0]);
    // What only the target says.
    for text in [r#"{"layout": "script", "script": "x"}"#, r#"{"keep": {"table": []}}"#] {
        assert_eq!(smallest(&two, &serde_json::from_str(text).unwrap()), [0; 0], "{text}");
    }
}

#[test]
fn an_mbr_ends_at_two_tebibytes() {
    let disk = mbr_disk(0, 120 * GIB, SMALL, &[part(1, MIB, 100 * GIB, 0x83, holds(Ext4, 100 * GIB))], MIB);
    insta::assert_snapshot!(text(&[disk], &[target("/dev/sda", 4 * TIB, SMALL)], DYNAMIC));

    // 3 TiB are within reach with 4096-byte sectors and out of it with 512-byte ones.
    let disk = mbr_disk(0, 4 * TIB, LARGE, &[part(1, MIB, 3 * TIB, 0x83, holds(Xfs, 3 * TIB))], MIB);
    insta::assert_snapshot!(refusal(disk, target("/dev/sda", 4 * TIB, SMALL), DYNAMIC).to_string());
}

#[test]
fn a_disk_from_before_alignment_keeps_its_places_where_the_grid_has_no_room() {
    // Windows XP: one partition from sector 63 to the end of the disk's last cylinder.
    let size = 255 * 63 * 512 * 10_000;
    let disk = |content| mbr_disk(0, size, SMALL, &[part(1, 63 * 512, size - 63 * 512, 0x07, content)], 0);
    let ntfs = disk(holds(Ntfs, size - 64 * 512));
    insta::assert_snapshot!(text(std::slice::from_ref(&ntfs), &[target("/dev/sda", size, SMALL)], DYNAMIC));
    let larger = deploy(&[ntfs], &[target("/dev/sda", size + 2 * MIB, SMALL)], DYNAMIC).unwrap();
    assert_eq!(larger.disks[0].volumes.last().unwrap().place.start(), MIB);
}

#[test]
fn a_fixed_partition_at_sector_63_stays_there() {
    let disk = mbr_disk(
        0,
        20 * GIB,
        SMALL,
        &[
            part(1, 63 * 512, 256 * MIB, 0x06, holds(Fat16, 256 * MIB)),
            part(2, 512 * MIB, 10 * GIB, 0x83, holds(Ext4, 10 * GIB)),
        ],
        0,
    );
    insta::assert_snapshot!(text(&[disk], &[target("/dev/sda", 40 * GIB, SMALL)], DYNAMIC));
}

#[test]
fn a_boot_loader_in_front_of_the_first_partition_keeps_its_room() {
    // U-Boot of an ARM board: partitions start at 16 MiB.
    let disk = gpt_disk(0, 16 * GIB, SMALL, &[part(1, 16 * MIB, 12 * GIB, LINUX, holds(Ext4, 12 * GIB))]);
    insta::assert_snapshot!(text(&[disk], &[target("/dev/mmcblk0", 32 * GIB, SMALL)], DYNAMIC));
}

#[test]
fn hybrid_entries_follow_their_partitions() {
    let mut disk = linux();
    let Table::Gpt(gpt) = &mut disk.table else { panic!("no GPT") };
    let p3 = gpt.partitions[2].clone();
    let entry = |kind: u8, first: u64, sectors: u64| {
        let mut bytes = vec![0, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF];
        bytes.extend(u32::try_from(first).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(sectors).unwrap().to_le_bytes());
        bytes
    };
    let mut sector = vec![0; 446];
    sector.extend(entry(0xEE, 1, 1_050_623));
    sector.extend(entry(0x83, p3.first_lba.0, p3.last_lba.0 - p3.first_lba.0 + 1));
    sector.extend(entry(0x07, 12_345, 678));
    sector.extend([0; 16]);
    sector.extend([0x55, 0xAA]);
    gpt.boot_sector = Hex(sector.clone());

    let same = deploy(std::slice::from_ref(&disk), &[target("/dev/sda", 81 * GIB, SMALL)], ORIGINAL).unwrap();
    assert_eq!(same.disks[0].table, disk.table);

    let plan = deploy(std::slice::from_ref(&disk), &[target("/dev/sda", 162 * GIB, SMALL)], DYNAMIC).unwrap();
    let Table::Gpt(gpt) = &plan.disks[0].table else { panic!("no GPT") };
    let new = &gpt.boot_sector.0;
    let first = u32::from_le_bytes(new[470..474].try_into().unwrap());
    assert_eq!(Lba(first.into()), gpt.partitions[2].first_lba);
    assert_eq!(new[446..462], sector[446..462]);
    assert_eq!(new[478..494], [0; 16]);
    insta::assert_debug_snapshot!(plan.disks[0].warnings);
}

#[test]
fn content_that_depends_on_the_sector_size_is_refused_by_name() {
    let on_large = |content: Content| {
        let disk = gpt_disk(0, 32 * GIB, SMALL, &[part(7, MIB, 20 * GIB, LINUX, content)]);
        refusal(disk, target("/dev/sda", 64 * GIB, LARGE), DYNAMIC).to_string()
    };
    let kinds = [Ntfs, Fat32, Xfs, FileSystemKind::Luks2];
    let refusals: Vec<String> = kinds.into_iter().map(|kind| on_large(holds(kind, 20 * GIB))).collect();
    insta::assert_snapshot!(refusals.join("\n"));
    let disk = gpt_disk(0, 32 * GIB, SMALL, &[part(1, 34 * 512, 4 * MIB, LINUX, holds(Swap, 4 * MIB))]);
    insta::assert_snapshot!(refusal(disk, target("/dev/sda", 64 * GIB, LARGE), ORIGINAL).to_string());
}

#[test]
fn a_disk_that_is_in_use_is_refused_with_its_holders() {
    let mut disk = target("/dev/sda", 64 * GIB, SMALL);
    assert_eq!(plan::preflight_refusals(&disk), []);
    disk.read_only = true;
    disk.boot_medium = true;
    disk.holders = vec![
        Holder::Mount { device: "/dev/sda1".into(), path: "/home".into() },
        Holder::Mapping { device: "/dev/sda2".into(), name: "dm-0 (vg-root)".into() },
    ];
    let text: Vec<String> = plan::preflight_refusals(&disk).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn an_image_that_contradicts_itself_is_refused() {
    let overlap = gpt_disk(
        0,
        32 * GIB,
        SMALL,
        &[
            part(1, MIB, 10 * GIB, LINUX, holds(Ext4, 10 * GIB)),
            part(2, 10 * GIB, 10 * GIB, LINUX, holds(Ext4, 10 * GIB)),
        ],
    );
    let mut homeless = linux();
    homeless.volumes[1].role = remint::schema::Role::Partition { number: 9 };
    let mut endless = linux();
    let Table::Gpt(gpt) = &mut endless.table else { panic!("no GPT") };
    gpt.partitions[2].last_lba = Lba(u64::MAX);
    let mut array = linux();
    let Table::Gpt(gpt) = &mut array.table else { panic!("no GPT") };
    gpt.entry_count = u32::MAX;
    for disk in [overlap, homeless, endless, array] {
        let refused = refusal(disk, target("/dev/sda", 64 * GIB, SMALL), DYNAMIC);
        assert!(matches!(refused, Refusal::Unsound { disk: 0, .. }), "{refused}");
    }
}

#[test]
fn what_was_left_out_stays_empty_and_what_cannot_be_discarded_is_said() {
    let disk = gpt_disk(
        0,
        32 * GIB,
        SMALL,
        &[part(1, MIB, 10 * GIB, LINUX, Content::LeftOut), part(2, 11 * GIB, 300 * KIB, LINUX, unknown())],
    );
    let old = MachineDisk { can_discard: false, ..target("/dev/sda", 64 * GIB, SMALL) };
    insta::assert_snapshot!(text(&[disk], &[old], DYNAMIC));
}

#[test]
fn disks_with_one_identity_are_warned_of() {
    let second = Disk { number: 1, ..linux() };
    let targets = [target("/dev/sda", 81 * GIB, SMALL), target("/dev/sdb", 81 * GIB, SMALL)];
    let plan = deploy(&[linux(), second], &targets, ORIGINAL).unwrap();
    let of_identity = |disk: usize| -> Vec<String> {
        plan.disks[disk].warnings.iter().filter(|warning| warning.contains("GUID")).cloned().collect()
    };
    assert!(of_identity(0).is_empty());
    insta::assert_debug_snapshot!(of_identity(1));
}

#[test]
fn every_partition_is_in_the_picture_however_narrow_or_many() {
    // ChromeOS: twelve partitions, of which some have a sector and one has nearly all.
    let small = |number: u32, start: u64, size: u64| part(number, start, size, LINUX, unknown());
    let mut parts: Vec<Part> =
        (2..=12).map(|n| small(n, u64::from(n) * 4 * MIB, 512 * u64::from(n))).collect();
    parts.push(part(1, 64 * MIB, 25 * GIB, LINUX, holds(Ext4, 25 * GIB)));
    let disk = gpt_disk(0, 32 * GIB, SMALL, &parts);
    let narrow = text(&[disk], &[target("/dev/mmcblk0", 64 * GIB, SMALL)], DYNAMIC);

    let parts: Vec<Part> = (1..=128).map(|n| small(n, u64::from(n) * 5 * MIB, 4 * MIB)).collect();
    let disk = gpt_disk(0, GIB, SMALL, &parts);
    let many = text(&[disk], &[target("/dev/sda", GIB, SMALL)], DYNAMIC);
    for line in narrow.lines().chain(many.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let drawn: Vec<&str> =
        many.split("\n  after").nth(1).unwrap().lines().filter(|line| line.starts_with("  |")).collect();
    let drawn = drawn.concat();
    for number in 1..=128 {
        assert!(drawn.contains(&format!("|{number}")), "partition {number}");
    }
    let picture = |text: &str| text.split("\n\n  d0-boot").next().unwrap().to_owned();
    let (many, _) = many.split_once("\n  part").unwrap();
    insta::assert_snapshot!(format!("{}\n\n{many}", picture(&narrow)));
}

#[test]
fn the_documentation_shows_what_is_printed() {
    let printed = text(&[windows()], &[target("/dev/nvme0n1", DISK_1_TB, SMALL)], DYNAMIC);
    let documentation = include_str!("../docs/layouts.md");
    assert!(documentation.contains(&printed), "docs/layouts.md does not show:\n{printed}");
}

#[test]
fn the_plan_is_json() {
    let plan = deploy(&[linux()], &[target("/dev/sda", 160 * GIB, SMALL)], DYNAMIC).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&plan).unwrap());
}

#[test]
fn new_identifiers_are_said_and_every_copy_has_its_own() {
    let seed = Some("000102030405060708090a0b0c0d0e0f".parse().unwrap());
    let options = DeployOptions { new_ids: true, seed, ..DYNAMIC };
    insta::assert_snapshot!(text(&[linux()], &[target("/dev/sda", 160 * GIB, SMALL)], options.clone()));

    let disk = mbr_with_logicals();
    let targets: Vec<Target> =
        ["/dev/sda", "/dev/sdb"].map(|path| Target::new(0, target(path, 200 * GIB, SMALL))).to_vec();
    let disks = std::slice::from_ref(&disk);
    let plan = plan::deploy("example", "1", disks, &targets, &options).unwrap();
    assert_eq!(plan::check(&plan, disks), Ok(()));
    let names: Vec<_> = plan.disks.iter().map(|disk| &disk.new_names).collect();
    insta::assert_snapshot!(serde_json::to_string_pretty(&(names, &plan.steps)).unwrap());
    // A system on one copy means its own partitions.
    for disk in &plan.disks {
        let names = plan::names_for(&plan, &disk.target.path);
        assert_eq!(names.as_slice(), &disk.new_names[1..]);
    }

    // Two copies with the captured identifiers would be taken for each other.
    assert_eq!(plan::with_captured_names(&plan), Err(NoWayBack::Twice));
    let said: Vec<&String> = plan.disks.iter().flat_map(|disk| &disk.warnings).collect();
    assert!(said.iter().any(|said| said.contains("does not start until it is put right")), "{said:?}");

    // The plan that is turned to where something cannot follow is that without new identifiers.
    let one = &targets[..1];
    let single = plan::deploy("example", "1", disks, one, &options).unwrap();
    assert!(single.disks.iter().all(|disk| disk.warnings.iter().all(|said| !said.contains("put right"))));
    let captured = plan::with_captured_names(&single).unwrap();
    assert_eq!(plan::check(&captured, disks), Ok(()));
    let without =
        plan::deploy("example", "1", disks, one, &DeployOptions { new_ids: false, ..options.clone() });
    let tables = |plan: &DeployPlan| plan.disks.iter().map(|disk| disk.table.clone()).collect::<Vec<_>>();
    assert_eq!(tables(&captured), tables(&without.unwrap()));
    assert_eq!(captured.steps.len(), single.steps.len());
    assert_eq!(plan::with_captured_names(&captured), Err(NoWayBack::NothingNew));
    for (disk, back) in plan.disks.iter().zip(plan::way_back(&plan).disks) {
        for (name, back) in disk.new_names.iter().zip(&back.new_names) {
            assert_eq!((&name.old, &name.new), (&back.new, &back.old));
        }
    }

    // A table that disagrees with what is said of it is found.
    for index in 0..plan.disks[0].new_names.len() {
        let mut wrong = plan.clone();
        wrong.disks[0].new_names[index].new = wrong.disks[0].new_names[index].old.clone();
        assert!(plan::check(&wrong, disks).is_err(), "{index}");
        let mut missing = plan.clone();
        missing.disks[0].new_names.remove(0);
        assert!(plan::check(&missing, disks).is_err());
    }
    let without_seed = DeployOptions { seed: None, ..options };
    assert!(matches!(refusal(linux(), target("/dev/sda", 160 * GIB, SMALL), without_seed), Refusal::NoSeed));
}

#[test]
fn a_volume_that_nobody_looks_into_for_names_is_warned_of_with_the_reason() {
    use FileSystemKind::{
        Bcachefs, Bitlocker, Btrfs, Exfat, F2fs, Jfs, Luks1, Luks2, MdMember, Nilfs2, Reiserfs, Zfs,
    };
    const RAW: &str = "it was captured raw";
    const ENCRYPTED: &str = "it is encrypted";
    const OF_ITS_KIND: &str = "names are not looked for in file systems of its kind";
    let seed = Some("000102030405060708090a0b0c0d0e0f".parse().unwrap());
    let options = DeployOptions { new_ids: true, seed, ..DYNAMIC };
    let whole = |kind: FileSystemKind| (kind, holds(kind, 10 * GIB));
    let raw = |kind: FileSystemKind| {
        let file_system = Some(file_system(kind, 10 * GIB));
        (kind, Content::Raw { reason: "it is dirty".into(), file_system })
    };
    let mut elsewhere = file_system(Ext4, 10 * GIB);
    elsewhere.findings.push(remint::schema::FileSystem::journal_elsewhere("d1-p1"));
    for ((kind, content), why) in [
        (whole(Ext4), None),
        (whole(Xfs), None),
        (whole(Btrfs), None),
        (whole(Fat32), None),
        (whole(Exfat), None),
        (whole(Ntfs), None),
        (whole(Swap), None),
        ((Ext4, unknown()), None),
        ((Ext4, Content::FileSystem(elsewhere)), Some("its journal is on another volume")),
        (raw(Ext4), Some(RAW)),
        (raw(Btrfs), Some(RAW)),
        (raw(Ntfs), Some(RAW)),
        (raw(Exfat), None),
        (whole(F2fs), Some(OF_ITS_KIND)),
        (raw(F2fs), Some(OF_ITS_KIND)),
        (whole(Jfs), Some(OF_ITS_KIND)),
        (whole(Nilfs2), Some(OF_ITS_KIND)),
        (whole(Reiserfs), Some(OF_ITS_KIND)),
        (whole(Bcachefs), Some(OF_ITS_KIND)),
        (whole(Zfs), Some(OF_ITS_KIND)),
        // A key opened these two.
        (whole(Luks1), Some(ENCRYPTED)),
        (whole(Luks2), Some(ENCRYPTED)),
        (raw(Luks2), Some(ENCRYPTED)),
        (whole(Bitlocker), Some(ENCRYPTED)),
        (whole(MdMember), Some("it is a member of an array")),
        (raw(MdMember), Some("it is a member of an array")),
    ] {
        let disk = gpt_disk(0, 32 * GIB, SMALL, &[part(1, MIB, 10 * GIB, LINUX, content)]);
        let sda = target("/dev/sda", 32 * GIB, SMALL);
        let warnings = |options: DeployOptions| {
            let plan = deploy(std::slice::from_ref(&disk), std::slice::from_ref(&sda), options).unwrap();
            let looked = plan.disks[0].warnings.iter().filter(|said| said.contains("is not looked into"));
            looked.cloned().collect::<Vec<_>>()
        };
        let expected = why.map(|why| {
            format!(
                "d0-p1 ({kind}) is not looked into, because {why}: a system on it that names partitions by their old identifiers \
                 does not start before it names the new ones."
            )
        });
        assert_eq!(warnings(options.clone()), expected.into_iter().collect::<Vec<_>>(), "{kind}");
        assert_eq!(warnings(DYNAMIC), [""; 0]);
    }
}

#[test]
fn a_script_is_believed_in_nothing_that_would_cost_data() {
    // What a script may make: the table of a dynamic layout, on a larger disk.
    let disk = linux();
    let sda = target("/dev/sda", 160 * GIB, SMALL);
    let table = deploy(std::slice::from_ref(&disk), std::slice::from_ref(&sda), DYNAMIC).unwrap().disks[0]
        .table
        .clone();
    let options = DeployOptions { layout: Layout::Script, ..DYNAMIC };
    let made = Made { table, places: Vec::new(), output: "three partitions\n".to_owned() };
    let with = |made: Made| Target { made: Some(made), ..Target::new(0, sda.clone()) };
    let disks = std::slice::from_ref(&disk);
    let plan = plan::deploy("example", "1", disks, &[with(made.clone())], &options).unwrap();
    assert_eq!(plan::check(&plan, disks), Ok(()));
    insta::assert_snapshot!(plan::explain(&plan, disks));

    let change = |change: &dyn Fn(&mut DeployPlan)| {
        let mut wrong = plan.clone();
        change(&mut wrong);
        plan::check(&wrong, disks).unwrap_err()
    };
    let gpt = |plan: &mut DeployPlan, change: &dyn Fn(&mut remint::schema::Gpt)| {
        let Table::Gpt(gpt) = &mut plan.disks[0].table else { panic!("no GPT") };
        change(gpt);
    };
    change(&|plan| gpt(plan, &|gpt| gpt.partitions[1].first_lba = gpt.partitions[0].last_lba));
    change(&|plan| gpt(plan, &|gpt| gpt.partitions[2].last_lba = Lba(u64::MAX)));
    change(&|plan| gpt(plan, &|gpt| gpt.partitions[2].last_lba.0 += 2048));
    change(&|plan| gpt(plan, &|gpt| gpt.last_usable_lba.0 += 40));
    change(&|plan| plan.disks[0].table = Table::None);
    change(&|plan| {
        plan.disks[0].volumes.pop();
    });
    change(&|plan| {
        let twice = plan.disks[0].volumes[1].clone();
        plan.disks[0].volumes.push(twice);
    });
    change(&|plan| plan.disks[0].volumes[2].partition = Some(1));
    change(&|plan| plan.disks[0].volumes[2].action = plan::VolumeAction::LeaveEmpty);
    change(&|plan| plan.disks[0].clear.clear());
    assert!(matches!(
        plan::deploy("example", "1", disks, &[Target::new(0, sda.clone())], &options),
        Err(Refusal::NoScript { .. })
    ));
}
