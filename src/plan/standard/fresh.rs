//! The disk that a fresh installation would have made: its partitions in disk order, the system's last.

use crate::partition::chs_of;
use crate::plan::deploy::{NewContent, NewPartition};
use crate::plan::layout::ALIGNMENT_BYTES;
use crate::plan::seed::Seed;
use crate::schema::{Disk, Firmware, Gpt, GptPartition, Mbr, MbrPartition, MbrRole, Role, Table, Volume};
use crate::units::{ByteRange, Guid, Hex, Lba, MIB, SectorSize};

/// Entries of a GPT, as every installer makes them.
const ENTRY_COUNT: u32 = 128;
const ENTRY_BYTES: u32 = 128;
const NAME_BYTES: usize = 72;

// Partition types: UEFI 2.10 table 5-7, Microsoft's PARTITION_INFORMATION_GPT, the UAPI group, GRUB's manual.
const EFI_SYSTEM: u128 = 0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B;
const RESERVED: u128 = 0xE3C9_E316_0B5C_4DB8_817D_F92D_F002_15AE;
const RECOVERY: u128 = 0xDE94_BBA4_06D1_4D40_A16A_BFD5_0179_D6AC;
const BASIC_DATA: u128 = 0xEBD0_A0A2_B9E5_4433_87C0_68B6_B726_99C7;
const BIOS_BOOT: u128 = 0x2168_6148_6449_6E6F_744E_6565_6445_4649;
const LINUX: u128 = 0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4;
/// Required by the platform, and no drive letter: what Windows' setup gives to a recovery partition.
const HIDDEN_AND_REQUIRED: u64 = 0x8000_0000_0000_0001;

const CODE_BYTES: usize = 440;

/// The standard layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    WindowsBios,
    WindowsUefi,
    LinuxBiosMbr,
    LinuxBiosGpt,
    LinuxUefi,
}

impl Kind {
    pub(super) const fn firmware(self) -> Firmware {
        match self {
            Self::WindowsBios | Self::LinuxBiosMbr | Self::LinuxBiosGpt => Firmware::Bios,
            Self::WindowsUefi | Self::LinuxUefi => Firmware::Uefi,
        }
    }

    /// Number of the system's partition, which is the last.
    pub(super) const fn system_number(self) -> u32 {
        match self {
            Self::LinuxBiosMbr => 1,
            Self::WindowsBios | Self::LinuxBiosGpt | Self::LinuxUefi => 2,
            Self::WindowsUefi => 4,
        }
    }

    const fn is_mbr(self) -> bool {
        matches!(self, Self::WindowsBios | Self::LinuxBiosMbr)
    }
}

/// A partition in front of the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    bytes: u64,
    /// Type GUID, or the type of an MBR entry.
    kind: u128,
    attributes: u64,
    name: &'static str,
    content: Made,
    why: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Fat32,
    Ntfs,
    Nothing,
}

/// The partitions in front of the system's, by number from 1.
fn slots(kind: Kind, sector: SectorSize) -> Vec<Slot> {
    let slot = |mib: u64, kind, name, content, why| Slot {
        bytes: mib * MIB,
        kind,
        attributes: 0,
        name,
        content,
        why,
    };
    // FAT32 has 65525 clusters at least, and a cluster is a sector at least.
    let esp_mib = if sector == SectorSize::B512 { 99 } else { 260 };
    let why_esp = "UEFI starts the boot loader in it";
    match kind {
        Kind::WindowsBios => {
            vec![slot(500, 0x07, "", Made::Ntfs, "a BIOS starts Windows' boot manager in it")]
        }
        Kind::WindowsUefi => vec![
            Slot {
                attributes: HIDDEN_AND_REQUIRED,
                ..slot(
                    450,
                    RECOVERY,
                    "Basic data partition",
                    Made::Ntfs,
                    "Windows puts its recovery system there",
                )
            },
            slot(esp_mib, EFI_SYSTEM, "EFI system partition", Made::Fat32, why_esp),
            slot(
                16,
                RESERVED,
                "Microsoft reserved partition",
                Made::Nothing,
                "Windows expects one on every GPT disk",
            ),
        ],
        Kind::LinuxBiosMbr => Vec::new(),
        Kind::LinuxBiosGpt => {
            vec![slot(
                1,
                BIOS_BOOT,
                "BIOS boot partition",
                Made::Nothing,
                "GRUB lies in it where a BIOS starts from a GPT",
            )]
        }
        Kind::LinuxUefi => vec![slot(512, EFI_SYSTEM, "EFI system partition", Made::Fat32, why_esp)],
    }
}

/// A disk as a fresh installation would have made it.
pub(super) struct Fresh {
    /// The disk, with the system's volume in its last partition.
    pub(super) disk: Disk,
    slots: Vec<Slot>,
    /// Serial number of the FAT.
    serial: u32,
}

