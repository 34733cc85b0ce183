//! The checker reads the finished plan without the code that made it.

use super::generated::*;
use super::*;
use FileSystemKind::Ext4;
use remint::plan::Resize;
use remint::schema::FileSystemKind;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_damaged_plan_is_found(
        disk in image(),
        damage in 0usize..11,
        which in any::<prop::sample::Index>(),
    ) {
        let options = plainly(Layout::Dynamic);
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
            5 => of.source_number = Some(7),
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
