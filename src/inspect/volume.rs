//! The volumes of a disk: where each is, and what is on it.

use crate::blockio::{ReadAt, Window};
use crate::filesystem::{self, Reading};
use crate::partition::kinds::{LDM_CODE, LDM_DATA, LINUX_SWAP, LINUX_SWAP_CODE, STORAGE_SPACES};
use crate::schema::{Content, FileSystemKind, MbrRole, Role, State, Table};
use crate::units::{ByteRange, Lba, RangeSet, SectorSize};

/// A stretch of the disk that is a volume.
pub(super) struct Place {
    pub role: Role,
    pub range: ByteRange,
    /// What of a stretch without a file system is captured, where it is not all.
    pub used: Option<RangeSet>,
    /// What is known of it without a look at it.
    pub known: Option<Reading>,
    /// False where the partition's type says that it is no swap space. A swap header is easily left over from an
    /// earlier use, and what is taken for swap is not stored.
    pub may_be_swap: bool,
}

impl Place {
    /// The whole disk.
    pub fn whole(disk: &dyn ReadAt) -> Self {
        Self {
            role: Role::WholeDisk,
            range: ByteRange::new(0, disk.size_bytes()),
            used: None,
            known: None,
            may_be_swap: true,
        }
    }

    /// Name of the volume within the image.
    pub fn name(&self, disk_number: u32) -> String {
        match self.role {
            Role::Partition { number } => format!("d{disk_number}-p{number}"),
            Role::BootArea => format!("d{disk_number}-boot"),
            Role::WholeDisk => format!("d{disk_number}-disk"),
            Role::Logical { group, number } => format!("g{group}-l{number}"),
        }
    }
}

/// What is known about a volume.
pub(super) struct Understood {
    pub content: Content,
    pub used: Option<RangeSet>,
    /// What a person should know, to be said behind the volume's name.
    pub finding: Option<String>,
}

/// Number and bytes of every partition with sectors, extended ones included; a range whose end fits in no
/// number ends at the largest.
pub(super) fn partition_bytes(table: &Table, sector: SectorSize) -> Vec<(u32, ByteRange)> {
    let bytes = |first: Lba, end: u64| {
        let byte = |lba: Lba| sector.byte_of(lba).unwrap_or(u64::MAX);
        ByteRange::new(byte(first), byte(Lba(end)))
    };
    let ranges: Vec<(u32, ByteRange)> = match table {
        Table::Gpt(gpt) => gpt
            .partitions
            .iter()
            .map(|p| (p.number, bytes(p.first_lba, p.last_lba.0.saturating_add(1))))
            .collect(),
        Table::Mbr(mbr) => mbr
            .partitions
            .iter()
            .map(|p| (p.number, bytes(p.first_lba, p.first_lba.0.saturating_add(p.sectors))))
            .collect(),
        Table::None => Vec::new(),
    };
    ranges.into_iter().filter(|(_, range)| !range.is_empty()).collect()
}

/// True where the type of a partition says that it is Linux swap space.
fn has_swap_type(table: &Table, number: u32) -> bool {
    match table {
        Table::Gpt(gpt) => gpt.partitions.iter().any(|p| p.number == number && p.type_guid == LINUX_SWAP),
        Table::Mbr(mbr) => {
            mbr.partitions.iter().any(|p| p.number == number && p.type_code == LINUX_SWAP_CODE)
        }
        Table::None => true,
    }
}

/// What the type of a partition says of it, whatever seems to begin in it: part of a dynamic disk or of a storage pool.
fn known_by_type(table: &Table, number: u32, size_bytes: u64) -> Option<Reading> {
    let has_type = |wanted| matches!(table, Table::Gpt(gpt) if gpt.partitions.iter().any(|p| p.number == number && p.type_guid == wanted));
    let is_dynamic = has_type(LDM_DATA)
        || matches!(table, Table::Mbr(mbr) if mbr.partitions.iter().any(|p| p.number == number && p.type_code == LDM_CODE));
    if is_dynamic {
        Some(filesystem::of_a_dynamic_disk(size_bytes))
    } else {
        has_type(STORAGE_SPACES).then(|| filesystem::of_a_storage_pool(size_bytes))
    }
}

