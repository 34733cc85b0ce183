//! The layout of a fresh installation for another firmware: six of them as golden text, exact smallest disks, and what
//! is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod plan_images;

use FileSystemKind::{Btrfs, Ext4, Fat32, Ntfs, Swap, Xfs};
use plan_images::*;
use proptest::prelude::*;
use remint::machine::MachineDisk;
use remint::plan::{self, DeployOptions, DeployPlan, Refusal, Step, Target};
use remint::schema::{Disk, FileSystemKind, Firmware, Keep, KeptPartition, Layout, StandardChoice, Table};
use remint::units::{GIB, MIB, SectorSize, TIB};

const SMALL: SectorSize = SectorSize::B512;
const LARGE: SectorSize = SectorSize::B4096;
const DISK_500_GB: u64 = 500_107_862_016;
const DISK_1_TB: u64 = 1_000_204_886_016;

fn options(firmware: Option<Firmware>, volume: Option<&str>) -> DeployOptions {
    DeployOptions {
        standard: StandardChoice { volume: volume.map(str::to_owned), firmware },
        seed: Some("000102030405060708090a0b0c0d0e0f".parse().unwrap()),
        ..DeployOptions::of(Layout::Standard)
    }
}

fn deploy(disk: &Disk, target: MachineDisk, options: &DeployOptions) -> Result<DeployPlan, Refusal> {
    let disks = std::slice::from_ref(disk);
    let plan = plan::deploy("example", "1", disks, &[Target::new(disk.number, target)], options)?;
    assert_eq!(plan::check(&plan, disks), Ok(()));
    Ok(plan)
}

fn text(disk: &Disk, size_bytes: u64, firmware: Firmware) -> String {
    let target = target("/dev/sda", size_bytes, disk.logical_sector_bytes);
    let plan = deploy(disk, target, &options(Some(firmware), None)).unwrap();
    plan::explain(&plan, std::slice::from_ref(disk))
}

/// Windows from a BIOS machine: a small system partition, and C.
fn windows_bios() -> Disk {
    let c = DISK_500_GB / MIB * MIB - 101 * MIB;
    let parts = [
        part(1, MIB, 100 * MIB, 0x07, holds(Ntfs, 100 * MIB)),
        part(2, 101 * MIB, c, 0x07, holds(Ntfs, c - 512)),
    ];
    mbr_disk(0, DISK_500_GB, SMALL, &parts, 0)
}

/// Windows from a UEFI machine, with its recovery.
fn windows_uefi(sector: SectorSize) -> Disk {
    let c = 400 * GIB;
    let named = |part: Part| Part { name: "Basic data partition", ..part };
    let parts = [
        part(1, MIB, 260 * MIB, EFI_SYSTEM, holds(Fat32, 260 * MIB)),
        part(2, 261 * MIB, 16 * MIB, RESERVED, unknown()),
        named(part(3, 277 * MIB, c, BASIC_DATA, holds(Ntfs, c - 4096))),
        part(4, 277 * MIB + c, 991 * MIB, RECOVERY, holds(Ntfs, 991 * MIB)),
    ];
    gpt_disk(0, DISK_500_GB, sector, &parts)
}

/// Debian from a BIOS machine: root and a logical swap partition.
fn linux_bios() -> Disk {
    let parts = [
        part(1, MIB, 100 * GIB, 0x83, holds(Ext4, 100 * GIB)),
        part(5, 100 * GIB + 3 * MIB, 4 * GIB, 0x82, holds(Swap, 4 * GIB)),
    ];
    mbr_disk(0, 120 * GIB, SMALL, &parts, MIB)
}

/// Debian from a UEFI machine.
fn linux_uefi(root: FileSystemKind) -> Disk {
    let parts = [
        part(1, MIB, 512 * MIB, EFI_SYSTEM, holds(Fat32, 512 * MIB)),
        part(2, 513 * MIB, 100 * GIB, LINUX, holds(root, 100 * GIB)),
        part(3, 513 * MIB + 100 * GIB, 4 * GIB, SWAP, holds(Swap, 4 * GIB)),
    ];
    gpt_disk(0, 120 * GIB, SMALL, &parts)
}

