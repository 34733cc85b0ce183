//! What holds volumes: physical volumes of LVM2 and LVM1, Windows dynamic disks and Storage Spaces.

use super::identity::text_at;
use super::{Found, peek};
use crate::blockio::ReadAt;
use crate::filesystem::Error;
use crate::schema::{FileSystemKind, State};
use crate::units::{read_slice, read_u16be, read_u16le, read_u32le, read_u64le, u64_from, usize_from};

const LABEL_SECTOR_BYTES: usize = 512;

/// The label in one of the first four sectors of 512 bytes (LVM2 `lib/label/label.h`).
pub(super) fn lvm_physical_volume(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    for sector in 0..4u64 {
        let at = sector.saturating_mul(u64_from(LABEL_SECTOR_BYTES));
        let Some(label) = peek(volume, at, LABEL_SECTOR_BYTES)? else { break };
        let is_label = label.starts_with(b"LABELONE")
            && read_u64le(&label, 8) == Ok(sector)
            && read_slice(&label, 24, 8) == Ok(b"LVM2 001");
        if is_label {
            let header = read_u32le(&label, 20).map_or(usize::MAX, |offset| usize_from(offset.into()));
            let uuid = text_at(&label, header, 32).map(|uuid| hyphenated(&uuid));
            return Ok(Some(Found::container(FileSystemKind::LvmPhysicalVolume).named(uuid, None)));
        }
    }
    Ok(None)
}

/// The header of LVM1 (LVM2 2.02 `lib/format1/disk-rep.h`, `struct pv_disk`): a short magic number, so all that is known
/// of it has to be there.
pub(super) fn lvm1_physical_volume(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let Some(header) = peek(volume, 0, 480)? else { return Ok(None) };
    let uuid = text_at(&header, 44, 128).filter(|uuid| uuid.len() == 32);
    let uuid = uuid.filter(|uuid| uuid.bytes().all(|character| character.is_ascii_alphanumeric()));
    let is_header = header.starts_with(b"HM")
        && matches!(read_u16le(&header, 2), Ok(1 | 2))
        && read_u32le(&header, 4) == Ok(0)
        && read_u32le(&header, 12).is_ok_and(|group_at| group_at > 0);
    let Some(uuid) = uuid.filter(|_| is_header) else { return Ok(None) };
    // Until all physical volumes of its group were read together.
    let finding = "a physical volume of LVM1, which is read only together with the others of its group: name their disks with --disk, \
                   convert the group with vgconvert -M2 of an LVM2 before 2.02.178, or capture all of its disks in one image, each \
                   with --when-dirty raw";
    let found = Found::container(FileSystemKind::Lvm1PhysicalVolume).state(State::Unsupported, finding);
    Ok(Some(found.named(Some(hyphenated(&uuid)), text_at(&header, 172, 128))))
}

/// A UUID as LVM prints it: 32 characters in groups of 6, 4, 4, 4, 4, 4 and 6.
fn hyphenated(uuid: &str) -> String {
    let mut text = String::new();
    for (position, character) in uuid.chars().enumerate() {
        if matches!(position, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(character);
    }
    text
}

/// The private header of the logical disk manager: in sector 6 of an MBR disk, and in the last sector of an
/// MBR disk or of the metadata partition of a GPT disk (Linux `block/partitions/ldm.h`).
pub(super) fn logical_disk_manager(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    for at in [Some(6 * 512), volume.size_bytes().checked_sub(512)].into_iter().flatten() {
        let Some(header) = peek(volume, at, 512)? else { continue };
        if header.starts_with(b"PRIVHEAD") && read_u16be(&header, 12) == Ok(2) {
            let found = part_of_a_dynamic_disk();
            return Ok(Some(found.named(text_at(&header, 0x30, 64), text_at(&header, 0xF0, 32))));
        }
    }
    Ok(None)
}

/// Anything on a dynamic disk. Where a file system seems to begin in it, others may lie behind that.
pub(super) fn part_of_a_dynamic_disk() -> Found {
    let finding =
        "a Windows dynamic disk: capture all disks of its group in one image, each with --when-dirty raw";
    Found::container(FileSystemKind::LogicalDiskManager).state(State::Unsupported, finding)
}

/// The header in front of the database that every disk of a storage pool has, at the start of its partition
/// (KimVegetable/StorageSpaceReconstructor).
pub(super) fn storage_spaces(volume: &dyn ReadAt) -> Result<Option<Found>, Error> {
    let header = peek(volume, 0, 8)?;
    Ok(header.is_some_and(|header| header == b"SPACEDB ").then(member_of_storage_spaces))
}

/// A disk of a storage pool.
pub(super) fn member_of_storage_spaces() -> Found {
    Found::container(FileSystemKind::StorageSpaces).one_of_several("storage pool of Windows")
}