/// The partitions that are volumes, in disk order, cut off at the end of the disk.
pub(super) fn partitions(table: &Table, sector: SectorSize, disk_bytes: u64) -> Vec<Place> {
    let is_container = |number: u32| match table {
        Table::Mbr(mbr) => mbr.partitions.iter().any(|p| p.number == number && p.role == MbrRole::Extended),
        _ => false,
    };
    let mut places: Vec<Place> = partition_bytes(table, sector)
        .into_iter()
        .filter(|(number, _)| !is_container(*number))
        .map(|(number, range)| {
            let range = range.intersection(ByteRange::new(0, disk_bytes));
            Place {
                role: Role::Partition { number },
                range,
                used: None,
                known: known_by_type(table, number, range.length()),
                may_be_swap: has_swap_type(table, number),
            }
        })
        .filter(|place| !place.range.is_empty())
        .collect();
    places.sort_by_key(|place| place.range);
    places
}

/// Finds out what is on a volume.
pub(super) fn understand(disk: &dyn ReadAt, place: &Place) -> Understood {
    if place.role == Role::BootArea {
        let reason = "the table and what boot loaders keep behind it".to_owned();
        return Understood {
            content: Content::Raw { reason, file_system: None },
            used: place.used.clone(),
            finding: None,
        };
    }
    if let Some(known) = &place.known {
        return content(known.clone());
    }
    match Window::new(disk, place.range) {
        Ok(volume) => understand_volume(&volume, place.may_be_swap),
        Err(error) => unreadable(&error.to_string()),
    }
}

/// Finds out what is on a volume that is seen as a disk of its own.
pub(super) fn understand_volume(volume: &dyn ReadAt, may_be_swap: bool) -> Understood {
    let reading = filesystem::read(volume).map_err(|error| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    });
    match reading {
        Ok(Some(reading)) if reading.file_system.kind == FileSystemKind::Swap && !may_be_swap => {
            let reason = "it has a swap header, and its partition type is another one";
            raw(reason, Some(reading.file_system))
        }
        Ok(Some(reading)) => content(reading),
        Ok(None) => unrecognised(volume),
        Err(error) => unreadable(&error),
    }
}

/// A disk within a volume is as much a reason to say something as it is none to look into it.
fn unrecognised(volume: &dyn ReadAt) -> Understood {
    let Some(table) = filesystem::nested_table(volume).ok().flatten() else {
        let is_noise = filesystem::looks_random(volume).unwrap_or(false);
        let reason = if is_noise {
            "it looks random from its start: encrypted without a header, as with VeraCrypt or plain dm-crypt, or overwritten"
        } else {
            "no file system was recognised"
        };
        return raw(reason, None);
    };
    let reason =
        format!("it has a partition table of its own ({table}), as the disk of a virtual machine has");
    let finding = format!("is captured whole, with the partitions in it: {reason}");
    Understood { finding: Some(finding), ..raw(&reason, None) }
}

fn unreadable(error: &str) -> Understood {
    let reason = format!("its file system could not be read ({error})");
    Understood { finding: Some(format!("is captured raw: {reason}")), ..raw(&reason, None) }
}

fn raw(reason: &str, file_system: Option<crate::schema::FileSystem>) -> Understood {
    Understood { content: Content::Raw { reason: reason.to_owned(), file_system }, used: None, finding: None }
}

pub(super) fn content(reading: Reading) -> Understood {
    let Reading { file_system, used } = reading;
    let kind = file_system.kind;
    match used {
        _ if kind == FileSystemKind::Swap
            && matches!(file_system.state, State::Clean | State::Hibernated) =>
        {
            Understood { content: Content::Swap(file_system), used: None, finding: None }
        }
        Some(map) if kind.has_used_map() => {
            Understood { content: Content::FileSystem(file_system), used: Some(map), finding: None }
        }
        _ if file_system.state == State::Encrypted => {
            raw(&format!("{kind} is captured whole"), Some(file_system))
        }
        _ if kind.has_used_map() => {
            raw(&format!("the used map of this {kind} cannot be read"), Some(file_system))
        }
        _ => raw(&format!("{kind} is captured whole"), Some(file_system)),
    }
}

/// What fills the whole disk, if anything is recognised.
pub(super) fn recognised(disk: &dyn ReadAt) -> Option<FileSystemKind> {
    filesystem::read(disk).ok().flatten().map(|reading| reading.file_system.kind)
}