const SWAP: u128 = 0x0657_FD6D_A4AB_43C4_84E5_0933_C84B_4F4F;

#[test]
fn windows_for_a_bios() {
    insta::assert_snapshot!(text(&windows_uefi(SMALL), DISK_1_TB, Firmware::Bios));
}

#[test]
fn windows_for_uefi() {
    insta::assert_snapshot!(text(&windows_bios(), DISK_1_TB, Firmware::Uefi));
}

#[test]
fn windows_for_uefi_with_large_sectors() {
    insta::assert_snapshot!(text(&windows_uefi(LARGE), DISK_1_TB, Firmware::Uefi));
}

#[test]
fn linux_for_a_bios() {
    insta::assert_snapshot!(text(&linux_uefi(Ext4), 160 * GIB, Firmware::Bios));
}

#[test]
fn linux_for_a_bios_on_a_disk_beyond_an_mbr() {
    insta::assert_snapshot!(text(&linux_uefi(Xfs), 3 * TIB, Firmware::Bios));
}

#[test]
fn linux_for_uefi() {
    insta::assert_snapshot!(text(&linux_bios(), 160 * GIB, Firmware::Uefi));
}

#[test]
fn the_same_seed_gives_the_same_plan_and_another_one_other_identifiers() {
    let plan = |seed: &str| {
        let options =
            DeployOptions { seed: Some(seed.parse().unwrap()), ..options(Some(Firmware::Uefi), None) };
        deploy(&linux_bios(), target("/dev/sda", 160 * GIB, SMALL), &options).unwrap()
    };
    let (one, other) = ("00".repeat(16), "01".repeat(16));
    assert_eq!(plan(&one), plan(&one));
    let (Table::Gpt(one), Table::Gpt(other)) =
        (plan(&one).disks[0].table.clone(), plan(&other).disks[0].table.clone())
    else {
        panic!()
    };
    assert_ne!(one.disk_guid, other.disk_guid);
    assert!(one.partitions.iter().zip(&other.partitions).all(|(a, b)| a.partition_guid != b.partition_guid));
}

#[test]
fn what_the_captured_system_knew_its_partitions_by_is_in_the_plan() {
    let plan =
        deploy(&linux_uefi(Ext4), target("/dev/sda", 160 * GIB, SMALL), &options(Some(Firmware::Bios), None));
    let plan = plan.unwrap();
    let Some(Step::BootFiles(files)) = plan.steps.last() else { panic!("{:?}", plan.steps) };
    assert_eq!(files.partition_was.as_deref(), Some("00000000-0000-0000-0000-00000000a002"));
    let gone: Vec<_> = files.gone.iter().map(|gone| gone.partition_uuid.as_deref().unwrap()).collect();
    assert_eq!(gone, ["00000000-0000-0000-0000-00000000a001", "00000000-0000-0000-0000-00000000a003"]);
}

#[test]
fn what_is_not_certain_or_excludes_itself_is_refused() {
    let refused = |disk: &Disk, options: &DeployOptions| {
        deploy(disk, target("/dev/sda", 500 * GIB, disk.logical_sector_bytes), options).unwrap_err()
    };
    let bios = options(Some(Firmware::Bios), None);
    let two = gpt_disk(
        0,
        120 * GIB,
        SMALL,
        &[
            part(1, MIB, 20 * GIB, LINUX, holds(Ext4, 20 * GIB)),
            part(2, MIB + 20 * GIB, 20 * GIB, LINUX, holds(Xfs, 20 * GIB)),
            part(3, MIB + 40 * GIB, 20 * GIB, LINUX, holds(Btrfs, 20 * GIB)),
            part(4, MIB + 60 * GIB, 20 * GIB, SWAP, holds(Swap, 20 * GIB)),
        ],
    );
    insta::assert_snapshot!(refused(&two, &bios).to_string());
    for volume in ["d0-p1", "d0-p2", "d0-p3"] {
        let chosen = options(Some(Firmware::Bios), Some(volume));
        let plan = deploy(&two, target("/dev/sda", 100 * GIB, SMALL), &chosen).unwrap();
        assert_eq!(plan.disks[0].volumes[0].volume, volume);
    }
    let of = |volume| refused(&two, &options(Some(Firmware::Bios), Some(volume)));
    assert!(matches!(of("d0-p4"), Refusal::NoSystem { .. }));
    assert!(matches!(of("d0-p9"), Refusal::UnknownVolume { .. }));
    assert_eq!(refused(&linux_bios(), &options(None, None)), Refusal::NoFirmware);
    assert_eq!(refused(&linux_bios(), &DeployOptions { seed: None, ..bios.clone() }), Refusal::NoSeed);
    assert!(matches!(refused(&windows_uefi(LARGE), &bios), Refusal::BiosSectors { .. }));
    let without = DeployOptions { without: vec!["d0-p5".into()], ..bios.clone() };
    assert_eq!(refused(&linux_bios(), &without), Refusal::StandardAlone);
    let keep = Keep::Partitions(vec![KeptPartition { disk: None, number: 1 }]);
    assert_eq!(refused(&linux_bios(), &DeployOptions { keep, ..bios.clone() }), Refusal::StandardAlone);
    let dynamic = DeployOptions { layout: Layout::Dynamic, ..options(None, Some("d0-p1")) };
    assert_eq!(refused(&linux_bios(), &dynamic), Refusal::NotStandard);
}

