//! What a disk says about itself: model, serial number, world wide name, how it is attached.

use super::sysfs::{BlockDevice, Kernel};
use crate::units::{read_slice, read_u16be, usize_from};
use std::fs;

/// Who a disk is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Identity {
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) wwn: Option<String>,
    pub(super) transport: Option<String>,
    /// True for what a person can pull: USB, memory cards, removable media.
    pub(super) removable: bool,
}

/// Reads what the kernel knows and, where that is silent, what udev found out.
pub(super) fn read(kernel: &Kernel, device: &BlockDevice) -> Identity {
    let number = device.attribute("dev").unwrap_or_default();
    let udev = kernel.text(&format!("/run/udev/data/b{number}")).unwrap_or_default();
    let found = |key: &str| {
        let value =
            udev.lines().find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('='));
        value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let transport = transport(device);
    let card = device.attribute("device/type").is_some_and(|kind| kind == "SD");
    Identity {
        model: device
            .attribute("device/model")
            .or_else(|| device.attribute("device/name").filter(|_| device.name.starts_with("mmcblk")))
            .or_else(|| found("ID_MODEL")),
        serial: device
            .attribute("serial")
            .or_else(|| device.attribute("device/serial"))
            .or_else(|| unit_serial_number(device))
            .or_else(|| found("ID_SERIAL_SHORT")),
        wwn: device
            .attribute("wwid")
            .or_else(|| device.attribute("device/wwid"))
            .filter(|wwid| ["naa.", "eui.", "uuid.", "0x"].iter().any(|kind| wwid.starts_with(kind)))
            .or_else(|| found("ID_WWN_WITH_EXTENSION"))
            .or_else(|| found("ID_WWN")),
        removable: device.number("removable") == Some(1) || transport == Some("usb") || card,
        transport: transport.map(str::to_owned),
    }
}

/// The serial number in SCSI's vital product data page 0x80 (SPC-4, 7.8.15): a header of 4 bytes whose last
/// two are the length. libata makes this page for SATA disks.
fn unit_serial_number(device: &BlockDevice) -> Option<String> {
    let page = fs::read(device.directory.join("device/vpd_pg80")).ok()?;
    let length = usize_from(read_u16be(&page, 2).ok()?.into());
    let text = String::from_utf8_lossy(read_slice(&page, 4, length).ok()?).into_owned();
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// How a disk is attached, by the path of its device: the bus that is nearest to the disk counts.
fn transport(device: &BlockDevice) -> Option<&'static str> {
    if device.name.starts_with("loop") {
        return Some("loop");
    }
    let path = fs::canonicalize(&device.directory).ok()?;
    let numbered = |text: &str, bus: &str| {
        text.strip_prefix(bus).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let bus = |part: &str| {
        Some(match part {
            _ if numbered(part, "nvme") || part == "nvme-subsystem" => "nvme",
            _ if numbered(part, "usb") => "usb",
            _ if numbered(part, "ata") => "sata",
            _ if numbered(part, "mmc") => "mmc",
            _ if numbered(part, "session") => "iscsi",
            _ if part.starts_with("rport-") => "fc",
            _ if part.starts_with("end_device-") => "sas",
            _ if numbered(part, "virtio") => "virtio",
            _ if part.starts_with("vbd-") => "xen",
            _ if numbered(part, "host") => "scsi",
            _ => return None,
        })
    };
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let found: Vec<&'static str> = parts.into_iter().rev().filter_map(bus).collect();
    // Every SCSI disk has a host; what the host hangs on says more.
    found.iter().copied().find(|name| *name != "scsi").or_else(|| found.first().copied())
}
