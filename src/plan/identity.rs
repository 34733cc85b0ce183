//! Identifiers that have to be unique within one machine.

use crate::schema::{Disk, Table};

/// Warns where another disk of the image has the same GUID or signature: a machine that has both will take
/// one for the other.
pub(super) fn warnings(disk: &Disk, disks: &[Disk]) -> Vec<String> {
    let Some(mine) = identifier(disk) else { return Vec::new() };
    disks
        .iter()
        .filter(|other| other.number < disk.number && identifier(other).as_ref() == Some(&mine))
        .map(|other| {
            format!(
                "Disk {} has the same {mine} as disk {}: a machine with both of them may take one for the other.",
                disk.number, other.number
            )
        })
        .collect()
}

/// Warns where the same disk of the image goes onto another disk of the machine as well.
pub(super) fn copy_warning(disk: &Disk, other_target: &str) -> Option<String> {
    let mine = identifier(disk)?;
    Some(format!(
        "{other_target} receives the same disk {} with the same {mine}: while both are in one machine, it may take one \
         for the other.",
        disk.number
    ))
}

fn identifier(disk: &Disk) -> Option<String> {
    match &disk.table {
        Table::Gpt(gpt) => Some(format!("GUID {}", gpt.disk_guid)),
        Table::Mbr(mbr) if mbr.disk_signature != 0 => Some(format!("signature {:08x}", mbr.disk_signature)),
        Table::Mbr(_) | Table::None => None,
    }
}