#[test]
fn of_several_disks_only_that_with_the_system_needs_a_target() {
    let data = bare_disk(1, 500 * GIB, SMALL, holds(Xfs, 500 * GIB));
    let disks = [linux_bios(), data];
    let chosen = options(Some(Firmware::Uefi), Some("d0-p1"));
    let wanted: Vec<u32> = plan::deployed(&disks, &chosen).unwrap().iter().map(|disk| disk.number).collect();
    assert_eq!(wanted, [0]);
    let plan = plan::deploy(
        "example",
        "1",
        &disks,
        &[Target::new(0, target("/dev/sda", 160 * GIB, SMALL))],
        &chosen,
    );
    let plan = plan.unwrap();
    assert_eq!(plan::check(&plan, &disks), Ok(()));
    assert_eq!((plan.disks.len(), plan.without.clone()), (1, vec![1]));
    // A volume that fills a disk can be the system too.
    let other = options(Some(Firmware::Uefi), Some("d1-disk"));
    let plan =
        plan::deploy("example", "1", &disks, &[Target::new(1, target("/dev/sda", TIB, SMALL))], &other);
    assert_eq!(plan::check(&plan.unwrap(), &disks), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_smallest_disk_is_exact_and_the_disk_is_filled(
        windows in any::<bool>(),
        uefi in any::<bool>(),
        root in prop_oneof![Just(Ext4), Just(Xfs), Just(Btrfs)],
        start_sectors in 1u64..4096,
        sectors in (4u64 << 21)..(60 << 21),
        spare_sectors in 0u64..(5 << 31),
    ) {
        let (kind, size) = (if windows { Ntfs } else { root }, sectors * 512);
        let source = mbr_disk(0, 200 * GIB, SMALL, &[part(1, start_sectors * 512, size, 0x83, holds(kind, size))], 0);
        let options = options(Some(if uefi { Firmware::Uefi } else { Firmware::Bios }), None);
        let on = |size_bytes| deploy(&source, target("/dev/sda", size_bytes, SMALL), &options);
        let plan = on(size + (1 << 30) + spare_sectors * 512).unwrap();
        let minimum = plan.disks[0].minimum_disk_bytes;
        prop_assert!(on(minimum).is_ok());
        prop_assert_eq!(on(minimum).unwrap().disks[0].minimum_disk_bytes, minimum);
        let below = on(minimum - 512);
        let refused = matches!(below, Err(Refusal::TooSmall { minimum_bytes, .. }) if minimum_bytes == minimum);
        prop_assert!(refused, "{:?}", below);
        let disk = &plan.disks[0];
        let end = match &disk.table {
            Table::Gpt(gpt) => (gpt.last_usable_lba.0 + 1) * 512,
            _ => disk.target.size_bytes.min(512 << 32),
        };
        if kind != Btrfs {
            prop_assert_eq!(disk.volumes[0].place.end(), end);
        }
        prop_assert!(plan.steps.iter().any(|step| matches!(step, Step::BootFiles(_))));
    }
}
