//! Encrypted volumes that a key opens: what they hold decides which of their blocks are used. What is captured stays encrypted.

use super::volume::{Understood, content};
use super::{Error, GroupInspection, Inspection};
use crate::blockio::{ReadAt, Window};
use crate::filesystem::luks::{self, Key, Limits, Unlocked};
use crate::progress::Monitor;
use crate::schema::{FileSystemKind, State, Volume};
use crate::units::{ByteRange, RangeSet, with_causes};
use std::collections::BTreeSet;

/// Keys that are tried on every encrypted volume, and what came of them.
pub struct Unlocking<'a> {
    /// The keys.
    pub keys: &'a [Key],
    /// What one keyslot may cost.
    pub limits: Limits,
    /// Who may stop it.
    pub monitor: &'a dyn Monitor,
    fitting: BTreeSet<String>,
}

impl<'a> Unlocking<'a> {
    /// Nothing was opened yet.
    #[must_use]
    pub const fn new(keys: &'a [Key], limits: Limits, monitor: &'a dyn Monitor) -> Self {
        Self { keys, limits, monitor, fitting: BTreeSet::new() }
    }

    /// True where a key opened a volume.
    #[must_use]
    pub fn has_opened(&self) -> bool {
        !self.fitting.is_empty()
    }

    /// Names of the keys with which no volume was opened.
    #[must_use]
    pub fn useless(&self) -> Vec<&str> {
        self.keys.iter().map(Key::name).filter(|name| !self.fitting.contains(*name)).collect()
    }

    /// Tries the keys on one volume; returns what a person should know of that.
    fn open(
        &mut self,
        volume: &mut Volume,
        used: &mut Option<RangeSet>,
        source: &dyn ReadAt,
    ) -> Result<Option<String>, Error> {
        let is_over = || self.monitor.cancelled();
        let unlocked = match luks::unlock(source, self.keys, self.limits, &is_over) {
            Ok(unlocked) => unlocked,
            Err(error) => {
                let found = volume.content.file_system_mut();
                found
                    .into_iter()
                    .for_each(|found| found.findings.push(format!("not opened: {}", with_causes(&error))));
                return Ok(None);
            }
        };
        let (reading, key) = match unlocked {
            Unlocked::NotThere => return Ok(None),
            Unlocked::Stopped => return Err(Error::Cancelled),
            Unlocked::Closed(reading) => (reading, None),
            Unlocked::Open { reading, key, without_newline } => (reading, Some((key, without_newline))),
        };
        let Understood { content, used: map, .. } = content(reading);
        (volume.content, *used) = (content, map);
        let Some((key, without_newline)) = key else { return Ok(None) };
        let said = without_newline.then(|| {
            format!(
                "The key {key} opens {} without the newline at its end alone, with which cryptsetup --key-file would not take it.",
                volume.name
            )
        });
        self.fitting.insert(key);
        Ok(said)
    }
}

/// Tries keys on the encrypted volumes of disks. Returns what a person should know: the position of a disk, with a sentence. `only` names
/// the volumes that are wanted; empty for all.
///
/// # Errors
/// [`Error::Cancelled`] where the monitor says so.
pub fn unlock(
    sources: &[&dyn ReadAt],
    inspections: &mut [&mut Inspection],
    only: &[String],
    unlocking: &mut Unlocking<'_>,
) -> Result<Vec<(usize, String)>, Error> {
    let mut said = Vec::new();
    for (disk, (source, inspection)) in sources.iter().zip(inspections.iter_mut()).enumerate() {
        for (volume, used) in inspection.disk.volumes.iter_mut().zip(inspection.used.iter_mut()) {
            let place = ByteRange::at(volume.start_bytes, volume.size_bytes);
            let wanted = is_closed(volume) && (only.is_empty() || only.contains(&volume.name));
            let window = place.filter(|_| wanted).and_then(|place| Window::new(*source, place).ok());
            if let Some(window) = window {
                said.extend(unlocking.open(volume, used, &window)?.map(|sentence| (disk, sentence)));
            }
        }
    }
    Ok(said)
}

/// Tries keys on the encrypted ones of a group's logical volumes, each with what is read of it; returns what a person should know.
///
/// # Errors
/// [`Error::Cancelled`] where the monitor says so.
pub fn unlock_logical(
    found: &mut GroupInspection,
    sources: &[Option<&dyn ReadAt>],
    only: &[String],
    unlocking: &mut Unlocking<'_>,
) -> Result<Vec<String>, Error> {
    let group = &mut found.group;
    let all = group.is_wanted_whole(only);
    let mut said = Vec::new();
    for ((logical, used), source) in group.logical_volumes.iter_mut().zip(found.used.iter_mut()).zip(sources)
    {
        let volume = &mut logical.volume;
        if let Some(source) = source.filter(|_| is_closed(volume) && (all || only.contains(&volume.name))) {
            said.extend(unlocking.open(volume, used, source)?);
        }
    }
    Ok(said)
}

fn is_closed(volume: &Volume) -> bool {
    use FileSystemKind::{Luks1, Luks2};
    let found = volume.content.file_system();
    found.is_some_and(|found| matches!(found.kind, Luks1 | Luks2) && found.state == State::Encrypted)
}
