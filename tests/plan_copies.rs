//! Into which volumes files are copied, in which order, and with how much room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod plan_images;

use FileSystemKind::{Exfat, Ext4, Fat32, Ntfs};
use plan_images::*;
use remint::plan::{
    self, Amount, DeployOptions, DeployPlan, HardNames, Refusal, Step, Target, WishedCopy, WishedScript,
};
use remint::schema::{
    Content, CopyKind, Disk, FileCopy, FileSystemKind, Firmware, FreeSpace, Layout, StandardChoice,
};
use remint::units::{GIB, MIB, SectorSize};

/// 20 GiB of ext4 with 8 in use, exFAT, and what nobody knows.
fn disks(count: u32) -> Vec<Disk> {
    let half_full = |size_bytes: u64| match holds(Ext4, size_bytes) {
        Content::FileSystem(mut found) => {
            found.used_bytes = Some(8 * GIB);
            Content::FileSystem(found)
        }
        other => other,
    };
    let disk = |number| {
        let parts = [
            part(1, MIB, 20 * GIB, LINUX, half_full(20 * GIB)),
            part(2, 21 * GIB, 4 * GIB, BASIC_DATA, holds(Exfat, 4 * GIB)),
            part(3, 25 * GIB, GIB, LINUX, unknown()),
            part(number + 4, 26 * GIB, 4 * GIB, BASIC_DATA, holds(Ntfs, 4 * GIB)),
        ];
        gpt_disk(number, 31 * GIB, SectorSize::B512, &parts)
    };
    (0..count).map(disk).collect()
}

fn copy(volume: &str, bytes: u64, priority: i32) -> WishedCopy {
    let copy = FileCopy {
        artefact: "ab".repeat(32).parse().unwrap(),
        kind: CopyKind::File,
        volume: volume.to_owned(),
        to: "/x".to_owned(),
        priority,
        owner: None,
        mode: None,
    };
    let amount = Amount { files: 1, bytes, largest_bytes: bytes, ..Amount::default() };
    WishedCopy { copy, name: format!("{priority}"), amount, names: HardNames::default() }
}

fn plan_for(disks: &[Disk], targets: &[Target], copies: &[WishedCopy]) -> Result<DeployPlan, Refusal> {
    let options = DeployOptions {
        free_space: FreeSpace::Keep,
        copies: copies.to_vec(),
        ..DeployOptions::of(Layout::Dynamic)
    };
    let plan = plan::deploy("example", "1", disks, targets, &options)?;
    assert_eq!(plan::check(&plan, disks), Ok(()));
    Ok(plan)
}

fn plan(size_bytes: u64, copies: &[WishedCopy]) -> Result<DeployPlan, Refusal> {
    plan_for(&disks(1), &[Target::new(0, target("/dev/sda", size_bytes, SectorSize::B512))], copies)
}

fn steps(plan: &DeployPlan) -> Vec<String> {
    let said = |step: &Step| match step {
        Step::CopyFiles { on, copy } => Some(format!("{} to {} of {}", copy.name, on.volume, on.target)),
        Step::Script { name, on, .. } => {
            Some(format!("{name} on {}", on.as_ref().map_or("nothing", |on| on.volume.as_str())))
        }
        Step::Settings { .. } => Some("settings".to_owned()),
        Step::MakeFileSystem { .. } | Step::BootFiles(_) => Some(step.to_string()),
        _ => None,
    };
    plan.steps.iter().filter_map(said).collect()
}

#[test]
fn copies_are_made_by_priority_and_scripts_run_before_them_all() {
    let copies = [copy("1", 5, 2), copy("d0-p1", 5, -1), copy("4", 5, 0), copy("1", 5, 0)];
    let script = |name: &str, volume: Option<&str>, number| WishedScript {
        name: name.to_owned(),
        volume: volume.map(str::to_owned),
        number,
        fatal: false,
    };
    let options = DeployOptions {
        copies: copies.to_vec(),
        scripts: vec![script("one", Some("4"), 0), script("two", None, 1)],
        computer_name: Some("pc-1".to_owned()),
        ..DeployOptions::of(Layout::Dynamic)
    };
    let targets = [Target::new(0, target("/dev/sda", 40 * GIB, SectorSize::B512))];
    let plan = plan::deploy("example", "1", &disks(1), &targets, &options).unwrap();
    assert_eq!(
        steps(&plan),
        [
            "one on d0-p4",
            "two on nothing",
            "-1 to d0-p1 of /dev/sda",
            "0 to d0-p4 of /dev/sda",
            "0 to d0-p1 of /dev/sda",
            "2 to d0-p1 of /dev/sda",
            "settings",
        ]
    );
}

