//! Which disk of the image goes onto which disk of the machine.
//!
//! By WWN, serial number or exact size where that leaves no doubt, else in order where as many disks are
//! left on one side as on the other. One target never receives two disks.

use super::{Refusal, Target};
use crate::machine::MachineDisk;
use crate::schema::Disk;

/// Pairs every disk of the image with one of `machine`, the disks that may be overwritten, in the order in
/// which they were named.
///
/// # Errors
/// [`Refusal::NoTarget`] where there are fewer disks than the image has, [`Refusal::TargetTwice`] where a
/// disk was named twice, [`Refusal::Ambiguous`] where several disks could be meant.
pub fn match_disks(image: &[Disk], machine: &[MachineDisk]) -> Result<Vec<Target>, Refusal> {
    refuse_repeats(machine)?;
    if let Some(disk) = image.get(machine.len()) {
        return Err(Refusal::NoTarget { disk: disk.number, size_bytes: disk.size_bytes });
    }
    let mut left: Vec<(&Disk, Option<&MachineDisk>)> = image.iter().map(|disk| (disk, None)).collect();
    let mut free: Vec<&MachineDisk> = machine.iter().collect();
    if image.len() > 1 || machine.len() > 1 {
        pair(&mut left, &mut free, |disk, target| same(disk.wwn.as_ref(), target.wwn.as_ref()));
        pair(&mut left, &mut free, |disk, target| same(disk.serial.as_ref(), target.serial.as_ref()));
        pair_sizes(&mut left, &mut free);
    }
    pair_in_order(&mut left, &mut free)?;
    Ok(left
        .into_iter()
        .filter_map(|(disk, target)| Some(Target::new(disk.number, target?.clone())))
        .collect())
}

fn same(one: Option<&String>, other: Option<&String>) -> bool {
    one.is_some_and(|text| !text.trim().is_empty()) && one == other
}

fn refuse_repeats(machine: &[MachineDisk]) -> Result<(), Refusal> {
    for (index, disk) in machine.iter().enumerate() {
        if machine.iter().take(index).any(|earlier| earlier.path == disk.path) {
            return Err(Refusal::TargetTwice { target: disk.path.clone() });
        }
    }
    Ok(())
}

/// Pairs those that fit exactly one disk of the other side.
fn pair<'a>(
    left: &mut [(&Disk, Option<&'a MachineDisk>)],
    free: &mut Vec<&'a MachineDisk>,
    fits: impl Fn(&Disk, &MachineDisk) -> bool,
) {
    for index in 0..left.len() {
        let Some((disk, None)) = left.get(index).copied() else { continue };
        let rivals =
            left.iter().filter(|(other, _)| free.iter().any(|t| fits(disk, t) && fits(other, t))).count();
        let fitting: Vec<usize> = (0..).zip(&*free).filter(|(_, t)| fits(disk, t)).map(|(i, _)| i).collect();
        if let (1, [only]) = (rivals, fitting.as_slice()) {
            let target = free.remove(*only);
            if let Some(entry) = left.get_mut(index) {
                entry.1 = Some(target);
            }
        }
    }
}

/// Pairs, in order, the disks of one exact size where both sides have equally many of them.
fn pair_sizes<'a>(left: &mut [(&Disk, Option<&'a MachineDisk>)], free: &mut Vec<&'a MachineDisk>) {
    let sizes: Vec<u64> = left.iter().filter(|(_, t)| t.is_none()).map(|(disk, _)| disk.size_bytes).collect();
    for size in sizes {
        let wanting = left.iter().filter(|(disk, t)| t.is_none() && disk.size_bytes == size).count();
        let offered = free.iter().filter(|target| target.size_bytes == size).count();
        if wanting != offered {
            continue;
        }
        for entry in left.iter_mut().filter(|(disk, t)| t.is_none() && disk.size_bytes == size) {
            if let Some(position) = free.iter().position(|target| target.size_bytes == size) {
                entry.1 = Some(free.remove(position));
            }
        }
    }
}

fn pair_in_order<'a>(
    left: &mut [(&Disk, Option<&'a MachineDisk>)],
    free: &mut Vec<&'a MachineDisk>,
) -> Result<(), Refusal> {
    let wanting = left.iter().filter(|(_, target)| target.is_none()).count();
    let candidates = free.len();
    let mut offered = free.drain(..);
    for (disk, target) in left.iter_mut().filter(|(_, target)| target.is_none()) {
        if wanting != candidates {
            return Err(Refusal::Ambiguous { disk: disk.number, candidates });
        }
        *target = offered.next();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Table;
    use crate::units::SectorSize;

    fn disk(number: u32, size_bytes: u64, serial: Option<&str>) -> Disk {
        Disk {
            number,
            size_bytes,
            logical_sector_bytes: SectorSize::B512,
            physical_sector_bytes: SectorSize::B512,
            model: None,
            serial: serial.map(str::to_owned),
            wwn: None,
            table: Table::None,
            volumes: vec![],
        }
    }

    fn target(path: &str, size_bytes: u64, serial: Option<&str>) -> MachineDisk {
        MachineDisk {
            serial: serial.map(str::to_owned),
            ..MachineDisk::new(path, size_bytes, SectorSize::B512)
        }
    }

    fn paths(image: &[Disk], machine: &[MachineDisk]) -> Result<Vec<String>, Refusal> {
        Ok(match_disks(image, machine)?.into_iter().map(|target| target.disk.path).collect())
    }

    #[test]
    fn one_disk_goes_onto_the_one_that_was_named() {
        assert_eq!(paths(&[disk(0, 100, None)], &[target("a", 7, None)]), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn serial_number_goes_before_size_and_size_before_order() {
        let image = [disk(0, 100, Some("x")), disk(1, 200, None), disk(2, 300, None)];
        let machine = [target("c", 500, None), target("b", 200, None), target("a", 100, Some("x"))];
        assert_eq!(paths(&image, &machine), Ok(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn a_serial_number_that_two_disks_share_decides_nothing() {
        let image = [disk(0, 100, Some("x")), disk(1, 200, None)];
        let machine = [target("b", 200, Some("x")), target("a", 100, Some("x"))];
        assert_eq!(paths(&image, &machine), Ok(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn equal_sizes_are_paired_in_order() {
        let image = [disk(0, 5, None), disk(1, 5, None), disk(2, 9, None), disk(3, 9, None)];
        let machine =
            [target("a", 9, None), target("b", 9, None), target("c", 5, None), target("d", 5, None)];
        assert_eq!(paths(&image, &machine).unwrap(), ["c", "d", "a", "b"]);
    }

    #[test]
    fn doubt_is_refused() {
        let image = [disk(0, 100, None)];
        let machine = [target("a", 200, None), target("b", 300, None)];
        assert_eq!(paths(&image, &machine), Err(Refusal::Ambiguous { disk: 0, candidates: 2 }));
        assert_eq!(paths(&image, &[]), Err(Refusal::NoTarget { disk: 0, size_bytes: 100 }));
        let twice = [target("a", 100, None), target("a", 100, None)];
        assert_eq!(paths(&image, &twice), Err(Refusal::TargetTwice { target: "a".to_owned() }));
    }
}
