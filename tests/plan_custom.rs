//! The layout custom: sizes that a person wants, as golden plans and refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod plan_images;

use FileSystemKind::{Ext4, Fat32, Ntfs};
use plan_images::*;
use remint::plan::{self, DeployOptions, DeployPlan, Refusal, Target};
use remint::schema::{Disk, FileSystemKind, FreeSpace, Layout};
use remint::units::{GIB, MIB, SectorSize};

/// An EFI system partition, 60 GiB of Windows, 20 GiB of Linux and 4 GiB of data.
fn disk() -> Disk {
    gpt_disk(
        0,
        86 * GIB,
        SectorSize::B512,
        &[
            part(1, MIB, 512 * MIB, EFI_SYSTEM, holds(Fat32, 512 * MIB)),
            part(2, 513 * MIB, 60 * GIB, BASIC_DATA, holds(Ntfs, 60 * GIB - 512)),
            part(3, 61 * GIB, 20 * GIB, LINUX, holds(Ext4, 20 * GIB)),
            part(4, 81 * GIB, 4 * GIB, LINUX, holds(Ext4, 4 * GIB)),
        ],
    )
}

fn plan(size_bytes: u64, layout: Layout, wishes: &[&str]) -> Result<DeployPlan, Refusal> {
    let wishes = wishes.iter().map(|wish| wish.parse().unwrap()).collect();
    let options = DeployOptions { free_space: FreeSpace::Keep, wishes, ..DeployOptions::of(layout) };
    let targets = [Target::new(0, target("/dev/sda", size_bytes, SectorSize::B512))];
    let plan = plan::deploy("example", "1", &[disk()], &targets, &options)?;
    assert_eq!(plan::check(&plan, &[disk()]), Ok(()));
    Ok(plan)
}

fn sizes(size_bytes: u64, wishes: &[&str]) -> Vec<u64> {
    let plan = plan(size_bytes, Layout::Custom, wishes).unwrap();
    let volumes = plan.disks[0].volumes.iter().filter(|volume| volume.partition.is_some());
    volumes.map(|volume| volume.place.length() / MIB).collect()
}

fn refusal(size_bytes: u64, wishes: &[&str]) -> String {
    plan(size_bytes, Layout::Custom, wishes).unwrap_err().to_string()
}

#[test]
fn a_chosen_size_a_part_of_the_disk_and_the_rest() {
    let plan = plan(200 * GIB, Layout::Custom, &["d0-p2=50%", "d0-p3=share", "d0-p4=8GiB"]).unwrap();
    insta::assert_snapshot!(plan::explain(&plan, &[disk()]));
}

#[test]
fn what_nobody_wants_anything_of_is_laid_out_as_by_dynamic() {
    let custom = plan(200 * GIB, Layout::Custom, &[]).unwrap();
    let dynamic = plan(200 * GIB, Layout::Dynamic, &[]).unwrap();
    assert_eq!(custom.disks[0].table, dynamic.disks[0].table);
    assert_eq!(custom.disks[0].minimum_disk_bytes, dynamic.disks[0].minimum_disk_bytes);
}

#[test]
fn percentages_need_not_add_up() {
    // 200 GiB, of which the EFI system partition, data and the table have 4.5 GiB.
    let left = 200 * 1024 - 512 - 4096 - 2;
    // Too little: what is left over goes to them in the same proportion.
    assert_eq!(sizes(200 * GIB, &["d0-p2=30%", "d0-p3=10%"]), [512, left * 3 / 4 + 1, left / 4, 4096]);
    // Too much: all there is in the same proportion.
    assert_eq!(sizes(200 * GIB, &["d0-p2=100%", "d0-p3=100%"]), [512, left / 2, left / 2, 4096]);
    // Somebody shares: they get what was asked for, and nothing more.
    assert_eq!(
        sizes(200 * GIB, &["d0-p2=35%", "d0-p3=share"]),
        [512, 200 * 1024 * 35 / 100, left - 200 * 1024 * 35 / 100, 4096]
    );
    // A part of the disk that is less than the minimum is the minimum.
    assert_eq!(sizes(200 * GIB, &["d0-p2=1%"])[1], 30 * 1024);
}

#[test]
fn all_sizes_chosen_leave_the_rest_unused_and_say_so() {
    let plan = plan(200 * GIB, Layout::Custom, &["d0-p2=64GiB", "d0-p3=keep"]).unwrap();
    insta::assert_snapshot!(plan::explain(&plan, &[disk()]));
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    insta::assert_snapshot!(
        [
            refusal(200 * GIB, &["d0-p1=1GiB"]),
            refusal(200 * GIB, &["d0-p2=20GiB"]),
            refusal(200 * GIB, &["d0-p9=40GiB"]),
            refusal(200 * GIB, &["d0-boot=40GiB"]),
            refusal(200 * GIB, &["d0-p2=80GiB", "d0-p2=keep"]),
            refusal(200 * GIB, &["d0-p2=190GiB"]),
            plan(200 * GIB, Layout::Dynamic, &["d0-p2=80GiB"]).unwrap_err().to_string(),
        ]
        .join("\n")
    );
}
