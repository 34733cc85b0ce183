//! Logical volumes that the kernel maps at this moment, found by their UUIDs.

use super::DiskReader;
use crate::blockio::ReadAt;
use crate::inspect;
use std::fs;

/// The device mapper of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelVolumes;

impl inspect::KernelVolumes for KernelVolumes {
    fn open(&self, group_uuid: &str, volume_uuid: &str) -> Option<Box<dyn ReadAt>> {
        // As LVM names what it maps: `LVM-`, and both UUIDs without their dashes.
        let wanted = format!("LVM-{group_uuid}{volume_uuid}").replace('-', "");
        let entries = fs::read_dir("/sys/block").ok()?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let found = names.filter(|name| name.starts_with("dm-")).find(|name| {
            let uuid = fs::read_to_string(format!("/sys/block/{name}/dm/uuid")).unwrap_or_default();
            uuid.trim().replace('-', "") == wanted
        });
        let reader = DiskReader::open(format!("/dev/{}", found?)).ok()?;
        Some(Box::new(reader))
    }
}
