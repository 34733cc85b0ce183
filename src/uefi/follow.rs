//! What becomes of the entries when disks were deployed: a list of changes, or none.

use super::load_option::LoadOption;
use super::loaders::{self, FALLBACK};
use super::{HardDrive, PartitionId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// More entries than this are not made: nobody's firmware has room without end.
const MOST_MADE: usize = 4;

/// What a firmware keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables {
    /// The entries that are understood, by their numbers (`Boot0001` is 1).
    pub entries: BTreeMap<u16, LoadOption>,
    /// Numbers of entries that are there and are not understood.
    pub unknown: Vec<u16>,
    /// In which order they are tried.
    pub order: Vec<u16>,
    /// The entry that started this machine.
    pub current: Option<u16>,
}

impl Variables {
    /// Has one variable say something else.
    pub fn take(&mut self, change: &Change) {
        match change {
            Change::Entry { number, is, .. } => drop(self.entries.insert(*number, is.clone())),
            Change::Order { is, .. } => self.order.clone_from(is),
        }
    }
}

/// A partition that was captured, and where it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// As the machine knew it that was captured; nothing for a partition that is new.
    pub was: Option<PartitionId>,
    /// As it is now.
    pub is: HardDrive,
}

/// An EFI system partition that was deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EfiSystem {
    /// Where it is.
    pub partition: HardDrive,
    /// Paths of the programs in it: `\EFI\debian\shimx64.efi`.
    pub files: Vec<String>,
}

/// Everything that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What the firmware keeps.
    pub now: &'a Variables,
    /// The partitions that were deployed.
    pub deployed: &'a [Followed],
    /// Those of them that a firmware starts from.
    pub efi_systems: &'a [EfiSystem],
    /// The partitions of the machine's other disks.
    pub elsewhere: &'a [PartitionId],
    /// True: what was deployed is to be started first, before the network too.
    pub first: bool,
    /// True: an entry is made where none starts what was deployed. False: what there is follows, and that is all.
    pub makes: bool,
}

/// One variable to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An entry.
    Entry {
        /// Its number.
        number: u16,
        /// What stands there; `None` where nothing does.
        was: Option<LoadOption>,
        /// What is to stand there.
        is: LoadOption,
    },
    /// The order.
    Order {
        /// As it is.
        was: Vec<u16>,
        /// As it is to be.
        is: Vec<u16>,
    },
}

/// Decides what is to be written, in this order: entries, and then their order.
#[must_use]
pub fn changes(situation: Situation<'_>) -> Vec<Change> {
    let now = situation.now;
    let mut entries = now.entries.clone();
    let mut changes = Vec::new();
    for (number, option) in &now.entries {
        let Some(repaired) = repaired(option, situation) else { continue };
        // Where another entry says the same already, this one would be its double.
        if entries.values().any(|other| other.path == repaired.path) {
            continue;
        }
        entries.insert(*number, repaired.clone());
        changes.push(Change::Entry { number: *number, was: Some(option.clone()), is: repaired });
    }
    let starting: Vec<u16> = entries
        .iter()
        .filter(|(_, option)| starts(option, situation.efi_systems))
        .map(|(number, _)| *number)
        .collect();
    let mut first = Vec::new();
    if starting.is_empty() && situation.makes {
        for option in made(situation.efi_systems) {
            let Some(number) = free_number(&entries, now) else { break };
            entries.insert(number, option.clone());
            first.push(number);
            changes.push(Change::Entry { number, was: None, is: option });
        }
    } else if !starting.iter().any(|number| now.order.contains(number)) {
        // They are there, and nobody tries them.
        first = starting;
    } else if situation.first && !now.order.first().is_some_and(|number| starting.contains(number)) {
        // The one that is tried before the others of them.
        first.extend(now.order.iter().copied().find(|number| starting.contains(number)));
    }
    if !first.is_empty() {
        let mut order = now.order.clone();
        order.retain(|number| !first.contains(number));
        let at = if situation.first { 0 } else { behind_network(&order, &entries) };
        order.splice(at..at, first);
        changes.push(Change::Order { was: now.order.clone(), is: order });
    }
    changes
}

