//! Images and targets for the tests of the planner. Each test file uses its part of them.
#![allow(dead_code)]

use remint::machine::MachineDisk;
use remint::schema::{
    Content, Disk, FileSystem, FileSystemKind, Gpt, GptPartition, LogicalVolume, Mapping, Mbr, MbrPartition,
    MbrRole, PhysicalVolume, Role, Segment, State, Stripe, Table, Volume, VolumeGroup,
};
use remint::units::{GIB, Guid, Hex, Lba, MIB, SectorSize};

pub const LINUX: u128 = 0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4;
pub const BASIC_DATA: u128 = 0xEBD0_A0A2_B9E5_4433_87C0_68B6_B726_99C7;
pub const EFI_SYSTEM: u128 = 0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B;
pub const RESERVED: u128 = 0xE3C9_E316_0B5C_4DB8_817D_F92D_F002_15AE;
pub const RECOVERY: u128 = 0xDE94_BBA4_06D1_4D40_A16A_BFD5_0179_D6AC;
pub const SWAP: u128 = 0x0657_FD6D_A4AB_43C4_84E5_0933_C84B_4F4F;
pub const BIOS_BOOT: u128 = 0x2168_6148_6449_6E6F_744E_6565_6445_4649;

/// A partition to be put into a table.
#[derive(Debug, Clone)]
pub struct Part {
    pub number: u32,
    pub start_bytes: u64,
    pub size_bytes: u64,
    /// Type GUID, or its lowest byte as the type of an MBR entry.
    pub kind: u128,
    pub name: &'static str,
    pub content: Content,
}

pub fn part(number: u32, start_bytes: u64, size_bytes: u64, kind: u128, content: Content) -> Part {
    Part { number, start_bytes, size_bytes, kind, name: "", content }
}

pub fn file_system(kind: FileSystemKind, size_bytes: u64) -> FileSystem {
    FileSystem {
        kind,
        uuid: None,
        label: None,
        block_size_bytes: 4096,
        size_bytes,
        used_bytes: Some(size_bytes / 2),
        minimum_bytes: size_bytes / 2,
        state: State::Clean,
        findings: vec![],
    }
}

pub fn holds(kind: FileSystemKind, size_bytes: u64) -> Content {
    match kind {
        FileSystemKind::Swap => Content::Swap(file_system(kind, size_bytes)),
        _ if kind.has_used_map() => Content::FileSystem(file_system(kind, size_bytes)),
        _ => Content::Raw { reason: "no map".into(), file_system: Some(file_system(kind, size_bytes)) },
    }
}

pub fn unknown() -> Content {
    Content::Raw { reason: "nothing recognised".into(), file_system: None }
}

fn disk(number: u32, size_bytes: u64, sector: SectorSize, table: Table, mut volumes: Vec<Volume>) -> Disk {
    volumes.sort_by_key(|volume| volume.start_bytes);
    Disk {
        number,
        size_bytes,
        logical_sector_bytes: sector,
        physical_sector_bytes: SectorSize::B4096,
        model: None,
        serial: None,
        wwn: None,
        table,
        volumes,
    }
}

fn volumes(number: u32, parts: &[Part], first_bytes: u64) -> Vec<Volume> {
    let volume = |part: &Part| Volume {
        name: format!("d{number}-p{}", part.number),
        role: Role::Partition { number: part.number },
        start_bytes: part.start_bytes,
        size_bytes: part.size_bytes,
        content: part.content.clone(),
        fixed: false,
    };
    let boot = Volume {
        name: format!("d{number}-boot"),
        role: Role::BootArea,
        start_bytes: 0,
        size_bytes: first_bytes,
        content: unknown(),
        fixed: false,
    };
    std::iter::once(boot).chain(parts.iter().map(volume)).collect()
}

/// The first and last sector that partitions may use, with 128 entries of 128 bytes.
pub fn usable(size_bytes: u64, sector: SectorSize) -> (Lba, Lba) {
    let array = 16384 / sector.bytes();
    (Lba(2 + array), Lba(size_bytes / sector.bytes() - array - 2))
}

