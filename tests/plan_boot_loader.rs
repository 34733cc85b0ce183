//! The plan knows where GRUB of the image would not start from the new layout, and says so where the deployed system installs it
//! anew; nowhere else does it happen unasked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod plan_images;

use FileSystemKind::{Ext4, Fat32, Ntfs};
use plan_images::*;
use remint::machine::MachineDisk;
use remint::plan::{self, BootLoader, DeployOptions, Made, Target};
use remint::schema::{
    BootLoaderChoice, Disk, FileSystemKind, Firmware, FreeSpace, Layout, StandardChoice, Table,
};
use remint::units::{GIB, Hex, MIB, SectorSize};

const SMALL: SectorSize = SectorSize::B512;

/// Boot code as GRUB's, which goes on at a sector.
fn grub(rest: u64) -> Vec<u8> {
    let mut code = vec![0xEB; 440];
    code[0x5C..0x64].copy_from_slice(&rest.to_le_bytes());
    code[0x180..0x185].copy_from_slice(b"GRUB ");
    code
}

fn with_code(mut disk: Disk, code: &[u8]) -> Disk {
    match &mut disk.table {
        Table::Gpt(gpt) => gpt.boot_sector.0[..code.len()].copy_from_slice(code),
        Table::Mbr(mbr) => mbr.boot_code = Hex(code.to_vec()),
        Table::None => {}
    }
    disk
}

/// A system of 20 GiB in front of the partition that GRUB lies in, and data behind it.
fn behind_the_system() -> Disk {
    let start = MIB + 20 * GIB;
    let parts = [
        part(1, MIB, 20 * GIB, LINUX, holds(Ext4, 20 * GIB)),
        part(2, start, MIB, BIOS_BOOT, unknown()),
        part(3, start + MIB, 10 * GIB, LINUX, holds(Ext4, 10 * GIB)),
    ];
    with_code(gpt_disk(0, 40 * GIB, SMALL, &parts), &grub(start / 512))
}

fn on_mbr() -> Disk {
    let parts = [part(1, MIB, 20 * GIB, 0x83, holds(Ext4, 20 * GIB))];
    with_code(mbr_disk(0, 40 * GIB, SMALL, &parts, MIB), &grub(1))
}

fn options(layout: Layout) -> DeployOptions {
    let (free_space, started_by) = (FreeSpace::Keep, Some(Firmware::Bios));
    DeployOptions { free_space, started_by, ..DeployOptions::of(layout) }
}

fn sda(size_bytes: u64) -> MachineDisk {
    target("/dev/sda", size_bytes, SMALL)
}

fn planned(disk: &Disk, target: Target, options: &DeployOptions) -> (Vec<BootLoader>, String) {
    let disks = std::slice::from_ref(disk);
    let plan = plan::deploy("example", "1", disks, &[target], options).unwrap();
    assert_eq!(plan::check(&plan, disks), Ok(()));
    let text = plan::explain(&plan, disks);
    assert_eq!(text.contains("own grub-install"), !plan.boot_loaders.is_empty(), "{text}");
    (plan.boot_loaders, text)
}

fn why(disk: &Disk, size_bytes: u64, options: &DeployOptions) -> Option<String> {
    let (loaders, text) = planned(disk, Target::new(0, sda(size_bytes)), options);
    let why = loaders.first().map(|loader| loader.why.clone().unwrap());
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(why.iter().all(|why| flat.contains(why)), "{text}");
    why
}

#[test]
fn grub_in_a_partition_that_begins_somewhere_else_is_installed_anew() {
    let disk = behind_the_system();
    let moved = Some("It lies in partition 2, which begins somewhere else now.".to_owned());
    assert_eq!(why(&disk, 80 * GIB, &options(Layout::Dynamic)), moved);
    assert_eq!(why(&disk, 40 * GIB, &options(Layout::Original)), None);
    let without = DeployOptions { without: vec!["d0-p2".to_owned()], ..options(Layout::Dynamic) };
    // There is no place for it any more.
    assert_eq!(why(&disk, 80 * GIB, &without), None);
    // Nobody knows of a plain file what will start it.
    assert_eq!(why(&disk, 80 * GIB, &DeployOptions { started_by: None, ..options(Layout::Dynamic) }), moved);
    for other in [
        DeployOptions { started_by: Some(Firmware::Uefi), ..options(Layout::Dynamic) },
        DeployOptions { boot_loader: BootLoaderChoice::Keep, ..options(Layout::Dynamic) },
    ] {
        assert_eq!(why(&disk, 80 * GIB, &other), None);
    }
    let foreign = with_code(disk, &[0x90; 440]);
    assert_eq!(why(&foreign, 80 * GIB, &options(Layout::Dynamic)), None);
}

