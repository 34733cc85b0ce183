//! Judge the new identifiers of a plan: each is new and unlike any other, and the image's disk has the others.

use super::Fault;
use crate::plan::deploy::DiskPlan;
use crate::plan::identity::NewName;
use crate::schema::{Disk, Table};
use crate::units::Guid;
use std::collections::BTreeSet;

/// The image's disk as it would be with the new identifiers, which the new table is held against.
pub(super) fn with_new_names(source: Disk, plan: &DiskPlan, faults: &mut Vec<Fault>) -> Disk {
    let mut fault =
        || faults.push(Fault::TableChanged { what: "an identifier that is not among the new ones" });
    let mut disk = source;
    let name_of = |of: String| plan.new_names.iter().find(|name| name.of == of);
    let whole = name_of(format!("d{}", disk.number));
    match &mut disk.table {
        Table::Gpt(gpt) => {
            if let Some(name) = whole {
                renew(&mut gpt.disk_guid, name, &mut fault);
            }
            for entry in &mut gpt.partitions {
                if let Some(name) = name_of(format!("d{}-p{}", disk.number, entry.number)) {
                    renew(&mut entry.partition_guid, name, &mut fault);
                }
            }
            let guids = gpt.partitions.iter().map(|entry| entry.partition_guid.to_string());
            let kept = plan.staying();
            if !plan.new_names.is_empty() && !all_differ(guids.chain(others(&plan.table, &kept))) {
                fault();
            }
        }
        Table::Mbr(mbr) => {
            if let Some(name) = whole {
                match u32::from_str_radix(&name.new, 16) {
                    Ok(new) if new != 0 && name.old == format!("{:08x}", mbr.disk_signature) => {
                        mbr.disk_signature = new;
                    }
                    _ => fault(),
                }
            }
            for entry in &mbr.partitions {
                let is = format!("{:08x}-{:02x}", mbr.disk_signature, entry.number);
                let name = name_of(format!("d{}-p{}", disk.number, entry.number));
                if name.is_some_and(|name| name.new != is) {
                    fault();
                }
            }
        }
        Table::None => {}
    }
    disk
}

fn renew(guid: &mut Guid, name: &NewName, fault: &mut impl FnMut()) {
    match name.new.parse::<Guid>() {
        Ok(new) if name.old.eq_ignore_ascii_case(&guid.to_string()) && new != *guid => *guid = new,
        _ => fault(),
    }
}

/// The GUIDs of partitions that stay.
fn others(table: &Table, kept: &[u32]) -> Vec<String> {
    let Table::Gpt(gpt) = table else { return Vec::new() };
    let kept = gpt.partitions.iter().filter(|entry| kept.contains(&entry.number));
    kept.map(|entry| entry.partition_guid.to_string()).collect()
}

fn all_differ(mut guids: impl Iterator<Item = String>) -> bool {
    let mut seen = BTreeSet::new();
    guids.all(|guid| seen.insert(guid))
}
