//! The disks of this machine, with everything a plan wants to know about them.

use super::holders::{Use, Users};
use super::reader::not_a_disk;
use super::sysfs::{BlockDevice, Kernel, device_number, node};
use super::{Error, identity};
use crate::machine::{DiskKind, MachineDisk};
use crate::units::SectorSize;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Every disk of this machine that an image could be captured from or deployed to, in the order of their
/// names: not loop and memory devices, optical and floppy drives, the boot areas of memory cards, empty
/// drives, nor what stands on other disks (arrays, device mappings).
///
/// # Errors
/// Where /sys cannot be read.
pub fn disks() -> Result<Vec<MachineDisk>, Error> {
    disks_of(&Kernel::this())
}

fn disks_of(kernel: &Kernel) -> Result<Vec<MachineDisk>, Error> {
    let devices = kernel
        .block_devices()
        .map_err(Error::io("listing the disks of this machine in /sys/block (is /sys mounted?)"))?;
    let users = Users::read(kernel);
    let candidates = devices.iter().filter(|device| is_candidate(device));
    // A disk of an unsupported sector size is no candidate; who names it is told why.
    Ok(candidates.filter_map(|device| describe(kernel, device, &users).ok()).collect())
}

/// One disk that a person named: a block device or a plain file that holds a raw disk. Unlike in [`disks`],
/// loop devices, arrays and device mappings are accepted.
///
/// `sector` is the sector size that a plain file is to be read with (512 bytes by default). Bytes of a file
/// behind its last whole sector are not part of the disk.
///
/// # Errors
/// [`Error::Refused`] for partitions, for what is no disk, and for a sector size that is not the device's.
pub fn disk(path: impl AsRef<Path>, sector: Option<SectorSize>) -> Result<MachineDisk, Error> {
    let path = path.as_ref();
    let real = fs::canonicalize(path).map_err(Error::io(format!("finding the disk {}", path.display())))?;
    let metadata = fs::metadata(&real).map_err(Error::io(format!("examining {}", path.display())))?;
    let kernel = Kernel::this();
    if metadata.file_type().is_block_device() {
        let device = named_device(&kernel, &real, &metadata)?;
        let mut disk = describe(&kernel, &device, &Users::read(&kernel))?;
        disk.path = real.to_string_lossy().into_owned();
        match sector {
            Some(size) if size != disk.logical_sector_bytes => Err(Error::refused(format!(
                "{} has sectors of {} bytes; another sector size can be chosen for plain files only",
                disk.path, disk.logical_sector_bytes
            ))),
            _ if disk.size_bytes == 0 => Err(Error::refused(format!("{} holds no medium", disk.path))),
            _ => Ok(disk),
        }
    } else if metadata.is_file() {
        file(&real, &metadata, sector.unwrap_or(SectorSize::B512), &Users::read(&kernel))
    } else {
        Err(not_a_disk(path))
    }
}

fn named_device(kernel: &Kernel, path: &Path, metadata: &Metadata) -> Result<BlockDevice, Error> {
    let number = device_number(metadata.rdev());
    let link = kernel.path(&format!("/sys/dev/block/{number}"));
    let directory =
        fs::canonicalize(link).map_err(Error::io(format!("finding {} in /sys", path.display())))?;
    let name_of = |directory: &Path| directory.file_name().map(|name| name.to_string_lossy().into_owned());
    if directory.join("partition").exists() {
        let whole = directory.parent().and_then(name_of).unwrap_or_default();
        return Err(Error::refused(format!(
            "{} is a partition; name its disk {}",
            path.display(),
            node(&whole)
        )));
    }
    let name = name_of(&directory).unwrap_or_default();
    Ok(BlockDevice { name, directory })
}

fn is_candidate(device: &BlockDevice) -> bool {
    let numbered = |prefix: &str| {
        device.name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let excluded =
        ["loop", "ram", "zram", "fd", "sr", "scd", "dm-", "md", "mtdblock"].into_iter().any(numbered)
            || device.name.starts_with("md_")
            || (numbered("mmcblk") && (device.name.contains("boot") || device.name.contains("rpmb")));
    // NVMe multipath shows each path as a hidden disk beside the real one.
    !excluded && device.size_bytes() > 0 && device.attribute("hidden").as_deref() != Some("1")
}

fn describe(kernel: &Kernel, device: &BlockDevice, users: &Users) -> Result<MachineDisk, Error> {
    let sector = |attribute: &str| {
        let bytes = device.number(attribute).and_then(|bytes| u32::try_from(bytes).ok())?;
        SectorSize::try_from(bytes).ok()
    };
    let logical_sector_bytes = sector("queue/logical_block_size").ok_or_else(|| {
        Error::unsupported(format!("{} has a sector size that no disk should have", device.node()))
    })?;
    let identity = identity::read(kernel, device);
    let Use { holders, boot_medium } = users.of_device(device);
    let limit = |attribute: &str| device.number(attribute).unwrap_or(0);
    Ok(MachineDisk {
        path: device.node(),
        kind: DiskKind::Device,
        size_bytes: device.size_bytes(),
        logical_sector_bytes,
        physical_sector_bytes: sector("queue/physical_block_size").unwrap_or(logical_sector_bytes),
        model: identity.model,
        serial: identity.serial,
        wwn: identity.wwn,
        transport: identity.transport,
        removable: identity.removable,
        read_only: device.number("ro") == Some(1),
        can_discard: limit("queue/discard_granularity") > 0 && limit("queue/discard_max_bytes") > 0,
        boot_medium,
        holders,
    })
}

fn file(path: &Path, metadata: &Metadata, sector: SectorSize, users: &Users) -> Result<MachineDisk, Error> {
    let name = path.to_string_lossy().into_owned();
    let size_bytes = metadata.len().saturating_sub(metadata.len() % sector.bytes());
    if size_bytes == 0 {
        return Err(Error::refused(format!(
            "{name} has no whole sector; give it the size of a disk first: truncate -s 20G {name}"
        )));
    }
    let Use { holders, boot_medium } = users.of_file(path);
    Ok(MachineDisk {
        kind: DiskKind::File,
        transport: Some("file".to_owned()),
        read_only: nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_err(),
        can_discard: true,
        boot_medium,
        holders,
        ..MachineDisk::new(name, size_bytes, sector)
    })
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
