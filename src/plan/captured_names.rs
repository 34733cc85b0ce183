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

/// Why there is no plan with the captured identifiers: a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoWayBack {
    /// Every identifier is the captured one.
    #[error("no disk has another identifier")]
    NothingNew,
    /// Its table may be of another kind.
    #[error("a script made the table")]
    Script,
    /// On two targets, or beside a partition that stays.
    #[error("one of them would be there twice on the targets")]
    Twice,
    /// The plan with them would not pass.
    #[error("they do not go with the rest of the plan")]
    Unsound,
}

/// Everything that has a new identifier.
fn new_names(plan: &DeployPlan) -> impl Iterator<Item = &NewName> {
    let of_disks = plan.disks.iter().flat_map(|disk| &disk.new_names);
    of_disks.chain(plan.groups.iter().flat_map(|group| &group.new_names))
}

/// The captured identifiers that something has a new one for: GUIDs in small letters, signatures (`1a2b3c4d`) and UUIDs of LVM.
#[must_use]
pub fn captured_ids(plan: &DeployPlan) -> BTreeSet<String> {
    new_names(plan).map(|name| name.old.clone()).collect()
}

/// The same plan with the captured identifiers of disks, partitions and volume groups, and its steps at the same positions.
///
/// # Errors
/// Why there is none.
pub fn with_captured_names(plan: &DeployPlan) -> Result<DeployPlan, NoWayBack> {
    let names: Vec<NewName> = new_names(plan).cloned().collect();
    if names.is_empty() {
        return Err(NoWayBack::NothingNew);
    }
    if plan.disks.iter().any(|disk| disk.layout == Layout::Script) {
        return Err(NoWayBack::Script);
    }
    let names = Names(&names);
    let mut captured = plan.clone();
    for disk in &mut captured.disks {
        names.restore_table(&mut disk.table);
        disk.new_names.clear();
    }
    for group in &mut captured.groups {
        names.restore_uuid(&mut group.group.uuid);
        let physical = group.group.physical_volumes.iter_mut().map(|physical| &mut physical.uuid);
        let logical = group.group.logical_volumes.iter_mut().map(|logical| &mut logical.uuid);
        physical.chain(logical).for_each(|uuid| names.restore_uuid(uuid));
        group.new_names.clear();
    }
    if is_there_twice(&captured, &captured_ids(plan)) {
        return Err(NoWayBack::Twice);
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
    Ok(captured)
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

/// The warning of a plan whose disks would not keep the captured identifiers where something cannot follow to new ones.
pub(super) fn warning(plan: &DeployPlan) -> Option<String> {
    let why = with_captured_names(plan).err().filter(|why| *why != NoWayBack::NothingNew)?;
    plan.steps.iter().any(Step::changes_names).then(|| {
        format!(
            "A system that cannot follow to the new identifiers does not start until it is put right: the captured ones cannot \
             stay instead, because {why}."
        )
    })
}

/// Two targets may receive one disk, and a partition that stays may have the identifier of a captured one.
fn is_there_twice(plan: &DeployPlan, ids: &BTreeSet<String>) -> bool {
    let mut all: Vec<String> = Vec::new();
    for disk in &plan.disks {
        all.extend(identity::disk_id(&disk.table));
        if let Table::Gpt(gpt) = &disk.table {
            all.extend(gpt.partitions.iter().map(|entry| entry.partition_guid.to_string().to_lowercase()));
        }
    }
    let groups = plan.groups.iter().map(|group| &group.group);
    for group in groups.chain(plan.existing_groups.iter().map(|existing| &existing.group)) {
        all.push(group.uuid.clone());
        all.extend(group.physical_volumes.iter().map(|physical| physical.uuid.clone()));
    }
    let mut seen = BTreeSet::new();
    all.into_iter().any(|id| ids.contains(&id) && !seen.insert(id))
}