impl Fresh {
    pub(super) fn new(source: &Disk, system: &Volume, kind: Kind, sector: SectorSize, seed: &Seed) -> Self {
        let slots = slots(kind, sector);
        // The new partitions are of whole MiB; only the system knows the sectors that it was captured from.
        let was = source.logical_sector_bytes;
        let system_bytes = system.size_bytes.div_ceil(was.bytes()).saturating_mul(was.bytes());
        let mut behind = ALIGNMENT_BYTES;
        let mut places = Vec::new();
        for bytes in slots.iter().map(|slot| slot.bytes).chain([system_bytes]) {
            let place = ByteRange::new(behind, behind.saturating_add(bytes));
            behind = place.end().checked_next_multiple_of(ALIGNMENT_BYTES).unwrap_or(u64::MAX);
            places.push(place);
        }
        let number = kind.system_number();
        let start_bytes = places.last().map_or(ALIGNMENT_BYTES, |place| place.start());
        let volume = Volume { role: Role::Partition { number }, start_bytes, ..system.clone() };
        let table = if kind.is_mbr() {
            Table::Mbr(mbr(source, kind, &slots, &places, was, seed))
        } else {
            Table::Gpt(gpt(source, kind, &slots, &places, was, seed))
        };
        let disk = Disk { table, volumes: vec![volume], ..source.clone() };
        Self { disk, slots, serial: seed.mbr_signature(&format!("d{}-fat", source.number)) }
    }

    /// The new partition of a number, at its place; `None` for the system's.
    pub(super) fn made(&self, number: u32, place: ByteRange) -> Option<NewPartition> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let slot = self.slots.get(index)?;
        let content = match slot.content {
            Made::Fat32 => NewContent::Fat32 { serial: self.serial },
            Made::Ntfs => NewContent::Ntfs,
            Made::Nothing => NewContent::Empty,
        };
        let reason = format!("Partition {number} is new: {}.", slot.why);
        Some(NewPartition { partition: number, place, content, reason })
    }
}

fn gpt(
    source: &Disk,
    kind: Kind,
    slots: &[Slot],
    places: &[ByteRange],
    sector: SectorSize,
    seed: &Seed,
) -> Gpt {
    let (system_type, system_name) = match kind {
        Kind::WindowsUefi => (BASIC_DATA, "Basic data partition"),
        _ => (LINUX, ""),
    };
    let described = slots.iter().map(|slot| (slot.kind, slot.name, slot.attributes));
    let described = described.chain([(system_type, system_name, 0)]);
    let partitions =
        (1u32..).zip(described).zip(places).map(|((number, (kind, name, attributes)), place)| {
            let mut name_utf16le: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            name_utf16le.resize(NAME_BYTES, 0);
            GptPartition {
                number,
                type_guid: Guid::from_u128(kind),
                partition_guid: seed.guid(&format!("d{}-p{number}", source.number)),
                first_lba: sector.lba_of(place.start()),
                last_lba: Lba(sector.lba_of(place.end()).0.saturating_sub(1)),
                attributes,
                name: name.to_owned(),
                name_utf16le: Hex(name_utf16le),
            }
        });
    let array_bytes = u64::from(ENTRY_COUNT).saturating_mul(ENTRY_BYTES.into());
    let array_sectors = array_bytes.div_ceil(sector.bytes());
    Gpt {
        disk_guid: seed.guid(&format!("d{}", source.number)),
        entry_count: ENTRY_COUNT,
        entry_size_bytes: ENTRY_BYTES,
        entries_lba: Lba(2),
        first_usable_lba: Lba(array_sectors.saturating_add(2)),
        last_usable_lba: Lba(sector
            .lba_of(source.size_bytes)
            .0
            .saturating_sub(array_sectors.saturating_add(2))),
        boot_sector: Hex(vec![0; 512]),
        partitions: partitions.collect(),
    }
}

fn mbr(
    source: &Disk,
    kind: Kind,
    slots: &[Slot],
    places: &[ByteRange],
    sector: SectorSize,
    seed: &Seed,
) -> Mbr {
    let system_type = if kind == Kind::WindowsBios { 0x07 } else { 0x83 };
    let types = slots.iter().map(|slot| slot.kind).chain([system_type]);
    let partitions = (1u32..).zip(types).zip(places).map(|((number, kind), place)| {
        let (first_lba, behind) = (sector.lba_of(place.start()), sector.lba_of(place.end()));
        MbrPartition {
            number,
            status: if number == 1 { 0x80 } else { 0 },
            type_code: u8::try_from(kind).unwrap_or(0x83),
            first_lba,
            sectors: behind.0.saturating_sub(first_lba.0),
            first_chs: chs_of(first_lba),
            last_chs: chs_of(Lba(behind.0.saturating_sub(1))),
            role: MbrRole::Primary,
        }
    });
    Mbr {
        disk_signature: seed.mbr_signature(&format!("d{}", source.number)),
        boot_code: Hex(if kind == Kind::WindowsBios { captured_code(source) } else { vec![0; CODE_BYTES] }),
        reserved: 0,
        partitions: partitions.collect(),
    }
}

/// The code in sector 0 of the captured disk: that of Windows starts whatever partition is active. That of GRUB is of
/// no use, and it is put in place of this one by its own step.
fn captured_code(source: &Disk) -> Vec<u8> {
    let sector = match &source.table {
        Table::Gpt(gpt) => gpt.boot_sector.0.as_slice(),
        Table::Mbr(mbr) => mbr.boot_code.0.as_slice(),
        Table::None => &[],
    };
    let mut code: Vec<u8> = sector.iter().copied().take(CODE_BYTES).collect();
    code.resize(CODE_BYTES, 0);
    code
}