/// A disk with a GUID partition table.
pub fn gpt_disk(number: u32, size_bytes: u64, sector: SectorSize, parts: &[Part]) -> Disk {
    let entry = |part: &Part| {
        let mut name: Vec<u8> = part.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        name.resize(72, 0);
        GptPartition {
            number: part.number,
            type_guid: Guid::from_u128(part.kind),
            partition_guid: Guid::from_u128(0xA000 + u128::from(part.number)),
            first_lba: sector.lba_of(part.start_bytes),
            last_lba: Lba((part.start_bytes + part.size_bytes) / sector.bytes() - 1),
            attributes: u64::from(part.number) << 60,
            name: part.name.into(),
            name_utf16le: Hex(name),
        }
    };
    let (first_usable_lba, last_usable_lba) = usable(size_bytes, sector);
    let mut partitions: Vec<GptPartition> = parts.iter().map(entry).collect();
    partitions.sort_by_key(|partition| partition.number);
    let table = Table::Gpt(Gpt {
        disk_guid: Guid::from_u128(0xD000 + u128::from(number)),
        entry_count: 128,
        entry_size_bytes: 128,
        entries_lba: Lba(2),
        first_usable_lba,
        last_usable_lba,
        boot_sector: Hex(vec![0; 512]),
        partitions,
    });
    let first = parts.iter().map(|part| part.start_bytes).min().unwrap_or(1 << 20);
    disk(number, size_bytes, sector, table, volumes(number, parts, first))
}

/// A disk with a master boot record. Parts from number 5 on are logical, each with its boot record
/// `ebr_gap_bytes` in front of it; their container reaches from the first record to the last end.
pub fn mbr_disk(
    number: u32,
    size_bytes: u64,
    sector: SectorSize,
    parts: &[Part],
    ebr_gap_bytes: u64,
) -> Disk {
    let mut partitions: Vec<MbrPartition> = Vec::new();
    let entry = |number, start_bytes, size_bytes, kind: u128, role| MbrPartition {
        number,
        status: if number == 1 { 0x80 } else { 0 },
        type_code: u8::try_from(kind & 0xFF).unwrap(),
        first_lba: sector.lba_of(start_bytes),
        sectors: size_bytes / sector.bytes(),
        first_chs: [0xFE, 0xFF, 0xFF],
        last_chs: [0xFE, 0xFF, 0xFF],
        role,
    };
    let logicals: Vec<&Part> = parts.iter().filter(|part| part.number > 4).collect();
    let start = logicals.iter().map(|part| part.start_bytes - ebr_gap_bytes).min();
    let end = logicals.iter().map(|part| part.start_bytes + part.size_bytes).max();
    let first_in_chain = logicals.iter().map(|part| part.number).min();
    let first_on_disk = logicals.iter().min_by_key(|part| part.start_bytes).map(|part| part.number);
    for part in parts {
        let before = part.start_bytes.saturating_sub(ebr_gap_bytes);
        let ebr_bytes = match Some(part.number) {
            number if number == first_in_chain => start.unwrap_or_default(),
            number if number == first_on_disk => before + sector.bytes(),
            _ => before,
        };
        let role = match part.number {
            5.. => MbrRole::Logical { ebr_lba: sector.lba_of(ebr_bytes), ebr_code: Hex::default() },
            _ => MbrRole::Primary,
        };
        partitions.push(entry(part.number, part.start_bytes, part.size_bytes, part.kind, role));
    }
    if let (Some(start), Some(end)) = (start, end) {
        partitions.push(entry(4, start, end - start, 0x0F, MbrRole::Extended));
    }
    partitions.sort_by_key(|partition| partition.number);
    let table = Table::Mbr(Mbr {
        disk_signature: 0x5EED_0000 + number,
        boot_code: Hex(vec![0xEB; 440]),
        reserved: 0,
        partitions,
    });
    let first = parts.iter().map(|part| part.start_bytes).chain(start).min().unwrap_or(1 << 20);
    disk(number, size_bytes, sector, table, volumes(number, parts, first))
}

/// A disk without a table.
pub fn bare_disk(number: u32, size_bytes: u64, sector: SectorSize, content: Content) -> Disk {
    let name = format!("d{number}-disk");
    let volume = Volume { name, role: Role::WholeDisk, start_bytes: 0, size_bytes, content, fixed: false };
    disk(number, size_bytes, sector, Table::None, vec![volume])
}

pub fn target(path: &str, size_bytes: u64, sector: SectorSize) -> MachineDisk {
    MachineDisk {
        physical_sector_bytes: SectorSize::B4096,
        model: Some("Example disk".into()),
        serial: Some("S1".into()),
        transport: Some("sata".into()),
        can_discard: true,
        ..MachineDisk::new(path, size_bytes, sector)
    }
}