#[test]
fn a_standard_layout_makes_its_boot_files_from_what_was_copied() {
    let disk =
        mbr_disk(0, 40 * GIB, SectorSize::B512, &[part(1, MIB, 20 * GIB, 0x83, holds(Ext4, 20 * GIB))], 0);
    let mut fstab = copy("d0-p1", 5, 0);
    fstab.copy.to = "/etc/fstab".to_owned();
    let options = DeployOptions {
        copies: vec![fstab],
        scripts: vec![WishedScript {
            name: "script".to_owned(),
            volume: Some("d0-p1".to_owned()),
            number: 0,
            fatal: false,
        }],
        standard: StandardChoice { volume: None, firmware: Some(Firmware::Uefi) },
        seed: Some("000102030405060708090a0b0c0d0e0f".parse().unwrap()),
        ..DeployOptions::of(Layout::Standard)
    };
    let targets = [Target::new(0, target("/dev/sda", 60 * GIB, SectorSize::B512))];
    let disks = [disk];
    let plan = plan::deploy("example", "1", &disks, &targets, &options).unwrap();
    assert_eq!(plan::check(&plan, &disks), Ok(()));
    let expected = ["script on d0-p1", "0 to d0-p1 of /dev/sda", "new FAT32", "boot files for UEFI"];
    assert_eq!(steps(&plan), expected);
}

#[test]
fn what_is_copied_has_room_in_the_file_system_as_it_will_be() {
    let refusal = |size_bytes, copies: &[WishedCopy]| plan(size_bytes, copies).unwrap_err().to_string();
    // Its partition gets 22 GiB: 14 are free, less 1/32 and 256 MiB.
    assert!(plan(31 * GIB, &[copy("1", 11 * GIB, 0)]).is_ok());
    let said = refusal(31 * GIB, &[copy("1", 14 * GIB, 0)]);
    assert!(said.contains("d0-p1 will have") && said.contains("needs 14.0 GiB"), "{said}");
    let said = refusal(31 * GIB, &[copy("1", 8 * GIB, 0), copy("d0-p1", 6 * GIB, 0)]);
    assert!(said.contains("needs 14.0 GiB"), "both together: {said}");
    // It grows with its disk, and shrinks with it.
    assert!(plan(80 * GIB, &[copy("1", 20 * GIB, 0)]).is_ok());
    let mut small = disks(1);
    for disk in &mut small {
        for volume in &mut disk.volumes {
            if let Some(found) = volume.content.file_system_mut().filter(|found| found.kind == Ext4) {
                found.minimum_bytes = 9 * GIB;
            }
        }
    }
    let targets = [Target::new(0, target("/dev/sda", 24 * GIB, SectorSize::B512))];
    let plan = |bytes| plan_for(&small, &targets, &[copy("1", bytes, 0)]);
    assert!(plan(3 * GIB).is_ok());
    assert!(plan(11 * GIB).unwrap_err().to_string().contains("needs 11.0 GiB"));
    // A million small files need a block each.
    let mut many = copy("1", MIB, 0);
    many.amount.files = 4_000_000;
    assert!(refusal(31 * GIB, &[many]).contains("needs 15."));
}

