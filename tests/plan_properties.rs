//! What every layout keeps, whatever the image and the target.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod plan_images;

use FileSystemKind::{Ext4, Fat32, Luks2, Ntfs, Swap, Xfs};
use plan_images::*;
use proptest::prelude::*;
use remint::plan::{self, DeployOptions, DeployPlan, Refusal, Resize, Target};
use remint::schema::{
    Content, Disk, FileSystemKind, FreeSpace, Keep, Layout, MbrRole, PartitionWish, Role, StandardChoice,
    Table, WantedSize,
};
use remint::units::{ByteRange, GIB, Lba, MIB, SectorSize};
use std::collections::BTreeMap;

fn sector() -> impl Strategy<Value = SectorSize> {
    prop_oneof![3 => Just(SectorSize::B512), 1 => Just(SectorSize::B4096)]
}

/// What works on sectors of any size, or anything.
fn content(size: u64, portable: bool) -> impl Strategy<Value = Content> {
    let portable_content = prop_oneof![
        5 => Just(holds(Ext4, size)),
        1 => Just(holds(Swap, size)),
        1 => Just(Content::LeftOut),
    ];
    let any_content = prop_oneof![
        5 => prop_oneof![Just(Ext4), Just(Ntfs), Just(Xfs)].prop_map(move |kind| holds(kind, size)),
        3 => prop_oneof![Just(Fat32), Just(Swap), Just(Luks2)].prop_map(move |kind| holds(kind, size)),
        1 => Just(unknown()),
        1 => Just(Content::LeftOut),
    ];
    (portable_content, any_content).prop_map(move |(one, other)| if portable { one } else { other })
}

/// Sizes around every limit there is, in units of 4096 bytes.
fn size() -> impl Strategy<Value = u64> {
    let bytes = prop_oneof![
        3 => (6u64..200).prop_map(|gib| gib * GIB),
        2 => 5 * GIB - MIB..60 * GIB,
        2 => MIB..600 * MIB,
        1 => 4096u64..2 * MIB,
    ];
    bytes.prop_map(|bytes| bytes / 4096 * 4096)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Gpt,
    Mbr,
    Bare,
}

/// An image of one disk: its first start, sizes with contents, gaps, and the room behind the last.
fn image() -> impl Strategy<Value = Disk> {
    any::<bool>().prop_flat_map(image_of)
}

fn image_of(portable: bool) -> impl Strategy<Value = Disk> {
    let kind = prop_oneof![4 => Just(Kind::Gpt), 4 => Just(Kind::Mbr), 1 => Just(Kind::Bare)];
    let start =
        prop_oneof![3 => Just(MIB), 1 => Just(34 * 512), 1 => Just(16 * MIB), 1 => Just(3 * MIB + 8192)];
    let gap = prop_oneof![3 => Just(0u64), 1 => (0u64..2000).prop_map(|pages| pages * 4096)];
    let types =
        prop_oneof![4 => Just(LINUX), 1 => Just(EFI_SYSTEM), 1 => Just(BIOS_BOOT), 1 => Just(RECOVERY)];
    let piece =
        (size().prop_flat_map(move |size| (Just(size), content(size, portable))), gap, types, any::<u32>());
    let pieces = proptest::collection::vec(piece, 1..7);
    (kind, sector(), start, pieces, any::<bool>(), 0u64..20 * GIB).prop_map(
        |(kind, sector, start, pieces, aligned, tail)| {
            let logical_from = pieces.len() / 2;
            let mut order: Vec<(u32, usize)> = pieces.iter().map(|piece| piece.3).zip(0..).collect();
            order.sort_unstable();
            let rank = |index: usize| order.iter().position(|(_, of)| *of == index).unwrap();
            let front = if sector == SectorSize::B512 { start } else { start.next_multiple_of(MIB) };
            let (mut cursor, mut parts) = (front, Vec::new());
            for (index, ((size, content), gap, type_guid, _)) in pieces.into_iter().enumerate() {
                let logical = matches!(kind, Kind::Mbr) && index >= logical_from;
                let step = if aligned { MIB } else { 4096 };
                let at = (cursor + gap).next_multiple_of(if index == 0 { 512 } else { step });
                let at = if logical { (at + MIB).next_multiple_of(4096) } else { at };
                // Primary numbers 1 to 3 and logical ones from 5, in any order of the disk.
                let among =
                    |from: usize, to: usize| (from..to).filter(|other| rank(*other) < rank(index)).count();
                let number = match kind {
                    Kind::Mbr if logical => 5 + among(logical_from, 7.min(order.len())),
                    Kind::Mbr => 1 + among(0, logical_from),
                    _ => 1 + rank(index),
                };
                let type_guid = if matches!(kind, Kind::Mbr) { 0x83 } else { type_guid };
                parts.push(part(u32::try_from(number).unwrap(), at, size, type_guid, content));
                cursor = at + size;
            }
            let disk_bytes = (cursor + tail + 33 * 4096).next_multiple_of(4096);
            match kind {
                Kind::Gpt => gpt_disk(0, disk_bytes, sector, &parts),
                Kind::Mbr => mbr_disk(0, disk_bytes, sector, &parts, MIB),
                Kind::Bare => {
                    let content = parts.pop().unwrap().content;
                    bare_disk(0, disk_bytes, sector, content)
                }
            }
        },
    )
}

