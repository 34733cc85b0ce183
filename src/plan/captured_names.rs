//! A plan with the identifiers that were captured in place of new ones: what a deploy turns to where something that names
//! partitions could not follow to new ones.
//!
//! A table has one identifier for each partition, and a system that names another does not start. So the identifiers are new for
//! all disks of a deploy and everything that names them, or for none.

use super::deploy::DeployPlan;
use super::identity::{self, NewName};
use super::step::Step;
use super::windows::WindowsName;
use crate::schema::{Layout, Table};
use crate::uefi::PartitionId;
use crate::units::Guid;
use std::collections::BTreeSet;
use std::mem;

/// The same plan with the captured identifiers of disks, partitions and volume groups, and its steps at the same positions.
/// `None` where it has no new ones, where a script gave them, and where a table would have one of them twice.
#[must_use]
pub fn with_captured_names(plan: &DeployPlan) -> Option<DeployPlan> {
    let of_disks = plan.disks.iter().flat_map(|disk| &disk.new_names);
    let names: Vec<NewName> =
        of_disks.chain(plan.groups.iter().flat_map(|group| &group.new_names)).cloned().collect();
    if names.is_empty() || plan.disks.iter().any(|disk| disk.layout == Layout::Script) {
        return None;
    }
    let names = Names(&names);
    let mut captured = plan.clone();
    for disk in &mut captured.disks {
        names.restore_table(&mut disk.table);
        disk.new_names.clear();
        if !all_differ(&disk.table) {
            return None;
        }
    }
    for group in &mut captured.groups {
        names.restore_uuid(&mut group.group.uuid);
        let physical = group.group.physical_volumes.iter_mut().map(|physical| &mut physical.uuid);
        let logical = group.group.logical_volumes.iter_mut().map(|logical| &mut logical.uuid);
        physical.chain(logical).for_each(|uuid| names.restore_uuid(uuid));
        group.new_names.clear();
    }
    for entries in &mut captured.boot_entries {
        let drives = entries.followed.iter_mut().map(|followed| &mut followed.is);
        drives.chain([&mut entries.efi_system]).for_each(|drive| names.restore_id(&mut drive.id));
    }
    for loader in &mut captured.boot_loaders {
        let disk = captured.disks.iter().find(|disk| disk.target.path == loader.target);
        for (number, id) in &mut loader.partition_ids {
            *id = disk.and_then(|disk| identity::partition_id(&disk.table, *number));
        }
    }
    for step in &mut captured.steps {
        if let Step::WindowsPartitions { moved, .. } = step {
            moved.iter_mut().for_each(|moved| names.restore_windows(&mut moved.is));
            moved.retain(|moved| moved.was != moved.is);
        }
    }
    Some(captured)
}

/// The plan by whose steps what follows new identifiers goes back to the captured ones, at the same positions.
#[must_use]
pub fn way_back(plan: &DeployPlan) -> DeployPlan {
    let mut back = plan.clone();
    let of_disks = back.disks.iter_mut().map(|disk| &mut disk.new_names);
    let of_groups = back.groups.iter_mut().map(|group| &mut group.new_names);
    of_disks.chain(of_groups).flatten().for_each(|name| mem::swap(&mut name.old, &mut name.new));
    let names: Vec<NewName> = plan.disks.iter().flat_map(|disk| disk.new_names.clone()).collect();
    let names = Names(&names);
    for step in &mut back.steps {
        if let Step::WindowsPartitions { moved, .. } = step {
            for moved in moved.iter_mut() {
                moved.was = moved.is;
                names.restore_windows(&mut moved.is);
            }
            moved.retain(|moved| moved.was != moved.is);
        }
    }
    back
}

/// New names, each of which stands for a captured one.
struct Names<'a>(&'a [NewName]);

impl Names<'_> {
    fn captured(&self, new: &str) -> Option<&str> {
        self.0.iter().find(|name| name.new.eq_ignore_ascii_case(new)).map(|name| name.old.as_str())
    }

    fn restore_guid(&self, guid: &mut Guid) {
        if let Some(Ok(captured)) = self.captured(&guid.to_string()).map(str::parse) {
            *guid = captured;
        }
    }

    fn restore_signature(&self, signature: &mut u32) {
        let captured = self.captured(&format!("{signature:08x}"));
        if let Some(Ok(captured)) = captured.map(|captured| u32::from_str_radix(captured, 16)) {
            *signature = captured;
        }
    }

    /// Of LVM: a capital is another letter.
    fn restore_uuid(&self, uuid: &mut String) {
        if let Some(name) = self.0.iter().find(|name| name.new == *uuid) {
            uuid.clone_from(&name.old);
        }
    }

    fn restore_table(&self, table: &mut Table) {
        match table {
            Table::Gpt(gpt) => {
                self.restore_guid(&mut gpt.disk_guid);
                gpt.partitions.iter_mut().for_each(|entry| self.restore_guid(&mut entry.partition_guid));
            }
            Table::Mbr(mbr) => self.restore_signature(&mut mbr.disk_signature),
            Table::None => {}
        }
    }

    fn restore_id(&self, id: &mut PartitionId) {
        match id {
            PartitionId::Gpt { guid } => self.restore_guid(guid),
            PartitionId::Mbr { signature, .. } => self.restore_signature(signature),
        }
    }

    fn restore_windows(&self, name: &mut WindowsName) {
        match name {
            WindowsName::Gpt { disk, partition, .. } => {
                self.restore_guid(disk);
                self.restore_guid(partition);
            }
            WindowsName::Mbr { signature, .. } => self.restore_signature(signature),
        }
    }
}

/// A partition that stays on the target may have the identifier of a captured one.
fn all_differ(table: &Table) -> bool {
    let Table::Gpt(gpt) = table else { return true };
    let mut seen = BTreeSet::new();
    gpt.partitions.iter().all(|entry| seen.insert(entry.partition_guid.to_string()))
}
