//! The disks of this machine, in the few words that fit on a line.

use super::state::DiskView;
use super::wish::Wish;
use crate::agent::{self, DiskSettings, Inspected, InspectedDisk};
use crate::plan;
use crate::schema::{Content, Destination, Table};
use anyhow::Result;

/// Every disk that could be looked at.
pub(super) fn views(found: &Inspected) -> Vec<DiskView> {
    let serials: Vec<&str> = found.disks.iter().filter_map(|disk| disk.machine.serial.as_deref()).collect();
    found.disks.iter().map(|disk| view(disk, &serials)).collect()
}

fn view(disk: &InspectedDisk, serials: &[&str]) -> DiskView {
    let machine = &disk.machine;
    // A serial number that two disks have names neither.
    let own = |serial: &&String| serials.iter().filter(|other| **other == serial.as_str()).count() == 1;
    let stable_name = machine
        .serial
        .as_ref()
        .filter(own)
        .map_or_else(|| machine.path.clone(), |serial| format!("serial:{serial}"));
    DiskView {
        path: machine.path.clone(),
        stable_name,
        model: machine.model.clone().unwrap_or_default(),
        transport: machine.transport.clone().unwrap_or_default(),
        size_bytes: machine.size_bytes,
        content: content(disk),
        refusal: plan::preflight_refusals(machine).first().map(ToString::to_string),
    }
}

fn content(disk: &InspectedDisk) -> String {
    let held = &disk.inspection.disk;
    let table = match held.table {
        Table::Gpt(_) => "GPT",
        Table::Mbr(_) => "MBR",
        Table::None => "no partition table",
    };
    let named = |content: &Content| {
        let system = content.file_system()?;
        Some(match system.label.as_deref().filter(|label| !label.is_empty()) {
            Some(label) => format!("{} \"{label}\"", system.kind),
            None => system.kind.to_string(),
        })
    };
    let systems: Vec<String> = held.volumes.iter().filter_map(|volume| named(&volume.content)).collect();
    if systems.is_empty() {
        format!("{table}, no file system")
    } else {
        format!("{table}: {}", systems.join(", "))
    }
}

/// What a capture would read.
pub(super) fn describe(wish: &Wish) -> Result<String> {
    let named = |path: &str| path.parse::<Destination>().unwrap_or_else(|never| match never {});
    let disks: Vec<Destination> = wish.disks.iter().map(|disk| named(&disk.path)).collect();
    let found = agent::inspect(&disks, DiskSettings::default(), &[])?;
    let problems: String = found.problems.iter().map(|problem| format!("{problem}\n")).collect();
    let read = if disks.len() == 1 { "The disk is" } else { "The disks are" };
    Ok(format!("{read} only read. This is captured:\n\n{}{problems}", agent::inspection_text(&found)))
}