fn options() -> impl Strategy<Value = DeployOptions> {
    let layout = prop_oneof![3 => Just(Layout::Dynamic), 1 => Just(Layout::Original)];
    let free_space = prop_oneof![Just(FreeSpace::Discard), Just(FreeSpace::Keep), Just(FreeSpace::Zero)];
    (layout, free_space, any::<bool>()).prop_map(|(layout, free_space, expand)| DeployOptions {
        layout,
        free_space,
        expand,
        wishes: Vec::new(),
        keep: Keep::Nothing,
        without: Vec::new(),
        standard: StandardChoice { volume: None, firmware: None },
        seed: None,
    })
}

fn wanted() -> impl Strategy<Value = WantedSize> {
    prop_oneof![
        Just(WantedSize::Keep),
        Just(WantedSize::Share),
        (0..40 * GIB).prop_map(WantedSize::Bytes),
        (1u32..=10_000).prop_map(WantedSize::Percent),
    ]
}

fn deploy(
    disk: &Disk,
    size_bytes: u64,
    sector: SectorSize,
    options: &DeployOptions,
) -> Result<DeployPlan, Refusal> {
    let targets = [Target::new(0, target("/dev/sda", size_bytes, sector))];
    plan::deploy("image", "1", std::slice::from_ref(disk), &targets, options)
}

/// The places of a table by partition number; 0 is the volume that fills a disk.
fn places(table: &Table, sector: SectorSize, whole: u64) -> BTreeMap<u32, ByteRange> {
    let place =
        |first: Lba, sectors: u64| ByteRange::at(first.0 * sector.bytes(), sectors * sector.bytes()).unwrap();
    match table {
        Table::Gpt(gpt) => gpt
            .partitions
            .iter()
            .map(|p| (p.number, place(p.first_lba, p.last_lba.0 - p.first_lba.0 + 1)))
            .collect(),
        Table::Mbr(mbr) => mbr
            .partitions
            .iter()
            .filter(|p| p.role != MbrRole::Extended)
            .map(|p| (p.number, place(p.first_lba, p.sectors)))
            .collect(),
        Table::None => BTreeMap::from([(0, ByteRange::new(0, whole))]),
    }
}

/// True where the rules let a partition share what is left; written from the rules, not from the code.
fn shares(disk: &Disk, number: u32) -> bool {
    let role = if number == 0 { Role::WholeDisk } else { Role::Partition { number } };
    let volume = disk.volumes.iter().find(|volume| volume.role == role).unwrap();
    let plain = match &disk.table {
        Table::Gpt(gpt) => gpt
            .partitions
            .iter()
            .any(|p| p.number == number && p.type_guid == remint::units::Guid::from_u128(LINUX)),
        _ => true,
    };
    let grows = matches!(&volume.content, Content::FileSystem(fs) if matches!(fs.kind, Ext4 | Ntfs | Xfs));
    plain && grows && (number == 0 || volume.size_bytes >= 5 * GIB)
}