const EXTENT: u64 = 4 * MIB;
const LVM: u128 = 0xE6D6_D379_F507_44C2_A23C_238F_2A3D_F928;

pub fn physical(group: &str, size_bytes: u64) -> Content {
    let mut found = file_system(FileSystemKind::LvmPhysicalVolume, size_bytes);
    found.label = Some(group.to_owned());
    Content::PhysicalVolume(found)
}

pub fn uuid(letter: char, number: u32) -> String {
    let group = |length: usize| letter.to_string().repeat(length);
    format!("{}-{}-{}-{}-{}-{}-{number:06}", group(6), group(4), group(4), group(4), group(4), group(4))
}

/// A group whose volumes lie one behind the other, each as a whole on the physical volume that it names.
pub fn group(
    number: u32,
    name: &str,
    members: &[(&str, u64)],
    volumes: &[(&str, usize, Content)],
) -> VolumeGroup {
    let letter = char::from(b'a' + u8::try_from(number).unwrap());
    let mut next = vec![0; members.len()];
    let logical = |(position, (name, member, content)): (u32, &(&str, usize, Content))| {
        let size_bytes = content.file_system().unwrap().size_bytes;
        let (first, extents) = (next[*member], size_bytes / EXTENT);
        next[*member] += extents;
        let stripes = vec![Stripe { physical_volume: u32::try_from(*member).unwrap(), first_extent: first }];
        LogicalVolume {
            name: (*name).to_owned(),
            uuid: uuid(letter, 100 + position),
            mapping: Mapping::Linear,
            status: vec!["READ".into(), "WRITE".into(), "VISIBLE".into()],
            flags: vec![],
            tags: vec![],
            allocation_policy: None,
            creation_time: Some(1_700_000_000),
            creation_host: Some("debian".into()),
            segments: vec![Segment { extents, stripe_bytes: 0, stripes }],
            volume: Volume {
                name: format!("g{number}-l{position}"),
                role: Role::Logical { group: number, number: position },
                start_bytes: 0,
                size_bytes,
                content: content.clone(),
                fixed: false,
            },
        }
    };
    let logical_volumes = (1..).zip(volumes).map(logical).collect();
    let member = |(position, (volume, size_bytes)): (u32, &(&str, u64))| PhysicalVolume {
        volume: (*volume).to_owned(),
        uuid: uuid(letter, position),
        start_bytes: MIB,
        extents: (size_bytes - MIB) / EXTENT,
        status: vec!["ALLOCATABLE".into()],
        tags: vec![],
    };
    VolumeGroup {
        number,
        name: name.to_owned(),
        uuid: uuid(letter, 999),
        sequence: 7,
        extent_bytes: EXTENT,
        status: vec!["RESIZEABLE".into(), "READ".into(), "WRITE".into()],
        tags: vec![],
        system_id: None,
        allocation_policy: None,
        physical_volumes: (0..).zip(members).map(member).collect(),
        logical_volumes,
    }
}

/// A machine with a system in one group, and data in another one that reaches onto a second disk.
pub fn machine_with_groups() -> (Vec<Disk>, Vec<VolumeGroup>) {
    let (system, data) = (100 * GIB, 60 * GIB);
    let parts = [
        part(1, MIB, 512 * MIB, EFI_SYSTEM, holds(FileSystemKind::Fat32, 512 * MIB)),
        part(2, GIB, system, LVM, physical("debian-vg", system)),
        part(3, GIB + system, data, LVM, physical("data", data)),
    ];
    let one = gpt_disk(0, 200 * GIB, SectorSize::B512, &parts);
    let other = bare_disk(1, 40 * GIB, SectorSize::B512, physical("data", 40 * GIB));
    let groups = vec![
        group(
            0,
            "debian-vg",
            &[("d0-p2", system)],
            &[
                ("home--old", 0, holds(FileSystemKind::Ext4, 20 * GIB)),
                ("root", 0, holds(FileSystemKind::Ext4, 60 * GIB)),
                ("swap_1", 0, holds(FileSystemKind::Swap, 8 * GIB)),
            ],
        ),
        group(
            1,
            "data",
            &[("d0-p3", data), ("d1-disk", 40 * GIB)],
            &[
                ("archive", 1, holds(FileSystemKind::Xfs, 30 * GIB)),
                ("work", 0, holds(FileSystemKind::Ext4, 50 * GIB)),
            ],
        ),
    ];
    (vec![one, other], groups)
}
