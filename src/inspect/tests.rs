//! Promises about what is found on a disk and how it is shown.

use super::{DiskFacts, Inspection, read_disk, table_text};
use crate::blockio::{MemoryDisk, WriteAt};
use crate::partition::{Trust, chs_of, encode, last_usable_lba};
use crate::progress::Silent;
use crate::schema::{Content, Disk, FileSystem, FileSystemKind, Role, State, Volume};
use crate::schema::{Gpt, GptPartition, Mbr, MbrPartition, MbrRole, Table};
use crate::units::{ByteRange, GIB, Guid, Hex, Lba, MIB, SectorSize};

const SECTOR: SectorSize = SectorSize::B512;

fn facts() -> DiskFacts {
    DiskFacts {
        number: 0,
        logical_sector_bytes: SECTOR,
        physical_sector_bytes: SectorSize::B4096,
        model: Some("TEST DISK".to_owned()),
        serial: Some("S-1".to_owned()),
        wwn: None,
    }
}

fn inspect(disk: &MemoryDisk) -> Inspection {
    read_disk(disk, facts(), Trust::Undecided, &Silent).unwrap()
}

fn disk_with(table: &Table, size: u64) -> MemoryDisk {
    let disk = MemoryDisk::new(size);
    for piece in encode(table, size, SECTOR).unwrap() {
        disk.write_at(piece.at, &piece.bytes).unwrap();
    }
    disk
}

