//! Rules 1 to 4: alignment, what is fixed, proportion, and a disk that is filled.

use super::generated::*;
use super::plan_images::*;
use super::*;
use FileSystemKind::{Ext4, Ntfs, Xfs};
use remint::plan::{Resize, Shrinking};
use remint::schema::{Content, FileSystemKind, PartitionWish, Role, WantedSize};
use remint::units::Guid;

/// True where the rules let a partition share what is left; written from the rules, not from the code.
fn shares(disk: &Disk, number: u32) -> bool {
    let role = if number == 0 { Role::WholeDisk } else { Role::Partition { number } };
    let volume = disk.volumes.iter().find(|volume| volume.role == role).unwrap();
    let fixed_types = [EFI_SYSTEM, RESERVED, RECOVERY, BIOS_BOOT, SWAP].map(Guid::from_u128);
    let plain = match &disk.table {
        Table::Gpt(gpt) => {
            !gpt.partitions.iter().any(|p| p.number == number && fixed_types.contains(&p.type_guid))
        }
        Table::Mbr(mbr) => {
            !mbr.partitions.iter().any(|p| p.number == number && matches!(p.type_code, 0x27 | 0x82 | 0xEF))
        }
        Table::None => true,
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
            let start = place.start();
            if of.layout == Layout::Dynamic && *number > 0 && !start.is_multiple_of(MIB) {
                let as_it_was = start == old[number].start() && start < MIB && place.length() == captured;
                prop_assert!(as_it_was, "partition {} starts at {}", number, start);
            }
            prop_assert!(start.is_multiple_of(to.bytes()) && place.end().is_multiple_of(to.bytes()));
            let may_shrink = shares(&disk, *number) && options.shrinking == Shrinking::All;
            let least = if may_shrink { least(&disk, *number) } else { old[number].length() };
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
                    prop_assert_eq!(options.shrinking, Shrinking::All);
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
            DeployOptions { wishes: wishes.clone(), ..plainly(Layout::Custom) };
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
    fn shares_are_those_of_the_rules_and_do_not_depend_on_the_order(
        parts in proptest::collection::vec((any::<bool>(), 5 * 1024u64..300 * 1024, 1u64..=100), 1..8),
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        fixed in proptest::collection::vec(64u64..20_000, 0..3),
        permille in 0u64..4000,
    ) {
        // Sizes in whole mebibytes, so that the grid takes nothing from anybody.
        let parts: Vec<(u32, u64, u64, FileSystemKind)> = (1u32..).zip(&parts)
            .map(|(number, (xfs, mib, percent))| (number, mib * MIB, mib * MIB / 100 * percent, if *xfs { Xfs } else { Ext4 }))
            .collect();
        let swaps = (10u32..).zip(&fixed).map(|(number, mib)| (number, mib * MIB, mib * MIB, FileSystemKind::Swap));
        let all: Vec<_> = parts.iter().copied().chain(swaps).collect();
        let least = |part: &(u32, u64, u64, FileSystemKind)| if part.3 == Ext4 { part.2 } else { part.1 };
        let (smallest, captured): (u64, u64) = (all.iter().map(least).sum(), all.iter().map(|part| part.1).sum());
        let margin = 16 * MIB;
        let target_bytes = smallest + margin + captured / 1000 * permille;
        let layout = |order: &[usize]| {
            let mut cursor = MIB;
            let laid: Vec<Part> = order.iter().filter_map(|index| all.get(*index)).map(|(number, size, least, kind)| {
                let start = cursor;
                cursor += size;
                let mut content = holds(*kind, *size);
                if let Content::FileSystem(fs) = &mut content {
                    fs.minimum_bytes = *least;
                }
                part(*number, start, *size, LINUX, content)
            }).collect();
            let disk = gpt_disk(0, cursor + MIB, SectorSize::B512, &laid);
            let plan = deploy(&disk, target_bytes, SectorSize::B512, &plainly(Layout::Dynamic)).unwrap();
            places(&plan.disks[0].table, SectorSize::B512, 0)
        };
        let order: Vec<usize> = order.into_iter().chain(8..all.len()).collect();
        let straight: Vec<usize> = (0..all.len()).collect();
        let (straight, turned) = (layout(&straight), layout(&order));

        // Nobody shrinks where nobody has to; else everybody has a share, and the minimum at least.
        let room = target_bytes - MIB - 33 * 512;
        let whole = captured <= room;
        let claims: Vec<(u64, u64)> = parts.iter().map(|part| (part.1, if whole { part.1 } else { least(part) })).collect();
        let expected = shared(room - fixed.iter().sum::<u64>() * MIB, &claims);
        for ((number, ..), expected) in parts.iter().zip(expected) {
            let (one, other) = (straight[number].length(), turned[number].length());
            prop_assert!(one.abs_diff(expected) < 10 * MIB, "{}: {} instead of {}", number, one, expected);
            prop_assert!(one.abs_diff(other) < 2 * MIB, "{}: {} and {}", number, one, other);
        }
    }
}

/// What each of (weight, minimum) gets: the one that is furthest below its minimum takes it, and the others share
/// what is left, until nobody is below it.
fn shared(room: u64, claims: &[(u64, u64)]) -> Vec<u64> {
    let mut shares: Vec<Option<u64>> = vec![None; claims.len()];
    loop {
        let taken: u64 = shares.iter().flatten().sum();
        let free = || claims.iter().enumerate().filter(|(index, _)| shares[*index].is_none());
        let weights: u128 = free().map(|(_, claim)| u128::from(claim.0)).sum();
        let share = |weight: u64| {
            u64::try_from(u128::from(room.saturating_sub(taken)) * u128::from(weight) / weights.max(1))
                .unwrap()
        };
        let below = free().filter(|(_, claim)| share(claim.0) < claim.1);
        let furthest = below.max_by_key(|(_, claim)| u128::from(claim.1) * (1 << 60) / u128::from(claim.0));
        match furthest.map(|(index, claim)| (index, claim.1)) {
            Some((index, minimum)) => shares[index] = Some(minimum),
            None => {
                let rest: Vec<u64> = claims.iter().map(|claim| share(claim.0)).collect();
                return shares.into_iter().zip(rest).map(|(fixed, share)| fixed.unwrap_or(share)).collect();
            }
        }
    }
}
