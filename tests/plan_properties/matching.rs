//! Rule 9: which disk of an image goes onto which disk of the machine, where sizes are all that is known.

use super::generated::*;
use super::plan_images::*;
use super::*;
use remint::schema::FileSystemKind::Xfs;
use std::collections::{BTreeMap as Map, BTreeSet};

/// How often each size occurs.
fn counts(sizes: &[u64]) -> Map<u64, usize> {
    let mut counts = Map::new();
    sizes.iter().for_each(|size| *counts.entry(*size).or_default() += 1);
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn disks_without_names_are_matched_only_without_doubt(
        image in proptest::collection::vec(1u64..4, 1..5),
        machine in proptest::collection::vec(1u64..4, 0..6),
    ) {
        let size = |units: &u64| units * 8 * GIB;
        let disks: Vec<Disk> = (0..).zip(&image)
            .map(|(number, units)| bare_disk(number, size(units), SectorSize::B512, holds(Xfs, 6 * GIB)))
            .collect();
        let offered: Vec<plan::Offered> = (0u8..).zip(&machine).map(|(index, units)| {
            let path = format!("/dev/sd{}", char::from(b'a' + index));
            let disk = remint::machine::MachineDisk { serial: None, ..target(&path, size(units), SectorSize::B512) };
            plan::Offered { disk, receives: None }
        }).collect();
        // What has as many of its size on one side as on the other is matched; with the rest there has to be no choice.
        let (wanting, offering) = (counts(&image), counts(&machine));
        let matched: usize = wanting.iter().filter(|(size, count)| offering.get(size) == Some(count)).map(|(_, count)| count).sum();
        let (rest, left) = (image.len() - matched, machine.len().saturating_sub(matched));
        let no_doubt = image.len() == 1 && machine.len() == 1 || rest == 0 || rest == left;
        match plan::assign(&disks, &offered) {
            Ok(targets) => {
                prop_assert!(no_doubt, "{:?} onto {:?}", image, machine);
                let paths: BTreeSet<&str> = targets.iter().map(|target| target.disk.path.as_str()).collect();
                prop_assert_eq!((targets.len(), paths.len()), (image.len(), image.len()), "one target for each");
                for target in &targets {
                    let wanted = disks[usize::try_from(target.number).unwrap()].size_bytes;
                    let is_known = wanting.get(&(wanted / (8 * GIB))) == offering.get(&(wanted / (8 * GIB)));
                    prop_assert!(!is_known || target.disk.size_bytes == wanted);
                }
                if let Ok(plan) = plan::deploy("image", "1", &disks, &targets, &plainly(Layout::Dynamic)) {
                    let written: BTreeSet<&str> = plan.disks.iter().map(|disk| disk.target.path.as_str()).collect();
                    prop_assert_eq!(written, paths, "a disk that is not matched is not in the plan");
                }
            }
            Err(Refusal::NoTarget { .. }) => prop_assert!(machine.len() < image.len()),
            Err(Refusal::Ambiguous { candidates, .. }) => {
                prop_assert!(!no_doubt && machine.len() > image.len(), "{:?} onto {:?}", image, machine);
                prop_assert!(candidates > rest);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
