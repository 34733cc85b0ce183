//! Rule 8: sectors of another size.

use super::generated::*;
use super::plan_images::*;
use super::*;
use FileSystemKind::{Ext2, Ext3, Ext4, Fat32, Ntfs, Swap, Xfs};
use remint::plan::Part as Named;
use remint::schema::{Content, FileSystemKind, Role, Volume};
use remint::units::Guid;

/// Whether a volume works on the other sectors; written from the documentation's table, not from the code.
fn works(disk: &Disk, volume: &Volume, to: SectorSize) -> bool {
    let type_of = |number| match &disk.table {
        Table::Gpt(gpt) => gpt.partitions.iter().find(|p| p.number == number).map(|p| p.type_guid),
        _ => None,
    };
    let kind = if let Role::Partition { number } = volume.role { type_of(number) } else { None };
    let is = |guid: u128| kind == Some(Guid::from_u128(guid));
    match &volume.content {
        Content::Swap(_) | Content::LeftOut => true,
        Content::Raw { file_system: None, .. } => is(RESERVED) || is(BIOS_BOOT),
        Content::FileSystem(fs) => match fs.kind {
            Ext2 | Ext3 | Ext4 => fs.block_size_bytes >= to.bytes(),
            Xfs => to == SectorSize::B512,
            _ => false,
        },
        Content::Raw { .. } | Content::PhysicalVolume(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn content_goes_onto_other_sectors_where_it_works_there_and_nowhere_else(
        disk in image(),
        blocks in proptest::collection::vec(prop_oneof![Just(1024u64), Just(4096), Just(4096)], 8),
    ) {
        let mut disk = disk;
        for (volume, block) in disk.volumes.iter_mut().zip(blocks) {
            if let Content::FileSystem(fs) = &mut volume.content {
                fs.block_size_bytes = if matches!(fs.kind, Ntfs | Fat32 | Swap) { 4096 } else { block };
            }
        }
        let from = disk.logical_sector_bytes;
        let to = if from == SectorSize::B512 { SectorSize::B4096 } else { SectorSize::B512 };
        let partitions = disk.volumes.iter().filter(|volume| volume.role != Role::BootArea);
        let misfits: Vec<Named> = partitions.filter(|volume| !works(&disk, volume, to)).map(|volume| match volume.role {
            Role::Partition { number } => Named::Partition(number),
            _ => Named::WholeDisk,
        }).collect();
        let size_bytes = disk.size_bytes.saturating_mul(2) + GIB;
        match deploy(&disk, size_bytes, to, &plainly(Layout::Dynamic)) {
            Ok(plan) => {
                prop_assert_eq!(&misfits, &vec![]);
                let whole = plan.disks[0].volumes.iter().filter(|volume| volume.partition.is_some() || disk.table == Table::None);
                for volume in whole {
                    prop_assert!(volume.place.start().is_multiple_of(to.bytes()));
                    prop_assert!(volume.place.length().is_multiple_of(to.bytes()));
                }
            }
            Err(Refusal::SectorSize { part, from_bytes, to_bytes, .. }) => {
                prop_assert!(misfits.contains(&part), "{:?} of {:?}", part, misfits);
                prop_assert_eq!((from_bytes, to_bytes), (from, to));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
        // On sectors of the same size nothing is in the way.
        prop_assert!(deploy(&disk, size_bytes, from, &plainly(Layout::Dynamic)).is_ok());
    }
}