/// The number of the entry to start next, so that the machine starts from one of these partitions: the first, in the
/// firmware's own order, that did not start this run.
#[must_use]
pub fn next_from_disk(now: &Variables, partitions: &[PartitionId]) -> Option<u16> {
    let starts_disk = |number: &&u16| {
        let option = now.entries.get(number).filter(|option| option.is_active());
        let drive = option.and_then(|option| option.path.hard_drive());
        now.current != Some(**number) && drive.is_some_and(|drive| partitions.contains(&drive.id))
    };
    now.order.iter().find(starts_disk).copied()
}

/// An entry that names a deployed partition, and not as it is now, as it has to be.
fn repaired(option: &LoadOption, situation: Situation<'_>) -> Option<LoadOption> {
    let drive = option.path.hard_drive()?;
    let deployed = situation.deployed;
    // A captured disk may still be in the machine, beside its copy.
    if situation.elsewhere.contains(&drive.id) {
        return None;
    }
    let same = deployed.iter().find(|partition| partition.is.id == drive.id);
    let found = same.or_else(|| deployed.iter().find(|partition| partition.was == Some(drive.id)))?;
    if found.is == drive {
        return None;
    }
    Some(LoadOption { path: option.path.moved_to(found.is), ..option.clone() })
}

/// True where an entry starts what was deployed.
fn starts(option: &LoadOption, efi_systems: &[EfiSystem]) -> bool {
    let drive = option.path.hard_drive();
    let Some(system) = efi_systems.iter().find(|system| drive == Some(system.partition)) else {
        return false;
    };
    let file = option.path.file().unwrap_or_else(|| FALLBACK.to_owned());
    option.is_active() && !loaders::is_helper(&file) && loaders::is_there(&system.files, &file)
}

/// Entries for the loaders of the first EFI system partition that has some.
fn made(efi_systems: &[EfiSystem]) -> Vec<LoadOption> {
    let found = efi_systems.iter().map(|system| (system, loaders::loaders(&system.files)));
    let Some((system, loaders)) = found.into_iter().find(|(_, loaders)| !loaders.is_empty()) else {
        return Vec::new();
    };
    let option =
        |loader: &loaders::Loader| LoadOption::of_file(&loader.description, system.partition, &loader.path);
    loaders.iter().take(MOST_MADE).map(option).collect()
}

/// The lowest number that no entry has, and that the order does not name.
fn free_number(entries: &BTreeMap<u16, LoadOption>, now: &Variables) -> Option<u16> {
    (0..u16::MAX).find(|number| {
        !entries.contains_key(number) && !now.unknown.contains(number) && !now.order.contains(number)
    })
}

/// The place in the order behind the network, where the network stands first. Programs of the firmware, and entries
/// that it does not try, stand in nobody's way.
fn behind_network(order: &[u16], entries: &BTreeMap<u16, LoadOption>) -> usize {
    let mut behind = 0usize;
    for (position, number) in order.iter().enumerate() {
        match entries.get(number) {
            Some(option) if option.path.is_network() => behind = position.saturating_add(1),
            Some(option) if option.is_program() || !option.is_active() => {}
            _ => break,
        }
    }
    behind
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |order: &[u16]| {
            let numbers: Vec<String> = order.iter().map(|number| format!("{number:04X}")).collect();
            if numbers.is_empty() { "nothing".to_owned() } else { numbers.join(",") }
        };
        match self {
            Self::Entry { number, was, is } => {
                let (name, verb) =
                    (is.name(), if was.is_some() { "follows to" } else { "is new and starts" });
                write!(f, "Boot{number:04X} \"{name}\" {verb} ")?;
                if let Some(drive) = is.path.hard_drive() {
                    write!(f, "{drive}")?;
                }
                f.write_str(&is.path.file().unwrap_or_default())
            }
            Self::Order { was, is } => write!(f, "BootOrder is {} instead of {}", numbers(is), numbers(was)),
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
