//! Journals on another device than their ext: a file system that has one is captured by its map only together with it.

use super::Inspection;
use super::volume::{Understood, content};
use crate::blockio::{ReadAt, Window};
use crate::filesystem;
use crate::schema::{Content, FileSystem, FileSystemKind, State, Volume};
use crate::units::ByteRange;
use std::collections::{BTreeMap, BTreeSet};

/// A journal: the disk, and the volume on it.
struct Found {
    disk: usize,
    name: String,
    place: ByteRange,
}

/// Looks for the journals of ext file systems on all disks that are looked at together. One whose journal is there, and at rest,
/// is captured by its map, and keeps its size: the tools that change it would want the journal. `only` names the volumes
/// that are wanted; empty for all.
pub fn read_journals(sources: &[&dyn ReadAt], inspections: &mut [&mut Inspection], only: &[String]) {
    let journals = journals(inspections, only);
    let mut paired = BTreeSet::new();
    for (source, inspection) in sources.iter().zip(inspections.iter_mut()) {
        for (volume, used) in inspection.disk.volumes.iter_mut().zip(inspection.used.iter_mut()) {
            let Some(place) = place(volume).filter(|_| volume.content.file_system().is_some_and(is_ext))
            else {
                continue;
            };
            // What cannot be read has been said.
            let Ok(window) = Window::new(*source, place) else { continue };
            let Some(uuid) = filesystem::external_journal(&window).ok().flatten() else { continue };
            let found = match journals.get(&uuid).map(Vec::as_slice) {
                None | Some([]) => continue,
                Some([journal]) => journal,
                Some([first, second, ..]) => {
                    let fact = format!(
                        "{} and {} are both its journal: leave one out with --only",
                        first.name, second.name
                    );
                    say(volume, fact);
                    continue;
                }
            };
            let device = sources.get(found.disk).and_then(|disk| Window::new(*disk, found.place).ok());
            let Some(device) = device else { continue };
            let Ok(mut reading) = filesystem::read_with_journal(&window, &device) else { continue };
            if reading.used.is_some() {
                reading.file_system.findings.push(FileSystem::journal_elsewhere(&found.name));
                volume.fixed = true;
                paired.insert(found.name.clone());
            }
            let Understood { content, used: map, .. } = content(reading);
            (volume.content, *used) = (content, map);
        }
    }
    let volumes = inspections.iter_mut().flat_map(|inspection| inspection.disk.volumes.iter_mut());
    for volume in volumes.filter(|volume| paired.contains(&volume.name)) {
        if let Content::Raw { file_system: Some(journal), .. } = &mut volume.content {
            journal.state = State::Clean;
            journal.findings =
                vec!["the journal of another volume's file system: deploy both together".to_owned()];
        }
    }
}

/// All wanted journals by their UUID.
fn journals(inspections: &[&mut Inspection], only: &[String]) -> BTreeMap<String, Vec<Found>> {
    let mut journals: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for (disk, inspection) in inspections.iter().enumerate() {
        for volume in inspection.disk.volumes.iter().filter(|v| only.is_empty() || only.contains(&v.name)) {
            let found = volume.content.file_system().filter(|found| found.kind == FileSystemKind::ExtJournal);
            if let Some(uuid) = found.and_then(|found| found.uuid.clone())
                && let Some(place) = place(volume)
            {
                journals.entry(uuid).or_default().push(Found { disk, name: volume.name.clone(), place });
            }
        }
    }
    journals
}

fn place(volume: &Volume) -> Option<ByteRange> {
    ByteRange::at(volume.start_bytes, volume.size_bytes)
}

fn is_ext(found: &FileSystem) -> bool {
    use FileSystemKind::{Ext2, Ext3, Ext4};
    matches!(found.kind, Ext2 | Ext3 | Ext4) && found.state == State::Unsupported
}

fn say(volume: &mut Volume, fact: String) {
    if let Some(mut found) = volume.content.file_system().cloned() {
        found.findings.push(fact);
        let reason = "it is not clear which journal is its own".to_owned();
        volume.content = Content::Raw { reason, file_system: Some(found) };
    }
}