#[test]
fn what_a_file_system_does_not_take_is_refused_by_name() {
    let fat = part(1, MIB, 20 * GIB, BASIC_DATA, holds(Fat32, 20 * GIB));
    let ntfs = part(2, 20 * GIB + MIB, 20 * GIB, BASIC_DATA, holds(Ntfs, 20 * GIB));
    let ext4 = part(3, 40 * GIB + MIB, 20 * GIB, LINUX, holds(Ext4, 20 * GIB));
    let mut disk = gpt_disk(0, 61 * GIB, SectorSize::B512, &[fat, ntfs, ext4]);
    for volume in &mut disk.volumes {
        if let Some(found) = volume.content.file_system_mut() {
            found.used_bytes = Some(GIB);
        }
    }
    let said = |copy: WishedCopy| {
        let targets = [Target::new(0, target("/dev/sda", 61 * GIB, SectorSize::B512))];
        let planned = plan_for(std::slice::from_ref(&disk), &targets, &[copy]);
        planned.map_or_else(|refusal| refusal.to_string(), |_| "taken".to_owned())
    };
    let of_archive = |volume: &str| {
        let mut hard = copy(volume, 1, 0);
        hard.names.on_windows = Some("\"a:b\" is bad".to_owned());
        hard
    };
    let at = |volume: &str, to: &str| {
        let mut wished = copy(volume, 1, 0);
        wished.copy.to = to.to_owned();
        wished
    };
    for volume in ["1", "2"] {
        let refused = said(of_archive(volume));
        assert!(
            refused.contains(&format!("0 cannot be copied into d0-p{volume}: \"a:b\" is bad")),
            "{refused}"
        );
        assert!(said(at(volume, "/sub/nul.txt")).contains("device"), "{volume}");
    }
    assert_eq!((said(of_archive("3")), said(at("3", "/sub/nul.txt"))), ("taken".into(), "taken".into()));
    assert!(said(at("3", &format!("/{}", "x".repeat(256)))).contains("255 bytes"));
    // A FAT has files below 4 GiB, and each under one name only.
    assert!(said(copy("1", 4 * GIB, 0)).contains("one file has 4.00 GiB, and on FAT32 none has 4 GiB"));
    assert_eq!(
        (said(copy("1", 4 * GIB - 1, 0)), said(copy("2", 4 * GIB, 0))),
        ("taken".into(), "taken".into())
    );
    let linked = |volume: &str| {
        let mut linked = copy(volume, 3 * GIB, 0);
        linked.amount.linked_bytes = 16 * GIB;
        said(linked)
    };
    assert!(linked("1").contains("needs 19.0 GiB"), "{}", linked("1"));
    assert_eq!((linked("2"), linked("3")), ("taken".into(), "taken".into()));
}

#[test]
fn a_volume_that_takes_no_files_is_refused_by_name() {
    for (volume, part) in [
        ("2", "into d0-p2: exFAT is not written to"),
        ("d0-p3", "into d0-p3: it was captured raw"),
        ("9", "which is not deployed; write one of d0-boot, d0-p1"),
        ("vg/root", "which is not deployed"),
        ("", "which is not deployed"),
    ] {
        let said = plan(40 * GIB, &[copy(volume, 1, 0)]).unwrap_err().to_string();
        assert!(said.contains(part), "{volume}: {said}");
    }
}

#[test]
fn with_several_targets_a_name_means_one_volume_wherever_it_is() {
    let disk = |number, path: &str| Target::new(number, target(path, 40 * GIB, SectorSize::B512));
    let two = [disk(0, "/dev/sda"), disk(1, "/dev/sdb")];
    let said = plan_for(&disks(2), &two, &[copy("1", 1, 0)]).unwrap_err().to_string();
    assert!(said.contains("which is the number of several partitions"), "{said}");
    let plan = plan_for(&disks(2), &two, &[copy("d1-p1", 1, 0), copy("5", 1, 0)]).unwrap();
    assert_eq!(steps(&plan), ["0 to d1-p1 of /dev/sdb", "0 to d1-p5 of /dev/sdb"]);
    // Two copies of one disk are the same volume.
    let both = [disk(0, "/dev/sda"), disk(0, "/dev/sdb")];
    let plan = plan_for(&disks(1), &both, &[copy("1", 1, 0)]).unwrap();
    assert_eq!(steps(&plan), ["0 to d0-p1 of /dev/sda", "0 to d0-p1 of /dev/sdb"]);
}