fn gpt_partition(number: u32, type_guid: u128, first: u64, last: u64, name: &str) -> GptPartition {
    GptPartition {
        number,
        type_guid: Guid::from_u128(type_guid),
        partition_guid: Guid::from_u128(number.into()),
        first_lba: Lba(first),
        last_lba: Lba(last),
        attributes: 0,
        name: name.to_owned(),
        name_utf16le: Hex(name.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    }
}

fn gpt(size: u64) -> Table {
    Table::Gpt(Gpt {
        disk_guid: Guid::from_u128(0x1234_5678_0000_0000_0000_0000_0000_00FF),
        entry_count: 128,
        entry_size_bytes: 128,
        entries_lba: Lba(2),
        first_usable_lba: Lba(34),
        last_usable_lba: last_usable_lba(size, SECTOR, 128, 128).unwrap(),
        boot_sector: Hex(vec![0; 512]),
        partitions: vec![
            gpt_partition(1, 0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B, 2048, 4095, "EFI, \"system\""),
            gpt_partition(2, 0xDE94_BBA4_06D1_4D40_A16A_BFD5_0179_D6AC, 20_000, 30_000, "späte\nZeile"),
            gpt_partition(3, 0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4, 4096, 14_335, ""),
            gpt_partition(4, 0x1, 14_336, 14_335, "empty"),
        ],
    })
}

fn mbr_partition(number: u32, type_code: u8, first: u64, sectors: u64, role: MbrRole) -> MbrPartition {
    MbrPartition {
        number,
        status: if number == 1 { 0x80 } else { 0 },
        type_code,
        first_lba: Lba(first),
        sectors,
        first_chs: chs_of(Lba(first)),
        last_chs: chs_of(Lba(first + sectors - 1)),
        role,
    }
}

fn mbr() -> Table {
    let logical = MbrRole::Logical { ebr_lba: Lba(8192), ebr_code: Hex(vec![]) };
    Table::Mbr(Mbr {
        disk_signature: 0xABCD_0001,
        boot_code: Hex(vec![]),
        reserved: 0,
        partitions: vec![
            mbr_partition(1, 0x07, 2048, 2048, MbrRole::Primary),
            mbr_partition(2, 0x0F, 8192, 8192, MbrRole::Extended),
            mbr_partition(5, 0x83, 10_240, 2048, logical),
        ],
    })
}

fn names(inspection: &Inspection) -> Vec<(&str, u64, u64)> {
    inspection
        .disk
        .volumes
        .iter()
        .map(|v| (v.name.as_str(), v.start_bytes / 512, v.size_bytes / 512))
        .collect()
}

#[test]
fn a_disk_without_bytes_has_no_volume() {
    let inspection = inspect(&MemoryDisk::new(0));
    assert_eq!((inspection.disk.volumes, inspection.used), (vec![], vec![]));
}

#[test]
fn partitions_are_volumes_in_disk_order_behind_the_boot_area() {
    let found = inspect(&disk_with(&gpt(64 * MIB), 64 * MIB));
    assert_eq!(
        names(&found),
        [("d0-boot", 0, 2048), ("d0-p1", 2048, 2048), ("d0-p3", 4096, 10_240), ("d0-p2", 20_000, 10_001)]
    );
    assert_eq!(found.used.len(), 4);
    assert_eq!(found.findings, ["Partition 4 has no sectors; it is left out."]);
    let found = inspect(&disk_with(&mbr(), 64 * MIB));
    assert_eq!(names(&found), [("d0-boot", 0, 2048), ("d0-p1", 2048, 2048), ("d0-p5", 10_240, 2048)]);
}

#[test]
fn a_table_without_partitions_leaves_the_first_mib() {
    let mut table = gpt(64 * MIB);
    if let Table::Gpt(gpt) = &mut table {
        gpt.partitions.clear();
    }
    assert_eq!(names(&inspect(&disk_with(&table, 64 * MIB))), [("d0-boot", 0, 2048)]);
    let mut table = mbr();
    if let Table::Mbr(mbr) = &mut table {
        mbr.partitions.clear();
    }
    assert_eq!(names(&inspect(&disk_with(&table, 64 * MIB))), [("d0-boot", 0, 2048)]);
}

#[test]
fn a_boot_area_does_not_reach_into_a_deleted_partition() {
    let mut table = gpt(GIB);
    if let Table::Gpt(gpt) = &mut table {
        gpt.partitions = vec![gpt_partition(1, 1, 1_000_000, 1_999_999, "")];
    }
    let found = inspect(&disk_with(&table, GIB));
    assert_eq!(found.disk.volumes[0].size_bytes, 64 * MIB);
    assert!(found.findings[0].starts_with("Between the first 64.0 MiB"), "{:?}", found.findings);
}

#[test]
fn a_partition_beyond_the_end_is_cut_off_and_refused() {
    let whole = disk_with(&mbr(), 64 * MIB);
    let cut = MemoryDisk::new(11_000 * 512);
    cut.write_at(0, &crate::blockio::read_vec(&whole, 0, 11_000 * 512).unwrap()).unwrap();
    let found = inspect(&cut);
    assert_eq!(names(&found)[2], ("d0-p5", 10_240, 760));
    assert!(found.refusals[0].contains("Partition 5 reaches to sector 12287"), "{:?}", found.refusals);
}

#[test]
fn a_disk_without_a_table_is_one_volume_even_where_nothing_is_recognised() {
    let disk = MemoryDisk::new(4 << 40);
    let found = inspect(&disk);
    assert_eq!(names(&found), [("d0-disk", 0, (4 << 40) / 512)]);
    assert_eq!((found.disk.volumes[0].role, found.disk.table), (Role::WholeDisk, Table::None));
}

#[test]
fn the_header_of_a_gpt_that_was_left_aside_is_not_captured() {
    let disk = disk_with(&gpt(64 * MIB), 64 * MIB);
    let only_mbr = disk_with(&mbr(), 64 * MIB);
    disk.write_at(0, &crate::blockio::read_vec(&only_mbr, 0, 512).unwrap()).unwrap();
    disk.write_at(8192 * 512, &crate::blockio::read_vec(&only_mbr, 8192 * 512, 512).unwrap()).unwrap();
    let found = inspect(&disk);
    assert_eq!((found.refusals.len(), &found.used[0]), (1, &None));
    let found = read_disk(&disk, facts(), Trust::SectorZero, &Silent).unwrap();
    assert!(found.refusals.is_empty());
    let used = found.used[0].clone().unwrap();
    assert_eq!(used.ranges(), [ByteRange::new(0, 512), ByteRange::new(1024, MIB)]);
}

fn file_system(kind: FileSystemKind, state: State) -> FileSystem {
    FileSystem {
        kind,
        uuid: Some("2f0a-77".to_owned()),
        label: Some("root".to_owned()),
        block_size_bytes: 4096,
        size_bytes: 5 * MIB,
        used_bytes: Some(3 * MIB),
        minimum_bytes: 4 * MIB,
        state,
        findings: vec!["The journal is to be replayed; mount the volume once.".to_owned()],
    }
}

/// Inspections in which every kind of table, role and content occurs.
fn samples() -> Vec<Inspection> {
    let mut with_gpt = inspect(&disk_with(&gpt(64 * MIB), 64 * MIB));
    let dirty = file_system(FileSystemKind::Ext4, State::Dirty);
    with_gpt.disk.volumes[2].content = Content::FileSystem(dirty);
    with_gpt.disk.volumes[1].content = Content::LeftOut;
    let mut with_mbr = inspect(&disk_with(&mbr(), 64 * MIB));
    with_mbr.disk.number = 1;
    let mut swap = file_system(FileSystemKind::Swap, State::Clean);
    swap.findings.clear();
    with_mbr.disk.volumes[2].content = Content::Swap(swap);
    let mut zfs = file_system(FileSystemKind::Zfs, State::Clean);
    (zfs.used_bytes, zfs.uuid, zfs.label) = (None, None, None);
    zfs.findings.clear();
    let whole = Volume {
        name: "d2-disk".to_owned(),
        role: Role::WholeDisk,
        start_bytes: 0,
        size_bytes: 10 * MIB,
        content: Content::Raw { reason: "ZFS is captured whole".to_owned(), file_system: Some(zfs) },
        fixed: false,
    };
    let without = Inspection {
        disk: Disk {
            number: 2,
            size_bytes: 10 * MIB,
            logical_sector_bytes: SectorSize::B4096,
            physical_sector_bytes: SectorSize::B4096,
            model: None,
            serial: None,
            wwn: Some("0x5000c500".to_owned()),
            table: Table::None,
            volumes: vec![whole],
        },
        used: vec![None],
        zeros: vec![ByteRange::default()],
        findings: vec!["Two tables contradict each other.".to_owned()],
        refusals: vec!["Two tables contradict each other.".to_owned()],
    };
    vec![with_gpt, with_mbr, without]
}

#[test]
fn people_see_a_table() {
    insta::assert_snapshot!(table_text(&samples()), @r#"
    Disk 0: 64.0 MiB (67108864 bytes), sectors of 512 bytes on 4096, TEST DISK, serial S-1
    GPT, disk GUID 12345678-0000-0000-0000-0000000000FF, 128 entries

      NO    START     SIZE      TYPE               NAME           CONTENT   LABEL  UUID     USED      MINIMUM   STATE
      boot  0 B       1.00 MiB  boot area                         raw
      1     1.00 MiB  1.00 MiB  EFI system         EFI, "system"  left out
      3     2.00 MiB  5.00 MiB  Linux file system                 ext4      root   2f0a-77  3.00 MiB  4.00 MiB  dirty
      2     9.76 MiB  4.88 MiB  Windows recovery   späte�Zeile    raw

    Note: Partition 4 has no sectors; it is left out.
    d0-p3: The journal is to be replayed; mount the volume once.

    Disk 1: 64.0 MiB (67108864 bytes), sectors of 512 bytes on 4096, TEST DISK, serial S-1
    MBR, disk signature abcd0001

      NO    START     SIZE      TYPE                      CONTENT  LABEL  UUID     USED      MINIMUM   STATE
      boot  0 B       1.00 MiB  boot area                 raw
      1     1.00 MiB  1.00 MiB  NTFS/exFAT/HPFS (active)  raw
      2     4.00 MiB  4.00 MiB  extended (LBA)
      5     5.00 MiB  1.00 MiB  Linux                     swap     root   2f0a-77  3.00 MiB  4.00 MiB  clean

    Disk 2: 10.0 MiB (10485760 bytes), sectors of 4096 bytes, WWN 0x5000c500
    No partition table

      NO    START  SIZE      TYPE        CONTENT    MINIMUM   STATE
      disk  0 B    10.0 MiB  whole disk  ZFS (raw)  4.00 MiB  clean

    Refused: Two tables contradict each other.
    "#);
}