/// The least that a partition that shares may have.
fn least(disk: &Disk, number: u32) -> u64 {
    let role = if number == 0 { Role::WholeDisk } else { Role::Partition { number } };
    let volume = disk.volumes.iter().find(|volume| volume.role == role).unwrap();
    match &volume.content {
        Content::FileSystem(fs) if matches!(fs.kind, Ext4 | Ntfs) => fs.minimum_bytes,
        _ => volume.size_bytes,
    }
}

fn whole_place(plan: &DeployPlan) -> u64 {
    plan.disks[0].volumes.last().map_or(0, |volume| volume.place.end())
}

fn usable_end(plan: &DeployPlan, sector: SectorSize) -> u64 {
    let whole = plan.disks[0].target.size_bytes / sector.bytes() * sector.bytes();
    match &plan.disks[0].table {
        Table::Gpt(gpt) => (gpt.last_usable_lba.0 + 1) * sector.bytes(),
        Table::Mbr(_) => whole.min(sector.bytes() << 32),
        Table::None => whole,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_plan_passes_the_checker_and_keeps_the_rules(
        disk in image(),
        to in sector(),
        options in options(),
        percent in 50u64..400,
        odd in 0u64..9000,
    ) {
        let size_bytes = disk.size_bytes / 100 * percent + odd;
        let Ok(plan) = deploy(&disk, size_bytes, to, &options) else { return Ok(()) };
        prop_assert_eq!(plan::check(&plan, std::slice::from_ref(&disk)), Ok(()));
        prop_assert_eq!(&deploy(&disk, size_bytes, to, &options).unwrap(), &plan);
        let text = plan::explain(&plan, std::slice::from_ref(&disk));
        prop_assert!(text.lines().all(|line| line.chars().count() <= 80), "{}", text);

        let of = &plan.disks[0];
        let old = places(&disk.table, disk.logical_sector_bytes, disk.size_bytes);
        let new = places(&of.table, to, whole_place(&plan));
        for (number, place) in &new {
            let captured = old[number].length().next_multiple_of(to.bytes());
            if !shares(&disk, *number) || of.layout == Layout::Original {
                prop_assert_eq!(place.length(), captured, "partition {} is fixed", number);
            }
            let least = if shares(&disk, *number) { least(&disk, *number) } else { captured };
            prop_assert!(place.length() >= least, "partition {} is below its minimum", number);
        }
        for volume in &of.volumes {
            let captured = disk.volumes.iter().find(|known| known.name == volume.volume).unwrap().size_bytes;
            match volume.resize {
                Some(Resize::Grow { to_bytes, .. }) => {
                    prop_assert!(options.expand && to_bytes == volume.place.length());
                }
                Some(Resize::Shrink { to_bytes, from_bytes, .. }) => {
                    prop_assert_eq!((from_bytes, to_bytes), (captured, volume.place.length()));
                    prop_assert!(to_bytes < from_bytes && of.layout == Layout::Dynamic);
                    prop_assert!(size_bytes < disk.size_bytes + 64 * MIB, "nobody shrinks on a disk as large");
                }
                None => prop_assert!(volume.partition.is_none() || volume.place.length() >= captured),
            }
        }
        let last = new.iter().max_by_key(|(_, place)| place.start()).map(|(number, _)| *number).unwrap();
        let left = usable_end(&plan, to) - new[&last].end();
        if of.layout == Layout::Dynamic && shares(&disk, last) {
            prop_assert_eq!(left, 0, "the last partition ends with the disk");
        } else if of.layout == Layout::Dynamic && new.keys().any(|number| shares(&disk, *number)) {
            prop_assert!(left < MIB, "{} bytes are lost", left);
        }
    }

    #[test]
    fn the_minimum_is_exact(disk in image(), to in sector(), options in options()) {
        let minimum = match deploy(&disk, disk.size_bytes * 2, to, &options) {
            Ok(plan) => plan.disks[0].minimum_disk_bytes,
            Err(_) => return Ok(()),
        };
        let exact = deploy(&disk, minimum, to, &options);
        prop_assert_eq!(exact.map(|plan| plan.disks[0].minimum_disk_bytes), Ok(minimum));
        for missing in [1, to.bytes(), MIB, minimum / 2] {
            match deploy(&disk, minimum.saturating_sub(missing), to, &options) {
                Err(Refusal::TooSmall { minimum_bytes, missing_bytes, target_bytes, .. }) => {
                    prop_assert_eq!(minimum_bytes, minimum);
                    prop_assert_eq!(missing_bytes, minimum - target_bytes);
                }
                other => prop_assert!(false, "{} bytes less: {:?}", missing, other),
            }
        }
    }

    #[test]
    fn wanted_sizes_are_given_and_nothing_is_lost(
        disk in image(),
        to in sector(),
        wanted in proptest::collection::vec(wanted(), 8),
        percent in 100u64..400,
    ) {
        // Whatever keeps its size by its content has no wish.
        let wishes: Vec<PartitionWish> = disk.volumes.iter().zip(wanted).filter_map(|(volume, size)| {
            let size = match size {
                WantedSize::Bytes(more) => WantedSize::Bytes(volume.size_bytes + more),
                other => other,
            };
            let grows = volume.content.file_system().is_some_and(|fs| matches!(fs.kind, Ext4 | Xfs | Ntfs));
            let role = volume.role != Role::BootArea && (grows || size == WantedSize::Keep);
            role.then(|| PartitionWish { volume: volume.name.clone(), size })
        }).collect();
        let options =
            DeployOptions { layout: Layout::Custom, free_space: FreeSpace::Keep, expand: true, wishes: wishes.clone(), keep: Keep::Nothing, without: Vec::new(), standard: StandardChoice { volume: None, firmware: None }, seed: None };
        let size_bytes = disk.size_bytes / 100 * percent;
        let plan = match deploy(&disk, size_bytes, to, &options) {
            Ok(plan) => plan,
            Err(Refusal::TooSmall { minimum_bytes, .. }) => {
                let exact = deploy(&disk, minimum_bytes, to, &options);
                prop_assert_eq!(exact.map(|plan| plan.disks[0].minimum_disk_bytes), Ok(minimum_bytes));
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        prop_assert_eq!(plan::check(&plan, std::slice::from_ref(&disk)), Ok(()));
        let of = &plan.disks[0];
        let mut somebody_takes_the_rest = false;
        let (mut asked, mut given) = (0, 0);
        for volume in &of.volumes {
            let Some(wish) = wishes.iter().find(|wish| wish.volume == volume.volume) else { continue };
            let captured = disk.volumes.iter().find(|v| v.name == volume.volume).unwrap().size_bytes;
            let place = volume.place.length();
            match wish.size {
                WantedSize::Keep => prop_assert_eq!(place, captured.next_multiple_of(to.bytes())),
                WantedSize::Bytes(bytes) => prop_assert_eq!(place, bytes.next_multiple_of(to.bytes())),
                WantedSize::Share => somebody_takes_the_rest = true,
                WantedSize::Percent(hundredths) => {
                    somebody_takes_the_rest = true;
                    asked += size_bytes / 10_000 * u64::from(hundredths);
                    given += place;
                }
            }
            prop_assert!(place >= least(&disk, volume.partition.unwrap_or(0)));
        }
        let last = of.volumes.iter().map(|volume| volume.place.end()).max().unwrap();
        let left = usable_end(&plan, to) - last;
        prop_assert!(!somebody_takes_the_rest || left < MIB, "{} bytes are lost", left);
        // Less than was asked for is given only where there is no more.
        prop_assert!(given + 8 * MIB >= asked || left < MIB, "{} of {}", given, asked);
    }

    #[test]
    fn shares_are_in_proportion_and_do_not_depend_on_the_order(
        sizes in proptest::collection::vec((5u64..300).prop_map(|gib| gib * GIB), 1..8),
        turn in 0usize..8,
        target_bytes in 2600 * GIB..9000 * GIB,
    ) {
        let layout = |turn: usize| {
            let mut order: Vec<(u32, u64)> = (1..).zip(sizes.iter().copied()).collect();
            order.rotate_left(turn % sizes.len());
            let mut cursor = MIB;
            let parts: Vec<Part> = order.into_iter().map(|(number, size)| {
                let start = cursor;
                cursor += size;
                part(number, start, size, LINUX, holds(Xfs, size))
            }).collect();
            let disk = gpt_disk(0, cursor + MIB, SectorSize::B512, &parts);
            let options = DeployOptions { layout: Layout::Dynamic, free_space: FreeSpace::Keep, expand: true, wishes: Vec::new(), keep: Keep::Nothing, without: Vec::new(), standard: StandardChoice { volume: None, firmware: None }, seed: None };
            let plan = deploy(&disk, target_bytes, SectorSize::B512, &options).unwrap();
            places(&plan.disks[0].table, SectorSize::B512, 0)
        };
        let (straight, turned) = (layout(0), layout(turn));
        let total: u128 = straight.values().map(|place| u128::from(place.length())).sum();
        let weights: u128 = sizes.iter().map(|size| u128::from(*size)).sum();
        for (number, size) in (1..).zip(&sizes) {
            let expected = u64::try_from(total * u128::from(*size) / weights).unwrap();
            for place in [straight[&number], turned[&number]] {
                prop_assert!(place.length().abs_diff(expected) < 2 * MIB);
            }
        }
    }

    #[test]
    fn a_damaged_plan_is_found(
        disk in image(),
        damage in 0usize..11,
        which in any::<prop::sample::Index>(),
    ) {
        let options = DeployOptions { layout: Layout::Dynamic, free_space: FreeSpace::Keep, expand: true, wishes: Vec::new(), keep: Keep::Nothing, without: Vec::new(), standard: StandardChoice { volume: None, firmware: None }, seed: None };
        let sector = disk.logical_sector_bytes;
        let Ok(mut plan) = deploy(&disk, disk.size_bytes * 2, sector, &options) else { return Ok(()) };
        let of = &mut plan.disks[0];
        let volume = which.index(of.volumes.len());
        match damage {
            0 => drop(of.volumes.remove(of.volumes.len() - 1)),
            1 => {
                let place = of.volumes[volume].place;
                of.volumes[volume].place = ByteRange::new(place.start() + 512, place.end());
            }
            2 => of.clear.push(ByteRange::new(of.target.size_bytes, of.target.size_bytes + 512)),
            3 => of.clear.clear(),
            4 => of.target.size_bytes = of.minimum_disk_bytes / 2,
            5 => of.source_number = 7,
            6 => {
                let copy = of.volumes[volume].clone();
                of.volumes.push(copy);
            }
            7 => of.volumes[volume].resize =
                Some(Resize::Grow { kind: FileSystemKind::Btrfs, from_bytes: 1, to_bytes: 2 }),
            // What did not become smaller is not shrunk.
            10 => of.volumes[volume].resize =
                Some(Resize::Shrink { kind: Ext4, from_bytes: 2, to_bytes: 1 }),
            8 => match &mut of.table {
                Table::Gpt(gpt) => gpt.partitions[0].first_lba.0 += 1,
                Table::Mbr(mbr) => mbr.partitions[0].first_lba.0 += 1,
                Table::None => of.volumes[0].partition = Some(1),
            },
            _ => match &mut of.table {
                Table::Gpt(gpt) => gpt.last_usable_lba.0 += 1,
                Table::Mbr(mbr) => mbr.disk_signature += 1,
                Table::None => of.volumes[0].partition = Some(1),
            },
        }
        prop_assert!(plan::check(&plan, std::slice::from_ref(&disk)).is_err());
    }
}
