//! The boot entries of the firmware, when the tables are written.
//!
//! A deploy is done by then, and what customizes a deployed disk has changed its files. What goes wrong here is a problem and
//! no failure: the disk starts by the fallback path, or by an entry that a person makes.

use crate::blockio::{Window, WriteAt};
use crate::customize::{CustomizeError, Firmware, efi_system};
use crate::plan::{BootEntries, DeployPlan};
use crate::progress::{Event, Monitor};
use crate::uefi::{self, Change, EfiSystem, Followed, Situation, Variables};

/// Lets the entries follow to what stands on `targets`, one disk for each of the plan's, in its order. Returns a sentence for
/// each thing that was not done. Tells of every variable that it writes as [`Event::Changed`]; where nothing differs, nothing is
/// written. With `makes` an entry is made where none starts them.
pub fn follow(
    plan: &DeployPlan,
    targets: &[&dyn WriteAt],
    firmware: &dyn Firmware,
    makes: bool,
    monitor: &dyn Monitor,
) -> Vec<String> {
    let entries = &plan.boot_entries;
    let Some(first) = entries.first() else { return Vec::new() };
    let mut problems = Vec::new();
    let mut efi_systems = Vec::new();
    for entries in entries {
        match held(plan, targets, entries) {
            Ok(system) => efi_systems.push(system),
            Err(error) => problems.push(format!(
                "the EFI system partition of {} cannot be looked into: {}; see in the firmware's setup that it starts the \
                 right entry",
                entries.target,
                error.with_causes()
            )),
        }
    }
    if problems.is_empty()
        && let Err(error) = write(plan, &efi_systems, firmware, makes, monitor)
    {
        let way_out = "the disk starts by the fallback path, or choose it in the firmware's setup";
        let (target, why) = (&first.target, error.with_causes());
        problems.push(format!("the firmware's boot entries do not follow to {target}: {why}; {way_out}"));
    }
    problems
}

/// What the EFI system partition of a target holds.
fn held(
    plan: &DeployPlan,
    targets: &[&dyn WriteAt],
    entries: &BootEntries,
) -> Result<EfiSystem, CustomizeError> {
    let mut disks = plan.disks.iter().zip(targets);
    let found = disks.find(|(disk, _)| disk.target.path == entries.target);
    let (_, target) = found.ok_or_else(|| CustomizeError::Refused {
        fact: format!("{} is no target of this plan; please report this", entries.target),
    })?;
    let window = Window::new(*target, entries.place)
        .map_err(|source| CustomizeError::Io { doing: format!("finding {}", entries.place), source })?;
    Ok(EfiSystem { partition: entries.efi_system, files: efi_system::programs(&window)? })
}

/// Writes what differs, and reads it back.
fn write(
    plan: &DeployPlan,
    efi_systems: &[EfiSystem],
    firmware: &dyn Firmware,
    makes: bool,
    monitor: &dyn Monitor,
) -> Result<(), CustomizeError> {
    let targets: Vec<&str> = plan.disks.iter().map(|disk| disk.target.path.as_str()).collect();
    let elsewhere = firmware.partitions_elsewhere(&targets)?;
    let deployed: Vec<Followed> =
        plan.boot_entries.iter().flat_map(|entries| entries.followed.iter().copied()).collect();
    let now = firmware.read()?;
    let first = plan.boot_entries.iter().any(|entries| entries.first);
    let elsewhere = &elsewhere;
    let situation = Situation { now: &now, deployed: &deployed, efi_systems, elsewhere, first, makes };
    let changes = uefi::changes(situation);
    if changes.is_empty() {
        return Ok(());
    }
    for change in &changes {
        firmware.write(change)?;
        tell(change, monitor);
    }
    let again = firmware.read()?;
    match changes.iter().find(|change| !stands(change, &again)) {
        None => Ok(()),
        Some(change) => Err(CustomizeError::Refused {
            fact: format!("it took this and has something else now: {change}"),
        }),
    }
}

fn stands(change: &Change, now: &Variables) -> bool {
    match change {
        Change::Entry { number, is, .. } => now.entries.get(number) == Some(is),
        Change::Order { is, .. } => now.order == *is,
    }
}

fn tell(change: &Change, monitor: &dyn Monitor) {
    monitor.event(Event::Changed { volume: "firmware".to_owned(), message: change.to_string() });
}