#[test]
fn grub_in_front_of_the_first_partition_stays_where_there_is_room_for_it() {
    let disk = on_mbr();
    for size in [40 * GIB, 80 * GIB] {
        assert_eq!(why(&disk, size, &options(Layout::Dynamic)), None);
    }
    let standard = DeployOptions {
        standard: StandardChoice { volume: None, firmware: Some(Firmware::Bios) },
        seed: Some(plan::Seed::from_bytes([7; 16])),
        ..options(Layout::Standard)
    };
    assert_eq!(why(&disk, 80 * GIB, &standard), None);
    let script = |table: Table| {
        let made = Made { table, places: vec!["d0-p1=2".parse().unwrap()], output: String::new() };
        let target = Target { made: Some(made), ..Target::new(0, sda(80 * GIB)) };
        let (loaders, _) = planned(&disk, target, &options(Layout::Script));
        loaders.first().map(|loader| (loader.why.clone().unwrap(), loader.bios, loader.written.clone()))
    };
    let boot = |kind| part(1, MIB, MIB, kind, unknown());
    let system = |start| part(2, start, 30 * GIB, LINUX, holds(Ext4, 30 * GIB));
    let gpt = |kind| gpt_disk(0, 80 * GIB, SMALL, &[boot(kind), system(2 * MIB)]).table;
    let written = vec![(2, "d0-p1".to_owned())];
    let other = "Its boot code is for another kind of table.".to_owned();
    assert_eq!(script(gpt(BIOS_BOOT)), Some((other, true, written.clone())));
    assert_eq!(script(gpt(EFI_SYSTEM)), None);
    // As partitions began in the nineties.
    let early = [part(2, 63 * 512, 30 * GIB, 0x83, holds(Ext4, 30 * GIB))];
    let mut early = with_code(mbr_disk(0, 80 * GIB, SMALL, &early, MIB), &[0; 440]).table;
    let less = "There is less room for it in front of the first partition.".to_owned();
    assert_eq!(script(early.clone()), Some((less, true, written)));
    if let Table::Mbr(mbr) = &mut early {
        mbr.boot_code = Hex(vec![0x77; 440]);
    }
    assert_eq!(script(early), None, "the script has code of its own");
}

#[test]
fn beside_the_disk_with_the_system_one_with_data_gets_none() {
    let data =
        |number| gpt_disk(number, 20 * GIB, SMALL, &[part(1, MIB, 10 * GIB, LINUX, holds(Ntfs, 10 * GIB))]);
    let asked = DeployOptions { boot_loader: BootLoaderChoice::Install, ..options(Layout::Original) };
    let targets = |first, second| {
        let sdb = target("/dev/sdb", second, SMALL);
        [Target::new(0, sda(first)), Target::new(1, sdb)]
    };
    let loaders = |disks: &[Disk], targets: &[Target]| {
        let plan = plan::deploy("example", "1", disks, targets, &asked).unwrap();
        plan.boot_loaders.into_iter().map(|loader| loader.target).collect::<Vec<_>>()
    };
    let system = gpt_disk(0, 40 * GIB, SMALL, &[part(1, MIB, 20 * GIB, LINUX, holds(Ext4, 20 * GIB))]);
    assert_eq!(loaders(&[system, data(1)], &targets(40 * GIB, 20 * GIB)), ["/dev/sda"]);
    // Where no disk seems to hold a system, the deploy says that there is none.
    assert_eq!(loaders(&[data(0), data(1)], &targets(20 * GIB, 20 * GIB)).len(), 2);
}

#[test]
fn who_asks_gets_it_for_every_firmware_that_the_table_has_a_place_for() {
    let parts = [
        part(1, MIB, 512 * MIB, EFI_SYSTEM, holds(Fat32, 512 * MIB)),
        part(2, 513 * MIB, 20 * GIB, LINUX, holds(Ext4, 20 * GIB)),
    ];
    let disk = gpt_disk(0, 40 * GIB, SMALL, &parts);
    let asked = DeployOptions { boot_loader: BootLoaderChoice::Install, ..options(Layout::Dynamic) };
    let (loaders, text) = planned(&disk, Target::new(0, sda(80 * GIB)), &asked);
    let [loader] = loaders.as_slice() else { panic!("{text}") };
    assert_eq!((loader.bios, loader.efi_system, &loader.why), (false, Some(1), &None));
    let written = [(1, "d0-p1".to_owned()), (2, "d0-p2".to_owned())];
    assert_eq!(loader.written, written);
    let (loaders, _) = planned(&on_mbr(), Target::new(0, sda(80 * GIB)), &asked);
    assert_eq!((loaders[0].bios, loaders[0].efi_system), (true, None));
}
